// Package decision turns what is seen in a camera's frames into verdicts: one for each face that stays in front of it.
//
// A presentation is one face that is tracked from frame to frame by place, size and appearance. Its evidence is a sequential test
// (Wald 1945) over what each judged frame is worth, discounted because neighbouring frames look alike; docs/decision.md has the
// formulas. The package promises that live is said only on at least MinFrames judged frames of one presentation, over at least
// MinTime and all within the window, whose sum reaches the bound for live and whose score reaches LiveAt; that evidence of one face
// never helps the next; that one presentation gives one verdict, and another only when the answer changes or somebody asks; that
// after spoof the same presentation is never live; and that a doubt never makes anybody live. Frames with no face, with several,
// with a broken one, with one that can't be seen well or with no answer are no evidence in either direction.
//
// It doesn't recognise people: who takes another's place between two frames, at the same spot and size and looking much alike,
// is the same face to it. It keeps no clock and starts nothing: time is what its caller says, and a Decider is for one camera and
// one goroutine.
package decision

import "time"

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
	TooDark           Code = "TOO_DARK"
	TooBright         Code = "TOO_BRIGHT"
	Blurred           Code = "BLURRED"
	FaceCutOff        Code = "FACE_CUT_OFF"
	FaceChanged       Code = "FACE_CHANGED"
	CameraLost        Code = "CAMERA_LOST"
	CameraSuspect     Code = "CAMERA_SUSPECT"
	FaceTurned        Code = "FACE_TURNED"
)

// Observation is what one frame showed.
type Observation struct {
	Time          time.Time // when it was captured
	Width, Height int       // of the frame
	Faces         []Face
	Given         bool    // somebody else says that this is a face and can be seen: no gate holds it back
	Followed      bool    // the face was followed here from an earlier frame, and nobody looked for others: live isn't said of such a frame
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
	Attack  string  // for spoof, where somebody tells kinds apart
	Frames  int     // judged frames that count
	Face    *Face   // where it was last; nil where nobody was there
	// First is when the first of the frames that count was captured; without one, when the face appeared.
	First           time.Time
	LiveAt, SpoofAt float64 // the thresholds that were asked for
	Asked           bool    // it answers Ask
}

// Decider decides for one camera.
type Decider struct {
	o       Options
	rule    rule
	last    time.Time // capture time of the newest frame
	started bool      // last is one
	pace    pace
	hint    Code // what the newest frame lacked
	p       *presentation
	room    []evidence // for that of p
	count   uint64     // of presentations
	ask     *ask
}

// New makes a decider.
func New(o Options) (*Decider, error) {
	o.fill()
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Decider{o: o, rule: newRule(Demand{}, o), room: make([]evidence, 0, mostFrames)}, nil
}

// Observe takes one frame's finding, and gives a decision when it makes one.
func (d *Decider) Observe(o Observation) *Decision {
	if d.started && !o.Time.After(d.last) {
		if o.Time.Equal(d.last) {
			return nil // one frame twice is one frame
		}
		// The order of things is lost, and with it what belongs together.
		d.last, d.pace, d.hint = o.Time, pace{}, ProcessingErr
		return d.interrupt(ProcessingErr)
	}
	closing := d.leave(o.Time)
	if d.started {
		d.pace.add(o.Time.Sub(d.last))
	}
	d.last, d.started = o.Time, true
	if a := d.ask; a != nil {
		a.frames++
	}
	said := d.observe(o)
	if a := d.ask; a != nil && d.hint != "" {
		a.lack = d.hint
	}
	if said == nil {
		said = closing
	}
	if d.late(o.Time) {
		return d.expire() // said is nil: nobody else is told anything meanwhile
	}
	return said
}

// observe is Observe without its care for time.
func (d *Decider) observe(o Observation) (said *Decision) {
	main, code := d.Main(o.Width, o.Height, o.Faces)
	if main < 0 {
		d.hint = first(code, o.Code, NoFacesDetected)
		if d.p != nil {
			d.p.blind = first(code, o.Code)
		}
		return nil
	}
	if o.Given && code != ManyFaces {
		code = ""
	}
	code = first(code, o.Code)
	face := o.Faces[main]
	if d.p != nil && code == ManyFaces {
		face = d.p.nearest(o.Faces, face)
	}
	strange, took := false, false
	if d.p != nil {
		strange = code != ManyFaces && d.strange(&o.Look)
		if !d.same(d.p.face, face) || d.p.strange >= certain {
			// A face in the background that somebody steps in front of, or walks away from, is another matter.
			took = (d.p.took || len(d.p.evidence) > 0) && overlap(d.p.face, face) > 0
			said, strange = d.end(FaceChanged), false
		}
	}
	if d.p == nil {
		d.p = &presentation{began: o.Time, took: took, evidence: d.room}
		d.count++
	}
	p := d.p
	p.face, p.seen, p.blind = face, o.Time, ""
	if !strange && code != ManyFaces && o.Look.Signature.known() {
		p.signature = o.Look.Signature
	}
	lack, counts := d.lack(o, code, strange)
	if d.hint = lack; lack != "" {
		p.gate = lack
	}
	if counts {
		p.add(evidence{o.Time, min(max(o.LogOdds, -farOdds), farOdds), min(max(o.Evidence, -farOdds), farOdds), o.Attack})
	}
	if answer := d.answer(o.Time, counts, counts && !o.Followed); answer != nil {
		return answer
	}
	return said
}

// lack tells whether a frame with a face counts as evidence and, where somebody knows, why it doesn't. Some frames take away what
// evidence there was.
func (d *Decider) lack(o Observation, code Code, strange bool) (why Code, counts bool) {
	p := d.p
	if code == ManyFaces {
		p.evidence = p.evidence[:0] // who is whose afterwards is anybody's guess
	}
	if !o.Given {
		code = first(code, d.Gate(&o.Look))
	}
	if strange {
		code = first(code, FaceChanged)
	}
	for _, doubt := range o.Doubts {
		if doubt.Verdict == Spoof {
			p.doubted, p.attack = true, first(p.attack, doubt.Attack)
			continue
		}
		p.evidence = p.evidence[:0]
		code = first(doubt.Code, ProcessingErr)
		if p.said == Live {
			p.retract = code
		}
	}
	if code == "" && o.Judged && !(finite(o.LogOdds) && finite(o.Evidence)) {
		code = ProcessingErr
	}
	return code, code == "" && o.Judged
}

// Idle lets time pass without a frame. now is on the clock of the frames' capture times.
func (d *Decider) Idle(now time.Time) *Decision {
	said := d.leave(now)
	if d.late(now) {
		return d.expire()
	}
	return said
}

// leave ends a presentation whose face is away for too long.
func (d *Decider) leave(now time.Time) *Decision {
	p := d.p
	if p == nil || now.Sub(p.seen) <= d.gone() {
		return nil
	}
	why := NoFacesDetected
	if d.last.Equal(p.seen) {
		why = CameraLost // there was no frame that the face could have been missing from
	}
	return d.end(first(p.blind, why))
}

// Interrupt ends a running presentation, and answers who asked, because frames can't be had any more.
func (d *Decider) Interrupt(_ time.Time, c Code) *Decision {
	return d.interrupt(first(c, ProcessingErr))
}

func (d *Decider) interrupt(c Code) *Decision {
	if d.ask != nil {
		said := d.reply(Undecided, c)
		d.p = nil
		return said
	}
	return d.end(c)
}

// end closes the presentation. One that was answered, or that was too short to be one, gives nothing more, unless it was live and
// another face took its place. None does while somebody has asked: the next one may give the answer.
func (d *Decider) end(c Code) *Decision {
	p := d.p
	if p == nil {
		return nil
	}
	defer func() { d.p = nil }()
	if a := d.ask; a != nil {
		a.lack = c
		return nil
	}
	// Live that was said isn't about who stands there now.
	replaced := c == FaceChanged && p.said == Live
	if !replaced && (p.said != "" || p.seen.Sub(p.began) < d.o.Stay) {
		return nil
	}
	return d.say(Undecided, c)
}

// answer is what the evidence says, if it says something new. Live is said of a frame that counts alone, and in which somebody looked for
// other faces, too: then it is clear.
func (d *Decider) answer(now time.Time, counts, clear bool) *Decision {
	p := d.p
	if d.ask != nil {
		return d.answerAsk(clear)
	}
	switch v := d.verdict(d.rule, p.began.Add(-1)); {
	case v == Spoof && p.said != Spoof:
		return d.say(Spoof, PADAttack)
	case v == Live && (p.said == "" || p.said == Undecided) && clear:
		return d.say(Live, "")
	case p.retract != "" && p.said == Live:
		return d.say(Undecided, p.retract)
	case p.said == Live && counts && d.against(d.rule):
		return d.say(Undecided, Timeout)
	case p.said == "" && now.Sub(p.began) >= d.rule.timeout:
		why := Timeout
		if p.gate != "" && d.weigh(d.rule, p.began.Add(-1)).frames < d.rule.minFrames {
			why = p.gate
		}
		return d.say(Undecided, why)
	}
	return nil
}

// verdict is what the evidence after a time says by a rule, "" for nothing yet.
func (d *Decider) verdict(r rule, after time.Time) Verdict {
	p := d.p
	switch w := d.weigh(r, after); {
	case !d.enough(r, w):
	case p.doubted:
		return Spoof
	case w.sum <= r.lower && w.score <= r.spoofAt:
		return Spoof
	case w.sum >= d.need(r) && w.score >= r.liveAt && p.said != Spoof && !p.spoofed:
		return Live
	}
	return ""
}

// enough tells whether there are frames enough over time enough. Frames come at moments that are true to a part of their interval, and at 15
// frames a second 400 ms are six intervals: to the nanosecond it would be chance whether that takes seven frames or eight.
func (d *Decider) enough(r rule, w weight) bool {
	slack := min(d.pace.step()/8, r.minTime/20)
	return w.frames >= r.minFrames && w.span+slack >= r.minTime
}

// Near tells whether one more frame at that time, which says what those before it say, would be enough for live: it is worth a look for
// other faces.
func (d *Decider) Near(t time.Time) bool {
	if d.p == nil || d.p.spoofed {
		return false
	}
	r, after := d.rule, d.p.began.Add(-1)
	if d.ask != nil {
		r, after = d.ask.rule, d.ask.since
	} else if d.p.said == Live {
		return false
	}
	w := d.weigh(r, after)
	if w.frames == 0 {
		return false
	}
	w.frames, w.span = w.frames+1, t.Sub(w.first)
	w.sum = w.mean * (w.independent + d.fresh(t.Sub(w.newest)))
	return d.enough(r, w) && w.sum >= d.need(r) && w.score >= r.liveAt
}

// Present tells whether somebody is, or was just now, in front of the camera.
func (d *Decider) Present() bool { return d.p != nil }

// Spacing is how far apart frames must be to be worth judging both: what neighbours say in common grows as they come closer, and so many as
// a verdict needs still fit into its time.
func (d *Decider) Spacing() time.Duration {
	r := d.rule
	if d.ask != nil {
		r = d.ask.rule
	}
	return min(d.o.Correlation/5, r.minTime/time.Duration(r.minFrames-1)*3/5)
}

// against tells whether the newest evidence, of which there is enough, speaks rather against what was said than for it.
func (d *Decider) against(r rule) bool {
	w := d.weigh(r, d.p.began.Add(-1))
	return d.enough(r, w) && w.sum < 0
}

// need is the bound for live. Who took the place of somebody who was being judged needs twice the evidence: people leave before
// others come, and what is pushed in front of a face may be something that the net likes.
func (d *Decider) need(r rule) float64 {
	if d.p.took {
		return 2 * r.upper
	}
	return r.upper
}

func (d *Decider) say(v Verdict, c Code) *Decision {
	p := d.p
	p.said, p.retract = v, ""
	return d.decision(v, c, d.rule, p.began.Add(-1))
}

// decision writes down what is said by a rule on the evidence after a time.
func (d *Decider) decision(v Verdict, c Code, r rule, after time.Time) *Decision {
	out := &Decision{Verdict: v, Code: c, LiveAt: r.liveAt, SpoofAt: r.spoofAt}
	p := d.p
	if p == nil {
		return out
	}
	face := p.face
	w := d.weigh(r, after)
	out.Face, out.Frames, out.First = &face, w.frames, p.began
	if w.frames > 0 {
		out.Score, out.First = w.score, w.first
	}
	if v == Spoof {
		p.spoofed = true
		out.Attack = p.kind(w.first)
		if p.doubted {
			// What the net thinks of a picture that is none of a person is not P(live).
			out.Score = min(out.Score, r.spoofAt)
			out.Attack = first(p.attack, out.Attack)
		}
	}
	return out
}

// Hint is what the newest frame lacked, "" if it was evidence.
func (d *Decider) Hint() Code { return d.hint }

// Progress is where the evidence stands between the two bounds: −1 at that for spoof, 0 without evidence, 1 at that for live.
func (d *Decider) Progress() float64 {
	if d.p == nil {
		return 0
	}
	r, after := d.rule, d.p.began.Add(-1)
	if d.ask != nil {
		r, after = d.ask.rule, d.ask.since
	}
	if sum := d.weigh(r, after).sum; sum >= 0 {
		return min(sum/d.need(r), 1)
	} else {
		return max(-sum/r.lower, -1)
	}
}

func first[T ~string](of ...T) T {
	for _, c := range of {
		if c != "" {
			return c
		}
	}
	return ""
}
