//go:build !linux

package systemd

import "time"

// There is no systemd here.
func monotonic() time.Duration { return 0 }
