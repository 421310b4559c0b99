package pad

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Trial is how a way of deciding fared: rates as shares of 1, times in seconds, NaN where there are none.
type Trial struct {
	Asked        float64 // rate of accepted attacks that was asked for; 0 for a way that can't be asked
	APCER, BPCER float64
	Median, Late float64 // time to live of bona fide presentations: its median and the 95th percentile
}

// Bounds is a picture of how errors and times depend on what is asked for, beside a way of deciding that can't be asked.
type Bounds struct {
	Trials []Trial // by Asked
	Fixed  Trial
	Name   string // of Fixed
}

// Write draws it.
func (b Bounds) Write(w io.Writer, f Format) error {
	if len(b.Trials) < 2 {
		return errors.New("pad: plot of less than two trials")
	}
	canvas, err := newCanvas(2*side, side, f)
	if err != nil {
		return err
	}
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	rate := func(v float64) float64 { return 100 * v }
	same := func(v float64) float64 { return v }
	errorsOf, err := b.panel("errors", "presentations, %", rate, []series{
		{"APCER", func(t Trial) float64 { return t.APCER }}, {"BPCER", func(t Trial) float64 { return t.BPCER }},
	})
	if err != nil {
		return fmt.Errorf("pad: plot: %w", err)
	}
	// What was asked for, for comparison.
	var diagonal plotter.XYs
	for _, t := range b.Trials {
		diagonal = append(diagonal, plotter.XY{X: rate(t.Asked), Y: rate(t.Asked)})
	}
	line, err := plotter.NewLine(diagonal)
	if err != nil {
		return fmt.Errorf("pad: plot: %w", err)
	}
	line.Color, line.Dashes = color.Gray{150}, []vg.Length{3, 3}
	errorsOf.Add(line)
	errorsOf.Legend.Add("APCER as asked for", line)
	times, err := b.panel("time until a living person is let in", "seconds", same, []series{
		{"median", func(t Trial) float64 { return t.Median }}, {"95th percentile", func(t Trial) float64 { return t.Late }},
	})
	if err != nil {
		return fmt.Errorf("pad: plot: %w", err)
	}
	errorsOf.Draw(draw.Crop(whole, margin, -side-margin, margin, -margin))
	times.Draw(draw.Crop(whole, side+margin, -margin, margin, -margin))
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("pad: write the plot: %w", err)
	}
	return nil
}

type series struct {
	name string
	of   func(Trial) float64
}

// panel draws series over what was asked for, solid, and Fixed as a dashed line across.
func (b Bounds) panel(title, unit string, scale func(float64) float64, all []series) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 11
	p.X.Label.Text, p.Y.Label.Text = "rate of accepted attacks that is asked for, %", unit
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size, a.Padding = 10, 8, 0
	}
	p.Legend.Top = true
	p.Legend.TextStyle.Font.Size = 9
	p.Legend.XOffs, p.Legend.YOffs = -6, -6
	p.Add(plotter.NewGrid())
	first, last := 100*b.Trials[0].Asked, 100*b.Trials[len(b.Trials)-1].Asked
	top := 0.0
	for i, s := range all {
		var points plotter.XYs
		for _, t := range b.Trials {
			if v := scale(s.of(t)); !math.IsNaN(v) {
				points = append(points, plotter.XY{X: 100 * t.Asked, Y: v})
				top = max(top, v)
			}
		}
		if len(points) > 0 {
			line, dots, err := plotter.NewLinePoints(points)
			if err != nil {
				return nil, err
			}
			line.Color, line.Width = palette(i), 1.2
			dots.GlyphStyle = draw.GlyphStyle{Color: palette(i), Radius: 2.5, Shape: draw.CircleGlyph{}}
			p.Add(line, dots)
			p.Legend.Add(s.name, line, dots)
		}
		if v := scale(s.of(b.Fixed)); !math.IsNaN(v) {
			line, err := plotter.NewLine(plotter.XYs{{X: first, Y: v}, {X: last, Y: v}})
			if err != nil {
				return nil, err
			}
			line.Color, line.Dashes = palette(i), []vg.Length{6, 3}
			p.Add(line)
			p.Legend.Add(s.name+", "+label(b.Name), line)
			top = max(top, v)
		}
	}
	// Room for the legend.
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = first, last, 0, max(top*1.45, 1e-3)
	return p, nil
}

// decades are the ticks of rates in percent.
type decades struct{}

func (decades) Ticks(lo, hi float64) (out []plot.Tick) {
	for _, v := range []float64{0.001, 0.01, 0.1, 1, 10, 100} {
		for _, k := range []float64{1, 2, 5} {
			if at := v * k; at >= lo*0.999 && at <= hi*1.001 {
				out = append(out, plot.Tick{Value: at, Label: percent(at / 100)})
			}
		}
	}
	return out
}
