package camera

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"slices"
	"testing"

	"github.com/livenessd/livenessd/camera/jpeg"
)

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodesStills(t *testing.T) {
	deep := image.NewNRGBA64(image.Rect(0, 0, 5, 3))
	deep.Set(4, 2, color.NRGBA64{0xffff, 0, 0, 0xffff})
	cmyk, err := os.ReadFile("testdata/cmyk.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data []byte
		w, h int
	}{
		{"JPEG", encode(t, 33, 21), 33, 21},
		{"JPEG of one pixel", encode(t, 1, 1), 1, 1},
		{"CMYK JPEG", cmyk, 16, 16},
		{"PNG", pngOf(t, image.NewRGBA(image.Rect(0, 0, 9, 7))), 9, 7},
		{"PNG of 16 bits", pngOf(t, deep), 5, 3},
		{"gray PNG", pngOf(t, image.NewGray(image.Rect(0, 0, 1, 1))), 1, 1},
		{"20 megapixels", pngOf(t, image.NewGray(image.Rect(0, 0, 5472, 3648))), 5472, 3648},
	} {
		m, err := DecodeStill(c.data)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err := m.Check(); err != nil || m.Width != c.w || m.Height != c.h {
			t.Errorf("%s: %d×%d, %v", c.name, m.Width, m.Height, err)
		}
	}
	m, err := DecodeStill(pngOf(t, deep))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b := m.RGB(4, 2); r < 250 || g > 5 || b > 5 {
		t.Errorf("red became %d, %d, %d", r, g, b)
	}
}

func TestRefusesWhatIsNoStill(t *testing.T) {
	picture := encode(t, 64, 64)
	huge := pngOf(t, image.NewGray(image.Rect(0, 0, 8, 8)))
	copy(huge[16:], []byte{0, 0, 0x40, 0, 0, 0, 0x40, 0}) // 16384×16384; the checksum is wrong now, too
	for _, c := range []struct {
		name string
		data []byte
		want error // nil is any
	}{
		{"nothing", nil, nil},
		{"text", []byte("hello"), nil},
		{"truncated JPEG", picture[:len(picture)/2], jpeg.ErrTruncated},
		{"truncated PNG", pngOf(t, image.NewGray(image.Rect(0, 0, 50, 50)))[:60], nil},
		{"PNG signature alone", []byte("\x89PNG\r\n\x1a\n"), nil},
		{"huge PNG", huge, nil},
	} {
		m, err := DecodeStill(c.data)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %d×%d, %v", c.name, m.Width, m.Height, err)
		}
	}
	if _, err := DecodeStill(pngOf(t, image.NewGray(image.Rect(0, 0, 16384, 4000)))); !errors.Is(err, jpeg.ErrTooLarge) {
		t.Errorf("65 megapixels: %v", err)
	}
}

func TestSplitsClips(t *testing.T) {
	a, b := encode(t, 16, 16), encode(t, 24, 8)
	thumb := append([]byte{0xff, 0xd8, 0xff, 0xe1, byte((len(b) + 2) >> 8), byte(len(b) + 2)}, b...)
	thumb = append(thumb, a[2:]...)
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	half := a[:len(a)-20]
	for _, c := range []struct {
		name string
		clip []byte
		want [][]byte
	}{
		{"nothing", nil, nil},
		{"text", []byte("no pictures here"), nil},
		{"one", a, [][]byte{a}},
		{"one after the other", join(a, b, a), [][]byte{a, b, a}},
		{"between other bytes", join([]byte("--frame\r\n\r\n"), a, []byte("\r\n\xff\xd8--frame\r\n"), b, []byte("00dc")), [][]byte{a, b}},
		{"picture inside a picture", join(thumb, b), [][]byte{thumb, b}},
		{"cut off before the next", join(half, b), [][]byte{half, b}},
		{"cut off at the end", join(b, half), [][]byte{b, half}},
		{"cut off in the header", join(a[:30], b), [][]byte{b}},
		{"start marker alone", []byte{0xff, 0xd8, 0xff}, nil},
	} {
		got := SplitMJPEG(c.clip)
		if !slices.EqualFunc(got, c.want, bytes.Equal) {
			t.Errorf("%s: %d pictures, want %d", c.name, len(got), len(c.want))
		}
	}
}

func FuzzSplitMJPEG(f *testing.F) {
	a := encode(f, 16, 16)
	f.Add(a)
	f.Add(append(append([]byte("x"), a...), a[:100]...))
	f.Add([]byte{0xff, 0xd8, 0xff, 0xda, 0, 2, 1, 0xff, 0xd8, 0xff})
	f.Fuzz(func(t *testing.T, clip []byte) {
		rest := clip
		for _, p := range SplitMJPEG(clip) {
			if !bytes.HasPrefix(p, []byte{0xff, 0xd8, 0xff}) {
				t.Fatalf("a picture begins with % x", p[:min(3, len(p))])
			}
			i := bytes.Index(rest, p)
			if i < 0 {
				t.Fatal("pictures overlap, or aren't in order")
			}
			rest = rest[i+len(p):]
		}
	})
}

func FuzzDecodeStill(f *testing.F) {
	f.Add(encode(f, 16, 16))
	f.Add(pngOf(f, image.NewGray(image.Rect(0, 0, 5, 5))))
	f.Add(pngOf(f, image.NewNRGBA64(image.Rect(0, 0, 3, 2))))
	f.Add([]byte("GIF89a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if w, h, err := jpeg.Size(data); err == nil && w*h > 1<<20 {
			return // decodes, slowly
		}
		if cfg, err := png.DecodeConfig(bytes.NewReader(data)); err == nil && cfg.Width > (1<<20)/max(cfg.Height, 1) {
			return
		}
		m, err := DecodeStill(data)
		if err != nil {
			return
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
	})
}
