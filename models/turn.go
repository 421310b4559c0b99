package models

import "github.com/livenessd/livenessd/camera/frame"

// turned is what a turned picture is made small with: the plain one is, and what comes out is turned.
type turned struct {
	is      frame.Turn
	sampler *sampler
	box     *letterbox
	pix     []byte
}

// turn gives the w×h RGB pixels of the plain picture src as a turned one has them. Lines of dst and src are so many pixels long.
func turn(t frame.Turn, dst []byte, line int, src []byte, srcLine, w, h int) {
	// Where the first pixel comes from, and how far it is from there to those of the next column and row.
	at := func(x, y int) int {
		px, py := t.Source(x, y, w, h)
		return 3 * (py*srcLine + px)
	}
	origin := at(0, 0)
	var across, down int
	if w > 1 {
		across = at(1, 0) - origin
	}
	if h > 1 {
		down = at(0, 1) - origin
	}
	for y := range h {
		from := origin + y*down
		for to := dst[3*y*line:][:3*w]; len(to) > 0; to = to[3:] {
			copy(to[:3], src[from:from+3])
			from += across
		}
	}
}
