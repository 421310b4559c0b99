package daemon

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenessd/livenessd/daemon/policy"
)

// clockSynced tells whether the kernel believes that its clock follows a reference: a verdict's times are worth as much.
func clockSynced() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC == 0
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
