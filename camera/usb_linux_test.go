package camera

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"unsafe"

	"github.com/blackjack/webcam"
	"golang.org/x/sys/unix"
)

func TestNodeOfACamerasUSBDevice(t *testing.T) {
	root := t.TempDir()
	r := roots{dev: filepath.Join(root, "dev"), sys: filepath.Join(root, "sys")}
	usb := filepath.Join(r.sys, "devices", "pci0", "usb1", "1-2")
	for dir, files := range map[string]map[string]string{
		filepath.Join(usb, "1-2:1.0"): nil,
		usb:                           {"busnum": "1\n", "devnum": "17\n"},
		filepath.Join(r.sys, "devices", "vivid.0"):   nil,
		filepath.Join(r.sys, "class", "video4linux"): nil,
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for node, target := range map[string]string{"video0": filepath.Join(usb, "1-2:1.0"), "video2": filepath.Join(r.sys, "devices", "vivid.0")} {
		dir := filepath.Join(r.sys, "class", "video4linux", node)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, "device")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := r.usb("/dev/video0"); err != nil || got != filepath.Join(r.dev, "bus", "usb", "001", "017") {
		t.Errorf("%q, %v", got, err)
	}
	for _, node := range []string{"/dev/video2", "/dev/video7"} {
		if got, err := r.usb(node); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %q, %v", node, got, err)
		}
	}
	d := &device{roots: r, node: "/dev/video0"}
	if err := d.reset(); !errors.Is(err, unix.ENOENT) { // there is no such bus here
		t.Errorf("reset: %v", err)
	}
}

func TestCameraIsFoundUnderAnotherNumber(t *testing.T) {
	dev := t.TempDir()
	link := filepath.Join(dev, "v4l", "by-id", "usb-cam")
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(node string) string {
		path := filepath.Join(dev, node)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	node := put("video0")
	d := &device{roots: roots{dev: dev}, o: Options{Path: node}}
	if got := d.path(); got != node || !d.present() {
		t.Errorf("%s before anything happens", got)
	}
	if err := os.Remove(node); err != nil {
		t.Fatal(err)
	}
	if d.present() || d.path() != node {
		t.Error("a camera that is nowhere is found")
	}
	d.link.Store(link) // as it was opened by
	if d.present() || d.waits(&uevent{node: "video2"}) {
		t.Error("a camera that is away is found")
	}
	put("video2")
	if err := os.Symlink("../../video2", link); err != nil {
		t.Fatal(err)
	}
	if got := d.path(); got != link || !d.present() || !d.waits(&uevent{node: "video2"}) || d.waits(&uevent{node: "video3"}) {
		t.Errorf("it is %s, at video2", got)
	}
	put("video0") // somebody else's, perhaps: what is configured comes first
	if got := d.path(); got != node {
		t.Errorf("%s while there is one at the path", got)
	}
}

// The kernel tells structures apart by their size, which is in the request's number: webcam's is known to work.
func TestRequestForABufferIsTheKernels(t *testing.T) {
	if vidiocDQBuf != webcam.VIDIOC_DQBUF {
		t.Errorf("%#x, and webcam has %#x", vidiocDQBuf, webcam.VIDIOC_DQBUF)
	}
	var b v4l2Buffer
	if got := [...]uintptr{unsafe.Offsetof(b.stamp), unsafe.Offsetof(b.sequence), unsafe.Offsetof(b.memory), unsafe.Sizeof(b)}; strconv.IntSize == 64 && got != [...]uintptr{24, 56, 60, 88} {
		t.Errorf("the members are at %v", got)
	}
}
