package lab

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// exposed is how much systemd-analyze security may find.
const exposed = 1.5

func (l lab) service(t *testing.T) {
	o := l.run(t, 15*time.Minute, "service")
	for name, want := range map[string]string{"user_exit": "77", "bare_exit": "69", "bare_status": "69", "verify": "0", "accelerator": "0", "left": "0",
		"console_login": "200", "console_again": "401", "console_controls": "200", "console_trial": "204", "console_untrial": "204", "console_doctor": "200",
		"console_change": "202", "console_apply": "0", "console_written": "3", "console_secrets": "0"} {
		if got := o.results[name]; got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	if left := o.read(t, "left"); left != "" {
		t.Errorf("after a purge there is left, or missing:\n%s", left)
	}
	if said := o.read(t, "verify"); said != "" {
		t.Errorf("systemd-analyze verify:\n%s", said)
	}
	if level, err := strconv.ParseFloat(o.results["security"], 64); err != nil || level > exposed {
		t.Errorf("the exposure is %q:\n%s", o.results["security"], o.read(t, "security"))
	}
	if n, err := strconv.Atoi(o.results["console_pictures"]); err != nil || n < 2 {
		t.Errorf("the page has %q pictures in 20 s", o.results["console_pictures"])
	}
	if d := o.read(t, "console-device"); !strings.Contains(d, `"name":"brightness"`) {
		t.Errorf("the page's camera is %s", d)
	}
	if s := o.results["ready_status"]; !strings.Contains(s, "camera front streaming") {
		t.Errorf("ready, and it says %q", s)
	}
	said(t, &o, "plugged", "live")
	var status struct {
		Service struct{ Active string }
		Daemon  struct {
			Phase   string
			Broker  struct{ Connected bool }
			Verdict struct{ Verdict string }
		}
	}
	if err := json.Unmarshal([]byte(o.read(t, "status.json")), &status); err != nil || status.Service.Active != "active" || status.Daemon.Phase != "ready" ||
		!status.Daemon.Broker.Connected || status.Daemon.Verdict.Verdict != "live" {
		t.Errorf("status %+v, %v", status, err)
	}
	if got := states(o.on(t, "camera/front/state", "bare")); len(got) == 0 || slices.Contains(got, "streaming") {
		t.Errorf("without a camera: states %v", got)
	}
	figures := o.read(t, "metrics")
	for _, want := range []string{"livenessd_ready 1", `livenessd_camera_state{camera="front",state="streaming"} 1`, "livenessd_broker_connected 1", "process_resident_memory_bytes "} {
		if !strings.Contains(figures, "\n"+want) {
			t.Errorf("the figures don't say %s:\n%s", want, figures)
		}
	}
	if port := o.read(t, "port"); !strings.Contains(port, "livenessd listens at 127.0.0.1:8471") {
		t.Errorf("doctor says of the port:\n%s", port)
	}
	// A reload is another run: one boot before, one after.
	boots := map[string]bool{}
	for _, d := range o.on(t, "camera/front/verdict", "") {
		boots[d.Boot] = true
	}
	t.Logf("under emulation: install without a camera %s s with 5 s of waiting; exposure %s; memory %s bytes; %d boots",
		o.results["bare_seconds"], o.results["security"], o.results["memory"], len(boots))
}

// TestField is what is too slow to be waited for at each change.
func TestField(t *testing.T) {
	if os.Getenv("LIVENESSD_LAB") != "all" {
		t.Skip("the field takes ten minutes: run it by `make field`, or LIVENESSD_LAB=all go test ./cross/lab/ after `make build`")
	}
	l := prepared(t)
	o := l.run(t, 40*time.Minute, "field")
	for name, want := range map[string]string{"restarts": "2", "status": "69"} {
		if got := o.results[name]; got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	log := o.read(t, "service.log")
	for _, want := range []string{"Watchdog timeout", "goroutine ", "Main process exited, code=killed, status=9/KILL"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log doesn't say %q", want)
		}
	}
	for _, name := range []string{"KILL-process", "KILL", "STOP-process", "STOP", "thawed", "plugged"} {
		t.Logf("under emulation: %s: %s s", name, o.results[name])
	}
	t.Logf("memory of the service: %s bytes", o.results["memory"])
}

// TestStuck is a driver that never returns.
func TestStuck(t *testing.T) {
	if os.Getenv("LIVENESSD_LAB") != "all" {
		t.Skip("a stuck driver takes five minutes: run it by `make field`, or LIVENESSD_LAB=all go test ./cross/lab/ after `make build`")
	}
	l := prepared(t)
	o := l.run(t, 20*time.Minute, "stuck")
	if line := o.results["line"]; !strings.HasPrefix(line, "doesn't get on: the driver of camera front;") {
		t.Errorf("the status line is %q", line)
	}
	if caller := o.results["caller"]; !strings.Contains(caller, "D") {
		t.Errorf("nothing hangs in the kernel: the old process's threads are %q", caller)
	}
	if n := o.results["restarts"]; n != "1" {
		t.Errorf("it was restarted %s times", n)
	}
	log := o.read(t, "service.log")
	for _, want := range []string{"Watchdog timeout", "goroutine ", "Processes still around after final SIGKILL", "the journal can be written again"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log doesn't say %q", want)
		}
	}
	if standing := o.read(t, "standing"); !strings.Contains(standing, "failure  camera front: the camera's driver doesn't come back to livenessd (process ") {
		t.Errorf("doctor beside the process that hangs says\n%s", standing)
	}
	// Who has the camera, and what to do about it.
	meanwhile := o.read(t, "meanwhile")
	for _, want := range []string{"livenessd runs, but isn't ready yet", "the camera is used by livenessd (process ", "its driver doesn't come back to livenessd (process "} {
		if !strings.Contains(meanwhile, want) {
			t.Errorf("meanwhile nobody says %q:\n%s", want, meanwhile)
		}
	}
	t.Logf("under emulation: said after %s s, another process after %s s; judging again %s s after the camera answers; the old process's threads: %s",
		o.results["said"], o.results["process"], o.results["judged"], o.results["caller"])
}
