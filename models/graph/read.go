package graph

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Format and Version of a description that Read takes.
const (
	Format  = "livenessd-net"
	Version = 1
)

// Bounds of a description: of its text and its numbers in bytes, and of its operators.
const (
	maxText      = 1 << 20
	maxNumbers   = 64 << 20
	maxOperators = 256
)

// Kinds are the operators that a description can name.
func Kinds() []string { return slices.Clone(kindNames[:]) }

// description is a net as another program wrote it down.
type description struct {
	Format      string `json:"format"`
	Version     int    `json:"version"`
	Description string `json:"description"`
	Input       struct {
		Name     string `json:"name"`
		Height   int    `json:"height"`
		Width    int    `json:"width"`
		Channels int    `json:"channels"`
	} `json:"input"`
	Operators []described `json:"operators"`
	Outputs   []string    `json:"outputs"`
}

// described is an operator of a description. Its name is that of the value that it makes.
type described struct {
	Kind       string      `json:"kind"`
	Name       string      `json:"name"`
	Inputs     []string    `json:"inputs"`
	Activation string      `json:"activation"` // relu or relu6; of conv, depthwise and add
	Window     *[2]int     `json:"window"`     // height and width; of conv and depthwise, as what follows
	Stride     int         `json:"stride"`
	Same       bool        `json:"same"`
	Outputs    int         `json:"outputs"` // channels that a conv makes
	Edges      *[4]int     `json:"edges"`   // top, bottom, left and right; of pad
	Range      *[2]float64 `json:"range"`   // between which numbers the value lies; not of pad, logistic and double, where it follows
}

// Read makes a net of a description, and the ranges of its values where the description has them; without, they are nil.
//
// The description is JSON: see testdata/net.json. Its numbers are float32, little-endian, one after the other as the operators
// need them: a conv's or depthwise's weights (in the order that Filter wants) and then its biases, a prelu's slopes. A field that
// there isn't, one that doesn't belong to its operator, a number too few or too many is an error: a program that describes
// something else than Read understands shouldn't get a file.
func Read(text, numbers io.Reader) (*Net, *Ranges, error) {
	d, err := readDescription(text)
	if err != nil {
		return nil, nil, fmt.Errorf("graph: read a description: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(numbers, maxNumbers+1))
	if err != nil {
		return nil, nil, fmt.Errorf("graph: read a description's numbers: %w", err)
	}
	if len(data) > maxNumbers || len(data)%4 != 0 {
		return nil, nil, fmt.Errorf("graph: read a description's numbers: %d bytes or more; four for each number, and at most %d", len(data), maxNumbers)
	}
	r := reader{net: New(d.Description, d.Input.Height, d.Input.Width, d.Input.Channels), data: data, values: map[string]Value{}}
	r.call(r.net.Input(), d.Input.Name)
	ranges := 0
	for i := range d.Operators {
		if r.net.err != nil {
			break
		}
		r.operator(&d.Operators[i])
		if d.Operators[i].Range != nil {
			ranges++
		}
	}
	for _, name := range d.Outputs {
		r.net.Output(r.value(name))
	}
	if len(r.data) > 0 {
		r.net.fail("%d numbers are left over", len(r.data)/4)
	}
	if err := r.net.check(); err != nil {
		return nil, nil, err
	}
	if ranges == 0 {
		return r.net, nil, nil
	}
	given, err := r.ranges(d.Operators)
	return r.net, given, err
}

func readDescription(text io.Reader) (*description, error) {
	var d description
	in := json.NewDecoder(io.LimitReader(text, maxText))
	in.DisallowUnknownFields()
	if err := in.Decode(&d); err != nil {
		return nil, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows it, or it is larger than %d bytes", maxText)
	}
	if d.Format != Format || d.Version != Version {
		return nil, fmt.Errorf("format %q, version %d; this program reads %q, version %d", d.Format, d.Version, Format, Version)
	}
	if len(d.Operators) > maxOperators {
		return nil, fmt.Errorf("%d operators; at most %d", len(d.Operators), maxOperators)
	}
	return &d, nil
}

// reader turns a description into a net; what doesn't fit is remembered by the net.
type reader struct {
	net    *Net
	data   []byte
	values map[string]Value
}

// call gives a value its name, which no other may have.
func (r *reader) call(v Value, name string) {
	if _, taken := r.values[name]; taken || name == "" || len(name) > 100 {
		r.net.fail("value %d: the name %q is taken, empty or too long", v, name)
	}
	r.values[name] = r.net.Name(v, name)
}

func (r *reader) value(name string) Value {
	v, ok := r.values[name]
	if !ok {
		r.net.fail("there is no value %q before it is asked for", name)
	}
	return v
}

// take gives the next so many numbers.
func (r *reader) take(name string, n int64) []float32 {
	if n < 0 || n > int64(len(r.data)/4) {
		r.net.fail("%s needs %d numbers, %d are left", name, n, len(r.data)/4)
		return nil
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(r.data[4*i:]))
	}
	r.data = r.data[4*n:]
	return out
}

var activationNames = map[string]Activation{"": Linear, "relu": ReLU, "relu6": ReLU6}

func (r *reader) operator(o *described) {
	k := kind(slices.Index(kindNames[:], o.Kind))
	if k < 0 {
		r.net.fail("%s: there is no operator %q", o.Name, o.Kind)
		return
	}
	filters := k == conv || k == depthwise
	inputs := 1
	if k == add || k == mul {
		inputs = 2
	}
	act, known := activationNames[o.Activation]
	switch {
	case len(o.Inputs) != inputs:
		r.net.fail("%s has %d inputs, need %d", o.Name, len(o.Inputs), inputs)
	case !known:
		r.net.fail("%s: there is no activation %q", o.Name, o.Activation)
	case act != Linear && !filters && k != add,
		filters != (o.Window != nil), !filters && (o.Stride != 0 || o.Same),
		(k == conv) != (o.Outputs != 0), (k == pad) != (o.Edges != nil), follows(k) && o.Range != nil:
		r.net.fail("%s: a field is missing, or doesn't belong to %s", o.Name, o.Kind)
	}
	if r.net.err != nil {
		return
	}
	x := r.value(o.Inputs[0])
	c := r.net.Channels(x)
	var y Value
	switch k {
	case conv, depthwise:
		y = r.filtered(o, k, x, act)
	case pad:
		e := o.Edges
		y = r.net.Pad(x, Edges{e[0], e[1], e[2], e[3]})
	case prelu:
		y = r.net.PReLU(x, r.take(o.Name, int64(c)))
	case add:
		y = r.net.Add(x, r.value(o.Inputs[1]), act)
	case mul:
		y = r.net.Gate(x, r.value(o.Inputs[1]))
	case mean:
		y = r.net.Mean(x)
	case logistic:
		y = r.net.Logistic(x)
	case double:
		y = r.net.Double(x)
	}
	r.call(y, o.Name)
}

func (r *reader) filtered(o *described, k kind, x Value, act Activation) Value {
	f := Filter{Height: o.Window[0], Width: o.Window[1], Stride: o.Stride, Same: o.Same, Activation: act}
	in, out := r.net.Channels(x), o.Outputs
	if k == depthwise {
		in, out = 1, in
	}
	if min(f.Height, f.Width, out) < 1 || max(f.Height, f.Width, out) > maxSide { // so that they can be multiplied
		r.net.fail("%s: window %d×%d, %d outputs", o.Name, f.Height, f.Width, out)
		return x
	}
	f.Weights = r.take(o.Name, int64(f.Height)*int64(f.Width)*int64(in)*int64(out))
	f.Bias = r.take(o.Name, int64(out))
	if k == depthwise {
		return r.net.Depthwise(x, f)
	}
	return r.net.Conv(x, f)
}

// follows tells whether an operator's quantisation isn't a matter of choice.
func follows(k kind) bool { return k == pad || k == logistic || k == double }

// ranges are those of the description; either all operators have one or none.
func (r *reader) ranges(described []described) (*Ranges, error) {
	out := NewRanges(r.net)
	for i, o := range r.net.ops {
		given := described[i].Range
		switch {
		case o.kind == logistic:
			given = &[2]float64{0, 1}
		case follows(o.kind):
			low, high := out.whole(o.in[0])
			given = &[2]float64{low, high}
		case given == nil:
			return nil, fmt.Errorf("graph: %s has no range, others have one", r.net.values[o.out].name)
		}
		if !(given[0] <= given[1]) || math.Abs(given[0])+math.Abs(given[1]) > math.MaxFloat32 {
			return nil, fmt.Errorf("graph: range %v of %s", *given, r.net.values[o.out].name)
		}
		for c := range out.values[o.out] {
			out.values[o.out][c] = channel{low: given[0], high: given[1], count: 1}
		}
	}
	return out, nil
}
