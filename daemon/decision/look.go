package decision

import "math"

// Look is what a face's part of a frame is like, and whether that is good enough to judge it.
type Look struct {
	Known     bool      // somebody measured it: without, no gate but those of the box holds the frame back
	Luma      float64   // mean brightness of the face, 0…255
	Dark      float64   // share of it that is as dark as can be
	Bright    float64   // share of it that is as bright as can be
	Sharp     float64   // detail by contrast, whatever the size: see package look
	Posed     bool      // Yaw and Roll are known
	Yaw, Roll float64   // degrees: turned to a side, leaning to a shoulder; 0 is upright and frontal
	Signature Signature // appearance, to tell whether the next frame shows the same face
}

// Signature is a face's appearance: numbers of mean 0 and length 1, or all 0 where nobody knows.
type Signature [64]float32

// Doubt is a cue's objection. It can take evidence away or make a presentation an attack, and never makes anybody live.
type Doubt struct {
	Cue     string  // who objects
	Verdict Verdict // Spoof: the presentation is one; anything else: no evidence, and what was before isn't any more
	Code    Code    // why, for undecided
	Attack  string  // the kind, for spoof
}

// certain is how many frames in a row must show somebody else before it is somebody else: a box that jumps once isn't a person.
// The first of them is no evidence already.
const certain = 2

func (s *Signature) known() bool { return *s != Signature{} }

// distance is 0 for the same appearance, 1 for one that has nothing to do with it, 2 for its negative.
func (s *Signature) distance(o *Signature) float64 {
	var sum float32
	for i, v := range s {
		sum += v * o[i]
	}
	return 1 - float64(sum)
}

// strange tells whether the presentation's face looks like another in the newest frame.
func (d *Decider) strange(l *Look) bool {
	p := d.p
	switch {
	case !p.signature.known():
	case !l.Signature.known():
		return p.strange > 0 // nobody can say that it is the same again
	case !(p.signature.distance(&l.Signature) < d.change()):
		p.strange++
		return true
	}
	p.strange = 0
	return false
}

// change is the distance from which two faces aren't the same. In slow frames people move more from one to the next.
func (d *Decider) change() float64 {
	const quick, most = 0.25, 1.6 // seconds
	return d.o.Change * min(max(d.pace.step().Seconds()/quick, 1), most)
}

// Gate tells why a face that looks so can't be judged, "" if it can.
func (d *Decider) Gate(l *Look) Code {
	o := &d.o
	turned := l.Posed && !(math.Abs(l.Yaw) <= o.MaxYaw && math.Abs(l.Roll) <= o.MaxRoll)
	switch {
	case !l.Known && !turned:
		return ""
	case turned:
		return FaceTurned
	case !finite(l.Luma) || !finite(l.Sharp):
		return ProcessingErr
	case l.Luma < o.MinLuma || l.Dark > o.MaxClipped:
		return TooDark
	case l.Luma > o.MaxLuma || l.Bright > o.MaxClipped:
		return TooBright
	case l.Sharp < o.MinSharp:
		return Blurred
	}
	return ""
}
