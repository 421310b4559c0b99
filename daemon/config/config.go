// Package config is livenessd's configuration: one YAML file, read strictly.
//
// It promises that nothing in the file is ignored in silence: a key that it doesn't know, a key of a later version, a value of the
// wrong kind or out of bounds and a secret that stands in the file are problems, each with its line, its column and what is allowed,
// and all that can be found are reported at once. Every key may be left out; an absent or empty file is the defaults. What Load
// returns is complete and within bounds. It doesn't promise that the devices, models, files and brokers that are named exist:
// whoever opens them finds that out.
package config

import (
	_ "embed"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// DefaultPath is read where no file is named. It needn't exist.
const DefaultPath = "/etc/livenessd/livenessd.yaml"

// DefaultListen is where the console is: for browsers on this machine alone.
const DefaultListen = "127.0.0.1:8470"

// Config is all of it. example.yaml says what each key means.
type Config struct {
	Device    string // this machine's name in topics and verdicts
	Log       Log
	Cameras   map[string]Camera // by the name in topics and verdicts
	Models    Models
	Inference Inference
	Decision  Decision
	// Applications are who may ask for sessions, by the name in requests and topics.
	Applications map[string]Application
	MQTT         MQTT
	Signing      Signing
	Metrics      Metrics
	Console      Console
	State        string // folder for what must survive a restart
}

// Log is what is written to standard error.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Camera is one camera.
type Camera struct {
	Path   string // a device by any name, replay:FOLDER or replay:CLIP; "" is the first usable camera
	Format string // FourCC that must be used, "" for the best
	Size   Size   // wanted
	FPS    float64
	// Role is rgb, or ir for an infrared camera, which gives no verdicts of its own but is another camera's Pair.
	Role    string
	Pair    string     // the infrared camera beside it, "" for none
	PairMap [6]float64 // from its picture to the pair's, both relative to their sizes; zero is the same place
	// How its picture is looked at: turned clockwise by so many degrees, then with left and right exchanged, and of that a part.
	Rotate int
	Mirror bool
	Region Region
	// Controls are set in the driver, by its names: numbers, true, false or items of menus by their text.
	Controls map[string]string
	Identity []string // who the device must be, "usb:…" and "bus:…"; all must hold, none is anybody
	// Exposure is CameraExposure, or FaceExposure: the driver's controls are moved by how bright the face is.
	Exposure string
	// AllowVirtual takes v4l2loopback, vivid and other devices that aren't cameras.
	AllowVirtual bool
}

// Replay tells whether it is pictures that are played.
func (c Camera) Replay() bool { return strings.HasPrefix(c.Path, "replay:") }

// Who exposes.
const (
	CameraExposure = "camera"
	FaceExposure   = "face"
)

// The roles of cameras.
const (
	RGB = "rgb"
	IR  = "ir"
)

// Size is a width and a height in pixels, written 640x480.
type Size struct{ Width, Height int }

// Models is which models judge, and where they and their runtime are.
type Models struct {
	Detector    string   // "" is the shipped one, a path a folder, a plain name a folder in Directory
	Liveness    Ensemble // the same for each; empty is the shipped one
	Combine     string   // logits or probabilities: of what the mean of several is taken
	TrustedKeys []string // files or base64: with any, only bundles that one of them signed are taken
	Directory   string
	Runtime     string // the TensorFlow Lite library, "" to look for it
}

// ShippedModel is the name of the model inside the program, for lists.
const ShippedModel = "shipped"

// Ensemble is the models that judge together.
type Ensemble []Member

// Member is a model of an ensemble and how much its answer counts beside the others'.
type Member struct {
	Name   string
	Weight float64
}

// Inference is how models are run.
type Inference struct {
	Delegate Preference
	Threads  int
	Deadline time.Duration // of a call of a net; 0: what suits the machine
}

// Preference is a list of which the first is taken that can be had and answers as the processor does.
type Preference []Delegate

// Delegate is what can run nets.
type Delegate struct {
	Name    string // one of those below; External is followed by the path of a plug-in
	Device  string // of EdgeTPU: which, "" for any
	Library string // of EdgeTPU: its plug-in, "" for the usual one
	// Compiled is which of a model's files are for it; "" is the model's usual file, and for EdgeTPU those of that name.
	Compiled string
	Options  []Option
}

// Option is something that a plug-in is told.
type Option struct{ Key, Value string }

// The names of delegates, as package tflite has them.
const (
	XNNPACK  = "xnnpack"
	CPU      = "cpu"
	EdgeTPU  = "edgetpu"
	NNAPI    = "nnapi"
	External = "external:"
)

// Accelerator tells whether it is more than the processor.
func (d Delegate) Accelerator() bool { return d.Name != XNNPACK && d.Name != CPU }

// Accelerators is how many there are.
func (p Preference) Accelerators() (n int) {
	for _, d := range p {
		if d.Accelerator() {
			n++
		}
	}
	return n
}

// Processor is the best liked of the library's own kernels, "" if there are none.
func (p Preference) Processor() string {
	for _, d := range p {
		if !d.Accelerator() {
			return d.Name
		}
	}
	return ""
}

// Decision is when a verdict is given. Thresholds of 0 are for the liveness model's manifest to say.
type Decision struct {
	Mode            string // Continuous or OnRequest
	LiveAt, SpoofAt float64

	AcceptError, RefuseError float64 // rates
	Window                   time.Duration
	MinFrames                int
	MinTime                  time.Duration
	Timeout                  time.Duration
	Correlation              time.Duration

	MinFace          float64 // share of the frame's height
	Crowd            float64 // ratio of sizes
	Visible          float64 // share of the face's box
	Change           float64 // distance of appearance
	MinLuma, MaxLuma float64 // 0…255
	MaxClipped       float64 // share of the face
	MinSharpness     float64
	MaxYaw, MaxRoll  float64 // degrees

	Cues Cues
}

// Cues is what is made of doubts that one picture can't give.
type Cues struct {
	Repeat   string // frozen and looping pictures: deny or off
	Flat     string // flat things moved by hand: deny or off
	Infrared string // what a pair sees: required, deny or off
}

// What is made of a doubt.
const (
	Deny     = "deny"
	Required = "required"
	Off      = "off"
)

// Application is what holds for the sessions of one application.
type Application struct {
	Liveness   Switches // until somebody sets them over MQTT
	Thresholds Thresholds
	OnAttack   string // DenyAttack or BanAttacker
	After      int    // attacks that ban
	Within     time.Duration
	For        time.Duration
}

// Switches is whether liveness is judged, by purpose.
type Switches struct{ Authentication, Enrollment bool }

// Thresholds is how strict it is with whom, by purpose.
type Thresholds struct{ Authentication, Enrollment Strictness }

// Strictness is a word for it, or numbers.
type Strictness struct {
	Level           string // Relaxed, Normal or Strict; "" where there are numbers
	LiveAt, SpoofAt float64
}

// The words for strictness.
const (
	Relaxed = "relaxed"
	Normal  = "normal"
	Strict  = "strict"
)

// What follows on an attack.
const (
	DenyAttack  = "deny"
	BanAttacker = "ban"
)

// The modes.
const (
	Continuous = "continuous" // each presentation is judged
	OnRequest  = "on_request" // nothing is, unless a session runs
)

// DefaultApplication is an application of which nothing was said. Whoever is enrolled by mistake is let in for ever, so that enrollment is
// strict.
func DefaultApplication() Application {
	return Application{Liveness: Switches{true, true}, Thresholds: Thresholds{Strictness{Level: Normal}, Strictness{Level: Strict}},
		OnAttack: DenyAttack, After: 3, Within: 10 * time.Minute, For: 15 * time.Minute}
}

// MQTT is the broker and what is told to it.
type MQTT struct {
	URLs         []string // tried in turn
	Prefix       string
	Username     string
	PasswordFile string
	CAFile       string
	CertFile     string
	KeyFile      string
	Journal      Journal
	// HomeAssistant: Home Assistant is told what the device is, so that it shows it.
	HomeAssistant bool
	SubscribeQoS  int // of subscriptions: 0 or 1
}

// Journal is how many verdicts may wait for the broker.
type Journal struct {
	Count int
	Bytes int // of their documents
	Age   time.Duration
}

// Signing is what verdicts are signed with.
type Signing struct {
	KeyFile string // the device's key; "": where there is one in the usual place, that
}

// Metrics is where figures and health are shown, and to whom.
type Metrics struct {
	Listen    string // address and port; "" is nowhere
	TokenFile string // what is asked of whoever asks; "" for nothing
	CertFile  string
	KeyFile   string
	Insecure  bool // without TLS also beyond this machine
}

// Console is the technician's page.
type Console struct {
	Listen        string // address and port; "" is nowhere
	TokenFile     string // of who may change things; "": systemd's credential, or a file in the folder that is called state
	ViewTokenFile string // of who may look; "": nobody else, unless systemd has a credential
	CertFile      string // with both of these it speaks TLS
	KeyFile       string
	Insecure      bool     // others may reach it without TLS
	Hosts         []string // further names by which browsers reach it
	Viewers       int      // how many may look at a time
}

// SlogLevel is the level as the log package takes it.
func (l Log) SlogLevel() slog.Level {
	switch l.Level {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

//go:embed example.yaml
var example []byte

// Example is a file with every key, its default and what it means.
func Example() []byte { return slices.Clone(example) }

// Default is the configuration of an empty file on this machine.
func Default() Config { return thisMachine().config() }

// DefaultCamera is a camera of which nothing was said.
func DefaultCamera() Camera {
	return Camera{Size: Size{640, 480}, FPS: 15, Role: RGB, Exposure: CameraExposure}
}

// machine is what the defaults depend on.
type machine struct {
	host     string
	state    string
	password string // the file of systemd's credential for the broker, "" without one
}

// Credential is the systemd credential that is the broker's password where a user but no file is named.
const Credential = "mqtt-password"

func thisMachine() machine {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return machine{host, stateDirectory(os.Getenv("STATE_DIRECTORY"), os.Geteuid(), home), CredentialFile(Credential)}
}

// CredentialFile is the file of one of systemd's credentials, "" if there is none. Our own unit hands a whole folder over, the files of which
// systemd names after it.
func CredentialFile(name string) string { return credential(os.Getenv("CREDENTIALS_DIRECTORY"), name) }

func credential(folder, name string) string {
	for _, name := range []string{name, "livenessd_" + name} {
		path := filepath.Join(folder, name)
		if _, err := os.Lstat(path); folder != "" && err == nil {
			return path
		}
	}
	return ""
}

// stateDirectory is where state is kept unless the configuration says otherwise. systemd gives a list, separated by colons.
func stateDirectory(given string, uid int, home string) string {
	first, _, _ := strings.Cut(given, ":")
	if filepath.IsAbs(first) {
		return filepath.Clean(first)
	}
	if uid == 0 || !filepath.IsAbs(home) {
		return "/var/lib/livenessd"
	}
	return filepath.Join(home, ".local", "state", "livenessd")
}

func (m machine) config() Config {
	c := m.base()
	c.complete(m)
	return c
}

// base is the defaults without those that follow from other values.
func (m machine) base() Config {
	return Config{
		Device:    topicName(m.host),
		Log:       Log{Level: "info", Format: "text"},
		Cameras:   map[string]Camera{"camera": DefaultCamera()},
		Models:    Models{Combine: "logits"},
		Inference: Inference{Delegate: Preference{{Name: XNNPACK}}, Threads: 1},
		Decision: Decision{Mode: "continuous", AcceptError: 0.01, RefuseError: 0.05,
			Window: 4 * time.Second, MinFrames: 5, MinTime: 400 * time.Millisecond, Timeout: 8 * time.Second, Correlation: 300 * time.Millisecond,
			MinFace: 0.08, Crowd: 0.6, Visible: 0.7, Change: 0.25,
			MinLuma: 35, MaxLuma: 235, MaxClipped: 0.55, MinSharpness: 0.25, MaxYaw: 35, MaxRoll: 30,
			Cues: Cues{Repeat: Deny, Flat: Off, Infrared: Required}},
		Applications: map[string]Application{"default": DefaultApplication()},

		MQTT:    MQTT{URLs: []string{"mqtt://localhost:1883"}, Prefix: "livenessd", Journal: Journal{5000, 8 << 20, 7 * 24 * time.Hour}, SubscribeQoS: 1},
		Console: Console{Listen: DefaultListen, Viewers: 2},
		State:   m.state,
	}
}

// complete fills in what follows from other values.
func (c *Config) complete(m machine) {
	if c.Models.Directory == "" {
		c.Models.Directory = filepath.Join(c.State, "models")
	}
	if c.MQTT.Username != "" && c.MQTT.PasswordFile == "" {
		c.MQTT.PasswordFile = m.password
	}
}

// topicName makes a host name fit to be a level of a topic.
func topicName(host string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, host)
	name = strings.TrimLeft(name[:min(len(name), maxName)], "._-")
	if !validName(name) {
		return "livenessd"
	}
	return name
}

const maxName = 64

// validName tells whether a name can be a level of a topic, of any broker and in any shell.
func validName(s string) bool {
	if len(s) < 1 || len(s) > maxName {
		return false
	}
	for i, r := range []byte(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case i > 0 && (r == '.' || r == '_' || r == '-'):
		default:
			return false
		}
	}
	return true
}
