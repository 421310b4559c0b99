package mqtt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// schemaVersion is the version of all documents. It changes when a subscriber of the old one would misread the new one;
// members are added without.
const schemaVersion = 1

// maxDocument bounds what is read as a document.
const maxDocument = 64 << 10

// VerdictKind is the answer.
type VerdictKind string

// The three answers. When in doubt it is never Live.
const (
	Live      VerdictKind = "live"
	Spoof     VerdictKind = "spoof"
	Undecided VerdictKind = "undecided"
)

// Action is what the policy makes of the answer.
type Action string

// What whoever guards the door should do.
const (
	Allow Action = "allow"
	Deny  Action = "deny"
)

// LivenessOff in a verdict says that liveness is switched off for the application and purpose of its session.
const LivenessOff = "off"

// Purposes of a session.
const (
	Authentication = "authentication"
	Enrollment     = "enrollment"
)

// Verdict is the answer for one presentation or session.
type Verdict struct {
	Schema     int         `json:"schema"`
	ID         string      `json:"id"` // UUIDv7
	Device     string      `json:"device"`
	Camera     string      `json:"camera"`
	Boot       string      `json:"boot"` // which start of the daemon; (device, boot, seq) orders and dedupes
	Seq        uint64      `json:"seq"`  // from 1
	Verdict    VerdictKind `json:"verdict"`
	Code       *Code       `json:"code"`        // nil for live: see SetCode
	CodeNumber *int        `json:"code_number"` // nil like Code
	Score      *float64    `json:"score"`       // P(live) of the whole presentation, 0…1; nil where no frame was judged
	LiveAt     float64     `json:"live_at"`
	SpoofAt    float64     `json:"spoof_at"`
	Attack     string      `json:"attack,omitempty"`   // only where the model tells kinds apart
	Liveness   string      `json:"liveness,omitempty"` // "" or LivenessOff
	Session    *Session    `json:"session"`
	Action     Action      `json:"action"`

	// RetryAfterMS is the time that is left of a ban: with LOCKED_OUT, and with the PAD_ATTACK that began one.
	RetryAfterMS int64 `json:"retry_after_ms,omitempty"`

	Frames     int   `json:"frames"` // how many were judged
	Face       *Face `json:"face"`
	CapturedAt Time  `json:"captured_at"` // the first frame; zero where there was none
	DecidedAt  Time  `json:"decided_at"`
	LatencyMS  int64 `json:"latency_ms"`
	ExpiresAt  Time  `json:"expires_at"` // until when anybody may act on it

	ClockSynced bool `json:"clock_synced"`
	Replayed    bool `json:"replayed"` // delivered late; the Client sets it

	Model    ModelRef `json:"model"`
	Delegate string   `json:"delegate"`
}

// Session is the request that a verdict answers.
type Session struct {
	ID          string `json:"id"`
	Application string `json:"application"`
	Purpose     string `json:"purpose"`
	Subject     string `json:"subject"`
	Nonce       string `json:"nonce"`
}

// Face is where the judged face was, in pixels of the frame.
type Face struct {
	X      int `json:"x"`
	Y      int `json:"y"`
	Width  int `json:"width"`
	Height int `json:"height"`
}

// ModelRef says which model judged.
type ModelRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// SetCode sets the code and its number, and both to null for "".
func (v *Verdict) SetCode(c Code) {
	if c == "" {
		v.Code, v.CodeNumber = nil, nil
		return
	}
	n := c.Number()
	v.Code, v.CodeNumber = &c, &n
}

// clone shares nothing with v.
func (v Verdict) clone() Verdict {
	v.Code, v.CodeNumber, v.Score = copied(v.Code), copied(v.CodeNumber), copied(v.Score)
	v.Session, v.Face = copied(v.Session), copied(v.Face)
	return v
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// Check tells what in a verdict contradicts itself or the contract: a live one has no code, was judged on frames with a
// face, and its score is not below its threshold; a spoof is a PAD_ATTACK and denied; one that is undecided says why, and allows
// nothing unless liveness is switched off. Such a verdict is not to be acted on, and Client doesn't publish it.
func (v Verdict) Check() error {
	err := errors.Join(v.checkIdentity(), v.checkNumbers(), v.checkCode(true), v.checkRules())
	if err != nil {
		return fmt.Errorf("mqtt: check a verdict: %w", err)
	}
	return nil
}

func (v Verdict) checkIdentity() error {
	if v.Schema != schemaVersion {
		return fmt.Errorf("schema %d, not %d", v.Schema, schemaVersion)
	}
	if _, err := uuid.Parse(v.ID); err != nil || len(v.ID) != 36 {
		return fmt.Errorf("id %.40q is not a UUID", v.ID)
	}
	for _, n := range []struct{ what, name string }{{"device", v.Device}, {"camera", v.Camera}, {"boot", v.Boot}} {
		if err := CheckName(n.what, n.name); err != nil {
			return err
		}
	}
	if v.Seq == 0 {
		return errors.New("seq 0: it begins at 1")
	}
	if v.DecidedAt.IsZero() || v.ExpiresAt.IsZero() || v.ExpiresAt.UTC().Before(v.DecidedAt.UTC()) {
		return fmt.Errorf("decided at %v, expires at %v", v.DecidedAt, v.ExpiresAt)
	}
	for _, s := range []string{v.Attack, v.Delegate, v.Model.Name, v.Model.Version} {
		if err := checkText(s); err != nil {
			return err
		}
	}
	if s := v.Session; s != nil {
		if s.Purpose != Authentication && s.Purpose != Enrollment {
			return fmt.Errorf("purpose %.40q of the session", s.Purpose)
		}
		if s.Application == "" {
			return errors.New("session without application")
		}
		if err := CheckName("session", s.ID); err != nil {
			return err
		}
		return errors.Join(checkText(s.ID), checkText(s.Application), checkText(s.Subject), checkText(s.Nonce))
	}
	return nil
}

// checkText bounds what a document repeats of others' words.
func checkText(s string) error {
	const limit = 1024
	if len(s) > limit || !utf8.ValidString(s) {
		return fmt.Errorf("text %.40q…: longer than %d bytes, or not UTF-8", s, limit)
	}
	return nil
}

func (v Verdict) checkNumbers() error {
	unit := func(f float64) bool { return f >= 0 && f <= 1 } // false for NaN
	switch {
	case v.Score != nil && !unit(*v.Score):
		return fmt.Errorf("score %v: from 0 to 1", *v.Score)
	case !unit(v.LiveAt) || !unit(v.SpoofAt) || v.SpoofAt > v.LiveAt:
		return fmt.Errorf("live_at %v and spoof_at %v: from 0 to 1, and spoof_at not above live_at", v.LiveAt, v.SpoofAt)
	case v.Frames < 0:
		return fmt.Errorf("%d frames", v.Frames)
	case v.Score != nil && v.Frames == 0:
		return errors.New("a score without judged frames")
	case v.Score != nil && v.CapturedAt.IsZero():
		return errors.New("judged frames without the time of their capture")
	case v.RetryAfterMS < 0 || v.RetryAfterMS > 0 && (v.Code == nil || *v.Code != CodeLockedOut && *v.Code != CodePADAttack):
		return fmt.Errorf("%d ms left of a ban that there isn't", v.RetryAfterMS)
	case v.LatencyMS < 0:
		return fmt.Errorf("latency of %d ms", v.LatencyMS)
	case v.Face != nil && (v.Face.Width < 1 || v.Face.Height < 1):
		return fmt.Errorf("face of %d×%d", v.Face.Width, v.Face.Height)
	}
	return nil
}

// checkCode holds code and number together. A subscriber may meet codes of a later version; the publisher may not.
func (v Verdict) checkCode(known bool) error {
	if (v.Code == nil) != (v.CodeNumber == nil) {
		return errors.New("code and code_number: one of them is null")
	}
	if v.Code == nil {
		return nil
	}
	n := v.Code.Number()
	switch {
	case n == 0 && known, *v.Code == "", *v.CodeNumber < 1:
		return fmt.Errorf("no code %.40q with number %d", *v.Code, *v.CodeNumber)
	case n != 0 && n != *v.CodeNumber:
		return fmt.Errorf("code %s has number %d, not %d", *v.Code, n, *v.CodeNumber)
	case n == 0:
		for _, c := range Codes() {
			if c.Number() == *v.CodeNumber {
				return fmt.Errorf("code number %d is %s, not %.40q", *v.CodeNumber, c, *v.Code)
			}
		}
	}
	return nil
}

func (v Verdict) checkRules() error {
	if v.Action != Allow && v.Action != Deny {
		return fmt.Errorf("action %.40q is neither allow nor deny", v.Action)
	}
	if v.Liveness != "" && (v.Liveness != LivenessOff || v.Verdict != Undecided) {
		return fmt.Errorf("liveness %.40q with verdict %.40q", v.Liveness, v.Verdict)
	}
	switch v.Verdict {
	case Live:
		switch {
		case v.Code != nil:
			return fmt.Errorf("live with code %.40q", *v.Code)
		case v.Attack != "":
			return fmt.Errorf("live with attack %.40q", v.Attack)
		case v.Score == nil || !(*v.Score >= v.LiveAt):
			return errors.New("live without a score, or below its threshold")
		case v.Face == nil:
			return errors.New("live without a face")
		}
	case Spoof:
		switch {
		case v.Code == nil || *v.Code != CodePADAttack:
			return errors.New("spoof without code PAD_ATTACK")
		case v.Action != Deny:
			return errors.New("spoof with action allow")
		case v.Score == nil || !(*v.Score < v.LiveAt):
			return errors.New("spoof without a score, or with that of a live one")
		}
	case Undecided:
		off := v.Liveness == LivenessOff
		switch {
		case off != (v.Code == nil):
			return errors.New("undecided without a code, or liveness off with one")
		case v.Code != nil && *v.Code == CodePADAttack:
			return errors.New("undecided with code PAD_ATTACK")
		case v.Action != Deny && !off:
			return errors.New("undecided with action allow")
		}
	default:
		return fmt.Errorf("verdict %.40q is none of live, spoof, undecided", v.Verdict)
	}
	if v.Verdict != Undecided && !isSHA256(v.Model.SHA256) {
		return fmt.Errorf("%s, but model digest %.70q is no SHA-256", v.Verdict, v.Model.SHA256)
	}
	return nil
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// ParseVerdict reads a verdict document. It is strict about what somebody may act on: each member must be there, once and
// under its exact name, and the verdict must pass the rules of Check. Members and codes of later versions are accepted, but
// never in a live verdict's code.
func ParseVerdict(b []byte) (Verdict, error) {
	v, err := parseVerdict(b)
	if err != nil {
		return Verdict{}, fmt.Errorf("mqtt: parse a verdict: %w", err)
	}
	return v, nil
}

func parseVerdict(b []byte) (v Verdict, err error) {
	if len(b) > maxDocument {
		return v, fmt.Errorf("%d bytes, more than %d", len(b), maxDocument)
	}
	if !utf8.Valid(b) {
		return v, errors.New("not UTF-8")
	}
	// encoding/json lets the last of equal names win, and takes "VERDICT" for "verdict": two readers of such a document could
	// see different answers in it.
	if err := checkMembers(b); err != nil {
		return v, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return v, err
	}
	if members == nil {
		return v, errors.New("null")
	}
	for _, name := range []string{"schema", "id", "device", "camera", "boot", "seq", "verdict", "live_at", "spoof_at", "action", "frames",
		"decided_at", "latency_ms", "expires_at", "clock_synced", "replayed", "model", "delegate"} {
		if m, ok := members[name]; !ok || string(m) == "null" {
			return v, fmt.Errorf("no member %q", name)
		}
	}
	for _, name := range []string{"code", "code_number", "score", "session", "face", "captured_at"} { // these may be null
		if _, ok := members[name]; !ok {
			return v, fmt.Errorf("no member %q", name)
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, err
	}
	return v, errors.Join(v.checkIdentity(), v.checkNumbers(), v.checkCode(false), v.checkRules())
}

// checkMembers refuses an object, however deep, that has two members whose names differ in case at most.
func checkMembers(b []byte) error {
	const deepest = 32
	type level struct {
		names map[string]bool // nil in an array
		value bool            // a value comes next, not a name
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil // an unfinished document is left to Unmarshal
		}
		if err != nil {
			return err
		}
		top := len(open) - 1
		if s, ok := t.(string); ok && top >= 0 && open[top].names != nil && !open[top].value {
			f := fold(s)
			if open[top].names[f] {
				return fmt.Errorf("member %.40q twice", s)
			}
			open[top].names[f] = true
			open[top].value = true
			continue
		}
		if top >= 0 {
			open[top].value = false
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
		if len(open) > deepest {
			return fmt.Errorf("more than %d levels deep", deepest)
		}
	}
}

// fold makes names equal that encoding/json takes for equal: those that strings.EqualFold does.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
