package camera

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
)

// off is how far samples are from what they should be.
type off struct {
	most int
	mean float64
}

// compare looks at each sample of a plane.
func compare(p frame.Plane, w, h int, want []byte) (o off) {
	sum := 0
	for y := range h {
		for x := range w {
			d := int(p.At(x, y)) - int(want[y*w+x])
			d = max(d, -d)
			o.most = max(o.most, d)
			sum += d
		}
	}
	o.mean = float64(sum) / float64(w*h)
	return o
}

// What ffmpeg made of a picture, in each format, against the planes that ffmpeg made of it: see testdata/formats/make.sh. Formats
// that are views must not differ at all; the limits of the others are what was measured, rounded up. RGB is rounded by both; where
// there are more than 8 bits, ours cuts off what ffmpeg rounds.
func TestFormatsAreWhatAnotherProgramMeansByThem(t *testing.T) {
	const w, h = 40, 30
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "formats", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	exact, cut, rounded := off{}, off{1, 0.31}, off{1, 0.015}
	for _, c := range []struct {
		file, format, want string
		full               bool
		luma, chroma       off
	}{
		{"YUYV", formatYUYV, "422", false, exact, exact},
		{"UYVY", formatUYVY, "422", false, exact, exact},
		{"YVYU", formatYVYU, "422", false, exact, exact},
		{"NV12", formatNV12, "420", false, exact, exact},
		{"NV21", formatNV21, "420", false, exact, exact},
		{"YU12", formatYU12, "420", false, exact, exact},
		{"YV12", formatYV12, "420", false, exact, exact},
		{"RGB3", formatRGB3, "jpeg", true, rounded, rounded},
		{"BGR3", formatBGR3, "jpeg", true, rounded, rounded},
		{"GREY", formatGREY, "grey", true, exact, exact},
		{"Y10", formatY10, "grey", true, cut, exact},
		{"Y16", formatY16, "grey", true, cut, exact},
		{"Y16.12", formatY16, "grey", true, cut, exact},
	} {
		t.Run(c.file, func(t *testing.T) {
			l := layout{format: c.format, width: w, height: h}
			data, want := read(c.file), read(c.want+".planes")
			if err := l.plausible(data); err != nil {
				t.Fatal(err)
			}
			m, err := l.view(data, new(room))
			if err != nil {
				t.Fatal(err)
			}
			if m.Full != c.full || m.Gray() != (c.want == "grey") {
				t.Errorf("full range %v, gray %v", m.Full, m.Gray())
			}
			luma := compare(m.Y, w, h, want)
			t.Logf("Y off by %d at most, %.3f on average", luma.most, luma.mean)
			if luma.most > c.luma.most || luma.mean > c.luma.mean {
				t.Errorf("Y is off by %+v, allowed is %+v", luma, c.luma)
			}
			if m.Gray() {
				return
			}
			cw, ch := w>>m.ShiftX, h>>m.ShiftY
			for i, p := range []frame.Plane{m.U, m.V} {
				chroma := compare(p, cw, ch, want[w*h+i*cw*ch:])
				t.Logf("%c off by %d at most, %.3f on average", "UV"[i], chroma.most, chroma.mean)
				if chroma.most > c.chroma.most || chroma.mean > c.chroma.mean {
					t.Errorf("%c is off by %+v, allowed is %+v", "UV"[i], chroma, c.chroma)
				}
			}
		})
	}
}
