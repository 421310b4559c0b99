//go:build !cgo || !linux

package tflite

import "errors"

var errStub = errors.New("this build of livenessd has no TensorFlow Lite: it was built without cgo, or not for Linux")

// Runtime is a loaded library. In this build there is none.
type Runtime struct{}

// Load says that this build can't.
func Load(LoadOptions) (*Runtime, error) { return nil, &LoadError{cause: errStub} }

// Version of the library.
func (*Runtime) Version() string { return "" }

// Path of the library.
func (*Runtime) Path() string { return "" }

// New says that this build can't.
func (*Runtime) New([]byte, Options) (*Interpreter, error) { return nil, &LoadError{cause: errStub} }

// Interpreter runs a model. In this build there is none.
type Interpreter struct{}

// Inputs of the model.
func (*Interpreter) Inputs() []Tensor { return nil }

// Outputs of the model.
func (*Interpreter) Outputs() []Tensor { return nil }

// Delegate that runs the model.
func (*Interpreter) Delegate() string { return "" }

// Steps counts nothing.
func (*Interpreter) Steps() int { return -1 }

// InputInt8 gives an int8 input to fill.
func (*Interpreter) InputInt8(int) ([]int8, error) { return nil, errStub }

// InputUInt8 gives a uint8 input to fill.
func (*Interpreter) InputUInt8(int) ([]uint8, error) { return nil, errStub }

// InputFloat32 gives a float32 input to fill.
func (*Interpreter) InputFloat32(int) ([]float32, error) { return nil, errStub }

// Invoke runs the model.
func (*Interpreter) Invoke() error { return errStub }

// OutputFloat32 reads an output.
func (*Interpreter) OutputFloat32(int, []float32) error { return errStub }

// Close does nothing.
func (*Interpreter) Close() error { return nil }
