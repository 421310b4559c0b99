package mqtt

import (
	"fmt"
	"math"
	"slices"

	"github.com/livenessd/livenessd/mqtt/sign"
)

// CameraState is what a camera does: streaming, recovering or failed. Members that nobody knows yet are left out.
type CameraState struct {
	Schema int     `json:"schema"`
	State  string  `json:"state"`
	Code   Code    `json:"code,omitempty"` // why it isn't streaming
	Device string  `json:"device,omitempty"`
	Format string  `json:"format,omitempty"`
	Width  int     `json:"width,omitempty"`
	Height int     `json:"height,omitempty"`
	FPS    float64 `json:"fps,omitempty"`
	Hint   string  `json:"hint,omitempty"`  // what a technician should do
	Error  string  `json:"error,omitempty"` // what is wrong
	Since  Time    `json:"since"`           // when it entered this state

	Health *CameraHealth `json:"health,omitempty"`
}

// CameraHealth is how well a camera does, with what was tried and how often that was needed since the daemon's start.
type CameraHealth struct {
	State  string   `json:"state"`            // healthy, alarmed, recovering, escalated or failed
	Since  Time     `json:"since"`            // when it entered this one
	Alarms []string `json:"alarms,omitempty"` // what is wrong with frames that come
	Hint   string   `json:"hint,omitempty"`   // what to do about that

	Strikes      int    `json:"strikes"`                  // how often it was opened in vain, lately
	Outages      uint64 `json:"outages"`                  // how often it was lost after it had streamed
	LastOutageMS int64  `json:"last_outage_ms,omitempty"` // how long the newest one took that is over
	Resets       uint64 `json:"resets"`                   // of its USB device

	Entered map[string]uint64  `json:"entered"` // how often each state was entered
	Seconds map[string]float64 `json:"seconds"` // that it was in each state before this one
}

// healths are the states of a camera's health.
var healths = [...]string{"healthy", "alarmed", "recovering", "escalated", "failed"}

func (h *CameraHealth) check() error {
	known := func(state string) bool { return slices.Contains(healths[:], state) }
	ok := known(h.State) && h.Strikes >= 0 && h.LastOutageMS >= 0 && !slices.Contains(h.Alarms, "")
	for state := range h.Entered {
		ok = ok && known(state)
	}
	for state, s := range h.Seconds {
		ok = ok && known(state) && measured(s)
	}
	if !ok {
		return fmt.Errorf("mqtt: camera state: health %+v", *h)
	}
	return nil
}

// Check tells whether the state is one that the contract knows.
func (s CameraState) Check() error {
	switch {
	case s.Schema != schemaVersion:
		return fmt.Errorf("mqtt: camera state: schema %d, not %d", s.Schema, schemaVersion)
	case s.State != "streaming" && s.State != "recovering" && s.State != "failed":
		return fmt.Errorf("mqtt: camera state: %.40q is none of streaming, recovering, failed", s.State)
	case s.Code != "" && s.Code.Number() == 0:
		return fmt.Errorf("mqtt: camera state: no code %.40q", s.Code)
	case s.Width < 0 || s.Height < 0 || s.FPS < 0 || math.IsNaN(s.FPS) || math.IsInf(s.FPS, 0):
		return fmt.Errorf("mqtt: camera state: %d×%d at %v frames a second", s.Width, s.Height, s.FPS)
	case s.Health != nil:
		return s.Health.check()
	}
	return nil
}

// Info is what a device is: published, retained, on each connection.
type Info struct {
	Schema   int         `json:"schema"`
	Device   string      `json:"device"`
	Version  string      `json:"version"`
	Models   []ModelInfo `json:"models"`
	Runtime  string      `json:"runtime"`
	Delegate string      `json:"delegate"`
	Cameras  []string    `json:"cameras"`

	// Delegates is what became of each delegate that the configuration prefers, in its order.
	Delegates []DelegateInfo `json:"delegates,omitempty"`

	// Keys are what its verdicts are signed with: the one in use first, and then those that it replaced. As a JSON Web Key Set has them, so
	// that this document is one. None where verdicts aren't signed. Whoever can alter this can alter the verdicts: keys are to be had
	// from the device itself.
	Keys []KeyInfo `json:"keys,omitempty"`

	// Journal is left out where verdicts are kept in memory by intention. The Client sets it.
	Journal *JournalInfo `json:"journal,omitempty"`
}

// DelegateState is what became of a delegate.
type DelegateState string

// The states of delegates.
const (
	DelegateUsed    DelegateState = "used"
	DelegateRefused DelegateState = "refused" // it can't be had, or its answers are wrong
	DelegateResting DelegateState = "resting" // it went wrong lately, and isn't tried now
	DelegateUntried DelegateState = "untried" // one that is liked better is used
)

// DelegateInfo is what became of a delegate, and why.
type DelegateInfo struct {
	Delegate string        `json:"delegate"`
	State    DelegateState `json:"state"`
	Error    string        `json:"error,omitempty"`
	Hint     string        `json:"hint,omitempty"` // what a technician should do
	MedianMS float64       `json:"median_ms,omitempty"`
	Note     string        `json:"note,omitempty"`
	RetryAt  Time          `json:"retry_at,omitzero"`
}

// KeyInfo is a public key as a JSON Web Key, with the times from and until which it signed.
type KeyInfo struct {
	Kty   string `json:"kty"`
	Crv   string `json:"crv"`
	X     string `json:"x"`
	Kid   string `json:"kid"`
	Alg   string `json:"alg"`
	Use   string `json:"use"`
	Since Time   `json:"since,omitzero"`
	Until Time   `json:"until,omitzero"`
}

// KeysInfo describes keys.
func KeysInfo(keys []sign.Public) []KeyInfo {
	var all []KeyInfo
	for _, k := range keys {
		all = append(all, KeyInfo{sign.KeyType, sign.Curve, k.X(), k.ID, sign.Algorithm, sign.Use, Time(k.Since), Time(k.Until)})
	}
	return all
}

// ModelInfo names a model that the device uses, and what for.
type ModelInfo struct {
	Task    string `json:"task"`
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}
