// Package daemon is the service: cameras in, verdicts out.
//
// For each camera one goroutine takes the newest frame, finds the faces, judges the main one, hands the answer to the
// decision, and the verdict to a Publisher; nothing in that chain waits for the network, and nothing in it grows without
// bound. The package promises that a verdict is live only when the decision said so on frames of this camera and of one
// presentation; trouble of any kind (camera, model, memory, network) makes the answer something else or none, and says so
// in the camera's state and the log.
//
// Hosts ask for sessions at the desk, which promises each session one answer, written down before it is published, and live only where
// that, and the application's bans, could be read and written.
package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/journal"
	"github.com/livenessd/livenessd/mqtt"
)

// Camera is where frames come from: Next waits for the newest one that it hasn't given yet.
type Camera interface {
	Next(context.Context) (*frame.Frame, error)
	Status() camera.Status
	Close() error
}

// Publisher takes verdicts and states away. It never blocks.
type Publisher interface {
	PublishVerdict(mqtt.Verdict)
	SetCameraState(camera string, s mqtt.CameraState)
}

// Options is what a daemon needs beside its configuration.
type Options struct {
	Config  config.Config
	Version string
	Log     *slog.Logger
	// OpenCamera replaces the cameras of the configuration, for the demo and for tests.
	OpenCamera func(name string, c config.Camera) (Camera, error)
	// Stateless keeps nothing on the disk, and so takes no requests.
	Stateless bool
	// Engine is one that was opened for this configuration; nil: Run opens it, with Opener.
	Engine *Engine
	Opener Opener // without a Log of its own it has this one's
	// Pulse is told what moves and how it is doing; nil for nobody.
	Pulse *Pulse
	// Timelines remembers the newest frames and verdicts; nil for nobody.
	Timelines *Timelines
	// Recorder is told of each examined frame and each verdict; nil for nobody.
	Recorder Recorder
	// View is shown what the cameras see; nil for nobody.
	View *View
	// Ready is called once when models and cameras are open. Whether the cameras work is the pulse's to tell.
	Ready func(*Engine)
}

func (o *Options) open(ctx context.Context) (*Engine, error) {
	if o.Opener.Log == nil {
		o.Opener.Log = o.Log
	}
	return o.Opener.Open(ctx, o.Config)
}

// Run is the daemon: it returns when ctx ends, with nil, or when it can't go on.
func Run(ctx context.Context, o Options) error {
	e := o.Engine
	if e == nil {
		var err error
		if e, err = o.open(ctx); err != nil {
			return err
		}
	}
	if err := e.using(); err != nil {
		o.Log.Warn("nothing can be remembered of delegates", "error", err)
	}
	defer func() {
		if err := e.book.Done(); err != nil {
			o.Log.Warn("nothing can be remembered of delegates", "error", err)
		}
	}()
	id, err := newIdentity(o.Config)
	if err != nil {
		return &fault{ErrInternal, err, ""}
	}
	clock := newReference()
	id.synced = clock.synced
	var d *desk
	var asked chan mqtt.Asked
	if !o.Stateless {
		asked = make(chan mqtt.Asked, waitingRequests)
	}
	signer, keys, err := openSigner(o)
	if err != nil {
		return err
	}
	// The client is there before the desk, which needs it, and may deliver what is queued already.
	behind := make(chan struct{})
	// Without a state folder verdicts wait in memory alone.
	var kept mqtt.Journal
	if !o.Stateless {
		kept = journal.New(filepath.Join(o.Config.State, journal.File), o.Log)
	}
	about := func() mqtt.Info {
		i := info(o, e)
		if keys != nil {
			i.Keys = mqtt.KeysInfo(keys.Public())
		}
		return i
	}
	options := Broker(o.Config, o.Log)
	options.Journal, options.Requests, options.Info, options.Signer = kept, asked, about, signer
	options.Synced = clock.synced
	if o.Timelines == nil {
		o.Timelines = NewTimelines()
	}
	names := slices.Sorted(maps.Keys(o.Config.Cameras))
	o.Timelines.runs(id.boot, names, o.Recorder)
	options.Progress = o.Timelines.progress
	tell, house, err := newHome(o, sensors)
	if err != nil {
		return &fault{ErrConfig, err, Hint(err)}
	}
	options.HomeAssistant = tell
	options.Delivered = func(v mqtt.Verdict) {
		o.View.delivered()
		if <-behind; d != nil {
			d.delivered(v)
		}
	}
	client, err := mqtt.New(options)
	if err != nil {
		return &fault{ErrConfig, err, Hint(err)}
	}
	defer func() {
		// What is queued gets a second; what stays is on the disk, or counted and said. A broker that is away is no failure of this
		// daemon, which would be restarted for it.
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := client.Close(c); err != nil {
			o.Log.Warn("stopped with verdicts that nobody got", "error", err, "hint", Hint(err))
		}
		if d != nil {
			if err := d.shut(); err != nil {
				o.Log.Warn("the file can't be closed", "error", err, "hint", Hint(err))
			}
		}
	}()
	out := &tally{Client: client, boot: id.boot}
	host := &told{out, o.Pulse, o.Timelines, o.View}
	over := o.Pulse.runs(names, client.Status)
	defer over()
	o.Pulse.engine(e.Delegates)
	if !o.Stateless {
		d = newDesk(o, e, id, host)
		d.info = func() mqtt.Info {
			i := about()
			i.Journal = client.Journal()
			return i
		}
	}
	if keys != nil {
		keys.Changed(client.Announce)
	}
	close(behind)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	patience := parting
	defer func() {
		// A call into a library may never return, nor will the goroutine that made it.
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			wg.Wait()
		}()
		enough := time.NewTimer(patience)
		defer enough.Stop()
		select {
		case <-ended:
		case <-enough.C:
		}
		if d != nil {
			d.close()
		}
	}()
	failed := make(chan error, len(o.Config.Cameras))
	pairs := newPairs(o.Config)
	meters := &telemeter{id: id, verdicts: out.verdicts, publish: client.PublishTelemetry, sensors: sensors, now: time.Now, began: time.Now(),
		config: o.Config, about: info(o, e), tried: func() []mqtt.DelegateInfo { return delegates(e) }, client: client}
	if d != nil {
		wg.Go(func() { d.run(ctx, asked) })
	}
	for _, name := range names {
		p, err := newPipeline(o, e, id, name, pairs, host, d)
		if err != nil {
			cancel()
			return err
		}
		meters.pipelines = append(meters.pipelines, p)
		wg.Go(func() {
			if err := p.run(ctx); err != nil {
				failed <- fmt.Errorf("camera %s: %w", name, err)
			}
		})
	}
	defer o.Pulse.measured(meters.figures)()
	wg.Go(func() { meters.run(ctx) })
	wg.Go(func() { clock.run(ctx) })
	if house != nil {
		wg.Go(func() { house.run(ctx) })
	}
	unseen := o.View.runs(seen(o, id, e, d, meters, client.Status))
	defer unseen()
	watched := make(chan *stuck, 1)
	if e.guard != nil {
		wg.Go(func() { watched <- e.guard.run(ctx) })
	}
	if o.Ready != nil {
		o.Ready(e)
	}
	select {
	case <-ctx.Done():
		o.Log.Info("stopping")
		return nil
	case err := <-failed:
		cancel()
		return err
	case s := <-watched:
		if s == nil { // ctx ended
			o.Log.Info("stopping")
			return nil
		}
		patience = farewell
		err := &fault{ErrAgain, fmt.Errorf("daemon: delegate %s: %w", e.Delegate(), s), restarted}
		o.Log.Error("the delegate is stuck", "delegate", e.Delegate(), "model", s.model, "error", s)
		e.condemn(s, o.Log)
		client.Announce()
		for _, name := range names {
			if d != nil {
				d.camera(name, mqtt.CodeProcessingErr)
			}
			host.SetCameraState(name, mqtt.CameraState{Schema: 1, State: camera.StateFailed, Code: mqtt.CodeProcessingErr, Error: err.Error(), Hint: restarted,
				Since: mqtt.Time(time.Now())})
		}
		cancel()
		return err
	}
}

// farewell is how long a run that ends because a delegate is stuck waits for its goroutines, and parting how long any other does: they need
// some milliseconds, and systemd waits for longer before it kills.
const (
	farewell = 2 * time.Second
	parting  = 10 * time.Second
)

// Prepare opens the engine of a configuration, and finds what Run would refuse in it, without touching what only one run at a time can have.
func Prepare(ctx context.Context, o Options) (*Engine, error) {
	e, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := decision.New(DecisionOptions(o.Config, e)); err != nil {
		return nil, &fault{ErrConfig, err, ""}
	}
	if err := Broker(o.Config, o.Log).Check(); err != nil {
		return nil, &fault{ErrConfig, err, Hint(err)}
	}
	if err := CheckKey(o.Config); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Config.Cameras)) {
		if err := CameraOptions(name, o.Config.Cameras[name], o.Log).Check(); err != nil {
			return nil, &fault{ErrConfig, fmt.Errorf("camera %s: %w", name, err), Hint(err)}
		}
	}
	return e, nil
}

// Broker is what a configuration says of its brokers: for the daemon, and for whoever looks into why one can't be reached (mqtt.Probe).
func Broker(c config.Config, log *slog.Logger) mqtt.Options {
	m := c.MQTT
	return mqtt.Options{
		URL: m.URLs[0], Others: m.URLs[1:], Prefix: m.Prefix, Device: c.Device, Username: m.Username,
		PasswordFile: m.PasswordFile, CAFile: m.CAFile, CertFile: m.CertFile, KeyFile: m.KeyFile,
		QueueLimit: m.Journal.Count, QueueBytes: int64(m.Journal.Bytes), QueueAge: m.Journal.Age,
		SubscribeQoS0: m.SubscribeQoS == 0, Synced: clockSynced, Log: log,
	}
}

// told lets the pulse, the timelines and the view know what is published.
type told struct {
	*tally
	pulse *Pulse
	lines *Timelines
	view  *View
}

func (t *told) PublishVerdict(v mqtt.Verdict) {
	t.lines.decided(&v) // before the client can get on with it
	t.tally.PublishVerdict(v)
	t.pulse.judged(v)
	t.view.judged(v)
}

func (t *told) SetCameraState(camera string, s mqtt.CameraState) {
	t.tally.SetCameraState(camera, s)
	t.pulse.camera(camera, s)
	t.view.camera(camera, s)
}

// waitingRequests is how many requests may wait while one is written down.
const waitingRequests = 64

// identity is what makes this run's verdicts tell apart from all others.
type identity struct {
	device string
	boot   string
	seq    sequence
	synced func() bool // nil: nobody knows
}

// clockSynced tells whether the clock follows a reference.
func (i *identity) clockSynced() bool { return i.synced != nil && i.synced() }

func newIdentity(c config.Config) (*identity, error) {
	// A boot is a start of the daemon, so that the sequence may begin at 1 again.
	boot, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("daemon: make a boot id: %w", err)
	}
	return &identity{device: c.Device, boot: boot.String()}, nil
}

// document is what all verdicts of a camera have in common.
func (i *identity) document(e *Engine, camera string) mqtt.Verdict {
	return mqtt.Verdict{Schema: 1, Device: i.device, Camera: camera, Boot: i.boot,
		Model:    mqtt.ModelRef{Name: e.Liveness.Name, Version: e.Liveness.Version, SHA256: e.Liveness.SHA256},
		Delegate: e.Delegate()}
}

func openCamera(o Options, name string, c config.Camera) (Camera, error) {
	if o.OpenCamera != nil {
		return o.OpenCamera(name, c)
	}
	cam, err := camera.Open(CameraOptions(name, c, o.Log))
	if err != nil {
		return nil, &fault{ErrConfig, err, Hint(err)}
	}
	return cam, nil
}

func info(o Options, e *Engine) mqtt.Info {
	list := []mqtt.ModelInfo{
		{Task: string(e.Detector.Task), Name: e.Detector.Name, Version: e.Detector.Version, SHA256: e.Detector.SHA256},
		{Task: string(e.Liveness.Task), Name: e.Liveness.Name, Version: e.Liveness.Version, SHA256: e.Liveness.SHA256},
	}
	if members := e.Liveness.Members; len(members) > 1 { // verdicts name the ensemble, and it its nets
		for _, m := range members {
			list = append(list, mqtt.ModelInfo{Task: string(m.Model.Task), Name: m.Model.Name, Version: m.Model.Version, SHA256: m.Model.SHA256})
		}
	}
	return mqtt.Info{
		Schema: 1, Device: o.Config.Device, Version: o.Version,
		Models:  list,
		Runtime: e.Runtime.Version(), Delegate: e.Delegate(), Delegates: delegates(e),
		Cameras: slices.Sorted(maps.Keys(o.Config.Cameras)),
	}
}

func delegates(e *Engine) (all []mqtt.DelegateInfo) {
	for _, t := range e.Delegates() {
		all = append(all, mqtt.DelegateInfo{Delegate: t.Delegate, State: t.State, Error: t.Error, Hint: t.Hint, MedianMS: t.Median, Note: t.Note,
			RetryAt: mqtt.Time(t.Until)})
	}
	return all
}

var _ io.Closer = (Camera)(nil)
