package command

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/livenessd/livenessd/daemon/pad"
)

// calibration is what calibrate says, as --json prints it. Rates are shares of 1.
type calibration struct {
	Schema     int            `json:"schema"`
	Camera     string         `json:"camera,omitempty"` // where a camera looked
	Seconds    float64        `json:"seconds,omitempty"`
	Recorded   string         `json:"recorded,omitempty"` // folder
	Evaluation evaluation     `json:"evaluation"`         // at the thresholds in effect
	Target     pad.Target     `json:"target"`
	Needed     []neededResult `json:"needed"`
	Suggestion *suggestion    `json:"suggestion"`        // null: see refused
	Refused    []string       `json:"refused,omitempty"` // why there is no suggestion
}

// neededResult is how many more presentations of a kind would show at the thresholds in effect that an error rate isn't above a limit.
type neededResult struct {
	Species string  `json:"species"` // "" is bona fide
	Errors  int     `json:"errors"`
	Of      int     `json:"of"` // with an answer
	Limit   float64 `json:"limit"`
	More    int     `json:"more"` // without a further error
}

// suggestion is thresholds as the configuration has them, too.
type suggestion struct {
	pad.Suggestion
	liveText, spoof string
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
		r.Needed = append(r.Needed, neededResult{species, rate.Errors, rate.Of, limit, pad.MoreNeeded(rate.Errors, rate.Of, limit, r.Target.Certainty)})
	}
	need("", f.BonaFide.BPCER, r.Target.BPCER)
	for _, a := range f.Attacks {
		need(a.Species, a.APCER, r.Target.APCER)
	}
	r.Suggestion, r.Refused = suggest(m, r.Target)
}

// suggest chooses thresholds, or says why it doesn't.
func suggest(m *measured, t pad.Target) (*suggestion, []string) {
	attacks := map[string][]float64{}
	for species, c := range m.classes {
		if species != "" {
			attacks[species] = c.scores[net]
		}
	}
	chosen, why := pad.Suggest(m.classes[""].scores[net], attacks, t)
	if chosen == nil {
		return nil, why
	}
	return &suggestion{*chosen, plainNumber(chosen.LiveAt), plainNumber(chosen.SpoofAt)}, nil
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
