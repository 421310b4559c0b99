package command

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
)

// exif is a segment that asks for an orientation, in either byte order.
func exif(order binary.AppendByteOrder, magic string, kind, value uint16) []byte {
	b := order.AppendUint32([]byte("Exif\x00\x00"+magic), 8)
	b = order.AppendUint16(b, 2)
	for _, e := range [][3]uint16{{0x0100, 3, 640}, {0x0112, kind, value}} {
		b = order.AppendUint16(order.AppendUint16(b, e[0]), e[1])
		b = order.AppendUint16(order.AppendUint16(order.AppendUint32(b, 1), e[2]), 0)
	}
	return append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+len(b))), b...)
}

// with puts a segment in front of a JPEG's others.
func with(jpg, segment []byte) []byte { return bytes.Join([][]byte{jpg[:2], segment, jpg[2:]}, nil) }

func TestOrientationsOfFiles(t *testing.T) {
	plain := plainJPEG(t, 8, 8)
	little, big := binary.AppendByteOrder(binary.LittleEndian), binary.AppendByteOrder(binary.BigEndian)
	comment := []byte{0xff, 0xfe, 0, 4, 'h', 'i'}
	other := append([]byte{0xff, 0xe1, 0, 9}, "http://"...)
	for _, tt := range []struct {
		name string
		data []byte
		want int
	}{
		{"none", plain, 1},
		{"little endian", with(plain, exif(little, "II*\x00", 3, 6)), 6},
		{"big endian", with(plain, exif(big, "MM\x00*", 3, 8)), 8},
		{"after other segments", with(plain, append(append(bytes.Clone(comment), other...), exif(big, "MM\x00*", 3, 3)...)), 3},
		{"a byte order that contradicts its mark", with(plain, exif(big, "II*\x00", 3, 6)), 1},
		{"nought", with(plain, exif(little, "II*\x00", 3, 0)), 1},
		{"nine", with(plain, exif(little, "II*\x00", 3, 9)), 1},
		{"another type", with(plain, exif(little, "II*\x00", 4, 6)), 1},
		{"cut off", with(plain, exif(little, "II*\x00", 3, 6))[:30], 1},
		{"a length of nothing", with(plain, []byte{0xff, 0xe1, 0, 0}), 1},
		{"a PNG", []byte("\x89PNG\r\n\x1a\n"), 1},
		{"nothing", nil, 1},
	} {
		if got := orientation(tt.data); got != tt.want {
			t.Errorf("%s: %d, not %d", tt.name, got, tt.want)
		}
	}
	far := exif(little, "II*\x00", 3, 6)
	binary.LittleEndian.PutUint32(far[14:], 0xffffffff) // where the directory lies
	if got := orientation(with(plain, far)); got != 1 {
		t.Errorf("a directory beyond the end: %d", got)
	}
}

func TestPicturesAreTurnedUpright(t *testing.T) {
	// Six pixels, 3×2, as they are stored, with chroma of the same layout:
	//	a b c
	//	d e f
	const stored = "abcdef"
	yuv := image.NewYCbCr(image.Rect(0, 0, 3, 2), image.YCbCrSubsampleRatio444)
	gray := image.NewGray(image.Rect(0, 0, 3, 2))
	for i := range stored {
		x, y := i%3, i/3
		yuv.Y[yuv.YOffset(x, y)], yuv.Cb[yuv.COffset(x, y)], yuv.Cr[yuv.COffset(x, y)] = stored[i], stored[i]+10, stored[i]+20
		gray.SetGray(x, y, color.Gray{stored[i]})
	}
	for orientation, want := range []string{1: "abc/def", 2: "cba/fed", 3: "fed/cba", 4: "def/abc", 5: "ad/be/cf", 6: "da/eb/fc", 7: "fc/eb/da", 8: "cf/be/ad"} {
		if orientation == 0 {
			continue
		}
		for _, src := range []image.Image{yuv, gray} {
			m := upright(frame.FromImage(src), orientation)
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			read := func(p frame.Plane, less byte) string {
				var rows [][]byte
				for y := range m.Height {
					var row []byte
					for x := range m.Width {
						row = append(row, p.Pix[y*p.Stride+x*p.Step]-less)
					}
					rows = append(rows, row)
				}
				return string(bytes.Join(rows, []byte("/")))
			}
			if got := read(m.Y, 0); got != want {
				t.Errorf("orientation %d: %s, not %s", orientation, got, want)
			}
			if !m.Gray() && (read(m.U, 10) != want || read(m.V, 20) != want) {
				t.Errorf("orientation %d: chroma %s and %s, not %s", orientation, read(m.U, 10), read(m.V, 20), want)
			}
		}
	}
}

func TestSubsampledChromaTurnsWithItsPicture(t *testing.T) {
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio440} {
		for orientation := 1; orientation <= 8; orientation++ {
			m := upright(frame.FromImage(image.NewYCbCr(image.Rect(0, 0, 7, 5), ratio)), orientation)
			if err := m.Check(); err != nil || (m.Width == 5) != (orientation >= 5) {
				t.Errorf("%v, orientation %d: %d×%d, %v", ratio, orientation, m.Width, m.Height, err)
			}
		}
	}
}

func TestAFaceOnItsSideIsFoundIfTheFileSaysSo(t *testing.T) {
	needRuntime(t)
	data := []byte(golden(t, "live-1.jpg"))
	m, err := camera.DecodeStill(data)
	if err != nil {
		t.Fatal(err)
	}
	// A quarter turn, and the orientation that undoes it.
	side := encodeJPEG(t, upright(m, 8))
	got, err := decode(with(side, exif(binary.LittleEndian, "II*\x00", 3, 6)))
	if err != nil || got.Width != m.Width || got.Height != m.Height {
		t.Fatalf("%d×%d, %v", got.Width, got.Height, err)
	}
	var rows []scored
	for _, jpg := range [][]byte{data, with(side, exif(binary.LittleEndian, "II*\x00", 3, 6))} {
		rows = append(rows, objects[scored](t, call(t, "score", "--json", withConfig(t, ""), write(t, "x.jpg", string(jpg))).out)...)
	}
	if len(rows) != 2 || rows[0].Face == nil || rows[1].Face == nil || abs(rows[0].Face.X-rows[1].Face.X) > 6 || abs(rows[0].Face.Y-rows[1].Face.Y) > 6 {
		t.Errorf("%+v", rows)
	}
}

func encodeJPEG(t *testing.T, m frame.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, resized(&m, image.Pt(m.Width, m.Height)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func abs(v int) int { return max(v, -v) }

func FuzzOrientation(f *testing.F) {
	little, big := binary.AppendByteOrder(binary.LittleEndian), binary.AppendByteOrder(binary.BigEndian)
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xd8, 0xff, 0xe1, 0, 2})
	for i := range uint16(10) {
		f.Add(with([]byte{0xff, 0xd8, 0xff, 0xd9}, exif(little, "II*\x00", 3, i)))
		f.Add(with([]byte{0xff, 0xd8, 0xff, 0xd9}, exif(big, "MM\x00*", 3, i)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if o := orientation(data); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
	})
}
