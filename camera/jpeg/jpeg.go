// Package jpeg decodes JPEG pictures to planes, as cameras and files bring them.
//
// It promises that no bytes make it panic or allocate more than the caller allowed, and that a picture which
// is only partly there is an error and never a picture: a half-gray frame must not be judged. Where cgo is on,
// libjpeg-turbo decodes; elsewhere Go's image/jpeg does, slower by a factor of about five. It takes 8-bit
// sequential and progressive JPEG in gray or Y'CbCr, also without Huffman tables as many webcams send it. It
// refuses CMYK, RGB, arithmetic coding, lossless and 12-bit pictures, and doesn't look at orientation or
// colour profiles.
package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/livenessd/livenessd/camera/frame"
)

// What is wrong with a picture; errors of this package wrap one of them.
var (
	ErrNotJPEG     = errors.New("not a JPEG")
	ErrTruncated   = errors.New("truncated")
	ErrCorrupt     = errors.New("corrupt")
	ErrTooLarge    = errors.New("too large")
	ErrUnsupported = errors.New("unsupported kind of JPEG")
)

// DefaultMaxPixels bounds a picture where Options don't.
const DefaultMaxPixels = 64 << 20

// maxScans bounds the work that a small progressive file can cause.
const maxScans = 500

// Options of a Decoder.
type Options struct {
	MaxPixels int // 0 is DefaultMaxPixels
}

// Decoder decodes one picture after the other. It isn't safe for concurrent use.
type Decoder struct {
	maxPixels int
	backend   backend
}

// backend decodes what parse accepted.
type backend interface {
	decode(dst, src []byte, h header) (frame.Image, []byte, error)
	close()
}

// New gives a Decoder; whoever has it closes it.
func New(o Options) (*Decoder, error) {
	if o.MaxPixels < 0 {
		return nil, fmt.Errorf("jpeg: new decoder: %d pixels at most", o.MaxPixels)
	}
	if o.MaxPixels == 0 {
		o.MaxPixels = DefaultMaxPixels
	}
	b, err := newBackend()
	if err != nil {
		return nil, fmt.Errorf("jpeg: new decoder: %w", err)
	}
	return &Decoder{o.MaxPixels, b}, nil
}

// Decode gives the picture in src. Its planes lie in dst where dst has room, else in a new buffer; either way
// the buffer comes back to be handed in again, and the picture is valid until then.
func (d *Decoder) Decode(dst, src []byte) (frame.Image, []byte, error) {
	if d.backend == nil {
		return frame.Image{}, dst, errors.New("jpeg: decode: the decoder is closed")
	}
	h, err := parse(src)
	if err != nil {
		return frame.Image{}, dst, fmt.Errorf("jpeg: decode: %w", err)
	}
	if h.width > d.maxPixels/h.height {
		return frame.Image{}, dst, fmt.Errorf("jpeg: decode: %w: %d×%d", ErrTooLarge, h.width, h.height)
	}
	m, dst, err := d.backend.decode(dst, src, h)
	if err != nil {
		return frame.Image{}, dst, fmt.Errorf("jpeg: decode: %w", err)
	}
	return m, dst, nil
}

// Close frees what the decoder holds. A second call does nothing.
func (d *Decoder) Close() error {
	if d.backend != nil {
		d.backend.close()
		d.backend = nil
	}
	return nil
}

// Size reads width and height off the header, and tells whether Decode would refuse the picture for what the
// header says or for a missing end.
func Size(src []byte) (width, height int, err error) {
	h, err := parse(src)
	if err != nil {
		return 0, 0, fmt.Errorf("jpeg: read size: %w", err)
	}
	return h.width, h.height, nil
}

// Complete gives the picture with Huffman tables: where it brings none it means the usual ones, which browsers don't know. src itself comes
// back where it needs nothing.
func Complete(src []byte) ([]byte, error) {
	h, err := parse(src)
	if err != nil {
		return nil, fmt.Errorf("jpeg: complete: %w", err)
	}
	if h.huffman {
		return src, nil
	}
	return slices.Concat(src[:h.sos], standardHuffman(), src[h.sos:]), nil
}

// header is what is known of a picture before its samples are decoded.
type header struct {
	width, height  int
	gray           bool
	shiftX, shiftY uint8 // chroma subsampling
	huffman        bool  // brings Huffman tables
	sos            int   // offset of the first start of scan
}

const (
	mSOF0, mSOF1, mSOF2 = 0xc0, 0xc1, 0xc2
	mDHT, mJPG, mDAC    = 0xc4, 0xc8, 0xcc
	mRST0, mRST7, mTEM  = 0xd0, 0xd7, 0x01
	mSOI, mEOI, mSOS    = 0xd8, 0xd9, 0xda
	mAPP0, mAPP14       = 0xe0, 0xee
)

func parse(src []byte) (header, error) {
	var (
		h       header
		sof     []byte
		jfif    bool
		adobe   = -1
		no      header
		corrupt = func(what string) (header, error) { return no, fmt.Errorf("%w: %s", ErrCorrupt, what) }
	)
	if len(src) < 2 || src[0] != 0xff || src[1] != mSOI {
		return no, ErrNotJPEG
	}
	for at := 2; ; {
		if at >= len(src) {
			return no, ErrTruncated
		}
		if src[at] != 0xff {
			return corrupt("no marker where one belongs")
		}
		start := at
		for at < len(src) && src[at] == 0xff {
			at++
		}
		if at >= len(src) {
			return no, ErrTruncated
		}
		marker := src[at]
		at++
		switch {
		case marker == mTEM, marker >= mRST0 && marker <= mRST7:
			continue
		case marker == 0, marker == mSOI:
			return corrupt("stray marker")
		case marker == mEOI:
			return corrupt("ends before its first scan")
		}
		if at+2 > len(src) {
			return no, ErrTruncated
		}
		n := int(src[at])<<8 | int(src[at+1])
		if n < 2 {
			return corrupt("segment length")
		}
		if at+n > len(src) {
			return no, ErrTruncated
		}
		body := src[at+2 : at+n]
		at += n
		switch marker {
		case mSOF0, mSOF1, mSOF2:
			if sof != nil {
				return corrupt("two frame headers")
			}
			sof = body
		case mDHT:
			h.huffman = true
		case mAPP0:
			jfif = jfif || bytes.HasPrefix(body, []byte("JFIF\x00"))
		case mAPP14:
			if len(body) >= 12 && bytes.HasPrefix(body, []byte("Adobe")) {
				adobe = int(body[11])
			}
		case mSOS:
			if sof == nil {
				return corrupt("scan without frame header")
			}
			h.sos = start
			if err := h.frame(sof, jfif, adobe); err != nil {
				return no, err
			}
			// In coded samples 0xff is always followed by 0: this is the picture's end, or there is none.
			if bytes.LastIndex(src[at:], []byte{0xff, mEOI}) < 0 {
				return no, ErrTruncated
			}
			if bytes.Count(src[at:], []byte{0xff, mSOS}) >= maxScans {
				return no, fmt.Errorf("%w: more than %d scans", ErrUnsupported, maxScans)
			}
			return h, nil
		default:
			if marker >= 0xc3 && marker <= 0xcf {
				return no, fmt.Errorf("%w: frame type 0x%02x", ErrUnsupported, marker)
			}
		}
	}
}

func (h *header) frame(sof []byte, jfif bool, adobe int) error {
	if len(sof) < 6 || len(sof) < 6+3*int(sof[5]) {
		return fmt.Errorf("%w: short frame header", ErrCorrupt)
	}
	if sof[0] != 8 {
		return fmt.Errorf("%w: %d bits a sample", ErrUnsupported, sof[0])
	}
	h.height = int(sof[1])<<8 | int(sof[2])
	h.width = int(sof[3])<<8 | int(sof[4])
	if h.width == 0 {
		return fmt.Errorf("%w: no width", ErrCorrupt)
	}
	if h.height == 0 {
		return fmt.Errorf("%w: height comes after the samples", ErrUnsupported)
	}
	if h.width > frame.MaxSide || h.height > frame.MaxSide {
		return fmt.Errorf("%w: %d×%d", ErrTooLarge, h.width, h.height)
	}
	c := sof[6:]
	switch sof[5] {
	case 1:
		h.gray = true
		if f := c[1]; f>>4 < 1 || f>>4 > 4 || f&15 < 1 || f&15 > 4 {
			return fmt.Errorf("%w: sampling factors", ErrCorrupt)
		}
		return nil
	case 3:
	case 4:
		return fmt.Errorf("%w: CMYK", ErrUnsupported)
	default:
		return fmt.Errorf("%w: %d components", ErrUnsupported, sof[5])
	}
	if !jfif && (adobe == 0 || adobe < 0 && c[0] == 'R' && c[3] == 'G' && c[6] == 'B') {
		return fmt.Errorf("%w: RGB", ErrUnsupported)
	}
	if c[4] != c[7] {
		return fmt.Errorf("%w: different sampling of the two colours", ErrUnsupported)
	}
	var okX, okY bool
	h.shiftX, okX = ratio(c[1]>>4, c[4]>>4)
	h.shiftY, okY = ratio(c[1]&15, c[4]&15)
	if !okX || !okY || h.shiftX+h.shiftY > 2 || h.shiftY > 1 {
		return fmt.Errorf("%w: sampling factors %#02x and %#02x", ErrUnsupported, c[1], c[4])
	}
	return nil
}

func ratio(luma, chroma byte) (shift uint8, ok bool) {
	if luma < 1 || luma > 4 || chroma < 1 || luma%chroma != 0 {
		return 0, false
	}
	q := luma / chroma
	return uint8(bits.TrailingZeros8(q)), q == 1 || q == 2 || q == 4
}
