package pad

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Point is what a threshold is worth.
type Point struct {
	Threshold float64 `json:"threshold"`
	APCER     float64 `json:"apcer"` // of the worst species
	BPCER     float64 `json:"bpcer"`
}

// Half is half the sum of both errors, what others call ACER or HTER. It hides which of the two is the large one: never show it
// without them.
func (p Point) Half() float64 { return (p.APCER + p.BPCER) / 2 }

// At is what the threshold t is worth on a sample that is two-sided.
func (s *Sample) At(t float64) (Point, error) {
	if !s.TwoSided() {
		return Point{}, ErrOneSided
	}
	return s.at(t), nil
}

func (s *Sample) at(t float64) Point {
	return Point{t, s.accepted(s.Worst(t), t), float64(below(s.bonaFide, t)) / float64(len(s.bonaFide))}
}

// thresholds are those that differ in what they accept: every score, and one that accepts nothing. Of the equivalent ones
// between two scores it is the strictest.
func thresholds(samples ...*Sample) []float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, s.bonaFide...)
		for _, scores := range s.attacks {
			all = append(all, scores...)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if n := len(all); n > 0 {
		all = append(all, math.Nextafter(all[n-1], math.Inf(1)))
	}
	return all
}

// EER is the point where APCER and BPCER are nearest to one another, and their mean there. Of several it is the one with the
// least mean, and then the strictest.
func (s *Sample) EER() (Point, error) {
	if !s.TwoSided() {
		return Point{}, ErrOneSided
	}
	var best Point
	gap := math.Inf(1)
	for _, t := range thresholds(s) {
		p := s.at(t)
		d := math.Abs(p.APCER - p.BPCER)
		if d < gap || d == gap && p.Half() <= best.Half() {
			best, gap = p, d
		}
	}
	return best, nil
}

// ForAPCER is the most lenient point whose APCER is at most limit.
func (s *Sample) ForAPCER(limit float64) (Point, error) {
	return s.find(limit, func(p, than Point) bool { return p.APCER <= limit && than.APCER > limit })
}

// ForBPCER is the strictest point whose BPCER is at most limit.
func (s *Sample) ForBPCER(limit float64) (Point, error) {
	return s.find(limit, func(p, _ Point) bool { return p.BPCER <= limit })
}

// find goes from the most lenient threshold to the strictest, and takes each that is better than what it has.
func (s *Sample) find(limit float64, better func(p, than Point) bool) (Point, error) {
	if !s.TwoSided() {
		return Point{}, ErrOneSided
	}
	if !(limit >= 0 && limit <= 1) {
		return Point{}, fmt.Errorf("pad: an error rate of %v: 0 to 1", limit)
	}
	best := Point{APCER: math.Inf(1), BPCER: math.Inf(1)}
	for _, t := range thresholds(s) {
		if p := s.at(t); better(p, best) {
			best = p
		}
	}
	return best, nil
}

// Rule accepts on one side of a threshold.
type Rule struct {
	Threshold float64 `json:"threshold"`
	Below     bool    `json:"below"` // accepted are scores up to the threshold, and not from it on
}

// Apply is what the rule is worth on a sample that is two-sided.
func (r Rule) Apply(s *Sample) (Point, error) {
	if !r.Below {
		return s.At(r.Threshold)
	}
	p, err := s.negated().At(0 - r.Threshold)
	p.Threshold = r.Threshold
	return p, err
}

// Best is the rule with the least mean of Half over the samples, which flatters it on those very samples. Only with eitherSide
// may it accept low scores: for scorers of which nobody says what their scores mean. Of equals it is the strictest.
func Best(samples []*Sample, eitherSide bool) (Rule, error) {
	rule, up, err := best(samples)
	if err != nil || !eitherSide {
		return rule, err
	}
	var turned []*Sample
	for _, s := range samples {
		turned = append(turned, s.negated())
	}
	other, down, err := best(turned)
	if err == nil && down < up {
		rule = Rule{0 - other.Threshold, true}
	}
	return rule, err
}

func best(samples []*Sample) (Rule, float64, error) {
	if len(samples) == 0 {
		return Rule{}, 0, ErrOneSided
	}
	for _, s := range samples {
		if !s.TwoSided() {
			return Rule{}, 0, ErrOneSided
		}
	}
	var rule Rule
	least := math.Inf(1)
	for _, t := range thresholds(samples...) {
		var sum float64
		for _, s := range samples {
			sum += s.at(t).Half()
		}
		if sum <= least {
			rule.Threshold, least = t, sum
		}
	}
	return rule, least, nil
}

// LeaveOneOut gives for each sample the rule that is best on all the others. It needs two at least.
func LeaveOneOut(samples []*Sample, eitherSide bool) ([]Rule, error) {
	if len(samples) < 2 {
		return nil, fmt.Errorf("pad: leave one out of %d: at least two are needed", len(samples))
	}
	var rules []Rule
	for i := range samples {
		rule, err := Best(slices.Delete(slices.Clone(samples), i, i+1), eitherSide)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// Mean is the mean of points, each as heavy as the others whatever it was measured on. Its threshold is theirs where they have
// one in common, and else 0.
func Mean(points []Point) (Point, error) {
	if len(points) == 0 {
		return Point{}, errors.New("pad: the mean of no points")
	}
	m := Point{Threshold: points[0].Threshold}
	for _, p := range points {
		if p.Threshold != points[0].Threshold {
			m.Threshold = 0
		}
		m.APCER += p.APCER / float64(len(points))
		m.BPCER += p.BPCER / float64(len(points))
	}
	return m, nil
}
