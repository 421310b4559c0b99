package models

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// folder is a model's folder in memory; its file is no model, but has the right digest.
func folder() fstest.MapFS {
	data := []byte("the file")
	manifest := strings.Replace(livenessManifest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		fmt.Sprintf("%x", sha256.Sum256(data)), 1)
	return fstest.MapFS{"m/manifest.yaml": {Data: []byte(manifest)}, "m/net.tflite": {Data: data}}
}

func TestLoadChecksTheDigest(t *testing.T) {
	m, err := Load(folder(), "m", "here")
	if err != nil || string(m.Data) != "the file" || m.From != "here/m" {
		t.Fatalf("%+v, %v", m, err)
	}
	f := folder()
	f["m/net.tflite"].Data = []byte("the fi1e")
	var refused *Refusal
	if _, err := Load(f, "m", "here"); !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "models: MODEL_REFUSED: here/m/net.tflite has SHA-256") ||
		!strings.Contains(refused.Hint(), "install the model again") {
		t.Errorf("an altered file: %v", err)
	}
}

func TestLoadSaysWhatIsMissing(t *testing.T) {
	for _, name := range []string{"m/manifest.yaml", "m/net.tflite"} {
		f := folder()
		delete(f, name)
		if _, err := Load(f, "m", "here"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "here/m") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	f := folder()
	f["m/manifest.yaml"].Data = make([]byte, MaxManifest+10)
	if _, err := Load(f, "m", "here"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a huge manifest: %v", err)
	}
	if _, err := LoadFolder(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestShippedModelsAreWhole(t *testing.T) {
	for _, task := range []Task{FaceDetection, LivenessTask} {
		m, err := Shipped(task)
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Task != task || m.Licence == "" || len(m.TrainedOn) == 0 {
			t.Errorf("%s: task %s, licence %q, %d sources", m.From, m.Task, m.Licence, len(m.TrainedOn))
		}
		for _, s := range m.TrainedOn {
			if s.Name == "" || s.Licence == "" {
				t.Errorf("%s: source %+v", m.From, s)
			}
		}
	}
	if _, err := Shipped("age"); err == nil {
		t.Error("a model for age is shipped")
	}
}
