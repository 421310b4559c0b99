package camera

import "time"

// early is how long before a buffer was at the driver its picture may have begun: the time of the start of the exposure is among
// what drivers tell.
const early = 500 * time.Millisecond

// moment is when a frame was captured: so long before it was dequeued as the driver says, if that can be. No frame was captured
// in the future, nor before the driver had the buffer that it lies in; a driver that says so has another clock than we.
func moment(dequeued, queued time.Time, age time.Duration) time.Time {
	at := dequeued.Add(-age)
	if age < 0 || at.Before(queued.Add(-early)) {
		return dequeued
	}
	return at
}

// skipped is how many frames a driver's numbers say there were between two. Numbers that stand still or go back say nothing.
func skipped(last, next uint32) uint32 {
	if d := int32(next - last); d > 1 {
		return uint32(d - 1)
	}
	return 0
}
