// Package pad measures how well attacks are told from living people, in the terms of ISO/IEC 30107-3: error rates with their
// intervals, thresholds, and pictures of both.
//
// A presentation is accepted where its score reaches a threshold. APCER is the share of attack presentations of one species that
// are accepted, BPCER that of bona fide presentations that aren't; the APCER of several species is that of the worst. Presentations
// that got no score are no part of either: whoever has some reports them as non-responses, with a Rate of their own.
//
// It promises that every figure is finite, that what can't be known from the scores is an error and not a number, and that the same
// scores give the same answer in whatever order they come. It knows nothing of files, pictures or nets. Its intervals take
// presentations to be independent; frames of the same few people aren't, and their intervals are too narrow.
package pad

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// ErrOneSided is that the scores of bona fide or of attack presentations are missing, so that there is nothing to tell apart.
var ErrOneSided = errors.New("pad: scores of bona fide and of attack presentations are both needed")

// Rate is how many presentations of how many went wrong, with the 95 % interval of Clopper and Pearson.
type Rate struct {
	Errors int      `json:"errors"`
	Of     int      `json:"of"`
	Share  *float64 `json:"rate"` // null of no presentations
	Low    float64  `json:"low"`
	High   float64  `json:"high"`
}

// NewRate is the rate of so many errors in so many presentations.
func NewRate(errors, of int) Rate {
	r := Rate{Errors: errors, Of: of}
	r.Low, r.High = ClopperPearson(errors, of)
	if of > 0 {
		share := float64(errors) / float64(of)
		r.Share = &share
	}
	return r
}

// ClopperPearson is the exact 95 % interval of a share. Of no presentations, or of counts that can't be, nothing is known: 0 to 1.
func ClopperPearson(errors, of int) (low, high float64) {
	const tail = 0.025
	if errors < 0 || errors > of {
		return 0, 1
	}
	k, n := float64(errors), float64(of)
	high = 1
	if errors > 0 {
		low = distuv.Beta{Alpha: k, Beta: n - k + 1}.Quantile(tail)
	}
	if errors < of {
		high = distuv.Beta{Alpha: k + 1, Beta: n - k}.Quantile(1 - tail)
	}
	return low, high
}

// Sample is the scores of one set of presentations: the higher, the more it looks alive.
type Sample struct {
	bonaFide []float64 // ascending, as the others
	attacks  map[string][]float64
	species  []string // those with a score, in order
}

// NewSample takes scores of bona fide presentations, and of attacks by species. It keeps none of the slices.
func NewSample(bonaFide []float64, attacks map[string][]float64) (*Sample, error) {
	s := &Sample{attacks: map[string][]float64{}}
	var err error
	if s.bonaFide, err = ascending(bonaFide); err != nil {
		return nil, fmt.Errorf("pad: bona fide presentations: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(attacks)) {
		if len(attacks[name]) == 0 {
			continue
		}
		if s.attacks[name], err = ascending(attacks[name]); err != nil {
			return nil, fmt.Errorf("pad: attacks of species %q: %w", name, err)
		}
		s.species = append(s.species, name)
	}
	return s, nil
}

func ascending(scores []float64) ([]float64, error) {
	for _, v := range scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("score %v is no finite number", v)
		}
	}
	return slices.Sorted(slices.Values(scores)), nil
}

// Only is the sample without the attacks of other species.
func (s *Sample) Only(species string) *Sample {
	o := &Sample{bonaFide: s.bonaFide, attacks: map[string][]float64{}}
	if scores, ok := s.attacks[species]; ok {
		o.attacks[species], o.species = scores, []string{species}
	}
	return o
}

// Species are the names of those that have scores, in order.
func (s *Sample) Species() []string { return slices.Clone(s.species) }

// TwoSided tells whether there is something to tell apart.
func (s *Sample) TwoSided() bool { return len(s.bonaFide) > 0 && len(s.species) > 0 }

// below counts the scores under t.
func below(scores []float64, t float64) int {
	n, _ := slices.BinarySearch(scores, t)
	return n
}

// BPCER is the rate of bona fide presentations that aren't accepted at t.
func (s *Sample) BPCER(t float64) Rate { return NewRate(below(s.bonaFide, t), len(s.bonaFide)) }

// APCER is the rate of attacks of a species that are accepted at t.
func (s *Sample) APCER(species string, t float64) Rate {
	scores := s.attacks[species]
	return NewRate(len(scores)-below(scores, t), len(scores))
}

// Worst is the species with the highest APCER at t, "" without attacks. Of equals it is the first by name.
func (s *Sample) Worst(t float64) (species string) {
	worst := -1.0
	for _, name := range s.species {
		if v := s.accepted(name, t); v > worst {
			species, worst = name, v
		}
	}
	return species
}

func (s *Sample) accepted(species string, t float64) float64 {
	scores := s.attacks[species]
	return float64(len(scores)-below(scores, t)) / float64(len(scores))
}

// negated is the sample with the order of the scores turned round.
func (s *Sample) negated() *Sample {
	turn := func(scores []float64) []float64 {
		out := make([]float64, len(scores))
		for i, v := range scores {
			out[len(out)-1-i] = -v
		}
		return out
	}
	n := &Sample{bonaFide: turn(s.bonaFide), attacks: map[string][]float64{}, species: s.species}
	for name, scores := range s.attacks {
		n.attacks[name] = turn(scores)
	}
	return n
}
