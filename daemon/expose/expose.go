// Package expose meters on a face: from how bright it is in one frame after the other to what a camera's controls shall be.
//
// A camera's own automatic sees the whole picture, and leaves a face before a window dark. A Meter takes over where that lasts, moves
// slowly, only as far as it must and within bounds, and gives the camera its automatic back when the face has gone. It promises that
// it never asks for a value outside of what the camera has, that what it asks for differs from what it asked for before by no more than a step,
// and that no number makes it fail. It is pure: time is handed in, and others set the controls. It knows nothing of cameras.
package expose

import (
	"math"
	"time"
)

// Range is a control that there is. The zero value is none.
type Range struct{ Min, Max, Step, Now int32 }

func (r *Range) there() bool { return r.Max > r.Min }

// Controls is what a camera has to make a face brighter: time and gain, or only brightness.
type Controls struct {
	Time, Gain, Brightness Range // the time's Max is the longest that may be: faces move
}

// Usable tells whether there is anything to set.
func (c *Controls) Usable() bool { return c.Time.there() || c.Gain.there() || c.Brightness.there() }

// Setting is what the controls shall be; those that aren't there are 0.
type Setting struct{ Time, Gain, Brightness int32 }

// Do is what to do about a camera.
type Do int

const (
	Nothing Do = iota
	Set        // give the controls these values
	Release    // give the camera back to its automatic
)

const (
	target = 118.0 // of 255: the middle of what a face's luma may be
	gamma  = 2.2   // of samples: a stop more light makes a sample larger by 2^(1/gamma)
	band   = 0.6   // stops that it may be off without anything being done
	inside = 0.25  // and until which it is gone on with, once begun
	step   = 1.0 / 3
	eager  = 0.5 // of what is missing is done at once
	spread = 4.0 // stops that the whole range of a gain is taken for: nobody says. Three times as many still settle.

	smooth  = 0.3                    // how much the newest frame counts
	patient = 800 * time.Millisecond // the camera's own automatic has its time first
	pause   = 500 * time.Millisecond // between two changes: cameras take some frames to follow
	leaving = 3 * time.Second        // without a face
)

// Meter meters for one camera. It is for one goroutine.
type Meter struct {
	have    Controls
	luma    float64 // of the face, smoothed; 0 is none yet
	seen    time.Time
	off     time.Time // since when it is too dark or too bright; zero: it isn't
	changed time.Time
	taken   bool // the camera is ours
	at      Setting
	time    float64 // what at.Time would be without rounding, and the same of the gain
	gain    float64
}

// Opened says that the camera was opened, and what it has. Whatever was set before is gone.
func (m *Meter) Opened(c Controls) { *m = Meter{have: c} }

// Know says what the camera has now: its automatic moves the values while it has the camera.
func (m *Meter) Know(c Controls) {
	if !m.taken {
		m.have = c
	}
}

// Frame says how bright the face of a frame is, of 0…255; known is false where there is none, or several. It gives what to do, and what to set.
func (m *Meter) Frame(now time.Time, luma float64, known bool) (Do, Setting) {
	if !m.have.Usable() {
		return Nothing, Setting{}
	}
	if !known || !(luma >= 0 && luma <= 255) {
		return m.alone(now)
	}
	if m.luma == 0 || now.Sub(m.seen) > pause {
		m.luma = luma
	}
	m.luma += smooth * (luma - m.luma)
	m.seen = now
	missing := gamma * math.Log2(target/max(m.luma, 1))
	limit := band
	if m.taken && !m.off.IsZero() {
		limit = inside
	}
	if math.Abs(missing) <= limit {
		m.off = time.Time{}
		return Nothing, m.at
	}
	if m.off.IsZero() {
		m.off = now
	}
	if now.Sub(m.off) < patient && !m.taken || now.Sub(m.changed) < pause && m.taken {
		return Nothing, m.at
	}
	was := m.at
	if !m.taken {
		m.begin()
		was = m.at
	}
	m.move(min(max(eager*missing, -step), step))
	if m.at == was {
		return Nothing, m.at // it is at its end
	}
	m.taken, m.changed = true, now
	return Set, m.at
}

// alone is Frame without a face.
func (m *Meter) alone(now time.Time) (Do, Setting) {
	if m.taken && now.Sub(m.seen) >= leaving {
		m.taken, m.luma, m.off, m.at = false, 0, time.Time{}, Setting{}
		return Release, Setting{}
	}
	return Nothing, m.at
}

// begin starts from where the automatic has come to.
func (m *Meter) begin() {
	h := &m.have
	m.at = Setting{}
	if h.Time.there() || h.Gain.there() {
		m.time, m.gain = float64(h.Time.clamp(float64(h.Time.Now))), float64(h.Gain.clamp(float64(h.Gain.Now)))
		m.at.Time, m.at.Gain = h.Time.clamp(m.time), h.Gain.clamp(m.gain)
		return
	}
	m.gain = float64(h.Brightness.clamp(float64(h.Brightness.Now)))
	m.at.Brightness = h.Brightness.clamp(m.gain)
}

// move makes it brighter by so many stops: by time first and gain last, and darker the other way round, since gain is noise.
func (m *Meter) move(stops float64) {
	h := &m.have
	if !h.Time.there() && !h.Gain.there() {
		m.gain = within(m.gain+stops/spread*h.Brightness.span(), &h.Brightness)
		m.at.Brightness = h.Brightness.clamp(m.gain)
		return
	}
	if stops < 0 {
		stops = m.amplify(stops)
	}
	if h.Time.there() && stops != 0 {
		before := max(m.time, 1)
		m.time = within(before*math.Exp2(stops), &h.Time)
		if m.time > before || stops < 0 {
			stops -= math.Log2(max(m.time, 1e-3) / before)
		}
		m.at.Time = h.Time.clamp(m.time)
	}
	if stops > 1e-6 {
		m.amplify(stops)
	}
}

// amplify changes the gain, and gives the stops that were too many.
func (m *Meter) amplify(stops float64) float64 {
	g := &m.have.Gain
	if !g.there() {
		return stops
	}
	before := m.gain
	m.gain = within(m.gain+stops/spread*g.span(), g)
	m.at.Gain = g.clamp(m.gain)
	return stops - (m.gain-before)/g.span()*spread
}

func (r *Range) span() float64 { return float64(r.Max) - float64(r.Min) }

func within(v float64, r *Range) float64 { return min(max(v, float64(r.Min)), float64(r.Max)) }

// clamp gives the nearest value that the control takes.
func (r *Range) clamp(v float64) int32 {
	if !r.there() {
		return 0
	}
	s := max(float64(r.Step), 1)
	n := math.Round((within(v, r) - float64(r.Min)) / s)
	return int32(min(float64(r.Min)+n*s, float64(r.Min)+math.Floor(r.span()/s)*s))
}
