package camera

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/livenessd/livenessd/camera/frame"
)

// Formats that Next can hand out, best first, by FourCC. MJPG leads because a USB 2 bus carries it at any size; RGB has to
// be converted, and gray tells little about what is live.
var formats = []string{formatMJPG, formatYUYV, formatNV12, formatUYVY, formatYVYU, formatNV21, formatYU12, formatYV12,
	formatRGB3, formatBGR3, formatGREY, formatY16, formatY10}

const (
	formatMJPG = "MJPG"
	formatYUYV = "YUYV"
	formatNV12 = "NV12"
	formatUYVY = "UYVY"
	formatYVYU = "YVYU"
	formatNV21 = "NV21"
	formatYU12 = "YU12"
	formatYV12 = "YV12"
	formatRGB3 = "RGB3"
	formatBGR3 = "BGR3"
	formatGREY = "GREY"
	formatY16  = "Y16"  // "Y16 " to drivers, little-endian
	formatY10  = "Y10"  // "Y10 ", in words of 16 bits
	formatPNG  = "PNG " // in replays alone
)

// Formats are those that frames can have, best first, by FourCC.
func Formats() []string { return slices.Clone(formats) }

// gray tells whether a format has no colours.
func gray(format string) bool {
	return format == formatGREY || format == formatY16 || format == formatY10
}

// formatByName knows the formats in small letters and by their other names, too.
func formatByName(name string) string {
	name = strings.ToUpper(strings.TrimSpace(name))
	switch name {
	case "MJPEG", "JPEG", "JPG":
		return formatMJPG
	case "YUY2":
		return formatYUYV
	case "I420":
		return formatYU12
	case "RGB24":
		return formatRGB3
	case "BGR24":
		return formatBGR3
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
	errFaulty    = errors.New("frame that the driver marks as faulty")
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
	limited       bool    // samples of 16…235 also in gray
	trouble       *Error  // what isn't as it was configured, though it streams; nil for nothing
}

// mild is the trouble as an error.
func (l *layout) mild() error {
	if l.trouble == nil {
		return nil
	}
	return l.trouble
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

// room is what frames that have to be converted are converted into, and what is known of them. It is for one goroutine.
type room struct {
	pix   []byte
	lay   layout
	depth int // bits of Y16
}

// perPixel is the bytes of a pixel in a line of the first plane.
func perPixel(format string) int {
	switch format {
	case formatYUYV, formatUYVY, formatYVYU, formatY16, formatY10:
		return 2
	case formatRGB3, formatBGR3:
		return 3
	}
	return 1
}

// view describes raw bytes as planes, and converts those that no plane can describe into r. The picture that it returns
// without an error is wholly there. Without r it only looks whether it is, and what it returns is of no use.
func (l *layout) view(data []byte, r *room) (frame.Image, error) {
	if l.width < 1 || l.height < 1 || l.width > frame.MaxSide || l.height > frame.MaxSide {
		return frame.Image{}, fmt.Errorf("%w: %d×%d", errWrongSize, l.width, l.height)
	}
	stride, each := l.stride, perPixel(l.format)
	if stride == 0 {
		stride = each * l.width
		switch l.format {
		case formatYUYV, formatUYVY, formatYVYU:
			stride = (l.width + 1) / 2 * 4 // packed pixels come in pairs
		case formatYU12, formatYV12, formatNV12, formatNV21:
			stride = (l.width + 1) / 2 * 2
		}
	}
	if stride < each*l.width || stride > 16*frame.MaxSide {
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
		m = frame.UYVY(data, l.width, l.height, stride)
	case formatYVYU:
		m = frame.YVYU(data, l.width, l.height, stride)
	case formatNV12:
		m = frame.NV12(data, l.width, l.height, stride)
	case formatNV21:
		m = frame.NV21(data, l.width, l.height, stride)
	case formatYU12:
		m = frame.I420(data, l.width, l.height, stride)
	case formatYV12:
		m = frame.YV12(data, l.width, l.height, stride)
	case formatGREY:
		m = frame.Grey(data, l.width, l.height, stride)
	case formatY16, formatY10, formatRGB3, formatBGR3:
		// By the last byte of each pixel, to see whether all are there.
		m = frame.Image{Width: l.width, Height: l.height, Y: frame.Plane{Pix: data[min(each-1, len(data)):], Stride: stride, Step: each}}
	default:
		return frame.Image{}, fmt.Errorf("%w: %q", errFormat, l.format)
	}
	m.Full = m.Full || l.full
	if err := m.Check(); err != nil {
		return frame.Image{}, fmt.Errorf("%w: %w", errShort, err)
	}
	if r != nil {
		m = l.convert(m, data, stride, r)
	}
	if l.limited && m.Gray() {
		m.Full = false
	}
	return m, nil
}

// convert makes planes of what no plane can describe; m is a picture whose bytes are all there.
func (l *layout) convert(m frame.Image, data []byte, stride int, r *room) frame.Image {
	switch l.format {
	case formatRGB3, formatBGR3:
		m, r.pix = frame.RGB(r.pix, data, l.width, l.height, stride, l.format == formatBGR3)
	case formatY10:
		m, r.pix = frame.Narrow(r.pix, data, l.width, l.height, stride, 10)
	case formatY16:
		// Many infrared cameras send 10 or 12 bits in words of 16, and nobody says so: their pictures would be black. The
		// least that held every sample so far is what they have.
		if *l != r.lay {
			r.lay, r.depth = *l, 10
		}
		if r.depth < 16 {
			r.depth = max(r.depth, (frame.Depth(data, l.width, l.height, stride)+1)&^1)
		}
		if r.depth == 16 {
			return frame.Y16(data, l.width, l.height, stride)
		}
		m, r.pix = frame.Narrow(r.pix, data, l.width, l.height, stride, r.depth)
	}
	return m
}

// sniff tells what kind of picture the bytes are; what isn't a PNG goes for a JPEG.
func sniff(data []byte) string {
	if bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")) {
		return formatPNG
	}
	return formatMJPG
}
