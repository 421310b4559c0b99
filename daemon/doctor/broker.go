package doctor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

// broker is the way to each of the brokers, step by step.
type broker struct{ p *Patient }

var _ Check = broker{}

// The causes of failures at a broker; of other kinds it is Absent.
var kinds = map[mqtt.Kind]Cause{
	mqtt.KindOptions: Configuration, mqtt.KindFile: Configuration, mqtt.KindNoTLS: Configuration, mqtt.KindTLSPort: Configuration, mqtt.KindAuthority: Configuration,
	mqtt.KindHost: Configuration, mqtt.KindOwnMissing: Configuration, mqtt.KindOwnRefused: Configuration, mqtt.KindOwnExpired: Configuration,
	mqtt.KindProtocol: Configuration, mqtt.KindClientID: Configuration,
	mqtt.KindExposed: Permission, mqtt.KindLogin: Permission, mqtt.KindDenied: Permission,
}

var levels = map[mqtt.Outcome]Level{mqtt.Passed: OK, mqtt.Warned: Warning, mqtt.Failed: Failure, mqtt.Skipped: Skipped}

// broker is what the service knows of its brokers.
func (p *Patient) broker() mqtt.Options {
	o := daemon.Broker(p.Config, slog.New(slog.DiscardHandler))
	if o.Username != "" && o.PasswordFile == "" {
		o.PasswordFile = p.credential(config.Credential)
	}
	return o
}

// credential is the file from which systemd hands a credential to the service alone: one that is named, or one in a folder of them.
func (p *Patient) credential(name string) string {
	if path := p.Service.Credentials[name]; path != "" {
		return path
	}
	for _, folder := range p.Service.Credentials {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func (c broker) Look(ctx context.Context) []Finding {
	o := c.p.broker()
	for _, secret := range []string{o.PasswordFile, o.KeyFile} {
		// Whether the service may read it is another check's question.
		if f, err := os.OpenFile(secret, os.O_RDONLY|syscall.O_NONBLOCK, 0); errors.Is(err, fs.ErrPermission) {
			return []Finding{skipped("%s can't be read by this user: run `sudo livenessd doctor`", secret)}
		} else if err == nil {
			f.Close()
		}
	}
	steps, err := c.p.Probe(ctx, o)
	if err != nil {
		return []Finding{failure(Configuration, daemon.Hint(err), "%s", err)}
	}
	var out []Finding
	for _, s := range steps {
		f := Finding{Subject: s.Name, Level: levels[s.Outcome], Seen: s.Seen, Do: s.Hint}
		if len(o.Others) > 0 {
			f.Subject = s.Broker + " " + s.Name
		}
		switch f.Level {
		case Failure:
			f.Seen, f.Cause = s.Broker+": "+s.Seen, kinds[s.Kind]
			if f.Cause == Other {
				f.Cause = Absent
			}
		case Skipped:
			f.Seen = "not tried, as a step before it failed"
		}
		out = append(out, f)
	}
	if b := c.p.Daemon.Broker; b != nil {
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
