package graph

import (
	"fmt"
	"math"
)

// affine is a quantisation: real = scale × (stored − zero).
type affine struct {
	scale float32
	zero  int64
}

var (
	pixels        = affine{1, -128}        // of the input: pixel − 128 is stored
	probabilities = affine{1. / 256, -128} // what the kernels of Logistic insist on
)

// affineOf covers a range that contains 0 with 255 steps; 0 is exact.
func affineOf(low, high float64) affine {
	scale := float32((high - low) / 255)
	if !(scale > math.SmallestNonzeroFloat32*1e6) {
		return affine{1, -128} // it is always 0
	}
	zero := math.RoundToEven(-128 - low/float64(scale))
	return affine{scale, int64(math.Max(-128, math.Min(127, zero)))}
}

func (a affine) store(x float64) int8 {
	return int8(math.Max(-128, math.Min(127, math.Round(x/float64(a.scale))+float64(a.zero))))
}

// Int8 writes the net quantised, for values that lie in the ranges. Its input stores pixel − 128; its outputs are int8.
func (n *Net) Int8(r *Ranges) ([]byte, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := r.check(n); err != nil {
		return nil, err
	}
	f := file{description: n.description, quantised: true, inputs: []int{int(n.Input())}}
	steps := n.steps(r)
	for i, v := range n.values {
		f.tensor(activation(v.name, v, steps[i]))
	}
	for _, o := range n.ops {
		x := node{in: o.inputs(), out: []int{int(o.out)}}
		out := n.values[o.out]
		switch o.kind {
		case conv, depthwise:
			q := quantise(&o, out.c, steps[o.in[0]].scale)
			x.kind, x.options = convOptions(&o.filter, o.kind == depthwise)
			x.code, q.weights.dimension = opConv, 0
			if o.kind == depthwise {
				x.code, q.weights.dimension = opDepthwise, 3
			}
			q.weights.name, q.bias.name = out.name+"/weights", out.name+"/bias"
			q.weights.shape, q.bias.shape = n.weightShape(&o), []int{out.c}
			x.in = append(x.in, f.tensor(q.weights), f.tensor(q.bias))
		case prelu:
			last, err := n.int8PReLU(&f, &o, r)
			if err != nil {
				return nil, err
			}
			x = last
		default:
			n.plain(&f, &o, &x)
		}
		f.nodes = append(f.nodes, x)
	}
	for _, v := range n.outputs {
		f.outputs = append(f.outputs, int(v))
	}
	return f.bytes(), nil
}

func activation(name string, v value, a affine) tensor {
	return tensor{name: name, shape: v.shape(), kind: typeInt8, scale: []float32{a.scale}, zero: []int64{a.zero}}
}

// steps are the quantisations of the values.
func (n *Net) steps(r *Ranges) []affine {
	all := make([]affine, len(n.values))
	all[n.Input()] = pixels
	for _, o := range n.ops {
		switch o.kind {
		case pad, double:
			all[o.out] = all[o.in[0]]
		case logistic:
			all[o.out] = probabilities
		default:
			all[o.out] = affineOf(r.whole(o.out))
		}
	}
	return all
}

// int8PReLU makes x + relu((slope − 1)·x) of a PReLU, which is the same for slopes up to 1: kernels have no int8 PReLU. What is
// positive passes unchanged, so only what is negative is rounded twice.
func (n *Net) int8PReLU(f *file, o *op, r *Ranges) (node, error) {
	in, name := int(o.in[0]), n.values[o.out].name
	for c, s := range o.slopes {
		if s > 1 {
			return node{}, fmt.Errorf("graph: %s: slope %v of channel %d; int8 takes slopes up to 1", name, s, c)
		}
	}
	by, product := n.factors(o, r)
	constant := activation(name+"/factors", value{h: 1, w: 1, c: len(by.stored)}, by.affine)
	constant.data = int8s(by.stored)
	negative := f.tensor(activation(name+"/negative", n.values[o.out], product))
	f.nodes = append(f.nodes, node{code: opMul, in: []int{in, f.tensor(constant)}, out: []int{negative}, kind: optionsMul,
		options: []option{{0, activationReLU, false}}})
	return node{code: opAdd, in: []int{in, negative}, out: []int{int(o.out)}, kind: optionsAdd}, nil
}

// factors are slope − 1 for each channel of a PReLU.
type factors struct {
	affine
	stored []int8
}

// factors also gives the quantisation of what is made with them.
func (n *Net) factors(o *op, r *Ranges) (f factors, product affine) {
	real := make([]float64, len(o.slopes))
	var low, high float64
	for c, s := range o.slopes {
		real[c] = float64(s) - 1
		low = min(low, real[c])
		high = max(high, real[c]*r.values[o.in[0]][c].low)
	}
	f.affine = affineOf(low, 0)
	for _, x := range real {
		f.stored = append(f.stored, f.store(x))
	}
	return f, affineOf(0, high)
}

// quantised are the constants of a convolution.
type quantised struct{ weights, bias tensor }

// quantise makes int8 weights with a scale for each output, and the int32 bias that belongs to them.
func quantise(o *op, outputs int, input float32) quantised {
	w, b := o.filter.Weights, o.filter.Bias
	of := func(i int) int { return i / (len(w) / outputs) }
	if o.kind == depthwise {
		of = func(i int) int { return i % outputs }
	}
	largest := make([]float64, outputs)
	for i, x := range w {
		largest[of(i)] = math.Max(largest[of(i)], math.Abs(float64(x)))
	}
	scale, product, zero := make([]float32, outputs), make([]float32, outputs), make([]int64, outputs)
	bias := make([]int32, outputs)
	for c := range outputs {
		// A bias that is huge beside the weights must still fit.
		s := math.Max(largest[c]/127, math.Abs(float64(b[c]))/float64(input)/(1<<30))
		if !(s > math.SmallestNonzeroFloat32*1e6) {
			s = 1
		}
		scale[c] = float32(s)
		product[c] = input * scale[c]
		bias[c] = int32(math.RoundToEven(float64(b[c]) / float64(product[c])))
	}
	// In float32, by the inverse, and halves to the even side: as PyTorch's fake quantisation does, so that a net which was
	// trained with it gets the very weights that it was trained with.
	stored := make([]int8, len(w))
	for i, x := range w {
		inverse := 1 / scale[of(i)]
		stored[i] = int8(math.Max(-127, math.Min(127, math.RoundToEven(float64(x*inverse)))))
	}
	return quantised{tensor{kind: typeInt8, scale: scale, zero: zero, data: int8s(stored)},
		tensor{kind: typeInt32, scale: product, zero: zero, data: int32s(bias...)}}
}
