package models

import "github.com/livenessd/livenessd/camera/frame"

// letterbox shrinks a picture into the top left corner of w×h pixels: aspect kept, each output pixel the mean of the
// pixels that it covers, never enlarged. What is left over is black.
type letterbox struct {
	w, h    int
	sums    [3][]uint32 // a row of sums for Y, U, V
	columns []int32     // first luma column of each output column, and one past the last
	means   means
	chroma  []int32 // first and one past the last chroma column, in pairs
	beside  *turned // for pictures that are turned; nil until there is one
}

func newLetterbox(w, h int) *letterbox {
	l := &letterbox{w: w, h: h, columns: make([]int32, w+1), chroma: make([]int32, 2*w)}
	for i := range l.sums {
		l.sums[i] = make([]uint32, w)
	}
	return l
}

// fit tells the size that the picture gets and the factor back to its own pixels.
func (l *letterbox) fit(m *frame.Image) (w, h int, factor float64) {
	factor = max(float64(m.Width)/float64(l.w), float64(m.Height)/float64(l.h), 1)
	w = min(l.w, max(1, int(float64(m.Width)/factor+0.5)))
	h = min(l.h, max(1, int(float64(m.Height)/factor+0.5)))
	return w, h, factor
}

// shrink fills dst with l.w×l.h×3 bytes, RGB, and returns the factor from output to picture pixels. The picture must have
// passed Check.
func (l *letterbox) shrink(dst []byte, m *frame.Image) float64 {
	p, t := m.Plain()
	if t == (frame.Turn{}) {
		return l.plain(dst, m)
	}
	if l.beside == nil || l.beside.is != t {
		w, h := t.Size(l.w, l.h)
		l.beside = &turned{is: t, box: newLetterbox(w, h), pix: make([]byte, 3*w*h)}
	}
	w, h, factor := l.fit(m)
	l.beside.box.plain(l.beside.pix, &p)
	clear(dst)
	turn(t, dst, l.w, l.beside.pix, l.beside.box.w, w, h)
	return factor
}

// plain is shrink for a picture that isn't turned.
func (l *letterbox) plain(dst []byte, m *frame.Image) float64 {
	w, h, factor := l.fit(m)
	clear(dst)
	for i := 0; i <= w; i++ {
		l.columns[i] = int32(i * m.Width / w)
	}
	cw := (m.Width + 1<<m.ShiftX - 1) >> m.ShiftX
	for i := 0; i < w; i++ {
		l.chroma[2*i], l.chroma[2*i+1] = span(l.columns[i], l.columns[i+1], m.ShiftX, cw)
	}
	ch := (m.Height + 1<<m.ShiftY - 1) >> m.ShiftY
	cv := newConverter(m)
	l.means.of((m.Width/w + 1) * (m.Height/h + 1))
	by := l.means
	for oy := 0; oy < h; oy++ {
		y0, y1 := int32(oy*m.Height/h), int32((oy+1)*m.Height/h)
		ys := l.sums[0][:w]
		clear(ys)
		for y := y0; y < y1; y++ {
			addLuma(ys, row(&m.Y, y), m.Y.Step, l.columns)
		}
		out := dst[oy*l.w*3:]
		if m.Gray() {
			for ox := range ys {
				n := uint32(y1-y0) * uint32(l.columns[ox+1]-l.columns[ox])
				v := cv.gray(by.mean(ys[ox], n))
				out[3*ox], out[3*ox+1], out[3*ox+2] = v, v, v
			}
			continue
		}
		c0, c1 := span(y0, y1, m.ShiftY, ch)
		us, vs := l.sums[1][:w], l.sums[2][:w]
		clear(us)
		clear(vs)
		for y := c0; y < c1; y++ {
			addChroma(us, row(&m.U, y), m.U.Step, l.chroma)
			addChroma(vs, row(&m.V, y), m.V.Step, l.chroma)
		}
		for ox := range ys {
			n := uint32(y1-y0) * uint32(l.columns[ox+1]-l.columns[ox])
			cn := uint32(c1-c0) * uint32(l.chroma[2*ox+1]-l.chroma[2*ox])
			r, g, b := cv.rgb(by.mean(ys[ox], n), by.mean(us[ox], cn), by.mean(vs[ox], cn))
			out[3*ox], out[3*ox+1], out[3*ox+2] = r, g, b
		}
	}
	return factor
}

// span gives the chroma samples of the pixels from a to before b: at least one, at most limit.
func span(a, b int32, shift uint8, limit int) (int32, int32) {
	lo := a >> shift
	hi := max(b>>shift, lo+1)
	return lo, min(hi, int32(limit))
}

func addLuma(sums []uint32, pix []byte, step int, columns []int32) {
	if step == 1 {
		for i := range sums {
			var s uint32
			for _, p := range pix[columns[i]:columns[i+1]] {
				s += uint32(p)
			}
			sums[i] += s
		}
		return
	}
	for i := range sums {
		var s uint32
		for x := int(columns[i]) * step; x < int(columns[i+1])*step; x += step {
			s += uint32(pix[x])
		}
		sums[i] += s
	}
}

func addChroma(sums []uint32, pix []byte, step int, pairs []int32) {
	for i := range sums {
		var s uint32
		for x := int(pairs[2*i]) * step; x < int(pairs[2*i+1])*step; x += step {
			s += uint32(pix[x])
		}
		sums[i] += s
	}
}

// means divides sums of n samples by n. A division takes longer than all the rest, so that each n's inverse is kept.
type means []uint64

const inverseBits = 40

// of prepares for n of up to most.
func (m *means) of(most int) {
	for n := uint64(max(len(*m), 1)); n <= uint64(most); n++ {
		if n == 1 {
			*m = append(*m, 0)
		}
		*m = append(*m, (1<<inverseBits+n-1)/n)
	}
}

// mean is with sampleBits bits of fraction, rounded. It is exact: a sum of n samples is below 2¹²·n with its fraction, so that the inverse, which
// is too large by less than one, makes it too large by less than 2¹²·n/2⁴⁰, and that is less than 1/n for all n of a picture that Check accepts.
func (m means) mean(sum, n uint32) int32 {
	return int32((uint64(sum)<<sampleBits + uint64(n)/2) * m[n] >> inverseBits)
}
