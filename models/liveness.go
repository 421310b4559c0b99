package models

import (
	"errors"
	"fmt"
	"math"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/tflite"
)

// Judgement is what a liveness net says of one face in one frame.
type Judgement struct {
	Live    float64 // P(live), 0…1
	LogOdds float64 // log(P(live) / (1 − P(live))), from the logits where the net gives them
	Attack  string  // the likeliest kind of attack, "" where the net doesn't tell kinds apart
	// Evidence is log(p(answer | bona fide) / p(answer | attack)), by the manifest's calibration.
	Evidence float64
}

// Liveness is a liveness net that is ready to judge. It is for one goroutine.
type Liveness struct {
	net    *network
	model  *Model
	crop   *sampler
	logits []float32
	least  float64 // what a probability that was rounded to 0 may have been
}

// NewLiveness makes a liveness net of a model.
func NewLiveness(rt *tflite.Runtime, m *Model, o Options) (*Liveness, error) {
	if m.Task != LivenessTask {
		return nil, fmt.Errorf("models: %s (%s) is a model for %s, not %s", m.Name, m.From, m.Task, LivenessTask)
	}
	net, err := openNetwork(rt, m, o, []tflite.TensorSpec{{Type: tflite.AnyType}})
	if err != nil {
		return nil, err
	}
	n := 1
	for _, d := range net.Outputs()[0].Shape {
		n *= d
	}
	if n != m.Output.Classes {
		return nil, errors.Join(fmt.Errorf("models: %s (%s) has %d outputs, its manifest says %d classes", m.Name, m.From, n, m.Output.Classes), net.Close())
	}
	// A quantised softmax knows probabilities to half a step; no kind of softmax is surer than one in a million.
	least := math.Max(1e-6, net.Outputs()[0].Scale/2)
	return &Liveness{net: net, model: m, crop: newSampler(m.Input.Width, m.Input.Height, m.Input.Order), logits: make([]float32, n), least: least}, nil
}

// Model is the model that judges.
func (l *Liveness) Model() *Model { return l.model }

// Delegate names what runs the net.
func (l *Liveness) Delegate() string { return l.net.Delegate() }

// Close frees the net. It is idempotent.
func (l *Liveness) Close() error { return l.net.Close() }

// Crop cuts the face out of the picture, by the model's rule, into the net's picture.
func (l *Liveness) Crop(m *frame.Image, face Box) error {
	if err := m.Check(); err != nil {
		return err
	}
	c := l.model.Crop
	r, err := c.rect(face, &l.model.Input, m.Width, m.Height)
	if err != nil {
		return err
	}
	l.crop.sample(l.net.pix, m, r)
	if c.Outside == "black" {
		l.crop.blacken(l.net.pix, r, m.Width, m.Height)
	}
	return nil
}

// Judge runs the net on what Crop cut out.
func (l *Liveness) Judge() (Judgement, error) {
	if err := l.net.run(); err != nil {
		return Judgement{}, fmt.Errorf("models: run %s: %w", l.model.Name, err)
	}
	if err := l.net.OutputFloat32(0, l.logits); err != nil {
		return Judgement{}, fmt.Errorf("models: run %s: %w", l.model.Name, err)
	}
	j, err := judgement(l.logits, l.model.Output, l.least)
	if err == nil {
		j.Evidence = l.model.evidence(j.LogOdds)
	}
	return j, err
}

// judgement reads the outputs of a net. least is the smallest probability that a softmax can tell from 0.
func judgement(out []float32, o *Output, least float64) (Judgement, error) {
	if !finite(out...) {
		return Judgement{}, ErrNotFinite
	}
	logit := func(i int) float64 { return float64(out[i]) }
	if o.Kind == "softmax" {
		// A probability of 0 or 1 after rounding is not infinitely sure.
		logit = func(i int) float64 { return math.Log(math.Min(math.Max(float64(out[i]), least), 1)) }
	}
	best, kind := math.Inf(-1), ""
	for i := range out {
		if i != o.Live && logit(i) > best {
			best, kind = logit(i), o.Attacks[i]
		}
	}
	var rest float64
	for i := range out {
		if i != o.Live {
			rest += math.Exp(logit(i) - best)
		}
	}
	odds := logit(o.Live) - best - math.Log(rest)
	return Judgement{Live: 1 / (1 + math.Exp(-odds)), LogOdds: odds, Attack: kind}, nil
}
