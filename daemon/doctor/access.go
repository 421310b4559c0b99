package doctor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Ownership is who may do what with a file.
type Ownership struct {
	Mode     fs.FileMode
	UID, GID int
	ACL      []Grant // of its access list, beyond the mode; empty where there is none
}

// Grant is an entry of an access list.
type Grant struct {
	Tag  int // one of the acl constants
	Perm int
	ID   int
}

// As <linux/posix_acl.h> has them.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20

	mayRead, mayWrite, maySearch = 4, 2, 1
)

var errACL = errors.New("an access list that can't be read")

// parseACL reads the attribute system.posix_acl_access.
func parseACL(b []byte) ([]Grant, error) {
	if len(b) < 4 || (len(b)-4)%8 != 0 || binary.LittleEndian.Uint32(b) != 2 {
		return nil, errACL
	}
	var out []Grant
	for b = b[4:]; len(b) > 0; b = b[8:] {
		out = append(out, Grant{int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:])), int(binary.LittleEndian.Uint32(b[4:]))})
	}
	return out, nil
}

// Account is a user as the kernel sees a process of his.
type Account struct {
	Name   string
	UID    int
	GIDs   []int
	Exists bool
	groups map[int]string
	users  map[int]string
}

// account finds a user. extra are groups that his process has beside his own. Where there is none of that name, Exists is false and the
// user is the one that runs this.
func (h Host) account(name string, extra []string) Account {
	a := Account{Name: name, UID: h.UID, GIDs: slices.Clone(h.Groups), groups: map[int]string{}, users: map[int]string{}}
	for _, f := range table(text(h.Etc, "passwd")) {
		if len(f) < 4 {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		gid, err2 := strconv.Atoi(f[3])
		if err != nil || err2 != nil {
			continue
		}
		if a.users[uid] == "" {
			a.users[uid] = f[0]
		}
		if f[0] == name {
			a.Exists, a.UID, a.GIDs = true, uid, []int{gid}
		}
	}
	for _, f := range table(text(h.Etc, "group")) {
		if len(f) < 4 {
			continue
		}
		gid, err := strconv.Atoi(f[2])
		if err != nil {
			continue
		}
		if a.groups[gid] == "" {
			a.groups[gid] = f[0]
		}
		if a.Exists && (slices.Contains(strings.Split(f[3], ","), name) || slices.Contains(extra, f[0])) && !slices.Contains(a.GIDs, gid) {
			a.GIDs = append(a.GIDs, gid)
		}
	}
	if !a.Exists {
		a.Name = a.user(a.UID)
	}
	return a
}

// table splits a file such as /etc/passwd.
func table(content string) (rows [][]string) {
	for s := bufio.NewScanner(strings.NewReader(content)); s.Scan(); {
		rows = append(rows, strings.Split(s.Text(), ":"))
	}
	return rows
}

func (a Account) user(uid int) string {
	if n := a.users[uid]; n != "" {
		return n
	}
	return strconv.Itoa(uid)
}

func (a Account) group(gid int) string {
	if n := a.groups[gid]; n != "" {
		return n
	}
	return strconv.Itoa(gid)
}

// Groups are the names of the user's groups.
func (a Account) Groups() string {
	var names []string
	for _, g := range a.GIDs {
		if n := a.group(g); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// may tells whether the user may do that with a file, as the kernel decides it.
func (a Account) may(o Ownership, want int) bool {
	if a.UID == 0 {
		return true
	}
	mode := int(o.Mode.Perm())
	in := func(gid int) bool { return slices.Contains(a.GIDs, gid) }
	if a.UID == o.UID {
		return mode>>6&want == want
	}
	if len(o.ACL) == 0 {
		if in(o.GID) {
			return mode>>3&want == want
		}
		return mode&want == want
	}
	mask := 7
	for _, g := range o.ACL {
		if g.Tag == aclMask {
			mask = g.Perm
		}
	}
	member := false
	for _, g := range o.ACL {
		if g.Tag == aclUser && g.ID == a.UID {
			return g.Perm&mask&want == want
		}
	}
	for _, g := range o.ACL {
		if g.Tag == aclGroupObj && in(o.GID) || g.Tag == aclGroup && in(g.ID) {
			if member = true; g.Perm&mask&want == want {
				return true
			}
		}
	}
	return !member && mode&want == want
}

// denied is what keeps a user from a file.
type denied struct {
	path  string // the file, or a folder on the way to it
	owner Ownership
	who   Account
	want  int
}

func (d *denied) Error() string {
	return fmt.Sprintf("user %s may not %s %s, which belongs to %s:%s with mode %04o; groups of %s: %s", d.who.Name,
		map[int]string{mayRead: "read", mayRead | mayWrite: "open", maySearch: "enter", mayWrite | maySearch: "write into"}[d.want], d.path,
		d.who.user(d.owner.UID), d.who.group(d.owner.GID), d.owner.Mode.Perm(), d.who.Name, d.who.Groups())
}

func (d *denied) Unwrap() error { return fs.ErrPermission }

// hint is the command that helps.
func (d *denied) hint() string {
	group := d.who.group(d.owner.GID)
	switch {
	case d.owner.Mode&fs.ModeDevice != 0 && int(d.owner.Mode.Perm())>>3&d.want == d.want && d.owner.GID != 0:
		return fmt.Sprintf("usermod -aG %s %s && systemctl restart livenessd", group, d.who.Name)
	case d.owner.Mode&fs.ModeDevice != 0:
		return fmt.Sprintf("chgrp video %[1]s && chmod g+rw %[1]s (until the next start; for good: a udev rule with GROUP=\"video\", MODE=\"0660\"), and usermod -aG video %[2]s", d.path, d.who.Name)
	case d.want == mayWrite|maySearch:
		return fmt.Sprintf("chown -R %s: %s", d.who.Name, d.path)
	case d.want == maySearch:
		return fmt.Sprintf("chmod o+x %s, or put what is in it where %s can reach it", d.path, d.who.Name)
	}
	return fmt.Sprintf("chown root:%[1]s %[2]s && chmod 0640 %[2]s", d.who.group(first(d.who.GIDs)), d.path)
}

func first(gids []int) int {
	if len(gids) == 0 {
		return 0
	}
	return gids[0]
}

// reach tells what keeps the user from a file: nil, a *denied, or why that can't be known.
func (h Host) reach(a Account, path string, want int) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	var above []string
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		above = append(above, dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	slices.Reverse(above)
	for _, dir := range above {
		o, err := h.Owner(dir)
		if err != nil {
			return err
		}
		if !a.may(o, maySearch) {
			return &denied{dir, o, a, maySearch}
		}
	}
	o, err := h.Owner(real)
	if err != nil {
		return err
	}
	if !a.may(o, want) {
		return &denied{real, o, a, want}
	}
	return nil
}
