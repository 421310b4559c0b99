package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/systemd"
	"github.com/livenessd/livenessd/tflite"
)

// getReady is how long install, start and restart wait by default.
const getReady = time.Minute

// services is who keeps services here, and tells what it does on standard output.
func (a *app) services() *systemd.Installer {
	in := a.Services
	if in == nil {
		in = &systemd.Installer{UID: os.Geteuid(), Units: systemd.Kardianos{}, Run: systemd.Command}
	}
	in.Say = func(what string) { fmt.Fprintln(a.Stdout, oneLine(what)) }
	return in
}

// serviceFlags are the flags that all commands about the service have.
func serviceFlags(c *cobra.Command) (name *string) {
	return c.Flags().String("name", systemd.DefaultName, "`NAME` of the service; another one runs beside it, with its own configuration and state")
}

func waitFlag(c *cobra.Command) *time.Duration {
	return c.Flags().Duration("wait", getReady, "how long to wait until the cameras and models work")
}

func (a *app) install() *cobra.Command {
	c := &cobra.Command{
		Use:   "install",
		Short: "Make a service of this program, and start it",
		Long: "Creates the user livenessd in group video, folders, a default configuration where there is none, and a unit of systemd; enables and\n" +
			"starts it, and waits until cameras and models work. A program that lies in somebody's home is copied to /usr/local/bin, and its\n" +
			"library to /usr/local/lib/livenessd; one below /usr or /opt stays where it is. Without a camera all that is done, too, but the\n" +
			"exit code is 69.\n\n" +
			"It may be called again, after an update of the program or after it was interrupted: what is as it should be stays. If something\n" +
			"fails, or the service doesn't run, all is put back as it was.",
		Args: usageArgs(cobra.NoArgs),
	}
	name, wait := serviceFlags(c), waitFlag(c)
	user := c.Flags().String("user", systemd.DefaultName, "`USER` that the service runs as; any other than the default must be there")
	dry := c.Flags().Bool("dry-run", false, "print the unit, and touch nothing")
	c.RunE = func(c *cobra.Command, _ []string) error {
		in := a.services()
		o := systemd.InstallOptions{UnitOptions: systemd.UnitOptions{Name: *name, User: *user, Config: a.configPath}, Default: config.Example()}
		var err error
		if o.Program, err = thisProgram(); err != nil {
			return err
		}
		if *dry {
			o.Library = libraryOf("")
			text, err := in.Preview(c.Context(), o)
			if err == nil {
				_, err = fmt.Fprint(a.Stdout, text)
			}
			return err
		}
		if err := in.Check(); err != nil {
			return err
		}
		// A wrong option is said before anything is looked for. Where the program will lie isn't known yet.
		unit := o.UnitOptions
		unit.Program = "/usr/bin/livenessd"
		if _, err := systemd.Unit(unit); err != nil {
			return err
		}
		if err := a.findLibrary(&o); err != nil {
			return err
		}
		return a.installService(c.Context(), in, o, *wait)
	}
	return c
}

func thisProgram() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("command: find this program: %w", err)
	}
	return self, nil
}

// findLibrary checks the configuration that the service will have, and finds the library that it needs.
func (a *app) findLibrary(o *systemd.InstallOptions) error {
	path := o.ConfigPath()
	cfg, err := config.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		cfg = config.Default()
	case err != nil:
		return failConfig(err)
	}
	if cfg.Models.Runtime != "" {
		return nil
	}
	if o.Library = libraryOf(""); o.Library == "" {
		_, err := tflite.Load(tflite.LoadOptions{})
		return fail(ExitUnavailable, err)
	}
	return nil
}

// libraryOf is the path of the TensorFlow Lite library, "" if there is none.
func libraryOf(path string) string {
	rt, err := tflite.Load(tflite.LoadOptions{Path: path})
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(rt.Path()); err == nil && filepath.IsAbs(rt.Path()) {
		return real
	}
	return rt.Path()
}

func (a *app) installService(ctx context.Context, in *systemd.Installer, o systemd.InstallOptions, wait time.Duration) error {
	outdated := false
	o.Outdated = &outdated
	if err := in.Install(ctx, o); err != nil {
		return err
	}
	s, err := in.State(ctx, o.Name)
	if err == nil && (outdated || s.PID == 0) {
		s, err = in.Start(ctx, o.Name, true, wait)
	}
	if err == nil && s.Failed() {
		err = a.ended(in, o.Name, s)
	}
	if err != nil {
		return errors.Join(err, in.Rollback(context.WithoutCancel(ctx)))
	}
	if err := in.Commit(); err != nil {
		return err
	}
	return a.begun(o.Name, o.ConfigPath(), s)
}

// ended is why a service doesn't run, as it said itself.
func (a *app) ended(in *systemd.Installer, name string, s systemd.State) error {
	code := s.Exit
	switch code {
	case ExitUsage, ExitUnavailable, ExitInternal, ExitTryAgain, ExitPermission, ExitConfig:
	default:
		code = ExitOther
	}
	h, known := readHealth(in, name)
	if !known || h.Trouble == nil {
		return fail(code, &advised{fmt.Errorf("%s doesn't run: %s, exit code %d", name, s.Result, s.Exit), "see its log: journalctl -u " + name})
	}
	return fail(code, &advised{fmt.Errorf("%s doesn't run: %s", name, oneLine(h.Trouble.Error)), oneLine(h.Trouble.Hint)})
}

// begun says how a service that was started is, and what to do next.
func (a *app) begun(name, file string, s systemd.State) error {
	if !s.Ready() {
		return notYet(name, s, "it goes on by itself as soon as it can; `livenessd status` tells how it is then")
	}
	fmt.Fprintf(a.Stdout, "%s is ready: %s\n", name, oneLine(s.Status))
	if file != "" {
		fmt.Fprintf(a.Stdout, "Next: name your camera and broker in %s, then `systemctl reload %s`; `livenessd status` tells how it is.\n", file, name)
	}
	return nil
}

// notYet is a service that runs and isn't ready.
func notYet(name string, s systemd.State, do string) error {
	return fail(ExitUnavailable, &advised{fmt.Errorf("%s runs, but isn't ready yet: %s", name, oneLine(cmp.Or(s.Status, "it has just begun"))), do})
}

// advised is an error with what to do.
type advised struct {
	error
	hint string
}

func (e *advised) Unwrap() error { return e.error }
func (e *advised) Hint() string  { return e.hint }

// oneLine takes out of a text what would move a terminal's cursor.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

func (a *app) uninstall() *cobra.Command {
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the service and take it away again",
		Long:  "Stops the service, and removes the unit and what install copied. Configuration, state and user stay, unless --purge is given.",
		Args:  usageArgs(cobra.NoArgs),
	}
	name := serviceFlags(c)
	purge := c.Flags().Bool("purge", false, "remove configuration, keys, models, verdicts that wait, bans, and the user, too")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := a.services().Uninstall(c.Context(), *name, *purge); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.Stdout, "%s isn't installed any more\n", *name)
		return err
	}
	return c
}

func (a *app) start() *cobra.Command {
	return a.starts("start", "Start the service, and wait until it is ready", false)
}

func (a *app) restart() *cobra.Command {
	return a.starts("restart", "Stop and start the service, and wait until it is ready", true)
}

func (a *app) starts(verb, short string, again bool) *cobra.Command {
	c := &cobra.Command{Use: verb, Short: short, Args: usageArgs(cobra.NoArgs)}
	name, wait := serviceFlags(c), waitFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		in := a.services()
		if err := a.installed(c.Context(), in, *name); err != nil {
			return err
		}
		s, err := in.Start(c.Context(), *name, again, *wait)
		if err != nil {
			return err
		}
		if s.Failed() {
			return a.ended(in, *name, s)
		}
		return a.begun(*name, "", s)
	}
	return c
}

func (a *app) stop() *cobra.Command {
	c := &cobra.Command{Use: "stop", Short: "Stop the service until the next start of the machine", Args: usageArgs(cobra.NoArgs)}
	name := serviceFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		in := a.services()
		if err := a.installed(c.Context(), in, *name); err != nil {
			return err
		}
		if err := in.Stop(c.Context(), *name); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.Stdout, "%s has ended\n", *name)
		return err
	}
	return c
}

// installed checks that this is root and that there is a service to be started or stopped.
func (a *app) installed(ctx context.Context, in *systemd.Installer, name string) error {
	if err := in.Check(); err != nil {
		return err
	}
	s, err := in.State(ctx, name)
	if err == nil && !s.Loaded {
		err = notInstalled(name)
	}
	return err
}

func notInstalled(name string) error {
	return fail(ExitUnavailable, &advised{fmt.Errorf("service %s isn't installed", name), "sudo livenessd install"})
}

var _ interface{ Hint() string } = (*advised)(nil)

// statusOutput is what status prints with --json.
type statusOutput struct {
	Service systemd.State  `json:"service"`
	Daemon  *daemon.Health `json:"daemon"` // null where it said nothing yet
}

func (a *app) status() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell how the service is: its unit, cameras, broker, last verdict and last trouble",
		Long: "Tells what systemd knows of the service, and what the service says of itself. It needs no root. Exit code: 0 where the service is ready,\n" +
			"69 where it isn't, or isn't installed.",
		Args: usageArgs(cobra.NoArgs),
	}
	name := serviceFlags(c)
	a.jsonFlag(c, "print one JSON object: service, daemon")
	c.RunE = func(c *cobra.Command, _ []string) error {
		in := a.services()
		if err := in.Present(); err != nil {
			return err
		}
		s, err := in.State(c.Context(), *name)
		if err != nil {
			return err
		}
		out := statusOutput{Service: s}
		if h, known := readHealth(in, *name); known {
			out.Daemon = &h
		}
		if a.json {
			if err := a.printJSON(out); err != nil {
				return err
			}
		} else if s.Loaded {
			a.printStatus(*name, out)
		}
		switch {
		case !s.Loaded:
			return notInstalled(*name)
		case s.Starting():
			return notYet(*name, s, "wait: it goes on by itself as soon as it can; `livenessd doctor` looks for what it waits for")
		case !s.Ready():
			return fail(ExitUnavailable, &advised{fmt.Errorf("%s isn't ready", *name), "`livenessd doctor` looks for the reason"})
		}
		return nil
	}
	return c
}

// readHealth reads what the service said of itself last.
func readHealth(in *systemd.Installer, name string) (daemon.Health, bool) {
	var h daemon.Health
	known := in.Said(name, &h) == nil
	return h, known
}

func (a *app) printStatus(name string, o statusOutput) {
	row := func(what, format string, args ...any) {
		fmt.Fprintf(a.Stdout, "%-13s %s\n", what, oneLine(fmt.Sprintf(format, args...)))
	}
	advice := func(hint string) {
		if hint != "" {
			fmt.Fprintf(a.Stdout, "%-13s → %s\n", "", oneLine(hint))
		}
	}
	at := func(t time.Time) string { return t.Local().Format(time.DateTime) }
	s, h := o.Service, o.Daemon
	is := s.Active + " (" + s.Sub + ")"
	if !s.Since.IsZero() {
		is += " since " + at(s.Since)
	}
	row("service", "%s: %s", name, is)
	row("unit", "%s, %s", s.File, s.Enabled)
	if s.Status != "" {
		row("says", "%s", s.Status)
	}
	row("restarts", "%d", s.Restarts)
	if s.Failed() {
		row("ended", "%s, exit code %d", s.Result, s.Exit)
	}
	if h == nil {
		return
	}
	if s.PID != 0 && h.PID == s.PID {
		for _, c := range h.Cameras {
			line := c.State + " since " + at(c.Since)
			if c.Mode != "" && c.State == "streaming" {
				line += ": " + c.Mode
			}
			line += c.Ails()
			if c.Error != "" {
				line += ": " + c.Error
			}
			row("camera "+c.Name, "%s", line)
			advice(c.Hint)
			advice(c.Advice)
		}
		for _, d := range h.Delegates {
			if d.Error != "" {
				row("delegate", "%s %s: %s", d.Delegate, d.State, d.Error)
				advice(d.Hint)
			} else if d.State == mqtt.DelegateUsed {
				row("delegate", "%s, %.2f ms a picture at the start", d.Delegate, d.Median)
			}
		}
		if b := h.Broker; b != nil {
			line := "connected"
			if !b.Connected {
				line = "away"
			}
			if b.Error != "" {
				line += ": " + b.Error
			}
			row("broker", "%s; %d verdicts wait", line, b.Queued)
			advice(b.Hint)
		}
		if len(h.Stuck) > 0 {
			row("stands still", "%s", strings.Join(h.Stuck, ", "))
		}
		if r := h.Refused; r != nil {
			row("configuration", "the old one stays: %s", r.Error)
			advice(r.Hint)
		}
	}
	if v := h.Verdict; v != nil {
		row("last verdict", "%s", strings.TrimSpace(v.Verdict+" "+v.Code)+", camera "+v.Camera+", at "+at(v.At))
	}
	if t := h.Trouble; t != nil {
		row("last trouble", "%s: %s", at(t.At), t.Error)
		advice(t.Hint)
	}
}
