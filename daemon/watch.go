package daemon

import (
	"context"
	"log/slog"
	"reflect"
	"strings"
	"time"
)

// Manager is the service manager, as a daemon sees it.
type Manager interface {
	Ready(status string) error
	Status(text string) error
	// Alive feeds the watchdog. more lets a start or a reload that takes its time take that much longer.
	Alive(more time.Duration) error
	// Interval is how long the watchdog waits; 0: there is none.
	Interval() time.Duration
}

const (
	// glance is how often a daemon is looked at.
	glance = time.Second
	// still is how long its parts may stand still where no watchdog says how long that may be.
	still = 15 * time.Second
)

// Patience is how long parts may stand still until the watchdog, which waits for interval, must hear of it; 0 for none.
func Patience(interval time.Duration) time.Duration {
	if interval > 0 {
		return interval / 2
	}
	return still
}

// Watch tells a service manager, and whoever reads Show's file, what a pulse knows: that the daemon is ready once every camera has worked,
// how it is doing when that changes, and that it is alive as long as all parts move. One that stands still gets it restarted.
type Watch struct {
	Pulse   *Pulse
	Manager Manager
	Show    func(Health) error // nil: nobody reads
	Ready   func()             // called once, when everything works
	Log     *slog.Logger

	fed      time.Time
	shown    Health
	line     string
	stuck    string // what the log was told
	complain string // the trouble with the manager or the file that the log was told
}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	every := glance
	if i := w.Manager.Interval(); i > 0 {
		every = min(every, i/4)
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		w.Look()
		select {
		case <-ctx.Done():
			w.Look()
			return
		case <-t.C:
		case <-w.Pulse.news:
		}
	}
}

// Look looks once.
func (w *Watch) Look() {
	interval := w.Manager.Interval()
	limit := Patience(interval)
	h := w.Pulse.Health(limit)
	if h.Phase == PhaseStopping || h.Phase == PhaseFailed { // how long that may take is systemd's to say
		h.Stuck = nil
	}
	now := w.Pulse.now()
	if stuck := strings.Join(h.Stuck, ", "); stuck != w.stuck {
		if w.stuck = stuck; stuck != "" {
			w.Log.Error("something stands still", "parts", stuck, "for_more_than", limit,
				"hint", "the watchdog restarts livenessd if that lasts; if it repeats, see the log before this line")
		} else {
			w.Log.Info("everything moves again")
		}
	}
	var more time.Duration
	if h.Phase != PhaseReady {
		more = max(2*interval, time.Minute)
	}
	if len(h.Stuck) == 0 && now.Sub(w.fed) >= interval/4 {
		w.fed = now
		w.heed(w.Manager.Alive(more))
	}
	if h.Phase == PhaseStarting && h.Works() {
		w.Pulse.Phase(PhaseReady)
		h.Phase, h.Since = PhaseReady, now
		w.line = h.Line()
		w.heed(w.Manager.Ready(w.line))
		if w.Ready != nil {
			w.Ready()
			w.Ready = nil
		}
	}
	if line := h.Line(); line != w.line {
		w.line = line
		w.heed(w.Manager.Status(line))
	}
	if w.Show != nil && !reflect.DeepEqual(h, w.shown) {
		if err := w.Show(h); err != nil {
			w.heed(err)
		} else {
			w.shown = h
		}
	}
}

// heed logs trouble once.
func (w *Watch) heed(err error) {
	if err == nil {
		return
	}
	if text := err.Error(); text != w.complain {
		w.complain = text
		w.Log.Warn("can't tell how livenessd is doing", "error", err)
	}
}
