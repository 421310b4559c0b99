package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed mosquitto.conf
var mosquittoConf string

// Faults of a broker.
const (
	faultNone = "none"
	faultKill = "kill" // SIGKILL
	faultStop = "stop" // SIGTERM
)

// ready is how long a broker may take until it accepts connections, and its end until it is killed.
const ready = time.Minute

// broker is what the fleet runs against.
type broker struct {
	what    string
	urls    []string
	folder  string  // removed at the end
	nodes   []*node // none: somebody else's
	command string  // that makes the fault where there are no nodes
	pids    func() []int
}

// node is a broker's process.
type node struct {
	program string
	args    []string
	address string // where it accepts MQTT
	health  string // URL that answers 200 when it is ready; "" where to accept is enough
	log     string // file

	mu     sync.Mutex // processes are counted while they are started and ended
	cmd    *exec.Cmd
	exited chan struct{} // of cmd
}

// given is a broker that runs already.
func given(urls []string, command string, pids func() []int) *broker {
	return &broker{what: "given", urls: urls, command: command, pids: pids}
}

// freePorts finds ports that nobody uses now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// version asks a program for the first line in which it names itself.
func version(program string, args ...string) string {
	out, _ := exec.Command(program, args...).CombinedOutput() // mosquitto -h ends with an error
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// find looks for a program, also where it isn't in everybody's PATH.
func find(names ...string) (string, error) {
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return filepath.Abs(p)
		}
	}
	return "", &absent{fmt.Errorf("no %s here", names[0])}
}

// absent is the want of a program or a broker.
type absent struct{ error }

func (a *absent) Unwrap() error { return a.error }

// startMosquitto starts one of its own, with more lines for its configuration.
func startMosquitto(ctx context.Context, program string, lines ...string) (_ *broker, err error) {
	if program, err = find(program, "/usr/sbin/mosquitto"); err != nil {
		return nil, fmt.Errorf("%w: apt-get install mosquitto", err)
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	b := &broker{what: version(program, "-h")}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if b.folder, err = os.MkdirTemp("", "fleet-"); err != nil {
		return nil, err
	}
	// As root it would become another user, who can't read the folder.
	conf := fmt.Sprintf("listener %d 127.0.0.1\nuser %s\nlog_dest stderr\nlog_type error\nlog_type warning\npersistence_location %s/\n%s\n%s\n", ports[0],
		me.Username, b.folder, mosquittoConf, strings.Join(lines, "\n"))
	path := filepath.Join(b.folder, "mosquitto.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	b.urls = []string{"mqtt://" + address}
	b.nodes = []*node{{program: program, args: []string{"-c", path}, address: address, log: filepath.Join(b.folder, "log")}}
	return b, b.start(ctx)
}

// startNATS starts a cluster of three nodes with JetStream, whose MQTT streams have three replicas.
func startNATS(ctx context.Context, program string) (_ *broker, err error) {
	const size = 3
	if program, err = find(program); err != nil {
		return nil, fmt.Errorf("%w: make nats builds it", err)
	}
	ports, err := freePorts(4 * size)
	if err != nil {
		return nil, err
	}
	b := &broker{what: fmt.Sprintf("%s, %d nodes, JetStream with 3 replicas", version(program, "--version"), size)}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if b.folder, err = os.MkdirTemp("", "fleet-"); err != nil {
		return nil, err
	}
	var routes []string
	for n := range size {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[4*n+2]))
	}
	for n := range size {
		p := ports[4*n : 4*n+4]
		conf := fmt.Sprintf(`server_name: node-%[1]d
listen: "127.0.0.1:%[2]d"
http: "127.0.0.1:%[3]d"
max_payload: 256KB
jetstream { store_dir: %[4]q }
cluster { name: fleet, listen: "127.0.0.1:%[5]d", routes: [%[6]s] }
# consumer_replicas is taken, but has no effect: consumers of these streams have as many replicas as the streams.
mqtt { listen: "127.0.0.1:%[7]d", stream_replicas: 3, consumer_replicas: 3, ack_wait: "10s" }
`, n, p[0], p[1], filepath.Join(b.folder, fmt.Sprint("node-", n)), p[2], strings.Join(routes, ", "), p[3])
		path := filepath.Join(b.folder, fmt.Sprintf("node-%d.conf", n))
		if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
			return nil, err
		}
		address := fmt.Sprintf("127.0.0.1:%d", p[3])
		b.urls = append(b.urls, "mqtt://"+address)
		b.nodes = append(b.nodes, &node{program: program, args: []string{"-c", path}, address: address,
			health: fmt.Sprintf("http://127.0.0.1:%d/healthz", p[1]), log: filepath.Join(b.folder, fmt.Sprintf("node-%d.log", n))})
	}
	return b, b.start(ctx)
}

// start starts all nodes and waits for all.
func (b *broker) start(ctx context.Context) error {
	for _, n := range b.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	for _, n := range b.nodes {
		if err := n.wait(ctx); err != nil {
			return err
		}
	}
	b.pids = func() []int {
		var all []int
		for _, n := range b.nodes {
			if p, _ := n.process(); p != nil {
				all = append(all, p.Pid)
			}
		}
		return all
	}
	return nil
}

// fault takes the first node away for some time, or runs the command, and tells when it began and when all was there again.
func (b *broker) fault(ctx context.Context, kind string, down time.Duration) (began, back time.Time, err error) {
	began = time.Now()
	if len(b.nodes) == 0 {
		c := exec.CommandContext(ctx, "/bin/sh", "-c", b.command)
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		if err := c.Run(); err != nil {
			return began, time.Now(), fmt.Errorf("the command that restarts the broker: %w", err)
		}
		return began, time.Now(), nil
	}
	n := b.nodes[0]
	n.end(kind == faultKill)
	select {
	case <-ctx.Done():
		return began, time.Now(), ctx.Err()
	case <-time.After(time.Until(began.Add(down))):
	}
	if err := n.start(); err != nil {
		return began, time.Now(), err
	}
	err = n.wait(ctx)
	return began, time.Now(), err
}

// stop ends all nodes and removes what they wrote.
func (b *broker) stop() {
	for _, n := range b.nodes {
		n.end(true)
	}
	if b.folder != "" {
		_ = os.RemoveAll(b.folder) // what stays is in the folder for temporary files
	}
}

func (n *node) start() error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.program, n.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is ours
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.program, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // whoever ends it knows why
		close(exited)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd, n.exited = cmd, exited
	return nil
}

// process is nil when it doesn't run.
func (n *node) process() (*os.Process, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil, nil
	}
	select {
	case <-n.exited:
		return nil, nil
	default:
		return n.cmd.Process, n.exited
	}
}

// wait returns when the node is ready for devices.
func (n *node) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	for n.ask(ctx) != nil {
		p, exited := n.process()
		if p == nil {
			return &absent{fmt.Errorf("%s ended at once: %s", n.program, n.words())}
		}
		select {
		case <-exited:
			return &absent{fmt.Errorf("%s ended at once: %s", n.program, n.words())}
		case <-ctx.Done():
			return &absent{fmt.Errorf("%s isn't ready: %w: %s", n.program, n.ask(ctx), n.words())}
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// words is the end of what a node wrote.
func (n *node) words() string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

func (n *node) ask(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", n.address)
	if err == nil {
		err = c.Close()
	}
	if err != nil || n.health == "" {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, n.health, nil)
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(a.Body, 1<<10))
	if err = errors.Join(err, a.Body.Close()); err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", bytes.TrimSpace(text))
	}
	return err
}

// end ends the process: at once, or as systemd stops a service.
func (n *node) end(kill bool) {
	p, exited := n.process()
	if p == nil {
		return
	}
	sig := syscall.SIGTERM
	if kill {
		sig = syscall.SIGKILL
	}
	_ = p.Signal(sig) // it may have ended meanwhile
	select {
	case <-exited:
	case <-time.After(ready):
		_ = p.Kill()
		<-exited
	}
}

// faults are those that a broker can have.
func faults() []string { return []string{faultNone, faultKill, faultStop} }

func knownFault(kind string) bool { return slices.Contains(faults(), kind) }
