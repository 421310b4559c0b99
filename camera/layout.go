package camera

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/livenessd/livenessd/camera/frame"
)

// Formats that Next can hand out, best first, by FourCC. MJPG leads because a USB 2 bus carries it at any size.
var formats = []string{formatMJPG, formatYUYV, formatNV12, formatUYVY, formatGREY}

const (
	formatMJPG = "MJPG"
	formatYUYV = "YUYV"
	formatNV12 = "NV12"
	formatUYVY = "UYVY"
	formatGREY = "GREY"
	formatPNG  = "PNG " // in replays alone
)

// formatByName knows the formats in small letters and by their other names, too.
func formatByName(name string) string {
	name = strings.ToUpper(strings.TrimSpace(name))
	switch name {
	case "MJPEG", "JPEG", "JPG":
		return formatMJPG
	case "YUY2":
		return formatYUYV
	case "GRAY", "Y8", "Y800":
		return formatGREY
	}
	for _, f := range formats {
		if f == name {
			return f
		}
	}
	return ""
}

var (
	errEmpty     = errors.New("empty frame")
	errShort     = errors.New("short frame")
	errTooLarge  = errors.New("oversized frame")
	errWrongSize = errors.New("frame of another size")
	errFormat    = errors.New("unsupported pixel format")
)

// layout is how a source's frames lie in memory.
type layout struct {
	device        string
	format        string  // FourCC; "" for pictures that tell themselves
	width, height int     // 0 where each picture tells its own
	stride        int     // bytes per line as the driver says; 0 where it doesn't
	size          int     // bytes that a frame has at most; 0 is unknown
	fps           float64 // 0 is unknown
	full          bool    // samples of 0…255 also in YUV
}

// maxFrame bounds a frame's bytes where nothing else does.
const maxFrame = 64 << 20

// most is how many bytes a frame can have.
func (l *layout) most() int {
	if l.size <= 0 {
		return maxFrame
	}
	return min(l.size+64<<10, maxFrame) // drivers round up to pages and more
}

// view describes raw bytes as planes. The picture that it returns without an error is wholly there.
func (l *layout) view(data []byte) (frame.Image, error) {
	perPixel := 1
	if l.format == formatYUYV || l.format == formatUYVY {
		perPixel = 2
	}
	if l.width < 1 || l.height < 1 || l.width > frame.MaxSide || l.height > frame.MaxSide {
		return frame.Image{}, fmt.Errorf("%w: %d×%d", errWrongSize, l.width, l.height)
	}
	stride := l.stride
	if stride == 0 {
		if stride = l.width; perPixel == 2 {
			stride = (l.width + 1) / 2 * 4 // packed pixels come in pairs
		}
	}
	if stride < perPixel*l.width || stride > 16*frame.MaxSide {
		return frame.Image{}, fmt.Errorf("%w: %d bytes a line for %d pixels", errWrongSize, stride, l.width)
	}
	if len(data) == 0 {
		return frame.Image{}, errEmpty
	}
	var m frame.Image
	switch l.format {
	case formatYUYV:
		m = frame.YUYV(data, l.width, l.height, stride)
	case formatUYVY:
		m = frame.Image{Width: l.width, Height: l.height, ShiftX: 1}
		if len(data) >= 4 {
			m.Y = frame.Plane{Pix: data[1:], Stride: stride, Step: 2}
			m.U = frame.Plane{Pix: data, Stride: stride, Step: 4}
			m.V = frame.Plane{Pix: data[2:], Stride: stride, Step: 4}
		}
	case formatNV12:
		m = frame.NV12(data, l.width, l.height, stride)
	case formatGREY:
		m = frame.Grey(data, l.width, l.height, stride)
	default:
		return frame.Image{}, fmt.Errorf("%w: %q", errFormat, l.format)
	}
	m.Full = m.Full || l.full
	if err := m.Check(); err != nil {
		return frame.Image{}, fmt.Errorf("%w: %w", errShort, err)
	}
	return m, nil
}

// sniff tells what kind of picture the bytes are; what isn't a PNG goes for a JPEG.
func sniff(data []byte) string {
	if bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")) {
		return formatPNG
	}
	return formatMJPG
}
