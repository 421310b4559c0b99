package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitsAreOverInTimeAndWithTheirParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		w := newWaiting(parent)
		defer w.stop()
		start := time.Now()
		for i := range 5 { // three that come to nothing, two that are cut short
			c := w.wait(100 * time.Millisecond)
			if c.Err() != nil {
				t.Fatalf("wait %d begins with %v", i, c.Err())
			}
			if until, ok := c.Deadline(); !ok || time.Until(until) != 100*time.Millisecond {
				t.Errorf("wait %d is until %v", i, until)
			}
			if i%2 == 1 {
				time.Sleep(99 * time.Millisecond)
				continue
			}
			<-c.Done()
			if !errors.Is(c.Err(), context.DeadlineExceeded) {
				t.Errorf("wait %d ends with %v", i, c.Err())
			}
		}
		if took := time.Since(start); took != 498*time.Millisecond {
			t.Errorf("five waits took %v", took)
		}
		c := w.wait(time.Hour)
		cancel()
		<-c.Done()
		if !errors.Is(c.Err(), context.Canceled) || !errors.Is(w.wait(time.Second).Err(), context.Canceled) {
			t.Errorf("after its parent: %v", c.Err())
		}
	})
}

func TestAWaitThatIsOverStaysSoAfterItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		w := newWaiting(parent)
		defer w.stop()
		<-w.wait(time.Second).Done()
		cancel()
		synctest.Wait()
		c := w.wait(time.Hour)
		select {
		case <-c.Done():
		default:
			t.Error("a wait goes on though its parent has ended")
		}
	})
}

func TestAWaitAllocatesNothing(t *testing.T) {
	w := newWaiting(t.Context())
	defer w.stop()
	if n := testing.AllocsPerRun(100, func() { _ = w.wait(time.Hour).Err() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
