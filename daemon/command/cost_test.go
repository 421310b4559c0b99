package command

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/demo"
	"github.com/livenessd/livenessd/mqtt"
)

var costSeconds = flag.Int("seconds", 2, "how long TestWhatRunTakes measures each clip")

// TestWhatRunTakes is the daemon as a process of its own with a real mosquitto, before an empty room and before the people of the demo, fifteen
// frames a second. It prints what share of a processor that takes, and holds the memory to what was promised.
func TestWhatRunTakes(t *testing.T) {
	needRuntime(t)
	pictures := camera.SplitMJPEG(demo.Clip)
	truth, err := demo.ReadTruth()
	if err != nil {
		t.Fatal(err)
	}
	room := pictures[:truth.Segments[0].Last-2]
	var back [][]byte
	for i := range 2*len(room) - 2 {
		back = append(back, room[order(i, len(room))])
	}
	for _, tt := range []struct {
		name string
		clip []byte
	}{{"an empty room", bytes.Join(back, nil)}, {"the demo's people", demo.Clip}} {
		t.Run(tt.name, func(t *testing.T) {
			address, _ := mosquitto(t)
			in, err := mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: "mqtt://" + address})
			if err != nil {
				t.Fatal(err)
			}
			file := write(t, "cost.yaml", fmt.Sprintf("device: door-7\nstate: %s\ncameras: {front: {path: %q}}\nmqtt: {url: %q}\n", t.TempDir(),
				"replay:"+write(t, "clip.mjpeg", string(tt.clip)), "mqtt://"+address))
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childConfig+"="+file)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait() // says that it was killed
			}()
			await(t, in, "a camera that streams", func(m mqtt.Received) bool {
				return strings.HasSuffix(m.Topic, "/camera/front/state") && bytes.Contains(m.Payload, []byte(`"streaming"`))
			})
			before, began := processorOf(t, cmd.Process.Pid), time.Now()
			time.Sleep(time.Duration(*costSeconds) * time.Second) // what is measured
			took, span := processorOf(t, cmd.Process.Pid)-before, time.Since(began)
			resident, own := memoryOf(t, cmd.Process.Pid)
			t.Logf("%.2f %% of a processor over %v; %.1f MB resident, %.1f MB of that its own", 100*took.Seconds()/span.Seconds(), span.Round(time.Second),
				float64(resident)/1e6, float64(own)/1e6)
			if resident > mostMemory {
				t.Errorf("%d bytes are resident, more than %d", resident, mostMemory)
			}
		})
	}
}

// processorOf is the processor's time that a process has had.
func processorOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	w := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks int
	for _, s := range w[11:13] { // utime, stime
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	const hz = 100 // on all of Linux's architectures that Go knows
	return time.Duration(ticks) * time.Second / hz
}

// memoryOf is what of a process is in memory, and what of that isn't a file's.
func memoryOf(t *testing.T, pid int) (resident, own int64) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(w[1], 10, 64)
		switch w[0] {
		case "VmRSS:":
			resident = n << 10
		case "RssAnon:":
			own = n << 10
		}
	}
	if resident == 0 {
		t.Fatalf("nobody says how much memory the process has:\n%s", b)
	}
	return resident, own
}
