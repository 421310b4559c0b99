package journal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/sign"
)

var (
	faults = flag.Int("faults", 12, "how many things go wrong in TestTorture")
	seed   = flag.Uint64("seed", 0, "of what goes wrong; 0 draws one")
)

// The child's orders.
const (
	childURL  = "LIVENESSD_TEST_URL" // of its broker; without it this is the test
	childPath = "LIVENESSD_TEST_PATH"
	childBoot = "LIVENESSD_TEST_BOOT"
	childTask = "LIVENESSD_TEST_TASK"

	steady = "steady" // as fast as the disk takes it
	greedy = "greedy" // more than there is room for
	drain  = "drain"  // nothing, until all is delivered
)

const childRoom = 2000

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		if err := child(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// witness tells of each verdict that is on the disk.
type witness struct{ *Journal }

func (w witness) Write(put []mqtt.Record, remove []uint64) error {
	if err := w.Journal.Write(put, remove); err != nil {
		return err
	}
	var out bytes.Buffer
	for _, r := range put {
		var v mqtt.Verdict
		if r.Gap {
			continue
		}
		if err := json.Unmarshal(r.Payload, &v); err != nil {
			return err
		}
		fmt.Fprintf(&out, "disk %s %d\n", v.Boot, v.Seq)
	}
	_, err := os.Stdout.Write(out.Bytes())
	return err
}

// deviceKey is the key of all children.
func deviceKey() (*sign.Key, error) {
	return sign.NewKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
}

// child decides verdicts until SIGTERM, or delivers what is left.
func child(url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	boot, task := os.Getenv(childBoot), os.Getenv(childTask)
	key, err := deviceKey()
	if err != nil {
		return err
	}
	c, err := mqtt.New(mqtt.Options{URL: url, Device: device, Signer: key, Journal: witness{New(os.Getenv(childPath), slog.New(slog.DiscardHandler))},
		QueueLimit: childRoom, BacklogRate: 1e6, Timeout: time.Second,
		Pause: func(ctx context.Context, d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(d / 20):
			}
		}})
	if err != nil {
		return err
	}
	memory := false
	wait := func(until func(mqtt.Status) bool) bool {
		for !until(c.Status()) {
			if !memory && c.Journal().State == mqtt.JournalMemory {
				memory = true
				fmt.Printf("memory %s\n", boot)
			}
			select {
			case <-ctx.Done():
				return false
			case <-time.After(time.Millisecond):
			}
		}
		return ctx.Err() == nil
	}
	seq := uint64(0)
	decide := func(n int) {
		for range n {
			seq++
			c.PublishVerdict(verdictOf(boot, seq))
		}
	}
	switch task {
	case steady:
		for wait(func(s mqtt.Status) bool { return s.Volatile < 64 && s.Queued < childRoom-64 }) {
			decide(1)
		}
	case greedy:
		for wait(func(s mqtt.Status) bool { return s.Volatile == 0 && s.Queued < childRoom/2 }) {
			decide(2 * childRoom)
		}
	case drain:
		wait(func(s mqtt.Status) bool { return s.Queued+s.Gaps == 0 })
	}
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.Close(closing)
}

// proxy is the network between the child and the broker.
type proxy struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu     sync.Mutex
	thawed chan struct{} // closed while bytes flow
	conns  map[net.Conn]bool
	left   int // bytes to the broker until all is cut; below 0 for no end
	deaf   bool
	closed bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]bool{}, left: -1, thawed: make(chan struct{})}
	close(p.thawed)
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.thaw()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) add(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	if p.closed {
		_ = c.Close()
	}
}

func (p *proxy) serve(c net.Conn) {
	p.add(c)
	defer c.Close()
	b, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	p.add(b)
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(b, c, true) })
	wg.Go(func() { p.pump(c, b, false) })
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	delete(p.conns, b)
}

// pump carries bytes as long as the network does.
func (p *proxy) pump(to, from net.Conn, up bool) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			thawed, deaf := p.thawed, p.deaf && !up
			last := false
			if up && p.left >= 0 {
				n = min(n, p.left)
				p.left -= n
				last = p.left == 0
			}
			if last {
				p.left = -1
			}
			p.mu.Unlock()
			<-thawed
			if !deaf {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if last {
				p.cut()
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// cutAfter ends them in the middle of a packet.
func (p *proxy) cutAfter(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = bytes
}

// freeze keeps connections, and lets nothing through.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.thawed:
		p.thawed = make(chan struct{})
	default:
	}
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.thawed:
	default:
		close(p.thawed)
	}
}

// deafen throws away what the broker says, if on.
func (p *proxy) deafen(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = on
}

// stage is all that takes part.
type stage struct {
	t      *testing.T
	random *rand.Rand
	dir    string
	broker *exec.Cmd
	proxy  *proxy
	// address is the broker's.
	address string

	unsubscribe func()
	lost        <-chan struct{} // the subscriber's connection

	child *exec.Cmd
	lines sync.WaitGroup
	boots int
	// markers counts those that were sent through the broker.
	markers int

	mu       sync.Mutex
	disk     map[string]map[uint64]bool // what was on the disk, by boot
	memory   map[string]bool            // boots in which the disk was too slow
	payloads map[string][]byte          // what came, by boot and seq, as fresh
	signed   map[string][]byte          // what came signed
	keys     []sign.Public
	arrivals []arrival
	gaps     []mqtt.Gap
	twice    int
	marked   string
}

type arrival struct {
	camera, boot string
	seq          uint64
	replayed     bool
}

func (s *stage) startBroker() {
	s.t.Helper()
	s.broker = startMosquitto(s.t, s.dir, s.address)
}

// startMosquitto starts one with the folder's configuration, which the test must end.
func startMosquitto(t testing.TB, dir, address string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/mosquitto") // which is not in everybody's PATH
	}
	if err != nil {
		t.Skip("no mosquitto here, so that nothing is tried with it: apt-get install mosquitto")
	}
	m := exec.Command(program, "-c", filepath.Join(dir, "conf"))
	m.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "mosquitto's port", func() bool {
		c, err := net.Dial("tcp", address)
		return err == nil && c.Close() == nil
	})
	return m
}

// configureMosquitto writes a configuration, and tells at which address it is.
func configureMosquitto(t testing.TB, dir string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	// As root it would become another user. A subscriber that is slow must not lose anything, and acknowledgements
	// not wait for one another.
	conf := fmt.Sprintf("listener %d 127.0.0.1\nuser %s\nlog_dest none\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n", port, me.Username)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// subscribe listens until unsubscribe.
func (s *stage) subscribe() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	lost := make(chan struct{}, 1)
	s.lost = lost
	in, err := mqtt.Subscribe(ctx, mqtt.SubscribeOptions{URL: "mqtt://" + s.address, Device: device,
		Pause: func(ctx context.Context, _ time.Duration) { // all that came was handed on
			lost <- struct{}{}
			<-ctx.Done()
		}})
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for m := range in {
			s.hear(m)
		}
	})
	s.unsubscribe = func() {
		cancel()
		wg.Wait()
	}
}

func (s *stage) hear(m mqtt.Received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case strings.HasSuffix(m.Topic, "/marker"):
		s.marked = string(m.Payload)
	case strings.HasSuffix(m.Topic, "/gap"):
		g, err := mqtt.ParseGap(m.Payload)
		if err != nil || g.Reason != mqtt.GapCount { // no kill damages a file
			s.t.Errorf("%s, %v", m.Payload, err)
		}
		s.gaps = append(s.gaps, g)
	case strings.HasSuffix(m.Topic, "/verdict"), strings.HasSuffix(m.Topic, "/verdict/jws"):
		document, signed := m.Payload, strings.HasSuffix(m.Topic, "/jws")
		if signed {
			var err error
			if document, _, err = sign.Verify(m.Payload, s.keys); err != nil {
				s.t.Error(err)
				return
			}
		}
		v, err := mqtt.ParseVerdict(document)
		if err != nil {
			s.t.Error(err)
			return
		}
		if m.Retained {
			s.t.Errorf("%s is retained", m.Topic)
		}
		key := v.Boot + "/" + strconv.FormatUint(v.Seq, 10)
		as := bytes.Replace(document, []byte(`"replayed":true`), []byte(`"replayed":false`), 1)
		if signed {
			s.signed[key] = as
			return
		}
		if first, was := s.payloads[key]; was {
			s.twice++
			if !bytes.Equal(first, as) {
				s.t.Errorf("%s came as\n%s\nand as\n%s", key, first, as)
			}
			return
		}
		s.payloads[key] = as
		s.arrivals = append(s.arrivals, arrival{v.Camera, v.Boot, v.Seq, v.Replayed})
	}
}

// settle waits until the broker has handed on all that it acknowledged: what comes after it in the subscriber's queue came.
func (s *stage) settle() {
	s.t.Helper()
	s.markers++
	mark := strconv.Itoa(s.markers)
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	text := func(s string) []byte { return append([]byte{0, byte(len(s))}, s...) }
	packet := func(kind byte, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append([]byte{kind, byte(len(body))}, body...)
	}
	connect := packet(0x10, text("MQTT"), []byte{4, 2, 0, 60}, text("marker"))
	publish := packet(0x32, text("livenessd/"+device+"/marker"), []byte{0, 1}, []byte(mark))
	for _, p := range [][]byte{connect, publish} {
		answer := make([]byte, 4)
		if _, err := c.Write(p); err != nil {
			s.t.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			s.t.Fatal(err)
		}
	}
	eventually(s.t, "the marker", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.marked == mark
	})
}

func (s *stage) startChild(task string) {
	s.t.Helper()
	s.boots++
	boot := fmt.Sprintf("boot-%06d", s.boots)
	s.child = exec.Command(os.Args[0])
	s.child.Env = append(os.Environ(), childURL+"=mqtt://"+s.proxy.listener.Addr().String(), childPath+"="+filepath.Join(s.dir, File),
		childBoot+"="+boot, childTask+"="+task)
	s.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.child.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.child.Stdout = w
	if err := errors.Join(s.child.Start(), w.Close()); err != nil {
		s.t.Fatal(err)
	}
	s.lines.Go(func() {
		defer r.Close()
		in := bufio.NewReader(r)
		for {
			line, err := in.ReadString('\n')
			if err != nil { // a line without an end wasn't said
				if err != io.EOF {
					s.t.Error(err)
				}
				return
			}
			s.tell(strings.Fields(line))
		}
	})
}

func (s *stage) tell(word []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(word) == 2 && word[0] == "memory":
		s.memory[word[1]] = true
	case len(word) == 3 && word[0] == "disk":
		n, err := strconv.ParseUint(word[2], 10, 64)
		if err != nil {
			s.t.Error(err)
		}
		if s.disk[word[1]] == nil {
			s.disk[word[1]] = map[uint64]bool{}
		}
		s.disk[word[1]][n] = true
	default:
		s.t.Errorf("the child says %q", word)
	}
}

// endChild waits until all that it said was heard, too.
func (s *stage) endChild(with syscall.Signal) {
	s.t.Helper()
	if err := s.child.Process.Signal(with); err != nil {
		s.t.Fatal(err)
	}
	if err := s.child.Wait(); err != nil && !strings.HasPrefix(err.Error(), "signal:") { // SIGTERM kills it before it listens
		s.t.Errorf("the child: %v", err)
	}
	s.lines.Wait()
}

func (s *stage) some(most time.Duration) { time.Sleep(rand.N(most)) }

func (s *stage) task() string {
	if s.random.IntN(5) == 0 || s.boots == 1 { // once at least
		return greedy
	}
	return steady
}

// endBroker kills or stops it. What it has acknowledged is its own to keep, so that it may hand that on first; what it acknowledges from then on
// the child doesn't hear.
func (s *stage) endBroker(with syscall.Signal) {
	s.t.Helper()
	s.proxy.freeze()
	s.settle()
	if err := s.broker.Process.Signal(with); err != nil {
		s.t.Fatal(err)
	}
	_ = s.broker.Wait() // says that it was killed
	select {
	case <-s.lost:
	case <-time.After(patience):
		s.t.Fatal("the subscriber didn't notice that the broker is away")
	}
	s.unsubscribe()
	s.proxy.cut()
	s.proxy.thaw()
	s.some(300 * time.Millisecond) // while the child finds nobody
	s.proxy.freeze()
	s.startBroker()
	s.subscribe()
	s.proxy.thaw()
}

// TestTorture is what the package and the client promise together: whatever happens to the process, the network and the broker, each verdict
// whose write was acknowledged arrives or is announced as lost, in order, and the same each time.
func TestTorture(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	s := &stage{t: t, random: rand.New(rand.NewPCG(*seed, 0)), dir: t.TempDir(), disk: map[string]map[uint64]bool{}, memory: map[string]bool{},
		payloads: map[string][]byte{}, signed: map[string][]byte{}}
	key, err := deviceKey()
	if err != nil {
		t.Fatal(err)
	}
	s.keys = []sign.Public{key.Public()}
	s.address = configureMosquitto(t, s.dir)
	s.startBroker()
	defer func() {
		_ = s.broker.Process.Kill()
		_ = s.broker.Wait()
	}()
	s.subscribe()
	defer func() { s.unsubscribe() }()
	s.proxy = newProxy(t, s.address)
	s.startChild(steady)
	defer func() {
		_ = s.child.Process.Kill()
		_ = s.child.Wait()
		s.lines.Wait()
	}()

	kinds := []struct {
		name string
		do   func()
	}{
		{"the process is killed", func() { s.endChild(syscall.SIGKILL); s.startChild(s.task()) }},
		{"the process is killed at its start", func() {
			s.endChild(syscall.SIGKILL)
			s.startChild(s.task())
			s.some(50 * time.Millisecond)
			s.endChild(syscall.SIGKILL)
			s.startChild(s.task())
		}},
		{"the process is stopped", func() { s.endChild(syscall.SIGTERM); s.startChild(s.task()) }},
		{"the broker is killed", func() { s.endBroker(syscall.SIGKILL) }},
		{"the broker is stopped", func() { s.endBroker(syscall.SIGTERM) }},
		{"connections are cut", s.proxy.cut},
		{"connections are cut in a packet", func() { s.proxy.cutAfter(1 + s.random.IntN(5000)) }},
		{"a half-open connection", func() {
			s.proxy.freeze()
			s.some(1500 * time.Millisecond)
			if s.random.IntN(2) == 0 {
				s.proxy.cut()
			}
			s.proxy.thaw()
		}},
		{"acknowledgements are lost", func() {
			s.proxy.deafen(true)
			s.some(1500 * time.Millisecond)
			s.proxy.deafen(false)
			s.proxy.cut()
		}},
	}
	done := map[string]int{}
	for n := range *faults {
		s.some(250 * time.Millisecond)
		k := kinds[s.random.IntN(len(kinds))]
		if n < len(kinds) {
			k = kinds[n] // each at least once
		}
		k.do()
		done[k.name]++
	}
	s.endChild(syscall.SIGTERM)
	s.proxy.cutAfter(-1)
	s.startChild(drain)
	if err := s.child.Wait(); err != nil {
		t.Fatalf("what is left: %v", err)
	}
	s.lines.Wait()
	s.settle()
	t.Logf("faults: %v", done)
	s.judge()
}

// judge holds what came to what was promised.
func (s *stage) judge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.t
	announced := func(boot string, seq uint64) bool {
		return slices.ContainsFunc(s.gaps, func(g mqtt.Gap) bool {
			if g.Boot == nil || *g.Boot != boot {
				return false
			}
			return slices.ContainsFunc(g.Ranges, func(r mqtt.SeqRange) bool { return r.First <= seq && seq <= r.Last })
		})
	}
	came := func(boot string, seq uint64) bool { return s.payloads[boot+"/"+strconv.FormatUint(seq, 10)] != nil }
	newest := map[string]uint64{} // that anybody knows of, by boot
	for boot, seqs := range s.disk {
		for seq := range seqs {
			newest[boot] = max(newest[boot], seq)
		}
	}
	for _, a := range s.arrivals {
		newest[a.boot] = max(newest[a.boot], a.seq)
	}
	for key, document := range s.payloads {
		if !bytes.Equal(s.signed[key], document) {
			t.Errorf("%s came, and signed as %q", key, s.signed[key])
		}
	}
	for key := range s.signed {
		boot, number, _ := strings.Cut(key, "/")
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil || !came(boot, seq) && !announced(boot, seq) {
			t.Errorf("%s came signed alone, and nobody said that it was given up, %v", key, err)
		}
	}
	disk, given, holes, replayed := 0, 0, 0, 0
	for boot, last := range newest {
		for seq := uint64(1); seq <= last; seq++ {
			was := s.disk[boot][seq]
			if was {
				disk++
			}
			switch {
			case came(boot, seq):
			case announced(boot, seq):
				given++
			case was:
				t.Errorf("%s/%d was on the disk, and never came", boot, seq)
			case s.memory[boot]:
			default:
				if holes++; holes < 10 {
					t.Errorf("%s/%d is missing, and nobody said so", boot, seq)
				}
			}
		}
	}
	type line struct {
		camera   string
		replayed bool
	}
	before := map[line]arrival{}
	disorder := 0
	for _, a := range s.arrivals {
		k := line{a.camera, a.replayed}
		if b, is := before[k]; is && (b.boot > a.boot || b.boot == a.boot && b.seq > a.seq) {
			if disorder++; disorder < 10 {
				t.Errorf("%s, replayed %v: %s/%d came after %s/%d", a.camera, a.replayed, a.boot, a.seq, b.boot, b.seq)
			}
		}
		before[k] = a
		if a.replayed {
			replayed++
		}
	}
	t.Logf("%d runs; %d verdicts were acknowledged by the disk, %d came, each signed as well (%d of them late), %d more came again; %d were given up, in %d gaps that came; "+
		"in %d runs the disk took longer than it may", s.boots, disk, len(s.arrivals), replayed, s.twice, given, len(s.gaps), len(s.memory))
	if disk == 0 || len(s.arrivals) == 0 {
		t.Error("nothing was tried")
	}
}
