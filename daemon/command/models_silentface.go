package command

import (
	"context"
	"errors"

	"github.com/livenessd/livenessd/daemon/config"
)

// silentFace is what is made on the machine instead of being taken from a bundle.
const silentFace = "silent-face"

func (a *app) installSilentFace(ctx context.Context, cfg config.Config, from string) ([]installRow, error) {
	return nil, fail(ExitUnavailable, errors.New("models: install silent-face: this build can't"))
}
