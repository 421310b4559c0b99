package mqtt

import (
	"net"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/livenessd/livenessd/mqtt/asyncapi"
)

// TestEachTopicIsAChannelOfTheDescription calls whatever Topics can make, and finds channels that it can't.
func TestEachTopicIsAChannelOfTheDescription(t *testing.T) {
	topics, err := NewTopics("{prefix}", "{device}")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	v := reflect.ValueOf(topics)
	for i := range v.NumMethod() {
		m, name := v.Method(i), v.Type().Method(i).Name
		switch {
		case m.Type().NumIn() == 0:
			made[m.Call(nil)[0].String()] = true
		case m.Type().NumIn() == 1 && m.Type().In(0) == reflect.TypeFor[Verb]():
			for _, verb := range Verbs() {
				made[m.Call([]reflect.Value{reflect.ValueOf(verb)})[0].String()] = true
			}
		case m.Type().NumIn() == 1 && m.Type().In(0).Kind() == reflect.String:
			made[m.Call([]reflect.Value{reflect.ValueOf("{}")})[0].String()] = true
		default:
			t.Errorf("nobody here knows how to call Topics.%s", name)
		}
	}
	// Home Assistant's aren't the device's own.
	made[strings.Replace(homeTopic(topics), homeID(topics.root), "{}", 1)] = true
	made[homeStatus] = true
	parameter := regexp.MustCompile(`/\{[a-z]+\}`)
	there := map[string]bool{}
	for _, c := range described(t).Channels() {
		root, below := "", c.Address
		if rest, ours := strings.CutPrefix(c.Address, "{prefix}/{device}"); ours {
			root, below = "{prefix}/{device}", rest
		}
		address := root + parameter.ReplaceAllString(below, "/{}")
		if there[address] {
			t.Errorf("%s twice", c.Address)
		}
		there[address] = true
		if !made[address] {
			t.Errorf("Topics makes no %s, which schema/asyncapi.yaml has", c.Address)
		}
	}
	for topic := range made {
		if !there[topic] {
			t.Errorf("schema/asyncapi.yaml has no channel for %s", topic)
		}
	}
}

// TestTheDescriptionHasWhatGoesOverTheWire looks at the packets that a client sends: each kind of message, with the quality of service and
// the retained flag that the description says; the will; and subscriptions to all that it says is received.
func TestTheDescriptionHasWhatGoesOverTheWire(t *testing.T) {
	d := described(t)
	fill := strings.NewReplacer("{prefix}", "site/hall", "{device}", "door-7")
	var mu sync.Mutex
	seen := map[string]bool{}
	published := func(p *packets.PublishPacket) {
		mu.Lock()
		defer mu.Unlock()
		c := d.Find("site/hall", p.TopicName)
		if c == nil {
			t.Errorf("%s is no channel of the description", p.TopicName)
			return
		}
		seen[c.Name] = true
		if !c.Sends || p.Qos != c.QoS || p.Retain != c.Retain {
			t.Errorf("%s with QoS %d, retained %v; the description says %d and %v, sent: %v", p.TopicName, p.Qos, p.Retain, c.QoS, c.Retain, c.Sends)
		}
		if err := c.Check(p.Payload); err != nil {
			t.Error(err)
		}
	}
	subscribed := func(p *packets.SubscribePacket) {
		mu.Lock()
		defer mu.Unlock()
		for i, filter := range p.Topics {
			wanted := filter == "site/hall/door-7/availability" // its own
			for _, c := range d.Channels() {
				if c.Sends || !covers(filter, fill.Replace(c.Address)) {
					continue
				}
				seen[c.Name], wanted = true, true
				if p.Qoss[i] != c.QoS || c.Retain {
					t.Errorf("%s with QoS %d; the description says %d for %s, retained: %v", filter, p.Qoss[i], c.QoS, c.Name, c.Retain)
				}
			}
			if !wanted {
				t.Errorf("the description has nothing that is received on %s", filter)
			}
		}
	}
	f := newFake(t, func(_ int, conn net.Conn) {
		c := greet(conn, 0)
		if c == nil {
			return
		}
		if s := d.Server; c.ClientIdentifier != fill.Replace(s.ClientID) || c.CleanSession != s.CleanSession || int(c.Keepalive) != s.KeepAlive ||
			c.WillTopic != fill.Replace(s.LastWill.Topic) || c.WillQos != s.LastWill.QoS || string(c.WillMessage) != s.LastWill.Message ||
			c.WillRetain != s.LastWill.Retain {
			t.Errorf("%v; the description says %+v", c, s)
		}
		for {
			p, err := packets.ReadPacket(conn)
			if err != nil {
				return
			}
			var answer []byte
			switch p := p.(type) {
			case *packets.PublishPacket:
				published(p)
				if p.Qos > 0 {
					answer = []byte{0x40, 2, byte(p.MessageID >> 8), byte(p.MessageID)}
				}
			case *packets.SubscribePacket:
				subscribed(p)
				answer = []byte{0x90, 3, byte(p.MessageID >> 8), byte(p.MessageID), 1}
			case *packets.PingreqPacket:
				answer = []byte{0xd0, 0}
			}
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	})
	c := start(t, Options{URL: f.url(), Prefix: "site/hall", Signer: testKey(t, 1), Requests: make(chan Asked), Info: func() Info { return Info{Schema: 1, Device: "door-7"} },
		HomeAssistant: &HomeAssistant{Cameras: []HomeCamera{{"front", true}}, Forget: []Announced{{Topic: "homeassistant/device/other/config"}}}})
	c.SetCameraState("front", CameraState{Schema: 1, State: "streaming"})
	c.SetSwitches("staff-door", Switches{true, false})
	c.PublishTelemetry(measuredAll())
	c.PublishHint(Hint{1, "s1", "front", CodeTooDark, "too dark", Time(decidedAt())})
	for _, v := range Verbs() {
		c.PublishResponse(v, Response{Transaction: "t", Status: StatusOK})
	}
	v := spoofVerdict()
	v.Session = &Session{ID: "s1", Application: "staff-door", Purpose: Authentication}
	c.PublishVerdict(v)
	v.Face, v.Verdict = nil, Live
	c.PublishVerdict(v) // which contradicts itself, and so becomes a gap
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		if missing := unseen(d, seen); len(missing) > 0 {
			t.Errorf("nothing was seen of %v: publish it here", missing)
		}
	}()
	eventually(t, "all channels", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(unseen(d, seen)) == 0
	})
}

// covers tells whether a filter matches an address, or would whatever its parameters are.
func covers(filter, address string) bool {
	return slices.EqualFunc(strings.Split(filter, "/"), strings.Split(address, "/"), func(f, a string) bool { return f == "+" || f == a })
}

func unseen(d *asyncapi.Description, seen map[string]bool) (names []string) {
	for _, c := range d.Channels() {
		if !seen[c.Name] {
			names = append(names, c.Name)
		}
	}
	return names
}
