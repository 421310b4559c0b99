package systemd

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// environment is a getenv.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v
			}
		}
		return ""
	}
}

// listen is systemd's end of a socket.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func heard(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestWhatSystemdHears(t *testing.T) {
	for kind, name := range map[string]string{
		"a path":             filepath.Join(t.TempDir(), "notify"),
		"an abstract socket": fmt.Sprintf("@livenessd-test-%d", os.Getpid()),
	} {
		t.Run(kind, func(t *testing.T) {
			c := listen(t, name)
			n, err := NewNotifier(environment("NOTIFY_SOCKET="+name), 1)
			if err != nil || !n.Heard() {
				t.Fatal(err)
			}
			n.monotonic = func() time.Duration { return 1234567 * time.Microsecond }
			for _, m := range []struct {
				send func() error
				want string
			}{
				{func() error { return n.Ready("watching") }, "READY=1\nSTATUS=watching"},
				{func() error { return n.Status("line\nMAINPID=1\x00") }, "STATUS=line MAINPID=1 "},
				{func() error { return n.Reloading("reading") }, "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reading"},
				{func() error { return n.Alive(0) }, "WATCHDOG=1"},
				{func() error { return n.Alive(2 * time.Second) }, "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=2000000"},
				{func() error { return n.Stopping("bye") }, "STOPPING=1\nSTATUS=bye"},
			} {
				if err := m.send(); err != nil {
					t.Fatal(err)
				}
				if got := heard(t, c); got != m.want {
					t.Errorf("got %q, want %q", got, m.want)
				}
			}
		})
	}
}

func TestASystemdThatIsGoneIsAnError(t *testing.T) {
	n, err := NewNotifier(environment("NOTIFY_SOCKET="+filepath.Join(t.TempDir(), "nobody")), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestAStatusIsShort(t *testing.T) {
	got := statusLine(strings.Repeat("ä", 1000))
	if len(got) > len("STATUS=")+longest+len("…") || !utf8.ValidString(got) || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if got := statusLine("\xff\n\x7f"); got != "STATUS=?  " {
		t.Errorf("%q", got)
	}
}

func TestWhatTheEnvironmentSays(t *testing.T) {
	for _, c := range []struct {
		name     string
		env      []string
		heard    bool
		interval time.Duration
		bad      bool
	}{
		{"nothing", nil, false, 0, false},
		{"a watchdog without a socket", []string{"WATCHDOG_USEC=1000000"}, false, 0, false},
		{"no watchdog", []string{"NOTIFY_SOCKET=/run/n"}, true, 0, false},
		{"a watchdog", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=30000000", "WATCHDOG_PID=7"}, true, 30 * time.Second, false},
		{"for whoever", []string{"NOTIFY_SOCKET=@n", "WATCHDOG_USEC=30000000"}, true, 30 * time.Second, false},
		{"for another process", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=30000000", "WATCHDOG_PID=8"}, true, 0, false},
		{"no number", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=soon"}, true, 0, true},
		{"no time", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=0"}, true, 0, true},
		{"too long", []string{"NOTIFY_SOCKET=/run/n", fmt.Sprint("WATCHDOG_USEC=", uint64(math.MaxUint64))}, true, 0, true},
		{"a network", []string{"NOTIFY_SOCKET=vsock:2:1234"}, false, 0, true},
	} {
		n, err := NewNotifier(environment(c.env...), 7)
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && (n.Heard() != c.heard || n.Interval() != c.interval) {
			t.Errorf("%s: %v, %v", c.name, n.Heard(), n.Interval())
		}
		if err == nil && !n.Heard() && n.Ready("") != nil {
			t.Errorf("%s: nobody listens, which is an error", c.name)
		}
	}
}
