package mqtt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt/sign"
)

// bench is an inspector with a clock, and devices that speak to it.
type bench struct {
	t  testing.TB
	in *inspector
	at time.Time
}

func newBench(t testing.TB, o SubscriberOptions) *bench {
	o.Prefix, o.Overdue, o.Unsigned = DefaultPrefix, 30*time.Second, 5*time.Second
	if o.MaxDevices == 0 {
		o.MaxDevices = 10
	}
	b := &bench{t: t, in: newInspector(o), at: decidedAt()}
	return b
}

// say is what becomes of a message.
func (b *bench) say(topic string, payload []byte) []Event {
	return b.hear(Received{Topic: "livenessd/" + topic, Payload: payload})
}

func (b *bench) hear(m Received) []Event {
	b.in.at(b.at)
	b.in.take(m)
	return b.in.out
}

// after is what is told when time has passed.
func (b *bench) after(d time.Duration) []Event {
	b.at = b.at.Add(d)
	b.in.at(b.at)
	b.in.tick()
	return b.in.out
}

func (b *bench) connection(up bool) {
	b.in.at(b.at)
	b.in.connection(Connection{Connected: up})
}

func document(t testing.TB, v Verdict) []byte {
	t.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// at is a live verdict of a run.
func at(seq uint64, change ...func(*Verdict)) Verdict {
	v := liveVerdict()
	v.Seq = seq
	for _, c := range change {
		c(&v)
	}
	return v
}

func late(v *Verdict) { v.Replayed = true }
func bootOf(boot string) func(*Verdict) {
	return func(v *Verdict) { v.Boot = boot }
}
func camera(name string) func(*Verdict) { return func(v *Verdict) { v.Camera = name } }
func nonce(n string) func(*Verdict) {
	return func(v *Verdict) {
		v.Session = &Session{ID: "s-" + n, Application: "staff-door", Purpose: Authentication, Nonce: n}
	}
}

// brief is events as a test writes them.
func brief(events []Event) string {
	var all []string
	for _, e := range events {
		switch {
		case e.Verdict != nil:
			s := fmt.Sprintf("%d %s", e.Verdict.Verdict.Seq, e.Verdict.Act)
			if e.Verdict.Late != "" {
				s += " late: " + string(e.Verdict.Late)
			}
			if e.Verdict.Older {
				s += " older"
			}
			all = append(all, s)
		case e.Refused != nil:
			all = append(all, "refused: "+string(e.Refused.Why))
		case e.Gap != nil:
			s := "missing"
			if e.Gap.Announced != nil {
				s = "announced"
			}
			if e.Gap.Away {
				s = "missing while away"
			}
			for _, r := range e.Gap.Ranges {
				s += fmt.Sprintf(" %d-%d", r.First, r.Last)
			}
			all = append(all, s)
		case e.Availability != "":
			all = append(all, e.Availability)
		case e.State != nil:
			all = append(all, e.Camera+" "+e.State.State)
		case e.Info != nil:
			all = append(all, "info")
		case e.Hint != nil:
			all = append(all, "hint "+e.Hint.Hint)
		}
	}
	return strings.Join(all, ", ")
}

func (b *bench) want(what string, got []Event, want string) {
	b.t.Helper()
	if s := brief(got); s != want {
		b.t.Errorf("%s: %q, want %q", what, s, want)
	}
}

// verdict is a verdict on its topic.
func (b *bench) verdict(v Verdict) []Event {
	return b.say("door-7/camera/"+v.Camera+"/verdict", document(b.t, v))
}

func TestAVerdictComesOnce(t *testing.T) {
	b := newBench(t, SubscriberOptions{})
	b.want("first", b.verdict(at(5)), "5 allow")
	b.want("again", b.verdict(at(5)), "")
	b.want("its late form", b.verdict(at(5, late)), "")
	spoof := spoofVerdict()
	spoof.Seq = 6
	doc := document(t, spoof)
	b.want("an attack", b.say("door-7/camera/front/verdict", doc), "6 deny")
	b.want("its copy for attacks", b.say("door-7/camera/front/attack", doc), "")
	b.want("its copy for the session", b.say("door-7/session/"+spoof.Session.ID, doc), "")
	b.want("another under its number", b.verdict(at(6)), "refused: altered")
	b.want("one of before", b.verdict(at(2)), "2 deny older")
	b.want("that again", b.verdict(at(2)), "")
	if s := b.in.stats; s.Accepted != 3 || s.Duplicates != 3 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

func TestNobodyActsOnWhatIsLate(t *testing.T) {
	for name, test := range map[string]struct {
		apart time.Duration // the subscriber's clock from the decision
		late  bool
		want  string
	}{
		"at once":                            {0, false, "1 allow"},
		"just in time":                       {5 * time.Second, false, "1 allow"},
		"too late":                           {5*time.Second + time.Millisecond, false, "1 deny late: expired"},
		"a clock that is a little behind":    {-30 * time.Second, false, "1 allow"},
		"a clock that is far behind":         {-31 * time.Second, false, "1 deny late: clock"},
		"late by its own word":               {0, true, "1 deny late: replayed"},
		"late, on a clock that is not right": {-time.Hour, true, "1 deny late: replayed"},
	} {
		b := newBench(t, SubscriberOptions{})
		b.at = decidedAt().Add(test.apart)
		b.want(name, b.verdict(at(1, func(v *Verdict) { v.Replayed = test.late })), test.want)
	}
}

func TestAnOlderAnswerOfACameraIsNotForActing(t *testing.T) {
	const first, second = "01978c3a-0000-7000-8000-000000000001", "01978c3b-0000-7000-8000-000000000001"
	b := newBench(t, SubscriberOptions{})
	b.want("one", b.verdict(at(2)), "2 allow")
	b.want("of another camera", b.verdict(at(1, camera("back"))), "1 allow")
	b.want("newer", b.verdict(at(4)), "4 allow")
	b.want("older", b.verdict(at(3)), "3 deny older")
	b.want("an answer in the same moment", b.verdict(at(6)), "6 allow")
	b.want("of a session", b.verdict(at(5, nonce("n"))), "5 allow")
	b.want("of a new run", b.verdict(at(1, bootOf(second))), "1 allow")
	b.want("of the run before", b.verdict(at(7, bootOf(first))), "7 deny older")
	b.want("of the new run", b.verdict(at(2, bootOf(second))), "2 allow")
	b.want("names that tell nothing", b.verdict(at(1, bootOf("x"))), "1 allow")
	b.want("the one before it", b.verdict(at(3, bootOf(second))), "3 deny older")
}

func TestMissingNumbersAreTold(t *testing.T) {
	b := newBench(t, SubscriberOptions{})
	b.connection(true)
	b.want("the first that is heard of", b.verdict(at(10)), "10 allow")
	b.want("a while later", b.after(time.Minute), "")
	b.verdict(at(11))
	b.verdict(at(15))
	b.verdict(at(17))
	b.want("too early to tell", b.after(29*time.Second), "")
	b.want("one comes after all", b.verdict(at(13, late)), "13 deny late: replayed")
	b.want("so that the rest may, too", b.after(29*time.Second), "")
	b.want("it didn't", b.after(time.Second), "missing 12-12 14-14 16-16")
	b.want("it is told once", b.after(time.Hour), "")
	b.want("what was given up may come", b.verdict(at(14, late)), "14 deny late: replayed")
	b.want("and again it is the same", b.verdict(at(14, late)), "")
	b.want("no more is missing", b.after(time.Hour), "")
}

func TestWhatIsAnnouncedIsNotMissing(t *testing.T) {
	boot := liveVerdict().Boot
	b := newBench(t, SubscriberOptions{})
	b.connection(true)
	b.verdict(at(1))
	gap := func(g Gap) []byte {
		g.Schema, g.Device, g.Reason = 1, "door-7", GapCount
		doc, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	b.want("before its neighbours", b.say("door-7/gap", gap(Gap{Boot: &boot, Ranges: []SeqRange{{3, 5}, {8, 9}}, Exact: true, Verdicts: 5})), "announced 3-5 8-9")
	b.verdict(at(10))
	b.want("the others", b.after(time.Minute), "missing 2-2 6-7")
	b.verdict(at(20))
	b.want("behind its neighbours", b.say("door-7/gap", gap(Gap{Boot: &boot, Ranges: []SeqRange{{10, 14}, {16, 30}}, Verdicts: 9})), "announced 10-14 16-30")
	b.want("what it leaves", b.after(time.Minute), "missing 15-15")
	b.want("one that came all the same", b.verdict(at(4, late)), "4 deny late: replayed")
	b.verdict(at(40))
	b.want("of nobody knows what", b.say("door-7/gap", gap(Gap{Ranges: []SeqRange{}, Reason: GapDamaged})), "announced")
	b.want("which may be all that is missing", b.after(time.Minute), "")
	b.want("of another device", b.say("door-8/gap", gap(Gap{Boot: &boot, Ranges: []SeqRange{}})), "refused: malformed")
	b.want("retained", b.hear(Received{Topic: "livenessd/door-7/gap", Payload: gap(Gap{Boot: &boot}), Retained: true}), "refused: retained")
}

func TestANewRunBeginsAtOne(t *testing.T) {
	b := newBench(t, SubscriberOptions{})
	b.connection(true)
	b.verdict(at(5))
	b.want("of a newer run", b.verdict(at(3, bootOf("01978c3b-0000-7000-8000-000000000001"))), "3 allow")
	b.want("what came before", b.after(time.Minute), "missing 1-2")
	b.want("of an older run", b.verdict(at(3, late, bootOf("01978c39-0000-7000-8000-000000000001"))), "3 deny late: replayed")
	b.want("nobody knows", b.after(time.Minute), "")
}

func TestNothingIsMissedWhileItCannotCome(t *testing.T) {
	b := newBench(t, SubscriberOptions{})
	b.connection(true)
	b.verdict(at(1))
	b.verdict(at(3))
	b.want("gone", b.say("door-7/availability", []byte(Offline)), "offline")
	b.want("while the device is gone", b.after(time.Hour), "")
	b.want("back", b.say("door-7/availability", []byte(Online)), "online")
	b.want("right after it came back", b.after(29*time.Second), "")
	b.connection(false)
	b.want("while the subscriber is gone", b.after(time.Hour), "")
	b.connection(true)
	b.verdict(at(6, func(v *Verdict) { v.ExpiresAt = Time(b.at) }))
	b.want("of before, and of meanwhile", b.after(30*time.Second), "missing 2-2, missing while away 4-5")
	b.verdict(at(8))
	b.want("of after", b.after(30*time.Second), "missing 7-7")
}

func TestSignaturesCount(t *testing.T) {
	key, other, old := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	replaced := old.Public()
	replaced.Until = decidedAt().Add(-time.Second)
	o := SubscriberOptions{Keys: map[string][]sign.Public{"door-7": {key.Public(), replaced}, "door-8": {other.Public()}}}
	jws := func(k *sign.Key, v Verdict) []byte {
		out, err := k.Sign(document(t, v))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const topic = "door-7/verdict/jws"
	t.Run("a signed verdict with its copies", func(t *testing.T) {
		b := newBench(t, o)
		v := spoofVerdict()
		v.Seq = 1
		e := b.say(topic, jws(key, v))
		b.want("signed", e, "1 deny")
		if e[0].Verdict.Key != key.Public().ID {
			t.Errorf("signed by %s", e[0].Verdict.Key)
		}
		for _, copy := range []string{"camera/front/verdict", "camera/front/attack", "session/" + v.Session.ID} {
			b.want(copy, b.say("door-7/"+copy, document(t, v)), "")
		}
		b.want("again", b.say(topic, jws(key, v)), "")
		b.want("a while later", b.after(time.Minute), "")
		forged := at(1)
		b.want("altered", b.verdict(forged), "refused: altered")
	})
	t.Run("its copies first", func(t *testing.T) {
		b := newBench(t, o)
		b.want("the copy", b.verdict(at(1)), "")
		forged := at(1, func(v *Verdict) { v.LatencyMS++ })
		b.want("another", b.verdict(forged), "")
		b.after(4 * time.Second)
		b.want("the signed one", b.say(topic, jws(key, at(1))), "refused: altered, 1 allow")
		b.want("a while later", b.after(time.Minute), "")
	})
	t.Run("no signature comes", func(t *testing.T) {
		b := newBench(t, o)
		b.want("at once", b.verdict(at(1)), "")
		b.want("its copy", b.verdict(at(1)), "")
		b.want("soon", b.after(4*time.Second), "")
		b.want("in the end", b.after(time.Second), "refused: unsigned")
		b.want("once", b.after(time.Minute), "")
		for n := range uint64(maxUnsigned) {
			b.verdict(at(n + 2))
		}
		b.want("more than may wait", b.verdict(at(100)), "refused: unsigned")
	})
	t.Run("wrong ones", func(t *testing.T) {
		b := newBench(t, o)
		good := jws(key, at(1))
		altered := bytes.Clone(good)
		altered[len(altered)/2] ^= 1
		b.want("altered", b.say(topic, altered), "refused: signature")
		b.want("another's key", b.say(topic, jws(other, at(1))), "refused: key")
		b.want("a replaced key", b.say(topic, jws(old, at(1))), "refused: key")
		b.want("nonsense", b.say(topic, []byte("x")), "refused: malformed")
		b.want("no verdict", b.say(topic, func() []byte { out, _ := key.Sign([]byte("{}")); return out }()), "refused: malformed")
		b.want("retained", b.hear(Received{Topic: "livenessd/" + topic, Payload: good, Retained: true}), "refused: retained")
		b.want("on another's topic", b.say("door-8/verdict/jws", good), "refused: key")
		b.want("by door-8 in the name of door-7", b.say("door-8/verdict/jws", jws(other, at(1))), "refused: topic")
		b.want("a device without a key", b.say("door-9/verdict/jws", good), "refused: key")
		b.want("its plain verdict", b.say("door-9/camera/front/verdict", document(t, at(1))), "refused: key")
		b.want("the good one, after all that", b.say(topic, good), "1 allow")
	})
	t.Run("what the replaced key signed in its time", func(t *testing.T) {
		b := newBench(t, o)
		v := at(1, func(v *Verdict) {
			v.DecidedAt, v.CapturedAt = Time(decidedAt().Add(-time.Hour)), Time(decidedAt().Add(-time.Hour))
			v.ExpiresAt = v.DecidedAt
		})
		b.want("late", b.say(topic, jws(old, v)), "1 deny late: expired")
	})
}

func TestAnswersHaveTheNonceThatIsExpected(t *testing.T) {
	b := newBench(t, SubscriberOptions{Expecting: true})
	expect := func(n string, d time.Duration) {
		t.Helper()
		until := time.Time{}
		if d != 0 {
			until = b.at.Add(d)
		}
		if err := b.in.expect(n, until); err != nil {
			t.Fatal(err)
		}
	}
	expect("n-2", 0)
	b.want("old", b.verdict(at(1, nonce("n-1"))), "refused: nonce")
	b.want("none", b.verdict(at(2, nonce(""))), "refused: nonce")
	b.want("the one", b.verdict(at(3, nonce("n-2"))), "3 allow")
	b.want("the one, again", b.verdict(at(4, nonce("n-2"))), "refused: nonce")
	b.want("no session", b.verdict(at(5)), "5 deny")
	expect("n-3", time.Second)
	b.after(2 * time.Second)
	b.want("too late", b.verdict(at(6, nonce("n-3"))), "refused: nonce")
	if b.in.expect("", time.Time{}) == nil {
		t.Error("an empty nonce is expected")
	}
	for n := range maxNonces {
		_ = b.in.expect(fmt.Sprint("x", n), b.at)
	}
	if err := b.in.expect("one more", time.Time{}); err == nil || len(b.in.nonces) > maxNonces {
		t.Errorf("%d nonces, %v", len(b.in.nonces), err)
	}
	b.after(time.Hour)
	if len(b.in.nonces) != 0 {
		t.Errorf("%d nonces are still expected", len(b.in.nonces))
	}
}

func TestMessagesAreOfTheirTopic(t *testing.T) {
	b := newBench(t, SubscriberOptions{})
	v, state := document(t, at(1)), []byte(`{"schema":1,"state":"streaming","since":null}`)
	hint := []byte(`{"schema":1,"session":"s1","camera":"front","code":"TOO_DARK","hint":"too dark","at":"2026-01-02T03:04:05.678Z"}`)
	for _, test := range []struct {
		topic   string
		payload []byte
		want    string
	}{
		{"door-8/camera/front/verdict", v, "refused: topic"},
		{"door-7/camera/back/verdict", v, "refused: topic"},
		{"door-7/camera/front/attack", v, "refused: topic"},
		{"door-7/session/s1", v, "refused: topic"},
		{"door-7/camera/front/verdict", v[:len(v)-1], "refused: malformed"},
		{"door-7/camera/front/verdict", []byte("{}"), "refused: malformed"},
		{"door-7/availability", []byte("ONLINE"), "refused: malformed"},
		{"door-7/availability", []byte("online"), "online"},
		{"door-7/camera/front/state", state, "front streaming"},
		{"door-7/camera/front/state", []byte(`{"schema":1,"state":"asleep"}`), "refused: malformed"},
		{"door-7/info", []byte(`{"schema":1,"device":"door-7"}`), "info"},
		{"door-7/info", []byte(`{"schema":1,"device":"door-8"}`), "refused: malformed"},
		{"door-7/session/s1", hint, "hint too dark"},
		{"door-7/session/s2", hint, "refused: malformed"},
		{"door-7/gap", []byte("[]"), "refused: malformed"},
		{"door-7/verdict/jws", []byte("x"), ""}, // without keys nobody looks at it
		{"door-7/request/session", []byte("x"), ""},
		{"door-7", []byte("x"), ""},
		{"door-7/camera/front/verdict", v, "1 allow"},
	} {
		b.want(test.topic, b.say(test.topic, test.payload), test.want)
	}
	b.want("retained", b.hear(Received{Topic: "livenessd/door-7/camera/front/verdict", Payload: document(t, at(2)), Retained: true}), "refused: retained")
	b.want("another prefix", b.hear(Received{Topic: "house/door-7/camera/front/verdict", Payload: document(t, at(2))}), "")
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	b := newBench(t, SubscriberOptions{MaxDevices: 3})
	for n := range 100 {
		b.say(fmt.Sprintf("door-%d/availability", n), []byte("online"))
	}
	if len(b.in.devices) != 3 || b.in.stats.Forgotten != 97 {
		t.Errorf("%d devices, %+v", len(b.in.devices), b.in.stats)
	}
	b = newBench(t, SubscriberOptions{})
	for n := range 100 {
		b.verdict(at(1, bootOf(fmt.Sprint("boot", n))))
		b.verdict(at(1, bootOf("kept")))
	}
	w := b.in.devices["door-7"]
	if len(w.runs) != maxRuns || w.run("kept") == nil || b.in.stats.Accepted != 101 || len(w.copies) > maxCopies || len(w.order) != len(w.copies) {
		t.Errorf("%d runs, %d copies, %+v", len(w.runs), len(w.copies), b.in.stats)
	}
	for n := range 100 {
		b.verdict(at(3, camera(fmt.Sprint("c", n)), bootOf("kept")))
	}
	if n := len(w.run("kept").cameras); n > maxCameras {
		t.Errorf("%d cameras", n)
	}
	// Gaps of runs that nobody heard of push none out that has verdicts.
	for n := range 100 {
		boot := fmt.Sprint("gap", n)
		doc, err := json.Marshal(Gap{Schema: 1, Device: "door-7", Boot: &boot, Ranges: []SeqRange{{1, 2}}, Reason: GapCount})
		if err != nil {
			t.Fatal(err)
		}
		b.say("door-7/gap", doc)
	}
	if w.run("kept") == nil || len(w.runs) != maxRuns {
		t.Errorf("%d runs", len(w.runs))
	}

	b = newBench(t, SubscriberOptions{})
	missing := 0
	for n := range uint64(2 * maxSpans) {
		for _, e := range b.verdict(at(2*n + 1)) {
			if e.Gap != nil {
				missing++
			}
		}
	}
	r := b.in.devices["door-7"].run(liveVerdict().Boot)
	if len(r.spans) != maxSpans || missing != maxSpans-1 {
		t.Errorf("%d spans, %d were told", len(r.spans), missing)
	}
	b.want("of which nobody knows any more", b.verdict(at(4, late)), "refused: forgotten")
	b.want("of which it is known", b.verdict(at(4*maxSpans-2, late)), fmt.Sprintf("%d deny late: replayed", 4*maxSpans-2))
}

func TestNumbersAtTheirEnd(t *testing.T) {
	b := newBench(t, SubscriberOptions{})
	boot := liveVerdict().Boot
	doc := fmt.Appendf(nil, `{"schema":1,"device":"door-7","boot":%q,"ranges":[{"first":1,"last":%d}],"exact":true,"verdicts":1,"spoofs":0,"reason":"count"}`,
		boot, uint64(math.MaxUint64))
	b.want("all", b.say("door-7/gap", doc), fmt.Sprintf("announced 1-%d", uint64(math.MaxUint64)))
	b.want("the last", b.verdict(at(math.MaxUint64)), fmt.Sprintf("%d allow", uint64(math.MaxUint64)))
	b.want("the last again", b.verdict(at(math.MaxUint64)), "")
	b.want("the first", b.verdict(at(1)), "1 deny older")
	b.want("all again", b.say("door-7/gap", doc), fmt.Sprintf("announced 1-%d", uint64(math.MaxUint64)))
	b.want("the end", b.after(time.Hour), "")
}

// TestEveryNumberComesOnceOrIsTold plays what a device and a network may do: numbers that are lost, some of them announced, others late, all
// perhaps twice.
func TestEveryNumberComesOnceOrIsTold(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t, SubscriberOptions{})
		b.connection(true)
		const count = 150
		var fresh, backlog []Verdict
		lost, announced := map[uint64]bool{}, map[uint64]bool{}
		for seq := uint64(1); seq <= count; seq++ {
			v := at(seq, camera([]string{"front", "back"}[random.IntN(2)]), func(v *Verdict) { v.ExpiresAt = Time(decidedAt().Add(24 * time.Hour)) })
			switch p := random.IntN(10); {
			case seq == 1 || seq == count || p < 6:
				fresh = append(fresh, v)
			case p < 8:
				v.Replayed = true
				backlog = append(backlog, v)
			case p < 9:
				lost[seq] = true
			default:
				announced[seq] = true
			}
		}
		came, missing := map[uint64]int{}, map[uint64]bool{}
		take := func(events []Event) {
			for _, e := range events {
				switch {
				case e.Verdict != nil:
					came[e.Verdict.Verdict.Seq]++
				case e.Refused != nil:
					t.Fatalf("seed %d: %v", seed, e.Refused.Err)
				case e.Gap != nil && e.Gap.Announced == nil:
					for _, r := range e.Gap.Ranges {
						for n := r.First; n <= r.Last; n++ {
							if missing[n] {
								t.Errorf("seed %d: %d is missing twice", seed, n)
							}
							missing[n] = true
						}
					}
				}
			}
		}
		g := Gap{Schema: 1, Device: "door-7", Boot: ptr(liveVerdict().Boot), Reason: GapCount}
		for n := range announced {
			g.add(n)
		}
		doc, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		first := fresh[0]
		take(b.verdict(first))
		steps := append(fresh[1:], backlog...)
		told := random.IntN(len(steps))
		for i, v := range steps {
			if i == told {
				take(b.say("door-7/gap", doc))
			}
			take(b.verdict(v))
			if random.IntN(5) == 0 {
				take(b.verdict(steps[random.IntN(i+1)]))
			}
			take(b.after(time.Duration(random.IntN(100)) * time.Millisecond))
		}
		take(b.after(time.Hour))
		if !slices.Equal(keys(missing), keys(lost)) {
			t.Errorf("seed %d: missing %v, lost %v", seed, keys(missing), keys(lost))
		}
		for seq := uint64(1); seq <= count; seq++ {
			want := 1
			if lost[seq] || announced[seq] {
				want = 0
			}
			if came[seq] != want {
				t.Errorf("seed %d: %d came %d times, not %d", seed, seq, came[seq], want)
			}
		}
	}
}

func keys(m map[uint64]bool) []uint64 {
	var all []uint64
	for n := range m {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// FuzzInspector lets messages come in any order: lines of topic, space, payload; a line of digits alone is seconds that pass.
func FuzzInspector(f *testing.F) {
	k := testKey(f, 1)
	v := document(f, at(3))
	jws, err := k.Sign(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fmt.Appendf(nil, "door-7/verdict/jws %s\ndoor-7/camera/front/verdict %s\n60\ndoor-7/camera/front/verdict %s", jws, v, document(f, at(9))), true)
	f.Add(fmt.Appendf(nil, "door-7/camera/front/verdict %s\ndoor-7/camera/front/verdict %s\n40", v, document(f, at(math.MaxUint64))), false)
	f.Add([]byte(`door-7/gap {"schema":1,"device":"door-7","boot":"b","ranges":[{"first":1,"last":18446744073709551615}],"exact":false,"verdicts":3,"spoofs":0,"reason":"count"}`), false)
	f.Add([]byte("door-7/availability offline\ndoor-7/info {}\ndoor-7/session/x {}\ndoor-7/camera/c/state {}"), false)
	f.Fuzz(func(t *testing.T, script []byte, signed bool) {
		o := SubscriberOptions{Expecting: len(script)%2 == 0}
		if signed {
			o.Keys = map[string][]sign.Public{"door-7": {k.Public()}}
		}
		b := newBench(t, o)
		for line := range bytes.Lines(script) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			var seconds uint16
			var events []Event
			if topic, payload, ok := bytes.Cut(line, []byte(" ")); ok {
				events = b.say(string(topic), payload)
			} else if _, err := fmt.Sscan(string(line), &seconds); err == nil {
				events = b.after(time.Duration(seconds) * time.Second)
			}
			for _, e := range events {
				a := e.Verdict
				if a == nil {
					continue
				}
				if (signed && a.Key != k.Public().ID) || a.Act == Allow && (a.Late != "" || a.Older || a.Verdict.Action != Allow) {
					t.Errorf("%+v", a)
				}
			}
		}
		for _, w := range b.in.devices {
			for _, r := range w.runs {
				last := uint64(0)
				for _, s := range r.spans {
					if s.first <= last || s.last < s.first || s.last > r.top {
						t.Fatalf("%+v", r.numbers)
					}
					last = s.last
				}
			}
		}
	})
}

func FuzzParseStates(f *testing.F) {
	f.Add([]byte(`{"schema":1,"state":"streaming","since":null}`))
	f.Add([]byte(`{"schema":1,"device":"door-7","keys":[{"kty":"OKP"}]}`))
	f.Add([]byte(`{"schema":1,"session":"s1","camera":"front","code":"TOO_DARK","hint":"too dark","at":"2026-01-02T03:04:05.678Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseCameraState(b); err == nil && s.Check() != nil {
			t.Errorf("%+v", s)
		}
		if h, err := ParseHint(b); err == nil && h.Check() != nil {
			t.Errorf("%+v", h)
		}
		if i, err := ParseInfo(b); err == nil && i.Schema != 1 {
			t.Errorf("%+v", i)
		}
	})
}

// BenchmarkInspector judges a verdict of each of 1000 devices in turn, as it comes in all its forms.
func BenchmarkInspector(b *testing.B) {
	k := testKey(b, 1)
	const devices = 1000
	for name, keys := range map[string]map[string][]sign.Public{"plain": nil, "signed": {}} {
		b.Run(name, func(b *testing.B) {
			for n := range devices {
				if keys != nil {
					keys[fmt.Sprint("door-", n)] = []sign.Public{k.Public()}
				}
			}
			in := newBench(b, SubscriberOptions{Keys: keys, MaxDevices: devices})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				v := at(uint64(n/devices)+1, func(v *Verdict) { v.Device = fmt.Sprint("door-", n%devices) })
				doc := document(b, v)
				jws, err := k.Sign(doc)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				in.say(v.Device+"/verdict/jws", jws)
				in.say(v.Device+"/camera/front/verdict", doc)
				n++
			}
			if s := in.in.stats; s.Accepted != uint64(n) || s.Refused+s.Missing > 0 {
				b.Fatalf("%d verdicts, %+v", n, s)
			}
		})
	}
}
