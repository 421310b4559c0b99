package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/tflite"
)

// library is whether TensorFlow Lite can be loaded.
type library struct{ p *Patient }

var _ Check = library{}

func (c library) Look(context.Context) []Finding {
	rt, err := tflite.Load(tflite.LoadOptions{Path: c.p.Config.Models.Runtime})
	if err != nil {
		return []Finding{failure(Absent, daemon.Hint(err), "%s", err)}
	}
	if filepath.IsAbs(rt.Path()) {
		var d *denied
		if err := c.p.Host.reach(c.p.Account, rt.Path(), mayRead); errors.As(err, &d) {
			return []Finding{failure(Permission, "chmod a+r "+rt.Path(), "%s", err)}
		}
	}
	from := rt.Path()
	if c.p.Config.Models.Runtime == "" && os.Getenv(tflite.LibraryVariable) != "" {
		from += ", named by " + tflite.LibraryVariable + " of this shell, which the service doesn't see"
	}
	if !strings.HasPrefix(rt.Version(), "2.9.") && slices.ContainsFunc(c.p.Config.Inference.Delegate, func(d config.Delegate) bool { return d.Name == config.XNNPACK }) {
		return []Finding{warning("use version 2.9, or write inference: {delegate: [cpu]} and live with slow nets",
			"TensorFlow Lite %s (%s): XNNPACK is used with 2.9 alone", rt.Version(), from)}
	}
	return []Finding{ok("TensorFlow Lite %s (%s)", rt.Version(), from)}
}
