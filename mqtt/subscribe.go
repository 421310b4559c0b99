package mqtt

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	randv2 "math/rand/v2"
	"slices"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	// handover is how many messages may wait for a reader before the connection waits too.
	handover = 256
	// maxReceived bounds a packet that a subscriber takes.
	maxReceived = 1 << 20
)

// SubscribeOptions of Subscribe.
type SubscribeOptions struct {
	URL    string   // mqtt://HOST[:PORT] or mqtts://HOST[:PORT]
	Others []string // further ones, which are tried in turn
	Prefix string   // "" is DefaultPrefix
	Device string   // "" is every device

	Username     string
	PasswordFile string // read at each connection; refused while everybody may read it
	CAFile       string
	CertFile     string
	KeyFile      string

	Log     *slog.Logger
	Timeout time.Duration                        // for a connection and for the subscription; 0 is 10 s
	Pause   func(context.Context, time.Duration) // as in Options
}

// Received is a message that came.
type Received struct {
	Topic    string
	Payload  []byte
	Retained bool // it is older than the subscription

	change *Connection // instead of a message: the connection changed
}

// Subscribe returns what is published below a device's topics, in the order in which the broker sends it. It returns as soon as the
// broker has granted the subscription, or with an error when none of the brokers does; from then on a lost connection is made
// again until ctx ends, which closes the channel.
//
// When the reader is slow, 256 messages wait for it, and then the connection does. Lost is what the broker can't hold back then, what
// a reader that stalls leaves lying when the connection ends, and what is published while there is none; what is retained
// comes again after each connection. A message of more than 1 MiB ends the connection.
func Subscribe(ctx context.Context, o SubscribeOptions) (<-chan Received, error) {
	s, err := newSubscriber(o)
	if err != nil {
		return nil, err
	}
	l, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	go s.run(ctx, l)
	return s.received, nil
}

// subscriber hands on what one connection after the other brings. Its run is the only one to send to received.
type subscriber struct {
	endpoints []endpoint
	link      linkOptions // to the endpoint whose turn it is
	filter    string
	received  chan Received
	notices   bool // changes of the connection are handed on, too
	log       *slog.Logger
	pause     func(context.Context, time.Duration)
}

// source is a connection that brings messages.
type source struct {
	*link
	in    chan Received // the callback waits here, and paho with it
	ended chan struct{} // closed when nobody listens to in any more
}

func newSubscriber(o SubscribeOptions) (*subscriber, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	filter := o.Prefix + "/+/#"
	if err := CheckPrefix(o.Prefix); err != nil {
		return nil, err
	}
	if o.Device != "" {
		t, err := NewTopics(o.Prefix, o.Device)
		if err != nil {
			return nil, err
		}
		filter = t.root + "/#"
	}
	cred := credentials{username: o.Username, passwordFile: o.PasswordFile, caFile: o.CAFile, certFile: o.CertFile, keyFile: o.KeyFile}
	var endpoints []endpoint
	for _, url := range append([]string{o.URL}, o.Others...) {
		e, err := parseURL(url)
		if err != nil {
			return nil, err
		}
		if err := cred.check(e); err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	return &subscriber{
		// Unlike a device, subscribers may be many: each has an id of its own. Order matters to them, and to wait in the callback is what
		// holds a fast broker back.
		link: linkOptions{endpoint: endpoints[0], keeper: &keeper{credentials: cred, log: o.Log, now: time.Now}, clientID: "livenessd-" + rand.Text()[:12],
			ordered: true, timeout: o.Timeout, limit: maxReceived, now: time.Now},
		endpoints: endpoints, filter: filter, received: make(chan Received, handover), log: o.Log, pause: o.Pause,
	}, nil
}

// find connects to the first broker that will have it, from the one whose turn it is.
func (s *subscriber) find(ctx context.Context) (*source, error) {
	var errs []error
	for range s.endpoints {
		c, err := s.connect(ctx)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		at := (slices.Index(s.endpoints, s.link.endpoint) + 1) % len(s.endpoints)
		s.link.endpoint = s.endpoints[at]
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

// connect returns a connection on which the subscription is granted.
func (s *subscriber) connect(ctx context.Context) (*source, error) {
	l, err := connect(ctx, s.link)
	if err != nil {
		return nil, err
	}
	c := &source{link: l, in: make(chan Received), ended: make(chan struct{})}
	granted := make(chan error, 1)
	go func() {
		granted <- l.subscribe(ctx, s.filter, func(_ paho.Client, m paho.Message) {
			select {
			case c.in <- Received{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained()}:
			case <-c.ended:
			}
		})
	}()
	// Messages may come before the broker's answer, and paho reads no further until they are taken. If there are more than a reader may
	// leave lying, the answer doesn't come in time.
	var early []Received
	in := c.in
	for {
		select {
		case m := <-in:
			if early = append(early, m); len(early) == handover {
				in = nil
			}
			continue
		case err = <-granted:
		}
		break
	}
	if err != nil {
		close(c.ended)
		l.end()
		return nil, l.explain("subscribe to "+s.filter+" at", err)
	}
	s.note(ctx, Connection{Connected: true})
	for _, m := range early {
		s.hand(ctx, m)
	}
	return c, nil
}

func (s *subscriber) hand(ctx context.Context, m Received) {
	select {
	case s.received <- m:
	case <-ctx.Done():
	}
}

// note hands on that the connection changed. Before the first message there is room for it.
func (s *subscriber) note(ctx context.Context, c Connection) {
	if s.notices {
		s.hand(ctx, Received{change: &c})
	}
}

// pump hands on until the connection is lost or ctx ends, and then what was read before.
func (s *subscriber) pump(ctx context.Context, c *source) {
	for {
		select {
		case m := <-c.in:
			s.hand(ctx, m)
			continue
		case <-ctx.Done():
			close(c.ended) // first, as paho waits for the callback
			c.disconnect()
			return
		case <-c.wire.closed:
		}
		break
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.end()
	}()
	for {
		select {
		case m := <-c.in:
			s.hand(ctx, m)
		case <-stopped:
			close(c.ended)
			return
		}
	}
}

// run makes the connection again whenever it is lost.
func (s *subscriber) run(ctx context.Context, c *source) {
	defer close(s.received)
	for attempt := 0; ; {
		began := time.Now()
		s.pump(ctx, c)
		if ctx.Err() != nil {
			return
		}
		lost := c.explain("stay connected to", c.wire.cause())
		s.log.Warn("lost the connection to the broker", "error", lost)
		s.note(ctx, Connection{Err: lost})
		if time.Since(began) > settled {
			attempt = 0
		}
		said := ""
		for c = nil; c == nil; attempt++ {
			s.pause(ctx, backoff(attempt, randv2.Float64()))
			if ctx.Err() != nil {
				return
			}
			var err error
			if c, err = s.find(ctx); err != nil && err.Error() != said {
				said = err.Error()
				s.log.Warn("no connection to the broker", "error", err, "kind", KindOf(err), "hint", hint(err))
				s.note(ctx, Connection{Err: err})
			}
		}
		s.log.Info("subscribed again", "broker", s.link.endpoint.String())
	}
}

// hint is the hint of an error, "" where there is none.
func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
