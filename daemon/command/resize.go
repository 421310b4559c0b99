package command

import (
	"image"
	"image/color"

	"github.com/livenessd/livenessd/camera/frame"
)

// scaled shows a picture at another size, by the nearest pixel: good enough to have something of that size to measure with.
type scaled struct {
	m    *frame.Image
	size image.Point
}

func (s scaled) ColorModel() color.Model { return color.RGBAModel }
func (s scaled) Bounds() image.Rectangle { return image.Rectangle{Max: s.size} }
func (s scaled) At(x, y int) color.Color {
	r, g, b := s.m.RGB(x*s.m.Width/s.size.X, y*s.m.Height/s.size.Y)
	return color.RGBA{r, g, b, 255}
}

// packYUYV gives the picture at another size as a camera would send it: 4:2:2, 16…235.
func packYUYV(m *frame.Image, size image.Point) []byte {
	out := make([]byte, 2*size.X*size.Y)
	s := scaled{m, size}
	for y := range size.Y {
		for x := range size.X {
			c := s.At(x, y).(color.RGBA)
			l, u, v := color.RGBToYCbCr(c.R, c.G, c.B)
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
