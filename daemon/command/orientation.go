package command

import (
	"bytes"
	"encoding/binary"

	"github.com/livenessd/livenessd/camera/frame"
)

// orientation is how a JPEG file says that it wants to be seen: Exif's 1…8, and 1 where it says nothing that can be understood.
// Cameras that stream say nothing; telephones say it of every picture, and a face that lies on its side isn't found.
func orientation(jpg []byte) int {
	const (
		mostSegments = 64
		startOfScan  = 0xda
		app1         = 0xe1
	)
	if !bytes.HasPrefix(jpg, []byte{0xff, 0xd8}) {
		return 1
	}
	rest := jpg[2:]
	for range mostSegments {
		if len(rest) < 4 || rest[0] != 0xff || rest[1] == startOfScan {
			return 1
		}
		n := 2 + int(binary.BigEndian.Uint16(rest[2:]))
		if n > len(rest) || n < 4 {
			return 1
		}
		if tiff, is := bytes.CutPrefix(rest[4:n], []byte("Exif\x00\x00")); rest[1] == app1 && is {
			return tiffOrientation(tiff)
		}
		rest = rest[n:]
	}
	return 1
}

// tiffOrientation looks into the first directory of what Exif puts into a TIFF.
func tiffOrientation(b []byte) int {
	const (
		tag     = 0x0112
		short   = 3
		entry   = 12
		entries = 2 // bytes of their number
	)
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 1
	}
	if len(b) < 8 {
		return 1
	}
	at := uint64(order.Uint32(b[4:]))
	if at+entries > uint64(len(b)) {
		return 1
	}
	n := order.Uint16(b[at:])
	for rest := b[at+entries:]; n > 0 && len(rest) >= entry; n, rest = n-1, rest[entry:] {
		if order.Uint16(rest) != tag {
			continue
		}
		if v := order.Uint16(rest[8:]); order.Uint16(rest[2:]) == short && order.Uint32(rest[4:]) == 1 && v >= 1 && v <= 8 {
			return int(v)
		}
		return 1
	}
	return 1
}

// upright is a picture as its orientation wants it seen. The picture must have passed Check; all but orientation 1 are copied.
func upright(m frame.Image, orientation int) frame.Image {
	if orientation <= 1 || orientation > 8 {
		return m
	}
	out := m
	turn := orientation >= 5
	if turn {
		out.Width, out.Height, out.ShiftX, out.ShiftY = m.Height, m.Width, m.ShiftY, m.ShiftX
	}
	plane := func(p frame.Plane, shiftX, shiftY uint8) frame.Plane {
		w, h := (m.Width+1<<shiftX-1)>>shiftX, (m.Height+1<<shiftY-1)>>shiftY
		columns, rows := w, h
		if turn {
			columns, rows = h, w
		}
		q := frame.Plane{Pix: make([]byte, columns*rows), Stride: columns, Step: 1}
		for y := range rows {
			for x := range columns {
				sx, sy := x, y
				if turn {
					sx, sy = y, x
				}
				switch orientation {
				case 2, 3, 7, 8:
					sx = w - 1 - sx
				}
				switch orientation {
				case 3, 4, 6, 7:
					sy = h - 1 - sy
				}
				q.Pix[y*columns+x] = p.At(sx, sy)
			}
		}
		return q
	}
	out.Y = plane(m.Y, 0, 0)
	if !m.Gray() {
		out.U, out.V = plane(m.U, m.ShiftX, m.ShiftY), plane(m.V, m.ShiftX, m.ShiftY)
	}
	return out
}
