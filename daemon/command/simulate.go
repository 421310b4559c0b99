package command

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
	"github.com/livenessd/livenessd/models"
)

// simulation is what evaluate --simulate says. Rates are shares of 1, the mean of the folders'; times are seconds.
type simulation struct {
	Schema int `json:"schema"`
	Model  struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		SHA256  string `json:"sha256"`
	} `json:"model"`
	LiveAt        float64      `json:"live_at"`
	SpoofAt       float64      `json:"spoof_at"`
	FPS           float64      `json:"fps"`
	Correlation   float64      `json:"correlation_s"`
	Presentations int          `json:"presentations"` // of each folder and kind
	Folders       []string     `json:"folders"`
	Clips         []int        `json:"clips"` // in each folder that presentations are drawn from
	Trials        []simulated  `json:"trials"`
	Plot          string       `json:"plot,omitempty"`
	Unreadable    []unreadable `json:"unreadable"`
	options       decision.Options
}

// simulated is one way of deciding.
type simulated struct {
	Rule        string   `json:"rule"` // sequential or window
	AcceptError *float64 `json:"accept_error,omitempty"`
	RefuseError *float64 `json:"refuse_error,omitempty"`
	Attacks     shares   `json:"attacks"`
	BonaFide    shares   `json:"bona_fide"`
	// Times of the answers that were right, in the middle and for all but one in twenty; null where there were none.
	LiveMedian  *float64      `json:"live_median_s"`
	LiveP95     *float64      `json:"live_p95_s"`
	SpoofMedian *float64      `json:"spoof_median_s"`
	SpoofP95    *float64      `json:"spoof_p95_s"`
	Each        []simulatedIn `json:"folders"`
}

// shares is what became of presentations.
type shares struct {
	Live      float64 `json:"live"`
	Spoof     float64 `json:"spoof"`
	Undecided float64 `json:"undecided"`
}

type simulatedIn struct {
	Folder   string `json:"folder"`
	Attacks  shares `json:"attacks"`
	BonaFide shares `json:"bona_fide"`
}

// take is frames of one clip, in no order.
type take []models.Judgement

// takes are a folder's clips of people and of attacks.
type takes struct{ people, attacks []take }

// clipOf names the clip that a picture is from: names that differ in their last number alone are frames of one.
func clipOf(p presented) string {
	if isClip(p.path) {
		return p.species + "\x00" + p.path
	}
	stem := strings.TrimSuffix(p.path, filepath.Ext(p.path))
	return p.species + "\x00" + strings.TrimRight(stem, "0123456789")
}

// takesOf judges a folder's pictures.
func (s *scorer) takesOf(ctx context.Context, l *labelled, step func()) (t takes, bad []unreadable, err error) {
	clips := map[string]take{}
	attack := map[string]bool{}
	for _, p := range l.files {
		if err := ctx.Err(); err != nil {
			return t, nil, fmt.Errorf("evaluate: stopped: %w", err)
		}
		key := clipOf(p)
		attack[key] = p.species != ""
		s.judged = func(_ *frame.Image, f *daemon.Finding) { clips[key] = append(clips[key], f.Judgement) }
		rows := s.file(p.path)
		step()
		if last := rows[len(rows)-1]; last.unread {
			bad = append(bad, unreadable{p.path, last.Error})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(clips)) {
		if attack[key] {
			t.attacks = append(t.attacks, clips[key])
		} else {
			t.people = append(t.people, clips[key])
		}
	}
	return t, bad, nil
}

// play makes a presentation of so many frames: each is the one before, or with what they have in common gone another of the clip. So
// neighbours are alike as in the decision's model, exp(−time / correlation), and each frame is as likely as it was.
func play(r *rand.Rand, clip take, frames int, step, correlation time.Duration) []models.Judgement {
	stay := math.Exp(-step.Seconds() / correlation.Seconds())
	out := make([]models.Judgement, frames)
	for i := range out {
		if i > 0 && r.Float64() < stay {
			out[i] = out[i-1]
		} else {
			out[i] = clip[r.IntN(len(clip))]
		}
	}
	return out
}

// decide plays a presentation to a decider, and tells the first answer about liveness and when it came.
type decide func(shown []models.Judgement, step time.Duration) (decision.Verdict, time.Duration, error)

// sequentially is the decision as run makes it.
func sequentially(o decision.Options) decide {
	return func(shown []models.Judgement, step time.Duration) (decision.Verdict, time.Duration, error) {
		d, err := decision.New(o)
		if err != nil {
			return "", 0, err
		}
		start := time.Unix(0, 0)
		for i, j := range shown {
			at := time.Duration(i) * step
			said := d.Observe(decision.Observation{Time: start.Add(at), Width: 640, Height: 480, Given: true, Judged: true,
				Faces: []decision.Face{{X: 220, Y: 100, W: 200, H: 240, Score: 1}}, LogOdds: j.LogOdds, Evidence: j.Evidence})
			if said != nil {
				return said.Verdict, at, nil
			}
		}
		return decision.Undecided, time.Duration(len(shown)) * step, nil
	}
}

// byWindow is what the decision was before: the mean of the log-odds over two seconds, of five frames at least, and two thresholds.
func byWindow(o decision.Options) decide {
	const window, least, bound = 2 * time.Second, 5, 6
	return func(shown []models.Judgement, step time.Duration) (decision.Verdict, time.Duration, error) {
		for i := range shown {
			first := max(0, i-int(window/step))
			if i-first+1 < least {
				continue
			}
			var sum float64
			for _, j := range shown[first : i+1] {
				sum += min(max(j.LogOdds, -bound), bound)
			}
			p := 1 / (1 + math.Exp(-sum/float64(i-first+1)))
			if p >= o.LiveAt {
				return decision.Live, time.Duration(i) * step, nil
			}
			if p <= o.SpoofAt {
				return decision.Spoof, time.Duration(i) * step, nil
			}
		}
		return decision.Undecided, time.Duration(len(shown)) * step, nil
	}
}

// asked are the rates of accepted attacks that are tried.
func asked() []float64 { return []float64{0.0001, 0.001, 0.01, 0.05, 0.1, 0.2} }

func (a *app) runSimulate(ctx context.Context, o evaluateFlags, paths []string) error {
	folders, err := openAll(paths)
	if err != nil {
		return err
	}
	s, err := a.judge(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	r := &simulation{Schema: 1, LiveAt: s.options.LiveAt, SpoofAt: s.options.SpoofAt, FPS: o.fps, Correlation: s.options.Correlation.Seconds(),
		Presentations: o.presentations, Plot: o.plot, Unreadable: []unreadable{}, options: s.options}
	l := s.engine.Liveness
	r.Model.Name, r.Model.Version, r.Model.SHA256 = l.Name, l.Version, l.SHA256
	files := 0
	for _, l := range folders {
		files += len(l.files)
	}
	trials := len(asked()) + 1
	bar := a.progress(files+trials*len(folders), "judging and playing")
	defer bar.end()
	var material []takes
	names := labels(folders)
	for i, l := range folders {
		t, bad, err := s.takesOf(ctx, l, bar.step)
		if err != nil {
			return err
		}
		r.Unreadable = append(r.Unreadable, bad...)
		if len(t.people) == 0 || len(t.attacks) == 0 {
			continue // nobody could be judged on one side
		}
		material = append(material, t)
		r.Folders, r.Clips = append(r.Folders, names[i]), append(r.Clips, len(t.people)+len(t.attacks))
	}
	if len(material) == 0 {
		return fmt.Errorf("evaluate: no folder in which people and attacks were judged")
	}
	if err := r.try(ctx, material, bar.step); err != nil {
		return err
	}
	bar.end()
	if o.plot != "" {
		if err := writePlot(o.plot, func(b *strings.Builder) error { return r.bounds().Write(b, o.format) }); err != nil {
			return err
		}
	}
	if err := a.printSimulation(r); err != nil {
		return err
	}
	return a.complain(r.Unreadable, files)
}

// try lets each way decide on the same presentations.
func (r *simulation) try(ctx context.Context, material []takes, step func()) error {
	window := simulated{Rule: "window"}
	if err := r.run(ctx, &window, byWindow(r.options), material, step); err != nil {
		return err
	}
	r.Trials = append(r.Trials, window)
	for _, rate := range asked() {
		o := r.options
		o.AcceptError = rate
		t := simulated{Rule: "sequential", AcceptError: &rate, RefuseError: &o.RefuseError}
		if err := r.run(ctx, &t, sequentially(o), material, step); err != nil {
			return err
		}
		r.Trials = append(r.Trials, t)
	}
	return nil
}

func (r *simulation) run(ctx context.Context, t *simulated, d decide, material []takes, done func()) error {
	step := time.Duration(float64(time.Second) / r.FPS)
	frames := int(r.options.Timeout / step)
	var live, spoof []float64
	for i, m := range material {
		in := simulatedIn{Folder: r.Folders[i]}
		for _, side := range []struct {
			clips []take
			right decision.Verdict
			sum   *shares
			times *[]float64
		}{{m.people, decision.Live, &in.BonaFide, &live}, {m.attacks, decision.Spoof, &in.Attacks, &spoof}} {
			// The same presentations for each way of deciding.
			random := rand.New(rand.NewPCG(uint64(i), uint64(len(side.right))))
			said := map[decision.Verdict]int{}
			for range r.Presentations {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("evaluate: stopped: %w", err)
				}
				shown := play(random, side.clips[random.IntN(len(side.clips))], frames, step, r.options.Correlation)
				v, at, err := d(shown, step)
				if err != nil {
					return fmt.Errorf("evaluate: %w", err)
				}
				said[v]++
				if v == side.right {
					*side.times = append(*side.times, at.Seconds())
				}
			}
			n := float64(r.Presentations)
			*side.sum = shares{float64(said[decision.Live]) / n, float64(said[decision.Spoof]) / n, float64(said[decision.Undecided]) / n}
		}
		t.Each = append(t.Each, in)
		for _, both := range []struct{ mean, of *shares }{{&t.Attacks, &in.Attacks}, {&t.BonaFide, &in.BonaFide}} {
			n := float64(len(material))
			both.mean.Live += both.of.Live / n
			both.mean.Spoof += both.of.Spoof / n
			both.mean.Undecided += both.of.Undecided / n
		}
		done()
	}
	t.LiveMedian, t.LiveP95 = at(live, 0.5), at(live, 0.95)
	t.SpoofMedian, t.SpoofP95 = at(spoof, 0.5), at(spoof, 0.95)
	return nil
}

// at is a quantile of times, nil of none.
func at(times []float64, q float64) *float64 {
	if len(times) == 0 {
		return nil
	}
	slices.Sort(times)
	v := math.Round(times[int(q*float64(len(times)-1))]*1e3) / 1e3
	return &v
}

// bounds is the figure.
func (r *simulation) bounds() pad.Bounds {
	trial := func(t simulated) pad.Trial {
		orNaN := func(v *float64) float64 {
			if v == nil {
				return math.NaN()
			}
			return *v
		}
		p := pad.Trial{APCER: t.Attacks.Live, BPCER: 1 - t.BonaFide.Live, Median: orNaN(t.LiveMedian), Late: orNaN(t.LiveP95)}
		if t.AcceptError != nil {
			p.Asked = *t.AcceptError
		}
		return p
	}
	b := pad.Bounds{Fixed: trial(r.Trials[0]), Name: "mean over 2 s"}
	for _, t := range r.Trials[1:] {
		b.Trials = append(b.Trials, trial(t))
	}
	return b
}

func (a *app) printSimulation(r *simulation) error {
	if a.json {
		return a.printJSON(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "model %s %s, sha256 %.12s…; live from %s, spoof up to %s\n", r.Model.Name, r.Model.Version, r.Model.SHA256, number(r.LiveAt), number(r.SpoofAt))
	fmt.Fprintf(&b, "%d presentations of people and as many of attacks in each of %d folders, %s frames a second, correlation %v, refuse_error %s\n\n",
		r.Presentations, len(r.Folders), number(r.FPS), r.options.Correlation, share(r.options.RefuseError))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tAPCER\tattacks spoof\tundecided\tBPCER\tpeople spoof\tundecided\tlive after\t95 % by\tspoof after\t95 % by")
	for _, t := range r.Trials {
		name := "mean over 2 s"
		if t.AcceptError != nil {
			name = fmt.Sprintf("accept_error %g %%", 100**t.AcceptError)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, share(t.Attacks.Live), share(t.Attacks.Spoof), share(t.Attacks.Undecided),
			share(1-t.BonaFide.Live), share(t.BonaFide.Spoof), share(t.BonaFide.Undecided),
			seconds(t.LiveMedian), seconds(t.LiveP95), seconds(t.SpoofMedian), seconds(t.SpoofP95))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Plot != "" {
		fmt.Fprintf(&b, "\nplot: %s\n", r.Plot)
	}
	return a.printTables(b.String())
}

func seconds(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f s", *v)
}
