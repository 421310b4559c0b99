package daemon

import (
	"fmt"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/track"
	"github.com/livenessd/livenessd/models"
)

const (
	// glances is how often the detector looks at a room in which nothing is new.
	glances = 500 * time.Millisecond
	// lookAgain is after how long the detector looks anew for a face that is followed, if a frame was spared it since then: a slow board that
	// manages few frames a second has time to judge them all the same. After furthest it looks in any case.
	lookAgain = 180 * time.Millisecond
	furthest  = 500 * time.Millisecond
)

// Finder finds the faces in a frame, the surest first.
type Finder interface {
	Detect(*frame.Image) ([]models.Face, error)
}

// Judge says of one face in a frame how much it looks alive: Crop cuts the face out, Judge looks at it.
type Judge interface {
	Crop(*frame.Image, models.Box) error
	Judge() (models.Judgement, error)
}

// Looker measures what a face's part of a frame is like.
type Looker interface {
	Measure(m *frame.Image, x, y, w, h float64) decision.Look
}

// Examiner looks at frames: it finds the faces, and judges the main one if it can be seen well enough. It is for one goroutine and one
// camera, and it is what run, score and bench have in common.
type Examiner struct {
	Finder Finder
	Judge  Judge
	Looker Looker           // nil: nobody looks, and no gate but those of the box holds a frame back
	Now    func() time.Time // for Times alone

	room     track.Room     // as the detector found nobody in it
	face     track.Follower // that the detector found last
	found    models.Face    // that face
	looked   time.Time      // when the newest frame that the detector looked at was captured
	followed int            // frames since
	judged   time.Time      // when the newest frame that was judged was captured
	one      [1]models.Face
	seen     []decision.Face
}

// Times is how long the stages of an examination took. To look at the face is part of Crop, to follow it part of Detect.
type Times struct {
	Detect time.Duration `json:"detect_ns"`
	Crop   time.Duration `json:"crop_ns,omitempty"`
	Judge  time.Duration `json:"judge_ns,omitempty"`
	Cues   time.Duration `json:"cues_ns,omitempty"`
}

// Finding is an examined frame. Its faces are valid until the next examination.
type Finding struct {
	Faces     []models.Face
	Main      int           // index of the face that counts, −1 for none
	Given     bool          // somebody else found the face
	Looked    bool          // the detector looked at the frame; else the face was followed, or nothing in the room is new
	Code      decision.Code // why there is none, or why it wasn't judged; "" where it was, or needn't be
	Judged    bool
	Judgement models.Judgement
	Look      decision.Look
	Times     Times

	seen []decision.Face // Faces
}

// Examine finds faces and judges the one that d says is the main one.
func (e *Examiner) Examine(m *frame.Image, d *decision.Decider) (Finding, error) {
	f := Finding{Main: -1}
	t0 := e.Now()
	err := e.find(&f, m)
	t1 := e.Now()
	f.Times.Detect = t1.Sub(t0)
	if err == nil {
		err = e.examine(&f, m, d, true, t1)
	}
	return f, err
}

// Follow examines the next frame of a camera, captured at t, as Examine does, but for what it can spare. Where nobody is, the detector looks
// when something in the picture is new, and now and then. Where somebody is, the face is followed from one look to the next, as long as it
// stays nearby and looks as it did; in a frame that could make somebody live the detector always looks. Of frames that come close
// together only some are judged.
func (e *Examiner) Follow(t time.Time, m *frame.Image, d *decision.Decider) (Finding, error) {
	f := Finding{Main: -1}
	t0 := e.Now()
	whole, present := m.Check() == nil, d.Present() // what isn't whole is the detector's to refuse
	switch {
	case whole && present && e.follow(&f, t, m, d):
	case whole && !present && e.still(t, m):
		f.Times.Detect = e.Now().Sub(t0)
		return f, nil
	default:
		e.face.Forget()
		e.looked, e.followed = t, 0
		if err := e.find(&f, m); err != nil {
			e.room.Forget()
			f.Times.Detect = e.Now().Sub(t0)
			return f, err
		}
		if present || len(f.Faces) > 0 {
			e.room.Forget()
		} else {
			e.room.Remember()
		}
	}
	t1 := e.Now()
	f.Times.Detect = t1.Sub(t0)
	due := t.Sub(e.judged) >= d.Spacing() || t.Before(e.judged)
	if err := e.examine(&f, m, d, due, t1); err != nil {
		return f, err
	}
	if f.Judged {
		e.judged = t
	}
	if f.Looked && f.Main >= 0 && f.Code == "" {
		e.found = f.Faces[f.Main]
		e.face.Found(m, track.Box{X: e.found.X, Y: e.found.Y, W: e.found.W, H: e.found.H})
	}
	return f, nil
}

// Forget begins anew: what comes next is of another camera, or another clip.
func (e *Examiner) Forget() {
	e.room.Forget()
	e.face.Forget()
	e.looked, e.judged, e.followed = time.Time{}, time.Time{}, 0
}

// follow puts the face that was found last where it is now, if that is sure and the detector needn't look.
func (e *Examiner) follow(f *Finding, t time.Time, m *frame.Image, d *decision.Decider) bool {
	age := t.Sub(e.looked)
	if !e.face.Known() || d.Hint() != "" || age < 0 || age >= furthest || age >= lookAgain && e.followed > 0 || d.Near(t) {
		return false
	}
	b, sure := e.face.Follow(m)
	if !sure {
		return false
	}
	e.followed++
	e.one[0] = e.found
	e.one[0].Move(b.X-e.found.X, b.Y-e.found.Y)
	f.Faces = e.one[:]
	f.seen = e.convert(f.Faces)
	return true
}

// still tells whether nothing in the room is new since the detector found nobody in it, and that isn't long ago. If it is, the room has been
// looked at for the detector's answer to be remembered with.
func (e *Examiner) still(t time.Time, m *frame.Image) bool {
	changed := e.room.Changed(m)
	age := t.Sub(e.looked)
	return !changed && age >= 0 && age < glances
}

// find has the detector look.
func (e *Examiner) find(f *Finding, m *frame.Image) error {
	faces, err := e.Finder.Detect(m)
	f.Looked = true
	if err != nil {
		f.Code = decision.ProcessingErr
		return fmt.Errorf("daemon: find faces: %w", err)
	}
	f.Faces, f.seen = faces, e.convert(faces)
	return nil
}

// examine chooses the face that counts and, if it can be seen well enough and is due, judges it.
func (e *Examiner) examine(f *Finding, m *frame.Image, d *decision.Decider, due bool, start time.Time) error {
	f.Main, f.Code = d.Main(m.Width, m.Height, f.seen)
	if f.Code != "" || f.Main < 0 {
		return nil
	}
	e.look(f, m, f.Faces[f.Main])
	if f.Code = d.Gate(&f.Look); f.Code != "" || !due {
		f.Times.Crop = e.Now().Sub(start)
		return nil
	}
	return e.judge(f, m, f.Faces[f.Main].Box, start)
}

// ExamineBox judges a face whose box somebody else found, however well it can be seen.
func (e *Examiner) ExamineBox(m *frame.Image, b models.Box) (Finding, error) {
	e.one[0] = models.Face{Box: b, Score: 1}
	f := Finding{Faces: e.one[:], Given: true}
	f.seen = e.convert(f.Faces)
	start := e.Now()
	e.look(&f, m, f.Faces[0])
	err := e.judge(&f, m, b, start)
	return f, err
}

func (e *Examiner) look(f *Finding, m *frame.Image, face models.Face) {
	if e.Looker != nil {
		f.Look = e.Looker.Measure(m, face.X, face.Y, face.W, face.H)
	}
	pose(&f.Look, face)
}

func (e *Examiner) judge(f *Finding, m *frame.Image, b models.Box, start time.Time) error {
	err := e.Judge.Crop(m, b)
	t1 := e.Now()
	f.Times.Crop = t1.Sub(start)
	if err == nil {
		f.Judgement, err = e.Judge.Judge()
		f.Times.Judge = e.Now().Sub(t1)
	}
	if err != nil {
		f.Code = decision.ProcessingErr
		return fmt.Errorf("daemon: judge the face: %w", err)
	}
	f.Judged = true
	return nil
}

// Observation is what the decider learns from a finding.
func (f *Finding) Observation(t time.Time, m *frame.Image) decision.Observation {
	return decision.Observation{Time: t, Width: m.Width, Height: m.Height, Faces: f.seen, Given: f.Given, Followed: f.Main >= 0 && !f.Looked && !f.Given, Judged: f.Judged,
		LogOdds: f.Judgement.LogOdds, Evidence: f.Judgement.Evidence, Attack: f.Judgement.Attack, Code: f.Code, Look: f.Look}
}

// examined says what became of the frame that was found in so. began is when the detector was asked, and decided when it was known what follows.
func (f *Finding) examined(camera string, m *frame.Frame, began, decided time.Time) Examined {
	x := Examined{Camera: camera, Sequence: m.Sequence, Result: ResultEmpty, Code: f.Code, Points: points(m), Times: f.Times}
	x.Detected, x.Decided = began.Add(f.Times.Detect), decided
	switch {
	case f.Judged:
		x.Result, x.Judged = ResultJudged, x.Detected.Add(f.Times.Crop+f.Times.Judge)
	case f.Code == decision.ProcessingErr:
		x.Result = ResultFailed
	case f.Code != "":
		x.Result = ResultRefused
	case f.Main >= 0:
		x.Result = ResultSpared
	}
	return x
}

// convert gives faces as the decider has them, valid until the next call.
func (e *Examiner) convert(faces []models.Face) []decision.Face {
	e.seen = e.seen[:0]
	for _, f := range faces {
		e.seen = append(e.seen, decision.Face{X: f.X, Y: f.Y, W: f.W, H: f.H, Score: f.Score})
	}
	return e.seen
}

// toDecision is convert for who keeps what it gives.
func toDecision(faces []models.Face) []decision.Face { return new(Examiner).convert(faces) }
