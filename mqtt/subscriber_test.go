package mqtt

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt/sign"
)

// hear starts a Subscriber until the test ends.
func hear(t *testing.T, o SubscriberOptions) *Subscriber {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o.Log, o.Pause = testLog(t), soon
	s, err := NewSubscriber(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range s.Events() { // until it is closed
		}
	})
	return s
}

// event takes events until one is what is looked for.
func event(t *testing.T, s *Subscriber, what string, is func(Event) bool) Event {
	t.Helper()
	for {
		if e := take(t, what, s.Events()); is(e) {
			return e
		}
	}
}

func judged(e Event) bool { return e.Verdict != nil || e.Refused != nil || e.Gap != nil }

// TestForgedVerdictsOverARealBroker is what somebody can do who may publish what he likes: alter a verdict by one byte, publish an old
// answer again, sign with a key of his own, or not at all.
func TestForgedVerdictsOverARealBroker(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	key := testKey(t, 1)
	s := hear(t, SubscriberOptions{SubscribeOptions: SubscribeOptions{URL: m.url()}, Expecting: true, Unsigned: 500 * time.Millisecond,
		Keys: map[string][]sign.Public{"door-7": {key.Public()}}})
	if err := s.Expect("n-123", time.Time{}); err != nil {
		t.Fatal(err)
	}
	c := start(t, Options{URL: m.url(), Signer: key})
	answer := spoofVerdict()
	answer.Seq, answer.DecidedAt, answer.ExpiresAt = 1, Time(time.Now()), Time(time.Now().Add(time.Hour))
	in := listen(t, m.url())
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	c.PublishVerdict(answer)
	e := event(t, s, "the answer", judged)
	if e.Verdict == nil || e.Verdict.Key != key.Public().ID || e.Verdict.Act != Deny || e.Verdict.Verdict.Session.Nonce != "n-123" {
		t.Fatalf("%+v %+v", e.Verdict, e.Refused)
	}
	c.PublishVerdict(numbered(2))
	until(t, in, signedTopic)
	good := until(t, in, signedTopic).Payload // of the second
	if e := event(t, s, "the next verdict", judged); e.Verdict == nil || e.Verdict.Verdict.Seq != 2 || e.Verdict.Act != Deny {
		t.Fatalf("%+v %+v", e.Verdict, e.Refused) // deny, as it answers nobody
	}
	refused := func(what string, why Reason, topic string, payload []byte) {
		t.Helper()
		tell(t, m.url(), topic, string(payload), false)
		if e := event(t, s, what, judged); e.Refused == nil || e.Refused.Why != why || e.Refused.Topic != topic {
			t.Fatalf("%s: %+v %+v", what, e.Verdict, e.Refused)
		}
	}
	altered := bytes.Clone(good)
	altered[bytes.IndexByte(altered, '.')+20] ^= 1
	refused("altered by one byte", RefusedSignature, signedTopic, altered)
	if err := s.Expect("n-124", time.Time{}); err != nil {
		t.Fatal(err)
	}
	old := answer
	old.Seq, old.Boot = 7, "another" // as of a run that nobody here has heard of
	refused("an old nonce", RefusedNonce, signedTopic, signedBy(t, key, old))
	forged := numbered(3)
	refused("another key", RefusedKey, signedTopic, signedBy(t, testKey(t, 2), forged))
	refused("no key", RefusedUnsigned, "livenessd/door-7/camera/front/verdict", document(t, forged))
	c.PublishVerdict(numbered(3))
	if e := event(t, s, "the true one", judged); e.Verdict == nil || e.Verdict.Verdict.Seq != 3 {
		t.Errorf("%+v %+v", e.Verdict, e.Refused)
	}
	if st := s.Stats(); st.Accepted != 3 || st.Refused != 4 || st.Missing != 0 {
		t.Errorf("%+v", st)
	}
}

func signedBy(t *testing.T, k *sign.Key, v Verdict) []byte {
	t.Helper()
	out, err := k.Sign(document(t, v))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestASubscriberTellsOfItsConnection(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	first := string(document(t, numbered(1)))
	s := hear(t, SubscriberOptions{SubscribeOptions: SubscribeOptions{URL: m.url()}})
	if e := take(t, "the connection", s.Events()); e.Connection == nil || !e.Connection.Connected {
		t.Errorf("first %+v", e)
	}
	tell(t, m.url(), "livenessd/door-7/availability", "online", false)
	event(t, s, "online", func(e Event) bool { return e.Availability == Online && e.Device == "door-7" })
	tell(t, m.url(), "livenessd/door-7/camera/front/verdict", first, false)
	event(t, s, "a verdict", func(e Event) bool { return e.Verdict != nil && e.Verdict.Act == Allow })
	m.kill()
	e := event(t, s, "the loss", func(e Event) bool { return e.Connection != nil })
	if e.Connection.Connected || e.Connection.Err == nil {
		t.Errorf("%+v", e.Connection)
	}
	event(t, s, "why there is none", func(e Event) bool {
		return e.Connection != nil && !e.Connection.Connected && strings.Contains(e.Connection.Err.Error(), "refused")
	})
	m.start()
	event(t, s, "the connection", func(e Event) bool { return e.Connection != nil && e.Connection.Connected })
	tell(t, m.url(), "livenessd/door-7/camera/front/verdict", first, false)
	tell(t, m.url(), "livenessd/door-7/camera/front/verdict", string(document(t, numbered(2))), false)
	if e := event(t, s, "the next verdict", judged); e.Verdict == nil || e.Verdict.Verdict.Seq != 2 {
		t.Errorf("%+v", e)
	}
}

// TestWhatWaitsForTheReaderExpires has a reader that comes too late.
func TestWhatWaitsForTheReaderExpires(t *testing.T) {
	b := startBroker(t)
	s := hear(t, SubscriberOptions{SubscribeOptions: SubscribeOptions{URL: b.URL()}})
	take(t, "the connection", s.Events())
	v := numbered(1)
	v.ExpiresAt = Time(time.Now().Add(time.Second))
	tell(t, b.URL(), "livenessd/door-7/camera/front/verdict", string(document(t, v)), false)
	eventually(t, "the verdict", func() bool { return s.Stats().Accepted == 1 })
	time.Sleep(time.Until(v.ExpiresAt.UTC()) + 100*time.Millisecond)
	eventually(t, "its expiry", func() bool {
		select {
		case e := <-s.Events():
			if e.Verdict == nil || e.Verdict.Act != Deny || e.Verdict.Late != LateExpired || e.Verdict.Verdict.Action != Allow {
				t.Errorf("%+v", e.Verdict)
			}
			return true
		default:
			return false
		}
	})
}

func TestSeveralBrokersAreTriedInTurn(t *testing.T) {
	first, second := startMosquitto(t, "allow_anonymous true"), startMosquitto(t, "allow_anonymous true")
	first.kill()
	s := hear(t, SubscriberOptions{SubscribeOptions: SubscribeOptions{URL: first.url(), Others: []string{second.url()}}})
	take(t, "the connection", s.Events())
	tell(t, second.url(), "livenessd/door-7/availability", "online", false)
	event(t, s, "what the second one says", func(e Event) bool { return e.Availability == Online })
	second.kill()
	first.start()
	event(t, s, "the loss", func(e Event) bool { return e.Connection != nil && !e.Connection.Connected })
	event(t, s, "the other connection", func(e Event) bool { return e.Connection != nil && e.Connection.Connected })
	tell(t, first.url(), "livenessd/door-7/availability", "offline", false)
	event(t, s, "what the first one says", func(e Event) bool { return e.Availability == Offline })
	first.kill()
	_, err := Subscribe(t.Context(), SubscribeOptions{URL: first.url(), Others: []string{second.url()}})
	if err == nil || !strings.Contains(err.Error(), first.address()) || !strings.Contains(err.Error(), second.address()) || !hinted(err, "start the broker") {
		t.Errorf("%v", err)
	}
}

func TestASubscriberSaysWhyItCannot(t *testing.T) {
	for name, o := range map[string]SubscriberOptions{
		"no url":              {},
		"less than no time":   {SubscribeOptions: SubscribeOptions{URL: "mqtt://127.0.0.1:9"}, Overdue: -1},
		"nobody there":        {SubscribeOptions: SubscribeOptions{URL: "mqtt://127.0.0.1:9"}},
		"less than no device": {SubscribeOptions: SubscribeOptions{URL: "mqtt://127.0.0.1:9"}, MaxDevices: -1},
	} {
		if s, err := NewSubscriber(t.Context(), o); err == nil || s != nil || !hinted(err, "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "the end of all goroutines", func() bool { return leftovers() == 0 })
}

// TestASubscriberEndsWithItsContext ends one that nobody reads.
func TestASubscriberEndsWithItsContext(t *testing.T) {
	b := startBroker(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := NewSubscriber(ctx, SubscriberOptions{SubscribeOptions: SubscribeOptions{URL: b.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	tell(t, b.URL(), "livenessd/door-7/availability", "online", false)
	cancel()
	for range s.Events() { // until it is closed
	}
	eventually(t, "the end of all goroutines", func() bool { return leftovers() == 0 })
}
