package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Host is a machine as paths and commands.
type Host struct {
	Dev, Sys, Proc, Etc string
	Runtime             string // folder of the daemon that runs
	// Run runs a command and gives its standard output, at most a megabyte of it.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)
	// Owner tells who owns a file and who may do what with it.
	Owner func(path string) (Ownership, error)
	// Space tells about the file system on which a folder lies.
	Space func(path string) (Space, error)
	// Synced tells whether the kernel believes that its clock follows a reference.
	Synced func() bool
	Now    func() time.Time
	UID    int
	Groups []int // of this process
}

// ThisHost is the machine on which this runs.
func ThisHost() Host {
	groups, err := os.Getgroups()
	if err != nil {
		groups = nil
	}
	return Host{Dev: "/dev", Sys: "/sys", Proc: "/proc", Etc: "/etc", Runtime: "/run/livenessd", Run: run, Owner: ownership, Space: space, Synced: synced,
		Now: time.Now, UID: os.Geteuid(), Groups: append(groups, os.Getegid())}
}

// most is how much of a command's output or of a file is read.
const most = 1 << 20

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	cmd.WaitDelay = time.Second
	out, said := &limited{left: most}, &limited{left: 1 << 10}
	cmd.Stdout, cmd.Stderr = out, said
	if err := cmd.Run(); err != nil {
		if first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n"); first != "" {
			err = fmt.Errorf("%s (%w)", first, err)
		}
		return out.Bytes(), fmt.Errorf("%s: %w", name, err)
	}
	return out.Bytes(), nil
}

// limited keeps the beginning of what is written to it.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	l.Buffer.Write(b[:n])
	return len(b), nil
}

// text reads a small file of /proc, /sys or /etc; "" where there is none.
func text(elem ...string) string {
	f, err := os.Open(filepath.Join(elem...))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number reads a file with a whole number in it.
func number(elem ...string) (int64, bool) {
	n, err := strconv.ParseInt(text(elem...), 0, 64)
	return n, err == nil
}

// holder is a process that has a file open.
type holder struct {
	name string
	pid  int
	// hangs is that its first thread has ended and another hasn't, which is inside a driver, where nothing can end it.
	hangs bool
}

func (h holder) String() string { return fmt.Sprintf("%s (process %d)", h.name, h.pid) }

// holders are the processes that have a device open, as far as this one may see them, in the order of their numbers.
func (h Host) holders(path string) []holder {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil
	}
	return h.openers(real)
}

// openers are the processes that have that open, as /proc calls it: a path, or socket:[INODE].
func (h Host) openers(what string) []holder {
	processes, _ := filepath.Glob(filepath.Join(h.Proc, "[0-9]*"))
	var who []holder
	for _, process := range processes {
		fds, _ := filepath.Glob(filepath.Join(process, "fd", "*"))
		first := len(fds) > 0
		if !first {
			fds, _ = filepath.Glob(filepath.Join(process, "task", "*", "fd", "*"))
		}
		has := func(fd string) bool {
			target, err := os.Readlink(fd)
			return err == nil && target == what
		}
		pid, err := strconv.Atoi(filepath.Base(process))
		if err != nil || pid == os.Getpid() || !slices.ContainsFunc(fds, has) {
			continue
		}
		who = append(who, holder{text(process, "comm"), pid, !first})
	}
	slices.SortFunc(who, func(a, b holder) int { return a.pid - b.pid })
	return who
}

// running gives which of the programs runs, "" for none. The kernel keeps the first 15 bytes of a name.
func (h Host) running(programs ...string) string {
	comms, _ := filepath.Glob(filepath.Join(h.Proc, "[0-9]*", "comm"))
	for _, c := range comms {
		name := text(c)
		for _, p := range programs {
			if name == p[:min(len(p), 15)] {
				return p
			}
		}
	}
	return ""
}

var errUnknown = errors.New("not known here")
