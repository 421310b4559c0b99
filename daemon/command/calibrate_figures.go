package command

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/livenessd/livenessd/daemon/pad"
)

// calibration is what calibrate says, as --json prints it. Rates are shares of 1.
type calibration struct {
	Schema     int               `json:"schema"`
	Camera     string            `json:"camera,omitempty"` // where a camera looked
	Seconds    float64           `json:"seconds,omitempty"`
	Recorded   string            `json:"recorded,omitempty"` // folder
	Evaluation evaluation        `json:"evaluation"`         // at the thresholds in effect
	Target     calibrationTarget `json:"target"`
	Needed     []neededResult    `json:"needed"`
	Suggestion *suggestion       `json:"suggestion"`        // null: see refused
	Refused    []string          `json:"refused,omitempty"` // why there is no suggestion
}

// calibrationTarget is what was asked for.
type calibrationTarget struct {
	APCER     float64 `json:"apcer"`
	BPCER     float64 `json:"bpcer"`
	Certainty float64 `json:"certainty"`
}

// neededResult is how many more presentations of a kind would show at the thresholds in effect that an error rate isn't above a limit.
type neededResult struct {
	Species string  `json:"species"` // "" is bona fide
	Errors  int     `json:"errors"`
	Of      int     `json:"of"` // with an answer
	Limit   float64 `json:"limit"`
	More    int     `json:"more"` // without a further error
}

// suggestion is thresholds, and what they are worth on the presentations that they were chosen by.
type suggestion struct {
	LiveAt   float64           `json:"live_at"`
	SpoofAt  float64           `json:"spoof_at"`
	Met      bool              `json:"met"` // both error rates; else BPCER is above what was asked for
	BPCER    pad.Rate          `json:"bpcer"`
	Refused  pad.Rate          `json:"bona_fide_as_spoof"` // living people that are called attacks
	Species  []suggestedAttack `json:"attacks"`
	liveText string            // as the configuration has it
	spoof    string
}

type suggestedAttack struct {
	Species string   `json:"species"`
	APCER   pad.Rate `json:"apcer"`
}

// fill works out everything from the scores.
func (r *calibration) fill(s *scorer, m *measured) {
	d, l := s.engine.Detector, s.engine.Liveness
	e := &r.Evaluation
	*e = evaluation{Schema: 1, Detector: d.Name + " " + d.Version, Delegate: s.engine.Delegate(), FaceFrom: "detector",
		Threshold: evaluationThreshold{LiveAt: s.options.LiveAt, SpoofAt: s.options.SpoofAt, From: s.source()}}
	e.Model.Name, e.Model.Version, e.Model.SHA256 = l.Name, l.Version, l.SHA256
	f := e.folder(m)
	f.Name = f.Folder
	e.Folders = []folderResult{f}
	need := func(species string, rate pad.Rate, limit float64) {
		r.Needed = append(r.Needed, neededResult{species, rate.Errors, rate.Of, limit, moreNeeded(rate.Errors, rate.Of, limit, r.Target.Certainty)})
	}
	need("", f.BonaFide.BPCER, r.Target.BPCER)
	for _, a := range f.Attacks {
		need(a.Species, a.APCER, r.Target.APCER)
	}
	r.Suggestion, r.Refused = suggest(m, r.Target)
}

// moreNeeded is how many presentations without a further error bring the upper bound of Clopper and Pearson's interval down to
// limit. Without errors that is the rule of three, exactly.
func moreNeeded(errors, of int, limit, certainty float64) int {
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

// suggest chooses thresholds, or says why it doesn't.
func suggest(m *measured, t calibrationTarget) (*suggestion, []string) {
	sample := m.samples[net]
	var why []string
	few := func(what string, n int, kind string, limit float64) {
		if least := leastFor(limit); n < least {
			why = append(why, fmt.Sprintf("%s: %d with an answer; %s of %s takes at least %d", what, n, kind, percent(limit), least))
		}
	}
	few("living people", len(m.classes[""].scores[net]), "a BPCER", t.BPCER)
	attacks := 0
	for _, species := range slices.Sorted(maps.Keys(m.classes)) {
		if species != "" {
			attacks++
			few("attack "+printable(species), len(m.classes[species].scores[net]), "an APCER", t.APCER)
		}
	}
	if attacks == 0 {
		why = append(why, fmt.Sprintf("no attack was shown; an APCER of %s takes at least %d of a species", percent(t.APCER), leastFor(t.APCER)))
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
		for species, c := range m.classes {
			for _, s := range c.scores[net] {
				if s < v && s > best && (people || species != "") {
					best = s
				}
			}
		}
		return best
	}
	s := &suggestion{Met: secure.Threshold <= kind.Threshold}
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
			"more light, another place for the camera or another model may help", percent(t.APCER))}
	}
	s.liveText, s.spoof = plainNumber(s.LiveAt), plainNumber(s.SpoofAt)
	s.BPCER = sample.BPCER(s.LiveAt)
	s.Refused = sample.BPCER(math.Nextafter(s.SpoofAt, 1))
	for _, species := range sample.Species() {
		s.Species = append(s.Species, suggestedAttack{species, sample.APCER(species, s.LiveAt)})
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

// plainNumber is how a threshold stands in a file.
func plainNumber(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func percent(v float64) string { return strconv.FormatFloat(100*v, 'g', 4, 64) + " %" }

func (a *app) printCalibration(r *calibration) error {
	if a.json {
		return a.printJSON(r)
	}
	var b strings.Builder
	r.text(&b)
	return a.printTables(b.String())
}

func kindOf(species string) (name, rate string) {
	if species == "" {
		return "bona fide", "BPCER"
	}
	return "attack " + printable(species), "APCER"
}

// text is the readable form.
func (r *calibration) text(b *strings.Builder) {
	r.Evaluation.text(b)
	fmt.Fprintf(b, "\nmore presentations, all without an error, until an error rate is shown with %s certainty\n", percent(r.Target.Certainty))
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, n := range r.Needed {
		name, rate := kindOf(n.Species)
		fmt.Fprintf(w, "  %s\t%s at most %s\t%d more\t(%d wrong of %d so far)\n", name, rate, percent(n.Limit), n.More, n.Errors, n.Of)
	}
	w.Flush()
	s := r.Suggestion
	if s == nil {
		b.WriteString("\nno thresholds are suggested\n")
		for _, why := range r.Refused {
			fmt.Fprintf(b, "  %s\n", why)
		}
		return
	}
	fmt.Fprintf(b, "\nsuggested: live_at %s, spoof_at %s, for APCER at most %s and BPCER at most %s\n", s.liveText, s.spoof,
		percent(r.Target.APCER), percent(r.Target.BPCER))
	if !s.Met {
		b.WriteString("  both can't be had here; the attacks are kept out, and people pay for it\n")
	}
	w = tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  bona fide\tBPCER %s\tcalled an attack %s\n", rate(s.BPCER), rate(s.Refused))
	for _, a := range s.Species {
		fmt.Fprintf(w, "  attack %s\tAPCER %s\t\n", printable(a.Species), rate(a.APCER))
	}
	w.Flush()
	b.WriteString("  on the very presentations that they were chosen by, which flatters them\n")
}
