package models

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/livenessd/livenessd/tflite"
)

// MaxFile bounds a .tflite file's size in bytes; the shipped ones are under a megabyte.
const MaxFile = 64 << 20

// Names in a model's folder beside the .tflite.
const (
	ManifestFile = "manifest.yaml"
	CardFile     = "README.md" // data, figures, limits, for people; it is no part of what is signed
)

// MaxCard bounds a card's size in bytes.
const MaxCard = 256 << 10

// Model is a manifest and the file that it vouches for.
type Model struct {
	Manifest
	Data []byte // the .tflite; its SHA-256 is Manifest.SHA256
	From string // where it was read, for people
	// Signer is the fingerprint of the key that signed the manifest, "" where no signature was asked for.
	Signer string
	Card   string // README.md in the folder, "" where there is none

	manifest []byte            // as it was read
	compiled map[string][]byte // the other files
	folder   string            // "" for what is inside this program
}

// Load reads the model in a folder of fsys and checks the file's SHA-256 over the bytes that it returns. from names fsys
// in errors.
func Load(fsys fs.FS, folder, from string) (*Model, error) { return load(fsys, folder, from, nil) }

// LoadFolder reads the model in a folder of this machine.
func LoadFolder(folder string) (*Model, error) { return (*Trust)(nil).LoadFolder(folder) }

// load reads a model. The signature is checked over the bytes of the manifest before they are looked into.
func load(fsys fs.FS, folder, from string, t *Trust) (*Model, error) {
	where := path.Join(from, folder)
	text, err := read(fsys, path.Join(folder, ManifestFile), MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("models: read the manifest in %s: %w", where, err)
	}
	signer, err := t.verify(fsys, folder, where, text)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(path.Join(where, ManifestFile), text)
	if err != nil {
		return nil, err
	}
	data, err := vouched(fsys, folder, where, File{m.File, m.SHA256})
	if err != nil {
		return nil, err
	}
	compiled := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(m.Compiled)) {
		if compiled[name], err = vouched(fsys, folder, where, m.Compiled[name]); err != nil {
			return nil, err
		}
	}
	card, err := read(fsys, path.Join(folder, CardFile), MaxCard)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("models: read %s: %w", path.Join(where, CardFile), err)
	}
	return &Model{Manifest: *m, Data: data, From: where, Signer: signer, Card: string(card), manifest: text, compiled: compiled}, nil
}

// vouched reads a file and checks its SHA-256.
func vouched(fsys fs.FS, folder, where string, f File) ([]byte, error) {
	data, err := read(fsys, path.Join(folder, f.File), MaxFile)
	if err != nil {
		return nil, fmt.Errorf("models: read %s: %w", path.Join(where, f.File), err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, &Refusal{What: fmt.Sprintf("%s has SHA-256 %x, its manifest says %s", path.Join(where, f.File), sum, f.SHA256),
			hint: "the file is damaged or was replaced: install the model again"}
	}
	return data, nil
}

func read(fsys fs.FS, name string, limit int64) ([]byte, error) {
	// A pipe would block for ever, so the kind of file is looked at before it is opened.
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return data, nil
}

// readRegular reads a file of this machine.
func readRegular(file string, limit int64) ([]byte, error) {
	data, err := read(os.DirFS(filepath.Dir(file)), filepath.Base(file), limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return data, nil
}

//go:embed shipped
var shipped embed.FS

// Shipped reads the model of a task that is inside this program. It needs no signature: who could replace it could replace
// the code that checks signatures as well.
func Shipped(t Task) (*Model, error) {
	folder := map[Task]string{FaceDetection: "face", LivenessTask: "liveness"}[t]
	if folder == "" {
		return nil, fmt.Errorf("models: no model for task %q is shipped", t)
	}
	m, err := Load(shipped, path.Join("shipped", folder), "built in")
	if err != nil {
		return nil, err
	}
	if m.Task != t {
		return nil, fmt.Errorf("models: %s is for %s", m.From, m.Task)
	}
	return m, nil
}

// Options is how a model is run.
type Options struct {
	Threads  int              `json:"threads"`            // 0: one
	Delegate string           `json:"delegate,omitempty"` // as in tflite.Options; "" for its default
	Library  string           `json:"library,omitempty"`  // likewise
	Settings []tflite.Setting `json:"settings,omitempty"` // likewise
	// Compiled is what a model's file must be compiled for; "" is the model's usual file. A model that has none is run by Otherwise, a delegate
	// that needs none; "" is an error.
	Compiled  string `json:"compiled,omitempty"`
	Otherwise string `json:"otherwise,omitempty"`
	// Watch, if it isn't nil, gives whoever is told of the calls of a model's net.
	Watch func(model string) Call `json:"-"`
}

// Call is told of the calls of one net, in the goroutine that makes them: of each before and after, and when there are no more.
type Call interface {
	Begin() error    // an error keeps the net from being called
	End(error) error // takes what the library said, and says what counts: an answer that comes too late is none
	Close()
}

// network is an interpreter whose one input is a picture.
type network struct {
	*tflite.Interpreter
	in   Input
	pix  []byte // the picture as bytes, in the order of the channels
	call Call   // nil: nobody watches
}

func openNetwork(rt *tflite.Runtime, m *Model, o Options, outputs []tflite.TensorSpec) (*network, error) {
	spec, err := m.Input.spec()
	if err != nil {
		return nil, err
	}
	t := tflite.Options{SHA256: m.SHA256, Threads: o.Threads, Delegate: o.Delegate, Library: o.Library, Settings: o.Settings,
		Inputs: []tflite.TensorSpec{spec}, Outputs: outputs}
	data := m.Data
	if compiled, is := m.compiled[o.Compiled]; is {
		data, t.SHA256 = compiled, m.Compiled[o.Compiled].SHA256
	} else if o.Compiled != "" {
		if o.Otherwise == "" {
			return nil, fmt.Errorf("models: open %s %s (%s): %w", m.Name, m.Version, m.From, &uncompiled{o.Compiled})
		}
		t.Delegate, t.Library, t.Settings = o.Otherwise, "", nil
	}
	ip, err := rt.New(data, t)
	if err != nil {
		return nil, fmt.Errorf("models: open %s %s (%s): %w", m.Name, m.Version, m.From, err)
	}
	n := &network{Interpreter: ip, in: m.Input, pix: make([]byte, m.Input.Width*m.Input.Height*3)}
	if o.Watch != nil {
		n.call = o.Watch(m.Name)
	}
	return n, nil
}

// uncompiled is that a model has no file for an accelerator.
type uncompiled struct{ what string }

func (e *uncompiled) Error() string { return "it has no file that is compiled for " + e.what }

// Hint is what a technician should do.
func (e *uncompiled) Hint() string {
	return "compile the net with the accelerator's compiler, and name the file in the manifest under compiled: models/BUNDLE.md"
}

// Close frees the net. It is idempotent.
func (n *network) Close() error {
	if n.call != nil {
		n.call.Close()
	}
	return n.Interpreter.Close()
}

// invoke runs the net on what its input holds.
func (n *network) invoke() error {
	if n.call == nil {
		return n.Invoke()
	}
	if err := n.call.Begin(); err != nil {
		return err
	}
	return n.call.End(n.Invoke())
}

func (in *Input) spec() (tflite.TensorSpec, error) {
	s := tflite.TensorSpec{Shape: []int{1, in.Height, in.Width, 3}}
	switch in.Type {
	case "int8":
		s.Type = tflite.Int8
	case "uint8":
		s.Type = tflite.UInt8
	case "float32":
		s.Type = tflite.Float32
		return s, nil
	default:
		return s, fmt.Errorf("models: input type %q", in.Type)
	}
	s.Scale, s.ZeroPoint = &in.Scale, &in.ZeroPoint
	return s, nil
}

// run hands pix to the net and runs it.
func (n *network) run() error {
	switch n.in.Type {
	case "int8":
		t, err := n.InputInt8(0)
		if err != nil {
			return err
		}
		for i, p := range n.pix {
			t[i] = int8(p ^ 0x80) // pixel − 128
		}
	case "uint8":
		t, err := n.InputUInt8(0)
		if err != nil {
			return err
		}
		copy(t, n.pix)
	case "float32":
		t, err := n.InputFloat32(0)
		if err != nil {
			return err
		}
		scale, shift := [3]float32{1, 1, 1}, [3]float32{}
		for c := range scale {
			if n.in.Std != nil {
				scale[c] = float32(1 / n.in.Std[c])
			}
			if n.in.Mean != nil {
				shift[c] = float32(-n.in.Mean[c])
			}
		}
		for i, p := range n.pix {
			t[i] = (float32(p) + shift[i%3]) * scale[i%3]
		}
	}
	return n.invoke()
}

// ErrNotFinite is a net's answer that is no number: it is no evidence, in either direction.
var ErrNotFinite = errors.New("models: the net's answer is not a number")

func finite(v ...float32) bool {
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}
