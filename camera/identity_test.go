package camera

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestAnotherCameraIsNotTaken(t *testing.T) {
	usb := identity{vendor: "046d", product: "082d", serial: "12345678", bus: "usb-0000:00:14.0-1"}
	bare := identity{vendor: "046d", product: "082d", bus: "usb-0000:00:14.0-2"}
	board := identity{bus: "platform:csi"}
	made := identity{bus: "platform:vivid-000", virtual: "its driver is vivid"}
	for _, c := range []struct {
		name string
		is   identity
		pins string
		may  bool
		err  error
	}{
		{"anybody", usb, "", false, nil},
		{"its serial number", usb, "usb:046d:082d:12345678", false, nil},
		{"its product alone", usb, "usb:046d:082d", false, nil},
		{"its place", usb, "bus:usb-0000:00:14.0-1", false, nil},
		{"product and place", bare, "usb:046d:082d bus:usb-0000:00:14.0-2", false, nil},
		{"no USB device, by its place", board, "bus:platform:csi", false, nil},
		{"another serial number", usb, "usb:046d:082d:12345679", false, errStranger},
		{"a serial number that it doesn't have", bare, "usb:046d:082d:12345678", false, errStranger},
		{"another product", usb, "usb:046d:082e", false, errStranger},
		{"another vendor", usb, "usb:046e:082d:12345678", false, errStranger},
		{"another place", usb, "bus:usb-0000:00:14.0-2", false, errStranger},
		{"the right product at another place", bare, "usb:046d:082d bus:usb-0000:00:14.0-1", false, errStranger},
		{"no USB device, by vendor", board, "usb:046d:082d", false, errStranger},
		{"nobody", identity{}, "bus:platform:csi", false, errStranger},
		{"a virtual one", made, "", false, errVirtual},
		{"a virtual one by its place", made, "bus:platform:vivid-000", false, errVirtual},
		{"a virtual one that may be", made, "", true, nil},
		{"another virtual one than that which may be", made, "bus:platform:vivid-001", true, errStranger},
	} {
		o := Options{Identity: strings.Fields(c.pins), AllowVirtual: c.may}
		if err := o.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		err := c.is.check(&o)
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if e := fault("open", "/dev/video0", err, nil); err != nil && (e.Code != CodeSuspect || !e.failed || e.Hint() == "") {
			t.Errorf("%s: %+v", c.name, e)
		}
		own := Options{Identity: c.is.pins(), AllowVirtual: true}
		if err := c.is.check(&own); err != nil || own.Check() != nil {
			t.Errorf("%s: what is listed of it, %q, doesn't name it: %v", c.name, own.Identity, err)
		}
	}
}

func TestIdentitiesThatCannotBe(t *testing.T) {
	for _, s := range []string{"", "usb:", "usb:46d:082d", "usb:046D:082d", "usb:046d:082d:", "usb:046d:082d:a b", "bus:", "046d:082d", "bus:" + strings.Repeat("x", 100)} {
		o := Options{Identity: []string{s}}
		if o.Check() == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestSerialNumbersAreOneWord(t *testing.T) {
	for in, want := range map[string]string{"A1.b-_": "A1.b-_", " a b/c:ü ": "a_b_c__", "": "", strings.Repeat("1", 200): strings.Repeat("1", 126)} {
		if got := plainSerial(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestTellsWhatIsMadeUp(t *testing.T) {
	for _, c := range []struct {
		driver, folder string
		virtual        bool
	}{
		{"uvcvideo", "/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/video4linux/video0", false},
		{"bcm2835-isp", "/devices/platform/soc/fe801000.csi/video4linux/video0", false},
		{"uvcvideo", "/devices/platform/vhci_hcd.0/usb3/3-1/3-1:1.0/video4linux/video0", true},
		{"uvcvideo", "/devices/platform/dummy_hcd.0/usb3/3-1/3-1:1.0/video4linux/video0", true},
		{"v4l2 loopback", "/devices/virtual/video4linux/video10", true},
		{"harmless", "/devices/virtual/video4linux/video10", true},
		{"vivid", "/devices/platform/vivid.0/video4linux/video0", true},
		{"renamed", "/devices/platform/vivid.0/video4linux/video0", true},
		{"uvcvideo", "", true},
	} {
		if got := madeUp(c.driver, c.folder); (got != "") != c.virtual {
			t.Errorf("%s at %q: %q", c.driver, c.folder, got)
		}
	}
}

func TestIdentityIsReadOffTheSystem(t *testing.T) {
	if !slices.Equal((&identity{vendor: "1d6b", product: "0102", bus: "usb-1"}).pins(), []string{"usb:1d6b:0102", "bus:usb-1"}) {
		t.Error("a device without a serial number isn't named by its place, too")
	}
}
