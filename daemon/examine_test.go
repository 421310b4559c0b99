package daemon

import (
	"errors"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

// slow is a pair of nets on a clock of its own: to find takes 3 ms, to crop 2, to judge 1.
type slow struct {
	world
	clock time.Time
}

func (s *slow) time() time.Time { return s.clock }

func (s *slow) Detect(m *frame.Image) ([]models.Face, error) {
	s.clock = s.clock.Add(3 * time.Millisecond)
	return s.world.Detect(m)
}

func (s *slow) Crop(m *frame.Image, b models.Box) error {
	s.clock = s.clock.Add(2 * time.Millisecond)
	return (&judge{&s.world}).Crop(m, b)
}

func (s *slow) Judge() (models.Judgement, error) {
	s.clock = s.clock.Add(time.Millisecond)
	return (&judge{&s.world}).Judge()
}

func TestAnExaminationSaysWhatItSawAndHowLongItTook(t *testing.T) {
	d, err := decision.New(decision.Options{LiveAt: 0.8, SpoofAt: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	small := models.Face{Box: models.Box{X: 20, Y: 10, W: 2, H: 3}, Score: 0.9}
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		step  step
		main  int
		code  decision.Code
		times Times
		err   error
	}{
		{"a face", living, 0, "", Times{Detect: 3 * ms, Crop: 2 * ms, Judge: ms}, nil},
		{"nobody", empty, -1, "", Times{Detect: 3 * ms}, nil},
		{"two faces", step{faces: []models.Face{another, somebody}}, 0, decision.ManyFaces, Times{Detect: 3 * ms}, nil},
		{"a small face", step{faces: []models.Face{small}}, 0, decision.FaceTooSmall, Times{Detect: 3 * ms}, nil},
		{"a large face behind a small one in the list", step{faces: []models.Face{small, somebody}, judgement: living.judgement}, 1, "", Times{Detect: 3 * ms, Crop: 2 * ms, Judge: ms}, nil},
		{"a detector that fails", step{findErr: errBroken}, -1, decision.ProcessingErr, Times{Detect: 3 * ms}, errBroken},
		{"a crop that fails", step{faces: living.faces, cropErr: errBroken}, 0, decision.ProcessingErr, Times{Detect: 3 * ms, Crop: 2 * ms}, errBroken},
		{"a judgement that fails", step{faces: living.faces, judgeErr: errBroken, judgement: living.judgement}, 0, decision.ProcessingErr, Times{Detect: 3 * ms, Crop: 2 * ms, Judge: ms}, errBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &slow{world: world{now: tt.step}, clock: time.Unix(0, 0)}
			e := Examiner{Finder: s, Judge: s, Now: s.time}
			m := frame.Grey(make([]byte, 64*48), 64, 48, 64)
			f, err := e.Examine(&m, d)
			if f.Main != tt.main || f.Code != tt.code || f.Times != tt.times || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v", f, err)
			}
			judged := tt.code == "" && tt.main >= 0
			if f.Judged != judged || judged && f.Judgement != tt.step.judgement {
				t.Errorf("judged %v: %+v", f.Judged, f.Judgement)
			}
			at := time.Unix(5, 0)
			o := f.Observation(at, &m)
			if !o.Time.Equal(at) || o.Width != 64 || o.Height != 48 || o.Code != tt.code || o.Judged != judged || len(o.Faces) != len(tt.step.faces) {
				t.Errorf("the observation is %+v", o)
			}
			for i, face := range o.Faces {
				if want := tt.step.faces[i]; face != (decision.Face{X: want.X, Y: want.Y, W: want.W, H: want.H, Score: want.Score}) {
					t.Errorf("face %d is %+v", i, face)
				}
			}
		})
	}
}

func TestABoxThatIsGivenIsJudgedWithoutLooking(t *testing.T) {
	s := &slow{world: world{now: step{findErr: errBroken, judgement: living.judgement}}, clock: time.Unix(0, 0)}
	e := Examiner{Finder: s, Judge: s, Now: s.time}
	m := frame.Grey(make([]byte, 64*48), 64, 48, 64)
	f, err := e.ExamineBox(&m, somebody.Box)
	if err != nil || !f.Judged || f.Main != 0 || len(f.Faces) != 1 || f.Faces[0].Box != somebody.Box || f.Times.Detect != 0 || f.Judgement != living.judgement {
		t.Errorf("got %+v, %v", f, err)
	}
}
