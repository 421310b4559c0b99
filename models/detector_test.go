package models

import (
	"errors"
	"math"
	"testing"
)

// finder is a detector without a net: its maps are filled by hand.
func finder() *Detector {
	m := &Model{Manifest: Manifest{Input: Input{Width: 64, Height: 32}, Detector: &Heads{Strides: []int{8, 16}, Overlap: 0.4}, Thresholds: Thresholds{FaceAt: 0.5}}}
	d := &Detector{model: m}
	for _, s := range m.Detector.Strides {
		n := 64 / s * (32 / s)
		logits := make([]float32, n)
		for i := range logits {
			logits[i] = -5
		}
		d.logits = append(d.logits, logits)
		d.distances = append(d.distances, make([]float32, 4*n))
	}
	return d
}

// put lets the cell in column x and row y of a stride see a face.
func (d *Detector) put(level, x, y int, logit float32, reach ...float32) {
	i := y*(d.model.Input.Width/d.model.Detector.Strides[level]) + x
	d.logits[level][i] = logit
	copy(d.distances[level][4*i:], reach)
}

func TestCellsAreReadAsDistancesFromTheirMiddle(t *testing.T) {
	d := finder()
	d.put(0, 3, 1, 2, 1, 0.5, 2, 1)
	d.put(1, 0, 0, 1, -1, 0.5, 1, 0.5) // nothing below 0
	if err := d.collect(); err != nil {
		t.Fatal(err)
	}
	want := []Face{
		{Box: Box{28 - 8, 12 - 4, 24, 12}, Score: 1 / (1 + math.Exp(-2))},
		{Box: Box{8, 0, 16, 16}, Score: 1 / (1 + math.Exp(-1))},
	}
	if len(d.candidates) != 2 || d.candidates[0] != want[0] || d.candidates[1] != want[1] {
		t.Errorf("%v, want %v", d.candidates, want)
	}
}

func TestOneFaceIsFoundOnce(t *testing.T) {
	d := finder()
	d.put(0, 2, 1, 3, 1, 1, 1, 1) // 12…28 × 4…20
	d.put(0, 3, 1, 1, 2, 1, 0, 1) // the same box
	d.put(0, 7, 2, 0.5, 1, 1, 0.5, 1)
	if err := d.collect(); err != nil {
		t.Fatal(err)
	}
	d.suppress()
	if len(d.faces) != 2 {
		t.Fatalf("%v, want two faces", d.faces)
	}
	if b := d.faces[0].Box; math.Abs(b.X-12) > 1e-9 || math.Abs(b.W-16) > 1e-9 || d.faces[0].Score < d.faces[1].Score {
		t.Errorf("%v, want the surest first, at 12 and 16 wide", d.faces)
	}
}

func TestWeakerBoxesHelpToPlaceASurerOne(t *testing.T) {
	d := finder()
	d.candidates = []Face{{Box: Box{10, 10, 20, 20}, Score: 0.9}, {Box: Box{12, 10, 20, 20}, Score: 0.3}, {Box: Box{18, 10, 20, 20}, Score: 0.8}}
	d.suppress()
	// The third overlaps by more than 0.4, so it is the same face, but too far away to place it.
	if len(d.faces) != 1 || math.Abs(d.faces[0].X-10.5) > 1e-9 || d.faces[0].Score != 0.9 {
		t.Errorf("%v, want one face at 10.5", d.faces)
	}
}

func TestAnAnswerThatIsNoNumberIsAnError(t *testing.T) {
	nan := float32(math.NaN())
	d := finder()
	d.put(0, 1, 1, nan, 1, 1, 1, 1)
	if err := d.collect(); !errors.Is(err, ErrNotFinite) {
		t.Errorf("logit NaN: %v", err)
	}
	d = finder()
	d.put(0, 1, 1, 1, 1, float32(math.Inf(1)), 1, 1)
	if err := d.collect(); !errors.Is(err, ErrNotFinite) {
		t.Errorf("infinite distance: %v", err)
	}
}

func TestManyCandidatesAreBounded(t *testing.T) {
	m := &Model{Manifest: Manifest{Input: Input{Width: 512, Height: 512}, Detector: &Heads{Strides: []int{8}, Overlap: 0.4}, Thresholds: Thresholds{FaceAt: 0.5}}}
	d := &Detector{model: m, logits: [][]float32{make([]float32, 64*64)}, distances: [][]float32{make([]float32, 4*64*64)}}
	for i := range d.logits[0] {
		d.logits[0][i] = 1
	}
	if err := d.collect(); err != nil || len(d.candidates) != maxCandidates {
		t.Errorf("%d candidates, %v; want %d", len(d.candidates), err, maxCandidates)
	}
	d.suppress() // boxes without an area overlap nothing, and must not loop for ever
	if len(d.faces) == 0 {
		t.Error("no faces left")
	}
}

func TestPointsAreReadFromTheMiddleOfTheirCell(t *testing.T) {
	d := finder()
	for i, n := range []int{8 * 4, 4 * 2} {
		d.points = append(d.points, make([]float32, 10*n))
		for k := range d.points[i] {
			d.points[i][k] = float32(k % 10)
		}
	}
	d.put(1, 2, 1, 2, 1, 1, 1, 1)
	if err := d.collect(); err != nil {
		t.Fatal(err)
	}
	d.suppress()
	if len(d.faces) != 1 || !d.faces[0].Marked {
		t.Fatalf("%+v, want one marked face", d.faces)
	}
	for k, p := range d.faces[0].Points {
		if want := (Point{40 + 32*float64(k), 24 + 16 + 32*float64(k)}); math.Hypot(p.X-want.X, p.Y-want.Y) > 1e-9 {
			t.Errorf("point %d at %v, want %v", k, p, want)
		}
	}
	d.points[1][10*(4+2)+3] = float32(math.Inf(-1))
	if err := d.collect(); !errors.Is(err, ErrNotFinite) {
		t.Errorf("infinite point: %v", err)
	}
}

func TestPointsAreMeansAndGrowWithTheFrame(t *testing.T) {
	d := finder()
	d.candidates = []Face{{Box: Box{10, 10, 20, 20}, Score: 0.9, Marked: true}, {Box: Box{12, 10, 20, 20}, Score: 0.3, Marked: true}}
	d.candidates[0].Points[NoseTip] = Point{20, 20}
	d.candidates[1].Points[NoseTip] = Point{24, 20}
	d.suppress()
	f := d.faces[0]
	f.scale(2, 3)
	if p := f.Points[NoseTip]; math.Abs(p.X-42) > 1e-9 || math.Abs(p.Y-60) > 1e-9 {
		t.Errorf("nose at %v, want 42, 60", p)
	}
	if b := f.Box; math.Abs(b.X-21) > 1e-9 || math.Abs(b.Y-30) > 1e-9 || math.Abs(b.W-40) > 1e-9 || math.Abs(b.H-60) > 1e-9 {
		t.Errorf("box %v", b)
	}
}

func TestAFaceWhollyOutsideIsNone(t *testing.T) {
	for _, tt := range []struct {
		name string
		box  Box
		want bool
	}{
		{"inside", Box{10, 10, 20, 20}, true},
		{"cut off by the edge", Box{-10, 50, 20, 40}, true},
		{"larger than the picture", Box{-10, -10, 200, 200}, true},
		{"a hair inside", Box{-19.5, 10, 20, 20}, false},
		{"to the right", Box{100, 10, 20, 20}, false},
		{"below", Box{10, 64, 20, 20}, false},
		{"nothing", Box{10, 10, 0, 0}, false},
	} {
		if got := tt.box.seen(100, 64); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
