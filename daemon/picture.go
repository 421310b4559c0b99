package daemon

import (
	"bytes"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"slices"
	"sync"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/camera/jpeg"
)

const (
	// maxPassed bounds a camera's own JPEG that is passed on as it is, in bytes. A larger one is made smaller.
	maxPassed = 384 << 10
	// maxSide bounds the longer side of what is made here, in pixels.
	maxSide = 800
	// pictureQuality is JPEG's.
	pictureQuality = 75
)

// picture is a frame for whoever watches, on its way to be a JPEG. What it costs the frame's goroutine is a copy.
type picture struct {
	sent   []byte // by the camera: a JPEG
	planes *planes
	once   *sync.Once
	made   *made
}

type made struct {
	jpeg []byte
	err  error
}

// planes are the samples that a small picture is made of.
type planes struct {
	image *image.YCbCr
	gray  *image.Gray
}

// takePicture copies what a picture needs: the frame is gone with the next one.
func takePicture(f *frame.Frame) picture {
	p := picture{once: new(sync.Once), made: new(made)}
	if f.JPEG != nil && len(f.JPEG) <= maxPassed {
		p.sent = slices.Clone(f.JPEG)
	} else {
		p.planes = reduce(&f.Image, maxSide)
	}
	return p
}

func (p *picture) there() bool { return p.once != nil }

// JPEG is the picture, which may be smaller than the frame. It is made once for all who watch, by the first who asks, who may not write to it.
func (s *Shown) JPEG() ([]byte, error) {
	p := &s.picture
	if !p.there() {
		return nil, fmt.Errorf("daemon: picture of camera %s: nobody asked for it", s.Camera)
	}
	p.once.Do(func() { p.made.jpeg, p.made.err = p.make() })
	if p.made.err != nil {
		return nil, fmt.Errorf("daemon: picture of camera %s: %w", s.Camera, p.made.err)
	}
	return p.made.jpeg, nil
}

func (p *picture) make() ([]byte, error) {
	if p.sent != nil {
		return jpeg.Complete(p.sent)
	}
	var m image.Image = p.planes.image
	if p.planes.gray != nil {
		m = p.planes.gray
	}
	var b bytes.Buffer
	err := stdjpeg.Encode(&b, m, &stdjpeg.Options{Quality: pictureQuality})
	return b.Bytes(), err
}

// reduce takes every n-th sample of a picture so that no side is longer than most, in the range that JPEG has.
func reduce(m *frame.Image, most int) *planes {
	n := max(1, (max(m.Width, m.Height)+most-1)/most)
	w, h := (m.Width+n-1)/n, (m.Height+n-1)/n
	luma, chroma := ranges(m.Full)
	if m.Gray() {
		out := image.NewGray(image.Rect(0, 0, w, h))
		sample(out.Pix, out.Stride, w, h, m.Y, n, n, 0, 0, &luma)
		return &planes{gray: out}
	}
	// A chroma sample for two pixels of a row, as most cameras have.
	out := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio422)
	sample(out.Y, out.YStride, w, h, m.Y, n, n, 0, 0, &luma)
	half := (w + 1) / 2
	sample(out.Cb, out.CStride, half, h, m.U, 2*n, n, m.ShiftX, m.ShiftY, &chroma)
	sample(out.Cr, out.CStride, half, h, m.V, 2*n, n, m.ShiftX, m.ShiftY, &chroma)
	return &planes{image: out}
}

// sample takes the samples of every (x·dx, y·dy) of a plane that has one for 2^sx by 2^sy pixels.
func sample(dst []byte, stride, w, h int, p frame.Plane, dx, dy int, sx, sy uint8, as *[256]byte) {
	for y := range h {
		row := p.Origin + (y*dy>>sy)*p.Stride
		to := dst[y*stride : y*stride+w]
		for x := range to {
			to[x] = as[p.Pix[row+(x*dx>>sx)*p.Step]]
		}
	}
}

// ranges is what samples of 16…235 and 16…240 are as 0…255, or the same again.
func ranges(full bool) (luma, chroma [256]byte) {
	for i := range 256 {
		luma[i], chroma[i] = byte(i), byte(i)
		if !full {
			luma[i] = byte(min(max((i-16)*255/219, 0), 255))
			chroma[i] = byte(min(max((i-128)*255/224+128, 0), 255))
		}
	}
	return luma, chroma
}
