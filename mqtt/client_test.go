package mqtt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/livenessd/livenessd/mqtt/broker"
)

func startBroker(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestClientAnnouncesItselfAndTakesLeave(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	c := start(t, Options{URL: b.URL(), Info: func() Info { return Info{Schema: 1, Device: "door-7", Version: "v1"} }})
	c.SetCameraState("front", CameraState{Schema: 1, State: "recovering"})
	expect := func(topic, payload string) {
		t.Helper()
		m := take(t, topic, in)
		if m.Topic != "livenessd/door-7/"+topic || string(m.Payload) != payload {
			t.Fatalf("%s %s, want %s %s", m.Topic, m.Payload, topic, payload)
		}
	}
	expect("availability", "online")
	expect("info", `{"schema":1,"device":"door-7","version":"v1","models":[],"runtime":"","delegate":"","cameras":[]}`)
	expect("camera/front/state", `{"schema":1,"state":"recovering","since":null}`)
	c.SetCameraState("front", CameraState{Schema: 1, State: "streaming", FPS: 15})
	expect("camera/front/state", `{"schema":1,"state":"streaming","fps":15,"since":null}`)

	// Whoever comes later gets it too.
	late := listen(t, b.URL())
	got := map[string]string{}
	for len(got) < 4 {
		m := take(t, "what is retained", late)
		if !m.Retained {
			t.Errorf("%s isn't retained", m.Topic)
		}
		got[m.Topic] = string(m.Payload)
	}
	if got["livenessd/door-7/availability"] != "online" || !strings.Contains(got["livenessd/door-7/camera/front/state"], "streaming") {
		t.Errorf("retained is %v", got)
	}

	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("availability", "offline")
	if s := c.Status(); s.Connected || s.Connections != 1 {
		t.Errorf("after Close: %+v", s)
	}
}

func TestVerdictsGoToTheirTopics(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	c := start(t, Options{URL: b.URL()})
	until(t, in, "livenessd/door-7/availability")
	for name, v := range verdicts() {
		v.DecidedAt, v.ExpiresAt = Time(time.Now()), Time(time.Now().Add(time.Hour))
		c.PublishVerdict(v)
		topics := []string{"livenessd/door-7/camera/front/verdict"}
		if name == "spoof" {
			topics = append(topics, "livenessd/door-7/camera/front/attack")
		}
		if v.Session != nil {
			topics = append(topics, "livenessd/door-7/session/"+v.Session.ID)
		}
		for _, topic := range topics {
			m := take(t, name, in)
			if m.Topic != topic || m.Retained {
				t.Fatalf("%s on %s, retained: %v", name, m.Topic, m.Retained)
			}
			got, err := ParseVerdict(m.Payload)
			if err != nil || got.Verdict != v.Verdict || got.Replayed {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
	eventually(t, "all are acknowledged", func() bool { return c.Status().Published == uint64(len(verdicts())) })
	if s := c.Status(); s.Queued != 0 || s.Bytes != 0 || s.Dropped != 0 || s.Lost != (Losses{}) || s.Refused != 0 || s.Acknowledged.IsZero() {
		t.Errorf("%+v", s)
	}
	// A verdict is of a moment: nobody who comes later gets one.
	late := listen(t, b.URL())
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for m := range late {
		if strings.HasSuffix(m.Topic, "/verdict") || strings.HasSuffix(m.Topic, "/attack") {
			t.Errorf("%s is retained", m.Topic)
		}
		if string(m.Payload) == "offline" {
			break
		}
	}
}

func TestWhatContradictsItselfIsNeverPublished(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	var log bytes.Buffer
	c := start(t, Options{URL: b.URL(), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
	until(t, in, "livenessd/door-7/availability")
	bad := inconsistent()
	for _, v := range bad {
		c.PublishVerdict(v)
	}
	other := liveVerdict()
	other.Device = "door-8"
	c.PublishVerdict(other)
	c.SetCameraState("a/b", CameraState{Schema: 1, State: "streaming"})
	c.SetCameraState("front", CameraState{Schema: 1, State: "fine"})
	c.PublishVerdict(numbered(77))
	m := until(t, in, "livenessd/door-7/camera/front/verdict")
	if v, err := ParseVerdict(m.Payload); err != nil || v.Seq != 77 {
		t.Errorf("%s came: %s", m.Topic, m.Payload)
	}
	refused := c.Status().Refused
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := uint64(len(bad) + 3); refused != want {
		t.Errorf("%d refused, want %d", refused, want)
	}
	if n := strings.Count(log.String(), "refused to publish"); n < 3 {
		t.Errorf("%d refusals in the log:\n%s", n, log.String())
	}
}

func TestRepeatedRefusalIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	f := newFake(t, func(_ int, c net.Conn) {})
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})
	c := start(t, Options{URL: f.url(), Log: slog.New(handler), Pause: newGate().pause})
	v := liveVerdict()
	v.Action = ""
	for range 5 {
		c.PublishVerdict(v)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || c.Status().Refused != 5 {
		t.Errorf("%d lines for %d refusals", n, c.Status().Refused)
	}
}

func TestLateVerdictsSayThatTheyAreReplayed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan Verdict, 10)
	var refuse sync.Mutex
	refuse.Lock() // no broker as long as it is locked
	serveFake(t, l, func(_ int, c net.Conn) {
		refuse.Lock()
		defer refuse.Unlock()
		greet(c, 0)
		converse(c, 1, func(p *packets.PublishPacket) (bool, bool) {
			if strings.HasSuffix(p.TopicName, "/verdict") {
				v, err := ParseVerdict(p.Payload)
				if err != nil {
					t.Error(err)
				}
				published <- v
			}
			return true, true
		})
	})
	now := &clock{t: decidedAt()}
	c := start(t, Options{URL: "mqtt://" + l.Addr().String(), Now: now.now})
	old, fresh := liveVerdict(), liveVerdict() // both decided now, for five seconds
	c.PublishVerdict(old)
	now.move(6 * time.Second)
	fresh.Seq++
	fresh.DecidedAt, fresh.ExpiresAt = Time(now.now()), Time(now.now().Add(5*time.Second))
	c.PublishVerdict(fresh)
	refuse.Unlock()
	if v := take(t, "the fresh one first", published); v.Seq != fresh.Seq || v.Replayed {
		t.Errorf("%d, replayed: %v", v.Seq, v.Replayed)
	}
	if v := take(t, "the old one", published); v.Seq != old.Seq || !v.Replayed {
		t.Errorf("%d, replayed: %v", v.Seq, v.Replayed)
	}
}

func TestFullQueueIsCountedAndSaidOnce(t *testing.T) {
	var log bytes.Buffer
	f := newFake(t, func(int, net.Conn) {})
	g := newGate()
	c := start(t, Options{URL: f.url(), QueueLimit: 3, Pause: g.pause, Log: slog.New(slog.NewTextHandler(&log, nil))})
	take(t, "the first attempt", g.waits) // the log is ours from here on
	for seq := range uint64(3) {
		v := spoofVerdict()
		v.Seq = seq + 1
		c.PublishVerdict(v)
	}
	c.PublishVerdict(numbered(4)) // has no place beside spoofs
	v := spoofVerdict()
	v.Seq = 5
	c.PublishVerdict(v) // takes that of the first
	if s := c.Status(); s.Queued != 3 || s.Bytes == 0 || s.Dropped != 2 || s.DroppedSpoof != 1 || s.Lost != (Losses{Count: 2}) || !s.Acknowledged.IsZero() {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(log.String(), "verdicts that wait are dropped"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := c.Close(ctx)
	if err == nil || !strings.Contains(err.Error(), "3 verdicts were not delivered") {
		t.Errorf("Close said %v", err)
	}
}

func TestBrokerThatAcknowledgesNothingIsLeft(t *testing.T) {
	acks := make(chan struct{}) // closed when the broker has come to its senses
	f := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		converse(c, 1, func(p *packets.PublishPacket) (bool, bool) {
			if !strings.HasSuffix(p.TopicName, "/verdict") {
				return true, true
			}
			select {
			case <-acks:
				return true, true
			default:
				return false, true
			}
		})
	})
	c := start(t, Options{URL: f.url(), Timeout: 100 * time.Millisecond})
	c.PublishVerdict(numbered(1))
	eventually(t, "another connection", func() bool { return c.Status().Connections > 1 })
	if s := c.Status(); s.Queued != 1 || s.Published != 0 {
		t.Errorf("without an acknowledgement: %+v", s)
	}
	close(acks)
	eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
}

func TestBrokerThatSaysNothingIsLeftWithAHint(t *testing.T) {
	f := newFake(t, func(_ int, c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	g := newGate()
	c := start(t, Options{URL: f.url(), Timeout: 50 * time.Millisecond, Pause: g.pause})
	take(t, "the end of the first attempt", g.waits)
	if s := c.Status(); s.Connected || !hinted(s.Err, "doesn't answer as an MQTT broker") {
		t.Errorf("%+v", s)
	}
}

// TestWhatWasNotAcknowledgedIsSentAgainInOrder cuts the connection after three acknowledgements of ten. The fake reads all ten
// first: a connection that is closed on unread bytes takes acknowledgements down with it.
func TestWhatWasNotAcknowledgedIsSentAgainInOrder(t *testing.T) {
	var mu sync.Mutex
	var got [2][]uint64
	ready := make(chan struct{})
	f := newFake(t, func(n int, c net.Conn) {
		greet(c, 0)
		<-ready
		converse(c, 1, func(p *packets.PublishPacket) (bool, bool) {
			if !strings.HasSuffix(p.TopicName, "/verdict") {
				return true, true
			}
			v, err := ParseVerdict(p.Payload)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			n = min(n, 1)
			got[n] = append(got[n], v.Seq)
			return n == 1 || len(got[0]) <= 3, n == 1 || len(got[0]) < 10
		})
	})
	g := newGate()
	c := start(t, Options{URL: f.url(), Pause: g.pause})
	for seq := range uint64(10) {
		c.PublishVerdict(numbered(seq + 1))
	}
	close(ready)
	take(t, "the loss of the connection", g.waits)
	// The end of a connection may overtake an acknowledgement: what it was for comes twice then.
	s := c.Status()
	if s.Published > 3 || s.Queued != 10-int(s.Published) || s.Connected {
		t.Errorf("after three acknowledgements: %+v", s)
	}
	close(g.open)
	eventually(t, "all", func() bool { return c.Status().Published == 10 })
	mu.Lock()
	defer mu.Unlock()
	all := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if !slices.Equal(got[0], all) || !slices.Equal(got[1], all[s.Published:]) {
		t.Errorf("got %v, then %v after %d", got[0], got[1], s.Published)
	}
}

// TestSpoofIsDeliveredOnlyOnBothTopics loses the connection between the acknowledgements of the two.
func TestSpoofIsDeliveredOnlyOnBothTopics(t *testing.T) {
	var mu sync.Mutex
	var got []string
	f := newFake(t, func(n int, c net.Conn) {
		greet(c, 0)
		converse(c, 1, func(p *packets.PublishPacket) (bool, bool) {
			kind := p.TopicName[strings.LastIndex(p.TopicName, "/")+1:]
			if kind == "availability" {
				return true, true
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(n, kind))
			fine := n > 0 || kind == "verdict"
			return fine, fine
		})
	})
	c := start(t, Options{URL: f.url()})
	v := spoofVerdict()
	v.Session = nil
	c.PublishVerdict(v)
	eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"0verdict", "0attack", "1verdict", "1attack"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRefusedPasswordIsSaidWithAHintAndReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write := func(text string, mode os.FileMode) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Error(err)
		}
	}
	for name, code := range map[string]byte{"bad user name or password": 4, "not authorised, as mosquitto says": 5} {
		f := newFake(t, func(_ int, c net.Conn) {
			p, err := packets.ReadPacket(c)
			connect, ok := p.(*packets.ConnectPacket)
			if err != nil || !ok {
				return
			}
			if connect.Username != "me" || string(connect.Password) != "right" {
				_, _ = c.Write([]byte{0x20, 2, 0, code})
				return
			}
			_, _ = c.Write([]byte{0x20, 2, 0, 0})
			converse(c, 1, everything)
		})
		write("wrong\n", 0o600)
		var log bytes.Buffer
		g := newGate()
		c := start(t, Options{URL: f.url(), Username: "me", PasswordFile: path, Pause: g.pause,
			Log: slog.New(slog.NewTextHandler(&log, nil))})
		c.PublishVerdict(numbered(1))
		take(t, "the first attempt's end", g.waits)
		if err := c.Status().Err; !hinted(err, "password_file") {
			t.Errorf("%s: %v", name, err)
		}
		write("right\n", 0o644)
		g.open <- struct{}{}
		take(t, "the second attempt's end", g.waits)
		if err := c.Status().Err; !hinted(err, "chmod") {
			t.Errorf("%s: readable by all: %v", name, err)
		}
		write("right\n", 0o600)
		g.open <- struct{}{}
		eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if text := log.String(); strings.Contains(text, "wrong") || strings.Contains(text, "right") || strings.Count(text, "hint=") != 2 {
			t.Errorf("%s: the log is\n%s", name, text)
		}
	}
}

func TestSameFailureIsLoggedOnce(t *testing.T) {
	f := newFake(t, func(_ int, c net.Conn) { greet(c, 3) })
	var log bytes.Buffer
	g := newGate()
	c := start(t, Options{URL: f.url(), Pause: g.pause, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 5 {
		take(t, "an attempt's end", g.waits)
		g.open <- struct{}{}
	}
	take(t, "the last attempt's end", g.waits)
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

func TestPausesGrowToAMinuteAndAreDrawnFromAllOfIt(t *testing.T) {
	for attempt, ceiling := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
		16 * time.Second, 32 * time.Second, time.Minute, time.Minute, time.Minute} {
		for _, random := range []float64{0, 0.5, 0.999} {
			if got, want := backoff(attempt, random), time.Duration(random*float64(ceiling)); got != want {
				t.Errorf("attempt %d, random %v: %v, want %v", attempt, random, got, want)
			}
		}
	}
	if got := backoff(1<<30, 0.5); got != 30*time.Second {
		t.Errorf("much later: %v", got)
	}
	// The client asks for the next longer one each time.
	f := newFake(t, func(int, net.Conn) {})
	g := newGate()
	start(t, Options{URL: f.url(), Pause: g.pause})
	for attempt := range 10 {
		if d := take(t, "a pause", g.waits); d < 0 || d > backoff(attempt, 1) {
			t.Errorf("attempt %d: %v", attempt, d)
		}
		g.open <- struct{}{}
	}
}

// TestConnectionThatDoesNotHoldDoesNotShortenThePause is what two devices with one name do to each other.
func TestConnectionThatDoesNotHoldDoesNotShortenThePause(t *testing.T) {
	f := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		converse(c, 1, func(p *packets.PublishPacket) (bool, bool) { return true, !strings.HasSuffix(p.TopicName, "/state") })
	})
	longest := time.Duration(0)
	var log bytes.Buffer
	done := make(chan struct{})
	n := 0
	c := start(t, Options{URL: f.url(), Log: slog.New(slog.NewTextHandler(&log, nil)), Pause: func(ctx context.Context, d time.Duration) {
		longest = max(longest, d)
		if n++; n == 30 {
			close(done)
			<-ctx.Done()
		}
	}})
	c.SetCameraState("front", CameraState{Schema: 1, State: "streaming"})
	take(t, "thirty connections", open(done))
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	// Each is drawn from 0…1 min by then: that all of 23 stay below 2 s happens once in 10^34.
	if longest < 2*time.Second {
		t.Errorf("the longest of 30 pauses is %v", longest)
	}
	if !strings.Contains(log.String(), "second device of this name") {
		t.Errorf("no hint at what it may be:\n%s", log.String())
	}
}

// open makes a channel that closes one that gives a value.
func open(c <-chan struct{}) <-chan bool {
	out := make(chan bool)
	go func() {
		<-c
		out <- true
	}()
	return out
}

func TestStaleOfflineIsContradicted(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	c := start(t, Options{URL: b.URL()})
	until(t, in, "livenessd/door-7/availability")
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	say(t, b.URL(), "livenessd/door-7/availability", "offline")
	// To others mochi may send the two in any order; what it retains is the last.
	said := map[string]bool{}
	for !said["offline"] || !said["online"] {
		said[string(until(t, in, "livenessd/door-7/availability").Payload)] = true
	}
	if m := until(t, listen(t, b.URL()), "livenessd/door-7/availability"); string(m.Payload) != "online" {
		t.Errorf("retained is %s", m.Payload)
	}
}

// say publishes like any other program, retained.
func say(t *testing.T, url, topic, payload string) {
	t.Helper()
	tell(t, url, topic, payload, true)
}

func tell(t *testing.T, url, topic, payload string, retained bool) {
	t.Helper()
	p := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID("other"))
	if k := p.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
	defer p.Disconnect(1000)
	if k := p.Publish(topic, 1, retained, payload); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
}

func TestTakeoverLeavesTheDeviceOnline(t *testing.T) {
	b := startBroker(t)
	c := start(t, Options{URL: b.URL()})
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	// Another program with the same client id throws the client out, and the broker may publish its will, or do so later.
	p := paho.NewClient(paho.NewClientOptions().AddBroker(b.URL()).SetClientID("livenessd-door-7").SetAutoReconnect(false))
	if k := p.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
	defer p.Disconnect(0)
	eventually(t, "the return", func() bool { return c.Status().Connections == 2 && c.Status().Connected })
	in := listen(t, b.URL())
	for m := until(t, in, "livenessd/door-7/availability"); string(m.Payload) != "online"; {
		m = until(t, in, "livenessd/door-7/availability")
	}
}

func TestBrokerThatHidesAvailabilityIsUsedAllTheSame(t *testing.T) {
	f := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		converse(c, 0x80, everything)
	})
	var log bytes.Buffer
	c := start(t, Options{URL: f.url(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	c.PublishVerdict(numbered(1))
	eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "hear its own availability") {
		t.Errorf("not a word of it:\n%s", log.String())
	}
}

func TestMalformedAnswersEndTheConnectionAndNothingElse(t *testing.T) {
	for name, bad := range map[string][]byte{
		"SUBACK with many codes": {0x90, 5, 0, 1, 1, 1, 1},
		"a packet without end":   {0x30, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a huge packet":          {0x30, 0xff, 0xff, 0xff, 0x7f},
		"a client's packet":      {0x82, 5, 0, 1, 0, 0, 0},
		"garbage":                []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	} {
		f := newFake(t, func(n int, c net.Conn) {
			greet(c, 0)
			if n == 0 {
				_, _ = c.Write(bad)
			}
			converse(c, 1, everything)
		})
		c := start(t, Options{URL: f.url()})
		c.PublishVerdict(numbered(1))
		eventually(t, name+": the delivery", func() bool { return c.Status().Published == 1 })
	}
	// An answer to CONNECT that isn't one.
	for name, bad := range map[string][]byte{
		"an unknown code": {0x20, 2, 0, 77}, "another packet": {0xd0, 0}, "a line of text": []byte("220 ready\r\n"),
	} {
		f := newFake(t, func(n int, c net.Conn) {
			if n > 0 {
				greet(c, 0)
				converse(c, 1, everything)
				return
			}
			if _, err := packets.ReadPacket(c); err == nil {
				_, _ = c.Write(bad)
			}
		})
		c := start(t, Options{URL: f.url()})
		c.PublishVerdict(numbered(1))
		eventually(t, name+": the delivery", func() bool { return c.Status().Published == 1 })
		if s := c.Status(); s.Connections != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestCloseTriesAtOnceWhatWaitsForThePause(t *testing.T) {
	got := make(chan string, 10)
	f := newFake(t, func(n int, c net.Conn) {
		if n == 0 {
			return
		}
		greet(c, 0)
		converse(c, 1, func(p *packets.PublishPacket) (bool, bool) {
			got <- p.TopicName + " " + string(p.Payload[:min(7, len(p.Payload))])
			return true, true
		})
	})
	g := newGate()
	c := start(t, Options{URL: f.url(), Pause: g.pause})
	c.PublishVerdict(numbered(1))
	take(t, "the first attempt's end", g.waits) // and now it pauses for ever
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s := c.Status(); s.Published != 1 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
	f.stop()
	close(got)
	var all []string
	for m := range got {
		all = append(all, m)
	}
	if last := all[len(all)-1]; last != "livenessd/door-7/availability offline" {
		t.Errorf("the last word is %q", last)
	}
}

func TestCloseEndsWithItsContext(t *testing.T) {
	for name, serve := range map[string]func(n int, c net.Conn){
		"nobody accepts": nil,
		"nobody answers": func(_ int, c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"nothing is acknowledged": func(_ int, c net.Conn) {
			greet(c, 0)
			converse(c, 1, func(*packets.PublishPacket) (bool, bool) { return false, true })
		},
	} {
		f := newFake(t, func(n int, c net.Conn) {
			if serve != nil {
				serve(n, c)
			}
		})
		if serve == nil {
			f.stop()
		}
		c := start(t, Options{URL: f.url(), Timeout: 2 * time.Second})
		c.PublishVerdict(numbered(1))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		err := c.Close(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "1 verdicts were not delivered") {
			t.Errorf("%s: %v", name, err)
		}
		if again := c.Close(context.Background()); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("%s: first %v, then %v", name, err, again)
		}
		c.PublishVerdict(numbered(2))
		if s := c.Status(); s.Dropped != 1 || s.Queued != 1 || s.Connected {
			t.Errorf("%s: after Close: %+v", name, s)
		}
	}
	eventually(t, "the end of all goroutines", func() bool { return leftovers() == 0 })
}

func TestCloseWithNothingToSayWaitsForNobody(t *testing.T) {
	f := newFake(t, func(int, net.Conn) {})
	g := newGate()
	c := start(t, Options{URL: f.url(), Pause: g.pause})
	c.SetCameraState("front", CameraState{Schema: 1, State: "streaming"}) // of no use to anybody by now
	take(t, "the first attempt's end", g.waits)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestCloseDuringAnAttemptDoesNotWaitForThePauseAfterIt(t *testing.T) {
	attempt := make(chan struct{}, 1)
	f := newFake(t, func(_ int, c net.Conn) {
		attempt <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	c := start(t, Options{URL: f.url(), Timeout: 200 * time.Millisecond, Pause: newGate().pause}) // which would last for ever
	take(t, "an attempt", attempt)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("%v, context %v", err, ctx.Err())
	}
}

// TestNothingIsLostWhileTheBrokerComesAndGoes is for the race detector, too.
func TestNothingIsLostWhileTheBrokerComesAndGoes(t *testing.T) {
	const cameras, each = 4, 200
	var mu sync.Mutex
	got := map[string][]uint64{}
	f := newFake(t, func(n int, c net.Conn) {
		greet(c, 0)
		left := 20 + n*10 // what the connection carries before it breaks
		converse(c, 1, func(p *packets.PublishPacket) (bool, bool) {
			if left--; left < 0 {
				return false, false
			}
			if strings.HasSuffix(p.TopicName, "/verdict") {
				var v Verdict
				if err := json.Unmarshal(p.Payload, &v); err != nil {
					t.Error(err)
				}
				mu.Lock()
				got[v.Camera] = append(got[v.Camera], v.Seq)
				mu.Unlock()
			}
			return true, true
		})
	})
	c := start(t, Options{URL: f.url(), QueueLimit: cameras * each, Timeout: 2 * time.Second})
	var wg sync.WaitGroup
	for i := range cameras {
		wg.Go(func() {
			camera := fmt.Sprintf("camera-%d", i)
			for seq := range uint64(each) {
				v := numbered(seq + 1)
				v.Camera = camera
				c.PublishVerdict(v)
				c.SetCameraState(camera, CameraState{Schema: 1, State: "streaming", FPS: float64(seq + 1)})
				_ = c.Status()
			}
		})
	}
	wg.Wait()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := c.Status(); s.Published != cameras*each || s.Dropped != 0 || s.Connections < 2 {
		t.Errorf("%+v", s)
	}
	mu.Lock()
	defer mu.Unlock()
	for camera, seqs := range got {
		next := uint64(1)
		for _, s := range seqs {
			if s > next {
				t.Fatalf("%s: %d came when %d was due", camera, s, next)
			}
			if s == next { // a smaller one came twice
				next++
			}
		}
		if next != each+1 {
			t.Errorf("%s: only %d came", camera, next-1)
		}
	}
	if len(got) != cameras {
		t.Errorf("%d cameras", len(got))
	}
	eventually(t, "the end of all goroutines", func() bool { return leftovers() == 0 })
}

// BenchmarkPublishVerdict is what the camera path pays, with a broker that is away and a full queue.
func BenchmarkPublishVerdict(b *testing.B) {
	c, err := New(Options{URL: "mqtt://localhost", Device: "door-7", Username: "me", PasswordFile: filepath.Join(b.TempDir(), "none")})
	if err != nil {
		b.Fatal(err)
	}
	v := spoofVerdict()
	for range defaultQueue {
		v.Seq++
		c.PublishVerdict(v)
	}
	b.ReportAllocs()
	for b.Loop() {
		v.Seq++
		c.PublishVerdict(v)
	}
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	_ = c.Close(ctx) // says how many are left
}

// What a client asks for when it subscribes: a broker may keep much for QoS 1.
func TestSubscriptionsAskForTheirQoS(t *testing.T) {
	for want, light := range []bool{true, false} {
		var mu sync.Mutex
		asked := map[string]byte{}
		f := newFake(t, func(_ int, c net.Conn) {
			if greet(c, 0) == nil {
				return
			}
			for {
				p, err := packets.ReadPacket(c)
				if err != nil {
					return
				}
				switch p := p.(type) {
				case *packets.PublishPacket:
					_, err = c.Write([]byte{0x40, 2, byte(p.MessageID >> 8), byte(p.MessageID)})
				case *packets.SubscribePacket:
					mu.Lock()
					asked[p.Topics[0]] = p.Qoss[0]
					mu.Unlock()
					_, err = c.Write([]byte{0x90, 3, byte(p.MessageID >> 8), byte(p.MessageID), p.Qoss[0]})
				}
				if err != nil {
					return
				}
			}
		})
		c := start(t, Options{URL: f.url(), Requests: make(chan Asked, 1), SubscribeQoS0: light})
		eventually(t, "the connection", func() bool { return c.Status().Connected })
		mu.Lock()
		for _, topic := range []string{"availability", "request/+", "application/+/liveness/set"} {
			if qos, ok := asked["livenessd/door-7/"+topic]; !ok || int(qos) != want {
				t.Errorf("%s with QoS %d, asked for: %v; want %d", topic, qos, ok, want)
			}
		}
		mu.Unlock()
	}
}
