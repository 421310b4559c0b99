// Package graph describes small convolutional nets and writes them as .tflite files, in float32 or in int8.
//
// A Net is built operator by operator from numbers, or read from a description that another program wrote (Read); Float32 writes
// it as it is, Observed with every value as an output, and Int8 quantised for the ranges that its values were seen to take. Equalise makes a net quantise better without changing what
// it computes. The package promises that the same net and ranges give the same bytes; that a net which doesn't fit together is
// an error and no file; and, for int8, weights per channel, an input that stores pixel − 128, and only operators that XNNPACK
// and accelerators take as a whole. It runs nothing, and says nothing about how good a quantised net is: compare its answers
// with the float ones.
package graph

import (
	"fmt"
	"math"
	"slices"
)

// Value is what one operator of a Net makes, or its input: one picture of height × width × channels.
type Value int

// Net is a graph under construction. Its methods remember the first thing that doesn't fit, and writing it reports that; so
// they can be called one after the other without looking. A Net is for one goroutine.
type Net struct {
	description string
	values      []value
	ops         []op
	outputs     []Value
	err         error
}

type value struct {
	name    string
	h, w, c int
}

type kind int

const (
	pad kind = iota
	conv
	depthwise
	prelu
	add
	mul
	mean
	logistic
	double
)

var kindNames = [...]string{"pad", "conv", "depthwise", "prelu", "add", "mul", "mean", "logistic", "double"}

type op struct {
	kind   kind
	in     []Value
	out    Value
	filter Filter     // conv and depthwise
	slopes []float32  // prelu
	edges  Edges      // pad
	act    Activation // add
}

// activation is what the operator does to what it has computed.
func (o *op) activation() Activation {
	if o.kind == conv || o.kind == depthwise {
		return o.filter.Activation
	}
	return o.act
}

// Activation is what becomes of a result before anybody sees it.
type Activation int

const (
	Linear Activation = iota // nothing
	ReLU                     // what is negative becomes 0
	ReLU6                    // and what is above 6 becomes 6
)

// Edges is how many rows and columns of zeros are put around a value.
type Edges struct{ Top, Bottom, Left, Right int }

// Filter is a convolution. It looks at whole windows only, unless Same is set.
type Filter struct {
	Height, Width int
	Stride        int // 0: 1
	// Same pads with zeros as TensorFlow does: stride 1 keeps the size, a larger one divides it and rounds up, and of an odd
	// number of rows or columns the larger half is at the bottom or right. PyTorch pads otherwise: use Pad for that.
	Same       bool
	Activation Activation
	// Weights are [out][height][width][in] for Conv and [height][width][channel] for Depthwise; Bias has one for each output.
	Weights, Bias []float32
}

// New begins a net with one input. The description ends up in the file.
func New(description string, height, width, channels int) *Net {
	n := &Net{description: description}
	if min(height, width, channels) < 1 || max(height, width, channels) > maxSide {
		n.fail("input of %d×%d×%d", height, width, channels)
	}
	n.values = []value{{"input", height, width, channels}}
	return n
}

// maxSide bounds each side of a value, so that sizes can be multiplied.
const maxSide = 1 << 14

func (n *Net) fail(format string, args ...any) {
	if n.err == nil {
		n.err = fmt.Errorf("graph: "+format, args...)
	}
}

// Input is the net's picture.
func (n *Net) Input() Value { return 0 }

// Values are how many there are; they are numbered from 0.
func (n *Net) Values() int { return len(n.values) }

// Channels of a value.
func (n *Net) Channels(v Value) int { return n.at(v).c }

func (n *Net) at(v Value) value {
	if v < 0 || int(v) >= len(n.values) {
		n.fail("there is no value %d", v)
		return value{"missing", 1, 1, 1}
	}
	return n.values[v]
}

func (n *Net) operator(o op, h, w, c int) Value {
	o.out = Value(len(n.values))
	if h < 1 || w < 1 || max(h, w, c) > maxSide {
		n.fail("%s of %s: the result is %d×%d×%d", kindNames[o.kind], n.at(o.in[0]).name, h, w, c)
	}
	n.values = append(n.values, value{fmt.Sprintf("%s_%d", kindNames[o.kind], o.out), h, w, c})
	n.ops = append(n.ops, o)
	return o.out
}

// Name calls a value something in the file.
func (n *Net) Name(v Value, name string) Value {
	n.at(v)
	if n.err == nil {
		n.values[v].name = name
	}
	return v
}

// Pad puts zeros around x.
func (n *Net) Pad(x Value, e Edges) Value {
	v := n.at(x)
	if min(e.Top, e.Bottom, e.Left, e.Right) < 0 || max(e.Top, e.Bottom, e.Left, e.Right) > maxSide {
		n.fail("pad of %s: edges %+v", v.name, e)
	}
	return n.operator(op{kind: pad, in: []Value{x}, edges: e}, v.h+e.Top+e.Bottom, v.w+e.Left+e.Right, v.c)
}

// Conv convolves all channels of x with each other; there are as many results as biases.
func (n *Net) Conv(x Value, f Filter) Value {
	v := n.at(x)
	n.checkFilter(conv, v, &f, len(f.Bias)*f.Height*f.Width*v.c)
	h, w := f.size(v)
	return n.operator(op{kind: conv, in: []Value{x}, filter: f}, h, w, len(f.Bias))
}

// Depthwise convolves each channel of x with a filter of its own.
func (n *Net) Depthwise(x Value, f Filter) Value {
	v := n.at(x)
	n.checkFilter(depthwise, v, &f, f.Height*f.Width*v.c)
	if len(f.Bias) != v.c {
		n.fail("depthwise of %s: %d biases for %d channels", v.name, len(f.Bias), v.c)
	}
	h, w := f.size(v)
	return n.operator(op{kind: depthwise, in: []Value{x}, filter: f}, h, w, v.c)
}

func (n *Net) checkFilter(k kind, v value, f *Filter, weights int) {
	if f.Stride == 0 {
		f.Stride = 1
	}
	switch {
	case min(f.Height, f.Width, f.Stride, len(f.Bias)) < 1 || max(f.Height, f.Width, f.Stride, len(f.Bias)) > maxSide:
		n.fail("%s of %s: window %d×%d, stride %d, %d biases", kindNames[k], v.name, f.Height, f.Width, f.Stride, len(f.Bias))
		f.Height, f.Width, f.Stride = 1, 1, 1
	case f.Activation < Linear || f.Activation > ReLU6:
		n.fail("%s of %s: there is no activation %d", kindNames[k], v.name, f.Activation)
	case len(f.Weights) != weights:
		n.fail("%s of %s: %d weights, need %d", kindNames[k], v.name, len(f.Weights), weights)
	case !finite(f.Weights) || !finite(f.Bias):
		n.fail("%s of %s: a weight is not a number", kindNames[k], v.name)
	}
}

func (f *Filter) size(v value) (h, w int) {
	if f.Same {
		return (v.h + f.Stride - 1) / f.Stride, (v.w + f.Stride - 1) / f.Stride
	}
	if v.h < f.Height || v.w < f.Width {
		return 0, 0
	}
	return (v.h-f.Height)/f.Stride + 1, (v.w-f.Width)/f.Stride + 1
}

func finite(all []float32) bool {
	for _, x := range all {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}

// PReLU multiplies what is negative with a slope for each channel.
func (n *Net) PReLU(x Value, slopes []float32) Value {
	v := n.at(x)
	if len(slopes) != v.c || !finite(slopes) {
		n.fail("prelu of %s: %d slopes for %d channels", v.name, len(slopes), v.c)
	}
	return n.operator(op{kind: prelu, in: []Value{x}, slopes: slopes}, v.h, v.w, v.c)
}

// Add adds two values of one size.
func (n *Net) Add(a, b Value, then Activation) Value {
	v, w := n.at(a), n.at(b)
	if v.h != w.h || v.w != w.w || v.c != w.c {
		n.fail("add: %s is %d×%d×%d, %s is %d×%d×%d", v.name, v.h, v.w, v.c, w.name, w.h, w.w, w.c)
	}
	if then < Linear || then > ReLU6 {
		n.fail("add of %s: there is no activation %d", v.name, then)
	}
	return n.operator(op{kind: add, in: []Value{a, b}, act: then}, v.h, v.w, v.c)
}

// Double makes x twice as high and wide, bilinearly; the centres of pixels are at halves, as in OpenCV and PyTorch
// (align_corners=False). For other sizes the built-in int8 kernel's steps between pixels are so coarse that they show.
func (n *Net) Double(x Value) Value {
	v := n.at(x)
	return n.operator(op{kind: double, in: []Value{x}}, 2*v.h, 2*v.w, v.c)
}

// Gate multiplies each channel of x with one number, as squeeze-and-excitation does. The gate comes from Logistic.
func (n *Net) Gate(x, gate Value) Value {
	v, g := n.at(x), n.at(gate)
	if g.h != 1 || g.w != 1 || g.c != v.c {
		n.fail("gate: %s has %d channels, %s is %d×%d×%d", v.name, v.c, g.name, g.h, g.w, g.c)
	}
	if !slices.ContainsFunc(n.ops, func(o op) bool { return o.kind == logistic && o.out == gate }) {
		n.fail("gate: %s doesn't come from Logistic", g.name)
	}
	return n.operator(op{kind: mul, in: []Value{x, gate}}, v.h, v.w, v.c)
}

// Mean is the mean of each channel of x.
func (n *Net) Mean(x Value) Value {
	return n.operator(op{kind: mean, in: []Value{x}}, 1, 1, n.at(x).c)
}

// Logistic is 1 / (1 + exp(−x)).
func (n *Net) Logistic(x Value) Value {
	v := n.at(x)
	return n.operator(op{kind: logistic, in: []Value{x}}, v.h, v.w, v.c)
}

// Output declares what the net answers.
func (n *Net) Output(v Value) {
	n.at(v)
	if slices.Contains(n.outputs, v) || v == n.Input() {
		n.fail("output: %s is one already, or the input", n.at(v).name)
	}
	n.outputs = append(n.outputs, v)
}

func (n *Net) check() error {
	if n.err == nil && len(n.outputs) == 0 {
		n.fail("a net without an output")
	}
	return n.err
}
