package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/decision"
)

// doorIdle is how long the door waits for a frame before it looks at the clock and at the camera's state.
const doorIdle = 200 * time.Millisecond

// calibrator is a calibration at a camera: it asks who is there, and looks.
type calibrator struct {
	name     string
	camera   daemon.Camera
	scorer   *scorer
	length   time.Duration // of a presentation
	now      func() time.Time
	in       *answers
	out      io.Writer
	recorder *recorder // nil: no picture is kept
	expose   func(time.Time, *daemon.Finding)
}

// presentedAt is what came of one presentation.
type presentedAt struct {
	species string // "": a living person
	score   float64
	why     decision.Code // there is no answer; "" where there is one
	clip    string        // where it was recorded
}

// errCamera is a camera that stopped in the middle.
var errCamera = errors.New("no frames come from the camera")

// awaitCamera waits until frames come, or until it is known why they don't.
func (d *calibrator) awaitCamera(ctx context.Context) error {
	for {
		wait, cancel := context.WithTimeout(ctx, doorIdle)
		_, err := d.camera.Next(wait)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return fail(ExitUnavailable, fmt.Errorf("calibrate: camera %s: %w", d.name, err))
		}
		if s := d.camera.Status(); s.Err != "" {
			code := ExitUnavailable
			if s.Code == camera.CodePermission {
				code = ExitPermission
			}
			return fail(code, &hinted{fmt.Errorf("calibrate: camera %s: %s", d.name, s.Err), s.Hint})
		}
	}
}

// errNoConsent is that people didn't agree to be recorded.
var errNoConsent = errors.New("calibrate: nobody is recorded without consent; leave --record out to keep no pictures")

// askConsent comes before the first picture is kept.
func (d *calibrator) askConsent(ctx context.Context, folder string) (*recorder, error) {
	fmt.Fprintf(d.out, "Pictures of the people in front of the camera will be kept in %s until somebody runs\n"+
		"`livenessd calibrate --forget %s`. Record only who knows this and agrees.\n"+
		"Has everybody agreed? [y/N] ", folder, folder)
	yes, err := d.in.confirmed(ctx)
	if err != nil {
		return nil, err
	}
	if !yes {
		return nil, fail(ExitOther, errNoConsent)
	}
	return openRecorder(folder, d.now)
}

// speciesName is what an attack may be called: the name of a folder that needs no quoting anywhere.
var speciesName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// session goes from presentation to presentation until the technician is done.
func (d *calibrator) session(ctx context.Context) ([]presentedAt, error) {
	fmt.Fprintf(d.out, "Camera %s. When somebody or something is in front of it, say what it is and press Enter; it is looked at for %v.\n"+
		"  live              a living person\n"+
		"  print, replay, …  an attack, by the name of its species\n"+
		"  (nothing)         the same again\n"+
		"  undo              take the last presentation back\n"+
		"  done              that was all\n", d.name, d.length)
	var shown []presentedAt
	again := "live"
	for {
		fmt.Fprintf(d.out, "%d> [%s] ", len(shown)+1, again)
		line, err := d.in.next(ctx)
		if errors.Is(err, io.EOF) {
			return shown, nil
		}
		if err != nil {
			return nil, err
		}
		what := strings.ToLower(line)
		switch what {
		case "done":
			return shown, nil
		case "undo":
			if shown, err = d.undo(shown); err != nil {
				return nil, err
			}
			continue
		case "":
			what = again
		}
		if !speciesName.MatchString(what) {
			fmt.Fprintln(d.out, "a species is named with letters a to z, digits, - and _, at most 32")
			continue
		}
		again = what
		species := what
		if what == "live" {
			species = ""
		}
		p, err := d.present(ctx, species)
		if errors.Is(err, errCamera) {
			fmt.Fprintf(d.out, "%v; this presentation doesn't count\n", err)
			if hint := d.camera.Status().Hint; hint != "" {
				fmt.Fprintf(d.out, "  → %s\n", hint)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		shown = append(shown, p)
		fmt.Fprintf(d.out, "%s: %s\n", what, d.said(p))
	}
}

func (d *calibrator) said(p presentedAt) string {
	if p.why != "" {
		return "no answer: " + string(p.why)
	}
	verdict := decision.Undecided
	switch {
	case p.score >= d.scorer.options.LiveAt:
		verdict = decision.Live
	case p.score <= d.scorer.options.SpoofAt:
		verdict = decision.Spoof
	}
	return fmt.Sprintf("%s, score %.3f", verdict, p.score)
}

// undo takes the last presentation back, with its clip.
func (d *calibrator) undo(shown []presentedAt) ([]presentedAt, error) {
	if len(shown) == 0 {
		fmt.Fprintln(d.out, "there is nothing to take back")
		return shown, nil
	}
	last := shown[len(shown)-1]
	if last.clip != "" {
		if err := d.recorder.remove(last.clip); err != nil {
			return nil, err
		}
	}
	fmt.Fprintln(d.out, "taken back")
	return shown[:len(shown)-1], nil
}

// present looks at one presentation, as run would.
func (d *calibrator) present(ctx context.Context, species string) (p presentedAt, err error) {
	p = presentedAt{species: species}
	trial, err := decision.NewTrial(d.scorer.options)
	if err != nil {
		return p, err
	}
	var c *clip
	if d.recorder != nil {
		if c, err = d.recorder.begin(species); err != nil {
			return p, err
		}
		p.clip = c.name
		defer func() {
			// A clip of what doesn't count is no clip.
			err = errors.Join(err, c.end(err == nil))
		}()
	}
	d.scorer.examiner.Forget()
	start := d.now()
	end := start.Add(d.length)
	for {
		wait, cancel := context.WithTimeout(ctx, doorIdle)
		f, err := d.camera.Next(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return p, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if s := d.camera.Status(); s.State != camera.StateStreaming && s.Err != "" {
				return p, fmt.Errorf("%w: %s", errCamera, s.Err)
			}
			trial.Idle(d.now())
			if d.now().Before(end) {
				continue
			}
		case err != nil:
			return p, fmt.Errorf("%w: %w", errCamera, err)
		case f.Captured.Before(start): // it shows what was there before
			continue
		case f.Captured.Before(end):
			found, err := d.scorer.follow(f.Captured, &f.Image, trial.Decider())
			if err != nil {
				p.why = decision.ProcessingErr
				return p, nil
			}
			d.expose(f.Captured, &found)
			trial.Observe(found.Observation(f.Captured, &f.Image))
			if c != nil {
				if err := c.add(f); err != nil {
					return p, err
				}
			}
			continue
		}
		// What is still open is closed as run does it when nothing more comes of waiting.
		p.score, p.why = trial.End(end)
		return p, nil
	}
}
