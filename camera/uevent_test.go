package camera

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// udevMessage is as systemd's udev sends it: 40 bytes of head, then the properties.
func udevMessage(properties string) []byte {
	b := append([]byte(udevWord), make([]byte, 32)...)
	binary.BigEndian.PutUint32(b[8:], udevMagic)
	for k, v := range []uint32{40, 40, uint32(len(properties))} {
		binary.NativeEndian.PutUint32(b[12+4*k:], v)
	}
	return append(b, properties...)
}

const (
	kernelAdd = "add@/devices/platform/vhci_hcd.0/usb1/1-1/1-1:1.0/video4linux/video0\x00ACTION=add\x00" +
		"DEVPATH=/devices/platform/vhci_hcd.0/usb1/1-1/1-1:1.0/video4linux/video0\x00SUBSYSTEM=video4linux\x00MAJOR=81\x00MINOR=0\x00DEVNAME=video0\x00SEQNUM=1234\x00"
	udevAdd = "ACTION=add\x00DEVPATH=/devices/platform/vivid.0/video4linux/video3\x00SUBSYSTEM=video4linux\x00DEVNAME=/dev/video3\x00" +
		"DEVLINKS=/dev/v4l/by-path/platform-vivid.0-video-index0\x00"
	kernelRemove = "remove@/devices/x/video0\x00ACTION=remove\x00SUBSYSTEM=video4linux\x00DEVNAME=video0\x00"
	usbAdd       = "add@/devices/x/1-1\x00ACTION=add\x00SUBSYSTEM=usb\x00DEVNAME=bus/usb/001/002\x00"
)

func TestUevents(t *testing.T) {
	long := udevMessage(udevAdd)
	binary.NativeEndian.PutUint32(long[20:], uint32(len(udevAdd)+1))
	far := udevMessage(udevAdd)
	binary.NativeEndian.PutUint32(far[16:], 1<<32-1)
	other := udevMessage(udevAdd)
	other[8] = 0
	for _, c := range []struct {
		name    string
		message []byte
		want    uevent
		ok      bool
		appears bool
	}{
		{"the kernel adds a camera", []byte(kernelAdd), uevent{"add", "video4linux", "video0", false}, true, true},
		{"udev adds a camera", udevMessage(udevAdd), uevent{"add", "video4linux", "video3", true}, true, true},
		{"a camera goes", []byte(kernelRemove), uevent{"remove", "video4linux", "video0", false}, true, false},
		{"something else on USB", []byte(usbAdd), uevent{"add", "usb", "bus/usb/001/002", false}, true, false},
		{"no subsystem", []byte("add@/x\x00ACTION=add\x00"), uevent{action: "add"}, false, false},
		{"no properties", []byte("add@/x"), uevent{}, false, false},
		{"empty", nil, uevent{}, false, false},
		{"another word before", []byte("hello\x00ACTION=add\x00SUBSYSTEM=video4linux\x00"), uevent{}, false, false},
		{"cut off within udev's head", long[:20], uevent{}, false, false},
		{"properties longer than the message", long, uevent{}, false, false},
		{"properties beyond the message", far, uevent{}, false, false},
		{"another magic number", other, uevent{}, false, false},
	} {
		e, ok := parseUevent(c.message)
		if e != c.want || ok != c.ok || ok && e.appears() != c.appears {
			t.Errorf("%s: %+v, %v", c.name, e, ok)
		}
	}
}

func FuzzUevent(f *testing.F) {
	for _, m := range [][]byte{[]byte(kernelAdd), udevMessage(udevAdd), []byte(kernelRemove), []byte(usbAdd), nil, []byte(udevWord), []byte("@\x00=\x00")} {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, m []byte) {
		was := bytes.Clone(m)
		e, ok := parseUevent(m)
		if !bytes.Equal(m, was) {
			t.Error("the message was altered")
		}
		if ok && (e.action == "" || e.subsystem == "") || e.appears() && !ok {
			t.Errorf("%+v, %v", e, ok)
		}
		if e.settled && !bytes.HasPrefix(m, []byte(udevWord)) {
			t.Errorf("%+v isn't udev's", e)
		}
	})
}
