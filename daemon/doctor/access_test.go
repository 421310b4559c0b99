package doctor

import (
	"encoding/binary"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// A device as udev leaves it, and what the kernel would say.
func TestWhoMayOpenADevice(t *testing.T) {
	user := func(groups ...int) Account { return Account{Name: "u", UID: 993, GIDs: groups} }
	device := Ownership{Mode: fs.ModeDevice | 0o660, GID: 44}
	list := func(mask int, grants ...Grant) Ownership {
		return Ownership{Mode: fs.ModeDevice | 0o660, GID: 44,
			ACL: append([]Grant{{aclUserObj, 6, 0}, {aclGroupObj, 6, 0}, {aclMask, mask, 0}, {aclOther, 0, 0}}, grants...)}
	}
	for _, tt := range []struct {
		name string
		a    Account
		o    Ownership
		want bool
	}{
		{"in its group", user(991, 44), device, true},
		{"in another", user(991), device, false},
		{"root", Account{}, device, true},
		{"the owner, whom the mode shuts out", user(44), Ownership{Mode: 0o060, UID: 993, GID: 44}, false},
		{"a group that may less than others", user(44), Ownership{Mode: 0o606, GID: 44}, false},
		{"everybody", user(), Ownership{Mode: 0o666}, true},
		{"named in the access list", user(), list(6, Grant{aclUser, 6, 993}), true},
		{"named, but masked", user(44), list(4, Grant{aclUser, 6, 993}), false},
		{"another is named", user(), list(6, Grant{aclUser, 6, 1000}), false},
		{"of a group that is named", user(7), list(6, Grant{aclGroup, 6, 7}), true},
		{"of the file's group, masked", user(44), list(4), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.may(tt.o, mayRead|mayWrite); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestTheServicesUserHasItsOwnGroupsAndTheUnits(t *testing.T) {
	m := aMachine(t, nil)
	a := m.account("livenessd", []string{"render"})
	if !a.Exists || a.UID != 993 || a.Groups() != "livenessd, video, render" {
		t.Errorf("%+v: %s", a, a.Groups())
	}
	m.Host.Groups = []int{0}
	if a := m.account("nobody-there", nil); a.Exists || a.UID != 0 || a.Name != "root" || a.Groups() != "root" {
		t.Errorf("%+v: %s", a, a.Groups())
	}
}

func TestWhatKeepsAUserFromAFile(t *testing.T) {
	m := aMachine(t, map[string]string{"dev/video0": "", "dev/video1": "", "a/b/c": ""})
	m.owners["/dev/video0"] = Ownership{Mode: fs.ModeDevice | 0o660, GID: 44}
	m.owners["/dev/video1"] = Ownership{Mode: fs.ModeDevice | 0o600}
	m.owners["/a/b"] = Ownership{Mode: 0o750, GID: 44}
	a := m.account("livenessd", nil)
	if err := m.reach(a, m.root+"/dev/video0", 6); err != nil {
		t.Error(err)
	}
	a.GIDs = []int{991}
	for path, want := range map[string][2]string{
		"/dev/video0": {"user livenessd may not open /dev/video0, which belongs to root:video with mode 0660; groups of livenessd: livenessd",
			"usermod -aG video livenessd && systemctl restart livenessd"},
		"/dev/video1": {"user livenessd may not open /dev/video1, which belongs to root:root with mode 0600", "chgrp video"},
		"/a/b/c":      {"user livenessd may not enter /a/b, which belongs to root:video with mode 0750", "chmod o+x /a/b"},
	} {
		err := m.reach(a, m.root+path, 6)
		d, is := err.(*denied)
		if !is || !strings.HasPrefix(strings.ReplaceAll(err.Error(), m.root, ""), want[0]) || !strings.HasPrefix(strings.ReplaceAll(d.hint(), m.root, ""), want[1]) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func attribute(grants ...Grant) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, g := range grants {
		b = binary.LittleEndian.AppendUint16(b, uint16(g.Tag))
		b = binary.LittleEndian.AppendUint16(b, uint16(g.Perm))
		b = binary.LittleEndian.AppendUint32(b, uint32(g.ID))
	}
	return b
}

func TestReadsAccessLists(t *testing.T) {
	want := []Grant{{aclUserObj, 6, 1}, {aclUser, 4, 1000}, {aclMask, 6, 0}}
	if got, err := parseACL(attribute(want...)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, {2, 0, 0}, {1, 0, 0, 0}, {2, 0, 0, 0, 1}} {
		if got, err := parseACL(bad); err == nil {
			t.Errorf("%v is read as %v", bad, got)
		}
	}
}

func FuzzACL(f *testing.F) {
	f.Add(attribute(Grant{aclUser, 6, 1000}))
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := parseACL(b)
		if err == nil && len(g) != (len(b)-4)/8 {
			t.Errorf("%d grants of %d bytes", len(g), len(b))
		}
		Account{UID: 7, GIDs: []int{7}}.may(Ownership{ACL: g}, mayRead)
	})
}
