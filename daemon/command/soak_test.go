package command

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	sockets "net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/doctor"
	"github.com/livenessd/livenessd/mqtt"
)

var soakHours = flag.Int("hours", 0, "simulated hours of TestSoak; 0 is a short form")

const (
	soakChild = "soak-child"           // the first argument of a daemon that tells what it holds
	leaks     = "LIVENESSD_TEST_LEAKS" // set where that must leak
)

// serveSoak is the child: the command run, which beside it answers each line on standard input with what only it can know.
func serveSoak(config string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		var kept [][]byte
		in := bufio.NewScanner(os.Stdin)
		for n := 0; in.Scan(); n++ {
			if os.Getenv(leaks) != "" {
				kept = append(kept, leak(n))
			}
			m := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/live:bytes"}}
			metrics.Read(m)
			fmt.Println(runtime.NumGoroutine(), m[0].Value.Uint64()-m[1].Value.Uint64(), m[2].Value.Uint64())
		}
		runtime.KeepAlive(kept)
	}()
	return Main(ctx, Process{Args: []string{"run", "--config", config}, Stdout: os.Stdout, Stderr: os.Stderr, Version: "1.2.3-soak"})
}

// leak forgets a descriptor, a goroutine, a mapping and some memory.
func leak(n int) []byte {
	_, _ = syscall.Dup(0)
	go func() { select {} }()
	how := syscall.PROT_READ // two of a kind that lie side by side would be one
	if n%2 == 0 {
		how = syscall.PROT_NONE
	}
	_, _ = syscall.Mmap(-1, 0, 1<<16, how, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	return bytes.Repeat([]byte{1}, 1<<18)
}

// events counts what a log says.
type events struct {
	mu   sync.Mutex
	n    map[string]int
	last []string // lines
	// frames by camera and by what became of them, as the camera's changes tell: of this run, and of those before.
	frames map[string]map[string]uint64
	before map[string]uint64
	open   map[string]string // sessions' cameras
}

func (e *events) line(text []byte) {
	var l struct {
		Msg, Camera, Verdict, Session string
		SessionCamera                 string `json:"session_camera"`
		Counters                      map[string]uint64
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = append(e.last, string(text))
	e.last = e.last[max(0, len(e.last)-60):]
	if json.Unmarshal(text, &l) != nil {
		e.n["no JSON"]++
		return
	}
	e.n[l.Msg]++
	switch {
	case l.Msg == "session":
		e.open[l.Session] = l.SessionCamera
		e.n["session "+l.SessionCamera]++
	case l.Msg == "answer":
		e.n["answer "+e.open[l.Session]]++
		e.n["answer "+l.Verdict]++
		delete(e.open, l.Session)
	case l.Msg == "verdict":
		e.n["verdict "+l.Verdict]++
	case l.Msg == "started":
		for _, counters := range e.frames {
			for what, n := range counters {
				e.before[what] += n
			}
		}
		clear(e.frames)
	case strings.HasPrefix(l.Msg, "camera "):
		if l.Msg == "camera streaming" {
			e.n["streaming "+l.Camera]++
		} else { // recovering, or failed where a folder has no pictures when it is opened
			e.n["lost "+l.Camera]++
		}
		e.frames[l.Camera] = l.Counters
	}
}

// settled tells whether all sessions have their answers.
func (e *events) settled() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.open) == 0
}

func (e *events) count(what string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n[what]
}

// more waits until the log has said something more often than n times.
func (e *events) more(what string, n int) error {
	for end := time.Now().Add(patience); e.count(what) <= n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("the log doesn't say %q", what)
		}
	}
	return nil
}

// soak is a daemon in a process of its own, and all that happens to it.
type soak struct {
	t      *testing.T
	random *rand.Rand
	dir    string
	fps    int
	names  []string // of the cameras

	cmd  *exec.Cmd
	ask  *os.File
	told *bufio.Scanner
	log  events

	broker   *exec.Cmd
	address  string // for hosts
	secure   string // for the daemon
	issue    func(name string) error
	sessions atomic.Int64
}

// film writes the pictures of a presentation, an attack, and nobody before and after them, as links.
func (s *soak) film(folder string, damaged bool) {
	s.t.Helper()
	if err := os.Mkdir(folder, 0o700); err != nil {
		s.t.Fatal(err)
	}
	garbage := write(s.t, "garbage.jpg", "no picture")
	n := 0
	for _, part := range []struct {
		still   string
		seconds float64
	}{{"live-1.jpg", 1}, {"empty-1.jpg", 1}, {"replay-1.jpg", 1}, {"empty-1.jpg", 1}} {
		from := garbage
		if !damaged {
			from = filepath.Join(s.dir, part.still)
			data, err := os.ReadFile(picture(part.still))
			if err == nil {
				err = os.WriteFile(from, data, 0o600)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}
		for range int(part.seconds * float64(s.fps)) {
			n++
			if err := os.Symlink(from, filepath.Join(folder, fmt.Sprintf("%05d.jpg", n))); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// show lets a camera play another folder, from one file to the next.
func (s *soak) show(camera, folder string) error {
	fresh := filepath.Join(s.dir, "."+camera)
	return errors.Join(os.Symlink(folder, fresh), os.Rename(fresh, filepath.Join(s.dir, camera)))
}

// configure writes the configuration.
func (s *soak) configure(change string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "device: door-7\nlog: {format: json}\nstate: %s\n"+
		"applications: {door: {on_attack: ban, after: 3, within: 10s, for: 2s}}\n"+
		"mqtt: {url: \"mqtts://%s\", ca_file: %s, cert_file: %s, key_file: %s, home_assistant: true, journal: {count: 2}}\ncameras:\n",
		filepath.Join(s.dir, "state"), s.secure, filepath.Join(s.dir, "authority.pem"), filepath.Join(s.dir, "device.pem"), filepath.Join(s.dir, "device.key"))
	for _, name := range s.names {
		fmt.Fprintf(&b, "  %s: {path: \"replay:%s\", fps: %d}\n", name, filepath.Join(s.dir, name), s.fps)
	}
	const rules = "live_at: 0.5, spoof_at: 0.45, timeout: 2s"
	if !strings.Contains(change, "decision:") {
		change += "decision: {" + rules + "}\n"
	}
	b.WriteString(strings.Replace(change, "RULES", rules, 1))
	file := filepath.Join(s.dir, "livenessd.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		s.t.Error(err)
	}
	return file
}

// certify makes an authority, and what signs certificates by it.
func (s *soak) certify() {
	s.t.Helper()
	put := func(name, kind string, der []byte) error {
		fresh := filepath.Join(s.dir, "."+name)
		return errors.Join(os.WriteFile(fresh, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600), os.Rename(fresh, filepath.Join(s.dir, name)))
	}
	var parent *x509.Certificate
	var signer *ecdsa.PrivateKey
	serial := int64(0)
	s.issue = func(name string) error {
		key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
		if err != nil {
			return err
		}
		serial++
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []sockets.IP{sockets.IPv4(127, 0, 0, 1)}}
		if parent == nil {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
			parent, signer = c, key
		}
		der, err := x509.CreateCertificate(cryptorand.Reader, c, parent, &key.PublicKey, signer)
		if err != nil {
			return err
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		return errors.Join(err, put(name+".key", "PRIVATE KEY", private), put(name+".pem", "CERTIFICATE", der))
	}
	for _, name := range []string{"authority", "broker", "device"} {
		if err := s.issue(name); err != nil {
			s.t.Fatal(err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := sockets.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// startBroker starts mosquitto: with TLS and certificates for the daemon, without for hosts.
func (s *soak) startBroker() error {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto" // which is not in everybody's PATH
	}
	s.broker = exec.Command(program, "-c", filepath.Join(s.dir, "mosquitto.conf"))
	s.broker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.broker.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := sockets.Dial("tcp", s.address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func newSoak(t *testing.T, fps int, cameras ...string) *soak {
	t.Helper()
	needRuntime(t)
	if _, err := exec.LookPath("mosquitto"); err != nil {
		if _, err := os.Stat("/usr/sbin/mosquitto"); err != nil {
			t.Skip("no mosquitto here, so that nothing is tried with it: apt-get install mosquitto")
		}
	}
	s := &soak{t: t, random: rand.New(rand.NewPCG(5, 6)), dir: t.TempDir(), fps: fps, names: cameras,
		log: events{n: map[string]int{}, frames: map[string]map[string]uint64{}, before: map[string]uint64{}, open: map[string]string{}}}
	s.film(filepath.Join(s.dir, "film"), false)
	s.film(filepath.Join(s.dir, "damaged"), true)
	if err := os.Mkdir(filepath.Join(s.dir, "nothing"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range cameras {
		if err := s.show(name, "film"); err != nil {
			t.Fatal(err)
		}
	}
	bundle(t, filepath.Join(s.dir, "state", "models", "mine"), "mine", nil)
	bundle(t, filepath.Join(s.dir, "state", "models", "broken"), "broken", func(manifest string, data []byte) (string, []byte) {
		data[len(data)/2] ^= 1
		return manifest, data
	})
	s.certify()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s.address, s.secure = freePort(t), freePort(t)
	// As root it would become another user, who can't read the test's folder.
	conf := fmt.Sprintf("user %s\nlog_dest none\nallow_anonymous true\nset_tcp_nodelay true\nlistener %s 127.0.0.1\nlistener %s 127.0.0.1\n"+
		"cafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true\n", me.Username, port(s.address), port(s.secure),
		filepath.Join(s.dir, "authority.pem"), filepath.Join(s.dir, "broker.pem"), filepath.Join(s.dir, "broker.key"))
	if err := os.WriteFile(filepath.Join(s.dir, "mosquitto.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.startBroker(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.broker.Process.Kill()
		_ = s.broker.Wait() // says that it was killed
	})
	return s
}

// start starts the daemon as systemd would.
func (s *soak) start(env ...string) {
	s.t.Helper()
	file := s.configure("")
	if r := call(s.t, "keys", "generate", "--config", file); r.code != ExitOK {
		s.t.Fatal(r.errors)
	}
	m := newManager(s.t) // closed at the end
	go func() {
		for b := make([]byte, 4096); ; {
			if _, err := m.c.Read(b); err != nil {
				return
			}
		}
	}()
	s.cmd = exec.Command(os.Args[0], soakChild, file)
	s.cmd.Env = append(os.Environ(), append(env, "WATCHDOG_USEC=60000000", "RUNTIME_DIRECTORY="+s.dir)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	in, ask, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	answers, out, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Stdin, s.cmd.Stdout = in, out
	s.ask, s.told = ask, bufio.NewScanner(answers)
	if err := errors.Join(s.cmd.Start(), in.Close(), out.Close()); err != nil {
		s.t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for in := bufio.NewScanner(log); in.Scan(); {
			s.log.line(in.Bytes())
		}
	})
	s.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // where the test didn't stop it
		reading.Wait()
		_ = s.cmd.Wait()
		_ = errors.Join(ask.Close(), answers.Close())
		if s.t.Failed() {
			s.t.Logf("the log ends with\n%s", strings.Join(s.log.last, "\n"))
		}
	})
	if err := s.log.more("ready: all cameras and models work", 0); err != nil {
		s.t.Fatalf("%v:\n%s", err, strings.Join(s.log.last, "\n"))
	}
}

// stop ends the daemon as systemd would.
func (s *soak) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	ended, err := s.cmd.Process.Wait()
	if err != nil || ended.ExitCode() != ExitOK {
		s.t.Errorf("it ended with %v, %v", ended, err)
	}
}

// look counts what the daemon holds at this moment.
func (s *soak) look() (f figures, err error) {
	proc := filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid))
	entries := func(folder string) float64 {
		list, e := os.ReadDir(filepath.Join(proc, folder))
		err = errors.Join(err, e)
		return float64(len(list))
	}
	f[descriptors], f[threads] = entries("fd"), entries("task")
	maps, e := os.ReadFile(filepath.Join(proc, "maps"))
	f[mappings] = float64(bytes.Count(maps, []byte{'\n'}))
	status, e2 := os.ReadFile(filepath.Join(proc, "status"))
	err = errors.Join(err, e, e2)
	for line := range strings.Lines(string(status)) {
		if w := strings.Fields(line); len(w) > 1 {
			switch w[0] {
			case "VmRSS:":
				f[resident], _ = strconv.ParseFloat(w[1], 64)
			case "RssAnon:":
				f[anonymous], _ = strconv.ParseFloat(w[1], 64)
			}
		}
	}
	stats, e := filepath.Glob("/proc/[0-9]*/stat")
	err = errors.Join(err, e)
	parent := strconv.Itoa(s.cmd.Process.Pid)
	for _, name := range stats {
		b, _ := os.ReadFile(name) // it may have ended meanwhile
		if w := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])); len(w) > 1 && w[1] == parent {
			f[children]++
		}
	}
	err = errors.Join(err, filepath.WalkDir(filepath.Join(s.dir, "state"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err == nil {
			f[state] += float64(i.Size()) / 1024
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}))
	if _, e := s.ask.WriteString("\n"); e != nil {
		return f, errors.Join(err, e)
	}
	if !s.told.Scan() {
		return f, errors.Join(err, fmt.Errorf("the daemon doesn't answer: %w", s.told.Err()))
	}
	_, e = fmt.Sscan(s.told.Text(), &f[goroutines], &f[managed], &f[heap])
	f[managed] /= 1024
	f[heap] /= 1024
	return f, errors.Join(err, e)
}

// calm tells whether cameras and broker are there and nothing waits.
func (s *soak) calm() bool {
	var h daemon.Health
	b, err := os.ReadFile(filepath.Join(s.dir, doctor.StatusFile))
	return err == nil && json.Unmarshal(b, &h) == nil && h.Phase == daemon.PhaseReady && h.Doing == "" && h.Broker != nil && h.Broker.Connected &&
		len(h.Cameras) == len(s.names) && !slices.ContainsFunc(h.Cameras, func(c daemon.CameraHealth) bool { return c.State != "streaming" || !c.Worked })
}

// rest waits until all is calm, and counts. A picture that is being read is a descriptor, a connection that is closing a goroutine: the
// least of some looks is taken, and more of them where that is more than at the first rest.
func (s *soak) rest(hour float64, first *rest) rest {
	s.t.Helper()
	for end := time.Now().Add(patience); !s.calm() || !s.log.settled(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b, err := os.ReadFile(filepath.Join(s.dir, doctor.StatusFile))
			s.t.Fatalf("it doesn't come to rest: %s %v", b, err)
		}
	}
	r := rest{hour: hour}
	for i := range r.figures {
		r.figures[i] = math.Inf(1)
	}
	const looks, most = 20, 400
	for n := range most {
		f, err := s.look()
		if err != nil {
			s.t.Fatal(err)
		}
		enough := n >= looks
		for i := range f {
			r.figures[i] = min(r.figures[i], f[i])
			enough = enough && (first == nil || !holdings[i].exact || r.figures[i] <= first.figures[i])
		}
		if enough {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return r
}

// loseCamera takes a camera's pictures away, in one of three ways, and gives them back.
func (s *soak) loseCamera(name string, n int, away time.Duration) error {
	was := s.log.count("lost " + name)
	if err := s.show(name, []string{"nowhere", "damaged", "nothing"}[n%3]); err != nil {
		return err
	}
	if err := s.log.more("lost "+name, was); err != nil {
		return err
	}
	time.Sleep(away)
	was = s.log.count("streaming " + name)
	return errors.Join(s.show(name, "film"), s.log.more("streaming "+name, was))
}

// loseBroker kills or stops the broker, and starts it again; if full, not before the journal is.
func (s *soak) loseBroker(with syscall.Signal, full bool, away time.Duration) error {
	dropped, connected := s.log.count(dropping), s.log.count("connected to the broker")
	if err := s.broker.Process.Signal(with); err != nil {
		return err
	}
	_ = s.broker.Wait() // says that it was killed
	var err error
	if full {
		err = s.log.more(dropping, dropped)
	}
	time.Sleep(away)
	return errors.Join(err, s.startBroker(), s.log.more("connected to the broker", connected))
}

const (
	dropping = "verdicts that wait are dropped, the oldest first and spoofs last"
	refused  = "the old configuration stays in effect: the new one can't be used"
	accepted = "the new configuration is in effect"
)

// reload gives the daemon another configuration.
func (s *soak) reload(change, want string) error {
	was := s.log.count(want)
	s.configure(change)
	return errors.Join(s.cmd.Process.Signal(syscall.SIGHUP), s.log.more(want, was))
}

// reloads is what a round's reloads change; the last is what it was before.
func (s *soak) reloads(round int) error {
	good := []string{"models: {liveness: mine}\n", "models: {liveness: [shipped, mine]}\n", "decision: {mode: on_request, RULES}\n"}
	bad := []string{"decsion: {}\n", "models: {liveness: broken}\n", "models: {liveness: none}\n"}
	return errors.Join(s.issue("device"), s.reload(bad[round%3], refused), s.reload(good[round/3%3], accepted), s.reload("", accepted))
}

// session asks for a session at a camera and waits for its answer. While the broker is away nobody hears it.
func (s *soak) session(camera string) error {
	c, err := sockets.Dial("tcp", s.address)
	if err != nil {
		return nil
	}
	defer c.Close()
	n := s.sessions.Add(1)
	text := func(s string) []byte { return append([]byte{0, byte(len(s))}, s...) }
	packet := func(kind byte, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append([]byte{kind, byte(len(body)&127 | 128), byte(len(body) >> 7)}, body...)
	}
	purpose := []string{"authentication", "enrollment"}[n%2]
	body := fmt.Appendf(nil, `{"transaction":"t%d","application":"door","purpose":%q,"camera":%q,"subject":"u%d","nonce":"n-%d","timeout":"2s"}`, n, purpose, camera, n%50, n)
	opened, answered := s.log.count("session "+camera), s.log.count("answer "+camera)
	if _, err := c.Write(append(packet(0x10, text("MQTT"), []byte{4, 2, 0, 60}, text("host-"+camera)),
		packet(0x30, text("livenessd/door-7/request/session"), body)...)); err != nil {
		return nil
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s.log.count("session "+camera) > opened {
			return s.log.more("answer "+camera, answered)
		}
	}
	return nil // refused, banned, or lost with the broker
}

// wear is how often things happen between two rests.
type wear struct {
	cameras  int // each camera's losses
	brokers  int // one of them until the journal is full
	sessions int // each camera's answers, at least
}

// round lets everything happen at once.
func (s *soak) round(n int, of wear) error {
	var wg sync.WaitGroup
	errs := make([]error, 2*len(s.names)+2)
	at := 0
	do := func(wg *sync.WaitGroup, f func() error) {
		err := &errs[at]
		at++
		wg.Go(func() { *err = f() })
	}
	some := func(most time.Duration) func() time.Duration {
		r := rand.New(rand.NewPCG(s.random.Uint64(), 0))
		return func() time.Duration { return time.Duration(r.Int64N(int64(most))) }
	}
	for i, name := range s.names {
		away, back := some(300*time.Millisecond), some(time.Second)
		do(&wg, func() error {
			for k := range of.cameras {
				if err := s.loseCamera(name, n+i+k, away()); err != nil {
					return err
				}
				time.Sleep(back())
			}
			return nil
		})
	}
	away := some(time.Second)
	do(&wg, func() error {
		for k := range of.brokers {
			with := syscall.SIGKILL
			if (n+k)%2 == 0 {
				with = syscall.SIGTERM
			}
			if err := s.loseBroker(with, k == 0, away()); err != nil {
				return err
			}
			time.Sleep(away())
		}
		return nil
	})
	do(&wg, func() error { return s.reloads(n) })
	over := make(chan struct{})
	var hosts sync.WaitGroup
	for _, name := range s.names {
		least := s.log.count("answer "+name) + of.sessions
		do(&hosts, func() error {
			for {
				if err := s.session(name); err != nil {
					return err
				}
				select {
				case <-over:
					if s.log.count("answer "+name) >= least {
						return nil
					}
				case <-time.After(50 * time.Millisecond):
				case <-s.t.Context().Done():
					return s.t.Context().Err()
				}
			}
		})
	}
	wg.Wait()
	close(over)
	hosts.Wait()
	return errors.Join(errs...)
}

// hear counts what a subscriber hears, until the test ends.
func (s *soak) hear() (heard func() map[string]int) {
	s.t.Helper()
	in, err := mqtt.Subscribe(s.t.Context(), mqtt.SubscribeOptions{URL: "mqtt://" + s.address, Device: "door-7", Log: slog.New(slog.DiscardHandler),
		Pause: func(ctx context.Context, _ time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}})
	if err != nil {
		s.t.Fatal(err)
	}
	var mu sync.Mutex
	n := map[string]int{}
	go func() {
		for m := range in {
			_, name, _ := strings.Cut(m.Topic, "/door-7/")
			if _, last, cut := strings.Cut(name, "/"); cut && strings.HasPrefix(name, "camera/") {
				_, name, _ = strings.Cut(last, "/")
			} else if cut {
				name, _, _ = strings.Cut(name, "/")
			}
			mu.Lock()
			n[name]++
			mu.Unlock()
		}
	}()
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(n)
	}
}

// TestSoak lets cameras, brokers and configurations come and go, and looks whether the daemon holds ever more.
func TestSoak(t *testing.T) {
	fps, cameras, of, rounds := 20, []string{"front", "side"}, wear{cameras: 1, brokers: 2, sessions: 2}, 1
	if *soakHours > 0 { // so many cameras that a loss, of which each takes 2 s to be noticed, doesn't take all the time
		cameras = append(cameras, "back", "yard", "gate", "hall", "lift", "bank", "desk")
		fps, of, rounds = 100, wear{cameras: 5, brokers: 5, sessions: 4}, *soakHours
	}
	s := newSoak(t, fps, cameras...)
	heard := s.hear()
	began := time.Now()
	s.start()
	all := []rest{s.rest(0, nil)}
	for n := range rounds {
		if err := s.round(n, of); err != nil {
			t.Fatal(err)
		}
		r := s.rest(float64(n+1), &all[0])
		all = append(all, r)
		if *soakHours > 0 {
			fmt.Fprintf(os.Stderr, "hour %2.0f after %5.1f min: %v\n", r.hour, time.Since(began).Minutes(), r.figures)
		}
	}
	s.stop()
	took := time.Since(began)
	for _, f := range judge(all, *soakHours >= 4) {
		t.Error(f)
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	frames := s.log.before
	for _, counters := range s.log.frames {
		for what, n := range counters {
			frames[what] += n
		}
	}
	t.Logf("%d simulated hours in %v\n%s", *soakHours, took.Round(time.Second), table(all))
	t.Logf("losses of cameras: %d, of the broker: %d; reloads: %d, and %d refused; sessions asked for: %d; frames, at least: %v",
		rounds*of.cameras*len(cameras), rounds*of.brokers, s.log.n[accepted], s.log.n[refused], s.sessions.Load(), frames)
	t.Logf("the log said: %v", s.log.n)
	t.Logf("a subscriber heard: %v", heard())
	// What didn't happen can't leak.
	for what, least := range map[string]int{"verdict live": 1, "verdict spoof": 1, "answer": 1, dropping: rounds, accepted: 2 * rounds, refused: rounds,
		"lost " + cameras[0]: rounds * of.cameras, "connected to the broker": rounds * of.brokers, "verdicts are signed": 1} {
		if s.log.n[what] < least {
			t.Errorf("the log said %q %d times, and should have %d times at least", what, s.log.n[what], least)
		}
	}
}

// TestSoakFindsWhatLeaks forgets one of each at each look.
func TestSoakFindsWhatLeaks(t *testing.T) {
	s := newSoak(t, 20, "front")
	s.start(leaks + "=yes")
	var all []rest
	for n := range 8 {
		r := s.rest(float64(n)*24/7, nil)
		all = append(all, r)
	}
	s.stop()
	faults := strings.Join(judge(all, true), "\n")
	for _, i := range []int{descriptors, goroutines, mappings, resident, anonymous} {
		if !strings.Contains(faults, holdings[i].name+":") {
			t.Errorf("nothing is said of %s", holdings[i].name)
		}
	}
	for _, i := range []int{children, state} {
		if strings.Contains(faults, holdings[i].name+":") {
			t.Errorf("%s didn't leak", holdings[i].name)
		}
	}
	if t.Failed() {
		t.Logf("faults:\n%s\n%s", faults, table(all))
	}
}
