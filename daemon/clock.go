package daemon

import "time"

// upSince is a clock that begins at a moment and that nobody can set.
func upSince(start time.Time) func() time.Duration {
	return func() time.Duration { return time.Since(start) }
}
