package daemon

import (
	"context"
	"errors"
	"sync"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/look"
	"github.com/livenessd/livenessd/mqtt"
)

var (
	errNoRun    = errors.New("nothing runs just now")
	errNotThere = errors.New("no such camera")
	errNotTaken = errors.New("the camera is busy with something else")
	errNoDesk   = errors.New("there are no sessions here")
)

// changing is a camera that can be changed for another while it is used. Next and change are for the pipeline's goroutine, the rest for all.
type changing struct {
	mu  sync.Mutex
	now Camera
}

var _ Camera = (*changing)(nil)

func (c *changing) get() Camera {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *changing) Next(ctx context.Context) (*frame.Frame, error) { return c.get().Next(ctx) }
func (c *changing) Status() camera.Status                          { return c.get().Status() }
func (c *changing) Close() error                                   { return c.get().Close() }

// change closes the camera and opens it as another configuration says.
func (c *changing) change(open func() (Camera, error)) error {
	err := c.get().Close() // a device is opened by one at a time
	next, failed := open()
	if failed != nil {
		return errors.Join(failed, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = next
	return err
}

// behind is the camera itself.
func behind(c Camera) Camera {
	if c, is := c.(*changing); is {
		return c.get()
	}
	return c
}

// trial is a camera's other configuration, on its way to the pipeline.
type trial struct {
	ctx    context.Context // of who waits for it
	camera config.Camera
	done   chan error
}

// Try lets a camera be used as another configuration says, from now on until the next trial or the end of the run. Nothing is written. It
// waits until the camera was opened anew; whether it gives pictures so shows in its state.
func (v *View) Try(ctx context.Context, name string, c config.Camera) error {
	v.mu.Lock()
	r := v.run
	v.mu.Unlock()
	switch {
	case r == nil:
		return errNoRun
	case r.cameras[name] == nil:
		return errNotThere
	}
	t := &trial{ctx, c, make(chan error, 1)}
	select {
	case v.stage(name).trials <- t:
	default:
		return errNotTaken
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-t.done:
		return err
	}
}

// attempt does what a technician wants to try, between two frames.
func (p *pipeline) attempt() {
	if p.stage == nil {
		return
	}
	select {
	case t := <-p.stage.trials:
		if t.ctx.Err() == nil { // else nobody wants it any more
			t.done <- p.reopen(t.camera)
		}
	default:
	}
}

func (p *pipeline) reopen(c config.Camera) error {
	cam, can := p.camera.(*changing)
	if !can || p.open == nil {
		return errNotTaken
	}
	// Check before what works is closed.
	if err := CameraOptions(p.name, c, p.log).Check(); err != nil {
		return err
	}
	p.emit(p.decider.Interrupt(p.now(), decision.CameraLost), nil)
	p.log.Warn("a technician tries another mode", "format", c.Format, "width", c.Size.Width, "height", c.Size.Height, "fps", c.FPS, "rotate", c.Rotate,
		"mirror", c.Mirror, "region", c.Region)
	err := cam.change(func() (Camera, error) { return p.open(c) })
	if err != nil {
		c = p.using
		err = errors.Join(err, cam.change(func() (Camera, error) { return p.open(c) }))
	}
	p.using, p.sideways, p.watch = c, c.Rotate%180 != 0, p.doubt(c)
	p.dimming = newDimming(cam.get(), c)
	p.examiner = Examiner{Finder: p.examiner.Finder, Judge: p.examiner.Judge, Looker: look.New(), Now: p.examiner.Now}
	return err
}

// tap hears each observation of a camera.
type tap struct {
	mu sync.Mutex
	f  func(decision.Observation)
}

// Tap lets f hear what the decision is told of each frame of a camera, until stop, after which it isn't called any more. The camera waits for
// it: it must return at once.
func (v *View) Tap(name string, f func(decision.Observation)) (stop func(), err error) {
	if !v.HasCamera(name) {
		return nil, errNotThere
	}
	s, t := v.stage(name), &tap{f: f}
	if !s.tap.CompareAndSwap(nil, t) {
		return nil, errNotTaken
	}
	return func() {
		s.tap.CompareAndSwap(t, nil)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.f = nil
	}, nil
}

func (s *stage) tapped() bool { return s != nil && s.tap.Load() != nil }

// observed lets who taps hear.
func (s *stage) observed(o decision.Observation) {
	if s == nil {
		return
	}
	t := s.tap.Load()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.f != nil {
		t.f(o)
	}
}

// Rules are those by which presentations are judged in the run that is on.
func (v *View) Rules() (decision.Options, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run == nil {
		return decision.Options{}, errNoRun
	}
	return DecisionOptions(v.run.config, v.run.engine), nil
}

// Ask makes a request at the desk, as a host does over MQTT; its answer comes back, and isn't published. What the desk does publishes is what it
// always does: a session that a technician starts is one, with its verdict.
func (v *View) Ask(verb mqtt.Verb, document []byte) (mqtt.Response, error) {
	v.mu.Lock()
	r := v.run
	v.mu.Unlock()
	switch {
	case r == nil:
		return mqtt.Response{}, errNoRun
	case r.desk == nil:
		return mqtt.Response{}, errNoDesk
	}
	return r.desk.direct(mqtt.Asked{Verb: verb, Payload: document})
}

// direct answers who stands at the device.
func (d *desk) direct(a mqtt.Asked) (mqtt.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.limit.Allow(d.now()) {
		return mqtt.Refusal(mqtt.TransactionOf(a.Payload), mqtt.CodeTooManyRequests, "too many requests: try again in a second"), nil
	}
	r, err := d.answer(a)
	if err == nil {
		d.start(r.Session)
	}
	return r, err
}
