package models

import (
	"fmt"
	"os"
	"syscall"
)

// limitProcess bounds what this process may use. It leaves no core dump: there may be pictures in memory.
func limitProcess(seconds, memory uint64) error {
	limits := map[int]uint64{syscall.RLIMIT_CORE: 0, syscall.RLIMIT_CPU: seconds}
	if memory > 0 {
		limits[syscall.RLIMIT_AS] = memory
	}
	for what, n := range limits {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(what, &l); err != nil {
			return fmt.Errorf("read limit %d: %w", what, err)
		}
		l.Cur, l.Max = min(n, l.Max), min(n, l.Max)
		if err := syscall.Setrlimit(what, &l); err != nil {
			return fmt.Errorf("set limit %d: %w", what, err)
		}
	}
	// If memory runs out all the same, this process goes first. Not all systems let one say so.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return nil
}
