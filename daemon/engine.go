package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/livenessd/livenessd/daemon/blame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/tflite"
)

// Engine is the runtime and the models that a configuration names, checked.
type Engine struct {
	Runtime  *tflite.Runtime
	Detector *models.Model
	Liveness *models.Panel
	options  models.Options // the delegate is the one that was chosen
	trial    models.Trial   // how it did
	guard    *guard
	book     *blame.Book // where its doings are remembered
	key      string      // what is blamed
	label    string

	mu    sync.Mutex
	tried []Tried
}

// LoadModels reads the models that the configuration names and checks their digests, and their signatures where it has
// keys. It needs no runtime.
func LoadModels(c config.Config) (detector *models.Model, liveness *models.Panel, err error) {
	trust, err := Trust(c)
	if err != nil {
		return nil, nil, err
	}
	detector, err = pick(c, trust, c.Models.Detector, models.FaceDetection)
	if err != nil {
		return nil, nil, err
	}
	liveness, err = panel(c, trust)
	return detector, liveness, err
}

// Trust is the keys of the configuration.
func Trust(c config.Config) (*models.Trust, error) {
	t, err := models.NewTrust(c.Models.TrustedKeys)
	if err != nil {
		return nil, &fault{ErrConfig, err, "models.trusted_keys has public Ed25519 keys: files in PEM, or 32 bytes in base64"}
	}
	return t, nil
}

// panel finds the liveness models.
func panel(c config.Config, trust *models.Trust) (*models.Panel, error) {
	names := c.Models.Liveness
	if len(names) == 0 {
		names = config.Ensemble{{Name: config.ShippedModel, Weight: 1}}
	}
	var members []models.Member
	for _, n := range names {
		m, err := pick(c, trust, n.Name, models.LivenessTask)
		if err != nil {
			return nil, err
		}
		members = append(members, models.Member{Model: m, Weight: n.Weight})
	}
	p, err := models.NewPanel(models.Combination(c.Models.Combine), members...)
	if err != nil {
		return nil, &fault{ErrConfig, err, ""}
	}
	// Nobody guesses a threshold.
	if t := p.Thresholds; t.LiveAt == 0 && c.Decision.LiveAt == 0 || t.SpoofAt == 0 && c.Decision.SpoofAt == 0 {
		return nil, &fault{ErrConfig, fmt.Errorf("models: the manifests of %s recommend different thresholds", p.Name),
			"set decision.live_at and decision.spoof_at"}
	}
	return p, nil
}

// pick finds a model by its name: "" and the name for it are the shipped one, a path is a folder, a bare name a folder in
// models.directory.
func pick(c config.Config, trust *models.Trust, name string, t models.Task) (*models.Model, error) {
	if name == "" || name == config.ShippedModel {
		m, err := models.Shipped(t)
		if err != nil {
			return nil, &fault{ErrInternal, err, "this binary is damaged: install it again"}
		}
		return m, nil
	}
	folder := ModelFolder(c, name)
	m, err := trust.LoadFolder(folder)
	if err != nil {
		hint := Hint(err)
		switch {
		case errors.Is(err, fs.ErrPermission):
			hint = "the user that livenessd runs as must be able to read " + folder
		case hint == "":
			hint = "see `livenessd models list`"
		}
		return nil, &fault{ErrConfig, err, hint}
	}
	if m.Task != t {
		return nil, &fault{ErrConfig, fmt.Errorf("models: %s is a model for %s, not %s", folder, m.Task, t), "name it under the other key of models"}
	}
	return m, nil
}

// ModelFolder is where a model of that name lies: a path is a folder, a bare name a folder in models.directory.
func ModelFolder(c config.Config, name string) string {
	if strings.ContainsRune(name, os.PathSeparator) {
		return name
	}
	return filepath.Join(c.Models.Directory, name)
}

// OpenEngine opens an engine in this process alone.
func OpenEngine(c config.Config, log *slog.Logger) (*Engine, error) {
	return Opener{Log: log}.Open(context.Background(), c)
}

// Delegate names what runs the nets.
func (e *Engine) Delegate() string { return e.options.Delegate }

// unfit is what to do about a model that can't be opened.
const unfit = "the model doesn't fit its manifest or this runtime; choose another, or none for the shipped one"

// Nets opens the nets for one goroutine. close frees them.
func (e *Engine) Nets() (d *models.Detector, l *models.Ensemble, close func() error, err error) {
	d, err = models.NewDetector(e.Runtime, e.Detector, e.options)
	if err != nil {
		return nil, nil, nil, &fault{ErrConfig, err, unfit}
	}
	l, err = models.NewEnsemble(e.Runtime, e.Liveness, e.options)
	if err != nil {
		return nil, nil, nil, errors.Join(&fault{ErrConfig, err, unfit}, d.Close())
	}
	return d, l, func() error { return errors.Join(l.Close(), d.Close()) }, nil
}
