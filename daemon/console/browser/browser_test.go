// Package browser_test looks at the technician's page as a technician does: in Debian's chromium, without a window, at a daemon that runs the
// demo's clip. It has no other network: names lead nowhere, and what isn't this machine goes to a proxy that isn't there. What it sees is
// kept in build/page, to be looked at by people.
package browser_test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/livenessd/livenessd/daemon/command"
	"github.com/livenessd/livenessd/daemon/demo"
	"github.com/livenessd/livenessd/tflite"
)

// patience is how long a test waits for what must come; only a failing one waits for all of it.
const patience = 2 * time.Minute

const root = "../../.." // of the repository

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

// device is a daemon that runs, behind a wire that can be cut.
type device struct {
	t      *testing.T
	config string
	log    *buffer
	wire   *wire
	at     string // its address, "" for over the wire
}

// need skips where there is no chromium or no library.
func need(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser isn't for -short")
	}
	t.Parallel() // most of it is waiting for who comes next in the clip
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skipf("without Debian's chromium: %v", err)
	}
	if _, err := tflite.Load(tflite.LoadOptions{}); err != nil {
		t.Skipf("without the TensorFlow Lite library: %v", err)
	}
	return path
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a daemon with the demo's clip, and with further cameras, until the test ends.
func start(t *testing.T, cameras ...string) *device {
	t.Helper()
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := free(t)
	clip := write("demo.mjpeg", string(demo.Clip), 0o600)
	d := &device{t: t, log: &buffer{}, wire: newWire(t, at)}
	d.config = write("livenessd.yaml", fmt.Sprintf(`# the front door
device: door-7
cameras:
  front:
    path: replay:%s
    fps: 15
%sstate: %s
applications:
  staff-door: {}
mqtt: {url: "mqtt://127.0.0.1:1"}
console:
  listen: %s
  token_file: %s
  view_token_file: %s
`, clip, strings.ReplaceAll(strings.Join(cameras, ""), "CLIP", clip), t.TempDir(), at, write("token", adminToken, 0o600), write("view", viewToken, 0o600)), 0o600)
	ctx, stop := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- command.Main(ctx, command.Process{Args: []string{"run", "--config", d.config}, Stdout: io.Discard, Stderr: d.log, Version: "1.2.3-test"})
	}()
	t.Cleanup(func() {
		stop()
		if c := <-code; c != command.ExitOK {
			t.Errorf("exit code %d:\n%s", c, d.log)
		}
	})
	return d
}

const (
	adminToken = "admin-token-for-tests-only"
	viewToken  = "view-token-for-tests-only"
)

// link is one that logs in, leading over the wire.
func (d *device) link(more ...string) string {
	d.t.Helper()
	var out, said bytes.Buffer
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out.Reset()
		said.Reset()
		if command.Main(context.Background(), command.Process{Args: append([]string{"console", "--config", d.config, "--json"}, more...), Stdout: &out, Stderr: &said}) == command.ExitOK {
			break
		} else if time.Now().After(end) {
			d.t.Fatalf("no link: %s\n%s", &said, d.log)
		}
	}
	var l struct{ URL string }
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		d.t.Fatal(err)
	}
	_, fragment, _ := strings.Cut(l.URL, "#")
	return d.base() + "/#" + fragment
}

func (d *device) base() string {
	if d.at != "" {
		return d.at
	}
	return "http://" + d.wire.listener.Addr().String()
}

// wire leads to the daemon while it isn't cut.
type wire struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	is       bool // cut
	open     map[net.Conn]bool
	all      sync.WaitGroup
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, open: map[net.Conn]bool{}}
	w.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.all.Go(func() { w.lead(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut(true)
		w.all.Wait()
	})
	return w
}

func (w *wire) lead(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	if w.is {
		w.mu.Unlock()
		return
	}
	w.open[near], w.open[far] = true, true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, near)
		delete(w.open, far)
	}()
	var one sync.WaitGroup
	one.Go(func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	})
	_, _ = io.Copy(near, far)
	_ = near.Close()
	one.Wait()
}

// cut ends all that goes over the wire, and lets nothing through while it is cut.
func (w *wire) cut(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.is = is
	if is {
		for c := range w.open {
			_ = c.Close()
		}
	}
}

// browser is a chromium at one daemon.
type browser struct {
	t    *testing.T
	d    *device
	ctx  context.Context
	mu   sync.Mutex
	bad  []string // what its console complained of
	far  []string // what it asked others for
	okay func(text string) bool
}

// browse begins one, at a size of window.
func browse(t *testing.T, d *device, chromium string) *browser {
	t.Helper()
	b := &browser{t: t, d: d, okay: func(string) bool { return false }}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		// Tests run as root in containers, where chromium's own sandbox refuses to start; it sees nothing but our page.
		chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
		chromedp.ProxyServer("http://127.0.0.1:1"), // this machine needs none
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("lang", "en-GB"),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(patience),
	)
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		end()
		endAllocator()
	})
	b.ctx = ctx
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatalf("chromium doesn't start: %v", err)
	}
	b.run(call(log.Enable, cdp.Empty{}), call(network.Enable, network.EnableParams{}), call(runtime.Enable, cdp.Empty{}))
	return b
}

// call is a command of the browser's protocol whose answer doesn't matter.
func call[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func (b *browser) hear(e any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bad := func(text string) {
		if !b.okay(text) {
			b.bad = append(b.bad, text)
		}
	}
	switch e := e.(type) {
	case *runtime.EventExceptionThrown:
		bad((&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			var text []string
			for _, a := range e.Args {
				text = append(text, string(a.Value), a.Description)
			}
			bad(strings.Join(text, " "))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			bad(e.Entry.Text + " " + e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, b.d.base()+"/") && !strings.HasPrefix(u, "blob:"+b.d.base()) {
			b.far = append(b.far, u)
		}
	}
}

// allow lets the browser's console complain of something from here on.
func (b *browser) allow(texts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.okay = func(text string) bool {
		for _, t := range texts {
			if strings.Contains(text, t) {
				return true
			}
		}
		return false
	}
}

// quiet fails for what the browser's console complained of, and for what was asked of others.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.bad {
		b.t.Errorf("the browser's console says: %s", text)
	}
	for _, u := range b.far {
		b.t.Errorf("the page asks for %s", u)
	}
	b.bad, b.far = nil, nil
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.text("body"))
	}
}

// js is what an expression is.
func js[T any](b *browser, expression string) (v T) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v in\n%s\n%s", err, expression, b.text("body"))
	}
	return v
}

// await waits until an expression is true.
func (b *browser) await(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if err == nil && is {
			return
		}
		select {
		case <-ctx.Done():
			b.shoot("failed")
			b.t.Fatalf("%s doesn't come (%v); the page says\n%s\n%s\nthe log says\n%s", what, err, b.text("body"), strings.Join(b.bad, "\n"), b.d.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// text is what somebody reads in an element.
func (b *browser) text(selector string) string {
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.querySelector("+quote(selector)+")?.innerText ?? ''"))
	if err != nil {
		return err.Error()
	}
	return s
}

func quote(s string) string {
	q, _ := json.Marshal(s) // of a string: it can't fail
	return string(q)
}

// click presses what is at a selector, as a pointer does.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.run(chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// key presses keys where the focus is.
func (b *browser) key(keys string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(keys))
}

func (b *browser) tab(back bool) {
	b.t.Helper()
	if back {
		b.run(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
		return
	}
	b.key(kb.Tab)
}

// window is a size, whether it is a phone's, and colours.
type window struct {
	name          string
	width, height int64
	phone         bool
	dark          bool
}

var windows = []window{{"phone-light", 390, 844, true, false}, {"phone-dark", 390, 844, true, true}, {"laptop-light", 1366, 768, false, false}, {"laptop-dark", 1366, 768, false, true}}

func (b *browser) resize(w window) {
	b.t.Helper()
	scheme := "light"
	if w.dark {
		scheme = "dark"
	}
	scale := 1.0
	if w.phone {
		scale = 2
	}
	b.run(call(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: w.width, Height: w.height, DeviceScaleFactor: scale, Mobile: w.phone}),
		call(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: w.phone}),
		call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}))
}

// shoot keeps what is seen in build/page.
func (b *browser) shoot(name string) []byte {
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Errorf("screenshot %s: %v", name, err)
		return nil
	}
	folder := filepath.Join(root, "build", "page")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644)); err != nil {
		b.t.Error(err)
	}
	return picture
}

//go:embed testdata/audit.js
var audit string

// accessible fails for what keeps somebody from reading or using what is on the page now.
func (b *browser) accessible(what string) {
	b.t.Helper()
	for _, problem := range js[[]string](b, audit) {
		b.t.Errorf("%s: %s", what, problem)
	}
	b.named(what)
}
