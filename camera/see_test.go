package camera

import (
	"errors"
	"image"
	"math"
	"testing"
	"testing/synctest"

	"github.com/livenessd/livenessd/camera/frame"
)

func TestFramesAreHandedOutAsTheOptionsSay(t *testing.T) {
	lay := layout{device: "/dev/fake", format: formatMJPG, width: 64, height: 48, fps: 30}
	picture := encode(t, 64, 48)
	for _, c := range []struct {
		name   string
		o      Options
		w, h   int
		offset image.Point
		same   bool // the picture is what the camera sent
	}{
		{"as they come", Options{}, 64, 48, image.Point{}, true},
		{"turned", Options{Rotate: 90}, 48, 64, image.Point{}, false},
		{"upside down", Options{Rotate: 180}, 64, 48, image.Point{}, false},
		{"mirrored", Options{Mirror: true}, 64, 48, image.Point{}, false},
		{"a part", Options{Region: Region{0.25, 0.5, 0.5, 0.5}}, 32, 24, image.Pt(16, 24), false},
		{"a part of a turned one", Options{Rotate: 270, Region: Region{0, 0.25, 1, 0.75}}, 48, 48, image.Pt(0, 16), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cam, _ := fakeCamera(t, c.o, plan{lay: lay, frames: [][]byte{picture}, period: period})
				f, err := cam.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if f.Width != c.w || f.Height != c.h || f.Offset != c.offset || (f.JPEG != nil) != c.same {
					t.Errorf("%d×%d at %v, the camera's JPEG: %v", f.Width, f.Height, f.Offset, f.JPEG != nil)
				}
				if s := cam.Status(); s.Width != 64 || s.Height != 48 {
					t.Errorf("the camera sends %d×%d", s.Width, s.Height)
				}
			})
		})
	}
}

func TestRegionOfATinyPictureIsABadFrame(t *testing.T) {
	o := Options{Region: Region{0, 0, 0.1, 1}}
	if _, _, err := o.see(frame.Grey(make([]byte, 100*100), 100, 100, 100)); !errors.Is(err, errWrongSize) || !errors.Is(err, errRegion) {
		t.Errorf("got %v", err)
	}
}

func TestRegionsThatCannotBe(t *testing.T) {
	for _, r := range []Region{{0.5, 0, 0.6, 1}, {0, 0, 0.01, 1}, {-0.1, 0, 1, 1}, {0, 0, 1, 1.5}, {math.NaN(), 0, 1, 1}, {0, 0, math.Inf(1), 1}, {0, 0.2, 1, 0}} {
		o := Options{Region: r}
		if o.Check() == nil {
			t.Errorf("%v is taken", r)
		}
	}
	for _, r := range []Region{{}, {0, 0, 1, 1}, {0.7, 0.9, 0.3, 0.1}} {
		o := Options{Region: r}
		if err := o.Check(); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
	o := Options{Rotate: 45}
	if o.Check() == nil {
		t.Error("45 degrees are taken")
	}
}
