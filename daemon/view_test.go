package daemon

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
)

// shownBy makes a pipeline that shows frames, and a clock to move.
func shownBy(t *testing.T, v *View) (p *pipeline, pass func(time.Duration)) {
	t.Helper()
	now := time.Unix(1_700_000_000, 0)
	d, err := decision.New(decision.Options{LiveAt: 0.8, SpoofAt: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	return &pipeline{name: "front", stage: v.stage("front"), decider: d, now: func() time.Time { return now }}, func(by time.Duration) { now = now.Add(by) }
}

func yuyv(w, h int) *frame.Frame {
	pix := make([]byte, 2*w*h)
	for i := range pix {
		pix[i] = 128
		if i%2 == 0 {
			pix[i] = 235 // white
		}
	}
	return &frame.Frame{Image: frame.YUYV(pix, w, h, 2*w), Camera: "front", Format: "YUYV"}
}

func TestNothingIsShownWhileNobodyLooks(t *testing.T) {
	v := NewView(time.Now)
	p, pass := shownBy(t, v)
	f, found := yuyv(64, 48), &Finding{Main: -1}
	p.show(f, found, 0)
	if p.stage.newest != nil {
		t.Error("a frame is kept")
	}
	if n := testing.AllocsPerRun(100, func() { p.show(f, found, 0) }); n != 0 {
		t.Errorf("a frame that nobody sees costs %v allocations", n)
	}
	w := v.Watch("front", true)
	pass(time.Second)
	p.show(f, found, 0)
	if p.stage.newest == nil || !p.stage.newest.picture.there() {
		t.Fatal("a frame that somebody wants isn't there")
	}
	w.Close()
	w.Close()
	if p.stage.newest != nil {
		t.Error("the picture stays when its viewer has left")
	}
	pass(time.Second)
	p.show(f, found, 0)
	if p.stage.newest != nil || p.stage.viewers.Load() != 0 || p.stage.watchers.Load() != 0 {
		t.Error("somebody who left is still there")
	}
}

func TestAWatcherGetsTheNewestAndNoPictureUnlessItWants(t *testing.T) {
	v := NewView(time.Now)
	p, pass := shownBy(t, v)
	plain := v.Watch("front", false)
	defer plain.Close()
	for i := range 5 {
		f := yuyv(64, 48)
		f.Sequence = uint64(i + 1)
		pass(time.Second)
		p.show(f, &Finding{Main: 0, Faces: []models.Face{{}}, Judged: true, Judgement: models.Judgement{Live: 0.7}}, time.Millisecond)
	}
	got, err := plain.Next(t.Context())
	if err != nil || got.Sequence != 5 || got.Score != 0.7 || !got.Judged || got.Main != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := got.JPEG(); err == nil {
		t.Error("a picture was taken that nobody wanted")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plain.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the same again: %v", err)
	}
	// Not all frames of a fast camera are shown.
	pass(time.Second)
	before := p.stage.number
	for range 10 {
		pass(showEach / 3)
		p.show(yuyv(64, 48), &Finding{Main: -1}, 0)
	}
	if n := p.stage.number - before; n != 4 {
		t.Errorf("of ten frames in a third of the time %d are shown", n)
	}
}

func TestPicturesAreMadeOnceAndNoLargerThanNeeded(t *testing.T) {
	still := func(w, h int, m image.Image) []byte {
		var b bytes.Buffer
		if err := stdjpeg.Encode(&b, m, nil); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	gray := image.NewGray(image.Rect(0, 0, 64, 48))
	for name, tt := range map[string]struct {
		frame         *frame.Frame
		width, height int
		same          bool // the camera's own
	}{
		"a camera's own JPEG":     {&frame.Frame{Image: frame.FromImage(gray), JPEG: still(64, 48, gray)}, 64, 48, true},
		"a small raw picture":     {yuyv(64, 48), 64, 48, false},
		"a large raw picture":     {yuyv(1920, 1080), 640, 360, false},
		"one with odd sides":      {&frame.Frame{Image: frame.Grey(make([]byte, 99*77), 99, 77, 99)}, 99, 77, false},
		"NV12":                    {&frame.Frame{Image: frame.NV12(make([]byte, 1280*720*3/2), 1280, 720, 1280)}, 640, 360, false},
		"a turned picture":        {&frame.Frame{Image: yuyv(64, 48).Image.Turned(90), Format: "YUYV"}, 48, 64, false},
		"a region":                {&frame.Frame{Image: yuyv(64, 48).Image.Mirrored().Part(image.Rect(10, 10, 42, 30)), Format: "YUYV"}, 32, 20, false},
		"a JPEG that is too long": {&frame.Frame{Image: frame.FromImage(gray), JPEG: make([]byte, maxPassed+1)}, 64, 48, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Shown{picture: takePicture(tt.frame)}
			var all [4][]byte
			var wg sync.WaitGroup
			for i := range all {
				wg.Go(func() {
					b, err := s.JPEG()
					if err != nil {
						t.Error(err)
					}
					all[i] = b
				})
			}
			wg.Wait()
			if &all[0][0] != &all[3][0] {
				t.Error("it is made twice")
			}
			if tt.same != bytes.Equal(all[0], tt.frame.JPEG) {
				t.Errorf("the camera's own: %v", !tt.same)
			}
			m, err := stdjpeg.Decode(bytes.NewReader(all[0]))
			if err != nil || m.Bounds().Dx() != tt.width || m.Bounds().Dy() != tt.height {
				t.Fatalf("%v: %v", err, m.Bounds())
			}
			if tt.frame.Format == "YUYV" {
				if r, g, b, _ := m.At(5, 5).RGBA(); min(r, g, b)>>8 < 250 {
					t.Errorf("white is %v", color.RGBAModel.Convert(m.At(5, 5)))
				}
			}
		})
	}
}

func TestTheViewRemembersSoMuchAndNobodysName(t *testing.T) {
	v := NewView(time.Now)
	news := v.News()
	for range 2 * maxShown {
		v.judged(mqtt.Verdict{Camera: "front", Session: &mqtt.Session{ID: "s", Subject: "somebody", Nonce: "n"}})
		v.camera("front", mqtt.CameraState{State: "streaming"})
	}
	select {
	case <-news:
	default:
		t.Error("nobody is told")
	}
	all := v.Presentations(0)
	if len(all) != maxShown || all[0].Number != maxShown+1 || all[maxShown-1].Number != 2*maxShown {
		t.Errorf("%d from %d to %d", len(all), all[0].Number, all[len(all)-1].Number)
	}
	if s := all[0].Verdict.Session; s.ID != "s" || s.Subject != "" || s.Nonce != "" {
		t.Errorf("the session is %+v", s)
	}
	if n := len(v.Presentations(2*maxShown - 3)); n != 3 {
		t.Errorf("%d after a number", n)
	}
	if n := len(v.stage("front").history); n != maxHistory {
		t.Errorf("%d states", n)
	}
	var none *View // takes everything
	none.judged(mqtt.Verdict{})
	none.camera("front", mqtt.CameraState{})
	none.delivered()
	none.runs(nil)()
	(&pipeline{stage: none.stage("front"), now: time.Now}).show(yuyv(64, 48), &Finding{}, 0)
}

// passing is a camera that counts what it lets go.
type passing struct {
	Camera
	passed, given int
}

func (p *passing) Pass(context.Context) error { p.passed++; return nil }
func (p *passing) Next(context.Context) (f *frame.Frame, err error) {
	p.given++
	return yuyv(64, 48), nil
}

func TestACameraThatNobodyAsksIsDecodedOnlyForWhoLooks(t *testing.T) {
	v := NewView(time.Now)
	p, _ := shownBy(t, v)
	cam := &passing{}
	p.camera, p.onRequest, p.worked = &changing{now: cam}, true, true
	next := func() {
		t.Helper()
		if _, err := p.next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	next()
	if cam.passed != 1 || cam.given != 0 {
		t.Errorf("nobody looks: %d let go, %d given", cam.passed, cam.given)
	}
	w := v.Watch("front", true)
	next()
	w.Close()
	if cam.given != 1 {
		t.Errorf("somebody looks: %d given", cam.given)
	}
	next()
	if cam.passed != 2 {
		t.Errorf("nobody looks any more: %d let go", cam.passed)
	}
}

func TestATapHearsWhatTheDecisionHears(t *testing.T) {
	v := NewView(time.Now)
	if _, err := v.Tap("front", nil); !errors.Is(err, errNotThere) {
		t.Errorf("without a run: %v", err)
	}
	v.runs(&viewed{cameras: map[string]func() camera.Status{"front": func() (s camera.Status) { return s }}})
	heard := 0
	stop, err := v.Tap("front", func(decision.Observation) { heard++ })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Tap("front", nil); !errors.Is(err, errNotTaken) {
		t.Errorf("two at once: %v", err)
	}
	s := v.stage("front")
	s.observed(decision.Observation{})
	if stop(); s.tapped() {
		t.Error("it isn't stopped")
	}
	s.observed(decision.Observation{})
	if heard != 1 {
		t.Errorf("%d observations", heard)
	}
}

func TestATrialThatFailsLeavesTheCameraAsItWas(t *testing.T) {
	v := NewView(time.Now)
	if err := v.Try(t.Context(), "front", config.DefaultCamera()); !errors.Is(err, errNoRun) {
		t.Errorf("without a run: %v", err)
	}
	p, _ := shownBy(t, v)
	var opened []config.Camera
	broken := false
	p.log, p.camera = slog.New(slog.DiscardHandler), &changing{now: stillCamera{}}
	p.doubt = func(config.Camera) *cue.Watch { return nil }
	p.open = func(c config.Camera) (Camera, error) {
		opened = append(opened, c)
		if broken && c.FPS == 30 {
			return nil, errors.New("no")
		}
		return stillCamera{}, nil
	}
	p.using = config.DefaultCamera()
	faster, turned := p.using, p.using
	faster.FPS, turned.Rotate = 30, 90
	if err := p.reopen(turned); err != nil || !p.sideways || p.using.Rotate != 90 {
		t.Errorf("%v, %+v", err, p.using)
	}
	broken = true
	if err := p.reopen(faster); err == nil || p.using.Rotate != 90 || !p.sideways || len(opened) != 3 || opened[2].Rotate != 90 {
		t.Errorf("%v, %+v after %d openings", err, p.using, len(opened))
	}
	wrong := p.using
	wrong.Rotate = 45
	if err := p.reopen(wrong); err == nil || len(opened) != 3 {
		t.Errorf("what can't be: %v after %d openings", err, len(opened))
	}
	// Nobody waits any more.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	p.stage.trials <- &trial{ended, faster, make(chan error, 1)}
	if p.attempt(); len(opened) != 3 {
		t.Error("what nobody waits for is tried")
	}
}

// stillCamera is one that does nothing.
type stillCamera struct{ Camera }

func (stillCamera) Close() error { return nil }
