package camera

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// mode is one way to run a device.
type mode struct {
	format        string
	width, height int
	fps           float64 // 0 where the driver names none
}

// rank sorts what a device offers by how well it suits, best first. What can't be decoded is left out.
func rank(offers []FormatInfo, o *Options) []mode {
	var modes []mode
	for _, f := range offers {
		if is := canonical(f.FourCC); !slices.Contains(formats, is) || o.Format != "" && is != o.Format {
			continue
		}
		sizes := f.Sizes
		if len(sizes) == 0 { // a driver that doesn't tell takes what it is asked for, or says what it takes instead
			sizes = []SizeInfo{{Width: o.Width, Height: o.Height}}
		}
		for _, s := range sizes {
			modes = append(modes, mode{f.FourCC, s.Width, s.Height, pickRate(s.FPS, o.FPS)})
		}
	}
	slices.SortStableFunc(modes, func(a, b mode) int { return cmp.Compare(penalty(a, o), penalty(b, o)) })
	return modes
}

// canonical takes the two names that drivers have for JPEG frames for one, and a name without the blanks at its end.
func canonical(fourCC string) string {
	if fourCC == "JPEG" {
		return formatMJPG
	}
	return strings.TrimRight(fourCC, " ")
}

// pickRate gives the lowest rate that is enough, because more costs bandwidth and light, else the highest.
func pickRate(rates []float64, want float64) float64 {
	best := 0.0
	for _, r := range rates {
		enough, was := r >= want*0.99, best >= want*0.99
		if enough && (!was || r < best) || !enough && !was && r > best {
			best = r
		}
	}
	return best
}

// penalty is 0 for the very thing that is wanted. A size step (a quarter of the pixels missing) weighs about as much
// as a rate that falls short by half; the format only decides between modes that are otherwise alike.
func penalty(m mode, o *Options) float64 {
	p := 0.0
	area, want := float64(m.width)*float64(m.height), float64(o.Width)*float64(o.Height)
	switch {
	case m.width == o.Width && m.height == o.Height:
	case m.width >= o.Width && m.height >= o.Height:
		p += 1 + 3*math.Log2(area/want) // costs decoding, loses nothing
	default:
		p += 3 + 4*math.Abs(math.Log2(area/want))
	}
	switch {
	case m.fps == 0:
		p++
	case m.fps < o.FPS*0.99:
		p += 10 * (1 - m.fps/o.FPS)
	}
	is := canonical(m.format)
	p += 0.03 * float64(slices.Index(formats, is))
	if gray(is) && !gray(o.Format) {
		p += 6 // colour tells much about what is live
	}
	return p
}

// usualSizes stand for a range of sizes.
var usualSizes = [][2]int{{160, 120}, {176, 144}, {320, 240}, {352, 288}, {640, 360}, {640, 480}, {800, 600}, {960, 540},
	{1024, 768}, {1280, 720}, {1280, 960}, {1920, 1080}, {2560, 1440}, {3840, 2160}}

// sizeRange is a driver's range of sizes; a step of 0 or 1 is any size.
type sizeRange struct{ minW, maxW, stepW, minH, maxH, stepH uint32 }

func (r sizeRange) usual() [][2]int {
	fits := func(v, low, high, step uint32) bool { return v >= low && v <= high && (step < 2 || (v-low)%step == 0) }
	var sizes [][2]int
	for _, s := range append([][2]int{{int(r.minW), int(r.minH)}}, append(usualSizes, [2]int{int(r.maxW), int(r.maxH)})...) {
		w, h := uint32(s[0]), uint32(s[1])
		if w > 0 && h > 0 && fits(w, r.minW, r.maxW, r.stepW) && fits(h, r.minH, r.maxH, r.stepH) && !slices.Contains(sizes, s) {
			sizes = append(sizes, s)
		}
	}
	return sizes
}
