package command

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	sockets "net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/doctor"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/systemd"
)

// manager is systemd's end of the socket.
type manager struct {
	t *testing.T
	c *sockets.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := sockets.ListenUnixgram("unixgram", &sockets.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t, c}
}

// await reads messages until one has all of these parts.
func (m *manager) await(parts ...string) string {
	m.t.Helper()
	if err := m.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	var seen []string
	b := make([]byte, 4096)
next:
	for {
		n, err := m.c.Read(b)
		if err != nil {
			m.t.Fatalf("no message with %q: %v; there was\n%s", parts, err, strings.Join(seen, "\n"))
		}
		text := string(b[:n])
		seen = append(seen, text)
		for _, p := range parts {
			if !strings.Contains(text, p) {
				continue next
			}
		}
		return text
	}
}

// toldOf reads the status file until it is as wanted.
func toldOf(t *testing.T, directory string, is func(daemon.Health) bool) daemon.Health {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var h daemon.Health
		b, err := os.ReadFile(filepath.Join(directory, doctor.StatusFile))
		if err == nil {
			if err = json.Unmarshal(b, &h); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			if is(h) {
				return h
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the status file stays %s, %v", b, err)
		}
	}
}

func TestRunTellsSystemd(t *testing.T) {
	needRuntime(t)
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "30000000")
	runtime := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", runtime)
	folder, b, received := listening(t, "live-1.jpg")
	text := func(device string) string {
		return "device: " + device + "\nlog: {format: json}\ncameras: {front: {path: \"replay:" + folder + "\", fps: 20}}\nstate: " + t.TempDir() + "\n" +
			"decision: {live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: \"" + b.URL() + "\"}\n"
	}
	file := write(t, "livenessd.yaml", text("door-7"))
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log buffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: &buffer{}, Stderr: &log, Version: "1.2.3-test"})
	}()
	m.await("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=")
	if said := m.await("READY=1", "STATUS=", "camera front "); !strings.Contains(said, "last verdict live") {
		m.await("STATUS=", "camera front streaming", "last verdict live")
	}
	h := toldOf(t, runtime, func(h daemon.Health) bool { return h.Phase == daemon.PhaseReady && h.Verdict != nil })
	if h.PID != os.Getpid() || h.Version != "1.2.3-test" || h.Device != "door-7" || h.Config != file || len(h.Cameras) != 1 || !h.Cameras[0].Worked ||
		h.Broker == nil || !h.Broker.Connected {
		t.Errorf("%+v", h)
	}

	rewrite(text("door-8") + "decsion: {}\n")
	m.await("RELOADING=1", "MONOTONIC_USEC=")
	said := m.await("READY=1")
	if !strings.Contains(said, "the old configuration stays: "+file) || !strings.Contains(said, `did you mean "decision"?`) {
		t.Errorf("%s", said)
	}
	h = toldOf(t, runtime, func(h daemon.Health) bool { return h.Refused != nil && h.Phase == daemon.PhaseReady })
	if !strings.Contains(h.Refused.Error, "decsion") || h.Device != "door-7" {
		t.Errorf("%+v", h)
	}

	// Of a damaged model, and a library that can't be changed, the old run knows nothing either.
	rewrite(text("door-8") + "models: {liveness: nowhere}\n")
	m.await("READY=1", "the old configuration stays: ", "nowhere")
	rewrite(text("door-8") + "models: {runtime: /nowhere.so}\n")
	m.await("READY=1", "the old configuration stays: ", "restart livenessd")

	rewrite(text("door-8"))
	m.await("RELOADING=1")
	m.await("READY=1", "the new configuration is in effect")
	await(t, received, "goodbye", func(r mqtt.Received) bool {
		return r.Topic == "livenessd/door-7/availability" && string(r.Payload) == mqtt.Offline
	})
	m.await("STATUS=", "camera front streaming")
	h = toldOf(t, runtime, func(h daemon.Health) bool { return h.Refused == nil && h.Device == "door-8" })
	if h.Phase != daemon.PhaseReady || h.Trouble == nil || !strings.Contains(h.Trouble.Error, "nowhere") {
		t.Errorf("%+v", h)
	}
	stop()
	m.await("STOPPING=1")
	select {
	case c := <-code:
		if c != ExitOK {
			t.Errorf("exit code %d:\n%s", c, &log)
		}
	case <-time.After(patience):
		t.Fatal("it doesn't stop")
	}
	if h := toldOf(t, runtime, func(daemon.Health) bool { return true }); h.Phase != daemon.PhaseStopping || len(h.Stuck) > 0 {
		t.Errorf("%+v", h)
	}
	if left, err := os.ReadDir(runtime); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, want := range []string{`"msg":"ready: all cameras and models work"`, `"msg":"the old configuration stays in effect: the new one can't be used"`,
		`"msg":"the new configuration is in effect"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, &log)
		}
	}
}

// Without a camera it isn't ready; nor is it given up: systemd is told why, and that it may take longer.
func TestRunWithoutACameraIsNotReady(t *testing.T) {
	needRuntime(t)
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "2000000")
	file := write(t, "livenessd.yaml", "cameras: {front: {path: /dev/v4l/by-id/nothing}}\nstate: "+t.TempDir()+"\nmqtt: {url: \"mqtt://127.0.0.1:9\"}\n")
	ctx, stop := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: &buffer{}, Stderr: &buffer{}})
	}()
	m.await("STATUS=", "camera front recovering", "no such file", "plug the camera in")
	for range 4 { // over more than the watchdog's time
		m.await("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=60000000")
	}
	stop()
	m.await("STOPPING=1")
	if c := <-code; c != ExitOK {
		t.Errorf("exit code %d", c)
	}
}

// What the old configuration's run decided isn't lost: the new one's delivers it.
func TestAReloadLosesNoVerdict(t *testing.T) {
	needRuntime(t)
	m := newManager(t)
	folder, b, received := listening(t, "live-1.jpg")
	state := t.TempDir()
	text := func(url string) string {
		return "device: door-7\nlog: {format: json}\ncameras: {front: {path: \"replay:" + folder + "\", fps: 20}}\nstate: " + state + "\n" +
			"decision: {live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: \"" + url + "\"}\n"
	}
	file := write(t, "livenessd.yaml", text("mqtt://127.0.0.1:9"))
	ctx, stop := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: &buffer{}, Stderr: &buffer{}})
	}()
	m.await("STATUS=", "last verdict live")
	if err := os.WriteFile(file, []byte(text(b.URL())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	boots := map[string]uint64{} // the number of the first verdict
	for len(boots) < 2 {
		r := await(t, received, "a verdict", func(r mqtt.Received) bool { return r.Topic == "livenessd/door-7/camera/front/verdict" })
		v, err := mqtt.ParseVerdict(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if _, known := boots[v.Boot]; !known {
			boots[v.Boot] = v.Seq
		}
	}
	for boot, first := range boots {
		if first != 1 {
			t.Errorf("the first verdict of boot %s is number %d", boot, first)
		}
	}
	stop()
	if c := <-code; c != ExitOK {
		t.Errorf("exit code %d", c)
	}
}

// What only shows when the new run begins leaves the old configuration in effect, too.
func TestANewRunThatDoesNotBeginIsUndone(t *testing.T) {
	needRuntime(t)
	m := newManager(t)
	notify, err := systemd.NewNotifier(os.Getenv, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "livenessd.yaml", "device: new\nstate: "+t.TempDir()+"\n")
	hangup := make(chan os.Signal)
	pulse := daemon.NewPulse(time.Now, "", os.Getpid())
	pulse.Phase(daemon.PhaseReady)
	began := make(chan string, 10)
	broken := true
	s := &server{app: &app{Process: Process{Stderr: &buffer{}}, configPath: file}, notify: notify, pulse: pulse, hangup: hangup,
		watch: func(ctx context.Context, o daemon.Options) error {
			began <- o.Config.Device
			if o.Config.Device == "new" && broken {
				broken = false
				return errors.New("no room for another")
			}
			o.Ready(o.Engine)
			<-ctx.Done()
			return nil
		}}
	cfg := config.Default()
	cfg.Device = "old"
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.loop(ctx, &prepared{cfg, slog.New(slog.DiscardHandler), nil}, func() {})
	}()
	next := func(want string) {
		t.Helper()
		select {
		case got := <-began:
			if got != want {
				t.Errorf("%s begins, not %s", got, want)
			}
		case <-time.After(patience):
			t.Fatal("nothing begins")
		}
	}
	next("old")
	hangup <- syscall.SIGHUP
	next("new")
	next("old")
	m.await("RELOADING=1")
	m.await("READY=1", "the old configuration stays: no room for another")
	hangup <- syscall.SIGHUP
	next("new")
	m.await("READY=1", "the new configuration is in effect")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAFailedStartIsShown(t *testing.T) {
	runtime := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", runtime)
	r := call(t, "run", withConfig(t, "device: a b\n"))
	if r.code != ExitConfig {
		t.Errorf("exit code %d: %s", r.code, r.errors)
	}
	h := toldOf(t, runtime, func(daemon.Health) bool { return true })
	if h.Phase != daemon.PhaseFailed || h.Trouble == nil || !strings.Contains(h.Trouble.Error, "device") {
		t.Errorf("%+v", h)
	}
}

func TestWhatSystemdSaysMustMakeSense(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/nowhere")
	t.Setenv("WATCHDOG_USEC", "soon")
	if r := call(t, "run"); r.code != ExitOther || !strings.Contains(r.errors, "WATCHDOG_USEC") {
		t.Errorf("exit code %d: %s", r.code, r.errors)
	}
}
