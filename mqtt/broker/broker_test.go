package broker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/broker"
)

func TestBrokerTakesAFreePortIfTheUsualOneIsTaken(t *testing.T) {
	// Taken by this test, or by somebody else already.
	if l, err := net.Listen("tcp", "127.0.0.1:1883"); err == nil {
		defer l.Close()
	}
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(b.URL(), ":1883") || !strings.HasPrefix(b.URL(), "mqtt://127.0.0.1:") {
		t.Errorf("it is at %s", b.URL())
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "mqtt://")); err == nil {
		_ = c.Close()
		t.Error("somebody still accepts connections after Close")
	}
}

func TestBrokerTakesTheUsualPortIfItIsFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:1883")
	if err != nil {
		t.Skipf("port 1883 isn't free here: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.URL() != "mqtt://127.0.0.1:1883" {
		t.Errorf("it is at %s", b.URL())
	}
}

func TestBrokerAtAPortThatIsTakenIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err := broker.Start(broker.Options{Port: l.Addr().(*net.TCPAddr).Port}); err == nil {
		_ = b.Close()
		t.Error("it started")
	}
}

func TestMessagesGoThroughTheBroker(t *testing.T) {
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	in, err := mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: b.URL(), Device: "door-7"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := mqtt.New(mqtt.Options{URL: b.URL(), Device: "door-7"})
	if err != nil {
		t.Fatal(err)
	}
	if m := <-in; fmt.Sprint(m.Topic, string(m.Payload)) != "livenessd/door-7/availabilityonline" {
		t.Errorf("%s %s", m.Topic, m.Payload)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSubscribersAndRetainedMessagesAtOnce is for the race detector, and for a lock that somebody forgets to give back.
func TestSubscribersAndRetainedMessagesAtOnce(t *testing.T) {
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 10 {
				c, err := mqtt.New(mqtt.Options{URL: b.URL(), Device: fmt.Sprintf("door-%d-%d", i, j)})
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithCancel(t.Context())
				in, err := mqtt.Subscribe(ctx, mqtt.SubscribeOptions{URL: b.URL()})
				if err != nil {
					t.Error(err)
				} else {
					<-in // its own, if no other
				}
				cancel()
				if j%2 == 0 {
					_ = c.Close(ctx) // has no time left, so that the will says offline
				}
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestInvalidPacketsDoNotStopTheBroker(t *testing.T) {
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	connect := []byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'x'}
	for name, bad := range map[string][]byte{
		"SUBSCRIBE without a topic":           {0x82, 2, 0, 1},
		"SUBSCRIBE with a bad filter":         {0x82, 8, 0, 1, 0, 3, 'a', '#', 'b', 0},
		"SUBSCRIBE with a bad QoS":            {0x82, 6, 0, 1, 0, 1, 'a', 3},
		"SUBSCRIBE with packet id 0":          {0x82, 6, 0, 0, 0, 1, 'a', 0},
		"retained PUBLISH to a wildcard":      {0x31, 4, 0, 1, '#', 'x'},
		"retained PUBLISH without a topic":    {0x31, 3, 0, 0, 'x'},
		"retained PUBLISH with packet id 0":   {0x33, 6, 0, 1, 'a', 0, 0, 'x'},
		"retained PUBLISH to the broker's":    {0x31, 7, 0, 4, '$', 'S', 'Y', 'S', 'x'},
		"retained PUBLISH of nothing":         {0x31, 3, 0, 1, 'a'},
		"CONNECT again":                       connect,
		"a packet that is cut off":            {0x31, 100, 0, 1, 'a'},
		"UNSUBSCRIBE from nothing":            {0xa2, 2, 0, 1},
		"SUBSCRIBE that is fine":              {0x82, 6, 0, 1, 0, 1, 'a', 0},
		"retained PUBLISH at QoS 3 of nobody": {0x37, 6, 0, 1, 'a', 0, 1, 'x'},
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "mqtt://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(slices.Concat(connect, bad, []byte{0xe0, 0})); err != nil {
			t.Error(name, err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil { // it would wait for the rest of one that is cut off
			t.Error(name, err)
		}
		_, _ = io.Copy(io.Discard, c) // until the broker has ended it
		_ = c.Close()
		// Others still can subscribe and publish.
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := mqtt.Subscribe(ctx, mqtt.SubscribeOptions{URL: b.URL()}); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		cancel()
	}
}

// TestAMessageOnItsWayRefusesNoSubscription subscribes under the number of a message that the client hasn't acknowledged: numbers of the two
// directions have nothing to do with each other.
func TestAMessageOnItsWayRefusesNoSubscription(t *testing.T) {
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Publish("a", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "mqtt://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange := func(packet, want string) {
		t.Helper()
		if _, err := c.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("%x, %v; want %x", got, err, want)
		}
	}
	exchange("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c", "\x20\x02\x00\x00")
	exchange("\x82\x06\x00\x07\x00\x01a\x01", "\x90\x03\x00\x07\x01\x33\x06\x00\x01a\x00\x01x") // and the message, under number 1
	exchange("\x82\x06\x00\x01\x00\x01b\x01", "\x90\x03\x00\x01\x01")
	exchange("\x40\x02\x00\x01\xc0\x00", "\xd0\x00") // the late acknowledgement is nothing to it
}
