package models

import (
	"bytes"
	"encoding/json"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
)

// TestPreprocessingIsWhatTrainingSees: crops and letterboxed pictures are, within a few grey levels, what models/train makes of the
// same JPEG files (preprocess.py, whose own check holds that half). The places are the same integers; what differs is that OpenCV
// interpolates chroma before it samples, and this side while it does, which shows at sharp edges between colours.
func TestPreprocessingIsWhatTrainingSees(t *testing.T) {
	const folder = "testdata/preprocessing"
	// In grey levels of 0…255: the mean of a picture's differences, what 99 of 100 don't exceed, and what none does.
	cropped, boxed := apart{0.5, 3, 10}, apart{0.7, 7, 35}
	data, err := os.ReadFile(filepath.Join(folder, "pins.json"))
	if err != nil {
		t.Fatal(err)
	}
	var pins []struct {
		Picture string
		File    string
		Crop    *struct {
			Box   [4]float64
			Scale float64
			Rect  [4]int
		}
		Letterbox *struct{ Factors [2]float64 }
	}
	if err := json.Unmarshal(data, &pins); err != nil || len(pins) < 10 {
		t.Fatalf("%d pins, %v", len(pins), err)
	}
	for _, p := range pins {
		m := frame.FromImage(pinned(t, filepath.Join(folder, p.Picture)))
		want := pinned(t, filepath.Join(folder, p.File))
		w, h := want.Bounds().Dx(), want.Bounds().Dy()
		got, allowed := make([]byte, 3*w*h), boxed
		if p.Crop != nil {
			b := p.Crop.Box
			r, err := cropRect(Box{b[0], b[1], b[2], b[3]}, p.Crop.Scale, m.Width, m.Height)
			if want := (rect{p.Crop.Rect[0], p.Crop.Rect[1], p.Crop.Rect[2], p.Crop.Rect[3]}); err != nil || r != want {
				t.Errorf("%s: the part is %v (%v), in Python %v", p.File, r, err, want)
				continue
			}
			newSampler(w, h, "RGB").sample(got, &m, r)
			allowed = cropped
		} else {
			l := newLetterbox(w, h)
			l.shrink(got, &m)
			lw, lh, _ := l.fit(&m)
			fx, fy := float64(m.Width)/float64(lw), float64(m.Height)/float64(lh)
			if f := p.Letterbox.Factors; math.Abs(fx-f[0])+math.Abs(fy-f[1]) > 1e-9 {
				t.Errorf("%s: factors %v and %v, in Python %v", p.File, fx, fy, f)
			}
		}
		a := differences(got, want)
		t.Logf("%s: %.2f grey levels from Python's, 99 of 100 at most %d, all at most %d", p.File, a.mean, a.most, a.worst)
		if !(a.mean <= allowed.mean && a.most <= allowed.most && a.worst <= allowed.worst) {
			t.Errorf("%s: that is more than %v", p.File, allowed)
		}
	}
}

func pinned(t *testing.T, path string) image.Image {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

// apart is how far two pictures are from each other in grey levels.
type apart struct {
	mean        float64
	most, worst int // of 99 of 100 samples, and of all
}

// differences between pixels (RGB) and a picture.
func differences(got []byte, want image.Image) (a apart) {
	var all []int
	b := want.Bounds()
	for i, v := range got {
		x, y := i/3%b.Dx(), i/3/b.Dx()
		r, g, bl, _ := want.At(b.Min.X+x, b.Min.Y+y).RGBA()
		d := abs(int(v) - int([3]uint32{r, g, bl}[i%3]>>8))
		all = append(all, d)
		a.mean += float64(d) / float64(len(got))
	}
	slices.Sort(all)
	a.most, a.worst = all[len(all)*99/100], all[len(all)-1]
	return a
}
