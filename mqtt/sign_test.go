package mqtt

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/livenessd/livenessd/mqtt/sign"
)

func testKey(t testing.TB, seed byte) *sign.Key {
	t.Helper()
	k, err := sign.NewKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var _ Signer = (*sign.Key)(nil)
var _ Signer = (*sign.File)(nil)

const signedTopic = "livenessd/door-7/verdict/jws"

func TestTheSignedFormIsTheBytesOfTheVerdict(t *testing.T) {
	b := startBroker(t)
	in := listen(t, b.URL())
	k := testKey(t, 1)
	keys := []sign.Public{k.Public()}
	c := start(t, Options{URL: b.URL(), Signer: k})
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	late := numbered(2)
	late.DecidedAt, late.ExpiresAt = Time(time.Now().Add(-time.Hour)), Time(time.Now().Add(-time.Minute))
	attack := spoofVerdict()
	attack.Seq, attack.DecidedAt, attack.ExpiresAt = 3, Time(time.Now()), Time(time.Now().Add(time.Hour))
	for _, v := range []Verdict{numbered(1), late, attack} {
		c.PublishVerdict(v)
		s := until(t, in, signedTopic)
		payload, by, err := sign.Verify(s.Payload, keys)
		if err != nil || by.ID != k.Public().ID || s.Retained {
			t.Fatalf("%v, by %s", err, by.ID)
		}
		topics := []string{"camera/front/verdict"}
		if v.Seq == 3 {
			topics = append(topics, "camera/front/attack", "session/"+v.Session.ID)
		}
		for _, topic := range topics {
			if m := take(t, topic, in); m.Topic != "livenessd/door-7/"+topic || !bytes.Equal(m.Payload, payload) {
				t.Errorf("%s %s, signed is %s", m.Topic, m.Payload, payload)
			}
		}
		got, err := ParseVerdict(payload)
		if err != nil || got.Seq != v.Seq || got.Replayed != (v.Seq == 2) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	eventually(t, "all acknowledgements", func() bool { return c.Status().Published == 3 && c.Status().Queued == 0 })
}

// TestAVerdictIsDeliveredWhenItsSignatureIsToo is a broker that keeps one acknowledgement back, now of the one and now of the other.
func TestAVerdictIsDeliveredWhenItsSignatureIsToo(t *testing.T) {
	for name, kept := range map[string]string{"the signed form": signedTopic, "the plain one": "livenessd/door-7/camera/front/verdict"} {
		var mu sync.Mutex
		came := map[string]int{}
		f := newFake(t, func(n int, c net.Conn) {
			greet(c, 0)
			converse(c, 1, func(p *packets.PublishPacket) (ack, on bool) {
				mu.Lock()
				defer mu.Unlock()
				came[p.TopicName]++
				return n > 0 || p.TopicName != kept, true
			})
		})
		c := start(t, Options{URL: f.url(), Signer: testKey(t, 1), Timeout: 300 * time.Millisecond})
		c.PublishVerdict(numbered(1))
		eventually(t, name+": the second connection", func() bool { return c.Status().Connections == 2 })
		eventually(t, name+": the delivery", func() bool { return c.Status().Queued == 0 })
		mu.Lock()
		if came[signedTopic] != 2 || came["livenessd/door-7/camera/front/verdict"] != 2 || c.Status().Published != 1 {
			t.Errorf("%s: %v came, %+v", name, came, c.Status())
		}
		mu.Unlock()
	}
}

type broken struct{}

func (broken) Sign([]byte) ([]byte, error) { return nil, errors.New("no ink") }

func TestWhatCannotBeSignedIsNotPublished(t *testing.T) {
	var mu sync.Mutex
	came := 0
	f := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		converse(c, 1, func(p *packets.PublishPacket) (ack, on bool) {
			mu.Lock()
			defer mu.Unlock()
			if p.TopicName != "livenessd/door-7/availability" {
				came++
			}
			return true, true
		})
	})
	c := start(t, Options{URL: f.url(), Signer: broken{}})
	c.PublishVerdict(numbered(1))
	eventually(t, "the reason", func() bool {
		s := c.Status()
		return s.Err != nil && s.Connections > 2
	})
	mu.Lock()
	defer mu.Unlock()
	if s := c.Status(); came != 0 || s.Queued != 1 || s.Published != 0 {
		t.Errorf("%d came, %+v", came, s)
	}
}

func TestAnnounceTellsInfoAnew(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	var mu sync.Mutex
	info := Info{Schema: 1, Device: "door-7"}
	c := start(t, Options{URL: b.URL(), Info: func() Info {
		mu.Lock()
		defer mu.Unlock()
		return info
	}})
	until(t, in, "livenessd/door-7/info")
	mu.Lock()
	info.Keys = KeysInfo([]sign.Public{testKey(t, 1).Public()})
	mu.Unlock()
	c.Announce()
	m := until(t, in, "livenessd/door-7/info")
	keys, err := sign.ParsePublic(m.Payload)
	if err != nil || len(keys) != 1 || keys[0].ID != testKey(t, 1).Public().ID {
		t.Errorf("%s: %v", m.Payload, err)
	}
}
