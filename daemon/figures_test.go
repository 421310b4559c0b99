package daemon

import (
	"testing"
	"time"
)

func TestFiguresAreThoseOfTheRunThatIsOn(t *testing.T) {
	p := NewPulse(time.Now, "", 1)
	asks := func(n int) func() Figures { return func() Figures { return Figures{MaxQueued: n} } }
	of := func() int {
		f, on := p.Figures()
		if !on {
			return 0
		}
		return f.MaxQueued
	}
	if n := of(); n != 0 {
		t.Errorf("before the first run: %d", n)
	}
	first := p.measured(asks(1))
	if n := of(); n != 1 {
		t.Errorf("the first run: %d", n)
	}
	second := p.measured(asks(2))
	first() // late
	first()
	if n := of(); n != 2 {
		t.Errorf("the second run: %d", n)
	}
	second()
	if n := of(); n != 0 {
		t.Errorf("after the last run: %d", n)
	}
	var nobody *Pulse
	nobody.measured(asks(3))()
	if _, on := nobody.Figures(); on {
		t.Error("nobody has figures")
	}
}
