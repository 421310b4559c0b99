package decision

import (
	"math"
	"time"
)

// presentation is one face in front of the camera, from its appearance to its leaving.
type presentation struct {
	began, seen time.Time // first and newest frame that showed it
	face        Face      // where it was then
	signature   Signature // what it looked like lately
	strange     int       // frames in a row in which it looks like another
	took        bool      // it took another's place
	said        Verdict   // newest verdict that nobody asked for, "" for none yet
	spoofed     bool      // it was said to be an attack, asked for or not
	doubted     bool      // a cue says that it is an attack
	attack      string    // of which kind
	retract     Code      // a cue takes back what was said
	gate        Code      // why a frame was no evidence, lately
	blind       Code      // why the face can't be seen since then; "" for no reason
	evidence    []evidence
}

// evidence is one judged frame.
type evidence struct {
	time   time.Time
	odds   float64 // the net's own, for the score
	worth  float64 // log-likelihood ratio, for the test
	attack string
}

// weight is what evidence comes to.
type weight struct {
	frames        int
	first, newest time.Time
	span          time.Duration
	score         float64 // P(live): the mean of the net's log-odds
	mean          float64 // of what each is worth
	independent   float64 // how many independent frames they are worth
	sum           float64 // of the test: mean times independent
}

// weigh adds up the evidence that counts by a rule and was captured after a time.
func (d *Decider) weigh(r rule, after time.Time) (w weight) {
	from := d.last.Add(-d.window(r))
	var odds, worth float64
	for _, e := range d.p.evidence {
		if e.time.Before(from) || !e.time.After(after) {
			continue
		}
		if w.frames == 0 {
			w.first, w.independent = e.time, 1
		} else {
			w.independent += d.fresh(e.time.Sub(w.newest))
		}
		w.newest = e.time
		w.frames++
		odds += min(max(e.odds, -r.bound), r.bound)
		worth += e.worth
	}
	if w.frames == 0 {
		return w
	}
	n := float64(w.frames)
	w.span, w.score, w.mean = w.newest.Sub(w.first), Digits(sigmoid(odds/n)), worth/n
	w.sum = w.mean * w.independent
	return w
}

// fresh is how much of an independent frame one is that comes so long after another. What frames say is taken for a series whose
// correlation falls to ρ = exp(−step/Correlation) from one to the next; n of them tell as much about their mean as
// 1 + (n − 1)(1 − ρ)/(1 + ρ) independent ones.
func (d *Decider) fresh(step time.Duration) float64 {
	return math.Tanh(float64(step) / float64(2*d.o.Correlation))
}

func (p *presentation) add(e evidence) {
	if len(p.evidence) == mostFrames {
		p.evidence = p.evidence[:copy(p.evidence, p.evidence[1:])]
	}
	p.evidence = append(p.evidence, e)
}

// kind is the attack that most of the frames from a time on name; of equals, the one that came first.
func (p *presentation) kind(from time.Time) string {
	count := map[string]int{}
	for _, e := range p.evidence {
		if !e.time.Before(from) {
			count[e.attack]++
		}
	}
	best := ""
	for _, e := range p.evidence {
		if !e.time.Before(from) && e.attack != "" && (best == "" || count[e.attack] > count[best]) {
			best = e.attack
		}
	}
	return best
}

// nearest is the face that goes on from where this one was, and otherwise the one that was given.
func (p *presentation) nearest(faces []Face, otherwise Face) Face {
	best := otherwise
	for _, f := range faces {
		if overlap(p.face, f) > overlap(p.face, best) {
			best = f
		}
	}
	return best
}
