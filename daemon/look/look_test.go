package look

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

// face draws something with a face's shapes: an oval on a darker ground, eyes, a mouth, and hair that differs from seed to seed.
// light and gain are the exposure, shift moves it across.
func face(w, h int, seed uint64, light, gain, shift float64) frame.Image {
	r := rand.New(rand.NewPCG(seed, 1))
	var bumps [12][4]float64
	for i := range bumps {
		bumps[i] = [4]float64{r.Float64(), r.Float64(), 0.04 + 0.08*r.Float64(), 160*r.Float64() - 80}
	}
	pix := make([]byte, w*h)
	for y := range h {
		for x := range w {
			u, v := (float64(x)+0.5)/float64(w)-shift, (float64(y)+0.5)/float64(h)
			l := 60.0
			if sq(u-0.5)/0.16+sq(v-0.5)/0.2 < 1 {
				l = 130
			}
			for _, b := range bumps {
				l += b[3] * math.Exp(-(sq(u-b[0])+sq(v-b[1]))/(2*b[2]*b[2]))
			}
			for _, eye := range []float64{0.33, 0.67} {
				if math.Abs(u-eye) < 0.07 && math.Abs(v-0.42) < 0.03 {
					l -= 70
				}
			}
			if math.Abs(u-0.5) < 0.15 && math.Abs(v-0.72) < 0.02 {
				l -= 50
			}
			pix[y*w+x] = byte(min(max(light+gain*(l-110), 0), 255))
		}
	}
	return frame.Grey(pix, w, h, w)
}

func sq(v float64) float64 { return v * v }

// smear is a box filter over so many pixels across and down.
func smear(m frame.Image, across, down int) frame.Image {
	out := make([]byte, len(m.Y.Pix))
	for y := range m.Height {
		for x := range m.Width {
			sum, n := 0, 0
			for j := range down {
				for i := range across {
					xx, yy := x+i-across/2, y+j-down/2
					if image.Pt(xx, yy).In(m.Bounds()) {
						sum += int(m.Y.Pix[yy*m.Y.Stride+xx])
						n++
					}
				}
			}
			out[y*m.Width+x] = byte(sum / n)
		}
	}
	return frame.Grey(out, m.Width, m.Height, m.Width)
}

func measure(m frame.Image) decision.Look {
	return New().Measure(&m, 0, 0, float64(m.Width), float64(m.Height))
}

func distance(a, b decision.Signature) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return 1 - sum
}

func TestBrightnessAndClipping(t *testing.T) {
	for _, tt := range []struct {
		name               string
		light, gain        float64
		luma, dark, bright float64 // about
	}{
		{"well lit", 110, 1, 130, 0, 0},
		{"dark", 20, 0.2, 24, 0, 0},
		{"black", -200, 1, 0, 1, 0},
		{"blown out", 500, 1, 255, 0, 1},
	} {
		l := measure(face(120, 150, 1, tt.light, tt.gain, 0))
		if !l.Known || math.Abs(l.Luma-tt.luma) > 12 || math.Abs(l.Dark-tt.dark) > 0.05 || math.Abs(l.Bright-tt.bright) > 0.05 {
			t.Errorf("%s: %+v", tt.name, l)
		}
	}
}

func TestAVideosLumaIsSpreadOut(t *testing.T) {
	m := face(120, 150, 1, 110, 1, 0)
	full := measure(m)
	for i, v := range m.Y.Pix {
		m.Y.Pix[i] = byte(16 + math.Round(float64(v)*219/255))
	}
	m.Full = false
	if l := measure(m); math.Abs(l.Luma-full.Luma) > 1 || distance(l.Signature, full.Signature) > 0.001 {
		t.Errorf("%v and %v", l.Luma, full.Luma)
	}
}

func TestSharpnessFallsWithBlurAndNotWithExposureOrSize(t *testing.T) {
	sharp := measure(face(200, 250, 1, 110, 1, 0)).Sharp
	for name, m := range map[string]frame.Image{
		"half the contrast": face(200, 250, 1, 110, 0.5, 0),
		"brighter":          face(200, 250, 1, 150, 0.8, 0),
		"half the size":     face(100, 125, 1, 110, 1, 0),
		"twice the size":    face(400, 500, 1, 110, 1, 0),
	} {
		if got := measure(m).Sharp; math.Abs(got-sharp) > 0.05 {
			t.Errorf("%s: %.3f, not %.3f", name, got, sharp)
		}
	}
	for name, m := range map[string]frame.Image{
		"out of focus":   smear(smear(face(200, 250, 1, 110, 1, 0), 25, 25), 25, 25),
		"moved across":   smear(face(200, 250, 1, 110, 1, 0), 50, 1),
		"moved down":     smear(face(200, 250, 1, 110, 1, 0), 1, 80),
		"nothing at all": face(200, 250, 1, 110, 0, 0),
	} {
		if got := measure(m).Sharp; got > sharp-0.06 {
			t.Errorf("%s: %.3f, hardly below %.3f", name, got, sharp)
		}
	}
}

func TestASignatureIsTheSameInOtherLightAndOtherForOthers(t *testing.T) {
	one := measure(face(160, 200, 1, 110, 1, 0)).Signature
	for name, m := range map[string]frame.Image{
		"darker":          face(160, 200, 1, 80, 0.6, 0),
		"brighter":        face(160, 200, 1, 140, 0.8, 0),
		"smaller":         face(80, 100, 1, 110, 1, 0),
		"moved by a hair": face(160, 200, 1, 110, 1, 0.02),
	} {
		if d := distance(one, measure(m).Signature); d > 0.1 {
			t.Errorf("%s: %.3f", name, d)
		}
	}
	for seed := range uint64(20) {
		if d := distance(one, measure(face(160, 200, seed+2, 110, 1, 0)).Signature); d < 0.1 {
			t.Errorf("somebody else, %d: %.3f", seed, d)
		}
	}
	if s := measure(face(160, 200, 1, 110, 0, 0)).Signature; s != (decision.Signature{}) {
		t.Errorf("a grey surface looks like %v", s)
	}
}

func TestABoxOutsideThePictureHasNoLook(t *testing.T) {
	m := face(64, 48, 1, 110, 1, 0)
	nan, inf := math.NaN(), math.Inf(1)
	for _, b := range [][4]float64{{100, 0, 20, 20}, {0, -50, 20, 20}, {60, 40, 20, 20}, {0, 0, 3, 40}, {0, 0, -20, 20}, {nan, 0, 20, 20},
		{0, 0, nan, 20}, {inf, 0, 20, 20}, {-inf, 0, 20, 20}} {
		if l := New().Measure(&m, b[0], b[1], b[2], b[3]); l != (decision.Look{}) {
			t.Errorf("%v: %+v", b, l)
		}
	}
	if l := New().Measure(&m, -10, -10, 1e300, inf); !l.Known {
		t.Error("a box around the picture is the picture")
	}
}

// FuzzMeasure: whatever the box and the layout of the planes, nothing outside them is read and all measures are finite.
func FuzzMeasure(f *testing.F) {
	f.Add(64, 48, 64, 1, 3.0, 4.0, 30.0, 40.0, []byte{1, 200, 3})
	f.Add(9, 9, 20, 2, -3.0, 0.0, 1e18, 9.0, []byte{0})
	f.Add(32, 8, 32, 1, 0.0, 0.0, 8.0, 8.0, []byte{255, 0})
	f.Fuzz(func(t *testing.T, w, h, stride, step int, x, y, bw, bh float64, pattern []byte) {
		if w < 1 || h < 1 || w > 200 || h > 200 || step < 1 || step > 4 || stride < (w-1)*step+1 || stride > 1000 || len(pattern) == 0 {
			t.Skip()
		}
		pix := make([]byte, (h-1)*stride+(w-1)*step+1)
		for i := range pix {
			pix[i] = pattern[i%len(pattern)]
		}
		m := frame.Image{Width: w, Height: h, Y: frame.Plane{Pix: pix, Stride: stride, Step: step}}
		l := New().Measure(&m, x, y, bw, bh)
		for _, v := range []float64{l.Luma, l.Dark, l.Bright, l.Sharp, distance(l.Signature, l.Signature)} {
			if math.IsNaN(v) || v < -1 || v > 256 {
				t.Errorf("%+v", l)
			}
		}
	})
}

func TestATurnedPictureIsMeasuredAsWhatItShows(t *testing.T) {
	s := New()
	plain := face(100, 80, 1, 110, 1, 0)
	for _, degrees := range []int{90, 180, 270} {
		turned := plain.Turned(degrees).Part(image.Rect(4, 6, 76, 74))
		pix := make([]byte, 0, turned.Width*turned.Height)
		for y := range turned.Height {
			for x := range turned.Width {
				pix = append(pix, turned.Y.At(x, y))
			}
		}
		upright := frame.Grey(pix, turned.Width, turned.Height, turned.Width)
		if got, want := s.Measure(&turned, 5, 3, 50, 60), s.Measure(&upright, 5, 3, 50, 60); got != want || !got.Known {
			t.Errorf("%d degrees: %+v, want %+v", degrees, got, want)
		}
	}
}

func TestMeasuringAllocatesNothing(t *testing.T) {
	m := face(320, 400, 1, 110, 1, 0)
	s := New()
	if n := testing.AllocsPerRun(10, func() { s.Measure(&m, 10, 10, 300, 380) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMeasure(b *testing.B) {
	m := face(640, 800, 1, 110, 1, 0)
	s := New()
	b.ReportAllocs()
	for b.Loop() {
		s.Measure(&m, 100, 100, 300, 380)
	}
}
