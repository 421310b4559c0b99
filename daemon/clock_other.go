//go:build !linux

package daemon

import (
	"time"

	"github.com/livenessd/livenessd/daemon/policy"
)

// clockSynced can't be known here.
func clockSynced() bool { return false }

// moment is the time since this run began.
func moment(run string) func() policy.Moment {
	up := upSince(time.Now())
	return func() policy.Moment { return policy.Moment{Boot: run, Up: up(), Wall: time.Now()} }
}
