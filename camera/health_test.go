package camera

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// ward is a health under test, with a clock that it is told the time of.
type ward struct {
	health
	now    time.Time
	resets int
}

func newWard() *ward {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &ward{health: newHealth(now), now: now}
}

// stream lets frames come so long at a rate, looking ten times a second as a camera does. say tells of frame k what the driver lost
// before it, and why it is refused.
func (w *ward) stream(d time.Duration, promised, rate float64, say func(k int) (lost uint32, err error)) {
	w.opened(w.now, promised)
	step := time.Duration(float64(time.Second) / rate)
	next, look := w.now.Add(step), w.now
	for k, end := 0, w.now.Add(d); ; {
		if look = look.Add(100 * time.Millisecond); look.After(end) {
			w.now = end
			return
		}
		for ; !next.After(look); next = next.Add(step) {
			w.now = next
			var lost uint32
			var err error
			if say != nil {
				lost, err = say(k)
			}
			k++
			w.frame(w.now, lost, err)
			if err == nil {
				w.well(w.now)
			}
		}
		w.now = look
		w.tick(w.now)
	}
}

func (w *ward) lose(why trouble) remedy {
	do, _ := w.fail(w.now, why)
	if do.reset {
		w.resets++
	}
	return do
}

func (w *ward) wait(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(100 * time.Millisecond)
		w.tick(w.now)
	}
}

func every(n int, lost uint32, err error) func(int) (uint32, error) {
	return func(k int) (uint32, error) {
		if k%n == n-1 {
			return lost, err
		}
		return 0, nil
	}
}

func TestAlarms(t *testing.T) {
	for _, c := range []struct {
		name           string
		promised, rate float64
		say            func(int) (uint32, error)
		want           []string
	}{
		{"as promised", 15, 15, nil, nil},
		{"three quarters of the promised rate", 15, 11.25, nil, nil},
		{"half the promised rate", 30, 15, nil, []string{AlarmSlow}},
		{"a third of the promised rate", 30, 10, nil, []string{AlarmSlow}},
		{"no promise", 0, 2, nil, nil},
		{"a frame lost of forty", 15, 15, every(40, 1, nil), nil},
		{"a frame lost of six", 15, 15, every(5, 1, nil), []string{AlarmGaps}},
		{"a frame in two seconds, one of which is damaged", 0.5, 0.5, every(5, 0, errShort), nil},
		{"a faulty frame of five", 15, 15, every(5, 0, errFaulty), []string{AlarmFaulty}},
		{"a damaged frame of five", 15, 15, every(5, 0, errShort), []string{AlarmDamaged}},
		{"a damaged frame of thirty", 15, 15, every(30, 0, errShort), nil},
		{"slow, with gaps", 30, 15, every(1, 1, nil), []string{AlarmSlow, AlarmGaps}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard()
			w.stream(30*time.Second, c.promised, c.rate, c.say)
			state := HealthHealthy
			if c.want != nil {
				state = HealthAlarmed
			}
			if w.State != state || !slices.Equal(w.Alarms, c.want) || (w.Hint != "") != (c.want != nil) {
				t.Errorf("%s %v with hint %q, want %v", w.State, w.Alarms, w.Hint, c.want)
			}
		})
	}
}

func TestFramesThatCannotBeDecodedAreAnAlarm(t *testing.T) {
	w := newWard()
	w.opened(w.now, 10)
	for k := range 200 {
		w.now = w.now.Add(100 * time.Millisecond)
		w.frame(w.now, 0, nil)
		w.well(w.now)
		if k%4 == 0 { // nobody knew that when it came
			w.undecodable(w.now)
		}
		w.tick(w.now)
	}
	if !slices.Equal(w.Alarms, []string{AlarmDamaged}) {
		t.Errorf("%s %v", w.State, w.Alarms)
	}
}

func TestAlarmGoesOffLaterThanItCameOn(t *testing.T) {
	share := 0.0 // of frames that are faulty
	sum := 0.0
	say := func(int) (uint32, error) {
		if sum += share; sum >= 1 {
			sum--
			return 0, errFaulty
		}
		return 0, nil
	}
	w := newWard()
	for _, step := range []struct {
		share float64
		want  string
	}{{0.08, HealthHealthy}, {0.2, HealthAlarmed}, {0.08, HealthAlarmed}, {0.02, HealthHealthy}, {0.08, HealthHealthy}} {
		share = step.share
		w.stream(30*time.Second, 30, 30, say)
		if w.State != step.want {
			t.Errorf("with %v faulty: %s", step.share, w.State)
		}
	}
	if w.Entered.Alarmed != 1 || w.Entered.Healthy != 2 || w.Spent.Alarmed < 30*time.Second {
		t.Errorf("entered %+v, spent %+v", w.Entered, w.Spent)
	}
}

func TestStrikesEscalate(t *testing.T) {
	w := newWard()
	w.stream(time.Minute, 15, 15, nil)
	type step struct {
		state string
		do    remedy
	}
	var got []step
	for range 13 {
		do := w.lose(broken)
		got = append(got, step{w.State, do})
		w.wait(do.rest)
		w.opened(w.now, 15)
		w.wait(5 * time.Second)
	}
	s := time.Second
	want := []step{
		{HealthRecovering, remedy{}}, {HealthRecovering, remedy{}},
		{HealthEscalated, remedy{reset: true}}, {HealthEscalated, remedy{rest: 10 * s}}, {HealthEscalated, remedy{rest: 15 * s}},
		{HealthEscalated, remedy{reset: true}}, {HealthEscalated, remedy{rest: 25 * s}}, {HealthEscalated, remedy{rest: 30 * s}},
		{HealthFailed, remedy{reset: true}}, {HealthFailed, remedy{rest: 30 * s}}, {HealthFailed, remedy{rest: 30 * s}},
		{HealthFailed, remedy{reset: true}}, {HealthFailed, remedy{rest: 30 * s}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// It comes back, and nothing is held against it for long.
	w.stream(5*time.Second, 15, 15, nil)
	if w.State != HealthHealthy || w.Strikes != 13 || w.Outages != 1 || w.LastOutage < 2*time.Minute {
		t.Errorf("back, and %+v", w.Health)
	}
	w.stream(20*time.Second, 15, 15, nil)
	if w.Strikes != 0 {
		t.Errorf("%d strikes after twenty seconds of frames", w.Strikes)
	}
	if w.lose(broken); w.State != HealthRecovering {
		t.Errorf("lost again after a while: %s", w.State)
	}
}

func TestCameraThatIsLostAtOnceEachTimeEscalates(t *testing.T) {
	w := newWard()
	var got []string
	for range 4 {
		w.stream(2*time.Second, 15, 15, nil)
		w.lose(broken)
		got = append(got, w.State)
	}
	if want := []string{HealthRecovering, HealthRecovering, HealthEscalated, HealthEscalated}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRefusedCamerasFailWithoutAReset(t *testing.T) {
	w := newWard()
	for range 50 {
		do := w.lose(refused)
		if w.State != HealthFailed || do != (remedy{}) {
			t.Fatalf("%s, %+v", w.State, do)
		}
		w.wait(5 * time.Second)
	}
	w.lose(absent) // pulled out
	if w.State != HealthRecovering || w.Entered.Failed != 1 {
		t.Errorf("%+v", w.Health)
	}
}

func TestAbsenceIsNoStrike(t *testing.T) {
	w := newWard()
	w.stream(time.Minute, 15, 15, nil)
	for range 100 {
		if do := w.lose(absent); w.State != HealthRecovering || do != (remedy{}) {
			t.Fatalf("%s, %+v", w.State, do)
		}
		w.wait(5 * time.Second)
	}
	if w.Strikes != 0 || w.Outages != 1 {
		t.Errorf("%+v", w.Health)
	}
}

func TestAResetIsNotTakenForATechnician(t *testing.T) {
	w := newWard()
	w.stream(time.Minute, 15, 15, nil)
	for range 3 {
		w.lose(broken)
		w.wait(5 * time.Second)
	}
	w.lose(absent) // for a moment
	w.wait(time.Second)
	w.lose(absent)
	if w.State != HealthEscalated || w.Strikes != 3 {
		t.Errorf("after a reset: %s with %d strikes", w.State, w.Strikes)
	}
	w.wait(proven)
	w.lose(absent)
	if w.State != HealthRecovering || w.Strikes != 0 {
		t.Errorf("pulled out: %s with %d strikes", w.State, w.Strikes)
	}
}

func TestCameraThatIsLostAgainAndAgainIsUnsteady(t *testing.T) {
	w := newWard()
	for k := range 3 {
		w.stream(time.Minute, 15, 15, nil)
		if w.State != HealthHealthy {
			t.Errorf("before outage %d: %s %v", k+1, w.State, w.Alarms)
		}
		w.lose(absent)
		w.wait(time.Second)
	}
	w.stream(5*time.Minute, 15, 15, nil)
	if !slices.Equal(w.Alarms, []string{AlarmUnsteady}) {
		t.Errorf("after three outages: %s %v", w.State, w.Alarms)
	}
	w.stream(5*time.Minute, 15, 15, nil)
	if w.State != HealthHealthy {
		t.Errorf("ten minutes after the first: %s %v", w.State, w.Alarms)
	}
}

// Whatever happens in whatever order, a camera isn't called healthy while it is lost, nothing escalates without strikes, resets are
// rare, the accounts come out even, and frames make all well in the end.
func TestHealthProperties(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	say := func(format string, a ...any) { t.Fatalf("seed %d: %s", seed, fmt.Sprintf(format, a...)) }
	for range 300 {
		w := newWard()
		start, fails := w.now, 0
		check := func() {
			streams := w.State == HealthHealthy || w.State == HealthAlarmed
			if streams != w.up {
				say("%s, and frames come: %v", w.State, w.up)
			}
			if (w.State == HealthAlarmed) != (len(w.Alarms) > 0) || (w.Hint != "") != (len(w.Alarms) > 0) {
				say("%s with %v and hint %q", w.State, w.Alarms, w.Hint)
			}
			if w.State == HealthEscalated && w.Strikes < escalateAt {
				say("escalated with %d strikes", w.Strikes)
			}
			if w.resets > (fails+resetEach-1)/resetEach {
				say("%d resets in %d failures", w.resets, fails)
			}
			sum, n := w.now.Sub(w.Since), uint64(0)
			for _, s := range Healths() {
				sum += *w.Spent.Of(s)
				n += *w.Entered.Of(s)
			}
			if sum != w.now.Sub(start) || *w.Entered.Of(w.State) == 0 || w.Outages > uint64(fails) || n > uint64(1000+fails) {
				say("after %v: %+v", w.now.Sub(start), w.Health)
			}
		}
		for range 1 + r.IntN(40) {
			switch r.IntN(3) {
			case 0:
				rate, n := 1+29*r.Float64(), 1+r.IntN(6)
				err := []error{nil, errFaulty, errShort}[r.IntN(3)]
				w.stream(time.Duration(r.IntN(40_000))*time.Millisecond, float64(r.IntN(31)), rate, every(n, uint32(r.IntN(3)), err))
			case 1:
				fails++
				do := w.lose(trouble(r.IntN(3)))
				if do.rest > 30*time.Second || do.reset && do.rest > 0 {
					say("do %+v", do)
				}
			case 2:
				if !w.up {
					w.wait(time.Duration(r.IntN(20_000)) * time.Millisecond)
				}
			}
			check()
		}
		w.stream(unsteadySpan+30*time.Second, 15, 15, nil)
		check()
		if w.State != HealthHealthy || w.Strikes != 0 {
			say("after ten good minutes: %+v", w.Health)
		}
	}
}

func TestStalledCameraIsResetWhenOpeningItAgainDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		silent, fine := plan{lay: grey}, plan{lay: grey, frames: greys(250), period: period}
		c, f := fakeCamera(t, Options{Name: "front", Log: slog.New(slog.NewTextHandler(&log, nil))}, fine, silent, silent, fine)
		time.Sleep(8 * time.Second) // the frames are over
		time.Sleep(2*time.Second + 2*5*time.Second + 1200*time.Millisecond)
		s := c.Status()
		if s.State != StateRecovering || s.Health.State != HealthEscalated || s.Health.Strikes != 3 || s.Health.Resets != 1 || len(f.resets) != 1 {
			t.Errorf("%s, %+v, %d resets", s.State, s.Health, len(f.resets))
		}
		time.Sleep(2 * time.Second)
		if s = c.Status(); s.State != StateStreaming || s.Health.State != HealthHealthy || s.Health.Outages != 1 || s.Health.LastOutage < 10*time.Second {
			t.Errorf("after the reset: %s, %+v", s.State, s.Health)
		}
		text := strings.Join(log.all(), "\n")
		for _, want := range []string{`"camera escalated" camera=front`, "strikes=3", `"camera reset"`} {
			if strings.Count(text, want) != 1 {
				t.Errorf("%s isn't once in the log:\n%s", want, text)
			}
		}
	})
}

func TestCameraThatAnswersWithErrorsIsNotReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{plans: []plan{{err: syscall.EIO}}}
		c := startFake(t, Options{}, f)
		time.Sleep(2 * time.Minute)
		if s := c.Status(); s.Health.Strikes < 4 || len(f.resets) != 0 {
			t.Errorf("%+v, %d resets", s.Health, len(f.resets))
		}
	})
}

func TestResetThatIsNotPermittedSaysWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		f := &fake{plans: []plan{{}}, refuse: &Error{Op: "reset", Err: syscall.EACCES, hint: "by a udev rule"}}
		c := startFake(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, f)
		time.Sleep(30 * time.Second)
		if s := c.Status(); s.Health.Resets != 0 || s.Health.State != HealthEscalated {
			t.Errorf("%+v", s.Health)
		}
		if text := strings.Join(log.all(), "\n"); !strings.Contains(text, "could not be reset") || !strings.Contains(text, "by a udev rule") {
			t.Errorf("log %s", text)
		}
		time.Sleep(5 * time.Minute)
		if s := c.Status(); s.State != StateFailed || s.Health.State != HealthFailed || !strings.Contains(s.Hint, "plug it in anew") {
			t.Errorf("given up: %+v", s)
		}
	})
}

func TestAlarmIsToldAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		say := func(k int, r *raw) {
			if k < 600 && k%3 == 0 {
				r.lost = 1
			}
		}
		c, _ := fakeCamera(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, plan{lay: grey, frames: slices.Repeat(greys(1), 3000), period: period, say: say})
		time.Sleep(15 * time.Second)
		if s := <-c.Changes(); s.State != StateStreaming || !slices.Equal(s.Health.Alarms, []string{AlarmGaps}) || s.Health.Hint == "" || s.Err != "" {
			t.Errorf("%+v", s)
		}
		time.Sleep(30 * time.Second)
		if s := <-c.Changes(); s.Health.State != HealthHealthy || s.Health.Alarms != nil || s.Health.Hint != "" {
			t.Errorf("%+v", s)
		}
		got := log.all()
		if len(got) != 3 || !strings.Contains(got[1], "camera alarmed") || !strings.Contains(got[2], "healthy again") {
			t.Errorf("log %q", got)
		}
	})
}

func TestCameraIsOpenedAsSoonAsItIsToldOf(t *testing.T) {
	for _, c := range []struct {
		name  string
		say   []bool
		after time.Duration
	}{
		{"by udev", []bool{true}, 0},
		{"by the kernel, and udev after it", []bool{false, true}, 30 * time.Millisecond},
		{"by the kernel alone", []bool{false}, usualTiming.settle},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{absent: true, told: make(chan bool, 1), plans: []plan{{lay: grey, frames: greys(100), period: period}}}
				startFake(t, Options{}, f)
				time.Sleep(time.Minute + 10*time.Millisecond)
				f.appear(true)
				at := time.Now()
				for k, settled := range c.say {
					if k > 0 {
						time.Sleep(30 * time.Millisecond)
					}
					f.told <- settled
					synctest.Wait()
				}
				time.Sleep(usualTiming.settle)
				synctest.Wait()
				if last := f.opens[len(f.opens)-1]; last.Sub(at) != c.after {
					t.Errorf("opened %v after it was there, want %v", last.Sub(at), c.after)
				}
			})
		})
	}
}

func TestCloseLeavesADriverBehindThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{plans: []plan{{lay: grey, frames: greys(30), period: period}}}
		var log lines
		c := startFake(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, f)
		time.Sleep(10 * period)
		stuck := make(chan struct{})
		f.mu.Lock()
		f.stuck = stuck
		f.mu.Unlock()
		time.Sleep(10 * period)
		if _, err := c.Next(t.Context()); err != nil { // the one that was there
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() {
			_, err := c.Next(t.Context())
			waiting <- err
		}()
		start := time.Now()
		err := c.Close()
		if took := time.Since(start); took > usualTiming.leave || !errors.Is(err, errStuck) || hintOf(err) == "" {
			t.Errorf("Close gives %v after %v", err, took)
		}
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("the waiting Next returns %v", err)
		}
		if !strings.Contains(strings.Join(log.all(), "\n"), "left behind") {
			t.Errorf("log %q", log.all())
		}
		close(stuck)
		<-c.done
		if _, open := <-c.Changes(); open {
			if _, open = <-c.Changes(); open {
				t.Error("changes are told of a camera that is closed")
			}
		}
	})
}
