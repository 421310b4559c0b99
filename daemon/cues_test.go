package daemon

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
)

// plaid is a picture with something in it.
func plaid(level byte) []byte {
	out := make([]byte, 64*48)
	for i := range out {
		out[i] = level + byte(i%64+i/64)
	}
	return out
}

// with gives steps other pictures.
func with(steps []step, picture func(i int) []byte) []step {
	for i := range steps {
		steps[i].picture = picture(i)
	}
	return steps
}

func TestAnInfraredCameraGivesNoVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := living
		broken.findErr = errBroken
		pair := new(cue.Pair)
		w := &world{steps: script(with(times(30, living), func(int) []byte { return plaid(100) }), times(30, broken),
			times(1, status(camera.StateRecovering, "CAMERA_LOST")))}
		var log bytes.Buffer
		p := w.start(t, &log)
		p.sees = pair
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		seen := 0
		time.AfterFunc(2950*time.Millisecond, func() { seen = len(pair.Faces(time.Now())) })
		if err := p.run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []string{"state streaming", "state failed PROCESSING_ERR", "state recovering CAMERA_LOST"}; !slices.Equal(w.said, want) {
			t.Errorf("said %q, want %q", w.said, want)
		}
		if seen != 1 || w.judged != 0 {
			t.Errorf("%d faces are left for the camera beside it, and %d were judged", seen, w.judged)
		}
	})
}

func TestTheConfigurationSaysWhichCuesWatch(t *testing.T) {
	frozen := func(w *cue.Watch) (said bool) {
		for i := range 30 {
			m := camFrame(plaid(40), time.Unix(0, 0).Add(time.Duration(i)*100*time.Millisecond))
			said = len(w.Frame(m.Captured, &m.Image, &cue.Box{X: 20, Y: 10, W: 20, H: 28})) > 0
		}
		return said
	}
	on := config.Default()
	off := config.Default()
	off.Decision.Cues = config.Cues{Repeat: config.Off, Flat: config.Off, Infrared: config.Off}
	rgb, replay := config.Camera{Path: "/dev/video0"}, config.Camera{Path: "replay:x"}
	for _, tt := range []struct {
		name string
		c    config.Config
		cam  config.Camera
		pair *cue.Pair
		want bool
	}{
		{"a device", on, rgb, nil, true}, {"a replay", on, replay, nil, false}, {"off", off, rgb, nil, false},
		{"a replay with a pair that sees nothing", on, replay, new(cue.Pair), true}, {"off, with a pair", off, rgb, new(cue.Pair), false},
	} {
		if got := frozen(NewWatch(tt.c, tt.cam, tt.pair)); got != tt.want {
			t.Errorf("%s: a frozen camera is doubted: %v", tt.name, got)
		}
	}
}
