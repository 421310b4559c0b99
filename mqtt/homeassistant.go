package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	// homePrefix is what Home Assistant's own topics begin with, unless somebody changed it there.
	homePrefix = "homeassistant"
	homeStatus = homePrefix + "/status"
	// homePause bounds how long the device waits after Home Assistant's birth, at random, as all others hear of it as well.
	homePause = 5 * time.Second
	// homeSilence is after how many seconds without telemetry its entities aren't available any more: three that didn't come.
	homeSilence = 190
)

// HomeAssistant is what Home Assistant is told of a device, so that it shows it by itself (MQTT device discovery).
type HomeAssistant struct {
	Version     string        // of livenessd
	Cameras     []HomeCamera  // in the order in which they are shown
	Temperature bool          // telemetry has temperatures
	Actionable  time.Duration // how long a verdict is shown

	// Forget is earlier announcements that lie at the broker, perhaps of other names. What of them isn't announced any more is removed.
	Forget []Announced
	// Told is called when all of that is done, once. It must not wait.
	Told func()
	// Off only forgets.
	Off bool
}

// HomeCamera is a camera.
type HomeCamera struct {
	Name     string
	Verdicts bool // it gives some: infrared cameras don't
}

// Announced is what must be remembered of an announcement, so that it can be removed: it is retained.
type Announced struct {
	Topic      string            `json:"topic"`
	Components map[string]string `json:"components"` // by id, what Home Assistant calls their platform
}

// Announces tells what will be announced for a device, nil for nothing.
func (h *HomeAssistant) Announces(prefix, device string) (*Announced, error) {
	t, err := NewTopics(prefix, device)
	if err != nil || h.Off {
		return nil, err
	}
	d, err := h.document(t, device)
	if err != nil {
		return nil, err
	}
	a := &Announced{Topic: homeTopic(t), Components: map[string]string{}}
	for id, c := range d.Components {
		a.Components[id] = c.Platform
	}
	return a, nil
}

func homeTopic(t Topics) string { return homePrefix + "/device/" + homeID(t.root) + "/config" }

// homeID makes of a name what Home Assistant takes as a level of its topics, another for each name: letters, digits and -, and all other
// bytes as _ and two hexadecimal digits.
func homeID(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// homeDocument is an announcement, in Home Assistant's words.
type homeDocument struct {
	Device struct {
		Identifiers  []string `json:"identifiers"`
		Name         string   `json:"name"`
		Manufacturer string   `json:"manufacturer"`
		Model        string   `json:"model"`
		Version      string   `json:"sw_version,omitempty"`
	} `json:"device"`
	Origin struct {
		Name    string `json:"name"`
		Version string `json:"sw_version,omitempty"`
		URL     string `json:"support_url"`
	} `json:"origin"`
	AvailabilityTopic   string `json:"availability_topic"`
	PayloadAvailable    string `json:"payload_available"`
	PayloadNotAvailable string `json:"payload_not_available"`
	QoS                 byte   `json:"qos"`

	Components map[string]homeComponent `json:"components"`
}

// homeComponent is an entity, or with nothing but its platform one that is to be removed.
type homeComponent struct {
	Platform           string   `json:"platform"`
	UniqueID           string   `json:"unique_id,omitempty"`
	Name               string   `json:"name,omitempty"`
	Category           string   `json:"entity_category,omitempty"`
	Icon               string   `json:"icon,omitempty"`
	DeviceClass        string   `json:"device_class,omitempty"`
	StateClass         string   `json:"state_class,omitempty"`
	Unit               string   `json:"unit_of_measurement,omitempty"`
	Options            []string `json:"options,omitempty"`
	EventTypes         []string `json:"event_types,omitempty"`
	StateTopic         string   `json:"state_topic,omitempty"`
	Template           string   `json:"value_template,omitempty"`
	AttributesTopic    string   `json:"json_attributes_topic,omitempty"`
	AttributesTemplate string   `json:"json_attributes_template,omitempty"`
	ExpireAfter        int      `json:"expire_after,omitempty"`
	ForceUpdate        bool     `json:"force_update,omitempty"`
}

// The platforms.
const (
	homeSensor = "sensor"
	homeEvent  = "event"
)

// homeVerdict is what of a verdict's document Home Assistant keeps beside the answer: not whom it was about.
const homeVerdict = `'code': value_json.code, 'score': value_json.score, 'action': value_json.action, ` +
	`'attack': value_json.attack | default(none), 'application': value_json.session.application if value_json.session else none, ` +
	`'purpose': value_json.session.purpose if value_json.session else none, 'frames': value_json.frames, 'seq': value_json.seq, ` +
	`'decided_at': value_json.decided_at, 'expires_at': value_json.expires_at, 'late': value_json.replayed`

func (h *HomeAssistant) document(t Topics, device string) (*homeDocument, error) {
	d := &homeDocument{AvailabilityTopic: t.Availability(), PayloadAvailable: Online, PayloadNotAvailable: Offline, QoS: 1,
		Components: map[string]homeComponent{}}
	d.Device.Identifiers, d.Device.Name = []string{t.root}, device
	d.Device.Manufacturer, d.Device.Model, d.Device.Version = "livenessd", "face liveness", h.Version
	d.Origin.Name, d.Origin.Version, d.Origin.URL = "livenessd", h.Version, "https://github.com/livenessd/livenessd"
	for _, c := range h.Cameras {
		if err := CheckName("camera", c.Name); err != nil {
			return nil, err
		}
		// An id says whether it is of a camera: homeID leaves two hexadecimal digits behind each _, and these words are longer.
		id := homeID(c.Name)
		d.Components[id+"_state"] = homeComponent{Platform: homeSensor, UniqueID: t.CameraState(c.Name), Name: c.Name + " state",
			Category: "diagnostic", Icon: "mdi:cctv", DeviceClass: "enum", Options: []string{"streaming", "recovering", "failed"},
			StateTopic: t.CameraState(c.Name), Template: "{{ value_json.state }}", AttributesTopic: t.CameraState(c.Name),
			AttributesTemplate: `{{ {'code': value_json.code | default(none), 'error': value_json.error | default(none), ` +
				`'hint': value_json.hint | default(none), 'format': value_json.format | default(none), 'since': value_json.since} | tojson }}`}
		d.Components[id+"_rate"] = homeComponent{Platform: homeSensor, UniqueID: t.root + "/camera/" + c.Name + "/rate", Name: c.Name + " frame rate",
			Category: "diagnostic", Icon: "mdi:speedometer", StateClass: "measurement", Unit: "fps", StateTopic: t.Telemetry(),
			Template:    "{{ value_json.cameras[" + quoteJinja(c.Name) + "].fps | default('None') }}", // which Home Assistant shows as unknown
			ExpireAfter: homeSilence}
		if !c.Verdicts {
			continue
		}
		d.Components[id+"_verdict"] = homeComponent{Platform: homeSensor, UniqueID: t.Verdict(c.Name), Name: c.Name + " verdict",
			Icon: "mdi:face-recognition", DeviceClass: "enum", Options: []string{string(Live), string(Spoof), string(Undecided)},
			StateTopic: t.Verdict(c.Name),
			// A late one is nothing that anybody may act on, so that the newest isn't known then.
			Template:        "{{ 'None' if value_json.replayed else value_json.verdict }}",
			AttributesTopic: t.Verdict(c.Name), AttributesTemplate: `{{ {` + homeVerdict + `} | tojson }}`,
			// Two people, one after the other, are two changes.
			ForceUpdate: true, ExpireAfter: max(1, int(h.Actionable.Seconds()))}
		d.Components[id+"_attack"] = homeComponent{Platform: homeEvent, UniqueID: t.Attack(c.Name), Name: c.Name + " attack", Icon: "mdi:alert",
			EventTypes: []string{"attack", "late_attack"}, StateTopic: t.Attack(c.Name),
			Template: `{{ {'event_type': 'late_attack' if value_json.replayed else 'attack', ` + homeVerdict + `} | tojson }}`}
	}
	d.Components["waiting"] = homeComponent{Platform: homeSensor, UniqueID: t.root + "/waiting", Name: "verdicts waiting", Category: "diagnostic",
		Icon: "mdi:tray-full", StateClass: "measurement", StateTopic: t.Telemetry(), Template: "{{ value_json.delivery.queued }}", ExpireAfter: homeSilence}
	if h.Temperature {
		d.Components["temperature"] = homeComponent{Platform: homeSensor, UniqueID: t.root + "/temperature", Name: "temperature", Category: "diagnostic",
			DeviceClass: "temperature", StateClass: "measurement", Unit: "°C", StateTopic: t.Telemetry(), ExpireAfter: homeSilence,
			Template: "{{ value_json.temperatures | default([]) | map(attribute='celsius') | max | default('None') }}"}
	}
	return d, nil
}

// quoteJinja is a text as a template has it.
func quoteJinja(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// home is what of the client's states is for Home Assistant.
type home struct {
	topic string // of the announcement; "" for none
	left  int    // what the broker hasn't acknowledged
}

// announce puts the announcement, and what is to be forgotten, among the states. The client isn't running yet.
func (c *Client) announce() error {
	h := c.o.HomeAssistant
	if h == nil {
		return nil
	}
	gone := map[string][]byte{}
	for _, a := range h.Forget {
		// Whatever the list says, it is no reason to write elsewhere.
		if rest, ok := strings.CutPrefix(a.Topic, homePrefix+"/device/"); ok && strings.HasSuffix(rest, "/config") && !strings.ContainsAny(rest, "+#") {
			gone[a.Topic] = []byte{}
		}
	}
	if !h.Off {
		d, err := h.document(c.topics, c.o.Device)
		if err != nil {
			return err
		}
		c.home.topic = homeTopic(c.topics)
		for _, a := range h.Forget {
			for id, platform := range a.Components {
				// Home Assistant removes what has a platform and nothing else. What isn't there any more it would keep.
				if _, still := d.Components[id]; a.Topic == c.home.topic && !still {
					d.Components[id] = homeComponent{Platform: platform}
				}
			}
		}
		if gone[c.home.topic], err = json.Marshal(d); err != nil {
			return err
		}
	}
	c.home.left = len(gone)
	for _, topic := range slices.Sorted(maps.Keys(gone)) {
		acknowledged := false
		c.states[topic] = &state{payload: gone[topic], done: func() {
			c.mu.Lock()
			if len(gone[topic]) == 0 {
				delete(c.states, topic) // once is enough
			}
			if !acknowledged {
				acknowledged = true
				c.home.left--
			}
			all := c.home.left == 0
			if all {
				c.home.left = -1 // it is told once
			}
			c.mu.Unlock()
			if all && h.Told != nil {
				h.Told()
			}
		}}
	}
	return nil
}

// greet listens for Home Assistant's birth.
func (s *session) greet() error {
	if s.c.home.topic == "" {
		return nil
	}
	err := s.link.subscribe(s.ctx, homeStatus, func(_ paho.Client, m paho.Message) {
		if string(m.Payload()) != Online || m.Retained() {
			return
		}
		select {
		case s.born <- struct{}{}:
		default:
		}
	})
	if errors.Is(err, errDenied) {
		s.c.aloof.Do(func() {
			s.c.o.Log.Warn("the broker doesn't let the device hear when Home Assistant starts", "topic", homeStatus,
				"hint", "let the broker's access list allow this user to read it, and to publish below "+homePrefix+"/device/")
		})
		return nil
	}
	return err
}

// soon is when the announcement is published again after Home Assistant's birth.
func (s *session) soon() <-chan time.Time {
	return time.After(time.Duration(rand.Float64() * float64(s.c.o.homePause)))
}

// announceAgain publishes the announcement again.
func (c *Client) announceAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.states[c.home.topic]; s != nil {
		s.published = false
		c.rouse()
	}
}
