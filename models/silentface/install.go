package silentface

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"text/template"

	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/tflite"
)

// Options is what is installed, and where.
type Options struct {
	// From is a folder with upstream's two .pth files, under upstream's names. "" downloads them.
	From      string
	Directory string // of the installed models
	// Runtime runs the nets: for the ranges of the int8 ones, and to see that all answer as they should.
	Runtime  *tflite.Runtime
	Delegate string       // as in tflite.Options; "" for its default. The nets must answer rightly with it, and without
	Log      *slog.Logger // nil: nowhere
	// Force replaces installed models of these names that aren't the same. Without it they are left, and an error.
	Force bool
	// Upstream is where the files are downloaded, without the name of the file. "" is upstream's repository. Whatever it
	// is, the files must be upstream's.
	Upstream string
	Client   *http.Client // for the download; nil: one with a time limit
}

// Error is why MiniFASNet wasn't installed.
type Error struct {
	err  error
	hint string
}

func (e *Error) Error() string { return "silentface: " + e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Hint is what a technician should do, "" where nobody knows.
func (e *Error) Hint() string {
	var inner interface{ Hint() string }
	if e.hint == "" && errors.As(e.err, &inner) {
		return inner.Hint()
	}
	return e.hint
}

// source is one of upstream's files, and what is made of it.
type source struct {
	name      string // of the bundles; the int8 one has -int8 behind it
	file      string
	sha256    string
	title     string
	scale     float64 // of the crop
	answers   []answer
	agreement int // of 1079 pictures: the int8 net is on the float one's side of P = .5 (see TestUpstreamsNets)
}

// sources are upstream's files at the commit named in upstream.
func sources() []source {
	return []source{
		{"minifasnet-v2", "2.7_80x80_MiniFASNetV2.pth", "a5eb02e1843f19b5386b953cc4c9f011c3f985d0ee2bb9819eea9a142099bec0",
			"MiniFASNetV2", 2.7, answersV2(), 1054},
		{"minifasnet-v1se", "4_0_0_80x80_MiniFASNetV1SE.pth", "84ee1d37d96894d5e82de5a57df044ef80a58be2b218b5ed7cdfd875ec2f5990",
			"MiniFASNetV1SE", 4, answersV1SE(), 1058},
	}
}

const (
	commit   = "b6d5f04ad78778917853b25c778acef6d5626d15"
	upstream = "https://raw.githubusercontent.com/minivision-ai/Silent-Face-Anti-Spoofing/" + commit + "/resources/anti_spoof_models"
)

// Install installs both nets, each as float32 and int8, and tells what is installed then: minifasnet-v2, minifasnet-v2-int8,
// minifasnet-v1se and minifasnet-v1se-int8. Installing again changes nothing. If an error comes after the nets were found
// good (a full disk, a name that is taken), those that are returned are in place and the others aren't.
func Install(ctx context.Context, o Options) ([]models.Installed, error) {
	done, err := install(ctx, o, sources())
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			err = &Error{err: err}
		}
	}
	return done, err
}

func install(ctx context.Context, o Options, sources []source) (_ []models.Installed, err error) {
	if o.Runtime == nil {
		return nil, &Error{errors.New("no TensorFlow Lite library: converted nets couldn't be tried"), "see livenessd doctor"}
	}
	if o.Directory == "" {
		return nil, &Error{errors.New("no folder of installed models"), "set models.directory in the configuration"}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	originals := make([][]byte, len(sources))
	for i, s := range sources {
		if originals[i], err = o.original(ctx, &s); err != nil {
			return nil, err
		}
	}
	staging, err := os.MkdirTemp("", "livenessd-silent-face-*")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the new models: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	var folders []string
	for i, s := range sources {
		made, err := o.make(ctx, &s, originals[i], staging)
		if err != nil {
			return nil, fmt.Errorf("convert %s: %w", s.file, err)
		}
		folders = append(folders, made...)
	}
	var done []models.Installed
	for _, folder := range folders {
		m, err := models.Install(ctx, models.InstallOptions{Source: folder, Directory: o.Directory, Force: o.Force,
			Probe: func(context.Context, string) error { return nil }}) // more than a probe was done
		if err != nil {
			return done, err
		}
		o.Log.Info("model installed", "model", m.Model.Name, "folder", m.Folder, "unchanged", m.Unchanged)
		done = append(done, m)
	}
	return done, nil
}

// make makes the two bundles of a net in folders of their own, and tries them.
func (o *Options) make(ctx context.Context, s *source, original []byte, staging string) (folders []string, err error) {
	w, err := readWeights(original)
	if err != nil {
		return nil, err
	}
	net, err := build(s.title+" of Silent-Face-Anti-Spoofing", w)
	if err != nil {
		return nil, err
	}
	pictures, err := calibration(s.scale)
	if err != nil {
		return nil, err
	}
	o.Log.Info("converting", "net", s.title, "calibration pictures", len(pictures))
	f, err := convert(ctx, o.Runtime, o.Delegate, net, pictures)
	if err != nil {
		return nil, err
	}
	for _, b := range []struct {
		suffix string
		data   []byte
		int8   bool
		bounds bounds
	}{{"", f.float32, false, floatBounds}, {"-int8", f.int8, true, int8Bounds}} {
		if err := check(o.Runtime, o.Delegate, b.data, b.int8, s.answers, b.bounds); err != nil {
			return nil, err
		}
		folder := filepath.Join(staging, s.name+b.suffix)
		if err := s.bundle(folder, b.data, b.int8); err != nil {
			return nil, err
		}
		folders = append(folders, folder)
	}
	return folders, nil
}

//go:embed LICENSE NOTICE manifest.yaml.tmpl README.md.tmpl
var texts embed.FS

// bundle writes a bundle's folder.
func (s *source) bundle(folder string, data []byte, int8 bool) error {
	sum := sha256.Sum256(data)
	facts := map[string]any{"Title": s.title, "Name": filepath.Base(folder), "Commit": commit, "Version": commit[:12], "Int8": int8,
		"SHA256": hex.EncodeToString(sum[:]), "Scale": s.scale, "Original": s.file, "OriginalSHA256": s.sha256,
		"Bytes": len(data), "Agreement": s.agreement}
	files := map[string][]byte{filepath.Base(folder) + ".tflite": data}
	for _, name := range []string{"LICENSE", "NOTICE"} {
		text, err := texts.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		files[name] = text
	}
	templates, err := template.ParseFS(texts, "*.tmpl")
	if err != nil {
		return fmt.Errorf("read the texts of a bundle: %w", err)
	}
	for _, name := range []string{models.ManifestFile, models.CardFile} {
		var b bytes.Buffer
		if err := templates.ExecuteTemplate(&b, name+".tmpl", facts); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		files[name] = b.Bytes()
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
	}
	return nil
}
