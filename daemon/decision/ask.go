package decision

import (
	"errors"
	"time"
)

// Demand is what a session wants before it is told live. Zero values stand for the decider's own.
type Demand struct {
	LiveAt, SpoofAt float64
	AcceptError     float64 // rate of attacks that may be accepted
	RefuseError     float64 // rate of living people that may be taken for an attack
	MinFrames       int
	MinTime         time.Duration // from the first frame of the evidence to the newest
	Timeout         time.Duration // from Ask to undecided
}

// ErrAsked is that somebody else's Ask has no answer yet.
var ErrAsked = errors.New("decision: somebody has asked already")

// ask is a question without an answer yet.
type ask struct {
	rule
	since, deadline time.Time
	frames          int  // since then
	lack            Code // what was missing lately
}

// Ask wants a verdict about the presentation in front of the camera, or the next to come, under a demand of its own. Only frames
// captured after now are evidence for it, and those of one presentation alone: if a face leaves or another takes its place before
// there is enough, the next one is judged from its own beginning. A presentation that was said to be an attack isn't live for who
// asks either, until it left. Until its one answer, which is marked as Asked, or Release, the decider says nothing else. The answer
// comes from Observe, from Idle once the time-out is over, or from Interrupt.
func (d *Decider) Ask(now time.Time, demand Demand) error {
	if d.ask != nil {
		return ErrAsked
	}
	r := newRule(demand, d.o)
	var f faults
	if r.check(&f); len(f) > 0 {
		return errors.Join(f...)
	}
	d.ask = &ask{rule: r, since: now, deadline: now.Add(r.timeout)}
	return nil
}

// Release ends an Ask without an answer, if one runs.
func (d *Decider) Release() { d.ask = nil }

// Heard says that the answer to who asked, if it was live or spoof, has been told to everybody: the presentation gives a verdict of its
// own only if that is another. Without it, it does in any case: an answer that nobody was told is no reason to be silent.
func (d *Decider) Heard(v Verdict) {
	if p := d.p; p != nil && (v == Spoof || v == Live && !p.spoofed) {
		p.said, p.retract = v, ""
	}
}

// answerAsk is the answer for who asked, if there is one.
func (d *Decider) answerAsk(clear bool) *Decision {
	a := d.ask
	switch v := d.verdict(a.rule, a.since); {
	case v == Spoof:
		return d.reply(Spoof, PADAttack)
	case v == Live && clear:
		return d.reply(Live, "")
	}
	if d.p.spoofed && d.hint == "" {
		d.hint = PADAttack // nothing will come of it while this face stays
	}
	return nil
}

// late tells whether the time of who asked is over.
func (d *Decider) late(now time.Time) bool { return d.ask != nil && !now.Before(d.ask.deadline) }

// expire answers who asked that the time is over.
func (d *Decider) expire() *Decision {
	a := d.ask
	why := Timeout
	switch {
	case a.frames == 0:
		why = CameraLost
	case d.p != nil && d.weigh(a.rule, a.since).frames >= a.minFrames:
	case a.lack != "" && a.lack != PADAttack:
		why = a.lack
	}
	return d.reply(Undecided, why)
}

func (d *Decider) reply(v Verdict, c Code) *Decision {
	a := d.ask
	d.ask = nil
	said := d.decision(v, c, a.rule, a.since)
	said.Asked = true
	return said
}
