// Command fleet is a load generator: it simulates many devices against a broker and checks that every verdict arrives.
//
//	go run ./mqtt/fleet -mosquitto -devices 2000 -fault kill
//	go run ./mqtt/fleet -nats build/bin/nats-server -devices 200 -fault kill
//	go run ./mqtt/fleet -broker mqtt://HOST -devices 100
//
// Each device is livenessd's own client with its will, its births, what it retains, its subscriptions and its back-off; only cameras, nets and
// disks are missing: its journal is in memory, and outlives the device, but not this program. People come by as in an office: a Poisson process
// with rushes in the morning, at noon and in the evening, which -speed makes faster than real time.
//
// Collectors with lasting sessions look whether each verdict came, unaltered, once after those that came twice are put aside by (device, boot,
// seq), and in the order of its camera among those that were on time and those that were late. In the middle the broker is killed or stopped,
// or the power of all devices is cut. It says nothing of what cameras and nets can do, and what it measures on one machine has both ends of
// the network in it. It exits with 1 if anything is missing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

const (
	exitOther  = 1
	exitUsage  = 64
	exitAbsent = 69
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// settings are what the command line says.
type settings struct {
	options
	brokers      string
	mosquitto    bool
	mosquittoAt  string
	nats         string
	command      string
	pids         string
	json, silent bool
}

func parse(args []string, stderr io.Writer) (s settings, err error) {
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "fleet -mosquitto | -nats PROGRAM | -broker URL[,URL…] [flags]: many simulated devices, and whether every verdict arrives")
		f.PrintDefaults()
	}
	f.StringVar(&s.brokers, "broker", "", "`URLs` of brokers that run already, with commas between them: mqtt://HOST or mqtts://HOST")
	f.BoolVar(&s.mosquitto, "mosquitto", false, "start a mosquitto of its own, with mqtt/fleet/mosquitto.conf")
	f.StringVar(&s.mosquittoAt, "mosquitto-program", "mosquitto", "`program` for -mosquitto")
	f.StringVar(&s.nats, "nats", "", "start a cluster of three nodes of this nats-server `program`")
	f.IntVar(&s.devices, "devices", 100, "how many devices")
	f.IntVar(&s.cameras, "cameras", 1, "cameras of each device")
	f.IntVar(&s.collectors, "collectors", 1, "subscribers at the centre")
	f.BoolVar(&s.shared, "shared", false, "the collectors share a subscription ($share/…), so that each gets a part; otherwise each must get all")
	f.Float64Var(&s.perDay, "per-day", 400, "presentations of a device in a day")
	f.Float64Var(&s.hour, "hour", 8, "hour of the simulated day when it begins")
	f.Float64Var(&s.speed, "speed", 30, "how much faster than real time the simulated day goes")
	f.Float64Var(&s.sessions, "sessions", 0.3, "share of verdicts that answer a session, which is one more message")
	f.DurationVar(&s.length, "for", time.Minute, "how long verdicts are decided")
	f.DurationVar(&s.ramp, "ramp", 10*time.Second, "over how long the devices are started")
	f.DurationVar(&s.drain, "drain", 3*time.Minute, "how long to wait for connections at first, and at the end for what is missing")
	f.StringVar(&s.fault, "fault", faultNone, "what happens to the broker (of a cluster: to one node): "+strings.Join(faults(), ", "))
	f.DurationVar(&s.faultAt, "fault-at", 0, "when (0 is in the middle)")
	f.DurationVar(&s.down, "down", 2*time.Second, "how long it stays away")
	f.StringVar(&s.command, "restart-command", "", "`command` that makes the fault where the broker is somebody else's; it returns when the broker is back")
	f.StringVar(&s.pids, "broker-pid", "", "`processes` (numbers, or files with one in them, with commas between them) whose memory is the broker's")
	f.DurationVar(&s.cutAt, "power-cut", 0, "when all devices lose their power at once, and come back at once (0 is never)")
	f.StringVar(&s.prefix, "prefix", mqtt.DefaultPrefix, "of all topics")
	f.StringVar(&s.access.username, "username", "", "of the devices; {device} in it is the device's `name`")
	f.StringVar(&s.access.passwordFile, "password-file", "", "`file` with its password")
	f.StringVar(&s.centre.username, "collector-username", "", "of the collectors, if they have another")
	f.StringVar(&s.centre.passwordFile, "collector-password-file", "", "`file` with the password of that")
	f.StringVar(&s.access.caFile, "ca-file", "", "`file` with the authorities of mqtts://")
	f.DurationVar(&s.timeout, "timeout", 10*time.Second, "of a device, for a connection and for each acknowledgement")
	f.BoolVar(&s.requests, "requests", true, "devices listen to requests, as livenessd does: two subscriptions more")
	f.IntVar(&s.qos, "subscribe-qos", 1, "of the devices' subscriptions, as mqtt.subscribe_qos in livenessd's configuration: 0 or 1")
	f.BoolVar(&s.unordered, "unordered", false, "verdicts out of order are counted, but no fault: a broker that was restarted may send again in another order")
	f.Uint64Var(&s.seed, "seed", 1, "of what is drawn")
	f.BoolVar(&s.json, "json", false, "figures as JSON")
	f.BoolVar(&s.silent, "quiet", false, "no progress on standard error")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if s.centre.username == "" {
		s.centre = s.access
	}
	s.centre.caFile = s.access.caFile
	if s.faultAt == 0 {
		s.faultAt = s.length / 2
	}
	if s.command != "" && s.fault == faultNone {
		s.fault = faultStop
	}
	if err := s.check(f.Args()); err != nil {
		fmt.Fprintln(stderr, "fleet:", err)
		return s, err
	}
	return s, nil
}

func (s settings) check(rest []string) error {
	kinds := 0
	for _, is := range []bool{s.brokers != "", s.mosquitto, s.nats != ""} {
		if is {
			kinds++
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q isn't a flag", rest[0])
	case kinds != 1:
		return errors.New("one of -broker, -mosquitto and -nats is needed; -help tells more")
	case s.devices < 1 || s.cameras < 1 || s.collectors < 1:
		return errors.New("-devices, -cameras and -collectors: at least 1")
	case s.qos != 0 && s.qos != 1:
		return errors.New("-subscribe-qos: 0 or 1")
	case !(s.perDay > 0) || !(s.speed > 0) || !(s.hour >= 0 && s.hour < 24) || !(s.sessions >= 0 && s.sessions <= 1):
		return errors.New("-per-day and -speed: more than 0; -hour: from 0 to 24; -sessions: from 0 to 1")
	case s.length <= 0 || s.ramp < 0 || s.drain <= 0 || s.down < 0 || s.cutAt < 0 || s.timeout <= 0 || s.faultAt < 0 || s.faultAt > s.length:
		return errors.New("times can't be negative, and -fault-at not after -for")
	case !knownFault(s.fault):
		return fmt.Errorf("-fault %q: one of %s", s.fault, strings.Join(faults(), ", "))
	case s.brokers != "" && s.fault != faultNone && s.command == "":
		return errors.New("-fault with -broker: only -restart-command can do that")
	case s.brokers == "" && (s.command != "" || s.pids != ""):
		return errors.New("-restart-command and -broker-pid: only with -broker")
	}
	if err := mqtt.CheckPrefix(s.prefix); err != nil {
		return err
	}
	urls := s.urls()
	if s.brokers == "" {
		urls = []string{"mqtt://localhost"}
	}
	return mqtt.Options{URL: urls[0], Others: urls[1:], Prefix: s.prefix, Device: deviceName(0), Username: s.access.username,
		PasswordFile: s.access.passwordFile, CAFile: s.access.caFile}.Check()
}

func (s settings) urls() []string { return strings.Split(s.brokers, ",") }

// processes are those of -broker-pid that are there now.
func (s settings) processes() (pids []int) {
	for p := range strings.SplitSeq(s.pids, ",") {
		if b, err := os.ReadFile(p); p != "" && err == nil {
			p = strings.TrimSpace(string(b))
		}
		if n, err := strconv.Atoi(p); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

func (s settings) broker(ctx context.Context) (*broker, error) {
	switch {
	case s.mosquitto:
		return startMosquitto(ctx, s.mosquittoAt, "allow_anonymous true")
	case s.nats != "":
		return startNATS(ctx, s.nats)
	}
	return given(s.urls(), s.command, s.processes), nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	if s.progress = stderr; s.silent {
		s.progress = io.Discard
	}
	fail := func(err error) int {
		fmt.Fprintln(stderr, "fleet:", err)
		var a *absent
		if errors.As(err, &a) {
			return exitAbsent
		}
		return exitOther
	}
	// A connection of each device and one of the broker's beside, and files that were never counted.
	if err := openFiles(uint64(s.devices) + 1000); err != nil {
		return fail(err)
	}
	b, err := s.broker(ctx)
	if err != nil {
		return fail(err)
	}
	defer b.stop()
	f, err := simulate(ctx, s.options, b)
	if s.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = errors.Join(err, e.Encode(f))
	} else {
		err = errors.Join(err, f.print(stdout))
	}
	switch {
	case err != nil:
		return fail(err)
	case !f.ok():
		fmt.Fprintln(stderr, "fleet: not all is as it should be")
		return exitOther
	}
	return 0
}

// print writes the figures as a table of Markdown.
func (f figures) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "| %s\t| "+format+"\t|\n", append([]any{name}, args...)...)
	}
	mb := func(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
	v := f.Verdicts
	row("broker", "%s", f.Broker)
	fmt.Fprintln(t, "|---\t|---\t|")
	row("devices, cameras of each", "%d, %d", f.Devices, f.Cameras)
	row("machine", "%d cores, load average %s at first", f.Cores, f.Load)
	row("verdicts decided", "%d in %.0f s, %.0f/s (speed %g), as %d messages, %.0f/s", v.Decided, f.Seconds, f.PerSecond, f.Speed, v.Messages, f.Incoming)
	row("missing, still waiting", "%d, %d", f.Missing, f.Waiting)
	row("lost that the broker had acknowledged, after the fault", "%d, %d", f.Broken, f.After)
	row("came a second time", "%d", v.Twice)
	row("late (replayed)", "%d", v.Late)
	row("out of order, altered, unknown, gaps", "%d, %d, %d, %d", v.OutOfOrder, v.Altered, v.Unknown, v.Gaps)
	row("most in one second", "%d verdicts", f.Busiest)
	row("latency undisturbed", "%s", f.Steady)
	row("latency of all", "%s", f.All)
	row("all connected at first", "after %.1f s", f.Ramp)
	row("fault", "%s, away for %.2f s", f.Fault, float64(f.DownMS)/1000)
	row("connections lost", "%d", f.Lost)
	row("devices without connection", "%s", f.Away)
	row("devices back, from when a broker was there", "%s; the last %.2f s after the fault", f.Back, float64(f.LastBack)/1000)
	row("broker's memory (RSS) idle, all connected, most", "%s, %s, %s", mb(f.Idle), mb(f.Loaded), mb(f.Peak))
	row("broker's memory a device", "%.1f kB", float64(f.PerDevice)/1e3)
	row("broker's processor time a verdict", "%.0f µs", f.PerCPU)
	row("broker's processor time a device's connection", "%.0f µs", f.PerConnect)
	row("own memory (RSS), processor time", "%s, %.1f s", mb(f.Own), f.OwnCPU)
	row("generator behind its schedule", "%.0f ms at most", float64(f.Behind))
	row("devices connected at the end, called offline", "%d, %d", f.Connected, f.Forgotten)
	row("a late subscriber lacks, by broker; subscribed so often; is told verdicts", "%v; %v; %d", f.Retained, f.Tries, v.Retained)
	for _, e := range f.Examples {
		row("out of order", "%s", e)
	}
	for _, e := range f.Errors {
		row("error", "%s", e)
	}
	return t.Flush()
}

func (s spread) String() string {
	if s.N == 0 {
		return "none"
	}
	return fmt.Sprintf("median %.1f ms, 99 %% %.1f ms, most %.1f ms", float64(s.Median), float64(s.P99), float64(s.Max))
}
