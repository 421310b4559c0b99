package graph

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/tflite"
)

// nets are nets of one operator, and those that make its inputs; and one that has them all.
func nets() []struct {
	name string
	net  *Net
} {
	start := func(outputs int) (*Net, Value) {
		n := New("test", 12, 16, 3)
		return n, n.Conv(n.Input(), filter(1, 3, 3, outputs).same())
	}
	var all []struct {
		name string
		net  *Net
	}
	add := func(name string, n *Net, out Value) {
		n.Output(out)
		all = append(all, struct {
			name string
			net  *Net
		}{name, n})
	}
	n := New("test", 12, 16, 3)
	add("convolution of the same size", n, n.Conv(n.Input(), filter(2, 3, 3, 5).same()))
	n = New("test", 12, 16, 3)
	add("convolution of whole windows", n, n.Conv(n.Input(), filter(3, 5, 3, 8)))
	n = New("test", 12, 16, 3)
	add("stride 2, padded as PyTorch pads", n, n.Conv(n.Pad(n.Input(), Edges{Top: 1, Left: 1}), filter(4, 3, 3, 6).strided(2)))
	n = New("test", 12, 16, 3)
	add("convolution of single pixels, with ReLU", n, n.Conv(n.Input(), filter(5, 1, 3, 8).relu()))
	n, x := start(7)
	add("depthwise of the same size", n, n.Depthwise(x, filter(6, 3, 0, 7).same()))
	n, x = start(8)
	add("depthwise with stride 2", n, n.Depthwise(n.Pad(x, Edges{Top: 1, Left: 1}), filter(7, 3, 0, 8).strided(2)))
	n, x = start(4)
	add("depthwise of a large window, with ReLU", n, n.Depthwise(x, filter(8, 5, 0, 4).relu()))
	n, x = start(6)
	add("edges of different sizes", n, n.Pad(x, Edges{1, 2, 3, 0}))
	n, x = start(6)
	add("slopes of both signs", n, n.PReLU(x, []float32{0.3, -0.4, 0, 1, 0.05, -1.5}))
	n, x = start(6)
	add("sum of different ranges", n, n.Add(x, n.Conv(n.Input(), filter(9, 1, 3, 6)), Linear))
	n, x = start(6)
	add("sum with ReLU6", n, n.Add(x, n.Conv(n.Input(), filter(9, 1, 3, 6)), ReLU6))
	n, x = start(6)
	add("sum with ReLU", n, n.Add(x, n.Conv(n.Input(), filter(9, 1, 3, 6)), ReLU))
	n = New("test", 12, 16, 3)
	add("stride 2 of the same size, with ReLU6", n, n.Conv(n.Input(), filter(12, 3, 3, 6).same().strided(2).relu6()))
	n = New("test", 13, 15, 3)
	add("stride 2 of an odd size", n, n.Conv(n.Input(), filter(13, 3, 3, 6).same().strided(2)))
	n, x = start(8)
	add("depthwise with stride 2 of the same size, with ReLU6", n, n.Depthwise(x, filter(14, 3, 0, 8).same().strided(2).relu6()))
	n, x = start(6)
	add("twice the size", n, n.Double(x))
	n, x = start(6)
	add("mean", n, n.Mean(x))
	n, x = start(6)
	add("logistic", n, n.Logistic(n.Conv(n.Mean(x), filter(10, 1, 6, 6))))
	n, x = start(6)
	add("squeeze and excitation", n, excited(n, x, 11))
	n, x = start(8)
	add("a whole net", n, whole(n, x))
	return all
}

func excited(n *Net, x Value, seed uint64) Value {
	c := n.Channels(x)
	return n.Gate(x, n.Logistic(n.Conv(n.Conv(n.Mean(x), filter(seed, 1, c, 4).relu()), filter(seed+1, 1, 4, c))))
}

func whole(n *Net, x Value) Value {
	slopes := func(c int) []float32 {
		out := make([]float32, c)
		for i := range out {
			out[i] = float32(i)/float32(c) - 0.6
		}
		return out
	}
	x = n.PReLU(x, slopes(8))
	y := n.PReLU(n.Conv(x, filter(20, 1, 8, 12)), slopes(12))
	y = n.PReLU(n.Depthwise(y, filter(21, 3, 0, 12).same()), slopes(12))
	y = n.Conv(y, filter(22, 1, 12, 8))
	x = n.Add(x, excited(n, y, 23), Linear)
	x = n.PReLU(n.Depthwise(n.Pad(x, Edges{Top: 1, Left: 1}), filter(25, 3, 0, 8).strided(2)), slopes(8))
	return n.Conv(n.Mean(x), filter(26, 1, 8, 3))
}

func TestFloat32ComputesWhatTheNetSays(t *testing.T) {
	library(t)
	for _, tt := range nets() {
		data, err := tt.net.Observed()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, delegate := range []string{tflite.XNNPACK, tflite.CPU} {
			pixels := picture(tt.net, 7)
			want := all(tt.net, pixels)[1:]
			got := answers(t, data, delegate, pixels)
			if len(got) != len(want) {
				t.Fatalf("%s: %d outputs, want %d", tt.name, len(got), len(want))
			}
			for v := range want {
				size := largest(want[v])
				if d := apart(got[v], want[v]); !(d <= 1e-5*size) {
					t.Errorf("%s, %s: value %d is off by %v of %v", tt.name, delegate, v+1, d, size)
				}
			}
		}
		if data, err := tt.net.Float32(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if got := answers(t, data, tflite.XNNPACK, picture(tt.net, 7)); len(got) != 1 {
			t.Errorf("%s: %d outputs", tt.name, len(got))
		}
	}
}

func largest(v []float32) (m float64) {
	for _, x := range v {
		m = max(m, math.Abs(float64(x)))
	}
	return m
}

func apart(a, b []float32) (m float64) {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	for i := range a {
		m = max(m, math.Abs(float64(a[i])-float64(b[i])))
	}
	return m
}

// TestInt8RoundsEachOperatorOnce: on the very integers that went in, each operator's result is the real one, rounded.
func TestInt8RoundsEachOperatorOnce(t *testing.T) {
	library(t)
	for _, tt := range nets() {
		n := *tt.net
		r := ranges(t, &n)
		steps := n.steps(r)
		n.outputs = nil
		for v := range n.values[1:] {
			n.outputs = append(n.outputs, Value(v+1))
		}
		data, err := n.Int8(r)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, delegate := range []string{tflite.XNNPACK, tflite.CPU} {
			for seed := range uint64(3) {
				pixels := picture(&n, seed)
				values := append([][]float32{all(&n, pixels)[0]}, answers(t, data, delegate, pixels)...)
				for _, o := range n.ops {
					var in [][]float32
					for _, v := range o.in {
						in = append(in, values[v])
					}
					s := steps[o.out]
					worst := 0.
					want := reference(&n, rounded(&n, &o, steps, r), in...)
					for i, w := range want {
						w = math.Max(float64(s.scale)*float64(-128-s.zero), math.Min(float64(s.scale)*float64(127-s.zero), w))
						worst = max(worst, math.Abs(w-float64(values[o.out][i]))/float64(s.scale))
					}
					allowed := 0.51
					switch o.kind {
					case prelu: // two operators, the second of which sees what the first rounded
						_, first := n.factors(&o, r)
						allowed = 1.02 + 0.51*float64(first.scale/s.scale)
					case mean, logistic, add, mul: // kernels approximate in integers
						allowed = 1.02
					}
					if !(worst <= allowed) {
						t.Errorf("%s, %s: %s is off by %.2f steps", tt.name, delegate, n.values[o.out].name, worst)
					}
				}
			}
		}
	}
}

// rounded is an operator with the numbers that are in the file.
func rounded(n *Net, o *op, steps []affine, seen *Ranges) *op {
	r := *o
	if o.kind == prelu {
		r.slopes = make([]float32, len(o.slopes))
		f, _ := n.factors(o, seen)
		for c, x := range f.stored {
			r.slopes[c] = 1 + f.scale*float32(int64(x)-f.zero)
		}
	}
	if o.kind != conv && o.kind != depthwise {
		return &r
	}
	q := quantise(o, n.values[o.out].c, steps[o.in[0]].scale)
	r.filter.Weights, r.filter.Bias = make([]float32, len(o.filter.Weights)), make([]float32, len(o.filter.Bias))
	for i, x := range q.weights.data {
		c := i / (len(q.weights.data) / len(r.filter.Bias))
		if o.kind == depthwise {
			c = i % len(r.filter.Bias)
		}
		r.filter.Weights[i] = float32(int8(x)) * q.weights.scale[c]
	}
	for c := range r.filter.Bias {
		b := q.bias.data[4*c:]
		r.filter.Bias[c] = float32(int32(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24)) * q.bias.scale[c]
	}
	return &r
}

// TestEachOperatorIsTested: nets, which the tests above go through, have all that there are.
func TestEachOperatorIsTested(t *testing.T) {
	seen := map[kind]bool{}
	for _, tt := range nets() {
		for _, o := range tt.net.ops {
			seen[o.kind] = true
		}
	}
	for k, name := range kindNames {
		if !seen[kind(k)] {
			t.Errorf("no net of the tests has %s", name)
		}
	}
}

func TestWeightsKeepAllOfTheirBits(t *testing.T) {
	for _, tt := range nets() {
		for _, o := range tt.net.ops {
			if o.kind != conv && o.kind != depthwise {
				continue
			}
			r := rounded(tt.net, &o, slices.Repeat([]affine{{0.02, 3}}, len(tt.net.values)), nil)
			for i, w := range o.filter.Weights {
				c, outputs := i, len(o.filter.Bias)
				if c = i / (len(o.filter.Weights) / outputs); o.kind == depthwise {
					c = i % outputs
				}
				if step := 2 * largestOf(&o, c) / 254; math.Abs(float64(w-r.filter.Weights[i])) > 0.51*step {
					t.Fatalf("%s: weight %d of %v became %v", tt.name, i, w, r.filter.Weights[i])
				}
			}
		}
	}
}

func largestOf(o *op, c int) (m float64) {
	outputs := len(o.filter.Bias)
	for i, w := range o.filter.Weights {
		of := i / (len(o.filter.Weights) / outputs)
		if o.kind == depthwise {
			of = i % outputs
		}
		if of == c {
			m = max(m, math.Abs(float64(w)))
		}
	}
	return m
}

func TestABiasThatIsHugeBesideItsWeightsFits(t *testing.T) {
	n := New("test", 4, 4, 1)
	n.Output(n.Conv(n.Input(), Filter{Height: 1, Width: 1, Weights: []float32{1e-12, 0}, Bias: []float32{50, -3}}))
	data, err := n.Int8(ranges(t, n))
	if err != nil {
		t.Fatal(err)
	}
	for _, delegate := range []string{tflite.XNNPACK, tflite.CPU} {
		got := answers(t, data, delegate, make([]uint8, 16))[0]
		if d := apart(got[:2], []float32{50, -3}); !(d < 0.2) {
			t.Errorf("%s: %v, want 50 and -3", delegate, got[:2])
		}
	}
}

func TestEqualisingChangesNothing(t *testing.T) {
	for _, tt := range nets() {
		r := ranges(t, tt.net)
		equal, s, err := tt.net.Equalise(r)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		out := tt.net.outputs[0]
		pixels := picture(tt.net, 9)
		want := all(tt.net, pixels)[out]
		if d := apart(all(equal, pixels)[out], want); !(d <= 1e-4*largest(want)) {
			t.Errorf("%s: the answer moved by %v of %v", tt.name, d, largest(want))
		}
		// The ranges that come with it are those that would have been observed.
		for v, again := range ranges(t, equal).values[1:] {
			for c, w := range again {
				if g := s.values[v+1][c]; math.Abs(g.low-w.low)+math.Abs(g.high-w.high) > 1e-4*(math.Abs(w.low)+math.Abs(w.high)) {
					t.Fatalf("%s: channel %d of value %d is said to lie in %v…%v, and lies in %v…%v",
						tt.name, c, v+1, g.low, g.high, w.low, w.high)
				}
			}
		}
	}
}

// TestEqualisingSavesSmallChannels: channels of which one is a thousandth of another, and matters as much.
func TestEqualisingSavesSmallChannels(t *testing.T) {
	n := New("test", 12, 16, 3)
	first, second := filter(1, 3, 3, 4).same(), filter(2, 1, 4, 5)
	for i := range first.Weights {
		first.Weights[i] *= float32(math.Pow(10, -float64(i/27)))
	}
	for i := range first.Bias {
		first.Bias[i] *= float32(math.Pow(10, -float64(i)))
	}
	for i := range second.Weights {
		second.Weights[i] *= float32(math.Pow(10, float64(i%4)))
	}
	n.Output(n.Conv(n.PReLU(n.Conv(n.Input(), first), []float32{0.2, -0.2, 0.1, 0.5}), second))
	r := ranges(t, n)
	equal, s, err := n.Equalise(r)
	if err != nil {
		t.Fatal(err)
	}
	noise := func(m *Net, r *Ranges) (sum float64) {
		data, err := m.Int8(r)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(5) {
			pixels := picture(n, 20+seed)
			sum += apart(answers(t, data, tflite.XNNPACK, pixels)[0], all(n, pixels)[n.outputs[0]])
		}
		return sum
	}
	if before, after := noise(n, r), noise(equal, s); !(after < before/3) {
		t.Errorf("int8 is off by %v, and by %v once equalised", before, after)
	}
}

func TestClippingCutsRareExtremesOnly(t *testing.T) {
	n := New("test", 1, 1, 2)
	n.Output(n.PReLU(n.Input(), []float32{0, 0}))
	r := NewRanges(n)
	for i := range 1000 {
		x := float32(i%21 - 10)
		if i == 500 {
			x = 1000
		}
		if err := r.Observe(1, []float32{x, float32(i%21 - 10)}); err != nil {
			t.Fatal(err)
		}
	}
	c := r.Clip(8).values[1]
	if c[0].low != -10 || c[0].high < 100 || c[0].high > 400 {
		t.Errorf("with an extreme of 1000: %v…%v", c[0].low, c[0].high)
	}
	if c[1].low != -10 || c[1].high != 10 {
		t.Errorf("without an extreme: %v…%v, want -10…10", c[1].low, c[1].high)
	}
}

func TestTheSameNetGivesTheSameBytes(t *testing.T) {
	for i, tt := range nets() {
		again := nets()[i].net
		a, err := tt.net.Int8(ranges(t, tt.net))
		b, err2 := again.Int8(ranges(t, again))
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %v, %v, the same: %v", tt.name, err, err2, bytes.Equal(a, b))
		}
	}
}

func TestNetsThatDoNotFitAreErrors(t *testing.T) {
	ones := func(n int) []float32 { return slices.Repeat([]float32{1}, n) }
	nan := float32(math.NaN())
	tests := []struct {
		name, says string
		make       func(n *Net, x Value) Value
	}{
		{"weights missing", "11 weights, need 12", func(n *Net, x Value) Value {
			return n.Conv(x, Filter{Height: 2, Width: 2, Weights: ones(11), Bias: ones(1)})
		}},
		{"a weight that is no number", "not a number", func(n *Net, x Value) Value {
			return n.Conv(x, Filter{Height: 1, Width: 1, Weights: []float32{1, nan, 1}, Bias: ones(1)})
		}},
		{"no bias", "0 biases", func(n *Net, x Value) Value { return n.Conv(x, Filter{Height: 1, Width: 1}) }},
		{"window of nothing", "window 0×1", func(n *Net, x Value) Value { return n.Depthwise(x, Filter{Width: 1, Bias: ones(3)}) }},
		{"window larger than the picture", "0×0", func(n *Net, x Value) Value {
			return n.Depthwise(x, Filter{Height: 9, Width: 9, Weights: ones(243), Bias: ones(3)})
		}},
		{"an activation that there isn't", "no activation 3", func(n *Net, x Value) Value {
			return n.Depthwise(x, Filter{Height: 3, Width: 3, Activation: ReLU6 + 1, Weights: ones(27), Bias: ones(3)})
		}},
		{"a sum's activation that there isn't", "no activation -1", func(n *Net, x Value) Value { return n.Add(x, x, -1) }},
		{"too large a size", "32768×", func(n *Net, x Value) Value {
			for range 12 {
				x = n.Double(x)
			}
			return x
		}},
		{"biases of other channels", "2 biases for 3", func(n *Net, x Value) Value {
			return n.Depthwise(x, Filter{Height: 1, Width: 1, Weights: ones(3), Bias: ones(2)})
		}},
		{"slopes of other channels", "2 slopes for 3", func(n *Net, x Value) Value { return n.PReLU(x, ones(2)) }},
		{"sum of different sizes", "add: ", func(n *Net, x Value) Value { return n.Add(x, n.Mean(x), Linear) }},
		{"gate for other channels", "has 3 channels", func(n *Net, x Value) Value { return n.Gate(x, x) }},
		{"gate that isn't one", "doesn't come from Logistic", func(n *Net, x Value) Value { return n.Gate(x, n.Mean(x)) }},
		{"edges cut off", "edges", func(n *Net, x Value) Value { return n.Pad(x, Edges{Top: -1}) }},
		{"a value of nowhere", "no value 77", func(n *Net, x Value) Value { return n.Mean(77) }},
		{"the input as output", "or the input", func(n *Net, x Value) Value { return x }},
	}
	for _, tt := range tests {
		n := New("test", 8, 8, 3)
		n.Output(tt.make(n, n.Input()))
		for format, write := range map[string]func() ([]byte, error){"float32": n.Float32, "observed": n.Observed,
			"int8": func() ([]byte, error) { return n.Int8(NewRanges(n)) }} {
			data, err := write()
			if data != nil || err == nil || !strings.HasPrefix(err.Error(), "graph: ") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s as %s: %d bytes, %v; want %q", tt.name, format, len(data), err, tt.says)
			}
		}
	}
	if _, err := New("test", 0, 8, 3).Float32(); err == nil {
		t.Error("an input without rows is taken")
	}
	if _, err := New("test", 8, 8, 3).Float32(); err == nil || !strings.Contains(err.Error(), "without an output") {
		t.Errorf("no output: %v", err)
	}
}

func TestInt8RefusesWhatItCannotWrite(t *testing.T) {
	n := New("test", 4, 4, 1)
	n.Output(n.PReLU(n.Input(), []float32{1.5}))
	if _, err := n.Int8(ranges(t, n)); err == nil || !strings.Contains(err.Error(), "slopes up to 1") {
		t.Errorf("slope 1.5: %v", err)
	}
	n = New("test", 4, 4, 1)
	n.Output(n.PReLU(n.Input(), []float32{0.5}))
	if _, err := n.Int8(NewRanges(n)); err == nil || !strings.Contains(err.Error(), "never observed") {
		t.Errorf("nothing observed: %v", err)
	}
	other := New("test", 4, 4, 2)
	other.Output(other.PReLU(other.Input(), []float32{1, 1}))
	if _, err := n.Int8(ranges(t, other)); err == nil || !strings.Contains(err.Error(), "channels") {
		t.Errorf("ranges of another net: %v", err)
	}
	r := NewRanges(n)
	for _, data := range [][]float32{{float32(math.Inf(1))}, {float32(math.NaN())}} {
		if err := r.Observe(1, data); err == nil {
			t.Errorf("%v is observed", data)
		}
	}
	if err := r.Observe(2, []float32{1}); err == nil {
		t.Error("a value of nowhere is observed")
	}
}
