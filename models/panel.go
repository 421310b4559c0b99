package models

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/tflite"
)

// Combination is how the answers of several liveness nets become one.
type Combination string

// The combinations. Both are means, weighted by the members' weights.
const (
	Logits        Combination = "logits"        // of the log-odds: who is sure counts more
	Probabilities Combination = "probabilities" // of P(live), as upstream's Silent-Face-Anti-Spoofing does
)

// maxOdds bounds what one of several nets can put into the balance, in log-odds. It is what a softmax gives at most after
// rounding, so that nets with logits and nets with a softmax weigh alike, and none outvotes all others by being absurdly sure.
const maxOdds = 14

// Member is a model that judges together with others.
type Member struct {
	Model  *Model
	Weight float64 // above 0
}

// Panel is the liveness models that judge together. A panel of one is that model.
type Panel struct {
	Task    Task
	Name    string // of the models, joined by + in the order of Members
	Version string // likewise
	// SHA256 is the model's digest where there is one; else it is over the text "combine COMBINATION\n" and a line
	// "DIGEST WEIGHT\n" for each model, these sorted: it changes when an answer could.
	SHA256 string
	// Thresholds are what the manifests recommend. One in which they don't agree is 0: nobody has recommended it.
	Thresholds Thresholds
	Combine    Combination
	Members    []Member
}

// NewPanel lets models judge together.
func NewPanel(combine Combination, members ...Member) (*Panel, error) {
	if combine == "" {
		combine = Logits
	}
	if combine != Logits && combine != Probabilities {
		return nil, fmt.Errorf("models: combine %q: %s or %s", combine, Logits, Probabilities)
	}
	if len(members) == 0 {
		return nil, errors.New("models: a panel without models")
	}
	p := &Panel{Task: LivenessTask, Combine: combine, Members: slices.Clone(members), Thresholds: members[0].Model.Thresholds}
	var names, versions, lines []string
	for _, m := range members {
		if m.Model.Task != LivenessTask {
			return nil, fmt.Errorf("models: %s (%s) is a model for %s, not %s", m.Model.Name, m.Model.From, m.Model.Task, LivenessTask)
		}
		if !(m.Weight > 0) || math.IsInf(m.Weight, 0) {
			return nil, fmt.Errorf("models: %s (%s) weighs %v; need a number above 0", m.Model.Name, m.Model.From, m.Weight)
		}
		names, versions = append(names, m.Model.Name), append(versions, m.Model.Version)
		lines = append(lines, m.Model.SHA256+" "+strconv.FormatFloat(m.Weight, 'g', -1, 64)+"\n")
		if m.Model.Thresholds.LiveAt != p.Thresholds.LiveAt {
			p.Thresholds.LiveAt = 0
		}
		if m.Model.Thresholds.SpoofAt != p.Thresholds.SpoofAt {
			p.Thresholds.SpoofAt = 0
		}
	}
	p.Name, p.Version, p.SHA256 = strings.Join(names, "+"), strings.Join(versions, "+"), members[0].Model.SHA256
	if len(members) > 1 {
		slices.Sort(lines)
		sum := sha256.Sum256([]byte("combine " + string(combine) + "\n" + strings.Join(lines, "")))
		p.SHA256 = hex.EncodeToString(sum[:])
	}
	return p, nil
}

// Ensemble is the nets of a panel, ready to judge. It is for one goroutine.
type Ensemble struct {
	panel   *Panel
	nets    []*Liveness
	answers []Judgement
}

// NewEnsemble makes the nets of a panel.
func NewEnsemble(rt *tflite.Runtime, p *Panel, o Options) (*Ensemble, error) {
	e := &Ensemble{panel: p, answers: make([]Judgement, len(p.Members))}
	for _, m := range p.Members {
		l, err := NewLiveness(rt, m.Model, o)
		if err != nil {
			return nil, errors.Join(err, e.Close())
		}
		e.nets = append(e.nets, l)
	}
	return e, nil
}

// Panel is who judges.
func (e *Ensemble) Panel() *Panel { return e.panel }

// Nets are the nets, in the order of the panel's members. They belong to the ensemble.
func (e *Ensemble) Nets() []*Liveness { return e.nets }

// Delegate names what runs the nets.
func (e *Ensemble) Delegate() string { return e.nets[0].Delegate() }

// Crop cuts the face out of the picture for each net, by its own rule.
func (e *Ensemble) Crop(m *frame.Image, face Box) error {
	for _, l := range e.nets {
		if err := l.Crop(m, face); err != nil {
			return err
		}
	}
	return nil
}

// Judge runs all nets on what Crop cut out. An error of one is an error of the whole: the others' answer isn't the panel's.
func (e *Ensemble) Judge() (Judgement, error) {
	for i, l := range e.nets {
		j, err := l.Judge()
		if err != nil {
			return Judgement{}, err
		}
		e.answers[i] = j
	}
	return e.panel.combine(e.answers)
}

// Close frees the nets. It is idempotent.
func (e *Ensemble) Close() error {
	var errs []error
	for _, l := range e.nets {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// combine makes one answer of those of the members, in their order.
func (p *Panel) combine(answers []Judgement) (Judgement, error) {
	if len(answers) == 1 {
		return answers[0], nil
	}
	var sum, evidence, weights float64
	for i, a := range answers {
		w := p.Members[i].Weight
		weights += w
		evidence += w * a.Evidence
		v := math.Min(math.Max(a.LogOdds, -maxOdds), maxOdds)
		if p.Combine == Probabilities {
			v = 1 / (1 + math.Exp(-v))
		}
		sum += w * v
	}
	// The mean whatever Combine says: nets that look at one picture err together, so that their evidence isn't a sum.
	j := Judgement{Attack: p.attack(answers), Evidence: evidence / weights}
	if mean := sum / weights; p.Combine == Probabilities {
		j.Live, j.LogOdds = mean, math.Log(mean/(1-mean))
	} else {
		j.Live, j.LogOdds = 1/(1+math.Exp(-mean)), mean
	}
	// Not a comparison with a bound: what isn't a number compares false.
	if math.IsNaN(j.LogOdds+j.Evidence) || math.IsInf(j.LogOdds+j.Evidence, 0) {
		return Judgement{}, ErrNotFinite
	}
	return j, nil
}

// attack is the kind that those who tell kinds apart give most weight: theirs, by how much they believe in an attack.
func (p *Panel) attack(answers []Judgement) string {
	best, kind := 0.0, ""
	for _, a := range answers {
		if a.Attack == "" {
			continue
		}
		var sum float64
		for i, b := range answers {
			if b.Attack == a.Attack {
				sum += p.Members[i].Weight * (1 - b.Live)
			}
		}
		if c := cmp.Compare(sum, best); c > 0 || kind == "" {
			best, kind = sum, a.Attack
		}
	}
	return kind
}
