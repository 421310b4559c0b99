package command

import (
	"bytes"
	"context"
	"encoding/json"
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
	file := write(t, "livenessd.yaml", "device: door-7\nlog: {format: json}\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\nstate: "+t.TempDir()+"\n"+
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
	if !strings.Contains(log.String(), `"msg":"ready: all cameras and models work"`) || !strings.Contains(log.String(), `"verdict":"live"`) {
		t.Errorf("the log says\n%s", &log)
	}
}

// listening is a folder with one golden picture to be played, a broker, and what is received of door-7.
func listening(t *testing.T, still string) (folder string, b *broker.Broker, received <-chan mqtt.Received) {
	t.Helper()
	folder = t.TempDir()
	data, err := os.ReadFile(picture(still))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "1.jpg"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b, err = broker.Start(broker.Options{Port: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if received, err = mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: b.URL(), Device: "door-7"}); err != nil {
		t.Fatal(err)
	}
	return folder, b, received
}

func TestRunAnswersHosts(t *testing.T) {
	needRuntime(t)
	folder, b, received := listening(t, "live-1.jpg")
	state := t.TempDir()
	file := write(t, "livenessd.yaml", "device: door-7\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\nstate: "+state+"\n"+
		"decision: {mode: on_request, live_at: 1e-3, spoof_at: 1e-4}\napplications: {staff-door: {on_attack: ban}, canteen: {}}\nmqtt: {url: \""+b.URL()+"\"}\n")
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var log buffer
		code := make(chan int, 1)
		go func() {
			code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: &buffer{}, Stderr: &log})
		}()
		return func() {
			t.Helper()
			cancel()
			select {
			case c := <-code:
				if c != ExitOK {
					t.Errorf("exit code %d:\n%s", c, &log)
				}
			case <-time.After(patience):
				t.Fatal("it doesn't stop")
			}
		}
	}
	on := func(topic, part string) mqtt.Received {
		t.Helper()
		return await(t, received, topic+" with "+part, func(m mqtt.Received) bool {
			return m.Topic == "livenessd/door-7/"+topic && strings.Contains(string(m.Payload), part)
		})
	}
	ask := func(topic, text string) {
		t.Helper()
		if err := b.Publish("livenessd/door-7/"+topic, []byte(text), false); err != nil {
			t.Fatal(err)
		}
	}
	session := func(transaction, application string) string {
		t.Helper()
		ask("request/session", `{"transaction":"`+transaction+`","application":"`+application+`","purpose":"authentication","nonce":"n-`+transaction+`"}`)
		var r mqtt.Response
		if m := on("response/session", `"transaction":"`+transaction+`"`); json.Unmarshal(m.Payload, &r) != nil || r.Session == "" {
			t.Fatalf("%s", m.Payload)
		}
		return r.Session
	}
	answer := func(id, nonce string) mqtt.Verdict {
		t.Helper()
		m := on("session/"+id, `"verdict"`)
		v, err := mqtt.ParseVerdict(m.Payload)
		if err != nil || v.Session == nil || v.Session.ID != id || v.Session.Nonce != nonce {
			t.Fatalf("%s, %v", m.Payload, err)
		}
		return v
	}
	stop := run()
	on("camera/front/state", "streaming")
	ask("request/ping", `{"transaction":"p1"}`)
	on("response/ping", `"status":"ok"`)
	ask("request/info", `{"transaction":"i1"}`)
	on("response/info", `"cameras":["front"]`)
	ask("request/session", `{"transaction":"t1","application":"nobody","purpose":"authentication"}`)
	on("response/session", "UNAUTHORIZED")
	if v := answer(session("t2", "staff-door"), "n-t2"); v.Verdict != mqtt.Live || v.Action != mqtt.Allow || v.Seq != 1 {
		t.Errorf("%+v", v) // the first verdict of all: nothing is judged without a session
	}
	ask("application/canteen/liveness/set", `{"authentication":false}`)
	on("application/canteen/liveness/state", `{"authentication":false,"enrollment":true}`)
	if v := answer(session("t3", "canteen"), "n-t3"); v.Verdict != mqtt.Undecided || v.Action != mqtt.Allow || v.Liveness != mqtt.LivenessOff || v.Code != nil {
		t.Errorf("%+v", v)
	}
	// Two at once, and the end: the second one, at least, has its answer by it.
	ask("request/session", `{"transaction":"t4","application":"staff-door","purpose":"enrollment"}`)
	waits := session("t5", "staff-door")
	stop()
	if v := answer(waits, "n-t5"); v.Verdict != mqtt.Undecided || *v.Code != mqtt.CodeSessionExpired || v.Action != mqtt.Deny {
		t.Errorf("%+v", v)
	}
	stop = run()
	on("availability", mqtt.Online)
	on("application/canteen/liveness/state", `{"authentication":false,"enrollment":true}`)
	ask("request/session", `{"transaction":"t2","application":"staff-door","purpose":"authentication"}`)
	on("response/session", "UNAUTHORIZED") // used before
	stop()
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
	file := write(t, "livenessd.yaml", "log: {format: json}\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\nstate: "+t.TempDir()+"\n"+
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

// What was decided while no broker was there is delivered by the next run.
func TestRunDeliversWhatAnEarlierRunDecided(t *testing.T) {
	needRuntime(t)
	folder, b, received := listening(t, "live-1.jpg")
	state := t.TempDir()
	run := func(urls string) (log *buffer, stop func()) {
		file := write(t, "livenessd.yaml", "device: door-7\nlog: {format: json}\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\nstate: "+state+"\n"+
			"decision: {live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: "+urls+"}\n")
		ctx, cancel := context.WithCancel(t.Context())
		log = new(buffer)
		code := make(chan int, 1)
		go func() {
			code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: new(buffer), Stderr: log})
		}()
		return log, func() {
			t.Helper()
			cancel()
			select {
			case c := <-code:
				if c != ExitOK {
					t.Errorf("exit code %d:\n%s", c, log)
				}
			case <-time.After(patience):
				t.Fatal("it doesn't stop")
			}
		}
	}
	log, stop := run(`mqtt://127.0.0.1:9`)
	for end := time.Now().Add(patience); !strings.Contains(log.String(), `"msg":"verdict"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no verdict:\n%s", log)
		}
	}
	stop()
	_, stop = run(`["mqtt://127.0.0.1:9", "` + b.URL() + `"]`)
	m := await(t, received, "info", func(m mqtt.Received) bool { return m.Topic == "livenessd/door-7/info" })
	if !strings.Contains(string(m.Payload), `"journal":{"state":"disk"`) {
		t.Errorf("%s", m.Payload)
	}
	boots := map[string]bool{}
	for len(boots) < 2 {
		m := await(t, received, "verdicts of both runs", func(m mqtt.Received) bool { return m.Topic == "livenessd/door-7/camera/front/verdict" })
		v, err := mqtt.ParseVerdict(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		boots[v.Boot] = true
	}
	stop()
}
