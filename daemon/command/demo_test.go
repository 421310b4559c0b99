package command

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/demo"
	"github.com/livenessd/livenessd/mqtt"
)

func TestTheClipShowsWhatItSays(t *testing.T) {
	truth, err := demo.ReadTruth()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(camera.SplitMJPEG(demo.Clip)); n != truth.Frames || n == 0 || truth.FPS <= 0 {
		t.Fatalf("%d frames, and the truth has %d at %v a second", n, truth.Frames, truth.FPS)
	}
	next := 0
	for i, s := range truth.Segments {
		if s.First != next || s.Last < s.First {
			t.Errorf("segment %d is from %d to %d, after %d", i, s.First, s.Last, next-1)
		}
		next = s.Last + 1
	}
	if next != truth.Frames {
		t.Errorf("the segments end at %d of %d frames", next, truth.Frames)
	}
}

func TestEveryPersonInTheClipGetsTheRightVerdict(t *testing.T) {
	needRuntime(t)
	truth, err := demo.ReadTruth()
	if err != nil {
		t.Fatal(err)
	}
	clip := write(t, "demo.mjpeg", string(demo.Clip))
	r := call(t, "score", "--json", withConfig(t, ""), "--fps", jsonNumber(t, truth.FPS), clip)
	if r.code != ExitOK {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	rows := objects[scored](t, r.out)
	kinds := map[decision.Verdict]int{}
	for i, s := range truth.Segments {
		var got []decision.Verdict
		for _, row := range rows {
			if f := int(*row.Position*truth.FPS + 0.5); f >= s.First && f <= s.Last {
				got = append(got, row.Verdict)
			}
		}
		want := decision.Spoof
		switch s.Label {
		case "none":
			if len(got) > 0 {
				t.Errorf("segment %d, an empty room: %v", i, got)
			}
			continue
		case "live":
			want = decision.Live
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("segment %d, %s: %v", i, s.Label, got)
			continue
		}
		kinds[want]++
	}
	if kinds[decision.Live] == 0 || kinds[decision.Spoof] == 0 {
		t.Errorf("the demo shows %v", kinds)
	}
}

func jsonNumber(t *testing.T, v float64) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDemoPrintsVerdictsUntilItIsStopped(t *testing.T) {
	needRuntime(t)
	for _, tt := range []struct {
		name string
		args []string
		is   func(line string) bool
	}{
		{"as lines", nil, func(line string) bool {
			return strings.Contains(line, "camera demo") && strings.Contains(line, "score 0.") && strings.Contains(line, "→ ")
		}},
		{"as JSON", []string{"--json"}, func(line string) bool {
			var m struct {
				Topic   string          `json:"topic"`
				Payload json.RawMessage `json:"payload"`
			}
			if json.Unmarshal([]byte(line), &m) != nil || !strings.HasSuffix(m.Topic, "/camera/demo/verdict") {
				return false
			}
			v, err := mqtt.ParseVerdict(m.Payload)
			return err == nil && v.Check() == nil && v.Camera == "demo"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			out, in := io.Pipe()
			var log buffer
			code := make(chan int, 1)
			args := append([]string{"demo", "--clip", withConfig(t, "")}, tt.args...)
			go func() {
				c := Main(ctx, Process{Args: args, Stdout: in, Stderr: &log, Version: "1.2.3-test"})
				in.Close()
				code <- c
			}()
			timer := time.AfterFunc(patience, stop)
			defer timer.Stop()
			found := false
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if !found && tt.is(lines.Text()) {
					found = true
					stop()
				}
			}
			if c := <-code; c != ExitOK || !found {
				t.Errorf("exit code %d, a verdict came: %v\n%s", c, found, &log)
			}
			if !strings.Contains(log.String(), "synthetic") {
				t.Errorf("it doesn't say that the people are synthetic:\n%s", &log)
			}
		})
	}
}
