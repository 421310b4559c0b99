package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/demo"
	"github.com/livenessd/livenessd/tflite"
)

// patience is how long a test waits for what must come; only a failing one waits for all of it.
const patience = time.Minute

const (
	adminToken = "admin-token-for-tests-only"
	viewToken  = "view-token-for-tests-only"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// clock is one that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is a console that runs.
type fixture struct {
	t      testing.TB
	server *Server
	cfg    config.Config
	log    buffer
	clock  *clock
	view   *daemon.View
	pulse  *daemon.Pulse
	base   string // http://127.0.0.1:PORT

	device  string                   // that the camera says it is, where it shall be one
	cameras map[string]config.Camera // of the daemon
	lines   *daemon.Timelines        // of its frames, where somebody wants them
}

func secret(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func settings(t testing.TB) config.Config {
	c := config.Default()
	c.Device, c.State = "door-7", t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.Console = config.Console{Listen: l.Addr().String(), TokenFile: secret(t, "token", adminToken), ViewTokenFile: secret(t, "view", viewToken), Viewers: 2}
	return c
}

func start(t testing.TB, c config.Config, more func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, cfg: c, clock: &clock{now: time.Now()}, view: daemon.NewView(time.Now), pulse: daemon.NewPulse(time.Now, "1.2.3-test", 1)}
	o := Options{Version: "1.2.3-test", View: f.view, Pulse: f.pulse, Now: f.clock.Now, Log: slog.New(slog.NewTextHandler(&f.log, nil))}
	if more != nil {
		more(&o)
	}
	var err error
	if f.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	f.server.Apply(c, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.server.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the console doesn't end")
		}
	})
	f.await("the listener", func() bool { return f.server.Address() != nil })
	f.base = "http://" + f.server.Address().String()
	return f
}

func (f *fixture) await(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("no %s; the log says\n%s", what, f.log.String())
		}
	}
}

// browser is a client that keeps cookies and says its origin, as browsers do.
type browser struct {
	f      *fixture
	client *http.Client
	cookie *http.Cookie
}

func (f *fixture) browser() *browser {
	return &browser{f: f, client: &http.Client{Transport: &http.Transport{}, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) request(method, path, body string, change ...func(*http.Request)) *http.Response {
	b.f.t.Helper()
	r, err := http.NewRequest(method, b.f.base+path, strings.NewReader(body))
	if err != nil {
		b.f.t.Fatal(err)
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	if method != http.MethodGet {
		r.Header.Set("Origin", b.f.base)
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	a, err := b.client.Do(r)
	if err != nil {
		b.f.t.Fatal(err)
	}
	return a
}

// status makes a request and gives what came of it.
func (b *browser) status(method, path, body string, change ...func(*http.Request)) (int, string) {
	b.f.t.Helper()
	a := b.request(method, path, body, change...)
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		b.f.t.Fatal(err)
	}
	return a.StatusCode, string(text)
}

func (b *browser) login(body string) int {
	b.f.t.Helper()
	a := b.request("POST", "/api/session", body)
	defer a.Body.Close()
	for _, c := range a.Cookies() {
		b.cookie = c
	}
	return a.StatusCode
}

func (f *fixture) admin() *browser {
	f.t.Helper()
	b := f.browser()
	if code := b.login(`{"token":"` + adminToken + `"}`); code != http.StatusOK {
		f.t.Fatalf("login: %d", code)
	}
	return b
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// disguised is a camera that says it is a device.
type disguised struct {
	*camera.Camera
	device string
}

func (d *disguised) Status() camera.Status {
	s := d.Camera.Status()
	if d.device != "" {
		s.Device = d.device
	}
	return s
}

// run lets a daemon play the demo's clip for a console.
func (f *fixture) run() {
	f.t.Helper()
	if _, err := tflite.Load(tflite.LoadOptions{}); err != nil {
		f.t.Skip(err)
	}
	clip := filepath.Join(f.t.TempDir(), "clip.mjpeg")
	if err := os.WriteFile(clip, demo.Clip, 0o600); err != nil {
		f.t.Fatal(err)
	}
	cam := config.DefaultCamera()
	cam.Path = "replay:" + clip
	c := f.cfg
	c.Cameras = map[string]config.Camera{"front": cam}
	f.cameras = c.Cameras
	c.MQTT.URLs = []string{"mqtt://127.0.0.1:1"} // nobody is there
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Config: c, Version: "1.2.3-test", Log: slog.New(slog.DiscardHandler), Pulse: f.pulse, View: f.view,
			Timelines: f.lines, OpenCamera: func(name string, c config.Camera) (daemon.Camera, error) {
				cam, err := camera.Open(daemon.CameraOptions(name, c, nil))
				return &disguised{cam, f.device}, err
			}})
	}()
	f.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	})
	f.await("camera", func() bool { return f.view.HasCamera("front") })
}

func TestNobodySeesAnythingWithoutATokenButThePage(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.browser()
	for path, want := range map[string]int{
		"/": 200, "/app.js": 200, "/style.css": 200, "/index.html": 200,
		"/api/session": 401, "/api/state": 401, "/api/events": 401, "/api/presentations": 401, "/api/cameras/front/pictures": 401,
		"/api": 404, "/nothing": 404,
	} {
		if code, text := b.status("GET", path, ""); code != want {
			t.Errorf("%s: %d, not %d: %s", path, code, want, text)
		}
	}
}

func TestEachAnswerHasTheHeadersOfACarefulPage(t *testing.T) {
	f := start(t, settings(t), nil)
	for _, path := range []string{"/", "/api/state", "/nothing"} {
		a := f.browser().request("GET", path, "")
		a.Body.Close()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		csp := a.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %q", path, csp)
		}
	}
}

func TestThePageHasNothingInlineAndNothingFromElsewhere(t *testing.T) {
	err := fs.WalkDir(page, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := page.ReadFile(name)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".html") {
			for _, bad := range []string{"style=", "<style", "onclick=", "onload=", "javascript:", "//"} {
				if strings.Contains(string(data), bad) {
					t.Errorf("%s has %q", name, bad)
				}
			}
		}
		if strings.HasSuffix(name, ".js") {
			for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "http:" + "//", "https:" + "//"} {
				if bad != "http:"+"//" && strings.Contains(string(data), bad) {
					t.Errorf("%s has %q", name, bad)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhoLogsInIsWhoTheTokenSays(t *testing.T) {
	f := start(t, settings(t), nil)
	for token, role := range map[string]Role{adminToken: Admin, viewToken: Viewer} {
		b := f.browser()
		if code := b.login(`{"token":"` + token + `"}`); code != http.StatusOK {
			t.Fatalf("%s: %d", role, code)
		}
		if c := b.cookie; c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
			t.Errorf("%s: the cookie is %+v", role, b.cookie)
		}
		code, text := b.status("GET", "/api/session", "")
		var d sessionDocument
		if err := json.Unmarshal([]byte(text), &d); code != http.StatusOK || err != nil || d.Role != role || !d.Expires.After(time.Now()) {
			t.Errorf("%s: %d %s", role, code, text)
		}
		// A token of its own serves scripts.
		if code, text := f.browser().status("GET", "/api/session", "", header("Authorization", "Bearer "+token)); code != http.StatusOK || !strings.Contains(text, string(role)) {
			t.Errorf("%s as bearer: %d %s", role, code, text)
		}
		if code, _ := b.status("DELETE", "/api/session", ""); code != http.StatusNoContent {
			t.Errorf("logout: %d", code)
		}
		if code, _ := b.status("GET", "/api/session", ""); code != http.StatusUnauthorized {
			t.Errorf("after logging out: %d", code)
		}
	}
	if log := f.log.String(); strings.Contains(log, adminToken) || strings.Contains(log, viewToken) {
		t.Errorf("the log has a token:\n%s", log)
	}
}

func TestALinkLogsInOnceAndForFiveMinutes(t *testing.T) {
	f := start(t, settings(t), nil)
	use := func(link string) int { return f.browser().login(`{"link":"` + link + `"}`) }
	link := NewLink([]byte(adminToken), Admin, f.clock.Now())
	if code := use(link); code != http.StatusOK {
		t.Fatalf("a new link: %d", code)
	}
	changed := []byte(link)
	changed[3] ^= 1
	late := NewLink([]byte(adminToken), Admin, f.clock.Now())
	for name, link := range map[string]string{
		"one that was used":            link,
		"one that was changed":         string(changed),
		"one of another token":         NewLink([]byte("some-other-token-of-somebody"), Admin, f.clock.Now()),
		"one of the viewing token":     NewLink([]byte(viewToken), Admin, f.clock.Now()),
		"one from the future":          NewLink([]byte(adminToken), Admin, f.clock.Now().Add(time.Minute)),
		"one from before it was begun": NewLink([]byte(adminToken), Admin, f.clock.Now().Add(-time.Minute)),
		"none":                         "x",
	} {
		if code := use(link); code != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, code)
		}
	}
	f.clock.add(LinkTime + time.Second)
	if code := use(late); code != http.StatusUnauthorized {
		t.Errorf("one that is too old: %d", code)
	}
	b := f.browser()
	if code := b.login(`{"link":"` + NewLink([]byte(adminToken), Viewer, f.clock.Now()) + `"}`); code != http.StatusOK {
		t.Fatalf("a link for looking: %d", code)
	}
	if _, text := b.status("GET", "/api/session", ""); !strings.Contains(text, `"view"`) {
		t.Errorf("a link for looking gives %s", text)
	}
}

func TestSessionsEnd(t *testing.T) {
	f := start(t, settings(t), nil)
	in := func(b *browser) bool { code, _ := b.status("GET", "/api/session", ""); return code == http.StatusOK }
	b := f.admin()
	f.clock.add(sessionIdle - time.Minute)
	if !in(b) {
		t.Error("a session that is used ends")
	}
	f.clock.add(sessionIdle + time.Minute)
	if in(b) {
		t.Error("an idle session doesn't end")
	}
	b = f.admin()
	for range int(sessionLife/(sessionIdle/2)) + 1 {
		f.clock.add(sessionIdle / 2)
		in(b)
	}
	if in(b) {
		t.Error("a session goes on for ever")
	}
	b = f.admin()
	other := f.cfg
	other.Console.TokenFile = secret(t, "another", "another-admin-token-for-tests")
	f.server.Apply(other, nil)
	if in(b) {
		t.Error("a session outlives its token")
	}
	if f.server.Address() == nil {
		t.Error("another token closes the console")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := newSessions(time.Now)
	var first string
	for i := range 3 * maxSessions {
		cookie := s.begin(Viewer, [32]byte{})
		if i == 0 {
			first = cookie
		}
	}
	if len(s.all) != maxSessions {
		t.Errorf("%d sessions", len(s.all))
	}
	if role, _ := s.find(first); role != "" {
		t.Error("the oldest is still there")
	}
}

func TestTokensThatCannotBeUsedKeepTheConsoleClosed(t *testing.T) {
	for name, change := range map[string]struct {
		of   func(*testing.T, *config.Config)
		want string
	}{
		"none":      {func(t *testing.T, c *config.Config) { c.Console.TokenFile = filepath.Join(t.TempDir(), "none") }, "no such file"},
		"too short": {func(t *testing.T, c *config.Config) { c.Console.TokenFile = secret(t, "short", "secret") }, "shorter than 16 characters"},
		"too long": {func(t *testing.T, c *config.Config) {
			c.Console.TokenFile = secret(t, "long", strings.Repeat("x", 2000))
		}, "longer than 1024 bytes"},
		"the same":    {func(t *testing.T, c *config.Config) { c.Console.ViewTokenFile = c.Console.TokenFile }, "the same as the other one"},
		"a folder":    {func(t *testing.T, c *config.Config) { c.Console.TokenFile = t.TempDir() }, "it isn't a regular file"},
		"everybody's": {func(t *testing.T, c *config.Config) { exposed(t, c.Console.TokenFile) }, "everybody can read or change the token"},
	} {
		t.Run(name, func(t *testing.T) {
			c := settings(t)
			change.of(t, &c)
			err := Check(c)
			if err == nil || !strings.Contains(err.Error(), change.want) || daemon.Hint(err) == "" {
				t.Errorf("got %v with hint %q", err, daemon.Hint(err))
			}
			s, err := New(Options{View: daemon.NewView(time.Now), Pulse: daemon.NewPulse(time.Now, "", 1)})
			if err != nil {
				t.Fatal(err)
			}
			s.Apply(c, nil)
			if a := s.access.Load(); a.Listen != "" {
				t.Errorf("it would listen on %s", a.Listen)
			}
		})
	}
}

func exposed(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestATokenIsMadeOnceWhereNoneIsNamed(t *testing.T) {
	c := settings(t)
	c.Console.TokenFile = ""
	if err := Check(c); err != nil {
		t.Fatalf("before it is made: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.State, TokenFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("to check makes it")
	}
	for range 2 {
		if _, err := openTokens(c); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(c.State, TokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	token, err := LinkToken(c)
	if err != nil || len(token) < 40 {
		t.Errorf("%d characters, %v", len(token), err)
	}
	entries, err := os.ReadDir(c.State)
	if err != nil || len(entries) != 1 {
		t.Errorf("it leaves %v, %v", entries, err)
	}
}

func TestAnotherAddressIsListenedOnAtOnce(t *testing.T) {
	f := start(t, settings(t), nil)
	before := f.server.Address().String()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := f.cfg
	taken.Console.Listen = l.Addr().String()
	f.server.Apply(taken, nil)
	f.await("complaint about a port that is taken", func() bool { return strings.Contains(f.log.String(), "can't be reached") })
	if c, err := net.Dial("tcp", before); err == nil {
		c.Close()
		t.Error("the old address still answers")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f.cfg.Console.Listen = "127.0.0.1:0"
	f.server.Apply(f.cfg, nil)
	f.await("listener", func() bool { return f.server.Address() != nil })
	f.base = "http://" + f.server.Address().String()
	f.admin()
	f.cfg.Console.Listen = ""
	f.server.Apply(f.cfg, nil)
	f.await("end of the listener", func() bool { return f.server.Address() == nil })
}

func TestTheStateIsKnownBeforeAnythingRuns(t *testing.T) {
	f := start(t, settings(t), nil)
	code, text := f.admin().status("GET", "/api/state", "")
	var d stateDocument
	if err := json.Unmarshal([]byte(text), &d); code != 200 || err != nil {
		t.Fatalf("%d %v %s", code, err, text)
	}
	if d.Version != "1.2.3-test" || d.Phase != "starting" || len(d.Cameras) != 0 || d.Broker != nil || d.Runtime != nil || d.Viewers.Limit != 2 {
		t.Errorf("got %s", text)
	}
	for _, list := range []string{`"cameras":[]`, `"models":[]`, `"stuck":[`, `"applications":["default"]`} {
		if !strings.Contains(text, list) {
			t.Errorf("no %s in %s", list, text)
		}
	}
}

func TestAViewerSeesWhatTheDaemonSees(t *testing.T) {
	f := start(t, settings(t), nil)
	f.run()
	b := f.admin()
	b.client.Timeout = 0
	if code, _ := b.status("GET", "/api/cameras/nobody/pictures", ""); code != http.StatusNotFound {
		t.Errorf("a camera that isn't there: %d", code)
	}
	a := b.request("GET", "/api/cameras/front/pictures", "")
	defer a.Body.Close()
	kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/x-mixed-replace" {
		t.Fatalf("%s, %v", kind, err)
	}
	parts := multipart.NewReader(a.Body, params["boundary"])
	var last uint64
	faces := 0
	for i := 0; i < 400 && faces < 5; i++ {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		var d sightDocument
		if err := json.Unmarshal([]byte(p.Header.Get("Livenessd-Sight")), &d); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(len(data)) != p.Header.Get("Content-Length") {
			t.Fatalf("%d bytes, and Content-Length %s", len(data), p.Header.Get("Content-Length"))
		}
		c, err := jpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil || c.Width != d.Width || c.Height != d.Height || d.Camera != "front" || d.Sequence <= last {
			t.Fatalf("%v: %+v of %d×%d after %d", err, d, c.Width, c.Height, last)
		}
		last = d.Sequence
		if d.Main != nil {
			faces++
			if e := d.Standing; e == nil || e.Live <= 0 || e.Spoof >= 0 || e.MinFrames < 5 || e.Track == 0 {
				t.Errorf("evidence %+v", e)
			}
			if d.Look == nil || d.TimesMS.Total <= 0 {
				t.Errorf("look %+v, times %+v", d.Look, d.TimesMS)
			}
		}
	}
	if faces == 0 {
		t.Error("no face in the clip's first frames")
	}
	e := b.request("GET", "/api/events", "")
	defer e.Body.Close()
	got := map[string]bool{}
	lines := bufio.NewScanner(e.Body)
	lines.Buffer(nil, 1<<20)
	kindOf := ""
	for lines.Scan() && len(got) < 3 {
		if k, is := strings.CutPrefix(lines.Text(), "event: "); is {
			kindOf = k
			continue
		}
		data, is := strings.CutPrefix(lines.Text(), "data: ")
		if !is {
			continue
		}
		got[kindOf] = true
		switch kindOf {
		case "state":
			var d stateDocument
			if err := json.Unmarshal([]byte(data), &d); err != nil {
				t.Fatal(err)
			}
			if d.Viewers.Now != 1 || len(d.Cameras) != 1 || len(d.Models) != 2 || d.Broker == nil || d.Broker.Connected || d.Runtime == nil || d.Models[0].Licence == "" {
				t.Errorf("state %s", data)
			}
		case "presentation":
			var d presentationDocument
			if err := json.Unmarshal([]byte(data), &d); err != nil || d.Number == 0 || d.Verdict.Camera != "front" {
				t.Errorf("%v: presentation %s", err, data)
			}
		}
	}
	for _, k := range []string{"state", "sight", "presentation"} {
		if !got[k] {
			t.Errorf("no event %s: %v", k, lines.Err())
		}
	}
}
