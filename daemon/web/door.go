package web

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// DoorOptions is what a Door lets in.
type DoorOptions struct {
	Most   int // connections at a time
	Each   int // of them from one address; 0 is as many as there may be
	Buffer int // bytes that the kernel keeps for whoever reads slowly; 0 is the kernel's own choice
}

// pace is between two connections for the second of which another one had to go, so that each has time to ask.
const pace = 10 * time.Millisecond

// Door bounds the connections: where there are too many, the one that has waited longest without a request goes, and if all are busy, the new
// one. So whoever opens connections and says nothing (slowloris) keeps nobody else out.
type Door struct {
	net.Listener
	o     DoorOptions
	ended chan struct{}
	end   sync.Once

	mu  sync.Mutex
	all map[*guest]struct{}
}

// guest is a connection.
type guest struct {
	net.Conn
	door    *Door
	address netip.Addr
	since   time.Time // when it began to do what it does; the door's mu is held for these
	busy    bool      // it has a request
}

// NewDoor stands before a listener.
func NewDoor(l net.Listener, o DoorOptions) *Door {
	if o.Each == 0 {
		o.Each = o.Most
	}
	return &Door{Listener: l, o: o, ended: make(chan struct{}), all: map[*guest]struct{}{}}
}

// Accept waits for a connection that can be let in.
func (d *Door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if t, is := c.(*net.TCPConn); is && d.o.Buffer > 0 {
			_ = t.SetWriteBuffer(d.o.Buffer) // a wish: the kernel's own bound holds otherwise
		}
		g := &guest{Conn: c, door: d, since: time.Now(), address: Remote(c.RemoteAddr().String())}
		out, in := d.admit(g)
		if out != nil {
			_ = out.Close() // nobody was promised anything
			select {
			case <-time.After(pace):
			case <-d.ended:
			}
		}
		if in {
			return g, nil
		}
	}
}

// Close closes the listener. A second call does nothing more.
func (d *Door) Close() error {
	d.end.Do(func() { close(d.ended) })
	return d.Listener.Close()
}

// admit lets a connection in, and tells which one must go for that, which may be itself.
func (d *Door) admit(g *guest) (out *guest, in bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	same := 0
	for o := range d.all {
		if o.address == g.address {
			same++
		}
	}
	crowded := same >= d.o.Each
	if crowded || len(d.all) >= d.o.Most {
		for o := range d.all {
			if !o.busy && (!crowded || o.address == g.address) && (out == nil || o.since.Before(out.since)) {
				out = o
			}
		}
		if out == nil {
			return g, false
		}
		delete(d.all, out)
	}
	d.all[g] = struct{}{}
	return out, true
}

// State is for http.Server's ConnState: a connection is busy from a request's head to the end of its answer.
func (d *Door) State(c net.Conn, s http.ConnState) {
	if t, is := c.(interface{ NetConn() net.Conn }); is { // of TLS
		c = t.NetConn()
	}
	g, is := c.(*guest)
	if !is {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	g.busy, g.since = s == http.StateActive, time.Now()
}

// Close closes the connection and frees its place.
func (g *guest) Close() error {
	g.door.mu.Lock()
	delete(g.door.all, g)
	g.door.mu.Unlock()
	err := g.Conn.Close()
	if errors.Is(err, net.ErrClosed) { // it had to go before
		return nil
	}
	return err
}

// Remote is the address of ADDRESS:PORT, as it counts for bounds; the zero value where it has none.
func Remote(hostport string) netip.Addr {
	at, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return Whose(at.Addr())
}

// Whose is an address as it counts for bounds: of IPv6 a whole network, since one machine has as many of its addresses as it likes.
func Whose(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
