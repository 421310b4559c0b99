package frame

import (
	"fmt"
	"image"
	"testing"
)

// scenes are pictures whose samples all tell where they are, as far as bytes can.
func scenes(w, h int) map[string]Image {
	pix := make([]byte, 4*(w+3)*(h+3))
	for i := range pix {
		pix[i] = byte(i*13 + i/251)
	}
	even := (w + 1) / 2 * 2
	return map[string]Image{
		"YUYV": YUYV(pix, w, h, 2*even+4),
		"NV12": NV12(pix, w, h, even+2),
		"I420": I420(pix, w, h, even),
		"GREY": Grey(pix, w, h, w+1),
		"Y16":  Y16(pix, w, h, 2*w),
		"4:1:1": {Width: w, Height: h, ShiftX: 2, Full: true, Y: plane(pix, w, 1),
			U: plane(pix[w*h:], (w+3)/4, 1), V: plane(pix[2*w*h:], (w+3)/4, 1)},
	}
}

func same(a, b *Image, ax, ay, bx, by int) bool {
	r, g, bl := a.RGB(ax, ay)
	r2, g2, bl2 := b.RGB(bx, by)
	return r == r2 && g == g2 && bl == bl2
}

func TestTurnedPicturesHaveEachPixelInItsPlace(t *testing.T) {
	for _, size := range [][2]int{{8, 4}, {12, 8}, {7, 5}, {1, 1}, {2, 1}, {1, 6}, {16, 2}} {
		for name, m := range scenes(size[0], size[1]) {
			if err := m.Check(); err != nil {
				t.Fatalf("%s of %v: %v", name, size, err)
			}
			for _, degrees := range []int{0, 90, 180, 270} {
				for _, mirror := range []bool{false, true} {
					what := fmt.Sprintf("%s of %d×%d, %d degrees, mirrored %v", name, m.Width, m.Height, degrees, mirror)
					got := m.Turned(degrees)
					if mirror {
						got = got.Mirrored()
					}
					if err := got.Check(); err != nil {
						t.Errorf("%s: %v", what, err)
						continue
					}
					// By hand, from the definition: clockwise, then left and right exchanged.
					rw, rh := got.Width, got.Height
					kw, kh := rw, rh // what is kept of the original, from its upper left corner
					if degrees%180 == 90 {
						kw, kh = rh, rw
					}
					if kw < m.Width-3 || kh < m.Height-1 || kw > m.Width || kh > m.Height {
						t.Errorf("%s: became %d×%d", what, rw, rh)
						continue
					}
					for y := range rh {
						for x := range rw {
							u := x
							if mirror {
								u = rw - 1 - x
							}
							var sx, sy int
							switch degrees {
							case 0:
								sx, sy = u, y
							case 90:
								sx, sy = y, kh-1-u
							case 180:
								sx, sy = kw-1-u, kh-1-y
							case 270:
								sx, sy = kw-1-y, u
							}
							if !same(&got, &m, x, y, sx, sy) {
								t.Fatalf("%s: pixel (%d,%d) isn't (%d,%d) of the original", what, x, y, sx, sy)
							}
						}
					}
					plain(t, what, &got)
					part := got.Part(image.Rect(rw/3, rh/3, rw, rh-rh/4))
					if err := part.Check(); err != nil {
						t.Errorf("%s: a part: %v", what, err)
						continue
					}
					plain(t, what+", a part", &part)
				}
			}
		}
	}
}

// plain checks that Plain's picture is one that lies in memory as rows, and that Turn leads to its pixels.
func plain(t *testing.T, what string, m *Image) {
	t.Helper()
	p, turn := m.Plain()
	if err := p.Check(); err != nil {
		t.Errorf("%s, plain: %v", what, err)
		return
	}
	for _, pl := range []Plane{p.Y, p.U, p.V} {
		if pl.Pix != nil && (pl.Step < 1 || pl.Stride < 1) {
			t.Errorf("%s, plain: step %d, stride %d", what, pl.Step, pl.Stride)
		}
	}
	if w, h := turn.Size(m.Width, m.Height); w != p.Width || h != p.Height {
		t.Errorf("%s, plain: %d×%d, and Turn says %d×%d", what, p.Width, p.Height, w, h)
		return
	}
	for y := range m.Height {
		for x := range m.Width {
			px, py := turn.Source(x, y, m.Width, m.Height)
			if !same(m, &p, x, y, px, py) {
				t.Fatalf("%s: pixel (%d,%d) isn't (%d,%d) of the plain one (%+v)", what, x, y, px, py, turn)
			}
		}
	}
}

func TestWhatIsNotTurnedIsPlain(t *testing.T) {
	for name, m := range scenes(12, 8) {
		if p, turn := m.Plain(); turn != (Turn{}) || &p.Y.Pix[0] != &m.Y.Pix[0] || p.Y.Stride != m.Y.Stride {
			t.Errorf("%s: %+v", name, turn)
		}
	}
}

func TestAPartIsWhereItSays(t *testing.T) {
	for name, m := range scenes(16, 12) {
		for _, c := range []struct {
			what string
			r    image.Rectangle
			at   image.Point
			w, h int
		}{
			{"where chroma begins", image.Rect(4, 2, 12, 10), image.Pt(4, 2), 8, 8},
			{"all", image.Rect(-5, -5, 100, 100), image.Pt(0, 0), 16, 12},
		} {
			p := m.Part(c.r)
			if err := p.Check(); err != nil || p.Width != c.w || p.Height != c.h {
				t.Errorf("%s, %s: %d×%d, %v", name, c.what, p.Width, p.Height, err)
				continue
			}
			for y := range p.Height {
				for x := range p.Width {
					if !same(&p, &m, x, y, c.at.X+x, c.at.Y+y) {
						t.Fatalf("%s, %s: pixel (%d,%d)", name, c.what, x, y)
					}
				}
			}
		}
		if p := m.Part(image.Rect(3, 3, 3, 3)); p.Check() == nil && p.Width*p.Height > 16 {
			t.Errorf("%s: a part of nothing is %d×%d", name, p.Width, p.Height)
		}
	}
	m := scenes(16, 12)["I420"]
	if p := m.Part(image.Rect(5, 5, 10, 10)); p.Width != 6 || p.Height != 6 || !same(&p, &m, 0, 0, 4, 4) {
		t.Errorf("beside chroma samples: %d×%d", p.Width, p.Height)
	}
}

func TestTurnedPlanesAreChecked(t *testing.T) {
	pix := make([]byte, 24)
	for _, c := range []struct {
		name string
		m    Image
		ok   bool
	}{
		{"upside down", Image{Width: 6, Height: 4, Y: Plane{pix, -6, 1, 18}}, true},
		{"upside down, from too far up", Image{Width: 6, Height: 4, Y: Plane{pix, -6, 1, 17}}, false},
		{"on its side", Image{Width: 4, Height: 6, Y: Plane{pix, 1, -6, 18}}, true},
		{"on its side, too far", Image{Width: 4, Height: 6, Y: Plane{pix, 1, -6, 19}}, false},
		{"columns that overlap", Image{Width: 4, Height: 6, Y: Plane{pix, 1, 5, 0}}, false},
		{"a step of nothing", Image{Width: 4, Height: 6, Y: Plane{pix, 1, 0, 0}}, false},
		{"a step beyond all", Image{Width: 4, Height: 6, Y: Plane{pix, 1, farthest + 1, 0}}, false},
		{"an origin before its bytes", Image{Width: 1, Height: 1, Y: Plane{pix, 1, 1, -1}}, false},
		{"chroma the other way round", Image{Width: 4, Height: 4, Y: Plane{pix, 4, 1, 0}, U: Plane{pix, 4, -1, 3}, V: Plane{pix, 4, -1, 3}}, false},
	} {
		if err := c.m.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
