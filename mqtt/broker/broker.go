// Package broker is a small MQTT broker in this process, for the demonstration and for tests.
//
// It listens on the loopback interface only and lets everybody in who can reach that. It keeps nothing on disk, and promises
// nothing of what a real broker does about load, access or restarts: a door should have a real one.
package broker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"syscall"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// host is where the broker can be reached, and nowhere else.
const host = "127.0.0.1"

// usual is the port that MQTT programs try first.
const usual = 1883

// Options of a Broker.
type Options struct {
	// Port is where to listen. With 0 it is 1883, or any free port if that one is taken; with -1 any free port.
	Port int
}

// Broker is a running broker.
type Broker struct {
	server *mqtt.Server
	port   int
	order  *order
	close  func() error
}

var _ io.Closer = (*Broker)(nil)

// Start returns a broker that accepts connections. It must be closed.
func Start(o Options) (*Broker, error) {
	l, err := listen(o.Port)
	if err != nil {
		return nil, err
	}
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler), InlineClient: true})
	line := &order{aliases: s.Options.Capabilities.TopicAliasMaximum}
	hooks := []mqtt.Hook{
		new(auth.AllowHook), // lets everybody in; without any hook nobody would be
		line,
	}
	b := &Broker{server: s, order: line, port: l.Addr().(*net.TCPAddr).Port, close: sync.OnceValue(s.Close)}
	for _, h := range hooks {
		err = errors.Join(err, s.AddHook(h, nil))
	}
	if err == nil {
		err = s.AddListener(listeners.NewNet("loopback", l))
	}
	if err == nil {
		err = s.Serve()
	}
	if err != nil {
		return nil, fmt.Errorf("broker: start at %s: %w", l.Addr(), errors.Join(err, l.Close()))
	}
	return b, nil
}

func listen(port int) (net.Listener, error) {
	try := func(p int) (net.Listener, error) { return net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(p))) }
	var l net.Listener
	var err error
	switch port {
	case 0:
		// Whatever is at that port stays untouched, and so does a port that this user may not have.
		if l, err = try(usual); errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			l, err = try(0)
		}
	case -1:
		l, err = try(0)
	default:
		l, err = try(port)
	}
	if err != nil {
		return nil, fmt.Errorf("broker: listen: %w", err)
	}
	return l, nil
}

// URL is where the broker can be reached.
func (b *Broker) URL() string { return fmt.Sprintf("mqtt://%s:%d", host, b.port) }

// Publish is what a client that isn't there says, with QoS 1.
func (b *Broker) Publish(topic string, payload []byte, retained bool) error {
	if retained {
		b.order.mu.Lock()
		defer b.order.mu.Unlock()
	}
	if err := b.server.Publish(topic, payload, retained, 1); err != nil {
		return fmt.Errorf("broker: publish on %s: %w", topic, err)
	}
	return nil
}

// Close ends all connections and returns when they are gone.
func (b *Broker) Close() error { return b.close() }
