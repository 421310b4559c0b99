package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/livenessd/livenessd/camera/jpeg"
)

// driver opens a source.
type driver interface {
	// open finds the source and starts it. Errors that somebody can act upon are of type *Error.
	open(ctx context.Context) (stream, error)
	// present tells, cheaply, whether there is something to open.
	present() bool
	// news brings a value when the source has appeared: true where it can be opened at once, false where that may take a moment. A nil
	// channel where nobody tells.
	news() <-chan bool
	// reset does more than opening it again would. errors.ErrUnsupported: there is nothing more.
	reset() error
	// close frees what the driver itself has.
	close()
}

// stream is a running source. One goroutine uses it.
type stream interface {
	layout() layout
	// read waits at most that long for a frame and copies its bytes over into.data, grown where needed; it tells when the frame was
	// captured and dequeued, and what the driver says of it. errNoFrame is none in time, io.EOF the end of a replay; after any other
	// error the source is closed.
	read(ctx context.Context, into *raw, wait time.Duration) error
	close() error
}

var errNoFrame = errors.New("no frame")

// run captures until the context ends or a replay does.
func (c *Camera) run(ctx context.Context) {
	defer close(c.done)
	defer close(c.changes) // here, since Close may have gone before a driver returns
	defer c.driver.close()
	t := &c.o.timing
	pause := t.backoff
	for opened := false; ; {
		select { // what was said before it is opened, its opening finds out
		case <-c.driver.news():
		default:
		}
		good, err := c.session(ctx, &opened)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			err = &Error{Op: "play", Path: c.o.Path, Err: errEnded, Code: CodeLost, failed: true}
			c.mu.Lock()
			c.ended = true
			c.mu.Unlock()
			c.change(err)
			return
		}
		do := c.change(err)
		if good {
			pause = t.backoff
		}
		// A camera that answers requests with errors would do so to the kernel, too, which looks at it after a reset, and then has no node any more.
		if do.reset && opErr(err) == "read" {
			c.reset()
		}
		c.pause(ctx, max(pause, do.rest))
		pause = min(2*pause, t.backoffMax)
	}
}

// opErr is what failed.
func opErr(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Op
	}
	return ""
}

// reset does what is stronger than opening the source again.
func (c *Camera) reset() {
	err := c.driver.reset()
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.health.Resets++
		c.status.Health.Resets = c.health.Resets
		c.o.Log.Warn("camera reset", "camera", c.o.Name, "device", c.status.Device, "resets", c.health.Resets)
		return
	}
	c.o.Log.Warn("camera could not be reset", "camera", c.o.Name, "error", err, "hint", hintOf(err))
}

// session opens the source and captures until that goes wrong. good tells that a frame came.
func (c *Camera) session(ctx context.Context, opened *bool) (good bool, err error) {
	s, err := c.driver.open(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		if e := s.close(); e != nil {
			c.o.Log.Debug("camera did not close cleanly", "camera", c.o.Name, "error", e)
		}
	}()
	l := s.layout()
	c.mu.Lock()
	if *opened {
		c.status.Counters.Reopened++
	}
	*opened = true
	c.status.Device, c.status.Format, c.status.FPS = l.device, l.format, l.fps
	c.status.Width, c.status.Height = l.width, l.height
	c.rate, c.spoilt.n = rate{}, 0
	c.health.opened(time.Now(), l.fps)
	c.mu.Unlock()
	before, light := l.trouble, c.lit(s, time.Now())
	if light != nil {
		defer func() {
			if e := light.setLight(nil); e != nil {
				c.o.Log.Debug("camera did not take its automatics back", "camera", c.o.Name, "error", e)
			}
		}()
	}

	stall := c.o.timing.stall
	if l.fps > 0 {
		stall = max(stall, time.Duration(10/l.fps*float64(time.Second)))
	}
	patience := max(c.o.timing.first, stall)
	work := raw{layout: l}
	for last := time.Now(); ; {
		err = s.read(ctx, &work, c.o.timing.slice)
		if ctx.Err() != nil {
			return good, ctx.Err()
		}
		now := time.Now()
		c.moved(now)
		if light != nil {
			if did, e := c.dim(light, now); e != nil {
				l.trouble = unlit(l.device, e)
			} else if did {
				l.trouble = before // it does as it is told again
			}
		}
		switch {
		case errors.Is(err, errNoFrame):
		case err != nil:
			return good, err
		default:
			err := l.plausible(work.data)
			if work.faulty {
				err = errFaulty
			}
			if err != nil {
				c.reject(now, work.lost, err)
				break
			}
			last, good, patience = now, true, stall
			c.publish(&work)
			if !c.doubtful() {
				c.change(l.mild())
			}
		}
		// Bad frames alone don't count as life: a camera that sends nothing else is opened afresh, too.
		if now.Sub(last) >= patience {
			return good, &Error{Op: "read", Path: l.device, Err: fmt.Errorf("%w for %v", errStall, patience), Code: CodeLost,
				hint: "the camera froze and is being opened again; if that repeats, check its cable, its hub and the hub's power"}
		}
		if l.format != "" && c.unusable(now, stall) {
			return false, &Error{Op: "read", Path: l.device, Err: fmt.Errorf("%w for %v", errUnusable, stall), Code: CodeLost,
				hint: "the camera sends damaged pictures and is being opened again; if that repeats, check its cable, its hub and the hub's power"}
		}
	}
}

// spoilt is a run of frames that looked whole and couldn't be decoded.
type spoilt struct {
	since   time.Time
	n       int
	doubted bool // the camera was opened anew for it, and has still to prove itself
}

func (s *spoilt) count(now time.Time) {
	if s.n++; s.n == 1 {
		s.since = now
	}
}

// unusable tells whether Next has found nothing but frames that can't be decoded for so long. It takes a number of them,
// too: somebody who asks seldom and meets one bad frame each time proves little.
func (c *Camera) unusable(now time.Time, patience time.Duration) bool {
	const few = 8
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spoilt.n < few || now.Sub(c.spoilt.since) < patience {
		return false
	}
	c.spoilt.doubted = true
	return true
}

// doubtful tells that a frame which merely looks whole isn't reason enough to call the camera streaming.
func (c *Camera) doubtful() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spoilt.doubted
}

// publish puts a frame into the slot, and gives back what lay there.
func (c *Camera) publish(work *raw) {
	c.mu.Lock()
	n := &c.status.Counters
	n.Captured++
	n.Lost += uint64(work.lost)
	c.health.frame(work.dequeued, work.lost, nil)
	if c.full {
		n.Dropped++
	}
	work.sequence = n.Captured
	if !work.captured.After(c.newest) { // a driver whose clock jumps must not turn the order of frames round
		work.captured = work.dequeued
	}
	c.newest = work.captured
	c.rate.tick(work.dequeued)
	c.status.Measured = c.rate.fps()
	l := work.layout
	c.slot, *work = *work, c.slot
	work.layout = l
	c.full = true
	c.mu.Unlock()
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

func (c *Camera) moved(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Moved = now
	if was := c.status.Health; c.health.tick(now) {
		c.status.Health = c.health.Health
		c.logHealth(was, nil)
		c.tell()
	}
}

func (c *Camera) reject(now time.Time, lost uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Counters.Captured++
	c.status.Counters.Lost += uint64(lost)
	c.status.Counters.Bad.count(err)
	c.health.frame(now, lost, err)
}

// change brings the state in line with err, nil or mild for a frame that came, and tells of it once. It gives what to do next.
func (c *Camera) change(err error) (do remedy) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	was, health := &c.status, c.status.Health
	s, better := Status{State: StateStreaming}, false
	mild := isMild(err)
	if err == nil || mild {
		better = c.health.well(now)
	}
	if mild {
		s.Err, s.Hint = err.Error(), hintOf(err)
	} else if err != nil {
		s = Status{State: StateRecovering, Err: err.Error(), Code: CodeLost}
		var e *Error
		if errors.As(err, &e) {
			s.Hint, s.Code = e.hint, e.Code
		}
		do, better = c.health.fail(now, troubleOf(err))
		switch why := troubleOf(err); {
		case why == refused:
			s.State = StateFailed
		case c.health.State == HealthFailed:
			s.State, s.Hint = StateFailed, "opening the camera again didn't help: unplug it and plug it in anew, or take another socket, cable or camera"
		}
	}
	if err != nil && !mild || better {
		was.Health = c.health.Health
	}
	same := was.State == s.State && was.Err == s.Err && was.Code == s.Code
	was.Hint = s.Hint // names who has the device now
	if same && !better {
		return do
	}
	if was.State != s.State {
		was.Since = now
	}
	if s.State != StateStreaming {
		was.Measured = 0
	}
	was.State, was.Err, was.Code = s.State, s.Err, s.Code
	if !same {
		c.logState(err)
	}
	if better {
		c.logHealth(health, err)
	}
	c.tell()
	return do
}

// logState says what a camera does now.
func (c *Camera) logState(err error) {
	s := &c.status
	level, attrs := slog.LevelInfo, []any{"camera", c.o.Name, "state", s.State, "device", s.Device}
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, "error", s.Err, "code", s.Code)
		if s.Hint != "" {
			attrs = append(attrs, "hint", s.Hint)
		}
	} else {
		attrs = append(attrs, "format", s.Format, "width", s.Width, "height", s.Height, "fps", s.FPS)
	}
	if errors.Is(err, errEnded) {
		level = slog.LevelInfo
	}
	attrs = append(attrs, "counters", s.Counters)
	c.o.Log.Log(context.Background(), level, "camera "+s.State, attrs...)
}

// logHealth says of its health what its state doesn't.
func (c *Camera) logHealth(was Health, err error) {
	h := &c.status.Health
	switch {
	case h.State == HealthAlarmed:
		c.o.Log.Warn("camera alarmed", "camera", c.o.Name, "alarms", h.Alarms, "fps", c.status.FPS, "fps_measured", math.Round(10*c.status.Measured)/10,
			"counters", c.status.Counters, "hint", h.Hint)
	case h.State == HealthHealthy && was.State == HealthAlarmed:
		c.o.Log.Info("camera healthy again", "camera", c.o.Name, "counters", c.status.Counters)
	case h.State == HealthEscalated:
		c.o.Log.Warn("camera escalated", "camera", c.o.Name, "device", c.status.Device, "strikes", h.Strikes, "error", err)
	}
}

// tell gives the status to whoever listens to changes.
func (c *Camera) tell() {
	select { // only this goroutine sends
	case <-c.changes:
	default:
	}
	c.changes <- c.status
}

// pause waits before another try, not longer than until the device appears: until somebody tells so, or it is seen by looking.
func (c *Camera) pause(ctx context.Context, d time.Duration) {
	t := &c.o.timing
	was := c.driver.present()
	for until := time.Now().Add(d); ctx.Err() == nil; {
		c.moved(time.Now())
		left := time.Until(until)
		if left <= 0 {
			return
		}
		if settled, told := await(ctx, c.driver.news(), min(left, t.presence)); told {
			for until := time.Now().Add(t.settle); !settled && ctx.Err() == nil && time.Until(until) > 0; {
				settled, _ = await(ctx, c.driver.news(), time.Until(until))
			}
			return
		}
		is := c.driver.present()
		if is && !was {
			sleep(ctx, t.settle)
			return
		}
		was = is
	}
}

// await waits so long for news.
func await(ctx context.Context, news <-chan bool, d time.Duration) (settled, told bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case settled = <-news:
		return settled, true
	}
	return false, false
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// plausible looks at a frame without decoding it.
func (l *layout) plausible(data []byte) error {
	if len(data) == 0 {
		return errEmpty
	}
	if len(data) > l.most() {
		return fmt.Errorf("%w: %d bytes", errTooLarge, len(data))
	}
	switch {
	case l.format == "" && sniff(data) == formatPNG:
		return nil
	case l.format == formatMJPG, l.format == "":
		if !bytes.HasPrefix(data, []byte{0xff, 0xd8}) {
			return jpeg.ErrNotJPEG
		}
		if bytes.LastIndex(data, []byte{0xff, 0xd9}) < 0 {
			return jpeg.ErrTruncated
		}
		return nil
	}
	_, err := l.view(data, nil)
	return err
}

// rate measures how often frames come, over about the last twenty.
type rate struct {
	last   time.Time
	period float64 // seconds; 0 is not known yet
}

func (r *rate) tick(now time.Time) {
	if !r.last.IsZero() {
		d := now.Sub(r.last).Seconds()
		if r.period == 0 {
			r.period = d
		} else {
			r.period += (d - r.period) / 20
		}
	}
	r.last = now
}

func (r *rate) fps() float64 {
	if r.period <= 0 {
		return 0
	}
	return 1 / r.period
}
