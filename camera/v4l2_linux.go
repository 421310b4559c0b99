package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/blackjack/webcam"
	"golang.org/x/sys/unix"
)

// The part of <linux/videodev2.h> that webcam doesn't do, or not truly: which formats and sizes there are on
// ranges, what the node itself can do, what S_FMT really gave, and what the driver says of a frame: its number, when it was
// captured, and whether it is faulty.
type (
	v4l2Capability struct {
		driver        [16]byte
		card, busInfo [32]byte
		_             uint32 // version
		caps, node    uint32 // of the whole device; of this node
		_             [3]uint32
	}
	v4l2FmtDesc struct {
		index, kind uint32
		_           uint32 // flags
		description [32]byte
		pixelformat uint32
		_           [4]uint32
	}
	v4l2FrmSize struct {
		index, pixelformat, kind uint32
		u                        [6]uint32 // width and height; or least, most and step of each
		_                        [2]uint32
	}
	v4l2FrmIval struct {
		index, pixelformat, width, height, kind uint32
		u                                       [6]uint32 // a fraction of a second; or least, most and step
		_                                       [2]uint32
	}
	v4l2PixFormat struct {
		width, height, pixelformat, field, bytesPerLine, sizeImage, colorspace uint32
		priv, flags, encoding, quantization, transfer                          uint32
	}
	v4l2Format struct {
		kind uint32
		u    [25]uint64 // 64-bit elements give the union C's alignment on every architecture
	}
	v4l2Buffer struct {
		index, kind, bytesUsed, flags uint32
		_                             uint32       // field
		stamp                         unix.Timeval // on 32 bits the kernel knows both lengths by the request's number
		_                             [4]uint32    // timecode
		sequence, memory              uint32
		_                             uintptr // where it is mapped
		_, _, _                       uint32  // length; reserved; request
	}
)

const (
	capCapture       = 0x1
	capOutput        = 0x2
	capCaptureMPlane = 0x1000
	capM2MMPlane     = 0x4000
	capM2M           = 0x8000
	capStreaming     = 0x4000000
	capDeviceCaps    = 0x80000000

	kindCapture  = 1
	memoryMapped = 1
	bufferFaulty = 0x40
	stampKinds   = 0xe000
	stampOurs    = 0x2000 // CLOCK_MONOTONIC, as time.Now has it
	discrete     = 1
	colorJPEG    = 7
	quantFull    = 1
	quantLimited = 2
	maxEnumerate = 256 // no driver has more; one that never ends must not hang us
)

// How many buffers the driver fills: one that is read, one ready, two being filled.
const buffers = 4

func ioc(dir, nr, size uintptr) uintptr { return dir<<30 | size<<16 | 'V'<<8 | nr }

var (
	vidiocQueryCap  = ioc(2, 0, unsafe.Sizeof(v4l2Capability{}))
	vidiocEnumFmt   = ioc(3, 2, unsafe.Sizeof(v4l2FmtDesc{}))
	vidiocGFmt      = ioc(3, 4, unsafe.Sizeof(v4l2Format{}))
	vidiocDQBuf     = ioc(3, 17, unsafe.Sizeof(v4l2Buffer{}))
	vidiocFrmSizes  = ioc(3, 74, unsafe.Sizeof(v4l2FrmSize{}))
	vidiocFrmIvals  = ioc(3, 75, unsafe.Sizeof(v4l2FrmIval{}))
	errNoDescriptor = errors.New("this version of webcam hides its descriptor")
	errNoBuffers    = errors.New("this version of webcam hides its buffers")
)

// node is a descriptor to ask a device; nothing is streamed through it.
type node int

func openNode(path string) (node, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return node(fd), err
		}
	}
}

func (n node) close() { unix.Close(int(n)) }

func ioctl[T any](n node, request uintptr, arg *T) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n), request, uintptr(unsafe.Pointer(arg)))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// capabilities asks what the node can do; the device's other nodes may do other things.
func (n node) capabilities() (c v4l2Capability, err error) {
	err = ioctl(n, vidiocQueryCap, &c)
	if c.caps&capDeviceCaps == 0 {
		c.node = c.caps
	}
	return c, err
}

// capture checks that the node is one that webcam can capture from.
func (c *v4l2Capability) capture() error {
	switch {
	case c.node&(capM2M|capM2MMPlane) != 0:
		return errNotCapture
	case c.node&capCapture != 0 && c.node&capStreaming != 0:
		return nil
	case c.node&capCapture != 0:
		return fmt.Errorf("%w: it can't stream", errNotCapture)
	case c.node&capCaptureMPlane != 0:
		return errMultiPlanar
	}
	return errNotCapture
}

func (n node) formats() []FormatInfo {
	var out []FormatInfo
	for i := range uint32(maxEnumerate) {
		d := v4l2FmtDesc{index: i, kind: kindCapture}
		if ioctl(n, vidiocEnumFmt, &d) != nil {
			break
		}
		f := FormatInfo{FourCC: fourCC(d.pixelformat), Description: cString(d.description[:]), Sizes: []SizeInfo{}}
		if !slices.ContainsFunc(out, func(g FormatInfo) bool { return g.FourCC == f.FourCC }) {
			f.Sizes = n.sizes(d.pixelformat)
			out = append(out, f)
		}
	}
	return out
}

func (n node) sizes(format uint32) []SizeInfo {
	out := []SizeInfo{}
	for i := range uint32(maxEnumerate) {
		s := v4l2FrmSize{index: i, pixelformat: format}
		if ioctl(n, vidiocFrmSizes, &s) != nil {
			break
		}
		sizes := [][2]int{{int(s.u[0]), int(s.u[1])}}
		if s.kind != discrete {
			sizes = sizeRange{s.u[0], s.u[1], s.u[2], s.u[3], s.u[4], s.u[5]}.usual()
		}
		for _, wh := range sizes {
			known := func(t SizeInfo) bool { return t.Width == wh[0] && t.Height == wh[1] }
			if !slices.ContainsFunc(out, known) {
				out = append(out, SizeInfo{wh[0], wh[1], n.rates(format, wh[0], wh[1])})
			}
		}
		if s.kind != discrete {
			break
		}
	}
	return out
}

func (n node) rates(format uint32, w, h int) []float64 {
	out := []float64{}
	add := func(num, den uint32) {
		if num == 0 || den == 0 {
			return
		}
		if r := math.Round(float64(den)/float64(num)*1000) / 1000; !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	for i := range uint32(maxEnumerate) {
		v := v4l2FrmIval{index: i, pixelformat: format, width: uint32(w), height: uint32(h)}
		if ioctl(n, vidiocFrmIvals, &v) != nil {
			break
		}
		add(v.u[0], v.u[1])
		if v.kind != discrete {
			for _, r := range []uint32{60, 30, 25, 20, 15, 10, 5} { // the usual ones in the range
				if fits := float64(r); fits*ratio(v.u[0], v.u[1]) <= 1 && fits*ratio(v.u[2], v.u[3]) >= 1 {
					add(1, r)
				}
			}
			add(v.u[2], v.u[3])
			break
		}
	}
	slices.SortFunc(out, func(a, b float64) int { return int(math.Copysign(1, b-a)) })
	return out
}

func ratio(num, den uint32) float64 {
	if den == 0 {
		return math.Inf(1)
	}
	return float64(num) / float64(den)
}

// current is what the driver is really set to.
func (n node) current() (layout, error) {
	f := v4l2Format{kind: kindCapture}
	if err := ioctl(n, vidiocGFmt, &f); err != nil {
		return layout{}, err
	}
	p := (*v4l2PixFormat)(unsafe.Pointer(&f.u))
	l := layout{
		format: fourCC(p.pixelformat), width: int(p.width), height: int(p.height), size: int(p.sizeImage),
		limited: p.quantization == quantLimited,
		full:    p.quantization == quantFull || p.quantization == 0 && p.colorspace == colorJPEG,
	}
	if l.format = canonical(l.format); l.format != formatMJPG {
		l.stride = int(p.bytesPerLine)
	}
	return l, nil
}

func fourCC(v uint32) string {
	return strings.Map(func(r rune) rune {
		if r < 32 || r > 126 {
			return '?'
		}
		return r
	}, string([]rune{rune(v & 255), rune(v >> 8 & 255), rune(v >> 16 & 255), rune(v >> 24 & 127)}))
}

func pixelFormat(s string) webcam.PixelFormat {
	s = (s + "   ")[:4]
	return webcam.PixelFormat(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(b)), "?")
}

// device is the driver for V4L2.
type device struct {
	o     Options
	roots roots
	known *Info  // which camera an empty path has come to mean
	node  string // that was opened last
	// link is the name that stays with the camera that was opened last: who has a path that doesn't finds it again under another node.
	link  atomic.Value // of string
	plugs *plugs       // nil where nobody tells what is plugged in
}

var _ driver = (*device)(nil)

func newDevice(o Options) driver {
	d := &device{o: o, roots: systemRoots}
	var err error
	if d.plugs, err = listen(d.waits); err != nil {
		o.Log.Info("nobody tells what is plugged in: cameras are looked for several times a second", "camera", o.Name, "error", err)
	}
	return d
}

// waits tells whether a node that appears is this camera's. Its other names come with udev, which is heard of afterwards.
func (d *device) waits(e *uevent) bool {
	if d.o.Path == "" {
		return true
	}
	for _, path := range []string{d.o.Path, d.elsewhere()} {
		if real, err := filepath.EvalSymlinks(path); err == nil && real == filepath.Join(d.roots.dev, e.node) {
			return true
		}
	}
	return false
}

func (d *device) news() <-chan bool {
	if d.plugs == nil {
		return nil
	}
	return d.plugs.news
}

func (d *device) close() { d.plugs.close() }

// reset resets the USB device that the camera is, as if it was plugged in anew: for some that no longer send anything it is the
// only help. It takes the right to write to the device's node under /dev/bus/usb.
func (d *device) reset() error {
	if d.node == "" {
		return errors.ErrUnsupported
	}
	path, err := d.roots.usb(d.node)
	if err != nil {
		return err
	}
	err = resetUSB(path)
	if err == unix.EACCES || err == unix.EPERM {
		return &Error{Op: "reset", Path: path, Err: err, Code: CodePermission,
			hint: "let the user that runs this write to the camera's USB device by a udev rule, or unplug the camera and plug it in anew"}
	}
	if err != nil {
		return fault("reset", path, err, nil)
	}
	return nil
}

func (d *device) present() bool {
	path := d.path()
	if path == "" {
		if d.known == nil || d.known.ByID == "" {
			return len(d.roots.nodes()) > 0
		}
		path = d.known.ByID
	}
	_, err := os.Stat(path)
	return err == nil
}

// path is where the camera is. One that has another number since it was plugged in again is found by its lasting name.
func (d *device) path() string {
	if _, err := os.Stat(d.o.Path); d.o.Path != "" && errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(d.elsewhere()); err == nil {
			return d.elsewhere()
		}
	}
	return d.o.Path
}

// elsewhere is the lasting name of the camera that was opened last, "" for none.
func (d *device) elsewhere() string {
	link, _ := d.link.Load().(string)
	return link
}

func (d *device) open(context.Context) (stream, error) {
	path := d.path()
	var found *Info
	if path == "" {
		infos, err := d.roots.list()
		if err == nil {
			found, err = choose(infos, d.known, &d.o)
		}
		if err != nil {
			return nil, fault("open", "", err, nil)
		}
		path = found.best()
	}
	s, err := openStream(path, &d.o, d.roots)
	if err != nil {
		return nil, fault("open", path, err, d.roots.holders)
	}
	if found != nil {
		d.known = found
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		d.node = real
		d.link.Store(d.roots.links("by-id")[real])
	}
	return s, nil
}

// video is a device that streams.
type video struct {
	lay     layout
	w       *webcam.Webcam
	poll    [1]unix.PollFd
	mapped  [][]byte    // webcam's buffers
	queued  []time.Time // since when the driver has each of them
	buffer  v4l2Buffer
	counted bool   // a frame came
	number  uint32 // that the driver gave the last one
	closed  bool
	*lights
}

var _ lamp = (*video)(nil)

var _ stream = (*video)(nil)

func openStream(path string, o *Options, r roots) (_ *video, err error) {
	n, err := openNode(path)
	if err != nil {
		return nil, err
	}
	defer n.close()
	caps, err := n.capabilities()
	if err == unix.ENOTTY || err == unix.EINVAL {
		return nil, fmt.Errorf("%w: no V4L2 at all", errNotCapture)
	}
	if err != nil {
		return nil, err
	}
	if caps.node&(capCapture|capOutput) != 0 {
		who := r.identify(n, &caps)
		if err := who.check(o); err != nil {
			return nil, err
		}
	}
	if err := caps.capture(); err != nil {
		if caps.node&capOutput != 0 && cString(caps.driver[:]) == driverLoopback {
			return nil, fmt.Errorf("%w: nothing feeds this loopback device", errNoFormat)
		}
		return nil, err
	}
	offers := n.formats()
	modes := rank(offers, o)
	if len(modes) == 0 {
		var names []string
		for _, f := range offers {
			names = append(names, f.FourCC)
		}
		if o.Format != "" {
			return nil, fmt.Errorf("%w %s; there are: %s", errNoFormat, o.Format, strings.Join(names, ", "))
		}
		return nil, fmt.Errorf("%w that can be used; there are: %s", errNoFormat, strings.Join(names, ", "))
	}

	w, err := webcam.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			release(w)
			w.Close()
		}
	}()
	fd, err := descriptor(w)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	if was, e := n.number(); e != nil {
		return nil, e
	} else if is, e := node(fd).number(); e != nil || is != was {
		return nil, unix.ENODEV // another device has come to be called so meanwhile
	}
	m := modes[0]
	if _, _, _, err = w.SetImageFormat(pixelFormat(m.format), uint32(m.width), uint32(m.height)); err != nil {
		return nil, fmt.Errorf("set format %s %d×%d: %w", m.format, m.width, m.height, err)
	}
	l, err := n.current()
	if err != nil {
		return nil, fmt.Errorf("get format: %w", err)
	}
	if !slices.Contains(formats, l.format) || o.Format != "" && o.Format != l.format {
		return nil, fmt.Errorf("%w %s: the driver stays with %s", errNoFormat, m.format, l.format)
	}
	rate := m.fps
	if rate == 0 {
		rate = o.FPS
	}
	// Many drivers have one rate only and refuse to be told; what counts is what comes out.
	_ = w.SetFramerate(float32(rate))
	if r, e := w.GetFramerate(); e == nil && r > 0 && r < 10000 {
		l.fps = math.Round(float64(r)*1000) / 1000
	}
	l.device = path
	if err = w.SetBufferCount(buffers); err != nil {
		return nil, err
	}
	apply(n, o.Controls) // some drivers don't let all be changed while they stream
	started := time.Now()
	if err = w.StartStreaming(); err != nil {
		return nil, fmt.Errorf("start %s %d×%d: %w", l.format, l.width, l.height, err)
	}
	l.trouble = unheeded(path, apply(n, o.Controls)) // others begin to stream with values of their own
	v := &video{lights: newLights(node(fd)), lay: l, w: w, poll: [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}}
	if v.mapped, err = mapped(w); err != nil {
		return nil, err
	}
	v.queued = slices.Repeat([]time.Time{started}, len(v.mapped))
	return v, nil
}

func (v *video) layout() layout { return v.lay }

func (v *video) read(ctx context.Context, into *raw, wait time.Duration) error {
	v.poll[0].Revents = 0
	n, err := unix.Poll(v.poll[:], int(wait.Milliseconds()))
	if err == unix.EINTR || err == nil && n == 0 {
		return errNoFrame
	}
	if err != nil {
		return v.fault(err)
	}
	b := &v.buffer
	*b = v4l2Buffer{kind: kindCapture, memory: memoryMapped}
	err = ioctl(node(v.poll[0].Fd), vidiocDQBuf, b)
	if err == unix.EAGAIN {
		if v.poll[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			return v.fault(unix.EIO)
		}
		sleep(ctx, min(wait, 5*time.Millisecond)) // readable, but not for us: don't spin
		return errNoFrame
	}
	if err != nil { // whatever it is, the device is gone or must be started anew
		return v.fault(err)
	}
	into.dequeued = time.Now()
	if int64(b.index) >= int64(len(v.mapped)) || int64(b.bytesUsed) > int64(len(v.mapped[b.index])) {
		return v.fault(unix.EIO) // a driver that says a buffer holds more than it has room for
	}
	into.captured = into.dequeued
	if b.flags&stampKinds == stampOurs {
		into.captured = moment(into.dequeued, v.queued[b.index], age(b.stamp))
	}
	into.faulty, into.lost = b.flags&bufferFaulty != 0, 0
	if v.counted {
		into.lost = skipped(v.number, b.sequence)
	}
	v.counted, v.number = true, b.sequence
	into.data = append(into.data[:0], v.mapped[b.index][:b.bytesUsed]...) // the driver writes there again as soon as it is released
	v.queued[b.index] = time.Now()
	if err := v.w.ReleaseFrame(b.index); err != nil {
		return v.fault(err)
	}
	return nil
}

// age is how long ago a moment of the kernel's monotonic clock was.
func age(stamp unix.Timeval) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano() - stamp.Nano())
}

func (v *video) fault(err error) error { return fault("read", v.lay.device, err, nil) }

func (v *video) close() error {
	if v.closed { // webcam would close somebody else's descriptor
		return nil
	}
	v.closed = true
	return v.w.Close()
}

// descriptor looks into webcam, which has no cancellable wait and doesn't lend its descriptor.
func descriptor(w *webcam.Webcam) (int, error) {
	f := reflect.ValueOf(w).Elem().FieldByName("fd")
	if !f.IsValid() || f.Kind() != reflect.Uintptr {
		return -1, errNoDescriptor
	}
	return int(f.Uint()), nil
}

// mapped gives the buffers that webcam has mapped: it doesn't say which one a frame is in without taking it from the driver itself.
func mapped(w *webcam.Webcam) ([][]byte, error) {
	f := reflect.ValueOf(w).Elem().FieldByName("buffers")
	if !f.IsValid() || f.Type() != reflect.TypeFor[[][]byte]() {
		return nil, errNoBuffers
	}
	all := make([][]byte, f.Len())
	for i := range all {
		if b := f.Index(i); b.Len() > 0 {
			all[i] = unsafe.Slice((*byte)(b.UnsafePointer()), b.Len())
		}
	}
	return all, nil
}

// release unmaps what StartStreaming left mapped when it failed: a mapping keeps the device busy for good.
func release(w *webcam.Webcam) {
	buffers, _ := mapped(w)
	for _, b := range buffers {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
}
