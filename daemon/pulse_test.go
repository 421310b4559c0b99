package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
)

// body is a camera, nets and a publisher of which any may stop for ever.
type body struct {
	state    camera.Status
	silent   bool  // no frames come
	deaf     bool  // the driver never returns
	findErr  error // of the nets
	stopped  string
	released chan struct{}

	start time.Time
}

var (
	_ Camera    = (*body)(nil)
	_ Publisher = (*body)(nil)
	_ Finder    = (*body)(nil)
	_ Judge     = (*body)(nil)
)

// here stands still for ever where this is what is out of order, from the tenth second on.
func (b *body) here(what string) {
	if b.stopped == what && time.Since(b.start) > 10*time.Second {
		<-b.released
	}
}

func (b *body) Next(ctx context.Context) (*frame.Frame, error) {
	b.here("camera")
	if b.silent {
		<-ctx.Done()
		return nil, fmt.Errorf("camera: wait for frame: %w", ctx.Err())
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("camera: wait for frame: %w", ctx.Err())
	case <-time.After(66 * time.Millisecond):
		return camFrame(nil, time.Now()), nil
	}
}

func (b *body) Status() camera.Status {
	s := b.state
	s.Moved = time.Now()
	if b.deaf {
		s.Moved = b.start
	}
	return s
}

func (b *body) Close() error { return nil }

func (b *body) Detect(*frame.Image) ([]models.Face, error) {
	b.here("detector")
	if b.findErr != nil || time.Since(b.start)%(6*time.Second) < 2*time.Second { // people come and go
		return nil, b.findErr
	}
	return []models.Face{somebody}, nil
}

func (b *body) Crop(*frame.Image, models.Box) error { return nil }

func (b *body) Judge() (models.Judgement, error) {
	b.here("liveness net")
	return models.Judgement{LogOdds: 3, Evidence: 3}, nil
}

func (b *body) PublishVerdict(mqtt.Verdict)               { b.here("publisher") }
func (b *body) SetCameraState(string, mqtt.CameraState)   {}
func (b *body) PublishResponse(mqtt.Verb, mqtt.Response)  {}
func (b *body) PublishHint(mqtt.Hint)                     {}
func (b *body) SetSwitches(string, mqtt.Switches)         {}
func (b *body) Interval() time.Duration                   { return 30 * time.Second }
func (b *body) Ready(string) error                        { return nil }
func (b *body) brokerStatus() (s mqtt.Status)             { b.here("client"); return s }
func (b *body) pipeline(t *testing.T, p *Pulse) *pipeline { return bodyPipeline(t, b, p) }

func bodyPipeline(t *testing.T, b *body, p *Pulse) *pipeline {
	t.Helper()
	o := decision.Defaults()
	o.LiveAt, o.SpoofAt = 0.8, 0.35
	d, err := decision.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	out := w.start(t, io.Discard)
	out.camera, out.decider, out.publish, out.pulse, out.close = b, d, b, p, func() error { return nil }
	out.examiner = Examiner{Finder: b, Judge: b, Now: time.Now}
	return out
}

// manager counts.
type manager struct {
	*body
	mu    sync.Mutex
	fed   []time.Duration // since the start
	more  time.Duration
	ready int
	lines []string
}

func (m *manager) Alive(more time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fed, m.more = append(m.fed, time.Since(m.start)), more
	return nil
}

func (m *manager) Ready(line string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready++
	m.lines = append(m.lines, line)
	return nil
}

func (m *manager) Status(line string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
	return nil
}

// late is how many meals there were from the second minute on, until the test let everything go again.
func (m *manager) late(end time.Duration) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range m.fed {
		if at > time.Minute && at < end {
			n++
		}
	}
	return n
}

// live runs a pipeline and its watch for so long.
func live(t *testing.T, b *body, d *desk, long time.Duration) (*manager, Health) {
	t.Helper()
	b.start, b.released = time.Now(), make(chan struct{})
	if b.state.State == "" {
		b.state.State = camera.StateStreaming
	}
	p := NewPulse(time.Now, "1.2.3-test", 7)
	over := p.runs([]string{"front"}, b.brokerStatus)
	defer over()
	m := &manager{body: b}
	watch := &Watch{Pulse: p, Manager: m, Log: slog.New(slog.DiscardHandler)}
	line := b.pipeline(t, p)
	line.publish = &toldBody{b, p}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { watch.Run(ctx) })
	wg.Go(func() {
		if err := line.run(ctx); err != nil {
			t.Error(err)
		}
	})
	if d != nil {
		d.pulse = p
		wg.Go(func() { d.run(ctx, nil) })
	}
	time.Sleep(long)
	synctest.Wait()
	seen := make(chan Health, 1)
	go func() { seen <- p.Health(still) }()
	var h Health
	select {
	case h = <-seen:
	case <-time.After(time.Second): // it stands still, too
	}
	cancel()
	close(b.released)
	wg.Wait()
	return m, h
}

// toldBody is told for a body.
type toldBody struct {
	*body
	pulse *Pulse
}

func (b *toldBody) PublishVerdict(v mqtt.Verdict) {
	b.body.PublishVerdict(v)
	b.pulse.judged(v)
}

func (b *toldBody) SetCameraState(name string, s mqtt.CameraState) { b.pulse.camera(name, s) }

func TestTheWatchdogIsFedOnlyWhileEverythingMoves(t *testing.T) {
	absent := camera.Status{State: camera.StateRecovering, Code: camera.CodeLost, Err: "camera: open: no such device", Hint: "plug it in"}
	tests := []struct {
		name  string
		body  body
		stuck string // "" is healthy
		ready bool
	}{
		{"faces are judged", body{}, "", true},
		{"a camera is away, which is being handled", body{silent: true, state: absent}, "", false},
		{"a camera gives no frame for now", body{silent: true}, "", false},
		{"a driver doesn't return", body{silent: true, deaf: true}, "the driver of camera front", false},
		{"a camera that is away, and its driver doesn't return", body{silent: true, deaf: true, state: absent}, "the driver of camera front", false},
		{"frames can't be fetched", body{stopped: "camera"}, "the pipeline of camera front", true},
		{"the detector doesn't return", body{stopped: "detector"}, "the pipeline of camera front", true},
		{"the liveness net doesn't return", body{stopped: "liveness net"}, "the pipeline of camera front", true},
		{"the nets fail over and over", body{findErr: errBroken}, "the pipeline of camera front", false},
		{"nobody takes verdicts", body{stopped: "publisher"}, "the pipeline of camera front", true},
		{"the broker's client stands still", body{stopped: "client"}, "all of it", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, h := live(t, &test.body, nil, 3*time.Minute)
				if got := m.late(3 * time.Minute); (got > 0) != (test.stuck == "") {
					t.Errorf("fed %d times after a minute: %v", got, m.fed)
				}
				if (m.ready > 0) != test.ready || m.ready > 1 {
					t.Errorf("ready %d times", m.ready)
				}
				if test.stuck == "all of it" { // nobody can be asked
					return
				}
				if got := strings.Join(h.Stuck, ", "); got != test.stuck {
					t.Errorf("stuck: %q", got)
				}
				// Whoever isn't ready yet may take longer as long as something moves.
				if len(m.fed) == 0 || (m.more > 0) != (m.ready == 0) {
					t.Errorf("fed %v, %v more, ready %d times", m.fed, m.more, m.ready)
				}
			})
		})
	}
}

func TestADeskThatStandsStillStarvesTheWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobby(t)
		l.now = time.Now()
		b := &body{silent: true, stopped: "desk"}
		l.desk.now = func() time.Time {
			b.here("desk") // with the lock, as a deadlock or a disk that never answers would
			return time.Now()
		}
		m, h := live(t, b, l.desk, 2*time.Minute)
		if m.late(2*time.Minute) > 0 || !slices.Contains(h.Stuck, "requests") {
			t.Errorf("fed %v, stuck: %q", m.fed, h.Stuck)
		}
	})
}

func TestNobodyWhoMovesIsNoGoodSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPulse(time.Now, "", 1)
		if got := p.stuck(still); len(got) != 1 {
			t.Errorf("%q", got)
		}
		done := p.Busy("loading the models", time.Minute)
		time.Sleep(59 * time.Second)
		if h := p.Health(still); len(h.Stuck) > 0 || h.Doing != "loading the models" || h.Line() != "loading the models" {
			t.Errorf("%+v", h)
		}
		time.Sleep(2 * time.Second)
		if got := p.stuck(still); len(got) != 1 || got[0] != "loading the models" {
			t.Errorf("%q", got)
		}
		done()
		done()
		if h := p.Health(still); h.Doing != "" || len(p.parts) > 0 {
			t.Errorf("%+v", h)
		}
	})
}

func TestWhatIsSaidOfADaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPulse(time.Now, "1.2.3", 7)
		status := mqtt.Status{Err: &fault{nil, errors.New("mqtt: connect to b:1883: refused"), "start the broker"}}
		over := p.runs([]string{"front", "side"}, func() mqtt.Status { return status })
		moves := p.join("the pipeline of camera front", 0, nil)
		say := func(want string) {
			t.Helper()
			h := p.Health(still)
			if got := h.Line(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		say("camera front starting; camera side starting; broker away: mqtt: connect to b:1883: refused")
		p.camera("front", mqtt.CameraState{State: "streaming", Format: "MJPG", Width: 640, Height: 480, FPS: 15})
		p.camera("side", mqtt.CameraState{State: "failed", Error: "camera: open /dev/video1: permission denied", Hint: "add it to group video"})
		status = mqtt.Status{Connected: true}
		p.works("front")
		say("camera front streaming MJPG 640×480 at 15/s; camera side failed: camera: open /dev/video1: permission denied (add it to group video); broker connected")
		h := p.Health(still)
		if h.Works() || h.Trouble == nil || h.Trouble.Error != "camera side: camera: open /dev/video1: permission denied" || h.Trouble.Hint != "add it to group video" {
			t.Errorf("%+v", h.Trouble)
		}
		p.camera("side", mqtt.CameraState{State: "streaming"})
		p.works("side")
		code := mqtt.CodePADAttack
		p.judged(mqtt.Verdict{Camera: "front", Verdict: mqtt.Spoof, Code: &code, DecidedAt: mqtt.Time(time.Now())})
		p.Reloaded(errors.New("a.yaml:1:1: no"))
		at := time.Now().Local().Format("15:04:05")
		say("camera front streaming MJPG 640×480 at 15/s; camera side streaming; broker connected; the old configuration stays: a.yaml:1:1: no; " +
			"last verdict spoof PAD_ATTACK at " + at)
		if h := p.Health(still); !h.Works() {
			t.Errorf("%+v", h)
		}
		p.Reloaded(nil)
		over()
		moves.leave()
		p.runs([]string{"other"}, nil)
		say("doesn't get on: everything; camera other starting; last verdict spoof PAD_ATTACK at " + at)
		p.camera("front", mqtt.CameraState{State: "failed"}) // of the run before
		if h := p.Health(still); len(h.Cameras) != 1 || h.Cameras[0].Name != "other" {
			t.Errorf("%+v", h.Cameras)
		}
	})
}

func TestAPhaseThatEndsStays(t *testing.T) {
	p := NewPulse(time.Now, "", 1)
	for _, c := range []struct{ to, was, is string }{
		{PhaseReady, PhaseStarting, PhaseReady}, {PhaseReloading, PhaseReady, PhaseReloading}, {PhaseStopping, PhaseReloading, PhaseStopping},
		{PhaseReady, PhaseStopping, PhaseStopping}, {PhaseFailed, PhaseStopping, PhaseFailed},
	} {
		was := p.Phase(c.to)
		if h := p.Health(still); was != c.was || h.Phase != c.is {
			t.Errorf("to %s: was %s, is %s", c.to, was, h.Phase)
		}
	}
}

func TestWithoutAPulseNobodyAsks(t *testing.T) {
	var p *Pulse
	p.Busy("", 0)()
	p.join("", 0, nil).stir()
	p.join("", 0, nil).leave()
	p.runs(nil, nil)()
	p.camera("", mqtt.CameraState{})
	p.works("")
	p.judged(mqtt.Verdict{})
	p.Wrong(errBroken)
	p.Reloaded(errBroken)
	p.Configured("", "")
	if p.Phase(PhaseReady) != PhaseReady {
		t.Error("it has a phase")
	}
}
