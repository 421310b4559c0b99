package cue

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

// The synthetic camera of these tests gives 160×120, one of its pixels for each of the small picture.
const (
	camW, camH = 160, 120
	zoom       = 1
)

var epoch = time.Unix(1_700_000_000, 0)

// cloth is a texture without a period: smooth noise.
type cloth struct {
	seed  uint64
	scale float64 // pixels from knot to knot
	span  float64 // levels from the darkest to the brightest
}

func (c cloth) knot(x, y int) float64 {
	h := c.seed ^ uint64(int64(x))*0x9e3779b97f4a7c15 ^ uint64(int64(y))*0xc2b2ae3d27d4eb4f
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 32
	return float64(h&0xffff) / 0xffff
}

func (c cloth) at(x, y float64) float64 {
	x, y = x/c.scale, y/c.scale
	fx, fy := math.Floor(x), math.Floor(y)
	i, j := int(fx), int(fy)
	x, y = x-fx, y-fy
	top := c.knot(i, j)*(1-x) + c.knot(i+1, j)*x
	bottom := c.knot(i, j+1)*(1-x) + c.knot(i+1, j+1)*x
	return 128 + c.span*(top*(1-y)+bottom*y-0.5)
}

// stage is what stands in front of the camera. The zero value of motion is nobody moving.
type stage struct {
	room, skin, sheet cloth
	// x, y is how far head and sheet are from where they began; tilt is how far a head is turned, which moves its middle more than its edge.
	x, y, tilt float64
	shake      float64 // of the camera
	hair       float64 // how many times wider than the face the head is with it
	held       bool    // a sheet with the face on it
	body       bool
	screen     float64 // shift of what a screen in the corner shows
	border     float64 // width of the sheet in widths of the face
}

func newStage(seed uint64) stage {
	return stage{room: cloth{seed, 6, 120}, skin: cloth{seed + 1, 4, 130}, sheet: cloth{seed + 2, 5, 110}, hair: 1.3, body: true, border: 3.2}
}

const (
	faceX, faceY = 80.0, 55.0 // middle of the face at the beginning
	faceW, faceH = 26.0, 30.0
)

func (s *stage) box() Box {
	return Box{zoom * (faceX + s.x - faceW/2), zoom * (faceY + s.y - faceH/2), zoom * faceW, zoom * faceH}
}

func (s *stage) level(px, py float64) float64 {
	px -= s.shake
	u, v := (px-faceX-s.x)/faceW, (py-faceY-s.y)/faceH
	hx, hy := px-s.x, py-s.y
	switch {
	case u*u*4/1.2+v*v*4/1.4 <= 1: // the face, a ball that can turn
		bulge := math.Sqrt(max(0, 1-u*u*4/1.2-v*v*4/1.4))
		return s.skin.at(hx-s.tilt*bulge, hy)
	case s.held && math.Abs(u) <= s.border/2 && v >= -s.border/2 && v <= s.border/2:
		return s.sheet.at(hx, hy)
	case !s.held && v < 0.5 && math.Hypot(u/s.hair, v/(s.hair+0.1)) <= 0.5:
		return s.sheet.at(hx, hy) - 60
	case !s.held && s.body && v >= 0.5 && math.Abs(u) <= 1.3:
		return s.sheet.at(hx, hy)
	case s.screen != 0 && px > 120 && py < 40:
		return s.skin.at(px+s.screen, py)
	}
	return s.room.at(px, py)
}

// film takes pictures of a stage.
type film struct {
	noise float64 // standard deviation of the sensor's
	r     *rand.Rand
}

func newFilm(noise float64, seed uint64) *film { return &film{noise, rand.New(rand.NewPCG(seed, 1))} }

func (f *film) picture(s *stage) frame.Image {
	pix := make([]byte, camW*camH)
	for y := range camH {
		for x := range camW {
			v := s.level(float64(x)/zoom, float64(y)/zoom)
			pix[y*camW+x] = clampByte(v + f.noise*f.r.NormFloat64())
		}
	}
	return frame.Grey(pix, camW, camH, camW)
}

// again is a picture as another encoder gives it.
func (f *film) again(m *frame.Image, noise float64) frame.Image {
	pix := make([]byte, len(m.Y.Pix))
	for i, v := range m.Y.Pix {
		pix[i] = clampByte(float64(v) + noise*f.r.NormFloat64())
	}
	return frame.Grey(pix, m.Width, m.Height, m.Width)
}

func clampByte(v float64) byte { return byte(min(max(math.Round(v), 0), 255)) }

// shot is a picture with the face in it.
type shot struct {
	m    frame.Image
	face *Box
}

func shoot(f *film, s *stage) shot {
	b := s.box()
	return shot{f.picture(s), &b}
}

// player plays shots to a watch at a rate.
type player struct {
	w    *Watch
	now  time.Time
	rate time.Duration
	told []decision.Doubt // the first of each cue
	at   map[string]time.Duration
	n    int // pictures with a doubt
}

func play(o Options) *player {
	return &player{w: New(o), now: epoch, rate: time.Second / 15, at: map[string]time.Duration{}}
}

func (p *player) show(s shot) []decision.Doubt {
	p.now = p.now.Add(p.rate)
	ds := p.w.Frame(p.now, &s.m, s.face)
	if len(ds) > 0 {
		p.n++
	}
	for _, d := range ds {
		if _, known := p.at[d.Cue]; !known {
			p.at[d.Cue] = p.now.Sub(epoch)
			p.told = append(p.told, d)
		}
	}
	return ds
}

// drift is a way that nobody plans: a walk that is pulled back, smoothed.
type drift struct {
	r                *rand.Rand
	x, y, vx, vy     float64
	strength, spring float64
}

func (d *drift) step() (x, y float64) {
	d.vx = 0.85*d.vx + d.strength*d.r.NormFloat64() - d.spring*d.x
	d.vy = 0.85*d.vy + d.strength*0.6*d.r.NormFloat64() - d.spring*d.y
	d.x += d.vx
	d.y += d.vy
	return d.x, d.y
}

func newDrift(seed uint64, strength float64) *drift {
	return &drift{r: rand.New(rand.NewPCG(seed, 2)), strength: strength, spring: 0.02}
}
