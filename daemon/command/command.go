// Package command is the command line of livenessd: what contract calls its subcommands, flags and exit codes. Data goes to
// standard output, logs and complaints to standard error. Each subcommand is a file and is testable through Main.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/systemd"
)

// Exit codes, after sysexits.h.
const (
	ExitOK          = 0
	ExitOther       = 1
	ExitUsage       = 64
	ExitUnavailable = 69 // a needed device or service is absent
	ExitInternal    = 70
	ExitTryAgain    = 75
	ExitPermission  = 77
	ExitConfig      = 78
)

// Process is what a command has of the world.
type Process struct {
	Args           []string
	Stdout, Stderr io.Writer
	Version        string
	Services       *systemd.Installer // keeps services; nil: this machine's systemd
}

// failure is an error that knows its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(code int, err error) error {
	if err == nil {
		return nil
	}
	return &failure{code, err}
}

// failConfig gives the exit code for a configuration that can't be used: whoever may not read the file isn't told that it is wrong.
func failConfig(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fail(ExitPermission, err)
	}
	return fail(ExitConfig, err)
}

// app is what the subcommands share.
type app struct {
	Process
	configPath string
	json       bool
	stuck      chan error // a call into a library doesn't return: nothing but the end of the process helps
}

// Main runs one command line and gives the exit code.
func Main(ctx context.Context, p Process) int {
	a := &app{Process: p, stuck: make(chan error, 1)}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	var err error
	select {
	case err = <-done:
	case err = <-a.stuck: // the command is inside a library, and won't come back
	}
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(p.Stderr, "livenessd: %s\n", strings.TrimRight(err.Error(), "\n"))
	if hint := daemon.Hint(err); hint != "" {
		fmt.Fprintf(p.Stderr, "  → %s\n", hint)
	}
	return exitCode(err)
}

// Tree is the command line with all its commands and flags, for whatever is written about it: man pages, completions. Main runs it.
func Tree(p Process) *cobra.Command {
	root := (&app{Process: p}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

func exitCode(err error) int {
	var f *failure
	var problems config.Problems
	switch {
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, daemon.ErrAgain): // whatever else there is to say
		return ExitTryAgain
	case errors.As(err, &problems):
		return ExitConfig
	case errors.Is(err, systemd.ErrOption):
		return ExitUsage
	case errors.Is(err, systemd.ErrNoSystemd):
		return ExitUnavailable
	case errors.Is(err, fs.ErrPermission), errors.Is(err, systemd.ErrNotRoot):
		return ExitPermission
	case errors.Is(err, daemon.ErrConfig):
		return ExitConfig
	case errors.Is(err, daemon.ErrUnavailable):
		return ExitUnavailable
	case errors.Is(err, daemon.ErrInternal):
		return ExitInternal
	}
	return ExitOther
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "livenessd",
		Short: "Tells living faces from prints, screens and masks, at the camera, and publishes verdicts over MQTT",
		Long: "livenessd takes frames from a V4L2 camera, decides on the device whether the face in front of it is a living person\n" +
			"or a presentation attack, and publishes a verdict over MQTT. No pictures leave the device.",
		SilenceErrors: true, SilenceUsage: true,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "configuration file (default: /etc/livenessd/livenessd.yaml if it is there)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fail(ExitUsage, fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
	})
	root.AddCommand(a.run(), a.demo(), a.check(), a.cameras(), a.score(), a.evaluate(), a.calibrate(), a.bench(), a.models(), a.keys(), a.watch(), a.console(), a.doctor(), a.version())
	root.AddCommand(a.install(), a.uninstall(), a.start(), a.stop(), a.restart(), a.status())
	return root
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return fail(ExitUsage, fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
		}
		return nil
	}
}

func (a *app) jsonFlag(c *cobra.Command, usage string) {
	c.Flags().BoolVar(&a.json, "json", false, usage)
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (a *app) load() (config.Config, error) {
	c, err := config.Load(a.configPath)
	return c, failConfig(err)
}

// logger writes to standard error as the configuration says.
func (a *app) logger(c config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Log.SlogLevel()}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.Stderr, o))
}
