package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/tflite"
)

// probeChild is the hidden command that a probe runs in a child process.
const probeChild = "probe-child"

func (a *app) modelsProbe() *cobra.Command {
	c := &cobra.Command{
		Use:   "probe NAME|DIR",
		Short: "Try a model in a child process",
		Long: "Loads a model in a child process that is limited in time and memory, and lets it look at some pictures: its answers must be\n" +
			"numbers, the same for the same picture, and not the same for all. NAME is a model in models.directory, DIR a bundle's folder.\n" +
			"A file that crashes or hangs the library ends the child alone. The probe says nothing of how good a model is.",
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	limit := c.Flags().Duration("limit", time.Minute, "how long the child may take")
	a.jsonFlag(c, "print one JSON object")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *limit < time.Second || *limit > time.Hour {
			return fail(ExitUsage, fmt.Errorf("--limit %v: from 1s to 1h", *limit))
		}
		cfg, trust, err := a.loadWithKeys()
		if err != nil {
			return err
		}
		p, err := a.prober(cfg, trust, *limit)
		if err != nil {
			return err
		}
		r, err := p.Probe(c.Context(), daemon.ModelFolder(cfg, args[0]))
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(r)
		}
		_, err = fmt.Fprintf(a.Stdout, "%s %s for %s runs: %d pictures, %.2f ms each (delegate %s)\n", r.Name, r.Version, r.Task, r.Runs, r.Median, r.Delegate)
		return err
	}
	return c
}

// loadWithKeys reads the configuration, and the keys that it trusts.
func (a *app) loadWithKeys() (config.Config, *models.Trust, error) {
	cfg, err := a.load()
	if err != nil {
		return cfg, nil, err
	}
	trust, err := daemon.Trust(cfg)
	return cfg, trust, err
}

// prober tries models as this configuration would run them, in children that are this program.
func (a *app) prober(cfg config.Config, trust *models.Trust, limit time.Duration) (*models.Prober, error) {
	// Without a runtime no model runs; that is said here, with the paths that were tried.
	if _, err := tflite.Load(tflite.LoadOptions{Path: cfg.Models.Runtime}); err != nil {
		return nil, fail(ExitUnavailable, err)
	}
	return a.proberOf(cfg, trust, limit)
}

func (a *app) proberOf(cfg config.Config, trust *models.Trust, limit time.Duration) (*models.Prober, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("command: find this program: %w", err)
	}
	p := &models.Prober{Command: []string{self, "models", probeChild}, Limit: limit, Runtime: cfg.Models.Runtime, Trust: trust}
	for _, delegate := range cfg.Inference.Delegate {
		p.Options = append(p.Options, models.Options{Threads: cfg.Inference.Threads, Delegate: delegate})
	}
	return p, nil
}

// tryModels tries the configuration's models in child processes before this one runs them; those inside the program needn't be. A
// bundle that was put into its folder by hand, or changed after it was installed, was never tried, and its digest says only that
// the file is the manifest's. Nothing is remembered from one start to the next: a library and a delegate can change as well.
func (a *app) tryModels(ctx context.Context, cfg config.Config) error {
	names := []string{cfg.Models.Detector}
	for _, m := range cfg.Models.Liveness {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name == "" || name == config.ShippedModel {
			continue
		}
		trust, err := daemon.Trust(cfg)
		if err != nil {
			return err
		}
		p, err := a.proberOf(cfg, trust, time.Minute)
		if err != nil {
			return err
		}
		_, err = p.Probe(ctx, daemon.ModelFolder(cfg, name))
		var e *models.ProbeError
		switch {
		case err == nil:
		case errors.As(err, &e) && (e.Stage == models.StageBundle || e.Stage == models.StageRuntime):
			// Refused before the library saw it; so it will be here, where it is known what else may be wrong.
		case errors.As(err, &e):
			return fail(ExitConfig, err)
		default:
			return err
		}
	}
	return nil
}

// openEngine opens the configuration's engine once its models were tried.
func (a *app) openEngine(ctx context.Context, cfg config.Config) (*daemon.Engine, error) {
	if err := a.tryModels(ctx, cfg); err != nil {
		return nil, err
	}
	return daemon.OpenEngine(cfg, slog.New(slog.DiscardHandler))
}

func (a *app) modelsProbeChild() *cobra.Command {
	return &cobra.Command{
		Use: probeChild, Hidden: true, Short: "What a probe runs in its child process", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return models.ServeProbe(os.Stdin, a.Stdout)
		},
	}
}
