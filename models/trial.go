package models

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/tflite"
)

// Trial is how the nets did with a delegate.
type Trial struct {
	Median  float64 `json:"median_ms"`  // of a golden picture: all nets together, with what it takes to cut their pictures out
	Slowest float64 `json:"slowest_ms"` // the median of the slowest net: what a deadline must bear
	First   float64 `json:"first_ms"`   // the longest first picture of a net
	// Elsewhere names the models that have no file compiled for the accelerator and run without it.
	Elsewhere []string `json:"elsewhere,omitempty"`
}

// How far the answers of a delegate may lie from those of the built-in kernels.
const (
	tolerableEvidence = 0.6
	tolerableLive     = 0.1 // of P(live)
)

// rounds is how often the golden pictures are looked at to measure.
const rounds = 3

// TryDelegate lets the nets look at the golden pictures and tells how their answers differ from those that were recorded, and where nobody
// recorded any, or the delegate's code comes from elsewhere, from those of the library's built-in kernels; and how long they took. It
// runs the delegate in this process, which that can crash or hang; Prober.TryDelegate doesn't.
func TryDelegate(rt *tflite.Runtime, detector *Model, liveness []*Model, o Options) (t Trial, err error) {
	d, ls, closeNets, err := openNets(rt, detector, liveness, o)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, closeNets()) }()
	if t.Elsewhere, err = elsewhere(detector, liveness, o); err != nil {
		return t, err
	}
	g, err := readGolden()
	if err != nil {
		return t, err
	}
	for i := range g.Pictures {
		m, err := g.Pictures[i].image()
		if err != nil {
			return t, err
		}
		box := Box{0, 0, float64(m.Width) / 2, float64(m.Height) / 2}
		if f := g.Pictures[i].Face; f != nil {
			box = *f
		}
		if err := t.measure(i == 0, d, ls, m, box); err != nil {
			return t, &Deviation{err}
		}
	}
	if err := SelfTest(d, ls...); err != nil {
		return t, &Deviation{err}
	}
	if err := compare(rt, d, ls, o); err != nil {
		return t, &Deviation{err}
	}
	return t, nil
}

// Deviation is that nets run, and don't answer as they must.
type Deviation struct{ err error }

func (d *Deviation) Error() string { return d.err.Error() }
func (d *Deviation) Unwrap() error { return d.err }

// measure looks at a picture some times. Of the first picture the first look is the nets' first at all.
func (t *Trial) measure(first bool, d *Detector, ls []*Liveness, m *frame.Image, box Box) error {
	ms := func(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e3 }
	looks := []func() error{func() error { _, err := d.Detect(m); return err }}
	for _, l := range ls {
		looks = append(looks, func() error {
			if err := l.Crop(m, box); err != nil {
				return err
			}
			_, err := l.Judge()
			return err
		})
	}
	var sum float64
	for _, look := range looks {
		var times []time.Duration
		for i := range rounds {
			start := time.Now()
			if err := look(); err != nil {
				return err
			}
			took := time.Since(start)
			if first && i == 0 {
				t.First = math.Max(t.First, ms(took))
				continue
			}
			times = append(times, took)
		}
		slices.Sort(times)
		median := ms(times[len(times)/2])
		sum += median
		t.Slowest = math.Max(t.Slowest, median)
	}
	t.Median = math.Max(t.Median, sum)
	return nil
}

func openNets(rt *tflite.Runtime, detector *Model, liveness []*Model, o Options) (d *Detector, ls []*Liveness, close func() error, err error) {
	var opened []interface{ Close() error }
	close = func() error {
		var errs []error
		for _, c := range slices.Backward(opened) {
			errs = append(errs, c.Close())
		}
		return errors.Join(errs...)
	}
	if d, err = NewDetector(rt, detector, o); err != nil {
		return nil, nil, nil, err
	}
	opened = append(opened, d)
	for _, m := range liveness {
		l, err := NewLiveness(rt, m, o)
		if err != nil {
			return nil, nil, nil, errors.Join(err, close())
		}
		opened, ls = append(opened, l), append(ls, l)
	}
	return d, ls, close, nil
}

// elsewhere names the models that the accelerator doesn't get. All of them would be a run without it, in its name.
func elsewhere(detector *Model, liveness []*Model, o Options) (names []string, _ error) {
	if o.Compiled == "" {
		return nil, nil
	}
	all := append([]*Model{detector}, liveness...)
	for _, m := range all {
		if _, is := m.compiled[o.Compiled]; !is {
			names = append(names, m.Name)
		}
	}
	if len(names) == len(all) {
		return nil, fmt.Errorf("models: open %s %s (%s): %w", detector.Name, detector.Version, detector.From, &uncompiled{o.Compiled})
	}
	return names, nil
}

// compare lets the built-in kernels look at the same pictures.
func compare(rt *tflite.Runtime, d *Detector, ls []*Liveness, o Options) (err error) {
	g, err := readGolden()
	if err != nil {
		return err
	}
	foreign := tflite.Accelerator(o.Delegate)
	known := func(m *Model, digest string) bool { return !foreign && m.SHA256 == digest }
	all := known(d.model, g.Detector)
	var members []*Model
	for _, l := range ls {
		members = append(members, l.model)
		all = all && known(l.model, g.Liveness)
	}
	if all || o.Delegate == tflite.CPU {
		return nil // they were compared with what was recorded, or are what there is to compare with
	}
	rd, rls, closeNets, err := openNets(rt, d.model, members, Options{Threads: o.Threads, Delegate: tflite.CPU})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNets()) }()
	pictures, err := probePictures()
	if err != nil {
		return err
	}
	if !foreign { // kernels differ most where there is nothing to see; the golden ones come first
		pictures = pictures[:len(g.Pictures)]
	}
	for i := range pictures {
		m := &pictures[i]
		if err := compareFaces(d, rd, m); err != nil {
			return err
		}
		for j, l := range ls {
			if err := compareJudgements(l, rls[j], m); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareFaces looks twice: an accelerator that gives old answers, or anybody's, doesn't agree with itself.
func compareFaces(d, reference *Detector, m *frame.Image) error {
	want, err := reference.Detect(m)
	if err != nil {
		return err
	}
	p := 1 / (1 + math.Exp(-reference.surest()))
	for range 2 {
		got, err := d.Detect(m)
		if err != nil {
			return err
		}
		// Not >: a number that isn't one must fail.
		if q := 1 / (1 + math.Exp(-d.surest())); !(math.Abs(p-q) <= tolerableScore) {
			return fmt.Errorf("models: %s answers P(face) %.3f with %s, and %.3f with the built-in kernels", d.model.Name, q, d.Delegate(), p)
		}
		if len(got) == 0 || len(want) == 0 {
			continue // near the threshold
		}
		w := goldenPicture{File: "a picture", Face: &want[0].Box, Score: want[0].Score}
		if err := w.compareFace(goldenPicture{Face: &got[0].Box, Score: got[0].Score}); err != nil {
			return fmt.Errorf("models: %s answers otherwise with %s than with the built-in kernels: %w", d.model.Name, d.Delegate(), err)
		}
	}
	return nil
}

func compareJudgements(l, reference *Liveness, m *frame.Image) error {
	w, h := float64(m.Width), float64(m.Height)
	look := func(l *Liveness) (Judgement, error) {
		if err := l.Crop(m, Box{w / 3, h / 4, w / 4, h / 3}); err != nil {
			return Judgement{}, err
		}
		return l.Judge()
	}
	want, err := look(reference)
	if err != nil {
		return err
	}
	for range 2 {
		got, err := look(l)
		if err != nil {
			return err
		}
		if !(math.Abs(got.Evidence-want.Evidence) <= tolerableEvidence && math.Abs(got.Live-want.Live) <= tolerableLive) {
			return fmt.Errorf("models: %s answers P(live) %.3f (evidence %.2f) with %s, and %.3f (%.2f) with the built-in kernels",
				l.model.Name, got.Live, got.Evidence, l.Delegate(), want.Live, want.Evidence)
		}
	}
	return nil
}

// TrialError is why nets can't be run by a delegate.
type TrialError struct {
	Delegate string
	Stage    Stage
	Why      string
	hint     string
}

func (e *TrialError) Error() string { return "models: try " + e.Delegate + ": " + e.Why }

// Hint is what a technician should do.
func (e *TrialError) Hint() string { return e.hint }

// trial is what a child is asked to try: "" is the shipped model, all else a folder.
type trial struct {
	Detector string   `json:"detector"`
	Liveness []string `json:"liveness"`
	Options  Options  `json:"options"`
}

// TryDelegate is the package's TryDelegate in a child process. Whatever is wrong with the delegate is a *TrialError. A child's memory isn't
// limited: drivers map whole devices.
func (p *Prober) TryDelegate(ctx context.Context, detector *Model, liveness []*Model, o Options) (Trial, error) {
	q := probeRequest{Trial: &trial{Detector: detector.folder, Options: o}}
	for _, m := range liveness {
		q.Trial.Liveness = append(q.Trial.Liveness, m.folder)
	}
	a, err := p.ask(ctx, &q)
	if err != nil {
		return Trial{}, fmt.Errorf("models: try %s: %w", o.Delegate, err)
	}
	failed := func(hint, why string) (Trial, error) { return Trial{}, &TrialError{o.Delegate, a.Stage, why, hint} }
	switch {
	case a.Stage == StageHang:
		return failed("the accelerator or its driver hangs: unplug it and plug it in again, or take it out of inference.delegate", "it hung: the process that tried it "+a.Why)
	case a.Stage == StageCrash:
		return failed("the plug-in is damaged or doesn't fit this machine: ask its vendor for another version, or take it out of inference.delegate",
			"it crashed the process that tried it: "+a.Why)
	case a.Trial == nil:
		return failed(a.Hint, a.Why)
	}
	return *a.Trial, nil
}

func (q *probeRequest) tryDelegate() (*Trial, Stage, error) {
	rt, trust, stage, err := q.open()
	if err != nil {
		return nil, stage, err
	}
	load := func(folder string, task Task) (*Model, error) {
		if folder == "" {
			return Shipped(task)
		}
		return trust.LoadFolder(folder)
	}
	d, err := load(q.Trial.Detector, FaceDetection)
	if err != nil {
		return nil, StageBundle, err
	}
	var ls []*Model
	for _, folder := range q.Trial.Liveness {
		m, err := load(folder, LivenessTask)
		if err != nil {
			return nil, StageBundle, err
		}
		ls = append(ls, m)
	}
	t, err := TryDelegate(rt, d, ls, q.Trial.Options)
	if err != nil {
		return nil, StageNet, err
	}
	return &t, "", nil
}
