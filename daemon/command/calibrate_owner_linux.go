package command

import (
	"io/fs"
	"os"
	"syscall"
)

// giveTo makes a file belong to whom another belongs.
func giveTo(f *os.File, as fs.FileInfo) error {
	was, ok := as.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if is, ok := st.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return nil // that takes no privilege
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}
