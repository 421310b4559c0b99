package pad

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Format is how a plot is written.
type Format string

// The formats.
const (
	SVG Format = "svg"
	PNG Format = "png"
)

// MostSets is how many sets one plot can show.
const MostSets = 24

// Set is a named sample in a plot. Its scores are probabilities.
type Set struct {
	Name   string
	Sample *Sample
}

// Plot is what a picture shows: the DET curve of each set, or of each species where there is one set alone, and a histogram of
// each set's scores. The thresholds are drawn into the histograms, and LiveAt as a dot on each curve. A SpoofAt of 0 isn't drawn.
type Plot struct {
	Sets            []Set
	LiveAt, SpoofAt float64
}

const (
	side  = 13 * vg.Centimeter // of the DET plot
	broad = 13 * vg.Centimeter // a histogram
	high  = 4.6 * vg.Centimeter

	margin = 2 * vg.Millimeter // around each
)

// Write draws the plot. Sets of which one side is missing have a histogram alone.
func (p Plot) Write(w io.Writer, f Format) error {
	if len(p.Sets) == 0 || len(p.Sets) > MostSets {
		return fmt.Errorf("pad: plot %d sets: 1 to %d can be drawn", len(p.Sets), MostSets)
	}
	width, height := side+broad, max(side, vg.Length(len(p.Sets))*high)
	canvas, err := newCanvas(width, height, f)
	if err != nil {
		return err
	}
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	det, err := p.det()
	if err != nil {
		return fmt.Errorf("pad: plot: %w", err)
	}
	det.Draw(draw.Crop(whole, margin, -broad-margin, height-side+margin, -margin))
	for i, s := range p.Sets {
		h, err := p.histogram(s)
		if err != nil {
			return fmt.Errorf("pad: plot: %w", err)
		}
		top := vg.Length(i) * high
		h.Draw(draw.Crop(whole, side+margin, -margin, height-top-high+margin, -top-margin))
	}
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("pad: write the plot: %w", err)
	}
	return nil
}

// canvas is what a plot is drawn on and written from.
type canvas interface {
	vg.CanvasSizer
	io.WriterTo
}

func newCanvas(width, height vg.Length, f Format) (canvas, error) {
	switch f {
	case SVG:
		return vgsvg.New(width, height), nil
	case PNG:
		return vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(144))}, nil
	}
	return nil, fmt.Errorf("pad: plot as %q: svg or png", f)
}

// curves are what the DET plot shows, in order.
func (p Plot) curves() []Set {
	if len(p.Sets) > 1 {
		return p.Sets
	}
	var out []Set
	s := p.Sets[0].Sample
	for _, name := range s.species {
		out = append(out, Set{name, s.Only(name)})
	}
	return out
}

func (p Plot) det() (*plot.Plot, error) {
	d := plot.New()
	d.Title.Text = "DET: attacks accepted, people refused"
	d.Title.TextStyle.Font.Size = 11
	d.X.Label.Text, d.Y.Label.Text = "APCER, %", "BPCER, %"
	for _, a := range []*plot.Axis{&d.X, &d.Y} {
		a.Min, a.Max, a.Scale, a.Tick.Marker, a.Padding = least, most, deviate{}, percents{}, 0
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size = 10, 8
	}
	d.Legend.Top = true
	d.Legend.TextStyle.Font.Size = 9
	d.Legend.XOffs, d.Legend.YOffs = -6, -6
	d.Add(plotter.NewGrid())
	equal, err := plotter.NewLine(plotter.XYs{{X: least, Y: least}, {X: most, Y: most}})
	if err != nil {
		return nil, err
	}
	equal.Color, equal.Dashes = color.Gray{150}, []vg.Length{3, 3}
	d.Add(equal)
	for i, s := range p.curves() {
		if !s.Sample.TwoSided() {
			continue
		}
		line, err := plotter.NewLine(thin(s.Sample))
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = palette(i), 1.2
		if i/colours%2 == 1 {
			line.Dashes = []vg.Length{5, 2}
		}
		at := s.Sample.at(p.LiveAt)
		dot, err := plotter.NewScatter(plotter.XYs{{X: inAxis(at.APCER), Y: inAxis(at.BPCER)}})
		if err != nil {
			return nil, err
		}
		dot.GlyphStyle = draw.GlyphStyle{Color: palette(i), Radius: 3, Shape: draw.CircleGlyph{}}
		d.Add(line, dot)
		d.Legend.Add(label(s.Name), line, dot)
	}
	return d, nil
}

// thin is the curve without the points that nobody would see.
func thin(s *Sample) plotter.XYs {
	const visible = 1.0 / 1500
	var out plotter.XYs
	var last plotter.XY
	all := thresholds(s)
	place := func(v float64) float64 { return deviate{}.Normalize(least, most, v) }
	for i, t := range all {
		p := s.at(t)
		xy := plotter.XY{X: inAxis(p.APCER), Y: inAxis(p.BPCER)}
		if i == 0 || i == len(all)-1 || math.Abs(place(xy.X)-place(last.X)) > visible || math.Abs(place(xy.Y)-place(last.Y)) > visible {
			out = append(out, xy)
			last = xy
		}
	}
	return out
}

// bins of a histogram, each 1/25 wide.
const bins = 25

func (p Plot) histogram(s Set) (*plot.Plot, error) {
	h := plot.New()
	h.Title.Text = label(s.Name)
	h.Title.TextStyle.Font.Size = 10
	h.X.Label.Text, h.Y.Label.Text = "P(live)", "share, %"
	for _, a := range []*plot.Axis{&h.X, &h.Y} {
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size, a.Padding = 9, 8, 0
	}
	h.X.Min, h.X.Max, h.Y.Min, h.Y.Max = 0, 1, 0, 0.05
	h.Y.Tick.Marker = shares{}
	h.Legend.Top = true
	h.Legend.TextStyle.Font.Size = 8
	h.Legend.XOffs, h.Legend.YOffs = -6, -4
	var attacks []float64
	for _, name := range s.Sample.species {
		attacks = append(attacks, s.Sample.attacks[name]...)
	}
	for _, c := range []struct {
		name   string
		scores []float64
		colour color.NRGBA
	}{
		{"bona fide", s.Sample.bonaFide, palette(0)},
		{"attacks", attacks, palette(1)},
	} {
		if len(c.scores) == 0 {
			continue
		}
		outline := plotter.XYs{{X: 0, Y: 0}}
		for i, v := range count(c.scores) {
			h.Y.Max = max(h.Y.Max, v)
			outline = append(outline, plotter.XY{X: float64(i) / bins, Y: v}, plotter.XY{X: float64(i+1) / bins, Y: v})
		}
		shape, err := plotter.NewPolygon(append(outline, plotter.XY{X: 1, Y: 0}))
		if err != nil {
			return nil, err
		}
		shape.LineStyle = draw.LineStyle{Color: c.colour, Width: 0.8}
		c.colour.A = 90
		shape.Color = c.colour
		h.Add(shape)
		h.Legend.Add(fmt.Sprintf("%s (%d)", c.name, len(c.scores)), shape)
	}
	for _, at := range []float64{p.SpoofAt, p.LiveAt} {
		if at <= 0 || at > 1 {
			continue
		}
		line, err := plotter.NewLine(plotter.XYs{{X: at, Y: 0}, {X: at, Y: h.Y.Max}})
		if err != nil {
			return nil, err
		}
		line.Dashes, line.Color = []vg.Length{2, 2}, color.Gray{60}
		h.Add(line)
	}
	return h, nil
}

// count gives the share of the scores that is in each bin.
func count(scores []float64) [bins]float64 {
	var n [bins]float64
	for _, v := range scores {
		n[min(max(int(v*bins), 0), bins-1)] += 1 / float64(len(scores))
	}
	return n
}

// The DET plot's axes: normal deviates, from 0.1 % to 95 %. What lies outside is drawn at the edge.
const least, most = 0.001, 0.95

func inAxis(v float64) float64 { return min(max(v, least), most) }

type deviate struct{}

var _ plot.Normalizer = deviate{}

func (deviate) Normalize(lo, hi, v float64) float64 {
	at := func(p float64) float64 { return math.Erfinv(2*inAxis(p) - 1) }
	return (at(v) - at(lo)) / (at(hi) - at(lo))
}

// percents are the ticks of the DET plot.
type percents struct{}

func (percents) Ticks(_, _ float64) []plot.Tick {
	var out []plot.Tick
	for _, v := range []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95} {
		out = append(out, plot.Tick{Value: v, Label: percent(v)})
	}
	return out
}

// shares are the ticks of a histogram's height.
type shares struct{}

func (shares) Ticks(lo, hi float64) []plot.Tick {
	step := 0.01
	for _, s := range []float64{0.02, 0.05, 0.1, 0.2, 0.25, 0.5} {
		if hi/step > 4 {
			step = s
		}
	}
	var out []plot.Tick
	for i := 0; float64(i)*step <= hi; i++ {
		out = append(out, plot.Tick{Value: float64(i) * step, Label: percent(float64(i) * step)})
	}
	return out
}

func percent(v float64) string { return strconv.FormatFloat(math.Round(v*1e4)/1e2, 'f', -1, 64) }

const colours = 7

// palette is Okabe's and Ito's, whose colours those tell apart who see few.
func palette(i int) color.NRGBA {
	return [colours]color.NRGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255},
		{86, 180, 233, 255}, {0, 0, 0, 255}}[i%colours]
}

// label makes a name fit for a picture: one line, not endless, and nothing that an SVG may not hold.
func label(name string) string {
	const longest = 40
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(name, string(unicode.ReplacementChar)))
	if r := []rune(name); len(r) > longest {
		return string(r[:longest-1]) + "…"
	}
	return name
}

// FormatOf tells the format by a file's name.
func FormatOf(name string) (Format, error) {
	for _, f := range []Format{SVG, PNG} {
		if strings.HasSuffix(strings.ToLower(name), "."+string(f)) {
			return f, nil
		}
	}
	return "", errors.New("pad: a plot's name ends in .svg or .png")
}
