package command

import (
	"context"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models/silentface"
	"github.com/livenessd/livenessd/tflite"
)

// silentFace is what is made on this machine instead of being taken from a bundle.
const silentFace = "silent-face"

// installSilentFace makes upstream's nets. They need no probe: this program wrote the files, and let them answer. They have no
// signature either, so keys aren't asked for here; whoever loads them asks.
func (a *app) installSilentFace(ctx context.Context, cfg config.Config, from string, force bool) ([]installRow, error) {
	rt, err := tflite.Load(tflite.LoadOptions{Path: cfg.Models.Runtime})
	if err != nil {
		return nil, fail(ExitUnavailable, err)
	}
	done, err := silentface.Install(ctx, silentface.Options{From: from, Directory: cfg.Models.Directory, Runtime: rt,
		Delegate: cfg.Inference.Delegate.Processor(), Log: a.logger(cfg), Force: force})
	var rows []installRow
	for _, i := range done {
		rows = append(rows, newInstallRow(i))
	}
	return rows, err // a full disk may come after the first of them
}
