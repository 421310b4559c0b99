package models

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/tflite"
)

// member is a model without a file.
func member(name, digest string, weight, live, spoof float64) Member {
	return Member{&Model{Manifest: Manifest{Task: LivenessTask, Name: name, Version: "1", SHA256: digest,
		Thresholds: Thresholds{LiveAt: live, SpoofAt: spoof}}}, weight}
}

func TestAPanelSaysWhoJudges(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	digest := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	for _, tt := range []struct {
		name       string
		combine    Combination
		members    []Member
		want       string // name version digest
		live, spof float64
	}{
		{"one is itself", "", []Member{member("x", a, 3, 0.8, 0.3)}, "x 1 " + a, 0.8, 0.3},
		{"two", "", []Member{member("x", b, 1, 0.8, 0.3), member("y", a, 0.5, 0.8, 0.3)},
			"x+y 1+1 " + digest("combine logits\n"+a+" 0.5\n"+b+" 1\n"), 0.8, 0.3},
		{"two, the other way round", "", []Member{member("y", a, 0.5, 0.8, 0.3), member("x", b, 1, 0.8, 0.3)},
			"y+x 1+1 " + digest("combine logits\n"+a+" 0.5\n"+b+" 1\n"), 0.8, 0.3},
		{"another mean", Probabilities, []Member{member("x", b, 1, 0.8, 0.3), member("y", a, 0.5, 0.8, 0.3)},
			"x+y 1+1 " + digest("combine probabilities\n"+a+" 0.5\n"+b+" 1\n"), 0.8, 0.3},
		{"one threshold differs", "", []Member{member("x", a, 1, 0.8, 0.3), member("y", a, 1, 0.7, 0.3)},
			"x+y 1+1 " + digest("combine logits\n"+a+" 1\n"+a+" 1\n"), 0, 0.3},
		{"the last threshold differs", "", []Member{member("x", a, 1, 0.8, 0.3), member("y", a, 1, 0.8, 0.3), member("z", a, 1, 0.8, 0.2)},
			"x+y+z 1+1+1 " + digest("combine logits\n"+a+" 1\n"+a+" 1\n"+a+" 1\n"), 0.8, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPanel(tt.combine, tt.members...)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Name + " " + p.Version + " " + p.SHA256; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if p.Thresholds.LiveAt != tt.live || p.Thresholds.SpoofAt != tt.spof {
				t.Errorf("thresholds %+v", p.Thresholds)
			}
		})
	}
	finder := member("f", a, 1, 0.8, 0.3)
	finder.Model.Task = FaceDetection
	for name, m := range map[string]Member{"of another task": finder, "weightless": member("x", a, 0, 0.8, 0.3), "of negative weight": member("x", a, -1, 0.8, 0.3),
		"of a weight that is no number": member("x", a, math.NaN(), 0.8, 0.3), "of infinite weight": member("x", a, math.Inf(1), 0.8, 0.3)} {
		if p, err := NewPanel(Logits, member("x", a, 1, 0.8, 0.3), m); err == nil {
			t.Errorf("a member %s: %+v", name, p)
		}
	}
	if p, err := NewPanel(Logits); err == nil {
		t.Errorf("nobody: %+v", p)
	}
	if p, err := NewPanel("max", member("x", a, 1, 0.8, 0.3)); err == nil {
		t.Errorf("another mean: %+v", p)
	}
}

func TestAnswersAreCombined(t *testing.T) {
	odds := func(p float64) float64 { return math.Log(p / (1 - p)) }
	says := func(p float64, attack string) Judgement { return Judgement{p, odds(p), attack, 2 * odds(p)} }
	nan := math.NaN()
	for _, tt := range []struct {
		name    string
		combine Combination
		weights []float64
		answers []Judgement
		live    float64
		attack  string
	}{
		{"one is itself", Logits, []float64{3}, []Judgement{{0.99, 30, "print", 0}}, 0.99, "print"},
		{"the mean of log-odds", Logits, []float64{1, 1}, []Judgement{says(0.9, ""), says(0.2, "")}, 1 / (1 + math.Exp(-(odds(0.9)+odds(0.2))/2)), ""},
		{"the mean of probabilities", Probabilities, []float64{1, 1}, []Judgement{says(0.9, ""), says(0.2, "")}, 0.55, ""},
		{"weights", Probabilities, []float64{3, 1}, []Judgement{says(0.9, ""), says(0.1, "")}, 0.7, ""},
		{"opposites", Logits, []float64{2, 2}, []Judgement{says(0.99, ""), says(0.01, "")}, 0.5, ""},
		{"absurdly sure of life", Logits, []float64{1, 1, 1}, []Judgement{{1, 1e6, "", 0}, says(0.001, ""), says(0.001, "")},
			1 / (1 + math.Exp(-(14+2*odds(0.001))/3)), ""},
		{"absurdly sure of an attack", Probabilities, []float64{1, 1}, []Judgement{{0, -1e6, "", 0}, says(0.5, "")}, 0.25, ""},
		{"all absurdly sure", Probabilities, []float64{1, 1}, []Judgement{{1, 1e6, "", 0}, {1, 1e6, "", 0}}, 1, ""},
		{"kinds of attack, by weight", Logits, []float64{1, 3}, []Judgement{says(0.1, "print"), says(0.1, "replay")}, 0.1, "replay"},
		{"kinds of attack, by certainty", Logits, []float64{1, 1}, []Judgement{says(0.05, "print"), says(0.3, "replay")}, -1, "print"},
		{"who can't tell kinds leaves it to others", Logits, []float64{5, 1}, []Judgement{says(0.1, ""), says(0.1, "replay")}, 0.1, "replay"},
		{"two who agree on a kind", Logits, []float64{2, 1.5, 1.5}, []Judgement{says(0.1, "print"), says(0.1, "replay"), says(0.1, "replay")}, 0.1, "replay"},
		{"no number", Logits, []float64{1, 1}, []Judgement{says(0.9, ""), {nan, nan, "", 0}}, nan, ""},
		{"no number, as a probability", Probabilities, []float64{1, 1}, []Judgement{says(0.9, ""), {nan, nan, "", 0}}, nan, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Panel{Combine: tt.combine}
			for _, w := range tt.weights {
				p.Members = append(p.Members, Member{Weight: w})
			}
			j, err := p.combine(tt.answers)
			if math.IsNaN(tt.live) {
				if !errors.Is(err, ErrNotFinite) || j != (Judgement{}) {
					t.Errorf("%+v, %v", j, err)
				}
				return
			}
			var evidence, weights float64
			for i, a := range tt.answers {
				evidence, weights = evidence+tt.weights[i]*a.Evidence, weights+tt.weights[i]
			}
			if want := evidence / weights; math.Abs(j.Evidence-want) > 1e-9 {
				t.Errorf("evidence of %v, not the mean %v", j.Evidence, want)
			}
			if err != nil || tt.live >= 0 && !(math.Abs(j.Live-tt.live) < 1e-5) || j.Attack != tt.attack || math.IsInf(j.LogOdds, 0) {
				t.Errorf("%+v, %v; want %v, %q", j, err, tt.live, tt.attack)
			}
		})
	}
}

func TestAnEnsembleCropsAndJudgesWithEachNet(t *testing.T) {
	_, l := nets(t, tflite.XNNPACK)
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Skip(err)
	}
	wide := *l.model
	wide.Crop = &Crop{Rule: "minifasnet", Scale: 1.2}
	other, err := NewLiveness(rt, &wide, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	p, err := NewPanel(Logits, Member{l.model, 1}, Member{&wide, 3})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEnsemble(rt, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, box := pictures(640, 480)["YUYV"], Box{200, 150, 160, 200}
	var odds [2]float64
	for i, n := range []*Liveness{l, other} {
		if err := n.Crop(&m, box); err != nil {
			t.Fatal(err)
		}
		j, err := n.Judge()
		if err != nil {
			t.Fatal(err)
		}
		odds[i] = j.LogOdds
	}
	if math.Abs(odds[0]-odds[1]) < 0.01 {
		t.Fatalf("both crops give %v: this shows nothing", odds)
	}
	if err := e.Crop(&m, box); err != nil {
		t.Fatal(err)
	}
	j, err := e.Judge()
	if want := (odds[0] + 3*odds[1]) / 4; err != nil || math.Abs(j.LogOdds-want) > 1e-3 {
		t.Errorf("%+v, %v; want log-odds %v", j, err, want)
	}
	if e.Delegate() != l.Delegate() || len(e.Nets()) != 2 || e.Panel() != p {
		t.Errorf("delegate %s, %d nets", e.Delegate(), len(e.Nets()))
	}
	if err := e.Crop(&m, Box{}); err == nil {
		t.Error("an empty box is cropped")
	}
	if err := e.Nets()[1].Close(); err != nil {
		t.Fatal(err)
	}
	if j, err := e.Judge(); err == nil || j != (Judgement{}) {
		t.Errorf("with one net gone the others' answer stands: %+v, %v", j, err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	broken := *l.model
	broken.Output = &Output{Kind: "logits", Classes: 2, Live: 1}
	if bad, err := NewPanel(Logits, Member{l.model, 1}, Member{&broken, 1}); err != nil {
		t.Error(err)
	} else if _, err := NewEnsemble(rt, bad, Options{}); err == nil || !strings.Contains(err.Error(), "its manifest says 2 classes") {
		t.Errorf("a member that doesn't fit its manifest: %v", err)
	}
}
