package mqtt

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// household has a camera of each kind, and names that are allowed and awkward.
func household() *HomeAssistant {
	return &HomeAssistant{Version: "v1", Temperature: true, Actionable: 5 * time.Second,
		Cameras: []HomeCamera{{"front", true}, {"night", false}, {`Tür "7" \ it's {{ }} x`, true}}}
}

// announced is what Home Assistant is told of that.
func announced(t *testing.T) homeDocument {
	t.Helper()
	topics, err := NewTopics("site/hall", "door-7")
	if err != nil {
		t.Fatal(err)
	}
	d, err := household().document(topics, "door-7")
	if err != nil {
		t.Fatal(err)
	}
	return *d
}

// The keys that Home Assistant's integration mqtt takes of an entity of each platform, and those that it demands, as its schemas of 2025 and
// its documentation have them. What it doesn't know it throws away without a word.
const (
	commonKeys = "platform unique_id name entity_category icon device_class enabled_by_default entity_picture default_entity_id qos encoding " +
		"availability availability_mode availability_template availability_topic payload_available payload_not_available " +
		"state_topic value_template json_attributes_topic json_attributes_template"
	sensorKeys = commonKeys + " expire_after force_update last_reset_value_template options suggested_display_precision state_class unit_of_measurement"
	eventKeys  = commonKeys + " event_types"
	deviceKeys = "identifiers connections manufacturer model model_id name hw_version serial_number sw_version via_device suggested_area configuration_url"
	originKeys = "name sw_version support_url"
	rootKeys   = "device origin components state_topic command_topic qos encoding availability availability_mode availability_template availability_topic " +
		"payload_available payload_not_available"
)

func TestHomeAssistantKnowsEachWordThatItIsTold(t *testing.T) {
	b, err := json.Marshal(announced(t))
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	known := func(what string, m any, keys string) map[string]any {
		t.Helper()
		members := m.(map[string]any)
		for k := range members {
			if !slices.Contains(strings.Fields(keys), k) {
				t.Errorf("%s: Home Assistant doesn't know %s", what, k)
			}
		}
		return members
	}
	known("document", d, rootKeys)
	known("origin", d["origin"], originKeys)
	if ids := known("device", d["device"], deviceKeys)["identifiers"]; !reflect.DeepEqual(ids, []any{"site/hall/door-7"}) {
		t.Errorf("device is known as %v", ids)
	}
	unique := map[any]string{}
	components := d["components"].(map[string]any)
	for id, v := range components {
		if !regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(id) {
			t.Errorf("id %q", id)
		}
		c := v.(map[string]any)
		switch c["platform"] {
		case "sensor":
			known(id, c, sensorKeys)
			// An enum has options and no unit, and nothing else has options.
			_, options := c["options"]
			_, class := c["state_class"]
			_, unit := c["unit_of_measurement"]
			if enum := c["device_class"] == "enum"; enum != options || enum && (class || unit) {
				t.Errorf("%s: device class %v, options %v, state class %v, unit %v", id, c["device_class"], options, class, unit)
			}
		case "event":
			if known(id, c, eventKeys)["event_types"] == nil {
				t.Errorf("%s: no event_types", id)
			}
		default:
			t.Errorf("%s: platform %v", id, c["platform"])
		}
		for _, must := range []string{"unique_id", "state_topic", "name"} {
			if c[must] == nil {
				t.Errorf("%s: no %s", id, must)
			}
		}
		if other, twice := unique[c["unique_id"]]; twice {
			t.Errorf("%s and %s are both %s", id, other, c["unique_id"])
		}
		unique[c["unique_id"]] = id
	}
	for id, platform := range map[string]string{"front_state": "sensor", "front_verdict": "sensor", "front_attack": "event", "front_rate": "sensor",
		"night_state": "sensor", "night_rate": "sensor", "waiting": "sensor", "temperature": "sensor"} {
		if c, _ := components[id].(map[string]any); c["platform"] != platform {
			t.Errorf("%s is %v", id, c)
		}
	}
	if components["night_verdict"] != nil || components["night_attack"] != nil {
		t.Error("an infrared camera gives no verdicts")
	}
}

func TestIDsForHomeAssistantAreNeverThoseOfAnother(t *testing.T) {
	names := []string{"a", "A", "a-b", "a_b", "a.b", "a b", "a/b", "a_2fb", "a__b", "_", "ä", "ae", "state", "front_state", "front_5fstate", "waiting", "", "\xff"}
	seen := map[string]string{}
	for _, n := range names {
		id := homeID(n)
		if other, twice := seen[id]; twice {
			t.Errorf("%q and %q are both %s", n, other, id)
		}
		seen[id] = n
		back := regexp.MustCompile(`_..`).ReplaceAllStringFunc(id, func(s string) string {
			b, err := hex.DecodeString(s[1:])
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
			return string(b)
		})
		if back != n || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			t.Errorf("%q became %s and then %q", n, id, back)
		}
	}
	topics, err := NewTopics("p", "d")
	if err != nil {
		t.Fatal(err)
	}
	h := &HomeAssistant{Temperature: true}
	for _, n := range names {
		if CheckName("camera", n) == nil {
			h.Cameras = append(h.Cameras, HomeCamera{n, true})
		}
	}
	d, err := h.document(topics, "d")
	if err != nil || len(d.Components) != 4*len(h.Cameras)+2 {
		t.Errorf("%d components of %d cameras, %v", len(d.Components), len(h.Cameras), err)
	}
}

// TestTemplatesAskForWhatTheSchemasHave finds a path of a template that its topic's schema doesn't know.
func TestTemplatesAskForWhatTheSchemasHave(t *testing.T) {
	paths := regexp.MustCompile(`value_json((?:\.[a-z_]+|\['(?:[^'\\]|\\.)*'\])+)`)
	step := regexp.MustCompile(`\.([a-z_]+)|\[('(?:[^'\\]|\\.)*')\]`)
	tried := 0
	for id, c := range announced(t).Components {
		for topic, template := range map[string]string{c.StateTopic: c.Template, c.AttributesTopic + " ": c.AttributesTemplate} {
			file := map[string]string{"state": "camera-state.json", "verdict": "verdict.json", "attack": "verdict.json", "telemetry": "telemetry.json"}[strings.TrimSpace(topic[strings.LastIndexByte(topic, '/')+1:])]
			if file == "" {
				if template != "" {
					t.Errorf("%s: nobody knows the schema of %s", id, topic)
				}
				continue
			}
			for _, m := range paths.FindAllStringSubmatch(template, -1) {
				tried++
				schema := readSchema(t, file)
				for _, s := range step.FindAllStringSubmatch(m[1], -1) {
					properties, _ := schema["properties"].(map[string]any)
					next, _ := properties[s[1]].(map[string]any)
					if next == nil {
						next, _ = schema["additionalProperties"].(map[string]any)
					}
					schema = next
				}
				if schema == nil {
					t.Errorf("%s: %s has no %s", id, file, m[0])
				}
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d paths", tried)
	}
}

// render lets Jinja, which is what Home Assistant uses, render templates with documents.
func render(t *testing.T, jobs []job) []string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err == nil {
		err = exec.Command(python, "-c", "import jinja2.sandbox").Run()
	}
	if err != nil {
		t.Skip("no Jinja here, so that no template is rendered: apt-get install python3-jinja2")
	}
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", `
import json, sys
from jinja2.sandbox import ImmutableSandboxedEnvironment
env = ImmutableSandboxedEnvironment()
json.dump([env.from_string(j["template"]).render(value=j["value"], value_json=json.loads(j["value"])) for j in json.load(sys.stdin)], sys.stdout)`)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	var texts []string
	if err := json.Unmarshal(out, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

type job struct {
	Template string `json:"template"`
	Value    string `json:"value"`
	what     string
	want     string // a text, or "{" for an object
	has      map[string]any
}

func TestWhatHomeAssistantShows(t *testing.T) {
	d := announced(t)
	text := func(doc any) string {
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	late, inSession := spoofVerdict(), liveVerdict()
	late.Replayed = true
	inSession.Session = &Session{ID: "s", Application: "staff-door", Purpose: Authentication, Subject: "secret-subject", Nonce: "secret-nonce"}
	odd := measuredAll()
	name := household().Cameras[2].Name
	odd.Cameras[name] = CameraTelemetry{FPS: ptr(7.5)}
	noSensor := measuredAll()
	noSensor.Temperatures = nil
	noSensor.Cameras["front"] = CameraTelemetry{}
	c := d.Components
	jobs := []job{
		{c["front_state"].Template, text(CameraState{Schema: 1, State: "failed", Code: CodeCameraLost}), "a camera's state", "failed", nil},
		{c["front_state"].AttributesTemplate, text(CameraState{Schema: 1, State: "failed", Code: CodeCameraLost, Hint: `say "so"`}), "why", "{",
			map[string]any{"code": "CAMERA_LOST", "hint": `say "so"`, "error": nil}},
		{c["front_verdict"].Template, text(liveVerdict()), "live", "live", nil},
		{c["front_verdict"].Template, text(spoofVerdict()), "spoof", "spoof", nil},
		{c["front_verdict"].Template, text(undecidedVerdict()), "undecided", "undecided", nil},
		{c["front_verdict"].Template, text(late), "a late one", "None", nil},
		{c["front_verdict"].AttributesTemplate, text(inSession), "a session's", "{", map[string]any{"code": nil, "application": "staff-door", "purpose": "authentication", "late": false}},
		{c["front_verdict"].AttributesTemplate, text(undecidedVerdict()), "one of nobody's", "{", map[string]any{"application": nil}},
		{c["front_attack"].Template, text(spoofVerdict()), "an attack", "{", map[string]any{"event_type": "attack", "late": false}},
		{c["front_attack"].Template, text(late), "a late attack", "{", map[string]any{"event_type": "late_attack", "late": true}},
		{c["front_rate"].Template, text(measuredAll()), "a rate", "15.02", nil},
		{c["front_rate"].Template, text(noSensor), "a rate that isn't known", "None", nil},
		{c[homeID(name)+"_rate"].Template, text(odd), "a rate of an awkward name", "7.5", nil},
		{c["waiting"].Template, text(measuredAll()), "what waits", "0", nil},
		{c["temperature"].Template, text(measuredAll()), "the hottest", "51.2", nil},
		{c["temperature"].Template, text(noSensor), "no sensor", "None", nil},
	}
	for i, got := range render(t, jobs) {
		j := jobs[i]
		if j.want != "{" {
			if got != j.want {
				t.Errorf("%s: %q, want %q", j.what, got, j.want)
			}
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(got), &m); err != nil {
			t.Errorf("%s: %q: %v", j.what, got, err)
		}
		for k, v := range j.has {
			if have, there := m[k]; !there || have != v {
				t.Errorf("%s: %s is %v, want %v", j.what, k, have, v)
			}
		}
		if strings.Contains(got, "secret") {
			t.Errorf("%s tells whom it is about: %s", j.what, got)
		}
	}
	for id, want := range map[string][]string{"front_state": {"streaming", "recovering", "failed"}, "front_verdict": {"live", "spoof", "undecided"}} {
		if !slices.Equal(c[id].Options, want) {
			t.Errorf("%s can be %v", id, c[id].Options)
		}
	}
	if v := c["front_verdict"]; v.ExpireAfter != 5 || !v.ForceUpdate {
		t.Errorf("a verdict is shown for %d s, and two alike are two: %v", v.ExpireAfter, v.ForceUpdate)
	}
}

// homeListen subscribes to Home Assistant's topics.
func homeListen(t *testing.T, url string) <-chan Received {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	in, err := Subscribe(ctx, SubscribeOptions{URL: url, Prefix: homePrefix, Log: testLog(t), Pause: soon})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range in { // until it is closed
		}
	})
	return in
}

func TestHomeAssistantIsToldOnEachConnectionAndBirth(t *testing.T) {
	const topic = "homeassistant/device/livenessd_2fdoor-7/config"
	m := startMosquitto(t, "allow_anonymous true")
	in := homeListen(t, m.url())
	told := make(chan struct{}, 2)
	h := household()
	h.Told = func() { told <- struct{}{} }
	h.Forget = []Announced{
		{topic, map[string]string{"front_state": "sensor", "side_attack": "event", "side_state": "sensor"}},
		{"homeassistant/device/older/config", map[string]string{"side_state": "sensor"}},
		{"livenessd/door-7/camera/front/verdict", nil}, {"homeassistant/device/+/config", nil}, // which nobody announced
	}
	say(t, m.url(), "homeassistant/device/older/config", "{}")
	until(t, in, "homeassistant/device/older/config")
	c := start(t, Options{URL: m.url(), HomeAssistant: h, homePause: time.Millisecond})
	read := func(payload []byte) (d homeDocument) {
		t.Helper()
		if err := json.Unmarshal(payload, &d); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		return d
	}
	first := until(t, in, topic)
	d := read(first.Payload)
	if d.Components["front_state"].StateTopic != "livenessd/door-7/camera/front/state" ||
		!reflect.DeepEqual(d.Components["side_attack"], homeComponent{Platform: "event"}) || !reflect.DeepEqual(d.Components["side_state"], homeComponent{Platform: "sensor"}) {
		t.Errorf("%s", first.Payload)
	}
	if r := until(t, in, "homeassistant/device/older/config"); len(r.Payload) != 0 {
		t.Errorf("an older name: %s", r.Payload)
	}
	take(t, "that it is told", told)
	again := func(what string) {
		t.Helper()
		if r := until(t, in, topic); string(r.Payload) != string(first.Payload) {
			t.Errorf("%s: %s", what, r.Payload)
		}
	}
	tell(t, m.url(), homeStatus, "offline", false)
	tell(t, m.url(), homeStatus, "online", false)
	again("its birth")
	tell(t, m.url(), homeStatus, "online", false)
	again("its second birth")
	m.kill()
	m.start()
	in = homeListen(t, m.url())
	again("another connection")
	if len(told) > 0 {
		t.Error("that it is told is said again")
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	late := homeListen(t, m.url())
	if r := until(t, late, topic); !r.Retained {
		t.Error("it isn't retained")
	}

	// A device that doesn't announce itself any more.
	in = homeListen(t, m.url())
	until(t, in, topic)
	c = start(t, Options{URL: m.url(), HomeAssistant: &HomeAssistant{Off: true, Told: h.Told, Forget: []Announced{{Topic: topic}}}})
	if r := until(t, in, topic); len(r.Payload) != 0 {
		t.Errorf("%s", r.Payload)
	}
	take(t, "that it is forgotten", told)
	tell(t, m.url(), homeStatus, "online", false)
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	say(t, m.url(), "homeassistant/device/end/config", "x")
	for r := range homeListen(t, m.url()) {
		if r.Topic == topic {
			t.Errorf("%s is still there", r.Payload)
		}
		if r.Topic == "homeassistant/device/end/config" {
			break
		}
	}
}

func TestWhatIsAnnouncedIsRemembered(t *testing.T) {
	h := household()
	a, err := h.Announces("livenessd", "door-7")
	if err != nil || a.Topic != "homeassistant/device/livenessd_2fdoor-7/config" || a.Components["front_attack"] != "event" || len(a.Components) != 2*4+2+2 {
		t.Errorf("%+v, %v", a, err)
	}
	h.Off = true
	if a, err := h.Announces("livenessd", "door-7"); a != nil || err != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := h.Announces("#", "door-7"); err == nil {
		t.Error("a prefix that is none")
	}
	h = &HomeAssistant{Cameras: []HomeCamera{{"a/b", true}}}
	if _, err := h.Announces("livenessd", "door-7"); err == nil {
		t.Error("a camera that is none")
	}
	if err := (Options{URL: "mqtt://localhost", Device: "d", HomeAssistant: h}).Check(); err == nil {
		t.Error("options with a camera that is none")
	}
}
