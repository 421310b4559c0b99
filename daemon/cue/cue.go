// Package cue doubts what one picture can't tell: a camera that repeats itself, a flat thing that is moved by hand, and a face
// that the infrared camera beside it doesn't see.
//
// A cue only ever denies. What a Watch gives are doubts, each a reason why a presentation is spoof or undecided; there is no way
// to say live, and no doubt is not a sign of life. The package promises that with pictures of any size, in any order, it
// allocates nothing per frame and keeps no more than a fixed memory for each camera; time is what its caller says. It doesn't
// find faces and doesn't decide what follows from a doubt. docs/cues.md says what each cue catches, what it misses and what it costs.
package cue

import (
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

// The names of the cues, as doubts carry them.
const (
	Repeat   = "repeat"
	Flat     = "flat"
	Infrared = "infrared"
)

// Box is a face's place in pixels.
type Box struct{ X, Y, W, H float64 }

// Options say which cues watch a camera. The zero value is none of them.
type Options struct {
	Repeat bool // frozen and looping pictures
	Flat   bool // flat things moved by hand
	// Pair is where the infrared camera beside this one leaves what it sees; nil for a camera that has none.
	Pair *Pair
	// Required keeps live from being said until the infrared camera has seen the face, too. Without it only its seeing none,
	// in light of its own, denies.
	Required bool
	// Map is where a face of this camera is in the infrared one's picture. The zero value stands for the same place.
	Map Affine
	// Window is how far back the infrared camera's seeing or not seeing the face counts; 0 stands for two seconds.
	Window time.Duration
}

// Watch watches one camera. It is for one goroutine.
type Watch struct {
	o      Options
	small  small
	repeat *repeat
	flat   *flat
	ir     *infrared
	last   time.Time
	any    bool
	doubts []decision.Doubt
}

// New makes a watch.
func New(o Options) *Watch {
	w := &Watch{o: o, doubts: make([]decision.Doubt, 0, 3)}
	if o.Repeat {
		w.repeat = newRepeat()
	}
	if o.Flat {
		w.flat = new(flat)
	}
	if o.Pair != nil {
		w.ir = newInfrared(o)
	}
	return w
}

// Frame looks at the next picture of the camera and at the face that counts in it, nil for none, and gives the doubts about
// the presentation. They are valid until the next call. A picture that isn't whole tells nothing.
func (w *Watch) Frame(at time.Time, m *frame.Image, face *Box) []decision.Doubt {
	w.doubts = w.doubts[:0]
	if m.Check() != nil {
		return w.doubts
	}
	if w.any && at.Before(w.last) {
		w.forget() // the order of things is lost, and with it what follows what
	}
	if w.any && at.Equal(w.last) {
		return w.doubts // one frame twice is one frame
	}
	w.last, w.any = at, true
	if face != nil && !face.sane() {
		face = nil
	}
	if w.repeat != nil || w.flat != nil {
		w.small.take(m)
	}
	if w.repeat != nil && w.repeat.frame(at, m, &w.small, face) {
		w.doubts = append(w.doubts, decision.Doubt{Cue: Repeat, Verdict: decision.Undecided, Code: decision.CameraSuspect})
	}
	if w.flat != nil && w.flat.frame(at, m, &w.small, face) {
		w.doubts = append(w.doubts, decision.Doubt{Cue: Flat, Verdict: decision.Spoof, Code: decision.PADAttack})
	}
	if w.ir != nil {
		if d, is := w.ir.frame(at, m, face); is {
			w.doubts = append(w.doubts, d)
		}
	}
	return w.doubts
}

func (w *Watch) forget() {
	if w.repeat != nil {
		w.repeat.forget()
	}
	if w.flat != nil {
		w.flat.forget()
	}
	if w.ir != nil {
		w.ir.forget()
	}
}

// farthest bounds coordinates, so that no sum of them overflows.
const farthest = 1 << 20

func (b *Box) sane() bool {
	for _, v := range [...]float64{b.X, b.Y, b.W, b.H} {
		if !(v >= -farthest && v <= farthest) {
			return false
		}
	}
	return b.W >= 1 && b.H >= 1
}

// same tells whether a face can be another of a moment ago: the rule by which decision follows a face.
func (b *Box) same(o *Box) bool {
	w := min(b.X+b.W, o.X+o.W) - max(b.X, o.X)
	h := min(b.Y+b.H, o.Y+o.H) - max(b.Y, o.Y)
	if w <= 0 || h <= 0 {
		return false
	}
	both := w * h
	return both >= 0.3*(b.W*b.H+o.W*o.H-both)
}

// gone is how long a face may be missed and still be the same.
const gone = 750 * time.Millisecond
