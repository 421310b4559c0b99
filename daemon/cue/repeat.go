package cue

import (
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
)

const (
	// frozenFor is how long the very same picture may come: drivers repeat frames while a camera exposes for long.
	frozenFor    = time.Second
	frozenFrames = 5
	// twins is how many of the last sixteen pictures must have been there before, bit for bit, for it to be no accident of a start.
	twins = 8
	// A loop is told by a face that moves and yet is where it was a period ago, to the noise.
	loopFor    = 3 * time.Second
	loopFrames = 20
	mayMiss    = 3
	wobble     = 100 * time.Millisecond // of a period, which is as exact as the moments at which frames are taken
	// staying is how long a camera that repeated itself stays suspect after it stopped.
	staying = 10 * time.Second
	// together is the longest pause between frames that follow each other.
	together = time.Second

	budget = 512 << 10 // bytes of a picture that are hashed at most
)

// A signature is the means of a picture's parts, in sixteenths.
const (
	partsX, partsY = 32, 24
	parts          = partsX * partsY
	coarse         = (partsX / 4) * (partsY / 4)
	unit           = 16

	history   = 600                    // signatures kept
	shortest  = time.Second            // a period below this is told by identical pictures alone
	earlier   = 400 * time.Millisecond // what a face has moved since then
	noise     = unit / 2               // two pictures of the same differ by less, on average
	movement  = 3 * unit               // what counts as a face that moves
	outweighs = 8                      // how many times more it must have moved than it misses its old place
	flatRange = 4                      // levels between the darkest and the brightest part of a picture of nothing
)

type signature struct {
	at     time.Time
	fine   [parts]uint16
	coarse [coarse]uint16
	hash   uint64
}

// repeat finds pictures that come again.
type repeat struct {
	seed maphash.Seed

	hash   uint64 // of the newest picture
	since  time.Time
	run    int // identical pictures in a row
	last   time.Time
	any    bool
	exact  memory
	serial uint32
	twins  uint16 // which of the last pictures were there before, a bit each

	ring   [history]signature
	newest int // index in ring
	kept   int

	lag       time.Duration // of the run of pictures that match
	matchedAt time.Time     // its begin
	matching  int
	moving    int // of them, those whose face moved
	missed    int // pictures in a row that didn't match

	suspect time.Time // when there was last reason
	is      bool
}

func newRepeat() *repeat { return &repeat{seed: maphash.MakeSeed(), newest: -1} }

// forget begins anew, but for the pictures that it remembers: those are known whatever the time.
func (r *repeat) forget() {
	r.any, r.is, r.run, r.matching = false, false, 0, 0
	r.kept, r.newest, r.twins = 0, -1, 0
}

// frame tells whether the camera is suspect.
func (r *repeat) frame(at time.Time, m *frame.Image, s *small, face *Box) bool {
	if r.any && at.Sub(r.last) > together {
		r.since, r.run, r.matching = at, 0, 0
	}
	h := r.digest(m)
	r.newest = (r.newest + 1) % history
	sig := &r.ring[r.newest]
	sig.at, sig.hash = at, h
	low, high := sig.take(s)
	r.kept = min(r.kept+1, history)

	switch {
	case high-low <= flatRange*unit:
		// A lens in the dark gives nothing but black, again and again, and no face either.
		r.since, r.run, r.matching = at, 0, 0
	case r.any && h == r.hash:
		if r.run++; r.run >= frozenFrames && at.Sub(r.since) >= frozenFor {
			r.doubt(at)
		}
	default:
		r.run, r.since = 1, at
		r.serial++
		r.twins <<= 1
		if r.exact.seen(h, r.serial) {
			if r.twins |= 1; bits.OnesCount16(r.twins) >= twins {
				r.doubt(at)
			}
		}
		r.loop(at, sig, m, face)
	}
	r.hash, r.last, r.any = h, at, true
	if r.is && at.Sub(r.suspect) > staying {
		r.is = false
	}
	return r.is
}

func (r *repeat) doubt(at time.Time) { r.suspect, r.is = at, true }

// digest hashes a picture's rows as they lie in memory, of large ones only so many as the budget allows.
func (r *repeat) digest(turned *frame.Image) uint64 {
	m, _ := turned.Plain()
	n := (m.Width-1)*m.Y.Step + 1
	skip := max(1, (n*m.Height+budget-1)/budget)
	h := uint64(m.Width)<<32 | uint64(m.Height)
	for y := 0; y < m.Height; y += skip {
		row := m.Y.Pix[m.Y.Origin+y*m.Y.Stride:]
		h = h*0x9e3779b97f4a7c15 ^ maphash.Bytes(r.seed, row[:n])
	}
	return h
}

// take makes the signature, and gives the lowest and the highest of its parts.
func (g *signature) take(s *small) (low, high int) {
	const w, h = smallW / partsX, smallH / partsY
	clear(g.coarse[:])
	low = 255 * unit
	for py := range partsY {
		for px := range partsX {
			sum := 0
			for y := py * h; y < py*h+h; y++ {
				for _, v := range s.pix[y*smallW+px*w : y*smallW+px*w+w] {
					sum += int(v)
				}
			}
			v := sum * unit / (w * h)
			g.fine[py*partsX+px] = uint16(v)
			g.coarse[py/4*(partsX/4)+px/4] += uint16(v / 16)
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high
}

// loop follows a run of pictures that match those of a constant time ago while the face in them moves.
func (r *repeat) loop(at time.Time, sig *signature, m *frame.Image, face *Box) {
	if face == nil {
		r.matching = 0
		return
	}
	area := partsOf(face, m.Width, m.Height)
	before := r.before(at, earlier)
	if area.empty() || before == nil {
		return
	}
	moved := sig.distance(before, area)
	lag, off, ok := r.match(at, sig, area)
	if !ok {
		// Frames are taken at other moments of a loop each time round, and between two of its pictures there is none to match.
		if r.missed++; r.missed > mayMiss {
			r.matching = 0
		}
		return
	}
	if r.matching == 0 || (lag-r.lag).Abs() > wobble {
		r.matchedAt, r.lag, r.matching, r.moving = at, lag, 0, 0
	}
	r.matching, r.missed = r.matching+1, 0
	if moved >= movement && moved >= outweighs*off {
		r.moving++
	}
	if r.matching >= loopFrames && at.Sub(r.matchedAt) >= loopFor && 2*r.moving >= r.matching {
		r.doubt(at)
	}
}

// before gives the newest signature that is at least d old, if one of about that age is there.
func (r *repeat) before(at time.Time, d time.Duration) *signature {
	for i := 1; i < r.kept; i++ {
		g := r.past(i)
		if age := at.Sub(g.at); age >= d {
			if age > 2*d {
				return nil
			}
			return g
		}
	}
	return nil
}

func (r *repeat) past(i int) *signature { return &r.ring[(r.newest-i+history)%history] }

// match finds the earlier picture that is most alike, and how much the face in it is off, if it is alike to the noise. One that
// goes on with the run is preferred.
func (r *repeat) match(at time.Time, sig *signature, area rect) (lag time.Duration, off int, ok bool) {
	best, bestAny := 1<<30, 1<<30
	var lagAny time.Duration
	for i := 1; i < r.kept; i++ {
		g := r.past(i)
		age := at.Sub(g.at)
		if age < shortest || sig.roughly(g) > 2*noise {
			continue
		}
		if sig.distance(g, rect{0, 0, partsX, partsY}) > noise {
			continue
		}
		d := sig.distance(g, area)
		if d > noise {
			continue
		}
		if r.matching > 0 && (age-r.lag).Abs() <= wobble && d < best {
			best, lag = d, age
		}
		if d < bestAny {
			bestAny, lagAny = d, age
		}
	}
	if best < 1<<30 {
		return lag, best, true
	}
	return lagAny, bestAny, bestAny < 1<<30
}

// roughly is the mean difference over a sixteenth of the parts; distance is never much below it.
func (g *signature) roughly(o *signature) int {
	sum := 0
	for i, v := range g.coarse {
		d := int(v) - int(o.coarse[i])
		sum += max(d, -d)
	}
	return sum / coarse
}

// rect is a range of parts.
type rect struct{ x0, y0, x1, y1 int }

func (a rect) empty() bool { return a.x0 >= a.x1 || a.y0 >= a.y1 }

// distance is the mean difference of the parts in an area.
func (g *signature) distance(o *signature, a rect) int {
	sum := 0
	for y := a.y0; y < a.y1; y++ {
		mine, other := g.fine[y*partsX+a.x0:y*partsX+a.x1], o.fine[y*partsX+a.x0:y*partsX+a.x1]
		for i, v := range mine {
			d := int(v) - int(other[i])
			sum += max(d, -d)
		}
	}
	return sum / ((a.x1 - a.x0) * (a.y1 - a.y0))
}

// partsOf is the parts that a box touches.
func partsOf(b *Box, w, h int) rect {
	x := func(v float64) int { return min(max(int(v*partsX/float64(w)), 0), partsX) }
	y := func(v float64) int { return min(max(int(v*partsY/float64(h)), 0), partsY) }
	return rect{x(b.X), y(b.Y), min(x(b.X+b.W)+1, partsX), min(y(b.Y+b.H)+1, partsY)}
}

// memory remembers pictures of the last minutes by their hashes: sets of four, of which the oldest goes.
type memory [4096][4]struct {
	hash   uint64
	serial uint32
}

// seen tells whether a hash was there, and remembers it.
func (m *memory) seen(h uint64, serial uint32) bool {
	set := &m[h>>52]
	oldest := 0
	for i := range set {
		if set[i].serial != 0 && set[i].hash == h {
			set[i].serial = serial
			return true
		}
		if set[i].serial < set[oldest].serial {
			oldest = i
		}
	}
	set[oldest].hash, set[oldest].serial = h, serial
	return false
}
