package camera

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"image/png"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/camera/jpeg"
)

// MaxStillPixels bounds what DecodeStill takes.
const MaxStillPixels = 48 << 20

// DecodeStill decodes one JPEG or PNG picture of any kind. Nothing is allocated for pictures over MaxStillPixels.
// Transparent parts come out black, and an orientation in the metadata isn't looked at.
func DecodeStill(data []byte) (frame.Image, error) {
	m, err := decodeStill(data)
	if err != nil {
		return frame.Image{}, fmt.Errorf("camera: decode picture: %w", err)
	}
	return m, nil
}

func decodeStill(data []byte) (frame.Image, error) {
	if len(data) == 0 {
		return frame.Image{}, errors.New("empty")
	}
	var decode func() (image.Image, error)
	var cfg image.Config
	var err error
	if sniff(data) == formatPNG {
		cfg, err = png.DecodeConfig(bytes.NewReader(data))
		decode = func() (image.Image, error) { return png.Decode(bytes.NewReader(data)) }
	} else {
		d, err := jpeg.New(jpeg.Options{MaxPixels: MaxStillPixels})
		if err != nil {
			return frame.Image{}, err
		}
		defer d.Close()
		m, _, err := d.Decode(nil, data)
		if errors.Is(err, jpeg.ErrNotJPEG) {
			return frame.Image{}, errors.New("neither JPEG nor PNG")
		}
		if !errors.Is(err, jpeg.ErrUnsupported) {
			return m, err
		}
		// CMYK and RGB come from files, never from cameras: the slow way will do.
		cfg, err = stdjpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil {
			return frame.Image{}, err
		}
		decode = func() (image.Image, error) { return stdjpeg.Decode(bytes.NewReader(data)) }
	}
	if err != nil {
		return frame.Image{}, err
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > frame.MaxSide || cfg.Height > frame.MaxSide || cfg.Width > MaxStillPixels/cfg.Height {
		return frame.Image{}, fmt.Errorf("%w: %d×%d", jpeg.ErrTooLarge, cfg.Width, cfg.Height)
	}
	src, err := decode()
	if err != nil {
		return frame.Image{}, err
	}
	m := frame.FromImage(src)
	return m, m.Check()
}

// SplitMJPEG finds the JPEG pictures in a clip: pictures one after the other, with or without other bytes around
// them (as in an AVI file or a multipart stream). The pictures alias the clip. One that is cut off reaches to the
// next picture or to the end, so that decoding it says what it is.
func SplitMJPEG(clip []byte) [][]byte {
	var pictures [][]byte
	for at := 0; ; {
		i := bytes.Index(clip[at:], []byte{0xff, 0xd8, 0xff})
		if i < 0 {
			return pictures
		}
		start := at + i
		end, ok := pictureEnd(clip, start)
		if !ok { // no header: three bytes by chance, or a picture cut off before its samples
			at = start + 3
			continue
		}
		pictures = append(pictures, clip[start:end])
		at = end
	}
}

// pictureEnd follows the markers of the picture that starts there. It isn't ok where no samples follow.
func pictureEnd(clip []byte, start int) (end int, ok bool) {
	const maxSegments = 64 // bounds the work on bytes made to be split slowly
	at := start + 2
	for range maxSegments {
		for at+1 < len(clip) && clip[at] == 0xff && clip[at+1] == 0xff {
			at++
		}
		if at+4 > len(clip) || clip[at] != 0xff {
			return 0, false
		}
		marker := clip[at+1]
		if marker < 0xc0 || marker == 0xd8 || marker == 0xd9 || marker >= 0xd0 && marker <= 0xd7 {
			return 0, false
		}
		at += 2 + int(clip[at+2])<<8 + int(clip[at+3])
		if marker == 0xda {
			return scanEnd(clip, min(at, len(clip))), true
		}
	}
	return 0, false
}

// scanEnd goes through coded samples, and the tables between scans, to the end of the picture.
func scanEnd(clip []byte, at int) int {
	for {
		i := bytes.IndexByte(clip[at:], 0xff)
		if i < 0 || at+i+1 >= len(clip) {
			return len(clip)
		}
		at += i
		switch m := clip[at+1]; {
		case m == 0xd9:
			return at + 2
		case m == 0xd8:
			return at // the next picture
		case m == 0xff:
			at++
		case m == 0 || m >= 0xd0 && m <= 0xd7 || at+4 > len(clip):
			at += 2
		case m >= 0xc0: // a segment of its own length between scans
			at = min(at+2+int(clip[at+2])<<8+int(clip[at+3]), len(clip))
		default:
			at += 2
		}
	}
}
