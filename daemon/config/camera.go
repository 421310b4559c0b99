package config

import (
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
