package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/livenessd/livenessd/tflite"
)

// library loads the runtime, or skips the test.
func library(t testing.TB) *tflite.Runtime {
	t.Helper()
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Skipf("what is written can't be run: %v; make test sets %s", err, tflite.LibraryVariable)
	}
	return rt
}

// answers runs a file on pixels and gives all of its outputs as real numbers.
func answers(t testing.TB, data []byte, delegate string, pixels []uint8) [][]float32 {
	t.Helper()
	sum := sha256.Sum256(data)
	ip, err := library(t).New(data, tflite.Options{SHA256: hex.EncodeToString(sum[:]), Delegate: delegate,
		Inputs: []tflite.TensorSpec{{}}})
	if err != nil {
		t.Fatalf("%s: %v", delegate, err)
	}
	defer ip.Close()
	if ip.Inputs()[0].Type == tflite.Int8 {
		in, err := ip.InputInt8(0)
		if err != nil || len(in) != len(pixels) {
			t.Fatalf("%d inputs, %v", len(in), err)
		}
		for i, p := range pixels {
			in[i] = int8(int(p) - 128)
		}
	} else {
		in, err := ip.InputFloat32(0)
		if err != nil || len(in) != len(pixels) {
			t.Fatalf("%d inputs, %v", len(in), err)
		}
		for i, p := range pixels {
			in[i] = float32(p)
		}
	}
	if err := ip.Invoke(); err != nil {
		t.Fatal(err)
	}
	var out [][]float32
	for i, o := range ip.Outputs() {
		v := make([]float32, o.Elements())
		if err := ip.OutputFloat32(i, v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// picture is random, with some order in it: noise alone has the same mean everywhere.
func picture(n *Net, seed uint64) []uint8 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := n.values[0]
	out := make([]uint8, v.h*v.w*v.c)
	for i := range out {
		x, y := i/v.c%v.w, i/v.c/v.w
		out[i] = uint8(max(0, min(255, r.IntN(160)+x*40/v.w*int(seed%3)+y*60/v.h)))
	}
	return out
}

// reference applies one operator in double precision; weights are those of the operator's filter.
func reference(n *Net, o *op, in ...[]float32) []float64 {
	v, out := n.values[o.in[0]], n.values[o.out]
	y := make([]float64, out.h*out.w*out.c)
	x := in[0]
	at := func(row, column, c int) float64 {
		if row < 0 || row >= v.h || column < 0 || column >= v.w {
			return 0
		}
		return float64(x[(row*v.w+column)*v.c+c])
	}
	f := &o.filter
	top, left := 0, 0
	if f.Same {
		top, left = max(0, (out.h-1)*f.Stride+f.Height-v.h)/2, max(0, (out.w-1)*f.Stride+f.Width-v.w)/2
	}
	for i := range y {
		row, column, c := i/out.c/out.w, i/out.c%out.w, i%out.c
		switch o.kind {
		case pad:
			y[i] = at(row-o.edges.Top, column-o.edges.Left, c)
		case conv, depthwise:
			y[i] = float64(f.Bias[c])
			for dy := range f.Height {
				for dx := range f.Width {
					r, k := row*f.Stride-top+dy, column*f.Stride-left+dx
					if o.kind == depthwise {
						y[i] += float64(f.Weights[(dy*f.Width+dx)*v.c+c]) * at(r, k, c)
						continue
					}
					for d := range v.c {
						y[i] += float64(f.Weights[((c*f.Height+dy)*f.Width+dx)*v.c+d]) * at(r, k, d)
					}
				}
			}
		case prelu:
			if y[i] = float64(x[i]); y[i] < 0 {
				y[i] *= float64(o.slopes[c])
			}
		case add:
			y[i] = float64(x[i]) + float64(in[1][i])
		case mul:
			y[i] = float64(x[i]) * float64(in[1][c])
		case mean:
			for j := c; j < len(x); j += v.c {
				y[i] += float64(x[j]) / float64(v.h*v.w)
			}
		case logistic:
			y[i] = 1 / (1 + math.Exp(-float64(x[i])))
		case double:
			lo, hi, along := between(row, v.h, out.h)
			l, r, across := between(column, v.w, out.w)
			y[i] = (at(lo, l, c)*(1-across)+at(lo, r, c)*across)*(1-along) + (at(hi, l, c)*(1-across)+at(hi, r, c)*across)*along
		}
		switch o.activation() {
		case ReLU:
			y[i] = max(0, y[i])
		case ReLU6:
			y[i] = min(6, max(0, y[i]))
		}
	}
	return y
}

// between gives the samples of n that pixel i of m lies between, and how far it is on the way.
func between(i, n, m int) (lo, hi int, way float64) {
	at := max(0, (float64(i)+0.5)*float64(n)/float64(m)-0.5)
	lo = min(int(at), n-1)
	return lo, min(lo+1, n-1), at - float64(lo)
}

// all gives every value of the net, in double precision as far as it matters.
func all(n *Net, pixels []uint8) [][]float32 {
	values := make([][]float32, len(n.values))
	for _, p := range pixels {
		values[0] = append(values[0], float32(p))
	}
	for _, o := range n.ops {
		var in [][]float32
		for _, v := range o.in {
			in = append(in, values[v])
		}
		for _, y := range reference(n, &o, in...) {
			values[o.out] = append(values[o.out], float32(y))
		}
	}
	return values
}

// ranges are those of the net's values on some pictures.
func ranges(t testing.TB, n *Net) *Ranges {
	t.Helper()
	r := NewRanges(n)
	for seed := range uint64(6) {
		for v, data := range all(n, picture(n, seed)) {
			if err := r.Observe(Value(v), data); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

// numbers draws weights; channels differ in size, so that a wrong scale for a channel shows.
func numbers(seed uint64, n, channels int, size float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 2))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64() * size * math.Pow(10, float64(i*channels/n)/float64(channels)-0.5))
	}
	return out
}

// filter draws a filter for in channels (0: depthwise) and out.
func filter(seed uint64, k, in, out int) Filter {
	f := Filter{Height: k, Width: k, Bias: numbers(seed+100, out, out, 1)}
	if in == 0 {
		f.Weights = numbers(seed, k*k*out, 1, 1/float64(k))
	} else {
		f.Weights = numbers(seed, k*k*in*out, out, 0.02/float64(k))
	}
	return f
}

func (f Filter) strided(n int) Filter { f.Stride = n; return f }
func (f Filter) same() Filter         { f.Same = true; return f }
func (f Filter) relu() Filter         { f.Activation = ReLU; return f }
func (f Filter) relu6() Filter        { f.Activation = ReLU6; return f }
