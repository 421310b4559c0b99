package doctor

import "github.com/livenessd/livenessd/camera/frame"

// Luma from which a sample is as good as clipped.
const clippedDark, clippedBright = 8, 247

// samples measures a grid of a picture's luma: the shares that are as dark and as bright as can be, and the mean, of 0…255.
func samples(f *frame.Frame) (dark, bright, mean float64) {
	const every = 8
	zero, scale := 16.0, 255.0/219 // a video's luma is 16…235
	if f.Full {
		zero, scale = 0, 1
	}
	n := 0.0
	for y := 0; y < f.Height; y += every {
		for x := 0; x < f.Width; x += every {
			l := (float64(f.Y.At(x, y)) - zero) * scale
			switch {
			case l <= clippedDark:
				dark++
			case l >= clippedBright:
				bright++
			}
			mean += min(max(l, 0), 255)
			n++
		}
	}
	return dark / n, bright / n, mean / n
}
