package graph

import (
	"encoding/binary"
	"math"
	"slices"

	flatbuffers "github.com/google/flatbuffers/go"
)

// From TensorFlow Lite's schema: types, operators and the kinds of their options. The schema's tables are written by their
// slot numbers, so that no generated code is needed.
const (
	typeFloat32 = 0
	typeInt32   = 2
	typeInt8    = 9

	opAdd       = 0
	opConv      = 3
	opDepthwise = 4
	opLogistic  = 14
	opMul       = 18
	opResize    = 23
	opPad       = 34
	opMean      = 40
	opPReLU     = 54

	optionsNone      = 0
	optionsConv      = 1
	optionsDepthwise = 2
	optionsAdd       = 11
	optionsResize    = 15
	optionsMul       = 21
	optionsPad       = 22
	optionsReducer   = 27

	paddingSame  = 0
	paddingValid = 1

	activationReLU = 1
)

// activationCodes of the schema.
var activationCodes = [...]byte{Linear: 0, ReLU: activationReLU, ReLU6: 3}

// int8Versions are the versions of operators that take int8; those that aren't named, and those of float32, are 1. All that
// resize have half-pixel centres, which came with version 3.
var int8Versions = map[int32]int32{opAdd: 2, opConv: 3, opDepthwise: 3, opLogistic: 2, opMul: 2, opPad: 2, opMean: 2}

// tensor of a file. Without data it is an activation.
type tensor struct {
	name  string
	shape []int
	kind  int8
	// Quantisation: real = scale × (stored − zero), for each index of dimension where there are several scales.
	scale     []float32
	zero      []int64
	dimension int32
	data      []byte
}

// node is an operator of a file; tensors are named by their index.
type node struct {
	code    int32
	in, out []int
	kind    byte // of the options
	options []option
}

// option is a field of an operator's options; its default is 0.
type option struct {
	slot  int
	value int32
	wide  bool // an int32 and not a byte
}

// file is a .tflite before it is bytes.
type file struct {
	description     string
	quantised       bool
	tensors         []tensor
	nodes           []node
	inputs, outputs []int
}

func (f *file) tensor(t tensor) int {
	f.tensors = append(f.tensors, t)
	return len(f.tensors) - 1
}

func float32s(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func int32s[T int | int32](v ...T) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(x)))
	}
	return b
}

func int8s(v []int8) []byte {
	b := make([]byte, len(v))
	for i, x := range v {
		b[i] = byte(x)
	}
	return b
}

// convOptions of Conv2DOptions and DepthwiseConv2DOptions, whose slots differ.
func convOptions(f *Filter, perChannel bool) (kind byte, o []option) {
	padding, activation := int32(paddingValid), int32(activationCodes[f.Activation])
	if f.Same {
		padding = paddingSame
	}
	stride := int32(f.Stride)
	o = []option{{0, padding, false}, {1, stride, true}, {2, stride, true}}
	if perChannel { // 3 is the depth multiplier
		return optionsDepthwise, append(o, option{3, 1, true}, option{4, activation, false}, option{5, 1, true}, option{6, 1, true})
	}
	return optionsConv, append(o, option{3, activation, false}, option{4, 1, true}, option{5, 1, true})
}

// builder adds what the schema needs to the runtime's builder.
type builder struct{ *flatbuffers.Builder }

// A field is written to a table's slot; it is set apart from its default, so that it is always there.
type field struct {
	slot  int
	write func(slot int)
}

func (b builder) offset(slot int, at flatbuffers.UOffsetT) field {
	return field{slot, func(s int) { b.PrependUOffsetTSlot(s, at, 0) }}
}

func (b builder) byte(slot int, v byte) field {
	return field{slot, func(s int) { b.PrependByteSlot(s, v, 0) }}
}

func (b builder) int32(slot int, v int32) field {
	return field{slot, func(s int) { b.PrependInt32Slot(s, v, 0) }}
}

func (b builder) table(fields ...field) flatbuffers.UOffsetT {
	slots := 0
	for _, f := range fields {
		slots = max(slots, f.slot+1)
	}
	b.StartObject(slots)
	for _, f := range fields {
		f.write(f.slot)
	}
	return b.EndObject()
}

func (b builder) offsets(v []flatbuffers.UOffsetT) flatbuffers.UOffsetT {
	b.StartVector(4, len(v), 4)
	for _, x := range slices.Backward(v) {
		b.PrependUOffsetT(x)
	}
	return b.EndVector(len(v))
}

func (b builder) ints(v []int) flatbuffers.UOffsetT {
	b.StartVector(4, len(v), 4)
	for _, x := range slices.Backward(v) {
		b.PrependInt32(int32(x))
	}
	return b.EndVector(len(v))
}

// data is aligned to what the library's kernels want.
func (b builder) data(v []byte) flatbuffers.UOffsetT {
	b.StartVector(1, len(v), 16)
	for _, x := range slices.Backward(v) {
		b.PlaceByte(x)
	}
	return b.EndVector(len(v))
}

// bytes writes the file.
func (f *file) bytes() []byte {
	size := 1 << 12
	for _, t := range f.tensors {
		size += len(t.data) + 256
	}
	b := builder{flatbuffers.NewBuilder(size)}
	buffers := []flatbuffers.UOffsetT{b.table()} // the empty one serves all activations
	tensors := make([]flatbuffers.UOffsetT, len(f.tensors))
	for i, t := range f.tensors {
		buffer := 0
		if t.data != nil {
			buffer = len(buffers)
			buffers = append(buffers, b.table(b.offset(0, b.data(t.data))))
		}
		fields := []field{b.byte(1, byte(t.kind)), b.int32(2, int32(buffer))}
		if t.scale != nil {
			fields = append(fields, b.offset(4, b.quantisation(&t)))
		}
		fields = append(fields, b.offset(0, b.ints(t.shape)), b.offset(3, b.CreateString(t.name)))
		tensors[i] = b.table(fields...)
	}
	var codes []int32
	nodes := make([]flatbuffers.UOffsetT, len(f.nodes))
	for i, n := range f.nodes {
		code := slices.Index(codes, n.code)
		if code < 0 {
			code = len(codes)
			codes = append(codes, n.code)
		}
		fields := []field{b.int32(0, int32(code)), b.offset(1, b.ints(n.in)), b.offset(2, b.ints(n.out))}
		if n.kind != optionsNone {
			var options []field
			for _, o := range n.options {
				if o.wide {
					options = append(options, b.int32(o.slot, o.value))
				} else {
					options = append(options, b.byte(o.slot, byte(o.value)))
				}
			}
			fields = append(fields, b.byte(3, n.kind), b.offset(4, b.table(options...)))
		}
		nodes[i] = b.table(fields...)
	}
	subgraph := b.table(b.offset(0, b.offsets(tensors)), b.offset(1, b.ints(f.inputs)), b.offset(2, b.ints(f.outputs)),
		b.offset(3, b.offsets(nodes)), b.offset(4, b.CreateString("main")))
	operators := make([]flatbuffers.UOffsetT, len(codes))
	for i, c := range codes {
		version := int32(1)
		if c == opResize {
			version = 3
		}
		if v, ok := int8Versions[c]; ok && f.quantised {
			version = v
		}
		operators[i] = b.table(b.byte(0, byte(c)), b.int32(2, version), b.int32(3, c))
	}
	const schema = 3
	b.FinishWithFileIdentifier(b.table(b.int32(0, schema), b.offset(1, b.offsets(operators)),
		b.offset(2, b.offsets([]flatbuffers.UOffsetT{subgraph})), b.offset(3, b.CreateString(f.description)),
		b.offset(4, b.offsets(buffers))),
		[]byte("TFL3"))
	return b.FinishedBytes()
}

func (b builder) quantisation(t *tensor) flatbuffers.UOffsetT {
	b.StartVector(4, len(t.scale), 4)
	for _, x := range slices.Backward(t.scale) {
		b.PrependFloat32(x)
	}
	scale := b.EndVector(len(t.scale))
	b.StartVector(8, len(t.zero), 8)
	for _, x := range slices.Backward(t.zero) {
		b.PrependInt64(x)
	}
	zero := b.EndVector(len(t.zero))
	return b.table(b.offset(2, scale), b.offset(3, zero), b.int32(6, t.dimension))
}
