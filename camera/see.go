package camera

import (
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/livenessd/livenessd/camera/frame"
)

// Region is a part of a picture, as shares of its width and height. The zero value is all of it.
type Region struct{ X, Y, Width, Height float64 }

// LeastRegion is the least share of a side that a region may have.
const LeastRegion = 0.05

// leastSeen is how many pixels of each side a region must leave.
const leastSeen = 16

var errRegion = errors.New("region too small for the picture")

func (r Region) check() error {
	if r == (Region{}) {
		return nil
	}
	inside := func(at, size float64) bool { return at >= 0 && size >= LeastRegion && at+size <= 1+1e-9 } // not a number is not
	if !inside(r.X, r.Width) || !inside(r.Y, r.Height) {
		return fmt.Errorf("region %v,%v %v×%v: x, y, width and height are shares of the picture from 0 to 1, width and height at least %v, and it mustn't reach outside",
			r.X, r.Y, r.Width, r.Height, LeastRegion)
	}
	return nil
}

// turns tells whether what is handed out is another picture than what the camera sends.
func (o *Options) turns() bool { return o.Rotate != 0 || o.Mirror || o.Region != Region{} }

// see gives a picture as it is handed out, and where that begins in the whole picture as it is turned.
func (o *Options) see(m frame.Image) (frame.Image, image.Point, error) {
	m = m.Turned(o.Rotate)
	if o.Mirror {
		m = m.Mirrored()
	}
	if o.Region == (Region{}) {
		return m, image.Point{}, nil
	}
	at := func(share float64, side int) int { return int(math.Round(share * float64(side))) }
	r := image.Rect(at(o.Region.X, m.Width), at(o.Region.Y, m.Height),
		at(o.Region.X+o.Region.Width, m.Width), at(o.Region.Y+o.Region.Height, m.Height))
	if r.Dx() < leastSeen || r.Dy() < leastSeen {
		return frame.Image{}, image.Point{}, fmt.Errorf("%w: %w: %d×%d of %d×%d", errWrongSize, errRegion, r.Dx(), r.Dy(), m.Width, m.Height)
	}
	r.Min.X, r.Min.Y = r.Min.X>>m.ShiftX<<m.ShiftX, r.Min.Y>>m.ShiftY<<m.ShiftY
	return m.Part(r), r.Min, nil
}
