package daemon

import (
	"fmt"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
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

// Examiner looks at single frames: it finds the faces, and judges the main one if it can be seen well enough. It is for one goroutine, and it is what
// run, score and bench have in common.
type Examiner struct {
	Finder Finder
	Judge  Judge
	Looker Looker           // nil: nobody looks, and no gate but those of the box holds a frame back
	Now    func() time.Time // for Times alone
}

// Times is how long the stages of an examination took. To look at the face is part of Crop.
type Times struct {
	Detect time.Duration `json:"detect_ns"`
	Crop   time.Duration `json:"crop_ns,omitempty"`
	Judge  time.Duration `json:"judge_ns,omitempty"`
	Cues   time.Duration `json:"cues_ns,omitempty"`
}

// Finding is an examined frame.
type Finding struct {
	Faces     []models.Face
	Main      int           // index of the face that counts, −1 for none
	Given     bool          // somebody else found the face
	Code      decision.Code // why there is none, or why it wasn't judged; "" where it was
	Judged    bool
	Judgement models.Judgement
	Look      decision.Look
	Times     Times
}

// Examine finds faces and judges the one that d says is the main one.
func (e *Examiner) Examine(m *frame.Image, d *decision.Decider) (Finding, error) {
	t0 := e.Now()
	faces, err := e.Finder.Detect(m)
	t1 := e.Now()
	f := Finding{Faces: faces, Main: -1, Times: Times{Detect: t1.Sub(t0)}}
	if err != nil {
		f.Code = decision.ProcessingErr
		return f, fmt.Errorf("daemon: find faces: %w", err)
	}
	f.Main, f.Code = d.Main(m.Width, m.Height, toDecision(faces))
	if f.Code != "" || f.Main < 0 {
		return f, nil
	}
	e.look(&f, m, faces[f.Main])
	if f.Code = d.Gate(&f.Look); f.Code != "" {
		f.Times.Crop = e.Now().Sub(t1)
		return f, nil
	}
	err = e.judge(&f, m, faces[f.Main].Box, t1)
	return f, err
}

// ExamineBox judges a face whose box somebody else found, however well it can be seen.
func (e *Examiner) ExamineBox(m *frame.Image, b models.Box) (Finding, error) {
	f := Finding{Faces: []models.Face{{Box: b, Score: 1}}, Given: true}
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
	return decision.Observation{Time: t, Width: m.Width, Height: m.Height, Faces: toDecision(f.Faces), Given: f.Given, Judged: f.Judged,
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
	}
	return x
}

func toDecision(faces []models.Face) []decision.Face {
	out := make([]decision.Face, len(faces))
	for i, f := range faces {
		out[i] = decision.Face{X: f.X, Y: f.Y, W: f.W, H: f.H, Score: f.Score}
	}
	return out
}
