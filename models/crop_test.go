package models

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
)

// pictures are the same random smooth scene in the layouts that cameras send.
func pictures(w, h int) map[string]frame.Image {
	r := rand.New(rand.NewPCG(1, 2))
	fx, fy := r.Float64()*0.02+0.008, r.Float64()*0.02+0.008
	at := func(x, y, phase float64) byte {
		return byte(128 + 60*math.Sin(fx*x+phase) + 50*math.Cos(fy*y+phase))
	}
	yuyv := make([]byte, 2*w*h)
	nv12 := make([]byte, w*h*3/2)
	planar := make([]byte, w*h*3/2)
	grey := make([]byte, w*h)
	for y := range h {
		for x := range w {
			l := at(float64(x), float64(y), 0)
			yuyv[2*(y*w+x)], nv12[y*w+x], planar[y*w+x], grey[y*w+x] = l, l, l, l
			u, v := at(float64(x&^1), float64(y), 1), at(float64(x&^1), float64(y), 2)
			if x%2 == 0 {
				yuyv[2*(y*w+x)+1], yuyv[2*(y*w+x)+3] = u, v
				if y%2 == 0 {
					nv12[w*h+y/2*w+x], nv12[w*h+y/2*w+x+1] = u, v
					planar[w*h+y/2*w/2+x/2], planar[w*h+w*h/4+y/2*w/2+x/2] = u, v
				}
			}
		}
	}
	return map[string]frame.Image{
		"YUYV": frame.YUYV(yuyv, w, h, 2*w),
		"NV12": frame.NV12(nv12, w, h, w),
		"I420": {Width: w, Height: h, ShiftX: 1, ShiftY: 1, Full: true, Y: frame.Plane{Pix: planar, Stride: w, Step: 1},
			U: frame.Plane{Pix: planar[w*h:], Stride: w / 2, Step: 1}, V: frame.Plane{Pix: planar[w*h*5/4:], Stride: w / 2, Step: 1}},
		"GREY": frame.Grey(grey, w, h, w),
	}
}

func TestCropRectFollowsUpstreamsRule(t *testing.T) {
	tests := []struct {
		name string
		box  Box
		w, h int
		want rect
	}{
		{"in the middle", Box{300, 200, 100, 100}, 1000, 800, rect{215, 115, 485, 385}},
		{"clamped to the height", Box{300, 200, 100, 400}, 1000, 800, rect{250, 0, 449, 799}},
		{"shifted right", Box{0, 300, 100, 100}, 1000, 800, rect{0, 215, 270, 485}},
		{"shifted up", Box{300, 690, 100, 100}, 1000, 800, rect{215, 529, 485, 799}},
		{"shifted left", Box{890, 300, 100, 100}, 1000, 800, rect{729, 215, 999, 485}},
		{"box of the whole picture", Box{0, 0, 80, 80}, 80, 80, rect{0, 0, 79, 79}},
		{"cut off by the left edge", Box{-40, 300, 100, 100}, 1000, 800, rect{0, 215, 270, 485}},
		{"box beyond the picture", Box{-20, -20, 200, 200}, 80, 80, rect{0, 0, 79, 79}},
	}
	for _, tt := range tests {
		got, err := cropRect(tt.box, 2.7, tt.w, tt.h)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	for _, b := range []Box{{0, 0, 0, 10}, {0, 0, math.NaN(), 10}, {math.Inf(1), 0, 10, 10}, {0, 0, math.Inf(1), 10}, {1e9, 0, 10, 10}} {
		if r, err := cropRect(b, 2.7, 100, 100); err == nil {
			t.Errorf("box %v gave %v, want an error", b, r)
		}
	}
}

func FuzzCropStaysInside(f *testing.F) {
	f.Add(10.0, 10.0, 50.0, 60.0, 2.7, uint16(640), uint16(480))
	f.Add(-1e5, 3.0, 1e5, 1e-3, 4.0, uint16(2), uint16(3))
	f.Fuzz(func(t *testing.T, x, y, w, h, scale float64, pw, ph uint16) {
		if !(scale >= 1 && scale <= 8) {
			t.Skip()
		}
		r, err := cropRect(Box{x, y, w, h}, scale, int(pw), int(ph))
		if err != nil {
			return
		}
		if r.X0 < 0 || r.Y0 < 0 || r.X1 >= int(pw) || r.Y1 >= int(ph) || r.X0 > r.X1 || r.Y0 > r.Y1 {
			t.Fatalf("%v of %d×%d", r, pw, ph)
		}
	})
}

// TestSampleMatchesFloatingPoint holds the fixed-point sampler to the definition: bilinear between pixel centres.
func TestSampleMatchesFloatingPoint(t *testing.T) {
	for name, m := range pictures(320, 240) {
		r := rect{30, 20, 269, 229}
		s := newSampler(80, 80, "BGR")
		got := make([]byte, 80*80*3)
		s.sample(got, &m, r)
		var worst int
		for oy := range 80 {
			for ox := range 80 {
				fx := (float64(ox)+0.5)*float64(r.X1-r.X0+1)/80 - 0.5 + float64(r.X0)
				fy := (float64(oy)+0.5)*float64(r.Y1-r.Y0+1)/80 - 0.5 + float64(r.Y0)
				want := bilinear(&m, fx, fy)
				for c := range 3 {
					worst = max(worst, abs(int(got[(oy*80+ox)*3+2-c])-want[c]))
				}
			}
		}
		// Chroma is interpolated here and repeated there: on this smooth scene that is a few steps.
		limit := 5
		if name == "GREY" {
			limit = 1
		}
		if worst > limit {
			t.Errorf("%s: off by up to %d, want at most %d", name, worst, limit)
		}
	}
}

func bilinear(m *frame.Image, fx, fy float64) (out [3]int) {
	x0, y0 := int(math.Floor(fx)), int(math.Floor(fy))
	var sum [3]float64
	for dy := range 2 {
		for dx := range 2 {
			wx, wy := math.Abs(1-float64(dx)-(fx-float64(x0))), math.Abs(1-float64(dy)-(fy-float64(y0)))
			r, g, b := m.RGB(x0+dx, y0+dy)
			for c, v := range []byte{r, g, b} {
				sum[c] += wx * wy * float64(v)
			}
		}
	}
	for c := range out {
		out[c] = int(sum[c] + 0.5)
	}
	return out
}

func abs(v int) int { return max(v, -v) }

func TestLetterboxIsTheMeanOfWhatAPixelCovers(t *testing.T) {
	for name, m := range pictures(640, 480) {
		l := newLetterbox(224, 160)
		got := make([]byte, 224*160*3)
		factor := l.shrink(got, &m)
		if factor != 3 {
			t.Fatalf("%s: factor %v, want 3", name, factor)
		}
		var worst int
		for oy := range 160 {
			for ox := range 213 {
				x0, x1 := ox*640/213, (ox+1)*640/213
				var sum [3]int
				n := 0
				for y := 3 * oy; y < 3*oy+3; y++ {
					for x := x0; x < x1; x++ {
						r, g, b := m.RGB(x, y)
						sum[0] += int(r)
						sum[1] += int(g)
						sum[2] += int(b)
						n++
					}
				}
				for c := range 3 {
					worst = max(worst, abs(int(got[(oy*224+ox)*3+c])-(sum[c]+n/2)/n))
				}
			}
			for ox := 213; ox < 224; ox++ {
				if got[(oy*224+ox)*3] != 0 {
					t.Fatalf("%s: column %d beside the picture is %d, want black", name, ox, got[(oy*224+ox)*3])
				}
			}
		}
		limit := 6 // chroma columns are shared by two pixels
		if name == "GREY" {
			limit = 1
		}
		if worst > limit {
			t.Errorf("%s: off by up to %d, want at most %d", name, worst, limit)
		}
	}
}

func TestLetterboxNeverEnlarges(t *testing.T) {
	for name, m := range pictures(100, 60) {
		l := newLetterbox(224, 160)
		got := make([]byte, 224*160*3)
		if factor := l.shrink(got, &m); factor != 1 {
			t.Errorf("%s: factor %v, want 1", name, factor)
		}
		r, g, b := m.RGB(50, 30)
		at := (30*224 + 50) * 3
		if abs(int(got[at])-int(r)) > 1 || abs(int(got[at+1])-int(g)) > 1 || abs(int(got[at+2])-int(b)) > 1 {
			t.Errorf("%s: pixel (50,30) is %v, want %v", name, got[at:at+3], []byte{r, g, b})
		}
	}
}

// Odd sizes and single pixels must not reach outside the planes: the slices would panic.
func TestTinyAndOddPictures(t *testing.T) {
	for w := 1; w < 12; w++ {
		for h := 1; h < 12; h++ {
			cw, ch := (w+1)/2, (h+1)/2
			m := frame.Image{Width: w, Height: h, ShiftX: 1, ShiftY: 1, Full: true,
				Y: frame.Plane{Pix: make([]byte, w*h), Stride: w, Step: 1},
				U: frame.Plane{Pix: make([]byte, cw*ch), Stride: cw, Step: 1},
				V: frame.Plane{Pix: make([]byte, cw*ch), Stride: cw, Step: 1}}
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			newLetterbox(224, 160).shrink(make([]byte, 224*160*3), &m)
			newLetterbox(3, 2).shrink(make([]byte, 3*2*3), &m)
			if w > 1 && h > 1 {
				r, err := cropRect(Box{0, 0, float64(w), float64(h)}, 2.7, w, h)
				if err != nil {
					t.Fatal(err)
				}
				newSampler(80, 80, "RGB").sample(make([]byte, 80*80*3), &m, r)
			}
		}
	}
}

// copied is a picture that was really turned, sample by sample.
func copied(m *frame.Image) frame.Image {
	out := *m
	for i, p := range []*frame.Plane{&out.Y, &out.U, &out.V} {
		if p.Pix == nil {
			continue
		}
		w, h := m.Width, m.Height
		if i > 0 {
			w, h = (w+1<<m.ShiftX-1)>>m.ShiftX, (h+1<<m.ShiftY-1)>>m.ShiftY
		}
		q := frame.Plane{Pix: make([]byte, w*h), Stride: w, Step: 1}
		for y := range h {
			for x := range w {
				q.Pix[y*w+x] = p.At(x, y)
			}
		}
		*p = q
	}
	return out
}

// What nets see of a turned picture is what they see of one that was turned by copying it, but that the borders of what is averaged lie a
// pixel aside where sizes don't divide, and colours half a sample, since only the plain one's samples lie where they should: two
// levels of luma here, and more of colours, which the way to RGB doubles.
func TestTurnedPicturesAreSeenAsCopiesOfThem(t *testing.T) {
	difference := func(a, b []byte) (most int, mean float64) {
		for i := range a {
			d := int(a[i]) - int(b[i])
			most = max(most, d, -d)
			mean += math.Abs(float64(d)) / float64(len(a))
		}
		return most, mean
	}
	for _, size := range [][2]int{{640, 480}, {322, 246}, {90, 60}} {
		for name, m := range pictures(size[0], size[1]) {
			for _, degrees := range []int{0, 90, 180, 270} {
				for _, mirror := range []bool{false, true} {
					v := m.Turned(degrees)
					if mirror {
						v = v.Mirrored()
					}
					c := copied(&v)
					l, s := newLetterbox(224, 160), newSampler(80, 60, "BGR")
					a, b := make([]byte, 224*160*3), make([]byte, 224*160*3)
					if f, g := l.shrink(a, &v), newLetterbox(224, 160).shrink(b, &c); f != g {
						t.Errorf("%s %v, %d degrees, %v: factor %v, of a copy %v", name, size, degrees, mirror, f, g)
					}
					limit, average := 3, 0.9
					if !m.Gray() {
						limit, average = 14, 2
					}
					if most, mean := difference(a, b); most > limit || mean > average {
						t.Errorf("%s %v, %d degrees, %v: small pictures differ by %d, %.2f on average", name, size, degrees, mirror, most, mean)
					}
					a, b = a[:80*60*3], b[:80*60*3]
					r := rect{v.Width / 5, v.Height / 3, v.Width - 3, v.Height - 20}
					s.sample(a, &v, r)
					newSampler(80, 60, "BGR").sample(b, &c, r)
					if most, mean := difference(a, b); most > limit/3 || mean > average/2 {
						t.Errorf("%s %v, %d degrees, %v: parts differ by %d, %.2f on average", name, size, degrees, mirror, most, mean)
					}
				}
			}
		}
	}
}

func TestTurnedPicturesDoNotAllocate(t *testing.T) {
	m := pictures(640, 480)["NV12"].Turned(90)
	l, s := newLetterbox(224, 160), newSampler(80, 60, "RGB")
	dst := make([]byte, 224*160*3)
	once := func() {
		l.shrink(dst, &m)
		s.sample(dst, &m, rect{10, 10, 200, 200})
	}
	once()
	if n := testing.AllocsPerRun(10, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTurned(b *testing.B) {
	for _, name := range []string{"YUYV", "I420"} {
		m := pictures(640, 480)[name]
		for _, degrees := range []int{0, 90, 180} {
			v := m.Turned(degrees)
			b.Run(fmt.Sprintf("%s/%d", name, degrees), func(b *testing.B) {
				b.ReportAllocs()
				l, s := newLetterbox(224, 160), newSampler(80, 80, "RGB")
				dst := make([]byte, 224*160*3)
				for b.Loop() {
					l.shrink(dst, &v)
					s.sample(dst, &v, rect{100, 20, 400, 320})
				}
			})
		}
	}
}

func BenchmarkCrop(b *testing.B) {
	for _, name := range []string{"YUYV", "I420"} {
		m := pictures(1280, 720)[name]
		s := newSampler(80, 80, "BGR")
		dst := make([]byte, 80*80*3)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.sample(dst, &m, rect{300, 20, 947, 719})
			}
		})
	}
}

func BenchmarkLetterbox(b *testing.B) {
	for _, size := range [][2]int{{640, 480}, {1280, 720}} {
		for _, name := range []string{"YUYV", "I420"} {
			m := pictures(size[0], size[1])[name]
			l := newLetterbox(224, 160)
			dst := make([]byte, 224*160*3)
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					l.shrink(dst, &m)
				}
			})
		}
	}
}

func TestMeansAreExact(t *testing.T) {
	var m means
	m.of(100)
	m.of(8000) // of the largest picture that Check accepts there are fewer
	r := rand.New(rand.NewPCG(5, 6))
	for n := uint32(1); n <= 8000; n++ {
		for _, sum := range []uint32{0, 1, n - 1, n, n / 2, 255 * n, 255*n - 1, r.Uint32N(255*n + 1), r.Uint32N(255*n + 1)} {
			if got, want := m.mean(sum, n), int32((uint64(sum)<<sampleBits+uint64(n)/2)/uint64(n)); got != want {
				t.Fatalf("%d of %d samples: %d, not %d", sum, n, got, want)
			}
		}
	}
}
