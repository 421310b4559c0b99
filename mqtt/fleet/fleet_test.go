package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// nothing waits so long that passes.
const patience = time.Minute

func small(fault string) options {
	return options{devices: 50, cameras: 2, collectors: 2, hour: 8, perDay: 400, speed: 300, sessions: 0.3, length: 6 * time.Second,
		ramp: time.Second, drain: patience, fault: fault, faultAt: 3 * time.Second, down: 500 * time.Millisecond, prefix: "livenessd/site-1",
		timeout: 10 * time.Second, requests: true, qos: 1, seed: 1, progress: io.Discard}
}

func mosquittoFor(t *testing.T, lines ...string) *broker {
	t.Helper()
	if _, err := find("mosquitto", "/usr/sbin/mosquitto"); err != nil {
		t.Skip("no mosquitto here, so that nothing is tried with it: apt-get install mosquitto")
	}
	b, err := startMosquitto(t.Context(), "mosquitto", lines...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	return b
}

// The short form of what make fleet does with thousands.
func TestNoVerdictIsLost(t *testing.T) {
	for name, change := range map[string]func(*options){
		"while mosquitto is stopped and started":  func(o *options) { o.fault, o.unordered = faultStop, true }, // see docs/fleet.md
		"of collectors that share a subscription": func(o *options) { o.shared = true },
		"while the power of all devices is cut":   func(o *options) { o.cutAt, o.qos = 3*time.Second, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			o := small(faultNone)
			change(&o)
			f, err := simulate(t.Context(), o, mosquittoFor(t, "allow_anonymous true"))
			if err != nil || !f.ok() {
				t.Errorf("%v: %+v", err, f)
			}
			if f.Verdicts.Decided < 100 || f.Steady.N == 0 || f.Loaded <= 0 || f.Own <= 0 {
				t.Errorf("so little was measured: %+v", f)
			}
			if o.fault != faultNone && (f.Lost < o.devices || f.Back.N != o.devices || f.Collector < 2*o.collectors) {
				t.Errorf("the fault did nothing: %+v", f)
			}
			if o.cutAt > 0 && (f.Lost < o.devices || f.Verdicts.Wills == 0) {
				t.Errorf("the cut did nothing: %+v", f)
			}
			if o.shared && f.Verdicts.Arrived != f.Verdicts.Decided || !o.shared && f.Verdicts.Arrived != o.collectors*f.Verdicts.Decided {
				t.Errorf("%d of %d arrived", f.Verdicts.Arrived, f.Verdicts.Decided)
			}
		})
	}
}

// A mosquitto that is killed forgets what it has acknowledged and not handed on yet: that is how it is. The devices may lose nothing else.
func TestKilledMosquittoLosesOnlyWhatItHad(t *testing.T) {
	o := small(faultKill)
	o.drain = 30 * time.Second
	// The collectors' sessions must be on the disk before it is killed.
	f, err := simulate(t.Context(), o, mosquittoFor(t, "allow_anonymous true", "autosave_interval 1"))
	if err != nil || f.Back.N != o.devices || f.Connected != o.devices || f.Collector < 2*o.collectors {
		t.Errorf("%v: %+v", err, f)
	}
	v := f.Verdicts
	if f.After+f.Waiting+v.Altered+v.Unknown+v.Retained+v.Gaps+f.untold()+f.Forgotten > 0 {
		t.Errorf("%+v", f)
	}
	if f.Missing > f.Broken*o.collectors { // one may be missing at both
		t.Errorf("%d are missing, but only %d of them were acknowledged", f.Missing, f.Broken)
	}
}

// A broker that acknowledges verdicts and throws them away loses them all, and the fleet must see that.
func TestLossIsTold(t *testing.T) {
	b := mosquittoFor(t, "allow_anonymous true", "acl_file "+deny(t))
	o := small(faultNone)
	o.length, o.drain = time.Second, 2*time.Second
	f, err := simulate(t.Context(), o, b)
	if err != nil || f.ok() || f.Broken != f.Verdicts.Decided || f.After != f.Broken || f.Verdicts.Decided == 0 {
		t.Errorf("%v: %+v", err, f)
	}
}

// What the ledger finds out of what comes.
func TestLedger(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	made := func(seq uint64) mqtt.Verdict {
		v := decide(random, time.Now(), 0.5)
		v.Device, v.Camera, v.Boot, v.Seq = "fleet-000000", "front", "boot-1", seq
		return v
	}
	one, two, three := made(1), made(2), made(3)
	late := func(v mqtt.Verdict) mqtt.Verdict { v.Replayed = true; return v }
	other := two
	other.LatencyMS++
	stranger := one
	stranger.Boot = "boot-2"
	for name, c := range map[string]struct {
		come    []mqtt.Verdict
		missing int
		want    tally
	}{
		"all":                            {[]mqtt.Verdict{one, two, three}, 0, tally{Arrived: 3}},
		"one is lost":                    {[]mqtt.Verdict{one, three}, 1, tally{Arrived: 2}},
		"one comes three times":          {[]mqtt.Verdict{one, two, one, one, three}, 0, tally{Arrived: 3, Twice: 2}},
		"two are turned round":           {[]mqtt.Verdict{one, three, two}, 0, tally{Arrived: 3, OutOfOrder: 1}},
		"a fresh one overtakes":          {[]mqtt.Verdict{three, late(one), late(two)}, 0, tally{Arrived: 3, Late: 2}},
		"late ones are turned round":     {[]mqtt.Verdict{late(two), late(one), three}, 0, tally{Arrived: 3, Late: 2, OutOfOrder: 1}},
		"one is another":                 {[]mqtt.Verdict{one, other, three}, 1, tally{Arrived: 2, Altered: 1}},
		"one was never decided":          {[]mqtt.Verdict{one, two, three, made(4)}, 0, tally{Arrived: 3, Unknown: 1}},
		"one is of a boot that wasn't":   {[]mqtt.Verdict{one, two, three, stranger}, 0, tally{Arrived: 3, Unknown: 1}},
		"a first one again, after a gap": {[]mqtt.Verdict{one, two, three, one}, 0, tally{Arrived: 3, Twice: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger("livenessd", 1)
			for _, v := range []mqtt.Verdict{one, two, three} {
				l.decided(v)
				c.want.Decided++
				c.want.Messages += messages(v)
			}
			for _, v := range c.come {
				b, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				l.take(0, 0, message{topic: "livenessd/fleet-000000/camera/front/verdict", payload: b})
			}
			if left, _ := l.left(); left != c.missing || l.tally != c.want {
				t.Errorf("%d missing, %+v; want %d, %+v", left, l.tally, c.missing, c.want)
			}
		})
	}
	l := newLedger("livenessd", 2)
	l.decided(one)
	b, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	l.take(0, 0, message{topic: "livenessd/fleet-000000/camera/front/verdict", payload: b, retained: true})
	if left, _ := l.left(); left != 1 || l.tally.Retained != 1 {
		t.Errorf("%d left of the second collector's, %d retained", left, l.tally.Retained)
	}
	for _, m := range []message{
		{topic: "livenessd/fleet-000000/camera/back/verdict", payload: b},
		{topic: "livenessd/fleet-000000/camera/front/verdict", payload: b[1:]},
		{topic: "elsewhere/fleet-000000/camera/front/verdict", payload: b},
		{topic: "livenessd/fleet-000000/what", payload: b},
	} {
		before := l.tally.Unknown
		if l.take(0, 0, m); l.tally.Unknown != before+1 {
			t.Errorf("%s was taken", m.topic)
		}
	}
	if n := l.offline(1); n != 1 {
		t.Errorf("%d offline of one that said nothing", n)
	}
	l.take(0, 0, message{topic: "livenessd/fleet-000000/availability", payload: []byte("online")})
	if n := l.offline(1); n != 0 {
		t.Errorf("%d offline of one that is online", n)
	}
	l.take(0, 0, message{topic: "livenessd/fleet-000000/availability", payload: []byte("offline")})
	if n := l.offline(1); n != 1 || l.tally.Wills != 1 {
		t.Errorf("%d offline after its will", n)
	}
}

func TestADayHasItsRushes(t *testing.T) {
	const steps = 24 * 60
	sum := 0.0
	for n := range steps {
		sum += weight(float64(n) / 60)
	}
	if mean := sum / steps; math.Abs(mean-1) > 0.01 {
		t.Errorf("the mean of a day is %.3f", mean)
	}
	if night, morning := weight(3), weight(8.25); night > 0.5 || morning < 3 || peak() < morning {
		t.Errorf("%.2f at night, %.2f in the morning, %.2f at most", night, morning, peak())
	}
	// A whole day at once, whose number is Poisson's: 100,000 ± 5 times its deviation.
	l := load{perDay: 100_000, hour: 22, speed: 3600, random: rand.New(rand.NewPCG(3, 4))}
	n, last := 0, time.Duration(0)
	for at := l.next(); at < 24*time.Second; at = l.next() {
		if at < last {
			t.Fatal("time goes back")
		}
		n, last = n+1, at
	}
	if d := math.Abs(float64(n) - 100_000); d > 5*math.Sqrt(100_000)+500 { // and the mean's rounding
		t.Errorf("%d came on a day of 100,000", n)
	}
}

func TestMadeUpVerdictsAreConsistent(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	kinds := map[mqtt.VerdictKind]int{}
	for range 2000 {
		v := decide(random, time.Now(), 0.5)
		v.Device, v.Camera, v.Boot, v.Seq = "d", "c", uuid(random, time.Now()), 1
		if err := v.Check(); err != nil {
			t.Fatal(err)
		}
		kinds[v.Verdict]++
	}
	if kinds[mqtt.Live] < 1600 || kinds[mqtt.Spoof] == 0 || kinds[mqtt.Undecided] == 0 {
		t.Errorf("%v", kinds)
	}
}

func TestMemoryIsAJournal(t *testing.T) {
	m := &memory{records: map[uint64]mqtt.Record{}}
	if err := m.Write([]mqtt.Record{{N: 2, Payload: []byte("b")}, {N: 1, Payload: []byte("a")}, {N: 3}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Write([]mqtt.Record{{N: 2, Payload: []byte("c")}}, []uint64{3}); err != nil {
		t.Fatal(err)
	}
	all, lost, err := m.Load()
	if err != nil || lost || len(all) != 2 || all[0].N != 1 || string(all[1].Payload) != "c" {
		t.Errorf("%v %v %v", all, lost, err)
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]int{
		"-help":                            0,
		"":                                 exitUsage,
		"-mosquitto -nats x":               exitUsage,
		"-mosquitto -devices 0":            exitUsage,
		"-mosquitto -fault flood":          exitUsage,
		"-mosquitto -for 1s stray":         exitUsage,
		"-mosquitto -prefix a/+":           exitUsage,
		"-broker http://x":                 exitUsage,
		"-broker mqtt://x -fault stop":     exitUsage,
		"-mosquitto -restart-command true": exitUsage,
		"-nats /nowhere/nats-server":       exitAbsent,
		"-mosquitto -mosquitto-program /nowhere/m -fault-at 2h": exitUsage,
	} {
		t.Run(args, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), strings.Fields(args), &out, &errs); code != want || out.Len() > 0 || errs.Len() == 0 {
				t.Errorf("code %d, want %d: %s%s", code, want, &out, &errs)
			}
		})
	}
}

// Whoever has a broker of his own says how it is restarted.
func TestCommandRestartsAGivenBroker(t *testing.T) {
	b := mosquittoFor(t, "allow_anonymous true", "autosave_interval 1")
	n := b.nodes[0]
	script := "kill " + itoa(n.cmd.Process.Pid) + " && sleep 0.3 && (" + n.program + " -c " + n.args[1] + " >/dev/null 2>&1 & echo $! >" + b.folder + "/pid)"
	t.Cleanup(func() {
		if err := exec.Command("/bin/sh", "-c", "kill -9 $(cat "+b.folder+"/pid)").Run(); err != nil {
			t.Error(err)
		}
	})
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"-broker", b.urls[0], "-devices", "10", "-for", "4s", "-speed", "300", "-ramp", "100ms", "-json",
		"-restart-command", script, "-broker-pid", itoa(n.cmd.Process.Pid)}, &out, &errs)
	var f figures
	if err := json.Unmarshal(out.Bytes(), &f); err != nil || code != 0 || f.Lost < 10 || f.Loaded == 0 {
		t.Errorf("code %d, %v: %s\n%s", code, err, &out, &errs)
	}
}

func TestStopEndsARun(t *testing.T) {
	b := mosquittoFor(t, "allow_anonymous true")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(2*time.Second, cancel)
	o := small(faultNone)
	o.length = time.Hour
	if _, err := simulate(ctx, o, b); err != context.Canceled {
		t.Error(err)
	}
}
