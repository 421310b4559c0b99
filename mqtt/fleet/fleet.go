package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// silence is how long nothing may come, though all devices have delivered, until what is missing counts as lost. NATS takes 30 s to send again
// what wasn't acknowledged.
const silence = 75 * time.Second

// telling is how long a broker may take to tell a late subscriber all that is retained.
const telling = 15 * time.Second

// options of a run.
type options struct {
	devices, cameras, collectors int
	shared                       bool
	hour, perDay, speed          float64
	sessions                     float64
	length, ramp, drain          time.Duration
	fault                        string
	faultAt, down                time.Duration
	cutAt                        time.Duration // 0 is never
	prefix                       string
	access                       access // of devices; {device} in the user's name is the device's
	centre                       access // of collectors
	timeout                      time.Duration
	requests, unordered          bool
	qos                          int // of the devices' subscriptions
	seed                         uint64
	progress                     io.Writer
}

// figures are what a run found out.
type figures struct {
	Broker  string  `json:"broker"`
	Devices int     `json:"devices"`
	Cameras int     `json:"cameras"`
	Cores   int     `json:"cores"`
	Load    string  `json:"load_average"` // of the machine when the run began
	Seconds float64 `json:"seconds"`      // in which verdicts were decided
	Speed   float64 `json:"speed"`
	Seed    uint64  `json:"seed"`

	Verdicts  tally `json:"verdicts"`
	Missing   int   `json:"missing"`              // of all views
	Broken    int   `json:"lost_by_broker"`       // verdicts that it had acknowledged
	After     int   `json:"lost_by_broker_after"` // of these, what it acknowledged after the fault
	Waiting   int   `json:"waiting"`              // still in the devices' queues
	Connected int   `json:"connected"`            // devices at the end
	Behind    ms    `json:"behind_ms"`            // the most that the generator was behind its own schedule

	PerSecond float64 `json:"verdicts_per_second"`
	Incoming  float64 `json:"messages_per_second"` // of verdicts, to the broker
	Busiest   int     `json:"busiest_second"`      // verdicts that came in one
	Steady    spread  `json:"latency_steady"`      // decided before the fault and the cut
	All       spread  `json:"latency_all"`
	Ramp      float64 `json:"ramp_seconds"` // until all devices were connected for the first time
	Lost      int     `json:"connections_lost"`
	Away      spread  `json:"away"`  // how long devices were without connection
	Fault     string  `json:"fault"` // what was done to the broker
	DownMS    ms      `json:"broker_down_ms"`
	Back      spread  `json:"back_after_broker"` // from when the broker was there again, or in a cluster gone, until a device was
	LastBack  ms      `json:"last_back_ms"`      // from the fault until the last device was back
	Collector int     `json:"collector_sessions"`

	Own        int64   `json:"own_rss_bytes"`
	Idle       int64   `json:"broker_idle_rss_bytes"`
	Loaded     int64   `json:"broker_connected_rss_bytes"`
	Peak       int64   `json:"broker_peak_rss_bytes"`
	PerDevice  int64   `json:"broker_bytes_per_device"`
	CPU        float64 `json:"broker_cpu_seconds"`    // from when all were connected to the end, without the time after a restart
	PerCPU     float64 `json:"broker_cpu_us_verdict"` // microseconds of the broker for a verdict, before the fault
	PerConnect float64 `json:"broker_cpu_us_connect"` // microseconds for a device's connection, with its subscriptions and what it retains
	OwnCPU     float64 `json:"own_cpu_seconds"`

	Retained  []int `json:"retained_missing"` // availability, info and camera states that a late subscriber isn't told, by broker
	Tries     []int `json:"retained_tries"`   // how often it had to subscribe until it was, by broker
	Forgotten int   `json:"called_offline"`   // devices that are connected and called offline at the end

	Errors   []string `json:"errors,omitempty"`
	Examples []string `json:"out_of_order_examples,omitempty"`

	unordered bool // out of order is no fault
}

type ms float64

// spread of times, in milliseconds.
type spread struct {
	N      int `json:"n"`
	Median ms  `json:"median_ms"`
	P99    ms  `json:"p99_ms"`
	Max    ms  `json:"max_ms"`
}

func millis(d time.Duration) ms { return ms(float64(d.Microseconds()) / 1000) }

func spreadOf(d []time.Duration) spread {
	if len(d) == 0 {
		return spread{}
	}
	d = slices.Sorted(slices.Values(d))
	at := func(q float64) ms { return millis(d[min(len(d)-1, int(q*float64(len(d))))]) }
	return spread{N: len(d), Median: at(0.5), P99: at(0.99), Max: millis(d[len(d)-1])}
}

// ok tells whether nothing was lost, nor damaged, nor turned round.
func (f *figures) ok() bool {
	v := f.Verdicts
	if f.unordered {
		v.OutOfOrder = 0
	}
	return v.Decided > 0 && f.Missing+f.Waiting+v.OutOfOrder+v.Altered+v.Unknown+v.Retained+v.Gaps+f.untold()+f.Forgotten == 0 &&
		f.Connected == f.Devices && len(f.Errors) == 0
}

// untold is how many retained messages a late subscriber isn't told.
func (f *figures) untold() (n int) {
	for _, m := range f.Retained {
		n += m
	}
	return n
}

// fleet is one run.
type fleet struct {
	o       options
	b       *broker
	random  *rand.Rand
	ledger  *ledger
	devices []*device
	figures figures
	before  map[boot]uint64 // how often each boot was connected when the fault came
}

// simulate runs a fleet against a broker. Its figures are there even with an error.
func simulate(ctx context.Context, o options, b *broker) (figures, error) {
	views := o.collectors
	if o.shared {
		views = 1
	}
	f := &fleet{o: o, b: b, random: rand.New(rand.NewPCG(o.seed, 1)), ledger: newLedger(o.prefix, views), before: map[boot]uint64{}}
	f.figures = figures{Broker: b.what, Devices: o.devices, Cameras: o.cameras, Cores: runtime.NumCPU(), Load: loadAverage(), Speed: o.speed, Seed: o.seed,
		Fault: o.fault, unordered: o.unordered}
	err := f.run(ctx)
	return f.figures, err
}

func (f *fleet) say(format string, args ...any) { fmt.Fprintf(f.o.progress, format+"\n", args...) }

func (f *fleet) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := measure(f.b.pids())
	f.figures.Idle = idle.rss

	collectors, err := f.collect(ctx, &wg)
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range collectors {
			n, _ := c.last()
			f.figures.Collector += n
		}
	}()

	o := deviceOptions{urls: f.b.urls, prefix: f.o.prefix, access: f.o.access, cameras: f.o.cameras, timeout: f.o.timeout, qos0: f.o.qos == 0}
	if f.o.requests {
		asked := make(chan mqtt.Asked, 64)
		o.requests = asked
		wg.Go(func() {
			for {
				select {
				case <-asked: // nobody has a camera to answer with
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for n := range f.o.devices {
		d := newDevice(n, o)
		d.options.Delivered = func(v mqtt.Verdict) { f.ledger.delivered(v, max(1, d.status().Connections)) }
		f.devices = append(f.devices, d)
	}
	defer f.each(func(d *device) { d.cut() }) // those that are left when something fails
	if err := f.connect(ctx); err != nil {
		return err
	}
	loaded, own := measure(f.b.pids()), measure([]int{os.Getpid()})
	f.figures.Loaded, f.figures.PerDevice = loaded.rss, (loaded.rss-idle.rss)/int64(f.o.devices)
	f.figures.PerConnect = (loaded.cpu - idle.cpu).Seconds() / float64(f.o.devices) * 1e6

	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	out := newOutages(f.devices)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		out.watch(watching, func() {
			f.figures.Peak = max(f.figures.Peak, measure(f.b.pids()).rss)
		})
	}()
	defer func() { stopWatching(); <-watched }()

	began := time.Now()
	broken, back, err := f.decide(ctx, began, loaded)
	f.figures.Seconds = time.Since(began).Seconds()
	if err != nil {
		return err
	}
	err = f.settle(ctx)
	f.figures.Own = measure([]int{os.Getpid()}).rss
	f.figures.OwnCPU = (measure([]int{os.Getpid()}).cpu - own.cpu).Seconds()
	stopWatching()
	<-watched
	f.sum(out, broken, back)
	f.figures.Broken, f.figures.After = f.ledger.lost(f.before)
	if err != nil {
		return err
	}
	f.figures.Connected = out.look(time.Now())
	f.figures.Forgotten = f.ledger.offline(f.o.devices)
	if err := f.late(ctx); err != nil {
		return err
	}
	f.say("stopping the devices")
	var mu sync.Mutex
	f.each(func(d *device) {
		if err := d.stop(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			f.trouble(err)
		}
	})
	return nil
}

// trouble notes an error; a few are enough.
func (f *fleet) trouble(err error) {
	if len(f.figures.Errors) < 10 && !slices.Contains(f.figures.Errors, err.Error()) {
		f.figures.Errors = append(f.figures.Errors, err.Error())
	}
}

// each does something with all devices, many at once.
func (f *fleet) each(do func(*device)) {
	const atOnce = 256
	var wg sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, d := range f.devices {
		room <- struct{}{}
		wg.Go(func() {
			do(d)
			<-room
		})
	}
	wg.Wait()
}

// collect starts the collectors and waits until all of them are subscribed.
func (f *fleet) collect(ctx context.Context, wg *sync.WaitGroup) ([]*collector, error) {
	verdicts := f.o.prefix + "/+/camera/+/verdict"
	if f.o.shared {
		verdicts = "$share/fleet/" + verdicts
	}
	var all []*collector
	for n := range f.o.collectors {
		filters, view := []string{verdicts}, n
		if n == 0 {
			filters = append(filters, f.o.prefix+"/+/gap", f.o.prefix+"/+/availability")
		}
		if f.o.shared {
			view = 0
		}
		at := n % len(f.b.urls)
		c := newCollector(collection{urls: slices.Concat(f.b.urls[at:], f.b.urls[:at]), id: fmt.Sprintf("fleet-collector-%d", n), access: f.o.centre,
			filters: filters, take: func(m message) { f.ledger.take(view, n, m) }})
		all = append(all, c)
		wg.Go(func() { c.run(ctx) })
	}
	deadline := time.After(ready)
	for _, c := range all {
		select {
		case <-c.granted:
		case <-deadline:
			_, err := c.last()
			return all, &absent{fmt.Errorf("collect from %s: %w", strings.Join(c.urls, ", "), err)}
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
	return all, nil
}

// connect starts the devices, one after the other, and waits until all are connected.
func (f *fleet) connect(ctx context.Context) error {
	f.say("starting %d devices", f.o.devices)
	began := time.Now()
	for n, d := range f.devices {
		if err := sleep(ctx, time.Until(began.Add(f.o.ramp*time.Duration(n)/time.Duration(len(f.devices))))); err != nil {
			return err
		}
		if err := d.start(uuid(f.random, time.Now())); err != nil {
			return err
		}
	}
	patience, said := time.Now().Add(f.o.drain), time.Now()
	for {
		n, why := 0, error(nil)
		for _, d := range f.devices {
			if s := d.status(); s.Connected {
				n++
			} else if s.Err != nil {
				why = s.Err
			}
		}
		if n == len(f.devices) {
			break
		}
		if time.Now().After(patience) {
			f.figures.Connected = n
			return &absent{fmt.Errorf("only %d of %d devices are connected after %v: %w", n, len(f.devices), time.Since(began).Round(time.Second), why)}
		}
		if time.Since(said) > 10*time.Second {
			f.say("%d of %d devices are connected", n, len(f.devices))
			said = time.Now()
		}
		if err := sleep(ctx, sampling); err != nil {
			return err
		}
	}
	f.figures.Ramp = time.Since(began).Seconds()
	f.say("all are connected after %.1f s", f.figures.Ramp)
	return sleep(ctx, time.Second) // for what is still on its way
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// decide lets people come by until the time is over, and makes the fault meanwhile.
func (f *fleet) decide(ctx context.Context, began time.Time, loaded usage) (broken, back time.Time, err error) {
	var wg sync.WaitGroup
	defer wg.Wait() // for the fault, when it fails early
	faulted := make(chan error, 1)
	faulty := f.o.fault != faultNone && f.o.fault != ""
	if faulty {
		wg.Go(func() {
			if err := sleep(ctx, time.Until(began.Add(f.o.faultAt))); err != nil {
				faulted <- err
				return
			}
			now := measure(f.b.pids())
			f.ledger.mu.Lock()
			n := f.ledger.tally.Decided
			f.ledger.mu.Unlock()
			f.figures.CPU = (now.cpu - loaded.cpu).Seconds()
			f.figures.PerCPU = f.figures.CPU / float64(max(1, n)) * 1e6
			f.say("fault: %s", f.o.fault)
			for _, d := range f.devices {
				f.before[boot{d.options.Device, d.name()}] = d.status().Connections
			}
			var err error
			broken, back, err = f.b.fault(ctx, f.o.fault, f.o.down)
			f.say("the broker is back after %v", back.Sub(broken).Round(time.Millisecond))
			faulted <- err
		})
	}
	l := load{perDay: f.o.perDay * float64(f.o.devices), hour: f.o.hour, speed: f.o.speed, random: f.random}
	f.say("deciding for %v", f.o.length)
	cut, said := f.o.cutAt > 0, time.Now()
	for at := l.next(); at < f.o.length; at = l.next() {
		if cut && at > f.o.cutAt {
			cut = false
			if err := sleep(ctx, time.Until(began.Add(f.o.cutAt))); err != nil {
				return broken, back, err
			}
			if err := f.cut(); err != nil {
				return broken, back, err
			}
			for ; at < time.Since(began); at = l.next() { // nobody saw those who came meanwhile
			}
		}
		if behind := millis(time.Since(began.Add(at))); behind > f.figures.Behind {
			f.figures.Behind = behind
		}
		if err := sleep(ctx, time.Until(began.Add(at))); err != nil {
			return broken, back, err
		}
		f.devices[f.random.IntN(len(f.devices))].present(f.random, f.o.sessions, f.ledger.decided)
		if time.Since(said) > 10*time.Second {
			left, _ := f.ledger.left()
			f.say("%v: %d on their way", time.Since(began).Round(time.Second), left)
			said = time.Now()
		}
	}
	if err := sleep(ctx, time.Until(began.Add(f.o.length))); err != nil {
		return broken, back, err
	}
	if faulty {
		err = <-faulted
	} else {
		f.figures.CPU = (measure(f.b.pids()).cpu - loaded.cpu).Seconds()
		f.figures.PerCPU = f.figures.CPU / float64(max(1, f.ledger.tally.Decided)) * 1e6
	}
	return broken, back, err
}

// cut takes the power from all devices at once, and gives it back.
func (f *fleet) cut() error {
	f.say("the power is cut")
	f.each((*device).cut)
	f.say("the power is back")
	for _, d := range f.devices {
		if err := d.start(uuid(f.random, time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until all has arrived, or nothing comes any more.
func (f *fleet) settle(ctx context.Context) error {
	began, said := time.Now(), time.Now()
	deadline := began.Add(f.o.drain)
	for {
		f.figures.Waiting = 0
		away := 0
		for _, d := range f.devices {
			s := d.status()
			f.figures.Waiting += s.Queued
			if !s.Connected {
				away++
			}
		}
		left, newest := f.ledger.left()
		f.figures.Missing = max(0, left-f.figures.Waiting)
		switch {
		case left == 0 && f.figures.Waiting == 0 && away == 0 && f.ledger.offline(len(f.devices)) == 0:
			f.say("all has arrived")
			return sleep(ctx, time.Second) // a second one may follow
		case time.Now().After(deadline), f.figures.Waiting+away == 0 && time.Since(newest) > silence && time.Since(began) > silence:
			f.say("%d are missing, the newest came at %s", left, newest.Format(time.TimeOnly))
			return nil
		case time.Since(said) > 10*time.Second:
			f.say("%d on their way, %d of them in the devices; %d devices away", left, f.figures.Waiting, away)
			said = time.Now()
		}
		if err := sleep(ctx, sampling); err != nil {
			return err
		}
	}
}

// late looks at what somebody is told who comes only now, at each of the brokers: all that is retained, and no verdict.
func (f *fleet) late(ctx context.Context) error {
	for at := range f.b.urls {
		missing, verdicts, tries, err := f.lateAt(ctx, at)
		if err != nil {
			return err
		}
		if missing > 0 || tries > 1 {
			f.say("a late subscriber at %s isn't told %d retained messages in %d times that it subscribed", f.b.urls[at], missing, tries)
		}
		f.figures.Tries = append(f.figures.Tries, tries)
		f.figures.Retained = append(f.figures.Retained, missing)
		f.figures.Verdicts.Retained += verdicts
	}
	return nil
}

func (f *fleet) lateAt(ctx context.Context, at int) (missing, verdicts, tries int, err error) {
	want := map[string]bool{}
	for _, d := range f.devices {
		below := f.o.prefix + "/" + d.options.Device
		want[below+"/availability"], want[below+"/info"] = true, true
		for _, c := range d.cameras {
			want[below+"/camera/"+c+"/state"] = true
		}
	}
	looking, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	c := collection{urls: f.b.urls[at : at+1], id: "fleet-late", access: f.o.centre, clean: true,
		filters: []string{f.o.prefix + "/+/availability", f.o.prefix + "/+/info", f.o.prefix + "/+/camera/+/state", f.o.prefix + "/+/camera/+/verdict"},
		take: func(m message) {
			if !m.retained {
				return
			}
			if strings.HasSuffix(m.topic, "/verdict") {
				verdicts++
			}
			if delete(want, m.topic); len(want) == 0 {
				cancel() // run doesn't read on
			}
		}}
	for looking.Err() == nil {
		// What isn't told at once isn't told later.
		once, enough := context.WithTimeout(looking, telling)
		newCollector(c).run(once)
		enough()
		tries++
	}
	return len(want), verdicts, tries, ctx.Err()
}

// sum makes figures of what was noted.
func (f *fleet) sum(out *outages, broken, back time.Time) {
	l := f.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	f.figures.Verdicts, f.figures.Examples = l.tally, l.examples
	f.figures.PerSecond = float64(l.tally.Decided) / f.figures.Seconds
	f.figures.Incoming = float64(l.tally.Messages) / f.figures.Seconds
	for _, n := range l.seconds {
		f.figures.Busiest = max(f.figures.Busiest, n)
	}
	disturbed := time.Now()
	if !broken.IsZero() {
		disturbed = broken
	}
	var steady, all []time.Duration
	for _, d := range l.delays {
		all = append(all, d.took)
		// Those of the last second before the fault may have had to wait for its end.
		if d.decided.Before(disturbed.Add(-time.Second)) {
			steady = append(steady, d.took)
		}
	}
	f.figures.Steady, f.figures.All = spreadOf(steady), spreadOf(all)
	f.figures.Lost, f.figures.Away = out.lost, spreadOf(out.back)
	if broken.IsZero() {
		return
	}
	f.figures.DownMS = millis(back.Sub(broken))
	from := back
	if len(f.b.nodes) > 1 {
		from = broken // the others are there
	}
	last := map[int]time.Time{}
	for _, r := range out.since {
		if r.at.After(broken) {
			last[r.device] = r.at
		}
	}
	var after []time.Duration
	for _, at := range last {
		after = append(after, max(0, at.Sub(from)))
		f.figures.LastBack = max(f.figures.LastBack, millis(at.Sub(broken)))
	}
	f.figures.Back = spreadOf(after)
}
