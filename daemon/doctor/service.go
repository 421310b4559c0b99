package doctor

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Service is what systemd says of the unit.
type Service struct {
	Known          bool // systemd could be asked
	Installed      bool
	Active, Sub    string // as systemctl show names them
	Result         string
	Says           string // the service's own words
	Enabled        string
	Since          string
	Status         int // exit code of the last run
	Restarts       int
	PID            int
	User           string
	Groups         []string // supplementary ones
	StateDirectory string
	Config         string            // the file that it is started with, "" for the usual one
	Credentials    map[string]string // files that systemd hands to the service, by their names
	Problem        string            // why systemd couldn't be asked
}

var properties = []string{"LoadState", "ActiveState", "SubState", "Result", "StatusText", "UnitFileState", "StateChangeTimestamp", "ExecMainStatus", "NRestarts", "MainPID",
	"User", "SupplementaryGroups", "StateDirectory", "LoadCredential", "ExecStart"}

// startedWith finds the configuration in a command line as systemctl show tells it.
var startedWith = regexp.MustCompile(`argv\[\]=[^;]* --config[= ]([^ ;]+)`)

// service asks systemd.
func (h Host) service(ctx context.Context, unit string) Service {
	s := Service{}
	out, err := h.Run(ctx, "systemctl", "show", "--no-pager", "--property="+strings.Join(properties, ","), unit)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		s.Problem = "there is no systemctl: this machine doesn't run systemd"
		return s
	case err != nil:
		s.Problem = "systemd doesn't answer: " + err.Error()
		return s
	}
	v, credentials := map[string]string{}, map[string]string{}
	for line := bufio.NewScanner(bytes.NewReader(out)); line.Scan(); {
		key, value, _ := strings.Cut(line.Text(), "=")
		if key == "LoadCredential" {
			if name, path, named := strings.Cut(value, ":"); named {
				credentials[name] = path
			}
			continue
		}
		v[key] = value
	}
	count := func(key string) int {
		n, err := strconv.Atoi(v[key])
		if err != nil {
			return 0
		}
		return n
	}
	state, _, _ := strings.Cut(v["StateDirectory"], " ")
	config := ""
	if m := startedWith.FindStringSubmatch(v["ExecStart"]); m != nil {
		config = m[1]
	}
	return Service{Known: true, Installed: v["LoadState"] == "loaded", Active: v["ActiveState"], Sub: v["SubState"], Result: v["Result"], Says: v["StatusText"], Enabled: v["UnitFileState"],
		Since: v["StateChangeTimestamp"], Status: count("ExecMainStatus"), Restarts: count("NRestarts"), PID: count("MainPID"), User: v["User"],
		Groups: strings.Fields(v["SupplementaryGroups"]), StateDirectory: state, Config: config, Credentials: credentials}
}

// serves is whether the service is installed, runs, and keeps running.
type serves struct{ p *Patient }

var _ Check = serves{}

// results are systemd's words for how a service ended.
var results = map[string]string{"watchdog": "it hung, and the watchdog ended it", "oom-kill": "the kernel ended it for want of memory",
	"timeout": "it didn't get ready, or end, in time", "signal": "it was killed", "core-dump": "it crashed", "start-limit-hit": "it was started too often",
	"resources": "systemd couldn't set it up"}

// Exit codes of livenessd after which systemd doesn't start it again, with what they mean.
var exits = map[int]string{64: "a wrong command line in the unit", 69: "a needed device or service is absent", 70: "an internal error", 75: "a delegate got stuck, without which it goes on", 77: "a permission is missing",
	78: "the configuration can't be used"}

func (c serves) Look(ctx context.Context) []Finding {
	s, a := c.p.Service, c.p.Account
	var out []Finding
	switch {
	case !s.Known:
		out = append(out, warning("where there is no systemd, start `livenessd run` by what there is", "%s", s.Problem))
	case !s.Installed:
		out = append(out, warning("sudo livenessd install", "unit %s isn't installed", c.p.Unit))
	case s.Active == "active":
		f := ok("%s is active (%s) since %s, process %d", c.p.Unit, s.Sub, s.Since, s.PID)
		if s.Restarts > 0 {
			f = warning(c.last(ctx), "%s is active (%s) since %s, but was restarted by itself %d times", c.p.Unit, s.Sub, s.Since, s.Restarts)
		}
		out = append(out, f)
	case s.Active == "reloading":
		out = append(out, ok("%s reads its configuration again (%s), process %d", c.p.Unit, cmp.Or(s.Says, s.Sub), s.PID))
	case s.Active == "activating" && s.Sub != "auto-restart":
		out = append(out, c.starting(ctx))
	case s.Active == "deactivating":
		out = append(out, warning("wait some seconds until it has ended", "%s is ending (%s)", c.p.Unit, s.Sub))
	case s.Active == "failed" || s.Result != "" && s.Result != "success":
		why := s.Result
		if meaning := exits[s.Status]; why == "exit-code" && meaning != "" {
			why = "exit code " + strconv.Itoa(s.Status) + ", " + meaning
		} else if why == "exit-code" {
			why = "exit code " + strconv.Itoa(s.Status)
		} else if meaning := results[why]; meaning != "" {
			why += ", " + meaning
		}
		out = append(out, failure(causeOf(s.Status), c.last(ctx), "%s is %s (%s) since %s: %s; %d restarts", c.p.Unit, s.Active, s.Sub, s.Since, why, s.Restarts))
	default:
		out = append(out, warning("systemctl start "+c.p.Unit, "%s is %s (%s)", c.p.Unit, s.Active, s.Sub))
	}
	if s.Installed && s.Enabled == "disabled" {
		out = append(out, warning("systemctl enable "+c.p.Unit, "%s isn't started at boot", c.p.Unit))
	}
	out = append(out, moves(c.p.Daemon)...)
	if !a.Exists {
		do := "sudo livenessd install makes it"
		if !s.Known {
			do = "sudo useradd --system --user-group --groups video " + c.p.User + ", or start it as another user that is in group video"
		}
		f := warning(do, "there is no user %s; permissions below are those of %s, who runs this", c.p.User, a.Name)
		if s.Installed {
			f = failure(Permission, "sudo livenessd install makes it", "the unit's user %s doesn't exist", s.User)
		}
		return append(out, f.of("user"))
	}
	return append(out, ok("%s, in groups %s", a.Name, a.Groups()).of("user"))
}

// starting is a service that runs and isn't ready: nothing that another start would better.
func (c serves) starting(ctx context.Context) Finding {
	s := c.p.Service
	seen := fmt.Sprintf("%s is starting since %s, process %d, and isn't ready yet: %s", c.p.Unit, s.Since, s.PID, cmp.Or(s.Says, "it hasn't said anything yet"))
	do := "wait: it is ready as soon as every camera and the models work, and another start makes that no sooner"
	if s.Restarts > 0 {
		seen += fmt.Sprintf("; it was restarted by itself %d times", s.Restarts)
		do += "; " + c.last(ctx)
	}
	return warning(do, "%s", seen)
}

func causeOf(exit int) Cause {
	return map[int]Cause{69: Absent, 70: Internal, 77: Permission, 78: Configuration}[exit]
}

// last is the last error in the journal, and its hint.
func (c serves) last(ctx context.Context) string {
	const see = "see `journalctl -u "
	out, err := c.p.Host.Run(ctx, "journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=300", "--unit="+c.p.Unit)
	if err != nil {
		return see + c.p.Unit + "`"
	}
	if e := lastError(string(out)); e != "" {
		return "its last error: " + e
	}
	return see + c.p.Unit + "`"
}

// lastError finds the newest error in what livenessd wrote: what ended it, or a line of its log.
func lastError(journal string) string {
	last, arrow := "", false
	for line := range strings.Lines(journal) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "livenessd: "), strings.Contains(line, "level=ERROR"), strings.Contains(line, `"level":"ERROR"`):
			last, arrow = line, true
		case strings.HasPrefix(line, "→") && arrow:
			last, arrow = last+" "+line, false
		default:
			arrow = false
		}
	}
	const long = 600
	if len(last) > long {
		last = strings.ToValidUTF8(last[:long], "") + "…"
	}
	return last
}
