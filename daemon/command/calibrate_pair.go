package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/models"
)

const (
	pairFor  = 30 * time.Second
	pairFull = 150 // matches that are enough
)

// pairResult is what calibrate --pair says.
type pairResult struct {
	Schema  int     `json:"schema"`
	Camera  string  `json:"camera"`
	Pair    string  `json:"pair"`
	Map     [6]cut4 `json:"pair_map"`
	Matches int     `json:"matches"`
	Off     cut4    `json:"median_off_in_face_widths"`
}

// cut4 is a number of four decimals, which is more than a face's box is worth.
type cut4 float64

func (v cut4) String() string {
	s := strings.TrimRight(strconv.FormatFloat(float64(v), 'f', 4, 64), "0")
	if s = strings.TrimSuffix(s, "."); s == "-0" {
		return "0"
	}
	return s
}

func (v cut4) MarshalJSON() ([]byte, error) { return []byte(v.String()), nil }

// calibratePair learns where what a camera sees is in its pair's picture, and prints the line for the configuration.
func (a *app) calibratePair(ctx context.Context, name string) (err error) {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	beside := cfg.Cameras[name].Pair
	if beside == "" {
		return fail(ExitUsage, fmt.Errorf("calibrate: --pair %q: the configuration has no such camera with a pair", name))
	}
	e, err := a.openEngine(ctx, cfg)
	if err != nil {
		return err
	}
	find, _, closeNets, err := e.Nets()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNets()) }()
	rgb, err := openPlain(name, cfg.Cameras[name])
	if err != nil {
		return failConfig(err)
	}
	defer func() { err = errors.Join(err, rgb.Close()) }()
	ir, err := openPlain(beside, cfg.Cameras[beside])
	if err != nil {
		return failConfig(err)
	}
	defer func() { err = errors.Join(err, ir.Close()) }()
	fmt.Fprintf(a.Stderr, "One person, please: walk about in front of the cameras for half a minute, near and far, left and right.\n")
	l := pairLearner{rgb: rgb, ir: ir, find: find, now: time.Now, out: a.Stderr}
	matches, err := l.matches(ctx)
	if err != nil {
		return err
	}
	m, off, err := cue.Fit(matches)
	if err != nil {
		return fail(ExitOther, fmt.Errorf("calibrate: %w", err))
	}
	r := pairResult{Schema: 1, Camera: name, Pair: beside, Matches: len(matches), Off: cut4(off)}
	var line []string
	for i, v := range m {
		r.Map[i] = cut4(v)
		line = append(line, r.Map[i].String())
	}
	if a.json {
		return a.printJSON(r)
	}
	_, err = fmt.Fprintf(a.Stdout, "# of %d faces; half of them are where this says to within %s widths of a face\ncameras:\n  %s:\n    pair_map: [%s]\n",
		r.Matches, r.Off, name, strings.Join(line, ", "))
	return err
}

func openPlain(name string, c config.Camera) (*camera.Camera, error) {
	return camera.Open(daemon.CameraOptions(name, c, nil))
}

// pairLearner looks through two cameras by turns.
type pairLearner struct {
	rgb, ir daemon.Camera
	find    daemon.Finder
	now     func() time.Time
	out     io.Writer
}

// matches collects faces that both cameras saw. Where one of them sees several, nobody knows whose is whose.
func (l *pairLearner) matches(ctx context.Context) ([]cue.Match, error) {
	type sight struct {
		at  time.Time
		box cue.Box
	}
	var pair cue.Pair
	var open []sight
	var out []cue.Match
	told := 0
	for end := l.now().Add(pairFor); len(out) < pairFull && l.now().Before(end); {
		m, at, faces, err := l.look(ctx, l.rgb)
		if err != nil {
			return nil, err
		}
		if len(faces) == 1 {
			b := cue.Box(faces[0].Box)
			b.X, b.W, b.Y, b.H = b.X/float64(m.Width), b.W/float64(m.Width), b.Y/float64(m.Height), b.H/float64(m.Height)
			open = append(open, sight{at, b})
		}
		m, at, faces, err = l.look(ctx, l.ir)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		boxes := make([]cue.Box, len(faces))
		for i, f := range faces {
			boxes[i] = cue.Box(f.Box)
		}
		pair.See(at, m, boxes)
		left := open[:0]
		for _, s := range open {
			switch there := pair.Faces(s.at); {
			case len(there) == 1:
				out = append(out, cue.Match{From: s.box, To: there[0]})
			case at.Sub(s.at) < time.Second:
				left = append(left, s)
			}
		}
		open = left
		if len(out) >= told+25 {
			told = len(out)
			fmt.Fprintf(l.out, "%d faces that both cameras saw\n", told)
		}
	}
	return out, ctx.Err()
}

// look takes a frame if one comes soon, and finds the faces in it. What it gives is valid until the camera's next frame.
func (l *pairLearner) look(ctx context.Context, c daemon.Camera) (*frame.Image, time.Time, []models.Face, error) {
	wait, cancel := context.WithTimeout(ctx, doorIdle)
	defer cancel()
	f, err := c.Next(wait)
	switch {
	case ctx.Err() != nil:
		return nil, time.Time{}, nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		if s := c.Status(); s.State == camera.StateFailed {
			return nil, time.Time{}, nil, fmt.Errorf("%w: %s", errCamera, s.Err)
		}
		return nil, time.Time{}, nil, nil
	case err != nil:
		return nil, time.Time{}, nil, fmt.Errorf("%w: %w", errCamera, err)
	}
	faces, err := l.find.Detect(&f.Image)
	if err != nil {
		return nil, time.Time{}, nil, fmt.Errorf("calibrate: find faces: %w", err)
	}
	return &f.Image, f.Captured, faces, nil
}
