package daemon

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

// modelFolder writes a shipped model into a folder, changed a little.
func modelFolder(t *testing.T, folder string, task models.Task, change func(name string, data []byte) []byte) {
	t.Helper()
	m, err := models.Shipped(task)
	if err != nil {
		t.Fatal(err)
	}
	source := map[models.Task]string{models.FaceDetection: "face", models.LivenessTask: "liveness"}[task]
	manifest, err := os.ReadFile(filepath.Join("..", "models", "shipped", source, models.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{models.ManifestFile: manifest, m.File: m.Data} {
		if change != nil {
			data = change(name, append([]byte(nil), data...))
		}
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestModelsAreFoundByTheirNames(t *testing.T) {
	dir := t.TempDir()
	modelFolder(t, filepath.Join(dir, "good"), models.LivenessTask, nil)
	modelFolder(t, filepath.Join(dir, "face"), models.FaceDetection, nil)
	modelFolder(t, filepath.Join(dir, "damaged"), models.LivenessTask, func(name string, data []byte) []byte {
		if strings.HasSuffix(name, ".tflite") {
			data[len(data)/2] ^= 1
		}
		return data
	})
	modelFolder(t, filepath.Join(dir, "newer"), models.LivenessTask, func(name string, data []byte) []byte {
		if name == models.ManifestFile {
			data = append(data, "novelty: 1\n"...)
		}
		return data
	})
	for _, tt := range []struct {
		name, liveness string
		from           string // where it is from
		err            string // a part of the error
		is             error
	}{
		{"none is the shipped one", "", "built in", "", nil},
		{"its name is, too", "shipped", "built in", "", nil},
		{"a bare name is a folder in the directory", "good", filepath.Join(dir, "good"), "", nil},
		{"a path is a folder", filepath.Join(dir, "good"), filepath.Join(dir, "good"), "", nil},
		{"an unknown name", "nonesuch", "", "no such file", fs.ErrNotExist},
		{"a model for something else", "face", "", "is a model for face-detection, not liveness", nil},
		{"a damaged file", "damaged", "", "SHA-256", nil},
		{"a manifest of a later version", "newer", "", "novelty", nil},
		{"a name that leads out of the directory", "..", "", "no such file", fs.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default()
			c.Models.Directory = dir
			if tt.liveness != "" {
				c.Models.Liveness = config.Ensemble{{Name: tt.liveness, Weight: 1}}
			}
			d, l, err := LoadModels(c)
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if d.Task != models.FaceDetection || l.Task != models.LivenessTask || len(l.Members) != 1 ||
					!strings.HasPrefix(l.Members[0].Model.From, tt.from) {
					t.Errorf("got %s for %s and %s (%+v) for %s", d.Name, d.Task, l.Name, l.Members, l.Task)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %v, which doesn't say %q", err, tt.err)
			}
			if !errors.Is(err, ErrConfig) || Hint(err) == "" {
				t.Errorf("of no kind, or without a hint (%q): %v", Hint(err), err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v isn't %v", err, tt.is)
			}
		})
	}
}

func TestModelsThatJudgeTogetherAgreeOnThresholds(t *testing.T) {
	dir := t.TempDir()
	modelFolder(t, filepath.Join(dir, "same"), models.LivenessTask, nil)
	modelFolder(t, filepath.Join(dir, "stricter"), models.LivenessTask, func(name string, data []byte) []byte {
		if name == models.ManifestFile {
			data = regexp.MustCompile(`live_at: .*`).ReplaceAll(data, []byte("live_at: 0.99"))
		}
		return data
	})
	shipped, err := models.Shipped(models.LivenessTask)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		names        []string
		live, spoof  float64 // in the configuration
		liveAt, spot float64 // in effect; 0 is an error
	}{
		{"two that agree", []string{"shipped", "same"}, 0, 0, shipped.Thresholds.LiveAt, shipped.Thresholds.SpoofAt},
		{"two that don't", []string{"shipped", "stricter"}, 0, 0, 0, 0},
		{"two that don't, and half an answer", []string{"shipped", "stricter"}, 0, 0.1, 0, 0},
		{"two that don't, and the answer", []string{"shipped", "stricter"}, 0.9, 0, 0.9, shipped.Thresholds.SpoofAt},
		{"three of which one is absent", []string{"shipped", "same", "absent"}, 0.9, 0.1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default()
			c.Models.Directory, c.Decision.LiveAt, c.Decision.SpoofAt = dir, tt.live, tt.spoof
			for _, n := range tt.names {
				c.Models.Liveness = append(c.Models.Liveness, config.Member{Name: n, Weight: 1})
			}
			d, l, err := LoadModels(c)
			if tt.liveAt == 0 {
				if !errors.Is(err, ErrConfig) || Hint(err) == "" || l != nil {
					t.Errorf("%+v, %v", l, err)
				}
				return
			}
			if err != nil || len(l.Members) != 2 || l.Name != shipped.Name+"+"+shipped.Name || l.SHA256 == shipped.SHA256 {
				t.Fatalf("%+v, %v", l, err)
			}
			e := &Engine{Detector: d, Liveness: l}
			if o := DecisionOptions(c, e); o.LiveAt != tt.liveAt || o.SpoofAt != tt.spot {
				t.Errorf("thresholds %v and %v", o.LiveAt, o.SpoofAt)
			}
		})
	}
}

func TestTheShippedModelHasOneName(t *testing.T) {
	if config.ShippedModel != models.ShippedName {
		t.Errorf("%s and %s", config.ShippedModel, models.ShippedName)
	}
}

func TestRulesAreTheConfigurationsAndElseTheModels(t *testing.T) {
	c := config.Default()
	c.Decision.Window, c.Decision.MinFrames, c.Decision.Timeout, c.Decision.MinFace = 3*time.Second, 9, time.Minute, 0.3
	e := &Engine{Liveness: &models.Panel{Thresholds: models.Thresholds{LiveAt: 0.7, SpoofAt: 0.2}}}
	for _, tt := range []struct {
		name           string
		live, spoof    float64
		liveAt, spoofA float64
		valid          bool
	}{
		{"nothing", 0, 0, 0.7, 0.2, true},
		{"both", 0.9, 0.4, 0.9, 0.4, true},
		{"one", 0.9, 0, 0.9, 0.2, true},
		{"the other", 0, 0.4, 0.7, 0.4, true},
		{"one that contradicts the model's other", 0.1, 0, 0.1, 0.2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.Decision.LiveAt, c.Decision.SpoofAt = tt.live, tt.spoof
			o := DecisionOptions(c, e)
			want := decision.Defaults()
			want.LiveAt, want.SpoofAt = tt.liveAt, tt.spoofA
			want.Window, want.MinFrames, want.Timeout, want.MinFace = 3*time.Second, 9, time.Minute, 0.3
			if o != want {
				t.Errorf("got  %+v\nwant %+v", o, want)
			}
			if _, err := decision.New(o); (err == nil) != tt.valid {
				t.Errorf("the decision says %v", err)
			}
		})
	}
}

func TestTheDefaultsOfConfigurationAndDecisionAgree(t *testing.T) {
	c, d := config.Default().Decision, decision.Defaults()
	if c.Window != d.Window || c.MinFrames != d.MinFrames || c.Timeout != d.Timeout || c.MinFace != d.MinFace {
		t.Errorf("%+v and %+v", c, d)
	}
}

func TestAMissingRuntimeIsSaidSo(t *testing.T) {
	c := config.Default()
	c.Models.Runtime = filepath.Join(t.TempDir(), "nothing.so")
	_, err := OpenEngine(c, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if !errors.Is(err, ErrUnavailable) || Hint(err) == "" {
		t.Errorf("got %v, hint %q", err, Hint(err))
	}
}

func TestHintsComeFromWhereverTheyAre(t *testing.T) {
	inner := &fault{ErrConfig, errors.New("x"), "do this"}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{inner, "do this"},
		{errors.Join(errors.New("y"), inner), "do this"},
		{errors.New("z"), ""},
		{nil, ""},
	} {
		if got := Hint(tt.err); got != tt.want {
			t.Errorf("%v: %q", tt.err, got)
		}
	}
}
