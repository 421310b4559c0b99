//go:build cgo

package jpeg

/*
#cgo LDFLAGS: -lturbojpeg
#cgo noescape planes
#cgo nocallback planes
#include <string.h>
#include <turbojpeg.h>

// planes decodes to the given planes. 0 is success, 1 a header that isn't as expected, -1 what the handle tells.
static int planes(tjhandle handle, const unsigned char *src, unsigned long n, int width, int height, int subsampling,
		unsigned char *y, unsigned char *u, unsigned char *v, int yStride, int cStride) {
	int w, h, s, space;
	unsigned char *dst[3] = {y, u, v};
	int strides[3] = {yStride, cStride, cStride};
	if (tjDecompressHeader3(handle, src, n, &w, &h, &s, &space) != 0)
		return -1;
	if (w != width || h != height || s != subsampling || (space != TJCS_YCbCr && space != TJCS_GRAY))
		return 1;
	return tjDecompressToYUVPlanes(handle, src, n, dst, 0, strides, 0, TJFLAG_LIMITSCANS);
}

// padding tells whether the handle's error is but the warning of bytes between the last sample and the end marker.
static int padding(tjhandle handle) {
	static const char end[] = "extraneous bytes before marker 0xd9";
	const char *text = tjGetErrorStr2(handle);
	size_t n = strlen(text);
	while (n > 0 && (text[n-1] == '\n' || text[n-1] == ' '))
		n--;
	return tjGetErrorCode(handle) == TJERR_WARNING && n >= sizeof end - 1 && memcmp(text + n - (sizeof end - 1), end, sizeof end - 1) == 0;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/livenessd/livenessd/camera/frame"
)

// Backend names what decodes in this build.
const Backend = "libjpeg-turbo"

// turbo decodes with libjpeg-turbo.
type turbo struct{ handle C.tjhandle }

var _ backend = (*turbo)(nil)

func newBackend() (backend, error) {
	h := C.tjInitDecompress()
	if h == nil {
		return nil, errors.New("libjpeg-turbo gave no decompressor")
	}
	return &turbo{h}, nil
}

func (t *turbo) close() { C.tjDestroy(t.handle) }

// margin is what rows and columns are rounded up to: no block of any sampling that parse accepts ends beyond
// it, whatever the library makes of the last one.
const margin = 32

func (t *turbo) decode(dst, src []byte, h header) (frame.Image, []byte, error) {
	up := func(n int) int { return (n + margin - 1) / margin * margin }
	stride := up(h.width)
	size := stride * up(h.height)
	var cStride, cSize int
	if !h.gray {
		cStride = up((h.width + 1<<h.shiftX - 1) >> h.shiftX)
		cSize = cStride * up((h.height+1<<h.shiftY-1)>>h.shiftY)
	}
	total := size + 2*cSize
	dst = slices.Grow(dst[:0], total)[:total]

	m := frame.Image{Width: h.width, Height: h.height, Full: true, Y: frame.Plane{Pix: dst[:size:size], Stride: stride, Step: 1}}
	var u, v *C.uchar
	sampling := C.int(C.TJSAMP_GRAY)
	if !h.gray {
		m.ShiftX, m.ShiftY = h.shiftX, h.shiftY
		m.U = frame.Plane{Pix: dst[size : size+cSize : size+cSize], Stride: cStride, Step: 1}
		m.V = frame.Plane{Pix: dst[size+cSize : total : total], Stride: cStride, Step: 1}
		u, v = (*C.uchar)(&m.U.Pix[0]), (*C.uchar)(&m.V.Pix[0])
		switch {
		case h.shiftX == 0 && h.shiftY == 0:
			sampling = C.TJSAMP_444
		case h.shiftX == 1 && h.shiftY == 0:
			sampling = C.TJSAMP_422
		case h.shiftX == 1 && h.shiftY == 1:
			sampling = C.TJSAMP_420
		case h.shiftX == 0 && h.shiftY == 1:
			sampling = C.TJSAMP_440
		default:
			sampling = C.TJSAMP_411
		}
	}
	// The library keeps a warning's text for the thread that earned it, and the next call could be another one's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rc := C.planes(t.handle, (*C.uchar)(unsafe.SliceData(src)), C.ulong(len(src)), C.int(h.width), C.int(h.height), sampling,
		(*C.uchar)(&m.Y.Pix[0]), u, v, C.int(stride), C.int(cStride))
	switch rc {
	case 0:
		return m, dst, nil
	case 1:
		return frame.Image{}, dst, fmt.Errorf("%w: sampling", ErrUnsupported)
	}
	// A warning leaves a partial picture behind, and only the first is told. Padding between the last sample and
	// the end marker is the one that many webcams earn with every frame, and nothing can follow it.
	if C.padding(t.handle) != 0 {
		return m, dst, nil
	}
	return frame.Image{}, dst, turboError(strings.TrimSpace(C.GoString(C.tjGetErrorStr2(t.handle))))
}

// turboError sorts by the library's fixed English messages; it has no codes for them.
func turboError(text string) error {
	low := strings.ToLower(text)
	for _, k := range []struct {
		part string
		is   error
	}{
		{"premature end", ErrTruncated},
		{"unsupported", ErrUnsupported},
		{"not supported", ErrUnsupported},
		{"could not determine subsampling", ErrUnsupported},
		{"limit of", ErrUnsupported},
	} {
		if strings.Contains(low, k.part) {
			return fmt.Errorf("%w: %s", k.is, text)
		}
	}
	return fmt.Errorf("%w: %s", ErrCorrupt, text)
}
