package camera

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// identify finds out who is behind an open node: by its number, since names can be changed.
func (r roots) identify(n node, caps *v4l2Capability) identity {
	folder := ""
	if rdev, err := n.number(); err == nil {
		folder = r.behind(fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev)))
	}
	i := r.who(folder)
	i.bus, i.virtual = cString(caps.busInfo[:]), madeUp(cString(caps.driver[:]), strings.TrimPrefix(folder, r.sys))
	return i
}

// number is that of the device behind a descriptor.
func (n node) number() (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(n), &st)
	return uint64(st.Rdev), err
}

// behind is the folder of /sys/devices of a character device; "" if there is none.
func (r roots) behind(number string) string {
	folder, err := filepath.EvalSymlinks(filepath.Join(r.sys, "dev", "char", number))
	if err != nil {
		return ""
	}
	return folder
}

// who reads the USB device that a folder belongs to, if it does.
func (r roots) who(folder string) (i identity) {
	if folder == "" {
		return i
	}
	for at := folder; strings.HasPrefix(at, r.sys) && at != r.sys && at != "/"; at = filepath.Dir(at) {
		if i.vendor = word(at, "idVendor"); i.vendor != "" {
			i.product, i.serial = word(at, "idProduct"), plainSerial(word(at, "serial"))
			return i
		}
	}
	return i
}

func word(folder, name string) string {
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
