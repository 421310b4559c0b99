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
	o.Window = c.Decision.Window
	o.MinFrames = c.Decision.MinFrames
	o.Timeout = c.Decision.Timeout
	o.MinFace = c.Decision.MinFace
	return o
}
