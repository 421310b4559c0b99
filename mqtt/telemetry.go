package mqtt

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Telemetry is what a device measured of itself. What it can't measure is left out: a 0 is a measured one.
type Telemetry struct {
	Schema        int    `json:"schema"`
	Device        string `json:"device"`
	Boot          string `json:"boot"`
	At            Time   `json:"at"`
	UptimeS       int64  `json:"uptime_s"`
	ResidentBytes int64  `json:"resident_bytes,omitempty"`
	Delegate      string `json:"delegate,omitempty"`
	// DelegatesRefused is how many delegates that the configuration names were refused or rest: info says why.
	DelegatesRefused int                        `json:"delegates_refused,omitempty"`
	Cameras          map[string]CameraTelemetry `json:"cameras"`
	Delivery         Delivery                   `json:"delivery"` // the Client sets it
	Temperatures     []Temperature              `json:"temperatures,omitempty"`
}

// CameraTelemetry is what was counted of a camera since the start, and measured lately.
type CameraTelemetry struct {
	Captured  uint64            `json:"captured"` // frames, good or bad
	Dropped   uint64            `json:"dropped"`  // whole ones that nobody had time for
	Bad       uint64            `json:"bad"`
	Lost      uint64            `json:"lost"` // that the driver's numbering skips
	Reopened  uint64            `json:"reopened"`
	Health    string            `json:"health,omitempty"` // as in the camera's state
	Outages   uint64            `json:"outages"`
	Examined  uint64            `json:"examined"` // frames in which faces were looked for
	Judged    uint64            `json:"judged"`   // of these, those whose face was judged
	Verdicts  VerdictCounts     `json:"verdicts"`
	FPS       *float64          `json:"fps,omitempty"`        // nil where no frame came lately
	LatencyMS map[string]Spread `json:"latency_ms,omitempty"` // by stage
}

// VerdictCounts is how many verdicts there were of each kind.
type VerdictCounts struct {
	Live      uint64 `json:"live"`
	Spoof     uint64 `json:"spoof"`
	Undecided uint64 `json:"undecided"`
}

// Spread is how measured values are spread.
type Spread struct {
	Frames  int     `json:"frames"`
	Median  float64 `json:"median"`
	P99     float64 `json:"p99"`
	Longest float64 `json:"longest"`
}

// Delivery is how verdicts get to the broker: the numbers of Status.
type Delivery struct {
	Connections  uint64 `json:"connections"`
	Queued       int    `json:"queued"`
	Volatile     int    `json:"volatile"`
	Published    uint64 `json:"published"`
	Dropped      uint64 `json:"dropped"`
	DroppedSpoof uint64 `json:"dropped_spoof"`
	Refused      uint64 `json:"refused"`
	Gaps         int    `json:"gaps"`
	Unheard      uint64 `json:"unheard"`
	Unanswered   uint64 `json:"unanswered"`
}

// Temperature is what a sensor of the machine says.
type Temperature struct {
	Sensor  string  `json:"sensor"`
	Celsius float64 `json:"celsius"`
}

// Check tells what in the telemetry contradicts the contract.
func (t Telemetry) Check() error {
	err := errors.Join(CheckName("device", t.Device), CheckName("boot", t.Boot))
	if t.Schema != schemaVersion || t.At.IsZero() || t.UptimeS < 0 || t.ResidentBytes < 0 || t.Cameras == nil {
		err = errors.Join(err, fmt.Errorf("schema %d, at %v, up for %d s, %d bytes, cameras %v", t.Schema, t.At, t.UptimeS, t.ResidentBytes, t.Cameras))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Cameras)) {
		c := t.Cameras[name]
		err = errors.Join(err, CheckName("camera", name))
		if c.FPS != nil && !measured(*c.FPS) {
			err = errors.Join(err, fmt.Errorf("camera %s: %v frames a second", name, *c.FPS))
		}
		if c.Health != "" && !slices.Contains(healths[:], c.Health) {
			err = errors.Join(err, fmt.Errorf("camera %s: health %.40q", name, c.Health))
		}
		for stage, s := range c.LatencyMS {
			if s.Frames < 1 || !measured(s.Median) || !measured(s.P99) || !measured(s.Longest) {
				err = errors.Join(err, fmt.Errorf("camera %s: %.40q took %+v", name, stage, s))
			}
		}
	}
	for _, s := range t.Temperatures {
		if s.Sensor == "" || math.IsNaN(s.Celsius) || math.IsInf(s.Celsius, 0) {
			err = errors.Join(err, fmt.Errorf("sensor %.40q says %v", s.Sensor, s.Celsius))
		}
	}
	if err != nil {
		return fmt.Errorf("mqtt: check telemetry: %w", err)
	}
	return nil
}

// measured tells whether a value is a finite one that isn't negative.
func measured(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }

// PublishTelemetry says what was measured, with QoS 0. It is dropped like a response.
func (c *Client) PublishTelemetry(t Telemetry) {
	s := c.Status()
	t.Delivery = Delivery{Connections: s.Connections, Queued: s.Queued, Volatile: s.Volatile, Published: s.Published, Dropped: s.Dropped,
		DroppedSpoof: s.DroppedSpoof, Refused: s.Refused, Gaps: s.Gaps, Unheard: s.Unheard, Unanswered: s.Unanswered}
	err := t.Check()
	if err == nil && t.Device != c.o.Device {
		err = fmt.Errorf("mqtt: telemetry of device %.40q in the client of %s", t.Device, c.o.Device)
	}
	c.note(c.topics.Telemetry(), 0, t, err)
}
