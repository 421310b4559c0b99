package doctor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
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
	return append(out, selfTest(cfg)...)
}

// selfTest goes through the preference of delegates as the daemon does, and says where it ends.
func selfTest(cfg config.Config) []Finding {
	var out []Finding
	for i, name := range cfg.Inference.Delegate {
		one := cfg
		one.Inference.Delegate = config.Preference{name}
		e, err := daemon.OpenEngine(one, slog.New(slog.DiscardHandler))
		if err == nil {
			f := ok("both nets answer the golden pictures as recorded, with delegate %s", e.Delegate())
			switch {
			case i > 0:
				f = warning("see why the better one failed; until then frames take longer", "the nets fall back to delegate %s", e.Delegate())
			case name == tflite.None:
				f.Seen += ", which is slow: xnnpack takes a fraction of the time"
			}
			return append(out, f.of("self-test"))
		}
		out = append(out, warning(hintOr(err, ""), "delegate %s can't be used: %s", name, err).of("self-test"))
	}
	if len(out) == 0 {
		return []Finding{failure(Configuration, "name at least one of xnnpack and none", "inference.delegate is empty").of("self-test")}
	}
	for i := range out {
		out[i].Level, out[i].Cause = Failure, Internal
	}
	return out
}

func hintOr(err error, other string) string {
	if h := daemon.Hint(err); h != "" {
		return h
	}
	return other
}
