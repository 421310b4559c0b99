package daemon

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenessd/livenessd/daemon/policy"
)

// kernelSynced tells whether the kernel believes that its clock follows a reference: a verdict's times are worth as much. It isn't known where
// the service's cage forbids to ask.
func kernelSynced() (synced, known bool) {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return t.Status&unix.STA_UNSYNC == 0, err == nil
}

// clockSynced is kernelSynced for whoever asks once.
func clockSynced() bool {
	synced, known := kernelSynced()
	return synced && known
}

// askSystemd asks systemd instead of the kernel.
func askSystemd(ctx context.Context) (bool, error) {
	// systemd-timesyncd makes it when it has set the clock.
	if _, err := os.Stat("/run/systemd/timesync/synchronized"); err == nil {
		return true, nil
	}
	out, err := exec.CommandContext(ctx, "timedatectl", "show", "--property=NTPSynchronized", "--value").Output()
	return strings.TrimSpace(string(out)) == "yes", err
}

// moment reads the kernel's clock since the machine was started, which goes on while it sleeps and which nobody can set. Where that can't be
// had, it is the time since this run began.
func moment(run string) func() policy.Moment {
	boot, up := run, upSince(time.Now())
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) == nil {
			boot, up = strings.TrimSpace(string(b)), sinceBoot
		}
	}
	return func() policy.Moment { return policy.Moment{Boot: boot, Up: up(), Wall: time.Now()} }
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0 // it worked before; no time has passed then
	}
	return time.Duration(t.Nano())
}
