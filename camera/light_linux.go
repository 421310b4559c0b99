package camera

import (
	"errors"
	"fmt"
	"syscall"
)

// V4L2's numbers of the controls that are about light.
const (
	idBrightness   = 0x00980900
	idAutoGain     = 0x00980912
	idGain         = 0x00980913
	idAutoExposure = 0x009a0901
	idExposureTime = 0x009a0902

	exposureManual = 1
)

// lights sets the light by a device's controls.
type lights struct {
	p    panel
	was  map[uint32]int32 // before the first setting; nil while the camera is its own
	list []uint32         // in the order in which they are given back: what an automatic governs before it
}

func newLights(p panel) *lights {
	return &lights{p: p, list: []uint32{idBrightness, idGain, idExposureTime, idAutoGain, idAutoExposure}}
}

func (l *lights) light() (out Light) {
	get := func(id uint32) Control {
		c, err := l.p.control(id)
		if err != nil || c.ReadOnly || c.Type != ControlInteger || c.Max <= c.Min {
			return Control{}
		}
		return c
	}
	out.Time, out.Gain = get(idExposureTime), get(idGain)
	// Where an automatic can't be taken off, the control behind it does nothing.
	if c, err := l.p.control(idAutoExposure); err == nil && !hasItem(&c, exposureManual) {
		out.Time = Control{}
	}
	if out.Time.Type == "" && out.Gain.Type == "" {
		out.Brightness = get(idBrightness)
	}
	return out
}

func hasItem(c *Control, v int32) bool {
	for _, i := range c.Items {
		if i.Value == v {
			return true
		}
	}
	return false
}

func (l *lights) setLight(s *LightSetting) error {
	if s == nil {
		return l.giveBack()
	}
	have := l.light()
	if l.was == nil {
		l.was = map[uint32]int32{}
		for _, id := range l.list {
			if c, err := l.p.control(id); err == nil {
				l.was[id] = c.Value
			}
		}
	}
	var errs []error
	set := func(id uint32, v int32) {
		c, err := l.p.control(id)
		if errors.Is(err, syscall.EINVAL) { // it isn't there
			return
		}
		if err == nil && c.Value != v {
			err = l.p.set(id, v)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("control %s: set %d: %w", c.Name, v, err))
		}
	}
	if have.Time.Type != "" {
		set(idAutoExposure, exposureManual)
		set(idExposureTime, s.Time)
	}
	if have.Gain.Type != "" {
		set(idAutoGain, 0)
		set(idGain, s.Gain)
	}
	if have.Brightness.Type != "" {
		set(idBrightness, s.Brightness)
	}
	return errors.Join(errs...)
}

// giveBack is for a camera that may be gone; what another automatic governs by then is left.
func (l *lights) giveBack() error {
	if l.was == nil {
		return nil
	}
	was := l.was
	l.was = nil
	var errs []error
	for _, id := range l.list {
		v, known := was[id]
		c, err := l.p.control(id)
		if !known || err != nil || c.Inactive || c.ReadOnly || c.Value == v {
			continue
		}
		if err := l.p.set(id, v); err != nil {
			errs = append(errs, fmt.Errorf("control %s: set %d: %w", c.Name, v, err))
		}
	}
	return errors.Join(errs...)
}
