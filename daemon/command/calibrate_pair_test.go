package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/models"
)

// walk is somebody who walks about in front of two cameras, whom both finders see. It runs inside a synctest bubble.
type walk struct {
	to     cue.Affine
	others int // faces beside
	silent int // sides whose camera gives no frames
	err    error
}

// side is one of the two cameras.
type side struct {
	w             *walk
	width, height int
	state         camera.Status
}

var (
	_ daemon.Camera = (*side)(nil)
	_ daemon.Finder = (*walk)(nil)
)

func (s *side) Next(ctx context.Context) (*frame.Frame, error) {
	if s.w.silent == s.width {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(50 * time.Millisecond) // in the bubble's time
	if s.w.err != nil {
		return nil, s.w.err
	}
	pix := bytes.Repeat([]byte{120}, s.width*s.height)
	return &frame.Frame{Image: frame.Grey(pix, s.width, s.height, s.width), Captured: time.Now()}, nil
}

func (s *side) Status() camera.Status { return s.state }
func (s *side) Close() error          { return nil }

// Detect knows the cameras apart by the sizes of their pictures. Nobody moves while a pair of frames is taken.
func (w *walk) Detect(m *frame.Image) ([]models.Face, error) {
	t := float64(time.Now().UnixMilli()/100) / 10
	b := cue.Box{X: 0.3 + 0.2*math.Sin(t), Y: 0.3 + 0.15*math.Cos(1.3*t), W: 0.2, H: 0.3}
	if m.Width == 32 {
		b = w.to.Box(b)
	}
	k, l := float64(m.Width), float64(m.Height)
	faces := []models.Face{{Box: models.Box{X: b.X * k, Y: b.Y * l, W: b.W * k, H: b.H * l}, Score: 1}}
	for range w.others {
		faces = append(faces, faces[0])
	}
	return faces, nil
}

func TestWhereAPairSeesWhatACameraSees(t *testing.T) {
	truth := cue.Affine{0.8, 0, 0.1, 0, 0.9, -0.05}
	broken := errors.New("out of order")
	for _, tt := range []struct {
		name  string
		walk  walk
		state camera.Status
		found bool
		err   error
	}{
		{"somebody walks about", walk{to: truth}, camera.Status{}, true, nil},
		{"two people", walk{to: truth, others: 1}, camera.Status{}, false, nil},
		{"an infrared camera that gives nothing", walk{to: truth, silent: 32}, camera.Status{}, false, nil},
		{"an infrared camera that can't be used", walk{to: truth, silent: 32}, camera.Status{State: camera.StateFailed, Err: "refused"}, false, errCamera},
		{"a camera that ends", walk{to: truth, err: broken}, camera.Status{}, false, broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rgb, ir := &side{w: &tt.walk, width: 64, height: 48}, &side{w: &tt.walk, width: 32, height: 24, state: tt.state}
				l := pairLearner{rgb: rgb, ir: ir, find: &tt.walk, now: time.Now, out: io.Discard}
				start := time.Now()
				got, err := l.matches(t.Context())
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				if took := time.Since(start); took > pairFor+time.Second {
					t.Errorf("it took %v", took)
				}
				if !tt.found {
					if len(got) > 0 {
						t.Errorf("%d matches", len(got))
					}
					return
				}
				m, off, err := cue.Fit(got)
				if err != nil {
					t.Fatal(err)
				}
				for i := range m {
					if math.Abs(m[i]-truth[i]) > 0.05 {
						t.Errorf("%v, off by %v, want %v", m, off, truth)
						break
					}
				}
			})
		})
	}
}

func TestCalibratingAPairNeedsOne(t *testing.T) {
	for _, args := range []string{"calibrate --pair front --write", "calibrate --pair=", "calibrate --pair nobody"} {
		if r := call(t, append(strings.Fields(args), withConfig(t, "cameras: {front: {}}\n"))...); r.code != ExitUsage || r.out != "" || r.errors == "" {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func TestNumbersOfAMapAreShort(t *testing.T) {
	for v, want := range map[float64]string{1: "1", 0: "0", -0.00001: "0", 0.123456: "0.1235", -0.5: "-0.5"} {
		if got, err := json.Marshal(cut4(v)); err != nil || string(got) != want {
			t.Errorf("%v is %s, %v", v, got, err)
		}
	}
}
