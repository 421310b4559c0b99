package decision

import "time"

// Demand is what a session wants before it is told live. Zero values stand for the decider's own.
type Demand struct {
	LiveAt, SpoofAt float64
	AcceptError     float64 // rate of attacks that may be accepted
	RefuseError     float64 // rate of living people that may be taken for an attack
	MinFrames       int
	MinTime         time.Duration // from the first frame of the evidence to the newest
	Timeout         time.Duration // from Ask to undecided
}

// Ask wants a verdict about the presentation in front of the camera, or the next to come, under a demand of its own. Only frames
// captured after now are evidence for it. Until its one answer, which is marked as Asked, or Release, the decider says nothing else.
func (d *Decider) Ask(now time.Time, demand Demand) error { return nil }

// Release ends an Ask without an answer, if one runs.
func (d *Decider) Release() {}

// Hint is what the newest frame lacked, "" if it was evidence.
func (d *Decider) Hint() Code { return "" }

// Progress is where the evidence stands between the two bounds: −1 at that for spoof, 0 without evidence, 1 at that for live.
func (d *Decider) Progress() float64 { return 0 }
