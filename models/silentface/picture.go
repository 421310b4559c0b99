package silentface

import (
	"bytes"
	"embed"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // of the pictures
	"math"
)

// picture is what the nets look at: side × side pixels of blue, green, red.
type picture [side * side * 3]uint8

// dice are numbers that are the same everywhere and for ever: recorded answers depend on them.
type dice uint32

// below gives a number from 0 to n − 1.
func (d *dice) below(n int) int {
	*d = *d*1664525 + 1013904223
	return int(*d>>16) % n
}

// wave swings between −127 and 127 with a period of 256.
func wave(t int) int {
	t &= 255
	if t > 127 {
		t = 255 - t
	}
	return 2*t - 127
}

// drawn is a picture of waves, a disc and noise, by its number. It is all integers: the same on every processor.
func drawn(number int) picture {
	d := dice(number)
	var base, disc [3]int
	for c := range base {
		base[c] = 20 + d.below(216)
	}
	var waves [3]struct {
		x, y, phase int
		size        [3]int
	}
	for i := range waves {
		w := &waves[i]
		w.x, w.y, w.phase = d.below(25)-12, d.below(25)-12, d.below(256)
		for c := range w.size {
			w.size[c] = d.below(91)
		}
	}
	cx, cy, radius := d.below(side), d.below(side), 8+d.below(32)
	for c := range disc {
		disc[c] = d.below(161) - 80
	}
	noise := d.below(41)
	var p picture
	for y := range side {
		for x := range side {
			for c := range 3 {
				v := base[c] + (d.below(256)-128)*noise>>7
				for _, w := range waves {
					v += w.size[c] * wave(x*w.x+y*w.y+w.phase) >> 7
				}
				if (x-cx)*(x-cx)+(y-cy)*(y-cy) < radius*radius {
					v += disc[c]
				}
				p[(y*side+x)*3+c] = uint8(max(0, min(255, v)))
			}
		}
	}
	return p
}

//go:embed pictures/*.jpg
var photographs embed.FS

// place is a face in one of the photographs, or a spot where there might be one.
type place struct {
	file       string
	x, y, w, h float64
}

// places are what calibration looks at. The photographs are rendered people, live and attacked, and an empty room; they are
// copies of the models' golden pictures, kept apart so that other golden pictures don't change these nets.
var places = [...]place{
	{"live-1.jpg", 141.6, 107.8, 120.3, 142.6},
	{"live-2.jpg", 198.7, 118.5, 89.4, 111.4},
	{"print-1.jpg", 217.8, 122.7, 86.2, 112.8},
	{"replay-1.jpg", 194.2, 121.5, 116.8, 135.5},
	{"empty-1.jpg", 180, 90, 120, 150},
}

// calibration gives the pictures for which the ranges of values are taken: each place as the nets see it, and often again
// nearer, farther, shifted, turned around, darker, brighter, flatter, noisier and in other colours; and drawn ones.
func calibration(scale float64) ([]picture, error) {
	var all []picture
	d := dice(1)
	for _, p := range places {
		data, err := photographs.ReadFile("pictures/" + p.file)
		if err != nil {
			return nil, fmt.Errorf("read calibration picture: %w", err)
		}
		m, _, err := image.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("decode calibration picture %s: %w", p.file, err)
		}
		all = append(all, seen(m, p, scale, look{gain: [3]float64{1, 1, 1}}, &d))
		for range variations {
			all = append(all, seen(m, p.moved(&d), scale*(0.4+float64(d.below(800))/1000), looks(&d), &d))
		}
	}
	for i := range drawings {
		all = append(all, drawn(1000+i))
	}
	return all, nil
}

const (
	variations = 40 // of each place
	drawings   = 40
)

func (p place) moved(d *dice) place {
	p.x += p.w * (float64(d.below(600)) - 300) / 1000
	p.y += p.h * (float64(d.below(600)) - 300) / 1000
	return p
}

// look is how a camera might show the same.
type look struct {
	gain   [3]float64
	offset float64
	noise  int
	mirror bool
}

func looks(d *dice) look {
	l := look{offset: float64(d.below(121) - 60), noise: d.below(30), mirror: d.below(2) == 1}
	contrast := 0.3 + float64(d.below(1300))/1000
	for c := range l.gain {
		l.gain[c] = contrast * (0.8 + float64(d.below(400))/1000)
	}
	return l
}

// seen cuts a place out of a photograph, scale times as large, and squashes it bilinearly; beyond the edge the edge goes on.
func seen(m image.Image, p place, scale float64, l look, d *dice) picture {
	b := m.Bounds()
	s := math.Min(scale, math.Min(float64(b.Dx()-1)/p.w, float64(b.Dy()-1)/p.h))
	x0, y0 := p.x+p.w/2-p.w*s/2, p.y+p.h/2-p.h*s/2
	at := func(x, y int) color.RGBA {
		x, y = max(b.Min.X, min(b.Max.X-1, x)), max(b.Min.Y, min(b.Max.Y-1, y))
		return color.RGBAModel.Convert(m.At(x, y)).(color.RGBA)
	}
	var out picture
	for y := range side {
		for x := range side {
			fx, fy := x0+(float64(x)+0.5)*p.w*s/side, y0+(float64(y)+0.5)*p.h*s/side
			ix, iy := int(math.Floor(fx)), int(math.Floor(fy))
			wx, wy := fx-float64(ix), fy-float64(iy)
			var bgr [3]float64
			for _, t := range [4]struct {
				c color.RGBA
				w float64
			}{{at(ix, iy), (1 - wx) * (1 - wy)}, {at(ix+1, iy), wx * (1 - wy)}, {at(ix, iy+1), (1 - wx) * wy}, {at(ix+1, iy+1), wx * wy}} {
				bgr[0] += t.w * float64(t.c.B)
				bgr[1] += t.w * float64(t.c.G)
				bgr[2] += t.w * float64(t.c.R)
			}
			to := x
			if l.mirror {
				to = side - 1 - x
			}
			for c, v := range bgr {
				v = (v-128)*l.gain[c] + 128 + l.offset
				if l.noise > 0 {
					v += float64(d.below(2*l.noise+1) - l.noise)
				}
				out[(y*side+to)*3+c] = uint8(math.Max(0, math.Min(255, math.Round(v))))
			}
		}
	}
	return out
}
