package frame

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// YUYV describes packed 4:2:2 (Y0 U Y1 V) of the given bytes per line.
func YUYV(pix []byte, width, height, stride int) Image {
	return packed(pix, width, height, stride, 0, 1, 3)
}

// YVYU describes packed 4:2:2 (Y0 V Y1 U) of the given bytes per line.
func YVYU(pix []byte, width, height, stride int) Image {
	return packed(pix, width, height, stride, 0, 3, 1)
}

// UYVY describes packed 4:2:2 (U Y0 V Y1) of the given bytes per line.
func UYVY(pix []byte, width, height, stride int) Image {
	return packed(pix, width, height, stride, 1, 0, 2)
}

// packed describes 4:2:2 whose first samples lie at y, u and v.
func packed(pix []byte, width, height, stride, y, u, v int) Image {
	if len(pix) < 4 {
		return Image{Width: width, Height: height}
	}
	return Image{Width: width, Height: height, ShiftX: 1,
		Y: plane(pix[y:], stride, 2), U: plane(pix[u:], stride, 4), V: plane(pix[v:], stride, 4)}
}

// NV12 describes 4:2:0 with one luma plane and one of interleaved U and V, both of the given bytes per line.
func NV12(pix []byte, width, height, stride int) Image {
	n := stride * height
	if n < 0 || len(pix) < n+2 {
		return Image{Width: width, Height: height}
	}
	return Image{Width: width, Height: height, ShiftX: 1, ShiftY: 1,
		Y: plane(pix[:n], stride, 1), U: plane(pix[n:], stride, 2), V: plane(pix[n+1:], stride, 2)}
}

// NV21 is NV12 with V before U.
func NV21(pix []byte, width, height, stride int) Image {
	m := NV12(pix, width, height, stride)
	m.U, m.V = m.V, m.U
	return m
}

// I420 describes 4:2:0 in three planes, Y, U and V: luma of the given bytes per line, chroma of half of them.
func I420(pix []byte, width, height, stride int) Image {
	n, half := stride*height, (stride+1)/2
	c := half * ((height + 1) / 2)
	if n < 0 || c < 0 || len(pix) < n+c+1 {
		return Image{Width: width, Height: height}
	}
	return Image{Width: width, Height: height, ShiftX: 1, ShiftY: 1,
		Y: plane(pix[:n], stride, 1), U: plane(pix[n:n+c], half, 1), V: plane(pix[n+c:], half, 1)}
}

// YV12 is I420 with V before U.
func YV12(pix []byte, width, height, stride int) Image {
	m := I420(pix, width, height, stride)
	m.U, m.V = m.V, m.U
	return m
}

// Grey describes 8-bit luma alone, as infrared and machine-vision cameras send it (full range).
func Grey(pix []byte, width, height, stride int) Image {
	return Image{Width: width, Height: height, Full: true, Y: plane(pix, stride, 1)}
}

// Y16 describes 16-bit luma, little-endian and full range, by its upper bytes alone. What is lost is less than one level
// of 256, always downwards.
func Y16(pix []byte, width, height, stride int) Image {
	if len(pix) < 2 {
		return Image{Width: width, Height: height}
	}
	return Image{Width: width, Height: height, Full: true, Y: plane(pix[1:], stride, 2)}
}

// Narrow makes 8 bits of luma whose samples are 16-bit words, little-endian, of which the lower so many bits (8…16) count:
// no plane of bytes can describe these. What is lost is less than one level of 256, always downwards; a sample that has more
// bits than it may is white. The picture lies in dst where that has room, else in a new buffer; either way the buffer comes
// back to be handed in again. pix must hold all samples.
func Narrow(dst, pix []byte, width, height, stride, depth int) (Image, []byte) {
	dst = slices.Grow(dst[:0], width*height)[:width*height]
	shift := depth - 8
	for y := range height {
		to, from := dst[y*width:(y+1)*width], pix[y*stride:][:2*width]
		for x := range to {
			to[x] = byte(min(uint32(binary.LittleEndian.Uint16(from[2*x:]))>>shift, 255))
		}
	}
	return Grey(dst, width, height, width), dst
}

// Depth gives how many bits the largest of a picture's 16-bit samples, little-endian, needs. pix must hold all samples.
func Depth(pix []byte, width, height, stride int) int {
	var all uint64
	for y := range height {
		row := pix[y*stride:][:2*width]
		for ; len(row) >= 8; row = row[8:] {
			all |= binary.LittleEndian.Uint64(row)
		}
		for ; len(row) >= 2; row = row[2:] {
			all |= uint64(binary.LittleEndian.Uint16(row))
		}
	}
	all |= all >> 32
	return bits.Len16(uint16(all | all>>16))
}

// RGB converts packed pixels of three bytes, blue first if bgr, to planes as JPEG has them: luma of each pixel, chroma of
// each two by two by their mean, full range. The picture lies in dst where that has room, else in a new buffer; either way
// the buffer comes back to be handed in again. pix must hold all pixels.
func RGB(dst, pix []byte, width, height, stride int, bgr bool) (Image, []byte) {
	n, cw, ch := width*height, (width+1)/2, (height+1)/2
	dst = slices.Grow(dst[:0], n+2*cw*ch)[:n+2*cw*ch]
	m := Image{Width: width, Height: height, ShiftX: 1, ShiftY: 1, Full: true,
		Y: plane(dst[:n:n], width, 1), U: plane(dst[n:n+cw*ch:n+cw*ch], cw, 1), V: plane(dst[n+cw*ch:], cw, 1)}
	ri, bi := 0, 2
	if bgr {
		ri, bi = 2, 0
	}
	for cy := range ch {
		y0, y1 := 2*cy, min(2*cy+1, height-1)
		p0, p1 := pix[y0*stride:][:3*width], pix[y1*stride:][:3*width]
		l0, l1 := m.Y.Pix[y0*width:][:width], m.Y.Pix[y1*width:][:width]
		us, vs := m.U.Pix[cy*cw:][:cw], m.V.Pix[cy*cw:][:cw]
		for cx := range us {
			x0, x1 := 2*cx, min(2*cx+1, width-1)
			var r, g, b int32
			add := func(p []byte) byte {
				pr, pg, pb := int32(p[ri]), int32(p[1]), int32(p[bi])
				r, g, b = r+pr, g+pg, b+pb
				return byte((19595*pr + 38470*pg + 7471*pb + 1<<15) >> 16)
			}
			l0[x0], l0[x1] = add(p0[3*x0:3*x0+3]), add(p0[3*x1:3*x1+3])
			l1[x0], l1[x1] = add(p1[3*x0:3*x0+3]), add(p1[3*x1:3*x1+3])
			// Of the sum of four, so two bits more; half a level is added, and 128.
			us[cx] = clamp((-11059*r - 21709*g + 32768*b + 1<<17 + 128<<18) >> 18)
			vs[cx] = clamp((32768*r - 27439*g - 5329*b + 1<<17 + 128<<18) >> 18)
		}
	}
	return m, dst
}
