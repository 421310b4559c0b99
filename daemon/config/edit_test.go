package config

import (
	"errors"
	"strings"
	"testing"
)

func TestEditSetsAKeyAndNothingElse(t *testing.T) {
	one := func(value any, path ...string) []Change { return []Change{{path, value}} }
	for _, tt := range []struct {
		name, before string
		changes      []Change
		after        string
	}{
		{"in an empty file", "", one(0.7, "decision", "live_at"), "decision:\n  live_at: 0.7\n"},
		{"beside a comment", "# mine\ndevice: door-7 # the name\n", one("door-8", "device"), "# mine\ndevice: door-8 # the name\n"},
		{"a new section at the end", "device: door-7\n", one(3, "console", "viewers"), "device: door-7\n\nconsole:\n  viewers: 3\n"},
		{"a new key in a section", "decision:\n    min_frames: 6\n\n# what follows\nlog: {level: warn}\n", one(0.7, "decision", "live_at"),
			"decision:\n    min_frames: 6\n    live_at: 0.7\n\n# what follows\nlog: {level: warn}\n"},
		{"a key in a section in the middle", "decision:\n  live_at: 0.6 # was measured\n  spoof_at: 0.2\nlog:\n  level: warn\n", one(0.7, "decision", "live_at"),
			"decision:\n  live_at: 0.7 # was measured\n  spoof_at: 0.2\nlog:\n  level: warn\n"},
		{"a section that is null", "decision: # rules\nlog:\n  level: warn\n", one(0.7, "decision", "live_at"), "decision: # rules\n  live_at: 0.7\nlog:\n  level: warn\n"},
		{"a camera's size", "cameras:\n  front: # the door\n    path: \"/dev/video0\"\n    size: 640x480\n  back:\n    path: /dev/video2\n", one("1280x720", "cameras", "front", "size"),
			"cameras:\n  front: # the door\n    path: \"/dev/video0\"\n    size: \"1280x720\"\n  back:\n    path: /dev/video2\n"},
		{"a region where there is none", "cameras:\n  front:\n    region: null # all\n    fps: 15\n",
			[]Change{{[]string{"cameras", "front", "region", "x"}, 0.25}, {[]string{"cameras", "front", "region", "width"}, 0.5}},
			"cameras:\n  front:\n    region: # all\n      x: 0.25\n      width: 0.5\n    fps: 15\n"},
		{"a region taken away", "cameras:\n  front:\n    region:\n      x: 0.25\n      # half\n      width: 0.5\n    fps: 15\n", one(nil, "cameras", "front", "region"),
			"cameras:\n  front:\n    region: null\n    fps: 15\n"},
		{"a list for one", "mqtt:\n  url: mqtt://a # the only one\n", one([]string{"mqtt://a", "mqtt://b"}, "mqtt", "url"),
			"mqtt:\n  url: [mqtt://a, mqtt://b] # the only one\n"},
		{"a list in lines", "mqtt:\n  url:\n  - mqtt://a\n  - mqtt://b\n  prefix: x\n", one("mqtt://c", "mqtt", "url"), "mqtt:\n  url: mqtt://c\n  prefix: x\n"},
		{"a text that looks like something else", "device: a\n", one("7", "device"), "device: \"7\"\n"},
		{"with Windows' ends of lines", "device: a\r\nlog:\r\n  level: warn\r\n", one("debug", "log", "level"), "device: a\r\nlog:\r\n  level: debug\r\n"},
		{"a file without an end", "device: a", one(false, "mqtt", "home_assistant"), "device: a\n\nmqtt:\n  home_assistant: false\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := edit("x.yaml", []byte(tt.before), tt.changes, door)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.after {
				t.Errorf("got\n%s\nwant\n%s", got, tt.after)
			}
		})
	}
}

func TestEditRefusesWhatItCannotDo(t *testing.T) {
	for name, tt := range map[string]struct {
		before string
		change Change
		want   string
	}{
		"a section in brackets":     {"decision: {live_at: 0.6}\n", Change{[]string{"decision", "live_at"}, 0.7}, "in a way that can't be edited here"},
		"a value out of bounds":     {"", Change{[]string{"decision", "live_at"}, 7.0}, "decision.live_at is 7"},
		"an unknown key":            {"", Change{[]string{"decision", "live"}, 0.7}, "unknown key"},
		"a line break":              {"", Change{[]string{"device"}, "a\nlog: {}"}, "no kind that is known"},
		"no key":                    {"", Change{nil, "a"}, "no kind that is known"},
		"an object":                 {"", Change{[]string{"device"}, map[string]any{}}, "no kind that is known"},
		"a file that is wrong":      {"camras: 1\n", Change{[]string{"device"}, "a"}, "unknown key"},
		"a block of text":           {"device: >\n  a\n", Change{[]string{"device"}, "b"}, "device is"},
		"a key inside of a name":    {"", Change{[]string{"device: a #"}, "b"}, "unknown key"},
		"what contradicts the rest": {"decision:\n  live_at: 0.6\n  spoof_at: 0.3\n", Change{[]string{"decision", "spoof_at"}, 0.8}, "must be below"},
	} {
		if got, err := edit("x.yaml", []byte(tt.before), []Change{tt.change}, door); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := Parse("x.yaml", make([]byte, MaxFile+1)); !errors.Is(err, errTooBig) {
		t.Errorf("too long: %v", err)
	}
}

func TestTheExampleCanBeEdited(t *testing.T) {
	changes := []Change{{[]string{"decision", "live_at"}, 0.7}, {[]string{"decision", "spoof_at"}, 0.2}, {[]string{"console", "viewers"}, 3.0},
		{[]string{"cameras", "camera", "size"}, "1280x720"}, {[]string{"cameras", "camera", "controls", "brightness"}, "12"}, {[]string{"log", "level"}, "debug"}}
	got, err := edit("x.yaml", example, changes, door)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse("x.yaml", got, door)
	if err != nil || c.Decision.LiveAt != 0.7 || c.Console.Viewers != 3 || c.Cameras["camera"].Size != (Size{1280, 720}) || c.Cameras["camera"].Controls["brightness"] != "12" {
		t.Errorf("%v: %+v", err, c)
	}
	if a, b := strings.Count(string(example), "#"), strings.Count(string(got), "#"); a != b {
		t.Errorf("%d comments became %d", a, b)
	}
}

func TestDifferenceShowsWhatChanges(t *testing.T) {
	before := "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\ng: 7\nh: 8\n"
	after := "a: 1\nb: 2\nc: 3\nd: 40\ne: 5\nf: 6\ng: 7\nh: 8\ni: 9\n"
	const want = "…\n  b: 2\n  c: 3\n- d: 4\n+ d: 40\n  e: 5\n  f: 6\n  g: 7\n  h: 8\n+ i: 9\n"
	if got := Difference([]byte(before), []byte(after)); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := Difference([]byte(before), []byte(before)); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	if got := Difference(nil, []byte("a: 1\n")); got != "+ a: 1\n" {
		t.Errorf("of a new file: %q", got)
	}
	// Two files of as many lines as there may be, which have none in common: a table of them would take gigabytes.
	a, b := strings.Repeat("#\n", MaxFile/2), strings.Repeat("#a\n", MaxFile/3)
	if got := Difference([]byte(a), []byte(b)); strings.Count(got, "- #") != MaxFile/2 || strings.Count(got, "+ #a") != MaxFile/3 {
		t.Errorf("of large files: %d bytes", len(got))
	}
}

func FuzzEdit(f *testing.F) {
	f.Add(string(example), "decision.live_at", "0.7")
	f.Add("cameras:\n  front:\n    size: 640x480\n", "cameras.front.size", "1280x720")
	f.Add("a: |\n  b\n", "device", "x")
	f.Fuzz(func(t *testing.T, text, path, value string) {
		if len(text) > 4096 {
			return
		}
		after, err := edit("x.yaml", []byte(text), []Change{{strings.Split(path, "."), value}}, door)
		if err != nil {
			return
		}
		if _, err := parse("x.yaml", after, door); err != nil {
			t.Errorf("%q with %s: %q gives %q, which can't be read: %v", text, path, value, after, err)
		}
	})
}
