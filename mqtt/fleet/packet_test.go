package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestPacketsComeAsTheyWereWritten(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	body := append(appendText(nil, "a/b"), 0x12, 0x34)
	all := slices.Concat(
		encode(kindPublish, 1<<1|1, append(slices.Clone(body), long...)),
		encode(kindPublish, 0, append(appendText(nil, "c"), "d"...)),
		encodePuback(7),
		encode(kindPingreq, 0, nil),
	)
	r := bufio.NewReader(bytes.NewReader(all))
	p, err := readPacket(r)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := p.message(); err != nil || m.topic != "a/b" || m.id != 0x1234 || !m.retained || m.again || string(m.payload) != long {
		t.Errorf("%v %.100v", err, m)
	}
	if p, err = readPacket(r); err != nil {
		t.Fatal(err)
	}
	if m, err := p.message(); err != nil || m.topic != "c" || m.id != 0 || string(m.payload) != "d" {
		t.Errorf("%v %v", err, m)
	}
	for _, want := range []packet{{kind: kindPuback, body: []byte{0, 7}}, {kind: kindPingreq, body: []byte{}}} {
		if p, err := readPacket(r); err != nil || p.kind != want.kind || !bytes.Equal(p.body, want.body) {
			t.Errorf("%v %v, want %v", err, p, want)
		}
	}
	if _, err := readPacket(r); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	for n := 1; n < 40; n++ {
		if _, err := readPacket(bufio.NewReader(bytes.NewReader(all[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"a length without an end":   {kindPublish << 4, 0x80, 0x80, 0x80, 0x80, 1},
		"a length beyond the bound": {kindPublish << 4, 0x80, 0x80, 0x80, 1},
	} {
		if _, err := readPacket(bufio.NewReader(bytes.NewReader(b))); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzPackets(f *testing.F) {
	f.Add(encode(kindPublish, 2, append(appendText(nil, "a"), 0, 1, 'x')))
	f.Add(encodeConnect("id", "me", "secret", true, 20))
	f.Add(encodeSubscribe(1, []string{"a/+", "b/#"}))
	f.Add([]byte{0x30, 0x01, 0x00})
	f.Add([]byte{0x32, 0x03, 0x00, 0x01, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			p, err := readPacket(r)
			if err != nil {
				return
			}
			m, err := p.message()
			if err == nil && len(m.topic)+len(m.payload) > len(p.body) {
				t.Errorf("%d bytes of topic and payload in %d", len(m.topic)+len(m.payload), len(p.body))
			}
		}
	})
}
