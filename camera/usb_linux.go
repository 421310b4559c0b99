package camera

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const usbdevfsReset = 'U'<<8 | 20

// usb gives the node under /dev/bus/usb of the device that a video node belongs to. errors.ErrUnsupported: it isn't a USB device.
func (r roots) usb(node string) (string, error) {
	at, err := filepath.EvalSymlinks(filepath.Join(r.sys, "class", "video4linux", filepath.Base(node), "device"))
	if err != nil {
		return "", errors.ErrUnsupported // it is gone, and will be looked for
	}
	// The node's device is an interface of the camera; what has an address on the bus is above it.
	for range 3 {
		bus, err := number(filepath.Join(at, "busnum"))
		if err == nil {
			var address int
			if address, err = number(filepath.Join(at, "devnum")); err == nil {
				return filepath.Join(r.dev, "bus", "usb", fmt.Sprintf("%03d", bus), fmt.Sprintf("%03d", address)), nil
			}
		}
		at = filepath.Dir(at)
	}
	return "", errors.ErrUnsupported
}

func number(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// resetUSB takes as long as the device does, some seconds at most: the kernel gives up then.
func resetUSB(path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), usbdevfsReset, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
