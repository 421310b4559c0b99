package camera

import (
	"bytes"
	"errors"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// widths plays until the end, or until so many frames came, and gives their widths.
func widths(t *testing.T, c *Camera, most int) (ws []int) {
	t.Helper()
	for len(ws) < most {
		f, err := c.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return ws
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Check(); err != nil {
			t.Fatal(err)
		}
		ws = append(ws, f.Width)
	}
	return ws
}

func write(t *testing.T, folder, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReplayPlaysOnceAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c, err := OpenPictures(Options{Name: "demo", FPS: 10}, [][]byte{encode(t, 8, 8), encode(t, 16, 8), encode(t, 24, 8)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := widths(t, c, 100); !slices.Equal(got, []int{8, 16, 24}) {
			t.Errorf("widths %v", got)
		}
		if took := time.Since(start); took != 200*time.Millisecond {
			t.Errorf("three frames at ten a second took %v", took)
		}
		synctest.Wait()
		s := c.Status()
		if s.State != StateFailed || s.Code != CodeLost || s.Counters.Dropped != 0 || s.Width != 24 || s.Format != formatMJPG {
			t.Errorf("after the end: %+v", s)
		}
		if _, err := c.Next(t.Context()); err != io.EOF {
			t.Errorf("Next after the end: %v", err)
		}
	})
}

func TestReplayLoopsAtItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clip := slices.Concat(encode(t, 8, 8), []byte("between"), encode(t, 16, 8))
		c, err := OpenClip(Options{FPS: 4, Loop: true}, clip)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		start := time.Now()
		if got := widths(t, c, 9); !slices.Equal(got, []int{8, 16, 8, 16, 8, 16, 8, 16, 8}) {
			t.Errorf("widths %v", got)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("nine frames at four a second took %v", took)
		}
		if s := c.Status(); s.State != StateStreaming {
			t.Errorf("%s", s.State)
		}
	})
}

func TestReplayDropsForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := OpenPictures(Options{FPS: 10, Loop: true}, [][]byte{encode(t, 8, 8)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(10*time.Second + time.Millisecond)
		f, err := c.Next(t.Context())
		if err != nil || f.Sequence != 101 {
			t.Errorf("frame %d, %v", f.Sequence, err)
		}
		if n := c.Status().Counters; n.Dropped != 100 {
			t.Errorf("counters %+v", n)
		}
	})
}

func TestReplaysAFolderByNameAndSkipsWhatIsNoPicture(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.png", pngOf(t, image.NewRGBA(image.Rect(0, 0, 24, 8))))
	write(t, dir, "a.JPG", encode(t, 16, 8))
	write(t, dir, "c.jpeg", encode(t, 32, 8))
	write(t, dir, "d.jpg", encode(t, 64, 64)[:400])
	write(t, dir, "e.jpg", nil)
	write(t, dir, "f.jpg", []byte("no picture"))
	write(t, dir, "g.png", pngOf(t, image.NewGray(image.Rect(0, 0, 9, 9)))[:50])
	write(t, dir, "notes.txt", []byte("not listed"))
	write(t, dir, "z.jpg", encode(t, 40, 8))
	if err := os.Mkdir(filepath.Join(dir, "folder.jpg"), 0o755); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := Open(Options{Path: "replay:" + dir})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := widths(t, c, 100); !slices.Equal(got, []int{16, 24, 32, 40}) {
			t.Errorf("widths %v", got)
		}
		n := c.Status().Counters
		if want := (Bad{Truncated: 1, Empty: 1, Corrupt: 2}); n.Bad != want || n.Captured != 8 {
			t.Errorf("counters %+v, want bad %+v of 8", n, want)
		}
	})
}

func TestReplayWaitsForItsFolderToAppear(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "late")
	synctest.Test(t, func(t *testing.T) {
		c, err := Open(Options{Path: "replay:" + dir})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Minute)
		if s := c.Status(); s.State != StateRecovering || s.Code != CodeLost {
			t.Errorf("%+v", s)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if s := c.Status(); s.State != StateFailed || s.Hint == "" {
			t.Errorf("empty folder: %+v", s)
		}
		write(t, dir, "a.jpg", encode(t, 16, 8))
		if got := widths(t, c, 100); !slices.Equal(got, []int{16}) {
			t.Errorf("widths %v", got)
		}
	})
}

func TestReplaysAClipFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "clip.mjpeg", slices.Concat(encode(t, 8, 8), encode(t, 16, 8)))
	write(t, dir, "one.png", pngOf(t, image.NewGray(image.Rect(0, 0, 24, 8))))
	for name, want := range map[string][]int{"clip.mjpeg": {8, 16}, "one.png": {24}} {
		synctest.Test(t, func(t *testing.T) {
			c, err := Open(Options{Path: "replay:" + filepath.Join(dir, name)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := widths(t, c, 100); !slices.Equal(got, want) {
				t.Errorf("%s: widths %v, want %v", name, got, want)
			}
		})
	}
}

func TestClipWithoutPicturesIsRefused(t *testing.T) {
	c, err := OpenClip(Options{}, bytes.Repeat([]byte("x"), 100))
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, errNoPictures) {
		t.Errorf("got %v", err)
	}
}
