package console

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxConns bounds the connections, and maxConnsEach those of one address.
	maxConns     = 96
	maxConnsEach = 48
	// sendBuffer bounds what the kernel keeps for a viewer that is slow: pictures that are late are of no use.
	sendBuffer = 128 << 10
)

// door bounds the connections: where there are too many, the one that has waited longest without a request goes, and if all are busy, the new
// one. So whoever opens connections and says nothing (slowloris) keeps nobody else out.
type door struct {
	net.Listener
	mu  sync.Mutex
	all map[*guest]struct{}
}

// guest is a connection.
type guest struct {
	net.Conn
	door    *door
	address netip.Addr
	since   time.Time // when it began to do what it does; the door's mu is held for these
	busy    bool      // it has a request
}

func newDoor(l net.Listener) *door { return &door{Listener: l, all: map[*guest]struct{}{}} }

// Accept waits for a connection that can be let in.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if t, is := c.(*net.TCPConn); is {
			_ = t.SetWriteBuffer(sendBuffer) // a wish: the kernel's own bound holds otherwise
		}
		g := &guest{Conn: c, door: d, since: time.Now(), address: remote(c.RemoteAddr().String())}
		out, in := d.admit(g)
		if out != nil {
			_ = out.Close() // nobody was promised anything
		}
		if in {
			return g, nil
		}
	}
}

// admit lets a connection in, and tells which one must go for that, which may be itself.
func (d *door) admit(g *guest) (out *guest, in bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	same := 0
	for o := range d.all {
		if o.address == g.address {
			same++
		}
	}
	crowded := same >= maxConnsEach
	if crowded || len(d.all) >= maxConns {
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

// state is http.Server's ConnState: a connection is busy from a request's head to the end of its answer.
func (d *door) state(c net.Conn, s http.ConnState) {
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

// remote is the address of ADDRESS:PORT, as it counts for bounds.
func remote(hostport string) netip.Addr {
	at, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return whose(at.Addr())
}
