package asyncapi

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// files copies the description and the schemas, changed.
func files(t *testing.T, name, old, new string) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	dir := os.DirFS("../schema")
	names, err := fs.Glob(dir, "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := fs.ReadFile(dir, n)
		if err != nil {
			t.Fatal(err)
		}
		if n == name {
			if !strings.Contains(string(b), old) {
				t.Fatalf("%s has no %q", name, old)
			}
			b = []byte(strings.Replace(string(b), old, new, 1))
		}
		out[n] = &fstest.MapFile{Data: b}
	}
	return out
}

func TestADescriptionThatDoesNotHoldTogetherIsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ file, old, new, why string }{
		"another version":                {File, "asyncapi: 3.0.0", "asyncapi: 2.6.0", `version "2.6.0"`},
		"a key that nobody knows":        {File, "    summary: Gives a verdict", "    sumary: Gives a verdict", "sumary"},
		"a key twice":                    {File, "  gap:\n    address", "  info:\n    address", "info"},
		"a reference to nothing":         {File, "$ref: '#/components/messages/gap'", "$ref: '#/components/messages/gab'", "#/components/messages/gab leads nowhere"},
		"a schema that isn't there":      {File, "$ref: ./gap.json", "$ref: ./gab.json", "./gab.json leads nowhere"},
		"something beside a reference":   {File, "$ref: ./gap.json", "$ref: ./gap.json\n        type: object", "beside the $ref"},
		"a parameter that isn't said":    {File, "camera/{camera}/state", "camera/{lens}/state", "address {prefix}/{device}/camera/{lens}/state"},
		"a channel without an operation": {File, "  announceGap:\n    action: send\n    channel:\n      $ref: '#/channels/gap'", "  announceGap:\n    action: send\n    channel:\n      $ref: '#/channels/info'", "gap: no operation"},
		"an action that there isn't":     {File, "action: send", "action: publish", `"publish"`},
		"a quality that there isn't":     {File, "qos: 0", "qos: 3", "measure"},
		"a reply to what is sent":        {File, "    action: receive\n    channel:\n      $ref: '#/channels/requestPing'", "    action: send\n    channel:\n      $ref: '#/channels/requestPing'", "reply"},
		"a message of nobody":            {File, "  messages:\n    availability:\n      summary", "  messages:\n    nobody:\n      summary: x\n      payload: {type: string}\n      examples: [{payload: x}]\n    availability:\n      summary", "nobody: no channel"},
		"an example that is wrong":       {File, "reason: count, since", "reson: count, since", "missing property 'reason'"},
		"a text that is wrong":           {File, "- payload: online", "- payload: on", "example 0"},
		"a message without example":      {File, "      examples:\n        - payload: {transaction: t3}\n", "", "0 examples"},
		"another protocol":               {File, "protocol: secure-mqtt", "protocol: mqtts", `"mqtts"`},
		"servers that differ":            {File, "    bindings:\n      $ref: '#/components/serverBindings/device'", "    bindings:\n      mqtt: {keepAlive: 60}", "another binding"},
		"a keyword that nobody knows":    {"gap.json", `"minLength": 1`, `"minlength": 1`, "minlength: nobody knows"},
		"a keyword of no meaning":        {"response.json", `{"$ref": "info.json"}`, `{"$ref": "info.json", "type": "object"}`, "counts for nothing"},
		"a schema that refers to none":   {"response.json", `"info.json"`, `"inform.json"`, "inform.json"},
		"a schema of a wrong type":       {"gap.json", `"type": "object"`, `"type": "objekt"`, "gap.json"},
		"a schema that is no JSON":       {"gap.json", `{`, `[`, "gap.json"},
	} {
		_, err := Read(files(t, tt.file, tt.old, tt.new))
		if err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v, which doesn't say %q", name, err, tt.why)
		}
	}
	if _, err := Read(files(t, "", "", "")); err != nil {
		t.Error(err)
	}
	if _, err := Read(fstest.MapFS{}); err == nil {
		t.Error("there is nothing, and it was read")
	}
}

func TestMessagesAreHeldToTheirChannels(t *testing.T) {
	d, err := Read(os.DirFS("../schema"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		prefix, topic, payload string
		channel                string // "" for none
		fine                   bool
	}{
		{"livenessd", "livenessd/door-7/availability", "online", "availability", true},
		{"livenessd", "livenessd/door-7/availability", "onlin", "availability", false},
		{"livenessd", "livenessd/door-7/availability", `"online"`, "availability", false},
		{"site/hall", "site/hall/door-7/request/ping", `{"transaction":"t"}`, "requestPing", true},
		{"site/hall", "site/hall/door-7/request/ping", `{"transaction":"t"`, "requestPing", false},
		{"livenessd", "site/hall/door-7/request/ping", `{"transaction":"t"}`, "", false},
		{"livenessd", "livenessd/door-7/request/pong", `{"transaction":"t"}`, "", false},
		{"livenessd", "livenessd/door-7/availability/x", "online", "", false},
		{"livenessd", "livenessd//availability", "online", "", false},
		{"livenessd", "livenessd/door-7/session/s", `{"schema":1,"session":"s","camera":"c","code":"TOO_DARK","hint":"x","at":"2026-01-02T03:04:05Z"}`, "session", true},
		{"livenessd", "livenessd/door-7/session/s", `{"schema":1,"session":"s","camera":"c","code":"TOO_DARK","hint":"x","at":"yesterday"}`, "session", false},
	} {
		c := d.Find(tt.prefix, tt.topic)
		name := ""
		if c != nil {
			name = c.Name
		}
		if name != tt.channel {
			t.Errorf("%s is on channel %q, want %q", tt.topic, name, tt.channel)
		}
		if c == nil {
			continue
		}
		if err := c.Check([]byte(tt.payload)); (err == nil) != tt.fine {
			t.Errorf("%s %s: %v, want fine: %v", tt.topic, tt.payload, err, tt.fine)
		}
	}
	if c := d.Find("livenessd", "livenessd/d/request/unlock"); c.Sends || c.Reply != "responseUnlock" || c.QoS != 1 || c.Retain {
		t.Errorf("%+v", c)
	}
	if c := d.Find("livenessd", "livenessd/d/response/unlock"); !c.Sends || c.QoS != 1 || c.Retain {
		t.Errorf("%+v", c)
	}
}
