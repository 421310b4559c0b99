package camera

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// desk is a panel of controls by V4L2's numbers, whose automatics govern what they do in drivers.
type desk struct {
	all    []Control
	log    []string
	refuse uint32
}

func (d *desk) controls() []Control { return d.all }

func (d *desk) control(id uint32) (Control, error) {
	i := slices.IndexFunc(d.all, func(c Control) bool { return c.id == id })
	if i < 0 {
		return Control{}, syscall.EINVAL
	}
	c := d.all[i]
	value := func(of uint32) int32 {
		for _, o := range d.all {
			if o.id == of {
				return o.Value
			}
		}
		return -1
	}
	c.Inactive = id == idExposureTime && value(idAutoExposure) == 3 || id == idGain && value(idAutoGain) == 1
	return c, nil
}

func (d *desk) set(id uint32, v int32) error {
	if id == d.refuse {
		return syscall.EIO
	}
	c, err := d.control(id)
	if err != nil {
		return err
	}
	if c.Inactive {
		return syscall.EACCES
	}
	d.log = append(d.log, fmt.Sprintf("%s=%d", c.Name, v))
	for i := range d.all {
		if d.all[i].id == id {
			d.all[i].Value = v
		}
	}
	return nil
}

func autos() []Control {
	return []Control{
		{Name: "brightness", Type: ControlInteger, Max: 255, Value: 128, id: idBrightness},
		{Name: "gain_automatic", Type: ControlBoolean, Max: 1, Value: 1, id: idAutoGain},
		{Name: "gain", Type: ControlInteger, Max: 100, Value: 30, id: idGain},
		{Name: "auto_exposure", Type: ControlMenu, Max: 3, Value: 3, Items: []MenuItem{{1, "Manual Mode"}, {3, "Aperture Priority Mode"}}, id: idAutoExposure},
		{Name: "exposure_time_absolute", Type: ControlInteger, Min: 1, Max: 5000, Value: 150, id: idExposureTime},
	}
}

func TestLightIsSetAndGivenBack(t *testing.T) {
	d := &desk{all: autos()}
	l := newLights(d)
	have := l.light()
	if have.Time.Value != 150 || have.Gain.Max != 100 || have.Brightness.Type != "" {
		t.Fatalf("%+v", have)
	}
	for _, s := range []LightSetting{{Time: 200, Gain: 30}, {Time: 250, Gain: 40}} {
		if err := l.setLight(&s); err != nil {
			t.Fatal(err)
		}
	}
	if want := "auto_exposure=1 exposure_time_absolute=200 gain_automatic=0 exposure_time_absolute=250 gain=40"; strings.Join(d.log, " ") != want {
		t.Errorf("set %q, want %q", d.log, want)
	}
	for range 2 {
		if err := l.setLight(nil); err != nil {
			t.Error(err)
		}
	}
	if !slices.EqualFunc(d.all, autos(), func(a, b Control) bool { return a.Value == b.Value }) {
		t.Errorf("given back as %+v", d.all)
	}
	if err := l.setLight(&LightSetting{Time: 99, Gain: 1}); err != nil || d.all[4].Value != 99 {
		t.Errorf("the second time: %v, %+v", err, d.all)
	}
}

func TestLightOfOtherCameras(t *testing.T) {
	without := func(ids ...uint32) []Control {
		return slices.DeleteFunc(autos(), func(c Control) bool { return slices.Contains(ids, c.id) })
	}
	for _, c := range []struct {
		name string
		have []Control
		set  string
	}{
		{"without gain", without(idGain, idAutoGain), "auto_exposure=1 exposure_time_absolute=7"},
		{"gain without an automatic", without(idAutoGain, idAutoExposure, idExposureTime), "gain=8"},
		{"nothing but brightness", without(idGain, idAutoGain, idAutoExposure, idExposureTime), "brightness=9"},
		{"nothing", nil, ""},
	} {
		d := &desk{all: c.have}
		if err := newLights(d).setLight(&LightSetting{7, 8, 9}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := strings.Join(d.log, " "); got != c.set {
			t.Errorf("%s: %q, want %q", c.name, got, c.set)
		}
	}
	// An automatic without a manual mode, which can't be taken off.
	d := &desk{all: autos()}
	d.all[3].Items = d.all[3].Items[1:]
	if l := newLights(d).light(); l.Time.Type != "" || l.Gain.Type == "" {
		t.Errorf("an exposure that can't be set: %+v", l)
	}
}

func TestADriverThatRefusesToBeDimmed(t *testing.T) {
	d := &desk{all: autos(), refuse: idGain}
	l := newLights(d)
	if err := l.setLight(&LightSetting{Time: 5, Gain: 6}); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "control gain: set 6") {
		t.Errorf("%v", err)
	}
	if err := l.setLight(nil); err != nil {
		t.Error(err)
	}
	if d.all[3].Value != 3 || d.all[1].Value != 1 {
		t.Errorf("the automatics stay off: %+v", d.all)
	}
}
