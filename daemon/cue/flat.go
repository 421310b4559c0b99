package cue

import (
	"math"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
)

const (
	block  = 8 // pixels a side of what is followed from picture to picture
	reach  = 6 // how far it is looked for
	margin = block/2 + reach
	most   = 64 // blocks of each region at most

	pause    = 100 * time.Millisecond // between two looks
	baseline = 250 * time.Millisecond // between the two pictures of a look
	stale    = 600 * time.Millisecond
	keep     = 8 // pictures

	flatWithin = 2500 * time.Millisecond
	flatLooks  = 6    // that must agree
	texture    = 6    // mean gradient of a block below which it can't be followed
	hasMoved   = 1.5  // pixels of the small picture
	stands     = 0.5  // pixels
	agrees     = 0.75 // pixels, from where the face's motion would have taken it
)

// flat tells a picture of a face that is moved in front of a scene from a head. What is beside a head and above it is the room
// behind, and stands still when the head moves. What is beside the face on a sheet or a screen moves with it, as one plane.
type flat struct {
	pictures [keep]taken
	newest   int
	kept     int
	looked   time.Time
	face     Box // the newest, in pixels of the camera's picture
	seen     time.Time
	any      bool
	looks    [32]look // a ring
	at       int
	is       bool
}

type taken struct {
	at  time.Time
	pix [smallW * smallH]uint8
}

// look is what one pair of pictures says.
type look struct {
	at   time.Time
	says opinion
}

type opinion int8

const (
	nothing opinion = iota // the face didn't move, or there is nothing beside it to follow
	held                   // what is beside it moved along
	head                   // it didn't
)

func (f *flat) forget() {
	f.any, f.is, f.kept = false, false, 0
	f.looks, f.looked = [32]look{}, time.Time{}
}

func (f *flat) frame(at time.Time, m *frame.Image, s *small, face *Box) bool {
	if f.any && at.Sub(f.seen) > gone || face != nil && f.any && !face.same(&f.face) {
		f.forget()
	}
	if face != nil {
		f.face, f.seen, f.any = *face, at, true
	}
	if !f.any {
		return false
	}
	// Older pictures than a look needs aren't kept: they come at most as often as looks do.
	if f.kept == 0 || at.Sub(f.pictures[f.newest].at) >= pause/2 {
		f.newest = (f.newest + 1) % keep
		f.pictures[f.newest].at, f.pictures[f.newest].pix = at, s.pix
		f.kept = min(f.kept+1, keep)
	}
	if face == nil || at.Sub(f.looked) < pause {
		return f.is
	}
	before := f.before(at)
	if before == nil {
		return f.is
	}
	f.looked = at
	place := Box{face.X * smallW / float64(m.Width), face.Y * smallH / float64(m.Height), face.W * smallW / float64(m.Width), face.H * smallH / float64(m.Height)}
	f.looks[f.at] = look{at, compare(&before.pix, &s.pix, place)}
	f.at = (f.at + 1) % len(f.looks)
	var sayHeld, sayHead int
	for _, l := range f.looks {
		if l.at.IsZero() || at.Sub(l.at) > flatWithin {
			continue
		}
		switch l.says {
		case held:
			sayHeld++
		case head:
			sayHead++
		}
	}
	// Once told, it stays what it is for as long as the face stays: a sheet that is held still is no head.
	f.is = f.is || sayHeld >= flatLooks && sayHeld >= 9*sayHead
	return f.is
}

// before is the newest picture that is old enough for a motion to be seen.
func (f *flat) before(at time.Time) *taken {
	for i := range f.kept {
		p := &f.pictures[(f.newest-i+keep)%keep]
		if age := at.Sub(p.at); age >= baseline {
			if age > stale {
				return nil
			}
			return p
		}
	}
	return nil
}

// A region is where blocks are, relative to the face.
type region int

const (
	elsewhere region = iota
	inside
	left
	above
	right
	far
	regions
)

// regionOf says where a point is; u and v are its distance from the middle of the face in widths and heights of the face. What
// is below the chin is left out: shoulders move with a head. So is what may be hair.
func regionOf(u, v float64) region {
	switch a := math.Abs(u); {
	case a <= 0.5 && math.Abs(v) <= 0.5:
		return inside
	case v > 0.5 && a < 3:
		return elsewhere
	case a >= 0.85 && a <= 1.5 && v >= -1:
		if u < 0 {
			return left
		}
		return right
	case a <= 0.85 && v <= -1.1 && v >= -1.7:
		return above
	case a >= 1.9 || v <= -2.1:
		return far
	}
	return elsewhere
}

// vector is how a block moved.
type vector struct{ x, y, dx, dy float64 }

// compare looks at what moved between two pictures.
func compare(a, b *[smallW * smallH]uint8, face Box) opinion {
	var found [regions][most]vector
	var n [regions]int
	cx, cy := face.X+face.W/2, face.Y+face.H/2
	// In a small face, blocks may overlap, lest there be too few.
	for pass, step := range [...]int{block / 2, block} {
		for y := margin; y < smallH-margin; y += step {
			for x := margin; x < smallW-margin; x += step {
				r := regionOf((float64(x)-cx)/face.W, (float64(y)-cy)/face.H)
				if r == elsewhere || (r == far) != (pass == 1) || n[r] == most || !textured(b, x, y) {
					continue
				}
				if dx, dy, ok := follow(a, b, x, y); ok {
					found[r][n[r]] = vector{float64(x) - cx, float64(y) - cy, dx, dy}
					n[r]++
				}
			}
		}
	}
	t, ok := fit(found[inside][:n[inside]])
	if !ok || t.mean < hasMoved {
		return nothing
	}
	var along, still, all, sides int
	for r := left; r <= right; r++ {
		here := 0
		for _, v := range found[r][:n[r]] {
			px, py := t.at(v.x, v.y)
			if math.Hypot(px, py) < 2*stands {
				continue // it would hardly have moved
			}
			all++
			switch {
			case math.Hypot(v.dx-px, v.dy-py) <= agrees:
				along, here = along+1, here+1
			case math.Hypot(v.dx, v.dy) <= stands:
				still++
			}
		}
		if here >= 2 {
			sides++
		}
	}
	standing := 0
	for _, v := range found[far][:n[far]] {
		if math.Hypot(v.dx, v.dy) <= stands {
			standing++
		}
	}
	switch {
	case still >= 3 && 2*still >= all:
		return head
	case along >= 6 && sides >= 2 && 5*along >= 4*all && standing >= 6 && 5*standing >= 4*n[far]:
		return held
	}
	return nothing
}

// textured tells whether a block has edges in both directions, so that its motion can be told.
func textured(p *[smallW * smallH]uint8, x, y int) bool {
	gx, gy := 0, 0
	for j := y - block/2; j < y+block/2; j++ {
		for i := x - block/2; i < x+block/2; i++ {
			h := int(p[j*smallW+i+1]) - int(p[j*smallW+i-1])
			v := int(p[(j+1)*smallW+i]) - int(p[(j-1)*smallW+i])
			gx += max(h, -h)
			gy += max(v, -v)
		}
	}
	return min(gx, gy) >= texture*block*block
}

// follow finds where a block of b was in a, and gives its motion since, to a part of a pixel.
func follow(a, b *[smallW * smallH]uint8, x, y int) (dx, dy float64, ok bool) {
	var sums [2*reach + 1][2*reach + 1]int32
	best, bx, by := int32(math.MaxInt32), 0, 0
	for j := -reach; j <= reach; j++ {
		for i := -reach; i <= reach; i++ {
			s := difference(a, b, x, y, i, j)
			sums[j+reach][i+reach] = s
			// Of equals, what moved least.
			if s < best || s == best && i*i+j*j < bx*bx+by*by {
				best, bx, by = s, i, j
			}
		}
	}
	// At the edge the best lies beyond, and a poor best is something else.
	if bx == -reach || bx == reach || by == -reach || by == reach || best > 8*block*block {
		return 0, 0, false
	}
	// A pattern that repeats has more than one place.
	for j := range sums {
		for i, s := range sums[j] {
			if (abs(i-reach-bx) > 2 || abs(j-reach-by) > 2) && s < best+best/4+block*block {
				return 0, 0, false
			}
		}
	}
	at := func(i, j int) float64 { return float64(sums[j+reach][i+reach]) }
	ox := float64(bx) + vertex(at(bx-1, by), at(bx, by), at(bx+1, by))
	oy := float64(by) + vertex(at(bx, by-1), at(bx, by), at(bx, by+1))
	return -ox, -oy, true
}

func abs(v int) int { return max(v, -v) }

// difference is the sum of a block's differences.
func difference(a, b *[smallW * smallH]uint8, x, y, dx, dy int) int32 {
	var sum int32
	for j := y - block/2; j < y+block/2; j++ {
		mine := b[j*smallW+x-block/2:][:block]
		other := a[(j+dy)*smallW+x+dx-block/2:][:block]
		for i, v := range mine {
			d := int32(v) - int32(other[i])
			sum += max(d, -d)
		}
	}
	return sum
}

// vertex is where between its neighbours a minimum of absolute differences lies, whose sides are straight.
func vertex(before, here, after float64) float64 {
	d := max(before, after) - here
	if d <= 0 {
		return 0
	}
	return min(max((before-after)/(2*d), -0.5), 0.5)
}

// turn is a motion of a plane that faces the camera: shifted, turned and brought nearer.
type turn struct {
	tx, ty, a, b float64 // dx = tx + a·x − b·y, dy = ty + b·x + a·y
	mean         float64 // length of the motion, over the vectors that it is of
}

func (t *turn) at(x, y float64) (dx, dy float64) { return t.tx + t.a*x - t.b*y, t.ty + t.b*x + t.a*y }

// fit finds the motion that most of the vectors share.
func fit(all []vector) (turn, bool) {
	const fewest = 6
	var use [most]bool
	for i := range all {
		use[i] = true
	}
	var t turn
	left := len(all)
	for round := 0; ; round++ {
		if left < fewest || 5*left < 3*len(all) {
			return turn{}, false
		}
		t = solve(all, &use, left)
		if round == 4 {
			return t, true
		}
		limit := []float64{3, 2, 1.2, 1}[round]
		left = 0
		for i, v := range all {
			px, py := t.at(v.x, v.y)
			if use[i] = math.Hypot(v.dx-px, v.dy-py) <= limit; use[i] {
				left++
			}
		}
	}
}

// solve is the least squares of the vectors that are used.
func solve(all []vector, use *[most]bool, n int) turn {
	var mx, my, mdx, mdy, length float64
	for i, v := range all {
		if use[i] {
			mx, my, mdx, mdy = mx+v.x, my+v.y, mdx+v.dx, mdy+v.dy
			length += math.Hypot(v.dx, v.dy)
		}
	}
	k := float64(n)
	mx, my, mdx, mdy = mx/k, my/k, mdx/k, mdy/k
	var square, along, across float64
	for i, v := range all {
		if use[i] {
			x, y, dx, dy := v.x-mx, v.y-my, v.dx-mdx, v.dy-mdy
			square += x*x + y*y
			along += x*dx + y*dy
			across += x*dy - y*dx
		}
	}
	t := turn{mean: length / k}
	if square > 0 {
		t.a, t.b = along/square, across/square
	}
	t.tx, t.ty = mdx-t.a*mx+t.b*my, mdy-t.b*mx-t.a*my
	return t
}
