package broker_test

import (
	"fmt"
	"net"
	"strings"
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
