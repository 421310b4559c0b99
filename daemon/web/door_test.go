package web

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// visits gives a door on the loopback, and what comes through it.
func visits(t *testing.T, o DoorOptions) (d *Door, come func() *guest) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d = NewDoor(l, o)
	t.Cleanup(func() { d.Close() })
	return d, func() *guest {
		t.Helper()
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { out.Close() })
		in, err := d.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return in.(*guest)
	}
}

func gone(t *testing.T, g *guest) bool {
	t.Helper()
	_, err := g.Write([]byte("x"))
	return errors.Is(err, net.ErrClosed)
}

func TestWhoGoesForOneMore(t *testing.T) {
	d, come := visits(t, DoorOptions{Most: 3, Buffer: 4096})
	a, b, c := come(), come(), come()
	d.State(a, http.StateActive) // it asks
	e := come()                  // for b, which has waited longest without a request
	if !gone(t, b) || gone(t, a) || gone(t, c) {
		t.Error("another one goes than who waits longest")
	}
	d.State(tls.Server(c, nil), http.StateActive)
	d.State(a, http.StateIdle) // it waits again, and since less long than e
	f := come()
	if !gone(t, e) || gone(t, a) || gone(t, f) {
		t.Error("who has just had an answer goes before who never asked")
	}
	if err := errors.Join(a.Close(), a.Close(), c.Close(), f.Close(), b.Close(), e.Close()); err != nil || len(d.all) != 0 {
		t.Errorf("%v, %d are there", err, len(d.all))
	}
}

func TestNobodyGoesWhoIsAnswered(t *testing.T) {
	d, come := visits(t, DoorOptions{Most: 2})
	a, b := come(), come()
	d.State(a, http.StateActive)
	d.State(b, http.StateActive)
	let := make(chan net.Conn, 1)
	go func() {
		if c, err := d.Accept(); err == nil {
			let <- c
		}
	}()
	refused, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	if err := refused.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := refused.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
	if gone(t, a) || gone(t, b) {
		t.Error("one that is being answered went")
	}
	d.State(b, http.StateIdle)
	c, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case <-let:
	case <-time.After(time.Minute):
		t.Fatal("nobody is let in any more")
	}
}

func TestOneAddressHasItsShare(t *testing.T) {
	d := NewDoor(nil, DoorOptions{Most: 10, Each: 2})
	at := func(address string) *guest {
		return &guest{door: d, address: Whose(netip.MustParseAddr(address)), since: time.Now()}
	}
	other := at("192.0.2.1")
	for _, g := range []*guest{other, at("2001:db8::1"), at("2001:db8::2")} {
		if out, in := d.admit(g); out != nil || !in {
			t.Fatalf("%v, %v", out, in)
		}
	}
	third := at("2001:db8::3") // of the same network
	if out, in := d.admit(third); out == nil || out.address != third.address || !in {
		t.Errorf("%v, %v", out, in)
	}
	if _, is := d.all[other]; !is || len(d.all) != 3 {
		t.Errorf("another address had to go; %d are there", len(d.all))
	}
}

func TestAddressesAsTheyCount(t *testing.T) {
	for given, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::", "[::1]:80": "::1", "[fe80::1%eth0]:80": "fe80::",
		"": "invalid IP", "here": "invalid IP",
	} {
		if got := Remote(given); got.String() != want {
			t.Errorf("%q is %s, not %s", given, got, want)
		}
	}
}
