// Package look measures what a face's part of a frame is like: how bright, how much of it clipped, how sharp, and what it looks like.
//
// It reads a bounded number of luma samples, whatever the size of the face, and allocates nothing. The measures are cheap and
// coarse: good enough to tell a picture that a net can judge from one that it can't, and a face from another that took its place in
// the next frame. It promises that a picture whose planes are whole is never read outside them, and that all measures are finite.
// It doesn't recognise people.
package look

import (
	"math"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

const (
	grid   = 32 // cells a side: what a liveness net sees of a face is no finer
	probes = 3  // samples a side and cell at most
	blocks = 8  // of the signature
	coarse = 4  // cells: detail is compared with what changes over so many
	border = 4  // cells on each side of the box that are mostly hair and background
	least  = 8  // pixels a side: a smaller face has no look

	reduced = 0.84 // of the sharpness in both directions together

	dark, bright = 8, 247 // luma from which a sample is as good as clipped
)

// Measurer measures faces. It is for one goroutine.
type Measurer struct {
	cells  [grid * grid]float32
	across [grid * probes]int // where the samples of a row lie
	sums   [grid]int32
}

// New makes a measurer.
func New() *Measurer { return &Measurer{} }

// Measure looks at the part of a picture that a box names. The picture's planes must be whole. A box of which next to nothing
// lies in the picture has no look.
func (s *Measurer) Measure(m *frame.Image, x, y, w, h float64) (l decision.Look) {
	x0, x1 := clip(x, x+w, m.Width)
	y0, y1 := clip(y, y+h, m.Height)
	if !(x1-x0 >= least && y1-y0 >= least) {
		return l
	}
	s.average(m, x0, y0, x1-x0, y1-y0, &l)
	l.Known = true
	l.Sharp = s.sharpness()
	l.Signature = s.signature()
	return l
}

// clip gives an interval's part in 0…size. What isn't a number gives nothing.
func clip(from, to float64, size int) (float64, float64) {
	return max(from, 0), min(to, float64(size))
}

// average fills the cells with the mean luma of their part of the picture, and counts on the way.
func (s *Measurer) average(m *frame.Image, x, y, w, h float64, l *decision.Look) {
	// A video's luma is 16…235.
	zero, scale := float32(16), float32(255)/219
	if m.Full {
		zero, scale = 0, 1
	}
	low, high := int32(zero+dark/scale), int32(zero+bright/scale)
	nx, ny := perCell(w), perCell(h)
	for i := range grid * nx {
		s.across[i] = min(int(x+(float64(i)+0.5)/float64(nx)*w/grid), m.Width-1) * m.Y.Step
	}
	each := scale / float32(nx*ny)
	var sum float64
	var darkest, brightest, count int
	for j := range grid {
		s.sums = [grid]int32{}
		for b := range ny {
			py := min(int(y+(float64(j)+(float64(b)+0.5)/float64(ny))*h/grid), m.Height-1)
			row := m.Y.Origin + py*m.Y.Stride
			for i := range grid {
				var cell int32
				in := inner(i) && inner(j)
				for _, at := range s.across[i*nx : i*nx+nx] {
					v := int32(m.Y.Pix[row+at])
					cell += v
					if in && v <= low {
						darkest++
					}
					if in && v >= high {
						brightest++
					}
				}
				s.sums[i] += cell
			}
		}
		for i, v := range s.sums {
			cell := min(max(float32(v)*each-zero*scale, 0), 255)
			s.cells[j*grid+i] = cell
			if inner(i) && inner(j) {
				sum += float64(cell)
				count++
			}
		}
	}
	l.Luma = sum / float64(count)
	count *= nx * ny
	l.Dark, l.Bright = float64(darkest)/float64(count), float64(brightest)/float64(count)
}

func inner(i int) bool { return i >= border && i < grid-border }

// perCell is how many samples a cell needs along a side of so many pixels.
func perCell(size float64) int { return min(max(int(math.Ceil(size/grid)), 1), probes) }

// sharpness is the root of the energy of differences between neighbouring cells over that between cells further apart. Contrast is
// in both and falls out. Of three it is the least: across, up and down, since a face that moves is blurred along its way alone, and
// both together, a little reduced, since one that is out of focus is blurred in both. About a fifth is the least, of a picture that
// changes evenly; noise has about 1, which is the most.
func (s *Measurer) sharpness() float64 {
	var fine, wide [2]float64
	for j := border; j < grid-border-coarse; j++ {
		for i := border; i < grid-border-coarse; i++ {
			at := j*grid + i
			c := s.cells[at]
			fine[0] += square(s.cells[at+1] - c)
			wide[0] += square(s.cells[at+coarse] - c)
			fine[1] += square(s.cells[at+grid] - c)
			wide[1] += square(s.cells[at+grid*coarse] - c)
		}
	}
	// Half a step of quantisation in every cell: a surface without any contrast is not sharp.
	const flat = 0.25 * (grid - 2*border - coarse) * (grid - 2*border - coarse)
	both := (fine[0] + fine[1]) / (wide[0] + wide[1] + 2*flat)
	return math.Sqrt(min(fine[0]/(wide[0]+flat), fine[1]/(wide[1]+flat), reduced*reduced*both, 1))
}

func square(v float32) float64 { return float64(v) * float64(v) }

// signature is the means of the blocks, without brightness and contrast.
func (s *Measurer) signature() (g decision.Signature) {
	const size = grid / blocks
	var mean float32
	for j := range blocks {
		for i := range blocks {
			var sum float32
			for y := j * size; y < (j+1)*size; y++ {
				for x := i * size; x < (i+1)*size; x++ {
					sum += s.cells[y*grid+x]
				}
			}
			g[j*blocks+i] = sum / (size * size)
			mean += g[j*blocks+i] / (blocks * blocks)
		}
	}
	var energy float64
	for i := range g {
		g[i] -= mean
		energy += square(g[i])
	}
	// A face without contrast has no appearance; the noise that is left isn't one.
	if energy < blocks*blocks {
		return decision.Signature{}
	}
	norm := float32(1 / math.Sqrt(energy))
	for i := range g {
		g[i] *= norm
	}
	return g
}
