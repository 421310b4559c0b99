package doctor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

// Options is what is examined, and what checks need of others.
type Options struct {
	Host       Host
	ConfigPath string
	Version    string
	Unit       string // the service, such as livenessd.service
	User       string // whose permissions are worked out where the service isn't installed
	// Try runs the configuration's own models in child processes first: a file can crash the library.
	Try func(context.Context, config.Config) error
	// Engine opens the nets; nil: in this process, which a plug-in can crash.
	Engine func(context.Context, config.Config) (*daemon.Engine, error)
	// These are for tests: the way to a broker, and cameras of this machine.
	Probe     func(context.Context, mqtt.Options) ([]mqtt.Step, error)
	Subscribe func(context.Context, mqtt.SubscribeOptions) (<-chan mqtt.Received, error)
	List      func() ([]camera.Info, error)
	Open      func(name string, c config.Camera) (daemon.Camera, error)
}

// Patient is what all checks know of the machine.
type Patient struct {
	Options
	Config  config.Config
	Problem error // why there is no configuration
	Service Service
	Account Account // whose permissions count
	Daemon  daemon.Health

	device func(fs.FileMode) bool // tells whether a file is a device; tests have only files
}

// Admit looks at what all checks need: the configuration, the service and its user, and what a daemon that runs says of itself.
func Admit(ctx context.Context, o Options) *Patient {
	p := &Patient{Options: o, device: func(m fs.FileMode) bool { return m&fs.ModeCharDevice != 0 }}
	p.Service = o.Host.service(ctx, o.Unit)
	if p.ConfigPath == "" && p.Service.Installed {
		p.ConfigPath = p.Service.Config
	}
	p.Config, p.Problem = config.Load(p.ConfigPath)
	user := o.User
	if p.Service.Installed && p.Service.User != "" {
		user = p.Service.User
	}
	p.Account = o.Host.account(user, p.Service.Groups)
	if p.Problem == nil && p.Service.StateDirectory != "" {
		p.adoptState()
	}
	p.Daemon = o.Host.daemon(p.Service)
	if p.Probe == nil {
		p.Probe = mqtt.Probe
	}
	if p.Subscribe == nil {
		p.Subscribe = mqtt.Subscribe
	}
	if p.Engine == nil {
		p.Engine = daemon.Opener{Log: slog.New(slog.DiscardHandler)}.Open
	}
	if p.List == nil {
		p.List = camera.List
	}
	if p.Open == nil {
		p.Open = func(name string, c config.Camera) (daemon.Camera, error) {
			o := daemon.CameraOptions(name, c, nil)
			o.Rotate, o.Mirror, o.Region = 0, false, camera.Region{} // what is measured is what the camera sends
			return camera.Open(o)
		}
	}
	return p
}

// adoptState takes the service's state folder where the configuration leaves it to the environment, which is another one here.
func (p *Patient) adoptState() {
	usual := config.Default().State
	if p.Config.State != usual || os.Getenv("STATE_DIRECTORY") != "" {
		return
	}
	p.Config.State = filepath.Join("/var/lib", p.Service.StateDirectory)
	if p.Config.Models.Directory == filepath.Join(usual, "models") {
		p.Config.Models.Directory = filepath.Join(p.Config.State, "models")
	}
}

// Checks is all of them, in the order in which a technician would look.
func (p *Patient) Checks() []Named {
	all := []Named{
		{"configuration", 10 * time.Second, configured{p}},
		{"files", 10 * time.Second, files{p}},
		{"service", 20 * time.Second, serves{p}},
		{"clock", 5 * time.Second, clock{p.Host}},
		{"temperature", 5 * time.Second, temperature{p.Host}},
		{"disk", 30 * time.Second, disk{p}},
		{"library", 20 * time.Second, library{p}},
		{"models", 3 * time.Minute, nets{p}},
		{"camera", time.Minute, cameras{p}},
		{"broker", time.Minute, broker{p}},
	}
	all = append(all, p.ports()...)
	if p.Problem == nil {
		return all
	}
	// Without a configuration nobody knows which cameras, models and brokers are meant.
	for i, c := range all {
		switch c.Name {
		case "files", "disk", "library", "models", "camera", "broker", "metrics", "console":
			all[i].Check = unknown{}
		}
	}
	return all
}

// unknown stands for checks that need a configuration.
type unknown struct{}

func (unknown) Look(context.Context) []Finding {
	return []Finding{skipped("not looked at: the configuration must be mended first")}
}

// configured is whether there is a configuration.
type configured struct{ p *Patient }

var _ Check = configured{}

func (c configured) Look(context.Context) []Finding {
	path := c.p.ConfigPath
	if path == "" {
		path = config.DefaultPath
	}
	var problems config.Problems
	switch err := c.p.Problem; {
	case errors.As(err, &problems):
		var out []Finding
		for _, p := range problems {
			out = append(out, failure(Configuration, p.Hint, "%s", p.Error()))
		}
		return out
	case err != nil:
		cause := Configuration
		if errors.Is(err, os.ErrPermission) {
			cause = Permission
		}
		return []Finding{failure(cause, daemon.Hint(err), "%s", err)}
	}
	if _, err := os.Stat(path); err != nil && c.p.ConfigPath == "" {
		return []Finding{ok("no %s, so the defaults: the first usable camera, a broker at localhost", path)}
	}
	return []Finding{ok("%s: %d cameras, broker %s", path, len(c.p.Config.Cameras), strings.Join(c.p.Config.MQTT.URLs, " "))}
}
