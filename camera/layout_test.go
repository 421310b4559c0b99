package camera

import (
	"errors"
	"testing"
)

func TestRawBytesBecomePlanes(t *testing.T) {
	// Two rows of two pixels each, with four bytes of padding at the end of each line where there is a stride.
	type sample struct{ y, u, v byte }
	for _, c := range []struct {
		name   string
		lay    layout
		data   []byte
		want   [4]sample // pixels (0,0) (1,0) (0,1) (1,1)
		gray   bool
		full   bool
		cutoff int // so many bytes are enough, one less isn't
	}{
		{"YUYV", layout{format: formatYUYV, width: 2, height: 2},
			[]byte{1, 10, 2, 20, 3, 30, 4, 40},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 30, 40}, {4, 30, 40}}, false, false, 8},
		{"YUYV with padding", layout{format: formatYUYV, width: 2, height: 2, stride: 8},
			[]byte{1, 10, 2, 20, 9, 9, 9, 9, 3, 30, 4, 40},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 30, 40}, {4, 30, 40}}, false, false, 12},
		{"YUYV of full range", layout{format: formatYUYV, width: 2, height: 2, full: true},
			[]byte{1, 10, 2, 20, 3, 30, 4, 40},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 30, 40}, {4, 30, 40}}, false, true, 8},
		{"GREY of a video's range", layout{format: formatGREY, width: 2, height: 2, limited: true},
			[]byte{1, 2, 3, 4}, [4]sample{{y: 1}, {y: 2}, {y: 3}, {y: 4}}, true, false, 4},
		{"Y10 of a video's range", layout{format: formatY10, width: 2, height: 2, limited: true},
			[]byte{4, 0, 8, 0, 12, 0, 16, 0}, [4]sample{{y: 1}, {y: 2}, {y: 3}, {y: 4}}, true, false, 8},
		{"UYVY", layout{format: formatUYVY, width: 2, height: 2},
			[]byte{10, 1, 20, 2, 30, 3, 40, 4},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 30, 40}, {4, 30, 40}}, false, false, 8},
		{"NV12", layout{format: formatNV12, width: 2, height: 2},
			[]byte{1, 2, 3, 4, 10, 20},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 10, 20}, {4, 10, 20}}, false, false, 6},
		{"NV12 with padding", layout{format: formatNV12, width: 2, height: 2, stride: 4},
			[]byte{1, 2, 9, 9, 3, 4, 9, 9, 10, 20},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 10, 20}, {4, 10, 20}}, false, false, 10},
		{"YVYU", layout{format: formatYVYU, width: 2, height: 2},
			[]byte{1, 20, 2, 10, 3, 40, 4, 30},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 30, 40}, {4, 30, 40}}, false, false, 8},
		{"NV21", layout{format: formatNV21, width: 2, height: 2},
			[]byte{1, 2, 3, 4, 20, 10},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 10, 20}, {4, 10, 20}}, false, false, 6},
		{"YU12", layout{format: formatYU12, width: 2, height: 2},
			[]byte{1, 2, 3, 4, 10, 20},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 10, 20}, {4, 10, 20}}, false, false, 6},
		{"YV12 with padding", layout{format: formatYV12, width: 2, height: 2, stride: 4},
			[]byte{1, 2, 9, 9, 3, 4, 9, 9, 20, 9, 10},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 10, 20}, {4, 10, 20}}, false, false, 11},
		{"RGB3 with padding", layout{format: formatRGB3, width: 2, height: 2, stride: 8},
			[]byte{255, 0, 0, 255, 0, 0, 9, 9, 255, 0, 0, 255, 0, 0},
			[4]sample{{76, 85, 255}, {76, 85, 255}, {76, 85, 255}, {76, 85, 255}}, false, true, 14},
		{"BGR3", layout{format: formatBGR3, width: 2, height: 2},
			[]byte{255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0},
			[4]sample{{255, 128, 128}, {0, 128, 128}, {255, 128, 128}, {0, 128, 128}}, false, true, 12},
		{"Y10", layout{format: formatY10, width: 2, height: 2, stride: 6},
			[]byte{0xff, 0x03, 0x04, 0x02, 9, 9, 0x03, 0x00, 0x00, 0x10},
			[4]sample{{y: 255}, {y: 129}, {y: 0}, {y: 255}}, true, true, 10},
		{"Y16", layout{format: formatY16, width: 2, height: 2},
			[]byte{0xff, 0xff, 0x04, 0x02, 0x03, 0x01, 0xff, 0x10},
			[4]sample{{y: 255}, {y: 2}, {y: 1}, {y: 16}}, true, true, 8},
		{"Y16 of 12 bits", layout{format: formatY16, width: 2, height: 2},
			[]byte{0xff, 0x0f, 0x04, 0x02, 0x03, 0x01, 0xff, 0x00},
			[4]sample{{y: 255}, {y: 32}, {y: 16}, {y: 15}}, true, true, 8},
		{"GREY", layout{format: formatGREY, width: 2, height: 2, stride: 3},
			[]byte{1, 2, 9, 3, 4},
			[4]sample{{y: 1}, {y: 2}, {y: 3}, {y: 4}}, true, true, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.lay.view(c.data, new(room))
			if err != nil {
				t.Fatal(err)
			}
			if m.Gray() != c.gray || m.Full != c.full {
				t.Errorf("gray %v, full range %v", m.Gray(), m.Full)
			}
			for i, want := range c.want {
				x, y := i%2, i/2
				got := sample{y: m.Y.Pix[y*m.Y.Stride+x*m.Y.Step]}
				if !m.Gray() {
					cx, cy := x>>m.ShiftX, y>>m.ShiftY
					got.u, got.v = m.U.Pix[cy*m.U.Stride+cx*m.U.Step], m.V.Pix[cy*m.V.Stride+cx*m.V.Step]
				}
				if got != want {
					t.Errorf("pixel (%d,%d) is %v, want %v", x, y, got, want)
				}
			}
			if _, err := c.lay.view(c.data[:c.cutoff], new(room)); err != nil {
				t.Errorf("%d bytes: %v", c.cutoff, err)
			}
			if _, err := c.lay.view(c.data[:c.cutoff-1], new(room)); !errors.Is(err, errShort) {
				t.Errorf("%d bytes: %v, want %v", c.cutoff-1, err, errShort)
			}
		})
	}
}

func TestDepthOfY16IsWhatItsSamplesNeededSoFar(t *testing.T) {
	l, r := layout{format: formatY16, width: 1, height: 1}, new(room)
	look := func(v int) byte {
		m, err := l.view([]byte{byte(v), byte(v >> 8)}, r)
		if err != nil {
			t.Fatal(err)
		}
		return m.Y.Pix[0]
	}
	for _, c := range []struct {
		sample int
		want   byte
	}{{40, 10}, {1023, 255}, {1024, 64}, {1023, 63}, {1 << 12, 64}, {1 << 15, 128}, {1023, 3}} {
		if got := look(c.sample); got != c.want {
			t.Errorf("%d is %d, want %d", c.sample, got, c.want)
		}
	}
	l.device = "another"
	if got := look(1023); got != 255 {
		t.Errorf("of another camera 1023 is %d, want 255", got)
	}
}

func TestLayoutsThatCannotBeAreRefused(t *testing.T) {
	data := make([]byte, 1000)
	for _, c := range []struct {
		name string
		lay  layout
		want error
	}{
		{"no width", layout{format: formatGREY, height: 4}, errWrongSize},
		{"negative height", layout{format: formatGREY, width: 4, height: -4}, errWrongSize},
		{"a line shorter than its pixels", layout{format: formatYUYV, width: 10, height: 2, stride: 19}, errWrongSize},
		{"a line of RGB shorter than its pixels", layout{format: formatRGB3, width: 10, height: 2, stride: 29}, errWrongSize},
		{"negative stride", layout{format: formatNV12, width: 10, height: 2, stride: -10}, errWrongSize},
		{"huge stride", layout{format: formatGREY, width: 10, height: 2, stride: 1 << 30}, errWrongSize},
		{"another format", layout{format: "H264", width: 10, height: 2}, errFormat},
	} {
		if _, err := c.lay.view(data, new(room)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzRawFrame(f *testing.F) {
	for i := range formats {
		f.Add(uint8(i), 4, 4, 0, make([]byte, 64))
		f.Add(uint8(i), 3, 5, 16, make([]byte, 64))
		f.Add(uint8(i), 1, 1, 1, []byte{1})
	}
	f.Add(uint8(1), -1, 1<<30, 1<<30, []byte{})
	f.Add(uint8(11), 1, 1, 17, []byte{0xaf}) // half a sample of Y16
	f.Fuzz(func(t *testing.T, format uint8, width, height, stride int, data []byte) {
		l := layout{format: formats[int(format)%len(formats)], width: width, height: height, stride: stride}
		_ = l.plausible(data)
		m, err := l.view(data, new(room))
		if err != nil {
			return
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		if m.Width != width || m.Height != height {
			t.Fatalf("%d×%d became %d×%d", width, height, m.Width, m.Height)
		}
		// The last pixel is the one that would lie outside.
		m.RGB(width-1, height-1)
		m.RGB(0, 0)
		for i, o := range []Options{{Rotate: 90}, {Rotate: 180, Mirror: true}, {Rotate: 270, Region: Region{0.25, 0.1, 0.5, 0.6}}} {
			v, _, err := o.see(m)
			if err != nil {
				continue // too small for the region
			}
			if err := v.Check(); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			v.RGB(v.Width-1, v.Height-1)
			v.RGB(0, v.Height-1)
			p, _ := v.Plain()
			if err := p.Check(); err != nil {
				t.Fatalf("%d, plain: %v", i, err)
			}
		}
	})
}
