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

// Engine is the runtime and the two models that a configuration names, checked.
type Engine struct {
	Runtime  *tflite.Runtime
	Detector *models.Model
	Liveness *models.Model
	options  models.Options // the delegate is the one that was chosen
}

// LoadModels reads the two models that the configuration names and checks their digests. It needs no runtime.
func LoadModels(c config.Config) (detector, liveness *models.Model, err error) {
	detector, err = pick(c, c.Models.Detector, models.FaceDetection)
	if err != nil {
		return nil, nil, err
	}
	liveness, err = pick(c, c.Models.Liveness, models.LivenessTask)
	return detector, liveness, err
}

// pick finds a model by its name: "" is the shipped one, a path is a folder, a bare name a folder in models.directory.
func pick(c config.Config, name string, t models.Task) (*models.Model, error) {
	if name == "" {
		m, err := models.Shipped(t)
		if err != nil {
			return nil, &fault{ErrInternal, err, "this binary is damaged: install it again"}
		}
		return m, nil
	}
	folder := name
	if !strings.ContainsRune(name, os.PathSeparator) {
		folder = filepath.Join(c.Models.Directory, name)
	}
	m, err := models.LoadFolder(folder)
	if err != nil {
		hint := "see `livenessd models list`"
		if errors.Is(err, fs.ErrPermission) {
			hint = "the user that livenessd runs as must be able to read " + folder
		}
		return nil, &fault{ErrConfig, err, hint}
	}
	if m.Task != t {
		return nil, &fault{ErrConfig, fmt.Errorf("models: %s is a model for %s, not %s", folder, m.Task, t), "name it under the other key of models"}
	}
	return m, nil
}

// OpenEngine loads the runtime and the models, and lets both nets answer the shipped golden pictures.
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

// choose takes the first delegate of the preference that both nets run on and pass the self-test with.
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

// Nets opens a pair of nets for one goroutine. close frees them.
func (e *Engine) Nets() (d *models.Detector, l *models.Liveness, close func() error, err error) {
	d, err = models.NewDetector(e.Runtime, e.Detector, e.options)
	if err != nil {
		return nil, nil, nil, &fault{ErrConfig, err, "the model doesn't fit its manifest or this runtime; choose another, or none for the shipped one"}
	}
	l, err = models.NewLiveness(e.Runtime, e.Liveness, e.options)
	if err != nil {
		return nil, nil, nil, errors.Join(&fault{ErrConfig, err, "the model doesn't fit its manifest or this runtime; choose another, or none for the shipped one"}, d.Close())
	}
	return d, l, func() error { return errors.Join(l.Close(), d.Close()) }, nil
}

// selfTest lets both nets answer the golden pictures.
func (e *Engine) selfTest() error {
	d, l, closeNets, err := e.Nets()
	if err != nil {
		return err
	}
	err = models.SelfTest(d, l)
	if err := errors.Join(err, closeNets()); err != nil {
		return &fault{ErrInternal, fmt.Errorf("self-test: %w", err),
			"the models don't answer as they did when they were made: the library or the processor is at fault; don't use this machine for access control"}
	}
	return nil
}
