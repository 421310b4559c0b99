package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon/blame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/tflite"
	"github.com/livenessd/livenessd/tflite/fake"
)

func needLibrary(t *testing.T) {
	t.Helper()
	if _, err := tflite.Load(tflite.LoadOptions{}); err != nil {
		t.Skipf("%v; make test sets %s", err, tflite.LibraryVariable)
	}
}

// saying makes options of words such as key=value.
func saying(words ...string) (all []config.Option) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		all = append(all, config.Option{Key: key, Value: value})
	}
	return all
}

// preferring is the default configuration with other delegates.
func preferring(t *testing.T, all ...config.Delegate) config.Config {
	c := config.Default()
	c.State = t.TempDir()
	c.Inference.Delegate = all
	return c
}

func states(all []Tried) (out []string) {
	for _, d := range all {
		out = append(out, string(d.State))
	}
	return out
}

func TestTheFirstDelegateThatAnswersRightlyIsTaken(t *testing.T) {
	needLibrary(t)
	so := fake.Build(t)
	good := config.Delegate{Name: config.External + so}
	is := func(words ...string) config.Delegate {
		return config.Delegate{Name: config.External + so, Options: saying(words...)}
	}
	absent, processor := config.Delegate{Name: config.External + "/nonexistent.so"}, config.Delegate{Name: config.XNNPACK}
	for _, tt := range []struct {
		name     string
		deadline time.Duration
		prefer   []config.Delegate
		want     string
		states   string
		says     string // of the first one
	}{
		{"the only one", 0, []config.Delegate{processor}, "xnnpack", "used", ""},
		{"a plug-in", 0, []config.Delegate{good, processor}, good.Name, "used untried", ""},
		{"no such library", 0, []config.Delegate{absent, processor}, "xnnpack", "refused used", "can't load /nonexistent.so"},
		{"wrong answers", 0, []config.Delegate{is("do=wrong"), processor}, "xnnpack", "refused used", "self-test: "},
		{"failing calls", 0, []config.Delegate{is("do=fail"), good}, good.Name, "refused used", "could not run the model"},
		{"one that takes nothing", 0, []config.Delegate{is("claim=0"), processor}, "xnnpack", "refused used", "it takes no part of the model"},
		{"one that is slower than the deadline", 40 * time.Millisecond, []config.Delegate{is("claim=1", "do=slow", "ms=50"), processor}, "xnnpack", "refused used",
			"more than the deadline of 40ms"},
		{"one that is slow", 0, []config.Delegate{is("claim=1", "do=slow", "ms=5"), processor}, good.Name, "used untried", ""},
		{"no NNAPI", 0, []config.Delegate{{Name: config.NNAPI}, {Name: config.CPU}}, "cpu", "refused used", "libneuralnetworks.so"},
		{"an Edge TPU and models that aren't compiled for it", 0, []config.Delegate{{Name: config.EdgeTPU, Device: "usb:0", Library: so}, processor}, "xnnpack",
			"refused used", "compiled for edgetpu"},
		{"two", 0, []config.Delegate{absent, is("do=fail", "at=create"), processor}, "xnnpack", "refused refused used", "/nonexistent.so"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := preferring(t, tt.prefer...)
			c.Inference.Deadline = tt.deadline
			var log bytes.Buffer
			o := Opener{Log: slog.New(slog.NewTextHandler(&log, nil)), Book: OpenBook(c, slog.New(slog.DiscardHandler))}
			e, err := o.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			all := e.Delegates()
			if e.Delegate() != tt.want || strings.Join(states(all), " ") != tt.states || !strings.Contains(all[0].Error, tt.says) {
				t.Errorf("%s, %+v", e.Delegate(), all)
			}
			refused := 0
			for _, d := range all {
				switch {
				case d.State == mqtt.DelegateUsed && d.Median <= 0:
					t.Errorf("nothing was measured: %+v", d)
				case d.State == mqtt.DelegateRefused:
					refused++
					if d.Error == "" || d.Hint == "" || d.Until.Before(time.Now()) {
						t.Errorf("%+v", d)
					}
				}
			}
			if n := strings.Count(log.String(), "delegate can't be used"); n != refused {
				t.Errorf("%d refusals are logged, of %d:\n%s", n, refused, &log)
			}
			if at := e.RetryAt(); at.IsZero() != (refused == 0) {
				t.Errorf("another try at %v", at)
			}
			_, l, closeNets, err := e.Nets()
			if err != nil {
				t.Fatal(err)
			}
			if l.Delegate() != tt.want {
				t.Errorf("%s runs the nets", l.Delegate())
			}
			if err := closeNets(); err != nil {
				t.Error(err)
			}
			if log.Reset(); refused == 0 {
				return
			}
			if e, err := o.Open(t.Context(), c); err != nil || strings.Contains(log.String(), "delegate can't be used") || e.Delegate() != tt.want {
				t.Errorf("the second time: %v\n%s", err, &log)
			}
		})
	}
}

func TestWithoutADelegateThereIsNoEngine(t *testing.T) {
	needLibrary(t)
	c := preferring(t, config.Delegate{Name: config.External + "/a.so"}, config.Delegate{Name: config.External + "/b.so"})
	_, err := Opener{Log: slog.New(slog.DiscardHandler)}.Open(t.Context(), c)
	var none *NoDelegate
	if !errors.As(err, &none) || len(none.Tried) != 2 || !strings.Contains(err.Error(), "/a.so") || !strings.Contains(err.Error(), "/b.so") || Hint(err) == "" ||
		!errors.Is(err, ErrConfig) {
		t.Errorf("%v, hint %q", err, Hint(err))
	}
	c.Inference.Delegate = nil
	if _, err := (Opener{Log: slog.New(slog.DiscardHandler)}).Open(t.Context(), c); !errors.Is(err, ErrConfig) {
		t.Errorf("no preference: %v", err)
	}
}

// A delegate that hung or crashed in its trial rests, over restarts, and isn't given up if there is nothing else.
func TestADelegateThatWentWrongRests(t *testing.T) {
	needLibrary(t)
	bad, good := config.Delegate{Name: config.External + fake.Build(t)}, config.Delegate{Name: config.XNNPACK}
	c := preferring(t, bad, good)
	tries := 0
	open := func(c config.Config) (*Engine, string, error) {
		t.Helper()
		var log bytes.Buffer
		o := Opener{Log: slog.New(slog.NewTextHandler(&log, nil)), Book: OpenBook(c, slog.New(slog.DiscardHandler)),
			Try: func(context.Context, config.Config, *models.Model, []*models.Model, models.Options) (models.Trial, error) {
				tries++
				return models.Trial{}, &models.TrialError{Delegate: bad.Name, Stage: models.StageHang, Why: "it hung"}
			}}
		e, err := o.Open(t.Context(), c)
		return e, log.String(), err
	}
	e, _, err := open(c)
	if err != nil || e.Delegate() != config.XNNPACK || tries != 1 {
		t.Fatalf("%v, %d tries", err, tries)
	}
	e, log, err := open(c) // as a process that was started again would
	if err != nil || tries != 1 || !slices.Equal(states(e.Delegates()), []string{"resting", "used"}) || !strings.Contains(log, "a delegate rests that went wrong before") {
		t.Fatalf("%v, %d tries, %+v\n%s", err, tries, e.Delegates(), log)
	}
	if d := e.Delegates()[0]; !strings.Contains(d.Error, "it hung") || d.Hint == "" || !e.RetryAt().Equal(d.Until) || time.Until(d.Until) > 10*time.Minute {
		t.Errorf("%+v, another try at %v", d, e.RetryAt())
	}
	if _, err := os.Stat(filepath.Join(c.State, blame.File)); err != nil {
		t.Error(err)
	}
	other := c
	other.Inference.Delegate = config.Preference{{Name: bad.Name, Options: saying("note=new")}, good}
	if e, _, err := open(other); err != nil || tries != 2 || e.Delegates()[0].State != mqtt.DelegateRefused {
		t.Errorf("with other options: %v, %d tries", err, tries)
	}
	alone := c
	alone.Inference.Delegate = config.Preference{bad}
	if _, _, err := open(alone); err == nil || tries != 3 {
		t.Errorf("without anything else: %v, %d tries", err, tries)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(strings.TrimPrefix(bad.Name, config.External), later, later); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(c); err != nil || tries != 4 {
		t.Errorf("another version of the library: %v, %d tries", err, tries)
	}
}

func TestModelsThatAreNotCompiledRunBesideTheAccelerator(t *testing.T) {
	needLibrary(t)
	so := fake.Build(t)
	c := preferring(t, config.Delegate{Name: config.EdgeTPU, Library: so}, config.Delegate{Name: config.CPU})
	o := ModelOptions(c.Inference, c.Inference.Delegate[0])
	if o.Compiled != "edgetpu" || o.Otherwise != "cpu" || o.Library != so || len(o.Settings) != 0 {
		t.Errorf("%+v", o)
	}
	o = ModelOptions(config.Inference{Threads: 2, Delegate: config.Preference{{Name: config.EdgeTPU}}}, config.Delegate{Name: config.EdgeTPU, Device: "pci:1", Options: saying("a=b")})
	if o.Otherwise != "xnnpack" || o.Threads != 2 || !slices.Equal(o.Settings, []tflite.Setting{{Key: "device", Value: "pci:1"}, {Key: "a", Value: "b"}}) {
		t.Errorf("%+v", o)
	}
	if o := ModelOptions(c.Inference, config.Delegate{Name: config.External + so}); o.Compiled != "" || o.Otherwise != "" {
		t.Errorf("%+v", o)
	}
}

func TestAPulseSaysWhyABetterDelegateIsNotUsed(t *testing.T) {
	p := NewPulse(time.Now, "", 1)
	all := []Tried{{Delegate: "edgetpu", State: mqtt.DelegateResting, Error: "it hung"}, {Delegate: "xnnpack", State: mqtt.DelegateUsed}}
	p.engine(func() []Tried { return all })
	h := p.Health(time.Hour)
	if !slices.Equal(h.Delegates, all) || !strings.Contains(h.Line(), "without delegate edgetpu: it hung") {
		t.Errorf("%+v, %s", h.Delegates, h.Line())
	}
	all = all[1:]
	if h := p.Health(time.Hour); strings.Contains(h.Line(), "delegate") {
		t.Errorf("%s", h.Line())
	}
}
