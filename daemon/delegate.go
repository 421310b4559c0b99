package daemon

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/livenessd/livenessd/daemon/blame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/tflite"
)

// Tried is what became of a delegate of the preference.
type Tried struct {
	Delegate string             `json:"delegate"`
	State    mqtt.DelegateState `json:"state"`
	Error    string             `json:"error,omitempty"` // why it isn't used
	Hint     string             `json:"hint,omitempty"`
	Median   float64            `json:"median_ms,omitempty"` // of a golden picture, all nets together
	Note     string             `json:"note,omitempty"`
	Until    time.Time          `json:"until,omitzero"` // when it is tried again
}

// ModelOptions is how a delegate of the configuration runs models.
func ModelOptions(c config.Inference, d config.Delegate) models.Options {
	o := models.Options{Threads: c.Threads, Delegate: d.Name, Library: d.Library, Compiled: d.Compiled}
	if d.Device != "" {
		o.Settings = append(o.Settings, tflite.Setting{Key: "device", Value: d.Device})
	}
	for _, s := range d.Options {
		o.Settings = append(o.Settings, tflite.Setting(s))
	}
	if d.Name == config.EdgeTPU && o.Compiled == "" {
		o.Compiled = config.EdgeTPU
	}
	if o.Compiled != "" { // models that aren't compiled for it run beside it
		o.Otherwise = cmp.Or(c.Delegate.Processor(), config.XNNPACK)
	}
	return o
}

// label names a delegate where there may be two of a kind.
func label(d config.Delegate) string {
	if d.Device != "" {
		return d.Name + " " + d.Device
	}
	return d.Name
}

// Opener opens engines.
type Opener struct {
	Log *slog.Logger
	// Try tries an accelerator's delegate in a child process, before this one does; nil: this one tries it at once, and may not survive that.
	Try func(ctx context.Context, c config.Config, detector *models.Model, liveness []*models.Model, o models.Options) (models.Trial, error)
	// Book is what is remembered of delegates, of which this process writes; nil: nothing is.
	Book *blame.Book
}

// trying is how long a delegate may be tried in this process, after a child has passed.
const trying = time.Minute

// OpenBook reads what is remembered of delegates in the state folder, and blames one with which the last process ended without a word.
func OpenBook(c config.Config, log *slog.Logger) *blame.Book {
	b, err := blame.Open(c.State, moment("")().Boot, time.Now)
	if err != nil {
		log.Warn("what was remembered of delegates is lost", "error", err)
	}
	e, err := b.Settle()
	if err != nil {
		log.Warn("nothing can be remembered of delegates", "error", err)
	}
	if e != nil {
		log.Error("a delegate is blamed", "delegate", e.Delegate, "error", e.Why, "until", e.Until)
	}
	return b
}

// Open loads the runtime and the models, and takes the first delegate of the preference that can be had and whose answers are right.
func (o Opener) Open(ctx context.Context, c config.Config) (*Engine, error) {
	rt, err := tflite.Load(tflite.LoadOptions{Path: c.Models.Runtime})
	if err != nil {
		return nil, &fault{ErrUnavailable, err, "install the TensorFlow Lite C library beside livenessd or in /usr/local/lib/livenessd, or name it with models.runtime or LIVENESSD_TFLITE"}
	}
	d, l, err := LoadModels(c)
	if err != nil {
		return nil, err
	}
	e := &Engine{Runtime: rt, Detector: d, Liveness: l, book: o.Book}
	start := time.Now()
	if err := o.choose(ctx, c, e); err != nil {
		return nil, err
	}
	o.Log.Info("models ready", "detector", d.Name+" "+d.Version, "liveness", l.Name+" "+l.Version, "delegate", e.Delegate(), "median_ms", e.trial.Median,
		"deadline", e.guard.limit, "tensorflow_lite", rt.Version(), "library", rt.Path(), "self_test_ms", time.Since(start).Milliseconds())
	return e, nil
}

// choose goes through the preference. Those that rest get their turn after all others: better one that went wrong before than none.
func (o Opener) choose(ctx context.Context, c config.Config, e *Engine) error {
	var errs []error
	tried := make([]Tried, len(c.Inference.Delegate))
	attempt := func(i int) (bool, error) {
		d := c.Inference.Delegate[i]
		key := e.keyOf(d)
		t, err := o.attempt(ctx, c, e, d, key)
		if err == nil {
			tried[i].State, tried[i].Median, tried[i].Error, tried[i].Hint, tried[i].Until = mqtt.DelegateUsed, t.Median, "", "", time.Time{}
			if len(t.Elsewhere) > 0 {
				tried[i].Note = fmt.Sprintf("%v run with %s: no file is compiled for this", t.Elsewhere, e.options.Otherwise)
			}
			e.tried, e.key, e.label = tried, key, label(d)
			return true, nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrAgain) {
			return false, err
		}
		tried[i].State, tried[i].Error, tried[i].Hint = mqtt.DelegateRefused, err.Error(), Hint(err)
		again := false
		if entry, rests := o.Book.Rests(key); rests {
			tried[i].Until = entry.Until
		} else {
			tried[i].Until, again = o.Book.Refused(key, label(d), err.Error())
		}
		if !again {
			o.Log.Warn("delegate can't be used", "delegate", label(d), "error", err, "hint", Hint(err))
		}
		errs = append(errs, err)
		return false, nil
	}
	for i, d := range c.Inference.Delegate {
		tried[i] = Tried{Delegate: label(d), State: mqtt.DelegateUntried}
	}
	var resting []int
	for i, d := range c.Inference.Delegate {
		if entry, rests := o.Book.Rests(e.keyOf(d)); rests {
			tried[i].State, tried[i].Error, tried[i].Until = mqtt.DelegateResting, entry.Why, entry.Until
			tried[i].Hint = "it is tried again by itself; at once after `systemctl restart livenessd` without the file " + blame.File + " in the state folder"
			if _, again := o.Book.Refused(e.keyOf(d), label(d), entry.Why); !again {
				o.Log.Warn("a delegate rests that went wrong before", "delegate", label(d), "error", entry.Why, "times", entry.Times, "until", entry.Until)
			}
			resting = append(resting, i)
			continue
		}
		if done, err := attempt(i); done || err != nil {
			return err
		}
	}
	for _, i := range resting {
		if done, err := attempt(i); done || err != nil {
			return err
		}
	}
	if len(tried) == 0 {
		return &fault{ErrConfig, errors.New("daemon: inference.delegate is empty"), "name at least one of xnnpack and cpu"}
	}
	return &NoDelegate{Tried: tried, errs: errs}
}

// NoDelegate is that none of the preference can be used.
type NoDelegate struct {
	Tried []Tried
	errs  []error
}

func (e *NoDelegate) Error() string   { return errors.Join(e.errs...).Error() }
func (e *NoDelegate) Unwrap() []error { return e.errs }

// attempt tries a delegate, and lets the engine have it if it can be trusted.
func (o Opener) attempt(ctx context.Context, c config.Config, e *Engine, d config.Delegate, key string) (t models.Trial, err error) {
	options := ModelOptions(c.Inference, d)
	members := e.members()
	if d.Accelerator() && o.Try != nil {
		if _, err := o.Try(ctx, c, e.Detector, members, options); err != nil {
			var te *models.TrialError
			if errors.As(err, &te) && (te.Stage == models.StageHang || te.Stage == models.StageCrash) {
				o.blame(key, label(d), err.Error())
			}
			return t, &fault{ErrUnavailable, err, Hint(err)}
		}
	}
	if d.Accelerator() {
		if err := o.Book.Using(key, label(d), os.Getpid()); err != nil {
			o.Log.Warn("nothing can be remembered of delegates", "error", err)
		}
		if t, err = o.here(ctx, e, options, key, label(d)); err != nil && !errors.Is(err, ErrAgain) {
			err = errors.Join(err, o.Book.Done())
		}
	} else {
		t, err = models.TryDelegate(e.Runtime, e.Detector, members, options)
	}
	if err != nil {
		return t, explained(err)
	}
	limit := deadlineFor(c.Inference.Deadline, t)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	switch {
	case t.Slowest > ms(limit):
		return t, &fault{ErrUnavailable, fmt.Errorf("daemon: a call takes more than the deadline of %v with delegate %s", limit, label(d)),
			"choose another delegate, or a longer inference.deadline"}
	case t.First > ms(max(limit, firstCall)):
		return t, &fault{ErrUnavailable, fmt.Errorf("daemon: the first call takes more than %v with delegate %s", max(limit, firstCall), label(d)),
			"choose another delegate, or let its plug-in keep what it compiles (its options)"}
	}
	e.guard, e.trial = newGuard(limit), t
	options.Watch = e.guard.watch
	e.options = options
	return t, nil
}

// here tries a delegate in this process, where it can hang for good: then only another process can go on.
func (o Opener) here(ctx context.Context, e *Engine, options models.Options, key, name string) (models.Trial, error) {
	type result struct {
		trial models.Trial
		err   error
	}
	done := make(chan result, 1)
	go func() {
		t, err := models.TryDelegate(e.Runtime, e.Detector, e.members(), options)
		done <- result{t, err}
	}()
	timer := time.NewTimer(trying)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.trial, r.err
	case <-ctx.Done():
		return models.Trial{}, ctx.Err()
	case <-timer.C:
		err := fmt.Errorf("daemon: delegate %s hangs in this process", name)
		o.blame(key, name, err.Error())
		return models.Trial{}, &fault{ErrAgain, errors.Join(err, o.Book.Done()), restarted}
	}
}

// TryAccelerators tries the configuration's accelerators on these models and tells what became of each. None of them is used.
func (o Opener) TryAccelerators(ctx context.Context, c config.Config, detector *models.Model, liveness []*models.Model) (all []Tried, err error) {
	for _, d := range c.Inference.Delegate {
		if !d.Accelerator() {
			continue
		}
		r := Tried{Delegate: label(d), State: mqtt.DelegateUntried}
		t, err := o.Try(ctx, c, detector, liveness, ModelOptions(c.Inference, d))
		if r.Median = t.Median; err != nil {
			r.State, r.Error, r.Hint = mqtt.DelegateRefused, err.Error(), Hint(err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all = append(all, r)
	}
	return all, nil
}

// restarted is what is done about a delegate that is stuck, where systemd runs the daemon.
const restarted = "systemd starts livenessd again, without this delegate; see docs/delegates.md if that repeats"

func (o Opener) blame(key, name, why string) {
	if _, err := o.Book.Blame(key, name, why); err != nil {
		o.Log.Warn("nothing can be remembered of delegates", "error", err)
	}
}

// explained gives an error of a trial its kind and its hint.
func explained(err error) error {
	var deviation *models.Deviation
	if errors.As(err, &deviation) {
		return &fault{ErrInternal, fmt.Errorf("self-test: %w", err),
			"the models don't answer as they did when they were made: the library or the processor is at fault; don't use this machine for access control"}
	}
	return &fault{ErrConfig, err, cmp.Or(Hint(err), unfit)}
}

// keyOf is what is blamed when this delegate goes wrong with these models: another version of its library, of a model or of the runtime is another
// one.
func (e *Engine) keyOf(d config.Delegate) string {
	what := struct {
		Delegate, Runtime, Library string
		Size                       int64
		Time                       time.Time
		Models                     []string
	}{Delegate: d.String(), Runtime: e.Runtime.Version(), Library: tflite.Plugin(d.Name, d.Library), Models: []string{e.Detector.SHA256, e.Liveness.SHA256}}
	if st, err := os.Stat(what.Library); err == nil {
		what.Size, what.Time = st.Size(), st.ModTime()
	}
	b, err := json.Marshal(what)
	if err != nil { // it can't be: texts and numbers
		return d.String()
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// members are the liveness models.
func (e *Engine) members() (all []*models.Model) {
	for _, m := range e.Liveness.Members {
		all = append(all, m.Model)
	}
	return all
}

// Delegates is what became of each delegate of the preference, in its order.
func (e *Engine) Delegates() []Tried {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.tried)
}

// RetryAt is when a delegate that is liked better than the one in use is worth another try; the zero time is never.
func (e *Engine) RetryAt() (at time.Time) {
	for _, t := range e.Delegates() {
		if t.State == mqtt.DelegateUsed {
			break
		}
		if !t.Until.IsZero() && (at.IsZero() || t.Until.Before(at)) {
			at = t.Until
		}
	}
	return at
}

// Retried takes over what another engine of the same configuration found out about delegates that this one doesn't use.
func (e *Engine) Retried(other *Engine) {
	tried := other.Delegates()
	e.mu.Lock()
	e.tried = tried
	e.mu.Unlock()
	if err := e.using(); err != nil {
		return // it was said when the other one was opened
	}
}

// Watch waits for a call of a net that doesn't return within the deadline, until ctx ends: nil. It is for those who have a goroutine to lose;
// Run watches by itself.
func (e *Engine) Watch(ctx context.Context) error {
	s := e.guard.run(ctx)
	if s == nil || !s.late { // of a call that fails its caller has the error
		return nil
	}
	return &fault{ErrAgain, fmt.Errorf("daemon: delegate %s: %w", e.Delegate(), s),
		"the accelerator or its driver hangs: unplug it and plug it in again, or take it out of inference.delegate"}
}

// using notes that this process uses the engine's delegate.
func (e *Engine) using() error {
	if !tflite.Accelerator(e.options.Delegate) {
		return e.book.Done()
	}
	return e.book.Using(e.key, e.label, os.Getpid())
}

// condemn notes that the delegate went wrong while it was used, on the disk if that answers.
func (e *Engine) condemn(why error, log *slog.Logger) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		until, err := e.book.Blame(e.key, e.label, why.Error())
		if err != nil {
			log.Warn("nothing can be remembered of delegates", "error", err)
		}
		if err := e.book.Done(); err != nil {
			log.Warn("nothing can be remembered of delegates", "error", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for i := range e.tried {
			if t := &e.tried[i]; t.State == mqtt.DelegateUsed {
				t.State, t.Error, t.Hint, t.Until = mqtt.DelegateRefused, why.Error(), restarted, until
			}
		}
	}()
	t := time.NewTimer(2 * time.Second)
	defer t.Stop()
	select {
	case <-written:
	case <-t.C:
		log.Error("the disk takes too long: what a delegate did isn't remembered")
	}
}
