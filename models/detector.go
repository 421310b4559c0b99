package models

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/tflite"
)

// Face is a face that a detector found. Its box and its points may reach beyond the picture: a face that the edge cuts off
// is where it is, not where it can be seen.
type Face struct {
	Box
	Score float64 // P(face), 0…1
	// Points are there if Marked: the net gives them. They are the net's guess where a hand or a mask hides them.
	Points [5]Point
	Marked bool
}

// Point is a place in pixels of the frame.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// What the points of a face are. Right is the person's right, on the left of a picture that isn't mirrored.
const (
	RightEye   = iota // its middle
	LeftEye           // its middle
	NoseTip           // the foremost place of the nose
	RightMouth        // the corner
	LeftMouth         // the corner
)

// agree is the IoU from which weaker boxes help to place a surer one.
const agree = 0.6

// maxCandidates bounds what one picture can cost, in boxes before suppression.
const maxCandidates = 256

// Detector is a face detector that is ready to look. It is for one goroutine.
//
// The net gives for each stride s a map of face logits, one of four distances and, if the manifest says so, one of ten numbers
// for five points. The cell (i, j) lies at x = (j + ½)·s, y = (i + ½)·s of the net's picture; its box reaches from x − l·s to
// x + r·s and from y − t·s to y + b·s, nothing below 0; its points lie at x + u·s, y + v·s for each pair u, v of the ten.
// The net's picture is the frame, shrunk into the top left corner with its aspect kept (letterbox).
type Detector struct {
	net        *network
	model      *Model
	box        *letterbox
	logits     [][]float32 // a map for each stride
	distances  [][]float32
	points     [][]float32 // none if the model gives none
	candidates []Face
	faces      []Face
}

// NewDetector makes a detector of a model.
func NewDetector(rt *tflite.Runtime, m *Model, o Options) (*Detector, error) {
	if m.Task != FaceDetection {
		return nil, fmt.Errorf("models: %s (%s) is a model for %s, not %s", m.Name, m.From, m.Task, FaceDetection)
	}
	d := &Detector{model: m, box: newLetterbox(m.Input.Width, m.Input.Height)}
	var outputs []tflite.TensorSpec
	for _, s := range m.Detector.Strides {
		h, w := m.Input.Height/s, m.Input.Width/s
		outputs = append(outputs, tflite.TensorSpec{Shape: []int{1, h, w, 1}}, tflite.TensorSpec{Shape: []int{1, h, w, 4}})
		d.logits = append(d.logits, make([]float32, h*w))
		d.distances = append(d.distances, make([]float32, 4*h*w))
		if m.Detector.Points {
			outputs = append(outputs, tflite.TensorSpec{Shape: []int{1, h, w, 10}})
			d.points = append(d.points, make([]float32, 10*h*w))
		}
	}
	var err error
	d.net, err = openNetwork(rt, m, o, outputs)
	return d, err
}

// Model is the model that looks.
func (d *Detector) Model() *Model { return d.model }

// Delegate names what runs the net.
func (d *Detector) Delegate() string { return d.net.Delegate() }

// Close frees the net. It is idempotent.
func (d *Detector) Close() error { return d.net.Close() }

// Detect finds faces in a picture, the surest first, in the picture's pixels. The result is valid until the next call.
func (d *Detector) Detect(m *frame.Image) ([]Face, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	w, h, _ := d.box.fit(m)
	d.box.shrink(d.net.pix, m)
	if d.model.Input.Order == "BGR" {
		for i := 0; i < len(d.net.pix); i += 3 {
			d.net.pix[i], d.net.pix[i+2] = d.net.pix[i+2], d.net.pix[i]
		}
	}
	if err := d.net.run(); err != nil {
		return nil, fmt.Errorf("models: run %s: %w", d.model.Name, err)
	}
	if err := d.read(); err != nil {
		return nil, fmt.Errorf("models: run %s: %w", d.model.Name, err)
	}
	if err := d.collect(); err != nil {
		return nil, fmt.Errorf("models: run %s: %w", d.model.Name, err)
	}
	d.suppress()
	fx, fy := float64(m.Width)/float64(w), float64(m.Height)/float64(h)
	kept := d.faces[:0]
	for _, f := range d.faces {
		f.scale(fx, fy)
		f.snap()
		if f.Box.seen(m.Width, m.Height) {
			kept = append(kept, f)
		}
	}
	d.faces = kept
	return kept, nil
}

// surest is the largest face logit of the last picture.
func (d *Detector) surest() float64 {
	best := math.Inf(-1)
	for _, l := range d.logits {
		best = math.Max(best, float64(slices.Max(l)))
	}
	return best
}

// read takes the net's answers.
func (d *Detector) read() (err error) {
	n := 0
	take := func(m []float32) {
		if err == nil {
			err = d.net.OutputFloat32(n, m)
		}
		n++
	}
	for i := range d.logits {
		take(d.logits[i])
		take(d.distances[i])
		if d.points != nil {
			take(d.points[i])
		}
	}
	return err
}

// collect fills candidates with the cells that see a face, the surest first.
func (d *Detector) collect() error {
	d.candidates = d.candidates[:0]
	p := d.model.Thresholds.FaceAt
	least := float32(math.Log(p / (1 - p)))
	for i, s := range d.model.Detector.Strides {
		columns := d.model.Input.Width / s
		for j, logit := range d.logits[i] {
			if !finite(logit) {
				return ErrNotFinite
			}
			if logit < least {
				continue
			}
			v := d.distances[i][4*j : 4*j+4]
			if !finite(v...) {
				return ErrNotFinite
			}
			reach := func(k int) float64 { return float64(max(v[k], 0)) * float64(s) }
			x, y := (float64(j%columns)+0.5)*float64(s), (float64(j/columns)+0.5)*float64(s)
			f := Face{Box: Box{x - reach(0), y - reach(1), reach(0) + reach(2), reach(1) + reach(3)}, Score: 1 / (1 + math.Exp(-float64(logit)))}
			if d.points != nil {
				u := d.points[i][10*j : 10*j+10]
				if !finite(u...) {
					return ErrNotFinite
				}
				f.Marked = true
				for k := range f.Points {
					f.Points[k] = Point{x + float64(u[2*k])*float64(s), y + float64(u[2*k+1])*float64(s)}
				}
			}
			d.candidates = append(d.candidates, f)
		}
	}
	slices.SortFunc(d.candidates, func(a, b Face) int { return cmp.Compare(b.Score, a.Score) })
	d.candidates = d.candidates[:min(len(d.candidates), maxCandidates)]
	return nil
}

// suppress leaves one face of those that overlap: the surest, placed at the mean of those that agree with it, each as
// heavy as it is sure.
func (d *Detector) suppress() {
	d.faces = d.faces[:0]
	rest := d.candidates
	for len(rest) > 0 {
		best := rest[0]
		mean := Face{Score: best.Score, Marked: best.Marked}
		var weight float64
		left := rest[:0]
		for _, f := range rest {
			o := overlap(best.Box, f.Box)
			if o > agree || f == best {
				mean.add(&f)
				weight += f.Score
			}
			if o <= d.model.Detector.Overlap && f != best {
				left = append(left, f)
			}
		}
		mean.scale(1/weight, 1/weight)
		d.faces = append(d.faces, mean)
		rest = left
	}
}

// add adds the place of another face, as heavy as that is sure.
func (f *Face) add(o *Face) {
	f.X += o.X * o.Score
	f.Y += o.Y * o.Score
	f.W += o.W * o.Score
	f.H += o.H * o.Score
	for k, p := range o.Points {
		f.Points[k].X += p.X * o.Score
		f.Points[k].Y += p.Y * o.Score
	}
}

// scale multiplies the place by factors in x and y.
func (f *Face) scale(fx, fy float64) {
	f.Box = Box{f.X * fx, f.Y * fy, f.W * fx, f.H * fy}
	for k, p := range f.Points {
		f.Points[k] = Point{p.X * fx, p.Y * fy}
	}
}

// Move moves the place by so many pixels.
func (f *Face) Move(dx, dy float64) {
	f.X, f.Y = f.X+dx, f.Y+dy
	for k := range f.Points {
		f.Points[k].X += dx
		f.Points[k].Y += dy
	}
	f.snap()
}

// snap moves the place to the nearest 1/1024 of a pixel. Processors differ in the last bit of a mean, and boxes often end in just one half of
// a pixel: without this, now and then one of them would cut out a pixel more, and see another face.
func (f *Face) snap() {
	to := func(v float64) float64 { return math.Round(v*1024) / 1024 }
	f.Box = Box{to(f.X), to(f.Y), to(f.W), to(f.H)}
	for k, p := range f.Points {
		f.Points[k] = Point{to(p.X), to(p.Y)}
	}
}

// overlap is the intersection of two boxes over their union.
func overlap(a, b Box) float64 {
	w := math.Min(a.X+a.W, b.X+b.W) - math.Max(a.X, b.X)
	h := math.Min(a.Y+a.H, b.Y+b.H) - math.Max(a.Y, b.Y)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h / (a.W*a.H + b.W*b.H - w*h)
}

// seen tells whether at least a pixel of a box's width and of its height lies in a picture of w×h.
func (b Box) seen(w, h int) bool {
	return math.Min(b.X+b.W, float64(w))-math.Max(b.X, 0) >= 1 && math.Min(b.Y+b.H, float64(h))-math.Max(b.Y, 0) >= 1
}
