//go:build !linux

package daemon

import (
	"context"
	"time"

	"github.com/livenessd/livenessd/daemon/policy"
)

// kernelSynced can't be known here.
func kernelSynced() (synced, known bool) { return false, true }

func clockSynced() bool { return false }

func askSystemd(context.Context) (bool, error) { return false, nil }

// moment is the time since this run began.
func moment(run string) func() policy.Moment {
	up := upSince(time.Now())
	return func() policy.Moment { return policy.Moment{Boot: run, Up: up(), Wall: time.Now()} }
}
