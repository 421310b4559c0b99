package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// patience is how long a test waits for what must come. Nothing that passes waits so long.
const patience = 20 * time.Second

// fake is a broker that does what a test tells it to.
type fake struct {
	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
	closed   bool
}

// newFake serves each connection, counted from 0, until serve returns.
func newFake(t *testing.T, serve func(n int, c net.Conn)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveFake(t, l, serve)
}

func serveFake(t *testing.T, l net.Listener, serve func(n int, c net.Conn)) *fake {
	f := &fake{listener: l}
	f.wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			if f.closed {
				_ = c.Close()
			}
			f.mu.Unlock()
			f.wg.Go(func() {
				defer c.Close()
				serve(n, c)
			})
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *fake) stop() {
	_ = f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

func (f *fake) url() string { return "mqtt://" + f.listener.Addr().String() }

// greet answers CONNECT, and returns it, or nil if there was none.
func greet(c net.Conn, code byte) *packets.ConnectPacket {
	p, err := packets.ReadPacket(c)
	if err != nil {
		return nil
	}
	connect, ok := p.(*packets.ConnectPacket)
	if !ok {
		return nil
	}
	_, _ = c.Write([]byte{0x20, 2, 0, code})
	return connect
}

// converse answers all that a client asks. publish tells whether to acknowledge a message and whether to go on; grant is
// the answer to a subscription.
func converse(c net.Conn, grant byte, publish func(*packets.PublishPacket) (ack, on bool)) {
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.SubscribePacket:
			_, err = c.Write([]byte{0x90, 3, byte(p.MessageID >> 8), byte(p.MessageID), grant})
		case *packets.PingreqPacket:
			_, err = c.Write([]byte{0xd0, 0})
		case *packets.PublishPacket:
			ack, on := publish(p)
			if ack {
				_, err = c.Write([]byte{0x40, 2, byte(p.MessageID >> 8), byte(p.MessageID)})
			}
			if !on {
				return
			}
		case *packets.DisconnectPacket:
			return
		}
		if err != nil {
			return
		}
	}
}

// everything acknowledges all.
func everything(*packets.PublishPacket) (ack, on bool) { return true, true }

// gate is a Pause that notes how long it should have lasted, and that ends when the test lets it.
type gate struct {
	waits chan time.Duration
	open  chan struct{}
}

func newGate() *gate { return &gate{waits: make(chan time.Duration, 1000), open: make(chan struct{})} }

func (g *gate) pause(ctx context.Context, d time.Duration) {
	g.waits <- d
	select {
	case <-g.open:
	case <-ctx.Done():
	}
}

// soon is a Pause for tests that only want the next attempt.
func soon(ctx context.Context, _ time.Duration) { pause(ctx, time.Millisecond) }

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// take returns what a channel gives.
func take[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("%s: the channel is closed", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("never came: %s", what)
	}
	panic("not reached")
}

// start returns a client that the test's end closes.
func start(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Device == "" {
		o.Device = "door-7"
	}
	if o.Log == nil {
		o.Log = testLog(t)
	}
	if o.Pause == nil {
		o.Pause = soon
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = c.Close(ctx)
	})
	return c
}

// listen subscribes until the test ends.
func listen(t *testing.T, url string) <-chan Received {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	in, err := Subscribe(ctx, SubscribeOptions{URL: url, Device: "door-7", Log: testLog(t), Pause: soon})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range in { // until it is closed
		}
	})
	return in
}

// listenFirst subscribes, and returns when the broker has nothing older to send: mochi sends what is published right after a
// subscription twice, as news and as retained, and in any order.
func listenFirst(t *testing.T, url string) <-chan Received {
	t.Helper()
	const topic = "livenessd/door-7/test"
	say(t, url, topic, "anything")
	in := listen(t, url)
	for !until(t, in, topic).Retained {
	}
	out := make(chan Received)
	go func() {
		defer close(out)
		for m := range in {
			if m.Topic != topic {
				out <- m
			}
		}
	}()
	t.Cleanup(func() {
		go func() {
			for range out { // what nobody took; in ends by itself
			}
		}()
	})
	return out
}

// until takes messages till one is on a topic, and returns that.
func until(t *testing.T, in <-chan Received, topic string) Received {
	t.Helper()
	for {
		if m := take(t, "a message on "+topic, in); m.Topic == topic {
			return m
		}
	}
}

// numbered is a live verdict with a number.
func numbered(seq uint64) Verdict {
	v := liveVerdict()
	v.Seq = seq
	v.DecidedAt = Time(time.Now())
	v.ExpiresAt = Time(time.Now().Add(time.Hour))
	return v
}

// testLog is the log of a test, shown if it fails.
func testLog(t *testing.T) *slog.Logger {
	w := &logWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t = nil // a test that is over has no log any more
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct {
	mu sync.Mutex
	t  *testing.T
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Log(strings.TrimSuffix(string(b), "\n"))
	}
	return len(b), nil
}

// leftovers counts the goroutines that are still in paho or in this package's code beside the test itself.
func leftovers() int {
	buf := make([]byte, 1<<20)
	n := 0
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "paho.mqtt.golang") || strings.Contains(g, "(*Client).run") || strings.Contains(g, "(*subscriber).run") || strings.Contains(g, "(*Subscriber).run") {
			n++
		}
	}
	return n
}

func hinted(err error, words string) bool {
	var h interface{ Hint() string }
	return errors.As(err, &h) && strings.Contains(h.Hint(), words)
}
