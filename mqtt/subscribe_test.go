package mqtt

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// send publishes from a fake broker, at QoS 0.
func send(c net.Conn, topic string, payload []byte) error {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = topic, payload
	return p.Write(c)
}

// subscribed greets a subscriber and grants its subscription.
func subscribed(c net.Conn) bool {
	greet(c, 0)
	p, err := packets.ReadPacket(c)
	s, ok := p.(*packets.SubscribePacket)
	if err != nil || !ok {
		return false
	}
	_, err = c.Write([]byte{0x90, 3, byte(s.MessageID >> 8), byte(s.MessageID), 1})
	return err == nil
}

// TestSlowReaderGetsAllInOrderAcrossConnections sends more than waits for the reader, and ends the connection right after it.
func TestSlowReaderGetsAllInOrderAcrossConnections(t *testing.T) {
	const each = handover + 44
	f := newFake(t, func(n int, c net.Conn) {
		if !subscribed(c) {
			return
		}
		for i := range each {
			if send(c, "livenessd/door-7/test", fmt.Append(nil, n*each+i)) != nil {
				return
			}
		}
		if n > 0 {
			converse(c, 1, everything)
		}
	})
	in := listen(t, f.url())
	eventually(t, "a full buffer", func() bool { return len(in) == handover })
	for i := range 2 * each {
		if m := take(t, "a message", in); string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("%s came when %d was due", m.Payload, i)
		}
	}
}

func TestSubscribeSaysWhyItCannot(t *testing.T) {
	const short = 50 * time.Millisecond
	denies := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		converse(c, 0x80, everything)
	})
	silent := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		_, _ = packets.ReadPacket(c)
		_, _ = packets.ReadPacket(c)
	})
	babbles := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		for send(c, "livenessd/door-7/test", []byte("x")) == nil {
		}
	})
	refuses := newFake(t, func(_ int, c net.Conn) { greet(c, 4) })
	absent := newFake(t, nil)
	absent.stop()
	for name, test := range map[string]struct {
		o          SubscribeOptions
		text, hint string
	}{
		"denied":                {SubscribeOptions{URL: denies.url()}, "denied the subscription", "access list"},
		"no answer":             {SubscribeOptions{URL: silent.url(), Timeout: short}, "no answer in time", "see its health"},
		"much but no answer":    {SubscribeOptions{URL: babbles.url(), Timeout: short}, "no answer in time", "see its health"},
		"a refused password":    {SubscribeOptions{URL: refuses.url()}, "without a name", "password_file"},
		"nobody there":          {SubscribeOptions{URL: absent.url()}, "connection refused", "start the broker"},
		"no url":                {SubscribeOptions{}, "empty", "mqtt://HOST"},
		"a device with a slash": {SubscribeOptions{URL: denies.url(), Device: "a/b"}, "a /", "choose a name"},
		"a prefix with a hash":  {SubscribeOptions{URL: denies.url(), Prefix: "a/#"}, "wildcards", "choose names"},
		"a password alone":      {SubscribeOptions{URL: denies.url(), PasswordFile: "x"}, "without username", "set username"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		in, err := Subscribe(ctx, test.o)
		if err == nil || in != nil || !strings.Contains(err.Error(), test.text) || !hinted(err, test.hint) {
			t.Errorf("%s: %v, hint %q", name, err, hint(err))
		}
		cancel()
	}
	eventually(t, "the end of all goroutines", func() bool { return leftovers() == 0 })
}

func TestSubscriptionEndsWithItsContext(t *testing.T) {
	for name, read := range map[string]bool{"with a reader": true, "without a reader": false} {
		f := newFake(t, func(_ int, c net.Conn) {
			for on := subscribed(c); on; {
				on = send(c, "livenessd/door-7/test", []byte("x")) == nil
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		in, err := Subscribe(ctx, SubscribeOptions{URL: f.url(), Pause: soon})
		if err != nil {
			t.Fatal(name, err)
		}
		if read {
			take(t, "a message", in)
		} else {
			eventually(t, "a full buffer", func() bool { return len(in) == handover })
		}
		cancel()
		for range in { // until it is closed
		}
	}
	eventually(t, "the end of all goroutines", func() bool { return leftovers() == 0 })
}

func TestMessageOfAnySizeEndsTheConnectionAtMost(t *testing.T) {
	listening := make(chan struct{})
	f := newFake(t, func(n int, c net.Conn) {
		if !subscribed(c) {
			return
		}
		if n == 0 {
			<-listening
			_ = send(c, "livenessd/door-7/test", make([]byte, maxReceived+1)) // the other side needn't take it all
			return
		}
		_ = send(c, "livenessd/door-7/test", make([]byte, 1000))
		converse(c, 1, everything)
	})
	in := listen(t, f.url())
	close(listening)
	if m := take(t, "a message of the next connection", in); len(m.Payload) != 1000 {
		t.Errorf("%d bytes", len(m.Payload))
	}
}

func TestSubscriberOfEveryDevice(t *testing.T) {
	b := startBroker(t)
	ctx, cancel := context.WithCancel(t.Context())
	in, err := Subscribe(ctx, SubscribeOptions{URL: b.URL(), Prefix: "site/hall"})
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"door-7", "door-8"} {
		c := start(t, Options{URL: b.URL(), Prefix: "site/hall", Device: device})
		until(t, in, "site/hall/"+device+"/availability")
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	for range in { // until it is closed
	}
}
