package daemon

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

// bulb is a camera whose face is as bright as its exposure time and gain make it.
type bulb struct {
	Camera
	light camera.Light
	set   []string
}

func (b *bulb) Light() camera.Light { return b.light }

func (b *bulb) SetLight(s *camera.LightSetting) {
	if s == nil {
		b.set = append(b.set, "back")
		return
	}
	b.set = append(b.set, fmt.Sprintf("%d/%d/%d", s.Time, s.Gain, s.Brightness))
}

func TestAFacesLightMovesTheCamerasControls(t *testing.T) {
	control := func(least, most, now int32) camera.Control {
		return camera.Control{Type: camera.ControlInteger, Min: least, Max: most, Step: 1, Value: now}
	}
	b := &bulb{light: camera.Light{Opened: 1, Time: control(1, 5000, 300), Gain: control(0, 100, 10)}}
	d := newDimming(b, config.Camera{Exposure: config.FaceExposure})
	now := time.Unix(1000, 0)
	show := func(seconds int, luma float64, main int) {
		f := Finding{Main: main, Faces: []models.Face{{}}, Look: decision.Look{Known: true, Luma: luma}}
		for range 15 * seconds {
			now = now.Add(time.Second / 15)
			d.frame(now, &f, 15)
		}
	}
	show(3, 118, 0)
	if len(b.set) != 0 {
		t.Errorf("a face that is well: %q", b.set)
	}
	show(3, 50, 0)
	// The driver could expose for longer, but then 333 × 100 µs would blur who moves.
	if len(b.set) < 2 || b.set[0][:4] != "333/" || !slices.IsSorted(b.set[:2]) {
		t.Errorf("a dark face: %q", b.set)
	}
	show(5, 50, -1)
	if last := b.set[len(b.set)-1]; last != "back" {
		t.Errorf("the face has gone, and the last is %q", last)
	}
	n := len(b.set)
	b.light.Opened, b.light.Gain, b.light.Time = 2, camera.Control{}, camera.Control{}
	b.light.Brightness = control(0, 255, 128)
	show(3, 50, 0)
	if len(b.set) == n || b.set[n][:4] != "0/0/" {
		t.Errorf("another camera, which has brightness alone: %q", b.set[n:])
	}
	b.light = camera.Light{}
	n = len(b.set)
	show(3, 250, 0)
	if len(b.set) != n {
		t.Errorf("a camera without controls: %q", b.set[n:])
	}
}

func TestExposureIsLeftToTheCameraUnlessAFaceIsWanted(t *testing.T) {
	for _, c := range []config.Camera{config.DefaultCamera(), {Exposure: config.FaceExposure, Role: config.IR}} {
		if newDimming(&bulb{}, c) != nil {
			t.Errorf("%+v", c)
		}
	}
	if newDimming(&world{}, config.Camera{Exposure: config.FaceExposure}) != nil {
		t.Error("a camera that has no light to set")
	}
	var none *dimming
	none.frame(time.Now(), &Finding{Main: -1}, 0)
}
