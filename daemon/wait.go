package daemon

import (
	"context"
	"sync"
	"time"
)

// waiting is a context for many short waits, one after the other: each of its own would cost allocations. It is done with its parent, or
// when the newest wait is over.
type waiting struct {
	context.Context // the parent
	timer           *time.Timer
	unhook          func() bool

	mu    sync.Mutex
	until time.Time
	done  chan struct{}
	err   error
}

var _ context.Context = (*waiting)(nil)

func newWaiting(parent context.Context) *waiting {
	w := &waiting{Context: parent, done: make(chan struct{}), err: nil}
	w.timer = time.AfterFunc(time.Hour, w.over)
	w.timer.Stop()
	w.unhook = context.AfterFunc(parent, func() { w.end(parent.Err()) })
	return w
}

// wait begins a wait. Who waited before mustn't any more.
func (w *waiting) wait(d time.Duration) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil && w.Context.Err() == nil {
		w.err, w.done = nil, make(chan struct{})
	}
	w.until = time.Now().Add(d)
	w.timer.Reset(d)
	return w
}

// over is the timer's. It may be late, and of a wait that isn't on any more.
func (w *waiting) over() {
	w.mu.Lock()
	late := !time.Now().Before(w.until)
	w.mu.Unlock()
	if late {
		w.end(context.DeadlineExceeded)
	}
}

func (w *waiting) end(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = why
		close(w.done)
	}
}

func (w *waiting) stop() {
	w.unhook()
	w.timer.Stop()
}

func (w *waiting) Deadline() (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.until, true
}

func (w *waiting) Done() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

func (w *waiting) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
