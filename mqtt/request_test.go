package mqtt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// parsers are the readers of what hosts send, by the schema of the document.
func parsers() map[string]func([]byte) (any, error) {
	return map[string]func([]byte) (any, error){
		"request-session.json": func(b []byte) (any, error) { return ParseSessionRequest(b) },
		"request-cancel.json":  func(b []byte) (any, error) { return ParseCancelRequest(b) },
		"request-ping.json":    func(b []byte) (any, error) { return ParsePlainRequest(b) },
		"request-unlock.json":  func(b []byte) (any, error) { return ParseUnlockRequest(b) },
		"switches-set.json":    func(b []byte) (any, error) { return ParseSwitchRequest(b) },
	}
}

func TestRequestsAreRead(t *testing.T) {
	for _, tt := range []struct {
		schema, text string
		want         any
	}{
		{"request-session.json", `{"transaction":"t1","application":"staff-door","purpose":"authentication","subject":"u1","nonce":"n-123","timeout":"8s"}`,
			SessionRequest{Transaction: "t1", Application: "staff-door", Purpose: Authentication, Subject: "u1", Nonce: "n-123", Timeout: Duration(8 * time.Second)}},
		{"request-session.json", ` {"camera":"front", "transaction":"t", "application":"a", "purpose":"enrollment", "timeout":"1500ms", "sent_at":"2026-01-02T04:04:06.09+01:00"} `,
			SessionRequest{Transaction: "t", Application: "a", Purpose: Enrollment, Camera: "front", Timeout: Duration(1500 * time.Millisecond), SentAt: Time(decidedAt())}},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"tea"}`, SessionRequest{Transaction: "t", Application: "a", Purpose: "tea"}},
		{"request-cancel.json", `{"transaction":"t","session":"s"}`, CancelRequest{Transaction: "t", Session: "s"}},
		{"request-ping.json", `{"transaction":"ä"}`, PlainRequest{Transaction: "ä"}},
		{"request-unlock.json", `{"transaction":"t","subject":"u1","application":"a"}`, UnlockRequest{Transaction: "t", Subject: "u1", Application: "a"}},
		{"request-unlock.json", `{"transaction":"t","all":true}`, UnlockRequest{Transaction: "t", All: true}},
		{"switches-set.json", `{"enrollment":false}`, SwitchRequest{Enrollment: ptr(false)}},
	} {
		got, err := parsers()[tt.schema]([]byte(tt.text))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v", tt.text, got, err)
		}
	}
}

func TestRequestsThatAreWrongAreRefusedWithAReason(t *testing.T) {
	d := described(t)
	long := strings.Repeat("x", 257)
	// beyond is what a schema can't know: how JSON is written, how long it is, and a control character.
	for _, tt := range []struct {
		schema, text string
		why          string
		beyond       bool
	}{
		{"request-session.json", ``, "unexpected end", true},
		{"request-session.json", `{"transaction":"t"`, "unexpected", true},
		{"request-session.json", `{"transaction":"t"}{}`, "invalid character", true},
		{"request-session.json", `null`, "null", false},
		{"request-session.json", `[]`, "cannot unmarshal", false},
		{"request-session.json", `"t"`, "cannot unmarshal", false},
		{"request-session.json", "{\"transaction\":\"\xff\"}", "UTF-8", true},
		{"request-session.json", `{"transaction":"t","transaction":"u","application":"a","purpose":"enrollment"}`, `"transaction" twice`, true},
		{"request-session.json", `{"transaction":"t","purpose":"enrollment","application":"a","Application":"b"}`, `"Application" twice`, false},
		{"request-session.json", `{"transaction":"t","Application":"a","purpose":"enrollment"}`, `unknown member "Application"`, false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","timout":"8s"}`, `unknown member "timout"`, false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","nonce":null}`, `"nonce" is null`, false},
		{"request-session.json", `{"application":"a","purpose":"enrollment"}`, `no member "transaction"`, false},
		{"request-session.json", `{"transaction":"","application":"a","purpose":"enrollment"}`, `no member "transaction"`, false},
		{"request-session.json", `{"transaction":"t","purpose":"enrollment"}`, "application name", false},
		{"request-session.json", `{"transaction":"t","application":"a"}`, `no member "purpose"`, false},
		{"request-session.json", `{"transaction":7,"application":"a","purpose":"enrollment"}`, "cannot unmarshal number", false},
		{"request-session.json", `{"transaction":"t","application":"a/b","purpose":"enrollment"}`, "application name", false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","camera":"+"}`, "camera name", false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","subject":"` + long + `"}`, "subject is longer than 256", false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","nonce":"` + long + `"}`, "nonce is longer than 256", false},
		{"request-session.json", `{"transaction":"` + long + `","application":"a","purpose":"enrollment"}`, "transaction is longer than 128", false},
		{"request-session.json", `{"transaction":"t\n","application":"a","purpose":"enrollment"}`, "control character", true},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","timeout":8}`, "cannot unmarshal number", false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","timeout":"8"}`, "whole number with its unit", false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","timeout":"-8s"}`, "whole number with its unit", false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","timeout":"99999999m"}`, "whole number with its unit", false},
		{"request-session.json", `{"transaction":"t","application":"a","purpose":"enrollment","sent_at":"yesterday"}`, "read a time", false},
		{"request-session.json", strings.Repeat(" ", maxRequest) + `{}`, "more than", true},
		{"request-session.json", strings.Repeat("[", 1000), "levels deep", true},
		{"request-cancel.json", `{"transaction":"t"}`, "session name", false},
		{"request-cancel.json", `{"transaction":"t","session":"a/#"}`, "session name", false},
		{"request-ping.json", `{}`, `no member "transaction"`, false},
		{"request-ping.json", `{"transaction":"t","session":"s"}`, "unknown member", false},
		{"request-unlock.json", `{"transaction":"t"}`, "one of", false},
		{"request-unlock.json", `{"transaction":"t","all":false}`, "one of", false},
		{"request-unlock.json", `{"transaction":"t","subject":"u","camera":"c"}`, "one of", false},
		{"request-unlock.json", `{"transaction":"t","subject":"u","application":"#"}`, "application name", false},
		{"switches-set.json", `{}`, "neither", false},
		{"switches-set.json", `{"authentication":"off"}`, "cannot unmarshal string", false},
		{"switches-set.json", `{"authentication":true,"Authentication":false}`, "twice", false},
	} {
		got, err := parsers()[tt.schema]([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %.80s: %+v, %v, which doesn't say %q", tt.schema, tt.text, got, err, tt.why)
		}
		if got != nil && !reflect.ValueOf(got).IsZero() {
			t.Errorf("%s: %.80s leaves %+v", tt.schema, tt.text, got)
		}
		if tt.beyond || !json.Valid([]byte(tt.text)) {
			continue
		}
		if d.CheckAs(tt.schema, []byte(tt.text)) == nil {
			t.Errorf("%s: %.80s: the schema lets it pass", tt.schema, tt.text)
		}
	}
}

func TestTheTransactionOfAWrongRequestIsFound(t *testing.T) {
	for text, want := range map[string]string{
		`{"transaction":"t1","nonsense":1}`:                  "t1",
		`{"transaction":"t1","application":null}`:            "t1",
		`{"transaction":"t1"`:                                "",
		`{"transaction":"t1","transaction":"t2"}`:            "",
		`{"transaction":1}`:                                  "",
		`{"transaction":"` + strings.Repeat("t", 129) + `"}`: "",
		`{"transaction":"a\u0000"}`:                          "",
		`[]`:                                                 "",
		``:                                                   "",
	} {
		if got := TransactionOf([]byte(text)); got != want {
			t.Errorf("%s: %q, not %q", text, got, want)
		}
	}
}

func TestResponsesAndHintsThatContradictThemselvesAreRefused(t *testing.T) {
	for name, r := range map[string]Response{
		"no status":                     {Transaction: "t"},
		"ok with a code":                {Status: StatusOK, Code: CodeTimeout, CodeNumber: 14},
		"ok with a message":             {Status: StatusOK, Message: "m"},
		"an error without a code":       {Status: StatusError, Message: "m"},
		"an error of no known code":     {Status: StatusError, Code: "NONE", CodeNumber: 1, Message: "m"},
		"an error with another number":  {Status: StatusError, Code: CodeTimeout, CodeNumber: 1, Message: "m"},
		"an error without a message":    {Status: StatusError, Code: CodeTimeout, CodeNumber: 14},
		"an error with a session":       {Status: StatusError, Code: CodeTimeout, CodeNumber: 14, Message: "m", Session: "s"},
		"time left of no ban":           {Status: StatusError, Code: CodeTimeout, CodeNumber: 14, Message: "m", RetryAfterMS: 1},
		"time left that was":            {Status: StatusError, Code: CodeLockedOut, CodeNumber: CodeLockedOut.Number(), Message: "m", RetryAfterMS: -1},
		"a transaction without an end":  {Status: StatusOK, Transaction: strings.Repeat("t", 129)},
		"a transaction that isn't text": {Status: StatusOK, Transaction: "\xff"},
	} {
		if r.Check() == nil {
			t.Errorf("%s: passed", name)
		}
	}
	good := Hint{1, "s1", "front", CodeTooDark, "more light, please", Time(decidedAt())}
	for name, change := range map[string]func(*Hint){
		"no session":             func(h *Hint) { h.Session = "" },
		"a session of levels":    func(h *Hint) { h.Session = "a/b" },
		"no camera":              func(h *Hint) { h.Camera = "" },
		"another schema":         func(h *Hint) { h.Schema = 2 },
		"no time":                func(h *Hint) { h.At = Time{} },
		"no code":                func(h *Hint) { h.Code = "" },
		"an attack, before time": func(h *Hint) { h.Code = CodePADAttack },
		"no words":               func(h *Hint) { h.Hint = "" },
	} {
		h := good
		change(&h)
		if h.Check() == nil {
			t.Errorf("%s: passed", name)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

func TestTheClientHearsRequestsAndAnswersThem(t *testing.T) {
	b := startBroker(t)
	say(t, b.URL(), "livenessd/door-7/request/session", `{"transaction":"old"}`)
	in := listenFirst(t, b.URL())
	asked := make(chan Asked, 16)
	start(t, Options{URL: b.URL(), Requests: asked})
	until(t, in, "livenessd/door-7/availability")
	if a := take(t, "what is retained", asked); a.Verb != VerbSession || !a.Retained || string(a.Payload) != `{"transaction":"old"}` {
		t.Errorf("%+v", a)
	}
	for _, tt := range []struct {
		topic string
		want  Asked // with no payload: nobody hears it
	}{
		{"request/session", Asked{Verb: VerbSession, Payload: []byte("1")}},
		{"request/tea", Asked{Verb: "tea", Payload: []byte("2")}},
		{"request/session/more", Asked{}},
		{"application/staff-door/liveness/set", Asked{Application: "staff-door", Payload: []byte("4")}},
		{"application/staff-door/liveness/state", Asked{}},
		{"request/cancel", Asked{Verb: VerbCancel, Payload: []byte("6")}},
	} {
		if tt.want.Payload == nil {
			tell(t, b.URL(), "livenessd/door-7/"+tt.topic, "nobody hears it", false)
			continue
		}
		tell(t, b.URL(), "livenessd/door-7/"+tt.topic, string(tt.want.Payload), false)
		if a := take(t, tt.topic, asked); !reflect.DeepEqual(a, tt.want) {
			t.Errorf("%s: %+v", tt.topic, a)
		}
	}
}

func TestASessionIsToldInItsOrder(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	delivered := make(chan Verdict, 2)
	c := start(t, Options{URL: b.URL(), Delivered: func(v Verdict) { delivered <- v }})
	c.SetSwitches("staff-door", Switches{Authentication: true})
	c.PublishResponse(VerbSession, Response{Transaction: "t1", Status: StatusOK, Session: "s1"})
	c.PublishHint(Hint{1, "s1", "front", CodeTooDark, "more light", Time(decidedAt())})
	v := numbered(1)
	v.Session = &Session{ID: "s1", Application: "a", Purpose: Authentication, Nonce: "n"}
	c.PublishVerdict(v)
	for _, want := range []string{
		`availability online`,
		`application/staff-door/liveness/state {"authentication":true,"enrollment":false}`,
		`response/session {"transaction":"t1","status":"ok","session":"s1"}`,
		`session/s1 {"schema":1,"session":"s1","camera":"front","code":"TOO_DARK","hint":"more light","at":"2026-01-02T03:04:06.090Z"}`,
		`camera/front/verdict {"schema":1,`, `session/s1 {"schema":1,"id":`,
	} {
		m := take(t, want, in)
		if got := strings.TrimPrefix(m.Topic, "livenessd/door-7/") + " " + string(m.Payload); !strings.HasPrefix(got, want) || m.Retained {
			t.Errorf("got %s, want %s", got, want)
		}
		if v, err := ParseVerdict(m.Payload); strings.Contains(want, `"id"`) && (err != nil || v.Session == nil || v.Session.Nonce != "n") {
			t.Errorf("%s: %v", m.Payload, err)
		}
	}
	if got := take(t, "that it is delivered", delivered); got.ID != v.ID || got.Session == nil || *got.Session != *v.Session {
		t.Errorf("delivered is %+v", got)
	}
	eventually(t, "all are acknowledged", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.notes) == 0 && c.status.Published == 1
	})
}

func TestAFloodOfRequestsIsCountedAndHoldsNothingUp(t *testing.T) {
	b := startBroker(t)
	asked := make(chan Asked, 3) // nobody reads
	c := start(t, Options{URL: b.URL(), Requests: asked})
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	for range 10 {
		tell(t, b.URL(), "livenessd/door-7/request/ping", "{}", false)
	}
	eventually(t, "the count", func() bool { return c.Status().Unheard == 7 })
	c.PublishVerdict(numbered(1))
	eventually(t, "a verdict's delivery", func() bool { return c.Status().Published == 1 })
	if n := len(asked); n != 3 {
		t.Errorf("%d wait", n)
	}
}

func TestRequestsThatTheBrokerKeepsBackAreSaidOnce(t *testing.T) {
	f := newFake(t, func(n int, c net.Conn) {
		greet(c, 0)
		converse(c, 0x80, func(*packets.PublishPacket) (ack, on bool) { return true, n > 0 }) // the first connection ends soon
	})
	warned := make(chan struct{}, 10)
	log := slog.New(slog.NewTextHandler(writer(func(b []byte) {
		if bytes.Contains(b, []byte("hear requests")) {
			warned <- struct{}{}
		}
	}), nil))
	c := start(t, Options{URL: f.url(), Log: log, Requests: make(chan Asked)})
	take(t, "the warning", warned)
	c.PublishVerdict(numbered(1))
	eventually(t, "the delivery", func() bool { return c.Status().Published == 1 })
	if len(warned) > 0 {
		t.Error("warned twice")
	}
}

func TestResponsesAreBoundedAndDontComeLate(t *testing.T) {
	k := &clock{t: decidedAt()}
	g := newGate()
	c := start(t, Options{URL: "mqtt://127.0.0.1:9", Now: k.now, Pause: g.pause}) // nobody listens there
	for i := range maxNotes + 5 {
		c.PublishResponse(VerbPing, Response{Transaction: fmt.Sprint(i), Status: StatusOK})
	}
	if s := c.Status(); s.Unanswered != 5 || len(c.notes) != maxNotes {
		t.Errorf("%d dropped, %d wait", s.Unanswered, len(c.notes))
	}
	if n := c.nextNote(); n == nil || !strings.Contains(string(n.payload), `"5"`) {
		t.Errorf("%+v", n)
	}
	k.move(noteLife + time.Millisecond)
	if n := c.nextNote(); n != nil || len(c.notes) != 1 { // the one that flies is with the broker, perhaps
		t.Errorf("%+v, and %d wait", n, len(c.notes))
	}
	if s := c.Status(); s.Unanswered != maxNotes+5-1 {
		t.Errorf("%d dropped", s.Unanswered)
	}
	c.PublishResponse(VerbPing, Response{Status: "maybe"})
	c.PublishResponse("a/b", Response{Status: StatusOK})
	c.PublishHint(Hint{})
	c.SetSwitches("a/b", Switches{})
	if s := c.Status(); s.Refused != 4 {
		t.Errorf("%d refused", s.Refused)
	}
}

// fuzzRequest tries that whatever is read is within bounds, is what its schema says, and reads the same again.
func fuzzRequest[T any](f *testing.F, parse func([]byte) (T, error), seeds ...string) {
	for _, s := range append(seeds, "", "null", "{}", "[[", `{"transaction":"t","Transaction":"u"}`, "{\"transaction\":\"\xff\"}", `{"transaction":"\u0000"}`,
		`{"transaction":"t","sent_at":"0000-01-01T00:00:00+23:59"}`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		transaction := TransactionOf(b)
		if len(transaction) > maxTransaction {
			t.Fatalf("transaction of %d bytes", len(transaction))
		}
		if err != nil {
			if !reflect.ValueOf(r).IsZero() {
				t.Fatalf("%q gives %+v and %v", b, r, err)
			}
			return
		}
		if len(b) > maxRequest {
			t.Fatalf("%d bytes are taken", len(b))
		}
		if m := reflect.ValueOf(r).FieldByName("Transaction"); m.IsValid() && (m.String() == "" || m.String() != transaction) {
			t.Fatalf("%q: transactions %q and %q", b, m, transaction)
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", r, err)
		}
		again, err := parse(written)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%s gives %+v, %v, not %+v", written, again, err, r)
		}
	})
}

func FuzzSessionRequest(f *testing.F) {
	fuzzRequest(f, ParseSessionRequest, `{"transaction":"t1","application":"staff-door","purpose":"authentication","subject":"u1","nonce":"n-123","timeout":"8s"}`,
		`{"transaction":"t","application":"a","purpose":"enrollment","camera":"front","timeout":"0ms","sent_at":"2026-01-02T03:04:05.678Z"}`)
}

func FuzzCancelRequest(f *testing.F) {
	fuzzRequest(f, ParseCancelRequest, `{"transaction":"t","session":"s"}`)
}

func FuzzPlainRequest(f *testing.F) {
	fuzzRequest(f, ParsePlainRequest, `{"transaction":"t"}`)
}

func FuzzUnlockRequest(f *testing.F) {
	fuzzRequest(f, ParseUnlockRequest, `{"transaction":"t","all":true}`, `{"transaction":"t","subject":"u","application":"a"}`, `{"transaction":"t","camera":"c"}`)
}

func FuzzSwitchRequest(f *testing.F) {
	fuzzRequest(f, ParseSwitchRequest, `{"authentication":true,"enrollment":false}`)
}
