package daemon

import (
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/session"
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

// demand is what sessions of an application and purpose want before they are told live.
func demand(a config.Application, purpose string, base decision.Options) decision.Demand {
	s := a.Thresholds.Authentication
	if purpose == session.Enrollment {
		s = a.Thresholds.Enrollment
	}
	switch s.Level {
	case config.Relaxed:
		return decision.Demand{LiveAt: (base.SpoofAt + base.LiveAt) / 2, AcceptError: min(3*base.AcceptError, 0.4), MinTime: base.MinTime}
	case config.Strict:
		// Half way to certainty, a tenth of the errors, twice the evidence.
		return decision.Demand{LiveAt: (1 + base.LiveAt) / 2, AcceptError: max(base.AcceptError/10, 1e-9),
			MinFrames: min(2*base.MinFrames, 250), MinTime: 2 * base.MinTime}
	case config.Normal:
		return decision.Demand{MinTime: base.MinTime}
	}
	return decision.Demand{LiveAt: s.LiveAt, SpoofAt: s.SpoofAt, MinTime: base.MinTime}
}
