package command

import (
	"os"
	"syscall"
	"testing"
)

func TestAnEditedFileKeepsItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := write(t, "livenessd.yaml", "device: door\n")
	if err := os.Chown(path, 12345, 23456); err != nil {
		t.Skipf("a file can't be given away here: %v", err)
	}
	e, err := planEdit(path, "0.75", "0.25")
	if err == nil {
		err = e.commit(0.75, 0.25)
	}
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if is := st.Sys().(*syscall.Stat_t); is.Uid != 12345 || is.Gid != 23456 || st.Mode() != 0o600 {
		t.Errorf("%d:%d, %v", is.Uid, is.Gid, st.Mode())
	}
}
