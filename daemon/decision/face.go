package decision

import "math"

// Face is a face's box in pixels, and how sure the detector is of it.
type Face struct{ X, Y, W, H, Score float64 }

// Main picks the face that counts in a frame: the largest. It gives −1 and no code where there is no face, and a code where
// the frame's faces are no ground for a judgement; the index is then that of the largest, or −1 where there is none to speak of.
// While a presentation runs, somebody in the background isn't taken for its face because that was missed in a frame.
func (d *Decider) Main(w, h int, faces []Face) (index int, c Code) {
	if len(faces) == 0 {
		return -1, ""
	}
	if w <= 0 || h <= 0 {
		return -1, ProcessingErr
	}
	index = 0
	for i, f := range faces {
		// Who can't say where one face is isn't trusted with the others.
		if !f.sane() {
			return -1, ProcessingErr
		}
		if f.area() > faces[index].area() {
			index = i
		}
	}
	main := faces[index]
	switch {
	case d.p != nil && !d.same(d.p.face, main) && main.side() < d.o.Crowd*d.p.face.side():
		return -1, ""
	case main.H < d.o.MinFace*float64(h):
		return index, FaceTooSmall
	case main.inside(float64(w), float64(h)) < d.o.Visible*main.area(), main.cut(float64(w), float64(h)):
		return index, FaceCutOff
	}
	for i, f := range faces {
		if i != index && f.side() >= d.o.Crowd*main.side() {
			return index, ManyFaces
		}
	}
	return index, ""
}

// same tells whether a face in one frame can be another in the frame before.
func (d *Decider) same(a, b Face) bool {
	ratio := a.side() / b.side()
	return overlap(a, b) >= d.o.Overlap && ratio <= d.o.Growth && ratio >= 1/d.o.Growth
}

// farthest bounds coordinates, so that no product of them overflows.
const farthest = 1 << 20

func (f Face) sane() bool {
	for _, v := range []float64{f.X, f.Y, f.W, f.H} {
		if !(math.Abs(v) <= farthest) {
			return false
		}
	}
	return f.W >= 1 && f.H >= 1 // pixels; a verdict's face isn't nothing
}

func (f Face) area() float64 { return f.W * f.H }

// side is that of a square of the same area: a size that doesn't depend on how a detector draws its boxes.
func (f Face) side() float64 { return math.Sqrt(f.area()) }

// cut tells of a box that ends at the frame's edge whether the face goes on behind it. Detectors may give the visible part
// alone; a face has a shape, and what is left of one that is cut off hasn't.
func (f Face) cut(w, h float64) bool {
	const edge = 1 // pixel
	sides := f.X < edge || f.X+f.W > w-edge
	ends := f.Y < edge || f.Y+f.H > h-edge
	shape := f.H / f.W
	return sides && shape > tallest || ends && shape < flattest
}

// Heights of whole faces' boxes in widths.
const flattest, tallest = 0.85, 1.5

// inside is the area that lies in a frame.
func (f Face) inside(w, h float64) float64 { return intersection(f, Face{W: w, H: h}) }

func intersection(a, b Face) float64 {
	w := min(a.X+a.W, b.X+b.W) - max(a.X, b.X)
	h := min(a.Y+a.H, b.Y+b.H) - max(a.Y, b.Y)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h
}

// overlap is intersection over union.
func overlap(a, b Face) float64 {
	both := intersection(a, b)
	return both / (a.area() + b.area() - both)
}
