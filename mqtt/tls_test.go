package mqtt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority { return newAuthorityCalled(t, "authority", time.Time{}) }

// newAuthorityCalled returns one whose certificate ends at a time; the zero time is in an hour.
func newAuthorityCalled(t *testing.T, name string, end time.Time) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	c := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: end}
	if end.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	c.NotBefore = c.NotAfter.AddDate(0, 0, -2)
	a.cert = a.sign(name, c, key)
	return a
}

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}))
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed
}

func (a *authority) issue(name string, c x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.sign(name, &c, key)
	pair, err := tls.LoadX509KeyPair(a.path(name+".pem"), a.path(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name string, b []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), b, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	good := a.issue("good", x509.Certificate{IPAddresses: loopback})
	named := a.issue("named", x509.Certificate{DNSNames: []string{"broker.example"}})
	expired := a.issue("expired", x509.Certificate{IPAddresses: loopback, NotBefore: time.Now().Add(-2 * time.Hour),
		NotAfter: time.Now().Add(-time.Hour)})
	a.issue("client", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	a.write("empty.pem", []byte("nothing\n"))
	authorities := x509.NewCertPool()
	authorities.AddCert(a.cert)
	plain := &tls.Config{}
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	old := &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	mutual := &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities}
	for name, test := range map[string]struct {
		server       *tls.Config // plain for one without TLS
		scheme       string
		ca, cert     string
		failure, say string // of the error and of its hint; "" if it connects
	}{
		"a trusted certificate":     {with(good), "mqtts", "authority.pem", "", "", ""},
		"an unknown authority":      {with(good), "mqtts", "", "", "doesn't trust", "ca_file"},
		"another host's":            {with(named), "mqtts", "authority.pem", "", "127.0.0.1", "as the broker's certificate names it"},
		"an expired one":            {with(expired), "mqtts", "authority.pem", "", "expired", "clock"},
		"TLS 1.1":                   {old, "mqtts", "authority.pem", "", "refuses TLS 1.2", "let the broker speak"},
		"a file without authority":  {with(good), "mqtts", "empty.pem", "", "no certificate", "PEM"},
		"no such file":              {with(good), "mqtts", "none.pem", "", "no such file", "path"},
		"a client's certificate":    {mutual, "mqtts", "authority.pem", "client", "", ""},
		"none where one is wanted":  {mutual, "mqtts", "authority.pem", "", "wants a certificate", "cert_file"},
		"TLS at a port without":     {plain, "mqtts", "authority.pem", "", "isn't TLS", "mqtt://"},
		"no TLS at a port with it":  {with(good), "mqtt", "", "", "", "mqtts://"},
		"a certificate without key": {with(good), "mqtts", "authority.pem", "authority.pem", "", "the key that belongs to it"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		if test.server != plain {
			l = tls.NewListener(l, test.server)
		}
		serveFake(t, l, func(_ int, c net.Conn) {
			if test.server == plain {
				_, _ = c.Write([]byte("220 not TLS\r\n"))
				return
			}
			greet(c, 0)
			converse(c, 1, everything)
		})
		o := Options{URL: test.scheme + "://" + address, Pause: newGate().pause}
		if test.ca != "" {
			o.CAFile = a.path(test.ca)
		}
		switch test.cert {
		case "":
		case "authority.pem":
			o.CertFile, o.KeyFile = a.path("authority.pem"), a.path("good.key")
		default:
			o.CertFile, o.KeyFile = a.path(test.cert+".pem"), a.path(test.cert+".key")
		}
		c := start(t, o)
		eventually(t, name+": an outcome", func() bool { s := c.Status(); return s.Connected || s.Err != nil })
		s := c.Status()
		if fine := test.failure == "" && test.say == ""; s.Connected != fine {
			t.Errorf("%s: %+v", name, s)
			continue
		}
		if s.Err != nil && (!strings.Contains(s.Err.Error(), test.failure) || !hinted(s.Err, test.say)) {
			t.Errorf("%s: %v, hint %q; want %q, hint %q", name, s.Err, hint(s.Err), test.failure, test.say)
		}
	}
}

func FuzzAuthorities(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMIGH\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMIGH"))
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	c := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	f.Add(one)
	f.Add(append(one, one[:len(one)-10]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := authorities(b)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%d authorities, %v", len(all), err)
		}
		var again []byte
		for _, c := range all {
			again = append(again, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		if got, err := authorities(again); len(all) > 0 && (err != nil || len(got) != len(all)) {
			t.Fatalf("%d of %d come back, %v", len(got), len(all), err)
		}
	})
}
