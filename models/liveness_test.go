package models

import (
	"errors"
	"math"
	"testing"
)

func TestJudgementReadsLogits(t *testing.T) {
	o := &Output{Kind: "logits", Classes: 3, Live: 1, Attacks: map[int]string{0: "print", 2: "replay"}}
	tests := []struct {
		name string
		out  []float32
		odds float64
		kind string
	}{
		{"all the same", []float32{0, 0, 0}, -math.Log(2), "print"},
		{"live", []float32{-3, 4, -3}, 7 - math.Log(2), "print"},
		{"replay", []float32{-1, -2, 5}, -7 - math.Log(1+math.Exp(-6)), "replay"},
		{"a constant changes nothing", []float32{96, 103, 96}, 7 - math.Log(2), "print"},
	}
	for _, tt := range tests {
		j, err := judgement(tt.out, o, 1e-6)
		if err != nil || math.Abs(j.LogOdds-tt.odds) > 1e-5 || j.Attack != tt.kind || math.Abs(j.Live-1/(1+math.Exp(-tt.odds))) > 1e-6 {
			t.Errorf("%s: %+v, %v; want log-odds %.4f and %s", tt.name, j, err, tt.odds, tt.kind)
		}
	}
}

func TestJudgementReadsSoftmax(t *testing.T) {
	o := &Output{Kind: "softmax", Classes: 3, Live: 1}
	j, err := judgement([]float32{0.05, 0.9, 0.05}, o, 1e-6)
	if err != nil || math.Abs(j.Live-0.9) > 1e-6 || j.Attack != "" {
		t.Errorf("%+v, %v; want P(live) 0.9", j, err)
	}
	// A probability that was rounded to 0 or 1 must not be infinitely sure.
	for _, out := range [][]float32{{0, 1, 0}, {1, 0, 0}, {0, 0, 0}, {-1, 2, 0}} {
		if j, err := judgement(out, o, 1e-6); err != nil || math.IsInf(j.LogOdds, 0) || math.IsNaN(j.LogOdds) {
			t.Errorf("%v: %+v, %v; want finite odds", out, j, err)
		}
	}
}

// In steps of 1/256, 0 may have been 1/512.
func TestAQuantisedSoftmaxIsNoSurerThanItsSteps(t *testing.T) {
	o := &Output{Kind: "softmax", Classes: 3, Live: 1}
	for _, tt := range []struct {
		out  []float32
		odds float64
	}{
		{[]float32{0, 255. / 256, 0}, math.Log(255. / 256 / (2. / 512))},
		{[]float32{255. / 256, 0, 0}, math.Log(1. / 512 / (255./256 + 1./512))},
		{[]float32{128. / 256, 128. / 256, 0}, math.Log(0.5 / (0.5 + 1./512))},
	} {
		if j, err := judgement(tt.out, o, 1./512); err != nil || math.Abs(j.LogOdds-tt.odds) > 1e-6 {
			t.Errorf("%v: %+v, %v; want log-odds %v", tt.out, j, err, tt.odds)
		}
	}
}

func TestJudgementThatIsNoNumberIsNoEvidence(t *testing.T) {
	for _, kind := range []string{"logits", "softmax"} {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			for at := range 3 {
				out := []float32{0, 0, 0}
				out[at] = bad
				if j, err := judgement(out, &Output{Kind: kind, Classes: 3, Live: 1}, 1e-6); !errors.Is(err, ErrNotFinite) || j.Live != 0 {
					t.Errorf("%s %v: %+v, %v", kind, out, j, err)
				}
			}
		}
	}
}
