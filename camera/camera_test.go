package camera

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera/jpeg"
)

// fake is a driver whose opens go as planned; the last plan goes on for ever.
type fake struct {
	mu      sync.Mutex
	plans   []plan
	absent  bool
	opens   []time.Time
	running int // streams that are open
	stuck   chan struct{}
	told    chan bool // what appeared
	resets  []time.Time
	refuse  error // to be reset
	closed  int
}

func (f *fake) news() <-chan bool { return f.told }

func (f *fake) reset() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.resets = append(f.resets, time.Now())
	return nil
}

func (f *fake) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
}

// hang doesn't return while the driver is stuck.
func (f *fake) hang() {
	f.mu.Lock()
	stuck := f.stuck
	f.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
}

type plan struct {
	err error
	lay layout
	// frames come one each period after the stream was opened; then comes end, or silence where that is nil.
	frames [][]byte
	period time.Duration
	end    error
	say    func(k int, r *raw) // what the driver says of frame k, from 1
}

func (f *fake) present() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.absent
}

func (f *fake) appear(there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.absent = !there
}

func (f *fake) open(context.Context) (stream, error) {
	f.hang()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opens = append(f.opens, time.Now())
	if f.absent {
		return nil, fault("open", "/dev/fake", syscall.ENOENT, nil)
	}
	p := f.plans[0]
	if len(f.plans) > 1 {
		f.plans = f.plans[1:]
	}
	if p.err != nil {
		return nil, fault("open", "/dev/fake", p.err, nil)
	}
	f.running++
	return &fakeStream{f: f, p: p, due: time.Now().Add(p.period)}, nil
}

type fakeStream struct {
	f   *fake
	p   plan
	at  int
	due time.Time
}

func (s *fakeStream) layout() layout { return s.p.lay }

func (s *fakeStream) close() error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.running--
	return nil
}

func (s *fakeStream) read(ctx context.Context, into *raw, wait time.Duration) error {
	s.f.hang()
	if s.at == len(s.p.frames) && s.p.end == nil {
		sleep(ctx, wait)
		return errNoFrame
	}
	if left := time.Until(s.due); left > 0 {
		sleep(ctx, min(left, wait))
		if left > wait {
			return errNoFrame
		}
	}
	s.due = s.due.Add(s.p.period)
	if s.at == len(s.p.frames) {
		return s.p.end
	}
	s.at++
	into.data = append(into.data[:0], s.p.frames[s.at-1]...)
	into.dequeued = time.Now()
	into.captured, into.lost, into.faulty = into.dequeued, 0, false
	if s.p.say != nil {
		s.p.say(s.at, into)
	}
	return nil
}

const greySide = 4

var grey = layout{device: "/dev/fake", format: formatGREY, width: greySide, height: greySide, stride: greySide, size: greySide * greySide, fps: 30}

// greys gives n frames; frame k, from 1, is all k.
func greys(n int) [][]byte {
	var out [][]byte
	for k := range n {
		out = append(out, bytes.Repeat([]byte{byte(k + 1)}, greySide*greySide))
	}
	return out
}

const period = 33 * time.Millisecond

func fakeCamera(t *testing.T, o Options, plans ...plan) (*Camera, *fake) {
	t.Helper()
	f := &fake{plans: plans}
	return startFake(t, o, f), f
}

func startFake(t *testing.T, o Options, f *fake) *Camera {
	t.Helper()
	o.Path = "/dev/fake"
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	c, err := start(o, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if f.running != 0 || f.closed != 1 {
			t.Errorf("%d streams were left open, and the driver was closed %d times", f.running, f.closed)
		}
	})
	return c
}

func TestNewestFrameWinsAndDropsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{Name: "front"}, plan{lay: grey, frames: greys(10), period: period})
		time.Sleep(11 * period)
		start := time.Now()
		f, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.Sequence != 10 || f.Y.Pix[0] != 10 || f.Camera != "front" || f.Format != formatGREY || f.Width != greySide || !f.Gray() {
			t.Errorf("got frame %d of %q with %d, %s, %d wide", f.Sequence, f.Camera, f.Y.Pix[0], f.Format, f.Width)
		}
		if age := start.Sub(f.Captured); age != period {
			t.Errorf("captured %v ago, want %v", age, period)
		}
		if n := c.Status().Counters; n.Captured != 10 || n.Dropped != 9 || n.Bad.Total() != 0 || n.Reopened != 0 {
			t.Errorf("counters %+v", n)
		}
	})
}

func TestFramesTellWhenTheyWereCapturedAndDequeued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ages := []time.Duration{20 * time.Millisecond, 5 * time.Millisecond, 60 * time.Millisecond}
		say := func(k int, r *raw) { r.captured = r.dequeued.Add(-ages[k-1]) }
		c, _ := fakeCamera(t, Options{}, plan{lay: grey, frames: greys(3), period: period, say: say})
		var last time.Time
		for _, want := range []time.Duration{20 * time.Millisecond, 5 * time.Millisecond, 0} { // the third says that it is older than the second
			f, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Dequeued.Sub(f.Captured); got != want || !f.Captured.After(last) || !f.Dequeued.Equal(time.Now()) {
				t.Errorf("frame %d was captured %v before it was dequeued, want %v", f.Sequence, got, want)
			}
			last = f.Captured
		}
	})
}

func TestWhatTheDriverSaysOfFramesIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		say := func(k int, r *raw) {
			r.faulty = k%2 == 1
			r.lost = uint32(k)
		}
		c, _ := fakeCamera(t, Options{}, plan{lay: grey, frames: greys(4), period: period, say: say})
		f, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.Sequence != 2 {
			t.Errorf("frame %d was handed out, the first is faulty", f.Sequence)
		}
		time.Sleep(3 * period)
		if n := c.Status().Counters; n.Captured != 4 || n.Bad != (Bad{Faulty: 2}) || n.Lost != 1+2+3+4 {
			t.Errorf("counters %+v", n)
		}
	})
}

func TestMomentOfCapture(t *testing.T) {
	now := time.Now()
	ms := time.Millisecond
	for _, c := range []struct {
		name              string
		age, queued, want time.Duration // before it was dequeued
	}{
		{"as the driver says", 30 * ms, 100 * ms, 30 * ms},
		{"it lay there while the process was stopped", time.Minute, 61 * time.Second, time.Minute},
		{"the exposure began before the buffer was queued", 130 * ms, 100 * ms, 130 * ms},
		{"in the future", -ms, 100 * ms, 0},
		{"long before the buffer was queued: another clock", time.Hour, 100 * ms, 0},
		{"at the very moment", 0, 0, 0},
	} {
		if got := now.Sub(moment(now, now.Add(-c.queued), c.age)); got != c.want {
			t.Errorf("%s: %v before, want %v", c.name, got, c.want)
		}
	}
}

func TestSkippedNumbers(t *testing.T) {
	for _, c := range []struct{ last, next, want uint32 }{
		{7, 8, 0}, {7, 9, 1}, {7, 17, 9}, {7, 7, 0}, {7, 6, 0}, {7, 0, 0}, {1<<32 - 1, 0, 0}, {1<<32 - 2, 1, 2},
	} {
		if got := skipped(c.last, c.next); got != c.want {
			t.Errorf("from %d to %d: %d, want %d", c.last, c.next, got, c.want)
		}
	}
}

func TestFrameStaysAsItIsUntilTheNextIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{lay: grey, frames: greys(30), period: period})
		for range 3 {
			f, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := byte(f.Sequence)
			time.Sleep(5 * period)
			for _, p := range f.Y.Pix[:greySide*greySide] {
				if p != want {
					t.Fatalf("frame %d holds %d while it is used", want, p)
				}
			}
		}
	})
}

func TestStatusOfAStreamingCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{lay: grey, frames: greys(100), period: 50 * time.Millisecond})
		if s := c.Status(); s.State != StateRecovering {
			t.Errorf("%s before the first frame", s.State)
		}
		time.Sleep(3 * time.Second)
		s := c.Status()
		if s.State != StateStreaming || s.Format != formatGREY || s.Width != greySide || s.Height != greySide || s.FPS != 30 || s.Device != "/dev/fake" {
			t.Errorf("status %+v", s)
		}
		if s.Measured < 19.9 || s.Measured > 20.1 {
			t.Errorf("measured %v frames a second, 20 come", s.Measured)
		}
		if s.Err != "" || s.Hint != "" || s.Code != "" {
			t.Errorf("a streaming camera has an error: %+v", s)
		}
	})
}

func TestBadFramesAreCountedByReasonAndSkipped(t *testing.T) {
	good := encode(t, 32, 24)
	other := encode(t, 24, 32)
	mjpg := layout{device: "/dev/fake", format: formatMJPG, width: 32, height: 24, size: 32 * 24 * 2, fps: 30}
	for _, c := range []struct {
		name string
		lay  layout
		bad  []byte
		want Bad
	}{
		{"empty", grey, nil, Bad{Empty: 1}},
		{"short", grey, make([]byte, greySide*greySide-1), Bad{Short: 1}},
		{"oversized", grey, make([]byte, 80<<10), Bad{TooLarge: 1}},
		{"empty MJPEG", mjpg, nil, Bad{Empty: 1}},
		{"cut off MJPEG", mjpg, good[:len(good)/2], Bad{Truncated: 1}},
		{"garbage for MJPEG", mjpg, []byte("\x00garbage"), Bad{Corrupt: 1}},
		{"MJPEG of another size", mjpg, other, Bad{WrongSize: 1}},
		{"MJPEG with nothing in it", mjpg, []byte{0xff, 0xd8, 0xff, 0xd9}, Bad{Corrupt: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ok := good
				if c.lay == grey {
					ok = greys(1)[0]
				}
				cam, _ := fakeCamera(t, Options{}, plan{lay: c.lay, frames: [][]byte{c.bad, ok}, period: period})
				f, err := cam.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if f.Sequence != 2 || f.Width != c.lay.width {
					t.Errorf("got frame %d, %d wide", f.Sequence, f.Width)
				}
				if n := cam.Status().Counters; n.Bad != c.want || n.Captured != 2 {
					t.Errorf("counters %+v, want bad %+v of 2", n, c.want)
				}
			})
		})
	}
}

func TestGoneDeviceIsOpenedAgainWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := fault("read", "/dev/fake", syscall.ENODEV, nil)
		c, f := fakeCamera(t, Options{}, plan{lay: grey, frames: greys(3), period: period, end: gone},
			plan{lay: grey, frames: greys(200), period: period})
		time.Sleep(3*period + period/2)
		if s := c.Status(); s.State != StateStreaming {
			t.Fatalf("%s: %s", s.State, s.Err)
		}
		f.appear(false)
		time.Sleep(time.Minute)
		s := c.Status()
		if s.State != StateRecovering || s.Code != CodeLost || s.Hint == "" || s.Measured != 0 {
			t.Errorf("while it is away: %+v", s)
		}
		f.appear(true)
		back := time.Now()
		for {
			fr, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if fr.Captured.After(back) {
				break
			}
		}
		if took := time.Since(back); took > usualTiming.presence+usualTiming.settle+2*period {
			t.Errorf("took %v to come back", took)
		}
		synctest.Wait()
		if s := c.Status(); s.State != StateStreaming || s.Counters.Reopened != 1 || s.Err != "" {
			t.Errorf("after it came back: %+v", s)
		}
	})
}

func TestStallIsClosedAndOpenedAgain(t *testing.T) {
	slow := grey
	slow.fps = 2
	for _, c := range []struct {
		name   string
		lay    layout
		frames [][]byte
		after  time.Duration // from the last good frame
	}{
		{"after two seconds", grey, greys(5), 2 * time.Second},
		{"after ten frame times of a slow camera", slow, greys(5), 5 * time.Second},
		{"of bad frames alone", grey, append(greys(5), make([][]byte, 1000)...), 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cam, _ := fakeCamera(t, Options{}, plan{lay: c.lay, frames: c.frames, period: period},
					plan{lay: grey, frames: greys(200), period: period})
				time.Sleep(5*period + c.after - time.Millisecond)
				if s := cam.Status(); s.State != StateStreaming {
					t.Fatalf("too early: %s: %s", s.State, s.Err)
				}
				time.Sleep(usualTiming.slice + 10*time.Millisecond)
				if s := cam.Status(); s.State != StateRecovering || s.Code != CodeLost || !strings.Contains(s.Err, "no frame for") {
					t.Fatalf("stalled: %+v", s)
				}
				time.Sleep(time.Second)
				if s := cam.Status(); s.State != StateStreaming || s.Counters.Reopened != 1 {
					t.Errorf("later: %+v", s)
				}
			})
		})
	}
}

func TestCameraWhoseFramesCannotBeDecodedIsNotStreaming(t *testing.T) {
	// Whole by its markers, with samples that contradict them.
	bad := encode(t, 64, 48)
	for i := len(bad) - 300; i < len(bad)-2; i++ {
		bad[i] = 0xaa
	}
	lay := layout{device: "/dev/fake", format: formatMJPG, width: 64, height: 48, fps: 30}
	if err := lay.plausible(bad); err != nil {
		t.Fatal(err)
	}
	good := slices.Repeat([][]byte{encode(t, 64, 48)}, 300)
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{lay: lay, frames: slices.Repeat([][]byte{bad}, 1000), period: period},
			plan{lay: lay, frames: slices.Repeat([][]byte{bad}, 1000), period: period}, plan{lay: lay, frames: good, period: period})
		var states []string
		done := make(chan error)
		go func() {
			_, err := c.Next(t.Context())
			done <- err
		}()
		for waiting := true; waiting; {
			select {
			case s := <-c.Changes():
				states = append(states, s.State)
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				waiting = false
			}
		}
		s := <-c.Changes()
		states = append(states, s.State)
		if want := []string{StateStreaming, StateRecovering, StateStreaming}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
		if s.Counters.Reopened != 2 || s.Counters.Bad.Total() < 100 {
			t.Errorf("counters %+v", s.Counters)
		}
	})
}

func TestFirstFrameMayTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{lay: grey, frames: greys(1), period: 4 * time.Second})
		if _, err := c.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := c.Status().Counters; n.Reopened != 0 {
			t.Errorf("opened again %d times", n.Reopened)
		}
	})
}

func TestTriesAreSpacedFartherAndFarther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := fakeCamera(t, Options{}, plan{err: syscall.EBUSY})
		start := time.Now()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		var at []time.Duration
		for _, o := range f.opens {
			at = append(at, o.Sub(start))
		}
		ms := time.Millisecond
		if want := []time.Duration{0, 250 * ms, 750 * ms, 1750 * ms, 3750 * ms, 7750 * ms, 12750 * ms, 17750 * ms}; !slices.Equal(at, want) {
			t.Errorf("tried at %v, want %v", at, want)
		}
	})
}

func TestChangeOfStateIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		c, f := fakeCamera(t, Options{Name: "front", Log: slog.New(slog.NewTextHandler(&log, nil))},
			plan{err: syscall.EACCES}, plan{err: syscall.EACCES}, plan{err: syscall.EACCES},
			plan{lay: grey, frames: greys(100), period: period})
		var states []string
		told := func() {
			for {
				select {
				case s := <-c.Changes():
					states = append(states, s.State+" "+s.Code)
					continue
				default:
				}
				return
			}
		}
		time.Sleep(time.Second)
		told()
		time.Sleep(2 * time.Second)
		told()
		synctest.Wait()
		if want := []string{"failed PERMISSION_REFUSED", "streaming "}; !slices.Equal(states, want) {
			t.Errorf("told %q, want %q", states, want)
		}
		if len(f.opens) != 4 {
			t.Errorf("%d tries, want 4", len(f.opens))
		}
		if got := log.all(); len(got) == 2 && (!strings.Contains(got[1], "counters.captured=1 ") || strings.Contains(got[1], "counters.short")) {
			t.Errorf("counters in the log: %q", got[1])
		}
		if got := log.all(); len(got) != 2 || !strings.Contains(got[0], "group video") || !strings.Contains(got[1], "state=streaming") {
			t.Errorf("log %q", got)
		}
	})
}

func TestLateListenerGetsTheLatestStateAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{err: syscall.ENOENT}, plan{err: syscall.EBUSY}, plan{lay: grey, frames: greys(30), period: period})
		time.Sleep(1500 * time.Millisecond)
		if s := <-c.Changes(); s.State != StateStreaming {
			t.Errorf("got %s", s.State)
		}
		c.Close()
		if _, open := <-c.Changes(); open {
			t.Error("Close leaves the channel open")
		}
	})
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.b.String()), "\n")
}

func TestFaultsSayWhatToDo(t *testing.T) {
	who := func(string) string { return "cheese (process 7)" }
	for _, c := range []struct {
		name   string
		err    error
		code   string
		failed bool
		hint   string
	}{
		{"permission", syscall.EACCES, CodePermission, true, "group video"},
		{"denied by a device policy", syscall.EPERM, CodePermission, true, "char-81"},
		{"absent", syscall.ENOENT, CodeLost, false, "plug"},
		{"pulled out", syscall.ENODEV, CodeLost, false, "plug"},
		{"taken", syscall.EBUSY, CodeLost, true, "cheese (process 7)"},
		{"no bandwidth", syscall.ENOSPC, CodeLost, true, "bandwidth"},
		{"no bandwidth, as webcam tells it", errors.New("Failed to start streaming: no space left on device"), CodeLost, true, "bandwidth"},
		{"no answer", syscall.EIO, CodeLost, false, "cable"},
		{"wrong node", errNotCapture, CodeLost, true, "another node"},
		{"multi-planar", errMultiPlanar, CodeLost, true, "single-planar"},
		{"no format", errNoFormat, CodeLost, true, "YUYV"},
		{"none found", errNoCamera, CodeLost, false, "plug"},
		{"refused", syscall.EINVAL, CodeLost, true, "format"},
	} {
		e := fault("open", "/dev/video0", c.err, who)
		if e.Code != c.code || e.failed != c.failed || !strings.Contains(e.Hint(), c.hint) || !errors.Is(e, c.err) {
			t.Errorf("%s: %+v", c.name, e)
		}
		if want := "camera: open /dev/video0: " + c.err.Error(); e.Error() != want {
			t.Errorf("%s: %q, want %q", c.name, e.Error(), want)
		}
	}
}

func TestCloseWakesNextAndMayBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{lay: grey})
		got := make(chan error)
		go func() {
			_, err := c.Next(context.Background())
			got <- err
		}()
		synctest.Wait()
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("the waiting Next returns %v", err)
		}
		if _, err := c.Next(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("Next after Close returns %v", err)
		}
	})
}

func TestCloseWhileAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{absent: true}
		c := startFake(t, Options{}, f)
		time.Sleep(30*time.Second + time.Millisecond)
		start := time.Now()
		c.Close()
		if d := time.Since(start); d != 0 {
			t.Errorf("Close waited %v for a pause", d)
		}
	})
}

// A driver that doesn't return is the one thing that the camera can't handle: whoever looks at Moved can tell.
func TestADriverThatDoesNotReturnCanBeTold(t *testing.T) {
	for name, plans := range map[string][]plan{
		"absent":    {{err: syscall.ENOENT}},
		"silent":    {{lay: grey}},
		"streaming": {{lay: grey, frames: greys(3000), period: period}},
		"unusable":  {{lay: grey, frames: slices.Repeat([][]byte{{1}}, 3000), period: period}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{plans: plans}
				c := startFake(t, Options{}, f)
				for range 60 {
					time.Sleep(time.Second)
					if d := time.Since(c.Status().Moved); d > time.Second/2 {
						t.Fatalf("moved %v ago", d)
					}
				}
				stuck := make(chan struct{})
				f.mu.Lock()
				f.stuck = stuck
				f.mu.Unlock()
				time.Sleep(time.Minute)
				if d := time.Since(c.Status().Moved); d < 50*time.Second {
					t.Errorf("stuck, and moved %v ago", d)
				}
				f.mu.Lock()
				f.stuck = nil
				f.mu.Unlock()
				close(stuck)
			})
		})
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{lay: grey})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if s := c.Status().State; s != StateRecovering {
			t.Errorf("no frame came, and it is %s", s)
		}
	})
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name  string
		lay   layout
		frame []byte
	}{
		{"raw", grey, greys(1)[0]},
		{"MJPEG", layout{format: formatMJPG, width: 64, height: 48}, encode(t, 64, 48)},
	} {
		if c.name == "MJPEG" && jpeg.Backend == "image/jpeg" {
			continue
		}
		d, err := jpeg.New(jpeg.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cam := &Camera{decoder: d, arrived: make(chan struct{}, 1), changes: make(chan Status, 1), done: make(chan struct{})}
		cam.status.State = StateStreaming
		work := raw{layout: c.lay}
		once := func() {
			work.data = append(work.data[:0], c.frame...)
			if err := c.lay.plausible(work.data); err != nil {
				t.Fatal(err)
			}
			work.dequeued = time.Now()
			work.captured = work.dequeued
			cam.publish(&work)
			cam.change(nil)
			if _, err := cam.Next(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			once()
		}
		if n := testing.AllocsPerRun(50, once); n > 0 {
			t.Errorf("%s: %v allocations a frame", c.name, n)
		}
		d.Close()
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"negative size", Options{Width: -1, Height: 480}},
		{"half a size", Options{Width: 640}},
		{"huge size", Options{Width: 1 << 20, Height: 480}},
		{"negative rate", Options{FPS: -1}},
		{"unknown format", Options{Format: "H264"}},
		{"replay of nothing", Options{Path: "replay:"}},
	} {
		if cam, err := Open(c.o); err == nil {
			cam.Close()
			t.Errorf("%s is accepted", c.name)
		}
	}
}

func TestFormatsHaveOtherNames(t *testing.T) {
	for name, want := range map[string]string{"mjpeg": formatMJPG, "MJPG": formatMJPG, "yuyv": formatYUYV, "YUY2": formatYUYV, "gray": formatGREY, "H264": "", "i420": formatYU12, "RGB24": formatRGB3, "bgr24": formatBGR3, "y16": formatY16} {
		if got := formatByName(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// encode gives a JPEG.
func encode(t testing.TB, w, h int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x * 3), uint8(y * 5), uint8(x + y), 255})
		}
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
