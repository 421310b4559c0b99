package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
)

// tolerance between decoders, in steps of a sample: their inverse transforms round differently.
const tolerance = 2

func decoders(t testing.TB) map[string]*Decoder {
	t.Helper()
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	ds := map[string]*Decoder{"golang": {DefaultMaxPixels, golang{}}}
	if Backend != "image/jpeg" {
		ds[Backend] = d
	}
	return ds
}

// encode gives a picture with edges and colour, 4:2:0.
func encode(t testing.TB, w, h, quality int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x * 5), uint8(y * 3), uint8((x*x + y*y) / 40), 255})
		}
	}
	return encodeImage(t, m, quality)
}

func encodeImage(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, m, &stdjpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gray(t testing.TB, w, h int) []byte {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 7)
	}
	return encodeImage(t, m, 85)
}

// withoutTables leaves out the DHT segments, as many webcams do.
func withoutTables(t testing.TB, src []byte) []byte {
	t.Helper()
	out := bytes.Clone(src[:2])
	for at := 2; ; {
		n := 2 + int(src[at+2])<<8 + int(src[at+3])
		if src[at+1] == mSOS {
			return append(out, src[at:]...)
		}
		if src[at+1] != mDHT {
			out = append(out, src[at:at+n]...)
		}
		at += n
	}
}

// flat encodes a picture of flat 8×8 blocks with any sampling factors, without tables. The blocks of component c
// in coding order have the values that value gives.
func flat(w, h int, factors []byte, value func(c, n int) int) []byte {
	out := []byte{0xff, mSOI, 0xff, 0xdb, 0, 67, 0}
	for range 64 {
		out = append(out, 8) // a DC step is one level
	}
	n := len(factors)
	out = append(out, 0xff, mSOF0, 0, byte(8+3*n), 8, byte(h>>8), byte(h), byte(w>>8), byte(w), byte(n))
	hMax, vMax := 1, 1
	for i, f := range factors {
		out = append(out, byte(i+1), f, 0)
		hMax, vMax = max(hMax, int(f>>4)), max(vMax, int(f&15))
	}
	out = append(out, 0xff, mSOS, 0, byte(6+2*n), byte(n))
	for i := range factors {
		out = append(out, byte(i+1), 0)
	}
	out = append(out, 0, 63, 0)

	// Codes of the DC and AC luminance tables of T.81 K.3: sizes 0…8, and the end of a block.
	codes := []string{"00", "010", "011", "100", "101", "110", "1110", "11110", "111110"}
	var acc, bitsIn uint
	put := func(code string) {
		for _, c := range code {
			acc = acc<<1 | uint(c-'0')
			if bitsIn++; bitsIn == 8 {
				if out = append(out, byte(acc)); byte(acc) == 0xff {
					out = append(out, 0)
				}
				acc, bitsIn = 0, 0
			}
		}
	}
	last, count := make([]int, n), make([]int, n)
	blocks := func(c, k int) {
		for range k {
			v := value(c, count[c]) - 128
			count[c]++
			d := v - last[c]
			last[c] = v
			size, mag := 0, d
			for a := max(d, -d); a > 0; a >>= 1 {
				size++
			}
			if d < 0 {
				mag = d + 1<<size - 1
			}
			put(codes[size])
			if size > 0 {
				put(fmt.Sprintf("%0*b", size, mag))
			}
			put("1010")
		}
	}
	up := func(a, b int) int { return (a + b - 1) / b }
	if n == 1 {
		blocks(0, up(w, 8)*up(h, 8))
	} else {
		for range up(w, 8*hMax) * up(h, 8*vMax) {
			for c, f := range factors {
				blocks(c, int(f>>4)*int(f&15))
			}
		}
	}
	for bitsIn != 0 {
		put("1")
	}
	return append(out, 0xff, mEOI)
}

func value(c, n int) int { return 40 + 50*c + n*13%97 }

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// worst gives the largest difference of any sample.
func worst(a, b *frame.Image) int {
	w := 0
	plane := func(p, q frame.Plane, width, height int) {
		for y := range height {
			for x := range width {
				d := int(p.Pix[y*p.Stride+x*p.Step]) - int(q.Pix[y*q.Stride+x*q.Step])
				w = max(w, d, -d)
			}
		}
	}
	plane(a.Y, b.Y, a.Width, a.Height)
	if !a.Gray() {
		cw, ch := (a.Width+1<<a.ShiftX-1)>>a.ShiftX, (a.Height+1<<a.ShiftY-1)>>a.ShiftY
		plane(a.U, b.U, cw, ch)
		plane(a.V, b.V, cw, ch)
	}
	return w
}

type picture struct {
	name           string
	src            []byte
	w, h           int
	gray           bool
	shiftX, shiftY uint8
}

func pictures(t testing.TB) []picture {
	ps := []picture{
		{"camera size", encode(t, 640, 480, 90), 640, 480, false, 1, 1},
		{"odd size", encode(t, 101, 67, 80), 101, 67, false, 1, 1},
		{"one pixel", encode(t, 1, 1, 90), 1, 1, false, 1, 1},
		{"one column", encode(t, 1, 99, 90), 1, 99, false, 1, 1},
		{"gray", gray(t, 64, 48), 64, 48, true, 0, 0},
		{"gray of odd size", gray(t, 33, 17), 33, 17, true, 0, 0},
		{"without Huffman tables", withoutTables(t, encode(t, 160, 120, 75)), 160, 120, false, 1, 1},
		{"gray without Huffman tables", withoutTables(t, gray(t, 31, 9)), 31, 9, true, 0, 0},
		{"progressive", testdata(t, "progressive.jpg"), 53, 37, false, 1, 1},
		{"bytes after the end", append(encode(t, 32, 32, 90), make([]byte, 100)...), 32, 32, false, 1, 1},
		{"gray with sampling factors", flat(19, 21, []byte{0x22}, value), 19, 21, true, 0, 0},
	}
	src := encode(t, 48, 48, 90)
	src = append(src[:len(src)-2:len(src)-2], 0, 0, 0, 0xff, mEOI)
	ps = append(ps, picture{"padding before the end", src, 48, 48, false, 1, 1})
	for _, s := range []struct {
		name           string
		luma           byte
		shiftX, shiftY uint8
	}{{"4:4:4", 0x11, 0, 0}, {"4:2:2", 0x21, 1, 0}, {"4:2:0", 0x22, 1, 1}, {"4:4:0", 0x12, 0, 1}, {"4:1:1", 0x41, 2, 0}} {
		for _, size := range [][2]int{{64, 32}, {67, 35}, {1, 1}} {
			ps = append(ps, picture{fmt.Sprintf("%s of %d×%d", s.name, size[0], size[1]),
				flat(size[0], size[1], []byte{s.luma, 0x11, 0x11}, value), size[0], size[1], false, s.shiftX, s.shiftY})
		}
	}
	return ps
}

func TestDecodesWhatCamerasSend(t *testing.T) {
	for name, d := range decoders(t) {
		var buf []byte
		for _, p := range pictures(t) {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				m, b, err := d.Decode(buf, p.src)
				buf = b
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Check(); err != nil {
					t.Fatal(err)
				}
				if m.Width != p.w || m.Height != p.h || m.Gray() != p.gray || m.ShiftX != p.shiftX || m.ShiftY != p.shiftY || !m.Full {
					t.Errorf("got %d×%d gray %v shifts %d,%d full %v", m.Width, m.Height, m.Gray(), m.ShiftX, m.ShiftY, m.Full)
				}
				if w, h, err := Size(p.src); w != p.w || h != p.h || err != nil {
					t.Errorf("Size gives %d×%d, %v", w, h, err)
				}
			})
		}
	}
}

func TestFlatBlocksKeepTheirValues(t *testing.T) {
	for name, d := range decoders(t) {
		m, _, err := d.Decode(nil, flat(32, 16, []byte{0x21, 0x11, 0x11}, value))
		if err != nil {
			t.Fatal(name, err)
		}
		// One row of two MCUs above another: blocks 0…3 lie in the first row.
		for n := range 4 {
			if got := int(m.Y.Pix[4*m.Y.Stride+8*n+4]); got != value(0, n) {
				t.Errorf("%s: block %d has luma %d, want %d", name, n, got, value(0, n))
			}
		}
		if u, v := int(m.U.Pix[12]), int(m.V.Pix[12]); u != value(1, 1) || v != value(2, 1) {
			t.Errorf("%s: second block has chroma %d, %d, want %d, %d", name, u, v, value(1, 1), value(2, 1))
		}
	}
}

func TestDecodersAgree(t *testing.T) {
	ds := decoders(t)
	if len(ds) < 2 {
		t.Skip("this build has one decoder (cgo is off)")
	}
	for _, p := range pictures(t) {
		a, _, err := ds["golang"].Decode(nil, p.src)
		if err != nil {
			t.Fatal(p.name, err)
		}
		b, _, err := ds[Backend].Decode(nil, p.src)
		if err != nil {
			t.Fatal(p.name, err)
		}
		if w := worst(&a, &b); w > tolerance {
			t.Errorf("%s: samples differ by up to %d, more than %d", p.name, w, tolerance)
		}
	}
}

func TestInsertedTablesAreTheOnesThatWereLeftOut(t *testing.T) {
	src := encode(t, 96, 80, 60)
	for name, d := range decoders(t) {
		a, _, err := d.Decode(nil, src)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := d.Decode(nil, withoutTables(t, src))
		if err != nil {
			t.Fatal(err)
		}
		if w := worst(&a, &b); w != 0 {
			t.Errorf("%s: differs by %d", name, w)
		}
	}
}

func TestRefusesWhatIsNoWholePicture(t *testing.T) {
	whole := encode(t, 64, 64, 90)
	_, sos, _ := bytes.Cut(whole, []byte{0xff, mSOS})
	patch := func(src []byte, marker byte, at int, to ...byte) []byte {
		src = bytes.Clone(src)
		copy(src[bytes.Index(src, []byte{0xff, marker})+at:], to)
		return src
	}
	adobe := append([]byte{0xff, mSOI, 0xff, mAPP14, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0}, whole[2:]...)
	middle := append(bytes.Clone(whole[:len(whole)-len(sos)/2]), 0xff, mEOI)
	many := bytes.Clone(whole)
	for range maxScans {
		many = append(many, 0xff, mSOS)
	}
	many = append(many, 0xff, mEOI)
	for _, c := range []struct {
		name string
		src  []byte
		want []error
	}{
		{"nothing", nil, []error{ErrNotJPEG}},
		{"text", []byte("<html>"), []error{ErrNotJPEG}},
		{"PNG", []byte("\x89PNG\r\n\x1a\n"), []error{ErrNotJPEG}},
		{"start alone", whole[:2], []error{ErrTruncated}},
		{"cut in the header", whole[:100], []error{ErrTruncated}},
		{"cut in the samples", whole[:len(whole)/2], []error{ErrTruncated}},
		{"last byte missing", whole[:len(whole)-1], []error{ErrTruncated}},
		{"samples missing before the end", middle, []error{ErrTruncated, ErrCorrupt}},
		{"end before the scan", append(bytes.Clone(whole[:2]), 0xff, mEOI), []error{ErrCorrupt}},
		{"garbage after the start", append(bytes.Clone(whole[:2]), "garbage"...), []error{ErrCorrupt}},
		{"64000×64000", patch(whole, mSOF0, 5, 0xfa, 0, 0xfa, 0), []error{ErrTooLarge}},
		{"16000×16000", patch(whole, mSOF0, 5, 0x3e, 0x80, 0x3e, 0x80), []error{ErrTooLarge}},
		{"no width", patch(whole, mSOF0, 7, 0, 0), []error{ErrCorrupt}},
		{"no height", patch(whole, mSOF0, 5, 0, 0), []error{ErrUnsupported}},
		{"12 bits", patch(whole, mSOF0, 4, 12), []error{ErrUnsupported}},
		{"lossless", patch(whole, mSOF0, 1, 0xc3), []error{ErrUnsupported}},
		{"arithmetic coding", patch(whole, mSOF0, 1, 0xc9), []error{ErrUnsupported}},
		{"RGB", adobe, []error{ErrUnsupported}},
		{"CMYK", flat(32, 32, []byte{0x11, 0x11, 0x11, 0x11}, value), []error{ErrUnsupported}},
		{"colours sampled apart", flat(32, 32, []byte{0x22, 0x11, 0x21}, value), []error{ErrUnsupported}},
		{"three to one", flat(48, 32, []byte{0x31, 0x11, 0x11}, value), []error{ErrUnsupported}},
		{"too many scans", many, []error{ErrUnsupported}},
	} {
		for name, d := range decoders(t) {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				m, _, err := d.Decode(nil, c.src)
				for _, want := range c.want {
					if errors.Is(err, want) {
						return
					}
				}
				t.Errorf("got %d×%d and error %v, want %v", m.Width, m.Height, err, c.want)
			})
		}
	}
}

func TestMaxPixelsBoundsThePicture(t *testing.T) {
	src := encode(t, 40, 30, 90)
	for _, c := range []struct {
		pixels int
		want   error
	}{{40 * 30, nil}, {40*30 - 1, ErrTooLarge}} {
		d, err := New(Options{MaxPixels: c.pixels})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Decode(nil, src); !errors.Is(err, c.want) {
			t.Errorf("with %d pixels allowed: %v, want %v", c.pixels, err, c.want)
		}
		d.Close()
	}
	if _, err := New(Options{MaxPixels: -1}); err == nil {
		t.Error("a negative bound is accepted")
	}
}

func TestClosedDecoderSaysSo(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := d.Decode(nil, encode(t, 8, 8, 90)); err == nil {
		t.Error("a closed decoder decodes")
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if Backend == "image/jpeg" {
		t.Skip("image/jpeg allocates its pictures")
	}
	d := decoders(t)[Backend]
	src := encode(t, 320, 240, 90)
	var buf []byte
	if n := testing.AllocsPerRun(20, func() { _, buf, _ = d.Decode(buf, src) }); n > 0 {
		t.Errorf("%v allocations a picture", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range pictures(f) {
		if len(p.src) < 10000 {
			f.Add(p.src)
			f.Add(p.src[:len(p.src)*2/3])
		}
	}
	f.Add(flat(32, 32, []byte{0x11, 0x11, 0x11, 0x11}, value))
	f.Add([]byte{0xff, mSOI, 0xff, mEOI})
	ds := decoders(f)
	for _, d := range ds {
		d.maxPixels = 1 << 18
	}
	var buf []byte
	f.Fuzz(func(t *testing.T, src []byte) {
		w, h, sizeErr := Size(src)
		for name, d := range ds {
			m, b, err := d.Decode(buf, src)
			buf = b
			if err != nil {
				continue
			}
			if sizeErr != nil || m.Width != w || m.Height != h {
				t.Errorf("%s: decoded to %d×%d, Size said %d×%d, %v", name, m.Width, m.Height, w, h, sizeErr)
			}
			if err := m.Check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range [][2]int{{640, 480}, {1280, 720}} {
		src := encode(b, size[0], size[1], 85)
		for name, d := range decoders(b) {
			b.Run(fmt.Sprintf("%s/%dx%d", name, size[0], size[1]), func(b *testing.B) {
				b.ReportAllocs()
				var buf []byte
				for b.Loop() {
					var err error
					if _, buf, err = d.Decode(buf, src); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestCompleteGivesWhatBrowsersTake(t *testing.T) {
	whole := encode(t, 64, 48, 90)
	got, err := Complete(whole)
	if err != nil || &got[0] != &whole[0] {
		t.Errorf("a picture with tables is changed: %v", err)
	}
	if got, err = Complete(withoutTables(t, whole)); err != nil {
		t.Fatal(err)
	}
	if _, err := stdjpeg.Decode(bytes.NewReader(got)); err != nil {
		t.Errorf("Go's decoder, which wants tables: %v", err)
	}
	if _, err := Complete(whole[:20]); err == nil {
		t.Error("half a picture is taken")
	}
}
