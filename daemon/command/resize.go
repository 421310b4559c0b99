package command

import (
	"image"
	"image/color"

	"github.com/livenessd/livenessd/camera/frame"
)

// resized is a picture at another size, by the nearest pixel, as JPEG has it: 4:2:0, 0…255. It is good enough to have something of that size to
// measure with.
func resized(m *frame.Image, size image.Point) *image.YCbCr {
	out := image.NewYCbCr(image.Rectangle{Max: size}, image.YCbCrSubsampleRatio420)
	for y := range size.Y {
		for x := range size.X {
			r, g, b := m.RGB(x*m.Width/size.X, y*m.Height/size.Y)
			l, u, v := color.RGBToYCbCr(r, g, b)
			out.Y[y*out.YStride+x] = l
			if x%2 == 0 && y%2 == 0 {
				at := out.COffset(x, y)
				out.Cb[at], out.Cr[at] = u, v
			}
		}
	}
	return out
}

// packYUYV gives the picture at another size as a camera would send it: 4:2:2, 16…235.
func packYUYV(m *frame.Image, size image.Point) []byte {
	out := make([]byte, 2*size.X*size.Y)
	for y := range size.Y {
		for x := range size.X {
			r, g, b := m.RGB(x*m.Width/size.X, y*m.Height/size.Y)
			l, u, v := color.RGBToYCbCr(r, g, b)
			at := 2 * (y*size.X + x)
			out[at] = byte(16 + int(l)*219/255)
			chroma := u
			if x%2 == 1 {
				chroma = v
			}
			out[at+1] = byte(128 + (int(chroma)-128)*224/255)
		}
	}
	return out
}
