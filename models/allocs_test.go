package models

import (
	"math/rand/v2"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/tflite"
)

func TestLookingAllocatesNothing(t *testing.T) {
	d, l := nets(t, tflite.XNNPACK)
	r := rand.New(rand.NewPCG(1, 2))
	pix := make([]byte, 2*640*480)
	for i := range pix {
		pix[i] = byte(r.Uint32())
	}
	for name, m := range map[string]frame.Image{
		"YUYV": frame.YUYV(pix, 640, 480, 1280), "NV12": frame.NV12(pix, 640, 480, 640), "GREY": frame.Grey(pix, 640, 480, 640),
	} {
		look := func() {
			if _, err := d.Detect(&m); err != nil {
				t.Fatal(err)
			}
			if err := l.Crop(&m, Box{X: 100, Y: 100, W: 200, H: 240}); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Judge(); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(5, look); n != 0 {
			t.Errorf("%s: a frame allocates %v times", name, n)
		}
	}
}
