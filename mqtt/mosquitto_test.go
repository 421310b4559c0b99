package mqtt

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// childBroker names the broker of a client that runs in a process of its own, to be killed.
const childBroker = "LIVENESSD_TEST_CHILD_BROKER"

func TestMain(m *testing.M) {
	if url := os.Getenv(childBroker); url != "" {
		c, err := New(Options{URL: url, Device: "door-7"})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		c.SetCameraState("front", CameraState{Schema: 1, State: "streaming"})
		select {}
	}
	os.Exit(m.Run())
}

// mosquitto is a real broker, which can be killed and started again at the same port.
type mosquitto struct {
	t       *testing.T
	dir     string
	program string
	env     []string // beside ours
	port    int
	cmd     *exec.Cmd
}

// startMosquitto starts one with the given lines in its configuration.
func startMosquitto(t *testing.T, lines ...string) *mosquitto {
	t.Helper()
	return startMosquittoIn(t, nil, lines...)
}

// startMosquittoIn starts one with variables in its environment.
func startMosquittoIn(t *testing.T, env []string, lines ...string) *mosquitto {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/mosquitto") // which is not in everybody's PATH
	}
	if err != nil {
		t.Skip("no mosquitto here, so that nothing is tried with it: apt-get install mosquitto")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, dir: t.TempDir(), program: program, env: env, port: l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	// As root it would become another user, who can't read the test's folder.
	lines = append([]string{fmt.Sprintf("listener %d 127.0.0.1", m.port), "user " + me.Username, "log_dest stderr"}, lines...)
	m.write("conf", strings.Join(lines, "\n")+"\n")
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) write(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command(m.program, "-c", filepath.Join(m.dir, "conf"))
	log, err := os.OpenFile(m.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	m.cmd.Stderr = log
	m.cmd.Env = append(os.Environ(), m.env...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	awaitPort(m.t, m.address())
}

// awaitPort waits until somebody listens.
func awaitPort(t *testing.T, address string) {
	t.Helper()
	eventually(t, "a listener at "+address, func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// kill gives it no time to say or save anything.
func (m *mosquitto) kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait() // says that it was killed
	m.cmd = nil
}

// log is the file in which it says what it does.
func (m *mosquitto) log() string { return filepath.Join(m.dir, "log") }

func (m *mosquitto) address() string { return fmt.Sprintf("127.0.0.1:%d", m.port) }
func (m *mosquitto) url() string     { return "mqtt://" + m.address() }

func TestKilledBrokerLosesNothingOfTheQueue(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	in := listen(t, m.url())
	g := newGate()
	c := start(t, Options{URL: m.url(), Pause: g.pause, Info: func() Info { return Info{Schema: 1, Device: "door-7", Version: "v1"} }})
	c.SetCameraState("back", CameraState{Schema: 1, State: "recovering"})
	expect := func(in <-chan Received, from, to uint64) {
		t.Helper()
		for seq := from; seq <= to; seq++ {
			v, err := ParseVerdict(until(t, in, "livenessd/door-7/camera/front/verdict").Payload)
			if err != nil || v.Seq != seq {
				t.Fatalf("%d came when %d was due, %v", v.Seq, seq, err)
			}
		}
	}
	for seq := range uint64(50) {
		c.PublishVerdict(numbered(seq + 1))
	}
	expect(in, 1, 50)
	eventually(t, "all acknowledgements", func() bool { return c.Status().Queued == 0 })

	m.kill()
	take(t, "the client's notice of it", g.waits)
	for seq := range uint64(50) {
		c.PublishVerdict(numbered(seq + 51))
	}
	c.SetCameraState("front", CameraState{Schema: 1, State: "streaming"})
	m.start()
	in = listen(t, m.url()) // before the client comes: verdicts aren't retained
	close(g.open)
	for _, want := range []struct{ topic, payload string }{
		{"availability", "online"}, {"info", `"v1"`}, {"camera/back/state", "recovering"}, {"camera/front/state", "streaming"},
	} {
		r := take(t, want.topic, in)
		if r.Topic != "livenessd/door-7/"+want.topic || !strings.Contains(string(r.Payload), want.payload) {
			t.Errorf("%s %s, want %s with %s", r.Topic, r.Payload, want.topic, want.payload)
		}
	}
	expect(in, 51, 100)
	if s := c.Status(); s.Dropped != 0 || s.Connections != 2 {
		t.Errorf("%+v", s)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if r := until(t, in, "livenessd/door-7/availability"); string(r.Payload) != "offline" {
		t.Errorf("%s after Close", r.Payload)
	}
}

func TestKilledProcessIsOffline(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	in := listen(t, m.url())
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childBroker+"="+m.url())
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if r := until(t, in, "livenessd/door-7/availability"); string(r.Payload) != "online" {
		t.Errorf("first %s", r.Payload)
	}
	until(t, in, "livenessd/door-7/camera/front/state")
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // says that it was killed
	if r := until(t, in, "livenessd/door-7/availability"); string(r.Payload) != "offline" {
		t.Errorf("%s after the kill", r.Payload)
	}
	if r := until(t, listen(t, m.url()), "livenessd/door-7/availability"); string(r.Payload) != "offline" || !r.Retained {
		t.Errorf("%s, retained: %v", r.Payload, r.Retained)
	}
}

func TestTakeoverPublishesTheWillAndTheReturnOnline(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	in := listen(t, m.url())
	g := newGate()
	c := start(t, Options{URL: m.url(), Pause: g.pause})
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	p := paho.NewClient(paho.NewClientOptions().AddBroker(m.url()).SetClientID("livenessd-door-7").SetAutoReconnect(false))
	if k := p.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
	defer p.Disconnect(0)
	take(t, "the client's notice of it", g.waits)
	close(g.open)
	for _, want := range []string{"online", "offline", "online"} {
		if r := until(t, in, "livenessd/door-7/availability"); string(r.Payload) != want {
			t.Errorf("%s, want %s", r.Payload, want)
		}
	}
}

func TestPasswordThatMosquittoRefuses(t *testing.T) {
	tool, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Skip("no mosquitto_passwd here, so that no password is tried with mosquitto: apt-get install mosquitto")
	}
	users := filepath.Join(t.TempDir(), "users")
	if out, err := exec.Command(tool, "-b", "-c", users, "me", "right").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := startMosquitto(t, "allow_anonymous false", "password_file "+users)
	password := m.write("password", "wrong\n")
	g := newGate()
	c := start(t, Options{URL: m.url(), Username: "me", PasswordFile: password, Pause: g.pause})
	take(t, "the refusal", g.waits)
	if err := c.Status().Err; !hinted(err, "password_file") || !strings.Contains(err.Error(), "connect to mqtt://127.0.0.1") {
		t.Errorf("%v", err)
	}
	if _, err := Subscribe(t.Context(), SubscribeOptions{URL: m.url()}); !hinted(err, "username") {
		t.Errorf("a subscriber without a name: %v", err)
	}
	m.write("password", "right\n")
	close(g.open)
	eventually(t, "the connection", func() bool { return c.Status().Connected })
}

// TestAccessListThatForbidsSilently is what mosquitto does: it grants the subscription and acknowledges the message, and passes
// on neither.
func TestAccessListThatForbidsSilently(t *testing.T) {
	for name, list := range map[string]string{"to read": "topic write livenessd/#\n", "to publish": "topic read livenessd/#\n"} {
		acl := filepath.Join(t.TempDir(), "acl")
		if err := os.WriteFile(acl, []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		m := startMosquitto(t, "allow_anonymous true", "acl_file "+acl)
		warned := make(chan struct{}, 10)
		log := slog.New(slog.NewTextHandler(writer(func(b []byte) {
			if bytes.Contains(b, []byte("hear its own availability")) {
				warned <- struct{}{}
			}
		}), nil))
		c := start(t, Options{URL: m.url(), Log: log, Timeout: 300 * time.Millisecond})
		c.PublishVerdict(numbered(1))
		take(t, name+": the warning", warned)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if len(warned) > 0 {
			t.Errorf("%s: warned twice", name)
		}
	}
}

type writer func(b []byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// TestBrokerThatStopsAnswering stops mosquitto in the middle, as a machine that hangs does: its kernel still takes our bytes.
func TestBrokerThatStopsAnswering(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	c := start(t, Options{URL: m.url(), Timeout: 300 * time.Millisecond})
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.PublishVerdict(numbered(1))
	eventually(t, "the loss", func() bool { return !c.Status().Connected })
	if s := c.Status(); s.Queued != 1 || s.Err == nil {
		t.Errorf("%+v", s)
	}
	if err := m.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
}

// What a host asks comes through a real broker, but nothing that was asked while the device was away, nor what it may not hear.
func TestRequestsOverARealBroker(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	say(t, m.url(), "livenessd/door-7/request/ping", "retained")
	tell(t, m.url(), "livenessd/door-7/request/ping", "while it was away", false)
	asked := make(chan Asked, 16)
	c := start(t, Options{URL: m.url(), Requests: asked})
	if a := take(t, "what is retained", asked); !a.Retained || string(a.Payload) != "retained" {
		t.Errorf("%+v", a)
	}
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	m.kill()
	m.start()
	eventually(t, "the connection again", func() bool { return c.Status().Connections == 2 && c.Status().Connected })
	tell(t, m.url(), "livenessd/door-7/request/ping", "now", false)
	if a := take(t, "a request after the broker came back", asked); a.Retained || string(a.Payload) != "now" {
		t.Errorf("%+v", a)
	}
}
