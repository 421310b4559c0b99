package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// farewell is how long a device may take to say goodbye at the end.
const farewell = 10 * time.Second

// memory is a journal that survives a device's loss of power, but not the fleet's end: no disk is measured here.
type memory struct {
	mu      sync.Mutex
	records map[uint64]mqtt.Record
}

var _ mqtt.Journal = (*memory)(nil)

func (m *memory) Load() ([]mqtt.Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []mqtt.Record
	for _, n := range slices.Sorted(maps.Keys(m.records)) {
		all = append(all, m.records[n])
	}
	return all, false, nil
}

func (m *memory) Write(put []mqtt.Record, remove []uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range put {
		m.records[r.N] = r
	}
	for _, n := range remove {
		delete(m.records, n)
	}
	return nil
}

func (m *memory) Close() error { return nil }

// device is a simulated one: livenessd's own client, and verdicts that are made up. Its methods but status are for one goroutine at a time.
type device struct {
	options mqtt.Options
	cameras []string
	boot    string
	seq     uint64
	since   time.Time // of the boot

	mu     sync.Mutex
	client *mqtt.Client // nil while it has no power
}

// deviceOptions are those that all devices have.
type deviceOptions struct {
	urls     []string
	prefix   string
	access   access
	cameras  int
	timeout  time.Duration
	requests chan<- mqtt.Asked // nil: they listen to none
	qos0     bool              // as mqtt.Options.SubscribeQoS0
}

func deviceName(n int) string { return fmt.Sprintf("fleet-%06d", n) }

// newDevice makes one that has no power yet. The brokers are spread over the devices: each has its own first one.
func newDevice(n int, o deviceOptions) *device {
	at := n % len(o.urls)
	urls := append(slices.Clone(o.urls[at:]), o.urls[:at]...)
	d := &device{options: mqtt.Options{URL: urls[0], Others: urls[1:], Prefix: o.prefix, Device: deviceName(n), Username: strings.ReplaceAll(o.access.username, "{device}", deviceName(n)),
		PasswordFile: o.access.passwordFile, CAFile: o.access.caFile, Journal: &memory{records: map[uint64]mqtt.Record{}},
		Requests: o.requests, SubscribeQoS0: o.qos0, Timeout: o.timeout, Log: slog.New(slog.DiscardHandler)}}
	for n := range o.cameras {
		d.cameras = append(d.cameras, fmt.Sprintf("camera-%d", n))
	}
	d.options.Info = func() mqtt.Info {
		return mqtt.Info{Schema: 1, Device: d.options.Device, Version: "simulated", Runtime: "none", Delegate: "none", Cameras: d.cameras}
	}
	return d
}

// start gives it power: a boot with a name of its own.
func (d *device) start(boot string) error {
	c, err := mqtt.New(d.options)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.client, d.boot, d.seq, d.since = c, boot, 0, time.Now()
	d.mu.Unlock()
	for _, name := range d.cameras {
		d.state(name, "streaming")
	}
	return nil
}

func (d *device) state(camera, state string) {
	d.client.SetCameraState(camera, mqtt.CameraState{Schema: 1, State: state, Format: "MJPG", Width: 1280, Height: 720, FPS: 30, Since: mqtt.Time(time.Now())})
}

// present lets somebody come by, whose verdict it returns.
func (d *device) present(random *rand.Rand, sessions float64, register func(mqtt.Verdict)) mqtt.Verdict {
	v := decide(random, time.Now(), sessions)
	d.seq++
	v.Device, v.Camera, v.Boot, v.Seq = d.options.Device, d.cameras[random.IntN(len(d.cameras))], d.boot, d.seq
	register(v) // before it can arrive
	d.client.PublishVerdict(v)
	if random.Float64() < flapShare {
		d.state(v.Camera, "recovering")
		d.state(v.Camera, "streaming")
	}
	return v
}

// cut takes the power: the broker hears nothing but the end of the connection, if that.
func (d *device) cut() {
	d.mu.Lock()
	c := d.client
	d.client = nil
	d.mu.Unlock()
	if c == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Close(ctx) // what it didn't deliver is in the journal
}

// stop ends it as livenessd's own stop does.
func (d *device) stop() error {
	d.mu.Lock()
	c := d.client
	d.client = nil
	d.mu.Unlock()
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return c.Close(ctx)
}

var errNoPower = errors.New("it has no power")

// name is that of its boot.
func (d *device) name() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.boot
}

func (d *device) status() mqtt.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client == nil {
		return mqtt.Status{Err: errNoPower}
	}
	return d.client.Status()
}
