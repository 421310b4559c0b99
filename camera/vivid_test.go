//go:build linux

package camera

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
)

// TestVivid runs in the lab alone (cross/lab/tests/formats.sh): LIVENESSD_VIVID is a file of what v4l2-ctl captured from the driver as RGB3
// at 320×180. In each format its still picture must be that, away from edges, where colours are coarser.
func TestVivid(t *testing.T) {
	file := os.Getenv("LIVENESSD_VIVID")
	if file == "" {
		t.Skip("the lab runs it, where there is a vivid")
	}
	const w, h = 320, 180
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 3*w*h {
		t.Fatalf("%d bytes", len(want))
	}
	at := func(x, y int) [3]byte { return [3]byte(want[3*(y*w+x):]) }
	flat := func(x, y int) bool {
		for dy := -2; dy <= 2; dy++ {
			for dx := -2; dx <= 2; dx++ {
				if at(min(max(x+dx, 0), w-1), min(max(y+dy, 0), h-1)) != at(x, y) {
					return false
				}
			}
		}
		return true
	}
	for _, format := range formats {
		if format == formatMJPG { // vivid has none
			continue
		}
		t.Run(format, func(t *testing.T) {
			c, err := Open(Options{Path: "/dev/video0", Format: format, Width: w, Height: h, FPS: 5, AllowVirtual: true})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var f *frame.Frame
			for range 2 {
				if f, err = c.Next(ctx); err != nil {
					t.Fatalf("%v; %+v", err, c.Status())
				}
			}
			if f.Format != format || f.Width != w || f.Height != h {
				t.Fatalf("%s %d×%d", f.Format, f.Width, f.Height)
			}
			var most, n int
			var sum float64
			for y := range h {
				for x := range w {
					if !flat(x, y) {
						continue
					}
					r, g, b := f.RGB(x, y)
					got, ref := [3]byte{r, g, b}, at(x, y)
					if f.Gray() { // vivid makes it by the luma of BT.709
						l := byte((2126*int(ref[0]) + 7152*int(ref[1]) + 722*int(ref[2]) + 5000) / 10000)
						ref = [3]byte{l, l, l}
					}
					for i := range got {
						d := max(int(got[i])-int(ref[i]), int(ref[i])-int(got[i]))
						most, sum, n = max(most, d), sum+float64(d), n+1
					}
				}
			}
			if n < w*h {
				t.Fatalf("only %d samples lie away from edges", n)
			}
			t.Logf("off by %d of 255 at most, %.2f on average, over %d samples", most, sum/float64(n), n)
			if most > 4 || sum/float64(n) > 1.2 {
				t.Errorf("off by %d of 255 at most, %.2f on average", most, sum/float64(n))
			}
		})
	}
}
