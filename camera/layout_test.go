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
		{"UYVY", layout{format: formatUYVY, width: 2, height: 2},
			[]byte{10, 1, 20, 2, 30, 3, 40, 4},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 30, 40}, {4, 30, 40}}, false, false, 8},
		{"NV12", layout{format: formatNV12, width: 2, height: 2},
			[]byte{1, 2, 3, 4, 10, 20},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 10, 20}, {4, 10, 20}}, false, false, 6},
		{"NV12 with padding", layout{format: formatNV12, width: 2, height: 2, stride: 4},
			[]byte{1, 2, 9, 9, 3, 4, 9, 9, 10, 20},
			[4]sample{{1, 10, 20}, {2, 10, 20}, {3, 10, 20}, {4, 10, 20}}, false, false, 10},
		{"GREY", layout{format: formatGREY, width: 2, height: 2, stride: 3},
			[]byte{1, 2, 9, 3, 4},
			[4]sample{{y: 1}, {y: 2}, {y: 3}, {y: 4}}, true, true, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.lay.view(c.data)
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
			if _, err := c.lay.view(c.data[:c.cutoff]); err != nil {
				t.Errorf("%d bytes: %v", c.cutoff, err)
			}
			if _, err := c.lay.view(c.data[:c.cutoff-1]); !errors.Is(err, errShort) {
				t.Errorf("%d bytes: %v, want %v", c.cutoff-1, err, errShort)
			}
		})
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
		{"negative stride", layout{format: formatNV12, width: 10, height: 2, stride: -10}, errWrongSize},
		{"huge stride", layout{format: formatGREY, width: 10, height: 2, stride: 1 << 31}, errWrongSize},
		{"another format", layout{format: "H264", width: 10, height: 2}, errFormat},
	} {
		if _, err := c.lay.view(data); !errors.Is(err, c.want) {
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
	f.Fuzz(func(t *testing.T, format uint8, width, height, stride int, data []byte) {
		l := layout{format: formats[int(format)%len(formats)], width: width, height: height, stride: stride}
		_ = l.plausible(data)
		m, err := l.view(data)
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
	})
}
