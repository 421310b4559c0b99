package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/broker"
)

// patience is how long a test waits for what must come; only a failing one waits for all of it.
const patience = time.Minute

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await reads messages until one is what is looked for.
func await(t *testing.T, from <-chan mqtt.Received, what string, is func(mqtt.Received) bool) mqtt.Received {
	t.Helper()
	timeout := time.After(patience)
	var seen []string
	for {
		select {
		case m, ok := <-from:
			if !ok {
				t.Fatalf("the subscription ended before %s", what)
			}
			if is(m) {
				return m
			}
			seen = append(seen, fmt.Sprintf("%s %.200s", m.Topic, m.Payload))
		case <-timeout:
			t.Fatalf("no %s; there was\n%s", what, strings.Join(seen, "\n"))
		}
	}
}

func TestRunPublishesVerdictsUntilItIsStopped(t *testing.T) {
	needRuntime(t)
	folder := t.TempDir()
	still, err := os.ReadFile(picture("live-1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "1.jpg"), still, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	received, err := mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: b.URL(), Prefix: "house", Device: "door-7"})
	if err != nil {
		t.Fatal(err)
	}
	// With thresholds this low whoever is judged is live: this test is about the way, not about the nets.
	file := write(t, "livenessd.yaml", "device: door-7\nlog: {format: json}\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\n"+
		"decision: {live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: \""+b.URL()+"\", prefix: house}\n")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, log buffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: &out, Stderr: &log, Version: "1.2.3-test"})
	}()
	topic := func(name string) func(mqtt.Received) bool {
		return func(m mqtt.Received) bool { return m.Topic == "house/door-7/"+name }
	}
	await(t, received, "availability", func(m mqtt.Received) bool { return topic("availability")(m) && string(m.Payload) == mqtt.Online })
	m := await(t, received, "verdict", topic("camera/front/verdict"))
	v, err := mqtt.ParseVerdict(m.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if v.Verdict != mqtt.Live || v.Action != mqtt.Allow || v.Camera != "front" || v.Device != "door-7" || v.Seq != 1 || v.Frames < 5 || v.Face == nil || m.Retained {
		t.Errorf("got %s", m.Payload)
	}
	stop()
	select {
	case c := <-code:
		if c != ExitOK {
			t.Errorf("exit code %d:\n%s", c, &log)
		}
	case <-time.After(patience):
		t.Fatal("it doesn't stop")
	}
	await(t, received, "goodbye", func(m mqtt.Received) bool { return topic("availability")(m) && string(m.Payload) == mqtt.Offline })
	if out.String() != "" {
		t.Errorf("standard output: %s", &out)
	}
	if !strings.Contains(log.String(), `"msg":"ready"`) || !strings.Contains(log.String(), `"verdict":"live"`) {
		t.Errorf("the log says\n%s", &log)
	}
}

func TestRunWatchesWithoutABroker(t *testing.T) {
	needRuntime(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	// Nobody listens at the port of a broker that was closed.
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	url := b.URL()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	still, err := os.ReadFile(picture("live-1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "1.jpg"), still, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &watched{want: `"verdict":"live"`, seen: make(chan struct{})}
	code := make(chan int, 1)
	file := write(t, "livenessd.yaml", "log: {format: json}\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\n"+
		"decision: {live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: \""+url+"\"}\n")
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: &buffer{}, Stderr: log})
	}()
	select {
	case <-log.seen:
	case <-time.After(patience):
		t.Fatalf("no verdict:\n%s", &log.buffer)
	}
	stop()
	select {
	case c := <-code:
		if c != ExitOK {
			t.Errorf("exit code %d:\n%s", c, &log.buffer)
		}
	case <-time.After(patience):
		t.Fatal("it doesn't stop")
	}
}

// watched is a log that says when something was written to it.
type watched struct {
	buffer
	want string
	once sync.Once
	seen chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.buffer.Write(p)
	if bytes.Contains(p, []byte(w.want)) {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}
