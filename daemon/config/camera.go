package config

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Region is a part of a camera's picture, as shares of its width and height. The zero value is all of it.
type Region struct{ X, Y, Width, Height float64 }

// leastRegion is the least share of a side.
const leastRegion = 0.05

func (g *Region) fields() []field {
	return []field{number("x", &g.X, 0, 1-leastRegion), number("y", &g.Y, 0, 1-leastRegion),
		number("width", &g.Width, leastRegion, 1), number("height", &g.Height, leastRegion, 1)}
}

// region is a field of four shares. What isn't given reaches to the edge.
func region(key string, p *Region) field {
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			before := len(r.problems)
			var g Region
			r.mapping(n, name+".", g.fields())
			if len(r.problems) > before {
				return
			}
			if g.Width == 0 {
				g.Width = 1 - g.X
			}
			if g.Height == 0 {
				g.Height = 1 - g.Y
			}
			const hint = "1 is the whole side"
			switch hair := 1e-9; {
			case g.X+g.Width > 1+hair:
				r.bad(where(n), hint, "%s reaches beyond the picture: x and width are %v together", name, g.X+g.Width)
			case g.Y+g.Height > 1+hair:
				r.bad(where(n), hint, "%s reaches beyond the picture: y and height are %v together", name, g.Y+g.Height)
			default:
				*p = g
			}
		},
		write: func(w *writer) {
			if *p == (Region{}) {
				w.line(key, "null")
				return
			}
			w.section(key, func() { w.fields(p.fields()) })
		},
	}
}

// turn is a field of degrees.
func turn(key string, p *int) field {
	const allowed = "0, 90, 180 or 270, in degrees clockwise"
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			switch v, ok := numberOf(n); {
			case ok && (v == 0 || v == 90 || v == 180 || v == 270):
				*p = int(v)
			default:
				r.wrong(n, name, allowed, "")
			}
		},
		write: func(w *writer) { w.line(key, formatNumber(float64(*p))) },
	}
}

// mostControls bounds how many controls one camera has set.
const mostControls = 64

var (
	controlSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9_]{0,63}$`)
	wholeSyntax   = regexp.MustCompile(`^-?[0-9]{1,10}$`)
)

// controls is a field of a driver's controls, whose values only the driver knows.
func controls(key string, p *map[string]string) field {
	const allowed = "a number, true, false, or an item of a menu by its text"
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			var all map[string]string
			r.entries(n, name, func(key string, at position, value ast.Node) {
				if !controlSyntax.MatchString(key) {
					r.bad(at, "`livenessd cameras` lists them", "control name %q: allowed are small letters, digits and '_', at most 64", shorten(key))
					return
				}
				v, ok := controlValue(value)
				if !ok {
					r.wrong(value, name+"."+key, allowed, "")
					return
				}
				if all == nil {
					all = map[string]string{}
				}
				all[key] = v
			})
			if len(all) > mostControls {
				r.bad(where(n), "", "%s has %d controls; allowed are %d", name, len(all), mostControls)
				return
			}
			*p = all
		},
		write: func(w *writer) {
			if len(*p) == 0 {
				w.line(key, "null")
				return
			}
			w.section(key, func() {
				for _, name := range slices.Sorted(maps.Keys(*p)) {
					v := (*p)[name]
					if !wholeSyntax.MatchString(v) && v != "true" && v != "false" {
						v = quote(v)
					}
					w.line(quote(name), v)
				}
			})
		},
	}
}

func controlValue(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value), true
	case *ast.IntegerNode:
		v := n.Token.Value
		return v, wholeSyntax.MatchString(v)
	}
	s, _, ok := textOf(n)
	return s, ok && s != "" && len(s) <= 64
}

// ofDevices reports what a replay can't heed.
func (r *reader) ofDevices(name string, c *Camera) {
	for _, k := range []struct {
		key   string
		given bool
		at    position
	}{{"controls", len(c.Controls) > 0, r.at[&c.Controls]}, {"identity", len(c.Identity) > 0, r.at[&c.Identity]},
		{"exposure", c.Exposure == FaceExposure, r.at[&c.Exposure]}} {
		if k.given {
			r.bad(k.at, "remove it, or name a device with path", "%s.%s is of no use with a replay", name, k.key)
		}
	}
}

var identitySyntax = regexp.MustCompile(`^(usb:[0-9a-f]{4}:[0-9a-f]{4}(:[A-Za-z0-9._-]{1,126})?|bus:[!-~]{1,60})$`)

// mostIdentities is a USB device and its place.
const mostIdentities = 2

// identities is a field of who a device must be, one text or several.
func identities(key string, p *[]string) field {
	const allowed = "usb:VENDOR:PRODUCT or usb:VENDOR:PRODUCT:SERIAL, with four small hexadecimal digits each, or bus:PLACE; or a list of both"
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			values := []ast.Node{n}
			if list, is := n.(*ast.SequenceNode); is {
				values = list.Values
			}
			var out []string
			for _, v := range values {
				s, hint, ok := textOf(v)
				if !ok || !identitySyntax.MatchString(s) {
					if hint == "" {
						hint = "`livenessd cameras` lists it, ready to be copied"
					}
					r.wrong(v, name, allowed, hint)
					return
				}
				out = append(out, s)
			}
			if len(out) == 0 || len(out) > mostIdentities {
				r.bad(where(n), "leave it out to take any camera", "%s has %d identities; allowed are 1 to %d", name, len(out), mostIdentities)
				return
			}
			*p = out
		},
		write: func(w *writer) {
			if len(*p) == 0 {
				w.line(key, "null")
				return
			}
			w.line(key, IdentityYAML(*p))
		},
	}
}

// IdentityYAML is the value of identity, as it is written into the file.
func IdentityYAML(pins []string) string {
	if len(pins) == 1 {
		return quote(pins[0])
	}
	return `["` + strings.Join(pins, `", "`) + `"]` // in a list, a colon without a blank may begin a value
}
