package frame

import "image"

// plane is one as it lies in memory.
func plane(pix []byte, stride, step int) Plane { return Plane{Pix: pix, Stride: stride, Step: step} }

// Turned gives the picture turned clockwise by 0, 90, 180 or 270 degrees, of the same bytes. Of a picture whose chroma samples
// don't divide its size, the last row or column is lost where the order is turned round. The picture must have passed Check.
func (m Image) Turned(degrees int) Image {
	switch degrees {
	case 90:
		return m.upsideDown().swapped()
	case 180:
		return m.upsideDown().Mirrored()
	case 270:
		return m.Mirrored().swapped()
	}
	return m
}

// Mirrored gives the picture with left and right exchanged, of the same bytes and with the same loss. The picture must have passed
// Check.
func (m Image) Mirrored() Image {
	m.Width = whole(m.Width, m.ShiftX)
	w, _ := m.chroma()
	m.Y.mirror(m.Width)
	m.U.mirror(w)
	m.V.mirror(w)
	return m
}

func (m Image) upsideDown() Image {
	m.Height = whole(m.Height, m.ShiftY)
	_, h := m.chroma()
	m.Y.flip(m.Height)
	m.U.flip(h)
	m.V.flip(h)
	return m
}

// swapped exchanges rows and columns.
func (m Image) swapped() Image {
	m.Width, m.Height, m.ShiftX, m.ShiftY = m.Height, m.Width, m.ShiftY, m.ShiftX
	for _, p := range []*Plane{&m.Y, &m.U, &m.V} {
		p.Stride, p.Step = p.Step, p.Stride
	}
	return m
}

// whole is the largest size that chroma samples divide, unless that is none.
func whole(n int, shift uint8) int {
	if w := n >> shift << shift; w > 0 {
		return w
	}
	return n
}

func (p *Plane) mirror(w int) {
	if p.Pix != nil {
		p.Origin, p.Step = p.Origin+(w-1)*p.Step, -p.Step
	}
}

func (p *Plane) flip(h int) {
	if p.Pix != nil {
		p.Origin, p.Stride = p.Origin+(h-1)*p.Stride, -p.Stride
	}
}

// Part gives what lies in r, of the same bytes, moved to the left and up to where a chroma sample begins, and without a last row or column
// that chroma samples don't divide. What of r lies outside of the picture isn't in it. The picture must have passed Check.
func (m Image) Part(r image.Rectangle) Image {
	r = r.Intersect(m.Bounds())
	r.Min.X, r.Min.Y = r.Min.X>>m.ShiftX<<m.ShiftX, r.Min.Y>>m.ShiftY<<m.ShiftY
	m.Width, m.Height = whole(r.Dx(), m.ShiftX), whole(r.Dy(), m.ShiftY)
	m.Y.Origin += r.Min.Y*m.Y.Stride + r.Min.X*m.Y.Step
	for _, p := range []*Plane{&m.U, &m.V} {
		p.Origin += r.Min.Y>>m.ShiftY*p.Stride + r.Min.X>>m.ShiftX*p.Step
	}
	return m
}

// Turn tells how a picture lies in memory. Its pixel (x, y) is that of Plain's picture which Source names.
type Turn struct {
	FlipX, FlipY bool // the order of columns, of rows is turned round
	Swap         bool // and then rows and columns are exchanged
}

// Plain gives the picture as it lies in memory, whose steps are above zero and less than its strides, and how it is turned. Who reads a
// whole picture, or depends on where chroma samples lie, reads this one and turns what comes out, which is small. For a picture
// that isn't turned that is itself. The picture must have passed Check.
func (m *Image) Plain() (Image, Turn) {
	t := Turn{FlipX: m.Y.Step < 0, FlipY: m.Y.Stride < 0}
	p := *m
	if t.FlipX {
		p = p.Mirrored()
	}
	if t.FlipY {
		p = p.upsideDown()
	}
	if t.Swap = p.Y.Step > p.Y.Stride; t.Swap {
		p = p.swapped()
	}
	return p, t
}

// Source is where the pixel (x, y) of a turned picture of w×h pixels is in the plain one.
func (t Turn) Source(x, y, w, h int) (int, int) {
	if t.FlipX {
		x = w - 1 - x
	}
	if t.FlipY {
		y = h - 1 - y
	}
	if t.Swap {
		return y, x
	}
	return x, y
}

// Size is that of the plain picture, of a turned one of w×h.
func (t Turn) Size(w, h int) (int, int) {
	if t.Swap {
		return h, w
	}
	return w, h
}
