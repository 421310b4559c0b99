package frame

import (
	"image"
	"image/color"
	"testing"
)

func TestChecksThatEverySampleIsThere(t *testing.T) {
	full := func(n int) []byte { return make([]byte, n) }
	for _, c := range []struct {
		name string
		m    Image
		ok   bool
	}{
		{"YUYV", YUYV(full(4*2*2), 4, 2, 8), true},
		{"YUYV, a byte short", YUYV(full(4*2*2-1), 4, 2, 8), false},
		{"YUYV of odd width", YUYV(full(8), 3, 1, 8), true},
		{"YUYV, nothing there", YUYV(nil, 4, 2, 8), false},
		{"NV12", NV12(full(4*2*3/2), 4, 2, 4), true},
		{"NV12, a byte short", NV12(full(4*2*3/2-1), 4, 2, 4), false},
		{"NV12 of negative stride", NV12(full(100), 4, 2, -4), false},
		{"NV21, a byte short", NV21(full(4*2*3/2-1), 4, 2, 4), false},
		{"I420", I420(full(4*2*3/2), 4, 2, 4), true},
		{"I420, a byte short", I420(full(4*2*3/2-1), 4, 2, 4), false},
		{"I420 of odd size", I420(full(4*3+2*2*2), 3, 3, 4), true},
		{"I420 of odd size, a byte short", I420(full(4*3+2*2*2-1), 3, 3, 4), false},
		{"I420 of negative stride", I420(full(100), 4, 2, -4), false},
		{"YV12 of nothing", YV12(nil, 4, 2, 4), false},
		{"Y16", Y16(full(2*3*2), 3, 2, 6), true},
		{"Y16, a byte short", Y16(full(2*3*2-1), 3, 2, 6), false},
		{"Y16 of nothing", Y16(nil, 3, 2, 6), false},
		{"gray", Grey(full(7), 3, 2, 4), true},
		{"gray, a byte short", Grey(full(6), 3, 2, 4), false},
		{"lines that overlap", Grey(full(100), 10, 2, 9), false},
		{"no size", Grey(full(4), 0, 2, 2), false},
		{"negative size", Grey(full(4), 2, -2, 2), false},
		{"too large", Grey(full(MaxSide+1), MaxSide+1, 1, MaxSide+1), false},
		{"V without U", Image{Width: 1, Height: 1, Y: plane(full(1), 1, 1), V: plane(full(1), 1, 1)}, false},
		{"U without V", Image{Width: 1, Height: 1, Y: plane(full(1), 1, 1), U: plane(full(1), 1, 1)}, false},
		{"wild subsampling", Image{Width: 1, Height: 1, ShiftX: 9, Y: plane(full(1), 1, 1), U: plane(full(1), 1, 1), V: plane(full(1), 1, 1)}, false},
		{"zero step", Image{Width: 2, Height: 1, Y: Plane{Pix: full(2), Stride: 2}}, false},
	} {
		if err := c.m.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestColoursOfBothRanges(t *testing.T) {
	for _, c := range []struct {
		name    string
		full    bool
		y, u, v byte
		want    color.RGBA
	}{
		{"black, limited", false, 16, 128, 128, color.RGBA{0, 0, 0, 255}},
		{"white, limited", false, 235, 128, 128, color.RGBA{255, 255, 255, 255}},
		{"red, limited", false, 81, 90, 240, color.RGBA{255, 0, 0, 255}},
		{"below black", false, 0, 128, 128, color.RGBA{0, 0, 0, 255}},
		{"black, full", true, 0, 128, 128, color.RGBA{0, 0, 0, 255}},
		{"white, full", true, 255, 128, 128, color.RGBA{255, 255, 255, 255}},
		{"blue, full", true, 29, 255, 107, color.RGBA{0, 0, 254, 255}},
	} {
		m := YUYV([]byte{c.y, c.u, c.y, c.v}, 2, 1, 4)
		m.Full = c.full
		for x := range 2 {
			r, g, b := m.RGB(x, 0)
			if !near(r, c.want.R) || !near(g, c.want.G) || !near(b, c.want.B) {
				t.Errorf("%s: pixel %d is %d, %d, %d, want %v", c.name, x, r, g, b, c.want)
			}
		}
	}
	m := Grey([]byte{77}, 1, 1, 1)
	if r, g, b := m.RGB(0, 0); r != 77 || g != 77 || b != 77 {
		t.Errorf("gray 77 is %d, %d, %d", r, g, b)
	}
}

func near(a, b uint8) bool { return max(a, b)-min(a, b) <= 2 }

func TestPicturesBecomePlanes(t *testing.T) {
	red := color.RGBA{200, 30, 40, 255}
	paint := func(m interface{ Set(x, y int, c color.Color) }) {
		for y := range 4 {
			for x := range 6 {
				m.Set(x, y, red)
			}
		}
	}
	rgba := image.NewRGBA(image.Rect(0, 0, 6, 4))
	paint(rgba)
	moved := rgba.SubImage(image.Rect(2, 1, 6, 4))
	ycbcr := image.NewYCbCr(image.Rect(0, 0, 6, 4), image.YCbCrSubsampleRatio420)
	y, u, v := color.RGBToYCbCr(red.R, red.G, red.B)
	for _, p := range []struct {
		pix []byte
		v   byte
	}{{ycbcr.Y, y}, {ycbcr.Cb, u}, {ycbcr.Cr, v}} {
		for i := range p.pix {
			p.pix[i] = p.v
		}
	}
	for _, c := range []struct {
		name  string
		src   image.Image
		w, h  int
		alias bool
	}{
		{"RGBA", rgba, 6, 4, false},
		{"part of a picture", moved, 4, 3, false},
		{"Y'CbCr", ycbcr, 6, 4, true},
		{"part of Y'CbCr", ycbcr.SubImage(image.Rect(2, 2, 6, 4)), 4, 2, false},
	} {
		m := FromImage(c.src)
		if err := m.Check(); err != nil || m.Width != c.w || m.Height != c.h || m.Bounds() != image.Rect(0, 0, c.w, c.h) {
			t.Errorf("%s: %d×%d, %v", c.name, m.Width, m.Height, err)
			continue
		}
		if r, g, b := m.RGB(c.w-1, c.h-1); !near(r, red.R) || !near(g, red.G) || !near(b, red.B) {
			t.Errorf("%s: %d, %d, %d, want %v", c.name, r, g, b, red)
		}
		if alias := &m.Y.Pix[0] == &ycbcr.Y[0]; alias != c.alias {
			t.Errorf("%s: aliases the source: %v", c.name, alias)
		}
	}
	g := image.NewGray(image.Rect(0, 0, 3, 2))
	if m := FromImage(g); !m.Gray() || m.Check() != nil || &m.Y.Pix[0] != &g.Pix[0] {
		t.Error("a gray picture isn't aliased as one plane")
	}
}

func BenchmarkConversions(b *testing.B) {
	const w, h = 640, 480
	pix, dst := make([]byte, 3*w*h), []byte(nil)
	for i := range pix {
		pix[i] = byte(i * 7)
	}
	b.Run("RGB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, dst = RGB(dst, pix, w, h, 3*w, false)
		}
	})
	b.Run("Narrow", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, dst = Narrow(dst, pix, w, h, 2*w, 10)
		}
	})
	b.Run("Depth", func(b *testing.B) {
		for b.Loop() {
			Depth(pix, w, h, 2*w)
		}
	})
}
