package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

var _ daemon.Recorder = (*Metrics)(nil)

// happening is what is counted and measured as it happens, over all runs.
type happening struct {
	examined  *prometheus.CounterVec
	refused   *prometheus.CounterVec
	stages    *prometheus.HistogramVec
	verdicts  *prometheus.CounterVec
	last      *prometheus.GaugeVec
	answering *prometheus.HistogramVec
	delivery  *prometheus.HistogramVec

	mu      sync.Mutex
	cameras map[string]*tally
}

// tally is one camera's, so that a frame costs no search for labels.
type tally struct {
	examined map[daemon.Result]prometheus.Counter
	refused  map[string]prometheus.Counter
	stages   map[string]prometheus.Observer
}

func newHappening() *happening {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	}
	return &happening{
		examined: counter("examined_frames_total", "Frames that were looked at, by what came of them: judged, spared (too close to one that was judged), empty (nobody is there), "+
			"refused (by a gate), failed (the nets can't), watched (an infrared camera's).", "camera", "result"),
		refused: counter("refused_frames_total", "Frames that a gate held back, or that the nets couldn't look at, by the code.", "camera", "code"),
		stages: histogram("frame_stage_duration_seconds", "How long the stages of an examined frame took; total is from when the pipeline took it until it was known what follows.",
			[]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}, "camera", "stage"),
		verdicts: counter("verdicts_total", "Verdicts, by answer and code; a live one has no code.", "camera", "verdict", "code"),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "camera_last_verdict_timestamp_seconds",
			Help: "When a verdict was last given at a camera, since 1970."}, []string{"camera"}),
		answering: histogram("verdict_duration_seconds", "From the first frame that counts for a verdict to the verdict: how long somebody waits.",
			[]float64{.25, .5, .75, 1, 1.5, 2, 3, 5, 8, 15}, "camera"),
		delivery: histogram("verdict_delivery_duration_seconds", "From a verdict to its steps: journaled, published, acknowledged. Measured when the broker has it.",
			[]float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600}, "step"),
		cameras: map[string]*tally{},
	}
}

func (h *happening) vectors() []prometheus.Collector {
	return []prometheus.Collector{h.examined, h.refused, h.stages, h.verdicts, h.last, h.answering, h.delivery}
}

// results are what can come of a frame.
func results() []daemon.Result {
	return []daemon.Result{daemon.ResultJudged, daemon.ResultSpared, daemon.ResultEmpty, daemon.ResultRefused, daemon.ResultFailed, daemon.ResultWatched}
}

// runs begins to count for the cameras of a run, from 0, so that the first attack is an increase; and forgets those that are no more.
func (h *happening) runs(cameras []daemon.CameraFigures) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.cameras {
		if slices.ContainsFunc(cameras, func(c daemon.CameraFigures) bool { return c.Name == name }) {
			continue
		}
		delete(h.cameras, name)
		gone := prometheus.Labels{"camera": name}
		h.examined.DeletePartialMatch(gone)
		h.refused.DeletePartialMatch(gone)
		h.stages.DeletePartialMatch(gone)
		h.verdicts.DeletePartialMatch(gone)
		h.last.DeletePartialMatch(gone)
		h.answering.DeletePartialMatch(gone)
	}
	for _, c := range cameras {
		if h.cameras[c.Name] == nil {
			h.of(c.Name)
		}
		if c.Role == config.IR {
			continue
		}
		h.verdicts.WithLabelValues(c.Name, string(mqtt.Live), "")
		h.verdicts.WithLabelValues(c.Name, string(mqtt.Spoof), string(mqtt.CodePADAttack))
		for _, code := range mqtt.Codes() {
			if !slices.Contains(never(), code) {
				h.verdicts.WithLabelValues(c.Name, string(mqtt.Undecided), string(code))
			}
		}
		h.answering.WithLabelValues(c.Name)
	}
}

// never are the codes that no undecided verdict has.
func never() []mqtt.Code {
	return []mqtt.Code{mqtt.CodePADAttack, mqtt.CodeUnauthorized, mqtt.CodeTooManyRequests, mqtt.CodeModelRefused}
}

// of is a camera's tally. h.mu is held.
func (h *happening) of(camera string) *tally {
	t := h.cameras[camera]
	if t == nil {
		t = &tally{map[daemon.Result]prometheus.Counter{}, map[string]prometheus.Counter{}, map[string]prometheus.Observer{}}
		for _, r := range results() {
			t.examined[r] = h.examined.WithLabelValues(camera, string(r))
		}
		h.cameras[camera] = t
	}
	return t
}

// Examined counts a frame. It allocates nothing once a result, code or stage was there.
func (m *Metrics) Examined(x *daemon.Examined) {
	h := m.happening
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.of(x.Camera)
	c := t.examined[x.Result]
	if c == nil {
		c = h.examined.WithLabelValues(x.Camera, string(x.Result))
		t.examined[x.Result] = c
	}
	c.Inc()
	if x.Code != "" && (x.Result == daemon.ResultRefused || x.Result == daemon.ResultFailed) {
		code := string(x.Code)
		c := t.refused[code]
		if c == nil {
			c = h.refused.WithLabelValues(x.Camera, code)
			t.refused[code] = c
		}
		c.Inc()
	}
	x.Stages(func(stage string, took time.Duration) {
		o := t.stages[stage]
		if o == nil {
			o = h.stages.WithLabelValues(x.Camera, stage)
			t.stages[stage] = o
		}
		o.Observe(took.Seconds())
	})
}

// Decided counts a verdict.
func (m *Metrics) Decided(t daemon.Timeline) {
	h := m.happening
	h.verdicts.WithLabelValues(t.Camera, string(t.Verdict), string(t.Code)).Inc()
	h.last.WithLabelValues(t.Camera).Set(seconds(t.Decided))
	if !t.First.IsZero() {
		h.answering.WithLabelValues(t.Camera).Observe(max(0, t.Decided.Sub(t.First)).Seconds())
	}
}

// Acknowledged measures how a verdict got to the broker.
func (m *Metrics) Acknowledged(t daemon.Timeline) {
	for step, at := range map[string]time.Time{"journaled": t.Journaled, "published": t.Published, "acknowledged": t.Acknowledged} {
		if !at.IsZero() {
			m.happening.delivery.WithLabelValues(step).Observe(max(0, at.Sub(t.Decided)).Seconds())
		}
	}
}
