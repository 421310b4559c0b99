package camera

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// board is controls of which one may govern another, as drivers have them.
type board struct {
	all    []Control
	log    []string
	refuse map[string]error
	keeps  map[string]int32 // what the driver makes of any value
}

// usualBoard is what a USB camera has.
func usualBoard() *board {
	return &board{all: []Control{
		{Name: "brightness", Type: ControlInteger, Min: -64, Max: 64, Step: 1, id: 1},
		{Name: "gain", Type: ControlInteger, Min: 0, Max: 100, Step: 5, Value: 10, id: 2},
		{Name: "power_line_frequency", Type: ControlMenu, Max: 2, Value: 2, Items: []MenuItem{{0, "Disabled"}, {1, "50 Hz"}, {2, "60 Hz"}}, id: 3},
		{Name: "white_balance_automatic", Type: ControlBoolean, Max: 1, Value: 1, id: 4},
		{Name: "white_balance_temperature", Type: ControlInteger, Min: 2800, Max: 6500, Value: 4600, Inactive: true, id: 5},
		{Name: "auto_exposure", Type: ControlMenu, Max: 3, Value: 3, Items: []MenuItem{{1, "Manual Mode"}, {3, "Aperture Priority Mode"}}, id: 6},
		{Name: "exposure_time_absolute", Type: ControlInteger, Min: 1, Max: 5000, Value: 157, Inactive: true, id: 7},
		{Name: "link_frequency", Type: ControlIntegerMenu, Max: 1, Items: []MenuItem{{0, "450000000"}, {1, "900000000"}}, id: 8},
		{Name: "focus_now", Type: ControlButton, id: 9},
		{Name: "leds", Type: ControlBitmask, Max: 6, id: 10},
		{Name: "temperature", Type: ControlInteger, Max: 100, Value: 40, ReadOnly: true, id: 11},
	}}
}

func (b *board) controls() []Control { return slices.Clone(b.all) }

func (b *board) at(id uint32) *Control {
	return &b.all[slices.IndexFunc(b.all, func(c Control) bool { return c.id == id })]
}

func (b *board) control(id uint32) (Control, error) { return *b.at(id), nil }

func (b *board) set(id uint32, v int32) error {
	c := b.at(id)
	if err := b.refuse[c.Name]; err != nil {
		return err
	}
	b.log = append(b.log, fmt.Sprintf("%s=%d", c.Name, v))
	if k, is := b.keeps[c.Name]; is {
		v = k
	}
	c.Value = v
	b.at(5).Inactive = b.at(4).Value == 1
	b.at(7).Inactive = b.at(6).Value != 1
	return nil
}

func TestControlsAreSetAndReadBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		want   map[string]string
		change func(*board)
		set    string // in this order
		errs   string
		is     error
	}{
		{"nothing", nil, nil, "", "", nil},
		{"a number", map[string]string{"brightness": "-3"}, nil, "brightness=-3", "", nil},
		{"what it is already", map[string]string{"gain": "10"}, nil, "", "", nil},
		{"an item by its text", map[string]string{"power_line_frequency": "50 hz"}, nil, "power_line_frequency=1", "", nil},
		{"an item by its number", map[string]string{"power_line_frequency": "0"}, nil, "power_line_frequency=0", "", nil},
		{"an item that is a number", map[string]string{"link_frequency": "900000000"}, nil, "link_frequency=1", "", nil},
		{"the automatic before what it governs", map[string]string{"exposure_time_absolute": "200", "auto_exposure": "Manual Mode", "white_balance_temperature": "4000", "white_balance_automatic": "false"},
			nil, "auto_exposure=1 white_balance_automatic=0 exposure_time_absolute=200 white_balance_temperature=4000", "", nil},
		{"a button", map[string]string{"focus_now": "true"}, nil, "focus_now=1", "", nil},
		{"bits", map[string]string{"leds": "4"}, nil, "leds=4", "", nil},
		{"one that isn't there", map[string]string{"exposure": "1", "gain": "20"}, func(b *board) { b.all = b.all[:7] }, "gain=20",
			"control exposure: no such control; there are: brightness, gain, power_line_frequency, white_balance_automatic, white_balance_temperature, auto_exposure, exposure_time_absolute", errNoControl},
		{"of a camera without any", map[string]string{"gain": "1"}, func(b *board) { b.all = nil }, "", "control gain: no such control; the camera has none", errNoControl},
		{"too much", map[string]string{"gain": "105"}, nil, "", `control gain: a value that it doesn't take: "105"; allowed is 0 to 100 in steps of 5`, errControlValue},
		{"between two steps", map[string]string{"gain": "12"}, nil, "", `control gain: a value that it doesn't take: "12"; allowed is 0 to 100 in steps of 5`, errControlValue},
		{"too little", map[string]string{"brightness": "-65"}, nil, "", `control brightness: a value that it doesn't take: "-65"; allowed is -64 to 64`, errControlValue},
		{"more than a number holds", map[string]string{"brightness": "99999999999"}, nil, "", `control brightness: a value that it doesn't take: "99999999999"; allowed is -64 to 64`, errControlValue},
		{"an item that isn't there", map[string]string{"auto_exposure": "2"}, nil, "", `control auto_exposure: a value that it doesn't take: "2"; allowed is 1 (Manual Mode), 3 (Aperture Priority Mode)`, errControlValue},
		{"a number for a switch", map[string]string{"white_balance_automatic": "2"}, nil, "", `control white_balance_automatic: a value that it doesn't take: "2"; allowed is true or false`, errControlValue},
		{"bits that aren't there", map[string]string{"leds": "1"}, nil, "", `control leds: a value that it doesn't take: "1"; allowed is 0 to 6, of bits`, errControlValue},
		{"a button that is let go", map[string]string{"focus_now": "false"}, nil, "", `control focus_now: a value that it doesn't take: "false"; allowed is true, which presses it`, errControlValue},
		{"one that can only be read", map[string]string{"temperature": "20"}, nil, "", "control temperature: it can only be read", errReadOnly},
		{"one that another governs", map[string]string{"exposure_time_absolute": "200", "auto_exposure": "Aperture Priority Mode"}, nil, "",
			"control exposure_time_absolute: it does nothing, as another control governs it: mostly an automatic, which has to be off", errGoverned},
		{"a driver that refuses", map[string]string{"gain": "50", "brightness": "1"}, func(b *board) { b.refuse = map[string]error{"gain": syscall.EBUSY} }, "brightness=1",
			"control gain: set 50: device or resource busy", syscall.EBUSY},
		{"a driver that knows better", map[string]string{"gain": "50"}, func(b *board) { b.keeps = map[string]int32{"gain": 45} }, "gain=50",
			"control gain: the driver has made something else of it: 45, and not 50", errNotKept},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := usualBoard()
			if c.change != nil {
				c.change(b)
			}
			errs := several(apply(b, c.want))
			if got := errs.Error(); got != c.errs {
				t.Errorf("errors %q, want %q", got, c.errs)
			}
			if c.is != nil && !errors.Is(errs, c.is) {
				t.Errorf("%v isn't %v", errs, c.is)
			}
			if got := strings.Join(b.log, " "); got != c.set {
				t.Errorf("set %q, want %q", got, c.set)
			}
			if len(errs) == 0 {
				b.log = nil
				if again := apply(b, c.want); len(again) > 0 || len(b.log) > 0 && c.name != "a button" {
					t.Errorf("again: %v, %v", b.log, again)
				}
			}
		})
	}
}

func TestControlsHaveTheNamesThatV4L2CtlShows(t *testing.T) {
	for title, want := range map[string]string{
		"Brightness": "brightness", "Exposure Time, Absolute": "exposure_time_absolute", "White Balance, Automatic": "white_balance_automatic",
		"Power Line Frequency": "power_line_frequency", "LED1 Mode": "led1_mode", " (odd)  one! ": "odd_one", "": "", "Größe": "gr_e",
	} {
		if got := controlName(title); got != want {
			t.Errorf("%q is %q, want %q", title, got, want)
		}
	}
}

func TestACameraThatDoesNotHeedIsTold(t *testing.T) {
	lay := grey
	lay.trouble = unheeded("/dev/fake", apply(usualBoard(), map[string]string{"gain": "3"}))
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeCamera(t, Options{}, plan{lay: lay, frames: greys(100), period: period})
		time.Sleep(time.Second)
		s := c.Status()
		if s.State != StateStreaming || s.Code != "" || !strings.Contains(s.Err, "allowed is 0 to 100 in steps of 5") || !strings.Contains(s.Hint, "livenessd cameras") {
			t.Errorf("%+v", s)
		}
		if n := s.Counters; n.Reopened != 0 || n.Captured < 20 {
			t.Errorf("counters %+v", n)
		}
	})
}

// litFake is a fake whose streams have a light.
type litFake struct {
	*fake
	set  []string
	fail error
}

type litStream struct {
	*fakeStream
	f *litFake
}

func (f *litFake) open(ctx context.Context) (stream, error) {
	s, err := f.fake.open(ctx)
	if err != nil {
		return nil, err
	}
	return &litStream{s.(*fakeStream), f}, nil
}

func (s *litStream) light() Light {
	return Light{Gain: Control{Type: ControlInteger, Max: 10, Value: int32(len(s.f.set))}}
}

func (s *litStream) setLight(l *LightSetting) error {
	what := "back"
	if l != nil {
		what = fmt.Sprint(l.Gain)
	}
	s.f.set = append(s.f.set, what)
	return s.f.fail
}

func TestLightIsSetBetweenFramesAndGivenBackAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &litFake{fake: &fake{plans: []plan{{lay: grey, frames: greys(60), period: period, end: syscall.EIO}, {lay: grey, frames: greys(200), period: period}}}}
		o := Options{Light: true}
		if err := o.check(); err != nil {
			t.Fatal(err)
		}
		c, err := start(o, f)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		if l := c.Light(); l.Opened != 1 || l.Gain.Max != 10 {
			t.Errorf("%+v", l)
		}
		c.SetLight(&LightSetting{Gain: 4})
		time.Sleep(200 * time.Millisecond)
		c.SetLight(&LightSetting{Gain: 5})
		c.SetLight(&LightSetting{Gain: 6}) // the newest counts
		time.Sleep(4 * time.Second)        // and it is opened again meanwhile
		if l := c.Light(); l.Opened != 2 {
			t.Errorf("after it was opened again: %+v", l)
		}
		f.fail = syscall.EACCES
		c.SetLight(&LightSetting{Gain: 7})
		time.Sleep(200 * time.Millisecond)
		if s := c.Status(); s.State != StateStreaming || !strings.Contains(s.Err, "set light") || s.Hint == "" {
			t.Errorf("a driver that refuses: %+v", s)
		}
		f.fail = nil
		c.SetLight(&LightSetting{Gain: 8})
		time.Sleep(200 * time.Millisecond)
		if s := c.Status(); s.State != StateStreaming || s.Err != "" || s.Hint != "" {
			t.Errorf("a driver that has come round: %+v", s)
		}
		c.Close()
		if want := []string{"4", "6", "back", "7", "8", "back"}; !slices.Equal(f.set, want) {
			t.Errorf("set %q, want %q", f.set, want)
		}
	})
}

func TestWithoutTheOptionThereIsNoLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &litFake{fake: &fake{plans: []plan{{lay: grey, frames: greys(60), period: period}}}}
		o := Options{}
		if err := o.check(); err != nil {
			t.Fatal(err)
		}
		c, err := start(o, f)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.SetLight(&LightSetting{Gain: 4})
		time.Sleep(time.Second)
		c.Close()
		if l := c.Light(); l.Opened != 0 || len(f.set) != 0 {
			t.Errorf("%+v, set %q", l, f.set)
		}
	})
}
