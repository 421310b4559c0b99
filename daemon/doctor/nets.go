package doctor

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/tflite"
)

// nets is whether the models are those that their manifests vouch for, run, and answer the golden pictures as they did when they were made.
type nets struct{ p *Patient }

var _ Check = nets{}

func (c nets) Look(ctx context.Context) []Finding {
	cfg := c.p.Config
	detector, liveness, err := daemon.LoadModels(cfg)
	if err != nil {
		cause := Configuration
		switch {
		case errors.Is(err, fs.ErrPermission):
			cause = Permission
		case errors.Is(err, daemon.ErrInternal):
			cause = Internal
		}
		return []Finding{failure(cause, daemon.Hint(err), "%s", err).of("digests")}
	}
	all := []*models.Model{detector}
	for _, m := range liveness.Members {
		all = append(all, m.Model)
	}
	var out []Finding
	for _, m := range all {
		out = append(out, ok("%s %s for %s (%s), SHA-256 %s", m.Name, m.Version, m.Task, m.From, m.SHA256[:16]).of("digests"))
		if !strings.HasPrefix(m.From, "/") {
			continue
		}
		var d *denied
		if err := c.p.Host.reach(c.p.Account, m.From, mayRead|maySearch); errors.As(err, &d) {
			out = append(out, failure(Permission, "chmod -R a+rX "+m.From, "%s", err).of("digests"))
		}
	}
	if _, err := tflite.Load(tflite.LoadOptions{Path: cfg.Models.Runtime}); err != nil {
		return append(out, skipped("not run: there is no TensorFlow Lite library").of("self-test"))
	}
	if c.p.Try != nil {
		if err := c.p.Try(ctx, cfg); err != nil {
			return append(out, failure(Configuration, hintOr(err, "choose another model, or none for the shipped one"), "%s", err).of("self-test"))
		}
	}
	return append(out, c.selfTest(ctx, cfg)...)
}

// selfTest goes through the preference of delegates as the daemon does, and says where it ends. An accelerator that a daemon may be using isn't
// touched: it says itself what became of it.
func (c nets) selfTest(ctx context.Context, cfg config.Config) []Finding {
	var out []Finding
	if running := c.p.Daemon.Delegates; len(running) > 0 {
		for _, t := range running {
			out = append(out, accelerator(t)...)
		}
		cfg.Inference.Delegate = slices.DeleteFunc(slices.Clone(cfg.Inference.Delegate), config.Delegate.Accelerator)
		if len(cfg.Inference.Delegate) == 0 {
			return append(out, skipped("not run: the daemon that runs has the accelerator").of("self-test"))
		}
	}
	e, err := c.p.Engine(ctx, cfg)
	var none *daemon.NoDelegate
	switch {
	case errors.As(err, &none):
		for _, t := range none.Tried {
			out = append(out, failure(Internal, t.Hint, "delegate %s can't be used: %s", t.Delegate, t.Error).of("self-test"))
		}
		return out
	case err != nil:
		return append(out, failure(Internal, hintOr(err, "see the hint of the check before"), "%s", err).of("self-test"))
	}
	for i, t := range e.Delegates() {
		switch {
		case t.State == mqtt.DelegateRefused:
			out = append(out, warning(t.Hint, "delegate %s can't be used: %s", t.Delegate, t.Error).of("self-test"))
		case t.State == mqtt.DelegateUsed && i > 0:
			out = append(out, warning("see why the better one failed; until then frames take longer", "the nets fall back to delegate %s, %.2f ms a picture",
				t.Delegate, t.Median).of("self-test"))
		case t.State == mqtt.DelegateUsed:
			f := ok("both nets answer the golden pictures as recorded, with delegate %s, %.2f ms a picture", t.Delegate, t.Median)
			if t.Delegate == config.CPU {
				f.Seen += ", which is slow: xnnpack takes a fraction of the time"
			}
			if t.Note != "" {
				f.Seen += "; " + t.Note
			}
			out = append(out, f.of("self-test"))
		}
	}
	return out
}

// accelerator is what a daemon that runs says of a delegate.
func accelerator(t daemon.Tried) []Finding {
	switch t.State {
	case mqtt.DelegateRefused, mqtt.DelegateResting:
		when := ""
		if !t.Until.IsZero() {
			when = "; it is tried again at " + t.Until.UTC().Format(time.DateTime) + " UTC"
		}
		return []Finding{warning(t.Hint, "the daemon doesn't use delegate %s (%s): %s%s", t.Delegate, t.State, t.Error, when).of("delegate")}
	case mqtt.DelegateUsed:
		return []Finding{ok("the daemon uses delegate %s, %.2f ms a picture at its start", t.Delegate, t.Median).of("delegate")}
	}
	return nil
}

func hintOr(err error, other string) string {
	if h := daemon.Hint(err); h != "" {
		return h
	}
	return other
}
