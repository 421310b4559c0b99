package console

import (
	"net/netip"
	"sync"
	"time"

	"github.com/livenessd/livenessd/daemon/web"
)

const (
	// freeGuesses may be wrong before an address is locked out, for lockFirst, and twice as long each further time up to lockLongest.
	freeGuesses = 5
	lockFirst   = time.Minute
	lockLongest = 15 * time.Minute
	// forgiven is after how long without a wrong guess an address is as good as new.
	forgiven = 30 * time.Minute
	// maxGuessers bounds the addresses that are remembered.
	maxGuessers = 512
)

// lockout keeps who guesses tokens from guessing more of them.
type lockout struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[netip.Addr]*guesses
}

type guesses struct {
	wrong int
	last  time.Time
	until time.Time
}

func newLockout(now func() time.Time) *lockout {
	return &lockout{now: now, by: map[netip.Addr]*guesses{}}
}

// left is how long an address must wait; 0: it may try. Where more addresses guess than can be remembered, new ones wait.
func (l *lockout) left(a netip.Addr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	g := l.by[web.Whose(a)]
	if g == nil {
		if len(l.by) >= maxGuessers {
			l.sweep(now)
		}
		if len(l.by) >= maxGuessers {
			return lockFirst
		}
		return 0
	}
	return max(0, g.until.Sub(now))
}

// wrong counts a wrong guess, and tells whether it locked the address out.
func (l *lockout) wrong(a netip.Addr) (locked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := l.now(), web.Whose(a)
	g := l.by[key]
	if g == nil {
		if len(l.by) >= maxGuessers {
			l.sweep(now)
		}
		if len(l.by) >= maxGuessers {
			return true // left says so, too
		}
		g = &guesses{}
		l.by[key] = g
	}
	if now.Sub(g.last) >= forgiven {
		g.wrong = 0
	}
	g.wrong, g.last = g.wrong+1, now
	if g.wrong < freeGuesses {
		return false
	}
	wait := lockFirst
	for range min(g.wrong-freeGuesses, 8) {
		wait *= 2
	}
	g.until = now.Add(min(wait, lockLongest))
	return true
}

// right forgets the wrong guesses of who knew it after all.
func (l *lockout) right(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, web.Whose(a))
}

// sweep forgets whom nothing is held against any more. mu is held.
func (l *lockout) sweep(now time.Time) {
	for k, g := range l.by {
		if now.Sub(g.last) >= forgiven {
			delete(l.by, k)
		}
	}
}
