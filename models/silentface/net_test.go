package silentface

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/tflite"
)

// library loads the runtime, or skips the test.
func library(t testing.TB) *tflite.Runtime {
	t.Helper()
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Skipf("nets can't be run: %v; make test sets %s", err, tflite.LibraryVariable)
	}
	return rt
}

// small makes random weights of a net of the family with few channels, and squeeze-and-excitation in one block.
func small(seed uint64) weights {
	r := rand.New(rand.NewPCG(seed, 5))
	w := weights{}
	array := func(name string, size, shift float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		a := array{shape, make([]float32, n)}
		for i := range a.data {
			a.data[i] = float32(r.NormFloat64()*size + shift)
		}
		w[name] = a
	}
	norm := func(name string, c int) {
		array(name+".weight", 0.2, 1, c)
		array(name+".bias", 0.1, 0, c)
		array(name+".running_mean", 0.3, 0, c)
		array(name+".running_var", 0.1, 1, c)
	}
	conv := func(name string, out, in, k int, size float64) {
		array(name+".conv.weight", size/math.Sqrt(float64(in*k*k)), 0, out, in, k, k)
		norm(name+".bn", out)
	}
	unit := func(name string, out, in, k int, size float64) {
		conv(name, out, in, k, size)
		array(name+".prelu.weight", 0.3, 0, out)
	}
	block := func(name string, in, middle, out int) {
		unit(name+".conv", middle, in, 1, 1.3)
		unit(name+".conv_dw", middle, 1, 3, 1.2)
		conv(name+".project", out, middle, 1, 1)
	}
	unit("conv1", 8, 3, 3, 0.03)
	unit("conv2_dw", 8, 1, 3, 1)
	block("conv_23", 8, 12, 8)
	block("conv_3.model.0", 8, 5, 8)
	block("conv_3.model.1", 8, 6, 8)
	array("conv_3.model.1.se_module.fc1.weight", 0.3, 0, 2, 8, 1, 1)
	norm("conv_3.model.1.se_module.bn1", 2)
	array("conv_3.model.1.se_module.fc2.weight", 0.5, 0, 8, 2, 1, 1)
	norm("conv_3.model.1.se_module.bn2", 8)
	block("conv_34", 8, 12, 10)
	block("conv_4.model.0", 10, 6, 10)
	block("conv_45", 10, 12, 10)
	block("conv_5.model.0", 10, 6, 10)
	unit("conv_6_sep", 16, 10, 1, 1)
	conv("conv_6_dw", 16, 1, 5, 1)
	array("linear.weight", 0.4, 0, 6, 16)
	norm("bn", 6)
	array("prob.weight", 1, 0, 3, 6)
	return w
}

// planes is a picture or what a layer makes of it, as PyTorch has it: channels of rows.
type planes [][][]float64

// reference computes what upstream's network computes, layer for layer, as its Python says: batch norm and the two last layers
// apart, channels first.
func reference(w weights, p *picture) [classes]float64 {
	x := make(planes, 3)
	for c := range x {
		x[c] = make([][]float64, side)
		for y := range side {
			for column := range side {
				x[c][y] = append(x[c][y], float64(p[(y*side+column)*3+c]))
			}
		}
	}
	x = w.unit(x, "conv1", 2, 1)
	x = w.unit(x, "conv2_dw", 1, 1)
	for _, stage := range []string{"3", "4", "5"} {
		x = w.block(x, map[string]string{"3": "conv_23", "4": "conv_34", "5": "conv_45"}[stage], 2)
		for _, i := range []string{"0", "1"} {
			name := "conv_" + stage + ".model." + i
			if _, ok := w[name+".conv.conv.weight"]; !ok {
				continue
			}
			y := w.block(x, name, 1)
			if _, ok := w[name+".se_module.fc1.weight"]; ok {
				y = w.excite(y, name+".se_module")
			}
			for c := range x {
				for r := range x[c] {
					for k := range x[c][r] {
						y[c][r][k] += x[c][r][k]
					}
				}
			}
			x = y
		}
	}
	x = w.unit(x, "conv_6_sep", 1, 0)
	x = w.norm(w.conv(x, "conv_6_dw.conv.weight", 1, 0), "conv_6_dw.bn")
	embedding := make(planes, 6)
	for o := range embedding {
		var sum float64
		for i := range x {
			sum += float64(w["linear.weight"].data[o*len(x)+i]) * x[i][0][0]
		}
		embedding[o] = [][]float64{{sum}}
	}
	embedding = w.norm(embedding, "bn")
	var out [classes]float64
	var all float64
	for o := range out {
		for i := range embedding {
			out[o] += float64(w["prob.weight"].data[o*6+i]) * embedding[i][0][0]
		}
		out[o] = math.Exp(out[o])
		all += out[o]
	}
	for o := range out {
		out[o] /= all
	}
	return out
}

func (w weights) conv(x planes, name string, stride, padding int) planes {
	a := w[name]
	out, in, k := a.shape[0], a.shape[1], a.shape[2]
	size := (len(x[0])+2*padding-k)/stride + 1
	y := make(planes, out)
	for o := range y {
		y[o] = make([][]float64, size)
		for r := range size {
			y[o][r] = make([]float64, size)
			for c := range size {
				for i := range in {
					from := x[i]
					if in == 1 && len(x) > 1 {
						from = x[o] // depthwise
					}
					for dy := range k {
						for dx := range k {
							row, column := r*stride+dy-padding, c*stride+dx-padding
							if min(row, column) >= 0 && max(row, column) < len(from) {
								y[o][r][c] += float64(a.data[((o*in+i)*k+dy)*k+dx]) * from[row][column]
							}
						}
					}
				}
			}
		}
	}
	return y
}

func each(x planes, f func(c int, v float64) float64) planes {
	for c := range x {
		for r := range x[c] {
			for k, v := range x[c][r] {
				x[c][r][k] = f(c, v)
			}
		}
	}
	return x
}

func (w weights) norm(x planes, name string) planes {
	at := func(part string, c int) float64 { return float64(w[name+"."+part].data[c]) }
	return each(x, func(c int, v float64) float64 {
		return (v-at("running_mean", c))/math.Sqrt(at("running_var", c)+1e-5)*at("weight", c) + at("bias", c)
	})
}

func (w weights) unit(x planes, name string, stride, padding int) planes {
	return each(w.norm(w.conv(x, name+".conv.weight", stride, padding), name+".bn"), func(c int, v float64) float64 {
		if v < 0 {
			v *= float64(w[name+".prelu.weight"].data[c])
		}
		return v
	})
}

func (w weights) block(x planes, name string, stride int) planes {
	x = w.unit(w.unit(x, name+".conv", 1, 0), name+".conv_dw", stride, 1)
	return w.norm(w.conv(x, name+".project.conv.weight", 1, 0), name+".project.bn")
}

func (w weights) excite(x planes, name string) planes {
	g := make(planes, len(x))
	for c := range x {
		var sum float64
		for _, row := range x[c] {
			for _, v := range row {
				sum += v
			}
		}
		g[c] = [][]float64{{sum / float64(len(x[c])*len(x[c]))}}
	}
	g = each(w.norm(w.conv(g, name+".fc1.weight", 1, 0), name+".bn1"), func(_ int, v float64) float64 { return max(0, v) })
	g = w.norm(w.conv(g, name+".fc2.weight", 1, 0), name+".bn2")
	return each(x, func(c int, v float64) float64 { return v / (1 + math.Exp(-g[c][0][0])) })
}

func TestTheGraphComputesWhatUpstreamsCodeComputes(t *testing.T) {
	rt := library(t)
	w := small(1)
	net, err := build("test", w)
	if err != nil {
		t.Fatal(err)
	}
	pictures := []picture{drawn(1), drawn(2), drawn(3), drawn(4), drawn(5), drawn(6)}
	f, err := convert(context.Background(), rt, "", net, pictures)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		data    []byte
		int8    bool
		allowed float64
	}{{"float32", f.float32, false, 1e-5}, {"int8", f.int8, true, 0.05}} {
		for _, delegate := range []string{tflite.XNNPACK, tflite.CPU} {
			r, err := open(rt, tt.data, delegate, tt.int8, nil)
			if err != nil {
				t.Fatalf("%s, %s: %v", tt.name, delegate, err)
			}
			lowest, highest := 1., 0.
			for i := range pictures {
				got, err := r.softmax(&pictures[i])
				if err != nil {
					t.Fatal(err)
				}
				for c, want := range reference(w, &pictures[i]) {
					if !(math.Abs(got[c]-want) <= tt.allowed) {
						t.Errorf("%s, %s, picture %d: class %d has %.5f, want %.5f", tt.name, delegate, i+1, c, got[c], want)
					}
					if c == live {
						lowest, highest = min(lowest, want), max(highest, want)
					}
				}
			}
			if highest-lowest < 0.1 {
				t.Errorf("this net says %.3f to %.3f of all pictures: the test says nothing", lowest, highest)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestWeightsThatDoNotFitAreErrors(t *testing.T) {
	tests := []struct {
		name, says string
		change     func(w weights)
	}{
		{"a missing array", "conv_45.project.bn.running_var is missing", func(w weights) { delete(w, "conv_45.project.bn.running_var") }},
		{"an array that nothing takes", "no place for conv_7.weight", func(w weights) { w["conv_7.weight"] = array{[]int{1}, []float32{1}} }},
		{"a vector as filter", "has 1 dimensions, need 4", func(w weights) { w["conv1.conv.weight"] = array{[]int{3}, make([]float32, 3)} }},
		{"a norm of other channels", "has 7 channels, need 8", func(w weights) { w["conv1.bn.bias"] = array{[]int{7}, make([]float32, 7)} }},
		{"a full filter as depthwise", "is no depthwise filter", func(w weights) {
			w["conv2_dw.conv.weight"] = array{[]int{8, 8, 3, 3}, make([]float32, 576)}
		}},
		{"slopes of other channels", "9 slopes for 8", func(w weights) { w["conv1.prelu.weight"] = array{[]int{9}, make([]float32, 9)} }},
		{"heads that don't fit", "prob.weight takes 5", func(w weights) { w["prob.weight"] = array{[]int{3, 5}, make([]float32, 15)} }},
		{"a weight that is no number", "not a number", func(w weights) { w["conv1.conv.weight"].data[7] = float32(math.NaN()) }},
		{"nothing at all", "is missing", func(w weights) { clear(w) }},
	}
	for _, tt := range tests {
		w := maps.Clone(small(1))
		tt.change(w)
		net, err := build("test", w)
		if err == nil {
			_, err = net.Float32()
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

func TestCalibrationPicturesAreManyAndTheSameEachTime(t *testing.T) {
	a, err := calibration(2.7)
	b, err2 := calibration(2.7)
	if err != nil || err2 != nil || !slices.Equal(a, b) {
		t.Fatalf("%v, %v, the same: %v", err, err2, slices.Equal(a, b))
	}
	seen := map[picture]bool{}
	for _, p := range a {
		seen[p] = true
	}
	if len(seen) != len(a) || len(a) < 100 {
		t.Errorf("%d pictures, %d of them different", len(a), len(seen))
	}
}

func TestDrawnPicturesNeverChange(t *testing.T) {
	var h uint64 // a polynomial over the bytes
	for n := range 20 {
		for _, x := range drawn(n) {
			h = h*1099511628211 + uint64(x)
		}
	}
	if recorded := uint64(9233634209069431684); h != recorded {
		t.Errorf("drawn pictures have hash %d, and had %d when the answers were recorded", h, recorded)
	}
}
