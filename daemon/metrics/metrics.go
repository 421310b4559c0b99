// Package metrics shows what the daemon counts and measures to Prometheus, and whether it is alive and ready to whoever watches machines.
//
// It promises names that begin with livenessd_ and don't change without a word in docs/metrics.md, beside those of the process (process_)
// and of Go (go_) under the names that they have everywhere; labels of few values, and never a session, a subject or a transaction in one; that nobody
// who asks can hold up a camera, however slowly or often he does it; and that a Server bounds who asks: connections, time, sizes. It tells no
// picture, no score and no secret. But it tells when somebody was at the door, which is why a Server that others than this machine can
// reach wants a token.
//
// It doesn't keep anything over a restart: counters begin at 0 then, and those that a camera or a client counts also where a new
// configuration takes effect. That is what Prometheus expects of counters.
package metrics

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/livenessd/livenessd/daemon"
)

// Options is where the figures come from.
type Options struct {
	Version string
	Health  func() daemon.Health
	Figures func() (daemon.Figures, bool) // false between runs
}

// Metrics has all figures of a process, over all runs.
type Metrics struct {
	registry  *prometheus.Registry
	health    func() daemon.Health
	figures   func() (daemon.Figures, bool)
	happening *happening
}

const (
	// asking is how many requests of a kind are answered at a time, and within is how long one may take: a camera whose driver holds its lock
	// for ever would else hold whoever asks.
	asking = 4
	within = 8 * time.Second
)

// New makes the registry.
func New(o Options) (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry(), health: o.Health, figures: o.Figures, happening: newHappening()}
	for _, c := range []prometheus.Collector{
		newCollector(o, m.happening),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Handler answers /metrics, /healthz and /readyz to everybody who gets that far: whoever mounts it says who that is.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", bounded(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}), within))
	mux.Handle("GET /healthz", bounded(http.HandlerFunc(m.alive), within))
	mux.Handle("GET /readyz", bounded(http.HandlerFunc(m.ready), within))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "livenessd: /metrics, /healthz, /readyz")
	})
	return mux
}

// bounded lets few ask at a time, and none for longer than most. Who is stuck keeps his place.
func bounded(h http.Handler, most time.Duration) http.Handler {
	places := make(chan struct{}, asking)
	in := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			h.ServeHTTP(w, r)
		default:
			plain(w, http.StatusServiceUnavailable, "too many ask at a time, or an earlier answer is stuck")
		}
	})
	return http.TimeoutHandler(in, most, "no answer: something stands still\n")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // who has gone needn't be told
}

// Brief lets a handler's answers about health be a word, for listeners at which everybody may ask.
func Brief(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, briefly(r)) })
}

// briefKey marks requests whose answer is a word: who asks needn't know more.
type briefKey struct{}

func briefly(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), briefKey{}, true))
}

func brief(r *http.Request) bool {
	is, _ := r.Context().Value(briefKey{}).(bool)
	return is
}
