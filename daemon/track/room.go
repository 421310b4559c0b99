// Package track spares the detector work: a Room tells whether anything in a picture is new since somebody looked at it, and a Follower
// where a face went since it was found.
//
// Both look at luma alone, at a bounded number of samples whatever the size of the picture, and allocate nothing. They promise to be
// sure only of what stays as it was: a room that is too noisy to tell counts as changed, and a face that isn't found again nearby, looking
// as it did, counts as lost, so that whoever asks has the detector look. They don't find faces, and what they are sure of is no evidence
// of anything.
package track

import "github.com/livenessd/livenessd/camera/frame"

const (
	columns, rows = 40, 30
	cells         = columns * rows
	taps          = 4           // samples a side of a cell
	level         = taps * taps // one of 0…255 in sums of a cell's samples

	// A face that counts is no smaller than some cells.
	news = 2
	// A cell is new from least levels on, or from so many times what cells change by themselves, of which no more than noisiest counts.
	least    = 6 * level
	certain  = 6
	noisiest = 4 * level
	lights   = 12 * level // what all cells may change together
	smooth   = 16         // pictures that what is known of the noise is from
)

// Room compares pictures of a room with one in which nobody was found. The zero value knows none. It is for one goroutine.
type Room struct {
	now, was [cells]uint16
	known    bool
	noise    int               // what a cell changes by itself, on average, in 256ths
	counts   [2*256 + 1]uint16 // of differences, in levels
	across   [columns * taps]int32
	width    int
	height   int
	step     int
}

// Changed tells whether anything in a picture is new since Remember. The picture's planes must be whole.
func (r *Room) Changed(m *frame.Image) bool {
	r.sample(m)
	if !r.known {
		return true
	}
	r.counts = [len(r.counts)]uint16{}
	for i, v := range r.now {
		r.counts[(int(v)-int(r.was[i]))/level+256]++
	}
	shift := r.median() * level // a camera that adapts to the light
	limit := max(least, certain*r.noise/256)
	fresh, sum := 0, 0
	for i, v := range r.now {
		d := int(v) - int(r.was[i]) - shift
		d = max(d, -d)
		if d > limit {
			fresh++
		}
		sum += min(d, noisiest)
	}
	r.noise += (sum*256/cells - r.noise) / smooth
	return fresh >= news || shift > lights || shift < -lights
}

// Remember takes the picture that Changed was asked about last for one in which nobody is.
func (r *Room) Remember() { r.was, r.known = r.now, true }

// Forget takes every picture for new until Remember.
func (r *Room) Forget() { r.known = false }

func (r *Room) sample(m *frame.Image) {
	if r.width != m.Width || r.height != m.Height || r.step != m.Y.Step {
		r.width, r.height, r.step = m.Width, m.Height, m.Y.Step
		for x := range r.across {
			r.across[x] = int32((2*x + 1) * m.Width / (2 * len(r.across)) * m.Y.Step)
		}
		r.known = false // it was another picture
	}
	r.now = [cells]uint16{}
	pix := m.Y.Pix
	for y := range rows * taps {
		line := m.Y.Origin + (2*y+1)*m.Height/(2*rows*taps)*m.Y.Stride
		out := r.now[y/taps*columns : y/taps*columns+columns]
		for i := range out {
			a := r.across[i*taps : i*taps+taps : i*taps+taps]
			out[i] += uint16(pix[line+int(a[0])]) + uint16(pix[line+int(a[1])]) + uint16(pix[line+int(a[2])]) + uint16(pix[line+int(a[3])])
		}
	}
}

// median is of the differences, in levels.
func (r *Room) median() int {
	sum := 0
	for i, n := range r.counts {
		if sum += int(n); 2*sum >= cells {
			return i - 256
		}
	}
	return 0
}
