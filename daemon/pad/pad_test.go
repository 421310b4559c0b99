package pad

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }

// sample makes one of a single species.
func sample(t *testing.T, bonaFide, attacks []float64) *Sample {
	t.Helper()
	s, err := NewSample(bonaFide, map[string][]float64{"print": attacks})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKnownClopperPearsonIntervals(t *testing.T) {
	for _, tt := range []struct {
		errors, of int
		low, high  float64
	}{
		{0, 10, 0, 0.30850},
		{1, 10, 0.00253, 0.44502},
		{5, 10, 0.18709, 0.81291},
		{10, 10, 0.69150, 1},
		{0, 1, 0, 0.975},
		{1, 1, 0.025, 1},
		{4, 20, 0.05733, 0.43661},
		{10, 100, 0.04900, 0.17622},
		{0, 300, 0, 0.01222},
		{1, 1000, 0.0000253, 0.00556},
		{0, 0, 0, 1},
		{-1, 10, 0, 1},
		{11, 10, 0, 1},
		{1, -1, 0, 1},
	} {
		if low, high := ClopperPearson(tt.errors, tt.of); !near(low, tt.low, 1e-5) || !near(high, tt.high, 1e-5) {
			t.Errorf("%d of %d: %.5f to %.5f, not %.5f to %.5f", tt.errors, tt.of, low, high, tt.low, tt.high)
		}
	}
}

func TestTheBoundsLeaveATailOnEitherSide(t *testing.T) {
	for _, of := range []int{1, 2, 7, 50, 333, 5000} {
		for _, k := range []int{0, 1, of / 3, of / 2, of - 1, of} {
			low, high := ClopperPearson(k, of)
			share := float64(k) / float64(of)
			if !(low >= 0 && low <= share && share <= high && high <= 1) {
				t.Errorf("%d of %d: %v to %v", k, of, low, high)
			}
			if k < of { // P(X ≤ k) at the upper bound
				if p := (distuv.Binomial{N: float64(of), P: high}).CDF(float64(k)); !near(p, 0.025, 1e-6) {
					t.Errorf("%d of %d: %v above %v", k, of, p, high)
				}
			}
			if k > 0 { // P(X ≥ k) at the lower bound
				if p := 1 - (distuv.Binomial{N: float64(of), P: low}).CDF(float64(k-1)); !near(p, 0.025, 1e-6) {
					t.Errorf("%d of %d: %v below %v", k, of, p, low)
				}
			}
		}
	}
}

func TestARateOfNothingIsNull(t *testing.T) {
	b, err := json.Marshal([]Rate{NewRate(0, 0), NewRate(1, 1)})
	if want := `[{"errors":0,"of":0,"rate":null,"low":0,"high":1},{"errors":1,"of":1,"rate":1,"low":0.025`; err != nil || string(b[:len(want)]) != want {
		t.Errorf("%v: %s", err, b)
	}
}

func TestScoresThatAreNoNumbersAreRefused(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if s, err := NewSample([]float64{0.5, v}, nil); err == nil {
			t.Errorf("bona fide %v: %v", v, s)
		}
		if s, err := NewSample([]float64{0.5}, map[string][]float64{"a": {0.1}, "b": {v}}); err == nil {
			t.Errorf("an attack's %v: %v", v, s)
		}
	}
}

func TestASampleKeepsNoSlice(t *testing.T) {
	bonaFide, attacks := []float64{0.9, 0.8}, []float64{0.2, 0.1}
	s := sample(t, bonaFide, attacks)
	bonaFide[0], attacks[0] = 0, 1
	if p, err := s.At(0.5); err != nil || p.APCER != 0 || p.BPCER != 0 {
		t.Errorf("%v, %v", p, err)
	}
	if bonaFide[1] != 0.8 || attacks[1] != 0.1 {
		t.Errorf("changed: %v, %v", bonaFide, attacks)
	}
}

func TestErrorsAtAThreshold(t *testing.T) {
	s, err := NewSample([]float64{0.2, 0.5, 0.7, 0.9}, map[string][]float64{"screen": {0.1, 0.5, 0.6}, "print": {0.1, 0.2}, "mask": {}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Species(); !slices.Equal(got, []string{"print", "screen"}) {
		t.Errorf("species %v", got)
	}
	for _, tt := range []struct {
		t              float64
		bonaFide       int // errors of 4
		print, screens int // errors of 2 and of 3
		worst          string
	}{
		{0, 0, 2, 3, "print"}, // both all; the first by name
		{0.1, 0, 2, 3, "print"},
		{0.15, 0, 1, 2, "screen"},
		{0.2, 0, 1, 2, "screen"},
		{0.3, 1, 0, 2, "screen"},
		{0.5, 1, 0, 2, "screen"}, // a score at the threshold is accepted
		{0.55, 2, 0, 1, "screen"},
		{0.9, 3, 0, 0, "print"},
		{1, 4, 0, 0, "print"},
	} {
		bpcer, prints, screens := s.BPCER(tt.t), s.APCER("print", tt.t), s.APCER("screen", tt.t)
		if bpcer.Errors != tt.bonaFide || bpcer.Of != 4 || prints.Errors != tt.print || prints.Of != 2 || screens.Errors != tt.screens || screens.Of != 3 {
			t.Errorf("at %v: %+v, %+v, %+v", tt.t, bpcer, prints, screens)
		}
		p, err := s.At(tt.t)
		want := Point{tt.t, max(float64(tt.print)/2, float64(tt.screens)/3), float64(tt.bonaFide) / 4}
		if p != want || err != nil || s.Worst(tt.t) != tt.worst {
			t.Errorf("at %v: %v, %v; the worst is %s", tt.t, p, err, s.Worst(tt.t))
		}
	}
	if r := s.APCER("mask", 0.5); r.Of != 0 || r.Share != nil {
		t.Errorf("of a species without scores: %+v", r)
	}
	if o := s.Only("print"); !slices.Equal(o.Species(), []string{"print"}) || o.BPCER(0.6).Errors != 2 {
		t.Errorf("only prints: %+v", o)
	}
	if s.Only("mask").TwoSided() || s.Only("nobody's").TwoSided() {
		t.Error("a species without scores can be told from people")
	}
}

func TestEqualErrorRates(t *testing.T) {
	for _, tt := range []struct {
		name              string
		bonaFide, attacks []float64
		want              Point
	}{
		{"apart", []float64{0.6, 0.7}, []float64{0.1, 0.2}, Point{0.6, 0, 0}},
		{"one and one", []float64{0.9}, []float64{0.1}, Point{0.9, 0, 0}},
		{"overlapping", []float64{0.4, 0.6, 0.7, 0.8}, []float64{0.1, 0.2, 0.3, 0.5}, Point{0.5, 0.25, 0.25}},
		{"the wrong way round", []float64{0.1, 0.2}, []float64{0.8, 0.9}, Point{0.8, 1, 1}},
		{"unequal sizes", []float64{0.2, 0.6, 0.9}, []float64{0.1, 0.3, 0.4, 0.5}, Point{0.5, 0.25, 1.0 / 3}},
		// Either all are accepted or none: of both, the one that accepts nothing.
		{"all scores equal", []float64{0.5, 0.5}, []float64{0.5, 0.5, 0.5}, Point{math.Nextafter(0.5, 1), 0, 1}},
		{"ties between the classes", []float64{0.5, 0.5, 0.9, 0.9}, []float64{0.5, 0.5, 0.1, 0.1}, Point{0.9, 0, 0.5}},
		{"scores of 0 and 1", []float64{1, 1, 0, 1}, []float64{0, 0, 0, 1}, Point{1, 0.25, 0.25}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sample(t, tt.bonaFide, tt.attacks).EER()
			if err != nil || got != tt.want {
				t.Errorf("%+v, %v; not %+v", got, err, tt.want)
			}
			// The order of the scores is no part of the answer.
			slices.Reverse(tt.bonaFide)
			slices.Reverse(tt.attacks)
			if again, err := sample(t, tt.bonaFide, tt.attacks).EER(); again != got || err != nil {
				t.Errorf("in another order %+v, %v", again, err)
			}
		})
	}
}

func TestTheWorstSpeciesSetsTheEqualErrorRate(t *testing.T) {
	s, err := NewSample([]float64{0.4, 0.6, 0.8, 0.9}, map[string][]float64{"easy": {0, 0, 0, 0, 0, 0, 0, 0}, "hard": {0.3, 0.5, 0.7, 0.2}})
	if err != nil {
		t.Fatal(err)
	}
	whole, err1 := s.EER()
	hard, err2 := s.Only("hard").EER()
	easy, err3 := s.Only("easy").EER()
	if err := errors.Join(err1, err2, err3); err != nil || whole != hard || whole.Half() != 0.25 || easy.Half() != 0 {
		t.Errorf("%v, %v, %v: %v", whole, hard, easy, err)
	}
}

func TestThresholdsForAnErrorRate(t *testing.T) {
	s := sample(t, []float64{0.4, 0.6, 0.7, 0.8}, []float64{0.1, 0.2, 0.3, 0.5})
	all := sample(t, []float64{0.5, 0.9}, []float64{0.9})
	for _, tt := range []struct {
		name string
		find func(float64) (Point, error)
		at   float64
		want Point
	}{
		{"APCER of nought", s.ForAPCER, 0, Point{0.6, 0, 0.25}},
		{"APCER of a quarter", s.ForAPCER, 0.25, Point{0.4, 0.25, 0}},
		{"APCER of nearly a half", s.ForAPCER, 0.49, Point{0.4, 0.25, 0}},
		{"any APCER", s.ForAPCER, 1, Point{0.1, 1, 0}},
		{"an APCER that only silence has", all.ForAPCER, 0.1, Point{math.Nextafter(0.9, 1), 0, 1}},
		{"BPCER of nought", s.ForBPCER, 0, Point{0.4, 0.25, 0}},
		{"BPCER of a quarter", s.ForBPCER, 0.25, Point{0.6, 0, 0.25}},
		{"any BPCER", s.ForBPCER, 1, Point{math.Nextafter(0.8, 1), 0, 1}},
		{"BPCER of nought, attacks above", all.ForBPCER, 0, Point{0.5, 1, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.find(tt.at); got != tt.want || err != nil {
				t.Errorf("%+v, %v; not %+v", got, err, tt.want)
			}
		})
	}
	for _, limit := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		_, err1 := s.ForAPCER(limit)
		_, err2 := s.ForBPCER(limit)
		if err1 == nil || err2 == nil {
			t.Errorf("a rate of %v: %v, %v", limit, err1, err2)
		}
	}
}

func TestOneSideAloneIsAnError(t *testing.T) {
	for name, s := range map[string]*Sample{
		"nobody": sample(t, nil, nil), "no attacks": sample(t, []float64{0.5}, nil), "no people": sample(t, nil, []float64{0.5}),
	} {
		_, eer := s.EER()
		_, at := s.At(0.5)
		_, apcer := s.ForAPCER(0.1)
		_, bpcer := s.ForBPCER(0.1)
		_, best := Best([]*Sample{s}, true)
		_, apply := Rule{Threshold: 0.5, Below: true}.Apply(s)
		_, out := LeaveOneOut([]*Sample{sample(t, []float64{1}, []float64{0}), s}, false)
		for i, err := range []error{eer, at, apcer, bpcer, best, apply, out} {
			if !errors.Is(err, ErrOneSided) {
				t.Errorf("%s, %d: %v", name, i, err)
			}
		}
	}
	if _, err := Best(nil, false); err == nil {
		t.Error("the best of nothing")
	}
	if _, err := Mean(nil); err == nil {
		t.Error("the mean of nothing")
	}
}

func TestTheBestRule(t *testing.T) {
	good := sample(t, []float64{0.6, 0.8}, []float64{0.1, 0.3})
	turned := sample(t, []float64{10, 20}, []float64{30, 40})
	for _, tt := range []struct {
		name    string
		samples []*Sample
		either  bool
		want    Rule
		half    float64
	}{
		{"the strictest that makes no error", []*Sample{good}, false, Rule{0.6, false}, 0},
		{"the same where both sides are allowed", []*Sample{good}, true, Rule{0.6, false}, 0},
		{"the other side where low is alive", []*Sample{turned}, true, Rule{20, true}, 0},
		{"not unless it is allowed", []*Sample{turned}, false, Rule{math.Nextafter(40, 41), false}, 0.5},
		{"zero is zero", []*Sample{sample(t, []float64{0}, []float64{1})}, true, Rule{0, true}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Best(tt.samples, tt.either)
			if err != nil || got != tt.want || math.Signbit(got.Threshold) {
				t.Fatalf("%+v, %v; not %+v", got, err, tt.want)
			}
			if p, err := got.Apply(tt.samples[0]); err != nil || p.Half() != tt.half || p.Threshold != got.Threshold {
				t.Errorf("it is worth %+v, %v", p, err)
			}
		})
	}
}

func TestSamplesWeighAlikeWhateverTheirSize(t *testing.T) {
	// A threshold of 0.5 is right for nine in ten pictures, and wrong for two of three samples.
	large := sample(t, slices.Repeat([]float64{0.6}, 90), slices.Repeat([]float64{0.4}, 90))
	small := sample(t, []float64{0.9}, []float64{0.7})
	rule, err := Best([]*Sample{large, small, small}, false)
	if err != nil || rule.Threshold != 0.9 {
		t.Errorf("%+v, %v", rule, err)
	}
}

func TestTheOneLeftOutHasNoSay(t *testing.T) {
	a := sample(t, []float64{0.9}, []float64{0.8})
	b := sample(t, []float64{0.5}, []float64{0.4})
	c := sample(t, []float64{0.2}, []float64{0.1})
	rules, err := LeaveOneOut([]*Sample{a, b}, false)
	if want := []Rule{{0.5, false}, {0.9, false}}; err != nil || !slices.Equal(rules, want) {
		t.Fatalf("%v, %v", rules, err)
	}
	for i, s := range []*Sample{a, b} {
		if p, err := rules[i].Apply(s); err != nil || p.Half() != 0.5 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	samples := []*Sample{a, b, c}
	if _, err := LeaveOneOut(samples, true); err != nil || samples[0] != a || samples[2] != c {
		t.Errorf("%v; the samples are now %v", err, samples)
	}
	if _, err := LeaveOneOut([]*Sample{a}, false); err == nil {
		t.Error("one left out of one")
	}
}

func TestMeans(t *testing.T) {
	for _, tt := range []struct {
		name   string
		points []Point
		want   Point
	}{
		{"a threshold in common", []Point{{0.5, 0.25, 0}, {0.5, 0.75, 1}}, Point{0.5, 0.5, 0.5}},
		{"several thresholds", []Point{{0.5, 0, 0}, {0.6, 1, 0.5}}, Point{0, 0.5, 0.25}},
	} {
		if got, err := Mean(tt.points); got != tt.want || err != nil {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

// Against a definition by counting, with many ties.
func TestPointsAreThoseOfCounting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func() []float64 {
		v := make([]float64, 1+r.IntN(12))
		for i := range v {
			v[i] = float64(r.IntN(8)) / 8
		}
		return v
	}
	share := func(scores []float64, wrong func(float64) bool) float64 {
		n := 0
		for _, v := range scores {
			if wrong(v) {
				n++
			}
		}
		return float64(n) / float64(len(scores))
	}
	for range 300 {
		bonaFide, prints, screens := draw(), draw(), draw()
		s, err := NewSample(bonaFide, map[string][]float64{"print": prints, "screen": screens})
		if err != nil {
			t.Fatal(err)
		}
		count := func(at float64) Point {
			accepted := func(v float64) bool { return v >= at }
			return Point{at, max(share(prints, accepted), share(screens, accepted)), share(bonaFide, func(v float64) bool { return v < at })}
		}
		eer, err := s.EER()
		if err != nil || eer != count(eer.Threshold) {
			t.Fatalf("%+v, %v; by counting %+v", eer, err, count(eer.Threshold))
		}
		rule, err := Best([]*Sample{s}, true)
		if err != nil {
			t.Fatal(err)
		}
		p, err := rule.Apply(s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			at := float64(i) / 8
			c := count(at)
			if got, err := s.At(at); got != c || err != nil {
				t.Fatalf("at %v: %+v, %v; by counting %+v", at, got, err, c)
			}
			if math.Abs(c.APCER-c.BPCER) < math.Abs(eer.APCER-eer.BPCER) {
				t.Fatalf("%+v has nearer errors than %+v", c, eer)
			}
			if c.Half() < p.Half() {
				t.Fatalf("%+v is better than the best, %+v", c, p)
			}
		}
	}
}

func TestTurningRoundTwiceChangesNothing(t *testing.T) {
	s := sample(t, []float64{0.3, 0.1, 0.2}, []float64{0.7, 0.2})
	if got := s.negated().negated(); !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, not %+v", got, s)
	}
}
