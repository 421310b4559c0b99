package graph

import (
	"math"
	"slices"
)

// Equalise returns a net that computes the same and loses less when it is quantised, and the ranges of its values.
//
// An int8 value has one scale for all of its channels, so a channel that is small beside the largest keeps few steps. Between
// operators that don't mind (convolution, PReLU, sum, mean), a channel may be divided by a number by which the weights that
// look at it are multiplied. The number balances what the value gains against what those weights lose.
func (n *Net) Equalise(r *Ranges) (*Net, *Ranges, error) {
	if err := n.check(); err != nil {
		return nil, nil, err
	}
	if err := r.check(n); err != nil {
		return nil, nil, err
	}
	divisors := n.divisors(r)
	e := &Net{description: n.description, values: slices.Clone(n.values), outputs: slices.Clone(n.outputs)}
	for _, o := range n.ops {
		o.in = slices.Clone(o.in)
		if o.kind == conv || o.kind == depthwise {
			o.filter.Weights, o.filter.Bias = slices.Clone(o.filter.Weights), slices.Clone(o.filter.Bias)
			o.rescale(divisors[o.in[0]], divisors[o.out])
		}
		e.ops = append(e.ops, o)
	}
	return e, r.divide(divisors), nil
}

func (o *op) rescale(in, out []float64) {
	w, b := o.filter.Weights, o.filter.Bias
	for i := range w {
		from, to := i%len(in), i/(len(w)/len(b))
		if o.kind == depthwise {
			to = from
		}
		w[i] = float32(float64(w[i]) * in[from] / out[to])
	}
	for i := range b {
		b[i] = float32(float64(b[i]) / out[i])
	}
}

// negligible is the part of the largest channel below which a channel isn't enlarged any further.
const negligible = 1e-3

// divisors are the numbers by which the channels of each value are divided.
func (n *Net) divisors(r *Ranges) [][]float64 {
	group := n.groups()
	fixed := map[Value]bool{group[n.Input()]: true}
	for _, v := range n.outputs {
		fixed[group[v]] = true
	}
	size := make([][]float64, len(n.values))   // of a group's values, by channel
	weight := make([][]float64, len(n.values)) // of the weights that look at them and have a scale for several channels
	for v, d := range n.values {
		g := group[v]
		if size[g] == nil {
			size[g], weight[g] = make([]float64, d.c), make([]float64, d.c)
		}
		if Value(v) == n.Input() {
			continue // stays as it is, and nobody need have looked
		}
		for c := range d.c {
			size[g][c] = math.Max(size[g][c], r.values[v][c].size())
		}
	}
	for _, o := range n.ops {
		if o.activation() == ReLU6 {
			fixed[group[o.out]] = true // 6 is 6
		}
		switch o.kind {
		case logistic: // not linear on either side
			fixed[group[o.in[0]]], fixed[group[o.out]] = true, true
		case conv:
			g := group[o.in[0]]
			rows := len(o.filter.Weights) / len(o.filter.Bias)
			for i := 0; i < len(o.filter.Weights); i += rows {
				row := o.filter.Weights[i : i+rows]
				var largest float64
				for _, w := range row {
					largest = math.Max(largest, math.Abs(float64(w)))
				}
				if largest == 0 {
					continue
				}
				for j, w := range row {
					c := j % len(weight[g])
					weight[g][c] = math.Max(weight[g][c], math.Abs(float64(w))/largest)
				}
			}
		}
	}
	out := make([][]float64, len(n.values))
	for v := range n.values {
		g := group[v]
		if out[g] == nil {
			out[g] = balance(size[g], weight[g], fixed[g])
		}
		out[v] = out[g]
	}
	return out
}

func balance(size, weight []float64, fixed bool) []float64 {
	out := make([]float64, len(size))
	largest := slices.Max(size)
	heaviest := slices.Max(weight)
	for c := range out {
		out[c] = 1
		if fixed || largest == 0 {
			continue
		}
		s := math.Max(size[c]/largest, negligible)
		if heaviest > 0 {
			out[c] = math.Sqrt(s / math.Max(weight[c]/heaviest, negligible))
		} else {
			out[c] = s // only depthwise filters look at it, which have a scale for each channel
		}
	}
	return out
}

// groups gives each value a representative of those whose channels must be divided by the same numbers.
func (n *Net) groups() []Value {
	g := make([]Value, len(n.values))
	for v := range g {
		g[v] = Value(v)
	}
	join := func(a, b Value) {
		from, to := max(g[a], g[b]), min(g[a], g[b])
		for v := range g {
			if g[v] == from {
				g[v] = to
			}
		}
	}
	for _, o := range n.ops {
		switch o.kind {
		case pad, prelu, mean, mul, double:
			join(o.in[0], o.out)
		case add:
			join(o.in[0], o.out)
			join(o.in[1], o.out)
		}
	}
	return g
}
