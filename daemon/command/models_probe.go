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
			"numbers, the same for the same picture, and not the same for all. Then each accelerator of inference.delegate is tried on it. NAME is a model in models.directory, DIR a bundle's folder.\n" +
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
		tried, err := a.tryOn(c.Context(), cfg, trust, daemon.ModelFolder(cfg, args[0]))
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(probeOutput{r, tried})
		}
		fmt.Fprintf(a.Stdout, "%s %s for %s runs: %d pictures, %.2f ms each (delegate %s)\n", r.Name, r.Version, r.Task, r.Runs, r.Median, r.Delegate)
		return a.printTried(tried)
	}
	return c
}

// probeOutput is what a model did, and what the configuration's accelerators made of it.
type probeOutput struct {
	models.ProbeReport
	Delegates []daemon.Tried `json:"delegates,omitempty"`
}

// printTried prints what became of delegates, each with what to do about it.
func (a *app) printTried(all []daemon.Tried) error {
	for _, t := range all {
		line := fmt.Sprintf("delegate %s: %s", t.Delegate, t.State)
		if t.Median > 0 {
			line += fmt.Sprintf(", %.2f ms a picture, all nets together", t.Median)
		}
		for _, more := range []string{t.Error, t.Note} {
			if more != "" {
				line += ": " + oneLine(more)
			}
		}
		if t.Hint != "" {
			line += "\n  → " + oneLine(t.Hint)
		}
		if _, err := fmt.Fprintln(a.Stdout, line); err != nil {
			return err
		}
	}
	return nil
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
	// What an accelerator does isn't to be held against a model: they are tried by themselves.
	for _, d := range cfg.Inference.Delegate {
		if !d.Accelerator() {
			p.Options = append(p.Options, daemon.ModelOptions(cfg.Inference, d))
		}
	}
	return p, nil
}

// tryDelegate tries an accelerator in a child process.
func (a *app) tryDelegate(ctx context.Context, cfg config.Config, detector *models.Model, liveness []*models.Model, o models.Options) (models.Trial, error) {
	trust, err := daemon.Trust(cfg)
	if err != nil {
		return models.Trial{}, err
	}
	p, err := a.proberOf(cfg, trust, probing)
	if err != nil {
		return models.Trial{}, err
	}
	return p.TryDelegate(ctx, detector, liveness, o)
}

// opener opens engines whose accelerators were tried in children.
func (a *app) opener(log *slog.Logger) daemon.Opener {
	return daemon.Opener{Log: log, Try: a.tryDelegate}
}

// tryOn tries the configuration's accelerators on a model, beside the shipped one for the other task.
func (a *app) tryOn(ctx context.Context, cfg config.Config, trust *models.Trust, folder string) ([]daemon.Tried, error) {
	m, err := trust.LoadFolder(folder)
	if err != nil {
		return nil, err
	}
	other := models.FaceDetection
	if m.Task == other {
		other = models.LivenessTask
	}
	o, err := models.Shipped(other)
	if err != nil {
		return nil, fail(ExitInternal, err)
	}
	detector, liveness := o, []*models.Model{m}
	if m.Task == models.FaceDetection {
		detector, liveness = m, []*models.Model{o}
	}
	return a.opener(slog.New(slog.DiscardHandler)).TryAccelerators(ctx, cfg, detector, liveness)
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

// openEngine opens the configuration's engine once its models were tried, and watches it for as long as the command runs.
func (a *app) openEngine(ctx context.Context, cfg config.Config) (*daemon.Engine, error) {
	if err := a.tryModels(ctx, cfg); err != nil {
		return nil, err
	}
	e, err := a.opener(slog.New(slog.DiscardHandler)).Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	go func() {
		if err := e.Watch(ctx); err != nil {
			a.stuck <- err
		}
	}()
	return e, nil
}

func (a *app) modelsProbeChild() *cobra.Command {
	return &cobra.Command{
		Use: probeChild, Hidden: true, Short: "What a probe runs in its child process", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return models.ServeProbe(os.Stdin, a.Stdout)
		},
	}
}
