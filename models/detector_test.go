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
		{Box{28 - 8, 12 - 4, 24, 12}, 1 / (1 + math.Exp(-2))},
		{Box{8, 0, 16, 16}, 1 / (1 + math.Exp(-1))},
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
	d.candidates = []Face{{Box{10, 10, 20, 20}, 0.9}, {Box{12, 10, 20, 20}, 0.3}, {Box{18, 10, 20, 20}, 0.8}}
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

func TestBoxesStayInThePicture(t *testing.T) {
	for _, b := range []Box{{-5, -5, 20, 20}, {60, 20, 50, 50}, {0, 0, 64, 32}} {
		got := scaleInto(b, 10, 10, 640, 320)
		if got.X < 0 || got.Y < 0 || got.X+got.W > 640 || got.Y+got.H > 320 || got.W < 0 || got.H < 0 {
			t.Errorf("%v became %v", b, got)
		}
	}
}
