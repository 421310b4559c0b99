package models

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"

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

	manifest []byte // as it was read
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
	data, err := read(fsys, path.Join(folder, m.File), MaxFile)
	if err != nil {
		return nil, fmt.Errorf("models: read %s: %w", path.Join(where, m.File), err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != m.SHA256 {
		return nil, &Refusal{What: fmt.Sprintf("%s has SHA-256 %x, its manifest says %s", path.Join(where, m.File), sum, m.SHA256),
			hint: "the file is damaged or was replaced: install the model again"}
	}
	card, err := read(fsys, path.Join(folder, CardFile), MaxCard)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("models: read %s: %w", path.Join(where, CardFile), err)
	}
	return &Model{Manifest: *m, Data: data, From: where, Signer: signer, Card: string(card), manifest: text}, nil
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
	Threads  int    // 0: one
	Delegate string // as in tflite.Options; "" for its default
}

// network is an interpreter whose one input is a picture.
type network struct {
	*tflite.Interpreter
	in  Input
	pix []byte // the picture as bytes, in the order of the channels
}

func openNetwork(rt *tflite.Runtime, m *Model, o Options, outputs []tflite.TensorSpec) (*network, error) {
	spec, err := m.Input.spec()
	if err != nil {
		return nil, err
	}
	ip, err := rt.New(m.Data, tflite.Options{SHA256: m.SHA256, Threads: o.Threads, Delegate: o.Delegate,
		Inputs: []tflite.TensorSpec{spec}, Outputs: outputs})
	if err != nil {
		return nil, fmt.Errorf("models: open %s %s (%s): %w", m.Name, m.Version, m.From, err)
	}
	return &network{Interpreter: ip, in: m.Input, pix: make([]byte, m.Input.Width*m.Input.Height*3)}, nil
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
	return n.Invoke()
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
