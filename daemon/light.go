package daemon

import (
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/expose"
)

// Dimmer is a camera that can be made brighter and darker.
type Dimmer interface {
	Light() camera.Light
	SetLight(*camera.LightSetting)
}

var _ Dimmer = (*camera.Camera)(nil)

// longestExposure is how long a frame may be exposed, in units of 100 µs: a face that moves is blurred by more.
const longestExposure = 333

// dimming lets a meter set a camera's light by the face that counts.
type dimming struct {
	camera Dimmer
	meter  expose.Meter
	opened uint64
}

// newDimming is nil for a camera that is left to itself.
func newDimming(cam Camera, c config.Camera) *dimming {
	d, can := cam.(Dimmer)
	if !can || c.Exposure != config.FaceExposure || c.Role == config.IR {
		return nil
	}
	return &dimming{camera: d}
}

// Exposing is what run does about a camera's exposure after each frame that was examined, for whoever looks through a camera as run does.
func Exposing(cam Camera, c config.Camera) func(at time.Time, f *Finding) {
	d := newDimming(cam, c)
	return func(at time.Time, f *Finding) {
		if d != nil {
			d.frame(at, f, cam.Status().FPS)
		}
	}
}

// frame looks at what was found in a frame. fps is the rate that the driver promises, 0 where it doesn't.
func (d *dimming) frame(at time.Time, f *Finding, fps float64) {
	if d == nil {
		return
	}
	l := d.camera.Light()
	if l.Opened == 0 {
		return
	}
	c := metered(&l, fps)
	if l.Opened != d.opened {
		d.opened = l.Opened
		d.meter.Opened(c)
	}
	d.meter.Know(c)
	switch do, s := d.meter.Frame(at, f.Look.Luma, f.Main >= 0 && f.Look.Known); do {
	case expose.Set:
		d.camera.SetLight(&camera.LightSetting{Time: s.Time, Gain: s.Gain, Brightness: s.Brightness})
	case expose.Release:
		d.camera.SetLight(nil)
	}
}

// metered is what a camera has, as a meter wants it.
func metered(l *camera.Light, fps float64) expose.Controls {
	r := func(c *camera.Control) expose.Range {
		if c.Type == "" {
			return expose.Range{}
		}
		return expose.Range{Min: c.Min, Max: c.Max, Step: c.Step, Now: c.Value}
	}
	c := expose.Controls{Time: r(&l.Time), Gain: r(&l.Gain), Brightness: r(&l.Brightness)}
	if l.Time.Type != "" {
		most := int32(longestExposure)
		if fps > 0 {
			most = min(most, int32(10000/fps)) // longer ones would make the camera slower
		}
		c.Time.Max = max(min(c.Time.Max, most), c.Time.Min)
	}
	return c
}
