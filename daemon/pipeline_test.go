package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
)

// step is what the world does at one call of Next: a frame with what the nets see in it, or an error.
type step struct {
	err    error // of the camera
	status *camera.Status

	faces     []models.Face
	judgement models.Judgement
	findErr   error
	cropErr   error
	judgeErr  error
	picture   []byte // 64×48; nil is black
	offset    image.Point
}

// world plays steps, a tenth of a second each, as camera and as both nets, and takes the verdicts. It runs inside a synctest bubble.
type world struct {
	steps []step
	now   step
	state camera.Status
	cues  cue.Options
	// beside is called before each frame, nil for nobody.
	beside func()

	cropped, judged int // how often
	closed          int
	closeErr        error

	said     []string
	verdicts []mqtt.Verdict
	states   []mqtt.CameraState
}

var (
	_ Camera    = (*world)(nil)
	_ Publisher = (*world)(nil)
	_ Finder    = (*world)(nil)
	_ Judge     = (*judge)(nil)
)

func (w *world) Next(ctx context.Context) (*frame.Frame, error) {
	if len(w.steps) == 0 {
		<-ctx.Done()
		return nil, fmt.Errorf("camera: wait for frame: %w", ctx.Err())
	}
	w.now, w.steps = w.steps[0], w.steps[1:]
	time.Sleep(100 * time.Millisecond) // in the bubble's time
	if w.now.status != nil {
		w.state = *w.now.status
	}
	if w.now.err != nil {
		return nil, w.now.err
	}
	if w.beside != nil {
		w.beside()
	}
	f := camFrame(w.now.seen(), time.Now())
	f.Offset = w.now.offset
	return f, nil
}

// seen is the step's picture. Where nobody drew one, it is another one if somebody is there than if nobody is.
func (s *step) seen() []byte {
	if s.picture == nil && (len(s.faces) > 0 || s.findErr != nil) {
		return bytes.Repeat([]byte{60}, 64*48)
	}
	return s.picture
}

func camFrame(picture []byte, at time.Time) *frame.Frame {
	if picture == nil {
		picture = make([]byte, 64*48)
	}
	return &frame.Frame{Image: frame.Grey(picture, 64, 48, 64), Camera: "front", Captured: at, Dequeued: at, Format: "GREY"}
}

func (w *world) Status() camera.Status { return w.state }

func (w *world) Close() error {
	w.closed++
	return w.closeErr
}

func (w *world) Detect(*frame.Image) ([]models.Face, error) {
	if w.now.findErr != nil {
		return nil, w.now.findErr
	}
	return w.now.faces, nil
}

func (w *world) PublishVerdict(v mqtt.Verdict) {
	w.verdicts = append(w.verdicts, v)
	s := "verdict " + string(v.Verdict)
	if v.Code != nil {
		s += " " + string(*v.Code)
	}
	w.said = append(w.said, s+" "+string(v.Action))
}

func (w *world) SetCameraState(name string, s mqtt.CameraState) {
	w.states = append(w.states, s)
	w.said = append(w.said, strings.TrimSpace("state "+s.State+" "+string(s.Code)))
}

// judge is the world's liveness net.
type judge struct{ w *world }

func (j *judge) Crop(*frame.Image, models.Box) error {
	j.w.cropped++
	return j.w.now.cropErr
}

func (j *judge) Judge() (models.Judgement, error) {
	j.w.judged++
	return j.w.now.judgement, j.w.now.judgeErr
}

// start makes a pipeline of the world.
func (w *world) start(t *testing.T, log io.Writer) *pipeline {
	t.Helper()
	o := decision.Defaults()
	o.LiveAt, o.SpoofAt = 0.8, 0.35
	d, err := decision.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if w.state.State == "" {
		w.state = camera.Status{State: camera.StateStreaming, Since: time.Now()}
	}
	return &pipeline{
		name: "front", camera: w, decider: d, watch: cue.New(w.cues), publish: w, id: &identity{device: "door-7", boot: "boot-1"},
		log: slog.New(slog.NewTextHandler(log, nil)), now: time.Now,
		close:    func() error { w.closed += 100; return nil },
		examiner: Examiner{Finder: w, Judge: &judge{w}, Now: time.Now},
		document: mqtt.Verdict{Schema: 1, Device: "door-7", Camera: "front", Boot: "boot-1",
			Model: mqtt.ModelRef{Name: "m", Version: "1", SHA256: strings.Repeat("0", 64)}, Delegate: "none"},
	}
}

func times(n int, s step) []step { return slices.Repeat([]step{s}, n) }

func script(parts ...[]step) []step { return slices.Concat(parts...) }

var (
	somebody  = models.Face{Box: models.Box{X: 20, Y: 10, W: 20, H: 28}, Score: 0.9}
	another   = models.Face{Box: models.Box{X: 42, Y: 10, W: 20, H: 28}, Score: 0.9}
	living    = step{faces: []models.Face{somebody}, judgement: models.Judgement{Live: 0.95, LogOdds: 3, Evidence: 3}}
	attacked  = step{faces: []models.Face{somebody}, judgement: models.Judgement{Live: 0.05, LogOdds: -3, Evidence: -3, Attack: "replay"}}
	unclear   = step{faces: []models.Face{somebody}, judgement: models.Judgement{Live: 0.6, LogOdds: 0.5, Evidence: 0.5}}
	empty     = step{}
	silence   = step{err: fmt.Errorf("camera: wait for frame: %w", context.DeadlineExceeded)}
	errBroken = errors.New("out of order")
)

func status(state, code string) step {
	s := silence
	s.status = &camera.Status{State: state, Code: code, Err: "what is wrong", Hint: "what to do", Device: "/dev/video0"}
	return s
}

func TestWhatAPipelineSays(t *testing.T) {
	with := func(s step, change func(*step)) step {
		change(&s)
		return s
	}
	streaming := "state streaming\n"
	ended := status(camera.StateFailed, "CAMERA_LOST")
	ended.err = io.EOF
	tests := []struct {
		name  string
		steps []step
		want  string
	}{
		{"an empty room", times(100, empty), streaming},
		{"a living person", times(50, living), streaming + "verdict live allow\n"},
		{"an attack", times(50, attacked), streaming + "verdict spoof PAD_ATTACK deny\n"},
		{"one after the other", script(times(10, living), times(10, empty), times(10, attacked)),
			streaming + "verdict live allow\nverdict spoof PAD_ATTACK deny\n"},
		{"an answer that can't be had", times(100, unclear), streaming + "verdict undecided TIMEOUT deny\n"},
		{"two people", times(100, step{faces: []models.Face{somebody, another}}), streaming + "verdict undecided MANY_FACES deny\n"},
		{"somebody who leaves", script(times(15, unclear), times(10, empty)), streaming + "verdict undecided NO_FACES_DETECTED deny\n"},
		{"frames that stop, by the clock alone", script(times(15, unclear), times(10, silence)), streaming + "verdict undecided CAMERA_LOST deny\n"},

		{"a camera that is pulled out and comes back", script(times(15, unclear), times(1, status(camera.StateRecovering, "CAMERA_LOST")), times(3, silence),
			times(1, status(camera.StateStreaming, "")), times(10, living)),
			streaming + "verdict undecided CAMERA_LOST deny\nstate recovering CAMERA_LOST\nstate streaming\nverdict live allow\n"},
		{"another camera in its place", script(times(15, unclear), times(1, status(camera.StateFailed, camera.CodeSuspect)), times(3, silence),
			times(1, status(camera.StateStreaming, "")), times(10, living)),
			streaming + "verdict undecided CAMERA_SUSPECT deny\nstate failed CAMERA_SUSPECT\nstate streaming\nverdict live allow\n"},
		{"a camera that is refused", times(20, status(camera.StateFailed, "PERMISSION_REFUSED")), streaming + "state failed PERMISSION_REFUSED\n"},
		{"trouble that becomes another", script(times(2, status(camera.StateRecovering, "CAMERA_LOST")), times(2, status(camera.StateFailed, "PERMISSION_REFUSED"))),
			streaming + "state recovering CAMERA_LOST\nstate failed PERMISSION_REFUSED\n"},
		{"evidence from before the camera was lost", script(times(4, living), times(1, status(camera.StateRecovering, "CAMERA_LOST")),
			times(1, status(camera.StateStreaming, "")), times(4, living)), streaming + "state recovering CAMERA_LOST\nstate streaming\n"},

		{"a detector that fails", times(100, with(living, func(s *step) { s.findErr = errBroken })), streaming + "state failed PROCESSING_ERR\n"},
		{"a detector that begins to fail", script(times(15, unclear), times(20, with(living, func(s *step) { s.findErr = errBroken }))),
			streaming + "verdict undecided PROCESSING_ERR deny\nstate failed PROCESSING_ERR\n"},
		{"a crop that fails", times(100, with(living, func(s *step) { s.cropErr = errBroken })),
			streaming + "state failed PROCESSING_ERR\nverdict undecided PROCESSING_ERR deny\n"},
		{"a liveness net that fails", times(100, with(living, func(s *step) { s.judgeErr = errBroken })),
			streaming + "state failed PROCESSING_ERR\nverdict undecided PROCESSING_ERR deny\n"},
		{"a liveness net that answers no number", times(100, with(living, func(s *step) { s.judgement.LogOdds = math.NaN() })),
			streaming + "verdict undecided PROCESSING_ERR deny\n"},
		{"boxes that are no numbers", times(100, step{faces: []models.Face{{Box: models.Box{X: math.NaN(), W: 20, H: 20}}}, judgement: living.judgement}), streaming},
		{"a net that recovers", script(times(3, with(living, func(s *step) { s.judgeErr = errBroken })), times(5, living)), streaming + "verdict live allow\n"},

		{"a replay that ends in the middle", script(times(15, unclear), times(1, step{err: io.EOF})), streaming + "verdict undecided CAMERA_LOST deny\n"},
		{"a replay that ends and says so", script(times(2, empty), times(1, ended)), streaming + "state failed CAMERA_LOST\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{steps: tt.steps}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.start(t, io.Discard).run(ctx) }()
				time.Sleep(time.Minute) // the script is over by then
				cancel()
				synctest.Wait()
				select {
				case err := <-done:
					if err != nil {
						t.Error(err)
					}
				default:
					t.Fatal("it goes on after its context ended")
				}
				if got := strings.Join(append(w.said, ""), "\n"); got != tt.want {
					t.Errorf("got\n%swant\n%s", got, tt.want)
				}
				if w.closed != 101 {
					t.Errorf("camera and nets were closed %d times", w.closed)
				}
				for i, v := range w.verdicts {
					if err := v.Check(); err != nil {
						t.Errorf("verdict %d: %v", i, err)
					}
					if v.Seq != uint64(i+1) {
						t.Errorf("verdict %d has number %d", i, v.Seq)
					}
				}
				for i, s := range w.states {
					if err := s.Check(); err != nil {
						t.Errorf("state %d: %v", i, err)
					}
				}
			})
		})
	}
}

func TestAVerdictIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{steps: times(5, attacked)}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.start(t, io.Discard).run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(w.verdicts) != 1 {
			t.Fatal(w.said)
		}
		v := w.verdicts[0]
		if v.Device != "door-7" || v.Camera != "front" || v.Boot != "boot-1" || v.Model.Name != "m" || v.Delegate != "none" || v.LiveAt != 0.8 || v.SpoofAt != 0.35 {
			t.Errorf("what is common to all: %+v", v)
		}
		if v.Score == nil || math.Abs(*v.Score-1/(1+math.Exp(3))) > 1e-9 || v.Frames != 5 || v.Attack != "replay" || *v.CodeNumber != 5 {
			t.Errorf("the answer: %+v", v)
		}
		if want := (mqtt.Face{X: 20, Y: 10, Width: 20, Height: 28}); v.Face == nil || *v.Face != want {
			t.Errorf("face %+v", v.Face)
		}
		captured, decided := began.Add(100*time.Millisecond), began.Add(500*time.Millisecond)
		if !time.Time(v.CapturedAt).Equal(captured) || !time.Time(v.DecidedAt).Equal(decided) || v.LatencyMS != 400 ||
			!time.Time(v.ExpiresAt).Equal(decided.Add(actionable)) {
			t.Errorf("captured %v, decided %v, %d ms, expires %v", v.CapturedAt, v.DecidedAt, v.LatencyMS, v.ExpiresAt)
		}
	})
}

func TestAFaceInARegionIsToldInTheWholePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aside := attacked
		aside.offset = image.Pt(100, 40)
		w := &world{steps: times(5, aside), state: camera.Status{State: camera.StateStreaming, Since: time.Now(), Width: 640, Height: 480}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := w.start(t, io.Discard)
		p.sideways = true
		if err := p.run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := (mqtt.Face{X: 120, Y: 50, Width: 20, Height: 28}); len(w.verdicts) != 1 || w.verdicts[0].Face == nil || *w.verdicts[0].Face != want {
			t.Errorf("%q, want a face at %+v", w.said, want)
		}
		if s := w.states[0]; s.Width != 480 || s.Height != 640 {
			t.Errorf("the state says %d×%d", s.Width, s.Height)
		}
	})
}

func TestOnlyTheMainFaceIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{steps: script(times(3, living), times(7, empty), times(7, step{faces: []models.Face{somebody, another}}),
			times(7, step{findErr: errBroken, faces: []models.Face{somebody}}))}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.start(t, io.Discard).run(ctx); err != nil {
			t.Fatal(err)
		}
		if w.cropped != 3 || w.judged != 3 {
			t.Errorf("%d crops and %d judgements for three frames with one face", w.cropped, w.judged)
		}
	})
}

func TestTroubleIsLoggedOnceAndSoIsItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := living
		bad.judgeErr = errBroken
		w := &world{steps: script(times(20, bad), times(20, living), times(20, bad))}
		var log bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.start(t, &log).run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "can't examine frames"); n != 2 {
			t.Errorf("the trouble is logged %d times:\n%s", n, &log)
		}
		if n := strings.Count(log.String(), "frames can be examined again"); n != 1 {
			t.Errorf("its end is logged %d times:\n%s", n, &log)
		}
		if !strings.Contains(log.String(), "out of order") {
			t.Errorf("the error isn't in the log:\n%s", &log)
		}
	})
}

// Nets that fail find no face either, so that no verdict would tell of it.
func TestFramesThatNobodyCanExamineAreAState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := step{findErr: errors.New("the net broke")}
		w := &world{steps: script(times(3, step{}), times(10, broken), times(3, step{}), times(30, broken), times(3, step{}))}
		ctx, cancel := context.WithCancel(t.Context())
		p := w.start(t, io.Discard)
		time.AfterFunc(10*time.Second, cancel)
		if err := p.run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []string{"state streaming", "state failed PROCESSING_ERR", "state streaming"}; !slices.Equal(w.said, want) {
			t.Errorf("said %q, want %q: one second is no state, three are", w.said, want)
		}
		if len(w.states) > 1 && (!strings.Contains(w.states[1].Error, "the net broke") || w.states[1].Hint == "" || w.states[1].Check() != nil) {
			t.Errorf("%+v, %v", w.states[1], w.states[1].Check())
		}
	})
}

// An alarm is told, and whoever stands before the camera is judged all the same.
func TestHealthIsPartOfTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		well := camera.Status{State: camera.StateStreaming, Since: now, Health: camera.Health{State: camera.HealthHealthy, Since: now}}
		well.Health.Entered.Healthy = 1
		ill := well
		ill.Health.State, ill.Health.Alarms, ill.Health.Hint = camera.HealthAlarmed, []string{camera.AlarmGaps}, "check its cable"
		ill.Health.Entered.Alarmed, ill.Health.Spent.Healthy, ill.Health.LastOutage = 1, 1500*time.Millisecond, 2*time.Second
		first, alarm, worse := living, living, living
		first.status, alarm.status = &well, &ill
		more := ill
		more.Health.Alarms = []string{camera.AlarmSlow, camera.AlarmGaps}
		worse.status = &more
		w := &world{steps: script([]step{first, alarm, worse}, times(10, living))}
		w.state = well
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(1500*time.Millisecond, cancel)
		if err := w.start(t, io.Discard).run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []string{"state streaming", "state streaming", "state streaming", "verdict live allow"}; !slices.Equal(w.said, want) {
			t.Fatalf("said %q, want %q", w.said, want)
		}
		for k, s := range w.states {
			if err := s.Check(); err != nil || s.Health == nil {
				t.Errorf("%d: %+v, %v", k, s, err)
			}
		}
		h := w.states[1].Health
		if h.State != "alarmed" || !slices.Equal(h.Alarms, []string{"gaps"}) || h.Hint == "" || h.LastOutageMS != 2000 ||
			!maps.Equal(h.Entered, map[string]uint64{"healthy": 1, "alarmed": 1}) || !maps.Equal(h.Seconds, map[string]float64{"healthy": 1.5}) {
			t.Errorf("%+v", h)
		}
	})
}

func TestACameraThatCannotGoOnEndsThePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{steps: script(times(2, empty), times(1, step{err: camera.ErrClosed})), closeErr: errors.New("stuck")}
		err := w.start(t, io.Discard).run(t.Context())
		if !errors.Is(err, camera.ErrClosed) || !errors.Is(err, w.closeErr) {
			t.Errorf("got %v", err)
		}
		if w.closed != 101 {
			t.Errorf("camera and nets were closed %d times", w.closed)
		}
	})
}

func TestNumbersAndIdsAreNeverGivenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := script(times(6, living), times(10, empty))
		w := &world{steps: slices.Concat(slices.Repeat([][]step{steps}, 20)...)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.start(t, io.Discard).run(ctx); err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for i, v := range w.verdicts {
			if v.Seq != uint64(i+1) || ids[v.ID] {
				t.Errorf("verdict %d: number %d, id %s", i, v.Seq, v.ID)
			}
			ids[v.ID] = true
		}
		if len(w.verdicts) != 20 {
			t.Errorf("%d verdicts", len(w.verdicts))
		}
	})
}
