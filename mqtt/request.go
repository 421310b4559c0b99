package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Verb is what a request asks for: the last level of its topic and of its response's.
type Verb string

// The verbs.
const (
	VerbSession Verb = "session"
	VerbCancel  Verb = "cancel"
	VerbPing    Verb = "ping"
	VerbInfo    Verb = "info"
	VerbUnlock  Verb = "unlock"
)

// Verbs returns all verbs.
func Verbs() []Verb { return []Verb{VerbSession, VerbCancel, VerbPing, VerbInfo, VerbUnlock} }

// maxRequest bounds a request's document. It is far more than one can need.
const maxRequest = 8 << 10

// The bounds of what a request says, in bytes.
const (
	maxTransaction = 128
	maxSubject     = 256
	maxNonce       = 256
)

// Asked is a message of a host: a request, or an application's switch that is to be set.
type Asked struct {
	Verb        Verb   // the topic's, whatever it is; "" for a switch
	Application string // the topic's; "" for a request
	Payload     []byte
	Retained    bool // it lay at the broker, nobody knows since when
}

// SessionRequest asks that the presentation in front of a camera, or the next to come, is judged for an application.
type SessionRequest struct {
	Transaction string   `json:"transaction"`
	SentAt      Time     `json:"sent_at,omitzero"`
	Application string   `json:"application"`
	Purpose     string   `json:"purpose"`
	Camera      string   `json:"camera,omitempty"` // may be left out where there is one
	Subject     string   `json:"subject,omitempty"`
	Nonce       string   `json:"nonce,omitempty"`
	Timeout     Duration `json:"timeout,omitempty"`
}

// CancelRequest ends a session.
type CancelRequest struct {
	Transaction string `json:"transaction"`
	SentAt      Time   `json:"sent_at,omitzero"`
	Session     string `json:"session"`
}

// PlainRequest is one that says nothing more: ping and info.
type PlainRequest struct {
	Transaction string `json:"transaction"`
	SentAt      Time   `json:"sent_at,omitzero"`
}

// UnlockRequest lifts bans: those of one subject, of one camera, or all, for one application or for each.
type UnlockRequest struct {
	Transaction string `json:"transaction"`
	SentAt      Time   `json:"sent_at,omitzero"`
	Application string `json:"application,omitempty"`
	Subject     string `json:"subject,omitempty"`
	Camera      string `json:"camera,omitempty"`
	All         bool   `json:"all,omitempty"`
}

// SwitchRequest sets an application's switches: those that it names.
type SwitchRequest struct {
	SentAt         Time  `json:"sent_at,omitzero"`
	Authentication *bool `json:"authentication,omitempty"`
	Enrollment     *bool `json:"enrollment,omitempty"`
}

// Switches is whether liveness is judged for an application, for each purpose.
type Switches struct {
	Authentication bool `json:"authentication"`
	Enrollment     bool `json:"enrollment"`
}

// ParseSessionRequest reads the document of request/session. Like all readers of requests it refuses what it doesn't know, nulls,
// a member that is there twice or in other capitals, and what is too long: a host that misspells "timeout" should hear of it.
func ParseSessionRequest(b []byte) (SessionRequest, error) {
	return parseRequest(b, func(r *SessionRequest) error {
		err := errors.Join(checkTransaction(r.Transaction), CheckName("application", r.Application),
			checkWords("subject", r.Subject, maxSubject), checkWords("nonce", r.Nonce, maxNonce))
		if r.Camera != "" {
			err = errors.Join(err, CheckName("camera", r.Camera))
		}
		if r.Purpose == "" {
			err = errors.Join(err, errors.New(`no member "purpose"`))
		}
		return errors.Join(err, checkWords("purpose", r.Purpose, maxName))
	})
}

// ParseCancelRequest reads the document of request/cancel.
func ParseCancelRequest(b []byte) (CancelRequest, error) {
	return parseRequest(b, func(r *CancelRequest) error {
		return errors.Join(checkTransaction(r.Transaction), CheckName("session", r.Session))
	})
}

// ParsePlainRequest reads the document of request/ping or request/info.
func ParsePlainRequest(b []byte) (PlainRequest, error) {
	return parseRequest(b, func(r *PlainRequest) error { return checkTransaction(r.Transaction) })
}

// ParseUnlockRequest reads the document of request/unlock.
func ParseUnlockRequest(b []byte) (UnlockRequest, error) {
	return parseRequest(b, func(r *UnlockRequest) error {
		n := 0
		for _, is := range []bool{r.Subject != "", r.Camera != "", r.All} {
			if is {
				n++
			}
		}
		err := checkTransaction(r.Transaction)
		if n != 1 {
			err = errors.Join(err, errors.New(`one of "subject", "camera" and "all":true must be there, and only one`))
		}
		if r.Application != "" {
			err = errors.Join(err, CheckName("application", r.Application))
		}
		if r.Camera != "" {
			err = errors.Join(err, CheckName("camera", r.Camera))
		}
		return errors.Join(err, checkWords("subject", r.Subject, maxSubject))
	})
}

// ParseSwitchRequest reads the document of application/<name>/liveness/set.
func ParseSwitchRequest(b []byte) (SwitchRequest, error) {
	return parseRequest(b, func(r *SwitchRequest) error {
		if r.Authentication == nil && r.Enrollment == nil {
			return errors.New(`neither "authentication" nor "enrollment"`)
		}
		return nil
	})
}

// TransactionOf is the transaction of a document that may be wrong otherwise, so that its refusal finds back to who asked; "" where
// there is none that can be told.
func TransactionOf(b []byte) string {
	if len(b) > maxRequest || !utf8.Valid(b) || checkMembers(b) != nil {
		return ""
	}
	var members map[string]json.RawMessage
	var s string
	if json.Unmarshal(b, &members) != nil || json.Unmarshal(members["transaction"], &s) != nil || checkTransaction(s) != nil {
		return ""
	}
	return s
}

func parseRequest[T any](b []byte, check func(*T) error) (T, error) {
	var r, none T
	err := readRequest(b, &r)
	if err == nil {
		err = check(&r)
	}
	if err != nil {
		return none, fmt.Errorf("mqtt: parse a request: %w", err)
	}
	return r, nil
}

func readRequest(b []byte, to any) error {
	if len(b) > maxRequest {
		return fmt.Errorf("%d bytes, more than %d", len(b), maxRequest)
	}
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	if err := checkMembers(b); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	if members == nil {
		return errors.New("null")
	}
	known := memberNames(reflect.TypeOf(to).Elem())
	for name, value := range members {
		switch {
		case !slices.Contains(known, name):
			return fmt.Errorf("unknown member %.40q; known are %s", name, strings.Join(known, ", "))
		case string(value) == "null":
			return fmt.Errorf("member %q is null: leave it out", name)
		}
	}
	return json.Unmarshal(b, to)
}

func memberNames(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func checkTransaction(s string) error {
	if s == "" {
		return errors.New(`no member "transaction"`)
	}
	return checkWords("transaction", s, maxTransaction)
}

// checkWords bounds what a request says and an answer repeats.
func checkWords(what, s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("%s is longer than %d bytes", what, limit)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%s has a control character", what)
	}
	return nil
}

// Duration is a time as documents have it: a whole number with its unit, 500ms, 8s or 2m.
type Duration time.Duration

var (
	_ json.Marshaler   = Duration(0)
	_ json.Unmarshaler = (*Duration)(nil)
)

func (d Duration) String() string {
	switch v := time.Duration(d); {
	case v != 0 && v%time.Minute == 0:
		return strconv.FormatInt(int64(v/time.Minute), 10) + "m"
	case v%time.Second == 0:
		return strconv.FormatInt(int64(v/time.Second), 10) + "s"
	default:
		return strconv.FormatInt(v.Milliseconds(), 10) + "ms"
	}
}

// MarshalJSON writes the duration in the largest unit that keeps its milliseconds.
func (d Duration) MarshalJSON() ([]byte, error) { return []byte(`"` + d.String() + `"`), nil }

// UnmarshalJSON reads what the configuration would take, too.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("mqtt: read a duration: %w", err)
	}
	m := regexp.MustCompile(`^([0-9]{1,7})(ms|s|m)$`).FindStringSubmatch(s)
	if m == nil {
		return fmt.Errorf("mqtt: read a duration: %.40q is no whole number with its unit, such as 500ms, 8s or 2m", s)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return fmt.Errorf("mqtt: read a duration: %w", err)
	}
	*d = Duration(time.Duration(n) * map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute}[m[2]])
	return nil
}

// What a response says.
const (
	StatusOK    = "ok"
	StatusError = "error"
)

// Response answers a request.
type Response struct {
	Transaction  string `json:"transaction"` // "" where the request had none that could be read
	Status       string `json:"status"`
	Session      string `json:"session,omitempty"` // verb session: its id
	Lifted       *int   `json:"lifted,omitempty"`  // verb unlock: how many bans
	Info         *Info  `json:"info,omitempty"`    // verb info
	Code         Code   `json:"code,omitempty"`
	CodeNumber   int    `json:"code_number,omitempty"`
	Message      string `json:"message,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"` // with LOCKED_OUT: the time left
}

// Refusal is the response of what isn't done.
func Refusal(transaction string, c Code, message string) Response {
	return Response{Transaction: transaction, Status: StatusError, Code: c, CodeNumber: c.Number(), Message: message}
}

// Check tells what in a response contradicts itself.
func (r Response) Check() error {
	switch {
	case r.Status == StatusOK && (r.Code != "" || r.CodeNumber != 0 || r.Message != "" || r.RetryAfterMS != 0):
		return errors.New("mqtt: check a response: ok, and the reason of an error")
	case r.Status == StatusError && (r.Code.Number() == 0 || r.CodeNumber != r.Code.Number() || r.Message == "" || r.Session != "" || r.Info != nil || r.Lifted != nil):
		return fmt.Errorf("mqtt: check a response: an error with code %.40q (%d) and message %.40q, or with a result", r.Code, r.CodeNumber, r.Message)
	case r.Status != StatusOK && r.Status != StatusError:
		return fmt.Errorf("mqtt: check a response: status %.40q", r.Status)
	case r.RetryAfterMS < 0 || r.RetryAfterMS > 0 && r.Code != CodeLockedOut:
		return fmt.Errorf("mqtt: check a response: %d ms left with code %.40q", r.RetryAfterMS, r.Code)
	case len(r.Transaction) > maxTransaction || !utf8.ValidString(r.Transaction) || !utf8.ValidString(r.Message):
		return errors.New("mqtt: check a response: a text that is too long or not UTF-8")
	}
	return nil
}

// Hint tells whoever waits for a session's verdict what keeps it. Unlike a verdict it has a member "hint".
type Hint struct {
	Schema  int    `json:"schema"`
	Session string `json:"session"`
	Camera  string `json:"camera"`
	Code    Code   `json:"code"` // why the frames of now are no evidence
	Hint    string `json:"hint"` // what the person should do
	At      Time   `json:"at"`
}

// Check tells what in a hint contradicts the contract.
func (h Hint) Check() error {
	err := errors.Join(CheckName("session", h.Session), CheckName("camera", h.Camera))
	switch {
	case err != nil:
		return err
	case h.Schema != schemaVersion || h.At.IsZero():
		return fmt.Errorf("mqtt: check a hint: schema %d, at %v", h.Schema, h.At)
	case h.Code.Number() == 0 || h.Code == CodePADAttack:
		return fmt.Errorf("mqtt: check a hint: code %.40q", h.Code) // a hint never tells an attack before the verdict does
	case h.Hint == "" || !utf8.ValidString(h.Hint):
		return errors.New("mqtt: check a hint: no words, or not UTF-8")
	}
	return nil
}
