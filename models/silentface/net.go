package silentface

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/livenessd/livenessd/models/graph"
)

// side of the picture that the nets look at, in pixels.
const side = 80

// build makes MiniFASNet of its weights. V2 and V1SE are of one family: how wide a layer is, how many blocks a stage has and
// which of them have squeeze-and-excitation is told by the weights. Batch norm is folded into the convolutions; what follows
// the last PReLU is linear, so the two layers of the head are one.
func build(description string, w weights) (*graph.Net, error) {
	b := builder{net: graph.New(description, side, side, 3), w: w, used: map[string]bool{}}
	x := b.unit(b.net.Input(), "conv1", 2, false)
	x = b.unit(x, "conv2_dw", 1, true)
	for _, stage := range []struct{ entry, blocks string }{{"conv_23", "conv_3"}, {"conv_34", "conv_4"}, {"conv_45", "conv_5"}} {
		x = b.block(x, stage.entry, 2)
		for i := 0; ; i++ {
			name := fmt.Sprintf("%s.model.%d", stage.blocks, i)
			if _, ok := w[name+".conv.conv.weight"]; !ok {
				break
			}
			y := b.block(x, name, 1)
			if _, ok := w[name+".se_module.fc1.weight"]; ok {
				y = b.excite(y, name+".se_module")
			}
			x = b.net.Name(b.net.Add(x, y, graph.Linear), name)
		}
	}
	x = b.unit(x, "conv_6_sep", 1, false)
	x = b.last(x, "conv_6_dw")
	b.net.Output(b.head(x))
	if b.err != nil {
		return nil, b.err
	}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if !b.used[name] {
			return nil, fmt.Errorf("the net has no place for %s", name)
		}
	}
	return b.net, nil
}

// builder takes weights and makes operators of them. It remembers the first thing that doesn't fit.
type builder struct {
	net  *graph.Net
	w    weights
	used map[string]bool
	err  error
}

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// take gets an array of some dimensions. A missing one is one of ones, so that the caller needn't look.
func (b *builder) take(name string, dimensions int) array {
	a, ok := b.w[name]
	b.used[name] = true
	if ok && len(a.shape) == dimensions {
		return a
	}
	if !ok {
		b.fail("%s is missing", name)
	} else {
		b.fail("%s has %d dimensions, need %d", name, len(a.shape), dimensions)
	}
	a = array{data: []float32{1}}
	for range dimensions {
		a.shape = append(a.shape, 1)
	}
	return a
}

// norm gives the factor and the summand of a batch norm for each channel.
func (b *builder) norm(name string, channels int) (factor, summand []float64) {
	var parts [4][]float32
	for i, p := range []string{"weight", "bias", "running_mean", "running_var"} {
		parts[i] = b.take(name+"."+p, 1).data
		if len(parts[i]) != channels {
			b.fail("%s.%s has %d channels, need %d", name, p, len(parts[i]), channels)
			parts[i] = make([]float32, channels)
		}
	}
	const epsilon = 1e-5 // PyTorch's default
	factor, summand = make([]float64, channels), make([]float64, channels)
	for c := range channels {
		factor[c] = float64(parts[0][c]) / math.Sqrt(float64(parts[3][c])+epsilon)
		summand[c] = float64(parts[1][c]) - float64(parts[2][c])*factor[c]
	}
	return factor, summand
}

// filter folds a convolution and its batch norm. PyTorch has [out][in][height][width].
func (b *builder) filter(conv, norm string, depthwise bool) graph.Filter {
	a := b.take(conv, 4)
	out, in, h, w := a.shape[0], a.shape[1], a.shape[2], a.shape[3]
	if depthwise && in != 1 {
		b.fail("%s is no depthwise filter: %v", conv, a.shape)
	}
	factor, summand := b.norm(norm, out)
	f := graph.Filter{Height: h, Width: w, Weights: make([]float32, len(a.data)), Bias: make([]float32, out)}
	i := 0
	for o := range out {
		f.Bias[o] = float32(summand[o])
		for c := range in {
			for y := range h {
				for x := range w {
					to := ((o*h+y)*w+x)*in + c
					if depthwise {
						to = (y*w+x)*out + o
					}
					if to < len(f.Weights) { // else it isn't depthwise, which was said
						f.Weights[to] = float32(float64(a.data[i]) * factor[o])
					}
					i++
				}
			}
		}
	}
	return f
}

// unit is convolution, batch norm and PReLU. A 3×3 window is padded by one all round, as PyTorch does.
func (b *builder) unit(x graph.Value, name string, stride int, depthwise bool) graph.Value {
	f := b.filter(name+".conv.weight", name+".bn", depthwise)
	f.Stride = stride
	switch {
	case f.Height == 1:
	case stride == 1:
		f.Same = true
	default: // the last row and column of the padding aren't reached: sizes are even
		x = b.net.Pad(x, graph.Edges{Top: 1, Left: 1})
	}
	if depthwise {
		x = b.net.Depthwise(x, f)
	} else {
		x = b.net.Conv(x, f)
	}
	b.net.Name(x, name+"/linear")
	return b.net.Name(b.net.PReLU(x, b.take(name+".prelu.weight", 1).data), name)
}

// block widens, looks at surroundings, and narrows, the last without PReLU.
func (b *builder) block(x graph.Value, name string, stride int) graph.Value {
	x = b.unit(x, name+".conv", 1, false)
	x = b.unit(x, name+".conv_dw", stride, true)
	return b.net.Name(b.net.Conv(x, b.filter(name+".project.conv.weight", name+".project.bn", false)), name+".project")
}

// excite weighs the channels by what all of the picture shows.
func (b *builder) excite(x graph.Value, name string) graph.Value {
	f := b.filter(name+".fc1.weight", name+".bn1", false)
	f.Activation = graph.ReLU
	y := b.net.Conv(b.net.Mean(x), f)
	y = b.net.Conv(y, b.filter(name+".fc2.weight", name+".bn2", false))
	return b.net.Name(b.net.Gate(x, b.net.Logistic(y)), name)
}

// last is a window over all that is left, without PReLU.
func (b *builder) last(x graph.Value, name string) graph.Value {
	return b.net.Name(b.net.Depthwise(x, b.filter(name+".conv.weight", name+".bn", true)), name)
}

// head is prob · norm(linear · x) in one 1×1 convolution: the logits.
func (b *builder) head(x graph.Value) graph.Value {
	linear, prob := b.take("linear.weight", 2), b.take("prob.weight", 2)
	middle, in, out := linear.shape[0], linear.shape[1], prob.shape[0]
	factor, summand := b.norm("bn", middle)
	if prob.shape[1] != middle {
		b.fail("prob.weight takes %d numbers, linear.weight gives %d", prob.shape[1], middle)
		return x
	}
	f := graph.Filter{Height: 1, Width: 1, Weights: make([]float32, out*in), Bias: make([]float32, out)}
	for o := range out {
		sum := make([]float64, in)
		var bias float64
		for m := range middle {
			p := float64(prob.data[o*middle+m])
			bias += p * summand[m]
			for i := range in {
				sum[i] += p * factor[m] * float64(linear.data[m*in+i])
			}
		}
		f.Bias[o] = float32(bias)
		for i := range in {
			f.Weights[o*in+i] = float32(sum[i])
		}
	}
	return b.net.Name(b.net.Conv(x, f), "logits")
}
