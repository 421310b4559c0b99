package doctor

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func ownership(path string) (Ownership, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Ownership{}, err
	}
	st, is := info.Sys().(*syscall.Stat_t)
	if !is {
		return Ownership{}, errUnknown
	}
	o := Ownership{Mode: info.Mode(), UID: int(st.Uid), GID: int(st.Gid)}
	b := make([]byte, 4<<10)
	n, err := unix.Getxattr(path, "system.posix_acl_access", b)
	switch {
	case err == nil:
		if o.ACL, err = parseACL(b[:n]); err != nil {
			return o, err
		}
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
	default:
		return o, &fs.PathError{Op: "getxattr", Path: path, Err: err}
	}
	return o, nil
}

func space(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	s := Space{Free: int64(st.Bavail) * int64(st.Bsize), Size: int64(st.Blocks) * int64(st.Bsize), Nodes: int64(st.Files), FreeNodes: int64(st.Ffree),
		ReadOnly: st.Flags&unix.ST_RDONLY != 0, Memory: uint32(st.Type) == unix.TMPFS_MAGIC || uint32(st.Type) == unix.RAMFS_MAGIC} // 32 bits, signed on some
	var info unix.Stat_t
	if err := unix.Stat(path, &info); err != nil {
		return s, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	s.Major, s.Minor = unix.Major(uint64(info.Dev)), unix.Minor(uint64(info.Dev))
	return s, nil
}

func synced() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC == 0
}
