package models

import (
	"math"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/tflite"
)

func TestTheBoxRuleGrowsMovesAndPads(t *testing.T) {
	square, wide := &Input{Width: 80, Height: 80}, &Input{Width: 160, Height: 80}
	for _, tt := range []struct {
		name string
		crop Crop
		in   *Input
		box  Box
		w, h int
		want rect
	}{
		{"the box as it is", Crop{Scale: 1}, square, Box{100, 200, 50, 60}, 640, 480, rect{100, 200, 150, 260}},
		{"twice the box", Crop{Scale: 2}, square, Box{100, 200, 50, 60}, 640, 480, rect{75, 170, 175, 290}},
		{"grown to a square", Crop{Scale: 1, Aspect: "keep"}, square, Box{100, 200, 50, 60}, 640, 480, rect{95, 200, 155, 260}},
		{"grown to a wide input", Crop{Scale: 1, Aspect: "keep"}, wide, Box{300, 200, 50, 60}, 640, 480, rect{265, 200, 385, 260}},
		{"a wide box grown in height", Crop{Scale: 1, Aspect: "keep"}, square, Box{100, 200, 60, 20}, 640, 480, rect{100, 180, 160, 240}},
		{"clamped and moved inside", Crop{Scale: 2, Aspect: "keep"}, square, Box{0, 0, 100, 200}, 640, 300, rect{0, 0, 299, 299}},
		{"moved inside at the right", Crop{Scale: 2, Outside: "shift"}, square, Box{600, 100, 30, 30}, 640, 480, rect{579, 85, 639, 145}},
		{"reaching outside", Crop{Scale: 2, Outside: "black"}, square, Box{0, 0, 100, 200}, 640, 300, rect{-50, -100, 149, 299}},
		{"reaching outside, grown", Crop{Scale: 1, Outside: "edge", Aspect: "keep"}, square, Box{0, 0, 100, 200}, 640, 300, rect{-50, 0, 149, 199}},
	} {
		tt.crop.Rule = "box"
		got, err := tt.crop.rect(tt.box, tt.in, tt.w, tt.h)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	padded := Crop{Rule: "box", Scale: 1, Outside: "black"}
	for _, b := range []Box{{-100, 0, 50, 50}, {0, 200, 50, 50}, {0, 0, math.NaN(), 10}, {0, 0, 0, 10}, {0, 0, 2e6, 2e6}, {0, 0, 1e308, 1e307}, {math.Inf(1), 0, 10, 10}} {
		if r, err := padded.rect(b, square, 100, 100); err == nil {
			t.Errorf("box %v gave %v, want an error", b, r)
		}
	}
}

// A padded crop must be what one gets by padding the picture first and cutting then.
func TestPaddingIsThatOfAPaddedPicture(t *testing.T) {
	const w, h, border = 120, 90, 60
	small := pictures(w, h)["GREY"]
	for _, outside := range []string{"edge", "black"} {
		large := make([]byte, (w+2*border)*(h+2*border))
		for y := range h + 2*border {
			for x := range w + 2*border {
				sx, sy := x-border, y-border
				inside := sx >= 0 && sx < w && sy >= 0 && sy < h
				sx, sy = min(max(sx, 0), w-1), min(max(sy, 0), h-1)
				v := small.Y.Pix[sy*small.Y.Stride+sx]
				if outside == "black" && !inside {
					v = 0
				}
				large[y*(w+2*border)+x] = v
			}
		}
		around := frame.Grey(large, w+2*border, h+2*border, w+2*border)
		for _, r := range []rect{{-40, -30, 79, 59}, {10, 20, 129, 139}, {-50, -50, 160, 130}} {
			s := newSampler(40, 40, "RGB")
			got, want := make([]byte, 40*40*3), make([]byte, 40*40*3)
			s.sample(got, &small, r)
			if outside == "black" {
				s.blacken(got, r, w, h)
			}
			s.sample(want, &around, rect{r.X0 + border, r.Y0 + border, r.X1 + border, r.Y1 + border})
			for oy := range 40 {
				for ox := range 40 {
					at := (oy*40 + ox) * 3
					x := float64(r.X0) + (float64(ox)+0.5)*float64(r.X1-r.X0+1)/40
					y := float64(r.Y0) + (float64(oy)+0.5)*float64(r.Y1-r.Y0+1)/40
					if outside == "black" && (math.Abs(x) < 1 || math.Abs(x-w) < 1 || math.Abs(y) < 1 || math.Abs(y-h) < 1) {
						continue // there a padded picture mixes black into the edge, and this rule doesn't
					}
					if abs(int(got[at])-int(want[at])) > 1 {
						t.Fatalf("%s, part %v: output (%d,%d) is %d, want %d", outside, r, ox, oy, got[at], want[at])
					}
				}
			}
		}
	}
}

func FuzzBoxRuleNeverReachesOutsideThePlanes(f *testing.F) {
	f.Add(10.0, 10.0, 50.0, 60.0, 2.7, uint8(64), uint8(48), uint8(0))
	f.Add(-90.0, 3.0, 100.0, 40.0, 4.0, uint8(2), uint8(3), uint8(5))
	f.Add(60.0, 40.0, 500.0, 1.0, 8.0, uint8(64), uint8(48), uint8(3))
	dst := make([]byte, 24*16*3)
	f.Fuzz(func(t *testing.T, x, y, bw, bh, scale float64, pw, ph, how uint8) {
		c := Crop{Rule: "box", Scale: scale, Aspect: []string{"squash", "keep"}[how%2], Outside: []string{"shift", "black", "edge"}[how/2%3]}
		if len(c.check()) > 0 || pw < 1 || ph < 1 {
			t.Skip()
		}
		w, h := int(pw), int(ph)
		r, err := c.rect(Box{x, y, bw, bh}, &Input{Width: 24, Height: 16}, w, h)
		if err != nil {
			return
		}
		if r.X0 > r.X1 || r.Y0 > r.Y1 || c.Outside == "shift" && (r.X0 < 0 || r.Y0 < 0 || r.X1 >= w || r.Y1 >= h) {
			t.Fatalf("%v of %d×%d", r, w, h)
		}
		cw, ch := (w+1)/2, (h+1)/2
		m := frame.Image{Width: w, Height: h, ShiftX: 1, ShiftY: 1, Full: true,
			Y: frame.Plane{Pix: make([]byte, w*h), Stride: w, Step: 1},
			U: frame.Plane{Pix: make([]byte, cw*ch), Stride: cw, Step: 1},
			V: frame.Plane{Pix: make([]byte, cw*ch), Stride: cw, Step: 1}}
		s := newSampler(24, 16, "BGR")
		s.sample(dst, &m, r) // panics where it reaches outside
		s.blacken(dst, r, w, h)
	})
}

// The whole way of a padded crop: what the net is shown is black outside the picture, and nowhere else.
func TestANetIsShownBlackOutsideThePicture(t *testing.T) {
	_, shipped := nets(t, "")
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := *shipped.model
	m.Crop = &Crop{Rule: "box", Scale: 2, Outside: "black"}
	l, err := NewLiveness(rt, &m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := pictures(640, 480)["YUYV"]
	if err := l.Crop(&p, Box{0, 0, 100, 100}); err != nil { // from −50 to 149: a quarter of each side lies outside
		t.Fatal(err)
	}
	for y := range 80 {
		for x := range 80 {
			at := (y*80 + x) * 3
			black := l.net.pix[at] == 0 && l.net.pix[at+1] == 0 && l.net.pix[at+2] == 0
			if black != (x < 20 || y < 20) {
				t.Fatalf("(%d,%d) is %v", x, y, l.net.pix[at:at+3])
			}
		}
	}
	if _, err := l.Judge(); err != nil {
		t.Error(err)
	}
}
