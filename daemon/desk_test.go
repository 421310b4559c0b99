package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/policy"
	"github.com/livenessd/livenessd/daemon/session"
	"github.com/livenessd/livenessd/daemon/store"
	"github.com/livenessd/livenessd/mqtt"
)

// lobby is a desk with a host in front of it, on a clock that the test moves.
type lobby struct {
	t    *testing.T
	path string
	now  time.Time
	up   time.Duration
	desk *desk
	seq  uint64
	fail error // of opening the file

	said      []string
	verdicts  []mqtt.Verdict
	responses []mqtt.Response
	hints     []mqtt.Hint
	switches  map[string]mqtt.Switches
}

var _ Host = (*lobby)(nil)

func (l *lobby) PublishVerdict(v mqtt.Verdict) {
	if err := v.Check(); err != nil {
		l.t.Error(err)
	}
	l.verdicts = append(l.verdicts, v)
	words := []string{"verdict", string(v.Verdict)}
	if v.Code != nil {
		words = append(words, string(*v.Code))
	}
	if v.Liveness != "" {
		words = append(words, v.Liveness)
	}
	if v.RetryAfterMS > 0 {
		words = append(words, (time.Duration(v.RetryAfterMS) * time.Millisecond).String())
	}
	l.say(append(words, string(v.Action), v.Session.Nonce)...)
}

func (l *lobby) PublishResponse(verb mqtt.Verb, r mqtt.Response) {
	if err := r.Check(); err != nil {
		l.t.Error(err)
	}
	l.responses = append(l.responses, r)
	words := []string{string(verb), r.Transaction, r.Status, string(r.Code)}
	if r.RetryAfterMS > 0 {
		words = append(words, (time.Duration(r.RetryAfterMS) * time.Millisecond).String())
	}
	if r.Lifted != nil {
		words = append(words, fmt.Sprint(*r.Lifted))
	}
	l.say(words...)
}

func (l *lobby) PublishHint(h mqtt.Hint) {
	if err := h.Check(); err != nil {
		l.t.Error(err)
	}
	l.hints = append(l.hints, h)
	l.say("hint", string(h.Code), h.Hint)
}

func (l *lobby) SetSwitches(application string, s mqtt.Switches) { l.switches[application] = s }

func (l *lobby) say(words ...string) {
	l.said = append(l.said, strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " "))
}

// heard takes what was said since it was last asked.
func (l *lobby) heard(want ...string) {
	l.t.Helper()
	if got := strings.Join(l.said, "\n"); got != strings.Join(want, "\n") {
		l.t.Errorf("said\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	l.said = nil
}

func newLobby(t *testing.T) *lobby {
	l := &lobby{t: t, path: filepath.Join(t.TempDir(), "state.db"), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), up: time.Hour, switches: map[string]mqtt.Switches{}}
	l.start()
	t.Cleanup(func() { _ = l.desk.shut() })
	return l
}

func application(change func(*config.Application)) config.Application {
	a := config.DefaultApplication()
	if change != nil {
		change(&a)
	}
	return a
}

func (l *lobby) start() {
	d := &desk{
		host: l, log: slog.New(slog.NewTextHandler(io.Discard, nil)), now: func() time.Time { return l.now },
		moment: func() policy.Moment { return policy.Moment{Boot: "b", Up: l.up, Wall: l.now} },
		info:   func() mqtt.Info { return mqtt.Info{Schema: 1, Device: "door-7"} },
		open: func() (*store.Store, error) {
			if l.fail != nil {
				return nil, l.fail
			}
			return store.Open(l.path)
		},
		apps: map[string]config.Application{
			"door":    application(nil),
			"bank":    application(func(a *config.Application) { a.OnAttack, a.After = config.BanAttacker, 2 }),
			"canteen": application(func(a *config.Application) { a.Liveness.Authentication = false }),
		},
		number: func() uint64 {
			l.seq++
			return l.seq
		},
		blank: func(camera string) mqtt.Verdict {
			return mqtt.Verdict{Schema: 1, ID: uuid.Must(uuid.NewV7()).String(), Device: "door-7", Camera: camera, Boot: "boot", Seq: l.desk.number(),
				LiveAt: 0.8, SpoofAt: 0.35, Model: mqtt.ModelRef{SHA256: strings.Repeat("0", 64)}}
		},
		demand: func(a config.Application, purpose string) decision.Demand {
			o := decision.Defaults()
			o.LiveAt, o.SpoofAt = 0.8, 0.35
			return demand(a, purpose, o)
		},
		turns: map[string]*atomic.Pointer[turn]{"front": {}}, switches: map[string]mqtt.Switches{}, down: map[string]mqtt.Code{},
		line:  session.New(session.Options{Cameras: []string{"front"}, Applications: []string{"bank", "canteen", "door"}, Waiting: 1, Timeout: 8 * time.Second}),
		limit: session.Limit{Burst: requestBurst, Rate: requestRate}, refusals: session.Limit{Burst: requestBurst, Rate: requestRate},
	}
	l.desk = d
	d.begin()
}

// kill is the end of a process that nobody asked.
func (l *lobby) kill() {
	l.t.Helper()
	if err := l.desk.shut(); err != nil {
		l.t.Fatal(err)
	}
	l.start()
}

func (l *lobby) wait(d time.Duration) {
	l.now, l.up = l.now.Add(d), l.up+d
	l.desk.look()
}

func (l *lobby) ask(verb mqtt.Verb, format string, args ...any) {
	l.desk.hear(mqtt.Asked{Verb: verb, Payload: fmt.Appendf(nil, format, args...)})
}

// session asks for one, and gives its id.
func (l *lobby) session(transaction, application, more string) string {
	l.t.Helper()
	l.ask(mqtt.VerbSession, `{"transaction":%q,"application":%q,"purpose":"authentication","nonce":"n-%s"%s}`, transaction, application, transaction, more)
	return l.responses[len(l.responses)-1].Session
}

// judged is the verdict of a pipeline.
func (l *lobby) judged(kind mqtt.VerdictKind) mqtt.Verdict {
	v := l.desk.blank("front")
	score := 0.9
	v.Verdict, v.Action, v.Score, v.Frames = kind, mqtt.Allow, &score, 5
	v.Face = &mqtt.Face{Width: 10, Height: 10}
	v.CapturedAt, v.DecidedAt, v.ExpiresAt = mqtt.Time(l.now), mqtt.Time(l.now), mqtt.Time(l.now.Add(time.Second))
	switch kind {
	case mqtt.Spoof:
		*v.Score, v.Action = 0.1, mqtt.Deny
		v.SetCode(mqtt.CodePADAttack)
	case mqtt.Undecided:
		v.Action = mqtt.Deny
		v.SetCode(mqtt.CodeTimeout)
	}
	return v
}

// attack is a session in which there is one.
func (l *lobby) attack(transaction, application, more string) {
	l.t.Helper()
	l.desk.decided(l.session(transaction, application, more), l.judged(mqtt.Spoof))
}

func TestWhatHostsAreTold(t *testing.T) {
	for name, play := range map[string]func(t *testing.T, l *lobby){
		"a session": func(t *testing.T, l *lobby) {
			id := l.session("t1", "door", `,"subject":"u1"`)
			l.heard("session t1 ok")
			at := l.desk.turn("front")
			if at == nil || at.id != id || !at.deadline.Equal(l.now.Add(8*time.Second)) {
				t.Fatalf("%+v", at)
			}
			l.desk.decided(id, l.judged(mqtt.Live))
			l.heard("verdict live allow n-t1")
			if s := l.verdicts[0].Session; *s != (mqtt.Session{ID: id, Application: "door", Purpose: "authentication", Subject: "u1", Nonce: "n-t1"}) {
				t.Errorf("%+v", s)
			}
			if l.desk.turn("front") != nil {
				t.Error("it is still its turn")
			}
			l.desk.decided(id, l.judged(mqtt.Live))
			l.ask(mqtt.VerbCancel, `{"transaction":"t2","session":%q}`, id)
			l.wait(time.Hour)
			l.heard("cancel t2 error SESSION_EXPIRED")
		},
		"two sessions, one after the other, and a third too many": func(t *testing.T, l *lobby) {
			a, b := l.session("t1", "door", ""), l.session("t2", "door", "")
			l.session("t3", "door", "")
			l.heard("session t1 ok", "session t2 ok", "session t3 error TOO_MANY_REQUESTS")
			l.desk.decided(a, l.judged(mqtt.Undecided))
			if at := l.desk.turn("front"); at == nil || at.id != b {
				t.Errorf("%+v", at)
			}
			l.desk.decided(b, l.judged(mqtt.Live))
			l.heard("verdict undecided TIMEOUT deny n-t1", "verdict live allow n-t2")
		},
		"nobody who isn't known": func(t *testing.T, l *lobby) {
			l.session("t1", "nobody", "")
			l.ask(mqtt.VerbSession, `{"transaction":"t2","application":"door","purpose":"tea"}`)
			l.session("t3", "door", `,"camera":"side"`)
			l.heard("session t1 error UNAUTHORIZED", "session t2 error UNAUTHORIZED", "session t3 error UNAUTHORIZED")
		},
		"requests that are refused change nothing": func(t *testing.T, l *lobby) {
			l.session("t1", "door", `,"sent_at":"2026-01-02T03:03:34Z"`)
			l.session("t1", "door", `,"sent_at":"2026-01-02T03:04:36Z"`)
			l.session("t1", "door", `,"timeout":"1m","timeout":"2m"`)
			l.session("t1", "door", `,"tmeout":"1m"`)
			l.session("t1", "door", `,"timeout":"11m"`)
			l.ask(mqtt.VerbSession, `{"transaction":"t1"`)
			l.desk.hear(mqtt.Asked{Verb: mqtt.VerbSession, Retained: true, Payload: []byte(`{"transaction":"t1","application":"door","purpose":"authentication"}`)})
			l.ask("tea", `{"transaction":"t1"}`)
			l.heard("session t1 error SESSION_EXPIRED", "session t1 error SESSION_EXPIRED", "session error PROCESSING_ERR", "session t1 error PROCESSING_ERR",
				"session t1 error PROCESSING_ERR", "session error PROCESSING_ERR", "session t1 error SESSION_EXPIRED")
			if at := l.desk.turn("front"); at != nil {
				t.Errorf("%+v", at)
			}
			l.session("t1", "door", `,"sent_at":"2026-01-02T03:03:35Z"`)
			l.heard("session t1 ok")
		},
		"a transaction counts once, also after a restart": func(t *testing.T, l *lobby) {
			id := l.session("t1", "door", "")
			l.session("t1", "door", "")
			l.heard("session t1 ok", "session t1 error UNAUTHORIZED")
			l.ask(mqtt.VerbCancel, `{"transaction":"t2","session":%q}`, id)
			l.ask(mqtt.VerbCancel, `{"transaction":"t2","session":%q}`, id)
			l.ask(mqtt.VerbUnlock, `{"transaction":"t3","all":true}`)
			l.kill()
			l.said = nil
			for _, tr := range []string{"t1", "t2", "t3"} {
				l.session(tr, "door", "")
			}
			l.ask(mqtt.VerbPing, `{"transaction":"t1"}`)
			l.ask(mqtt.VerbPing, `{"transaction":"t1"}`)
			l.heard("session t1 error UNAUTHORIZED", "session t2 error UNAUTHORIZED", "session t3 error UNAUTHORIZED", "ping t1 ok", "ping t1 ok")
		},
		"a flood": func(t *testing.T, l *lobby) {
			for i := range 1000 {
				l.ask(mqtt.VerbPing, `{"transaction":"t%d"}`, i)
			}
			ok, refused := 0, 0
			for _, r := range l.responses {
				switch r.Code {
				case "":
					ok++
				case mqtt.CodeTooManyRequests:
					refused++
				}
			}
			if ok != requestBurst || refused != requestBurst || len(l.responses) != ok+refused {
				t.Errorf("%d answered, %d refused, %d in all", ok, refused, len(l.responses))
			}
			l.wait(time.Second)
			l.said = nil
			l.ask(mqtt.VerbPing, `{"transaction":"later"}`)
			l.heard("ping later ok")
		},
		"time that is over, running and waiting": func(t *testing.T, l *lobby) {
			l.session("t1", "door", `,"timeout":"3s"`)
			l.session("t2", "door", `,"timeout":"2s"`)
			l.said = nil
			l.wait(2 * time.Second)
			l.heard("verdict undecided TIMEOUT deny n-t2")
			l.wait(time.Second) // the pipeline says it better
			l.heard()
			l.wait(grace)
			l.heard("verdict undecided TIMEOUT deny n-t1")
		},
		"a cancelled request": func(t *testing.T, l *lobby) {
			id := l.session("t1", "door", "")
			l.ask(mqtt.VerbCancel, `{"transaction":"t2","session":%q}`, id)
			l.heard("session t1 ok", "verdict undecided SESSION_EXPIRED deny n-t1", "cancel t2 ok")
			if told := l.desk.decided(id, l.judged(mqtt.Spoof)); told != "" { // which was on its way
				t.Errorf("%q was told to nobody", told)
			}
			l.heard()
		},
		"a lost camera": func(t *testing.T, l *lobby) {
			l.session("t1", "door", "")
			l.session("t2", "door", "")
			l.desk.camera("front", mqtt.CodeCameraLost)
			l.session("t3", "door", "")
			l.heard("session t1 ok", "session t2 ok", "verdict undecided CAMERA_LOST deny n-t1", "verdict undecided CAMERA_LOST deny n-t2",
				"session t3 ok", "verdict undecided CAMERA_LOST deny n-t3")
			l.desk.camera("front", "")
			l.session("t4", "door", "")
			l.heard("session t4 ok")
		},
		"a restart in the middle": func(t *testing.T, l *lobby) {
			id := l.session("t1", "door", `,"subject":"u1"`)
			l.session("t2", "door", "")
			l.kill()
			l.said = l.said[2:]
			slices.Sort(l.said)
			l.heard("verdict undecided SESSION_EXPIRED deny n-t1", "verdict undecided SESSION_EXPIRED deny n-t2")
			if !slices.ContainsFunc(l.verdicts, func(v mqtt.Verdict) bool { return v.Session.ID == id && v.Session.Subject == "u1" }) {
				t.Errorf("%+v", l.verdicts)
			}
			for _, v := range l.verdicts {
				l.desk.delivered(v)
			}
			l.kill()
			l.heard()
		},
		"an answer that wasn't delivered comes again, as the same": func(t *testing.T, l *lobby) {
			l.desk.decided(l.session("t1", "door", ""), l.judged(mqtt.Live))
			first := l.verdicts[0]
			l.kill()
			l.heard("session t1 ok", "verdict live allow n-t1", "verdict live allow n-t1")
			if again := l.verdicts[1]; again.ID != first.ID || again.Seq != first.Seq || again.Boot != first.Boot || !again.DecidedAt.UTC().Equal(first.DecidedAt.UTC()) {
				t.Errorf("%+v, then %+v", first, again)
			}
			l.desk.delivered(first)
			l.kill()
			l.heard()
		},
		"the end": func(t *testing.T, l *lobby) {
			l.session("t1", "door", "")
			l.desk.close()
			l.session("t2", "door", "")
			l.heard("session t1 ok", "verdict undecided SESSION_EXPIRED deny n-t1", "session t2 error TOO_MANY_REQUESTS")
		},
		"liveness that is switched off": func(t *testing.T, l *lobby) {
			l.desk.camera("front", mqtt.CodeCameraLost) // nobody looks
			l.session("t1", "canteen", "")
			l.heard("session t1 ok", "verdict undecided off allow n-t1")
			l.desk.camera("front", "")
			l.ask(mqtt.VerbSession, `{"transaction":"t2","application":"canteen","purpose":"enrollment"}`)
			l.heard("session t2 ok") // it is judged
		},
		"switches that are set": func(t *testing.T, l *lobby) {
			set := func(app, text string, retained bool) {
				l.desk.hear(mqtt.Asked{Application: app, Payload: []byte(text), Retained: retained})
			}
			want := func(app string, a, e bool) {
				t.Helper()
				if got := l.switches[app]; got != (mqtt.Switches{Authentication: a, Enrollment: e}) {
					t.Errorf("%s: %+v", app, got)
				}
			}
			want("door", true, true)
			want("canteen", false, true)
			set("door", `{"authentication":false}`, false)
			set("canteen", `{"authentication":true,"enrollment":false}`, false)
			set("door", `{"enrollment":false}`, true)
			set("door", `{"enrollment":0}`, false)
			set("door", `{"enrollment":false,"sent_at":"2020-01-01T00:00:00Z"}`, false)
			set("nobody", `{"enrollment":false}`, false)
			want("door", false, true)
			want("canteen", true, false)
			l.kill()
			want("door", false, true)
			want("canteen", true, false)
			if len(l.switches) != 3 {
				t.Errorf("%+v", l.switches)
			}
			l.session("t1", "door", "")
			set("door", `{"authentication":true}`, false)
			id := l.session("t2", "door", "")
			l.heard("session t1 ok", "verdict undecided off allow n-t1", "session t2 ok")
			if at := l.desk.turn("front"); at == nil || at.id != id {
				t.Errorf("%+v", at)
			}
		},
		"hints": func(t *testing.T, l *lobby) {
			id := l.session("t1", "door", "")
			l.said = nil
			for _, c := range []decision.Code{decision.FaceTooSmall, decision.FaceTooSmall, decision.TooDark, decision.PADAttack, ""} {
				l.desk.hint(id, "front", c)
			}
			l.now = l.now.Add(time.Second)
			l.desk.hint(id, "front", decision.TooDark)
			l.heard("hint FACE_TOO_SMALL come closer", "hint TOO_DARK too dark: more light on the face")
			l.desk.decided(id, l.judged(mqtt.Live))
			l.desk.hint(id, "front", decision.Blurred)
			l.heard("verdict live allow n-t1")
		},
		"a ban": func(t *testing.T, l *lobby) {
			l.attack("t1", "bank", `,"subject":"u1"`)
			l.session("t2", "bank", `,"subject":"u1"`)
			l.kill() // which cost nobody an attack
			l.attack("t3", "bank", `,"subject":"u1"`)
			l.heard("session t1 ok", "verdict spoof PAD_ATTACK deny n-t1", "session t2 ok", "verdict spoof PAD_ATTACK deny n-t1", "verdict undecided SESSION_EXPIRED deny n-t2",
				"session t3 ok", "verdict spoof PAD_ATTACK 15m0s deny n-t3")
			l.wait(5 * time.Minute)
			l.session("t4", "bank", `,"subject":"u1"`)
			l.session("t5", "bank", `,"subject":"u2"`)
			l.heard("session t4 error LOCKED_OUT 10m0s", "session t5 ok")
			l.kill()
			l.said = nil
			l.session("t6", "bank", `,"subject":"u1"`)
			l.ask(mqtt.VerbUnlock, `{"transaction":"t7","subject":"u1"}`)
			l.session("t8", "bank", `,"subject":"u1"`)
			l.heard("session t6 error LOCKED_OUT 10m0s", "unlock t7 ok 1", "session t8 ok")
		},
		"a ban that begins while somebody waits": func(t *testing.T, l *lobby) {
			l.attack("t1", "bank", "")
			a, b := l.session("t2", "bank", ""), l.session("t3", "bank", "")
			l.said = nil
			l.desk.decided(a, l.judged(mqtt.Spoof))
			l.desk.decided(b, l.judged(mqtt.Live))
			l.heard("verdict spoof PAD_ATTACK 15m0s deny n-t2", "verdict undecided LOCKED_OUT 15m0s deny n-t3")
		},
		"attacks without bans": func(t *testing.T, l *lobby) {
			for i := range 5 {
				l.attack(fmt.Sprint("t", i), "door", "")
			}
			l.said = nil
			l.session("t9", "door", "")
			l.heard("session t9 ok")
		},
		"a file that can't be opened": func(t *testing.T, l *lobby) {
			l.desk.hear(mqtt.Asked{Application: "door", Payload: []byte(`{"authentication":false}`)})
			l.fail = errors.New("no disk")
			l.kill()
			if l.switches["door"].Authentication != true || l.switches["canteen"].Authentication != true {
				t.Errorf("something is off: %+v", l.switches)
			}
			l.session("t1", "door", "")
			l.session("t1", "canteen", "")
			l.ask(mqtt.VerbUnlock, `{"transaction":"t2","all":true}`)
			l.ask(mqtt.VerbPing, `{"transaction":"t3"}`)
			l.heard("session t1 error PROCESSING_ERR", "session t1 error PROCESSING_ERR", "unlock t2 error PROCESSING_ERR", "ping t3 ok")
			if ill := l.desk.ill.Load(); ill == nil || !strings.Contains(ill.what, "no disk") {
				t.Errorf("%+v", ill)
			}
			l.fail = nil
			l.wait(again)
			if ill := l.desk.ill.Load(); ill != nil {
				t.Errorf("%+v", ill)
			}
			l.session("t1", "door", "")
			l.heard("session t1 ok", "verdict undecided off allow n-t1")
		},
		"a file that goes while a session runs": func(t *testing.T, l *lobby) {
			id, bank := l.session("t1", "door", ""), l.session("t2", "bank", "")
			if err := l.desk.store.Close(); err != nil {
				t.Fatal(err)
			}
			l.said = nil
			l.desk.decided(id, l.judged(mqtt.Live))
			l.desk.decided(bank, l.judged(mqtt.Spoof))
			l.session("t3", "bank", "")
			l.session("t4", "door", "")
			l.session("t4", "door", "")
			l.heard("verdict undecided PROCESSING_ERR deny n-t1", "verdict spoof PAD_ATTACK deny n-t2", "session t3 error PROCESSING_ERR", "session t4 error PROCESSING_ERR",
				"session t4 error PROCESSING_ERR")
		},
		"a damaged file": func(t *testing.T, l *lobby) {
			if err := l.desk.shut(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(l.path, []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
			l.start()
			l.session("t1", "bank", `,"subject":"u1"`)
			l.session("t2", "door", "")
			l.ask(mqtt.VerbUnlock, `{"transaction":"t3","all":true}`)
			l.session("t4", "bank", `,"subject":"u1"`)
			l.heard("session t1 error LOCKED_OUT 15m0s", "session t2 ok", "unlock t3 ok 0", "session t4 ok")
		},
		"info": func(t *testing.T, l *lobby) {
			l.ask(mqtt.VerbInfo, `{"transaction":"t1"}`)
			l.heard("info t1 ok")
			if i := l.responses[0].Info; i == nil || i.Device != "door-7" {
				t.Errorf("%+v", i)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, newLobby(t)) })
	}
}

func TestAnswersThatNobodyTakesAreBounded(t *testing.T) {
	l := newLobby(t)
	for i := range maxAnswers + 10 {
		l.wait(time.Second)
		l.session(fmt.Sprint("t", i), "canteen", "")
	}
	l.verdicts = nil
	l.kill()
	if len(l.verdicts) != maxAnswers || len(l.desk.answers) != maxAnswers {
		t.Errorf("%d answers come again", len(l.verdicts))
	}
}

func TestHowStrictApplicationsAre(t *testing.T) {
	base := decision.Defaults()
	base.LiveAt, base.SpoofAt = 0.8, 0.4
	of := func(s config.Strictness) config.Application {
		a := config.DefaultApplication()
		a.Thresholds.Authentication = s
		return a
	}
	normal := demand(of(config.Strictness{Level: config.Normal}), session.Authentication, base)
	if normal != (decision.Demand{MinTime: base.MinTime}) {
		t.Errorf("%+v", normal)
	}
	strict := demand(of(config.Strictness{Level: config.Normal}), session.Enrollment, base)
	if strict.LiveAt <= base.LiveAt || strict.LiveAt >= 1 || strict.AcceptError >= base.AcceptError || strict.MinFrames <= base.MinFrames || strict.MinTime <= base.MinTime {
		t.Errorf("enrollment is %+v", strict)
	}
	relaxed := demand(of(config.Strictness{Level: config.Relaxed}), session.Authentication, base)
	if relaxed.LiveAt >= base.LiveAt || relaxed.LiveAt <= base.SpoofAt || relaxed.AcceptError <= base.AcceptError {
		t.Errorf("%+v", relaxed)
	}
	if got := demand(of(config.Strictness{LiveAt: 0.7, SpoofAt: 0.1}), session.Authentication, base); got.LiveAt != 0.7 || got.SpoofAt != 0.1 {
		t.Errorf("%+v", got)
	}
	for _, want := range []decision.Demand{normal, strict, relaxed} {
		d, err := decision.New(base)
		if err != nil {
			t.Fatal(err)
		}
		want.Timeout = 8 * time.Second
		if err := d.Ask(time.Now(), want); err != nil {
			t.Errorf("%+v: %v", want, err)
		}
	}
}

func TestHostsCanReadWhatTheDeskKeeps(t *testing.T) {
	l := newLobby(t)
	id := l.session("t1", "door", `,"subject":"u1","timeout":"9s"`)
	var kept session.Session
	if err := l.desk.store.View(func(tx *store.Tx) error {
		v, err := tx.Get(sessionsBucket, id)
		return errors.Join(err, json.Unmarshal(v, &kept))
	}); err != nil {
		t.Fatal(err)
	}
	if kept.Subject != "u1" || !kept.Deadline.Equal(l.now.Add(9*time.Second)) || kept.Camera != "front" {
		t.Errorf("%+v", kept)
	}
}

func FuzzHear(f *testing.F) {
	for _, s := range []string{"", "null", `{"transaction":"t","application":"door","purpose":"authentication"}`, `{"transaction":"t","all":true}`, `{"transaction":"t"}`,
		`{"authentication":false}`, `{"transaction":"t","session":"s"}`, `{"transaction":"t","application":"bank","purpose":"enrollment","subject":"\u0000","timeout":"0ms"}`} {
		for verb := range byte(8) {
			f.Add(verb, []byte(s), verb%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, verb byte, payload []byte, retained bool) {
		l := newLobby(t) // which checks what is said
		a := mqtt.Asked{Payload: payload, Retained: retained}
		switch verbs := mqtt.Verbs(); {
		case int(verb) < len(verbs):
			a.Verb = verbs[verb]
		case int(verb) == len(verbs):
			a.Verb = "tea"
		default:
			a.Application = "door"
		}
		l.desk.hear(a)
		if retained && (len(l.verdicts) > 0 || l.desk.turn("front") != nil || !l.desk.switches["door"].Authentication) {
			t.Errorf("what was retained changes something: %v", l.said)
		}
		if known := int(verb) < len(mqtt.Verbs()); known != (len(l.responses) == 1) {
			t.Errorf("%d responses", len(l.responses))
		}
		for _, v := range l.verdicts {
			if v.Action == mqtt.Allow && v.Liveness != mqtt.LivenessOff {
				t.Errorf("%+v", v)
			}
		}
	})
}
