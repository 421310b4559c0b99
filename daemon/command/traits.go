package command

import (
	"math"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/models"
)

// traits are sums of what says nothing about life, over the frames of a presentation: how sharp, bright and large a face is.
// Where such a number alone tells attacks apart, the pictures deceive.
type traits struct {
	n                           float64
	sharpness, brightness, size float64
}

// add looks at the luma of a face.
func (t *traits) add(m *frame.Image, b models.Box) {
	t.n++
	t.size += b.H
	x0, x1 := within(b.X, b.W, m.Width)
	y0, y1 := within(b.Y, b.H, m.Height)
	at := func(x, y int) float64 { return float64(m.Y.Pix[y*m.Y.Stride+x*m.Y.Step]) }
	var light, sum, squares, inner float64
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			light += at(x, y)
			if x > x0 && x+1 < x1 && y > y0 && y+1 < y1 {
				l := at(x-1, y) + at(x+1, y) + at(x, y-1) + at(x, y+1) - 4*at(x, y)
				sum += l
				squares += l * l
				inner++
			}
		}
	}
	if n := float64((x1 - x0) * (y1 - y0)); n > 0 {
		t.brightness += light / n
	}
	if inner > 0 {
		t.sharpness += max(squares/inner-sum/inner*sum/inner, 0)
	}
}

// within gives the whole samples of an interval that lie in 0…n.
func within(at, size float64, n int) (first, end int) {
	first = int(math.Round(min(max(at, 0), float64(n))))
	end = int(math.Round(min(max(at+size, 0), float64(n))))
	return first, max(first, end)
}

// means are the traits by the name of the scorer that goes by them. Variance of the Laplacian, luma of 0…255, pixels.
func (t *traits) means() map[string]float64 {
	n := max(t.n, 1)
	return map[string]float64{sharpness: t.sharpness / n, brightness: t.brightness / n, faceSize: t.size / n}
}
