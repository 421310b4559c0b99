package camera

import "time"

// Light is what a camera's driver has to make pictures brighter or darker. The type of a control that isn't there is "".
type Light struct {
	Opened     uint64  // counts openings: what was set before the last one is gone
	Time       Control // in units of 100 µs
	Gain       Control
	Brightness Control // of the picture: what is left where there is neither of the others
}

// LightSetting is what these controls shall be, as far as they are there.
type LightSetting struct{ Time, Gain, Brightness int32 }

// lamp is a stream whose light can be set.
type lamp interface {
	// light reads the controls afresh.
	light() Light
	// setLight takes the camera's automatics off and gives the controls these values; nil gives all back as it was before the first.
	setLight(*LightSetting) error
}

// lightEvery is how often the controls are read while the camera's own automatic moves them.
const lightEvery = 2 * time.Second

// Light is what was read last; its Opened is 0 where the camera has none of the controls, or Options.Light isn't set.
func (c *Camera) Light() Light {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dimmer.light
}

// SetLight asks for it, without waiting: it is done before the next frame is waited for. nil gives the camera back to its automatics. What the
// driver refuses is told in the status.
func (c *Camera) SetLight(s *LightSetting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != nil {
		v := *s
		s = &v
	}
	c.dimmer.want, c.dimmer.asked = s, true
}

// unlit is the trouble of a camera whose driver refuses to be brighter or darker.
func unlit(path string, err error) *Error {
	return &Error{Op: "set light", Path: path, Err: err, mild: true,
		hint: "the camera is used as bright as it is; leave exposure: face out of the configuration if its driver has no such controls to give"}
}

// dimmer is what was asked of the light.
type dimmer struct {
	light Light
	want  *LightSetting
	asked bool
	held  bool // the camera's automatics are off
	read  time.Time
}

// lit reads the light of a stream that was just opened.
func (c *Camera) lit(s stream, now time.Time) lamp {
	l, is := s.(lamp)
	c.mu.Lock()
	opened := c.dimmer.light.Opened
	c.dimmer = dimmer{}
	c.mu.Unlock()
	if !is || !c.o.Light {
		return nil
	}
	have := l.light()
	if have.Time.Type == "" && have.Gain.Type == "" && have.Brightness.Type == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	have.Opened = opened + 1
	c.dimmer.light, c.dimmer.read = have, now
	return l
}

// dim does what was asked of the light. It tells whether anything was, and what the driver refused.
func (c *Camera) dim(l lamp, now time.Time) (did bool, err error) {
	c.mu.Lock()
	d := &c.dimmer
	asked, want := d.asked, d.want
	look := !asked && !d.held && now.Sub(d.read) >= lightEvery
	d.asked = false
	if asked {
		d.held = want != nil
	}
	if look || asked {
		d.read = now
	}
	opened := d.light.Opened
	c.mu.Unlock()
	if asked {
		return true, l.setLight(want)
	}
	if look {
		have := l.light()
		have.Opened = opened
		c.mu.Lock()
		d.light = have
		c.mu.Unlock()
	}
	return false, nil
}
