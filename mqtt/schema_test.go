package mqtt

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestDocumentsAreWhatTheirSchemasSay(t *testing.T) {
	full := CameraState{Schema: 1, State: "failed", Code: CodePermissionRefused, Device: "/dev/video0", Format: "MJPG",
		Width: 640, Height: 480, FPS: 29.97, Hint: "add the user to group video", Error: "permission denied", Since: Time(decidedAt())}
	info := Info{Schema: 1, Device: "door-7", Version: "v0.1.0",
		Models:  []ModelInfo{{Task: "liveness", Name: "a", Version: "1", SHA256: "0"}},
		Runtime: "2.9.0", Delegate: "xnnpack", Cameras: []string{"front"},
		Journal: &JournalInfo{JournalMemory, "no space left on device", "make room", Time(decidedAt())}}
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
		"hint.json": {"full": Hint{1, "s1", "front", CodeTooDark, "too dark", Time(decidedAt())}},
	}
	for name, v := range verdicts() {
		documents["verdict.json"][name] = v
	}
	names, err := fs.Glob(Schemas(), "*.json")
	if err != nil || len(names) != len(documents) {
		t.Fatalf("schemas %v, %v", names, err)
	}
	for _, name := range names {
		schema := readSchema(t, name)
		for what, doc := range documents[name] {
			if err := holds(schema, generic(t, doc), "document"); err != nil {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
}

// TestSchemasHaveTheMembersOfTheDocuments finds a member that only one of the two has, or that only one of them demands.
func TestSchemasHaveTheMembersOfTheDocuments(t *testing.T) {
	for name, doc := range map[string]any{"verdict.json": Verdict{}, "camera-state.json": CameraState{}, "info.json": Info{},
		"request-session.json": SessionRequest{}, "request-cancel.json": CancelRequest{}, "request-ping.json": PlainRequest{},
		"request-unlock.json": UnlockRequest{}, "switches-set.json": SwitchRequest{}, "switches.json": Switches{}, "response.json": Response{},
		"hint.json": Hint{}, "gap.json": Gap{}} {
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
	schema := readSchema(t, "verdict.json")
	tried := 0
	for name, v := range inconsistent() {
		b, err := json.Marshal(v)
		if err != nil || slices.Contains(beyond, name) {
			continue
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		tried++
		if holds(schema, doc, "document") == nil {
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
func generic(t *testing.T, doc any) any {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var g any
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// holds checks a value against the part of JSON Schema that our schemas use. A keyword that it doesn't know is an error, lest it
// be taken for checked.
func holds(schema any, v any, at string) error {
	if b, ok := schema.(bool); ok {
		if !b {
			return fmt.Errorf("%s: must not be there", at)
		}
		return nil
	}
	s, ok := schema.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: the schema is %T", at, schema)
	}
	object, isObject := v.(map[string]any)
	array, isArray := v.([]any)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	for keyword, want := range s {
		var err error
		switch keyword {
		case "$schema", "title", "description", "else", "then":
		case "type":
			err = typed(want, v, at)
		case "const":
			if !reflect.DeepEqual(v, want) {
				err = fmt.Errorf("%s: %v, not %v", at, v, want)
			}
		case "enum":
			if !slices.ContainsFunc(want.([]any), func(w any) bool { return reflect.DeepEqual(v, w) }) {
				err = fmt.Errorf("%s: %v, none of %v", at, v, want)
			}
		case "required":
			for _, name := range want.([]any) {
				if _, there := object[name.(string)]; isObject && !there {
					err = fmt.Errorf("%s: no member %v", at, name)
				}
			}
		case "properties":
			for name, sub := range want.(map[string]any) {
				if member, there := object[name]; there && err == nil {
					err = holds(sub, member, at+"."+name)
				}
			}
		case "items":
			for i := range array {
				if isArray && err == nil {
					err = holds(want, array[i], fmt.Sprintf("%s[%d]", at, i))
				}
			}
		case "minLength":
			if isText && float64(utf8.RuneCountInString(text)) < want.(float64) {
				err = fmt.Errorf("%s: %q is too short", at, text)
			}
		case "maxLength":
			if isText && float64(utf8.RuneCountInString(text)) > want.(float64) {
				err = fmt.Errorf("%s: %q is too long", at, text)
			}
		case "additionalProperties":
			properties, _ := s["properties"].(map[string]any)
			for name := range object {
				if _, known := properties[name]; !known && want == false {
					err = fmt.Errorf("%s: member %s", at, name)
				}
			}
		case "anyOf", "oneOf":
			n := 0
			for _, sub := range want.([]any) {
				if holds(sub, v, at) == nil {
					n++
				}
			}
			if n == 0 || n > 1 && keyword == "oneOf" {
				err = fmt.Errorf("%s: %d of %s hold", at, n, keyword)
			}
		case "pattern":
			if isText && !regexp.MustCompile(want.(string)).MatchString(text) {
				err = fmt.Errorf("%s: %q doesn't match %s", at, text, want)
			}
		case "format":
			if want != "date-time" {
				err = fmt.Errorf("%s: format %v", at, want)
			} else if _, bad := time.Parse(time.RFC3339, text); isText && bad != nil {
				err = fmt.Errorf("%s: %w", at, bad)
			}
		case "minimum":
			if isNumber && number < want.(float64) {
				err = fmt.Errorf("%s: %v is below %v", at, number, want)
			}
		case "maximum":
			if isNumber && number > want.(float64) {
				err = fmt.Errorf("%s: %v is above %v", at, number, want)
			}
		case "allOf":
			for _, sub := range want.([]any) {
				if err == nil {
					err = holds(sub, v, at)
				}
			}
		case "not":
			if holds(want, v, at) == nil {
				err = fmt.Errorf("%s: %v is what it must not be", at, v)
			}
		case "if":
			if holds(want, v, at) == nil {
				err = holds(s["then"], v, at)
			}
		default:
			err = fmt.Errorf("%s: keyword %s, which this test doesn't know", at, keyword)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func typed(want, v any, at string) error {
	types, ok := want.([]any)
	if !ok {
		types = []any{want}
	}
	for _, w := range types {
		fine := false
		switch x := v.(type) {
		case nil:
			fine = w == "null"
		case bool:
			fine = w == "boolean"
		case string:
			fine = w == "string"
		case float64:
			fine = w == "number" || w == "integer" && x == math.Trunc(x)
		case []any:
			fine = w == "array"
		case map[string]any:
			fine = w == "object"
		}
		if fine {
			return nil
		}
	}
	return fmt.Errorf("%s: %v (%T) is not %v", at, v, v, want)
}

func TestWrongCameraStatesAreRefused(t *testing.T) {
	schema := readSchema(t, "camera-state.json")
	for name, s := range map[string]CameraState{
		"no state":         {Schema: 1},
		"another state":    {Schema: 1, State: "STREAMING"},
		"another schema":   {Schema: 2, State: "streaming"},
		"a negative width": {Schema: 1, State: "streaming", Width: -1},
		"a negative rate":  {Schema: 1, State: "streaming", FPS: -1},
	} {
		if s.Check() == nil {
			t.Errorf("%s: passed", name)
		}
		if holds(schema, generic(t, s), "document") == nil {
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
