package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	keepAlive = 30 * time.Second
	// farewell is how long paho may take to stop. It waits for nobody but its own goroutines by then.
	farewell = time.Second
	// handing is how long paho may take to take a message, before anything of it goes out.
	handing = 2 * time.Second
)

// link is one connection to a broker, from CONNECT to its end. Each has a paho client of its own, because nothing that one
// connection left undone may count as done in the next.
type link struct {
	*attempt
	client  paho.Client
	wire    *wire
	timeout time.Duration
	qos     byte // of subscriptions
}

// linkOptions is what a link needs.
type linkOptions struct {
	endpoint endpoint
	keeper   *keeper // of the credentials
	clientID string
	will     string // topic on which the broker says offline for us; "" for none
	light    bool   // subscriptions with QoS 0
	ordered  bool   // callbacks run one after the other, on the goroutine that reads
	timeout  time.Duration
	limit    int              // longest packet that the broker may send
	now      func() time.Time // what certificates are held against
	synced   func() bool      // whether that follows a reference; nil if nobody knows
}

// attempt reads the files that a connection needs.
func (o linkOptions) attempt() (*attempt, error) {
	a := &attempt{endpoint: o.endpoint, credentials: o.keeper.credentials, now: o.now, synced: o.synced}
	var err error
	if a.secret, err = a.password(); err != nil {
		return nil, err
	}
	if a.tls {
		if a.files, err = o.keeper.current(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// connect returns when the broker has accepted the connection. The link must be ended.
func connect(ctx context.Context, o linkOptions) (*link, error) {
	a, err := o.attempt()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errSilent)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.address())
	a.reached = err == nil
	if a.reached && a.tls {
		conn, err = a.handshake(ctx, conn)
	}
	if err != nil {
		return nil, a.explain("connect to", cut(ctx, err))
	}
	return o.login(ctx, a, conn)
}

// cut is why something failed, which ctx may know better.
func cut(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// handshake speaks TLS. It closes the connection if that fails.
func (a *attempt) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	t := tls.Client(conn, a.config())
	if err := t.HandshakeContext(ctx); err != nil {
		_ = t.Close()
		return nil, err
	}
	a.trusted, a.peer = true, t.ConnectionState().PeerCertificates[0]
	return t, nil
}

// login says CONNECT, and takes the connection over.
func (o linkOptions) login(ctx context.Context, a *attempt, conn net.Conn) (*link, error) {
	l := &link{attempt: a, wire: newWire(conn, o.timeout, o.limit), timeout: o.timeout, qos: 1}
	if o.light {
		l.qos = 0
	}
	// paho's Connect can't be cancelled, but it fails when the connection under it closes.
	stop := context.AfterFunc(ctx, func() { l.wire.end(context.Cause(ctx)) })
	defer stop()

	p := paho.NewClientOptions()
	p.Servers = []*url.URL{{Scheme: "tcp", Host: a.address()}} // paho wants one; the connection is there already
	p.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return l.wire, nil })
	p.SetClientID(o.clientID).SetUsername(a.username).SetPassword(a.secret)
	p.SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(o.ordered)
	p.SetKeepAlive(keepAlive).SetPingTimeout(o.timeout).SetConnectTimeout(o.timeout).SetWriteTimeout(handing)
	if o.will != "" {
		p.SetBinaryWill(o.will, []byte(Offline), 1, true)
	}
	l.client = paho.NewClient(p)
	t := l.client.Connect()
	<-t.Done() // within the time-out, as its connection closes then
	if err := l.result(t); err != nil {
		// paho has given up by itself, and a Disconnect while it still does so would wait in vain.
		_ = l.wire.Close()
		return nil, a.explain("connect to", err)
	}
	a.accepted = true
	return l, nil
}

// end closes the connection without saying goodbye, so that the broker publishes the will. It may be called twice.
func (l *link) end() {
	_ = l.wire.Close()
	l.client.Disconnect(uint(farewell.Milliseconds()))
}

// disconnect says goodbye: the will is not published.
func (l *link) disconnect() {
	l.client.Disconnect(uint(farewell.Milliseconds()))
	_ = l.wire.Close()
}

// publish gives a message to paho. It takes one for done, or for later, when there is no connection, and one that it was given
// at the very end it holds for the time of handing: then a goroutine stays behind that long.
func (l *link) publish(topic string, qos byte, payload []byte, retained bool) (paho.Token, error) {
	if !l.client.IsConnectionOpen() {
		select {
		case <-l.wire.closed:
			return nil, l.wire.cause()
		default:
			return nil, errClosed
		}
	}
	return l.give(func() paho.Token { return l.client.Publish(topic, qos, retained, payload) })
}

func (l *link) give(to func() paho.Token) (paho.Token, error) {
	given := make(chan paho.Token, 1)
	go func() { given <- to() }()
	select {
	case t := <-given:
		return t, nil
	case <-l.wire.closed:
		return nil, l.wire.cause()
	}
}

// await waits until the broker has answered, or there is no hope that it will.
func (l *link) await(ctx context.Context, t paho.Token) error {
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	select {
	case <-t.Done():
		return l.result(t)
	case <-l.wire.closed:
		return l.wire.cause()
	case <-timer.C:
		return errSilent
	case <-ctx.Done():
		return ctx.Err()
	}
}

// result is what a token that is done says. paho completes those of a lost connection with errors of its own; what the wire
// saw says more, except where the broker's answer was a refusal.
func (l *link) result(t paho.Token) error {
	err := t.Error()
	if err == nil || refusal(err) {
		return err
	}
	select {
	case <-l.wire.closed:
		return l.wire.cause()
	default:
		return err
	}
}

func refusal(err error) bool {
	return errors.Is(err, packets.ErrorRefusedBadProtocolVersion) || errors.Is(err, packets.ErrorRefusedIDRejected) ||
		errors.Is(err, packets.ErrorRefusedServerUnavailable) || errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) ||
		errors.Is(err, packets.ErrorRefusedNotAuthorised)
}

// subscribe returns when the broker has granted a subscription. paho's token has no error for one that was denied.
func (l *link) subscribe(ctx context.Context, filter string, handle paho.MessageHandler) error {
	t, err := l.give(func() paho.Token { return l.client.Subscribe(filter, l.qos, handle) })
	if err != nil {
		return err
	}
	if err := l.await(ctx, t); err != nil {
		return err
	}
	s, ok := t.(*paho.SubscribeToken)
	if !ok {
		return errDenied
	}
	if qos, ok := s.Result()[filter]; !ok || qos > 2 {
		return errDenied
	}
	return nil
}
