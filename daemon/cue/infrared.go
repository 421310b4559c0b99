package cue

import (
	"math"
	"sync"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

const (
	// tolerance is how far apart two cameras' frames may be taken to show the same moment.
	tolerance = 150 * time.Millisecond
	// lost is how old what the infrared camera saw last may be.
	lost = 2 * time.Second

	sightings = 64
	maxFaces  = 8

	fewestMissed = 5
	fewestSeen   = 3

	// A lit frame has something bright in it. Cameras that flash at every other frame have it dark in between.
	litLevel = 40
	litTop   = 20 // of so many small pixels the brightest
	litShare = 0.6
	litSpan  = time.Second

	// sized is how many times larger or smaller a face may be there.
	sized   = 2.5
	touches = 0.1 // intersection over union
)

// Sighting is what one frame of an infrared camera showed.
type Sighting struct {
	At    time.Time
	Faces [maxFaces]Box // relative to the frame's size
	Count int
	Light float64 // brightness of its brightest parts, 0…255
	Lit   bool
}

// Pair is where an infrared camera leaves what it sees for the camera that it stands beside. It keeps the newest. Both may use
// it at once.
type Pair struct {
	mu     sync.Mutex
	ring   [sightings]Sighting
	newest int
	count  int
}

// See takes a frame of the infrared camera and the faces in it.
func (p *Pair) See(at time.Time, m *frame.Image, faces []Box) {
	if m.Check() != nil {
		return
	}
	s := Sighting{At: at, Light: light(m)}
	for i := range faces {
		b := &faces[i]
		if b.sane() && s.Count < maxFaces {
			s.Faces[s.Count] = relative(b, m)
			s.Count++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	brightest := s.Light
	for i := range p.count {
		o := p.past(i)
		if !o.At.Before(at) { // the clock went back
			p.count = i
			break
		}
		if at.Sub(o.At) > litSpan {
			break
		}
		brightest = max(brightest, o.Light)
	}
	s.Lit = s.Light >= litLevel && s.Light >= litShare*brightest
	p.newest = (p.newest + 1) % sightings
	p.ring[p.newest] = s
	p.count = min(p.count+1, sightings)
}

func (p *Pair) past(i int) *Sighting { return &p.ring[(p.newest-i+sightings)%sightings] }

// Faces gives the faces of the lit frame that was taken nearest to a time, for who wants to learn where they are.
func (p *Pair) Faces(at time.Time) []Box {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *Sighting
	for i := range p.count {
		if s := p.past(i); s.Lit && s.At.Sub(at).Abs() <= tolerance && (best == nil || s.At.Sub(at).Abs() < best.At.Sub(at).Abs()) {
			best = s
		}
	}
	if best == nil {
		return nil
	}
	return append([]Box(nil), best.Faces[:best.Count]...)
}

// light is how bright the brightest twentieth of a picture is, at least, by a sample of its pixels.
func light(m *frame.Image) float64 {
	const grid = 64
	var histogram [256]int
	for j := range grid {
		y := (2*j + 1) * m.Height / (2 * grid)
		for i := range grid {
			histogram[m.Y.At((2*i+1)*m.Width/(2*grid), y)]++
		}
	}
	left := grid * grid / litTop
	for v := 255; v > 0; v-- {
		if left -= histogram[v]; left <= 0 {
			return float64(v)
		}
	}
	return 0
}

func relative(b *Box, m *frame.Image) Box {
	w, h := float64(m.Width), float64(m.Height)
	return Box{b.X / w, b.Y / h, b.W / w, b.H / h}
}

// infrared compares a camera's face with what its pair sees.
type infrared struct {
	pair     *Pair
	required bool
	to       Affine
	window   time.Duration

	face Box // of the camera's picture, in pixels
	seen time.Time
	any  bool
	ring [sightings]moment
	next int
}

// moment is a face of the camera and whether the infrared camera saw it.
type moment struct {
	at   time.Time // zero: none
	box  Box       // where it has to be there
	says sight
}

type sight int8

const (
	open   sight = iota // not known yet
	absent              // no frame of that moment
	unlit
	missed
	found
)

func newInfrared(o Options) *infrared {
	to := o.Map
	if to == (Affine{}) {
		to = Identity()
	}
	window := o.Window
	if window <= 0 {
		window = 2 * time.Second
	}
	return &infrared{pair: o.Pair, required: o.Required, to: to, window: window}
}

func (r *infrared) forget() {
	r.any = false
	r.ring = [sightings]moment{}
}

func (r *infrared) frame(at time.Time, m *frame.Image, face *Box) (d decision.Doubt, is bool) {
	if r.any && at.Sub(r.seen) > gone || face != nil && r.any && !face.same(&r.face) {
		r.forget()
	}
	if face != nil {
		r.face, r.seen, r.any = *face, at, true
		b := relative(face, m)
		r.ring[r.next] = moment{at: at, box: r.to.Box(b)}
		r.next = (r.next + 1) % sightings
	}
	if !r.any {
		return d, false
	}
	newest, shining := r.look(at)
	var count [found + 1]int
	for i := range r.ring {
		if e := &r.ring[i]; !e.at.IsZero() && at.Sub(e.at) <= r.window {
			count[e.says]++
		}
	}
	lit := count[missed] + count[found]
	d = decision.Doubt{Cue: Infrared, Verdict: decision.Undecided}
	switch {
	case count[missed] >= fewestMissed && 10*count[found] <= lit:
		d.Verdict, d.Code = decision.Spoof, decision.PADAttack
		return d, true
	case count[found] >= fewestSeen && 2*count[found] >= lit && at.Sub(newest) <= lost:
		return d, false
	case !r.required && (lit >= fewestMissed || !shining || at.Sub(newest) > lost):
		return d, false // where it can see, it is waited for all the same
	case newest.IsZero() || at.Sub(newest) > lost:
		d.Code = decision.CameraLost
	case lit == 0 && count[unlit] > 0:
		d.Code = decision.TooDark
	default:
		d.Code = decision.Timeout
	}
	return d, true
}

// look finds out about the moments that are open, and gives when the pair saw anything last, and whether it has had light lately.
func (r *infrared) look(now time.Time) (newest time.Time, shining bool) {
	p := r.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count > 0 {
		newest = p.past(0).At
	}
	for i := 0; i < p.count && newest.Sub(p.past(i).At) <= litSpan && !shining; i++ {
		shining = p.past(i).Lit
	}
	for i := range r.ring {
		e := &r.ring[i]
		if e.at.IsZero() || e.says != open {
			continue
		}
		says := absent
		for k := range p.count {
			s := p.past(k)
			if s.At.Sub(e.at).Abs() > tolerance {
				if s.At.Before(e.at) {
					break
				}
				continue
			}
			switch {
			case !s.Lit:
				says = max(says, unlit)
			case s.has(&e.box):
				says = found
			default:
				says = max(says, missed)
			}
		}
		// The infrared camera's net may be late, and a later frame of the moment may still show the face.
		if says == found || newest.Sub(e.at) > tolerance || now.Sub(e.at) > lost {
			e.says = says
		}
	}
	return newest, shining
}

// has tells whether a face is at a place.
func (s *Sighting) has(b *Box) bool {
	for i := range s.Count {
		f := &s.Faces[i]
		w := min(b.X+b.W, f.X+f.W) - max(b.X, f.X)
		h := min(b.Y+b.H, f.Y+f.H) - max(b.Y, f.Y)
		if w <= 0 || h <= 0 {
			continue
		}
		mine, theirs := b.W*b.H, f.W*f.H
		if ratio := math.Sqrt(mine / theirs); ratio > sized || ratio < 1/sized {
			continue
		}
		if both := w * h; both >= touches*(mine+theirs-both) {
			return true
		}
	}
	return false
}
