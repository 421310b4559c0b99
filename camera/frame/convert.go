package frame

import (
	"image"
	"image/color"
)

// convert goes through every pixel: the slow path for PNG and other stills, 4:4:4 so that nothing is lost.
func convert(src image.Image) Image {
	b := src.Bounds()
	w, h := b.Dx(), b.Dy()
	n := w * h
	pix := make([]byte, 3*n)
	m := Image{Width: w, Height: h, Full: true,
		Y: plane(pix[:n:n], w, 1), U: plane(pix[n:2*n:2*n], w, 1), V: plane(pix[2*n:], w, 1)}
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := src.At(x, y).RGBA()
			m.Y.Pix[i], m.U.Pix[i], m.V.Pix[i] = color.RGBToYCbCr(uint8(r>>8), uint8(g>>8), uint8(bl>>8))
			i++
		}
	}
	return m
}

// Fixed-point BT.601 to RGB, 16 fractional bits; index 0 for 16…235 samples, 1 for 0…255.
var coefficients = [2]struct{ y, rv, gu, gv, bu, offset int32 }{
	{76309, 104597, 25675, 53279, 132201, 16}, // 255/219, and 255/224 of the full-range factors
	{65536, 91881, 22554, 46802, 116130, 0},
}

// RGB gives one pixel. x and y must lie in the picture.
func (m *Image) RGB(x, y int) (r, g, b uint8) {
	k := &coefficients[0]
	if m.Full {
		k = &coefficients[1]
	}
	l := (int32(m.Y.At(x, y))-k.offset)*k.y + 1<<15
	if m.Gray() {
		v := clamp(l >> 16)
		return v, v, v
	}
	cx, cy := x>>m.ShiftX, y>>m.ShiftY
	u := int32(m.U.At(cx, cy)) - 128
	v := int32(m.V.At(cx, cy)) - 128
	return clamp((l + k.rv*v) >> 16), clamp((l - k.gu*u - k.gv*v) >> 16), clamp((l + k.bu*u) >> 16)
}

func clamp(v int32) uint8 {
	if uint32(v) <= 255 {
		return uint8(v)
	}
	if v < 0 {
		return 0
	}
	return 255
}
