package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/demo"
	"github.com/livenessd/livenessd/mqtt"
)

var comings = flag.Int("comings", 2, "how often somebody comes before the camera of TestFromCaptureToTheBus")

// clerk writes down how verdicts came about.
type clerk struct{ done chan daemon.Timeline }

func (c clerk) Examined(*daemon.Examined)      {}
func (c clerk) Decided(daemon.Timeline)        {}
func (c clerk) Acknowledged(t daemon.Timeline) { c.done <- t }

// TestFromCaptureToTheBus is a daemon before whose camera a living person comes again and again, fifteen frames a second, a real mosquitto,
// and a subscriber who looks at the clock. It prints when a verdict comes to each point of its way, from the moment at which the first frame of
// its evidence was captured on. How long that takes is nothing that a test holds: docs/performance.md says what it took where.
func TestFromCaptureToTheBus(t *testing.T) {
	needRuntime(t)
	address, _ := mosquitto(t)
	pictures := camera.SplitMJPEG(demo.Clip)
	truth, err := demo.ReadTruth()
	if err != nil {
		t.Fatal(err)
	}
	room, person := truth.Segments[0], truth.Segments[1]
	if room.Label != "none" || person.Label != "live" {
		t.Fatalf("the clip begins with %+v and %+v", room, person)
	}
	// A second of an empty room, and a second of somebody, at another moment each time.
	const second = 15
	var clip [][]byte
	for from := person.First; from+second <= person.Last; from += second {
		clip = append(clip, pictures[room.First:room.First+second]...)
		clip = append(clip, pictures[from:from+second]...)
	}
	text := fmt.Sprintf("device: door-7\nstate: %s\nlog: {level: warn}\ncameras: {front: {path: %q}}\nmqtt: {url: %q}\n", t.TempDir(),
		"replay:"+write(t, "comings.mjpeg", string(bytes.Join(clip, nil))), "mqtt://"+address)
	cfg, err := config.Load(write(t, "latency.yaml", text))
	if err != nil {
		t.Fatal(err)
	}
	in, err := mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: "mqtt://" + address, Device: "door-7"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	told := clerk{make(chan daemon.Timeline, *comings+100)}
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Config: cfg, Version: "test", Log: slog.New(slog.DiscardHandler), Recorder: told})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	received := map[uint64]time.Time{}
	lines := map[uint64]daemon.Timeline{}
	both := func() (n int) {
		for seq := range lines {
			if _, is := received[seq]; is {
				n++
			}
		}
		return n
	}
	long := time.After(patience + time.Duration(*comings)*4*time.Second)
	for both() < *comings {
		select {
		case m := <-in:
			var v mqtt.Verdict
			if strings.HasSuffix(m.Topic, "/camera/front/verdict") && json.Unmarshal(m.Payload, &v) == nil && v.Verdict == mqtt.Live {
				received[v.Seq] = time.Now()
			}
		case l := <-told.done:
			if l.Verdict == mqtt.Live {
				lines[l.Seq] = l
			}
		case err := <-ended:
			ended <- err
			t.Fatalf("the daemon ended after %d verdicts: %v", both(), err)
		case <-long:
			t.Fatalf("%d verdicts in all that time", both())
		}
	}

	type point struct {
		name string
		at   func(l daemon.Timeline) time.Time
	}
	points := []point{
		{"captured, the last frame", func(l daemon.Timeline) time.Time { return l.Captured }},
		{"dequeued", func(l daemon.Timeline) time.Time { return l.Dequeued }},
		{"taken", func(l daemon.Timeline) time.Time { return l.Taken }},
		{"decoded", func(l daemon.Timeline) time.Time { return l.Decoded }},
		{"detected", func(l daemon.Timeline) time.Time { return l.Detected }},
		{"judged", func(l daemon.Timeline) time.Time { return l.Judged }},
		{"decided", func(l daemon.Timeline) time.Time { return l.Decided }},
		{"journaled", func(l daemon.Timeline) time.Time { return l.Journaled }},
		{"published", func(l daemon.Timeline) time.Time { return l.Published }},
		{"at the subscriber", func(l daemon.Timeline) time.Time { return received[l.Seq] }},
		{"acknowledged", func(l daemon.Timeline) time.Time { return l.Acknowledged }},
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d verdicts\n| point | p50 ms | p99 ms | longest |\n|---|---|---|---|\n", both())
	for i, p := range points {
		var after []float64
		for seq, l := range lines {
			at, is := received[seq]
			if !is {
				continue
			}
			if p.name != "at the subscriber" {
				at = p.at(l)
			}
			// What the broker does with a verdict, subscriber and device hear in any order.
			if before := points[max(i-1, 0)].at(l); at.IsZero() || p.name != "acknowledged" && p.name != "at the subscriber" && at.Before(before) {
				t.Errorf("verdict %d: %s %v, and the point before it %v", seq, p.name, at, before)
			}
			after = append(after, at.Sub(l.First).Seconds()*1e3)
		}
		fmt.Fprintf(&table, "| %s | %.1f | %.1f | %.1f |\n", p.name, quantile(after, 0.5), quantile(after, 0.99), slices.Max(after))
	}
	for seq, l := range lines {
		if d := l.Captured.Sub(l.First); d < 380*time.Millisecond || l.First.IsZero() {
			t.Errorf("verdict %d: %v of evidence", seq, d)
		}
	}
	t.Log(table.String())
}
