package daemon

import (
	"context"
	"sync/atomic"
	"time"
)

// upSince is a clock that begins at a moment and that nobody can set.
func upSince(start time.Time) func() time.Duration {
	return func() time.Duration { return time.Since(start) }
}

const (
	// askEach is how often systemd is asked about the clock, and askLimit how long it may take to answer.
	askEach  = 30 * time.Second
	askLimit = 10 * time.Second
)

// reference knows whether the clock follows one: from the kernel, or, where that may not be asked, from whoever can be.
type reference struct {
	kernel func() (synced, known bool)
	ask    func(context.Context) (bool, error)
	said   atomic.Bool
}

func newReference() *reference { return &reference{kernel: kernelSynced, ask: askSystemd} }

// synced doesn't wait. It is false as long as nobody knows.
func (r *reference) synced() bool {
	if is, known := r.kernel(); known {
		return is
	}
	return r.said.Load()
}

// run asks until ctx ends, or not at all where the kernel answers.
func (r *reference) run(ctx context.Context) {
	if _, known := r.kernel(); known {
		return
	}
	t := time.NewTicker(askEach)
	defer t.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, askLimit)
		is, err := r.ask(limited)
		cancel()
		r.said.Store(is && err == nil)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
