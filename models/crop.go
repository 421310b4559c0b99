package models

import (
	"fmt"
	"math"

	"github.com/livenessd/livenessd/camera/frame"
)

// Box is a face's rectangle in pixels of the frame.
type Box struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
	W float64 `json:"w"`
	H float64 `json:"h"`
}

// rect is a rectangle of whole pixels; X1 and Y1 belong to it.
type rect struct{ X0, Y0, X1, Y1 int }

// rect is the part of a picture of w×h pixels that the rule gives for a box. It may reach outside if the rule pads.
func (c *Crop) rect(b Box, in *Input, w, h int) (rect, error) {
	if c.Rule == "minifasnet" {
		return cropRect(b, c.Scale, w, h)
	}
	if err := b.check(w, h); err != nil {
		return rect{}, err
	}
	cx, cy, bw, bh := b.X+b.W/2, b.Y+b.H/2, b.W, b.H
	if c.Aspect == "keep" {
		aspect := float64(in.Width) / float64(in.Height)
		bw, bh = math.Max(bw, bh*aspect), math.Max(bh, bw/aspect)
	}
	if c.Outside == "" || c.Outside == "shift" {
		s := math.Min(c.Scale, math.Min(float64(w-1)/bw, float64(h-1)/bh))
		x0, x1 := shiftInside(cx, bw*s, float64(w-1))
		y0, y1 := shiftInside(cy, bh*s, float64(h-1))
		return rect{x0, y0, x1, y1}, nil
	}
	x0, x1 := around(cx, bw*c.Scale)
	y0, y1 := around(cy, bh*c.Scale)
	if x1 < 0 || y1 < 0 || x0 >= w || y0 >= h || x1-x0 > maxPart || y1-y0 > maxPart {
		return rect{}, fmt.Errorf("models: the surroundings of face box %v lie outside the picture of %d×%d", b, w, h)
	}
	return rect{x0, y0, x1, y1}, nil
}

// maxPart bounds a padded part in pixels, for the arithmetic's sake.
const maxPart = 1 << 20

// around gives the first and last pixel of an interval about a centre, wherever it lies.
func around(centre, size float64) (int, int) {
	n := max(1, int(math.Round(size)))
	first := int(math.Round(centre - size/2))
	return first, first + n - 1
}

// check refuses a box that is no rectangle near a picture of w×h pixels.
func (b Box) check(w, h int) error {
	if !(b.W >= 1 && b.H >= 1) || !(b.W+b.H < 1e7) || !(math.Abs(b.X)+math.Abs(b.Y) < 1e6) || w < 2 || h < 2 {
		return fmt.Errorf("models: face box %v in a picture of %d×%d", b, w, h)
	}
	return nil
}

// cropRect applies the rule minifasnet (see Crop) to a box in a picture of w×h pixels.
func cropRect(b Box, scale float64, w, h int) (rect, error) {
	if err := b.check(w, h); err != nil {
		return rect{}, err
	}
	s := math.Min(scale, math.Min(float64(w-1)/b.W, float64(h-1)/b.H))
	x0, x1 := shiftInside(b.X+b.W/2, b.W*s, float64(w-1))
	y0, y1 := shiftInside(b.Y+b.H/2, b.H*s, float64(h-1))
	return rect{x0, y0, x1, y1}, nil
}

// shiftInside gives the first and last pixel of an interval of the given size about a centre, moved into 0…last.
func shiftInside(centre, size, last float64) (int, int) {
	lo, hi := centre-size/2, centre+size/2
	if lo < 0 {
		lo, hi = 0, hi-lo
	}
	if hi > last {
		lo, hi = lo-(hi-last), last
	}
	// Rounding may have left a hair outside; int() cuts towards zero as upstream's does.
	return int(math.Max(lo, 0)), int(math.Min(math.Max(hi, 0), last))
}

const (
	weightBits = 11 // of interpolation weights: what OpenCV uses for 8-bit pictures
	weightOne  = 1 << weightBits
)

// tap is where an output row or column lies between two samples: i0 and i1 with weight w of the second.
type tap struct {
	i0, i1 int32
	w      int32
}

// sampler squashes a part of a picture to out pixels bilinearly, straight from the planes. It keeps its tables.
type sampler struct {
	w, h         int // output
	x, y, cx, cy []tap
	bgr          bool
	beside       *turned // for pictures that are turned; nil until there is one
}

func newSampler(w, h int, order string) *sampler {
	return &sampler{w: w, h: h, bgr: order == "BGR",
		x: make([]tap, w), y: make([]tap, h), cx: make([]tap, w), cy: make([]tap, h)}
}

// taps fills luma and chroma taps for n outputs over size samples from first on, in a plane of limit samples whose chroma
// is subsampled by 2^shift. Luma is clamped to the part, as if it had been cut out first, and to the plane, which repeats its
// edge where the part reaches outside.
func taps(luma, chroma []tap, first, size, limit int, shift uint8, centred bool) {
	ratio := float64(size) / float64(len(luma))
	climit := (limit + 1<<shift - 1) >> shift
	for i := range luma {
		f := (float64(i)+0.5)*ratio - 0.5
		luma[i] = between(f+float64(first), max(first, 0), min(first+size, limit)-1)
		c := f + float64(first)
		if centred {
			c = (c+0.5)/float64(int(1)<<shift) - 0.5
		} else {
			c /= float64(int(1) << shift)
		}
		chroma[i] = between(c, 0, climit-1)
	}
}

func between(f float64, lo, hi int) tap {
	i := int(math.Floor(f))
	if i < lo {
		return tap{int32(lo), int32(lo), 0}
	}
	if i >= hi {
		return tap{int32(hi), int32(hi), 0}
	}
	return tap{int32(i), int32(i + 1), int32((f-float64(i))*weightOne + 0.5)}
}

// blacken makes what lies outside a picture of w×h pixels black: the pixels of dst whose centre does.
func (s *sampler) blacken(dst []byte, r rect, w, h int) {
	inside := func(i, n, first, last, limit int) bool {
		at := float64(first) + (float64(i)+0.5)*float64(last-first+1)/float64(n) // from the edge of pixel 0
		return at >= 0 && at < float64(limit)
	}
	for y := 0; y < s.h; y++ {
		line := dst[y*s.w*3 : (y+1)*s.w*3]
		if !inside(y, s.h, r.Y0, r.Y1, h) {
			clear(line)
			continue
		}
		for x := 0; x < s.w; x++ {
			if !inside(x, s.w, r.X0, r.X1, w) {
				clear(line[3*x : 3*x+3])
			}
		}
	}
}

// sample fills dst with w×h×3 bytes of the part r of the picture, whose edges it repeats. The picture must have passed Check.
func (s *sampler) sample(dst []byte, m *frame.Image, r rect) {
	p, t := m.Plain()
	if t == (frame.Turn{}) {
		s.plain(dst, m, r)
		return
	}
	if s.beside == nil || s.beside.is != t {
		w, h := t.Size(s.w, s.h)
		s.beside = &turned{is: t, sampler: newSampler(w, h, ""), pix: make([]byte, 3*w*h)}
		s.beside.sampler.bgr = s.bgr
	}
	x0, y0 := t.Source(r.X0, r.Y0, m.Width, m.Height)
	x1, y1 := t.Source(r.X1, r.Y1, m.Width, m.Height)
	s.beside.sampler.plain(s.beside.pix, &p, rect{min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)})
	turn(t, dst, s.w, s.beside.pix, s.beside.sampler.w, s.w, s.h)
}

// plain is sample for a picture that isn't turned.
func (s *sampler) plain(dst []byte, m *frame.Image, r rect) {
	// JPEG puts a chroma sample into the middle of its pixels; packed 4:2:2 and NV12 put it beside the left one.
	taps(s.x, s.cx, r.X0, r.X1-r.X0+1, m.Width, m.ShiftX, m.Full)
	taps(s.y, s.cy, r.Y0, r.Y1-r.Y0+1, m.Height, m.ShiftY, true)
	cv := newConverter(m)
	first, third := 0, 2
	if s.bgr {
		first, third = 2, 0
	}
	at := 0
	for oy := 0; oy < s.h; oy++ {
		ty, tc := s.y[oy], s.cy[oy]
		y0, y1 := row(&m.Y, ty.i0), row(&m.Y, ty.i1)
		if m.Gray() {
			for ox := 0; ox < s.w; ox++ {
				v := cv.gray(lerp(y0, y1, m.Y.Step, s.x[ox], ty.w))
				dst[at], dst[at+1], dst[at+2] = v, v, v
				at += 3
			}
			continue
		}
		u0, u1 := row(&m.U, tc.i0), row(&m.U, tc.i1)
		v0, v1 := row(&m.V, tc.i0), row(&m.V, tc.i1)
		for ox := 0; ox < s.w; ox++ {
			tx := s.cx[ox]
			r, g, b := cv.rgb(lerp(y0, y1, m.Y.Step, s.x[ox], ty.w), lerp(u0, u1, m.U.Step, tx, tc.w), lerp(v0, v1, m.V.Step, tx, tc.w))
			dst[at+first], dst[at+1], dst[at+third] = r, g, b
			at += 3
		}
	}
}

// row is a plain plane's from its first sample on.
func row(p *frame.Plane, y int32) []byte { return p.Pix[p.Origin+int(y)*p.Stride:] }

// lerp gives a sample with sampleBits bits of fraction; all fits into 32 bits.
func lerp(a, b []byte, step int, t tap, wy int32) int32 {
	i0, i1 := int(t.i0)*step, int(t.i1)*step
	top := int32(a[i0])*(weightOne-t.w) + int32(a[i1])*t.w
	bottom := int32(b[i0])*(weightOne-t.w) + int32(b[i1])*t.w
	return (top>>4*(weightOne-wy) + bottom>>4*wy) >> 14
}

// converter turns samples with fraction bits into RGB.
type converter struct{ y, rv, gu, gv, bu, offset int32 }

// sampleBits is what lerp leaves of 2·weightBits bits of fraction, having dropped 4 and 14.
const sampleBits = 2*weightBits - 4 - 14

func newConverter(m *frame.Image) converter {
	if m.Full {
		return converter{65536, 91881, 22554, 46802, 116130, 0}
	}
	return converter{76309, 104597, 25675, 53279, 132201, 16 << sampleBits}
}

const round = 1 << (15 + sampleBits)

func (c *converter) gray(y int32) uint8 {
	return clamp8(((y-c.offset)*c.y + round) >> (16 + sampleBits))
}

func (c *converter) rgb(y, u, v int32) (r, g, b uint8) {
	l := (y-c.offset)*c.y + round
	u -= 128 << sampleBits
	v -= 128 << sampleBits
	return clamp8((l + c.rv*v) >> (16 + sampleBits)), clamp8((l - c.gu*u - c.gv*v) >> (16 + sampleBits)), clamp8((l + c.bu*u) >> (16 + sampleBits))
}

func clamp8(v int32) uint8 {
	if uint32(v) <= 255 {
		return uint8(v)
	}
	if v < 0 {
		return 0
	}
	return 255
}
