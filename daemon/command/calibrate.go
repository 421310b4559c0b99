package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
)

// calibrateFlags is how calibrate was asked.
type calibrateFlags struct {
	camera, record, forget, from, pair string
	seconds, fps                       float64
	certaintyText                      string
	apcerText, bpcerText               string
	certainty, apcer, bpcer            float64
	write, yes                         bool
}

func (a *app) calibrate() *cobra.Command {
	var o calibrateFlags
	c := &cobra.Command{
		Use:   "calibrate",
		Short: "Try living people and attacks at the installed camera, and choose thresholds by what came of them",
		Long: "Asks what stands in front of the camera (a living person, or the species of an attack: print, replay, mask, …), judges some\n" +
			"seconds of it as run would, and says at the end how often the thresholds in effect were wrong, how many more presentations\n" +
			"a certainty would take, and which thresholds suit the error rates that were asked for. Questions go to standard error, answers\n" +
			"come from standard input. Ctrl-C ends it and keeps nothing: no thresholds, no pictures.\n\n" +
			"Pictures are kept only with --record FOLDER, in the layout of evaluate; --forget FOLDER deletes them, and nothing else there.\n" +
			"--pair CAMERA is for a camera with an infrared one beside it: see docs/cues.md.\n" +
			"--from DIR takes pictures and clips from such a folder instead of a camera. Only --write touches the configuration: after a\n" +
			"question, decision.live_at and decision.spoof_at alone. A daemon that runs reads them when it is started again.",
		Args: usageArgs(cobra.NoArgs),
	}
	f := c.Flags()
	f.StringVar(&o.camera, "camera", "", "`NAME` of the camera in the configuration (default: the only one)")
	f.Float64Var(&o.seconds, "seconds", 5, "length of a presentation, 2 to 60; one without an answer is closed a second before its end")
	f.StringVar(&o.record, "record", "", "keep the frames in this `FOLDER`")
	f.StringVar(&o.forget, "forget", "", "delete what --record kept in this `FOLDER`, and do nothing else")
	f.StringVar(&o.from, "from", "", "judge the pictures and clips in this `DIR` instead of what a camera sees")
	f.Float64Var(&o.fps, "fps", 15, "with --from: frames per second of clips")
	f.StringVar(&o.pair, "pair", "", "learn where what this `CAMERA` sees is in its infrared pair's picture, print that, and do nothing else")
	f.StringVar(&o.apcerText, "apcer", "1%", "share of a species' attacks that may be accepted")
	f.StringVar(&o.bpcerText, "bpcer", "5%", "share of living people that may not be accepted")
	f.StringVar(&o.certaintyText, "certainty", "95%", "of the statement that an error rate isn't above that")
	f.BoolVar(&o.write, "write", false, "write the suggested thresholds to the configuration, after a question")
	f.BoolVar(&o.yes, "yes", false, "with --write: don't ask")
	a.jsonFlag(c, "print one JSON object")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := o.check(f.Changed); err != nil {
			return fail(ExitUsage, fmt.Errorf("calibrate: %w", err))
		}
		if o.forget != "" {
			return a.forget(o.forget)
		}
		var err error
		if o.pair != "" {
			err = a.calibratePair(c.Context(), o.pair)
		} else {
			err = a.runCalibrate(c.Context(), o, newAnswers(c.InOrStdin()))
		}
		if err != nil && c.Context().Err() != nil && errors.Is(err, c.Context().Err()) {
			fmt.Fprintln(a.Stderr, "livenessd calibrate: stopped; nothing was written")
			return nil
		}
		return err
	}
	return c
}

func (o *calibrateFlags) check(given func(string) bool) (err error) {
	alone := func(flag string, others ...string) error {
		for _, other := range others {
			if given(flag) && given(other) {
				return fmt.Errorf("--%s and --%s don't go together", flag, other)
			}
		}
		return nil
	}
	named := func(flag, value string) error {
		if given(flag) && value == "" {
			return fmt.Errorf("--%s names nothing", flag)
		}
		return nil
	}
	if err := errors.Join(named("record", o.record), named("forget", o.forget), named("from", o.from), named("pair", o.pair)); err != nil {
		return err
	}
	if err := errors.Join(alone("from", "camera", "record"),
		alone("forget", "camera", "record", "from", "seconds", "fps", "write", "yes", "json", "pair"),
		alone("pair", "camera", "record", "from", "seconds", "fps", "write", "yes")); err != nil {
		return err
	}
	switch {
	case !(o.seconds >= 2 && o.seconds <= 60):
		return fmt.Errorf("--seconds %v: 2 to 60", o.seconds)
	case !(o.fps > 0 && o.fps <= 1000):
		return fmt.Errorf("--fps %v: frames per second, above 0", o.fps)
	case given("fps") && o.from == "":
		return errors.New("--fps needs --from")
	case o.yes && !o.write:
		return errors.New("--yes needs --write")
	}
	for _, s := range []struct {
		flag, text string
		to         *float64
	}{{"certainty", o.certaintyText, &o.certainty}, {"apcer", o.apcerText, &o.apcer}, {"bpcer", o.bpcerText, &o.bpcer}} {
		if *s.to, err = parseShare(s.text); err != nil {
			return fmt.Errorf("--%s %q: %w", s.flag, s.text, err)
		}
	}
	return nil
}

// parseShare reads a share of 1, or of 100 with a percent sign. The bounds keep how many presentations are needed countable.
func parseShare(s string) (float64, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 1e-4 && v <= 0.9999) {
		return 0, errors.New("from 0.01% to 99.99%, such as 5% or 0.05")
	}
	return v, nil
}

func (a *app) runCalibrate(ctx context.Context, o calibrateFlags, in *answers) error {
	s, err := a.scorer(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	s.fps = o.fps
	length := time.Duration(o.seconds * float64(time.Second))
	// A door that waits longer than a presentation lasts would have no answer about whoever is between the thresholds.
	s.options.Timeout = min(s.options.Timeout, length-time.Second)
	r := &calibration{Schema: 1, Target: pad.Target{APCER: o.apcer, BPCER: o.bpcer, Certainty: o.certainty}, Needed: []neededResult{}}
	var m *measured
	if o.from != "" {
		m, err = a.fromFolder(ctx, s, o.from)
	} else {
		m, err = a.atTheDoor(ctx, s, o, length, in, r)
	}
	if err != nil {
		return err
	}
	r.fill(s, m)
	if err := a.printCalibration(r); err != nil {
		return err
	}
	var unread error
	if o.from != "" {
		if unread = a.complain(m.unread, len(m.folder.files)); unread != nil && o.write {
			return unread // thresholds that come of half a folder aren't written
		}
	}
	if o.write {
		return a.writeThresholds(ctx, r, o.yes, in)
	}
	return unread
}

func (a *app) fromFolder(ctx context.Context, s *scorer, path string) (*measured, error) {
	l, err := openLabelled(path)
	if err != nil {
		return nil, err
	}
	bar := a.progress(len(l.files), "judging")
	defer bar.end()
	m, err := s.measure(ctx, l, false, bar.step)
	if err == nil && m.classes[""] == nil {
		m.classes[""] = newClass()
	}
	return m, err
}

// atTheDoor asks, looks and counts.
func (a *app) atTheDoor(ctx context.Context, s *scorer, o calibrateFlags, length time.Duration, in *answers, r *calibration) (_ *measured, err error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	name, err := chooseCamera(cfg, o.camera)
	if err != nil {
		return nil, fail(ExitUsage, err)
	}
	cam, err := camera.Open(daemon.CameraOptions(name, cfg.Cameras[name], nil))
	if err != nil {
		return nil, failConfig(err)
	}
	defer func() { err = errors.Join(err, cam.Close()) }()
	d := &calibrator{name: name, camera: cam, scorer: s, length: length, now: time.Now, in: in, out: a.Stderr,
		expose: daemon.Exposing(cam, cfg.Cameras[name])}
	if err := d.awaitCamera(ctx); err != nil {
		return nil, err
	}
	if o.record != "" {
		if d.recorder, err = d.askConsent(ctx, o.record); err != nil {
			return nil, err
		}
		defer func() {
			// Whoever breaks it off has kept nothing. After any other trouble the clips can still be judged with --from.
			err = errors.Join(err, d.recorder.close(ctx.Err() != nil || len(d.recorder.made) == 0))
		}()
	}
	shown, err := d.session(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if len(shown) == 0 {
		return nil, fail(ExitOther, errors.New("calibrate: nothing was presented"))
	}
	r.Camera, r.Seconds, r.Recorded = name, o.seconds, o.record
	if d.recorder != nil {
		fmt.Fprintf(a.Stderr, "recorded in %s, about %.0f frames a second\n", o.record, d.recorder.fps(o.seconds))
	}
	return measuredAt("camera "+name, shown)
}

// chooseCamera finds the one that is meant.
func chooseCamera(c config.Config, name string) (string, error) {
	var names []string // of those that judge
	for _, n := range slices.Sorted(maps.Keys(c.Cameras)) {
		if c.Cameras[n].Role != config.IR {
			names = append(names, n)
		}
	}
	all := strings.Join(names, ", ")
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "" && len(names) == 0:
		return "", errors.New("calibrate: the configuration has no camera")
	case name == "":
		return "", fmt.Errorf("calibrate: the configuration has several cameras: say --camera with one of %s", all)
	case !slices.Contains(names, name):
		return "", fmt.Errorf("calibrate: --camera %q: the configuration has %s", name, all)
	}
	return name, nil
}

func newClass() *class {
	return &class{scores: map[string][]float64{}, silent: map[decision.Code]int{}}
}

// measuredAt is presentations as evaluate counts those of a folder.
func measuredAt(where string, shown []presentedAt) (*measured, error) {
	m := &measured{folder: &labelled{path: where}, classes: map[string]*class{"": newClass()}, samples: map[string]*pad.Sample{}}
	for _, p := range shown {
		c := m.classes[p.species]
		if c == nil {
			c = newClass()
			m.classes[p.species] = c
		}
		c.presentations++
		if p.why != "" {
			c.silent[p.why]++
			continue
		}
		c.scores[net] = append(c.scores[net], p.score)
	}
	attacks := map[string][]float64{}
	for species, c := range m.classes {
		if species != "" {
			attacks[species] = c.scores[net]
		}
	}
	sample, err := pad.NewSample(m.classes[""].scores[net], attacks)
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	m.samples[net] = sample
	return m, nil
}

// answers are the lines that a technician types.
type answers struct {
	lines chan string
	in    io.Reader
}

func newAnswers(in io.Reader) *answers { return &answers{in: in} }

// next waits for a line, trimmed. io.EOF says that there are no more.
//
// The goroutine that reads ends with its input. A terminal's read can't be called off, so after Ctrl-C it ends with the process.
func (a *answers) next(ctx context.Context) (string, error) {
	if a.lines == nil {
		a.lines = make(chan string)
		go func(lines chan<- string) {
			defer close(lines)
			for s := bufio.NewScanner(a.in); s.Scan(); {
				select {
				case lines <- strings.TrimSpace(s.Text()):
				case <-ctx.Done():
					return
				}
			}
		}(a.lines)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case line, ok := <-a.lines:
		if !ok {
			return "", io.EOF
		}
		return line, nil
	}
}

// confirmed tells whether the next line is a yes. The end of the input is a no.
func (a *answers) confirmed(ctx context.Context) (bool, error) {
	line, err := a.next(ctx)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	line = strings.ToLower(line)
	return line == "y" || line == "yes", err
}

var _ daemon.Camera = (*camera.Camera)(nil)
