package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var door = machine{host: "door-7", state: "/var/lib/livenessd"}

func TestAnEmptyFileIsTheDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":      "",
		"a comment":    "# nothing here\n",
		"blank lines":  "\n  \n\r\n",
		"a BOM":        "\ufeff",
		"a document":   "---\n",
		"null":         "null\n",
		"empty values": "log:\ncameras:\nmqtt: ~\ndecision:\n  live_at: null\n  window:\nstate:\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse("x.yaml", []byte(text), door)
			if err != nil {
				t.Fatal(err)
			}
			if want := door.config(); !reflect.DeepEqual(c, want) {
				t.Errorf("got\n%+v\nwant\n%+v", c, want)
			}
		})
	}
}

func TestValuesAreTaken(t *testing.T) {
	const text = "\ufeffdevice: \"7\"\r\n" + `
log: {level: debug, format: json}
cameras:
  front:
    path: /dev/v4l/by-id/usb-Ä:1 # a comment
    format: mjpeg
    size: 1280x720
    fps: 29.97
    pair: beside
    pair_map: [.8, 0, 1e-1, 0, 0.9, -0.05]
    rotate: 270
    mirror: true
    region: {x: 0.25, width: .5, height: 0.75}
    identity: usb:046d:082d:A.1_-
    exposure: face
    controls: {gain: 007, white_balance_automatic: false, power_line_frequency: 50 Hz, "1": "true", brightness: -5, mode: "#x"}
  1:
    path: replay:clip.mjpeg
  beside: {path: /dev/video2, role: ir, format: grey, identity: ["usb:046d:082d", "bus:usb-0000:00:14.0-1"], allow_virtual: true}
models:
  liveness: mine
inference:
  delegate:
    - {name: edgetpu, device: "usb:0", library: /opt/libedgetpu.so.1, options: {Performance: Max}}
    - name: external:/usr/lib/libvx.so
      options: {a: "it's", b: 1e3, 2: true}
    - external:/usr/lib/other.so
    - {external: /usr/lib/third.so, compiled: ethos-u, options: {a: 1}}
    - nnapi
    - none
  threads: 2
  deadline: 750ms
decision:
  live_at: 0.9
  spoof_at: 1e-1
  window: 1500ms
  min_frames: 7
  timeout: 2m
  min_face: .25
  cues: {repeat: off, flat: deny, infrared: deny}
  accept_error: 0.002
  refuse_error: 0.1
  min_time: 1s
  correlation: 200ms
  crowd: 0.5
  visible: 0.9
  change: 0.3
  min_luma: 20
  max_luma: 240
  max_clipped: 0.4
  min_sharpness: 0.3
  max_yaw: 45
  max_roll: 20
applications:
  staff-door:
    liveness: {enrollment: false}
    thresholds: {authentication: {live_at: .7, spoof_at: 0.2}, enrollment: relaxed}
    on_attack: ban
    after: 2
    within: 1m
    for: 1440m
  "1":
mqtt:
  url: [mqtts://broker.example:8883, "mqtt://10.0.0.2"]
  prefix: a/b
  username: 'it''s "me" \ #1'
  password_file: /run/credentials/x
  journal: {count: 10, bytes: 100000, age: 60m}
  home_assistant: true
  subscribe_qos: 0
signing: {key_file: /etc/livenessd/device.key}
metrics: {listen: "[::]:8471", token_file: /etc/livenessd/token, cert_file: /etc/livenessd/door.pem, key_file: /etc/livenessd/door.key, insecure: true}
console:
  listen: "[::]:443"
  token_file: /run/credentials/t
  view_token_file: /run/credentials/v
  cert_file: /etc/livenessd/door.pem
  key_file: /etc/livenessd/door.key
  insecure: true
  hosts: [Door-7.example.org, "2001:db8::7"]
  viewers: 3
state: /srv/state
`
	want := Config{
		Device: "7", Log: Log{"debug", "json"},
		Cameras: map[string]Camera{
			"front": {Path: "/dev/v4l/by-id/usb-Ä:1", Format: "MJPG", Size: Size{1280, 720}, FPS: 29.97, Role: "rgb", Pair: "beside", PairMap: [6]float64{0.8, 0, 0.1, 0, 0.9, -0.05},
				Exposure: "face", Rotate: 270, Mirror: true, Region: Region{0.25, 0, 0.5, 0.75},
				Identity: []string{"usb:046d:082d:A.1_-"},
				Controls: map[string]string{"gain": "007", "white_balance_automatic": "false", "power_line_frequency": "50 Hz", "1": "true", "brightness": "-5", "mode": "#x"}},
			"1": {Path: "replay:clip.mjpeg", Size: Size{640, 480}, FPS: 15, Role: "rgb", Exposure: "camera"},
			"beside": {Path: "/dev/video2", Format: "GREY", Size: Size{640, 480}, FPS: 15, Role: "ir", Exposure: "camera", AllowVirtual: true,
				Identity: []string{"usb:046d:082d", "bus:usb-0000:00:14.0-1"}},
		},
		Models: Models{Liveness: Ensemble{{"mine", 1}}, Combine: "logits", Directory: "/srv/state/models"},
		Inference: Inference{Preference{
			{Name: "edgetpu", Device: "usb:0", Library: "/opt/libedgetpu.so.1", Options: []Option{{"Performance", "Max"}}},
			{Name: "external:/usr/lib/libvx.so", Options: []Option{{"a", "it's"}, {"b", "1e3"}, {"2", "true"}}},
			{Name: "external:/usr/lib/other.so"}, {Name: "external:/usr/lib/third.so", Compiled: "ethos-u", Options: []Option{{"a", "1"}}}, {Name: "nnapi"}, {Name: "cpu"},
		}, 2, 750 * time.Millisecond},
		Decision: Decision{"continuous", 0.9, 0.1, 0.002, 0.1, 1500 * time.Millisecond, 7, time.Second, 2 * time.Minute, 200 * time.Millisecond,
			0.25, 0.5, 0.9, 0.3, 20, 240, 0.4, 0.3, 45, 20, Cues{"off", "deny", "deny"}},
		Applications: map[string]Application{
			"staff-door": {Switches{true, false}, Thresholds{Strictness{"", 0.7, 0.2}, Strictness{Level: "relaxed"}}, "ban", 2, time.Minute, 24 * time.Hour},
			"1":          DefaultApplication(),
		},
		MQTT: MQTT{URLs: []string{"mqtts://broker.example:8883", "mqtt://10.0.0.2"}, Prefix: "a/b", Username: `it's "me" \ #1`,
			PasswordFile: "/run/credentials/x", Journal: Journal{10, 100000, time.Hour}, HomeAssistant: true},
		Signing: Signing{"/etc/livenessd/device.key"},
		Metrics: Metrics{"[::]:8471", "/etc/livenessd/token", "/etc/livenessd/door.pem", "/etc/livenessd/door.key", true},
		Console: Console{"[::]:443", "/run/credentials/t", "/run/credentials/v", "/etc/livenessd/door.pem", "/etc/livenessd/door.key", true,
			[]string{"door-7.example.org", "2001:db8::7"}, 3},
		State: "/srv/state",
	}
	c, err := parse("x.yaml", []byte(text), door)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
	if got := c.Log.SlogLevel(); got != slog.LevelDebug {
		t.Errorf("level %v", got)
	}
	again, err := parse("effective", c.YAML(), machine{host: "other", state: "/other"})
	if err != nil {
		t.Fatalf("the effective configuration can't be read: %v\n%s", err, c.YAML())
	}
	if !reflect.DeepEqual(again, want) {
		t.Errorf("the effective configuration gives\n%+v\nnot\n%+v", again, want)
	}
}

func TestWhoCanListenBesideOneAnother(t *testing.T) {
	for _, test := range []struct {
		one, other string
		want       bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.1:2", false}, {"127.0.0.1:1", "127.0.0.2:1", false}, {"127.0.0.1:1", "[::1]:1", false},
		{"0.0.0.0:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "[::]:1", true}, {"[::ffff:127.0.0.1]:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "", false},
	} {
		if got := overlap(netip.MustParseAddrPort(test.one), test.other); got != test.want {
			t.Errorf("%s beside %q: %v", test.one, test.other, got)
		}
	}
}

func TestWhoCanReachTheFigures(t *testing.T) {
	for address, want := range map[string]bool{
		"": false, "127.0.0.1:1": false, "127.8.9.10:1": false, "[::1]:1": false, "[::ffff:127.0.0.1]:1": false,
		"0.0.0.0:1": true, "[::]:1": true, "192.168.1.2:1": true, "[fe80::1%eth0]:1": true, "whatever": true,
	} {
		if (Metrics{Listen: address}).Exposed() != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}

func TestProblemsSayWhereAndWhatIsAllowed(t *testing.T) {
	tests := []struct {
		name, text string
		want       string // lines of FILE:LINE:COLUMN: message, then → hint
	}{
		{"unknown key, near one", "camras: {}\n", `1:1: unknown key "camras" → did you mean "cameras"?`},
		{"unknown key, letters swapped", "mqtt:\n  ulr: x\n", `2:3: unknown key "mqtt.ulr" → did you mean "mqtt.url"?`},
		{"unknown key, capitals", "DEVICE: x\n", `1:1: unknown key "DEVICE" → did you mean "device"?`},
		{"unknown key, near none", "log:\n  colour: on\n", `2:3: unknown key "log.colour" → known here: level, format`},
		{"unknown key in a camera", "cameras:\n  front:\n    with: 5\n", `3:5: unknown key "cameras.front.with" → known here: path, format, size, fps, role, pair, pair_map, rotate, mirror, region, controls, exposure, identity, allow_virtual`},
		{"unknown key after letters beyond ASCII", "{device: é, x: 1}", "1:10: device is \"é\"; allowed is a name of letters, digits, '.', '_' and '-', a letter or digit first, at most 64" +
			"\n1:13: unknown key \"x\" → known here: device, log, cameras, models, inference, decision, applications, mqtt, signing, metrics, console, state"},
		{"a key twice", "device: a\nlog: {}\ndevice: b\n", `3:1: key "device" is already in line 1 → keep one of the two`},
		{"several problems at once", "x: 1\nlog: {level: loud}\ndecision: {min_frames: 4}\n",
			"1:1: unknown key \"x\" → known here: device, log, cameras, models, inference, decision, applications, mqtt, signing, metrics, console, state\n" +
				"2:14: log.level is \"loud\"; allowed is debug, info, warn, error\n" +
				"3:24: decision.min_frames is 4; allowed is a whole number from 5 to 250"},
		{"a console that others reach without TLS", "console: {listen: '0.0.0.0:8470'}", "1:19: console.listen is 0.0.0.0:8470, which others can reach, and without TLS they would see " +
			"its pictures and tokens → give console.cert_file and console.key_file; or insecure: true, where nobody else is on that network"},
		{"an address of the console that is a name", "console: {listen: 'localhost:8470'}", `1:19: console.listen is "localhost:8470"; allowed is ADDRESS:PORT, such as 127.0.0.1:8471 or [::]:8471, or off`},
		{"an address of the console without a port", "console: {listen: 127.0.0.1}", `1:19: console.listen is "127.0.0.1"; allowed is ADDRESS:PORT, such as 127.0.0.1:8471 or [::]:8471, or off`},
		{"a certificate of the console without a key", "console: {cert_file: a}", "1:22: console.cert_file is of no use without its key → give console.key_file as well"},
		{"a key of the console without a certificate", "console: {key_file: a}", "1:21: console.key_file is of no use without its certificate → give console.cert_file as well"},
		{"an address for a host", "console: {hosts: 'http://door-7'}", `1:18: console.hosts: "http://door-7" is no name of a host → without http:// and without a port`},
		{"a token in the file", "console: {token: abc}", "1:11: console.token is a secret, which never stands in this file → write it into a file that only livenessd's user can read, and name that with console.token_file"},

		{"several problems, in the order of the lines", "decision:\n  live_at: 0.4\n  spoof_at: 0.5\nlog:\n  level: 1\n",
			"3:13: decision.spoof_at is 0.5; it must be below decision.live_at, which is 0.4 → between the two the answer is undecided\n" +
				"5:10: log.level is 1; allowed is debug, info, warn, error → put it between quotation marks: \"1\""},
		{"one problem doesn't make another", "cameras:\n  a: {path: 5}\n  b:\n", `2:13: cameras.a.path is 5; allowed is text → put it between quotation marks: "5"`},
		{"a number for a text", "models: {liveness: 7}", `1:20: models.liveness is 7; allowed is a model's name, or a list of names or of {name: NAME, weight: NUMBER} → put it between quotation marks: "7"`},
		{"a truth value for a name", "device: true", `1:9: device is true; allowed is a name of letters, digits, '.', '_' and '-', a letter or digit first, at most 64 → put it between quotation marks: "true"`},
		{"a list for a text", "device: [a]", "1:9: device is a list; allowed is a name of letters, digits, '.', '_' and '-', a letter or digit first, at most 64"},
		{"a section for a text", "models:\n  runtime:\n    a: b\n", "3:5: models.runtime is a section of keys; allowed is text"},
		{"a block of text", "models:\n  runtime: |\n    a\n", "2:12: models.runtime is a block of text; allowed is text"},
		{"a line break in a text", `models: {runtime: "a\nb"}`, `1:19: models.runtime is "a\nb"; allowed is text → no line breaks and no control characters`},
		{"a text for a section", "mqtt: localhost\n", `1:7: mqtt is "localhost"; allowed is keys with values, one a line below it`},
		{"a list for a section", "cameras:\n  - front\n", "2:3: cameras is a list; allowed is keys with values, one a line below it"},
		{"a text for it all", "hello\n", `1:1: the configuration is "hello"; allowed is keys with values, one a line below it`},

		{"a bare number for a time", "decision: {window: 5}", "1:20: decision.window is 5; allowed is a time from 100ms to 1m → write a whole number with its unit: 500ms, 8s or 2m"},
		{"a time in hours", "decision: {timeout: 1h}", `1:21: decision.timeout is "1h"; allowed is a time from 500ms to 10m → write a whole number with its unit: 500ms, 8s or 2m`},
		{"a time too long", "decision: {timeout: 999999999m}", `1:21: decision.timeout is "999999999m"; allowed is a time from 500ms to 10m`},
		{"a time below zero", "decision: {window: -2s}", `1:20: decision.window is "-2s"; allowed is a time from 100ms to 1m → write a whole number with its unit: 500ms, 8s or 2m`},
		{"not a number", "decision: {min_face: .nan}", "1:22: decision.min_face is .nan; allowed is a number from 0.01 to 1"},
		{"infinite", "decision: {min_face: .inf}", "1:22: decision.min_face is .inf; allowed is a number from 0.01 to 1"},
		{"a number too large for any type", "decision: {min_face: 1e999}", `1:22: decision.min_face is "1e999"; allowed is a number from 0.01 to 1`},
		{"a whole number too large", "inference: {threads: 99999999999999999999}", `1:22: inference.threads is "99999999999999999999"; allowed is a whole number from 1 to 64`},
		{"a broken number for a whole one", "inference: {threads: 1.5}", "1:22: inference.threads is 1.5; allowed is a whole number from 1 to 64"},
		{"quotation marks around a number", `inference: {threads: "1"}`, `1:22: inference.threads is "1"; allowed is a whole number from 1 to 64`},
		{"quotation marks around another", `decision: {min_face: "0.5"}`, `1:22: decision.min_face is "0.5"; allowed is a number from 0.01 to 1`},
		{"a threshold of nought", "decision: {live_at: 0}", "1:21: decision.live_at is 0; allowed is a number above 0 and below 1 → leave it out for what the liveness model recommends"},
		{"a threshold of one", "decision: {live_at: 1.0}", "1:21: decision.live_at is 1.0; allowed is a number above 0 and below 1 → leave it out for what the liveness model recommends"},
		{"thresholds the wrong way round", "decision:\n  live_at: 0.4\n  spoof_at: 0.4\n", "3:13: decision.spoof_at is 0.4; it must be below decision.live_at, which is 0.4 → between the two the answer is undecided"},
		{"a size of one number", "cameras: {a: {size: 640}}", "1:21: cameras.a.size is 640; allowed is WIDTHxHEIGHT in pixels, such as 640x480, each side from 16 to 16384"},
		{"a size of nothing", "cameras: {a: {size: 0x480}}", "1:21: cameras.a.size is 0x480; allowed is WIDTHxHEIGHT in pixels, such as 640x480, each side from 16 to 16384"},
		{"an unknown format", "cameras: {a: {format: H264}}", `1:23: cameras.a.format is "H264"; allowed is MJPG, YUYV, NV12, UYVY, YVYU, NV21, YU12, YV12, RGB3, BGR3, GREY, Y16, Y10`},
		{"a delegate that isn't known", "inference: {delegate: [xnnpack, gpu]}", `1:33: inference.delegate is "gpu"; allowed is xnnpack, cpu, edgetpu, nnapi or external:/PATH, or a list of them with the best liked first; or {name: …, options: {…}} in place of one`},
		{"a delegate twice", "inference: {delegate: [xnnpack, xnnpack]}", "1:33: inference.delegate has xnnpack twice → each at most once"},
		{"a delegate by both its names", "inference: {delegate: [cpu, none]}", "1:29: inference.delegate has cpu twice → each at most once"},
		{"a plug-in without a path", "inference: {delegate: [external:libvx.so]}", `1:24: inference.delegate is "external:libvx.so"; the path of a plug-in is absolute → write external:/usr/lib/NAME.so`},
		{"a plug-in with two names", "inference: {delegate: [{name: xnnpack, external: /a.so}]}", `1:24: inference.delegate has both a name and external → leave one of them out`},
		{"a delegate without a name", "inference: {delegate: [{device: usb}]}", `1:24: inference.delegate is ""; allowed is xnnpack, cpu, edgetpu, nnapi or external:/PATH, or a list of them with the best liked first; or {name: …, options: {…}} in place of one`},
		{"an unknown key of a delegate", "inference: {delegate: [{name: edgetpu, devise: usb}]}", `1:40: unknown key "inference.delegate.devise" → did you mean "inference.delegate.device"?`},
		{"a device that is none", "inference: {delegate: [{name: edgetpu, device: usb-0}]}", `1:48: inference.delegate.device is "usb-0"; allowed is usb or pci, or with a number, such as usb:0`},
		{"a device of the processor", "inference: {delegate: [{name: xnnpack, device: usb}]}", `1:24: inference.delegate: device and library are for edgetpu, not for xnnpack → say it with options, if the plug-in has one for it`},
		{"options of the processor", "inference: {delegate: {name: cpu, options: {a: 1}}}", `1:23: inference.delegate: cpu takes no options`},
		{"an option twice", "inference: {delegate: [{name: external:/a.so, options: {a: 1, a: 2}}]}", `1:63: key "a" is already in line 1 → keep one of the two`},
		{"an option that is a list", "inference: {delegate: [{name: external:/a.so, options: {a: [1]}}]}", `1:60: inference.delegate.options.a is a list; allowed is a text, a number, true or false`},
		{"options that are none", "inference: {delegate: [{name: external:/a.so, options: a=1}]}", `1:56: inference.delegate.options is "a=1"; allowed is keys with values, one a line below it`},
		{"a deadline that nobody waits for", "inference: {deadline: 1m}", `1:23: inference.deadline is "1m"; allowed is a time from 100ms to 10s`},
		{"no delegates", "inference: {delegate: []}", "1:23: inference.delegate is empty → leave it out for the usual"},
		{"a face both too dark and too bright", "decision: {min_luma: 200, max_luma: 100}", "1:22: decision.min_luma is 200; it must be below decision.max_luma, which is 100"},
		{"a time longer than the window", "decision: {min_time: 5s}", "1:22: decision.min_time is 5s; it must not be longer than decision.window, which is 4s → what is older doesn't count"},
		{"a time as long as the time-out", "decision: {min_time: 3s, timeout: 3s}", "1:22: decision.min_time is 3s; it must be below decision.timeout, which is 3s"},
		{"an error rate of one in two", "decision: {accept_error: 0.5}", "1:26: decision.accept_error is 0.5; allowed is a number from 1e-06 to 0.4"},
		{"a port alone", "metrics: {listen: 8471}", `1:19: metrics.listen is 8471; allowed is ADDRESS:PORT, such as 127.0.0.1:8471 or [::]:8471, or off → put it between quotation marks: "8471"`},
		{"a port that is none", "metrics: {listen: \"127.0.0.1:0\"}", `1:19: metrics.listen is "127.0.0.1:0"; allowed is ADDRESS:PORT, such as 127.0.0.1:8471 or [::]:8471, or off`},
		{"a name to listen at", "metrics: {listen: \"door.example:8471\"}", `1:19: metrics.listen is "door.example:8471"; allowed is ADDRESS:PORT, such as 127.0.0.1:8471 or [::]:8471, or off`},
		{"figures for everybody", "metrics: {listen: \"0.0.0.0:8471\", insecure: true}", "1:19: metrics.listen is 0.0.0.0:8471, which others can reach, and without metrics.token_file they would see when somebody was at the door → name a file that holds a token, or listen at 127.0.0.1"},
		{"figures in the clear", "metrics: {listen: \"[::]:8471\", token_file: /t}", "1:19: metrics.listen is [::]:8471, which others can reach, and without TLS they would see the token and the figures → give metrics.cert_file and metrics.key_file; or insecure: true, where nobody else is on that network"},
		{"figures where the console is", "metrics: {listen: \"127.0.0.1:8470\"}", "1:19: metrics.listen is 127.0.0.1:8470, which console.listen has → choose another port, or leave metrics.listen out: the console has the figures, too"},
		{"a certificate without its key", "metrics: {cert_file: /c}", "1:22: metrics.cert_file is of no use without its key → give metrics.key_file as well"},
		{"a key without its certificate", "metrics: {key_file: /c}", "1:21: metrics.key_file is of no use without its certificate → give metrics.cert_file as well"},
		{"a token in the file", "metrics: {token: abc}", "1:11: metrics.token is a secret, which never stands in this file → write it into a file that only livenessd's user can read, and name that with metrics.token_file"},
		{"a mode of a later version", "decision: {mode: sessions}", `1:18: decision.mode is "sessions"; allowed is continuous, on_request`},

		{"a camera name with a slash", "cameras:\n  a/b:\n", `2:3: camera name "a/b": allowed are letters, digits, '.', '_' and '-', a letter or digit first, at most 64`},
		{"a camera name with a wild card", "cameras: {\"+\": {}}", `1:11: camera name "+": allowed are letters, digits, '.', '_' and '-', a letter or digit first, at most 64`},
		{"no cameras", "cameras: {}\n", "1:10: cameras is empty → name one, or leave the key out for the first usable camera"},
		{"two cameras on one device", "cameras:\n  a: {path: /dev/video0}\n  b: {path: /dev/video0}\n",
			`3:6: cameras.b has path "/dev/video0", as cameras.a → a device can be one camera only`},
		{"two cameras that take the first", "cameras:\n  a:\n  b:\n", "3:3: cameras.b has no path, as cameras.a → a device can be one camera only"},

		{"a pair that isn't there", "cameras:\n  front: {pair: back}\n", `2:17: cameras.front.pair is "back", which is no camera → known here: front`},
		{"a pair that is none", "cameras:\n  a: {pair: b, path: x}\n  b: {path: y}\n",
			`2:13: cameras.a.pair is "b", whose role is rgb → give cameras.b the role ir if it is an infrared camera`},
		{"itself as a pair", "cameras:\n  a: {pair: a}\n", `2:13: cameras.a.pair is "a", whose role is rgb → give cameras.a the role ir if it is an infrared camera`},
		{"an infrared camera alone", "cameras:\n  a: {role: ir}\n",
			"2:13: cameras.a is an infrared camera that is nobody's pair → name it with pair at the camera that it stands beside, or remove it"},
		{"infrared cameras that are each other's pair", "cameras:\n  a: {role: ir, pair: b, path: x}\n  b: {role: ir, pair: a, path: y}\n",
			"2:23: cameras.a is an infrared camera and has no pair of its own → name this one as the pair of the camera that it stands beside\n" +
				"3:23: cameras.b is an infrared camera and has no pair of its own → name this one as the pair of the camera that it stands beside"},
		{"a pair of two", "cameras:\n  a: {pair: i, path: x}\n  b: {pair: i, path: y}\n  i: {role: ir, path: z}\n",
			`3:13: cameras.b.pair is "i", as of cameras.a → an infrared camera stands beside one other`},
		{"a map without a pair", "cameras:\n  a: {pair_map: [1, 0, 0, 0, 1, 0]}\n", "2:17: cameras.a.pair_map is of no use without a pair → name the infrared camera with pair"},
		{"a map of five numbers", "cameras:\n  a: {pair_map: [1, 0, 0, 0, 1]}\n",
			"2:17: cameras.a.pair_map is a list; allowed is a list of six numbers from -10 to 10: a, b, c, d, e, f of x' = ax + by + c and y' = dx + ey + f"},
		{"a map of a text", "cameras:\n  a: {pair_map: [1, 0, 0, 0, 1, x]}\n",
			`2:33: cameras.a.pair_map is "x"; allowed is a list of six numbers from -10 to 10: a, b, c, d, e, f of x' = ax + by + c and y' = dx + ey + f`},
		{"a map that mirrors", "cameras:\n  a: {pair_map: [-1, 0, 1, 0, 1, 0]}\n",
			"2:17: cameras.a.pair_map makes a picture -1 times as large; two cameras side by side have 0.04 to 25 → 1, 0, 0, 0, 1, 0 is the same place"},
		{"a turn by a little", "cameras:\n  a: {rotate: 45}\n", "2:15: cameras.a.rotate is 45; allowed is 0, 90, 180 or 270, in degrees clockwise"},
		{"a word for mirrored", "cameras:\n  a: {mirror: left}\n", `2:15: cameras.a.mirror is "left"; allowed is true or false`},
		{"a region of a list", "cameras:\n  a: {region: [0, 0, 1, 1]}\n", "2:15: cameras.a.region is a list; allowed is keys with values, one a line below it"},
		{"a region in pixels", "cameras:\n  a: {region: {x: 20}}\n", "2:19: cameras.a.region.x is 20; allowed is a number from 0 to 0.95"},
		{"a region beyond the right edge", "cameras:\n  a: {region: {x: .5, width: 0.75}}\n",
			"2:15: cameras.a.region reaches beyond the picture: x and width are 1.25 together → 1 is the whole side"},
		{"a region beyond the lower edge", "cameras:\n  a: {region: {y: .5, height: 0.75}}\n",
			"2:15: cameras.a.region reaches beyond the picture: y and height are 1.25 together → 1 is the whole side"},
		{"a region of other keys", "cameras:\n  a: {region: {left: 0}}\n", `2:16: unknown key "cameras.a.region.left" → known here: x, y, width, height`},
		{"a control's title for its name", "cameras:\n  a: {controls: {\"Exposure Time\": 1}}\n",
			"2:18: control name \"Exposure Time\": allowed are small letters, digits and '_', at most 64 → `livenessd cameras` lists them"},
		{"a control of a list", "cameras:\n  a: {controls: {gain: [1]}}\n", "2:24: cameras.a.controls.gain is a list; allowed is a number, true, false, or an item of a menu by its text"},
		{"a control of nothing", "cameras:\n  a: {controls: {gain: }}\n", "2:23: cameras.a.controls.gain is null; allowed is a number, true, false, or an item of a menu by its text"},
		{"a broken control", "cameras:\n  a: {controls: {gain: 1.5}}\n", "2:24: cameras.a.controls.gain is 1.5; allowed is a number, true, false, or an item of a menu by its text"},
		{"controls of a replay", "cameras:\n  a: {path: \"replay:x\", controls: {gain: 1}}\n", "2:35: cameras.a.controls is of no use with a replay → remove it, or name a device with path"},
		{"an identity of capitals", "cameras:\n  a: {identity: usb:046D:082d}\n",
			"2:17: cameras.a.identity is \"usb:046D:082d\"; allowed is usb:VENDOR:PRODUCT or usb:VENDOR:PRODUCT:SERIAL, with four small hexadecimal digits each, or bus:PLACE; or a list of both → `livenessd cameras` lists it, ready to be copied"},
		{"an identity too many", "cameras:\n  a: {identity: [\"bus:a\", \"bus:b\", \"bus:c\"]}\n", "2:17: cameras.a.identity has 3 identities; allowed are 1 to 2 → leave it out to take any camera"},
		{"no identity", "cameras:\n  a: {identity: []}\n", "2:17: cameras.a.identity has 0 identities; allowed are 1 to 2 → leave it out to take any camera"},
		{"an identity of a replay", "cameras:\n  a: {path: \"replay:x\", identity: bus:a}\n", "2:35: cameras.a.identity is of no use with a replay → remove it, or name a device with path"},
		{"exposure by a face in infrared", "cameras:\n  a: {pair: b, path: x}\n  b: {path: y, role: ir, exposure: face}\n",
			"3:36: cameras.b.exposure is of no use with an infrared camera → remove it; the lamp of an infrared camera is steady"},
		{"exposure of a replay", "cameras:\n  a: {path: \"replay:x\", exposure: face}\n", "2:35: cameras.a.exposure is of no use with a replay → remove it, or name a device with path"},
		{"a role that nobody has", "cameras:\n  a: {role: uv}\n", `2:13: cameras.a.role is "uv"; allowed is rgb, ir`},
		{"a cue that can't be required", "decision: {cues: {repeat: required}}", `1:27: decision.cues.repeat is "required"; allowed is deny, off`},

		{"no applications", "applications: {}", "1:15: applications is empty → name one, or leave the key out for one that is called default"},
		{"an application that is no level of a topic", "applications: {a/b: {}}", `1:16: application name "a/b": allowed are letters, digits, '.', '_' and '-', a letter or digit first, at most 64`},
		{"a key that no application has", "applications: {a: {on_atack: ban}}", `1:20: unknown key "applications.a.on_atack" → did you mean "applications.a.on_attack"?`},
		{"a switch that is a word", "applications: {a: {liveness: {enrollment: off}}}", `1:43: applications.a.liveness.enrollment is "off"; allowed is true or false`},
		{"another word for strict", "applications: {a: {thresholds: {enrollment: hard}}}", `1:45: applications.a.thresholds.enrollment is "hard"; allowed is relaxed, normal, strict, or the keys live_at and spoof_at`},
		{"half the thresholds", "applications: {a: {thresholds: {enrollment: {live_at: 0.5}}}}", "1:45: applications.a.thresholds.enrollment needs both live_at and spoof_at"},
		{"an application's thresholds the wrong way round", "applications: {a: {thresholds: {enrollment: {live_at: 0.5, spoof_at: 0.6}}}}",
			"1:70: applications.a.thresholds.enrollment.spoof_at is 0.6; it must be below live_at, which is 0.5 → between the two the answer is undecided"},
		{"another thing to do about attacks", "applications: {a: {on_attack: shout}}", `1:31: applications.a.on_attack is "shout"; allowed is deny, ban`},
		{"a ban after nothing", "applications: {a: {after: 0}}", "1:27: applications.a.after is 0; allowed is a whole number from 1 to 100"},
		{"a ban without an end", "applications: {a: {for: 99999999m}}", `1:25: applications.a.for is "99999999m"; allowed is a time from 1s to 10080m`},

		{"a password", "mqtt:\n  password: hunter2\n",
			"2:3: mqtt.password is a secret, which never stands in this file → write it into a file that only livenessd's user can read, and name that with mqtt.password_file"},
		{"a password in the URL", "mqtt: {url: \"mqtt://me:hunter2@host\"}",
			"1:13: mqtt.url is a text with an @; allowed is mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS → name the user with mqtt.username, and a file that holds the password with mqtt.password_file"},
		{"a URL without a scheme", "mqtt: {url: localhost}", `1:13: mqtt.url is "localhost"; allowed is mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS`},
		{"a URL with a path", "mqtt: {url: \"mqtt://h/x\"}", `1:13: mqtt.url is "mqtt://h/x"; allowed is mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS`},
		{"a URL of another protocol", "mqtt: {url: \"ws://h\"}", `1:13: mqtt.url is "ws://h"; allowed is mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS`},
		{"a URL with an impossible port", "mqtt: {url: \"mqtt://h:70000\"}", `1:13: mqtt.url is "mqtt://h:70000"; allowed is mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS → a port is 1 to 65535`},
		{"a broker twice", "mqtt: {url: [\"mqtt://h\", \"mqtt://h\"]}", "1:26: mqtt.url has mqtt://h twice → each at most once"},
		{"a bad broker of two", "mqtt: {url: [\"mqtt://h\", h]}", `1:26: mqtt.url is "h"; allowed is mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS`},
		{"no broker", "mqtt: {url: []}", "1:13: mqtt.url has 0 brokers; allowed are 1 to 8"},
		{"a number for brokers", "mqtt: {url: {a: 1}}", "1:13: mqtt.url is a section of keys; allowed is mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS, or a list of them"},
		{"a journal of nothing", "mqtt: {journal: {count: 0}}", "1:25: mqtt.journal.count is 0; allowed is a whole number from 1 to 100000"},
		{"a prefix with a wild card", "mqtt: {prefix: a/#}", `1:16: mqtt.prefix is "a/#"; allowed is levels of letters, digits, '.', '_' and '-' with a / between them`},
		{"a prefix with an empty level", "mqtt: {prefix: a//b}", `1:16: mqtt.prefix is "a//b"; allowed is levels of letters, digits, '.', '_' and '-' with a / between them`},
		{"a prefix of too many levels", "mqtt: {prefix: a/b/c/d/e/f/g/h/i}", `1:16: mqtt.prefix is "a/b/c/d/e/f/g/h/i"; allowed is levels of letters, digits, '.', '_' and '-' with a / between them`},
		{"a certificate without a key", "mqtt: {url: mqtts://b, cert_file: x}", "1:35: mqtt.cert_file is of no use without its key → give mqtt.key_file as well"},
		{"a certificate without TLS", "mqtt: {cert_file: x, key_file: y}",
			"1:19: mqtt.cert_file is of no use with mqtt://localhost:1883, which is without TLS → write mqtts:// in mqtt.url, or leave the file out"},
		{"authorities for one of two", "mqtt:\n  url: [mqtts://a, TCP://b]\n  ca_file: x",
			"3:12: mqtt.ca_file is of no use with TCP://b, which is without TLS → write mqtts:// in mqtt.url, or leave the file out"},
		{"a password without a user", "mqtt: {password_file: x}",
			"1:23: mqtt.password_file is of no use without a user: MQTT 3.1.1 has no password without a name → give mqtt.username as well"},
		{"a key without a certificate", "mqtt: {key_file: x}", "1:18: mqtt.key_file is of no use without its certificate → give mqtt.cert_file as well"},
		{"an empty state", "state: ''", "1:8: state is empty → name a folder, or leave the key out"},

		{"an anchor", "state: &a /x\n", "1:8: state is an anchor or an alias; allowed is text → write the value itself"},
		{"an alias", "log: {level: &a info}\nstate: *a\n", "1:14: log.level is an anchor or an alias; allowed is debug, info, warn, error → write the value itself\n" +
			"2:8: state is an anchor or an alias; allowed is text → write the value itself"},
		{"a merge", "log: &l {level: info}\nmqtt:\n  <<: *l\n", "1:6: log is an anchor or an alias; allowed is keys with values, one a line below it → write the value itself\n" +
			"3:3: mqtt: a key must be a plain name"},
		{"a tag", "device: !!str 5\n", "1:9: device is a tag; allowed is a name of letters, digits, '.', '_' and '-', a letter or digit first, at most 64 → write the value itself"},
		{"two documents", "device: a\n---\ndevice: b\n", "3:1: a second document begins here → keep one, and remove the line ---"},

		{"a tab", "log:\n\tlevel: info\n", "2:1: not YAML: found character '\t' that cannot start any token → indent with spaces, not with tabs"},
		{"an open bracket", "cameras: {a: {\n", "1:14: not YAML: could not find flow mapping end token '}'"},
		{"bytes that aren't UTF-8", "device: a\nlog: {level: caf\xe9}\n", "2:17: byte 0xe9 is not UTF-8 → save the file as UTF-8"},
		{"UTF-16", "\xff\xfed\x00", "1:1: byte 0xff is not UTF-8 → save the file as UTF-8"},
		{"a control character", "device: a\x00b\n", "1:10: control character 0x00 → remove it"},
		{"brackets without end below a comment", "# x\n" + strings.Repeat("[", 60_000), "2:51: brackets within brackets, more than 50 deep"},
		{"brackets without end", strings.Repeat("[", 60_000), "1:51: brackets within brackets, more than 50 deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse("x.yaml", []byte(tt.text), door)
			var ps Problems
			if !errors.As(err, &ps) {
				t.Fatalf("no problems but %v, %+v", err, c)
			}
			var got []string
			for _, p := range ps {
				line := strings.TrimPrefix(p.Error(), "x.yaml:")
				if p.Hint != "" {
					line += " → " + p.Hint
				}
				got = append(got, line)
			}
			if s := strings.Join(got, "\n"); s != tt.want {
				t.Errorf("got\n%s\nwant\n%s", s, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is in the error: %v", err)
			}
			if !reflect.DeepEqual(c, Config{}) {
				t.Errorf("a bad file gives a configuration: %+v", c)
			}
		})
	}
}

func TestWhatLooksWrongAndIsNot(t *testing.T) {
	var many strings.Builder
	many.WriteString("cameras:\n")
	for i := range 2 * maxDepth {
		fmt.Fprintf(&many, "  c%d: {path: /dev/video%d}\n", i, i)
	}
	for _, tt := range []struct {
		name, text string
		is         func(Config) bool
	}{
		{"brackets in comments", strings.Repeat("  # [ {\n", 2*maxDepth) + "device: x\n", func(c Config) bool { return c.Device == "x" }},
		{"many brackets, one after the other", many.String(), func(c Config) bool { return len(c.Cameras) == 2*maxDepth }},
		{"two cameras that replay the same", "cameras: {a: {path: \"replay:x\"}, b: {path: \"replay:x\"}}", func(c Config) bool { return len(c.Cameras) == 2 }},
		{"a nought before a number", "inference: {threads: 010}", func(c Config) bool { return c.Inference.Threads == 10 }},
		{"a number with an exponent alone", "decision: {live_at: 5e-1}", func(c Config) bool { return c.Decision.LiveAt == 0.5 }},
		{"texts that look like something else", "models: {runtime: \"null\", detector: \"7\", liveness: \"a: b # c\"}",
			func(c Config) bool {
				return c.Models.Runtime == "null" && c.Models.Detector == "7" && reflect.DeepEqual(c.Models.Liveness, Ensemble{{"a: b # c", 1}})
			}},
		{"a text over two lines", "models:\r\n  runtime: \"/a\r\n    b\"\r\n", func(c Config) bool { return c.Models.Runtime == "/a b" }},
		{"a key in quotation marks", "\"device\": x", func(c Config) bool { return c.Device == "x" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse("x.yaml", []byte(tt.text), door)
			if err != nil || !tt.is(c) {
				t.Fatalf("%+v, %v", c, err)
			}
			if again, err := parse("effective", c.YAML(), door); err != nil || !reflect.DeepEqual(again, c) {
				t.Errorf("what is in effect gives %+v, %v", again, err)
			}
		})
	}
}

func TestMoreProblemsThanAnybodyReadsAreCounted(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		text.WriteString("x" + strings.Repeat("y", i) + ": 1\n")
	}
	_, err := parse("x.yaml", []byte(text.String()), door)
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != maxProblems+1 {
		t.Fatalf("%d problems", len(ps))
	}
	if got := ps[maxProblems].Error(); got != "x.yaml: and 75 more" {
		t.Errorf("the last is %q", got)
	}
}

func TestFilesThatCanBeRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	usual := file("usual.yaml", "device: usual\n")
	given := file("given.yaml", "device: given\n")
	for _, tt := range []struct{ name, path, usual, device string }{
		{"the one that is named", given, usual, "given"},
		{"the usual one", "", usual, "usual"},
		{"none at all", "", filepath.Join(dir, "absent.yaml"), "door-7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(tt.path, tt.usual, door)
			if err != nil || c.Device != tt.device {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	absent := filepath.Join(dir, "absent.yaml")
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := filepath.Join(dir, "refused.yaml")
	if err := os.WriteFile(refused, nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path, message string
		is                  error
		hint                bool
	}{
		{"absent though named", absent, "config: stat " + absent + ": no such file or directory", fs.ErrNotExist, true},
		{"a folder", dir, "config: read " + dir + ": a folder, not a file", nil, false},
		{"a device", os.DevNull, "config: read /dev/null: not a regular file", nil, false},
		{"too large", large, "config: read " + large + ": more than 65536 bytes; is this the right file?", nil, false},
		{"refused", refused, "config: open " + refused + ": permission denied", fs.ErrPermission, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.is == fs.ErrPermission && os.Geteuid() == 0 {
				t.Skip("root may read everything")
			}
			_, err := load(tt.path, absent, door)
			if err == nil || err.Error() != tt.message {
				t.Fatalf("got  %v\nwant %s", err, tt.message)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("it doesn't wrap %v", tt.is)
			}
			var h interface{ Hint() string }
			if got := errors.As(err, &h) && h.Hint() != ""; got != tt.hint {
				t.Errorf("hint: %v", got)
			}
		})
	}
}

func TestDefaultsFollowTheMachine(t *testing.T) {
	for _, tt := range []struct{ host, want string }{
		{"door-7", "door-7"},
		{"door-7.example.org", "door-7.example.org"},
		{"böse/+#", "b-se---"},
		{"", "livenessd"},
		{"-_.", "livenessd"},
		{strings.Repeat("a", 100), strings.Repeat("a", 64)},
	} {
		if got := topicName(tt.host); got != tt.want {
			t.Errorf("host %q is device %q, not %q", tt.host, got, tt.want)
		}
	}
	for _, tt := range []struct {
		given string
		uid   int
		home  string
		want  string
	}{
		{"", 0, "/root", "/var/lib/livenessd"},
		{"", 1000, "/home/a", "/home/a/.local/state/livenessd"},
		{"", 1000, "", "/var/lib/livenessd"},
		{"/var/lib/private/x:/var/lib/y", 1000, "/home/a", "/var/lib/private/x"},
		{"relative", 0, "", "/var/lib/livenessd"},
	} {
		if got := stateDirectory(tt.given, tt.uid, tt.home); got != tt.want {
			t.Errorf("state for %+v is %s", tt, got)
		}
	}
	// Whatever this machine is like, its defaults are a valid configuration.
	c := Default()
	again, err := parse("effective", c.YAML(), door)
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("%v\n%+v\n%+v", err, c, again)
	}
}

func TestLevelsAreThoseOfTheLogPackage(t *testing.T) {
	for level, want := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		if got := (Log{Level: level}).SlogLevel(); got != want {
			t.Errorf("%s is %v", level, got)
		}
	}
}

func TestAPreferenceKnowsWhatIsTheProcessor(t *testing.T) {
	p := Preference{{Name: EdgeTPU}, {Name: External + "/a.so"}, {Name: CPU}, {Name: XNNPACK}}
	if p.Processor() != CPU || p.Accelerators() != 2 {
		t.Errorf("%s, %d accelerators", p.Processor(), p.Accelerators())
	}
	if p = p[:2]; p.Processor() != "" || p.Accelerators() != 2 {
		t.Errorf("%s, %d accelerators", p.Processor(), p.Accelerators())
	}
}

// leaves lists the pointers to a struct's values.
func leaves(v reflect.Value, name string, out map[any]string) {
	if v.Kind() == reflect.Struct && !slices.Contains([]reflect.Type{reflect.TypeFor[Size](), reflect.TypeFor[Strictness](), reflect.TypeFor[Region]()}, v.Type()) {
		for i := range v.NumField() {
			leaves(v.Field(i), name+"."+v.Type().Field(i).Name, out)
		}
		return
	}
	out[v.Addr().Interface()] = name
}

// targets lists where the keys' values go, by way of a file that has them all.
func targets(t *testing.T, r *reader, text string, fields []field) {
	t.Helper()
	if body := r.document([]byte(text)); body != nil {
		r.mapping(body, "", fields)
	}
	if len(r.problems) > 0 {
		t.Fatal(r.sorted())
	}
}

func TestTheExampleHasEveryKeyWithItsDefault(t *testing.T) {
	text, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse("example.yaml", text, door)
	if err != nil {
		t.Fatal(err)
	}
	if want := door.config(); !reflect.DeepEqual(c, want) {
		t.Errorf("the example gives\n%+v\nnot the defaults\n%+v", c, want)
	}

	check := func(what any, seen map[any]position) {
		want := map[any]string{}
		leaves(reflect.ValueOf(what).Elem(), reflect.TypeOf(what).Elem().Name(), want)
		for p, name := range want {
			if _, ok := seen[p]; !ok {
				t.Errorf("%s is not in the example", name)
			}
			delete(seen, p)
		}
		for p := range seen {
			t.Errorf("the example sets a %T that isn't in %T", p, what)
		}
	}
	r := &reader{at: map[any]position{}}
	cfg := door.base()
	targets(t, r, string(text), cfg.fields())
	for p := range r.at { // those of the example's camera are looked at below
		if v := reflect.ValueOf(p); v.Kind() == reflect.Pointer && !within(&cfg, v.Pointer()) {
			delete(r.at, p)
		}
	}
	check(&cfg, r.at)

	// below gives the lines below one, up to an empty one.
	below := func(line string) string {
		_, after, found := strings.Cut(string(text), "\n"+line+"\n")
		if !found {
			t.Fatalf("no %q in the example", line)
		}
		part, _, _ := strings.Cut(after, "\n\n")
		return part
	}
	cam, camReader := Camera{}, &reader{at: map[any]position{}}
	targets(t, camReader, below("  camera:"), cam.fields())
	check(&cam, camReader.at)
	app, appReader := Application{}, &reader{at: map[any]position{}}
	targets(t, appReader, below("  default:"), app.fields())
	check(&app, appReader.at)

	// Each line with a value says something to people: a comment on it or above it, or a name that needs none.
	for _, key := range []string{"device", "path", "live_at", "window", "min_face", "count", "state"} {
		if !strings.Contains(string(text), key+":") {
			t.Errorf("no %s", key)
		}
	}
}

// within tells whether an address lies in a configuration.
func within(c *Config, p uintptr) bool {
	v := reflect.ValueOf(c)
	return p >= v.Pointer() && p < v.Pointer()+v.Type().Elem().Size()
}

func TestEditsCountInsertionsDeletionsChangesAndSwaps(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"url", "url", 0}, {"ulr", "url", 1}, {"camras", "cameras", 1}, {"fps", "gps", 1}, {"", "ab", 2}, {"ab", "", 2}, {"x", "timeout", 3},
	} {
		if got := edits(tt.a, tt.b, 3); got != tt.want {
			t.Errorf("%q to %q: %d, not %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, s := range []string{"applications: {a: {thresholds: {enrollment: {live_at: .5, spoof_at: .4}}, on_attack: ban, for: 1m}}\n", "", "\ufeff# x\r\n", "a: &a [*a, *a]\n", "cameras: {front: {path: replay:x, size: 1x1}}\n", "cameras: {a: {pair: b, pair_map: [1, 0, 0, 0, 1, 0]}, b: {role: ir, path: x}}\n", "mqtt:\n\turl: x\n",
		"decision: {live_at: .nan, window: 1e9s}\n", "? {a: b}\n: c\n", "<<: {device: x}\n", "--- a\n--- b\n", "device: !!binary aGk=\n",
		"models: {liveness: [a, {name: 'b: c', weight: 1e-2}, {name: shipped}], combine: probabilities, trusted_keys: [k, \"A+/=\"]}\n", "log: |\n  x\n",
		"models: {runtime: \"\\u00e9\\ud83d\\x00\"}", "cameras:\n  \"a\": &x\n  b: *x\n", "{", "[[[[", "%YAML 1.2\n---\n", "state: 'a\n\n b'\n",
		"inference: {delegate: [{name: edgetpu, device: usb:0, library: /a, options: {a: 1, \"b: \": 'c'}}, external:/x, none], deadline: 1s}\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 { // longer ones only show how slow the YAML parser is
			return
		}
		c, err := parse("x.yaml", data, door)
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("not a list of problems: %v", err)
			}
			for _, p := range ps {
				if p.Message == "" || p.Line < 0 {
					t.Fatalf("an empty problem: %+v", p)
				}
			}
			return
		}
		again, err := parse("effective", c.YAML(), machine{host: "other", state: "/other"})
		if err != nil {
			t.Fatalf("what is in effect can't be read: %v\n%s", err, c.YAML())
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("what is in effect gives\n%+v\nnot\n%+v", again, c)
		}
		d := c.Decision
		if d.LiveAt < 0 || d.LiveAt >= 1 || d.SpoofAt < 0 || d.LiveAt != 0 && d.SpoofAt >= d.LiveAt || d.MinFrames < 5 || !(d.MinFace > 0) || c.Inference.Threads < 1 ||
			len(c.Cameras) == 0 || c.MQTT.Journal.Count < 1 || len(c.MQTT.URLs) < 1 || !validName(c.Device) {
			t.Fatalf("out of bounds: %+v", c)
		}
		for name, cam := range c.Cameras {
			if !validName(name) || cam.Size.Width < 16 || cam.Size.Height < 16 || !(cam.FPS > 0) {
				t.Fatalf("camera %q: %+v", name, cam)
			}
		}
	})
}

func TestCredentialOfSystemdIsThePassword(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "mqtt-password")
	if got := credential(folder, Credential); got != "" {
		t.Errorf("%q, and there is none", got)
	}
	if err := os.WriteFile(path, []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
	whole := t.TempDir()
	ours := filepath.Join(whole, "livenessd_mqtt-password")
	if err := os.WriteFile(ours, []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ folder, text, want string }{
		{folder, "mqtt: {username: me}", path},
		{whole, "mqtt: {username: me}", ours},
		{folder, "mqtt: {username: me, password_file: other}", "other"},
		{folder, "mqtt: {prefix: x}", ""}, // nobody logs in
		{"", "mqtt: {username: me}", ""},
		{t.TempDir(), "mqtt: {username: me}", ""},
	} {
		m := door
		m.password = credential(test.folder, Credential)
		c, err := parse("file", []byte(test.text), m)
		if err != nil || c.MQTT.PasswordFile != test.want {
			t.Errorf("%s with %q: %q, %v; want %q", test.text, test.folder, c.MQTT.PasswordFile, err, test.want)
		}
	}
}
