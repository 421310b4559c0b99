package mqtt

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// journalOf is a log that a test reads while it is written.
type journalOf struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journalOf) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journalOf) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.b.String(), s)
}

func (j *journalOf) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// installed is where a client's files are, of which a test puts others there.
type installed struct {
	t   *testing.T
	dir string
}

func (i installed) path(name string) string { return filepath.Join(i.dir, name) }

// put replaces a file with the content of others, as an administrator should: whole.
func (i installed) put(name string, from ...string) {
	i.t.Helper()
	if err := os.Rename(joined(i.t, 0o600, from...), i.path(name)); err != nil {
		i.t.Fatal(err)
	}
}

func (i installed) write(name, text string) {
	i.t.Helper()
	if err := os.WriteFile(i.path(name), []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
}

func TestBrokerWithANewCertificateByANewAuthority(t *testing.T) {
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	one, two := newAuthorityCalled(t, "one", time.Time{}), newAuthorityCalled(t, "two", time.Time{})
	one.issue("broker", x509.Certificate{IPAddresses: loopback})
	two.issue("broker", x509.Certificate{IPAddresses: loopback})
	here := installed{t, t.TempDir()}
	here.put("ca.pem", one.path("one.pem"))
	here.put("broker.pem", one.path("broker.pem"))
	here.put("broker.key", one.path("broker.key"))
	m := startMosquitto(t, "allow_anonymous true", "certfile "+here.path("broker.pem"), "keyfile "+here.path("broker.key"))
	c := start(t, Options{URL: "mqtts://" + m.address(), CAFile: here.path("ca.pem")})
	eventually(t, "the connection", func() bool { return c.Status().Connected })

	here.put("broker.pem", two.path("broker.pem"))
	here.put("broker.key", two.path("broker.key"))
	m.kill()
	m.start()
	eventually(t, "the refusal", func() bool { return KindOf(c.Status().Err) == KindAuthority })
	c.PublishVerdict(numbered(1))
	here.put("ca.pem", two.path("two.pem"))
	eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
}

// TestOwnCertificateIsRotated replaces it while verdicts are published: the device says offline, comes back with the new one, and nothing is lost.
func TestOwnCertificateIsRotated(t *testing.T) {
	a := newAuthority(t)
	a.issue("broker", x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	a.issue("first", x509.Certificate{ExtKeyUsage: client})
	a.issue("second", x509.Certificate{ExtKeyUsage: client})
	m := startMosquitto(t, "allow_anonymous false", "cafile "+a.path("authority.pem"), "certfile "+a.path("broker.pem"),
		"keyfile "+a.path("broker.key"), "require_certificate true", "use_identity_as_username true")
	here := installed{t, t.TempDir()}
	here.put("own.pem", a.path("first.pem"))
	here.put("own.key", a.path("first.key"))
	files := func(o *SubscribeOptions) {
		o.CAFile, o.CertFile, o.KeyFile = a.path("authority.pem"), a.path("first.pem"), a.path("first.key")
	}
	so := SubscribeOptions{URL: "mqtts://" + m.address(), Device: "door-7", Log: testLog(t), Pause: soon}
	files(&so)
	ctx, cancel := context.WithCancel(t.Context())
	in, err := Subscribe(ctx, so)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		for range in { // until it is closed
		}
	}()
	log := &journalOf{}
	c := start(t, Options{URL: "mqtts://" + m.address(), CAFile: a.path("authority.pem"), CertFile: here.path("own.pem"), KeyFile: here.path("own.key"),
		Reload: 20 * time.Millisecond, Log: log.logger()})
	eventually(t, "the connection", func() bool { return c.Status().Connected })

	const verdicts = 200
	for seq := range uint64(verdicts) {
		if seq == verdicts/2 {
			here.put("own.pem", a.path("second.pem"))
			here.put("own.key", a.path("second.key"))
			eventually(t, "the second connection", func() bool { return c.Status().Connections == 2 && c.Status().Connected })
		}
		c.PublishVerdict(numbered(seq + 1))
	}
	var availability []string
	for next := uint64(1); next <= verdicts; {
		switch r := take(t, "a message", in); r.Topic {
		case "livenessd/door-7/availability":
			availability = append(availability, string(r.Payload))
		case "livenessd/door-7/camera/front/verdict":
			v, err := ParseVerdict(r.Payload)
			if err != nil || v.Seq != next {
				t.Fatalf("%d came when %d was due, %v", v.Seq, next, err)
			}
			next++
		}
	}
	if got := strings.Join(availability, " "); got != "online offline online" {
		t.Errorf("availability was %s", got)
	}
	said, err := os.ReadFile(m.log())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(said), "u'second'") {
		t.Errorf("nobody of that name was let in:\n%s", said)
	}
	if n := log.count("level=WARN"); n > 1 { // one, if it was looked between the certificate and its key
		t.Errorf("%d warnings:\n%s", n, log.b.String())
	}
}

// TestFilesThatCannotBeUsedLeaveTheOldOnes damages them while the client is connected.
func TestFilesThatCannotBeUsedLeaveTheOldOnes(t *testing.T) {
	a := newAuthority(t)
	a.issue("broker", x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	a.issue("first", x509.Certificate{ExtKeyUsage: client})
	a.issue("second", x509.Certificate{ExtKeyUsage: client})
	a.issue("expired", x509.Certificate{ExtKeyUsage: client, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	m := startMosquitto(t, "allow_anonymous true", "cafile "+a.path("authority.pem"), "certfile "+a.path("broker.pem"),
		"keyfile "+a.path("broker.key"), "require_certificate true")
	here := installed{t, t.TempDir()}
	good := func() {
		here.put("ca.pem", a.path("authority.pem"))
		here.put("own.pem", a.path("first.pem"))
		here.put("own.key", a.path("first.key"))
	}
	for name, damage := range map[string]func(){
		"no certificate":          func() { here.write("own.pem", "") },
		"another's key":           func() { here.put("own.key", a.path("second.key")) },
		"an expired certificate":  func() { here.put("own.key", a.path("expired.key")); here.put("own.pem", a.path("expired.pem")) },
		"no authority":            func() { here.write("ca.pem", "soon\n") },
		"half an authority":       func() { here.put("ca.pem", truncated(t, a.path("authority.pem"))) },
		"nothing":                 func() { _ = os.Remove(here.path("ca.pem")) },
		"a key that is published": func() { _ = os.Chmod(here.path("own.key"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			good()
			log := &journalOf{}
			c := start(t, Options{URL: "mqtts://" + m.address(), CAFile: here.path("ca.pem"), CertFile: here.path("own.pem"),
				KeyFile: here.path("own.key"), Reload: 5 * time.Millisecond, Log: log.logger()})
			eventually(t, "the connection", func() bool { return c.Status().Connected })
			damage()
			const warning = "what they held before still counts"
			eventually(t, "the warning", func() bool { return log.count(warning) > 0 })
			// A connection that is lost meanwhile is made again with what was there before.
			m.kill()
			eventually(t, "the loss", func() bool { return !c.Status().Connected })
			m.start()
			eventually(t, "the second connection", func() bool { return c.Status().Connections == 2 && c.Status().Connected })
			// While the expired one is put there, certificate and key don't belong together for a moment.
			if n := log.count(warning); n > 2 || n == 2 && name != "an expired certificate" {
				t.Errorf("said %d times:\n%s", n, log.b.String())
			}
			good()
			eventually(t, "the end of it", func() bool { return log.count("can be used again") == 1 })
			if s := c.Status(); s.Connections != 2 {
				t.Errorf("%+v", s)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAuthorityThatIsTakenAwayIsTrustedNoMore takes it away while the client is connected to a broker of its.
func TestAuthorityThatIsTakenAwayIsTrustedNoMore(t *testing.T) {
	one, two := newAuthorityCalled(t, "one", time.Time{}), newAuthorityCalled(t, "two", time.Time{})
	one.issue("broker", x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	plain := freePort(t)
	m := startMosquitto(t, "allow_anonymous true", "certfile "+one.path("broker.pem"), "keyfile "+one.path("broker.key"), "listener "+plain+" 127.0.0.1")
	awaitPort(t, "127.0.0.1:"+plain)
	in := listen(t, "mqtt://127.0.0.1:"+plain)
	here := installed{t, t.TempDir()}
	here.put("ca.pem", one.path("one.pem"), two.path("two.pem"))
	p := newInsistent(3)
	c := start(t, Options{URL: "mqtts://" + m.address(), CAFile: here.path("ca.pem"), Reload: 5 * time.Millisecond, Pause: p.pause})
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	here.put("ca.pem", two.path("two.pem"))
	for _, want := range []string{"online", "offline"} { // nobody must take it for being there
		if r := until(t, in, "livenessd/door-7/availability"); string(r.Payload) != want {
			t.Errorf("%s, want %s", r.Payload, want)
		}
	}
	take(t, "the refusal", p.done)
	if s := c.Status(); s.Connections != 1 || s.Connected || KindOf(s.Err) != KindAuthority {
		t.Errorf("%+v", s)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestRefusedCertificateIsToldHoweverTheConnectionEnds looks at what TLS 1.3 leaves to luck: whether the broker's refusal is read, or CONNECT
// can't be written first.
func TestRefusedCertificateIsToldHoweverTheConnectionEnds(t *testing.T) {
	a, other := newAuthority(t), newAuthorityCalled(t, "another authority", time.Time{})
	a.issue("broker", x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	other.issue("client", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	m := startMosquitto(t, "allow_anonymous true", "cafile "+a.path("authority.pem"), "certfile "+a.path("broker.pem"),
		"keyfile "+a.path("broker.key"), "require_certificate true")
	for _, late := range []time.Duration{0, 5 * time.Millisecond} { // how long CONNECT is held back
		for want, cred := range map[Kind]credentials{
			KindOwnRefused: {caFile: a.path("authority.pem"), certFile: other.path("client.pem"), keyFile: other.path("client.key")},
			KindOwnMissing: {caFile: a.path("authority.pem")},
		} {
			for range 50 {
				o := linkOptions{endpoint: endpoint{"127.0.0.1", m.address()[len("127.0.0.1:"):], true}, clientID: "x", timeout: patience, limit: maxPacket,
					keeper: &keeper{credentials: cred, log: testLog(t), now: time.Now}, now: time.Now}
				at, err := o.attempt()
				if err != nil {
					t.Fatal(err)
				}
				conn, err := net.Dial("tcp", m.address())
				if err == nil {
					conn, err = at.handshake(t.Context(), conn)
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(late)
				if _, err := o.login(t.Context(), at, conn); KindOf(err) != want {
					t.Fatalf("%v: %s of %v, want %s", late, KindOf(err), err, want)
				}
			}
		}
	}
}
