package cue

import "github.com/livenessd/livenessd/camera/frame"

const (
	smallW, smallH = 160, 120
	taps           = 4 // samples a side that make one of a small picture
)

// small is a picture's luma, made small by averaging. Its sides don't keep their ratio: that changes what a pixel is, not what
// moves together.
type small struct {
	pix           [smallW * smallH]uint8
	width, height int
	step          int
	columns       [smallW * taps]int32
}

// take makes it of a picture that Check accepts. Of larger ones it looks at sixteen samples for each of its own, so that the
// cost doesn't grow with the picture.
func (s *small) take(m *frame.Image) {
	if m.Width != s.width || m.Height != s.height || m.Y.Step != s.step {
		s.width, s.height, s.step = m.Width, m.Height, m.Y.Step
		for x := range s.columns {
			s.columns[x] = int32((2*x + 1) * m.Width / (2 * smallW * taps) * m.Y.Step)
		}
	}
	pix := m.Y.Pix
	for y := range smallH {
		var rows [taps]int
		for i := range rows {
			rows[i] = m.Y.Origin + (2*(y*taps+i)+1)*m.Height/(2*smallH*taps)*m.Y.Stride
		}
		out := s.pix[y*smallW : (y+1)*smallW]
		for x := range out {
			c := s.columns[taps*x : taps*x+taps : taps*x+taps]
			var sum uint32
			for _, r := range rows {
				sum += uint32(pix[r+int(c[0])]) + uint32(pix[r+int(c[1])]) + uint32(pix[r+int(c[2])]) + uint32(pix[r+int(c[3])])
			}
			out[x] = uint8((sum + taps*taps/2) / (taps * taps))
		}
	}
}
