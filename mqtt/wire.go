package mqtt

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is the connection that paho works on. It adds what paho lacks: each write has a time limit, the end of the connection
// and its first cause can be seen from outside whatever paho makes of them, and packets that would make paho panic or
// allocate without bound end the connection instead.
type wire struct {
	net.Conn
	timeout time.Duration // for a write
	scan    scanner       // belongs to the goroutine that reads

	heard atomic.Bool // the other side has said something

	once   sync.Once
	closed chan struct{}
	err    error // what ended it; written before closed is closed
}

func newWire(c net.Conn, timeout time.Duration, limit int) *wire {
	return &wire{Conn: c, timeout: timeout, scan: scanner{limit: limit}, closed: make(chan struct{})}
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(true)
		if bad := w.scan.feed(p[:n]); bad != nil {
			n, err = 0, bad
		}
	}
	if err != nil {
		w.end(err)
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		w.end(err)
		return 0, err
	}
	n, err := w.Conn.Write(p)
	if err != nil {
		if !w.heard.Load() { // it is CONNECT, and nobody reads yet
			err = w.lastWords(err)
		}
		w.end(err)
	}
	return n, err
}

// lastWords is why the other side closed a connection, if it said so before: with TLS 1.3 a certificate is refused after the
// handshake, and whether we hear that or fail to write first is a matter of luck.
func (w *wire) lastWords(err error) error {
	if w.SetReadDeadline(time.Now().Add(farewell)) != nil {
		return err
	}
	var op *net.OpError
	if _, why := w.Conn.Read(make([]byte, 1)); errors.As(why, &op) && op.Op == remoteAlert {
		return why
	}
	return err
}

func (w *wire) Close() error {
	w.end(net.ErrClosed)
	return nil
}

func (w *wire) end(cause error) {
	w.once.Do(func() {
		w.err = cause
		_ = w.Conn.Close() // there is nobody left to whom its error would matter
		close(w.closed)
	})
}

// remoteAlert is the operation of an error that is the other side's TLS alert.
const remoteAlert = "remote error"

// cause says what ended the wire. Call it only after closed.
func (w *wire) cause() error {
	var op *net.OpError
	switch {
	case errors.Is(w.err, io.EOF), errors.Is(w.err, syscall.ECONNRESET), errors.Is(w.err, syscall.EPIPE):
		return errClosed // which of them it is depends on who was faster
	case errors.Is(w.err, net.ErrClosed):
		return errSilent // paho closed it: its pings weren't answered
	case errors.Is(w.err, os.ErrDeadlineExceeded):
		return errSilent
	case errors.As(w.err, &op) && op.Op != remoteAlert:
		return op.Err // without our port, which is another one each time
	}
	return w.err
}

// Packet types of MQTT 3.1.1 that a broker sends.
const (
	packetConnack  = 2
	packetPublish  = 3
	packetPuback   = 4
	packetPubrec   = 5
	packetPubrel   = 6
	packetPubcomp  = 7
	packetSuback   = 9
	packetUnsuback = 11
	packetPingresp = 13

	packetDisconnect = 14 // mochi sends it, as in MQTT 5, before it closes
)

// alertRecord is what an alert of TLS begins with. In MQTT it would be the beginning of what no broker sends.
const alertRecord = 0x15

// scanner follows the packets in what a broker sends, as far as is needed to refuse those that paho can't bear: a SUBACK
// with more codes than there were topics is a panic in it, an unknown CONNACK code counts as success, and the length
// of a packet is allocated as it is announced. We subscribe to one topic at a time.
type scanner struct {
	limit int // longest packet

	state  scanState
	begun  bool // a byte has come
	kind   byte
	length int
	shift  uint
	at     int // in the packet's body
}

type scanState int

const (
	atHeader scanState = iota
	atLength
	atBody
)

func (s *scanner) feed(p []byte) error {
	for len(p) > 0 {
		switch s.state {
		case atHeader:
			if !s.begun && p[0] == alertRecord {
				return errTLSPort
			}
			s.begun = true
			s.kind, s.length, s.shift, s.at = p[0]>>4, 0, 0, 0
			s.state = atLength
			p = p[1:]
		case atLength:
			s.length |= int(p[0]&0x7f) << s.shift
			s.shift += 7
			more := p[0]&0x80 != 0
			p = p[1:]
			if more {
				if s.shift == 4*7 {
					return violation("the broker sent a packet without an end of its length")
				}
				continue
			}
			if err := s.check(); err != nil {
				return err
			}
			s.state = atBody
			if s.length == 0 {
				s.state = atHeader
			}
		case atBody:
			n := min(len(p), s.length-s.at)
			if i := 1 - s.at; s.kind == packetConnack && i >= 0 && i < n && p[i] > 5 {
				return violation(fmt.Sprintf("the broker answered CONNECT with code %d, which MQTT 3.1.1 doesn't have", p[i]))
			}
			s.at += n
			p = p[n:]
			if s.at == s.length {
				s.state = atHeader
			}
		}
	}
	return nil
}

func (s *scanner) check() error {
	want := s.length
	switch s.kind {
	case packetConnack, packetPuback, packetPubrec, packetPubrel, packetPubcomp, packetUnsuback:
		want = 2
	case packetSuback:
		want = 3
	case packetPingresp:
		want = 0
	case packetPublish:
	case packetDisconnect:
		return errClosed
	default:
		return violation(fmt.Sprintf("the broker sent a packet of type %d, which only clients send", s.kind))
	}
	if s.length != want || s.length > s.limit {
		return violation(fmt.Sprintf("the broker sent a packet of type %d with %d bytes", s.kind, s.length))
	}
	return nil
}
