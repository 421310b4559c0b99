package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livenessd/livenessd/daemon"
)

// collector asks for health and figures whenever somebody scrapes, and tells what was counted as it happened.
type collector struct {
	Options
	*happening
	families []family
	descs    []*prometheus.Desc
}

var _ prometheus.Collector = (*collector)(nil)

// family is a metric with all its labels' values.
type family struct {
	name, help string // without the livenessd_ before it
	kind       prometheus.ValueType
	labels     []string
	read       func(s *seen, say say)
}

// say tells a value, and the labels' in their order.
type say func(v float64, labels ...string)

// seen is what one scrape saw.
type seen struct {
	version string
	health  daemon.Health
	figures daemon.Figures
	runs    bool
}

func newCollector(o Options, h *happening) *collector {
	c := &collector{Options: o, happening: h, families: families()}
	for _, f := range c.families {
		c.descs = append(c.descs, prometheus.NewDesc(prometheus.BuildFQName(namespace, "", f.name), f.help, f.labels, nil))
	}
	return c
}

const namespace = "livenessd"

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
	for _, v := range c.vectors() {
		v.Describe(to)
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := &seen{version: c.Version, health: c.Health()}
	if s.figures, s.runs = c.Figures(); s.runs {
		c.runs(s.figures.Cameras)
	}
	for i, f := range c.families {
		f.read(s, func(v float64, labels ...string) {
			m, err := prometheus.NewConstMetric(c.descs[i], f.kind, v, labels...)
			if err != nil { // a label that isn't UTF-8
				m = prometheus.NewInvalidMetric(c.descs[i], err)
			}
			to <- m
		})
	}
	for _, v := range c.vectors() {
		v.Collect(to)
	}
}

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
