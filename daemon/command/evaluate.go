package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
	"github.com/livenessd/livenessd/models"
)

// evaluateFlags is how evaluate was asked.
type evaluateFlags struct {
	faceFrom  string
	fps       float64
	plot      string
	format    pad.Format
	baselines bool
	simulate  bool
	// presentations to make of each folder and kind
	presentations int
	from, at      string // the folder that sets the threshold, and by which rule
	atWasSaid     bool
	rule          thresholdRule
}

func (a *app) evaluate() *cobra.Command {
	var o evaluateFlags
	c := &cobra.Command{
		Use:   "evaluate DIR…",
		Short: "Measure how well attacks are told from living people, on pictures of which it is known what they are",
		Long: "Judges every picture (JPEG, PNG: one frame each) and every clip (.mjpeg, .mjpg: one presentation each) in DIR/live/\n" +
			"and in DIR/spoof/SPECIES/ with the code of run. Attacks directly in DIR/spoof/ are of the species \"spoof\".\n\n" +
			"APCER is the share of a species' attacks that are accepted, BPCER that of bona fide presentations that aren't, both at\n" +
			"live_at and of those that got an answer; what got none (no face, too small, an error) is apart, as APNRR and BPNRR. All\n" +
			"with 95 % intervals of Clopper and Pearson, which take presentations to be independent. EER is where both are equal.\n\n" +
			"With several folders: each at one threshold, their mean, and leave-one-out: a threshold that is best on all the others\n" +
			"is tried on each. Exit code 1 if a file could not be read; the others still count.",
		Args: usageArgs(cobra.MinimumNArgs(1)),
	}
	f := c.Flags()
	f.StringVar(&o.faceFrom, "face-from", "detector", "detector, or picture: the whole picture is the face, for tight crops of faces")
	f.Float64Var(&o.fps, "fps", 15, "frames per second of clips")
	f.StringVar(&o.plot, "plot", "", "`FILE`.svg or FILE.png: DET curves and histograms of the scores")
	f.BoolVar(&o.baselines, "baselines", false,
		"put beside the net what one threshold on sharpness, brightness or the size of the face achieves")
	f.StringVar(&o.from, "threshold-from", "", "take the threshold from this `DIR`, which is laid out alike")
	f.StringVar(&o.at, "threshold-at", "eer", "with --threshold-from: eer, or an error rate there, such as apcer=5% or bpcer=0.01")
	f.BoolVar(&o.simulate, "simulate", false,
		"draw presentations from the pictures and try the decision's bounds on them, beside the mean over two seconds: see docs/decision.md")
	f.IntVar(&o.presentations, "presentations", 400, "with --simulate: how many of people, and how many of attacks, in each folder")
	a.jsonFlag(c, "print one JSON object")
	c.RunE = func(c *cobra.Command, paths []string) error {
		o.atWasSaid = f.Changed("threshold-at")
		if err := o.check(len(paths)); err != nil {
			return fail(ExitUsage, err)
		}
		if o.simulate {
			return a.runSimulate(c.Context(), o, paths)
		}
		return a.runEvaluate(c.Context(), o, paths)
	}
	return c
}

func (o *evaluateFlags) check(folders int) (err error) {
	if o.faceFrom != "detector" && o.faceFrom != "picture" {
		return fmt.Errorf("--face-from %q: detector or picture", o.faceFrom)
	}
	if !(o.fps > 0 && o.fps <= 1000) {
		return fmt.Errorf("--fps %v: frames per second, above 0", o.fps)
	}
	if o.atWasSaid && o.from == "" {
		return errors.New("--threshold-at needs --threshold-from")
	}
	if o.rule, err = parseThresholdRule(o.at); err != nil {
		return err
	}
	if o.simulate && (o.from != "" || o.baselines) {
		return errors.New("--simulate goes with neither --threshold-from nor --baselines")
	}
	if o.presentations < 1 || o.presentations > 1_000_000 {
		return fmt.Errorf("--presentations %d: 1 to 1000000", o.presentations)
	}
	if o.plot == "" {
		return nil
	}
	if o.format, err = pad.FormatOf(o.plot); err != nil {
		return fmt.Errorf("--plot %s: %w", o.plot, err)
	}
	if folders > pad.MostSets {
		return fmt.Errorf("--plot: %d folders; at most %d can be drawn", folders, pad.MostSets)
	}
	// Before the work and not after it.
	if st, err := os.Stat(filepath.Dir(o.plot)); err != nil || !st.IsDir() {
		return fmt.Errorf("--plot %s: there is no such folder", o.plot)
	}
	return nil
}

// thresholdRule is how a threshold is found on a folder.
type thresholdRule struct {
	kind string // eer, apcer or bpcer
	rate float64
}

func parseThresholdRule(s string) (thresholdRule, error) {
	kind, text, has := strings.Cut(strings.ToLower(s), "=")
	if kind == "eer" && !has {
		return thresholdRule{kind: "eer"}, nil
	}
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	rate, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		rate /= 100
	}
	if kind != "apcer" && kind != "bpcer" || err != nil || !(rate >= 0 && rate <= 1) {
		return thresholdRule{}, fmt.Errorf("--threshold-at %q: eer, or an error rate such as apcer=5%% or bpcer=0.01", s)
	}
	return thresholdRule{kind, rate}, nil
}

func (r thresholdRule) find(s *pad.Sample) (pad.Point, error) {
	switch r.kind {
	case "apcer":
		return s.ForAPCER(r.rate)
	case "bpcer":
		return s.ForBPCER(r.rate)
	}
	return s.EER()
}

func (r thresholdRule) String() string {
	if r.kind == "eer" {
		return r.kind
	}
	return r.kind + "=" + strconv.FormatFloat(r.rate, 'g', -1, 64)
}

// judge makes the scorer that the flags ask for.
func (a *app) judge(ctx context.Context, o evaluateFlags) (*scorer, error) {
	s, err := a.scorer(ctx)
	if err != nil {
		return nil, err
	}
	s.fps = o.fps
	if o.faceFrom == "picture" {
		s.face = wholePicture
	}
	return s, nil
}

func (a *app) runEvaluate(ctx context.Context, o evaluateFlags, paths []string) error {
	asked := paths
	if o.from != "" {
		asked = append(asked[:len(asked):len(asked)], o.from)
	}
	folders, err := openAll(asked)
	if err != nil {
		return err
	}
	s, err := a.judge(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	var all []*measured
	steps := 0
	for _, l := range folders {
		steps += len(l.files)
	}
	bar := a.progress(steps, "judging")
	defer bar.end()
	for _, l := range folders {
		m, err := s.measure(ctx, l, o.baselines, bar.step)
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	bar.end()
	d, l := s.engine.Detector, s.engine.Liveness
	r := &evaluation{Schema: 1, Detector: d.Name + " " + d.Version, Delegate: s.engine.Delegate(), FaceFrom: o.faceFrom, Plot: o.plot,
		Threshold: evaluationThreshold{LiveAt: s.options.LiveAt, SpoofAt: s.options.SpoofAt, From: s.source()}}
	r.Model.Name, r.Model.Version, r.Model.SHA256 = l.Name, l.Version, l.SHA256
	var unread []unreadable
	for _, m := range all {
		unread = append(unread, m.unread...)
	}
	if o.from != "" {
		last := all[len(all)-1]
		all, folders = all[:len(all)-1], folders[:len(folders)-1]
		p, err := o.rule.find(last.samples[net])
		if err != nil {
			return fmt.Errorf("evaluate: find a threshold on %s: %w", o.from, err)
		}
		r.Threshold = evaluationThreshold{LiveAt: p.Threshold, SpoofAt: min(s.options.SpoofAt, p.Threshold), From: "folder",
			Folder: o.from, Rule: o.rule.String(), There: &p}
	}
	if err := r.fill(all, labels(folders), o.baselines); err != nil {
		return err
	}
	if o.plot != "" {
		if err := r.draw(all, o); err != nil {
			return err
		}
	}
	if err := a.printEvaluation(r); err != nil {
		return err
	}
	return a.complain(unread, steps)
}

// source tells whose the thresholds are.
func (s *scorer) source() string {
	if t := s.engine.Liveness.Thresholds; s.options.LiveAt == t.LiveAt && s.options.SpoofAt == t.SpoofAt {
		return "model"
	}
	return "configuration"
}

// draw writes the plot.
func (r *evaluation) draw(all []*measured, o evaluateFlags) error {
	p := pad.Plot{LiveAt: r.Threshold.LiveAt, SpoofAt: r.Threshold.SpoofAt}
	for i, m := range all {
		p.Sets = append(p.Sets, pad.Set{Name: r.Folders[i].Name, Sample: m.samples[net]})
	}
	return writePlot(o.plot, func(b *strings.Builder) error { return p.Write(b, o.format) })
}

// writePlot writes a picture once it is whole.
func writePlot(path string, draw func(*strings.Builder) error) error {
	var b strings.Builder
	err := draw(&b)
	if err == nil {
		err = os.WriteFile(path, []byte(b.String()), 0o644)
	}
	if err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	return nil
}

func wholePicture(m *frame.Image) models.Box {
	return models.Box{W: float64(m.Width), H: float64(m.Height)}
}

// complain names the files that could not be read, on standard error.
func (a *app) complain(files []unreadable, of int) error {
	const most = 10
	for i, u := range files {
		if i == most {
			fmt.Fprintf(a.Stderr, "and %d more\n", len(files)-most)
			break
		}
		fmt.Fprintf(a.Stderr, "%s: %s\n", u.File, u.Error)
	}
	if len(files) > 0 {
		return fail(ExitOther, fmt.Errorf("evaluate: %d of %d files could not be read; they are no part of the figures", len(files), of))
	}
	return nil
}

// The scorers whose scores are compared: the net, and those that see nothing of a face but one number.
const (
	net        = "net"
	sharpness  = "sharpness"
	brightness = "brightness"
	faceSize   = "face size"
)

// measured is a folder whose presentations were judged.
type measured struct {
	folder  *labelled
	classes map[string]*class // by species; "" is bona fide
	unread  []unreadable
	samples map[string]*pad.Sample // by scorer
}

// class is the presentations of one kind.
type class struct {
	presentations int // that could be read
	scores        map[string][]float64
	silent        map[decision.Code]int // those that got no answer, by the reason
}

type unreadable struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

// measure judges a folder's presentations, in order.
func (s *scorer) measure(ctx context.Context, l *labelled, baselines bool, step func()) (*measured, error) {
	m := &measured{folder: l, classes: map[string]*class{}, samples: map[string]*pad.Sample{}}
	var seen traits
	if baselines {
		s.judged = func(m *frame.Image, f *daemon.Finding) { seen.add(m, f.Faces[f.Main].Box) }
	}
	for _, p := range l.files {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluate: stopped: %w", err)
		}
		seen = traits{}
		rows := s.file(p.path)
		step()
		c := m.classes[p.species]
		if c == nil {
			c = &class{scores: map[string][]float64{}, silent: map[decision.Code]int{}}
			m.classes[p.species] = c
		}
		if last := rows[len(rows)-1]; last.unread {
			m.unread = append(m.unread, unreadable{p.path, last.Error})
			continue
		}
		c.presentations++
		score, why := answer(rows)
		if why != "" {
			c.silent[why]++
			continue
		}
		c.scores[net] = append(c.scores[net], score)
		if baselines {
			for name, v := range seen.means() {
				c.scores[name] = append(c.scores[name], v)
			}
		}
	}
	names := []string{net}
	if baselines {
		names = append(names, sharpness, brightness, faceSize)
	}
	for _, name := range names {
		attacks := map[string][]float64{}
		var people []float64
		for species, c := range m.classes {
			if species == "" {
				people = c.scores[name]
			} else {
				attacks[species] = c.scores[name]
			}
		}
		sample, err := pad.NewSample(people, attacks)
		if err != nil {
			return nil, fmt.Errorf("evaluate: %s: %w", l.path, err)
		}
		m.samples[name] = sample
	}
	return m, nil
}

// answer is what the verdicts about a file say of its one presentation: the highest of their scores, since a door that opens
// once is open, or why there is none.
func answer(rows []scored) (score float64, why decision.Code) {
	why = decision.NoFacesDetected
	answered := false
	for i, r := range rows {
		if r.Error != "" {
			return 0, decision.ProcessingErr
		}
		if isAnswer(r) {
			if !answered || *r.Score > score {
				score = *r.Score
			}
			answered = true
			continue
		}
		if i == 0 && r.Code != nil {
			why = *r.Code
		}
	}
	if answered {
		why = ""
	}
	return score, why
}

// isAnswer tells whether a verdict is one about liveness, with a score that says the same. A presentation that ended before enough of
// it was seen has a score, too, but nobody was let in by it nor kept out.
func isAnswer(r scored) bool {
	if r.Score == nil {
		return false
	}
	switch r.Verdict {
	case decision.Live:
		return *r.Score >= r.LiveAt
	case decision.Spoof:
		return *r.Score <= r.SpoofAt
	}
	return r.Code != nil && *r.Code == decision.Timeout && *r.Score > r.SpoofAt && *r.Score < r.LiveAt
}
