package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Packets of MQTT 3.1.1 that a collector sends or receives.
const (
	kindConnect    = 1
	kindConnack    = 2
	kindPublish    = 3
	kindPuback     = 4
	kindSubscribe  = 8
	kindSuback     = 9
	kindPingreq    = 12
	kindPingresp   = 13
	kindDisconnect = 14
)

// longest packet that a collector takes.
const longest = 1 << 20

// packet is one packet as it was read.
type packet struct {
	kind, flags byte
	body        []byte
}

// message is what a PUBLISH carries.
type message struct {
	topic    string
	payload  []byte
	id       uint16 // 0 with QoS 0
	retained bool   // it is older than the subscription
	again    bool   // the broker sent it before
}

var errPacket = errors.New("a packet that isn't MQTT 3.1.1")

// readPacket reads one packet, and allocates no more than is there for long.
func readPacket(r *bufio.Reader) (p packet, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return p, err
	}
	p.kind, p.flags = first>>4, first&0x0f
	length := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return p, noEOF(err)
		}
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
		if shift == 21 {
			return p, errPacket
		}
	}
	if length > longest {
		return p, fmt.Errorf("a packet of %d bytes", length)
	}
	p.body = make([]byte, length)
	_, err = io.ReadFull(r, p.body)
	return p, noEOF(err)
}

// noEOF tells the end in the middle of a packet from that between two.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// message takes a PUBLISH apart.
func (p packet) message() (m message, err error) {
	qos := p.flags >> 1 & 3
	topic, rest, ok := text(p.body)
	if p.kind != kindPublish || !ok || qos > 1 {
		return m, errPacket
	}
	m = message{topic: topic, retained: p.flags&1 != 0, again: p.flags&8 != 0}
	if qos == 1 {
		if len(rest) < 2 {
			return m, errPacket
		}
		m.id, rest = binary.BigEndian.Uint16(rest), rest[2:]
	}
	m.payload = rest
	return m, nil
}

// text reads a string, which its length precedes.
func text(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// encode writes a packet.
func encode(kind, flags byte, body []byte) []byte {
	b := []byte{kind<<4 | flags}
	n := len(body)
	for {
		digit := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			digit |= 0x80
		}
		b = append(b, digit)
		if n == 0 {
			return append(b, body...)
		}
	}
}

func encodeConnect(id, username, password string, clean bool, seconds uint16) []byte {
	flags := byte(0)
	if clean {
		flags |= 1 << 1
	}
	if username != "" {
		flags |= 1 << 7
	}
	if password != "" {
		flags |= 1 << 6
	}
	b := append(appendText(nil, "MQTT"), 4, flags)
	b = appendText(binary.BigEndian.AppendUint16(b, seconds), id)
	if username != "" {
		b = appendText(b, username)
	}
	if password != "" {
		b = appendText(b, password)
	}
	return encode(kindConnect, 0, b)
}

func encodeSubscribe(id uint16, filters []string) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		b = append(appendText(b, f), 1)
	}
	return encode(kindSubscribe, 2, b)
}

func encodePuback(id uint16) []byte {
	return encode(kindPuback, 0, binary.BigEndian.AppendUint16(nil, id))
}
