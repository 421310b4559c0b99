package mqtt

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt/asyncapi"
	"github.com/livenessd/livenessd/mqtt/sign"
)

func TestDocumentsAreWhatTheirSchemasSay(t *testing.T) {
	full := CameraState{Schema: 1, State: "failed", Code: CodePermissionRefused, Device: "/dev/video0", Format: "MJPG",
		Width: 640, Height: 480, FPS: 29.97, Hint: "add the user to group video", Error: "permission denied", Since: Time(decidedAt()),
		Health: &CameraHealth{"alarmed", Time(decidedAt()), []string{"slow", "gaps"}, "check its cable", 1, 2, 3456, 1,
			map[string]uint64{"healthy": 3, "alarmed": 1}, map[string]float64{"healthy": 12.5}}}
	info := Info{Schema: 1, Device: "door-7", Version: "v0.1.0",
		Models:  []ModelInfo{{Task: "liveness", Name: "a", Version: "1", SHA256: "0"}},
		Runtime: "2.9.0", Delegate: "xnnpack", Cameras: []string{"front"},
		Delegates: []DelegateInfo{{"edgetpu", DelegateResting, "it hung", "look at the cable", 0, "", Time(decidedAt())}, {Delegate: "xnnpack", State: DelegateUsed, MedianMS: 1.6, Note: "n"}},
		Keys:      KeysInfo([]sign.Public{testKey(t, 1).Public(), {ID: testKey(t, 2).Public().ID, Key: testKey(t, 2).Public().Key, Since: decidedAt(), Until: decidedAt()}}),
		Journal:   &JournalInfo{JournalMemory, "no space left on device", "make room", Time(decidedAt())}}
	documents := map[string]map[string]any{
		"verdict.json":      {},
		"camera-state.json": {"full": full, "bare": CameraState{Schema: 1, State: "recovering"}},
		"info.json":         {"full": info},
		"gap.json": {"numbers": Gap{1, "door-7", ptr("b"), []SeqRange{{1, 3}, {5, 5}}, true, 4, 0, GapCount, Time(decidedAt()), Time(decidedAt())},
			"nobody knows": Gap{Schema: 1, Device: "door-7", Ranges: []SeqRange{}, Reason: GapDamaged}},
		"request-session.json": {"full": SessionRequest{"t1", Time(decidedAt()), "staff-door", Authentication, "front", "u1", "n-123", Duration(8 * time.Second)},
			"bare": SessionRequest{Transaction: "t1", Application: "staff-door", Purpose: Enrollment}},
		"request-cancel.json": {"full": CancelRequest{"t1", Time(decidedAt()), "s1"}},
		"request-ping.json":   {"full": PlainRequest{"t1", Time(decidedAt())}, "bare": PlainRequest{Transaction: "t1"}},
		"request-unlock.json": {"a subject": UnlockRequest{"t1", Time(decidedAt()), "staff-door", "u1", "", false},
			"a camera": UnlockRequest{Transaction: "t1", Camera: "front"}, "all": UnlockRequest{Transaction: "t1", All: true}},
		"switches-set.json": {"both": SwitchRequest{Time(decidedAt()), ptr(true), ptr(false)}, "one": SwitchRequest{Enrollment: ptr(false)}},
		"switches.json":     {"off": Switches{}, "on": Switches{true, true}},
		"response.json": {"a session": Response{Transaction: "t1", Status: StatusOK, Session: "s1"}, "info": Response{Transaction: "t1", Status: StatusOK, Info: &info},
			"unlocked": Response{Transaction: "t1", Status: StatusOK, Lifted: ptr(0)}, "refused": Refusal("", CodeUnauthorized, "no application \"nobody\""),
			"locked": Response{"t1", StatusError, "", nil, nil, CodeLockedOut, CodeLockedOut.Number(), "locked out for 5m", 300_000}},
		"telemetry.json": {"full": measuredAll(),
			"bare": Telemetry{Schema: 1, Device: "door-7", Boot: "b", At: Time(decidedAt()), Cameras: map[string]CameraTelemetry{}}},
		"home-assistant.json": {"all": announced(t), "one that is removed": homeDocument{AvailabilityTopic: "a", PayloadAvailable: Online, PayloadNotAvailable: Offline,
			QoS: 1, Device: announced(t).Device, Origin: announced(t).Origin, Components: map[string]homeComponent{"front_attack": {Platform: homeEvent}}}},
		"hint.json": {"full": Hint{1, "s1", "front", CodeTooDark, "too dark", Time(decidedAt())}},
	}
	for name, v := range verdicts() {
		documents["verdict.json"][name] = v
	}
	d := described(t)
	if names := d.Schemas(); !slices.Equal(names, slices.Sorted(maps.Keys(documents))) {
		t.Fatalf("schemas %v", names)
	}
	for name := range documents {
		for what, doc := range documents[name] {
			if err := holds(t, d, name, doc); err != nil {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
}

// measuredAll is telemetry of a device that can measure everything.
func measuredAll() Telemetry {
	return Telemetry{Schema: 1, Device: "door-7", Boot: "b", At: Time(decidedAt()), UptimeS: 60, ResidentBytes: 46 << 20, Delegate: "xnnpack", DelegatesRefused: 1,
		Cameras: map[string]CameraTelemetry{"front": {Captured: 910, Dropped: 3, Bad: 7, Lost: 2, Reopened: 1, Health: "healthy", Outages: 1, Examined: 900, Judged: 30,
			Verdicts: VerdictCounts{3, 2, 1}, FPS: ptr(15.02), LatencyMS: map[string]Spread{"total": {900, 1.6, 3.2, 7.5}}}},
		Temperatures: []Temperature{{"cpu-thermal", 51.2}, {"outside", -11}}}
}

// TestSchemasHaveTheMembersOfTheDocuments finds a member that only one of the two has, or that only one of them demands.
func TestSchemasHaveTheMembersOfTheDocuments(t *testing.T) {
	for name, doc := range map[string]any{"verdict.json": Verdict{}, "camera-state.json": CameraState{}, "info.json": Info{},
		"request-session.json": SessionRequest{}, "request-cancel.json": CancelRequest{}, "request-ping.json": PlainRequest{},
		"request-unlock.json": UnlockRequest{}, "switches-set.json": SwitchRequest{}, "switches.json": Switches{}, "response.json": Response{},
		"hint.json": Hint{}, "gap.json": Gap{}, "telemetry.json": Telemetry{}, "home-assistant.json": homeDocument{}} {
		sameMembers(t, name, readSchema(t, name), reflect.TypeOf(doc))
	}
}

func sameMembers(t *testing.T, at string, schema map[string]any, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Slice {
		items, _ := schema["items"].(map[string]any)
		sameMembers(t, at+"[]", items, typ.Elem())
		return
	}
	if typ.Kind() == reflect.Map {
		values, _ := schema["additionalProperties"].(map[string]any)
		sameMembers(t, at+"{}", values, typ.Elem())
		return
	}
	if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[Time]() || strings.HasSuffix(at, "response.json.info") { // that has a schema of its own
		return
	}
	properties, _ := schema["properties"].(map[string]any)
	var members, required []string
	for i := range typ.NumField() {
		name, option, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		members = append(members, name)
		if option != "omitempty" && option != "omitzero" {
			required = append(required, name)
		}
		p, _ := properties[name].(map[string]any)
		sameMembers(t, at+"."+name, p, typ.Field(i).Type)
	}
	var inSchema, demanded []string
	for name := range properties {
		inSchema = append(inSchema, name)
	}
	list, _ := schema["required"].([]any)
	for _, name := range list {
		demanded = append(demanded, fmt.Sprint(name))
	}
	for _, s := range [][]string{members, required, inSchema, demanded} {
		slices.Sort(s)
	}
	if !slices.Equal(members, inSchema) {
		t.Errorf("%s: the type has %v, the schema %v", at, members, inSchema)
	}
	if !slices.Equal(required, demanded) {
		t.Errorf("%s: the type always has %v, the schema demands %v", at, required, demanded)
	}
}

// TestSchemaRefusesWhatCheckRefuses holds the schema to the rules, as far as a schema can know them.
func TestSchemaRefusesWhatCheckRefuses(t *testing.T) {
	// A schema can't compare two members, and knows neither codes nor lengths.
	beyond := []string{"live below its threshold", "live with thresholds the wrong way", "spoof with the score of a live one",
		"camera that is no level of a topic", "camera that is a wildcard", "expired before it was decided",
		"session with a subject without end", "a session whose id is no level", "a delegate that isn't UTF-8", "a device name without end"}
	d := described(t)
	tried := 0
	for name, v := range inconsistent() {
		b, err := json.Marshal(v)
		if err != nil || slices.Contains(beyond, name) {
			continue
		}
		tried++
		if d.CheckAs("verdict.json", b) == nil {
			t.Errorf("%s: the schema lets it pass", name)
		}
	}
	if tried < 30 {
		t.Errorf("only %d documents were tried", tried)
	}
}

func readSchema(t *testing.T, name string) map[string]any {
	t.Helper()
	b, err := fs.ReadFile(Schemas(), name)
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

// generic is a document as a reader without our types sees it.
// described reads the description of the topics, with the schemas.
func described(t *testing.T) *asyncapi.Description {
	t.Helper()
	d, err := asyncapi.Read(Schemas())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// holds tells what in a document contradicts the schema of a file.
func holds(t *testing.T, d *asyncapi.Description, file string, doc any) error {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return d.CheckAs(file, b)
}

func TestWrongCameraStatesAreRefused(t *testing.T) {
	d := described(t)
	for name, s := range map[string]CameraState{
		"no state":         {Schema: 1},
		"another state":    {Schema: 1, State: "STREAMING"},
		"another schema":   {Schema: 2, State: "streaming"},
		"a negative width": {Schema: 1, State: "streaming", Width: -1},
		"a negative rate":  {Schema: 1, State: "streaming", FPS: -1},

		"another health":            {Schema: 1, State: "streaming", Health: &CameraHealth{State: "fine", Entered: map[string]uint64{}, Seconds: map[string]float64{}}},
		"a nameless alarm":          {Schema: 1, State: "streaming", Health: &CameraHealth{State: "alarmed", Alarms: []string{""}, Entered: map[string]uint64{}, Seconds: map[string]float64{}}},
		"negative strikes":          {Schema: 1, State: "streaming", Health: &CameraHealth{State: "healthy", Strikes: -1, Entered: map[string]uint64{}, Seconds: map[string]float64{}}},
		"time in no known health":   {Schema: 1, State: "streaming", Health: &CameraHealth{State: "healthy", Seconds: map[string]float64{"fine": 1}, Entered: map[string]uint64{}}},
		"negative time":             {Schema: 1, State: "streaming", Health: &CameraHealth{State: "healthy", Seconds: map[string]float64{"healthy": -1}, Entered: map[string]uint64{}}},
		"an entry to no such state": {Schema: 1, State: "streaming", Health: &CameraHealth{State: "healthy", Entered: map[string]uint64{"fine": 1}, Seconds: map[string]float64{}}},
	} {
		if s.Check() == nil {
			t.Errorf("%s: passed", name)
		}
		if holds(t, d, "camera-state.json", s) == nil {
			t.Errorf("%s: the schema lets it pass", name)
		}
	}
	for name, s := range map[string]CameraState{
		"an unknown code": {Schema: 1, State: "failed", Code: "NONE"},
		"no number":       {Schema: 1, State: "streaming", FPS: math.NaN()},
		"no end":          {Schema: 1, State: "streaming", FPS: math.Inf(1)},
	} {
		if s.Check() == nil {
			t.Errorf("%s: passed", name)
		}
	}
}

func TestWrongTelemetryIsRefused(t *testing.T) {
	d := described(t)
	for name, change := range map[string]func(*Telemetry){
		"another schema":          func(m *Telemetry) { m.Schema = 2 },
		"no device":               func(m *Telemetry) { m.Device = "" },
		"no boot":                 func(m *Telemetry) { m.Boot = "" },
		"no cameras":              func(m *Telemetry) { m.Cameras = nil },
		"a time before the start": func(m *Telemetry) { m.UptimeS = -1 },
		"a negative rate":         func(m *Telemetry) { m.Cameras["front"] = CameraTelemetry{FPS: ptr(-1.0)} },
		"a stage of no frame":     func(m *Telemetry) { m.Cameras["front"] = CameraTelemetry{LatencyMS: map[string]Spread{"total": {}}} },
		"a negative latency": func(m *Telemetry) {
			m.Cameras["front"] = CameraTelemetry{LatencyMS: map[string]Spread{"total": {1, 1, -1, 1}}}
		},
		"a sensor without a name": func(m *Telemetry) { m.Temperatures[0].Sensor = "" },
	} {
		m := measuredAll()
		change(&m)
		if m.Check() == nil {
			t.Errorf("%s: passed", name)
		}
		if holds(t, d, "telemetry.json", m) == nil {
			t.Errorf("%s: the schema lets it pass", name)
		}
	}
	m := measuredAll()
	m.Temperatures[0].Celsius = math.NaN()
	if m.Check() == nil {
		t.Error("a temperature that is no number passed")
	}
}
