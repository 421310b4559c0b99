package daemon

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/models"
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

func TestWhatDoubtsMakeOfALivingPerson(t *testing.T) {
	same := func(int) []byte { return plaid(40) }
	other := func(i int) []byte { // a sensor's pictures are never the same
		p := plaid(40)
		p[0], p[1] = byte(i), byte(i>>8)
		return p
	}
	beside := func(picture []byte, faces ...models.Face) func(*world) {
		return func(w *world) {
			w.beside = func() {
				m := camFrame(picture, time.Now())
				w2 := &world{now: step{faces: faces}}
				ir := w2.start(t, io.Discard)
				ir.sees = w.cues.Pair
				ir.frame(m)
			}
			w.cues.Pair = new(cue.Pair)
			w.cues.Required = true
		}
	}
	tests := []struct {
		name  string
		steps []step
		world func(*world)
		want  string // the last verdict
	}{
		{"a camera that moves on", with(times(60, living), other), func(w *world) { w.cues.Repeat = true }, "verdict live allow"},
		{"a camera that is frozen from the beginning", script(with(times(20, step{}), same), with(times(100, living), same)),
			func(w *world) { w.cues.Repeat = true }, "verdict undecided CAMERA_SUSPECT deny"},
		{"a camera that is frozen, and nobody asks", with(times(60, living), same), func(*world) {}, "verdict live allow"},
		{"an infrared camera that sees the face", with(times(60, living), other), beside(plaid(100), somebody), "verdict live allow"},
		{"an infrared camera that sees nobody", with(times(60, living), other), beside(plaid(100)), "verdict spoof PAD_ATTACK deny"},
		{"an infrared camera without light", with(times(100, living), other), beside(nil), "verdict undecided TOO_DARK deny"},
		{"an infrared camera that is lost", with(times(100, living), other), func(w *world) { w.cues.Pair, w.cues.Required = new(cue.Pair), true },
			"verdict undecided CAMERA_LOST deny"},
		{"an attack, whatever infrared sees", with(times(60, attacked), other), beside(plaid(100), somebody), "verdict spoof PAD_ATTACK deny"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{steps: tt.steps}
				tt.world(w)
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				if err := w.start(t, io.Discard).run(ctx); err != nil {
					t.Fatal(err)
				}
				said := slices.DeleteFunc(w.said, func(s string) bool { return !strings.HasPrefix(s, "verdict") })
				if len(said) == 0 || said[len(said)-1] != tt.want {
					t.Errorf("said %q, want %q last", said, tt.want)
				}
				if tt.want != "verdict live allow" && slices.Contains(said, "verdict live allow") {
					t.Errorf("live before the doubt: %q", said)
				}
			})
		})
	}
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
		var seen atomic.Int32
		time.AfterFunc(2950*time.Millisecond, func() { seen.Store(int32(len(pair.Faces(time.Now())))) })
		if err := p.run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []string{"state streaming", "state failed PROCESSING_ERR", "state recovering CAMERA_LOST"}; !slices.Equal(w.said, want) {
			t.Errorf("said %q, want %q", w.said, want)
		}
		if seen.Load() != 1 || w.judged != 0 {
			t.Errorf("%d faces are left for the camera beside it, and %d were judged", seen.Load(), w.judged)
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
