package camera

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/blackjack/webcam"
	"golang.org/x/sys/unix"
)

// fixture is a /dev, /sys and /proc.
func fixture(t *testing.T) roots {
	t.Helper()
	dir := t.TempDir()
	r := roots{filepath.Join(dir, "dev"), filepath.Join(dir, "sys"), filepath.Join(dir, "proc")}
	for _, d := range []string{r.dev + "/v4l/by-id", r.dev + "/v4l/by-path", r.proc + "/7/fd", r.proc + "/8/fd", r.sys + "/class/video4linux/video3"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func TestNodesAreSortedByNumber(t *testing.T) {
	r := fixture(t)
	for _, n := range []string{"video10", "video2", "video0", "video1x", "vbi0"} {
		write(t, r.dev, n, nil)
	}
	var got []string
	for _, n := range r.nodes() {
		got = append(got, filepath.Base(n))
	}
	if want := []string{"video0", "video2", "video10"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFindsTheLastingNamesOfNodes(t *testing.T) {
	r := fixture(t)
	node := filepath.Join(r.dev, "video0")
	write(t, r.dev, "video0", nil)
	link(t, "../../video0", r.dev+"/v4l/by-id/usb-Cam_123-video-index0")
	link(t, node, r.dev+"/v4l/by-path/pci-0-usb-0:1-video-index0")
	if got := r.links("by-id")[node]; filepath.Base(got) != "usb-Cam_123-video-index0" {
		t.Errorf("by-id: %q", got)
	}
	if got := r.links("by-path")[node]; filepath.Base(got) != "pci-0-usb-0:1-video-index0" {
		t.Errorf("by-path: %q", got)
	}
}

func TestFilesThatAreNoDevicesAreNotListed(t *testing.T) {
	r := fixture(t)
	write(t, r.dev, "video0", nil)
	infos, err := r.list()
	if err != nil || len(infos) != 0 {
		t.Errorf("got %+v, %v", infos, err)
	}
	if _, err := (roots{dev: filepath.Join(r.dev, "none")}).list(); err == nil {
		t.Error("no /dev at all is no error")
	}
}

func TestRefusedDeviceIsListedWithItsReason(t *testing.T) {
	r := fixture(t)
	folder := filepath.Join(r.sys, "class/video4linux/video3")
	write(t, folder, "name", []byte("Integrated Camera\n"))
	i := Info{Path: filepath.Join(r.dev, "video3")}
	for index, want := range map[string]bool{"0\n": true, "1\n": false} {
		write(t, folder, "index", []byte(index))
		if got := r.describeClosed(&i, unix.EACCES); got != want {
			t.Errorf("node %q of a device that can't be opened is listed: %v", index, got)
		}
	}
	if i.Usable || i.Card != "Integrated Camera" || i.Reason == "" {
		t.Errorf("%+v", i)
	}
	if _, err := choose([]Info{i}, nil, &Options{}); fault("open", "", err, nil).Code != CodePermission {
		t.Errorf("the only camera is refused, and the error is %v", err)
	}
	if r.describeClosed(&i, unix.ENODEV) {
		t.Error("a device that just went is listed")
	}
}

func TestFindsTheUSBDeviceBehindANode(t *testing.T) {
	r := fixture(t)
	dir, err := filepath.EvalSymlinks(r.sys) // the folder may have other names
	if err != nil {
		t.Fatal(err)
	}
	r.sys = dir
	device := filepath.Join(r.sys, "devices/pci0000:00/0000:00:14.0/usb1/1-1")
	node := filepath.Join(device, "1-1:1.0/video4linux/video0")
	for _, d := range []string{node, filepath.Join(r.sys, "devices/platform/csi/video4linux/video1"), filepath.Join(r.sys, "dev/char")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, device, "idVendor", []byte("046d\n"))
	write(t, device, "idProduct", []byte("082d\n"))
	link(t, "../../devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/video4linux/video0", r.sys+"/dev/char/81:0")
	link(t, "../../devices/platform/csi/video4linux/video1", r.sys+"/dev/char/81:1")
	if got := r.who(r.behind("81:0")); got != (identity{vendor: "046d", product: "082d"}) {
		t.Errorf("without a serial number: %+v", got)
	}
	write(t, device, "serial", []byte("AB 12\n"))
	if got := r.who(r.behind("81:0")); got.serial != "AB_12" {
		t.Errorf("serial number %q", got.serial)
	}
	if got := madeUp("uvcvideo", r.behind("81:0")[len(r.sys):]); got != "" {
		t.Errorf("a USB camera is virtual: %s", got)
	}
	for _, number := range []string{"81:1", "81:2"} {
		if got := r.who(r.behind(number)); got != (identity{}) {
			t.Errorf("%s is %+v", number, got)
		}
	}
}

func TestNamesWhoHoldsADevice(t *testing.T) {
	r := fixture(t)
	write(t, r.dev, "video0", nil)
	node, err := filepath.EvalSymlinks(filepath.Join(r.dev, "video0"))
	if err != nil {
		t.Fatal(err)
	}
	byID := r.dev + "/v4l/by-id/cam"
	link(t, "../../video0", byID)
	write(t, r.proc+"/7", "comm", []byte("cheese\n"))
	link(t, node, r.proc+"/7/fd/3")
	link(t, node, r.proc+"/7/fd/4")
	link(t, "/dev/null", r.proc+"/8/fd/0")
	if err := os.MkdirAll(r.proc+"/9/task/10/fd", 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, node, r.proc+"/9/task/10/fd/3")
	write(t, r.proc+"/9", "comm", []byte("stuck\n"))
	own := filepath.Join(r.proc, strconv.Itoa(os.Getpid()), "fd")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, node, own+"/9")
	if got := r.holders(byID); got != "cheese (process 7), stuck (process 9)" {
		t.Errorf("got %q", got)
	}
	if got := r.holders(r.dev + "/none"); got != "" {
		t.Errorf("nobody holds what isn't there: %q", got)
	}
}

func TestOpeningWhatIsNoCamera(t *testing.T) {
	o := Options{}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "file", nil)
	for path, want := range map[string]error{dir + "/none": unix.ENOENT, dir + "/file": errNotCapture, "/dev/null": errNotCapture} {
		if _, err := openStream(path, &o, systemRoots); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestStructsHaveTheKernelsSizes(t *testing.T) {
	format := uintptr(204)
	if unsafe.Sizeof(uintptr(0)) == 8 {
		format = 208
	}
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"v4l2_capability", unsafe.Sizeof(v4l2Capability{}), 104},
		{"v4l2_fmtdesc", unsafe.Sizeof(v4l2FmtDesc{}), 64},
		{"v4l2_frmsizeenum", unsafe.Sizeof(v4l2FrmSize{}), 44},
		{"v4l2_frmivalenum", unsafe.Sizeof(v4l2FrmIval{}), 52},
		{"v4l2_pix_format", unsafe.Sizeof(v4l2PixFormat{}), 48},
		{"v4l2_format", unsafe.Sizeof(v4l2Format{}), format},
		{"VIDIOC_QUERYCAP", vidiocQueryCap, webcam.VIDIOC_QUERYCAP},
		{"VIDIOC_ENUM_FMT", vidiocEnumFmt, webcam.VIDIOC_ENUM_FMT},
		{"VIDIOC_ENUM_FRAMESIZES", vidiocFrmSizes, webcam.VIDIOC_ENUM_FRAMESIZES},
		{"VIDIOC_ENUM_FRAMEINTERVALS", vidiocFrmIvals, webcam.VIDIOC_ENUM_FRAMEINTERVALS},
		{"VIDIOC_G_FMT", vidiocGFmt + 1, webcam.VIDIOC_S_FMT}, // its neighbour in number
	} {
		if c.got != c.want {
			t.Errorf("%s is %#x, want %#x", c.name, c.got, c.want)
		}
	}
}

// What descriptor and release read must be there in the version of webcam that is built in.
func TestWebcamStillHasWhatWeLookInto(t *testing.T) {
	w := new(webcam.Webcam)
	if _, err := descriptor(w); err != nil {
		t.Error(err)
	}
	f, ok := reflect.TypeFor[webcam.Webcam]().FieldByName("buffers")
	if !ok || f.Type != reflect.TypeFor[[][]byte]() {
		t.Errorf("buffers: %v", f.Type)
	}
	release(w) // nothing mapped, nothing to do
}

func TestFourCC(t *testing.T) {
	for _, s := range append(slices.Clone(formats), "JPEG") {
		if got := fourCC(uint32(pixelFormat(s))); len(got) != 4 || strings.TrimRight(got, " ") != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	if got := fourCC(0x00010203); got != "????" {
		t.Errorf("unprintable: %q", got)
	}
}
