package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/policy"
	"github.com/livenessd/livenessd/daemon/session"
	"github.com/livenessd/livenessd/daemon/store"
	"github.com/livenessd/livenessd/mqtt"
)

const (
	// oldest is how far a request's time may be from ours, in either direction.
	oldest = 30 * time.Second
	// grace is how long after a session's time the decision may take to say so, and why.
	grace = 500 * time.Millisecond
	// tick is how often the desk looks at the clock, and again how often it tries to open a file that couldn't be opened.
	tick  = 100 * time.Millisecond
	again = 30 * time.Second
	// maxAnswers bounds verdicts of sessions that nobody acknowledged.
	maxAnswers = 200
	// maxTransactions bounds those that are remembered. With so many requests a second as are let through, that is at least 100 s.
	maxTransactions = 1024
	requestBurst    = 32
	requestRate     = 8

	// StateFile lies in the folder that the configuration calls state.
	StateFile = "state.db"
)

// The buckets of the file.
const (
	sessionsBucket     = "sessions"     // by id: those without an answer
	answersBucket      = "answers"      // by id: verdicts that the broker hasn't acknowledged
	switchesBucket     = "switches"     // by application: those that were set
	transactionsBucket = "transactions" // by number
)

// Host is who asks for sessions, as the desk sees it. It never blocks.
type Host interface {
	PublishVerdict(mqtt.Verdict)
	PublishResponse(mqtt.Verb, mqtt.Response)
	PublishHint(mqtt.Hint)
	SetSwitches(application string, s mqtt.Switches)
}

var _ Host = (*mqtt.Client)(nil)

// desk answers requests: it lets sessions in, tells pipelines whose turn it is, and gives each session its one answer. What must survive
// a restart is on the disk before anybody is told.
type desk struct {
	host   Host
	log    *slog.Logger
	now    func() time.Time
	moment func() policy.Moment
	info   func() mqtt.Info
	open   func() (*store.Store, error)
	apps   map[string]config.Application
	number func() uint64                                                        // of the next verdict
	blank  func(camera string) mqtt.Verdict                                     // a new verdict of which nothing is said yet
	demand func(application config.Application, purpose string) decision.Demand // without its time
	pulse  *Pulse
	turns  map[string]*atomic.Pointer[turn] // by camera
	ill    atomic.Pointer[illness]          // why sessions are refused; nil if they aren't

	mu       sync.Mutex // of all below; never held while anybody waits for the network
	store    *store.Store
	policy   *policy.Policy
	closed   bool
	tried    time.Time // when the file was last tried to open, or to write to
	ticked   time.Time // when the policy last looked at the clock
	said     string    // the newest trouble that was logged
	line     *session.Desk
	limit    session.Limit // of requests
	refusals session.Limit
	memory   session.Memory
	switches map[string]mqtt.Switches
	down     map[string]mqtt.Code // cameras that give no frames, and why
	answers  []string             // ids in answersBucket, the oldest first
}

// turn is a session that a pipeline judges for.
type turn struct {
	id       string
	demand   decision.Demand
	deadline time.Time
}

// illness is why what must be kept can't be.
type illness struct{ what, hint string }

// newDesk opens the file. If it can't, all requests for sessions are refused until it can.
func newDesk(o Options, e *Engine, id *identity, host Host) *desk {
	base := DecisionOptions(o.Config, e)
	d := &desk{
		host: host, log: o.Log, pulse: o.Pulse, now: time.Now, moment: moment(id.boot), apps: o.Config.Applications,
		info:   func() mqtt.Info { return info(o, e) },
		open:   func() (*store.Store, error) { return store.Open(filepath.Join(o.Config.State, StateFile)) },
		number: id.seq.next,
		demand: func(a config.Application, purpose string) decision.Demand { return demand(a, purpose, base) },
		turns:  map[string]*atomic.Pointer[turn]{}, switches: map[string]mqtt.Switches{}, down: map[string]mqtt.Code{},
		limit: session.Limit{Burst: requestBurst, Rate: requestRate}, refusals: session.Limit{Burst: requestBurst, Rate: requestRate}, memory: session.Memory{Size: maxTransactions},
	}
	d.blank = func(camera string) mqtt.Verdict {
		v := id.document(e, camera)
		v.LiveAt, v.SpoofAt, v.ClockSynced = base.LiveAt, base.SpoofAt, id.clockSynced()
		v.ID, v.Seq = uuid.Must(uuid.NewV7()).String(), d.number()
		return v
	}
	var cameras []string
	for _, name := range slices.Sorted(maps.Keys(o.Config.Cameras)) {
		if o.Config.Cameras[name].Role != config.IR {
			cameras = append(cameras, name)
			d.turns[name] = new(atomic.Pointer[turn])
		}
	}
	d.line = session.New(session.Options{Cameras: cameras, Applications: slices.Sorted(maps.Keys(d.apps)), Timeout: base.Timeout})
	d.begin()
	return d
}

// begin opens the file and goes on where the last run ended.
func (d *desk) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resume()
}

func (d *desk) resume() {
	d.tried = d.now()
	// Without the file nobody knows what was switched off, or on: then nothing is off.
	for name := range d.apps {
		d.switches[name] = mqtt.Switches{Authentication: true, Enrollment: true}
	}
	err := d.load()
	if err != nil {
		d.trouble("sessions are refused: what must be kept can't be", err)
		if d.store != nil {
			err = d.store.Close()
			d.store, d.policy = nil, nil
			if err != nil {
				d.log.Warn("the file can't be closed", "error", err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.apps)) {
		d.host.SetSwitches(name, d.switches[name])
	}
}

// load reads the file, and answers the sessions that the last run left without one.
func (d *desk) load() (err error) {
	if d.store, err = d.open(); err != nil {
		return err
	}
	if d.policy, err = policy.New(d.store, d.moment()); err != nil {
		return err
	}
	if aside := d.store.SetAside(); aside != "" {
		d.log.Error("the file with sessions, switches and bans was damaged: it is set aside, and a new one begun", "damaged", aside,
			"hint", "who was banned isn't known any more: where applications ban, nobody gets a session until a ban's time is over, or request/unlock "+
				"says all; check the disk")
		if err := d.policy.Forgotten(d.moment()); err != nil {
			return err
		}
		if err := d.store.Noted(); err != nil {
			return err
		}
	}
	var open []session.Session
	var answers []mqtt.Verdict
	switches := map[string]mqtt.Switches{}
	d.answers = nil
	d.memory = session.Memory{Size: maxTransactions}
	err = d.store.View(func(tx *store.Tx) error {
		return errors.Join(
			tx.Each(sessionsBucket, func(_ string, v []byte) error {
				var s session.Session
				err := json.Unmarshal(v, &s)
				open = append(open, s)
				return err
			}),
			tx.Each(answersBucket, func(id string, b []byte) error {
				d.answers = append(d.answers, id)
				if v, err := mqtt.ParseVerdict(b); err != nil {
					d.log.Warn("an answer of the last run can't be published any more", "session", id, "error", err)
				} else {
					answers = append(answers, v)
				}
				return nil
			}),
			tx.Each(switchesBucket, func(name string, v []byte) error {
				var s mqtt.Switches
				err := json.Unmarshal(v, &s)
				switches[name] = s
				return err
			}),
			tx.Each(transactionsBucket, func(key string, v []byte) error {
				var n uint64
				_, err := fmt.Sscanf(key, "%016x", &n)
				d.memory.Restore(n, string(v))
				return err
			}))
	})
	if err != nil {
		return err
	}
	for name, a := range d.apps {
		d.switches[name] = mqtt.Switches(a.Liveness)
		if s, set := switches[name]; set {
			d.switches[name] = s
		}
	}
	for _, v := range answers {
		d.host.PublishVerdict(v) // under the same id and number, so that whoever has it knows it
	}
	d.well()
	for _, s := range open {
		d.settle(s, d.refusal(s, mqtt.CodeSessionExpired))
	}
	return nil
}

// trouble logs what is wrong with the file, once until it is another thing, and leaves it to be seen in the cameras' states.
func (d *desk) trouble(what string, err error) {
	if text := err.Error(); text != d.said {
		d.said = text
		d.log.Error(what, "error", err, "hint", Hint(err))
		d.ill.Store(&illness{what + ": " + text, Hint(err)})
	}
}

// probe tries whether what must be kept can be kept again.
func (d *desk) probe() {
	d.tried = d.now()
	err := d.policy.Tick(d.moment())
	if err == nil {
		err = d.store.Update(func(*store.Tx) error { return nil })
	}
	if err == nil {
		d.well()
	}
}

func (d *desk) well() {
	if d.said != "" {
		d.log.Info("what must be kept can be kept again")
	}
	d.said = ""
	d.ill.Store(nil)
}

// run takes requests until ctx ends.
func (d *desk) run(ctx context.Context, asked <-chan mqtt.Asked) {
	t := time.NewTicker(tick)
	defer t.Stop()
	moves := d.pulse.join("requests", 0, nil)
	defer moves.leave()
	for {
		moves.stir()
		select {
		case <-ctx.Done():
			return
		case a := <-asked:
			d.hear(a)
		case <-t.C:
			d.look()
		}
	}
}

// close answers all sessions that have none, and closes the file. Pipelines must have ended.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, s := range d.line.At("") {
		d.end(s.ID, mqtt.CodeSessionExpired)
	}
}

// shut closes the file. Nothing is delivered any more.
func (d *desk) shut() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return nil
	}
	s := d.store
	d.store, d.policy = nil, nil
	return s.Close()
}

// look ends what is over.
func (d *desk) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for _, s := range d.line.Due(now, grace) {
		d.end(s.ID, mqtt.CodeTimeout)
	}
	if d.store == nil {
		if now.Sub(d.tried) >= again {
			d.resume()
		}
		return
	}
	if d.said != "" && now.Sub(d.tried) >= again {
		d.probe()
	}
	if now.Sub(d.ticked) < time.Second {
		return
	}
	d.ticked = now
	if err := d.policy.Tick(d.moment()); err != nil {
		d.trouble("bans can't be written down: sessions of applications that ban are refused", err)
	}
}

// hear answers a message of a host.
func (d *desk) hear(a mqtt.Asked) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.Verb == "" {
		d.set(a)
		return
	}
	if !slices.Contains(mqtt.Verbs(), a.Verb) {
		d.log.Debug("a request that nobody knows", "verb", fmt.Sprintf("%.40q", a.Verb))
		return
	}
	refuse := func(c mqtt.Code, message string) {
		if !d.refusals.Allow(d.now()) {
			return // a flood of refusals would drown the answers of others
		}
		d.host.PublishResponse(a.Verb, mqtt.Refusal(mqtt.TransactionOf(a.Payload), c, message))
	}
	switch {
	case !d.limit.Allow(d.now()):
		refuse(mqtt.CodeTooManyRequests, "too many requests: try again in a second")
	case a.Retained:
		refuse(mqtt.CodeSessionExpired, "the request was retained, so that nobody knows how old it is: publish it without the flag, and clear the topic")
	default:
		r, err := d.answer(a)
		if err != nil {
			refuse(mqtt.CodeProcessingErr, err.Error())
			return
		}
		d.host.PublishResponse(a.Verb, r)
		d.start(r.Session)
	}
}

// answer does what a request asks. An error is about its document.
func (d *desk) answer(a mqtt.Asked) (mqtt.Response, error) {
	switch a.Verb {
	case mqtt.VerbSession:
		r, err := mqtt.ParseSessionRequest(a.Payload)
		if err != nil {
			return mqtt.Response{}, err
		}
		return d.fresh(r.Transaction, r.SentAt, true, func() mqtt.Response { return d.admit(r) }), nil
	case mqtt.VerbCancel:
		r, err := mqtt.ParseCancelRequest(a.Payload)
		if err != nil {
			return mqtt.Response{}, err
		}
		return d.fresh(r.Transaction, r.SentAt, true, func() mqtt.Response { return d.cancel(r) }), nil
	case mqtt.VerbUnlock:
		r, err := mqtt.ParseUnlockRequest(a.Payload)
		if err != nil {
			return mqtt.Response{}, err
		}
		return d.fresh(r.Transaction, r.SentAt, true, func() mqtt.Response { return d.unlock(r) }), nil
	}
	r, err := mqtt.ParsePlainRequest(a.Payload)
	if err != nil {
		return mqtt.Response{}, err
	}
	// What changes nothing may be asked twice.
	return d.fresh(r.Transaction, r.SentAt, false, func() mqtt.Response {
		out := mqtt.Response{Transaction: r.Transaction, Status: mqtt.StatusOK}
		if a.Verb == mqtt.VerbInfo {
			i := d.info()
			out.Info = &i
		}
		return out
	}), nil
}

// fresh lets a request through unless it is old or was made before.
func (d *desk) fresh(transaction string, sent mqtt.Time, once bool, do func() mqtt.Response) mqtt.Response {
	if err := d.old(sent); err != nil {
		return mqtt.Refusal(transaction, mqtt.CodeSessionExpired, err.Error())
	}
	if once && d.memory.Has(transaction) {
		return mqtt.Refusal(transaction, mqtt.CodeUnauthorized, "this transaction was used before")
	}
	return do()
}

func (d *desk) old(sent mqtt.Time) error {
	now := d.now()
	if apart := now.Sub(sent.UTC()); !sent.IsZero() && (apart > oldest || apart < -oldest) {
		return fmt.Errorf("sent at %v, while it is %v here: more than %v apart", sent, mqtt.Time(now), oldest)
	}
	return nil
}

// remember writes down that a transaction was used.
func (d *desk) remember(tx *store.Tx, transaction string) error {
	n, gone, forgot := d.memory.Add(transaction)
	key := func(n uint64) string { return fmt.Sprintf("%016x", n) }
	err := tx.Put(transactionsBucket, key(n), []byte(transaction))
	if forgot {
		err = errors.Join(err, tx.Delete(transactionsBucket, key(gone)))
	}
	return err
}

// unkept refuses what can't be written down. The same request may be made again.
func (d *desk) unkept(transaction string, err error) mqtt.Response {
	const message = "what must survive a restart can't be written down; see the log of livenessd"
	d.memory.Drop(transaction)
	if err != nil {
		d.trouble("requests are refused: what must be kept can't be", err)
	}
	return mqtt.Refusal(transaction, mqtt.CodeProcessingErr, message)
}

// admit lets a session in, or not.
func (d *desk) admit(r mqtt.SessionRequest) mqtt.Response {
	now := d.now()
	request := session.Request{Application: r.Application, Purpose: r.Purpose, Camera: r.Camera, Subject: r.Subject, Nonce: r.Nonce,
		Timeout: time.Duration(r.Timeout)}
	camera, no := d.line.Check(request)
	switch {
	case no != nil:
		return mqtt.Refusal(r.Transaction, mqtt.Code(no.Code), no.Message)
	case d.closed:
		return mqtt.Refusal(r.Transaction, mqtt.CodeTooManyRequests, "livenessd is stopping")
	case d.store == nil:
		return d.unkept(r.Transaction, nil)
	}
	left, err := d.policy.Left(d.moment(), policy.Whom{Application: r.Application, Subject: r.Subject, Camera: camera}, d.rule(r.Application))
	if err != nil {
		return d.unkept(r.Transaction, err)
	}
	if left > 0 {
		out := mqtt.Refusal(r.Transaction, mqtt.CodeLockedOut, fmt.Sprintf("locked out for another %v", left.Round(time.Second)))
		out.RetryAfterMS = max(1, left.Milliseconds())
		return out
	}
	s := d.line.New(now, uuid.Must(uuid.NewV7()).String(), camera, request)
	kept, err := json.Marshal(s)
	if err == nil {
		err = d.store.Update(func(tx *store.Tx) error {
			return errors.Join(tx.Put(sessionsBucket, s.ID, kept), d.remember(tx, r.Transaction))
		})
	}
	if err != nil {
		return d.unkept(r.Transaction, err)
	}
	d.well()
	d.line.Open(s)
	d.log.Info("session", "session", s.ID, "application", s.Application, "purpose", s.Purpose, "session_camera", s.Camera)
	return mqtt.Response{Transaction: r.Transaction, Status: mqtt.StatusOK, Session: s.ID}
}

// start begins a session that was let in, after that was said, or ends it at once.
func (d *desk) start(id string) {
	i := slices.IndexFunc(d.line.At(""), func(s session.Session) bool { return s.ID == id })
	if i < 0 {
		return
	}
	s := d.line.At("")[i]
	if !d.judges(s) {
		if s, ok := d.line.Close(s.ID); ok {
			v := d.undecided(s.Camera, "")
			v.Action, v.Liveness = mqtt.Allow, mqtt.LivenessOff
			d.settle(s, v)
		}
		return
	}
	if why, down := d.down[s.Camera]; down {
		d.end(s.ID, why)
		return
	}
	d.point(s.Camera)
}

// judges tells whether liveness is on for a session.
func (d *desk) judges(s session.Session) bool {
	on := d.switches[s.Application]
	if s.Purpose == session.Enrollment {
		return on.Enrollment
	}
	return on.Authentication
}

func (d *desk) cancel(r mqtt.CancelRequest) mqtt.Response {
	if !slices.ContainsFunc(d.line.At(""), func(s session.Session) bool { return s.ID == r.Session }) {
		return mqtt.Refusal(r.Transaction, mqtt.CodeSessionExpired, "no such session runs")
	}
	if d.store == nil {
		return d.unkept(r.Transaction, nil)
	}
	if err := d.store.Update(func(tx *store.Tx) error { return d.remember(tx, r.Transaction) }); err != nil {
		return d.unkept(r.Transaction, err)
	}
	d.end(r.Session, mqtt.CodeSessionExpired)
	return mqtt.Response{Transaction: r.Transaction, Status: mqtt.StatusOK}
}

func (d *desk) unlock(r mqtt.UnlockRequest) mqtt.Response {
	if d.store == nil {
		return d.unkept(r.Transaction, nil)
	}
	n, err := d.policy.Unlock(d.moment(), policy.Whom{Application: r.Application, Subject: r.Subject, Camera: r.Camera})
	if err == nil {
		err = d.store.Update(func(tx *store.Tx) error { return d.remember(tx, r.Transaction) })
	}
	if err != nil {
		return d.unkept(r.Transaction, err)
	}
	d.log.Warn("bans were lifted", "application", r.Application, "session_camera", r.Camera, "all", r.All, "lifted", n)
	return mqtt.Response{Transaction: r.Transaction, Status: mqtt.StatusOK, Lifted: &n}
}

// set sets an application's switches.
func (d *desk) set(a mqtt.Asked) {
	was, known := d.switches[a.Application]
	r, err := mqtt.ParseSwitchRequest(a.Payload)
	if err == nil {
		err = d.old(r.SentAt)
	}
	switch {
	case !known:
		err = errors.New("no such application")
	case a.Retained:
		err = errors.New("the message was retained, so that nobody knows how old it is")
	case !d.limit.Allow(d.now()):
		err = errors.New("too many requests")
	case err == nil && d.store == nil:
		err = errors.New("it can't be written down")
	}
	now := was
	if r.Authentication != nil {
		now.Authentication = *r.Authentication
	}
	if r.Enrollment != nil {
		now.Enrollment = *r.Enrollment
	}
	if err == nil {
		var kept []byte
		if kept, err = json.Marshal(now); err == nil {
			err = d.store.Update(func(tx *store.Tx) error { return tx.Put(switchesBucket, a.Application, kept) })
		}
	}
	if err != nil {
		d.log.Warn("a switch stays as it is", "application", fmt.Sprintf("%.64q", a.Application), "error", err)
		return
	}
	d.switches[a.Application] = now
	d.host.SetSwitches(a.Application, now)
	if now != was {
		d.log.Warn("liveness was switched", "application", a.Application, "authentication", now.Authentication, "enrollment", now.Enrollment)
	}
}

func (d *desk) rule(application string) policy.Rule {
	a := d.apps[application]
	return policy.Rule{Ban: a.OnAttack == config.BanAttacker, After: a.After, Within: a.Within, For: a.For}
}

// point tells the pipeline of a camera whose turn it is.
func (d *desk) point(camera string) {
	at, known := d.turns[camera]
	if !known {
		return
	}
	s, runs := d.line.Running(camera)
	if !runs {
		at.Store(nil)
		return
	}
	if was := at.Load(); was == nil || was.id != s.ID {
		at.Store(&turn{id: s.ID, demand: d.demand(d.apps[s.Application], s.Purpose), deadline: s.Deadline})
	}
}

// turn is whose turn it is at a camera, nil for nobody's. It doesn't wait for the disk.
func (d *desk) turn(camera string) *turn {
	if at, known := d.turns[camera]; known {
		return at.Load()
	}
	return nil
}

// idle tells whether no session runs at all.
func (d *desk) idle() bool {
	for _, at := range d.turns {
		if at.Load() != nil {
			return false
		}
	}
	return true
}

// end ends a session for which there is no decision.
func (d *desk) end(id string, why mqtt.Code) {
	if s, ok := d.line.Close(id); ok {
		d.settle(s, d.refusal(s, why))
		d.point(s.Camera)
	}
}

// fail is end for pipelines.
func (d *desk) fail(id string, why mqtt.Code) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(id, why)
}

// decided is the verdict of a pipeline for a session. It gives what was published, "" if nothing was: what became of the session meanwhile
// stands, and then the verdict is nobody's.
func (d *desk) decided(id string, v mqtt.Verdict) mqtt.VerdictKind {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.line.Close(id)
	if !ok {
		return ""
	}
	v.Seq = d.number()
	whom, rule := policy.Whom{Application: s.Application, Subject: s.Subject, Camera: s.Camera}, d.rule(s.Application)
	switch {
	case d.store == nil: // it was there when the session was let in
		v = withhold(v, mqtt.CodeProcessingErr)
	case v.Verdict == mqtt.Spoof:
		left, err := d.policy.Attack(d.moment(), whom, rule)
		if err != nil {
			d.trouble("an attack can't be written down: sessions of applications that ban are refused", err)
		}
		v.RetryAfterMS = left.Milliseconds()
	case v.Verdict == mqtt.Live:
		left, err := d.policy.Left(d.moment(), whom, rule)
		switch {
		case err != nil:
			d.trouble("nobody knows who is banned", err)
			v = withhold(v, mqtt.CodeProcessingErr)
		case left > 0: // it began while this session ran
			v = withhold(v, mqtt.CodeLockedOut)
			v.RetryAfterMS = max(1, left.Milliseconds())
		}
	}
	told := d.settle(s, v)
	d.point(s.Camera)
	return told
}

// withhold makes a verdict that opens a door one that doesn't. Others it leaves as they are.
func withhold(v mqtt.Verdict, why mqtt.Code) mqtt.Verdict {
	if v.Action != mqtt.Allow {
		return v
	}
	v.Verdict, v.Action, v.Liveness = mqtt.Undecided, mqtt.Deny, ""
	v.SetCode(why)
	return v
}

// settle gives a session that left the line its one answer: written down, and then published as what it returns.
func (d *desk) settle(s session.Session, v mqtt.Verdict) mqtt.VerdictKind {
	v.Session = &mqtt.Session{ID: s.ID, Application: s.Application, Purpose: s.Purpose, Subject: s.Subject, Nonce: s.Nonce}
	err := errors.New("there is no file")
	if d.store != nil {
		err = d.keep(s.ID, v)
	}
	if err != nil {
		d.trouble("a session's answer can't be written down", err)
		v = withhold(v, mqtt.CodeProcessingErr)
	}
	d.host.PublishVerdict(v)
	code := mqtt.Code("")
	if v.Code != nil {
		code = *v.Code
	}
	d.log.Info("answer", "session", s.ID, "verdict", v.Verdict, "code", code, "action", v.Action, "seq", v.Seq)
	return v.Verdict
}

// keep writes an answer down, until the broker has it.
func (d *desk) keep(id string, v mqtt.Verdict) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	answers := append(slices.Clone(d.answers), id)
	err = d.store.Update(func(tx *store.Tx) error {
		err := errors.Join(tx.Put(answersBucket, id, b), tx.Delete(sessionsBucket, id))
		for len(answers) > maxAnswers {
			err = errors.Join(err, tx.Delete(answersBucket, answers[0]))
			answers = answers[1:]
		}
		return err
	})
	if err == nil {
		d.answers = answers
	}
	return err
}

// delivered forgets an answer that the broker has.
func (d *desk) delivered(v mqtt.Verdict) {
	if v.Session == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.answers, v.Session.ID)
	if i < 0 || d.store == nil {
		return
	}
	d.answers = slices.Delete(d.answers, i, i+1)
	if err := d.store.Update(func(tx *store.Tx) error { return tx.Delete(answersBucket, v.Session.ID) }); err != nil {
		d.trouble("an answer that was delivered can't be forgotten: it will be published again", err)
	}
}

// camera notes that a camera gives no frames, and why, or with "" that it does. Sessions end where there is nobody to judge.
func (d *desk) camera(name string, why mqtt.Code) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if why == "" {
		delete(d.down, name)
		return
	}
	d.down[name] = why
	for _, s := range d.line.At(name) {
		d.end(s.ID, why)
	}
}

// hint tells a session what keeps its verdict.
func (d *desk) hint(id, camera string, c decision.Code) {
	words := advice(c)
	if words == "" {
		c = ""
	}
	if !d.mu.TryLock() {
		return // the camera doesn't wait for the disk
	}
	defer d.mu.Unlock()
	now := d.now()
	if d.line.Hint(now, id, session.Code(c)) {
		d.host.PublishHint(mqtt.Hint{Schema: 1, Session: id, Camera: camera, Code: mqtt.Code(c), Hint: words, At: mqtt.Time(now)})
	}
}

// advice is what a person should do about a frame that is no evidence, "" where nothing is to be done, or told.
func advice(c decision.Code) string {
	switch c {
	case decision.NoFacesDetected:
		return "stand in front of the camera"
	case decision.ManyFaces:
		return "one person at a time"
	case decision.FaceTooSmall:
		return "come closer"
	case decision.FaceCutOff:
		return "come into the middle of the picture"
	case decision.FaceTurned:
		return "look at the camera"
	case decision.FaceChanged:
		return "stay in front of the camera"
	case decision.TooDark:
		return "too dark: more light on the face"
	case decision.TooBright:
		return "too bright: less light on the face"
	case decision.Blurred:
		return "hold still"
	}
	return ""
}

// refusal is the answer of a session that wasn't judged.
func (d *desk) refusal(s session.Session, why mqtt.Code) mqtt.Verdict {
	return d.undecided(s.Camera, why)
}

func (d *desk) undecided(camera string, why mqtt.Code) mqtt.Verdict {
	now := d.now()
	v := d.blank(camera)
	v.Verdict, v.Action = mqtt.Undecided, mqtt.Deny
	v.SetCode(why)
	v.DecidedAt, v.ExpiresAt = mqtt.Time(now), mqtt.Time(now.Add(actionable))
	return v
}
