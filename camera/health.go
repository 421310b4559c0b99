package camera

import (
	"errors"
	"slices"
	"time"
)

// How well a camera does. State tells what it does now; health also remembers what was tried, and looks at frames that come.
const (
	HealthHealthy    = "healthy"    // frames come as they should
	HealthAlarmed    = "alarmed"    // frames come, but something is wrong with them: Alarms
	HealthRecovering = "recovering" // it is being looked for, or opened anew
	HealthEscalated  = "escalated"  // opening it anew didn't help: its USB device is reset where that is permitted, and it is left alone for longer
	HealthFailed     = "failed"     // somebody has to act; it is tried all the same
)

// Healths are the states of health.
func Healths() []string {
	return []string{HealthHealthy, HealthAlarmed, HealthRecovering, HealthEscalated, HealthFailed}
}

// What can be wrong with frames that come.
const (
	AlarmSlow     = "slow"     // fewer than 60 % of those that the driver promised
	AlarmGaps     = "gaps"     // the driver's numbering skips more than a tenth
	AlarmFaulty   = "faulty"   // the driver marks more than a tenth as faulty
	AlarmDamaged  = "damaged"  // more than a tenth can't be used: empty, short, cut off, not to be decoded
	AlarmUnsteady = "unsteady" // the camera was lost three times within ten minutes
)

// Alarms are all that there are.
func Alarms() []string {
	return []string{AlarmSlow, AlarmGaps, AlarmFaulty, AlarmDamaged, AlarmUnsteady}
}

// alarms, each with what a technician should do.
var alarmHints = [...]struct{ alarm, hint string }{
	{AlarmSlow, "fewer frames come than the camera promised: light the place better, or fix its exposure; or choose a rate that it can do"},
	{AlarmGaps, "frames are missing: check the camera's cable and hub, what else is on its USB bus, and whether this machine is too busy"},
	{AlarmFaulty, "the driver marks frames as faulty: check the camera's cable, its hub and the hub's power"},
	{AlarmDamaged, "frames are damaged: check the camera's cable, its hub and the hub's power"},
	{AlarmUnsteady, "the camera is lost again and again: check its plug, its cable, its hub and the hub's power"},
}

// Health is how well a camera does, and did since Open.
type Health struct {
	State      string        `json:"state"`
	Since      time.Time     `json:"since"`
	Alarms     []string      `json:"alarms,omitempty"` // never altered, only replaced
	Hint       string        `json:"hint,omitempty"`   // what to do about the alarms
	Strikes    int           `json:"strikes"`          // how often it was opened, or should have been, and that didn't help; a while of frames forgives them
	Outages    uint64        `json:"outages"`          // how often it was lost after it had streamed
	LastOutage time.Duration `json:"last_outage"`      // from the last frame of the newest outage that is over to the first one after it
	Resets     uint64        `json:"resets"`           // how often its USB device was reset
	Entered    PerHealth[uint64]
	Spent      PerHealth[time.Duration] // until Since, in all states before this one
}

// PerHealth has a value for each state of health.
type PerHealth[T any] struct {
	Healthy    T `json:"healthy"`
	Alarmed    T `json:"alarmed"`
	Recovering T `json:"recovering"`
	Escalated  T `json:"escalated"`
	Failed     T `json:"failed"`
}

// Of is the value of a state.
func (p *PerHealth[T]) Of(state string) *T {
	switch state {
	case HealthHealthy:
		return &p.Healthy
	case HealthAlarmed:
		return &p.Alarmed
	case HealthRecovering:
		return &p.Recovering
	case HealthEscalated:
		return &p.Escalated
	}
	return &p.Failed
}

// The rules. Frames are looked at over a window; a camera that could be opened, but not used, has a strike.
const (
	windowSeconds = 10
	atLeast       = 3   // frames that are amiss in a window: a slow camera mustn't be judged by one
	slowBelow     = 0.6 // of the promised rate
	fastFrom      = 0.75
	amissAbove    = 0.1 // share of frames
	fineBelow     = 0.05

	proven        = 10 * time.Second // of frames, after which what was before doesn't count
	unsteadyTimes = 3
	unsteadySpan  = 10 * time.Minute

	escalateAt = 3 // strikes
	resetEach  = 3 // strikes from there on
	giveUpAt   = 9
)

// trouble is why a camera doesn't stream.
type trouble int

const (
	absent  trouble = iota // there is nothing to open
	broken                 // it is there, and opening or reading it went wrong: worth a stronger remedy, if that repeats
	refused                // it is there, and can't be had: a permission, another program, a format. Nothing stronger helps
)

// remedy is what is to be done before a camera is opened again.
type remedy struct {
	reset bool
	rest  time.Duration // at least
}

// health is the state machine behind Health. Time is handed in, and never goes back.
type health struct {
	Health
	up       bool // frames come
	promised float64
	began    time.Time // when frames began to come, after it was opened
	last     time.Time // when the last good one came
	looked   time.Time // for alarms
	away     time.Time // since when there is nothing to open; zero: there is
	window   window
	losses   [unsteadyTimes]time.Time // the newest ones, oldest first
}

func newHealth(now time.Time) health {
	h := health{Health: Health{State: HealthRecovering, Since: now}}
	h.Entered.Recovering = 1
	return h
}

// opened begins a stream with the rate that the driver promised; 0 is unknown.
func (h *health) opened(now time.Time, promised float64) {
	h.promised, h.away = promised, time.Time{}
	h.window.clear(now)
}

// frame counts a frame that came, why it was refused, and how many the driver lost before it.
func (h *health) frame(now time.Time, lost uint32, err error) {
	b := h.window.second(now)
	b.came++
	b.lost += uint(lost)
	switch {
	case errors.Is(err, errFaulty):
		b.faulty++
	case err != nil:
		b.damaged++
	}
}

// undecodable notes that a frame that was counted as good turned out to be none.
func (h *health) undecodable(now time.Time) { h.window.second(now).damaged++ }

// well says that a good frame came from a camera that nobody doubts. It tells whether that changed the state.
func (h *health) well(now time.Time) (changed bool) {
	if !h.up {
		h.up, h.began = true, now
		if !h.last.IsZero() {
			h.LastOutage = now.Sub(h.last)
		}
		h.last = now
		h.window.clear(now)
		return h.look(now)
	}
	h.last = now
	return false
}

// tick lets time pass. It tells whether that changed the state.
func (h *health) tick(now time.Time) (changed bool) {
	if !h.up || now.Sub(h.looked) < time.Second {
		return false
	}
	if h.Strikes > 0 && now.Sub(h.began) >= proven {
		h.Strikes = 0
	}
	return h.look(now)
}

// look raises and clears alarms.
func (h *health) look(now time.Time) (changed bool) {
	var raised []string
	h.looked = now
	h.window.advance(now)
	h.alarms(now, func(alarm string) { raised = append(raised, alarm) })
	state := HealthHealthy
	if len(raised) > 0 {
		state = HealthAlarmed
	}
	if state == h.State && slices.Equal(raised, h.Alarms) {
		return false
	}
	h.enter(now, state)
	h.Alarms, h.Hint = raised, ""
	for _, a := range alarmHints {
		if slices.Contains(raised, a.alarm) {
			h.Hint = a.hint
			break
		}
	}
	return true
}

// alarms raises each alarm that there is, in their order. One that is on goes off later than it came on.
func (h *health) alarms(now time.Time, raise func(string)) {
	limit := func(alarm string, on, off float64) float64 {
		if slices.Contains(h.Alarms, alarm) {
			return off
		}
		return on
	}
	if b, whole := h.window.sum(); whole {
		if h.promised > 0 && float64(b.came) < limit(AlarmSlow, slowBelow, fastFrom)*h.promised*windowSeconds {
			raise(AlarmSlow)
		}
		for _, a := range []struct {
			alarm    string
			amiss, n uint
		}{{AlarmGaps, b.lost, b.came + b.lost}, {AlarmFaulty, b.faulty, b.came}, {AlarmDamaged, b.damaged, b.came}} {
			if a.amiss >= atLeast && float64(a.amiss) > limit(a.alarm, amissAbove, fineBelow)*float64(a.n) {
				raise(a.alarm)
			}
		}
	} else { // too early to tell: what was on stays on
		for _, a := range []string{AlarmSlow, AlarmGaps, AlarmFaulty, AlarmDamaged} {
			if slices.Contains(h.Alarms, a) {
				raise(a)
			}
		}
	}
	if first := h.losses[0]; !first.IsZero() && now.Sub(first) <= unsteadySpan {
		raise(AlarmUnsteady)
	}
}

// fail says that the camera doesn't stream, or that another try to open it failed. It tells what to do next, and whether the state
// changed.
func (h *health) fail(now time.Time, why trouble) (do remedy, changed bool) {
	if h.up {
		h.up = false
		h.Outages++
		copy(h.losses[:], h.losses[1:])
		h.losses[unsteadyTimes-1] = now
		if now.Sub(h.began) >= proven {
			h.Strikes = 0
		}
	}
	if why == absent {
		// A reset makes a camera go and come, too: only one that is away for longer was plugged out, and begins anew.
		if h.away.IsZero() {
			h.away = now
		} else if now.Sub(h.away) >= proven {
			h.Strikes = 0
		}
	} else {
		h.away = time.Time{}
	}
	state := HealthRecovering
	switch {
	case why == refused:
		state = HealthFailed
	case why == broken:
		h.Strikes++
		if over := h.Strikes - escalateAt; over >= 0 {
			do.reset = over%resetEach == 0
			do.rest = min(time.Duration(over+1)*5*time.Second, 30*time.Second)
		}
	}
	if why != refused {
		switch {
		case h.Strikes >= giveUpAt:
			state = HealthFailed
		case h.Strikes >= escalateAt:
			state = HealthEscalated
		}
	}
	if do.reset {
		do.rest = 0 // it is away for a moment; that it is back ends the pause
	}
	if state == h.State {
		return do, false
	}
	h.enter(now, state)
	h.Alarms, h.Hint = nil, ""
	return do, true
}

// enter goes to a state, or stays in it with other alarms.
func (h *health) enter(now time.Time, state string) {
	if state == h.State {
		return
	}
	*h.Spent.Of(h.State) += now.Sub(h.Since)
	*h.Entered.Of(state)++
	h.State, h.Since = state, now
}

// bucket counts the frames of a second.
type bucket struct{ came, lost, faulty, damaged uint }

// window is the last seconds, and the one that is on.
type window struct {
	began   time.Time // of the second that is on
	on      bucket
	past    [windowSeconds]bucket
	at, has int
}

func (w *window) clear(now time.Time) { *w = window{began: now} }

// second is the one that is on.
func (w *window) second(now time.Time) *bucket {
	w.advance(now)
	return &w.on
}

// advance goes on to the second that is on.
func (w *window) advance(now time.Time) {
	if now.Sub(w.began) > 2*windowSeconds*time.Second { // nobody looked
		w.clear(now)
	}
	for now.Sub(w.began) >= time.Second {
		w.past[w.at], w.on = w.on, bucket{}
		w.at, w.has = (w.at+1)%windowSeconds, min(w.has+1, windowSeconds)
		w.began = w.began.Add(time.Second)
	}
}

// sum is of the past seconds. whole is false before there were so many.
func (w *window) sum() (b bucket, whole bool) {
	for _, p := range w.past {
		b.came += p.came
		b.lost += p.lost
		b.faulty += p.faulty
		b.damaged += p.damaged
	}
	return b, w.has == windowSeconds
}
