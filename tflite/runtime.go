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

// delegate is what go-tflite's options take: a witness, and the delegate behind it.
type delegate struct {
	witness *C.livenessd_witness
	behind  unsafe.Pointer // nil: none
	free    func(unsafe.Pointer)
}

var _ delegates.Delegater = (*delegate)(nil)

func (d *delegate) Ptr() unsafe.Pointer { return C.livenessd_witness_delegate(d.witness) }

func (d *delegate) Delete() {
	if d.behind != nil {
		d.free(d.behind)
	}
	C.livenessd_witness_delete(d.witness)
}

// witnessed lets p, which may be nil, take models under a witness.
func witnessed(p unsafe.Pointer, free func(unsafe.Pointer)) (*delegate, error) {
	w := C.livenessd_witness_create(p)
	if w == nil {
		if p != nil {
			free(p)
		}
		return nil, errors.New("out of memory")
	}
	return &delegate{w, p, free}, nil
}

// delegate makes what runs the model, nil for the built-in kernels if nobody counts.
func (rt *Runtime) delegate(o *Options, options *lite.InterpreterOptions) (*delegate, error) {
	switch {
	case o.Delegate == XNNPACK:
		return rt.xnnpack(o.Threads)
	case o.Delegate == NNAPI:
		return nnapi(options)
	case o.Delegate != CPU:
		return plugin(o)
	case o.Count:
		return witnessed(nil, nil)
	}
	return nil, nil
}

func (rt *Runtime) xnnpack(threads int) (*delegate, error) {
	// The options' layout is not part of the library's promises.
	if major, minor, _ := rt.number(); major != 2 || minor != 9 {
		return nil, fmt.Errorf("the layout of XNNPACK's options is known for TensorFlow Lite 2.9, and %s is %s; set inference.delegate to [%s]",
			rt.path, rt.version, CPU)
	}
	p := C.livenessd_xnnpack_create(C.int32_t(threads))
	if p == nil {
		return nil, fmt.Errorf("%s has no XNNPACK or can't start it; set inference.delegate to [%s]", rt.path, CPU)
	}
	return witnessed(p, func(p unsafe.Pointer) { C.livenessd_xnnpack_delete(p) })
}

// nnapi lets the library ask Android's drivers, which comes before the witness. Where they are absent it would say that it does, and use
// the processor.
func nnapi(options *lite.InterpreterOptions) (*delegate, error) {
	if problem := C.livenessd_nnapi_missing(); problem != nil {
		defer C.free(unsafe.Pointer(problem))
		return nil, &DelegateError{NNAPI, C.GoString(problem), "NNAPI is Android's; take nnapi out of inference.delegate"}
	}
	options.SetUseNNAPI(true)
	return witnessed(nil, nil)
}

// creating is held while a plug-in makes a delegate: it reports errors without a word about whose.
var creating sync.Mutex

// plugin lets a plug-in make a delegate.
func plugin(o *Options) (*delegate, error) {
	path := Plugin(o.Delegate, o.Library)
	refuse := func(why, hint string) error { return &DelegateError{o.Delegate, why, hint} }
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	var p C.livenessd_plugin
	if problem := C.livenessd_plugin_load(cpath, &p); problem != nil {
		defer C.free(unsafe.Pointer(problem))
		hint := "name the plug-in's library as its vendor installs it, for this processor"
		if o.Delegate == EdgeTPU {
			hint = "install libedgetpu1-std from Coral's packages"
		}
		return nil, refuse(fmt.Sprintf("can't load %s: %s", path, explain(C.GoString(problem), path)), hint)
	}
	keys, values, free := pairs(o.Settings)
	defer free()
	creating.Lock()
	var heard *C.char
	made := C.livenessd_plugin_create(&p, keys, values, C.size_t(len(o.Settings)), &heard)
	creating.Unlock()
	said := ""
	if heard != nil {
		said = ": " + strings.ToValidUTF8(C.GoString(heard), "?")
		C.free(unsafe.Pointer(heard))
	}
	if made == nil {
		return nil, refuse("the plug-in makes no delegate"+said, "is the accelerator plugged in, may livenessd's user open it, and are the options those of the plug-in?")
	}
	return witnessed(made, func(d unsafe.Pointer) { C.livenessd_plugin_destroy(&p, d) })
}

// pairs copies settings into memory of C's.
func pairs(all []Setting) (keys, values **C.char, free func()) {
	if len(all) == 0 {
		return nil, nil, func() {}
	}
	list := func(get func(Setting) string) []*C.char {
		p := C.calloc(C.size_t(len(all)), C.size_t(unsafe.Sizeof((*C.char)(nil))))
		out := unsafe.Slice((**C.char)(p), len(all))
		for i, s := range all {
			out[i] = C.CString(get(s))
		}
		return out
	}
	k, v := list(func(s Setting) string { return s.Key }), list(func(s Setting) string { return s.Value })
	return &k[0], &v[0], func() {
		for i := range all {
			C.free(unsafe.Pointer(k[i]))
			C.free(unsafe.Pointer(v[i]))
		}
		C.free(unsafe.Pointer(&k[0]))
		C.free(unsafe.Pointer(&v[0]))
	}
}

// Interpreter runs a model. It is for one goroutine at a time; a second one gets an error.
type Interpreter struct {
	busy            atomic.Bool // in the library
	closed          atomic.Bool
	closing         sync.Once
	model           *lite.Model
	options         *lite.InterpreterOptions
	delegate        *delegate // nil: the built-in kernels
	counts          bool
	interpreter     *lite.Interpreter
	delegateName    string
	inputs, outputs []Tensor
	in, out         []*lite.Tensor // the same; where they have their memory is asked for each time, as that may move between calls
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
	var err error
	if ip.delegate, err = rt.delegate(&o, ip.options); err != nil {
		return err
	}
	if ip.delegate != nil {
		ip.options.AddDelegate(ip.delegate)
	}
	ip.counts = o.Count
	ip.delegateName = o.Delegate
	if ip.interpreter = lite.NewInterpreter(ip.model, ip.options); ip.interpreter == nil {
		return errors.New("the library makes no interpreter of it: an operation that it doesn't have, or that the delegate refuses")
	}
	if Accelerator(o.Delegate) && C.livenessd_witness_taken(ip.delegate.witness) < 1 {
		hint := "the model has nothing that this accelerator can run: take it out of inference.delegate"
		if o.Delegate == EdgeTPU {
			hint = "the model must be compiled for the Edge TPU: models/BUNDLE.md"
		}
		return &DelegateError{o.Delegate, "it takes no part of the model, which would run on the processor", hint}
	}
	if ip.interpreter.AllocateTensors() != lite.OK {
		return errors.New("the library can't allocate its tensors: its shapes don't fit one another")
	}
	if ip.inputs, ip.in, err = describe("input", ip.interpreter.GetInputTensorCount(), ip.interpreter.GetInputTensor); err != nil {
		return err
	}
	if ip.outputs, ip.out, err = describe("output", ip.interpreter.GetOutputTensorCount(), ip.interpreter.GetOutputTensor); err != nil {
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
func describe(kind string, n int, get func(int) *lite.Tensor) (out []Tensor, all []*lite.Tensor, err error) {
	for i := range n {
		t := get(i)
		if t == nil {
			return nil, nil, fmt.Errorf("%s %d is missing", kind, i)
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
			return nil, nil, fmt.Errorf("%s %d (%s) is of type %v; float32, int8 and uint8 can be used", kind, i, d.Name, t.Type())
		}
		elements := 1
		for _, s := range d.Shape {
			if s < 1 || s > maxElements || elements > maxElements/s {
				return nil, nil, fmt.Errorf("%s %d (%s) has shape %v", kind, i, d.Name, d.Shape)
			}
			elements *= s
		}
		if t.ByteSize() != uint(elements*d.Type.size()) || t.Data() == nil {
			return nil, nil, fmt.Errorf("%s %d (%s) has %d bytes, need %d", kind, i, d.Name, t.ByteSize(), elements*d.Type.size())
		}
		if d.Type != Float32 {
			q := t.QuantizationParams()
			if !(q.Scale > 0) || math.IsInf(q.Scale, 0) {
				return nil, nil, fmt.Errorf("%s %d (%s) is %s without a quantisation", kind, i, d.Name, d.Type)
			}
			d.Scale, d.ZeroPoint = q.Scale, q.ZeroPoint
		}
		out, all = append(out, d), append(all, t)
	}
	return out, all, nil
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
	if !ip.counts || ip.closed.Load() {
		return -1
	}
	return int(C.livenessd_witness_steps(ip.delegate.witness))
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
	p := ip.in[i]
	if p.Data() == nil {
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
	t := ip.out[i]
	if t.Data() == nil {
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
		if ip.options != nil {
			ip.options.Delete()
		}
		if ip.model != nil {
			ip.model.Delete()
		}
	})
	return nil
}
