package systemd

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// patience is how long a message may take: systemd takes them at once, or is in worse trouble than this program.
	patience = time.Second
	// longest is how much of a status is sent, in bytes. systemctl shows one line.
	longest = 400
)

// Notifier tells systemd how the service is doing. Its methods may be called by several goroutines; without a socket they do nothing.
type Notifier struct {
	socket    *net.UnixAddr // nil: nobody listens
	interval  time.Duration
	monotonic func() time.Duration
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. getenv is os.Getenv, and pid this process's.
func NewNotifier(getenv func(string) string, pid int) (*Notifier, error) {
	n := &Notifier{monotonic: monotonic}
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return n, nil
	}
	// An abstract socket's name begins with @, for net as for systemd.
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("systemd: NOTIFY_SOCKET=%.100q is neither a path nor an abstract socket", path)
	}
	n.socket = &net.UnixAddr{Net: "unixgram", Name: path}
	var err error
	n.interval, err = watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), pid)
	return n, err
}

// watchdog is how often systemd wants to hear that the service is alive; 0: it doesn't.
func watchdog(usec, forPID string, pid int) (time.Duration, error) {
	if usec == "" || forPID != "" && forPID != strconv.Itoa(pid) { // another process's, whose environment was inherited
		return 0, nil
	}
	const most = 1 << 53 // microseconds: what a duration surely holds is less than a thousandth of int64
	n, err := strconv.ParseUint(usec, 10, 64)
	if err != nil || n == 0 || n > most {
		return 0, fmt.Errorf("systemd: WATCHDOG_USEC=%.40q is no time in microseconds", usec)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Heard tells whether somebody listens.
func (n *Notifier) Heard() bool { return n.socket != nil }

// Interval is how long the watchdog waits for Alive; 0: there is none.
func (n *Notifier) Interval() time.Duration { return n.interval }

// Ready says that the service does its work, at first or again after a reload.
func (n *Notifier) Ready(status string) error { return n.send("READY=1", statusLine(status)) }

// Status says how the service is doing, for people.
func (n *Notifier) Status(text string) error { return n.send(statusLine(text)) }

// Reloading says that the service reads its configuration again, until Ready. The time is what systemd 253 wants with Type=notify-reload.
func (n *Notifier) Reloading(status string) error {
	return n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", n.monotonic().Microseconds()), statusLine(status))
}

// Stopping says that the service ends.
func (n *Notifier) Stopping(status string) error { return n.send("STOPPING=1", statusLine(status)) }

// Alive feeds the watchdog, and lets a start, reload or stop that goes on take that much longer.
func (n *Notifier) Alive(more time.Duration) error {
	lines := []string{"WATCHDOG=1"}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", more.Microseconds()))
	}
	return n.send(lines...)
}

func (n *Notifier) send(lines ...string) error {
	if n.socket == nil {
		return nil
	}
	// A socket for each message: systemd may have made its own anew, and messages are few.
	c, err := net.DialUnix("unixgram", nil, n.socket)
	if err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	if _, err := c.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	return nil
}

// statusLine makes a text one line that systemd takes: a second one would be a message of its own.
func statusLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > longest {
		end := longest
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	return "STATUS=" + text
}
