package console

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
)

// raw sends bytes as they are and gives the status line of the answer, "" where the connection was closed without one.
func (f *fixture) raw(text string) string {
	f.t.Helper()
	c, err := net.Dial("tcp", f.server.Address().String())
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		f.t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		return ""
	}
	b := make([]byte, 64)
	n, _ := io.ReadAtLeast(c, b, 15)
	line, _, _ := strings.Cut(string(b[:n]), "\r\n")
	return line
}

func TestOnlyThisMachinesNamesAreAnswered(t *testing.T) {
	c := settings(t)
	c.Console.Hosts = []string{"door-7.example.org"}
	f := start(t, c, nil)
	b := f.admin()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(f.base, "http://"))
	for host, known := range map[string]bool{
		"127.0.0.1:" + port: true, "127.0.0.1": true, "localhost:" + port: true, "LOCALHOST": true, "localhost:1234": true, "[::1]:" + port: true,
		"door-7.example.org": true, "Door-7.Example.Org:443": true,
		"evil.example": false, "evil.example:" + port: false, "localhost.evil.example": false, "door-7.example.org.evil.example": false, "127.0.0.1.evil.example": false,
		"192.0.2.7:" + port: false, "169.254.169.254": false, "[2001:db8::1]": false, "0.0.0.0": false, "2130706433": false, "local host": false,
	} {
		for _, path := range []string{"/", "/api/session"} {
			line := f.raw("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + b.cookie.String() + "\r\nConnection: close\r\n\r\n")
			refused := strings.Contains(line, " 421 ") || strings.Contains(line, " 400 ")
			if refused == known || line == "" {
				t.Errorf("Host %q: %s is answered with %q", host, path, line)
			}
		}
	}
	if line := f.raw("GET / HTTP/1.0\r\n\r\n"); !strings.Contains(line, " 421 ") {
		t.Errorf("without a Host: %q", line)
	}
}

func TestWhatAnotherPageSendsIsRefused(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.admin()
	no := func(r *http.Request) { r.Header.Del("Origin") }
	for _, tt := range []struct {
		name   string
		method string
		path   string
		change []func(*http.Request)
		want   int
	}{
		{"the page itself", "GET", "/api/session", nil, 200},
		{"the page itself, as a browser says", "GET", "/api/session", []func(*http.Request){header("Sec-Fetch-Site", "same-origin")}, 200},
		{"another page's request", "GET", "/api/state", []func(*http.Request){header("Origin", "https://evil.example")}, 403},
		{"another page's request for a picture", "GET", "/api/cameras/front/pictures", []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}, 403},
		{"a page on another port", "GET", "/api/state", []func(*http.Request){header("Sec-Fetch-Site", "same-site")}, 403},
		{"a frame elsewhere", "GET", "/", []func(*http.Request){header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "iframe")}, 403},
		{"a link elsewhere to the page", "GET", "/", []func(*http.Request){header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document")}, 200},
		{"a link elsewhere to its data", "GET", "/api/state", []func(*http.Request){header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document")}, 403},
		{"a form elsewhere", "DELETE", "/api/session", []func(*http.Request){header("Origin", "https://evil.example")}, 403},
		{"a form whose origin is hidden", "DELETE", "/api/session", []func(*http.Request){header("Origin", "null")}, 403},
		{"a form of the same name without TLS, or with", "DELETE", "/api/session", []func(*http.Request){header("Origin", "https"+strings.TrimPrefix(f.base, "http"))}, 403},
		{"a form without an origin", "DELETE", "/api/session", []func(*http.Request){no}, 403},
		{"a login from elsewhere", "POST", "/api/session", []func(*http.Request){header("Origin", "https://evil.example")}, 403},
		{"a script with a token", "DELETE", "/api/session", []func(*http.Request){no, header("Authorization", "Bearer "+adminToken)}, 204},
		{"a script with a token at another page", "DELETE", "/api/session", []func(*http.Request){header("Origin", "https://evil.example"), header("Authorization", "Bearer "+adminToken)}, 403},
	} {
		if code, text := b.status(tt.method, tt.path, "", tt.change...); code != tt.want {
			t.Errorf("%s: %d, not %d: %s", tt.name, code, tt.want, text)
		}
	}
	if code, _ := b.status("GET", "/api/session", ""); code != http.StatusOK {
		t.Errorf("one of them logged the technician out: %d", code)
	}
	a := b.request("OPTIONS", "/api/session", "", header("Access-Control-Request-Method", "POST"))
	a.Body.Close()
	if a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a question whether another page may: %d %v", a.StatusCode, a.Header)
	}
}

func TestWhoGuessesTokensIsLockedOut(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.browser()
	for i := range freeGuesses {
		if code := b.login(fmt.Sprintf(`{"token":"guess-number-%d-of-many"}`, i)); code != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d", i, code)
		}
	}
	a := b.request("POST", "/api/session", `{"token":"`+adminToken+`"}`)
	a.Body.Close()
	if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the right token of who is locked out: %d", a.StatusCode)
	}
	if code, _ := f.browser().status("GET", "/api/state", "", header("Authorization", "Bearer "+adminToken)); code != http.StatusTooManyRequests {
		t.Errorf("as bearer: %d", code)
	}
	if code := b.login(`{"link":"` + NewLink([]byte(adminToken), Admin, f.clock.Now()) + `"}`); code != http.StatusOK {
		t.Errorf("a link is locked out, too: %d", code)
	}
	f.clock.add(lockFirst + time.Second)
	if code := f.browser().login(`{"token":"one-more-guess-of-many"}`); code != http.StatusUnauthorized {
		t.Errorf("after the time: %d", code)
	}
	f.clock.add(lockFirst + time.Second) // now it is twice as long
	if code := f.browser().login(`{"token":"` + adminToken + `"}`); code != http.StatusTooManyRequests {
		t.Errorf("the second time is no longer than the first: %d", code)
	}
	f.clock.add(2 * lockFirst)
	if code := f.browser().login(`{"token":"` + adminToken + `"}`); code != http.StatusOK {
		t.Errorf("the right token, in the end: %d", code)
	}
	log := f.log.String()
	if !strings.Contains(log, "guesses the console's tokens") || strings.Contains(log, "guess-number") || strings.Contains(log, adminToken) {
		t.Errorf("the log says\n%s", log)
	}
}

func TestGuessersAreBoundedAndCountedByNetwork(t *testing.T) {
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	l := newLockout(c.Now)
	for i := range freeGuesses { // one household has all of these
		l.wrong(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%d", i+1)))
	}
	if l.left(netip.MustParseAddr("2001:db8:1:2:ffff::7")) == 0 {
		t.Error("another address of the same network may guess on")
	}
	if l.left(netip.MustParseAddr("2001:db8:1:3::1")) != 0 {
		t.Error("another network is locked out, too")
	}
	for i := range 3 * maxGuessers {
		l.wrong(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	if len(l.by) > maxGuessers {
		t.Errorf("%d addresses are remembered", len(l.by))
	}
	if l.left(netip.MustParseAddr("10.9.9.9")) == 0 {
		t.Error("so many guess, and a new one may")
	}
	c.add(forgiven)
	if l.left(netip.MustParseAddr("10.9.9.9")) != 0 {
		t.Error("it never ends")
	}
}

func TestNoPathLeadsOutOfThePage(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.admin()
	for _, path := range []string{
		"/../console.go", "/..%2fconsole.go", "/%2e%2e/console.go", "/..%5cconsole.go", "//etc/passwd", "/page/index.html", "/./console.go", "/app.js/../../console.go",
		"/api/cameras/..%2f..%2fetc/pictures", "/api/cameras/%2e%2e/pictures", "/etc/passwd", "/%00", "/app.js%00.html",
	} {
		line := f.raw("GET " + path + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(f.base, "http://") + "\r\nCookie: " + b.cookie.String() + "\r\nConnection: close\r\n\r\n")
		if !strings.Contains(line, " 404 ") && !strings.Contains(line, " 400 ") && !strings.Contains(line, " 301 ") && !strings.Contains(line, " 307 ") {
			t.Errorf("%s: %q", path, line)
		}
	}
}

func TestWhatIsTooLongIsRefused(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.browser()
	long := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name, body, kind string
		want             int
	}{
		{"a long document", `{"token":"` + long + `"}`, "application/json", 413},
		{"blanks behind a document", `{"token":"x"}` + strings.Repeat(" ", 1<<20), "application/json", 413},
		{"two documents", `{"token":"x"}{"token":"y"}`, "application/json", 400},
		{"an unknown member", `{"token":"x","more":1}`, "application/json", 400},
		{"no document", ``, "application/json", 400},
		{"deep brackets", strings.Repeat("[", 1000), "application/json", 400},
		{"a form", `token=x`, "application/x-www-form-urlencoded", 415},
		{"plain text, which a form elsewhere can send", `{"token":"x"}`, "text/plain", 415},
	} {
		if code, text := b.status("POST", "/api/session", tt.body, header("Content-Type", tt.kind)); code != tt.want {
			t.Errorf("%s: %d, not %d: %s", tt.name, code, tt.want, text)
		}
	}
	if line := f.raw("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + long + "\r\n\r\n"); !strings.Contains(line, " 431 ") && line != "" {
		t.Errorf("a long header: %q", line)
	}
	if line := f.raw("GET /" + long + " HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.Contains(line, " 431 ") && !strings.Contains(line, " 414 ") && line != "" {
		t.Errorf("a long path: %q", line)
	}
	if line := f.raw("POST /api/session HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n"); !strings.Contains(line, " 400 ") {
		t.Errorf("two lengths: %q", line)
	}
}

func TestMethodsAreNotConfused(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.admin()
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/api/state", 405}, {"DELETE", "/api/state", 405}, {"PUT", "/api/session", 405}, {"PATCH", "/api/session", 405}, {"TRACE", "/", 405},
		{"POST", "/", 405}, {"HEAD", "/", 200}, {"HEAD", "/api/session", 200}, {"BREW", "/", 405}, {"POST", "/api/cameras/front/pictures", 405},
	} {
		if code, text := b.status(tt.method, tt.path, "{}"); code != tt.want {
			t.Errorf("%s %s: %d, not %d: %s", tt.method, tt.path, code, tt.want, text)
		}
	}
	// What says that it is another method is what it is.
	if code, _ := b.status("GET", "/api/session", "", header("X-HTTP-Method-Override", "DELETE")); code != 200 {
		t.Errorf("an override: %d", code)
	}
	if code, _ := b.status("GET", "/api/session", ""); code != 200 {
		t.Errorf("the override was heard: %d", code)
	}
}

func TestWhoSaysNothingKeepsNobodyOut(t *testing.T) {
	f := start(t, settings(t), nil)
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	for i := range 3 * maxConns {
		c, err := net.Dial("tcp", f.server.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
		// Half of a head, and no more.
		if _, err := io.WriteString(c, "GET /api/state HTTP/1.1\r\nHost: localhost\r\nX-"); err != nil && i < maxConnsEach {
			t.Fatal(err)
		}
	}
	b := f.admin()
	if code, _ := b.status("GET", "/api/session", ""); code != http.StatusOK {
		t.Errorf("somebody else: %d", code)
	}
}

func TestAsManyViewersLookAsMay(t *testing.T) {
	f := start(t, settings(t), nil)
	var browsers []*browser
	for range 20 { // there may be more sessions than viewers
		browsers = append(browsers, f.admin())
	}
	var mu sync.Mutex
	codes := map[int]int{}
	var open []io.Closer
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			r, err := http.NewRequest("GET", f.base+"/api/events", nil)
			if err != nil {
				t.Error(err)
				return
			}
			b := browsers[i%len(browsers)]
			r.AddCookie(b.cookie)
			a, err := (&http.Client{Transport: &http.Transport{}}).Do(r)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				codes[0]++ // the door was full
				return
			}
			codes[a.StatusCode]++
			open = append(open, a.Body)
		})
	}
	wg.Wait()
	if n := f.server.seats.taken(); n != 2 || codes[200] < 2 || codes[200] > 4 || codes[503] == 0 {
		t.Errorf("%d viewers; answers %v", n, codes)
	}
	for _, c := range open {
		c.Close()
	}
	f.await("free seats", func() bool { return f.server.seats.taken() == 0 })
}

func TestAViewerHasSoManyStreamsAndNoMore(t *testing.T) {
	s := newSeats()
	var leave []func()
	for i := range maxStreams {
		l, err := s.take("one", 1)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		leave = append(leave, l)
	}
	if _, err := s.take("one", 1); err != errStreams {
		t.Errorf("one more: %v", err)
	}
	if _, err := s.take("two", 1); err != errFull {
		t.Errorf("another viewer: %v", err)
	}
	for _, l := range leave {
		l()
	}
	if s.taken() != 0 {
		t.Error("a seat isn't free again")
	}
}

// selfSigned writes a certificate for localhost and its key.
func selfSigned(t *testing.T, folder string, serial int64) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "door-7"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestWithTLSCookiesAreForTLSAlone(t *testing.T) {
	c := settings(t)
	c.Console.CertFile, c.Console.KeyFile = selfSigned(t, t.TempDir(), 1)
	if err := Check(c); err != nil {
		t.Fatal(err)
	}
	f := start(t, c, nil)
	plain := f.browser()
	if code, _ := plain.status("GET", "/", ""); code != http.StatusBadRequest {
		t.Errorf("without TLS: %d", code)
	}
	f.base = "https://" + f.server.Address().String()
	b := f.browser()
	b.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // who it is isn't asked here
	if code := b.login(`{"token":"` + adminToken + `"}`); code != http.StatusOK {
		t.Fatalf("login: %d", code)
	}
	if k := b.cookie; !k.Secure || !strings.HasPrefix(k.Name, "__Host-") {
		t.Errorf("the cookie is %+v", k)
	}
	if code, _ := b.status("GET", "/api/session", ""); code != http.StatusOK {
		t.Errorf("with TLS: %d", code)
	}
	// An old client isn't served.
	if c, err := tls.Dial("tcp", f.server.Address().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

func TestACertificateIsRenewedWhileItRuns(t *testing.T) {
	folder := t.TempDir()
	cert, key := selfSigned(t, folder, 1)
	var log strings.Builder
	s, err := New(Options{View: daemon.NewView(time.Now), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	c := s.certificate(config.Console{CertFile: cert, KeyFile: key})
	get := func() *tls.Certificate {
		t.Helper()
		k, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := get()
	if !bytes.Equal(get().Certificate[0], first.Certificate[0]) {
		t.Error("it changes by itself")
	}
	if err := os.WriteFile(cert, []byte("half of a new one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get().Certificate[0], first.Certificate[0]) {
		t.Error("what can't be used replaces what can")
	}
	get()
	if said := log.String(); strings.Count(said, "goes on with the certificate that it had") != 1 {
		t.Errorf("it isn't said once: %s", said)
	}
	// Rights say nothing of when a file was changed.
	selfSigned(t, folder, 2)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get().Certificate[0], first.Certificate[0]) {
		t.Error("a key that everybody can read is taken")
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(get().Certificate[0], first.Certificate[0]) {
		t.Error("a new one isn't taken")
	}
}

func FuzzLink(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	good := NewLink([]byte(adminToken), Admin, now)
	f.Add(good)
	f.Add(good[:20])
	f.Add("")
	f.Fuzz(func(t *testing.T, link string) {
		l := newLinks(func() time.Time { return now })
		role, err := l.take([]byte(adminToken), link)
		if err == nil && role == "" || err != nil && role != "" {
			t.Errorf("%q gives %q and %v", link, role, err)
		}
		if err == nil && link != good {
			if _, again := l.take([]byte(adminToken), link); again == nil {
				t.Errorf("%q logs in twice", link)
			}
		}
		if role, _ := newLinks(func() time.Time { return now }).take(nil, link); role != "" {
			t.Errorf("%q logs in without a token", link)
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, host := range []string{"localhost:8470", "[::1]:8470", "127.0.0.1", "evil.example:80", "[::ffff:127.0.0.1]", "localhost.", "[", "a:b:c"} {
		f.Add(host, "http://"+host)
	}
	f.Fuzz(func(t *testing.T, host, origin string) {
		r := &http.Request{Method: "POST", Host: host, Header: http.Header{}}
		if a := (&access{}); hostAllowed(a, r) {
			name := hostname(host)
			if at, err := netip.ParseAddr(name); name != "localhost" && (err != nil || !at.Unmap().IsLoopback()) {
				t.Errorf("Host %q is allowed", host)
			}
		}
		r.Header.Set("Origin", origin)
		if originAllowed(r) && !strings.EqualFold(origin, "http://"+host) && !strings.HasPrefix(strings.ToLower(origin), "http://") {
			t.Errorf("origin %q may ask host %q", origin, host)
		}
	})
}
