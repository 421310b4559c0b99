package mqtt

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestProbeGoesTheWayStepByStep(t *testing.T) {
	a, other := newAuthority(t), newAuthorityCalled(t, "another authority", time.Time{})
	year := time.Now().AddDate(1, 0, 0)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	a.issue("broker", x509.Certificate{IPAddresses: loopback, NotBefore: time.Now().Add(-time.Hour), NotAfter: year})
	a.issue("soon", x509.Certificate{IPAddresses: loopback})
	a.issue("client", x509.Certificate{ExtKeyUsage: client, NotBefore: time.Now().Add(-time.Hour), NotAfter: year})
	a.issue("client-soon", x509.Certificate{ExtKeyUsage: client})
	other.issue("client", x509.Certificate{ExtKeyUsage: client, NotBefore: time.Now().Add(-time.Hour), NotAfter: year})
	acl := func(text string) string {
		path := filepath.Join(t.TempDir(), "acl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "acl_file " + path
	}
	ca := a.path("authority.pem")
	plain := []string{"allow_anonymous true"}
	secure := append(plain, "certfile "+a.path("broker.pem"), "keyfile "+a.path("broker.key"))
	mutual := append(secure, "cafile "+ca, "require_certificate true")
	denies := newFake(t, func(_ int, c net.Conn) {
		greet(c, 0)
		converse(c, 0x80, everything)
	})
	for _, test := range []struct {
		name   string
		broker []string
		scheme string
		o      Options
		want   string // of each step the first letter of its outcome
		kind   Kind   // of the step that isn't well
	}{
		{"all is well", plain, "mqtt", Options{}, "ooooooo", ""},
		{"a certificate for each side", mutual, "mqtts", Options{CAFile: ca, CertFile: a.path("client.pem"), KeyFile: a.path("client.key")}, "ooooooo", ""},
		{"the broker's expires soon", append(plain, "certfile "+a.path("soon.pem"), "keyfile "+a.path("soon.key")), "mqtts", Options{CAFile: ca},
			"ooowooo", KindExpired},
		{"our own expires soon", mutual, "mqtts", Options{CAFile: ca, CertFile: a.path("client-soon.pem"), KeyFile: a.path("client-soon.key")},
			"woooooo", KindOwnExpired},
		{"no such file", secure, "mqtts", Options{CAFile: a.path("none.pem")}, "fssssss", KindFile},
		{"no such name", nil, "mqtt://no..host", Options{}, "ofsssss", KindName},
		{"nobody there", nil, "mqtt", Options{}, "oofssss", KindRefused},
		{"a certificate that nobody trusts", secure, "mqtts", Options{CAFile: other.path("another authority.pem")}, "ooofsss", KindAuthority},
		{"a certificate that the broker refuses", mutual, "mqtts", Options{CAFile: ca, CertFile: other.path("client.pem"), KeyFile: other.path("client.key")},
			"ooofsss", KindOwnRefused},
		{"none where one is wanted", mutual, "mqtts", Options{CAFile: ca}, "ooofsss", KindOwnMissing},
		{"no TLS to a TLS port", secure, "mqtt", Options{}, "oooofss", KindTLSPort},
		{"TLS to a port without", plain, "mqtts", Options{CAFile: ca}, "ooofsss", KindNoTLS},
		{"nobody is let in without a name", []string{"allow_anonymous false"}, "mqtt", Options{}, "oooofss", KindLogin},
		{"a list that forbids to publish", []string{"allow_anonymous true", acl("topic read livenessd/#\n")}, "mqtt", Options{Timeout: time.Second},
			"oooooof", KindDenied},
		{"a list that forbids to read", []string{"allow_anonymous true", acl("topic write livenessd/#\n")}, "mqtt", Options{Timeout: time.Second},
			"oooooof", KindDenied},
		{"a broker that says that it forbids", nil, denies.url(), Options{}, "ooooofs", KindDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := test.o
			o.Device = "door-7"
			switch {
			case strings.Contains(test.scheme, "://"):
				o.URL = test.scheme
			case test.broker == nil:
				o.URL = test.scheme + "://127.0.0.1:" + freePort(t)
			default:
				o.URL = test.scheme + "://" + startMosquitto(t, test.broker...).address()
			}
			if o.Timeout == 0 {
				o.Timeout = patience
			}
			steps, err := Probe(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			var names []string
			for _, s := range steps {
				got.WriteString(string(s.Outcome)[:1])
				names = append(names, s.Name)
				bad := s.Outcome == Failed || s.Outcome == Warned
				if bad != (s.Kind != "") || bad != (s.Hint != "") || bad && s.Kind != test.kind || (s.Seen == "") != (s.Outcome == Skipped) || s.Took < 0 {
					t.Errorf("%+v; want %s", s, test.kind)
				}
			}
			if got.String() != test.want || !slices.Equal(names, []string{StepFiles, StepName, StepTCP, StepTLS, StepLogin, StepSubscribe, StepPublish}) {
				t.Errorf("%s, want %s: %+v", got.String(), test.want, steps)
			}
		})
	}
	eventually(t, "the end of all goroutines", func() bool { return leftovers() == 0 })
}

func TestProbeInWords(t *testing.T) {
	a := newAuthority(t)
	a.issue("broker", x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)})
	m := startMosquitto(t, "allow_anonymous true", "certfile "+a.path("broker.pem"), "keyfile "+a.path("broker.key"))
	steps, err := Probe(t.Context(), Options{URL: "mqtts://" + m.address(), Others: []string{"mqtts://127.0.0.1:" + freePort(t)}, Device: "door-7",
		CAFile: a.path("authority.pem"), Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, s := range steps {
		fmt.Fprintf(&b, "%s %s %s\n\t%s\n\t%s %s\n", s.Broker, s.Name, s.Outcome, s.Seen, s.Kind, s.Hint)
	}
	compare(t, "probe.golden", regexp.MustCompile(`[ \t]+\n`).ReplaceAll([]byte(anonymous(b.String())), []byte("\n")))
}

// TestProbeDisturbsNobody probes while the device is connected and somebody listens.
func TestProbeDisturbsNobody(t *testing.T) {
	m := startMosquitto(t, "allow_anonymous true")
	in := listen(t, m.url())
	c := start(t, Options{URL: m.url()})
	if r := until(t, in, "livenessd/door-7/availability"); string(r.Payload) != Online {
		t.Errorf("%s", r.Payload)
	}
	if _, err := Probe(t.Context(), Options{URL: m.url(), Device: "door-7"}); err != nil {
		t.Fatal(err)
	}
	say(t, m.url(), "livenessd/door-7/end", "x")
	for r := range in {
		if r.Topic == "livenessd/door-7/end" {
			break
		}
		if r.Topic != "livenessd/door-7/probe" || r.Retained {
			t.Errorf("%s %s, retained: %v", r.Topic, r.Payload, r.Retained)
		}
	}
	if s := c.Status(); !s.Connected || s.Connections != 1 {
		t.Errorf("%+v", s)
	}
	for r := range listen(t, m.url()) {
		if r.Topic == "livenessd/door-7/probe" {
			t.Errorf("%s stays at the broker", r.Payload)
		}
		if r.Topic == "livenessd/door-7/availability" || r.Topic == "livenessd/door-7/end" {
			break
		}
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	f := newFake(t, func(_ int, c net.Conn) { greet(c, 0); <-t.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	steps, err := Probe(ctx, Options{URL: f.url(), Device: "door-7", Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if s := steps[5]; s.Outcome != Failed {
		t.Errorf("%+v", s)
	}
	if _, err := Probe(t.Context(), Options{URL: "x"}); KindOf(err) != KindOptions {
		t.Errorf("%v", err)
	}
}
