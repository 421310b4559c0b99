package mqtt

import (
	"bytes"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// streams are bytes that a broker might send, and whether paho may see them.
func streams() map[string]struct {
	in   []byte
	fine bool
} {
	type s = struct {
		in   []byte
		fine bool
	}
	publish := append([]byte{0x30, 0x85, 0x01, 0, 1, 'a'}, bytes.Repeat([]byte{0xff}, 0x85-3)...)
	return map[string]s{
		"nothing":                         {nil, true},
		"CONNACK":                         {[]byte{0x20, 2, 0, 0}, true},
		"CONNACK that refuses":            {[]byte{0x20, 2, 0, 5}, true},
		"CONNACK with an unknown code":    {[]byte{0x20, 2, 0, 6}, false},
		"CONNACK of MQTT 5":               {[]byte{0x20, 3, 0, 0, 0}, false},
		"SUBACK":                          {[]byte{0x90, 3, 0, 1, 1}, true},
		"SUBACK with two codes":           {[]byte{0x90, 4, 0, 1, 1, 1}, false},
		"SUBACK without a code":           {[]byte{0x90, 2, 0, 1}, false},
		"PUBACK":                          {[]byte{0x40, 2, 0, 1}, true},
		"PUBACK cut off":                  {[]byte{0x40, 1, 0}, false},
		"PINGRESP":                        {[]byte{0xd0, 0}, true},
		"PINGRESP with a body":            {[]byte{0xd0, 1, 0}, false},
		"PUBLISH with a length of 2 byte": {publish, true},
		"one after the other":             {append(append([]byte{0x20, 2, 0, 0, 0xd0, 0}, publish...), 0x40, 2, 0, 1), true},
		"the second is bad":               {append(append([]byte{0xd0, 0}, publish...), 0x90, 0), false},
		"a length without an end":         {[]byte{0x30, 0xff, 0xff, 0xff, 0xff}, false},
		"a length beyond the limit":       {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, false},
		"type 0":                          {[]byte{0x00, 0}, false},
		"CONNECT":                         {[]byte{0x10, 0}, false},
		"SUBSCRIBE":                       {[]byte{0x82, 5, 0, 1, 0, 0, 0}, false},
		"DISCONNECT of MQTT 5":            {[]byte{0xe0, 0}, false},
		"half a packet":                   {[]byte{0x30, 10, 0}, true},
		"an answer of another protocol":   {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false},
	}
}

func TestPacketsThatPahoCannotBearAreRefused(t *testing.T) {
	for name, test := range streams() {
		s := scanner{limit: 1 << 16}
		if err := s.feed(test.in); (err == nil) != test.fine {
			t.Errorf("%s: %v, want fine: %v", name, err, test.fine)
		}
		// However the network cuts it.
		s = scanner{limit: 1 << 16}
		err := error(nil)
		for i := 0; i < len(test.in) && err == nil; i++ {
			err = s.feed(test.in[i : i+1])
		}
		if (err == nil) != test.fine {
			t.Errorf("%s, byte for byte: %v, want fine: %v", name, err, test.fine)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, test := range streams() {
		f.Add(test.in, uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		const limit = 1 << 16
		whole, pieces := scanner{limit: limit}, scanner{limit: limit}
		err := whole.feed(in)
		var err2 error
		for rest := in; len(rest) > 0 && err2 == nil; {
			n := min(int(cut)+1, len(rest))
			err2 = pieces.feed(rest[:n])
			rest = rest[n:]
		}
		if (err == nil) != (err2 == nil) {
			t.Fatalf("as a whole %v, in pieces %v", err, err2)
		}
		if err != nil {
			return
		}
		// What passes can be read by paho without a panic, and holds nothing that makes it panic later.
		for r := bytes.NewReader(in); ; {
			p, err := packets.ReadPacket(r)
			if err != nil {
				return
			}
			switch p := p.(type) {
			case *packets.SubackPacket:
				if len(p.ReturnCodes) != 1 {
					t.Fatalf("SUBACK with %d codes", len(p.ReturnCodes))
				}
			case *packets.ConnackPacket:
				if _, ok := packets.ConnErrors[p.ReturnCode]; !ok {
					t.Fatalf("CONNACK with code %d", p.ReturnCode)
				}
			}
		}
	})
}
