package metrics

import (
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/mqtt"
)

var update = flag.Bool("update", false, "write the golden files anew")

// busy is a daemon of which everything that can be known is known.
func busy() (daemon.Health, daemon.Figures) {
	h, f := well()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	h.Refused = &daemon.Trouble{Error: "no"}
	f.Cameras = []daemon.CameraFigures{
		{Name: "back", Role: "ir", Status: camera.Status{Counters: camera.Counters{Captured: 7}}},
		{Name: "front", Role: "rgb", Frame: at, Status: camera.Status{FPS: 15, Counters: camera.Counters{Captured: 100, Dropped: 3, Reopened: 2,
			Bad: camera.Bad{Empty: 1, Short: 2, Truncated: 3, Corrupt: 4, WrongSize: 5, TooLarge: 6, Unsupported: 7}}}},
	}
	f.Delivery = mqtt.Status{Connected: true, Connections: 2, Queued: 4, Bytes: 3200, Published: 90, Volatile: 1, Gaps: 1, Refused: 1, Unheard: 2, Unanswered: 3,
		Lost: mqtt.Losses{Count: 1, Bytes: 2, Age: 3, Refused: 4, Damaged: 5}, Acknowledged: at}
	f.Mode = "continuous"
	f.About.Delegates = []mqtt.DelegateInfo{{Delegate: "edgetpu", State: mqtt.DelegateRefused, Error: "no"}, {Delegate: "xnnpack", State: mqtt.DelegateUsed, MedianMS: 1.25}}
	f.Journal, f.MaxQueued, f.MaxBytes, f.Synced = &mqtt.JournalInfo{State: mqtt.JournalDisk}, 5000, 8<<20, true
	f.Temperatures = []mqtt.Temperature{{Sensor: "cpu-thermal", Celsius: 51.5}}
	return h, f
}

// happens lets a metrics hear of frames and verdicts of every kind.
func happens(m *Metrics) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	after := func(ms int) time.Time { return at.Add(time.Duration(ms) * time.Millisecond) }
	way := daemon.Points{Captured: at, Dequeued: after(1), Taken: after(2), Decoded: after(3), Detected: after(5), Decided: after(8)}
	for _, x := range []daemon.Examined{
		{Result: daemon.ResultEmpty, Points: way, Times: daemon.Times{Detect: 2 * time.Millisecond}},
		{Result: daemon.ResultJudged, Points: way, Times: daemon.Times{Detect: 2 * time.Millisecond, Crop: 80 * time.Microsecond, Judge: 300 * time.Microsecond, Cues: 200 * time.Microsecond}},
		{Result: daemon.ResultRefused, Code: decision.TooDark, Points: way, Times: daemon.Times{Detect: 2 * time.Millisecond, Crop: 60 * time.Microsecond}},
		{Result: daemon.ResultFailed, Code: decision.ProcessingErr, Points: way},
	} {
		x.Camera = "front"
		m.Examined(&x)
	}
	m.Examined(&daemon.Examined{Camera: "back", Result: daemon.ResultWatched, Points: way, Times: daemon.Times{Detect: time.Millisecond}})
	way.Decided = after(700)
	for _, line := range []daemon.Timeline{
		{Verdict: mqtt.Live, First: at, Points: way, Journaled: after(705), Published: after(706), Acknowledged: after(720)},
		{Verdict: mqtt.Spoof, Code: mqtt.CodePADAttack, First: at, Points: way, Published: after(701), Acknowledged: after(702)},
		{Verdict: mqtt.Undecided, Code: mqtt.CodeTimeout, Points: daemon.Points{Decided: after(8700)}, Published: after(8701), Acknowledged: after(3_600_000)},
	} {
		line.Camera = "front"
		m.Decided(line)
		m.Acknowledged(line)
	}
}

// ours is the lines of a scrape that aren't the process's and Go's, which are never the same.
func ours(scrape string) string {
	var b strings.Builder
	for line := range strings.Lines(scrape) {
		if strings.Contains(line, "livenessd_") {
			b.WriteString(regexp.MustCompile(`go(version|arch)="[^"]*"`).ReplaceAllString(line, `go$1="…"`))
		}
	}
	return b.String()
}

func TestScrape(t *testing.T) {
	h, f := busy()
	m := shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true })
	happens(m)
	w := get(m.Handler(), "/metrics")
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, name := range []string{"process_resident_memory_bytes", "process_open_fds", "go_goroutines"} {
		if !strings.Contains(w.Body.String(), "\n"+name+" ") {
			t.Errorf("no %s", name)
		}
	}
	golden(t, "scrape.golden", ours(w.Body.String()))
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// Before there is a run, and between two, what isn't known isn't 0.
func TestScrapeWithoutARun(t *testing.T) {
	m := shows(t, func() daemon.Health { return daemon.Health{Phase: daemon.PhaseStarting} }, func() (daemon.Figures, bool) { return daemon.Figures{}, false })
	golden(t, "scrape-starting.golden", ours(get(m.Handler(), "/metrics").Body.String()))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A camera whose driver never returns holds whoever asks it. Some places are lost to that, and nobody waits for ever.
func TestWhoAsksIsNotHeldForEver(t *testing.T) {
	free := make(chan struct{})
	stuck := func() daemon.Health {
		<-free
		return daemon.Health{}
	}
	h := bounded(http.HandlerFunc(shows(t, stuck, func() (daemon.Figures, bool) { return daemon.Figures{}, false }).alive), 300*time.Millisecond)
	var wg sync.WaitGroup
	codes := make(chan int, asking+1)
	for range asking + 1 { // one more than there are places
		wg.Go(func() { codes <- get(h, "/healthz").Code })
	}
	wg.Wait()
	close(free)
	for range asking + 1 {
		if c := <-codes; c != http.StatusServiceUnavailable {
			t.Errorf("%d", c)
		}
	}
}

// Whoever scrapes does so beside everything that is counted.
func TestScrapesBesideEverything(t *testing.T) {
	var mu sync.Mutex
	h, f := busy()
	m := shows(t, func() daemon.Health {
		mu.Lock()
		defer mu.Unlock()
		c := h
		c.Cameras = slices.Clone(h.Cameras)
		return c
	}, func() (daemon.Figures, bool) {
		mu.Lock()
		defer mu.Unlock()
		c := f
		c.Cameras = slices.Clone(f.Cameras)
		return c, true
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, name := range []string{"front", "back"} { // as pipelines
		wg.Go(func() {
			x := daemon.Examined{Camera: name, Result: daemon.ResultJudged, Points: daemon.Points{Taken: time.Now(), Decided: time.Now()}, Times: daemon.Times{Detect: 1, Crop: 1, Judge: 1}}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				m.Examined(&x)
				m.Decided(daemon.Timeline{Camera: name, Verdict: mqtt.Live})
				m.Acknowledged(daemon.Timeline{Camera: name, Published: time.Now()})
			}
		})
	}
	wg.Go(func() { // a run that gets on, and one with fewer cameras after it
		for {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock()
			f.Delivery.Published++
			if f.Cameras[0].Status.Counters.Captured++; len(f.Cameras) == 2 {
				f.Cameras = f.Cameras[1:]
			} else {
				_, whole := busy()
				f.Cameras = whole.Cameras
			}
			mu.Unlock()
		}
	})
	for range 50 {
		if w := get(m.Handler(), "/metrics"); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	close(stop)
	wg.Wait()
}

func TestAFrameCostsNoAllocation(t *testing.T) {
	h, f := busy()
	m := shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true })
	now := time.Now()
	x := &daemon.Examined{Camera: "front", Result: daemon.ResultRefused, Code: decision.TooDark, Points: daemon.Points{Taken: now, Decoded: now, Decided: now}, Times: daemon.Times{Detect: 1, Crop: 1, Cues: 1}}
	m.Examined(x)
	if n := testing.AllocsPerRun(100, func() { m.Examined(x) }); n != 0 {
		t.Errorf("%v", n)
	}
}

// A camera that is no more leaves nothing behind, and one that comes begins at 0.
func TestCamerasOfTheRunThatIsOn(t *testing.T) {
	h, f := busy()
	m := shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true })
	happens(m)
	get(m.Handler(), "/metrics")
	h.Cameras, f.Cameras = nil, []daemon.CameraFigures{{Name: "side", Role: "rgb"}}
	scrape := get(m.Handler(), "/metrics").Body.String()
	for _, gone := range []string{"front", "back"} {
		if strings.Contains(scrape, `camera="`+gone+`"`) {
			t.Errorf("camera %s is still there", gone)
		}
	}
	for _, line := range []string{`livenessd_verdicts_total{camera="side",code="PAD_ATTACK",verdict="spoof"} 0`, `livenessd_verdicts_total{camera="side",code="",verdict="live"} 0`,
		`livenessd_examined_frames_total{camera="side",result="judged"} 0`} {
		if !strings.Contains(scrape, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

func BenchmarkExamined(b *testing.B) {
	m, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	x := &daemon.Examined{Camera: "front", Result: daemon.ResultJudged, Points: daemon.Points{Taken: now, Decoded: now, Decided: now}, Times: daemon.Times{Detect: 1, Crop: 1, Judge: 1, Cues: 1}}
	for b.Loop() {
		m.Examined(x)
	}
}
