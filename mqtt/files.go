package mqtt

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	maxPassword     = 4 << 10
	maxKey          = 64 << 10
	maxCertificates = 4 << 20 // a system's authorities are some 200 KiB
)

// credentials are read at each connection, so that whoever changes a file need not restart anything.
type credentials struct {
	username     string
	passwordFile string
	caFile       string
	certFile     string
	keyFile      string
}

func (c credentials) check(e endpoint) error {
	fail := func(text, hint string) error {
		return &Error{Op: "credentials", Err: errors.New(text), Kind: KindOptions, hint: hint}
	}
	switch {
	case c.passwordFile != "" && c.username == "":
		return fail("password_file without username", "set username too: MQTT 3.1.1 has no password without a name")
	case (c.certFile == "") != (c.keyFile == ""):
		return fail("only one of cert_file and key_file", "set both, or none")
	case !e.tls && (c.caFile != "" || c.certFile != ""):
		return fail("ca_file or cert_file with a url without TLS", "write mqtts:// in the url, or leave the files out")
	}
	return nil
}

// password reads the password: the file's content without a newline at its end.
func (c credentials) password() (string, error) {
	if c.passwordFile == "" {
		return "", nil
	}
	b, err := readFile("password_file", c.passwordFile, maxPassword, "the password", always)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

func always([]byte) bool { return true }

// readFile reads a small file. One whose content is secret must not be everybody's to read, or to change. A group may read it: that is how
// root hands a file to a service.
func readFile(option, path string, limit int, what string, secret func([]byte) bool) (_ []byte, err error) {
	fail := func(k Kind, err error, hint string) ([]byte, error) {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err // the path is in the operation
		}
		if hint == "" {
			hint = fileHint(err)
		}
		return nil, &Error{Op: option + " " + path, Err: err, Kind: k, hint: hint}
	}
	// A pipe without a writer would block here for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail(KindFile, err, "")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fail(KindFile, err, "")
	case !info.Mode().IsRegular():
		return fail(KindFile, errIrregular, "name a file that holds "+what+" and nothing else")
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return fail(KindFile, err, "")
	case len(b) > limit:
		return fail(KindFile, errTooBig, "name a file that holds "+what+" and nothing else")
	case info.Mode().Perm()&0o006 != 0 && secret(b):
		return fail(KindExposed, errPublic, "chmod o= "+path)
	}
	return b, nil
}

// material is what the files for TLS held at one time.
type material struct {
	digest      [sha256.Size]byte
	roots       *x509.CertPool // nil for the system's
	authorities []*x509.Certificate
	own         *tls.Certificate // nil for none
}

// material reads the files for TLS.
func (c credentials) material() (*material, error) {
	m, sum := &material{}, sha256.New()
	if c.caFile != "" {
		b, err := readFile("ca_file", c.caFile, maxCertificates, "certificates", never)
		if err != nil {
			return nil, err
		}
		if m.authorities, err = authorities(b); err != nil {
			return nil, &Error{Op: "ca_file " + c.caFile, Err: err, Kind: KindFile, hint: "name a file with the certificates of authorities, in PEM"}
		}
		m.roots = x509.NewCertPool()
		for _, a := range m.authorities {
			m.roots.AddCert(a)
		}
		mix(sum, b)
	}
	if c.certFile != "" {
		cert, err := readFile("cert_file", c.certFile, maxCertificates, "the certificate", isKey)
		if err != nil {
			return nil, err
		}
		key, err := readFile("key_file", c.keyFile, maxKey, "the key", always)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		switch {
		case err != nil && (bytes.Contains(key, []byte("ENCRYPTED PRIVATE KEY")) || bytes.Contains(key, []byte("Proc-Type: 4,ENCRYPTED"))):
			return nil, &Error{Op: "key_file " + c.keyFile, Err: errors.New("the key has a passphrase"), Kind: KindFile,
				hint: "nobody is there to type it: take it off (openssl pkey -in KEY -out NEW), and let only livenessd's user read the file"}
		case err != nil:
			return nil, &Error{Op: "cert_file " + c.certFile + " and key_file " + c.keyFile, Err: err, Kind: KindFile,
				hint: "name a PEM certificate and the key that belongs to it"}
		}
		m.own = &pair
		mix(sum, cert)
		mix(sum, key)
	}
	sum.Sum(m.digest[:0])
	return m, nil
}

func never([]byte) bool { return false }

// isKey tells whether there is a key in a file that should have none, or may.
func isKey(b []byte) bool { return bytes.Contains(b, []byte("PRIVATE KEY-----")) }

// mix writes a file's content so that none can pass for a part of another.
func mix(to hash.Hash, b []byte) {
	fmt.Fprintf(to, "%d:", len(b))
	to.Write(b)
}

// authorities reads certificates. What Go can't read is left out, as in systems' files there is some; a file that ends in the middle of one
// is still being written.
func authorities(b []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, c)
		}
		b = rest
	}
	switch {
	case bytes.Contains(b, []byte("-----BEGIN ")):
		return nil, errors.New("it ends in the middle of a certificate")
	case len(all) == 0:
		return nil, errors.New("no certificate in it")
	}
	return all, nil
}

// keeper has the newest files for TLS that can be used. One goroutine at a time uses it.
type keeper struct {
	credentials
	log *slog.Logger
	now func() time.Time

	good *material
	said string // what the log heard last of files that can't be used
}

// current reads the files anew. If they can't be used, what they held before still counts, where there is a before.
func (k *keeper) current() (*material, error) {
	m, err := k.material()
	if err == nil && k.good != nil && k.good.own != nil && m.own != nil && m.digest != k.good.digest {
		if now, c := k.now(), m.own.Leaf; !valid(c, now) && valid(k.good.own.Leaf, now) {
			err = &Error{Op: "cert_file " + k.certFile, Err: fmt.Errorf("valid from %s until %s", utc(c.NotBefore), utc(c.NotAfter)), Kind: KindFile,
				hint: "put a certificate there that is valid now; this machine's clock says " + utc(now)}
		}
	}
	switch {
	case err == nil:
		if k.good != nil && m.digest != k.good.digest {
			k.log.Info("the certificate files have changed", m.attributes()...)
		} else if k.said != "" {
			k.log.Info("the certificate files can be used again", m.attributes()...)
		}
		k.good, k.said = m, ""
		return m, nil
	case k.good == nil:
		return nil, err
	}
	if text := err.Error(); text != k.said {
		k.said = text
		k.log.Warn("the new certificate files can't be used: what they held before still counts", "error", err, "kind", KindOf(err), "hint", hint(err))
	}
	return k.good, nil
}

func valid(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// attributes are for the log.
func (m *material) attributes() []any {
	var a []any
	if m.own != nil {
		a = append(a, "own", m.own.Leaf.Subject.String(), "valid_until", utc(m.own.Leaf.NotAfter))
	}
	if m.roots != nil {
		a = append(a, "authorities", len(m.authorities))
	}
	return a
}

// tls is what a handshake needs. It notes in a what the broker asks.
func (a *attempt) config() *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.host, RootCAs: a.files.roots, Time: a.now}
	t.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		a.asked = true
		if a.files.own == nil {
			return &tls.Certificate{}, nil
		}
		// Left to itself, crypto/tls sends none if the broker doesn't name our authority, and the broker then says that one is missing.
		a.foreign = r.SupportsCertificate(a.files.own) != nil
		return a.files.own, nil
	}
	return t
}
