package graph

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the files of tflite/testdata anew")

// TestFilesOfTheRuntimesTests: what the tests of package tflite run is what is written here, since it must import nothing.
func TestFilesOfTheRuntimesTests(t *testing.T) {
	for name, f := range map[string]*file{
		"int8.tflite":     pixelsToNumbers(),
		"float32.tflite":  sum("a sum", typeFloat32, 2),
		"int32.tflite":    sum("a sum of integers", typeInt32, 1), // can't be read
		"unscaled.tflite": {description: "no scale", tensors: []tensor{{name: "a", shape: []int{1, 4}, kind: typeInt8}}, inputs: []int{0}, outputs: []int{0}},
	} {
		path := filepath.Join("..", "..", "tflite", "testdata", name)
		if *update {
			if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, f.bytes()) {
			t.Errorf("%s isn't what is written now (%v); see -update", path, err)
		}
	}
}

// pixelsToNumbers is a 1×1 convolution: out[0] = r + g + b − 300, out[1] = r − b, both in steps of a half.
func pixelsToNumbers() *file {
	f := &file{description: "pixels to two numbers", quantised: true}
	one, none := []float32{.01, .01}, []int64{0, 0}
	x := f.tensor(activation("pixels", value{h: 2, w: 2, c: 3}, pixels))
	w := f.tensor(tensor{name: "weights", shape: []int{2, 1, 1, 3}, kind: typeInt8, scale: one, zero: none, data: int8s([]int8{100, 100, 100, 100, 0, -100})})
	b := f.tensor(tensor{name: "bias", shape: []int{2}, kind: typeInt32, scale: one, zero: none, data: int32s(-30000, 0)})
	y := f.tensor(activation("numbers", value{h: 2, w: 2, c: 2}, affine{.5, 3}))
	kind, options := convOptions(&Filter{Stride: 1}, false)
	f.nodes = []node{{code: opConv, in: []int{x, w, b}, out: []int{y}, kind: kind, options: options}}
	f.inputs, f.outputs = []int{x}, []int{y}
	return f
}

// sum adds two inputs, or one to itself.
func sum(description string, kind int8, inputs int) *file {
	f := &file{description: description}
	for _, name := range []string{"a", "b"}[:inputs] {
		f.inputs = append(f.inputs, f.tensor(tensor{name: name, shape: []int{1, 4}, kind: kind}))
	}
	y := f.tensor(tensor{name: "sum", shape: []int{1, 4}, kind: kind})
	f.nodes = []node{{code: opAdd, in: []int{f.inputs[0], f.inputs[inputs-1]}, out: []int{y}, kind: optionsAdd}}
	f.outputs = []int{y}
	return f
}
