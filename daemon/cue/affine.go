package cue

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Affine takes a point of one camera's picture to another's, both relative to the pictures' sizes:
// x' = m[0]·x + m[1]·y + m[2], y' = m[3]·x + m[4]·y + m[5].
type Affine [6]float64

// Identity is the same place in a picture of any size.
func Identity() Affine { return Affine{1, 0, 0, 0, 1, 0} }

// Point takes a point.
func (m Affine) Point(x, y float64) (float64, float64) {
	return m[0]*x + m[1]*y + m[2], m[3]*x + m[4]*y + m[5]
}

// Box takes a box: the one around what becomes of it.
func (m Affine) Box(b Box) Box {
	x, y := m.Point(b.X+b.W/2, b.Y+b.H/2)
	w := math.Abs(m[0])*b.W + math.Abs(m[1])*b.H
	h := math.Abs(m[3])*b.W + math.Abs(m[4])*b.H
	return Box{x - w/2, y - h/2, w, h}
}

// Check tells whether it is one that two cameras beside each other can have: no mirror, no picture folded to a line, none many
// times the other.
func (m Affine) Check() error {
	for _, v := range m {
		if !(math.Abs(v) <= 10) {
			return fmt.Errorf("cue: a map with %v; its numbers are −10 to 10", v)
		}
	}
	if det := m[0]*m[4] - m[1]*m[3]; !(det >= 0.04 && det <= 25) {
		return fmt.Errorf("cue: a map that makes a picture %.3g times as large; two cameras side by side have 0.04 to 25", det)
	}
	return nil
}

// Match is the same face in both pictures, relative to their sizes.
type Match struct{ From, To Box }

// fewestMatches is of how many a map is learnt.
const fewestMatches = 12

// Fit learns the map from faces that both cameras saw. It gives how far off the middles of the faces are, as a median in widths
// of the face. Where the faces were all but in one place it learns a shift and the ratio of sizes alone; a tenth of the matches
// may be of something else.
func Fit(all []Match) (m Affine, off float64, err error) {
	if len(all) < fewestMatches {
		return m, 0, fmt.Errorf("cue: %d faces seen by both cameras; a map needs %d", len(all), fewestMatches)
	}
	use := slices.Clone(all)
	for range 3 {
		if m, err = fitOnce(use); err != nil {
			return m, 0, err
		}
		slices.SortFunc(all, func(a, b Match) int { return compareFloat(m.off(a), m.off(b)) })
		use = append(use[:0], all[:len(all)-len(all)/10]...)
	}
	if m, err = fitOnce(use); err != nil {
		return m, 0, err
	}
	slices.SortFunc(all, func(a, b Match) int { return compareFloat(m.off(a), m.off(b)) })
	return m, m.off(all[len(all)/2]), m.Check()
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// off is by how many widths of the face the map misses.
func (m Affine) off(c Match) float64 {
	x, y := m.Point(c.From.X+c.From.W/2, c.From.Y+c.From.H/2)
	return math.Hypot((x-c.To.X-c.To.W/2)/c.To.W, (y-c.To.Y-c.To.H/2)/c.To.H)
}

// spread is how far the faces must be apart, as a standard deviation relative to the picture, for a scale to be told from it.
const spread = 0.05

// fitOnce is least squares with a scale and a shift for each direction. Two cameras in one housing aren't turned against each
// other by much, and a turn would be learnt from noise.
func fitOnce(all []Match) (Affine, error) {
	ax, bx, err := line(all, func(b Box) (middle, size float64) { return b.X + b.W/2, b.W })
	if err != nil {
		return Affine{}, err
	}
	ay, by, err := line(all, func(b Box) (middle, size float64) { return b.Y + b.H/2, b.H })
	return Affine{ax, 0, bx, 0, ay, by}, err
}

func line(all []Match, of func(Box) (middle, size float64)) (scale, shift float64, err error) {
	var mx, my, ratio float64
	for _, c := range all {
		x, w := of(c.From)
		y, v := of(c.To)
		if !(w > 0 && v > 0) {
			return 0, 0, errors.New("cue: a face of no size")
		}
		mx, my, ratio = mx+x, my+y, ratio+math.Log(v/w)
	}
	n := float64(len(all))
	mx, my, ratio = mx/n, my/n, math.Exp(ratio/n)
	var xx, xy float64
	for _, c := range all {
		x, _ := of(c.From)
		y, _ := of(c.To)
		xx, xy = xx+(x-mx)*(x-mx), xy+(x-mx)*(y-my)
	}
	scale = ratio
	if math.Sqrt(xx/n) >= spread {
		scale = xy / xx
	}
	return scale, my - scale*mx, nil
}
