package daemon

import (
	"log/slog"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
)

// CameraOptions is what a configuration says of a camera: for the daemon, and for whoever looks through it as the daemon does. nil logs
// nothing.
func CameraOptions(name string, c config.Camera, log *slog.Logger) camera.Options {
	return camera.Options{Name: name, Path: c.Path, Format: c.Format, Width: c.Size.Width, Height: c.Size.Height, FPS: c.FPS, Loop: true,
		Rotate: c.Rotate, Mirror: c.Mirror, Region: camera.Region(c.Region), Controls: c.Controls, Identity: c.Identity, AllowVirtual: c.AllowVirtual,
		Light: c.Exposure == config.FaceExposure, Log: log}
}
