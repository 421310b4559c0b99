package silentface

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/livenessd/livenessd/models/graph"
	"github.com/livenessd/livenessd/tflite"
)

// classes of the nets' answers; class live is a live face, the others are kinds of attacks.
const (
	classes = 3
	live    = 1
)

// runner runs one net on pictures.
type runner struct {
	*tflite.Interpreter
	int8 bool
}

func open(rt *tflite.Runtime, data []byte, delegate string, int8 bool, outputs []tflite.TensorSpec) (*runner, error) {
	in := tflite.TensorSpec{Type: tflite.Float32, Shape: []int{1, side, side, 3}}
	if int8 {
		scale, zero := 1., -128
		in.Type, in.Scale, in.ZeroPoint = tflite.Int8, &scale, &zero
	}
	sum := sha256.Sum256(data)
	ip, err := rt.New(data, tflite.Options{SHA256: hex.EncodeToString(sum[:]), Delegate: delegate,
		Inputs: []tflite.TensorSpec{in}, Outputs: outputs})
	if err != nil {
		return nil, err
	}
	return &runner{ip, int8}, nil
}

func (r *runner) run(p *picture) error {
	if r.int8 {
		in, err := r.InputInt8(0)
		if err != nil {
			return err
		}
		for i, x := range p {
			in[i] = int8(x ^ 0x80) // pixel − 128
		}
		return r.Invoke()
	}
	in, err := r.InputFloat32(0)
	if err != nil {
		return err
	}
	for i, x := range p {
		in[i] = float32(x)
	}
	return r.Invoke()
}

// softmax runs the net and makes probabilities of its logits.
func (r *runner) softmax(p *picture) ([classes]float64, error) {
	var logits [classes]float32
	var out [classes]float64
	if err := r.run(p); err != nil {
		return out, err
	}
	if err := r.OutputFloat32(0, logits[:]); err != nil {
		return out, err
	}
	var sum float64
	for i, x := range logits {
		out[i] = math.Exp(float64(x) - float64(logits[live]))
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out, nil
}

// files are a net in the two number formats.
type files struct{ float32, int8 []byte }

// deviations is how far the ranges of int8 values reach. With 6 the nets saw too little, with 12 too coarsely: the answers to
// pictures that aren't used for calibration were farther from the float net's with both.
const deviations = 8

// convert makes the files of a net, looking at the pictures with it.
func convert(ctx context.Context, rt *tflite.Runtime, delegate string, net *graph.Net, pictures []picture) (files, error) {
	var f files
	var err error
	if f.float32, err = net.Float32(); err != nil {
		return f, err
	}
	ranges, err := observe(ctx, rt, delegate, net, pictures)
	if err != nil {
		return f, fmt.Errorf("calibrate: %w", err)
	}
	equal, ranges, err := net.Equalise(ranges.Clip(deviations))
	if err != nil {
		return f, err
	}
	f.int8, err = equal.Int8(ranges)
	return f, err
}

// observe runs the net on the pictures and tells between which numbers its values lie.
func observe(ctx context.Context, rt *tflite.Runtime, delegate string, net *graph.Net,
	pictures []picture) (_ *graph.Ranges, err error) {
	data, err := net.Observed()
	if err != nil {
		return nil, err
	}
	r, err := open(rt, data, delegate, false, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	ranges := graph.NewRanges(net)
	values := make([][]float32, len(r.Outputs()))
	for i, t := range r.Outputs() {
		values[i] = make([]float32, t.Elements())
	}
	for i := range pictures {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.run(&pictures[i]); err != nil {
			return nil, err
		}
		for j, v := range values {
			if err := r.OutputFloat32(j, v); err != nil {
				return nil, err
			}
			if err := ranges.Observe(graph.Value(j+1), v); err != nil {
				return nil, err
			}
		}
	}
	return ranges, nil
}
