// Package doctor finds out why livenessd doesn't work on a machine, and says what to do.
//
// Each Check looks at one thing and tells what it saw as findings: ok, a warning or a failure, and for the last two what a
// technician should do. The machine is a Host, which is paths and a way to run commands, so that a folder stands in for /proc, /sys,
// /dev and /etc in tests. Who may do what is worked out for the service's user from owners, modes, groups and access lists, whoever
// runs the doctor. It promises to change nothing but for a small file in the state folder that it writes and removes again; to go on
// with the other checks when one fails or hangs; to disturb a daemon that runs no more than a subscriber would (a camera that the daemon
// has isn't touched); and to keep no picture. A Bundle has nothing in it that Secrets knows, and no picture.
//
// It doesn't repair anything, and it doesn't judge people: whether the liveness net is right is evaluate's question.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // it works, but something about it will hurt some day
	Failure Level = "failure" // it can't work so
	Skipped Level = "skipped" // it couldn't be looked at
)

// Cause is what kind of failure it is, for the exit code.
type Cause string

// The causes, the one that should be mended first in front.
const (
	Configuration Cause = "configuration"
	Permission    Cause = "permission"
	Absent        Cause = "absent" // a device or a service isn't there, or can't be had
	Internal      Cause = "internal"
	Other         Cause = ""
)

// Finding is what a check saw.
type Finding struct {
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"` // which camera, file or broker
	Level   Level  `json:"level"`
	Seen    string `json:"seen"`
	Do      string `json:"do,omitempty"`
	Cause   Cause  `json:"cause,omitempty"`
}

// Check looks at one thing of the machine.
type Check interface {
	Look(context.Context) []Finding
}

// Named is a check with its name and how long it may take.
type Named struct {
	Name  string
	Limit time.Duration
	Check
}

// Report is all findings in the order in which they were made.
type Report struct {
	Version  string    `json:"version"`
	At       time.Time `json:"at"`
	Worst    Level     `json:"worst"`
	Findings []Finding `json:"findings"`
}

// Examine runs the checks one after the other. told hears each finding as it is made. A check that doesn't end within its limit is left
// behind: a driver that hangs in the kernel can't be waited for.
func Examine(ctx context.Context, checks []Named, told func(Finding)) []Finding {
	var all []Finding
	for _, c := range checks {
		if ctx.Err() != nil {
			break
		}
		for _, f := range look(ctx, c) {
			if f.Check == "" {
				f.Check = c.Name
			}
			all = append(all, f)
			told(f)
		}
	}
	return all
}

func look(ctx context.Context, c Named) []Finding {
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	found := make(chan []Finding, 1)
	go func() { found <- c.Look(ctx) }()
	// What heeds its context has a little time to say what it saw.
	patience := time.NewTimer(c.Limit + c.Limit/4)
	defer patience.Stop()
	select {
	case fs := <-found:
		return fs
	case <-patience.C:
		return []Finding{{Level: Failure, Cause: Internal, Seen: fmt.Sprintf("no end of this check after %v: something hangs in the kernel or on the network", c.Limit),
			Do: "see `dmesg`; plug the device in anew, or restart the machine"}}
	}
}

// Worst is the level of the worst finding; what was skipped counts as nothing.
func Worst(fs []Finding) Level {
	worst := OK
	for _, f := range fs {
		switch {
		case f.Level == Failure:
			return Failure
		case f.Level == Warning:
			worst = Warning
		}
	}
	return worst
}

// FirstCause is the cause of the failures that should be mended first, and whether there is a failure.
func FirstCause(fs []Finding) (Cause, bool) {
	for _, c := range []Cause{Configuration, Permission, Absent, Internal, Other} {
		if slices.ContainsFunc(fs, func(f Finding) bool { return f.Level == Failure && f.Cause == c }) {
			return c, true
		}
	}
	return Other, false
}

// String is the finding as people read it: a line, and one for what to do.
func (f Finding) String() string {
	name := f.Check
	if f.Subject != "" {
		name += " " + f.Subject
	}
	s := fmt.Sprintf("%-8s %s: %s", f.Level, name, strings.ReplaceAll(f.Seen, "\n", "\n         "))
	if f.Do != "" {
		s += "\n         → " + f.Do
	}
	return s
}

func ok(format string, args ...any) Finding {
	return Finding{Level: OK, Seen: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Finding {
	return Finding{Level: Skipped, Seen: fmt.Sprintf(format, args...)}
}

func warning(do, format string, args ...any) Finding {
	return Finding{Level: Warning, Do: do, Seen: fmt.Sprintf(format, args...)}
}

func failure(c Cause, do, format string, args ...any) Finding {
	return Finding{Level: Failure, Cause: c, Do: do, Seen: fmt.Sprintf(format, args...)}
}

func (f Finding) of(subject string) Finding {
	f.Subject = subject
	return f
}
