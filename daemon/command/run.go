package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/blame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/console"
	"github.com/livenessd/livenessd/daemon/metrics"
	"github.com/livenessd/livenessd/systemd"
)

func (a *app) run() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Watch the cameras and publish verdicts until stopped",
		Long: "The daemon. With no configuration at all it watches the first usable camera and publishes to a broker at localhost.\n" +
			"A camera or a broker that is away is waited for. SIGTERM and SIGINT end it cleanly, with exit code 0. SIGHUP makes it\n" +
			"read configuration, certificates and models again; while they can't be used it goes on with those that it has.",
		Args: usageArgs(cobra.NoArgs),
	}
	profiles := c.Flags().String("pprof", "", "show Go's profiles of the process at this `ADDRESS` of the loopback, such as 127.0.0.1:6060")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *profiles != "" {
			end, err := metrics.Profiles(*profiles, slog.New(slog.NewTextHandler(a.Stderr, nil)))
			switch {
			case errors.Is(err, metrics.ErrExposed):
				return fail(ExitUsage, fmt.Errorf("--pprof: %w", err))
			case err != nil:
				return fail(ExitUnavailable, fmt.Errorf("--pprof: %w", err))
			}
			defer end()
		}
		return a.serve(c.Context())
	}
	return c
}

const (
	// probing is how long one model may be tried, and loading how long the rest of what comes before a run may take: seconds, but not on a machine
	// that has other things to do.
	probing = time.Minute
	loading = 5 * time.Minute
	// switching is how long a run may take to end and the next to begin.
	switching = time.Minute
)

// mayLoad is how long it may take to load what a configuration names.
func mayLoad(cfg config.Config) time.Duration {
	return loading + probing*time.Duration(1+len(cfg.Models.Liveness)+2*cfg.Inference.Delegate.Accelerators())
}

// server runs the daemon, one configuration after the other.
type server struct {
	*app
	notify *systemd.Notifier
	pulse  *daemon.Pulse
	lines  *daemon.Timelines // of all runs
	view   *daemon.View
	page   *console.Server
	hangup chan os.Signal // or what the console wants instead
	book   *blame.Book
	watch  func(context.Context, daemon.Options) error // daemon.Run
	tell   daemon.Recorder

	figures http.Handler // for Prometheus, and health
	shown   *metrics.Server
}

// prepared is a configuration whose models are loaded.
type prepared struct {
	cfg    config.Config
	log    *slog.Logger
	engine *daemon.Engine
}

// running is a daemon with one configuration.
type running struct {
	ctx     context.Context // ends with it
	end     context.CancelFunc
	started chan struct{} // closed when it has opened all that it needs
	ended   chan error
}

func (a *app) serve(ctx context.Context) (err error) {
	notify, err := systemd.NewNotifier(os.Getenv, os.Getpid())
	if err != nil {
		return err
	}
	// A daemon that was started by hand in a terminal ends with it.
	if term.IsTerminal(int(os.Stdin.Fd())) {
		var enough context.CancelFunc
		ctx, enough = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer enough()
	}
	hangup, unhook := hangups()
	defer unhook()
	s := &server{app: a, notify: notify, pulse: daemon.NewPulse(time.Now, a.Version, os.Getpid()), lines: daemon.NewTimelines(), view: daemon.NewView(time.Now),
		hangup: hangup, watch: daemon.Run}
	figures, err := metrics.New(metrics.Options{Version: a.Version, Figures: s.pulse.Figures,
		Health: func() daemon.Health { return s.pulse.Health(daemon.Patience(notify.Interval())) }})
	if err != nil {
		return fail(ExitInternal, err)
	}
	s.tell = figures
	s.figures = figures.Handler()
	s.shown = metrics.NewServer(s.figures, s.pulse.Wrong)
	defer s.shown.Close()
	cfg, err := a.load()
	log := slog.New(slog.NewTextHandler(a.Stderr, nil))
	if err == nil {
		log = a.logger(cfg)
	}
	s.pulse.Configured(a.configPath, cfg.Device)
	loaded := s.pulse.Busy("loading the models", mayLoad(cfg))
	w := &daemon.Watch{Pulse: s.pulse, Manager: notify, Show: statusFile(os.Getenv("RUNTIME_DIRECTORY")), Log: log,
		Ready: func() { log.Info("ready: all cameras and models work") }}
	watching, enough := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		w.Run(watching)
	}()
	defer func() {
		if err != nil {
			s.pulse.Phase(daemon.PhaseFailed)
			s.pulse.Wrong(err)
		}
		enough()
		<-watched
	}()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() {
		s.pulse.Phase(daemon.PhaseStopping)
		s.say(log, notify.Stopping("stopping"))
	})()
	s.shown.Use(cfg.Metrics, log) // also while it starts: how that goes
	closed, err := s.openConsole(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer closed()
	s.book = daemon.OpenBook(cfg, log)
	first, err := s.prepare(ctx, cfg, log)
	if err != nil {
		return unattended(err, notify.Heard())
	}
	return unattended(s.loop(ctx, first, loaded), notify.Heard())
}

// unattended says so where nobody will start again what must be started again.
func unattended(err error, systemd bool) error {
	if systemd || !errors.Is(err, daemon.ErrAgain) {
		return err
	}
	return &advised{err, "nobody starts livenessd again here, since systemd doesn't run it: start it again, and it goes on without this delegate for a while"}
}

// hangups gives SIGHUPs that aren't a terminal's which is closed.
func hangups() (c chan os.Signal, stop func()) {
	c = make(chan os.Signal, 1)
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return c, func() {}
	}
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// openConsole lets the technician's page be seen from here on, while the models are still being loaded. closed ends it.
func (s *server) openConsole(ctx context.Context, cfg config.Config, log *slog.Logger) (closed func(), err error) {
	if err := console.Check(cfg); err != nil {
		return nil, failConfig(err)
	}
	s.page, err = console.New(console.Options{Version: s.Version, View: s.view, Pulse: s.pulse, Timelines: s.lines, Log: log, Watchdog: s.notify.Interval(),
		ConfigPath: s.configPath, Reload: s.reload, Doctor: s.consult,
		Mounts: []console.Mount{
			{Pattern: "GET /metrics", Handler: s.figures},
			{Pattern: "GET /healthz", Handler: metrics.Brief(s.figures), Open: true},
			{Pattern: "GET /readyz", Handler: metrics.Brief(s.figures), Open: true},
		}})
	if err != nil {
		return nil, err
	}
	s.page.Apply(cfg, log)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.page.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}

// reload is what SIGHUP does.
func (s *server) reload() {
	select {
	case s.hangup <- syscall.SIGHUP:
	default: // it will be read again anyway
	}
}

// consult lets the doctor look in a process of its own: what hangs or crashes there does so alone.
func (s *server) consult(ctx context.Context, bundle string) ([]byte, error) {
	self, err := thisProgram()
	if err != nil {
		return nil, err
	}
	args := []string{"doctor", "--json"}
	if s.configPath != "" {
		args = append(args, "--config", s.configPath)
	}
	if bundle != "" {
		args = append(args, "--bundle", bundle)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr, cmd.WaitDelay = &said, time.Second
	out, err := cmd.Output()
	var found *exec.ExitError
	if errors.As(err, &found) && found.Exited() && len(out) > 0 { // it looked, and found something
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("command: let the doctor look: %w: %s", err, oneLine(said.String()))
	}
	return out, nil
}

func (s *server) prepare(ctx context.Context, cfg config.Config, log *slog.Logger) (*prepared, error) {
	if err := console.Check(cfg); err != nil {
		return nil, failConfig(err)
	}
	if err := s.tryModels(ctx, cfg); err != nil {
		return nil, err
	}
	o := s.opener(log)
	o.Book = s.book
	e, err := daemon.Prepare(ctx, daemon.Options{Config: cfg, Log: log, Opener: o})
	if err != nil {
		return nil, err
	}
	return &prepared{cfg, log, e}, nil
}

func (s *server) begin(ctx context.Context, p *prepared) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{ctx: ctx, end: cancel, started: make(chan struct{}), ended: make(chan error, 1)}
	s.pulse.Configured(s.configPath, p.cfg.Device)
	go func() {
		defer cancel()
		r.ended <- s.watch(ctx, daemon.Options{
			Config: p.cfg, Version: s.Version, Log: p.log, Engine: p.engine, Pulse: s.pulse, Timelines: s.lines, View: s.view,
			Recorder: s.tell,
			Ready: func(*daemon.Engine) {
				p.log.Info("started", "version", s.Version, "device", p.cfg.Device, "cameras", len(p.cfg.Cameras), "broker", strings.Join(p.cfg.MQTT.URLs, " "))
				close(r.started)
			},
		})
	}()
	return r
}

// loop runs the daemon until ctx ends or it can't go on, with a new configuration whenever there is one that can be used, and with a delegate
// that is liked better when that is worth another try. loaded is called when the first run has begun.
func (s *server) loop(ctx context.Context, now *prepared, loaded func()) error {
	r := s.begin(ctx, now)
	started := r.started
	retry := s.retry(now)
	defer func() { retry.Stop() }()
	for {
		var next *prepared
		var settled func(error)
		var err error
		select {
		case err := <-r.ended:
			return err
		case <-started:
			started = nil
			loaded()
			continue
		case <-retry.C:
			if ctx.Err() == nil {
				next, err = s.again(r.ctx, now)
			}
			if errors.Is(err, daemon.ErrAgain) {
				r.end()
				return errors.Join(err, <-r.ended)
			}
			if retry = s.retry(now); next == nil {
				continue
			}
			settled = s.reloading(now.log, "changing to delegate "+next.engine.Delegate())
		case <-s.hangup:
			if ctx.Err() != nil {
				continue
			}
			settled = s.reloading(now.log, "reading configuration, certificates and models again")
			if next, err = s.reread(r.ctx, now); err != nil {
				settled(err)
				if errors.Is(err, daemon.ErrAgain) {
					r.end()
					return errors.Join(err, <-r.ended)
				}
				continue
			}
		}
		changed := s.pulse.Busy("changing to the new configuration", switching)
		r.end()
		if err := <-r.ended; err != nil {
			now.log.Warn("the old run didn't end cleanly", "error", err, "hint", daemon.Hint(err))
		}
		r = s.begin(ctx, next)
		select {
		case <-r.started:
			now = next
			s.shown.Use(now.cfg.Metrics, now.log)
			s.page.Apply(now.cfg, now.log)
		case err = <-r.ended:
			if err == nil { // ctx ended
				changed()
				return nil
			}
			r = s.begin(ctx, now)
			select {
			case <-r.started:
			case again := <-r.ended:
				changed()
				return errors.Join(err, again)
			}
		}
		changed()
		loaded()
		started = nil
		retry.Stop()
		retry = s.retry(now)
		settled(err)
	}
}

// retry is a timer for when a delegate is worth another try; it may never fire.
func (s *server) retry(now *prepared) *time.Timer {
	var at time.Time
	if now.engine != nil {
		at = now.engine.RetryAt()
	}
	if at.IsZero() {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	return time.NewTimer(max(time.Until(at), time.Second))
}

// again tries the delegates anew, while the daemon goes on. nil: with what it has.
func (s *server) again(ctx context.Context, now *prepared) (*prepared, error) {
	defer s.pulse.Busy("trying a delegate again", mayLoad(now.cfg))()
	next, err := s.prepare(ctx, now.cfg, now.log)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		now.log.Warn("delegates can't be tried again", "error", err, "hint", daemon.Hint(err))
		return nil, err
	}
	if next.engine.Delegate() == now.engine.Delegate() {
		now.engine.Retried(next.engine)
		return nil, nil
	}
	return next, nil
}

// reread reads the configuration and loads what it names, while the daemon goes on with what it has.
func (s *server) reread(ctx context.Context, now *prepared) (*prepared, error) {
	cfg, err := s.load()
	if err != nil {
		return nil, err
	}
	defer s.pulse.Busy("loading the new models", mayLoad(cfg))()
	if cfg.Models.Runtime != now.cfg.Models.Runtime {
		return nil, fail(ExitConfig, fmt.Errorf("models.runtime is now %q: a library can't be changed while it is used; restart livenessd", cfg.Models.Runtime))
	}
	return s.prepare(ctx, cfg, s.logger(cfg))
}

// reloading says so. settled says how it went.
func (s *server) reloading(log *slog.Logger, what string) (settled func(error)) {
	log.Info(what)
	before := s.pulse.Phase(daemon.PhaseReloading)
	s.say(log, s.notify.Reloading(what))
	return func(err error) {
		line := "the new configuration is in effect"
		if err != nil {
			line = "the old configuration stays: " + err.Error()
			hint := daemon.Hint(err)
			log.Error("the old configuration stays in effect: the new one can't be used", "error", err, "hint", hint)
			if hint != "" {
				line += " (" + hint + ")"
			}
		} else {
			log.Info("the new configuration is in effect")
		}
		s.pulse.Reloaded(err)
		s.pulse.Phase(before)
		if before == daemon.PhaseReady {
			s.say(log, s.notify.Ready(line))
		}
	}
}

func (s *server) say(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("systemd can't be told", "error", err)
	}
}
