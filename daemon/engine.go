package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

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

// OpenEngine loads the runtime and the models, and lets all nets answer the shipped golden pictures.
func OpenEngine(c config.Config, log *slog.Logger) (*Engine, error) {
	rt, err := tflite.Load(tflite.LoadOptions{Path: c.Models.Runtime})
	if err != nil {
		return nil, &fault{ErrUnavailable, err, "install the TensorFlow Lite C library beside livenessd, or name it with models.runtime or LIVENESSD_TFLITE"}
	}
	d, l, err := LoadModels(c)
	if err != nil {
		return nil, err
	}
	e := &Engine{Runtime: rt, Detector: d, Liveness: l}
	start := time.Now()
	if err := e.choose(c.Inference, log); err != nil {
		return nil, err
	}
	log.Info("models ready", "detector", d.Name+" "+d.Version, "liveness", l.Name+" "+l.Version, "delegate", e.options.Delegate,
		"tensorflow_lite", rt.Version(), "library", rt.Path(), "self_test_ms", time.Since(start).Milliseconds())
	return e, nil
}

// choose takes the first delegate of the preference that all nets run on and pass the self-test with.
func (e *Engine) choose(c config.Inference, log *slog.Logger) error {
	var errs []error
	for _, name := range c.Delegate {
		e.options = models.Options{Threads: c.Threads, Delegate: name}
		err := e.selfTest()
		if err == nil {
			return nil
		}
		log.Warn("delegate can't be used", "delegate", name, "error", err)
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return &fault{ErrConfig, errors.New("daemon: inference.delegate is empty"), "name at least one of xnnpack and none"}
	}
	return errors.Join(errs...)
}

// Delegate names what runs the nets.
func (e *Engine) Delegate() string { return e.options.Delegate }

// Nets opens the nets for one goroutine. close frees them.
func (e *Engine) Nets() (d *models.Detector, l *models.Ensemble, close func() error, err error) {
	const hint = "the model doesn't fit its manifest or this runtime; choose another, or none for the shipped one"
	d, err = models.NewDetector(e.Runtime, e.Detector, e.options)
	if err != nil {
		return nil, nil, nil, &fault{ErrConfig, err, hint}
	}
	l, err = models.NewEnsemble(e.Runtime, e.Liveness, e.options)
	if err != nil {
		return nil, nil, nil, errors.Join(&fault{ErrConfig, err, hint}, d.Close())
	}
	return d, l, func() error { return errors.Join(l.Close(), d.Close()) }, nil
}

// selfTest lets the nets answer the golden pictures.
func (e *Engine) selfTest() error {
	d, l, closeNets, err := e.Nets()
	if err != nil {
		return err
	}
	err = models.SelfTest(d, l.Nets()...)
	if err := errors.Join(err, closeNets()); err != nil {
		return &fault{ErrInternal, fmt.Errorf("self-test: %w", err),
			"the models don't answer as they did when they were made: the library or the processor is at fault; don't use this machine for access control"}
	}
	return nil
}
