package decision

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Options are the rules. Zero values stand for those of Defaults; the thresholds have none.
type Options struct {
	LiveAt  float64 // P(live) from which a presentation is live
	SpoofAt float64 // P(live) up to which it is an attack

	// The bounds of the test follow from the rates of errors that are put up with, as far as the calibration is right.
	AcceptError float64 // attacks accepted
	RefuseError float64 // living people taken for an attack

	Window      time.Duration // how far back evidence counts, or so many frames as a verdict needs where they come slowly
	MinFrames   int           // judged frames that a verdict needs, 5 or more
	MinTime     time.Duration // from the first of them to the newest
	Timeout     time.Duration // how long after its beginning a presentation without an answer is undecided
	Stay        time.Duration // how long a face must have been there for its leaving to be worth a verdict
	Gone        time.Duration // a face that is away for longer has left; longer where frames come slowly
	Correlation time.Duration // in which what frames say in common falls to 1/e

	MinFace float64 // smallest height of a face, as a share of the frame's
	Crowd   float64 // two faces are one too many from this ratio of the smaller one's size to the larger one's
	Visible float64 // smallest share of a face's box that must lie inside the frame
	Overlap float64 // intersection over union from which two boxes of consecutive frames are the same face
	Growth  float64 // how many times larger or smaller the same face can be in consecutive frames
	Change  float64 // distance of signatures from which two faces of consecutive frames aren't the same, 0 to 2

	MinLuma    float64 // mean brightness of the face, 0…255
	MaxLuma    float64
	MaxClipped float64 // share of the face that is as dark, or as bright, as can be
	MinSharp   float64
	MaxYaw     float64 // degrees
	MaxRoll    float64
}

// Defaults are the rules but for the thresholds, which belong to the liveness model. docs/decision.md says what they were
// measured on.
func Defaults() Options {
	return Options{
		AcceptError: 0.01, RefuseError: 0.05,
		Window: 4 * time.Second, MinFrames: 5, MinTime: 400 * time.Millisecond, Timeout: 8 * time.Second, Stay: time.Second,
		Gone: 750 * time.Millisecond, Correlation: 300 * time.Millisecond,
		MinFace: 0.08, Crowd: 0.6, Visible: 0.7, Overlap: 0.3, Growth: 1.6, Change: 0.25,
		MinLuma: 35, MaxLuma: 235, MaxClipped: 0.55, MinSharp: 0.25, MaxYaw: 35, MaxRoll: 30,
	}
}

const (
	leastFrames = 5
	mostFrames  = 256 // evidence that is kept at most, whatever the rate of frames
	// usualBound is the log-odds that one frame can bring into the score at most. Thresholds that lie further out move it.
	usualBound = 6
	// farOdds bounds what is kept of a frame, so that no sum overflows.
	farOdds = 100
	// slowest is how far apart frames are taken to come at most, when times adapt to them.
	slowest = 2 * time.Second
)

func (o *Options) fill() {
	d := Defaults()
	def(&o.AcceptError, d.AcceptError)
	def(&o.RefuseError, d.RefuseError)
	def(&o.Window, d.Window)
	def(&o.MinFrames, d.MinFrames)
	def(&o.MinTime, d.MinTime)
	def(&o.Timeout, d.Timeout)
	def(&o.Stay, d.Stay)
	def(&o.Gone, d.Gone)
	def(&o.Correlation, d.Correlation)
	def(&o.MinFace, d.MinFace)
	def(&o.Crowd, d.Crowd)
	def(&o.Visible, d.Visible)
	def(&o.Overlap, d.Overlap)
	def(&o.Growth, d.Growth)
	def(&o.Change, d.Change)
	def(&o.MinLuma, d.MinLuma)
	def(&o.MaxLuma, d.MaxLuma)
	def(&o.MaxClipped, d.MaxClipped)
	def(&o.MinSharp, d.MinSharp)
	def(&o.MaxYaw, d.MaxYaw)
	def(&o.MaxRoll, d.MaxRoll)
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// faults collects what is wrong with rules.
type faults []error

func (f *faults) need(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Errorf("decision: "+format, args...))
	}
}

func (o *Options) check() error {
	var f faults
	share := func(name string, v float64) {
		f.need(v > 0 && v <= 1, "%s is %v; it must be above 0 and at most 1", name, v)
	}
	r := newRule(Demand{}, *o)
	r.check(&f)
	f.need(o.Window > 0 && o.Stay > 0 && o.Gone > 0 && o.Correlation > 0, "window, stay, gone and correlation must be above 0")
	f.need(o.MinTime <= o.Window, "min_time is %v; it must not be longer than window, which is %v", o.MinTime, o.Window)
	share("min_face", o.MinFace)
	share("crowd", o.Crowd)
	share("visible", o.Visible)
	share("overlap", o.Overlap)
	share("max_clipped", o.MaxClipped)
	f.need(o.Growth > 1 && !math.IsInf(o.Growth, 0), "growth is %v; it must be above 1", o.Growth)
	f.need(o.Change > 0 && o.Change <= 2, "change is %v; it must be above 0 and at most 2", o.Change)
	f.need(o.MinLuma > 0 && o.MinLuma < o.MaxLuma && o.MaxLuma <= 255, "luma from %v to %v: 0 < min_luma < max_luma ≤ 255 must hold", o.MinLuma, o.MaxLuma)
	f.need(o.MinSharp > 0 && o.MinSharp < 1, "min_sharpness is %v; it must be above 0 and below 1", o.MinSharp)
	f.need(o.MaxYaw > 0 && o.MaxYaw <= 90 && o.MaxRoll > 0 && o.MaxRoll <= 180, "turned by %v° and leaning by %v°: up to 90° and 180°", o.MaxYaw, o.MaxRoll)
	return errors.Join(f...)
}

// rule is what a verdict needs.
type rule struct {
	liveAt, spoofAt float64
	accept, refuse  float64
	upper, lower    float64 // bounds of the sum of evidence
	bound           float64 // of one frame's log-odds in the score
	minFrames       int
	minTime         time.Duration
	timeout         time.Duration
	window          time.Duration
}

func newRule(d Demand, o Options) rule {
	def(&d.LiveAt, o.LiveAt)
	def(&d.SpoofAt, o.SpoofAt)
	def(&d.AcceptError, o.AcceptError)
	def(&d.RefuseError, o.RefuseError)
	def(&d.MinFrames, o.MinFrames)
	def(&d.MinTime, o.MinTime)
	def(&d.Timeout, o.Timeout)
	return rule{liveAt: d.LiveAt, spoofAt: d.SpoofAt, accept: d.AcceptError, refuse: d.RefuseError,
		upper: math.Log((1 - d.RefuseError) / d.AcceptError), lower: math.Log(d.RefuseError / (1 - d.AcceptError)),
		// A threshold that one frame's bound can't reach would be a way of saying never.
		bound:     max(usualBound, logit(d.LiveAt)+1, 1-logit(d.SpoofAt)),
		minFrames: d.MinFrames, minTime: d.MinTime, timeout: d.Timeout,
		// Who wants evidence of a longer time wants it to count so long.
		window: max(o.Window, d.MinTime+d.MinTime/2)}
}

func (r *rule) check(f *faults) {
	f.need(r.spoofAt > 0 && r.spoofAt < r.liveAt && r.liveAt < 1, "thresholds %v and %v: 0 < spoof_at < live_at < 1 must hold", r.spoofAt, r.liveAt)
	rate := func(v float64) bool { return v >= 1e-9 && v < 0.5 }
	f.need(rate(r.accept) && rate(r.refuse), "error rates of %v and %v: from 1e-9 to below 0.5", r.accept, r.refuse)
	f.need(r.minFrames >= leastFrames && r.minFrames <= mostFrames, "min_frames is %d; it must be %d to %d", r.minFrames, leastFrames, mostFrames)
	f.need(r.minTime > 0 && r.timeout > 0, "min_time is %v and timeout %v; both must be above 0", r.minTime, r.timeout)
	f.need(r.minTime < r.timeout, "min_time is %v; it must be below timeout, which is %v", r.minTime, r.timeout)
}

// pace is how fast frames come.
type pace struct {
	steps [4]time.Duration
	n     int
}

func (p *pace) add(step time.Duration) {
	p.steps[p.n%len(p.steps)] = step
	p.n++
}

// step is the least of the newest ones: a stall isn't a slow camera.
func (p *pace) step() time.Duration {
	if p.n == 0 {
		return 0
	}
	least := slowest
	for _, s := range p.steps[:min(p.n, len(p.steps))] {
		least = min(least, s)
	}
	return least
}

// gone is how long a face can be away and still be there.
func (d *Decider) gone() time.Duration { return max(d.o.Gone, d.pace.step()*5/2) }

// window is how far back evidence counts.
func (d *Decider) window(r rule) time.Duration {
	return max(r.window, time.Duration(r.minFrames)*d.pace.step()*5/4)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

func sigmoid(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }

// Digits rounds P(live) to the nine digits that are compared with thresholds and published. Processors differ in what comes after the fifteenth, and
// the same frames shall be the same document on each.
func Digits(p float64) float64 { return math.Round(p*1e9) / 1e9 }
