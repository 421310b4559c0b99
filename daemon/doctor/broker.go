package doctor

import (
	"context"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
)

// Step is what one step on the way to a broker came to.
type Step struct {
	Broker, Name string
	Level        Level
	Seen, Hint   string
	Cause        Cause
}

// broker is the way to each of the brokers, step by step.
type broker struct{ p *Patient }

var _ Check = broker{}

func (c broker) Look(ctx context.Context) []Finding {
	if c.p.Broker == nil {
		return []Finding{skipped("nobody knows how to reach it")}
	}
	steps, err := c.p.Broker(ctx, c.p.Config)
	if err != nil {
		return []Finding{failure(Configuration, daemon.Hint(err), "%s", err)}
	}
	var out []Finding
	for _, s := range steps {
		subject := s.Name
		if several(c.p.Config) {
			subject = s.Broker + " " + s.Name
		}
		f := Finding{Subject: subject, Level: s.Level, Seen: s.Seen, Do: s.Hint, Cause: s.Cause}
		if s.Level == Failure {
			f.Seen = s.Broker + ": " + s.Seen
		}
		if f.Level == Skipped && f.Seen == "" {
			f.Seen = "not tried, as a step before it failed"
		}
		out = append(out, f)
	}
	if b := c.p.Daemon.Broker; b != nil && c.p.Daemon.PID > 0 {
		switch {
		case b.Connected:
			out = append(out, ok("connected, %d verdicts wait", b.Queued).of("running daemon"))
		case b.Error != "":
			out = append(out, failure(Absent, b.Hint, "not connected: %s; %d verdicts wait", b.Error, b.Queued).of("running daemon"))
		default:
			out = append(out, warning("wait, and look again", "not connected; %d verdicts wait", b.Queued).of("running daemon"))
		}
	}
	return out
}

func several(c config.Config) bool { return len(c.MQTT.URLs) > 1 }
