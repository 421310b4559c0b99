// Package decision turns what is seen in a camera's frames into verdicts: one for each face that stays in front of it.
//
// A presentation is one face that is tracked from frame to frame by place and size. Its evidence is the mean of the liveness
// net's log-odds over the last frames, each bounded so that no single frame outweighs the others. The package promises that live
// is said only on at least MinFrames judged frames of one presentation, all within Window, whose mean reaches LiveAt; that evidence
// of one face never helps the next; that one presentation gives one verdict, and another only when the answer changes; and that
// after spoof the same presentation is never live. Frames with no face, with several, with a broken one or with no answer are no
// evidence in either direction.
//
// It doesn't recognise people: who takes another's place, at the same spot and size and within Gone, is the same face to it. It
// keeps no clock and starts nothing: time is what its caller says, and a Decider is for one camera and one goroutine.
package decision

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Verdict is the answer about a presentation.
type Verdict string

// The verdicts.
const (
	Live      Verdict = "live"
	Spoof     Verdict = "spoof"
	Undecided Verdict = "undecided"
)

// Code is why a verdict isn't live, or why a frame is no evidence.
type Code string

// The codes that this version gives; the words are those of the verdict document.
const (
	PermissionRefused Code = "PERMISSION_REFUSED"
	NoFacesDetected   Code = "NO_FACES_DETECTED"
	ManyFaces         Code = "MANY_FACES"
	PADAttack         Code = "PAD_ATTACK"
	ProcessingErr     Code = "PROCESSING_ERR"
	Timeout           Code = "TIMEOUT"
	FaceTooSmall      Code = "FACE_TOO_SMALL"
	FaceCutOff        Code = "FACE_CUT_OFF"
	FaceChanged       Code = "FACE_CHANGED"
	CameraLost        Code = "CAMERA_LOST"
	TooDark           Code = "TOO_DARK"
	TooBright         Code = "TOO_BRIGHT"
	Blurred           Code = "BLURRED"
	FaceTurned        Code = "FACE_TURNED"
	CameraSuspect     Code = "CAMERA_SUSPECT"
)

// Options are the rules. Zero values stand for those of Defaults; the thresholds have none.
type Options struct {
	LiveAt  float64 // P(live) from which a presentation is live
	SpoofAt float64 // P(live) up to which it is an attack

	Window    time.Duration // how far back evidence counts
	MinFrames int           // judged frames that a verdict needs, 5 or more
	Timeout   time.Duration // how long after its beginning a presentation without an answer is undecided
	Stay      time.Duration // how long a face must have been there for its leaving to be worth a verdict
	Gone      time.Duration // a face that is away for longer has left

	MinFace float64 // smallest height of a face, as a share of the frame's
	Crowd   float64 // two faces are one too many from this ratio of the smaller one's size to the larger one's
	Visible float64 // smallest share of a face's box that must lie inside the frame
	Overlap float64 // intersection over union from which two boxes of consecutive frames are the same face
	Growth  float64 // how many times larger or smaller the same face can be in consecutive frames
}

// Defaults are the rules but for the thresholds, which belong to the liveness model.
func Defaults() Options {
	return Options{
		Window: 2 * time.Second, MinFrames: 5, Timeout: 8 * time.Second, Stay: time.Second, Gone: 750 * time.Millisecond,
		MinFace: 0.08, Crowd: 0.6, Visible: 0.7, Overlap: 0.3, Growth: 1.6,
	}
}

const (
	leastFrames = 5
	mostFrames  = 256 // evidence that is kept at most, whatever the rate of frames
	// usualBound is the log-odds that one frame can bring at most. Thresholds that lie further out move it.
	usualBound = 6
)

func (o *Options) fill() {
	d := Defaults()
	def(&o.Window, d.Window)
	def(&o.MinFrames, d.MinFrames)
	def(&o.Timeout, d.Timeout)
	def(&o.Stay, d.Stay)
	def(&o.Gone, d.Gone)
	def(&o.MinFace, d.MinFace)
	def(&o.Crowd, d.Crowd)
	def(&o.Visible, d.Visible)
	def(&o.Overlap, d.Overlap)
	def(&o.Growth, d.Growth)
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (o *Options) check() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("decision: "+format, args...))
		}
	}
	share := func(name string, v float64) {
		need(v > 0 && v <= 1, "%s is %v; it must be above 0 and at most 1", name, v)
	}
	need(o.SpoofAt > 0 && o.SpoofAt < o.LiveAt && o.LiveAt < 1, "thresholds %v and %v: 0 < spoof_at < live_at < 1 must hold", o.SpoofAt, o.LiveAt)
	need(o.MinFrames >= leastFrames && o.MinFrames <= mostFrames, "min_frames is %d; it must be %d to %d", o.MinFrames, leastFrames, mostFrames)
	need(o.Window > 0 && o.Timeout > 0 && o.Stay > 0 && o.Gone > 0, "window, timeout, stay and gone must be above 0")
	share("min_face", o.MinFace)
	share("crowd", o.Crowd)
	share("visible", o.Visible)
	share("overlap", o.Overlap)
	need(o.Growth > 1 && !math.IsInf(o.Growth, 0), "growth is %v; it must be above 1", o.Growth)
	return errors.Join(errs...)
}

// Face is a face's box in pixels, and how sure the detector is of it.
type Face struct{ X, Y, W, H, Score float64 }

// Observation is what one frame showed.
type Observation struct {
	Time          time.Time // when it was captured
	Width, Height int       // of the frame
	Faces         []Face
	Judged        bool    // LogOdds is the liveness net's answer about the face that Main names
	LogOdds       float64 // log(P(live) / (1 − P(live)))
	Evidence      float64 // the same as calibrated: log(p(answer | live) / p(answer | attack))
	Attack        string  // the likeliest kind, "" where the net doesn't tell
	Code          Code    // why it wasn't judged
	Look          Look    // of the face that Main names
	Doubts        []Doubt
}

// Decision is what is said of a presentation.
type Decision struct {
	Verdict Verdict
	Code    Code    // "" for live
	Score   float64 // P(live) over the frames that count; 0 where there are none
	Attack  string  // for spoof, where the net tells kinds apart
	Frames  int     // judged frames that count
	Face    *Face   // where it was last
	// First is when the first of the frames that count was captured; without one, when the face appeared.
	First time.Time
	Asked bool // it answers Ask
}

// Decider decides for one camera.
type Decider struct {
	o       Options
	bound   float64
	last    time.Time // capture time of the newest frame
	started bool      // last is one
	p       *presentation
}

// New makes a decider.
func New(o Options) (*Decider, error) {
	o.fill()
	if err := o.check(); err != nil {
		return nil, err
	}
	// A threshold that one frame's bound can't reach would be a way of saying never.
	bound := max(usualBound, logit(o.LiveAt)+1, 1-logit(o.SpoofAt))
	return &Decider{o: o, bound: bound}, nil
}

// Observe takes one frame's finding, and gives a decision when it makes one.
func (d *Decider) Observe(o Observation) *Decision {
	if d.started && !o.Time.After(d.last) {
		if o.Time.Equal(d.last) {
			return nil // one frame twice is one frame
		}
		// The order of things is lost, and with it what belongs together.
		d.last = o.Time
		return d.end(ProcessingErr)
	}
	closing := d.Idle(o.Time)
	d.last, d.started = o.Time, true

	main, code := d.Main(o.Width, o.Height, o.Faces)
	if main < 0 {
		if d.p != nil {
			d.p.blind = first(code, o.Code)
		}
		return closing
	}
	face := o.Faces[main]
	if d.p != nil && code == ManyFaces {
		face = d.p.nearest(o.Faces, face)
	}
	if d.p != nil && !d.same(d.p.face, face) {
		closing = d.end(FaceChanged)
	}
	if d.p == nil {
		d.p = &presentation{began: o.Time}
	}
	p := d.p
	p.face, p.seen, p.blind = face, o.Time, ""
	p.forget(o.Time.Add(-d.o.Window))
	code = first(code, o.Code)
	switch {
	case code == ManyFaces:
		// Who is whose afterwards is anybody's guess.
		p.evidence = p.evidence[:0]
	case code == "" && !o.Judged:
	case code == "" && !finite(o.LogOdds):
		code = ProcessingErr
	case code == "":
		p.add(evidence{o.Time, min(max(o.LogOdds, -d.bound), d.bound), o.Attack})
		if said := d.answer(); said != nil {
			return said
		}
	}
	if code != "" {
		p.gate = code
	}
	if p.said == "" && o.Time.Sub(p.began) >= d.o.Timeout {
		why := Timeout
		if p.gate != "" && len(p.evidence) < d.o.MinFrames {
			why = p.gate
		}
		return p.say(Undecided, why)
	}
	return closing
}

// Idle lets time pass without a frame. now is on the clock of the frames' capture times.
func (d *Decider) Idle(now time.Time) *Decision {
	if d.p == nil || now.Sub(d.p.seen) <= d.o.Gone {
		return nil
	}
	why := NoFacesDetected
	if d.last.Equal(d.p.seen) {
		why = CameraLost // there was no frame that the face could have been missing from
	}
	return d.end(first(d.p.blind, why))
}

// Interrupt ends a running presentation because its frames can't be had any more.
func (d *Decider) Interrupt(_ time.Time, c Code) *Decision { return d.end(first(c, ProcessingErr)) }

// end closes the presentation. One that was answered, or that was too short to be one, gives nothing more.
func (d *Decider) end(c Code) *Decision {
	p := d.p
	d.p = nil
	if p == nil || p.said != "" || p.seen.Sub(p.began) < d.o.Stay {
		return nil
	}
	return p.say(Undecided, c)
}

// answer is what the evidence says, if it says something new.
func (d *Decider) answer() *Decision {
	p := d.p
	if len(p.evidence) < d.o.MinFrames {
		return nil
	}
	switch score := p.score(); {
	case score <= d.o.SpoofAt && p.said != Spoof:
		return p.say(Spoof, PADAttack)
	case score >= d.o.LiveAt && (p.said == "" || p.said == Undecided):
		return p.say(Live, "")
	}
	return nil
}

func first(codes ...Code) Code {
	for _, c := range codes {
		if c != "" {
			return c
		}
	}
	return ""
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

func sigmoid(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }
