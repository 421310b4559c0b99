package models

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/tflite"
	"github.com/livenessd/livenessd/tflite/fake"
)

// told makes settings of words such as key=value.
func told(words ...string) (all []tflite.Setting) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		all = append(all, tflite.Setting{Key: key, Value: value})
	}
	return all
}

func shippedNets(t testing.TB) (detector *Model, liveness []*Model) {
	t.Helper()
	d, err := Shipped(FaceDetection)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Shipped(LivenessTask)
	if err != nil {
		t.Fatal(err)
	}
	return d, []*Model{l}
}

// A trial in a child tells what is wrong, and nothing that a plug-in does ends this process.
func TestATrialTellsHowADelegateFails(t *testing.T) {
	needRuntime(t)
	external := tflite.External + fake.Build(t)
	d, ls := shippedNets(t)
	g, err := readGolden()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		o        Options
		limit    time.Duration
		stage    Stage // "" where it can be trusted
		says     string
		elsewher int
	}{
		{"the fast kernels", Options{Delegate: tflite.XNNPACK}, 0, "", "", 0},
		{"the built-in kernels", Options{Delegate: tflite.CPU}, 0, "", "", 0},
		{"a plug-in that takes everything", Options{Delegate: external}, 0, "", "", 0},
		{"a plug-in that takes something", Options{Delegate: external, Settings: told("claim=3")}, 0, "", "", 0},
		{"a slow one", Options{Delegate: external, Settings: told("claim=1", "do=slow", "ms=15")}, 0, "", "", 0},
		{"wrong answers", Options{Delegate: external, Settings: told("do=wrong")}, 0, StageNet, "models: ", 0},
		{"wrong answers after some right ones", Options{Delegate: external, Settings: told("do=wrong", fmt.Sprint("after=", 4*len(g.Pictures)+1))}, 0, StageNet, "with the built-in kernels", 0},
		{"no device", Options{Delegate: external, Settings: told("do=fail", "at=create")}, 0, StageNet, "no fake accelerator is plugged in", 0},
		{"failing calls", Options{Delegate: external, Settings: told("do=fail")}, 0, StageNet, "could not run the model", 0},
		{"a crash while it is made", Options{Delegate: external, Settings: told("do=crash", "at=create")}, 0, StageCrash, "crashed the process that tried it", 0},
		{"a crash later", Options{Delegate: external, Settings: told("do=crash", "after=5")}, 0, StageCrash, "SIGSEGV", 0},
		{"a hang", Options{Delegate: external, Settings: told("do=hang", "after=2")}, 3 * time.Second, StageHang, "was stopped after 3s", 0},
		{"nothing is compiled for it", Options{Delegate: tflite.EdgeTPU, Compiled: tflite.EdgeTPU}, 0, StageNet, "no file that is compiled for edgetpu", 0},
		{"nothing is compiled for it, and the processor may help", Options{Delegate: tflite.EdgeTPU, Compiled: tflite.EdgeTPU, Otherwise: tflite.XNNPACK}, 0,
			StageNet, "no file that is compiled for edgetpu", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testProber(t, "serve")
			if tt.limit > 0 {
				p.Limit = tt.limit
			}
			got, err := p.TryDelegate(t.Context(), d, ls, tt.o)
			if tt.stage == "" {
				if err != nil || !(got.Median > 0 && got.Slowest > 0 && got.First > 0) || len(got.Elsewhere) != tt.elsewher {
					t.Errorf("%+v, %v", got, err)
				}
				if tt.name == "a slow one" && got.Slowest < 15 {
					t.Errorf("%v ms", got.Slowest)
				}
				return
			}
			var e *TrialError
			if !errors.As(err, &e) || e.Stage != tt.stage || e.Delegate != tt.o.Delegate || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want stage %s and %q", err, tt.stage, tt.says)
			}
			if (tt.stage == StageCrash || tt.stage == StageHang) && e.Hint() == "" {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

// A model that isn't shipped has no recorded answers.
func TestAModelFromElsewhereIsComparedWithTheBuiltInKernels(t *testing.T) {
	needRuntime(t)
	external := tflite.External + fake.Build(t)
	folder := filepath.Join(t.TempDir(), "mine")
	trailing := func(m, d []byte) ([]byte, []byte) { return renewed(m, append(d, 0)) } // another digest, the same net
	l, err := LoadFolder(shippedIn(t, folder, LivenessTask, trailing))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := shippedNets(t)
	p := testProber(t, "serve")
	if _, err := p.TryDelegate(t.Context(), d, []*Model{l}, Options{Delegate: tflite.XNNPACK}); err != nil {
		t.Error(err)
	}
	if _, err := p.TryDelegate(t.Context(), d, []*Model{l}, Options{Delegate: external}); err != nil {
		t.Error(err)
	}
	if _, err := p.TryDelegate(t.Context(), d, []*Model{l}, Options{Delegate: external, Settings: told("do=wrong", "after=9")}); err == nil {
		t.Error("wrong answers are trusted")
	}
}

// withCompiled is the bundle of a shipped model with a second file for an accelerator.
func withCompiled(t *testing.T, task Task, digest string) string {
	t.Helper()
	folder := shippedIn(t, filepath.Join(t.TempDir(), "mine"), task, func(m, d []byte) ([]byte, []byte) {
		if digest == "" {
			digest = fmt.Sprintf("%x", sha256.Sum256(append(bytes.Clone(d), 0)))
		}
		return append(m, "compiled:\n  edgetpu: {file: other.tflite, sha256: "+digest+"}\n"...), d
	})
	m, err := Shipped(task)
	if err != nil {
		t.Fatal(err)
	}
	file(t, filepath.Join(folder, "other.tflite"), append(bytes.Clone(m.Data), 0))
	return folder
}

func TestTheFileForAnAcceleratorIsUsedForItAlone(t *testing.T) {
	needRuntime(t)
	so := fake.Build(t)
	l, err := LoadFolder(withCompiled(t, LivenessTask, ""))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := shippedNets(t)
	tpu := Options{Delegate: tflite.EdgeTPU, Library: so, Settings: told("device=usb"), Compiled: tflite.EdgeTPU, Otherwise: tflite.XNNPACK}
	got, err := testProber(t, "serve").TryDelegate(t.Context(), d, []*Model{l}, tpu)
	if err != nil || len(got.Elsewhere) != 1 || got.Elsewhere[0] != d.Name {
		t.Errorf("%+v, %v", got, err)
	}
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	net, err := NewLiveness(rt, l, tpu)
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if net.Delegate() != tflite.EdgeTPU {
		t.Errorf("%s runs it", net.Delegate())
	}
	tpu.Otherwise = ""
	if _, err := NewDetector(rt, d, tpu); err == nil || !strings.Contains(err.Error(), "compiled for edgetpu") {
		t.Errorf("a model without such a file: %v", err)
	}
}

func TestTheFileForAnAcceleratorIsTheManifests(t *testing.T) {
	var refusal *Refusal
	if _, err := LoadFolder(withCompiled(t, LivenessTask, strings.Repeat("a", 64))); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "other.tflite has SHA-256") {
		t.Errorf("%v", err)
	}
	m, err := Shipped(LivenessTask)
	if err != nil {
		t.Fatal(err)
	}
	for name, tail := range map[string]string{
		"a path":         "compiled: {edgetpu: {file: ../x.tflite, sha256: " + strings.Repeat("a", 64) + "}}\n",
		"no digest":      "compiled: {edgetpu: {file: x.tflite}}\n",
		"a name of ours": "compiled: {../x: {file: x.tflite, sha256: " + strings.Repeat("a", 64) + "}}\n",
		"an unknown key": "compiled: {edgetpu: {file: x.tflite, sha256: " + strings.Repeat("a", 64) + ", size: 3}}\n",
	} {
		if _, err := ParseManifest("m.yaml", append(bytes.Clone(m.manifest), tail...)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// counted is a call that counts, and refuses.
type counted struct{ begun, ended, closed int }

var errRefused = errors.New("not now")

func (c *counted) Begin() error {
	c.begun++
	if c.begun == 2 {
		return errRefused
	}
	return nil
}

func (c *counted) End(err error) error {
	c.ended++
	if c.begun == 3 {
		return errRefused
	}
	return err
}

func (c *counted) Close() { c.closed++ }

func TestWhoWatchesCallsSaysWhatCounts(t *testing.T) {
	needRuntime(t)
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, ls := shippedNets(t)
	var c counted
	l, err := NewLiveness(rt, ls[0], Options{Watch: func(name string) Call {
		if name != ls[0].Name {
			t.Errorf("a call of %s", name)
		}
		return &c
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := l.Judge(); (err == nil) != (i == 0) || i > 0 && !errors.Is(err, errRefused) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if err := l.Close(); err != nil || c.begun != 3 || c.ended != 2 || c.closed != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
