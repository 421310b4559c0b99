package daemon

import (
	"context"
	"errors"
	"image"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/look"
	"github.com/livenessd/livenessd/mqtt"
)

const (
	// idle is how long the pipeline waits for a frame before it looks at the clock and at the camera's state.
	idle = 200 * time.Millisecond
	// actionable is how long anybody may act on a verdict: the person in front of the door is still the one who was judged.
	actionable = 5 * time.Second
	// blind is how long frames may come that nobody can examine before the camera's state says so.
	blind = 2 * time.Second
)

// sequence gives verdicts their numbers.
type sequence struct {
	mu sync.Mutex
	n  uint64
}

func (s *sequence) next() (n uint64) {
	s.give(func(next uint64) { n = next })
	return n
}

// give lets nobody else have a number before f is through, so that numbers are handed on in their order.
func (s *sequence) give(f func(n uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	f(s.n)
}

// pipeline is one camera's chain from frames to verdicts, or an infrared camera's to what it sees. One goroutine runs it.
type pipeline struct {
	name     string
	camera   Camera
	examiner Examiner
	decider  *decision.Decider
	watch    *cue.Watch  // what one picture can't tell
	sideways bool        // its picture is turned by 90 or 270 degrees
	offset   image.Point // of the part that is looked at
	dimming  *dimming    // nil where the camera exposes by itself
	sees     *cue.Pair   // of an infrared camera, which decides nothing; nil for others
	publish  Publisher
	id       *identity
	log      *slog.Logger
	now      func() time.Time

	desk      *desk // who asks for sessions; nil where nobody can
	onRequest bool  // nothing is judged without a session
	asked     *turn // the session that the decider was asked for
	lines     *Timelines
	pulse     *Pulse
	stage     *stage // where it is watched; nil for nowhere
	moves     *part  // this pipeline, as the pulse knows it
	worked    bool   // the pulse was told that frames can be examined

	using config.Camera                       // how the camera is used
	open  func(config.Camera) (Camera, error) // as another configuration says; nil: it stays as it is
	doubt func(config.Camera) *cue.Watch      // the watch for that

	meter    meter
	newest   Examined      // the frame that was examined last
	document mqtt.Verdict  // what all verdicts of this camera have in common
	close    func() error  // frees the nets
	state    camera.Status // as it was told last
	failing  error         // why frames can't be examined since then; nil where the last one was
	since    time.Time
}

func newPipeline(o Options, e *Engine, id *identity, name string, pairs map[string]*cue.Pair, pub Publisher, d *desk) (*pipeline, error) {
	find, judge, closeNets, err := e.Nets()
	if err != nil {
		return nil, err
	}
	od := DecisionOptions(o.Config, e)
	decider, err := decision.New(od)
	if err != nil {
		return nil, errors.Join(&fault{ErrConfig, err, ""}, closeNets())
	}
	c := o.Config.Cameras[name]
	cam, err := openCamera(o, name, c)
	if err != nil {
		return nil, errors.Join(err, closeNets())
	}
	return &pipeline{
		name: name, camera: &changing{now: cam}, decider: decider, desk: d, lines: o.Timelines, pulse: o.Pulse, stage: o.View.stage(name),
		onRequest: o.Config.Decision.Mode == config.OnRequest && d != nil,
		watch:     NewWatch(o.Config, c, pairs[c.Pair]), sees: pairs[name], publish: pub, id: id, log: o.Log.With("camera", name), now: time.Now, close: closeNets,
		examiner: Examiner{Finder: find, Judge: judge, Looker: look.New(), Now: time.Now},
		document: id.document(e, name), sideways: c.Rotate%180 != 0, dimming: newDimming(cam, c),
		using: c,
		open:  func(c config.Camera) (Camera, error) { return openCamera(o, name, c) },
		doubt: func(c config.Camera) *cue.Watch { return NewWatch(o.Config, c, pairs[c.Pair]) },
	}, nil
}

// run takes frames until ctx ends or a replay is over.
func (p *pipeline) run(ctx context.Context) (err error) {
	driver := p.pulse.join(DriverOf+p.name, driving, func() time.Time { return p.camera.Status().Moved })
	p.moves = p.pulse.join("the pipeline of camera "+p.name, 0, nil)
	rest := func() {
		driver.leave()
		p.moves.leave()
	}
	defer func() {
		rest()
		err = errors.Join(err, p.camera.Close(), p.close())
	}()
	waits := newWaiting(ctx)
	defer waits.stop()
	for {
		p.attempt()
		p.reportState()
		p.attend()
		f, err := p.next(waits.wait(idle))
		switch {
		case err == nil && f == nil:
			p.gotOn()
		case err == nil:
			p.meter.got(p.now())
			p.frame(f)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			p.emit(p.decider.Idle(p.now()), nil)
			// No frame: that is the camera's to handle, whose driver has a part of its own. Frames that nobody can examine are not.
			if p.failing == nil || p.state.State != camera.StateStreaming && p.state.Code != string(decision.ProcessingErr) {
				p.moves.stir()
			}
		case errors.Is(err, io.EOF):
			p.reportState()
			p.emit(p.decider.Interrupt(p.now(), decision.CameraLost), nil)
			if p.desk != nil {
				p.desk.camera(p.name, mqtt.CodeCameraLost)
			}
			p.log.Info("the replay is over")
			rest()
			<-ctx.Done()
			return nil
		default:
			return err
		}
	}
}

// next gives the camera's next frame, and nil for one that nobody wants to know of.
func (p *pipeline) next(ctx context.Context) (*frame.Frame, error) {
	if c, can := behind(p.camera).(passer); can && p.worked && p.rests() && !p.stage.watched() {
		return nil, c.Pass(ctx)
	}
	return p.camera.Next(ctx)
}

// passer is a camera whose frames needn't be decoded.
type passer interface{ Pass(context.Context) error }

var _ passer = (*camera.Camera)(nil)

// attend asks the decider for the session whose turn it is.
func (p *pipeline) attend() {
	if p.desk == nil || p.sees != nil {
		return
	}
	t := p.desk.turn(p.name)
	if t == p.asked {
		return
	}
	if p.asked != nil {
		p.decider.Release()
	}
	if p.asked = t; t == nil {
		return
	}
	now, want := p.now(), t.demand
	want.Timeout = t.deadline.Sub(now)
	if want.Timeout <= want.MinTime {
		p.desk.fail(t.id, mqtt.CodeTimeout) // it waited too long for its turn
		return
	}
	if err := p.decider.Ask(now, want); err != nil {
		p.log.Error("a session can't be judged", "error", err)
		p.desk.fail(t.id, mqtt.CodeProcessingErr)
	}
}

// rests tells whether nobody wants to know what the camera sees.
func (p *pipeline) rests() bool {
	// Only a frame can tell that they can be examined again.
	if !p.onRequest || p.failing != nil || p.stage.tapped() {
		return false
	}
	return p.sees != nil && p.desk.idle() || p.sees == nil && p.asked == nil
}

func (p *pipeline) frame(f *frame.Frame) {
	defer p.gotOn()
	p.offset = f.Offset
	if p.rests() {
		p.show(f, &Finding{Main: -1}, 0)
		return
	}
	if p.sees != nil {
		p.see(f)
		return
	}
	began := p.now()
	found, err := p.examiner.Follow(f.Captured, &f.Image, p.decider)
	p.examined(err)
	o := found.Observation(f.Captured, &f.Image)
	doubting := p.now()
	o.Doubts = p.watch.Frame(f.Captured, &f.Image, found.Box())
	found.Times.Cues = p.now().Sub(doubting)
	p.dimming.frame(f.Captured, &found, p.state.FPS)
	p.stage.observed(o)
	d := p.decider.Observe(o)
	decided := p.now()
	if err == nil {
		p.meter.frame(&found, decided.Sub(began))
	}
	p.newest = found.examined(p.name, f, began, decided)
	p.lines.examined(&p.newest)
	p.show(f, &found, decided.Sub(began))
	p.emit(d, &p.newest.Points)
	if p.asked != nil {
		p.desk.hint(p.asked.id, p.name, p.decider.Hint())
	}
}

// gotOn says that a frame was examined, or that nobody wanted it to be.
func (p *pipeline) gotOn() {
	if p.failing != nil {
		return
	}
	p.moves.stir()
	if !p.worked {
		p.worked = true
		p.reportState() // so that who is told ready is told what the camera does, too
		p.pulse.works(p.name)
	}
}

// examined notes whether the nets could look at a frame.
func (p *pipeline) examined(err error) {
	switch {
	case err != nil && p.failing == nil:
		p.failing, p.since = err, p.now()
		p.log.Error("can't examine frames", "error", err)
	case err == nil && p.failing != nil:
		p.failing = nil
		p.log.Info("frames can be examined again")
	}
}

// emit makes the verdict of a decision and hands it over. on has the points of the frame that was decided on; nil where it wasn't a frame.
func (p *pipeline) emit(d *decision.Decision, on *Points) {
	if d == nil || !d.Asked && p.onRequest {
		return
	}
	v := p.verdict(d, p.now())
	if on != nil {
		p.lines.deciding(p.name, v.ID, on)
	}
	if d.Asked {
		p.decider.Heard(decision.Verdict(p.desk.decided(p.asked.id, v)))
		return
	}
	p.id.seq.give(func(n uint64) {
		v.Seq = n
		p.publish.PublishVerdict(v)
	})
	p.log.Info("verdict", "verdict", d.Verdict, "code", d.Code, "score", d.Score, "frames", d.Frames, "seq", v.Seq)
}

// verdict makes the document, without the number: whoever publishes it gives it one, so that no number is missing.
func (p *pipeline) verdict(d *decision.Decision, now time.Time) mqtt.Verdict {
	v := p.document
	v.ID = uuid.Must(uuid.NewV7()).String()
	v.Verdict = mqtt.VerdictKind(d.Verdict)
	v.SetCode(mqtt.Code(d.Code))
	if d.Frames > 0 {
		v.Score = &d.Score
	}
	v.Attack = d.Attack
	v.Action = mqtt.Deny
	if v.Verdict == mqtt.Live {
		v.Action = mqtt.Allow
	}
	v.Frames = d.Frames
	v.LiveAt, v.SpoofAt = d.LiveAt, d.SpoofAt
	v.Face = faceDocument(d.Face, p.offset)
	v.DecidedAt = mqtt.Time(now)
	if !d.First.IsZero() { // there was somebody
		v.CapturedAt = mqtt.Time(d.First)
		v.LatencyMS = max(0, now.Sub(d.First).Milliseconds())
	}
	v.ExpiresAt = mqtt.Time(now.Add(actionable))
	v.ClockSynced = p.id.clockSynced()
	return v
}

// faceDocument is where a face is in the whole picture, of which the part that was looked at begins at offset.
func faceDocument(f *decision.Face, offset image.Point) *mqtt.Face {
	if f == nil {
		return nil
	}
	r := func(v float64) int { return int(math.Round(v)) }
	return &mqtt.Face{X: r(f.X) + offset.X, Y: r(f.Y) + offset.Y, Width: r(f.W), Height: r(f.H)}
}

// reportState publishes the camera's state when it changed, and ends a presentation that the camera left alone.
func (p *pipeline) reportState() {
	s := p.camera.Status()
	lost := s.State != camera.StateStreaming
	if !lost && p.failing != nil && p.now().Sub(p.since) >= blind {
		// The camera is well, and yet nobody will be judged by it: without this, only the log would know.
		s.State, s.Since, s.Code, s.Err = camera.StateFailed, p.since, string(decision.ProcessingErr), p.failing.Error()
		s.Hint = "frames come, but the models can't examine them: restart livenessd; if that doesn't help, see its log and install it again"
	}
	if p.desk != nil && s.State == camera.StateStreaming {
		if ill := p.desk.ill.Load(); ill != nil { // it streams, but nobody is let in
			s.Err, s.Hint = ill.what, ill.hint
		}
	}
	was := p.state
	same := s.State == was.State && s.Code == was.Code && s.Err == was.Err
	if same && s.Health.State == was.Health.State && slices.Equal(s.Health.Alarms, was.Health.Alarms) {
		return
	}
	p.state = s
	if lost && !same {
		p.emit(p.decider.Interrupt(p.now(), decision.Code(s.Code)), nil)
	}
	if p.desk != nil && !same {
		why := mqtt.Code("")
		if s.State != camera.StateStreaming {
			if why = mqtt.Code(s.Code); why == "" {
				why = mqtt.CodeCameraLost
			}
		}
		p.desk.camera(p.name, why)
	}
	if p.sideways { // what faces' places refer to
		s.Width, s.Height = s.Height, s.Width
	}
	p.publish.SetCameraState(p.name, mqtt.CameraState{Schema: 1, State: s.State, Code: mqtt.Code(s.Code), Device: s.Device,
		Format: s.Format, Width: s.Width, Height: s.Height, FPS: s.FPS, Hint: s.Hint, Error: s.Err, Since: mqtt.Time(s.Since),
		Health: healthDocument(&s.Health)})
}

// healthDocument is nil where nobody knows.
func healthDocument(h *camera.Health) *mqtt.CameraHealth {
	if h.State == "" {
		return nil
	}
	d := mqtt.CameraHealth{State: h.State, Since: mqtt.Time(h.Since), Alarms: h.Alarms, Hint: h.Hint, Strikes: h.Strikes, Outages: h.Outages,
		LastOutageMS: h.LastOutage.Milliseconds(), Resets: h.Resets, Entered: map[string]uint64{}, Seconds: map[string]float64{}}
	for _, state := range camera.Healths() {
		if n := *h.Entered.Of(state); n > 0 {
			d.Entered[state] = n
		}
		if t := *h.Spent.Of(state); t > 0 {
			d.Seconds[state] = math.Round(t.Seconds()*1000) / 1000
		}
	}
	return &d
}
