package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/broker"
)

// promised is how long the daemon may take to end after SIGTERM. It is part of the contract, so this test holds it to that, on
// the machine itself: the lab is too slow to tell.
const promised = 2 * time.Second

func TestStopsInTime(t *testing.T) {
	if os.Getenv("LIVENESSD_LAB") == "" {
		t.Skip("needs the daemon as built: run it by `make lab`, or LIVENESSD_LAB=1 go test ./cross/lab/ after `make build`")
	}
	binary, library := built(t)
	for _, c := range []struct{ name, url string }{
		{"with a broker", ""},
		{"without a broker", "mqtt://127.0.0.1:1"},
		{"with a broker that doesn't answer", "mqtt://192.0.2.1:1883"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, available := c.url, (<-chan mqtt.Received)(nil)
			if url == "" {
				b, err := broker.Start(broker.Options{Port: -1})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				url = b.URL()
				available, err = mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: url, Device: "stop"})
				if err != nil {
					t.Fatal(err)
				}
			}
			d := startNative(t, binary, library, url)
			if available != nil {
				await(t, available, mqtt.Online)
			}
			start := time.Now()
			if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-d.ended:
				if took := time.Since(start); err != nil || took > promised {
					t.Errorf("ended with %v after %v, want exit code 0 within %v", err, took, promised)
				}
			case <-time.After(10 * promised):
				t.Fatal("doesn't end")
			}
			if available != nil {
				await(t, available, mqtt.Offline)
			}
		})
	}
}

type native struct {
	cmd   *exec.Cmd
	ended chan error
}

// startNative runs the daemon on the demo's clip, and returns when its camera streams.
func startNative(t *testing.T, binary, library, url string) native {
	t.Helper()
	clip, err := filepath.Abs("../../daemon/demo/clip.mjpeg")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "livenessd.yaml")
	text := fmt.Sprintf("device: stop\nlog: {format: json}\nstate: %q\nmodels: {runtime: %q}\ncameras: {front: {path: %q}}\nmqtt: {url: %q}\n",
		dir, library, "replay:"+clip, url)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d := native{exec.Command(binary, "run", "--config", file), make(chan error, 1)}
	log, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	streaming := make(chan struct{})
	go func() {
		said := false
		for s := bufio.NewScanner(log); s.Scan(); {
			if !said && strings.Contains(s.Text(), `"camera streaming"`) {
				said = true
				close(streaming)
			}
		}
		d.ended <- d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		for range d.ended {
		}
	})
	select {
	case <-streaming:
	case err := <-d.ended:
		t.Fatalf("the daemon ended: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the camera doesn't stream")
	}
	return d
}

// await waits for the device's availability.
func await(t *testing.T, messages <-chan mqtt.Received, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		select {
		case m := <-messages:
			if strings.HasSuffix(m.Topic, "/availability") && string(m.Payload) == want {
				return
			}
		case <-ctx.Done():
			t.Fatalf("availability doesn't become %s", want)
		}
	}
}
