package decision

import "time"

// Trial is one presentation of which somebody says what it is, judged as any other. It is for whoever counts errors, and for one goroutine.
type Trial struct {
	d        *Decider
	o        Options
	gate     Code // why the newest frame is no evidence
	why      Code // of the first decision, if that is no answer
	decided  bool
	answered bool
	score    float64
}

// NewTrial begins one.
func NewTrial(o Options) (*Trial, error) {
	d, err := New(o)
	if err != nil {
		return nil, err
	}
	o.fill()
	return &Trial{d: d, o: o}, nil
}

// Decider is the one that the trial is judged by, for whoever looks at its frames.
func (t *Trial) Decider() *Decider { return t.d }

// Observe takes a frame's finding.
func (t *Trial) Observe(o Observation) {
	t.gate = o.Code
	t.add(t.d.Observe(o))
}

// Idle lets time pass without a frame.
func (t *Trial) Idle(now time.Time) { t.add(t.d.Idle(now)) }

// End closes what is still open, and gives the highest score of the answers, since a door that opens once is open; or why there is no answer.
func (t *Trial) End(now time.Time) (score float64, why Code) {
	t.add(t.d.Interrupt(now, Timeout))
	switch {
	case t.answered:
		return t.score, ""
	case !t.decided || t.why == "":
		return 0, NoFacesDetected
	}
	return 0, t.why
}

func (t *Trial) add(v *Decision) {
	if v == nil {
		return
	}
	code, scored := v.Code, v.Frames > 0
	if code == Timeout && v.Frames < t.o.MinFrames {
		// Too little was seen to have a score.
		code, scored = first(t.gate, code), false
	}
	if !t.decided {
		t.decided, t.why = true, code
	}
	if scored && t.answers(v.Verdict, code, v.Score) {
		t.score, t.answered = max(t.score, v.Score), true
	}
}

// answers tells whether a verdict is one about liveness, with a score that says the same. A presentation that ended before enough of it
// was seen has a score, too, but nobody was let in by it nor kept out.
func (t *Trial) answers(v Verdict, c Code, score float64) bool {
	switch v {
	case Live:
		return score >= t.o.LiveAt
	case Spoof:
		return score <= t.o.SpoofAt
	}
	return c == Timeout && score > t.o.SpoofAt && score < t.o.LiveAt
}
