package mqtt

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/livenessd/livenessd/mqtt/sign"
)

const (
	// maxRuns is how many starts of a device are remembered, maxCopies how many of its newest verdicts for comparison with their copies,
	// and maxUnsigned how many of its verdicts may wait for their signatures.
	maxRuns     = 8
	maxCopies   = 64
	maxUnsigned = 64
	// maxCameras bounds the cameras of a run whose order is looked at.
	maxCameras = 64
	maxNonces  = 1000
	// ahead is how far a device's clock may be before the subscriber's.
	ahead = 30 * time.Second
)

// inspector judges what comes. It knows neither connections nor clocks: time is handed in. It isn't safe for concurrent use.
type inspector struct {
	o       SubscriberOptions
	prefix  string
	devices map[string]*watched
	uses    uint64
	away    bool // there is no connection
	nonces  map[string]time.Time
	used    []string // nonces that were answered, the oldest first
	stats   SubscriberStats
	now     time.Time
	out     []Event
}

// watched is what is known of a device.
type watched struct {
	name    string
	uses    uint64 // when it was heard last, counted
	offline bool
	missed  bool      // there was no connection since it was heard last
	quiet   time.Time // since when nothing late came from it while it was there
	runs    []*run    // those that were heard last at the end
	newest  *run      // that fresh verdicts came from last
	copies  map[number]*copies
	order   []number // of copies
	waiting []unsigned
}

// run is one start of a device.
type run struct {
	boot string
	numbers
	verdicts bool              // there were some, not only gaps
	replaced bool              // another run's fresh verdicts came after this one's
	cameras  map[string]uint64 // the newest fresh number of each, of verdicts without a session
}

// number names a verdict of a device.
type number struct {
	boot string
	seq  uint64
}

type digest [sha256.Size]byte

// copies is what came under a number: as it was decided, and as it is when it is late.
type copies [2]*digest

func (c *copies) of(v *Verdict) **digest {
	if v.Replayed {
		return &c[1]
	}
	return &c[0]
}

// unsigned is a verdict that waits for its signature.
type unsigned struct {
	verdict Verdict
	digest  digest
	topic   string
	since   time.Time
}

func newInspector(o SubscriberOptions) *inspector {
	return &inspector{o: o, prefix: o.Prefix, devices: map[string]*watched{}, nonces: map[string]time.Time{}}
}

// at begins a turn.
func (i *inspector) at(now time.Time) { i.now, i.out = now, nil }

func (i *inspector) say(e Event) {
	e.At = i.now
	i.out = append(i.out, e)
}

func (i *inspector) refuse(device, topic string, why Reason, v *Verdict, err error) {
	i.stats.Refused++
	i.say(Event{Device: device, Refused: &Refused{Topic: topic, Why: why, Err: err, Verdict: v}})
}

// device is what is known of one. If there is no room, the one that was silent the longest is forgotten.
func (i *inspector) device(name string) *watched {
	i.uses++
	w := i.devices[name]
	if w == nil {
		if len(i.devices) >= i.o.MaxDevices {
			var least *watched
			for _, d := range i.devices {
				if least == nil || d.uses < least.uses {
					least = d
				}
			}
			delete(i.devices, least.name)
			i.stats.Forgotten++
		}
		w = &watched{name: name, copies: map[number]*copies{}, quiet: i.now}
		i.devices[name] = w
	}
	w.uses = i.uses
	return w
}

// connection notes that it was lost, or made.
func (i *inspector) connection(c Connection) {
	for _, w := range i.devices {
		w.quiet = i.now
		w.missed = w.missed || !c.Connected
	}
	i.away = !c.Connected
	i.say(Event{Connection: &c})
}

// take judges a message.
func (i *inspector) take(m Received) {
	below, ok := strings.CutPrefix(m.Topic, i.prefix+"/")
	device, rest, is := strings.Cut(below, "/")
	if !ok || !is || CheckName("device", device) != nil {
		return
	}
	if i.o.Keys != nil && len(i.o.Keys[device]) == 0 {
		i.stranger(device, rest, m)
		return
	}
	levels := strings.Split(rest, "/")
	switch {
	case rest == "availability":
		i.availability(device, m)
	case rest == "info":
		i.info(device, m)
	case rest == "gap":
		i.gap(device, m)
	case rest == "verdict/jws":
		i.signed(device, m)
	case len(levels) == 3 && levels[0] == "camera" && levels[2] == "state":
		i.state(device, levels[1], m)
	case len(levels) == 3 && levels[0] == "camera" && (levels[2] == "verdict" || levels[2] == "attack"), len(levels) == 2 && levels[0] == "session":
		if levels[0] == "session" && i.hint(device, levels[1], m) {
			return
		}
		i.plain(device, levels, m)
	}
}

// stranger is a device of which no key is known, where keys count. What it says is told, but no verdict.
func (i *inspector) stranger(device, rest string, m Received) {
	switch {
	case rest == "verdict/jws", strings.HasSuffix(rest, "/verdict"), strings.HasSuffix(rest, "/attack"):
		i.refuse(device, m.Topic, RefusedKey, nil, errors.New("no key of this device is known here"))
	case rest == "availability" && (string(m.Payload) == Online || string(m.Payload) == Offline):
		i.say(Event{Device: device, Availability: string(m.Payload), Retained: m.Retained})
	}
}

func (i *inspector) availability(device string, m Received) {
	what := string(m.Payload)
	if what != Online && what != Offline {
		i.refuse(device, m.Topic, RefusedMalformed, nil, fmt.Errorf("%.20q is neither online nor offline", what))
		return
	}
	w := i.device(device)
	w.offline = what == Offline
	w.quiet = i.now
	i.say(Event{Device: device, Availability: what, Retained: m.Retained})
}

func (i *inspector) info(device string, m Received) {
	info, err := ParseInfo(m.Payload)
	if err == nil && info.Device != device {
		err = fmt.Errorf("it is of device %.40q", info.Device)
	}
	if err != nil {
		i.refuse(device, m.Topic, RefusedMalformed, nil, err)
		return
	}
	i.say(Event{Device: device, Info: &info, Retained: m.Retained})
}

func (i *inspector) state(device, camera string, m Received) {
	s, err := ParseCameraState(m.Payload)
	if err = errors.Join(err, CheckName("camera", camera)); err != nil {
		i.refuse(device, m.Topic, RefusedMalformed, nil, err)
		return
	}
	i.say(Event{Device: device, Camera: camera, State: &s, Retained: m.Retained})
}

// hint tells whether what came for a session is a hint.
func (i *inspector) hint(device, session string, m Received) bool {
	if bytes.Contains(m.Payload, []byte(`"verdict"`)) {
		return false
	}
	h, err := ParseHint(m.Payload)
	if err == nil && (h.Session != session || m.Retained) {
		err = fmt.Errorf("of session %.40q, retained: %v", h.Session, m.Retained)
	}
	if err != nil {
		i.refuse(device, m.Topic, RefusedMalformed, nil, err)
		return true
	}
	i.say(Event{Device: device, Camera: h.Camera, Hint: &h})
	return true
}

func (i *inspector) gap(device string, m Received) {
	g, err := ParseGap(m.Payload)
	switch {
	case m.Retained:
		i.refuse(device, m.Topic, RefusedRetained, nil, errors.New("gaps aren't retained"))
		return
	case err == nil && g.Device != device:
		err = fmt.Errorf("it is of device %.40q", g.Device)
	}
	if err != nil {
		i.refuse(device, m.Topic, RefusedMalformed, nil, err)
		return
	}
	w := i.device(device)
	i.announced(w, g)
	boot := ""
	if g.Boot != nil {
		boot = *g.Boot
	}
	i.say(Event{Device: device, Gap: &Missing{Boot: boot, Ranges: g.Ranges, Announced: &g}})
}

// announced notes what needn't be waited for.
func (i *inspector) announced(w *watched, g Gap) {
	if g.Boot == nil {
		for _, r := range w.runs { // nobody knows what was lost: it may be what is missed
			r.give(SeqRange{1, r.top}, span{})
		}
		return
	}
	r := w.run(*g.Boot)
	if r == nil {
		if r = i.begin(w, *g.Boot, false); r == nil {
			return
		}
	}
	for _, g := range g.Ranges {
		i.given(w, r, r.give(g, i.rest(w, r)))
	}
}

// rest is how numbers are missed that lie before the one that came.
func (i *inspector) rest(w *watched, r *run) span {
	// Of the first run that is heard of nobody knows what came before.
	known := r.top > 0 || len(w.runs) > 1 && !slices.ContainsFunc(w.runs, func(o *run) bool { return o != r && !before(o.boot, r.boot) })
	return span{awaited: known, since: i.now, away: w.missed}
}

// before tells whether a run began before another, false where their names don't tell.
func before(a, b string) bool {
	x, err := uuid.Parse(a)
	y, err2 := uuid.Parse(b)
	return err == nil && err2 == nil && x.Version() == 7 && y.Version() == 7 && bytes.Compare(x[:], y[:]) < 0
}

func (w *watched) run(boot string) *run {
	for _, r := range w.runs {
		if r.boot == boot {
			return r
		}
	}
	return nil
}

// begin makes room for another run: first those go of which there were only gaps. Those that have verdicts go only for one that has, too.
func (i *inspector) begin(w *watched, boot string, verdicts bool) *run {
	if len(w.runs) >= maxRuns {
		at := slices.IndexFunc(w.runs, func(r *run) bool { return !r.verdicts })
		switch {
		case at >= 0:
		case verdicts:
			at = 0
		default:
			return nil
		}
		i.stats.Forgotten++
		w.runs = slices.Delete(w.runs, at, at+1)
	}
	r := &run{boot: boot, cameras: map[string]uint64{}}
	w.runs = append(w.runs, r)
	return r
}

// given tells that numbers aren't waited for any more.
func (i *inspector) given(w *watched, r *run, list []span) {
	for _, away := range []bool{false, true} {
		var ranges []SeqRange
		for _, s := range list {
			if s.away == away {
				ranges = append(ranges, SeqRange{s.first, s.last})
			}
		}
		if len(ranges) > 0 {
			i.stats.Missing++
			i.say(Event{Device: w.name, Gap: &Missing{Boot: r.boot, Ranges: ranges, Away: away}})
		}
	}
}

// signed judges the signed form of a verdict.
func (i *inspector) signed(device string, m Received) {
	if i.o.Keys == nil {
		return // the plain one says the same
	}
	if m.Retained {
		i.refuse(device, m.Topic, RefusedRetained, nil, errors.New("verdicts aren't retained: somebody keeps an old one there"))
		return
	}
	payload, by, err := sign.Verify(m.Payload, i.o.Keys[device])
	switch {
	case errors.Is(err, sign.ErrKey):
		i.refuse(device, m.Topic, RefusedKey, nil, err)
		return
	case errors.Is(err, sign.ErrSignature):
		i.refuse(device, m.Topic, RefusedSignature, nil, err)
		return
	case err != nil:
		i.refuse(device, m.Topic, RefusedMalformed, nil, err)
		return
	}
	v, err := ParseVerdict(payload)
	switch {
	case err != nil:
		i.refuse(device, m.Topic, RefusedMalformed, nil, err)
		return
	case v.Device != device:
		i.refuse(device, m.Topic, RefusedTopic, &v, fmt.Errorf("it is a verdict of device %s", v.Device))
		return
	case !by.Until.IsZero() && v.DecidedAt.UTC().After(by.Until):
		i.refuse(device, m.Topic, RefusedKey, &v, fmt.Errorf("its key was replaced at %v, before the decision", Time(by.Until)))
		return
	}
	sum := digest(sha256.Sum256(payload))
	w := i.device(device)
	w.waiting = slices.DeleteFunc(w.waiting, func(u unsigned) bool {
		if u.verdict.Boot != v.Boot || u.verdict.Seq != v.Seq || u.verdict.Replayed != v.Replayed {
			return false
		}
		if u.digest != sum {
			i.altered(w, u.topic, u.verdict)
		}
		return true
	})
	i.accept(w, v, sum, m.Topic, by.ID, true)
}

func (i *inspector) altered(w *watched, topic string, v Verdict) {
	i.refuse(w.name, topic, RefusedAltered, &v, fmt.Errorf("under number %d of this run came another verdict", v.Seq))
}

// plain judges a verdict without a signature.
func (i *inspector) plain(device string, levels []string, m Received) {
	v, err := ParseVerdict(m.Payload)
	switch {
	case m.Retained:
		i.refuse(device, m.Topic, RefusedRetained, nil, errors.New("verdicts aren't retained: somebody keeps an old one there"))
		return
	case err != nil:
		i.refuse(device, m.Topic, RefusedMalformed, nil, err)
		return
	case v.Device != device:
		err = fmt.Errorf("it is a verdict of device %s", v.Device)
	case levels[0] == "camera" && v.Camera != levels[1]:
		err = fmt.Errorf("it is a verdict of camera %s", v.Camera)
	case levels[0] == "session" && (v.Session == nil || v.Session.ID != levels[1]):
		err = errors.New("it is no answer for this session")
	case levels[0] == "camera" && levels[2] == "attack" && (v.Code == nil || *v.Code != CodePADAttack):
		err = errors.New("it is no attack")
	}
	if err != nil {
		i.refuse(device, m.Topic, RefusedTopic, &v, err)
		return
	}
	w, sum := i.device(device), digest(sha256.Sum256(m.Payload))
	if i.o.Keys == nil {
		i.accept(w, v, sum, m.Topic, "", levels[len(levels)-1] == "verdict")
		return
	}
	if c := w.copies[number{v.Boot, v.Seq}]; c != nil {
		if known := *c.of(&v); known != nil {
			if *known != sum {
				i.altered(w, m.Topic, v)
			}
			return // nobody needs it: the signed one came
		}
	}
	if slices.ContainsFunc(w.waiting, func(u unsigned) bool {
		return u.digest == sum && u.verdict.Boot == v.Boot && u.verdict.Seq == v.Seq
	}) {
		return
	}
	if len(w.waiting) >= maxUnsigned {
		i.unsigned(w, w.waiting[0])
		w.waiting = slices.Delete(w.waiting, 0, 1)
	}
	w.waiting = append(w.waiting, unsigned{v, sum, m.Topic, i.now})
}

func (i *inspector) unsigned(w *watched, u unsigned) {
	i.refuse(w.name, u.topic, RefusedUnsigned, &u.verdict, errors.New("no signed form of it came"))
}

// accept takes a verdict that is the device's, unless it came before or isn't the answer that is expected. first: its topic isn't one of copies.
func (i *inspector) accept(w *watched, v Verdict, sum digest, topic, by string, first bool) {
	r := w.run(v.Boot)
	if r == nil {
		r = i.begin(w, v.Boot, true)
	}
	r.verdicts = true
	w.runs = append(slices.DeleteFunc(w.runs, func(o *run) bool { return o == r }), r)
	late := i.late(&v)
	if late != "" {
		w.quiet = i.now
	}
	came, sure := r.came(v.Seq)
	if w.copies[number{v.Boot, v.Seq}] != nil { // even if its run was forgotten
		came, sure = true, true
	}
	known := w.remember(&v, sum)
	i.given(w, r, r.mark(v.Seq, i.rest(w, r)))
	w.missed = false
	if came {
		switch {
		case known != nil && *known != sum:
			i.altered(w, topic, v)
		case !sure:
			i.refuse(w.name, topic, RefusedForgotten, &v, fmt.Errorf("number %d of this run may have come before: too many are missing to know", v.Seq))
		case first:
			i.stats.Duplicates++
		}
		return
	}
	a := &Accepted{Verdict: v, Key: by, Late: late, Act: Deny}
	if late == "" {
		a.Older = w.older(r, &v)
	}
	if i.o.Expecting && v.Session != nil {
		if err := i.answer(v.Session.Nonce); err != nil {
			i.refuse(w.name, topic, RefusedNonce, &v, err)
			return
		}
	}
	// Who asks with nonces acts on answers alone.
	if late == "" && !a.Older && (!i.o.Expecting || v.Session != nil) {
		a.Act = v.Action
	}
	i.stats.Accepted++
	i.say(Event{Device: w.name, Camera: v.Camera, Verdict: a})
}

// late tells why nobody may act on a verdict any more, "" if one may.
func (i *inspector) late(v *Verdict) Lateness {
	now := i.now.Round(0)
	switch {
	case v.Replayed:
		return LateReplayed
	case now.After(v.ExpiresAt.UTC()):
		return LateExpired
	case now.Before(v.DecidedAt.UTC().Add(-ahead)):
		return LateClock
	}
	return ""
}

// remember notes what came under a number, for its copies, and returns what came before.
func (w *watched) remember(v *Verdict, sum digest) (known *digest) {
	n := number{v.Boot, v.Seq}
	c := w.copies[n]
	if c == nil {
		if len(w.order) >= maxCopies {
			delete(w.copies, w.order[0])
			w.order = slices.Delete(w.order, 0, 1)
		}
		c = new(copies)
		w.copies[n] = c
		w.order = append(w.order, n)
	}
	at := c.of(v)
	known = *at
	if known == nil {
		*at = &sum
	}
	return known
}

// older tells whether a newer answer came before a fresh verdict. A session has one answer, which nothing replaces.
func (w *watched) older(r *run, v *Verdict) bool {
	if w.newest != r {
		if r.replaced || w.newest != nil && before(r.boot, w.newest.boot) {
			return v.Session == nil
		}
		if w.newest != nil {
			w.newest.replaced = true
		}
		w.newest = r
	}
	if v.Session != nil {
		return false
	}
	newest, known := r.cameras[v.Camera]
	if v.Seq < newest {
		return true
	}
	if known || len(r.cameras) < maxCameras {
		r.cameras[v.Camera] = v.Seq
	}
	return false
}

// expect lets an answer with a nonce through, once and until a time; the zero time is for ever.
func (i *inspector) expect(nonce string, until time.Time) error {
	switch _, known := i.nonces[nonce]; {
	case nonce == "":
		return errors.New("mqtt: expect an answer: an empty nonce proves nothing")
	case !known && len(i.nonces) >= maxNonces:
		return fmt.Errorf("mqtt: expect an answer: %d are expected already", maxNonces)
	}
	i.nonces[nonce] = until
	return nil
}

// answer tells whether an answer is expected, and takes it for given.
func (i *inspector) answer(nonce string) error {
	until, expected := i.nonces[nonce]
	switch {
	case slices.Contains(i.used, nonce):
		return fmt.Errorf("nonce %.40q: that was answered already", nonce)
	case !expected:
		return fmt.Errorf("nonce %.40q: nobody here asked with it", nonce)
	case !until.IsZero() && i.now.After(until):
		return fmt.Errorf("nonce %.40q: its time is over", nonce)
	}
	delete(i.nonces, nonce)
	if i.used = append(i.used, nonce); len(i.used) > maxNonces {
		i.used = slices.Delete(i.used, 0, 1)
	}
	return nil
}

// tick finds what didn't come.
func (i *inspector) tick() {
	for nonce, until := range i.nonces {
		if !until.IsZero() && i.now.Sub(until) > time.Minute { // meanwhile it says better what was wrong
			delete(i.nonces, nonce)
		}
	}
	for _, w := range i.devices {
		w.waiting = slices.DeleteFunc(w.waiting, func(u unsigned) bool {
			late := i.now.Sub(u.since) >= i.o.Unsigned
			if late {
				i.unsigned(w, u)
			}
			return late
		})
		if i.away || w.offline || i.now.Sub(w.quiet) < i.o.Overdue {
			continue // they may still come
		}
		for _, r := range w.runs {
			i.given(w, r, r.overdue(func(s span) bool { return i.now.Sub(s.since) >= i.o.Overdue }))
		}
	}
}

// ParseCameraState reads a camera's state.
func ParseCameraState(b []byte) (CameraState, error) {
	return parseDocument("a camera's state", b, CameraState.Check)
}

// ParseInfo reads what a device is.
func ParseInfo(b []byte) (Info, error) {
	return parseDocument("info", b, func(i Info) error {
		if i.Schema != schemaVersion {
			return fmt.Errorf("schema %d, not %d", i.Schema, schemaVersion)
		}
		return CheckName("device", i.Device)
	})
}

// ParseHint reads a session's hint.
func ParseHint(b []byte) (Hint, error) { return parseDocument("a hint", b, Hint.Check) }

// parseDocument reads a document on which nobody acts. Members of later versions are accepted.
func parseDocument[T any](what string, b []byte, check func(T) error) (doc T, err error) {
	fail := func(err error) (T, error) {
		var none T
		return none, fmt.Errorf("mqtt: parse %s: %w", what, err)
	}
	if len(b) > maxDocument || !utf8.Valid(b) {
		return fail(fmt.Errorf("%d bytes: more than %d, or not UTF-8", len(b), maxDocument))
	}
	if err := checkMembers(b); err != nil {
		return fail(err)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return fail(err)
	}
	if err := check(doc); err != nil {
		return fail(err)
	}
	return doc, nil
}
