//go:build cgo && linux

package tflite

/*
#cgo CFLAGS: -I${SRCDIR}/include
#cgo LDFLAGS: -L${SRCDIR}/link -ldl
#include <stdlib.h>
#include <tensorflow/lite/c/c_api.h>
#include "trampoline.h"
*/
import "C"

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	lite "github.com/mattn/go-tflite"
	"github.com/mattn/go-tflite/delegates"
)

// loaded is the process's library: C functions have one address each, so there can't be two.
var loaded struct {
	sync.Mutex
	*Runtime
}

// Runtime is a loaded library. It stays loaded until the process ends, and any goroutine may use it.
type Runtime struct {
	path, version string
}

// Load loads the library. Further calls get the same one, whatever they ask for, but a named path that is another one's is
// an error.
func Load(o LoadOptions) (*Runtime, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if rt := loaded.Runtime; rt != nil {
		if o.Path != "" && !sameFile(o.Path, rt.path) {
			return nil, &LoadError{Tried: []Attempt{{o.Path, "this process uses " + rt.path + " already"}}}
		}
		return rt, nil
	}
	var tried []Attempt
	for _, path := range o.candidates() {
		cpath := C.CString(path)
		problem := C.livenessd_tflite_load(cpath)
		C.free(unsafe.Pointer(cpath))
		if problem != nil {
			tried = append(tried, Attempt{path, explain(C.GoString(problem), path)})
			C.free(unsafe.Pointer(problem))
			continue
		}
		rt := &Runtime{path, C.GoString(C.TfLiteVersion())}
		if major, _, ok := rt.number(); !ok || major != 2 {
			tried = append(tried, Attempt{path, fmt.Sprintf("it is version %q; need 2.x", rt.version)})
			continue
		}
		loaded.Runtime = rt
		return rt, nil
	}
	return nil, &LoadError{Tried: tried}
}

// explain takes the path off the front of the loader's message, and corrects it where it says that a library isn't there
// which is, for another processor.
func explain(problem, path string) string {
	problem = strings.TrimPrefix(problem, path+": ")
	f, err := elf.Open(path)
	if err != nil {
		return problem
	}
	defer f.Close()
	if want, ok := machines[runtime.GOARCH]; ok && f.Machine != want {
		return fmt.Sprintf("it is for %s, this machine is %s", strings.TrimPrefix(f.Machine.String(), "EM_"), strings.TrimPrefix(want.String(), "EM_"))
	}
	return problem
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM}

func sameFile(a, b string) bool {
	abs := func(p string) string {
		if q, err := filepath.Abs(p); err == nil {
			p = q
		}
		if q, err := filepath.EvalSymlinks(p); err == nil {
			p = q
		}
		return p
	}
	return a == b || abs(a) == abs(b)
}

// Version of the library, such as "2.9.0".
func (rt *Runtime) Version() string { return rt.version }

// Path that the library was loaded from; a bare name where the system's loader found it.
func (rt *Runtime) Path() string { return rt.path }

func (rt *Runtime) number() (major, minor int, ok bool) {
	parts := strings.SplitN(rt.version, ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err == nil && err2 == nil
}

// xnnpack is the delegate that go-tflite's options take.
type xnnpack struct{ p unsafe.Pointer }

var _ delegates.Delegater = xnnpack{}

func (x xnnpack) Ptr() unsafe.Pointer { return x.p }
func (x xnnpack) Delete()             { C.livenessd_xnnpack_delete(x.p) }

func (rt *Runtime) xnnpack(threads int) (xnnpack, error) {
	// The options' layout is not part of the library's promises.
	if major, minor, _ := rt.number(); major != 2 || minor != 9 {
		return xnnpack{}, fmt.Errorf("the layout of XNNPACK's options is known for TensorFlow Lite 2.9, and %s is %s; set inference.delegate to [%s]",
			rt.path, rt.version, None)
	}
	p := C.livenessd_xnnpack_create(C.int32_t(threads))
	if p == nil {
		return xnnpack{}, fmt.Errorf("%s has no XNNPACK or can't start it; set inference.delegate to [%s]", rt.path, None)
	}
	return xnnpack{p}, nil
}

// counter is a delegate that only counts. It comes after the one that works.
type counter struct{ p *C.livenessd_counter }

var _ delegates.Delegater = counter{}

func (c counter) Ptr() unsafe.Pointer { return C.livenessd_counter_delegate(c.p) }
func (c counter) Delete()             { C.livenessd_counter_delete(c.p) }

// Interpreter runs a model. It is for one goroutine at a time; a second one gets an error.
type Interpreter struct {
	busy            atomic.Bool // in the library
	closed          atomic.Bool
	closing         sync.Once
	model           *lite.Model
	options         *lite.InterpreterOptions
	delegate        delegates.Delegater // nil: none
	counter         *counter            // nil: nothing is counted
	interpreter     *lite.Interpreter
	delegateName    string
	inputs, outputs []Tensor
}

// New makes an interpreter for the model in data, whose digest must be o.SHA256.
func (rt *Runtime) New(data []byte, o Options) (*Interpreter, error) {
	ip := &Interpreter{}
	if err := ip.open(rt, data, o); err != nil {
		return nil, errors.Join(fmt.Errorf("tflite: open model: %w", err), ip.Close())
	}
	return ip, nil
}

// open leaves what it made to Close when it fails.
func (ip *Interpreter) open(rt *Runtime, data []byte, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != o.SHA256 {
		return fmt.Errorf("its SHA-256 is %x, need %q", sum, o.SHA256)
	}
	// Root offset and identifier; the library's own verifier looks at the rest.
	if len(data) < 32 || string(data[4:8]) != "TFL3" {
		return errors.New("not a TensorFlow Lite file")
	}
	if ip.model = lite.NewModel(data); ip.model == nil {
		return errors.New("the library refuses the file: damaged, or of a later version")
	}
	if ip.options = lite.NewInterpreterOptions(); ip.options == nil {
		return errors.New("the library gave no options: out of memory")
	}
	ip.options.SetNumThread(o.Threads)
	if o.Delegate == XNNPACK {
		x, err := rt.xnnpack(o.Threads)
		if err != nil {
			return err
		}
		ip.delegate = x
		ip.options.AddDelegate(x)
	}
	if o.Count {
		p := C.livenessd_counter_create()
		if p == nil {
			return errors.New("out of memory")
		}
		ip.counter = &counter{p}
		ip.options.AddDelegate(ip.counter)
	}
	ip.delegateName = o.Delegate
	if ip.interpreter = lite.NewInterpreter(ip.model, ip.options); ip.interpreter == nil {
		return errors.New("the library makes no interpreter of it: an operation that it doesn't have, or that the delegate refuses")
	}
	if ip.interpreter.AllocateTensors() != lite.OK {
		return errors.New("the library can't allocate its tensors: its shapes don't fit one another")
	}
	var err error
	if ip.inputs, err = describe("input", ip.interpreter.GetInputTensorCount(), ip.interpreter.GetInputTensor); err != nil {
		return err
	}
	if ip.outputs, err = describe("output", ip.interpreter.GetOutputTensorCount(), ip.interpreter.GetOutputTensor); err != nil {
		return err
	}
	if err := matches("input", ip.inputs, o.Inputs); err != nil {
		return err
	}
	if o.Outputs == nil {
		return nil
	}
	return matches("output", ip.outputs, o.Outputs)
}

// maxElements bounds a tensor that is read or written: 64 Mi numbers.
const maxElements = 64 << 20

// describe reads what n tensors are, and refuses those that can't be read or written safely.
func describe(kind string, n int, get func(int) *lite.Tensor) ([]Tensor, error) {
	out := make([]Tensor, 0, max(n, 0))
	for i := range n {
		t := get(i)
		if t == nil {
			return nil, fmt.Errorf("%s %d is missing", kind, i)
		}
		d := Tensor{Name: t.Name(), Shape: t.Shape()}
		switch t.Type() {
		case lite.Float32:
			d.Type = Float32
		case lite.Int8:
			d.Type = Int8
		case lite.UInt8:
			d.Type = UInt8
		default:
			return nil, fmt.Errorf("%s %d (%s) is of type %v; float32, int8 and uint8 can be used", kind, i, d.Name, t.Type())
		}
		elements := 1
		for _, s := range d.Shape {
			if s < 1 || s > maxElements || elements > maxElements/s {
				return nil, fmt.Errorf("%s %d (%s) has shape %v", kind, i, d.Name, d.Shape)
			}
			elements *= s
		}
		if t.ByteSize() != uint(elements*d.Type.size()) || t.Data() == nil {
			return nil, fmt.Errorf("%s %d (%s) has %d bytes, need %d", kind, i, d.Name, t.ByteSize(), elements*d.Type.size())
		}
		if d.Type != Float32 {
			q := t.QuantizationParams()
			if !(q.Scale > 0) || math.IsInf(q.Scale, 0) {
				return nil, fmt.Errorf("%s %d (%s) is %s without a quantisation", kind, i, d.Name, d.Type)
			}
			d.Scale, d.ZeroPoint = q.Scale, q.ZeroPoint
		}
		out = append(out, d)
	}
	return out, nil
}

// Inputs of the model.
func (ip *Interpreter) Inputs() []Tensor { return ip.inputs }

// Outputs of the model.
func (ip *Interpreter) Outputs() []Tensor { return ip.outputs }

// Delegate names what runs the model.
func (ip *Interpreter) Delegate() string { return ip.delegateName }

// Steps is how many steps a call takes: the model's operators, where those that a delegate took together are one. A model that
// the delegate took as a whole has one. It is −1 unless Options asked to count.
func (ip *Interpreter) Steps() int {
	if ip.counter == nil || ip.closed.Load() {
		return -1
	}
	return int(C.livenessd_counter_steps(ip.counter.p))
}

func (ip *Interpreter) input(i int, t Type) (*lite.Tensor, error) {
	if ip.closed.Load() {
		return nil, ErrClosed
	}
	if i < 0 || i >= len(ip.inputs) {
		return nil, fmt.Errorf("tflite: no input %d; there are %d", i, len(ip.inputs))
	}
	if ip.inputs[i].Type != t {
		return nil, fmt.Errorf("tflite: input %d is %s, not %s", i, ip.inputs[i].Type, t)
	}
	// Asked for each time: the memory may move between calls.
	p := ip.interpreter.GetInputTensor(i)
	if p == nil || p.Data() == nil {
		return nil, fmt.Errorf("tflite: input %d has no memory", i)
	}
	return p, nil
}

// InputInt8 gives the memory of an int8 input, to be filled before Invoke. It is dead after Close.
func (ip *Interpreter) InputInt8(i int) ([]int8, error) {
	t, err := ip.input(i, Int8)
	if err != nil {
		return nil, err
	}
	return t.Int8s(), nil
}

// InputUInt8 gives the memory of a uint8 input, to be filled before Invoke. It is dead after Close.
func (ip *Interpreter) InputUInt8(i int) ([]uint8, error) {
	t, err := ip.input(i, UInt8)
	if err != nil {
		return nil, err
	}
	return t.UInt8s(), nil
}

// InputFloat32 gives the memory of a float32 input, to be filled before Invoke. It is dead after Close.
func (ip *Interpreter) InputFloat32(i int) ([]float32, error) {
	t, err := ip.input(i, Float32)
	if err != nil {
		return nil, err
	}
	return t.Float32s(), nil
}

// Invoke runs the model on what the inputs hold.
func (ip *Interpreter) Invoke() error {
	if !ip.busy.CompareAndSwap(false, true) {
		return errors.New("tflite: two goroutines use one interpreter")
	}
	defer ip.busy.Store(false)
	if ip.closed.Load() {
		return ErrClosed
	}
	if s := ip.interpreter.Invoke(); s != lite.OK {
		return fmt.Errorf("tflite: the library could not run the model (status %d)", int(s))
	}
	return nil
}

// OutputFloat32 reads an output into dst, which must have as many elements; quantised numbers become real ones.
func (ip *Interpreter) OutputFloat32(i int, dst []float32) error {
	if ip.closed.Load() {
		return ErrClosed
	}
	if i < 0 || i >= len(ip.outputs) {
		return fmt.Errorf("tflite: no output %d; there are %d", i, len(ip.outputs))
	}
	d := &ip.outputs[i]
	t := ip.interpreter.GetOutputTensor(i)
	if t == nil || t.Data() == nil {
		return fmt.Errorf("tflite: output %d has no memory", i)
	}
	if n := d.Elements(); len(dst) != n || t.ByteSize() != uint(n*d.Type.size()) {
		return fmt.Errorf("tflite: output %d has %d elements in %d bytes, not %d", i, n, t.ByteSize(), len(dst))
	}
	scale, zero := float32(d.Scale), int32(d.ZeroPoint)
	switch d.Type {
	case Float32:
		copy(dst, t.Float32s())
	case Int8:
		for j, q := range t.Int8s() {
			dst[j] = scale * float32(int32(q)-zero)
		}
	case UInt8:
		for j, q := range t.UInt8s() {
			dst[j] = scale * float32(int32(q)-zero)
		}
	}
	return nil
}

// Close frees everything. It is idempotent; the goroutine that uses the interpreter calls it.
func (ip *Interpreter) Close() error {
	ip.closing.Do(func() {
		ip.closed.Store(true)
		if ip.interpreter != nil {
			ip.interpreter.Delete()
		}
		if ip.delegate != nil {
			ip.delegate.Delete()
		}
		if ip.counter != nil {
			ip.counter.Delete()
		}
		if ip.options != nil {
			ip.options.Delete()
		}
		if ip.model != nil {
			ip.model.Delete()
		}
	})
	return nil
}
