package daemon

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

const (
	// telemetryAfter is when telemetry is published first, and telemetryEach how often from then on.
	telemetryAfter = 10 * time.Second
	telemetryEach  = time.Minute
	// maxTimes is how many frames a latency is measured on at most: the newest.
	maxTimes = 1024
	// maxSensors bounds the temperatures that are told.
	maxSensors = 64

	sensors = "/sys/class/thermal"
)

// meter counts and measures what a pipeline does. The zero meter is ready. The pipeline writes it, and telemetry reads it.
type meter struct {
	mu       sync.Mutex
	examined uint64
	judged   uint64
	times    map[string]*lately
	last     time.Time // when there was a frame
}

// got notes a frame, examined or not.
func (m *meter) got(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = now
}

func (m *meter) newest() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// lately is how long a stage took, since that was read last.
type lately struct {
	n    int // how many there were
	last []time.Duration
}

func (t *lately) add(d time.Duration) {
	if len(t.last) < maxTimes {
		t.last = append(t.last, d)
	} else {
		t.last[t.n%maxTimes] = d
	}
	t.n++
}

// frame notes an examined frame.
func (m *meter) frame(f *Finding, total time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.examined++
	m.add(StageTotal, total)
	m.add(StageDetect, f.Times.Detect)
	if f.Times.Crop > 0 {
		m.add(StageCrop, f.Times.Crop)
	}
	if f.Judged {
		m.judged++
		m.add(StageJudge, f.Times.Judge)
	}
}

func (m *meter) add(stage string, d time.Duration) {
	if m.times == nil {
		m.times = map[string]*lately{}
	}
	if m.times[stage] == nil {
		m.times[stage] = &lately{last: make([]time.Duration, 0, maxTimes)}
	}
	m.times[stage].add(max(0, d))
}

// read gives the counts, and the latencies since it was read last.
func (m *meter) read() (examined, judged uint64, latencies map[string]mqtt.Spread) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for stage, t := range m.times {
		if t.n == 0 {
			continue
		}
		if latencies == nil {
			latencies = map[string]mqtt.Spread{}
		}
		latencies[stage] = spread(t.last)
		t.n, t.last = 0, t.last[:0]
	}
	return m.examined, m.judged, latencies
}

// spread is of at least one time. It sorts them.
func spread(all []time.Duration) mqtt.Spread {
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	at := func(share float64) float64 { return ms(all[int(share*float64(len(all)-1)+0.5)]) }
	return mqtt.Spread{Frames: len(all), Median: at(0.5), P99: at(0.99), Longest: ms(all[len(all)-1])}
}

// tally is the client, and counts this run's verdicts on their way to it.
type tally struct {
	*mqtt.Client
	boot string

	mu   sync.Mutex
	seen map[string]mqtt.VerdictCounts // by camera
}

var (
	_ Publisher = (*tally)(nil)
	_ Host      = (*tally)(nil)
)

// PublishVerdict counts and publishes. What an earlier run decided isn't counted again.
func (t *tally) PublishVerdict(v mqtt.Verdict) {
	if v.Boot == t.boot {
		t.count(v)
	}
	t.Client.PublishVerdict(v)
}

func (t *tally) count(v mqtt.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.seen[v.Camera]
	switch v.Verdict {
	case mqtt.Live:
		n.Live++
	case mqtt.Spoof:
		n.Spoof++
	case mqtt.Undecided:
		n.Undecided++
	}
	if t.seen == nil {
		t.seen = map[string]mqtt.VerdictCounts{}
	}
	t.seen[v.Camera] = n
}

func (t *tally) verdicts(camera string) mqtt.VerdictCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen[camera]
}

// telemeter says what was measured.
type telemeter struct {
	id        *identity
	pipelines []*pipeline
	verdicts  func(camera string) mqtt.VerdictCounts
	publish   func(mqtt.Telemetry)
	sensors   string // folder of the machine's
	now       func() time.Time
	began     time.Time

	config config.Config // these are for figures
	about  mqtt.Info
	tried  func() []mqtt.DelegateInfo // what became of delegates by now
	client *mqtt.Client
}

// run publishes until ctx ends.
func (t *telemeter) run(ctx context.Context) {
	timer := time.NewTimer(telemetryAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			t.publish(t.read())
			timer.Reset(telemetryEach)
		}
	}
}

// read measures.
func (t *telemeter) read() mqtt.Telemetry {
	now := t.now()
	out := mqtt.Telemetry{Schema: 1, Device: t.id.device, Boot: t.id.boot, At: mqtt.Time(now), UptimeS: int64(max(0, now.Sub(t.began)).Seconds()),
		ResidentBytes: ResidentBytes(), Cameras: map[string]mqtt.CameraTelemetry{}, Temperatures: temperatures(t.sensors)}
	if out.Delegate = t.about.Delegate; t.tried != nil {
		for _, d := range t.tried() {
			if d.State == mqtt.DelegateRefused || d.State == mqtt.DelegateResting {
				out.DelegatesRefused++
			}
		}
	}
	for _, p := range t.pipelines {
		s := p.camera.Status()
		c := mqtt.CameraTelemetry{Captured: s.Counters.Captured, Dropped: s.Counters.Dropped, Bad: s.Counters.Bad.Total(),
			Lost: s.Counters.Lost, Reopened: s.Counters.Reopened, Health: s.Health.State, Outages: s.Health.Outages, Verdicts: t.verdicts(p.name)}
		c.Examined, c.Judged, c.LatencyMS = p.meter.read()
		if s.State == camera.StateStreaming && s.Measured > 0 {
			fps := math.Round(s.Measured*100) / 100
			c.FPS = &fps
		}
		out.Cameras[p.name] = c
	}
	return out
}

// temperatures asks the machine's sensors. Those that say nothing, or what can't be, are left out.
func temperatures(folder string) (all []mqtt.Temperature) {
	zones, err := filepath.Glob(filepath.Join(folder, "thermal_zone*"))
	if err != nil {
		return nil
	}
	slices.SortFunc(zones, func(a, b string) int { // zone 10 after zone 9
		if d := len(a) - len(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, zone := range zones[:min(len(zones), maxSensors)] {
		milli, err := readNumber(filepath.Join(zone, "temp"))
		if err != nil || milli < -273_150 {
			continue
		}
		name, err := os.ReadFile(filepath.Join(zone, "type"))
		sensor := strings.ToValidUTF8(strings.TrimSpace(string(name)), "")
		if err != nil || sensor == "" {
			sensor = filepath.Base(zone)
		}
		if slices.ContainsFunc(all, func(t mqtt.Temperature) bool { return t.Sensor == sensor }) {
			sensor += " " + filepath.Base(zone)
		}
		all = append(all, mqtt.Temperature{Sensor: sensor, Celsius: float64(milli) / 1e3})
	}
	return all
}

func readNumber(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("daemon: read a sensor: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// ResidentBytes is how much memory this process has, 0 where that can't be known.
func ResidentBytes() int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
