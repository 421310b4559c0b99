package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/models"
)

// inside begins a call that doesn't return.
func inside(t *testing.T, g *guard, calls int) models.Call {
	t.Helper()
	c := g.watch("net")
	for i := range calls {
		if err := c.Begin(); err != nil {
			t.Fatal(err)
		}
		if i < calls-1 {
			if err := c.End(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

func TestACallThatDoesNotReturnIsLateAndItsAnswerCountsNoMore(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit time.Duration
		calls int // that have begun; the last one doesn't return
		looks int // until it is late
	}{
		{"some call", 2 * time.Second, 5, 8},
		{"a short deadline", 100 * time.Millisecond, 2, 8},
		{"a long one", 10 * time.Second, 2, 40},
		{"the first call, which may take longer", 2 * time.Second, 1, 48},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(tt.limit)
			other := g.watch("other")
			c := inside(t, g, tt.calls)
			for i := range tt.looks {
				if s := g.look(); s != nil {
					t.Fatalf("late after %d looks", i)
				}
			}
			s := g.look()
			if s == nil || !s.late || s.model != "net" || !strings.Contains(s.Error(), "a call of net didn't return within "+tt.limit.String()) {
				t.Fatalf("after %d looks: %v", tt.looks, s)
			}
			if err := c.End(nil); !errors.Is(err, errLate) {
				t.Errorf("its answer counts: %v", err)
			}
			if err := errors.Join(c.Begin(), other.Begin()); !errors.Is(err, errLate) {
				t.Errorf("there are further calls: %v", err)
			}
		})
	}
}

func TestCallsThatReturnAreNeverLate(t *testing.T) {
	g := newGuard(time.Second)
	c := g.watch("net")
	for range 1000 { // each look finds a call going on, but another one
		if err := c.Begin(); err != nil {
			t.Fatal(err)
		}
		if s := g.look(); s != nil {
			t.Fatal(s)
		}
		if err := c.End(nil); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	inside(t, g, 3).Close()
	for range 100 {
		if s := g.look(); s != nil {
			t.Fatalf("a net that is closed: %v", s)
		}
	}
}

func TestCallsThatFailEndTheDelegateWithinASecond(t *testing.T) {
	gone := errors.New("the device is gone")
	for _, tt := range []struct {
		name  string
		steps string // f a call fails, o one goes well, l the guard looks
		stuck bool
	}{
		{"many a second", "fff", true},
		{"one a second", "fll", true},
		{"one that was followed by a good one", "foll", false},
		{"now and then", "ffolffolffol", false},
		{"one, and no second look yet", "fl", false},
		{"none", "olol", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(2 * time.Second)
			c := g.watch("net")
			var s *stuck
			for _, step := range tt.steps {
				if step == 'l' {
					s = g.look()
					continue
				}
				if err := c.Begin(); err != nil {
					t.Fatal(err)
				}
				var why error
				if step == 'f' {
					why = gone
				}
				if err := c.End(why); !errors.Is(err, why) {
					t.Fatal(err)
				}
			}
			if s == nil {
				s = g.failing(patient)
			}
			if (s != nil) != tt.stuck || s != nil && (s.late || !errors.Is(s, gone)) {
				t.Errorf("%v", s)
			}
			if err := c.Begin(); (err != nil) != tt.stuck {
				t.Errorf("a further call: %v", err)
			}
			if 2*g.every > time.Second {
				t.Errorf("two looks take %v", 2*g.every)
			}
		})
	}
}

func TestTheGuardWatchesWhileNetsRun(t *testing.T) {
	g := newGuard(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan *stuck, 1)
	go func() { ended <- g.run(ctx) }()
	answers, release := make(chan error, 1), make(chan struct{})
	go func() {
		c := g.watch("net")
		for range 100 {
			if err := errors.Join(c.Begin(), c.End(nil)); err != nil {
				answers <- err
				return
			}
		}
		if err := c.Begin(); err != nil {
			answers <- err
			return
		}
		<-release
		answers <- c.End(nil)
	}()
	if s := <-ended; s == nil || !s.late {
		t.Fatalf("%v", s)
	}
	close(release)
	if err := <-answers; !errors.Is(err, errLate) {
		t.Errorf("a late answer counts: %v", err)
	}
	cancel()
	if s := newGuard(time.Second).run(ctx); s != nil {
		t.Errorf("after the end: %v", s)
	}
}

func TestTheDeadlineIsTheConfigurationsOrTheMachines(t *testing.T) {
	for _, tt := range []struct {
		configured time.Duration
		slowest    float64 // ms
		want       time.Duration
	}{
		{0, 1.3, 2 * time.Second}, {0, 25, 5 * time.Second}, {0, 900, 10 * time.Second}, {750 * time.Millisecond, 900, 750 * time.Millisecond},
	} {
		if got := deadlineFor(tt.configured, models.Trial{Slowest: tt.slowest}); got != tt.want {
			t.Errorf("%v and %v ms: %v, want %v", tt.configured, tt.slowest, got, tt.want)
		}
	}
}

func TestTheDeadlineCostsNoAllocation(t *testing.T) {
	c := newGuard(time.Second).watch("net")
	if n := testing.AllocsPerRun(1000, func() {
		if c.Begin() != nil || c.End(nil) != nil {
			t.Error("a call is refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDeadline(b *testing.B) {
	c := newGuard(time.Second).watch("net")
	b.ReportAllocs()
	for b.Loop() {
		if c.Begin() != nil || c.End(nil) != nil {
			b.Fatal("a call is refused")
		}
	}
}
