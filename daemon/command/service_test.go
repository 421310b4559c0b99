package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/systemd"
)

// services is a machine with systemd whose answers are the test's. What an Installer does to a machine is tested in its package.
type services struct {
	root    string
	uid     int
	show    map[string]string // what systemctl show says, before and after a start
	started bool
	said    string // status.json, written by a start
	ran     []string
}

var _ systemd.Units = (*services)(nil)

func newServices(t *testing.T) *services {
	s := &services{root: t.TempDir(), show: map[string]string{}}
	for _, d := range []string{"run/systemd/system", "etc/systemd/system", "run/livenessd"} {
		if err := os.MkdirAll(filepath.Join(s.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *services) Platform() string { return "linux-systemd" }

func (s *services) Install(name, _, text string) error {
	return os.WriteFile(filepath.Join(s.root, "etc/systemd/system", name+".service"), []byte(text), 0o644)
}

func (s *services) Uninstall(name string) error {
	return os.Remove(filepath.Join(s.root, "etc/systemd/system", name+".service"))
}

func (s *services) Stop(string) error {
	s.started = false
	return nil
}

func (s *services) Run(_ context.Context, name string, args ...string) (string, error) {
	line := name + " " + strings.Join(args, " ")
	s.ran = append(s.ran, line)
	switch {
	case strings.HasPrefix(line, "systemctl show "):
		if s.started {
			return s.show["after"], nil
		}
		return s.show["before"], nil
	case strings.HasPrefix(line, "systemctl --no-block "):
		s.started = true
		return "", os.WriteFile(filepath.Join(s.root, "run/livenessd/status.json"), []byte(s.said), 0o644)
	case strings.HasPrefix(line, "systemctl is-enabled "):
		return "", errors.New("disabled")
	case strings.HasPrefix(line, "id -nG "):
		return "livenessd video render plugdev", nil
	case strings.HasPrefix(line, "id -gn "):
		return "livenessd", nil
	}
	return "", nil
}

func (s *services) call(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := Main(t.Context(), Process{Args: args, Stdout: &out, Stderr: &errs, Version: "1.2.3-test",
		Services: &systemd.Installer{Root: s.root, UID: s.uid, Units: s, Run: s.Run}})
	return result{code, out.String(), errs.String()}
}

const (
	absent   = "LoadState=not-found\nActiveState=inactive\nSubState=dead\n"
	stopped  = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=enabled\nFragmentPath=/etc/systemd/system/livenessd.service\n"
	runs     = "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=77\nNRestarts=2\nResult=success\nStatusText=camera front streaming\nUnitFileState=enabled\nFragmentPath=/etc/systemd/system/livenessd.service\n"
	waits    = "LoadState=loaded\nActiveState=activating\nSubState=start\nMainPID=77\nStatusText=camera front recovering: no such device\n"
	fails    = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=78\n"
	trouble  = `{"phase":"failed","pid":77,"trouble":{"error":"a.yaml:1:1: unknown key","hint":"did you mean \u001b[31mmqtt?"}}`
	userless = "/etc/livenessd/livenessd.yaml"
)

func TestServiceCommandsSayWhatTheyNeed(t *testing.T) {
	for _, verb := range []string{"install", "uninstall", "start", "stop", "restart", "status"} {
		s := newServices(t)
		s.uid, s.show["before"] = 1000, runs
		r := s.call(t, verb)
		if verb == "status" {
			if r.code != ExitOK {
				t.Errorf("status without root: exit code %d: %s", r.code, r.errors)
			}
		} else if r.code != ExitPermission || !strings.Contains(r.errors, "only root can do that") || !strings.Contains(r.errors, "→ run it as root") {
			t.Errorf("%s without root: exit code %d: %s", verb, r.code, r.errors)
		}
		s = newServices(t)
		if err := os.RemoveAll(filepath.Join(s.root, "run/systemd")); err != nil {
			t.Fatal(err)
		}
		if r := s.call(t, verb); r.code != ExitUnavailable || !strings.Contains(r.errors, "systemd doesn't run here") || !strings.Contains(r.errors, "→ start `livenessd run`") {
			t.Errorf("%s without systemd: exit code %d: %s", verb, r.code, r.errors)
		}
		if len(s.ran) > 0 {
			t.Errorf("%s ran %q", verb, s.ran)
		}
		s = newServices(t)
		s.show["before"] = absent
		switch verb {
		case "install":
		case "uninstall":
			if r := s.call(t, verb); r.code != ExitOK {
				t.Errorf("uninstall where nothing is: exit code %d: %s", r.code, r.errors)
			}
		default:
			if r := s.call(t, verb); r.code != ExitUnavailable || !strings.Contains(r.errors, "isn't installed") || !strings.Contains(r.errors, "→ sudo livenessd install") {
				t.Errorf("%s of nothing: exit code %d: %s", verb, r.code, r.errors)
			}
		}
		if r := s.call(t, verb, "--name", "a/b"); verb != "status" && verb != "start" && verb != "stop" && verb != "restart" && r.code != ExitUsage {
			t.Errorf("%s of a bad name: exit code %d: %s", verb, r.code, r.errors)
		}
	}
}

func TestInstallTellsHowItWent(t *testing.T) {
	needRuntime(t)
	for _, test := range []struct {
		name, after, said string
		code              int
		out, errors       string
		stays             bool
	}{
		{"it runs", runs, "{}", ExitOK, "livenessd is ready: camera front streaming\nNext: ", "", true},
		{"there is no camera", waits, "{}", ExitUnavailable, "", "livenessd runs, but isn't ready yet: camera front recovering: no such device\n  → it goes on by itself", true},
		{"it fails and says why", fails, trouble, ExitConfig, "undoing what was done", "livenessd doesn't run: a.yaml:1:1: unknown key\n  → did you mean  [31mmqtt?", false},
		{"it fails and says nothing", fails, "", ExitConfig, "undoing what was done", "livenessd doesn't run: exit-code, exit code 78\n  → see its log: journalctl -u livenessd", false},
	} {
		s := newServices(t)
		s.show["before"], s.show["after"], s.said = absent, test.after, test.said
		r := s.call(t, "install", "--wait", "10ms")
		if r.code != test.code || !strings.Contains(r.out, test.out) || !strings.Contains(r.errors, test.errors) {
			t.Errorf("%s: exit code %d\n%s\n%s", test.name, r.code, r.out, r.errors)
		}
		_, err := os.Stat(filepath.Join(s.root, "etc/systemd/system/livenessd.service"))
		_, file := os.Stat(filepath.Join(s.root, userless))
		if (err == nil) != test.stays || (file == nil) != test.stays {
			t.Errorf("%s: %v, %v", test.name, err, file)
		}
	}
}

func TestInstallWithABadConfigurationTouchesNothing(t *testing.T) {
	s := newServices(t)
	s.show["before"] = absent
	file := write(t, "livenessd.yaml", "mqtt: {ulr: x}\n")
	if r := s.call(t, "install", "--config", file); r.code != ExitConfig || !strings.Contains(r.errors, "did you mean") || len(s.ran) > 0 {
		t.Errorf("exit code %d, ran %q: %s", r.code, s.ran, r.errors)
	}
}

func TestDryRunPrintsTheUnit(t *testing.T) {
	s := newServices(t)
	s.uid = 1000
	r := s.call(t, "install", "--dry-run", "--name", "side-door", "--user", "doorman")
	if r.code != ExitOK || r.errors != "" || !strings.Contains(r.out, "\nUser=doorman\n") || !strings.Contains(r.out, " run --config /etc/side-door/livenessd.yaml\n") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	for _, line := range s.ran {
		if !strings.HasPrefix(line, "getent ") {
			t.Errorf("it ran %s", line)
		}
	}
	if left, err := os.ReadDir(filepath.Join(s.root, "etc/systemd/system")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestStartAndStop(t *testing.T) {
	for _, test := range []struct {
		verb, after, out, errors string
		code                     int
	}{
		{"start", runs, "livenessd is ready: camera front streaming\n", "", ExitOK},
		{"restart", fails, "", "livenessd doesn't run: ", ExitConfig},
		{"start", waits, "activating: camera front recovering", "isn't ready yet", ExitUnavailable},
		{"stop", stopped, "livenessd has ended\n", "", ExitOK},
	} {
		s := newServices(t)
		s.show["before"], s.show["after"] = stopped, test.after
		args := []string{test.verb}
		if test.verb != "stop" {
			args = append(args, "--wait=10ms")
		}
		if r := s.call(t, args...); r.code != test.code || !strings.Contains(r.out, test.out) || !strings.Contains(r.errors, test.errors) {
			t.Errorf("%s: exit code %d\n%s\n%s", test.verb, r.code, r.out, r.errors)
		}
	}
}

func TestStatus(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := daemon.Health{Phase: daemon.PhaseReady, Since: at, PID: 77, Cameras: []daemon.CameraHealth{
		{Name: "front", State: "streaming", Since: at, Mode: "MJPG 640×480 at 15/s", Worked: true,
			Health: "alarmed", Alarms: []string{"slow"}, Advice: "light the place better"},
		{Name: "side", State: "failed", Since: at, Error: "camera: open /dev/video1: permission denied", Hint: "add it to group video"}},
		Broker:  &daemon.BrokerHealth{Connected: true, Queued: 3},
		Verdict: &daemon.LastVerdict{Camera: "front", Verdict: "spoof", Code: "PAD_ATTACK", At: at},
		Trouble: &daemon.Trouble{Error: "mqtt: connect", Hint: "start the broker", At: at}}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	s := newServices(t)
	s.show["before"] = runs
	if err := os.WriteFile(filepath.Join(s.root, "run/livenessd/status.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	local := at.Local().Format(time.DateTime)
	want := fmt.Sprintf(`service       livenessd: active (running)
unit          /etc/systemd/system/livenessd.service, enabled
says          camera front streaming
restarts      2
camera front  streaming since %[1]s: MJPG 640×480 at 15/s, alarmed: slow
              → light the place better
camera side   failed since %[1]s: camera: open /dev/video1: permission denied
              → add it to group video
broker        connected; 3 verdicts wait
last verdict  spoof PAD_ATTACK, camera front, at %[1]s
last trouble  %[1]s: mqtt: connect
              → start the broker
`, local)
	if r := s.call(t, "status"); r.code != ExitOK || r.out != want {
		t.Errorf("exit code %d: %s\n%swant\n%s", r.code, r.errors, r.out, want)
	}
	r := s.call(t, "status", "--json")
	all := objects[statusOutput](t, r.out)
	if r.code != ExitOK || len(all) != 1 || all[0].Service.PID != 77 || all[0].Daemon == nil || all[0].Daemon.Verdict.Code != "PAD_ATTACK" {
		t.Errorf("exit code %d: %s", r.code, r.out)
	}
	// One that failed says why, and nothing of cameras that aren't looked at any more.
	s.show["before"] = fails
	if err := os.WriteFile(filepath.Join(s.root, "run/livenessd/status.json"), []byte(trouble), 0o644); err != nil {
		t.Fatal(err)
	}
	r = s.call(t, "status")
	if r.code != ExitUnavailable || !strings.Contains(r.out, "ended         exit-code, exit code 78\n") || !strings.Contains(r.out, "a.yaml:1:1: unknown key") ||
		strings.Contains(r.out, "\x1b") || strings.Contains(r.out, "camera") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	// One that waits for a camera needs no other start.
	s.show["before"] = waits
	r = s.call(t, "status")
	if r.code != ExitUnavailable || !strings.Contains(r.out, "says          camera front recovering: no such device\n") ||
		!strings.Contains(r.errors, "livenessd runs, but isn't ready yet: camera front recovering: no such device\n  → wait: ") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	s.show["before"] = absent
	if r := s.call(t, "status", "--json"); r.code != ExitUnavailable || !strings.Contains(r.out, `"installed":false`) {
		t.Errorf("exit code %d: %s", r.code, r.out)
	}
}
