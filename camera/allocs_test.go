package camera

import (
	"context"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/jpeg"
)

// What a camera does for each frame, its goroutine's part as well as Next's.
func TestAFrameAllocatesNothing(t *testing.T) {
	if jpeg.Backend != "libjpeg-turbo" {
		t.Skip("Go's decoder allocates each picture")
	}
	c, err := OpenPictures(Options{FPS: 500, Loop: true}, [][]byte{encode(t, 64, 48), encode(t, 64, 48)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	next := func() {
		if _, err := c.Next(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		next()
	}
	if n := testing.AllocsPerRun(100, next); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAFrameThatIsPassedIsNotDecoded(t *testing.T) {
	bad := encode(t, 64, 48)
	for i := len(bad) / 2; i < len(bad)-2; i++ {
		bad[i] = 0 // it looks whole, and can't be decoded
	}
	c, err := OpenPictures(Options{FPS: 500, Loop: true}, [][]byte{bad})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 3 {
		if err := c.Pass(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Status().Counters.Bad.Total(); n != 0 {
		t.Errorf("%d frames were decoded", n)
	}
}
