package camera

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	errVirtual  = errors.New("a virtual camera, into which anybody can put pictures")
	errStranger = errors.New("another camera than identity names")
)

// identity is who a device is, as far as it says so itself and the system knows where it is.
type identity struct {
	vendor, product, serial string // of a USB device; serial "" where it has none
	bus                     string // where it is plugged in, by the driver
	virtual                 string // why it counts as one; "" for a camera
}

const (
	driverLoopback = "v4l2 loopback"
	driverVivid    = "vivid"

	pinUSB = "usb:"
	pinBus = "bus:"
)

var usbPin = regexp.MustCompile(`^usb:[0-9a-f]{4}:[0-9a-f]{4}(:[A-Za-z0-9._-]{1,126})?$`)

// CheckIdentity tells what of Options.Identity can't be.
func CheckIdentity(pin string) error {
	if bus, is := strings.CutPrefix(pin, pinBus); is && bus != "" && len(bus) < 64 {
		return nil
	}
	if usbPin.MatchString(pin) {
		return nil
	}
	return fmt.Errorf("identity %q: usb:VENDOR:PRODUCT, usb:VENDOR:PRODUCT:SERIAL with four small hexadecimal digits each, or bus:PLACE, as livenessd cameras lists them", pin)
}

// pins are what identity can hold of it: all of them together name it as well as can be.
func (i *identity) pins() []string {
	switch {
	case i.vendor != "" && i.serial != "":
		return []string{pinUSB + i.vendor + ":" + i.product + ":" + i.serial}
	case i.vendor != "":
		return append([]string{pinUSB + i.vendor + ":" + i.product}, i.place()...)
	}
	return i.place()
}

func (i *identity) place() []string {
	if i.bus == "" {
		return nil
	}
	return []string{pinBus + i.bus}
}

// has tells whether a pin holds.
func (i *identity) has(pin string) bool {
	if bus, is := strings.CutPrefix(pin, pinBus); is {
		return i.bus != "" && bus == i.bus
	}
	usb := pinUSB + i.vendor + ":" + i.product
	return i.vendor != "" && (pin == usb || i.serial != "" && pin == usb+":"+i.serial)
}

// check tells why a device mustn't be the camera of the options; nil where it may.
func (i *identity) check(o *Options) error {
	for _, pin := range o.Identity {
		if !i.has(pin) {
			is := strings.Join(i.pins(), " ")
			if is == "" {
				is = "one that doesn't say who it is"
			}
			return fmt.Errorf("%w: it is %s, and not %s", errStranger, is, pin)
		}
	}
	if i.virtual != "" && !o.AllowVirtual {
		return fmt.Errorf("%w: %s", errVirtual, i.virtual)
	}
	return nil
}

// plainSerial makes a serial number one word, as udev does.
func plainSerial(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, strings.TrimSpace(s))
	return s[:min(len(s), 126)]
}

// madeUp tells why a device is no camera by its driver and by where the kernel has it: a folder of /sys/devices. "" is a camera.
func madeUp(driver, folder string) string {
	switch driver {
	case driverLoopback, driverVivid, "vimc", "vim2m", "vicodec", "visl", "akvcam":
		return "its driver is " + driver
	}
	if folder == "" {
		return "/sys doesn't say what is behind it"
	}
	for part := range strings.SplitSeq(folder, "/") {
		name, _, _ := strings.Cut(part, ".")
		switch name {
		case "virtual":
			return "no device is behind it"
		case "vhci_hcd":
			return "it is a USB device over the network (usbip)"
		case "dummy_hcd", "dummy_udc":
			return "it is a USB device that this machine makes itself (" + name + ")"
		case "vivid", "vimc":
			return "it is a device of " + name
		}
	}
	return ""
}
