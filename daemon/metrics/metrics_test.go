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
	f.Journal, f.MaxQueued, f.MaxBytes, f.Synced = &mqtt.JournalInfo{State: mqtt.JournalDisk}, 5000, 8<<20, true
	f.Temperatures = []mqtt.Temperature{{Sensor: "cpu-thermal", Celsius: 51.5}}
	return h, f
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
	}).Handler()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock()
			f.Delivery.Published++
			f.Cameras[1].Status.Counters.Captured++
			mu.Unlock()
		}
	})
	for range 50 {
		if w := get(m, "/metrics"); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	close(stop)
	wg.Wait()
}
