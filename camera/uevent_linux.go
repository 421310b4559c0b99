package camera

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The groups of NETLINK_KOBJECT_UEVENT: what the kernel says at once, and udev when it is done with it.
const (
	fromKernel = 1
	fromUdev   = 2

	maxUevent = 16 << 10 // udev's are of some kilobytes; what is cut off isn't read
)

// plugs listens to what is plugged in.
type plugs struct {
	socket *os.File
	// news says that the node appeared that somebody waits for; true: it has its names and permissions. A slot of one.
	news chan bool
	done chan struct{}
}

// listen starts to. mine tells, from any goroutine, whether somebody waits for an event.
func listen(mine func(*uevent) bool) (*plugs, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: fromKernel | fromUdev}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen to uevents: %w", err)
	}
	p := &plugs{socket: os.NewFile(uintptr(fd), "uevents"), news: make(chan bool, 1), done: make(chan struct{})}
	go p.run(mine)
	return p, nil
}

func (p *plugs) run(mine func(*uevent) bool) {
	defer close(p.done)
	message := make([]byte, maxUevent)
	for lost := 0; lost < 8; {
		n, err := p.socket.Read(message)
		if err != nil {
			if errors.Is(err, unix.ENOBUFS) { // there were more than it has room for
				lost++
				p.say(false)
				continue
			}
			return // closed, or whoever waits goes on by looking
		}
		lost = 0
		if e, ok := parseUevent(message[:n]); ok && e.appears() && mine(&e) {
			p.say(e.settled)
		}
	}
}

// say puts the newest into the slot. What udev says isn't replaced by what the kernel says.
func (p *plugs) say(settled bool) {
	select {
	case was := <-p.news:
		settled = settled || was
	default:
	}
	p.news <- settled // this goroutine alone sends
}

// close stops listening. It may be called on nil.
func (p *plugs) close() {
	if p == nil {
		return
	}
	p.socket.Close()
	<-p.done
}
