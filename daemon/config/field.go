package config

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// field is a key: how its value is read and written. One table of them serves the reader, the writer, the suggestions and the
// test that holds the example to the struct.
type field struct {
	key    string
	target any // pointer to where the value goes; nil for sections and for keys that are refused
	read   func(r *reader, name string, n ast.Node)
	write  func(w *writer)
	// refusal is why the key can't be used.
	refusal, hint string
}

// fields lists the keys in the order in which they are written.
func (c *Config) fields() []field {
	return []field{
		name("device", &c.Device),
		section("log",
			choice("level", &c.Log.Level, "debug", "info", "warn", "error"),
			choice("format", &c.Log.Format, "text", "json"),
		),
		cameras("cameras", &c.Cameras),
		section("models",
			text("detector", &c.Models.Detector),
			ensemble("liveness", &c.Models.Liveness),
			choice("combine", &c.Models.Combine, "logits", "probabilities"),
			texts("trusted_keys", &c.Models.TrustedKeys, "the path of a key's file or a key in base64, or a list of them",
				"leave it out to take models that nobody signed"),
			text("directory", &c.Models.Directory),
			text("runtime", &c.Models.Runtime),
		),
		section("inference",
			preference("delegate", &c.Inference.Delegate),
			whole("threads", &c.Inference.Threads, 1, 64),
			limit("deadline", &c.Inference.Deadline, 100*time.Millisecond, 10*time.Second),
		),
		section("decision",
			choice("mode", &c.Decision.Mode, Continuous, OnRequest),
			threshold("live_at", &c.Decision.LiveAt),
			threshold("spoof_at", &c.Decision.SpoofAt),
			number("accept_error", &c.Decision.AcceptError, 1e-6, 0.4),
			number("refuse_error", &c.Decision.RefuseError, 1e-6, 0.4),
			duration("window", &c.Decision.Window, 100*time.Millisecond, time.Minute),
			whole("min_frames", &c.Decision.MinFrames, 5, 250),
			duration("min_time", &c.Decision.MinTime, time.Millisecond, time.Minute),
			duration("timeout", &c.Decision.Timeout, 500*time.Millisecond, 10*time.Minute),
			duration("correlation", &c.Decision.Correlation, time.Millisecond, time.Minute),
			number("min_face", &c.Decision.MinFace, 0.01, 1),
			number("crowd", &c.Decision.Crowd, 0.1, 1),
			number("visible", &c.Decision.Visible, 0.1, 1),
			number("change", &c.Decision.Change, 0.01, 2),
			number("min_luma", &c.Decision.MinLuma, 1, 254),
			number("max_luma", &c.Decision.MaxLuma, 2, 255),
			number("max_clipped", &c.Decision.MaxClipped, 0.01, 1),
			number("min_sharpness", &c.Decision.MinSharpness, 0.01, 0.99),
			number("max_yaw", &c.Decision.MaxYaw, 1, 90),
			number("max_roll", &c.Decision.MaxRoll, 1, 180),
			section("cues",
				choice("repeat", &c.Decision.Cues.Repeat, Deny, Off),
				choice("flat", &c.Decision.Cues.Flat, Deny, Off),
				choice("infrared", &c.Decision.Cues.Infrared, Required, Deny, Off),
			),
		),
		applications("applications", &c.Applications),
		section("mqtt",
			brokers("url", &c.MQTT.URLs),
			topic("prefix", &c.MQTT.Prefix),
			text("username", &c.MQTT.Username),
			field{key: "password", refusal: "is a secret, which never stands in this file",
				hint: "write it into a file that only livenessd's user can read, and name that with mqtt.password_file"},
			text("password_file", &c.MQTT.PasswordFile),
			text("ca_file", &c.MQTT.CAFile),
			text("cert_file", &c.MQTT.CertFile),
			text("key_file", &c.MQTT.KeyFile),
			section("journal",
				whole("count", &c.MQTT.Journal.Count, 1, 100_000),
				whole("bytes", &c.MQTT.Journal.Bytes, 64<<10, 256<<20),
				duration("age", &c.MQTT.Journal.Age, time.Minute, 366*24*time.Hour),
			),
			truth("home_assistant", &c.MQTT.HomeAssistant),
			whole("subscribe_qos", &c.MQTT.SubscribeQoS, 0, 1),
		),
		section("signing",
			field{key: "key", refusal: "is a secret, which never stands in this file",
				hint: "livenessd keys generate makes a key in a file of its own; name another file with signing.key_file"},
			text("key_file", &c.Signing.KeyFile),
		),
		section("metrics",
			listener("listen", &c.Metrics.Listen),
			field{key: "token", refusal: "is a secret, which never stands in this file",
				hint: "write it into a file that only livenessd's user can read, and name that with metrics.token_file"},
			text("token_file", &c.Metrics.TokenFile),
			text("cert_file", &c.Metrics.CertFile),
			text("key_file", &c.Metrics.KeyFile),
			truth("insecure", &c.Metrics.Insecure),
		),
		section("console",
			listener("listen", &c.Console.Listen),
			field{key: "token", refusal: "is a secret, which never stands in this file",
				hint: "write it into a file that only livenessd's user can read, and name that with console.token_file"},
			text("token_file", &c.Console.TokenFile),
			text("view_token_file", &c.Console.ViewTokenFile),
			text("cert_file", &c.Console.CertFile),
			text("key_file", &c.Console.KeyFile),
			truth("insecure", &c.Console.Insecure),
			hosts("hosts", &c.Console.Hosts),
			whole("viewers", &c.Console.Viewers, 1, 16),
		),
		text("state", &c.State),
	}
}

func (c *Camera) fields() []field {
	return []field{
		text("path", &c.Path),
		fourCC("format", &c.Format),
		size("size", &c.Size),
		number("fps", &c.FPS, 0.01, 1000),
		choice("role", &c.Role, RGB, IR),
		text("pair", &c.Pair),
		pairMap("pair_map", &c.PairMap),
		turn("rotate", &c.Rotate),
		truth("mirror", &c.Mirror),
		region("region", &c.Region),
		controls("controls", &c.Controls),
		choice("exposure", &c.Exposure, CameraExposure, FaceExposure),
		identities("identity", &c.Identity),
		truth("allow_virtual", &c.AllowVirtual),
	}
}

func (a *Application) fields() []field {
	return []field{
		section("liveness",
			truth("authentication", &a.Liveness.Authentication),
			truth("enrollment", &a.Liveness.Enrollment),
		),
		section("thresholds",
			strictness("authentication", &a.Thresholds.Authentication),
			strictness("enrollment", &a.Thresholds.Enrollment),
		),
		choice("on_attack", &a.OnAttack, DenyAttack, BanAttacker),
		whole("after", &a.After, 1, 100),
		duration("within", &a.Within, time.Second, 7*24*time.Hour),
		duration("for", &a.For, time.Second, 7*24*time.Hour),
	}
}

// check looks at what several keys say together.
func (c *Config) check(r *reader) {
	d := &c.Decision
	if d.LiveAt != 0 && d.SpoofAt != 0 && d.SpoofAt >= d.LiveAt {
		r.bad(r.at[&d.SpoofAt], "between the two the answer is undecided", "decision.spoof_at is %v; it must be below decision.live_at, which is %v", d.SpoofAt, d.LiveAt)
	}
	if d.MinLuma >= d.MaxLuma {
		r.bad(r.at[&d.MinLuma], "", "decision.min_luma is %v; it must be below decision.max_luma, which is %v", d.MinLuma, d.MaxLuma)
	}
	if d.MinTime > d.Window {
		r.bad(r.at[&d.MinTime], "what is older doesn't count", "decision.min_time is %v; it must not be longer than decision.window, which is %v", d.MinTime, d.Window)
	}
	if d.MinTime >= d.Timeout {
		r.bad(r.at[&d.MinTime], "", "decision.min_time is %v; it must be below decision.timeout, which is %v", d.MinTime, d.Timeout)
	}
	m := &c.MQTT
	if m.CertFile != "" && m.KeyFile == "" {
		r.bad(r.at[&m.CertFile], "give mqtt.key_file as well", "mqtt.cert_file is of no use without its key")
	}
	if m.KeyFile != "" && m.CertFile == "" {
		r.bad(r.at[&m.KeyFile], "give mqtt.cert_file as well", "mqtt.key_file is of no use without its certificate")
	}
	if m.PasswordFile != "" && m.Username == "" {
		r.bad(r.at[&m.PasswordFile], "give mqtt.username as well", "mqtt.password_file is of no use without a user: MQTT 3.1.1 has no password without a name")
	}
	for _, u := range m.URLs {
		if plain := strings.HasPrefix(strings.ToLower(u), "mqtt:") || strings.HasPrefix(strings.ToLower(u), "tcp:"); !plain {
			continue
		}
		for key, p := range map[string]*string{"ca_file": &m.CAFile, "cert_file": &m.CertFile} {
			if *p != "" {
				r.bad(r.at[p], "write mqtts:// in mqtt.url, or leave the file out", "mqtt.%s is of no use with %s, which is without TLS", key, u)
			}
		}
		break
	}
	c.checkMetrics(r)
	c.checkConsole(r)
	if c.State == "" {
		r.bad(r.at[&c.State], "name a folder, or leave the key out", "state is empty")
	}
}

func section(key string, fields ...field) field {
	return field{
		key:  key,
		read: func(r *reader, name string, n ast.Node) { r.mapping(n, name+".", fields) },
		write: func(w *writer) {
			w.section(key, func() { w.fields(fields) })
		},
	}
}

func cameras(key string, p *map[string]Camera) field {
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			all := map[string]Camera{}
			paths := map[string]string{}
			var pairs []pairing
			r.entries(n, name, func(key string, at position, value ast.Node) {
				if !validName(key) {
					r.bad(at, "", "camera name %q: allowed are letters, digits, '.', '_' and '-', a letter or digit first, at most %d", shorten(key), maxName)
					return
				}
				cam := DefaultCamera()
				before := len(r.problems)
				if !null(value) {
					at = where(value)
					r.mapping(value, name+"."+key+".", cam.fields())
				}
				all[key] = cam
				if len(r.problems) > before {
					return
				}
				pairs = append(pairs, pairing{key, at, r.at[&cam.Role], r.at[&cam.Pair], r.at[&cam.PairMap]})
				if other, taken := paths[cam.Path]; taken && !cam.Replay() {
					what := "path " + strconv.Quote(shorten(cam.Path))
					if cam.Path == "" {
						what = "no path"
					}
					r.bad(at, "a device can be one camera only", "%s.%s has %s, as %s.%s", name, key, what, name, other)
				}
				paths[cam.Path] = key
				if cam.Replay() {
					r.ofDevices(name+"."+key, &cam)
				}
				if cam.Exposure == FaceExposure && cam.Role == IR {
					r.bad(r.at[&cam.Exposure], "remove it; the lamp of an infrared camera is steady", "%s.%s.exposure is of no use with an infrared camera", name, key)
				}
			})
			if len(all) == 0 && len(r.problems) == 0 {
				r.bad(where(n), "name one, or leave the key out for the first usable camera", "%s is empty", name)
			}
			r.pairs(name, all, pairs)
			*p = all
		},
		write: func(w *writer) {
			w.section(key, func() {
				for _, name := range slices.Sorted(maps.Keys(*p)) {
					cam := (*p)[name]
					w.section(quote(name), func() { w.fields(cam.fields()) })
				}
			})
		},
	}
}

// pairing is where the keys of a camera stand that say which infrared camera it has.
type pairing struct {
	camera                 string
	at, role, pair, mapped position
}

// pairs checks that each infrared camera is the pair of one other, and that only those are.
func (r *reader) pairs(section string, all map[string]Camera, list []pairing) {
	if len(list) < len(all) {
		return // those that couldn't be read may be the ones that are missed
	}
	taken := map[string]string{}
	for _, p := range list {
		cam, name := all[p.camera], section+"."+p.camera
		other, known := all[cam.Pair]
		switch {
		case cam.Pair == "" && cam.PairMap != [6]float64{}:
			r.bad(p.mapped, "name the infrared camera with pair", "%s.pair_map is of no use without a pair", name)
		case cam.Pair == "":
		case cam.Role == IR:
			r.bad(p.pair, "name this one as the pair of the camera that it stands beside", "%s is an infrared camera and has no pair of its own", name)
		case !known:
			r.bad(p.pair, "known here: "+strings.Join(slices.Sorted(maps.Keys(all)), ", "), "%s.pair is %q, which is no camera", name, shorten(cam.Pair))
		case other.Role != IR:
			r.bad(p.pair, "give "+section+"."+cam.Pair+" the role ir if it is an infrared camera", "%s.pair is %q, whose role is %s", name, cam.Pair, other.Role)
		case taken[cam.Pair] != "":
			r.bad(p.pair, "an infrared camera stands beside one other", "%s.pair is %q, as of %s.%s", name, cam.Pair, section, taken[cam.Pair])
		default:
			taken[cam.Pair] = p.camera
		}
	}
	for _, p := range list {
		if cam := all[p.camera]; cam.Role == IR && cam.Pair == "" && taken[p.camera] == "" {
			r.bad(p.role, "name it with pair at the camera that it stands beside, or remove it", "%s.%s is an infrared camera that is nobody's pair", section, p.camera)
		}
	}
}

// pairMap is a field of six numbers.
func pairMap(key string, p *[6]float64) field {
	const allowed = "a list of six numbers from -10 to 10: a, b, c, d, e, f of x' = ax + by + c and y' = dx + ey + f"
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			list, is := n.(*ast.SequenceNode)
			if !is || len(list.Values) != len(p) {
				r.wrong(n, name, allowed, "")
				return
			}
			var m [6]float64
			for i, v := range list.Values {
				f, ok := numberOf(v)
				if !ok || math.Abs(f) > 10 {
					r.wrong(v, name, allowed, "")
					return
				}
				m[i] = f
			}
			if det := m[0]*m[4] - m[1]*m[3]; det < 0.04 || det > 25 {
				r.bad(where(n), "1, 0, 0, 0, 1, 0 is the same place", "%s makes a picture %.3g times as large; two cameras side by side have 0.04 to 25", name, det)
				return
			}
			*p = m
		},
		write: func(w *writer) {
			if *p == [6]float64{} {
				w.line(key, "null")
				return
			}
			var all []string
			for _, v := range p {
				all = append(all, formatNumber(v))
			}
			w.line(key, "["+strings.Join(all, ", ")+"]")
		},
	}
}

// maxApplications bounds what is published for each.
const maxApplications = 100

func applications(key string, p *map[string]Application) field {
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			all := map[string]Application{}
			r.entries(n, name, func(key string, at position, value ast.Node) {
				if !validName(key) {
					r.bad(at, "", "application name %q: allowed are letters, digits, '.', '_' and '-', a letter or digit first, at most %d", shorten(key), maxName)
					return
				}
				a := DefaultApplication()
				if !null(value) {
					r.mapping(value, name+"."+key+".", a.fields())
				}
				all[key] = a
			})
			switch {
			case len(all) == 0 && len(r.problems) == 0:
				r.bad(where(n), "name one, or leave the key out for one that is called default", "%s is empty", name)
			case len(all) > maxApplications:
				r.bad(where(n), "", "%s has %d; allowed are %d", name, len(all), maxApplications)
			}
			*p = all
		},
		write: func(w *writer) {
			w.section(key, func() {
				for _, name := range slices.Sorted(maps.Keys(*p)) {
					a := (*p)[name]
					w.section(quote(name), func() { w.fields(a.fields()) })
				}
			})
		},
	}
}

func truth(key string, p *bool) field {
	return scalar(key, p, "true or false", func(n ast.Node) (bool, string, bool) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return false, "", false
		}
		return b.Value, "", true
	}, strconv.FormatBool)
}

// strictness is a word, or the two thresholds.
func strictness(key string, p *Strictness) field {
	words := []string{Relaxed, Normal, Strict}
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			switch n.(type) {
			case *ast.MappingNode, *ast.MappingValueNode:
				s, before := Strictness{}, len(r.problems)
				r.mapping(n, name+".", s.fields())
				switch {
				case len(r.problems) > before:
				case s.LiveAt == 0 || s.SpoofAt == 0:
					r.bad(where(n), "", "%s needs both live_at and spoof_at", name)
				case s.SpoofAt >= s.LiveAt:
					r.bad(r.at[&s.SpoofAt], "between the two the answer is undecided", "%s.spoof_at is %v; it must be below live_at, which is %v", name, s.SpoofAt, s.LiveAt)
				default:
					*p = s
				}
				return
			}
			word, _, ok := textOf(n)
			if !ok || !slices.Contains(words, word) {
				r.wrong(n, name, strings.Join(words, ", ")+", or the keys live_at and spoof_at", "")
				return
			}
			*p = Strictness{Level: word}
		},
		write: func(w *writer) {
			if p.Level != "" {
				w.line(key, p.Level)
				return
			}
			w.section(key, func() { w.fields(p.fields()) })
		},
	}
}

func (s *Strictness) fields() []field {
	return []field{threshold("live_at", &s.LiveAt), threshold("spoof_at", &s.SpoofAt)}
}

// scalar is a field whose value stands behind its key. parse says false where the value isn't allowed.
func scalar[T any](key string, p *T, allowed string, parse func(n ast.Node) (v T, hint string, ok bool), format func(T) string) field {
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			v, hint, ok := parse(n)
			if !ok {
				r.wrong(n, name, allowed, hint)
				return
			}
			*p = v
		},
		write: func(w *writer) { w.line(key, format(*p)) },
	}
}

// textOf gives a text, and a hint where it is none.
func textOf(n ast.Node) (s, hint string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NanNode, *ast.InfinityNode:
		return "", fmt.Sprintf("put it between quotation marks: %q", shorten(n.GetToken().Value)), false
	default:
		return "", "", false
	}
	if len(s) > 4096 || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\ufeff' }) {
		return "", "no line breaks and no control characters", false
	}
	return s, "", true
}

func text(key string, p *string) field { return scalar(key, p, "text", textOf, quote) }

func textWith(key string, p *string, allowed string, ok func(string) bool) field {
	return scalar(key, p, allowed, func(n ast.Node) (string, string, bool) {
		s, hint, is := textOf(n)
		return s, hint, is && ok(s)
	}, quote)
}

func name(key string, p *string) field {
	return textWith(key, p, fmt.Sprintf("a name of letters, digits, '.', '_' and '-', a letter or digit first, at most %d", maxName), validName)
}

func choice(key string, p *string, of ...string) field {
	return textWith(key, p, strings.Join(of, ", "), func(s string) bool { return slices.Contains(of, s) })
}

func topic(key string, p *string) field {
	return textWith(key, p, "levels of letters, digits, '.', '_' and '-' with a / between them", func(s string) bool {
		levels := strings.Split(s, "/")
		return len(levels) <= 8 && !slices.ContainsFunc(levels, func(l string) bool { return !validName(l) })
	})
}

// maxBrokers bounds how many brokers are tried in turn.
const maxBrokers = 8

func brokers(key string, p *[]string) field {
	const allowed = "mqtt://HOST or mqtt://HOST:PORT, with mqtts for TLS"
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			values, one := []ast.Node{n}, allowed
			if list, is := n.(*ast.SequenceNode); is {
				values = list.Values
			} else if _, _, is := textOf(n); !is {
				one += ", or a list of them"
			}
			var out []string
			for _, v := range values {
				s, hint, ok := brokerURL(v)
				if !ok {
					r.wrong(v, name, one, hint)
					return
				}
				if slices.Contains(out, s) {
					r.bad(where(v), "each at most once", "%s has %s twice", name, s)
					return
				}
				out = append(out, s)
			}
			if len(out) == 0 || len(out) > maxBrokers {
				r.bad(where(n), "", "%s has %d brokers; allowed are 1 to %d", name, len(out), maxBrokers)
				return
			}
			*p = out
		},
		write: func(w *writer) {
			if len(*p) == 1 {
				w.line(key, quote((*p)[0]))
				return
			}
			var all []string
			for _, s := range *p {
				all = append(all, quote(s))
			}
			w.line(key, "["+strings.Join(all, ", ")+"]")
		},
	}
}

func brokerURL(n ast.Node) (s, hint string, ok bool) {
	if s, hint, ok = textOf(n); !ok {
		return "", hint, false
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", "", false
	}
	if u.User != nil {
		return "", "name the user with mqtt.username, and a file that holds the password with mqtt.password_file", false
	}
	if port := u.Port(); port != "" {
		if v, err := strconv.Atoi(port); err != nil || v < 1 || v > 65535 {
			return "", "a port is 1 to 65535", false
		}
	}
	bare := u.Hostname() != "" && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == ""
	return s, "", bare && slices.Contains([]string{"mqtt", "mqtts", "tcp", "ssl", "tls"}, u.Scheme)
}

func fourCC(key string, p *string) field {
	known := []string{"MJPG", "YUYV", "NV12", "UYVY", "YVYU", "NV21", "YU12", "YV12", "RGB3", "BGR3", "GREY", "Y16", "Y10"}
	other := map[string]string{"MJPEG": "MJPG", "JPEG": "MJPG", "YUY2": "YUYV", "I420": "YU12", "RGB24": "RGB3", "BGR24": "BGR3"}
	return scalar(key, p, strings.Join(known, ", "), func(n ast.Node) (string, string, bool) {
		s, hint, ok := textOf(n)
		s = strings.ToUpper(s)
		if usual := other[s]; usual != "" {
			s = usual
		}
		return s, hint, ok && slices.Contains(known, s)
	}, func(s string) string {
		if s == "" {
			return "null"
		}
		return s
	})
}

var (
	sizeSyntax     = regexp.MustCompile(`^([0-9]{1,5})x([0-9]{1,5})$`)
	numberSyntax   = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
	durationSyntax = regexp.MustCompile(`^([0-9]{1,9})(ms|s|m)$`)
)

func size(key string, p *Size) field {
	return scalar(key, p, "WIDTHxHEIGHT in pixels, such as 640x480, each side from 16 to 16384", func(n ast.Node) (Size, string, bool) {
		s, _, ok := textOf(n)
		m := sizeSyntax.FindStringSubmatch(s)
		if !ok || m == nil {
			return Size{}, "", false
		}
		w, _ := strconv.Atoi(m[1])
		h, _ := strconv.Atoi(m[2])
		return Size{w, h}, "", w >= 16 && w <= 16384 && h >= 16 && h <= 16384
	}, func(s Size) string { return fmt.Sprintf("%dx%d", s.Width, s.Height) })
}

func whole(key string, p *int, low, high int) field {
	return scalar(key, p, fmt.Sprintf("a whole number from %d to %d", low, high), func(n ast.Node) (int, string, bool) {
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			return 0, "", false
		}
		// From its text: YAML would take 010 for eight.
		v, err := strconv.Atoi(i.Token.Value)
		return v, "", err == nil && v >= low && v <= high
	}, strconv.Itoa)
}

// numberOf gives a finite number.
func numberOf(n ast.Node) (float64, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
	case *ast.StringNode: // 1e-1 is a number in YAML, though not to the parser
		if n.Token.Type != token.StringType {
			return 0, false
		}
	default:
		return 0, false
	}
	s := n.GetToken().Value
	if !numberSyntax.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

func number(key string, p *float64, low, high float64) field {
	return scalar(key, p, fmt.Sprintf("a number from %v to %v", low, high), func(n ast.Node) (float64, string, bool) {
		v, ok := numberOf(n)
		return v, "", ok && v >= low && v <= high
	}, formatNumber)
}

func threshold(key string, p *float64) field {
	return scalar(key, p, "a number above 0 and below 1", func(n ast.Node) (float64, string, bool) {
		v, ok := numberOf(n)
		return v, "leave it out for what the liveness model recommends", ok && v > 0 && v < 1
	}, func(v float64) string {
		if v == 0 {
			return "null"
		}
		return formatNumber(v)
	})
}

func formatNumber(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func duration(key string, p *time.Duration, low, high time.Duration) field {
	allowed := fmt.Sprintf("a time from %s to %s", formatDuration(low), formatDuration(high))
	return scalar(key, p, allowed, func(n ast.Node) (time.Duration, string, bool) {
		const hint = "write a whole number with its unit: 500ms, 8s or 2m"
		s, _, ok := textOf(n)
		m := durationSyntax.FindStringSubmatch(s)
		if !ok || m == nil {
			return 0, hint, false
		}
		v, _ := strconv.Atoi(m[1])
		d := time.Duration(v) * map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute}[m[2]]
		return d, "", d >= low && d <= high
	}, formatDuration)
}

// limit is a duration; 0 is for what isn't given.
func limit(key string, p *time.Duration, low, high time.Duration) field {
	f := duration(key, p, low, high)
	written := f.write
	f.write = func(w *writer) {
		if *p == 0 {
			w.line(key, "null")
			return
		}
		written(w)
	}
	return f
}

func formatDuration(d time.Duration) string {
	switch {
	case d%time.Minute == 0 && d != 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	case d%time.Second == 0:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// maxEnsemble bounds how many nets judge each frame.
const maxEnsemble = 8

func ensemble(key string, p *Ensemble) field {
	const allowed = "a model's name, or a list of names or of {name: NAME, weight: NUMBER}"
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			list, is := n.(*ast.SequenceNode)
			if !is {
				s, hint, ok := textOf(n)
				if !ok {
					r.wrong(n, name, allowed, hint)
				} else if s != "" {
					*p = Ensemble{{s, 1}}
				}
				return
			}
			var out Ensemble
			for _, v := range list.Values {
				m := Member{Weight: 1}
				before := len(r.problems)
				switch v.(type) {
				case *ast.MappingNode, *ast.MappingValueNode:
					r.mapping(v, name+".", m.fields())
				default:
					s, hint, ok := textOf(v)
					if !ok {
						r.wrong(v, name, allowed, hint)
					}
					m.Name = s
				}
				switch {
				case len(r.problems) > before:
					return
				case m.Name == "":
					r.bad(where(v), fmt.Sprintf("the model inside the program is called %s", ShippedModel), "%s has a model without a name", name)
					return
				case slices.ContainsFunc(out, func(o Member) bool { return o.Name == m.Name }):
					r.bad(where(v), "give it a larger weight instead", "%s has %s twice", name, shorten(m.Name))
					return
				}
				out = append(out, m)
			}
			switch {
			case len(out) == 0:
				r.bad(where(n), "leave it out for the model inside the program", "%s is empty", name)
				return
			case len(out) > maxEnsemble:
				r.bad(where(n), "", "%s has %d models; allowed are %d", name, len(out), maxEnsemble)
				return
			}
			*p = out
		},
		write: func(w *writer) {
			switch e := *p; {
			case len(e) == 0:
				w.line(key, `""`)
			case len(e) == 1 && e[0].Weight == 1:
				w.line(key, quote(e[0].Name))
			default:
				var all []string
				for _, m := range e {
					all = append(all, "{name: "+quote(m.Name)+", weight: "+formatNumber(m.Weight)+"}")
				}
				w.line(key, "["+strings.Join(all, ", ")+"]")
			}
		},
	}
}

func (m *Member) fields() []field {
	return []field{text("name", &m.Name), number("weight", &m.Weight, 0.001, 1000)}
}

// texts is a field of one text or several; none is for who leaves it out.
func texts(key string, p *[]string, allowed, none string) field {
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			values := []ast.Node{n}
			if list, is := n.(*ast.SequenceNode); is {
				values = list.Values
			}
			var out []string
			for _, v := range values {
				s, hint, ok := textOf(v)
				if !ok || s == "" {
					r.wrong(v, name, allowed, hint)
					return
				}
				out = append(out, s)
			}
			if len(out) == 0 {
				r.bad(where(n), none, "%s is empty", name)
				return
			}
			*p = out
		},
		write: func(w *writer) {
			if len(*p) == 0 {
				w.line(key, "null")
				return
			}
			var all []string
			for _, s := range *p {
				all = append(all, quote(s))
			}
			w.line(key, "["+strings.Join(all, ", ")+"]")
		},
	}
}
