package graph

// Float32 writes the net as it is. Its input is the raw pixel, 0…255 as float32.
func (n *Net) Float32() ([]byte, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	return n.float32(n.outputs), nil
}

// Observed writes the net as Float32 does, with every value but the input as an output, in their order from 1 on.
func (n *Net) Observed() ([]byte, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	var all []Value
	for v := range n.values[1:] {
		all = append(all, Value(v+1))
	}
	return n.float32(all), nil
}

// float32 puts a value's tensor at the value's own index.
func (n *Net) float32(outputs []Value) []byte {
	f := file{description: n.description, inputs: []int{int(n.Input())}}
	for _, v := range n.values {
		f.tensor(tensor{name: v.name, shape: v.shape(), kind: typeFloat32})
	}
	constant := func(o *op, what string, shape []int, data []float32) int {
		return f.tensor(tensor{name: n.values[o.out].name + "/" + what, shape: shape, kind: typeFloat32, data: float32s(data)})
	}
	for _, o := range n.ops {
		x := node{in: o.inputs(), out: []int{int(o.out)}}
		switch c := n.values[o.out].c; o.kind {
		case conv, depthwise:
			x.kind, x.options = convOptions(&o.filter, o.kind == depthwise)
			x.code = opConv
			if o.kind == depthwise {
				x.code = opDepthwise
			}
			x.in = append(x.in, constant(&o, "weights", n.weightShape(&o), o.filter.Weights), constant(&o, "bias", []int{c}, o.filter.Bias))
		case prelu:
			x.code = opPReLU
			x.in = append(x.in, constant(&o, "slopes", []int{1, 1, c}, o.slopes))
		default:
			n.plain(&f, &o, &x)
		}
		f.nodes = append(f.nodes, x)
	}
	for _, v := range outputs {
		f.outputs = append(f.outputs, int(v))
	}
	return f.bytes()
}

// plain fills in the operators that are the same for all number formats.
func (n *Net) plain(f *file, o *op, x *node) {
	name := n.values[o.out].name
	switch o.kind {
	case pad:
		e := o.edges
		x.code, x.kind = opPad, optionsPad
		x.in = append(x.in, f.tensor(tensor{name: name + "/edges", shape: []int{4, 2}, kind: typeInt32,
			data: int32s(0, 0, e.Top, e.Bottom, e.Left, e.Right, 0, 0)}))
	case add:
		x.code, x.kind, x.options = opAdd, optionsAdd, []option{{0, int32(activationCodes[o.act]), false}}
	case mul:
		x.code, x.kind = opMul, optionsMul
	case mean:
		x.code, x.kind, x.options = opMean, optionsReducer, []option{{0, 1, false}} // keep the dimensions
		x.in = append(x.in, f.tensor(tensor{name: name + "/axes", shape: []int{2}, kind: typeInt32, data: int32s(1, 2)}))
	case logistic:
		x.code = opLogistic
	case double:
		v := n.values[o.out]
		x.code, x.kind, x.options = opResize, optionsResize, []option{{3, 1, false}} // half-pixel centres
		x.in = append(x.in, f.tensor(tensor{name: name + "/size", shape: []int{2}, kind: typeInt32, data: int32s(v.h, v.w)}))
	}
}

func (v value) shape() []int { return []int{1, v.h, v.w, v.c} }

func (o *op) inputs() []int {
	in := make([]int, len(o.in))
	for i, v := range o.in {
		in[i] = int(v)
	}
	return in
}

func (n *Net) weightShape(o *op) []int {
	if o.kind == depthwise {
		return []int{1, o.filter.Height, o.filter.Width, n.values[o.out].c}
	}
	return []int{n.values[o.out].c, o.filter.Height, o.filter.Width, n.values[o.in[0]].c}
}
