package track

import (
	"math"

	"github.com/livenessd/livenessd/camera/frame"
)

const (
	side  = 16                // samples a side that a face is known by
	reach = 5                 // how many of them it may have moved, in each direction, from one picture to the next
	wide  = side + 2*reach    // samples a side that are looked at
	moves = 2*reach + 1       // places a side where it may be
	inner = 0.8               // of the box is face, the rest hair and background
	probe = 3                 // of a sample a side, which is their mean
	alike = 0.92              // the least correlation of a face with itself
	plain = 3 * 3             // the least variance, in squares of levels: a surface of one colour is anywhere
	small = 16                // pixels a side: a smaller face isn't followed
	all   = probe * probe     // what a sample is a sum of
	flat  = all * all * plain // the least variance of sums
)

// Box is a face's place in pixels.
type Box struct{ X, Y, W, H float64 }

// Follower follows one face. The zero value knows none. It is for one goroutine.
type Follower struct {
	known bool
	box   Box // where the face was last
	face  [side * side]int32
	mean  float64 // of face
	power float64 // its variance times the number of samples

	area  [wide * wide]int32
	score [moves * moves]float64
	cols  [wide * probe]int
}

// Found says in which picture, and where, the detector found the face. The picture's planes must be whole.
func (f *Follower) Found(m *frame.Image, b Box) {
	f.known = false
	if !(b.W >= small && b.H >= small) || !inside(m, b) {
		return
	}
	f.sample(m, b)
	var sum, squares int64
	for y := range side {
		for x := range side {
			v := f.area[(y+reach)*wide+x+reach]
			f.face[y*side+x] = v
			sum += int64(v)
			squares += int64(v) * int64(v)
		}
	}
	const n = side * side
	f.mean = float64(sum) / n
	f.power = float64(squares) - float64(f.mean*f.mean*n)
	f.box, f.known = b, f.power >= flat*n
}

// Follow tells where the face is in the next picture. It isn't sure of one that moved far, changed its look, or is about to leave the
// picture. The picture's planes must be whole.
func (f *Follower) Follow(m *frame.Image) (Box, bool) {
	if !f.known || !inside(m, f.box) {
		f.known = false
		return Box{}, false
	}
	f.sample(m, f.box)
	best, at := -1.0, 0
	for dy := range moves {
		for dx := range moves {
			c := f.correlation(dx, dy)
			f.score[dy*moves+dx] = c
			if c > best {
				best, at = c, dy*moves+dx
			}
		}
	}
	x, y := at%moves, at/moves
	// At the rim the best place may lie beyond.
	if best < alike || x == 0 || y == 0 || x == moves-1 || y == moves-1 {
		f.known = false
		return Box{}, false
	}
	px, py := f.box.W*inner/side, f.box.H*inner/side
	dx, dy := peak(f.score[at-moves-1 : at+moves+2])
	f.box.X += (float64(x-reach) + dx) * px
	f.box.Y += (float64(y-reach) + dy) * py
	if !inside(m, f.box) {
		f.known = false
		return Box{}, false
	}
	return f.box, true
}

// Forget follows nobody until Found.
func (f *Follower) Forget() { f.known = false }

// Known tells whether there is a face to follow.
func (f *Follower) Known() bool { return f.known }

// inside tells whether a box lies in a picture. What isn't a number doesn't.
func inside(m *frame.Image, b Box) bool {
	return b.X >= 0 && b.Y >= 0 && b.X+b.W <= float64(m.Width) && b.Y+b.H <= float64(m.Height)
}

// sample fills area with the sums of samples of the inner part of a box and of what is around it. Beyond the edge the picture goes on as it ends.
func (f *Follower) sample(m *frame.Image, b Box) {
	px, py := b.W*inner/side, b.H*inner/side
	x0 := b.X + b.W*(1-inner)/2 - reach*px
	y0 := b.Y + b.H*(1-inner)/2 - reach*py
	for i := range f.cols {
		x := int(x0 + (float64(i)+0.5)*px/probe)
		f.cols[i] = min(max(x, 0), m.Width-1) * m.Y.Step
	}
	clear(f.area[:])
	pix := m.Y.Pix
	for j := range wide * probe {
		y := min(max(int(y0+(float64(j)+0.5)*py/probe), 0), m.Height-1)
		line := m.Y.Origin + y*m.Y.Stride
		out := f.area[j/probe*wide : j/probe*wide+wide]
		for i := range out {
			c := f.cols[i*probe : i*probe+probe : i*probe+probe]
			out[i] += int32(pix[line+c[0]]) + int32(pix[line+c[1]]) + int32(pix[line+c[2]])
		}
	}
}

// correlation is of the face with the area moved by so many samples: 1 for the same, whatever its brightness and contrast.
func (f *Follower) correlation(dx, dy int) float64 {
	var sum, squares, product int64
	for y := range side {
		a := f.area[(y+dy)*wide+dx : (y+dy)*wide+dx+side]
		b := f.face[y*side : y*side+side : y*side+side]
		for x, v := range a {
			sum += int64(v)
			squares += int64(v) * int64(v)
			product += int64(v) * int64(b[x])
		}
	}
	const n = side * side
	mean := float64(sum) / n
	power := float64(squares) - float64(mean*mean*n) // processors that multiply and add in one step must not differ from others
	if power < flat*n {
		return 0
	}
	return (float64(product) - float64(mean*f.mean*n)) / math.Sqrt(power*f.power)
}

// peak is how far from the middle of nine neighbours, no more than one in each direction, the top of the paraboloid through them lies.
// c begins with the first of the nine; rows are moves apart.
func peak(c []float64) (dx, dy float64) {
	const up, here, down = 1, moves + 1, 2*moves + 1
	gx, gy := (c[here+1]-c[here-1])/2, (c[down]-c[up])/2
	xx, yy := c[here+1]-2*c[here]+c[here-1], c[down]-2*c[here]+c[up]
	xy := (c[down+1] - c[down-1] - c[up+1] + c[up-1]) / 4
	// Processors that multiply and add in one step must not differ from others.
	det := float64(xx*yy) - float64(xy*xy)
	if !(xx < 0 && yy < 0 && det > 0) {
		return 0, 0
	}
	dx, dy = (float64(xy*gy)-float64(yy*gx))/det, (float64(xy*gx)-float64(xx*gy))/det
	return min(max(dx, -1), 1), min(max(dy, -1), 1)
}
