package metrics

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
)

// patience is how long a test waits for what must come; only a failing one waits for all of it.
const patience = time.Minute

const token = "0123456789abcdef"

func file(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhoMayAsk(t *testing.T) {
	h, f := well()
	h.Stuck = []string{"the desk"}
	all := shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true }).Handler()
	secret := file(t, "token", token+"\n", 0o640)
	for _, test := range []struct {
		name           string
		tokenFile      string
		method, target string
		host, auth     string
		code           int
		body           string // begins so
	}{
		{"by address", "", "GET", "/metrics", "127.0.0.1:8471", "", 200, "# HELP"},
		{"by an address of IPv6", "", "GET", "/metrics", "[::1]:8471", "", 200, "# HELP"},
		{"as localhost", "", "GET", "/metrics", "localhost:8471", "", 200, "# HELP"},
		{"by a name that somebody made up", "", "GET", "/metrics", "door.example:8471", "", 421, "ask by address"},
		{"by a name that begins well", "", "GET", "/readyz", "localhost.example", "", 421, "ask by address"},
		{"HEAD", "", "HEAD", "/healthz", "127.0.0.1", "", 503, ""},
		{"POST", "", "POST", "/metrics", "127.0.0.1", "", 405, "only GET"},
		{"DELETE, with the token", secret, "DELETE", "/metrics", "x", "Bearer " + token, 405, "only GET"},
		{"a path that isn't there", "", "GET", "/debug/pprof/", "127.0.0.1", "", 404, "404"},
		{"a path upwards", "", "GET", "/../../etc/passwd", "127.0.0.1", "", 307, "<a href=\"/etc/passwd\">"},
		{"the first page", "", "GET", "/", "127.0.0.1", "", 200, "livenessd: /metrics"},
		{"in full", "", "GET", "/healthz", "127.0.0.1", "", 503, "stuck: the desk"},

		{"with the token", secret, "GET", "/metrics", "door.example", "Bearer " + token, 200, "# HELP"},
		{"with the token, in another spelling", secret, "GET", "/metrics", "door.example", "bearer  " + token, 200, "# HELP"},
		{"without the token", secret, "GET", "/metrics", "127.0.0.1", "", 401, "send the token"},
		{"with another token", secret, "GET", "/metrics", "127.0.0.1", "Bearer 0123456789abcdeF", 401, "send the token"},
		{"with a part of it", secret, "GET", "/metrics", "127.0.0.1", "Bearer " + token[:15], 401, "send the token"},
		{"with the token as a password", secret, "GET", "/metrics", "127.0.0.1", "Basic " + token, 401, "send the token"},
		{"alive, for everybody, in a word", secret, "GET", "/healthz", "door.example", "", 503, "stuck\n"},
		{"alive, in full", secret, "GET", "/healthz", "door.example", "Bearer " + token, 503, "stuck: the desk\n"},
		{"ready, for everybody, in a word", secret, "GET", "/readyz", "door.example", "", 503, "not ready\n"},
		{"ready, in full", secret, "GET", "/readyz", "door.example", "Bearer " + token, 503, "{\n  \"ready\": false"},
		{"a token file that isn't there", secret + "x", "GET", "/metrics", "127.0.0.1", "Bearer ", 503, "the token file can't be used"},
		{"an empty token file", file(t, "empty", "", 0o600), "GET", "/metrics", "127.0.0.1", "Bearer ", 503, "the token file can't be used"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := guard(config.Metrics{TokenFile: test.tokenFile}, func() ([]byte, error) { return readToken(test.tokenFile) }, all)
			r := httptest.NewRequest(test.method, "http://x"+test.target, nil)
			r.Host = test.host
			if test.auth != "" {
				r.Header.Set("Authorization", test.auth)
			}
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			if w.Code != test.code || !strings.HasPrefix(w.Body.String(), test.body) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			for key, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				if got := w.Header().Get(key); got != want {
					t.Errorf("%s: %q", key, got)
				}
			}
		})
	}
}

func TestABriefAnswerIsAWord(t *testing.T) {
	h, f := well()
	h.Stuck = []string{"the desk"}
	m := Brief(shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true }).Handler())
	for path, want := range map[string]string{"/healthz": "stuck\n", "/readyz": "not ready\n"} {
		if w := get(m, path); w.Code != http.StatusServiceUnavailable || w.Body.String() != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestTokensThatCantBeUsed(t *testing.T) {
	folder := t.TempDir()
	for _, test := range []struct{ name, path, says, hint string }{
		{"none", filepath.Join(folder, "none"), "no such file or directory", "openssl rand"},
		{"a folder", folder, "it isn't a regular file", "name a file"},
		{"everybody's to read", file(t, "a", token, 0o644), "everybody can read or change the token", "chmod o= "},
		{"everybody's to change", file(t, "a", token, 0o602), "everybody can read or change the token", "chmod o= "},
		{"short", file(t, "a", " "+token[:15]+"\n", 0o600), "shorter than 16 characters", "openssl rand"},
		{"long", file(t, "a", strings.Repeat("x", 1025), 0o600), "longer than 1024 bytes", "openssl rand"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.Chmod(test.path, modes(t, test.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			_, err := readToken(test.path)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Error(), test.says) || !strings.Contains(e.Hint(), test.hint) || strings.Contains(e.Error(), token) {
				t.Errorf("%v, %+v", err, e)
			}
		})
	}
}

// modes makes a file's mode independent of the umask.
func modes(t *testing.T, name string) os.FileMode {
	t.Helper()
	switch name {
	case "everybody's to read":
		return 0o644
	case "everybody's to change":
		return 0o602
	case "a folder":
		return 0o700
	}
	return 0o600
}

// served starts a server and awaits that it answers at the address.
func served(t *testing.T, c config.Metrics, h http.Handler, client *http.Client) (*Server, func(path string) (int, string)) {
	t.Helper()
	s := NewServer(h, func(err error) { t.Log(err) })
	s.again, s.heading = time.Millisecond, 500*time.Millisecond
	t.Cleanup(s.Close)
	s.Use(c, slog.New(slog.DiscardHandler))
	return s, asker(c, client)
}

// asker asks at the address that is served.
func asker(c config.Metrics, client *http.Client) func(path string) (int, string) {
	scheme := "http://"
	if c.CertFile != "" {
		scheme = "https://"
	}
	return func(path string) (int, string) {
		r, err := http.NewRequest(http.MethodGet, scheme+c.Listen+path, nil)
		if err != nil {
			return 0, err.Error()
		}
		if c.TokenFile != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return 0, err.Error()
		}
		return res.StatusCode, string(b)
	}
}

// await waits until a request is answered so.
func await(t *testing.T, ask func(string) (int, string), code int, says string) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		got, text := ask("/healthz")
		if got == code && strings.Contains(text, says) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d %s", got, text)
		}
	}
}

// vacant is an address of the loopback that nobody listens at.
func vacant(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func fine(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "fine") }

func once() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
}

func TestATakenPortIsSaidOnceAndTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 100)
	s := NewServer(http.HandlerFunc(fine), func(err error) { said <- err })
	s.again = time.Millisecond
	defer s.Close()
	c := config.Metrics{Listen: taken.Addr().String()}
	s.Use(c, slog.New(slog.DiscardHandler))
	var e *Error
	if err := <-said; !errors.As(err, &e) || !strings.Contains(e.Error(), "address already in use") || !strings.Contains(e.Hint(), "doctor") {
		t.Errorf("%v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, asker(c, once()), 200, "fine")
	if len(said) > 0 {
		t.Errorf("said again: %v", <-said)
	}
}

func TestAnotherConfigurationIsServedAndTheSameIsLeftAlone(t *testing.T) {
	first, second := vacant(t), vacant(t)
	s, ask := served(t, config.Metrics{Listen: first}, http.HandlerFunc(fine), once())
	await(t, ask, 200, "fine")
	held, err := net.Dial("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	request := func() error {
		if err := held.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := io.WriteString(held, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			return err
		}
		_, err := held.Read(make([]byte, 1<<10))
		return err
	}
	log := slog.New(slog.DiscardHandler)
	s.Use(config.Metrics{Listen: first}, log)
	if err := request(); err != nil {
		t.Errorf("the same configuration ended a connection: %v", err)
	}
	s.Use(config.Metrics{Listen: second}, log)
	if err := request(); err == nil {
		t.Error("the connection to the old port is still there")
	}
	await(t, asker(config.Metrics{Listen: second}, once()), 200, "fine")
	s.Use(config.Metrics{}, log)
	if c, err := net.Dial("tcp", second); err == nil {
		c.Close()
		t.Error("something listens that shouldn't")
	}
	s.Close()
	s.Close()
	s.Use(config.Metrics{Listen: second}, log) // too late
	if c, err := net.Dial("tcp", second); err == nil {
		c.Close()
		t.Error("something listens after the end")
	}
	var nobody *Server
	nobody.Use(config.Metrics{Listen: second}, log)
}

// Who sends half a request loses his place to whoever comes after him, and is cut off after some seconds in any case.
func TestSlowAndGreedyConnectionsAreCutOff(t *testing.T) {
	at := vacant(t)
	_, ask := served(t, config.Metrics{Listen: at}, http.HandlerFunc(fine), once())
	await(t, ask, 200, "fine")
	var slow []net.Conn
	for range 2 * maxConnections {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	if code, text := ask("/healthz"); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	for _, c := range slow {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a connection that says nothing is still there")
		}
		if len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 4")) {
			t.Errorf("%s", b)
		}
	}
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 64<<10)) // cut off meanwhile
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); len(b) > 0 && !bytes.Contains(b, []byte("431")) {
		t.Errorf("%s", b)
	}
}

// certify writes a certificate for 127.0.0.1 and its key.
func certify(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "door"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificatesAreRenewed(t *testing.T) {
	folder := t.TempDir()
	c := config.Metrics{Listen: vacant(t), CertFile: filepath.Join(folder, "cert"), KeyFile: filepath.Join(folder, "key"), TokenFile: file(t, "token", token, 0o600)}
	certify(t, c.CertFile, c.KeyFile, 1)
	var serial int64
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			serial = s.PeerCertificates[0].SerialNumber.Int64()
			return nil
		}}}}
	_, ask := served(t, c, http.HandlerFunc(fine), client)
	await(t, ask, 200, "fine")
	if serial != 1 {
		t.Errorf("certificate %d", serial)
	}
	certify(t, c.CertFile, c.KeyFile, 2)
	if code, text := ask("/healthz"); code != 200 || serial != 2 {
		t.Errorf("%d %s, certificate %d", code, text, serial)
	}
	for _, bad := range []struct {
		content string
		mode    os.FileMode
	}{{"half a ke", 0o600}, {"", 0o644}} {
		if err := errors.Join(os.Remove(c.KeyFile), os.WriteFile(c.KeyFile, []byte(bad.content), 0o600), os.Chmod(c.KeyFile, bad.mode)); err != nil {
			t.Fatal(err)
		}
		if code, text := ask("/healthz"); code != 200 || serial != 2 {
			t.Errorf("%d %s, certificate %d", code, text, serial)
		}
	}
	if code, text := asker(config.Metrics{Listen: c.Listen, TokenFile: c.TokenFile}, once())("/healthz"); code == http.StatusOK {
		t.Errorf("without TLS: %s", text)
	}
}

func TestProfilesAreForThisMachineAlone(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":6060", "192.0.2.1:6060", "localhost:6060", "6060", ""} {
		if _, err := Profiles(address, log); !errors.Is(err, ErrExposed) {
			t.Errorf("%q: %v", address, err)
		}
	}
	at := vacant(t)
	end, err := Profiles(at, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Profiles(at, log); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a second one: %v", err)
	}
	res, err := once().Get("http://" + at + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !bytes.Contains(b, []byte("goroutine profile:")) {
		t.Errorf("%d %s, %v", res.StatusCode, b, err)
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+at+"/debug/pprof/heap", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.example"
	res, err = once().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("by a name: %d", res.StatusCode)
	}
	end()
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("it listens after its end")
	}
}
