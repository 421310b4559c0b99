package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// The steps of a Probe, in their order.
const (
	StepFiles     = "files"     // the password and certificates are read
	StepName      = "name"      // the host's name has addresses
	StepTCP       = "tcp"       // something listens there
	StepTLS       = "tls"       // it has a certificate that is trusted, and takes ours
	StepLogin     = "login"     // it is a broker, and lets the user in
	StepSubscribe = "subscribe" // the user may hear what a device must
	StepPublish   = "publish"   // what the user publishes is passed on
)

// Outcome is how a step ended.
type Outcome string

// The outcomes. Of a warning, the step did what it should, and its hint says what will go wrong, or is unwise.
const (
	Passed  Outcome = "ok"
	Warned  Outcome = "warning"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped" // as one before it failed
)

// Step is what one step on the way to a broker came to.
type Step struct {
	Broker  string        `json:"broker"` // its URL
	Name    string        `json:"step"`
	Outcome Outcome       `json:"outcome"`
	Seen    string        `json:"seen,omitempty"` // in words
	Kind    Kind          `json:"kind,omitempty"` // of a failure, or of what is warned of
	Hint    string        `json:"hint,omitempty"` // what to do
	Took    time.Duration `json:"took_ns"`
}

// renewal is how long before its end a certificate is warned of.
const renewal = 14 * 24 * time.Hour

// Probe goes the way to each of the brokers step by step, as a Client would, and tells what it saw. It is for a technician, and disturbs
// nobody: its client id isn't the device's, it has no will, and what it publishes, below the device's topics on probe alone, isn't retained. An access list
// that goes by client ids takes it for somebody else.
//
// Options that New refuses are an error. No step takes longer than Options.Timeout; ctx ends all of them.
func Probe(ctx context.Context, o Options) ([]Step, error) {
	c, err := o.prepare()
	if err != nil {
		return nil, err
	}
	var all []Step
	for _, e := range c.endpoints {
		link := c.link
		// Nothing of another broker counts here, nor of before.
		link.endpoint, link.keeper = e, &keeper{credentials: c.link.keeper.credentials, log: o.Log, now: o.Now}
		link.clientID, link.will = "livenessd-"+o.Device+"-probe", ""
		p := &probe{o: o, topics: c.topics, link: link}
		all = append(all, p.run(ctx)...)
	}
	return all, nil
}

// probe is the way to one broker.
type probe struct {
	o      Options
	topics Topics
	link   linkOptions

	attempt *attempt
	conn    net.Conn
	mqtt    *link
}

// finding is what a step saw, if it didn't fail.
type finding struct {
	seen string
	kind Kind
	hint string // with one it is a warning
}

func (p *probe) run(ctx context.Context) []Step {
	var steps []Step
	defer func() {
		switch {
		case p.mqtt != nil:
			p.mqtt.disconnect()
		case p.conn != nil:
			_ = p.conn.Close()
		}
	}()
	failed := false
	for _, step := range []struct {
		name string
		do   func(context.Context) (finding, error)
	}{{StepFiles, p.files}, {StepName, p.name}, {StepTCP, p.tcp}, {StepTLS, p.tls}, {StepLogin, p.login}, {StepSubscribe, p.subscribe},
		{StepPublish, p.publish}} {
		s := Step{Broker: p.link.endpoint.String(), Name: step.name, Outcome: Skipped}
		if !failed {
			s = p.step(ctx, s, step.do)
			failed = s.Outcome == Failed
		}
		steps = append(steps, s)
	}
	// With TLS 1.3 a certificate is refused after the handshake, which looks well until then.
	at := slices.IndexFunc(steps, func(s Step) bool { return s.Name == StepLogin })
	if s := &steps[at]; s.Outcome == Failed && (s.Kind == KindOwnMissing || s.Kind == KindOwnRefused || s.Kind == KindOwnExpired || s.Kind == KindClock ||
		s.Kind == KindNotYetValid) {
		before := &steps[at-1]
		before.Outcome, before.Seen, before.Kind, before.Hint = Failed, s.Seen, s.Kind, s.Hint
		before.Took += s.Took
		*s = Step{Broker: s.Broker, Name: s.Name, Outcome: Skipped}
	}
	return steps
}

func (p *probe) step(ctx context.Context, s Step, do func(context.Context) (finding, error)) Step {
	ctx, cancel := context.WithTimeoutCause(ctx, p.o.Timeout, errSilent)
	defer cancel()
	began := time.Now()
	f, err := do(ctx)
	s.Took = time.Since(began)
	s.Outcome, s.Seen, s.Kind, s.Hint = Passed, f.seen, f.kind, f.hint
	if f.hint != "" {
		s.Outcome = Warned
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = p.attempt.explain("probe", cut(ctx, err))
		}
		s.Outcome, s.Kind, s.Hint, s.Seen = Failed, KindOf(e), e.Hint(), e.Err.Error()
		if p.attempt == nil { // it is about a file, which only this names
			s.Seen = e.Op + ": " + s.Seen
		}
	}
	return s
}

func (p *probe) files(context.Context) (finding, error) {
	a, err := p.link.attempt()
	if err != nil {
		return finding{}, err
	}
	p.attempt = a
	var f finding
	var saw []string
	if a.passwordFile != "" {
		saw = append(saw, "a password")
	}
	if a.files != nil && a.files.roots != nil {
		saw = append(saw, fmt.Sprintf("authorities in ca_file: %d", len(a.files.authorities)))
	}
	if own := a.own(); own != nil {
		saw = append(saw, fmt.Sprintf("certificate %.120q, valid until %s", own.Subject.String(), utc(own.NotAfter)))
		switch now := a.now(); {
		case now.Before(own.NotBefore):
			f.kind, _, f.hint = a.early(own, "")
		case now.After(own.NotAfter):
			f.kind, f.hint = KindOwnExpired, "it has expired: put a new one into "+a.certFile
		case own.NotAfter.Sub(now) < renewal:
			f.kind, f.hint = KindOwnExpired, "it expires soon: put a new one into "+a.certFile
		}
	}
	if f.seen = strings.Join(saw, "; "); f.seen == "" {
		f.seen = "none are needed"
	}
	return f, nil
}

func (p *probe) name(ctx context.Context) (finding, error) {
	if net.ParseIP(p.attempt.host) != nil {
		return finding{seen: p.attempt.host + " is an address"}, nil
	}
	all, err := net.DefaultResolver.LookupHost(ctx, p.attempt.host)
	if err != nil {
		return finding{}, err
	}
	const most = 4
	seen := strings.Join(all[:min(most, len(all))], " ")
	if len(all) > most {
		seen += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return finding{seen: seen}, nil
}

func (p *probe) tcp(ctx context.Context) (finding, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.attempt.address())
	if err != nil {
		return finding{}, err
	}
	p.conn, p.attempt.reached = conn, true
	return finding{seen: "connected to " + conn.RemoteAddr().String()}, nil
}

func (p *probe) tls(ctx context.Context) (finding, error) {
	a := p.attempt
	if !a.tls {
		f := finding{seen: "no TLS, as the url says mqtt://"}
		if !a.loopback() {
			f.kind, f.hint = KindClear, "everything crosses the network in the clear: let the broker speak TLS, and write mqtts:// in the url"
		}
		return f, nil
	}
	conn, err := a.handshake(ctx, p.conn)
	if err != nil {
		p.conn = nil // it is closed
		return finding{}, err
	}
	p.conn = conn
	f := finding{}
	if t, ok := conn.(*tls.Conn); ok {
		f.seen = tls.VersionName(t.ConnectionState().Version) + ", "
	}
	f.seen += fmt.Sprintf("certificate %.120q of %.120q, valid until %s", a.peer.Subject.String(), a.peer.Issuer.String(), utc(a.peer.NotAfter))
	if a.asked {
		f.seen += "; it asks for a certificate"
	}
	if a.peer.NotAfter.Sub(a.now()) < renewal {
		f.kind, f.hint = KindExpired, "the broker's certificate expires soon: renew it"
	}
	return f, nil
}

func (p *probe) login(ctx context.Context) (finding, error) {
	l, err := p.link.login(ctx, p.attempt, p.conn)
	if err != nil {
		p.conn = nil // it is closed
		if KindOf(err) == KindClosed && !p.attempt.tls && p.speaksTLS(ctx) {
			return finding{}, p.attempt.explain("probe", errTLSPort)
		}
		return finding{}, err
	}
	p.mqtt = l
	who := "without a name"
	if p.attempt.username != "" {
		who = fmt.Sprintf("as %.80q", p.attempt.username)
	}
	return finding{seen: "let in " + who}, nil
}

// speaksTLS finds out whether a port that closed a connection without TLS is one with it. Nothing is said to it.
func (p *probe) speaksTLS(ctx context.Context) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.attempt.address())
	if err != nil {
		return false
	}
	defer conn.Close()
	// The first thing that the other side says is enough; whether it is to be trusted is no matter here.
	spoke := false
	t := tls.Client(conn, &tls.Config{ServerName: p.attempt.host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
		VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error {
			spoke = true
			return errTLSPort // no further
		}})
	err = t.HandshakeContext(ctx)
	var op *net.OpError
	return spoke || err == nil || errors.As(err, &op) && op.Op == remoteAlert
}

func (p *probe) subscribe(ctx context.Context) (finding, error) {
	t := p.topics
	filters := []string{t.Availability(), t.Request("+"), t.SetSwitches("+")}
	for _, f := range filters {
		err := p.mqtt.subscribe(ctx, f, func(paho.Client, paho.Message) {})
		if errors.Is(err, errDenied) {
			return finding{}, &Error{Op: "probe", Kind: KindDenied, Err: fmt.Errorf("the broker denied the subscription to %s", f),
				hint: "let the broker's access list allow " + p.user() + " to read it"}
		}
		if err != nil {
			return finding{}, err
		}
	}
	return finding{seen: "may subscribe to " + strings.Join(filters, ", ")}, nil
}

func (p *probe) user() string {
	if p.attempt.username == "" {
		return "users without a name"
	}
	return fmt.Sprintf("the user %.80q", p.attempt.username)
}

// publish listens to what it says, as brokers of MQTT 3.1.1 acknowledge what an access list forbids, and throw it away.
func (p *probe) publish(ctx context.Context) (finding, error) {
	topic, nonce := p.topics.probe(), rand.Text()
	document, err := json.Marshal(struct {
		Schema int    `json:"schema"`
		Nonce  string `json:"nonce"`
	}{schemaVersion, nonce})
	if err != nil {
		return finding{}, err
	}
	heard := make(chan struct{}, 1)
	denied := &Error{Op: "probe", Kind: KindDenied, Err: fmt.Errorf("the broker acknowledged a message on %s, and didn't pass it on", topic),
		hint: "let the broker's access list allow " + p.user() + " to publish and to read below " + p.topics.root + "/"}
	err = p.mqtt.subscribe(ctx, topic, func(_ paho.Client, m paho.Message) {
		if strings.Contains(string(m.Payload()), nonce) {
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	})
	if errors.Is(err, errDenied) {
		denied.Err = fmt.Errorf("the broker denied the subscription to %s", topic)
		return finding{}, denied
	}
	if err != nil {
		return finding{}, err
	}
	t, err := p.mqtt.publish(topic, 1, document, false)
	if err == nil {
		err = p.mqtt.await(ctx, t)
	}
	if err != nil {
		if ended(err) { // some brokers end the connection of whoever publishes what he may not
			denied.Err = fmt.Errorf("the broker closed the connection at a message on %s", topic)
			return finding{}, denied
		}
		return finding{}, err
	}
	select {
	case <-heard:
		return finding{seen: "a message on " + topic + " came back"}, nil
	case <-p.mqtt.wire.closed:
		return finding{}, p.mqtt.wire.cause()
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), errSilent) {
			return finding{}, denied
		}
		return finding{}, context.Cause(ctx)
	}
}
