package mqtt

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counter passes connections on, and counts them.
type counter struct {
	url string
	n   atomic.Int64
}

func newCounter(t *testing.T, scheme, to string) *counter {
	t.Helper()
	c := &counter{}
	f := newFake(t, func(_ int, in net.Conn) {
		c.n.Add(1)
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()
		var wg sync.WaitGroup
		wg.Go(func() { pass(out, in) })
		pass(in, out)
		_ = out.Close() // whoever ends it ends both sides
		_ = in.Close()
		wg.Wait()
	})
	c.url = scheme + "://" + f.listener.Addr().String()
	return c
}

// pass copies until the end, and passes that on.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

// insistent is a Pause for a client that fails: it lasts no time for so many attempts, and then for ever.
type insistent struct {
	attempts int
	mu       sync.Mutex
	waits    []time.Duration
	done     chan struct{}
}

func newInsistent(attempts int) *insistent {
	return &insistent{attempts: attempts, done: make(chan struct{}, 1)}
}

func (i *insistent) pause(ctx context.Context, d time.Duration) {
	i.mu.Lock()
	i.waits = append(i.waits, d)
	last := len(i.waits) == i.attempts
	i.mu.Unlock()
	if last {
		i.done <- struct{}{}
		<-ctx.Done()
	}
}

// conditions is one row of the matrix.
type conditions struct {
	broker []string // lines of mosquitto's configuration; nil: nothing listens
	env    []string
	server *tls.Config // instead of mosquitto
	raw    []byte      // instead, too: what is said
	scheme string      // "" for mqtts

	ca, cert, key      string // files; key "" is cert's
	username, password string
	synced             func() bool
	clock              time.Time // zero for the real one
	want               Kind      // "" if it connects
}

// matrix is what can be wrong between a client and a broker, each alone.
func matrix(t *testing.T) map[string]conditions {
	a := newAuthority(t)
	other := newAuthorityCalled(t, "another authority", time.Time{})
	gone := newAuthorityCalled(t, "an old authority", time.Now().Add(-time.Minute))
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	ago, hence := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	good := a.issue("good", x509.Certificate{IPAddresses: loopback})
	a.issue("long", x509.Certificate{IPAddresses: loopback, NotBefore: ago.Add(-2 * time.Hour), NotAfter: hence})
	a.issue("named", x509.Certificate{DNSNames: []string{"broker.example"}})
	a.issue("expired", x509.Certificate{IPAddresses: loopback, NotBefore: ago.Add(-time.Hour), NotAfter: ago})
	a.issue("early", x509.Certificate{IPAddresses: loopback, NotBefore: hence, NotAfter: hence.Add(time.Hour)})
	a.issue("purpose", x509.Certificate{IPAddresses: loopback, ExtKeyUsage: client})
	a.issue("client", x509.Certificate{ExtKeyUsage: client})
	a.issue("client-expired", x509.Certificate{ExtKeyUsage: client, NotBefore: ago.Add(-time.Hour), NotAfter: ago})
	a.issue("client-early", x509.Certificate{ExtKeyUsage: client, NotBefore: hence, NotAfter: hence.Add(time.Hour)})
	other.issue("client", x509.Certificate{ExtKeyUsage: client})
	gone.issue("good", x509.Certificate{IPAddresses: loopback})

	users := filepath.Join(t.TempDir(), "users")
	tool, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Skip("no mosquitto_passwd here: apt-get install mosquitto")
	}
	if out, err := exec.Command(tool, "-b", "-c", users, "me", "right").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	openssl := filepath.Join(t.TempDir(), "openssl.cnf")
	if err := os.WriteFile(openssl, []byte("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = TLSv1.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	only12 := []string{"OPENSSL_CONF=" + openssl}

	anybody := "allow_anonymous true"
	serve := func(by *authority, name string, more ...string) []string {
		return append([]string{"certfile " + by.path(name+".pem"), "keyfile " + by.path(name+".key")}, more...)
	}
	plain := []string{anybody}
	secure := serve(a, "good", anybody)
	mutual := serve(a, "good", anybody, "cafile "+a.path("authority.pem"), "require_certificate true")
	closed := serve(a, "good", "allow_anonymous false", "password_file "+users)
	ca, yes, no := a.path("authority.pem"), func() bool { return true }, func() bool { return false }
	unset := time.Date(1970, 1, 1, 0, 0, 42, 0, time.UTC)
	old := &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	trusted := x509.NewCertPool()
	trusted.AddCert(a.cert)
	inGo := &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
	return map[string]conditions{
		"good, TLS 1.3":               {broker: secure, ca: ca},
		"good, TLS 1.2":               {broker: secure, env: only12, ca: ca},
		"good, without TLS":           {broker: plain, scheme: "mqtt"},
		"good, mutual":                {broker: mutual, ca: ca, cert: a.path("client.pem")},
		"good, mutual, TLS 1.2":       {broker: mutual, env: only12, ca: ca, cert: a.path("client.pem")},
		"good, a password":            {broker: closed, ca: ca, username: "me", password: "right"},
		"a certificate nobody wanted": {broker: secure, ca: ca, cert: a.path("client.pem")},

		"an authority that isn't in ca_file":             {broker: secure, ca: other.path("another authority.pem"), want: KindAuthority},
		"an authority that the system doesn't know":      {broker: secure, want: KindAuthority},
		"an authority that has expired":                  {broker: serve(gone, "good", anybody), ca: gone.path("an old authority.pem"), want: KindExpired},
		"expired":                                        {broker: serve(a, "expired", anybody), ca: ca, synced: yes, want: KindExpired},
		"expired, says a clock that nobody set":          {broker: secure, ca: ca, clock: time.Now().AddDate(30, 0, 0), synced: no, want: KindExpired},
		"not yet valid":                                  {broker: serve(a, "early", anybody), ca: ca, synced: yes, want: KindNotYetValid},
		"not yet valid, says a clock that nobody set":    {broker: secure, ca: ca, clock: unset, synced: no, want: KindClock},
		"another host's":                                 {broker: serve(a, "named", anybody), ca: ca, want: KindHost},
		"for another purpose":                            {broker: serve(a, "purpose", anybody), ca: ca, want: KindCertificate},
		"no client certificate":                          {broker: mutual, ca: ca, want: KindOwnMissing},
		"no client certificate, TLS 1.2":                 {broker: mutual, env: only12, ca: ca, want: KindOwnMissing},
		"a client certificate of another authority":      {broker: mutual, ca: ca, cert: other.path("client.pem"), want: KindOwnRefused},
		"the same, TLS 1.2":                              {broker: mutual, env: only12, ca: ca, cert: other.path("client.pem"), want: KindOwnRefused},
		"an expired client certificate":                  {broker: mutual, ca: ca, cert: a.path("client-expired.pem"), synced: yes, want: KindOwnExpired},
		"the same, TLS 1.2, and a clock that nobody set": {broker: mutual, env: only12, ca: ca, cert: a.path("client-expired.pem"), synced: no, want: KindOwnExpired},
		"an expired one, says the broker alone": {broker: serve(a, "long", anybody, "cafile "+ca, "require_certificate true"), ca: ca,
			cert: a.path("client-expired.pem"), clock: ago.Add(-time.Second), synced: no, want: KindOwnExpired},
		"a client certificate of tomorrow":                 {broker: mutual, ca: ca, cert: a.path("client-early.pem"), synced: yes, want: KindNotYetValid},
		"the same, and a clock that nobody set":            {broker: mutual, ca: ca, cert: a.path("client-early.pem"), synced: no, want: KindClock},
		"a wrong password":                                 {broker: closed, ca: ca, username: "me", password: "wrong", want: KindLogin},
		"a user without a password":                        {broker: closed, ca: ca, username: "me", want: KindLogin},
		"nobody's name":                                    {broker: closed, ca: ca, want: KindLogin},
		"TLS to a port without it":                         {broker: plain, ca: ca, want: KindNoTLS},
		"a TLS port without TLS":                           {broker: secure, scheme: "mqtt", want: KindClosed},
		"a TLS port without TLS that says so":              {raw: []byte{alertRecord, 3, 1, 0, 2, 2, 70}, scheme: "mqtt", want: KindTLSPort},
		"a client certificate that a broker in Go refuses": {server: inGo, ca: ca, cert: other.path("client.pem"), want: KindOwnRefused},
		"an expired one that a broker in Go refuses":       {server: inGo, ca: ca, cert: a.path("client-expired.pem"), synced: yes, want: KindOwnExpired},
		"no client certificate for a broker in Go":         {server: inGo, ca: ca, want: KindOwnMissing},
		"nothing newer than TLS 1.1":                       {server: old, ca: ca, want: KindTLSVersion},
		"nothing that listens":                             {ca: ca, want: KindRefused},
		"a ca_file that isn't there":                       {broker: secure, ca: a.path("none.pem"), want: KindFile},
		"a certificate with another's key":                 {broker: mutual, ca: ca, cert: a.path("client.pem"), key: a.path("good.key"), want: KindFile},
		"a certificate whose key isn't one":                {broker: mutual, ca: ca, cert: a.path("client.pem"), key: a.path("client.pem"), want: KindFile},
		"a key that everybody can read":                    {broker: mutual, ca: ca, cert: a.path("client.pem"), key: public(t, a.path("client.key")), want: KindExposed},
		"a combined file that everybody can read":          {broker: mutual, ca: ca, cert: public(t, a.path("client.pem"), a.path("client.key")), key: a.path("client.key"), want: KindExposed},
		"a combined file for the user alone":               {broker: mutual, ca: ca, cert: joined(t, 0o600, a.path("client.pem"), a.path("client.key")), key: a.path("client.key")},
		"a certificate that everybody can read":            {broker: mutual, ca: ca, cert: public(t, a.path("client.pem")), key: a.path("client.key")},
		"two authorities in ca_file":                       {broker: secure, ca: joined(t, 0o644, other.path("another authority.pem"), ca)},
		"a key with a passphrase":                          {broker: mutual, ca: ca, cert: a.path("client.pem"), key: locked(t), want: KindFile},
		"a password that everybody can read":               {broker: closed, ca: ca, username: "me", password: "public", want: KindExposed},
		"a certificate cut off in the middle":              {broker: secure, ca: truncated(t, ca), want: KindFile},
		"a name that has no address":                       {broker: nil, ca: ca, scheme: "mqtts://no..host", want: KindName},
	}
}

func joined(t *testing.T, mode os.FileMode, paths ...string) string {
	t.Helper()
	var all []byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

func public(t *testing.T, paths ...string) string {
	t.Helper()
	return joined(t, 0o644, paths...)
}

func truncated(t *testing.T, path string) string {
	t.Helper()
	path = joined(t, 0o600, path, path)
	s, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, s.Size()-60); err != nil {
		t.Fatal(err)
	}
	return path
}

func locked(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGH\n-----END ENCRYPTED PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// options starts the broker of a row, and returns what connects to it, and how often that was tried, if it can be known.
func (c conditions) options(t *testing.T) (Options, *counter) {
	t.Helper()
	scheme := cmp.Or(c.scheme, "mqtts")
	var n *counter
	o := Options{Device: "door-7", CAFile: c.ca, Username: c.username, Synced: c.synced, Timeout: patience}
	switch {
	case strings.Contains(scheme, "://"):
		o.URL = scheme
	case c.raw != nil:
		n = newCounter(t, scheme, newFake(t, func(_ int, in net.Conn) {
			_, _ = in.Write(c.raw)
			_, _ = io.Copy(io.Discard, in)
		}).listener.Addr().String())
		o.URL = n.url
	case c.server != nil:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f := serveFake(t, tls.NewListener(l, c.server), func(_ int, c net.Conn) { greet(c, 0) })
		n = newCounter(t, scheme, f.listener.Addr().String())
		o.URL = n.url
	case c.broker == nil:
		f := newFake(t, nil)
		f.stop()
		o.URL = scheme + "://" + f.listener.Addr().String()
	default:
		n = newCounter(t, scheme, startMosquittoIn(t, c.env, c.broker...).address())
		o.URL = n.url
	}
	if c.password != "" {
		o.PasswordFile = filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(o.PasswordFile, []byte(c.password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if c.password == "public" {
			if err := os.Chmod(o.PasswordFile, 0o604); err != nil {
				t.Fatal(err)
			}
		}
	}
	if o.CertFile = c.cert; c.cert != "" {
		o.KeyFile = cmp.Or(c.key, strings.TrimSuffix(c.cert, ".pem")+".key")
	}
	if scheme == "mqtt" {
		o.CAFile = ""
	}
	if !c.clock.IsZero() {
		o.Now = func() time.Time { return c.clock }
	}
	return o, n
}

// anonymous takes out of a text what is another in each run.
func anonymous(s string) string {
	s = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(s, "TIME")
	s = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(s, "127.0.0.1:PORT")
	return regexp.MustCompile(`/\S*/(\d+/)`).ReplaceAllString(s, "DIR/$1")
}

// TestMatrix tries each way to fail with a real broker: what is said of it, that it is said once, and that it isn't tried in a tight loop.
func TestMatrix(t *testing.T) {
	const attempts = 20
	var golden bytes.Buffer
	rows := matrix(t)
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		row := rows[name]
		t.Run(name, func(t *testing.T) {
			o, n := row.options(t)
			var log bytes.Buffer
			p := newInsistent(attempts)
			o.Pause, o.Log = p.pause, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
			c := start(t, o)
			if row.want == "" {
				eventually(t, "an outcome", func() bool { s := c.Status(); return s.Connected || s.Err != nil })
				if s := c.Status(); !s.Connected || s.Err != nil {
					t.Fatalf("%+v", s)
				}
				c.PublishVerdict(numbered(1))
				eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
				if n.n.Load() != 1 {
					t.Errorf("%d connections", n.n.Load())
				}
				return
			}
			take(t, "the last attempt", p.done)
			s := c.Status()
			if s.Connections != 0 || KindOf(s.Err) != row.want || hint(s.Err) == "" {
				t.Errorf("%+v: %s, hint %q; want %s", s, KindOf(s.Err), hint(s.Err), row.want)
			}
			fmt.Fprintf(&golden, "%s\n\t%s\n\t%s\n\t→ %s\n", name, KindOf(s.Err), anonymous(fmt.Sprint(s.Err)), anonymous(hint(s.Err)))
			// One attempt, one pause: so it is the pauses that say how often a broker is asked.
			local := row.want == KindFile || row.want == KindExposed
			if got := int64(attempts); n != nil && (local && n.n.Load() != 0 || !local && n.n.Load() != got) {
				t.Errorf("%d connections in %d attempts", n.n.Load(), attempts)
			}
			total := time.Duration(0)
			for at, d := range p.waits {
				total += d
				if d > min(longestPause, firstPause<<at) {
					t.Errorf("pause %d is %v", at, d)
				}
			}
			// 13 of them are drawn from 0 to a minute: they all come to less once in 10¹⁶ times.
			if total < 20*time.Second {
				t.Errorf("%d attempts in %v", attempts, total)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if lines := strings.Count(log.String(), "no connection to the broker"); lines != 1 || !strings.Contains(log.String(), "kind="+string(row.want)) {
				t.Errorf("%d lines:\n%s", lines, log.String())
			}
		})
	}
	if t.Failed() {
		return
	}
	compare(t, "broker-errors.golden", golden.Bytes())
}

func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s isn't what comes out; go test -update writes it anew. Now it is\n%s", path, got)
	}
}
