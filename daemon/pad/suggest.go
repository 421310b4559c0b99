package pad

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
)

// Target is the error rates that thresholds shall keep, as shares of 1, and how certain statements about them shall be.
type Target struct {
	APCER     float64 `json:"apcer"`
	BPCER     float64 `json:"bpcer"`
	Certainty float64 `json:"certainty"`
}

// Suggestion is thresholds, and what they are worth on the presentations that they were chosen by.
type Suggestion struct {
	LiveAt  float64           `json:"live_at"`
	SpoofAt float64           `json:"spoof_at"`
	Met     bool              `json:"met"` // both error rates; else BPCER is above what was asked for
	BPCER   Rate              `json:"bpcer"`
	Refused Rate              `json:"bona_fide_as_spoof"` // living people that are called attacks
	Species []SuggestedAttack `json:"attacks"`
}

// SuggestedAttack is what the thresholds are worth against one species.
type SuggestedAttack struct {
	Species string `json:"species"`
	APCER   Rate   `json:"apcer"`
}

// MoreNeeded is how many presentations without a further error bring the upper bound of Clopper and Pearson's interval down to
// limit. Without errors that is the rule of three, exactly.
func MoreNeeded(errors, of int, limit, certainty float64) int {
	tail := (1 - certainty) / 2
	// The upper bound is at most limit where so few errors are that unlikely at limit.
	enough := func(more int) bool { return atMost(errors, of+more, limit) <= tail }
	most := 1
	for !enough(most) {
		most *= 2
	}
	return sort.Search(most, enough)
}

// atMost is the binomial probability of at most k errors in n presentations at an error rate of p.
func atMost(k, n int, p float64) float64 {
	lg := func(v int) float64 { g, _ := math.Lgamma(float64(v) + 1); return g }
	sum := 0.0
	for i := range min(k, n) + 1 {
		sum += math.Exp(lg(n) - lg(i) - lg(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(sum, 1)
}

// leastFor is how many presentations it takes for one error to be no more than a rate: with fewer, that rate can't be told from none.
func leastFor(rate float64) int { return int(math.Ceil(1/rate - 1e-9)) }

// Suggest chooses thresholds by the scores of bona fide presentations and of attacks by species, of which some may have none, or says why it
// doesn't. Attacks are kept out in any case; that few people are is met where both can be.
func Suggest(bonaFide []float64, attacks map[string][]float64, t Target) (*Suggestion, []string) {
	sample, err := NewSample(bonaFide, attacks)
	if err != nil {
		return nil, []string{err.Error()}
	}
	var why []string
	few := func(what string, n int, kind string, limit float64) {
		if least := leastFor(limit); n < least {
			why = append(why, fmt.Sprintf("%s: %d with an answer; %s of %s takes at least %d", what, n, kind, hundredths(limit), least))
		}
	}
	few("living people", len(bonaFide), "a BPCER", t.BPCER)
	for _, species := range slices.Sorted(maps.Keys(attacks)) {
		few("attack "+printable(species), len(attacks[species]), "an APCER", t.APCER)
	}
	if len(attacks) == 0 {
		why = append(why, fmt.Sprintf("no attack was shown; an APCER of %s takes at least %d of a species", hundredths(t.APCER), leastFor(t.APCER)))
	}
	if len(why) > 0 {
		return nil, why
	}
	secure, err := sample.ForAPCER(t.APCER)
	if err != nil {
		return nil, []string{err.Error()}
	}
	kind, err := sample.ForBPCER(t.BPCER)
	if err != nil {
		return nil, []string{err.Error()}
	}
	below := func(v float64, people bool) float64 { // the highest score under v, of attacks or of anybody
		best := 0.0
		look := func(scores []float64) {
			for _, s := range scores {
				if s < v && s > best {
					best = s
				}
			}
		}
		for _, scores := range attacks {
			look(scores)
		}
		if people {
			look(bonaFide)
		}
		return best
	}
	s := &Suggestion{Met: secure.Threshold <= kind.Threshold}
	if s.Met {
		// The strictest that people bear leaves no room below them. What keeps as many attacks out does as well: take the middle of
		// that, so that neither side is close.
		s.SpoofAt = below(kind.Threshold, false)
		s.LiveAt = middle(s.SpoofAt, kind.Threshold)
	} else {
		s.SpoofAt = below(kind.Threshold, true)
		s.LiveAt = secure.Threshold
	}
	s.LiveAt = roundUp(s.LiveAt, kind.Threshold, s.Met)
	if rounded := math.Floor(s.SpoofAt*1e4) / 1e4; rounded > 0 {
		s.SpoofAt = rounded
	}
	if s.SpoofAt <= 0 {
		s.SpoofAt = min(s.LiveAt, kind.Threshold) / 2 // under everybody
	}
	if !(0 < s.SpoofAt && s.SpoofAt < s.LiveAt && s.LiveAt < 1) || sample.BPCER(s.LiveAt).Errors == sample.BPCER(s.LiveAt).Of {
		return nil, []string{fmt.Sprintf("no threshold keeps the attacks out (APCER at most %s) and lets anybody in: they look as alive as the people; "+
			"more light, another place for the camera or another model may help", hundredths(t.APCER))}
	}
	s.BPCER = sample.BPCER(s.LiveAt)
	s.Refused = sample.BPCER(math.Nextafter(s.SpoofAt, 1))
	for _, species := range sample.Species() {
		s.Species = append(s.Species, SuggestedAttack{species, sample.APCER(species, s.LiveAt)})
	}
	return s, nil
}

// middle is the middle of two probabilities in log-odds, where the ends allow it.
func middle(low, high float64) float64 {
	odds := func(p float64) float64 {
		p = min(max(p, 1e-6), 1-1e-6)
		return math.Log(p / (1 - p))
	}
	if m := 1 / (1 + math.Exp(-(odds(low)+odds(high))/2)); low < m && m < high {
		return m
	}
	return high
}

// roundUp makes a threshold short to write: stricter, and where that matters no stricter than people bear.
func roundUp(v, most float64, bounded bool) float64 {
	rounded := math.Ceil(v*1e4) / 1e4
	if rounded >= 1 || bounded && rounded > most {
		return v
	}
	return rounded
}

// hundredths is a share as people write it.
func hundredths(v float64) string { return strconv.FormatFloat(100*v, 'g', 4, 64) + " %" }

// printable is a name as it is, or quoted where it isn't all print.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
