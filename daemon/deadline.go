package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenessd/livenessd/models"
)

const (
	// shortest and longest bound the deadline of a call where the configuration names none, and longest is well below what a watchdog waits:
	// who finds a call that doesn't return can say so, and a watchdog can't.
	shortest = 2 * time.Second
	longest  = 10 * time.Second
	// slack is how often the time that a call took in the trial goes into the deadline: another program may have the processor, or the
	// accelerator.
	slack = 200
	// firstCall is how long the first call of a net may take at least: drivers compile then.
	firstCall = 12 * time.Second
	// often is how often calls are looked at, at least; patient is how many calls in a row may fail.
	often   = 250 * time.Millisecond
	patient = 3
)

// deadlineFor is how long a call may take: what the configuration says, or what was measured says.
func deadlineFor(configured time.Duration, t models.Trial) time.Duration {
	if configured > 0 {
		return configured
	}
	return min(max(slack*time.Duration(t.Slowest*float64(time.Millisecond)), shortest), longest)
}

// errLate is what becomes of an answer that nobody waits for any more.
var errLate = errors.New("daemon: the net's answer came too late, or the delegate failed")

// guard watches over the calls of an engine's nets: one that doesn't return in time, and several in a row that fail, end the engine. Who
// calls counts and no more; the time is the guard's, in looks, so that a machine that slept, or a process that was stopped, has
// missed no deadline.
type guard struct {
	limit time.Duration
	every time.Duration
	// looks and firstLooks are how often a call may be seen in the same place.
	looks, firstLooks int
	news              chan struct{} // calls fail: worth a look

	over  atomic.Bool // nothing counts any more
	mu    sync.Mutex
	calls map[*call]struct{}
}

func newGuard(limit time.Duration) *guard {
	every := min(max(limit/8, 10*time.Millisecond), often)
	up := func(d time.Duration) int { return int((d + every - 1) / every) }
	return &guard{limit: limit, every: every, looks: up(limit), firstLooks: up(max(limit, firstCall)), news: make(chan struct{}, 1), calls: map[*call]struct{}{}}
}

// watch adds a net.
func (g *guard) watch(model string) models.Call {
	c := &call{guard: g, model: model}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls[c] = struct{}{}
	return c
}

// stuck is why a delegate can't be gone on with.
type stuck struct {
	model string
	late  bool // a call didn't return; else they fail
	limit time.Duration
	err   error // of a call that failed
}

func (s *stuck) Error() string {
	if s.late {
		return fmt.Sprintf("a call of %s didn't return within %v", s.model, s.limit)
	}
	return fmt.Sprintf("calls of %s fail: %v", s.model, s.err)
}

func (s *stuck) Unwrap() error { return s.err }

// run looks until ctx ends, or a delegate is stuck.
func (g *guard) run(ctx context.Context) *stuck {
	t := time.NewTicker(g.every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.news:
		case <-t.C:
			if s := g.look(); s != nil {
				return s
			}
			continue
		}
		if s := g.failing(patient); s != nil {
			return s
		}
	}
}

// look looks once, every so often.
func (g *guard) look() *stuck {
	g.mu.Lock()
	for c := range g.calls {
		if c.late() {
			g.over.Store(true)
			g.mu.Unlock()
			return &stuck{model: c.model, late: true, limit: g.limit}
		}
	}
	g.mu.Unlock()
	return g.failing(1)
}

// failing finds a net whose calls have failed since the last look, and that many of them.
func (g *guard) failing(least uint32) *stuck {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.calls {
		n := c.failed.Load()
		was := c.ill
		if least == 1 { // a look of its time
			c.ill = n > 0
		}
		if n >= patient || n > 0 && least == 1 && was {
			g.over.Store(true)
			s := &stuck{model: c.model, err: errors.New("no answer")}
			if err := c.why.Load(); err != nil {
				s.err = *err
			}
			return s
		}
	}
	return nil
}

// call counts the calls of one net.
type call struct {
	guard *guard
	model string

	n      atomic.Uint64 // of beginnings and ends: odd while the net is called; with lost, nobody waits for its end
	failed atomic.Uint32 // in a row
	why    atomic.Pointer[error]

	// These are the guard's.
	seen uint64
	same int
	ill  bool
}

var _ models.Call = (*call)(nil)

const lost = 1 << 63

// Begin notes that the net is called.
func (c *call) Begin() error {
	if c.guard.over.Load() {
		return errLate
	}
	c.n.Add(1)
	return nil
}

// End notes that it has answered, and refuses what came too late.
func (c *call) End(err error) error {
	n := c.n.Load()
	if n&lost != 0 || !c.n.CompareAndSwap(n, n+1) || c.guard.over.Load() {
		return errLate
	}
	if err == nil {
		if c.failed.Load() != 0 {
			c.failed.Store(0)
		}
		return nil
	}
	why := err // the parameter stays where it costs nothing
	c.why.Store(&why)
	if c.failed.Add(1) >= patient {
		select {
		case c.guard.news <- struct{}{}:
		default:
		}
	}
	return err
}

// Close takes the net out.
func (c *call) Close() {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	delete(c.guard.calls, c)
}

// late tells whether the call that was seen before is still going on after so many looks. Its answer counts no more then.
func (c *call) late() bool {
	n := c.n.Load()
	if n%2 == 0 || n != c.seen {
		c.seen, c.same = n, 0
		return false
	}
	c.same++
	may := c.guard.looks
	if n == 1 {
		may = c.guard.firstLooks
	}
	return c.same >= may && c.n.CompareAndSwap(n, n|lost)
}
