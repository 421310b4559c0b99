package camera

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Control is one of a driver's controls.
type Control struct {
	Name    string     `json:"name"` // as v4l2-ctl writes it: exposure_time_absolute
	Type    string     `json:"type"` // ControlInteger, …
	Min     int32      `json:"min"`
	Max     int32      `json:"max"`
	Step    int32      `json:"step,omitempty"`
	Default int32      `json:"default"`
	Value   int32      `json:"value"`
	Items   []MenuItem `json:"items,omitempty"` // of menus
	// Inactive controls do nothing at present: another one governs them, mostly an automatic.
	Inactive bool `json:"inactive,omitempty"`
	ReadOnly bool `json:"read_only,omitempty"`

	id   uint32
	mute bool // it can't be read back
}

// The types of controls.
const (
	ControlInteger     = "integer"
	ControlBoolean     = "boolean"
	ControlMenu        = "menu"
	ControlIntegerMenu = "integer menu"
	ControlBitmask     = "bitmask"
	ControlButton      = "button"
)

var (
	errNoControl    = errors.New("no such control")
	errControlValue = errors.New("a value that it doesn't take")
	errReadOnly     = errors.New("it can only be read")
	errGoverned     = errors.New("it does nothing, as another control governs it: mostly an automatic, which has to be off")
	errNotKept      = errors.New("the driver has made something else of it")
)

// MenuItem is a choice of a menu.
type MenuItem struct {
	Value int32  `json:"value"`
	Text  string `json:"text"`
}

// Allowed says in words what may be given.
func (c *Control) Allowed() string {
	switch c.Type {
	case ControlBoolean:
		return "true or false"
	case ControlMenu, ControlIntegerMenu:
		var all []string
		for _, i := range c.Items {
			all = append(all, fmt.Sprintf("%d (%s)", i.Value, i.Text))
		}
		return strings.Join(all, ", ")
	case ControlBitmask:
		return fmt.Sprintf("0 to %d, of bits", uint32(c.Max))
	case ControlButton:
		return "true, which presses it"
	}
	if c.Step > 1 {
		return fmt.Sprintf("%d to %d in steps of %d", c.Min, c.Max, c.Step)
	}
	return fmt.Sprintf("%d to %d", c.Min, c.Max)
}

// text is a value as Allowed has it.
func (c *Control) text(v int32) string {
	for _, i := range c.Items {
		if i.Value == v {
			return fmt.Sprintf("%d (%s)", v, i.Text)
		}
	}
	if c.Type == ControlBoolean && (v == 0 || v == 1) {
		return strconv.FormatBool(v == 1)
	}
	return strconv.Itoa(int(v))
}

// Now is the value in words.
func (c *Control) Now() string { return c.text(c.Value) }

// Usual is the default in words.
func (c *Control) Usual() string { return c.text(c.Default) }

// parse reads a value as a configuration has it: a number, true or false, or an item of a menu by its text.
func (c *Control) parse(s string) (int32, error) {
	bad := fmt.Errorf("control %s: %w: %q; allowed is %s", c.Name, errControlValue, s, c.Allowed())
	if c.Type == ControlMenu || c.Type == ControlIntegerMenu {
		for _, i := range c.Items {
			if strings.EqualFold(i.Text, strings.TrimSpace(s)) {
				return i.Value, nil
			}
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case s == "true" && (c.Type == ControlBoolean || c.Type == ControlButton):
		return 1, nil
	case s == "false" && c.Type == ControlBoolean:
		return 0, nil
	case err != nil, c.Type == ControlButton:
		return 0, bad
	case c.Type == ControlMenu, c.Type == ControlIntegerMenu:
		if !slices.ContainsFunc(c.Items, func(i MenuItem) bool { return int64(i.Value) == n }) {
			return 0, bad
		}
	case c.Type == ControlBitmask:
		if n < 0 || n&^int64(uint32(c.Max)) != 0 {
			return 0, bad
		}
	case n < int64(c.Min) || n > int64(c.Max) || c.Step > 1 && (n-int64(c.Min))%int64(c.Step) != 0:
		return 0, bad
	}
	return int32(uint32(n)), nil
}

// controlName makes of a driver's title the name that v4l2-ctl shows.
func controlName(title string) string {
	var b strings.Builder
	gap := false
	for _, r := range title {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
			gap = false
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// panel is a device's controls.
type panel interface {
	controls() []Control
	// control asks for one afresh: setting one can change others.
	control(id uint32) (Control, error)
	set(id uint32, value int32) error
}

// wish is a control and what it shall be.
type wish struct {
	name string
	id   uint32
	want int32
	said string // by whoever wants it
	mode bool   // it may decide which others do anything
}

// apply gives controls the values that are wanted. Automatics and other choices come first; what is inactive waits for them. It gives what
// couldn't be done, one error for each control.
func apply(p panel, wanted map[string]string) []error {
	if len(wanted) == 0 {
		return nil
	}
	have := p.controls()
	var errs []error
	var open []wish
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		i := slices.IndexFunc(have, func(c Control) bool { return c.Name == name })
		if i < 0 {
			errs = append(errs, unknownControl(name, have))
			continue
		}
		c := &have[i]
		v, err := c.parse(wanted[name])
		switch {
		case err != nil:
			errs = append(errs, err)
		case c.ReadOnly:
			errs = append(errs, fmt.Errorf("control %s: %w", name, errReadOnly))
		default:
			open = append(open, wish{name, c.id, v, wanted[name], c.Type == ControlMenu || c.Type == ControlBoolean})
		}
	}
	slices.SortStableFunc(open, func(a, b wish) int { return cmp.Compare(rankOf(a), rankOf(b)) })
	var done []wish
	for again := true; again && len(open) > 0; {
		again = false
		var left []wish
		for _, w := range open {
			c, err := p.control(w.id)
			if err == nil && c.Inactive {
				left = append(left, w)
				continue
			}
			again = true
			if err == nil && (c.Value != w.want || c.Type == ControlButton || c.mute) {
				err = p.set(w.id, w.want)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("control %s: set %s: %w", w.name, w.said, err))
				continue
			}
			if c.Type != ControlButton && !c.mute {
				done = append(done, w)
			}
		}
		open = left
	}
	for _, w := range open {
		errs = append(errs, fmt.Errorf("control %s: %w", w.name, errGoverned))
	}
	for _, w := range done {
		c, err := p.control(w.id)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("control %s: read back: %w", w.name, err))
		case c.Value != w.want:
			errs = append(errs, fmt.Errorf("control %s: %w: %s, and not %s", w.name, errNotKept, c.Now(), c.text(w.want)))
		}
	}
	return errs
}

func rankOf(w wish) int {
	if w.mode {
		return 0
	}
	return 1
}

func unknownControl(name string, have []Control) error {
	var names []string
	for _, c := range have {
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("control %s: %w; the camera has none", name, errNoControl)
	}
	return fmt.Errorf("control %s: %w; there are: %s", name, errNoControl, strings.Join(names, ", "))
}

// several errors are told in one line.
type several []error

func (s several) Error() string {
	var all []string
	for _, e := range s {
		all = append(all, e.Error())
	}
	return strings.Join(all, "; ")
}

func (s several) Unwrap() []error { return s }

// unheeded is the trouble of a camera that streams, and not as it was told to; nil for none.
func unheeded(path string, errs []error) *Error {
	if len(errs) == 0 {
		return nil
	}
	return &Error{Op: "set controls", Path: path, Err: several(errs), mild: true,
		hint: "the camera is used all the same; correct cameras.….controls: `livenessd cameras` lists what this one has, with what is allowed"}
}
