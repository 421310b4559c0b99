package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/tflite"
)

// ProbeReport is what a net did when it was tried.
type ProbeReport struct {
	Task     Task    `json:"task"`
	Name     string  `json:"name"`
	Version  string  `json:"version"`
	SHA256   string  `json:"sha256"`
	Signer   string  `json:"signed_by,omitempty"`
	Delegate string  `json:"delegate"`
	Runs     int     `json:"runs"`
	Median   float64 `json:"median_ms"` // of a run, with what it takes to cut its picture out
}

// steady is how far a net's answers to one picture may lie apart, in log-odds.
const steady = 1e-3

// Probe lets a model look at some pictures: its answers must be numbers, the same for the same picture, and not the same
// for all pictures. It runs the model in this process, which a bad file can crash or hang; Prober doesn't.
func Probe(rt *tflite.Runtime, m *Model, o Options) (ProbeReport, error) {
	r := ProbeReport{Task: m.Task, Name: m.Name, Version: m.Version, SHA256: m.SHA256, Signer: m.Signer}
	look, net, err := prober(rt, m, o)
	if err != nil {
		return r, err
	}
	defer net.Close()
	r.Delegate = net.Delegate()
	pictures, err := probePictures()
	if err != nil {
		return r, err
	}
	var times []time.Duration
	low, high := math.Inf(1), math.Inf(-1)
	for i := range pictures {
		var before float64
		for round := range 2 {
			start := time.Now()
			v, err := look(&pictures[i])
			if err != nil {
				return r, err
			}
			times = append(times, time.Since(start))
			if round > 0 && !(math.Abs(v-before) <= steady) {
				return r, fmt.Errorf("models: %s answers %v and then %v to the same picture", m.Name, before, v)
			}
			before, low, high = v, math.Min(low, v), math.Max(high, v)
		}
	}
	if !(high-low > steady) {
		return r, fmt.Errorf("models: %s gives one answer (%v) whatever it sees", m.Name, low)
	}
	slices.Sort(times)
	r.Runs, r.Median = len(times), math.Round(times[len(times)/2].Seconds()*1e6)/1e3
	return r, nil
}

// runner is what of a net Probe needs.
type runner interface {
	Delegate() string
	Close() error
}

// prober opens the net of a model, and gives what reduces its answer to a picture to one number.
func prober(rt *tflite.Runtime, m *Model, o Options) (look func(*frame.Image) (float64, error), _ runner, _ error) {
	if m.Task == FaceDetection {
		d, err := NewDetector(rt, m, o)
		if err != nil {
			return nil, nil, err
		}
		return func(p *frame.Image) (float64, error) {
			if _, err := d.Detect(p); err != nil {
				return 0, err
			}
			return d.surest(), nil
		}, d, nil
	}
	l, err := NewLiveness(rt, m, o)
	if err != nil {
		return nil, nil, err
	}
	return func(p *frame.Image) (float64, error) {
		w, h := float64(p.Width), float64(p.Height)
		if err := l.Crop(p, Box{w / 3, h / 4, w / 4, h / 3}); err != nil {
			return 0, err
		}
		j, err := l.Judge()
		return j.LogOdds, err
	}, l, nil
}

// probePictures are the golden ones, black, white, and noise.
func probePictures() ([]frame.Image, error) {
	g, err := readGolden()
	if err != nil {
		return nil, err
	}
	var all []frame.Image
	for _, p := range g.Pictures {
		m, err := p.image()
		if err != nil {
			return nil, err
		}
		all = append(all, *m)
	}
	const w, h = 320, 240
	r := rand.New(rand.NewPCG(1, 2))
	black, white, noise := make([]byte, 2*w*h), make([]byte, 2*w*h), make([]byte, 2*w*h)
	for i := range noise {
		black[i], white[i], noise[i] = 128, 128, byte(r.UintN(256))
		if i%2 == 0 {
			black[i], white[i] = 16, 235
		}
	}
	return append(all, frame.YUYV(black, w, h, 2*w), frame.YUYV(white, w, h, 2*w), frame.YUYV(noise, w, h, 2*w)), nil
}

// Stage is how far a model came in a probe before it failed.
type Stage string

// The stages.
const (
	StageRuntime Stage = "runtime" // the child couldn't load TensorFlow Lite
	StageBundle  Stage = "bundle"  // manifest, digest, signature
	StageNet     Stage = "net"     // the library refuses the file, its tensors aren't the manifest's, or its answers are no answers
	StageCrash   Stage = "crash"   // the child died
	StageHang    Stage = "hang"    // the child was stopped
)

// ProbeError is why a model failed its probe.
type ProbeError struct {
	Folder string
	Stage  Stage
	Why    string
	hint   string
}

func (e *ProbeError) Error() string {
	switch e.Stage {
	case StageBundle:
		return e.Why // names the file itself
	case StageCrash, StageHang:
		return fmt.Sprintf("models: MODEL_REFUSED: probe %s: %s", e.Folder, e.Why)
	}
	return fmt.Sprintf("models: probe %s: %s", e.Folder, e.Why)
}

// Hint is what a technician should do.
func (e *ProbeError) Hint() string { return e.hint }

// Prober tries models in child processes: a file that crashes the library, hangs it, or makes it ask for all memory ends a
// child, and nothing else.
type Prober struct {
	Command []string      // a program and its arguments that call ServeProbe on standard input and output
	Limit   time.Duration // for a probe; 0: a minute
	Memory  uint64        // of a child's addresses in bytes; 0: 2 GiB, where addresses have 64 bits
	Runtime string        // path of the library, "" to look for it
	Options []Options     // how nets may be run: the first that the model passes with counts. None: the default alone
	Trust   *Trust
}

// probeRequest is what the parent writes to the child's standard input.
type probeRequest struct {
	Folder  string    `json:"folder,omitempty"`
	Trial   *trial    `json:"trial,omitempty"` // in place of the folder
	Runtime string    `json:"runtime"`
	Options []Options `json:"options"`
	Keys    []string  `json:"keys"`
	Seconds uint64    `json:"seconds"`
	Memory  uint64    `json:"memory"`
}

// probeAnswer is what the child writes to its standard output.
type probeAnswer struct {
	Report *ProbeReport `json:"report,omitempty"`
	Trial  *Trial       `json:"trial,omitempty"`
	Stage  Stage        `json:"stage,omitempty"`
	Why    string       `json:"why,omitempty"`
	Hint   string       `json:"hint,omitempty"`
}

// maxProbeOutput bounds what a child that went mad can write, in bytes.
const maxProbeOutput = 64 << 10

// Probe tries the model in a folder. What is wrong with the model is a *ProbeError.
func (p *Prober) Probe(ctx context.Context, folder string) (ProbeReport, error) {
	q := probeRequest{Folder: folder, Options: p.Options, Memory: p.Memory}
	if q.Memory == 0 && math.MaxUint == math.MaxUint64 {
		q.Memory = 2 << 30
	}
	if len(q.Options) == 0 {
		q.Options = []Options{{}}
	}
	failed := func(s Stage, hint, why string) (ProbeReport, error) {
		return ProbeReport{}, &ProbeError{folder, s, why, hint}
	}
	a, err := p.ask(ctx, &q)
	switch {
	case err != nil:
		return ProbeReport{}, fmt.Errorf("models: probe %s: %w", folder, err)
	case a.Stage == StageHang:
		return failed(a.Stage, harmful, "the model hung: the process that tried it "+a.Why)
	case a.Stage == StageCrash:
		return failed(a.Stage, harmful, "the model crashed the process that tried it: "+a.Why)
	case a.Report == nil:
		return failed(a.Stage, a.Hint, a.Why)
	}
	return *a.Report, nil
}

const harmful = "don't use this model: the file is damaged, or made to do harm"

// ask lets a child try. What becomes of it is in the answer: it died (StageCrash), or was stopped (StageHang).
func (p *Prober) ask(ctx context.Context, q *probeRequest) (*probeAnswer, error) {
	if len(p.Command) == 0 {
		return nil, errors.New("no command for the child")
	}
	limit := p.Limit
	if limit <= 0 {
		limit = time.Minute
	}
	q.Runtime, q.Keys, q.Seconds = p.Runtime, p.Trust.Keys(), uint64(limit/time.Second)+1
	request, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := exec.CommandContext(limited, p.Command[0], p.Command[1:]...)
	c.WaitDelay = 5 * time.Second
	out, complaints := &bounded{limit: maxProbeOutput}, &bounded{limit: maxProbeOutput}
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(request), out, complaints
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return &probeAnswer{Stage: StageHang, Why: fmt.Sprintf("was stopped after %v", limit)}, nil
	case errors.As(err, &exit):
		return &probeAnswer{Stage: StageCrash, Why: exit.Error() + telling(complaints.buf.Bytes())}, nil
	case err != nil:
		return nil, fmt.Errorf("start a child process: %w", err)
	}
	var a probeAnswer
	if err := json.Unmarshal(out.buf.Bytes(), &a); err != nil || a.Report == nil && a.Trial == nil && a.Stage == "" {
		return &probeAnswer{Stage: StageCrash, Why: "it gave no answer" + telling(complaints.buf.Bytes())}, nil
	}
	return &a, nil
}

// telling is the line in which a process that died says why, for people.
func telling(b []byte) string {
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "SIG") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "panic:") {
			return ": " + strings.ToValidUTF8(line[:min(len(line), 200)], "?")
		}
	}
	return ""
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	buf   bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.buf.Write(p[:max(0, min(len(p), b.limit-b.buf.Len()))])
	return len(p), nil
}

// patience is how much longer than it may a child lives whose parent is gone.
const patience = 10 * time.Second

// ServeProbe is the child of a Prober: it reads what to try from in, tries it, and writes the answer to out. It limits its
// own time and memory, so that it ends even where its parent is gone; the process must do nothing else.
func ServeProbe(in io.Reader, out io.Writer) error {
	var q probeRequest
	if err := json.NewDecoder(io.LimitReader(in, 1<<20)).Decode(&q); err != nil {
		return fmt.Errorf("models: read what to probe: %w", err)
	}
	if err := limitProcess(q.Seconds, q.Memory); err != nil {
		return fmt.Errorf("models: limit the probe: %w", err)
	}
	// What waits for a device takes no processor time.
	end := time.AfterFunc(time.Duration(min(q.Seconds, 24*60*60))*time.Second+patience, func() { os.Exit(1) })
	defer end.Stop()
	var a probeAnswer
	var stage Stage
	var err error
	if q.Trial != nil {
		a.Trial, stage, err = q.tryDelegate()
	} else {
		a.Report, stage, err = q.try()
	}
	if err != nil {
		a = probeAnswer{Stage: stage, Why: err.Error()}
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			a.Hint = h.Hint()
		}
	}
	return json.NewEncoder(out).Encode(a)
}

// open loads what every trial needs.
func (q *probeRequest) open() (*tflite.Runtime, *Trust, Stage, error) {
	rt, err := tflite.Load(tflite.LoadOptions{Path: q.Runtime})
	if err != nil {
		return nil, nil, StageRuntime, err
	}
	trust, err := NewTrust(q.Keys)
	return rt, trust, StageBundle, err
}

func (q *probeRequest) try() (*ProbeReport, Stage, error) {
	rt, trust, stage, err := q.open()
	if err != nil {
		return nil, stage, err
	}
	m, err := trust.LoadFolder(q.Folder)
	if err != nil {
		return nil, StageBundle, err
	}
	var errs []error
	for _, o := range q.Options {
		r, err := Probe(rt, m, o)
		if err == nil {
			return &r, "", nil
		}
		errs = append(errs, err)
	}
	return nil, StageNet, errors.Join(errs...)
}
