// Package tflite runs TensorFlow Lite models: it loads the C library at run time, and owns interpreters, one per goroutine.
//
// It promises that a library which is missing, of the wrong kind or too old is an error that names the paths that were tried;
// that a model is handed to the library only when its bytes have the SHA-256 that the caller vouches for, and run only when
// its tensors are what the caller asked for in number, type, shape and quantisation; that model, delegate and interpreter are
// freed once and in the order that the library needs; that what was freed by one thread can be used by all; that an accelerator which takes
// no part of a model is an error, and never a run on the processor in its name; and that a tensor that isn't
// there is an error, not a crash. It knows nothing of faces and pictures. It doesn't defend against a file that somebody built to attack the library: a digest from a
// trusted place does that; nor against a plug-in, which is foreign code in this process that may hang, crash and answer what it likes.
// Without cgo everything compiles, and Load says that this build can't.
package tflite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Library is the file name of TensorFlow Lite's C library.
const Library = "libtensorflowlite_c.so"

// LibraryVariable is the environment variable that names the library's path.
const LibraryVariable = "LIVENESSD_TFLITE"

// ErrClosed is what an Interpreter answers after Close.
var ErrClosed = errors.New("tflite: the interpreter is closed")

// LoadOptions is where the library is looked for.
type LoadOptions struct {
	Path string // of the library; "" looks at LIVENESSD_TFLITE, beside the binary, in the lib/livenessd of its tree, in /usr/local/lib/livenessd and /usr/lib/livenessd, where the system has libraries
}

// Type of a tensor's elements.
type Type int

// The types that can be read and written. AnyType stands for each of them in a TensorSpec.
const (
	AnyType Type = iota
	Float32
	Int8
	UInt8
)

var typeNames = [...]string{"any type", "float32", "int8", "uint8"}

func (t Type) String() string {
	if t < 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("type %d", int(t))
	}
	return typeNames[t]
}

func (t Type) size() int {
	if t == Float32 {
		return 4
	}
	return 1
}

// TensorSpec is what a caller needs a tensor to be.
type TensorSpec struct {
	Type      Type
	Shape     []int    // nil: any
	Scale     *float64 // nil: any; of the quantisation real = Scale × (stored − ZeroPoint)
	ZeroPoint *int     // nil: any
}

// Tensor is what a tensor is.
type Tensor struct {
	Name      string
	Type      Type
	Shape     []int
	Scale     float64 // 0 for float32
	ZeroPoint int
}

// Elements is how many numbers the tensor holds.
func (t Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Options of an Interpreter.
type Options struct {
	// SHA256 is the digest that the model's bytes must have, in lower-case hexadecimal digits.
	SHA256   string
	Threads  int    // 0 is one, which is the fastest for small nets
	Delegate string // XNNPACK, CPU, EdgeTPU, NNAPI, or External and a path; "" is XNNPACK
	Library  string // the plug-in behind EdgeTPU; "" is EdgeTPULibrary
	Settings []Setting
	Count    bool // the steps that a call takes; see Steps
	// Inputs and Outputs are what the tensors must be, all of them. Nil outputs: whatever can be read.
	Inputs, Outputs []TensorSpec
}

// maxThreads bounds Options.Threads: more only cost.
const maxThreads = 64

func (o *Options) check() error {
	if err := o.checkDelegate(); err != nil {
		return err
	}
	if o.Threads == 0 {
		o.Threads = 1
	}
	if o.Threads < 1 || o.Threads > maxThreads {
		return fmt.Errorf("%d threads: 1 to %d", o.Threads, maxThreads)
	}
	return nil
}

// matches tells how the tensors differ from what they must be.
func matches(kind string, have []Tensor, want []TensorSpec) error {
	if len(have) != len(want) {
		return fmt.Errorf("it has %d %ss, need %d", len(have), kind, len(want))
	}
	for i, t := range have {
		w := want[i]
		switch {
		case w.Type != AnyType && t.Type != w.Type:
			return fmt.Errorf("%s %d (%s) is %s, need %s", kind, i, t.Name, t.Type, w.Type)
		case w.Shape != nil && !slices.Equal(t.Shape, w.Shape):
			return fmt.Errorf("%s %d (%s) has shape %v, need %v", kind, i, t.Name, t.Shape, w.Shape)
		case w.Scale != nil && !near(t.Scale, *w.Scale):
			return fmt.Errorf("%s %d (%s) is quantised with scale %v, need %v", kind, i, t.Name, t.Scale, *w.Scale)
		case w.ZeroPoint != nil && t.ZeroPoint != *w.ZeroPoint:
			return fmt.Errorf("%s %d (%s) is quantised with zero point %d, need %d", kind, i, t.Name, t.ZeroPoint, *w.ZeroPoint)
		}
	}
	return nil
}

// near allows for a scale that went through a float32.
func near(a, b float64) bool {
	d := a - b
	return d <= 1e-6*b && d >= -1e-6*b
}

// LoadError says why no library could be loaded. It unwraps to fs.ErrNotExist where it was nowhere.
type LoadError struct {
	Tried []Attempt
	cause error
}

// Attempt is one place where the library was looked for.
type Attempt struct {
	Path string
	Why  string
}

func (e *LoadError) Error() string {
	if e.cause != nil {
		return "tflite: load TensorFlow Lite: " + e.cause.Error()
	}
	lines := make([]string, len(e.Tried))
	for i, a := range e.Tried {
		lines[i] = a.Path + " (" + a.Why + ")"
	}
	return "tflite: no usable TensorFlow Lite library; tried " + strings.Join(lines, ", ")
}

func (e *LoadError) Unwrap() error { return e.cause }

// Hint is what a technician should do.
func (e *LoadError) Hint() string {
	if e.cause != nil {
		return "use a livenessd that was built with cgo"
	}
	return "put " + Library + " beside the livenessd binary or into /usr/local/lib/livenessd, or name it with models.runtime or " + LibraryVariable
}

// candidates are the paths to try. Who names a path wants that one and no other.
func (o LoadOptions) candidates() []string {
	if o.Path != "" {
		return []string{o.Path}
	}
	if p := os.Getenv(LibraryVariable); p != "" {
		return []string{p}
	}
	var paths []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		paths = append(paths, filepath.Join(dir, Library), filepath.Join(dir, "lib", Library), filepath.Join(dir, "../lib/livenessd", Library))
	}
	// The first is for what an administrator brings where the package has none.
	return append(paths, filepath.Join("/usr/local/lib/livenessd", Library), filepath.Join("/usr/lib/livenessd", Library), Library)
}
