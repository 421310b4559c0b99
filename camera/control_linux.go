package camera

import (
	"encoding/binary"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The part of <linux/videodev2.h> that is about controls.
type (
	v4l2QueryCtrl struct {
		id, kind              uint32
		name                  [32]byte
		min, max, step, usual int32
		flags                 uint32
		_                     [2]uint32
	}
	// v4l2QueryMenu is packed in the kernel: a name of 32 bytes, or a number in the first eight of them.
	v4l2QueryMenu struct {
		id, index uint32
		name      [32]byte
		_         uint32
	}
	v4l2Control struct {
		id    uint32
		value int32
	}
)

const (
	controlDisabled  = 0x1
	controlReadOnly  = 0x4
	controlInactive  = 0x10
	controlWriteOnly = 0x40
	controlNext      = 0x80000000
	mostItems        = 64
)

// controlType is "" for those whose value isn't one number of 32 bits.
func controlType(kind uint32) string {
	switch kind {
	case 1:
		return ControlInteger
	case 2:
		return ControlBoolean
	case 3:
		return ControlMenu
	case 4:
		return ControlButton
	case 8:
		return ControlBitmask
	case 9:
		return ControlIntegerMenu
	}
	return ""
}

var (
	vidiocGCtrl     = ioc(3, 27, unsafe.Sizeof(v4l2Control{}))
	vidiocSCtrl     = ioc(3, 28, unsafe.Sizeof(v4l2Control{}))
	vidiocQueryCtrl = ioc(3, 36, unsafe.Sizeof(v4l2QueryCtrl{}))
	vidiocQueryMenu = ioc(3, 37, unsafe.Sizeof(v4l2QueryMenu{}))
)

var _ panel = node(0)

// controls lists what can be set with one number each. Of two with one name the first counts.
func (n node) controls() []Control {
	out := []Control{}
	seen := map[string]bool{}
	for id, i := uint32(0), 0; i < maxEnumerate; i++ {
		q := v4l2QueryCtrl{id: id | controlNext}
		if ioctl(n, vidiocQueryCtrl, &q) != nil || q.id <= id {
			break
		}
		id = q.id
		if c, ok := n.describe(&q); ok && c.Name != "" && !seen[c.Name] {
			seen[c.Name] = true
			out = append(out, c)
		}
	}
	return out
}

func (n node) control(id uint32) (Control, error) {
	q := v4l2QueryCtrl{id: id}
	if err := ioctl(n, vidiocQueryCtrl, &q); err != nil {
		return Control{}, err
	}
	c, ok := n.describe(&q)
	if !ok {
		return c, unix.EINVAL
	}
	return c, nil
}

// describe is false for what isn't there, has no number, or can't be read though it could.
func (n node) describe(q *v4l2QueryCtrl) (Control, bool) {
	kind := controlType(q.kind)
	if kind == "" || q.flags&controlDisabled != 0 {
		return Control{}, false
	}
	c := Control{Name: controlName(cString(q.name[:])), Type: kind, Min: q.min, Max: q.max, Step: q.step, Default: q.usual, id: q.id,
		Inactive: q.flags&controlInactive != 0, ReadOnly: q.flags&controlReadOnly != 0, mute: q.flags&controlWriteOnly != 0}
	if kind == ControlMenu || kind == ControlIntegerMenu {
		c.Items = n.items(q)
	}
	if kind != ControlButton && !c.mute {
		v := v4l2Control{id: q.id}
		if ioctl(n, vidiocGCtrl, &v) != nil {
			return c, false
		}
		c.Value = v.value
	}
	return c, true
}

func (n node) items(q *v4l2QueryCtrl) []MenuItem {
	out := []MenuItem{}
	for i := max(q.min, 0); i <= q.max && len(out) < mostItems; i++ {
		m := v4l2QueryMenu{id: q.id, index: uint32(i)}
		if ioctl(n, vidiocQueryMenu, &m) != nil {
			continue // menus have holes
		}
		text := cString(m.name[:])
		if controlType(q.kind) == ControlIntegerMenu {
			text = strconv.FormatInt(int64(binary.NativeEndian.Uint64(m.name[:])), 10)
		}
		out = append(out, MenuItem{i, text})
	}
	return out
}

func (n node) set(id uint32, value int32) error {
	return ioctl(n, vidiocSCtrl, &v4l2Control{id, value})
}

// Adjust sets controls of a device that somebody may be using, at once, and tells what couldn't be set. They stay until it is opened anew or
// loses its power.
func Adjust(path string, wanted map[string]string) error {
	n, err := openNode(path)
	if err != nil {
		return fault("open", path, err, nil)
	}
	defer n.close()
	if e := unheeded(path, apply(n, wanted)); e != nil {
		return e
	}
	return nil
}
