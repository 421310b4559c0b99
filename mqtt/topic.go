package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultPrefix is what topics begin with where nothing else is configured.
const DefaultPrefix = "livenessd"

// What the availability topic says.
const (
	Online  = "online"
	Offline = "offline"
)

const (
	maxName   = 128
	maxPrefix = 256
)

// Topics knows the topics of one device.
type Topics struct {
	root string
}

// NewTopics returns the topics of a device below a prefix.
func NewTopics(prefix, device string) (Topics, error) {
	if err := CheckPrefix(prefix); err != nil {
		return Topics{}, err
	}
	if err := CheckName("device", device); err != nil {
		return Topics{}, err
	}
	return Topics{root: prefix + "/" + device}, nil
}

func (t Topics) Availability() string             { return t.root + "/availability" }
func (t Topics) Info() string                     { return t.root + "/info" }
func (t Topics) CameraState(camera string) string { return t.root + "/camera/" + camera + "/state" }
func (t Topics) Verdict(camera string) string     { return t.root + "/camera/" + camera + "/verdict" }
func (t Topics) Attack(camera string) string      { return t.root + "/camera/" + camera + "/attack" }
func (t Topics) Signed() string                   { return t.root + "/verdict/jws" }
func (t Topics) Gap() string                      { return t.root + "/gap" }
func (t Topics) Telemetry() string                { return t.root + "/telemetry" }
func (t Topics) Session(id string) string         { return t.root + "/session/" + id }
func (t Topics) Request(v Verb) string            { return t.root + "/request/" + string(v) }
func (t Topics) Response(v Verb) string           { return t.root + "/response/" + string(v) }
func (t Topics) SetSwitches(app string) string {
	return t.root + "/application/" + app + "/liveness/set"
}
func (t Topics) Switches(app string) string {
	return t.root + "/application/" + app + "/liveness/state"
}

// probe is where a Probe hears itself. No device publishes there.
func (t Topics) probe() string { return t.root + "/probe" }

// asked takes apart the topic of a message to the device.
func (t Topics) asked(topic string) (a Asked, ok bool) {
	below, ok := strings.CutPrefix(topic, t.root+"/")
	if !ok {
		return a, false
	}
	switch l := strings.Split(below, "/"); {
	case len(l) == 2 && l[0] == "request" && l[1] != "":
		a.Verb = Verb(l[1])
	case len(l) == 4 && l[0] == "application" && l[1] != "" && l[2] == "liveness" && l[3] == "set":
		a.Application = l[1]
	default:
		return a, false
	}
	return a, true
}

// CheckName tells whether the name of a device or camera can be a level of a topic. what is the word for it in the error.
func CheckName(what, name string) error {
	err := checkLevel(name)
	if err == nil && len(name) > maxName {
		err = fmt.Errorf("longer than %d bytes", maxName)
	}
	if err != nil {
		return &Error{Op: fmt.Sprintf("%s name %.*q", what, maxName, name), Err: err, Kind: KindOptions,
			hint: "choose a name of letters, digits, - and _, such as front or door-7"}
	}
	return nil
}

// CheckPrefix tells whether topics can begin with a prefix. Unlike a name it may have several levels.
func CheckPrefix(prefix string) error {
	err := error(nil)
	switch {
	case len(prefix) > maxPrefix:
		err = fmt.Errorf("longer than %d bytes", maxPrefix)
	case strings.HasPrefix(prefix, "$"):
		err = errors.New("topics that begin with $ belong to the broker")
	}
	for level := range strings.SplitSeq(prefix, "/") {
		if err == nil {
			err = checkLevel(level)
		}
	}
	if err != nil {
		return &Error{Op: fmt.Sprintf("prefix %.*q", maxPrefix, prefix), Err: err, Kind: KindOptions,
			hint: "choose names of letters, digits, - and _ with / between them, such as livenessd or site/hall"}
	}
	return nil
}

func checkLevel(s string) error {
	switch {
	case s == "":
		return errors.New("empty")
	case !utf8.ValidString(s):
		return errors.New("not UTF-8")
	case strings.ContainsAny(s, "+#"):
		return errors.New("has + or #, which are wildcards in MQTT")
	case strings.Contains(s, "/"):
		return errors.New("has a /, which separates the levels of a topic")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("has a control character")
	}
	return nil
}
