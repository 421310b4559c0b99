package daemon

import (
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
)

// DecisionOptions are the rules of the configuration. Thresholds that it leaves open are the liveness model's.
func DecisionOptions(c config.Config, e *Engine) decision.Options {
	o := decision.Defaults()
	o.LiveAt, o.SpoofAt = c.Decision.LiveAt, c.Decision.SpoofAt
	if o.LiveAt == 0 {
		o.LiveAt = e.Liveness.Thresholds.LiveAt
	}
	if o.SpoofAt == 0 {
		o.SpoofAt = e.Liveness.Thresholds.SpoofAt
	}
	s := &c.Decision
	o.AcceptError, o.RefuseError = s.AcceptError, s.RefuseError
	o.Window, o.MinFrames, o.MinTime, o.Timeout = s.Window, s.MinFrames, s.MinTime, s.Timeout
	o.Correlation = s.Correlation
	o.MinFace, o.Crowd, o.Visible, o.Change = s.MinFace, s.Crowd, s.Visible, s.Change
	o.MinLuma, o.MaxLuma, o.MaxClipped, o.MinSharp = s.MinLuma, s.MaxLuma, s.MaxClipped, s.MinSharpness
	o.MaxYaw, o.MaxRoll = s.MaxYaw, s.MaxRoll
	return o
}
