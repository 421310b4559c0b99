package command

import (
	"fmt"
	"os"
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

func (a *app) modelsProbeChild() *cobra.Command {
	return &cobra.Command{
		Use: probeChild, Hidden: true, Short: "What a probe runs in its child process", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return models.ServeProbe(os.Stdin, a.Stdout)
		},
	}
}
