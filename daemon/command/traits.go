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

// sampled is the side of the square that a face is brought to before its sharpness is measured. Otherwise the size of the face
// would be measured twice.
const sampled = 80

// add looks at the luma of a face.
func (t *traits) add(m *frame.Image, b models.Box) {
	t.n++
	t.size += b.H
	x0, x1 := within(b.X, b.W, m.Width)
	y0, y1 := within(b.Y, b.H, m.Height)
	if x0 == x1 || y0 == y1 {
		return
	}
	at := func(x, y int) float64 { return float64(m.Y.At(x, y)) }
	var light float64
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			light += at(x, y)
		}
	}
	t.brightness += light / float64((x1-x0)*(y1-y0))

	var face [sampled][sampled]float64
	for i := range face {
		ya, yb, wy := between(i, y0, y1)
		for j := range face[i] {
			xa, xb, wx := between(j, x0, x1)
			face[i][j] = (at(xa, ya)*(1-wx)+at(xb, ya)*wx)*(1-wy) + (at(xa, yb)*(1-wx)+at(xb, yb)*wx)*wy
		}
	}
	var sum, squares float64
	for i := 1; i < sampled-1; i++ {
		for j := 1; j < sampled-1; j++ {
			l := face[i][j-1] + face[i][j+1] + face[i-1][j] + face[i+1][j] - 4*face[i][j]
			sum += l
			squares += l * l
		}
	}
	const n = (sampled - 2) * (sampled - 2)
	t.sharpness += max(squares/n-sum/n*sum/n, 0)
}

// between tells the two samples of first…end−1 that the i-th of sampled points lies between, and the weight of the second.
func between(i, first, end int) (a, b int, w float64) {
	at := (float64(i)+0.5)/sampled*float64(end-first) - 0.5
	at = min(max(at, 0), float64(end-first-1))
	a = first + int(at)
	return a, min(a+1, end-1), at - math.Floor(at)
}

// within gives the whole samples of an interval that lie in 0…n.
func within(at, size float64, n int) (first, end int) {
	first = int(math.Round(min(max(at, 0), float64(n))))
	end = int(math.Round(min(max(at+size, 0), float64(n))))
	return first, max(first, end)
}

// means are the traits by the name of the scorer that goes by them. Variance of the Laplacian, luma of 0…255, pixels of height.
func (t *traits) means() map[string]float64 {
	n := max(t.n, 1)
	return map[string]float64{sharpness: t.sharpness / n, brightness: t.brightness / n, faceSize: t.size / n}
}
