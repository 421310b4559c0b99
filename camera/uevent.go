package camera

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// uevent is what the kernel, or udev after it, says about a device.
type uevent struct {
	action, subsystem string
	node              string // below /dev; "" for devices without one
	settled           bool   // it comes from udev, which has given the node its names and permissions
}

// The head of udev's messages (struct udev_monitor_netlink_header): a word, a magic number in network order, then in the machine's
// order its own size, where the properties are and how long they are.
const (
	udevWord  = "libudev\x00"
	udevMagic = 0xfeedcafe
	udevHead  = 24 // as far as it is read
)

// parseUevent reads a message of the kernel ("ACTION@PATH", then properties) or of udev. Whoever may send these is root, and yet
// nothing is believed but that it is worth a look.
func parseUevent(message []byte) (e uevent, ok bool) {
	if bytes.HasPrefix(message, []byte(udevWord)) {
		if len(message) < udevHead || binary.BigEndian.Uint32(message[8:]) != udevMagic {
			return uevent{}, false
		}
		at, size := uint64(binary.NativeEndian.Uint32(message[16:])), uint64(binary.NativeEndian.Uint32(message[20:]))
		if at < udevHead || at+size > uint64(len(message)) {
			return uevent{}, false
		}
		e.settled = true
		message = message[at : at+size]
	} else {
		head, rest, whole := bytes.Cut(message, []byte{0})
		if !whole || !bytes.ContainsRune(head, '@') {
			return uevent{}, false
		}
		message = rest
	}
	for property := range bytes.SplitSeq(message, []byte{0}) {
		key, value, _ := strings.Cut(string(property), "=")
		switch key {
		case "ACTION":
			e.action = value
		case "SUBSYSTEM":
			e.subsystem = value
		case "DEVNAME": // the kernel leaves the folder out
			e.node = strings.TrimPrefix(value, "/dev/")
		}
	}
	return e, e.action != "" && e.subsystem != ""
}

// appears tells that there is a camera's node that wasn't there, or wasn't ready, before.
func (e *uevent) appears() bool {
	return e.subsystem == "video4linux" && e.node != "" && (e.action == "add" || e.action == "change" || e.action == "bind")
}
