package mqtt

import (
	"fmt"
	"math"
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

	// Journal is left out where verdicts are kept in memory by intention. The Client sets it.
	Journal *JournalInfo `json:"journal,omitempty"`
}

// ModelInfo names a model that the device uses, and what for.
type ModelInfo struct {
	Task    string `json:"task"`
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}
