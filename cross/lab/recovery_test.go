package lab

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var cycles = flag.Int("cycles", 500, "how often TestCameras unplugs the camera and plugs it in again")

// TestCameras lets cameras fail in each way that the lab has, hundreds of times, and beside others: what docs/recovery.md has figures of.
func TestCameras(t *testing.T) {
	if os.Getenv("LIVENESSD_LAB") != "cameras" {
		t.Skip("takes half an hour: run it by `make cameras`, or LIVENESSD_LAB=cameras go test -run TestCameras ./cross/lab/ after `make build`")
	}
	l := prepared(t)
	t.Run("recovery", func(t *testing.T) { l.recovery(t) })
	t.Run("four", l.four)
	t.Run("cycles", l.cycles)
}

// lasting are faults that the camera gets over with frames coming all the while: it is alarmed instead.
var lasting = []string{"half", "flaky", "faulty", "dropping"}

// recovery lets the faults happen, all that there are where none is named, and looks at how long each took.
func (l lab) recovery(t *testing.T, faults ...string) {
	o := l.run(t, 25*time.Minute, "recovery", faults...)
	type said struct {
		State  string    `json:"state"`
		Since  time.Time `json:"since"`
		Hint   string    `json:"hint"`
		Health struct {
			State      string    `json:"state"`
			Since      time.Time `json:"since"`
			LastOutage int64     `json:"last_outage_ms"`
		} `json:"health"`
	}
	var table strings.Builder
	for _, fault := range fields(o.read(t, "results")) {
		at, err := strconv.ParseFloat(o.results[fault], 64)
		if _, known := strings.CutPrefix(fault, "flagged"); fault == "exit" || known {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", fault, err)
			continue
		}
		healed := time.UnixMicro(int64(at * 1e6))
		camera := "front"
		if slices.Contains([]string{"taken", "fatal", "reqbufs", "qbuf", "streamon", "dropping", "unbound"}, fault) {
			camera = "vivid"
		}
		var back *said
		for _, m := range o.messages {
			var s said
			if m.Topic != "livenessd/lab/camera/"+camera+"/state" || m.phase != "after-"+fault {
				continue
			}
			if err := json.Unmarshal([]byte(m.Payload), &s); err != nil {
				t.Fatalf("%s: %v", m.Payload, err)
			}
			if s.State == "streaming" && (!slices.Contains(lasting, fault) || s.Health.State == "healthy") {
				back = &s
			}
		}
		if back == nil {
			t.Errorf("%s: it doesn't come back", fault)
			continue
		}
		since := back.Since
		if slices.Contains(lasting, fault) {
			since = back.Health.Since
		}
		took := since.Sub(healed)
		fmt.Fprintf(&table, "| %s | %s | %.1f | %.1f |\n", fault, camera, took.Seconds(), float64(back.Health.LastOutage)/1e3)
		if took > time.Minute {
			t.Errorf("%s: it took %v", fault, took)
		}
	}
	t.Logf("fault, camera, seconds until it is well, seconds without frames:\n%s", table.String())
	if ds := o.on(t, "camera/front/verdict", ""); len(ds) > 0 {
		t.Errorf("verdicts of an empty room: %+v", ds)
	}
	if code := o.results["exit"]; code != "0" {
		t.Errorf("exit code %q", code)
	}
}

// fields gives the first word of each line.
func fields(text string) (names []string) {
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	return names
}

// four holds the frame rates of three cameras while the fourth fails against those while it was well.
func (l lab) four(t *testing.T) {
	o := l.run(t, 15*time.Minute, "four")
	figure := func(scrape, name, camera string) float64 {
		for s := bufio.NewScanner(strings.NewReader(o.read(t, scrape))); s.Scan(); {
			if rest, ok := strings.CutPrefix(s.Text(), name+`{camera="`+camera+`"} `); ok {
				n, err := strconv.ParseFloat(rest, 64)
				if err != nil {
					t.Fatalf("%s: %q", scrape, s.Text())
				}
				return n
			}
		}
		t.Fatalf("%s has no %s of %s", scrape, name, camera)
		return 0
	}
	rate := func(phase, name, camera string) float64 {
		at := func(when string) float64 {
			n, err := strconv.ParseFloat(o.results[phase+when], 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		return (figure(phase+"-end", name, camera) - figure(phase+"-begin", name, camera)) / (at("-end") - at("-begin"))
	}
	const captured, dropped, reopened = "livenessd_camera_captured_frames_total", "livenessd_camera_dropped_frames_total", "livenessd_camera_reopened_total"
	for _, c := range []string{"usb", "vivid", "loopback", "bad"} {
		well, failing, deaf := rate("well", captured, c), rate("failing", captured, c), rate("deaf", captured, c)
		lost := figure("failing-end", reopened, c) - figure("failing-begin", reopened, c)
		t.Logf("%s: %.2f frames a second while all are well, %.2f while bad fails, %.2f while bad doesn't answer; dropped %.2f, %.2f and %.2f; opened again %v times",
			c, well, failing, deaf, rate("well", dropped, c), rate("failing", dropped, c), rate("deaf", dropped, c), lost)
		if c == "bad" {
			if lost < 4 {
				t.Errorf("the camera that fails was opened again %v times", lost)
			}
			continue
		}
		if well == 0 || math.Abs(failing/well-1) > 0.05 || math.Abs(deaf/well-1) > 0.05 || lost > 0 {
			t.Errorf("%s had %.2f frames a second, and %.2f and %.2f beside a camera that fails; it was opened again %v times", c, well, failing, deaf, lost)
		}
		if got := states(o.on(t, "camera/"+c+"/state", "failing")); slices.Contains(got, "recovering") || slices.Contains(got, "failed") {
			t.Errorf("%s: states %v", c, got)
		}
	}
	t.Logf("SIGTERM beside a camera that doesn't answer: %s s, under emulation", o.results["end_seconds"])
	if code := o.results["exit"]; code != "0" {
		t.Errorf("exit code %q", code)
	}
}

// cycles holds what the daemon has after hundreds of cycles against what it had after the first fifty.
func (l lab) cycles(t *testing.T) {
	o := l.run(t, time.Duration(*cycles)*15*time.Second+5*time.Minute, "cycles", strconv.Itoa(*cycles))
	text := o.read(t, "held")
	t.Logf("%d cycles in %s s, %s of them with frames: cycle, descriptors, mappings, threads, goroutines, kilobytes:\n%s", *cycles, o.results["seconds"], o.results["streamed"], text)
	var all [][6]int
	for line := range strings.Lines(text) {
		var h [6]int
		if _, err := fmt.Sscan(line, &h[0], &h[1], &h[2], &h[3], &h[4], &h[5]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, h)
	}
	if len(all) < 2 {
		t.Fatalf("held: %q", text)
	}
	first, last := all[min(1, len(all)-2)], all[len(all)-1]
	for k, what := range []string{"", "descriptors", "mappings", "", "goroutines"} { // threads are the runtime's, which never ends one
		if slack := []int{0, 2, 8, 0, 3}[k]; what != "" && last[k] > first[k]+slack {
			t.Errorf("%d %s after %d cycles, %d after %d", last[k], what, last[0], first[k], first[0])
		}
	}
	if code := o.results["exit"]; code != "0" {
		t.Errorf("exit code %q", code)
	}
}
