package daemon

import (
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/mqtt"
)

// Figures is what can be asked of a run at any time, without disturbing it: what cameras and the broker count, and what it runs on.
type Figures struct {
	About        mqtt.Info // models, runtime, delegate
	Mode         string    // decision.mode
	Cameras      []CameraFigures
	Delivery     mqtt.Status
	Journal      *mqtt.JournalInfo // nil: verdicts that wait are in memory alone, as it is wanted
	MaxQueued    int               // how many verdicts may wait
	MaxBytes     int64             // and how long their documents may be together
	Synced       bool              // the clock follows a reference
	Temperatures []mqtt.Temperature
}

// CameraFigures is what is known of a camera.
type CameraFigures struct {
	Name   string
	Role   string
	Status camera.Status
	Frame  time.Time // when the pipeline last had one; zero for never
}

// figures asks.
func (t *telemeter) figures() Figures {
	f := Figures{About: t.about, Mode: t.config.Decision.Mode, Delivery: t.client.Status(), Journal: t.client.Journal(), MaxQueued: t.config.MQTT.Journal.Count,
		MaxBytes: int64(t.config.MQTT.Journal.Bytes), Synced: t.id.clockSynced(), Temperatures: temperatures(t.sensors)}
	if t.tried != nil {
		f.About.Delegates = t.tried()
	}
	for _, p := range t.pipelines {
		f.Cameras = append(f.Cameras, CameraFigures{p.name, t.config.Cameras[p.name].Role, p.camera.Status(), p.meter.newest()})
	}
	return f
}

// measured lets whoever asks have a run's figures until end, which may be called twice.
func (p *Pulse) measured(ask func() Figures) (end func()) {
	if p == nil {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.figures = &ask
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.figures == &ask { // not the next run's
			p.figures = nil
		}
	}
}

// Figures asks the run that is on; false where there is none.
func (p *Pulse) Figures() (Figures, bool) {
	if p == nil {
		return Figures{}, false
	}
	p.mu.Lock()
	ask := p.figures
	p.mu.Unlock()
	if ask == nil {
		return Figures{}, false
	}
	return (*ask)(), true // without the lock: who asks a camera that is stuck is stuck
}
