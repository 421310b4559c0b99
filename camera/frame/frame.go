// Package frame is a camera picture as planes of samples: luma, and chroma where there is any.
//
// An Image is a view: it describes bytes as the camera or the decoder left them (packed YUYV, planar I420,
// semi-planar NV12, gray), so that nobody has to convert a whole frame to look at a part of it. What no plane can
// describe, RGB and luma of 10 bits, is converted once (RGB, Narrow). The package promises that sampling an Image that
// Check accepts never reads outside its planes. It knows nothing of where pictures come from, nor of what is done with
// them.
package frame

import (
	"errors"
	"fmt"
	"image"
	"time"
)

// MaxSide bounds width and height in pixels; larger pictures are refused before anything is allocated for them.
const MaxSide = 16384

// Plane is samples of one channel. The sample (x, y) of the plane is Pix[Origin+y*Stride+x*Step].
type Plane struct {
	Pix    []byte
	Stride int // bytes from a row to the next; below zero where the picture is upside down in memory
	Step   int // bytes from a sample to the next in a row; the same, and larger than Stride where columns lie in memory as rows
	Origin int // where the sample (0, 0) is
}

// At gives a sample. It must be one of the plane's.
func (p *Plane) At(x, y int) byte { return p.Pix[p.Origin+y*p.Stride+x*p.Step] }

// Image is a picture in Y'CbCr with BT.601 coefficients.
type Image struct {
	Width, Height int // of the luma plane, in pixels
	Y, U, V       Plane
	// ShiftX and ShiftY tell the chroma subsampling: the chroma sample of pixel (x, y) is (x>>ShiftX, y>>ShiftY).
	ShiftX, ShiftY uint8
	// Full is true for samples of 0…255 (JPEG), false for 16…235 and 16…240 (what cameras send as YUYV or NV12).
	Full bool
}

// Frame is an Image that a camera took.
type Frame struct {
	Image
	Camera   string    // name in the configuration
	Sequence uint64    // counts the frames that the source took, from 1; gaps are frames nobody asked for
	Captured time.Time // when the driver had the picture, or where it doesn't say, Dequeued; carries a monotonic reading
	Dequeued time.Time // when the driver gave it to us; never before Captured
	Format   string    // FourCC that the camera sent: "MJPG", "YUYV", …
	JPEG     []byte    // what the camera sent where that was JPEG and is the very picture, else nil; it lives as long as the planes
	// Offset is where the picture begins in all that the camera sees, turned as the picture is; not (0, 0) for a region.
	Offset image.Point

	Taken, Decoded time.Time // when Next took it from where the newest frame waits, and when its planes were there
}

// Gray tells whether the picture has no chroma.
func (m *Image) Gray() bool { return m.U.Pix == nil }

// Bounds is the picture's rectangle, from (0, 0).
func (m *Image) Bounds() image.Rectangle { return image.Rect(0, 0, m.Width, m.Height) }

// Check tells whether every sample that the size promises is there.
func (m *Image) Check() error {
	if m.Width <= 0 || m.Height <= 0 {
		return fmt.Errorf("frame: empty picture of %d×%d", m.Width, m.Height)
	}
	if m.Width > MaxSide || m.Height > MaxSide {
		return fmt.Errorf("frame: picture of %d×%d is larger than %d a side", m.Width, m.Height, MaxSide)
	}
	if err := m.Y.check("Y", m.Width, m.Height); err != nil {
		return err
	}
	if m.Gray() {
		if m.V.Pix != nil {
			return errors.New("frame: V plane without U plane")
		}
		return nil
	}
	if m.ShiftX > 2 || m.ShiftY > 2 {
		return fmt.Errorf("frame: chroma subsampling by 2^%d×2^%d", m.ShiftX, m.ShiftY)
	}
	w, h := m.chroma()
	if err := m.U.check("U", w, h); err != nil {
		return err
	}
	if err := m.V.check("V", w, h); err != nil {
		return err
	}
	if lies := m.Y.lies(); m.U.lies() != lies || m.V.lies() != lies {
		return errors.New("frame: planes that lie in memory in different ways")
	}
	return nil
}

// chroma is the size of the chroma planes.
func (m *Image) chroma() (w, h int) {
	return (m.Width + 1<<m.ShiftX - 1) >> m.ShiftX, (m.Height + 1<<m.ShiftY - 1) >> m.ShiftY
}

// farthest bounds strides, so that no sum of them overflows.
const farthest = 1 << 30

func (p Plane) check(name string, w, h int) error {
	step, stride := max(p.Step, -p.Step), max(p.Stride, -p.Stride)
	if step < 1 || stride < 1 || step > farthest || stride > farthest ||
		int64(stride) < int64(w-1)*int64(step)+1 && int64(step) < int64(h-1)*int64(stride)+1 {
		return fmt.Errorf("frame: %s plane: stride %d and step %d for %d samples a row", name, p.Stride, p.Step, w)
	}
	across, down := int64(w-1)*int64(p.Step), int64(h-1)*int64(p.Stride)
	first := int64(p.Origin) + min(across, 0) + min(down, 0)
	if need := int64(p.Origin) + max(across, 0) + max(down, 0) + 1; first < 0 || int64(len(p.Pix)) < need {
		return fmt.Errorf("frame: %s plane: %d bytes, need %d", name, len(p.Pix), need-min(first, 0))
	}
	return nil
}

// lies tells the signs of step and stride.
func (p *Plane) lies() [2]bool { return [2]bool{p.Step < 0, p.Stride < 0} }

// FromImage gives a decoded picture as an Image. Y'CbCr and gray pictures are aliased, all others converted once.
func FromImage(src image.Image) Image {
	b := src.Bounds()
	w, h := b.Dx(), b.Dy()
	switch s := src.(type) {
	case *image.YCbCr:
		if sx, sy, ok := subsampling(s.SubsampleRatio); ok && b.Min == (image.Point{}) {
			return Image{Width: w, Height: h, ShiftX: sx, ShiftY: sy, Full: true,
				Y: plane(s.Y, s.YStride, 1), U: plane(s.Cb, s.CStride, 1), V: plane(s.Cr, s.CStride, 1)}
		}
	case *image.Gray:
		if b.Min == (image.Point{}) {
			return Grey(s.Pix, w, h, s.Stride)
		}
	}
	return convert(src)
}

func subsampling(r image.YCbCrSubsampleRatio) (sx, sy uint8, ok bool) {
	switch r {
	case image.YCbCrSubsampleRatio444:
		return 0, 0, true
	case image.YCbCrSubsampleRatio422:
		return 1, 0, true
	case image.YCbCrSubsampleRatio420:
		return 1, 1, true
	case image.YCbCrSubsampleRatio440:
		return 0, 1, true
	case image.YCbCrSubsampleRatio411:
		return 2, 0, true
	case image.YCbCrSubsampleRatio410:
		return 2, 1, true
	}
	return 0, 0, false
}
