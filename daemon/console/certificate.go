package console

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
)

// certificateEach is how often the files are looked at, at most.
const certificateEach = 5 * time.Second

// certificate is what TLS shows, read again when its files change. While they can't be used it is the one before.
type certificate struct {
	cert, key string

	mu     sync.Mutex
	now    *tls.Certificate
	stamps [2]fs.FileInfo
	looked time.Time
}

func newCertificate(c config.Console) *certificate {
	return &certificate{cert: c.CertFile, key: c.KeyFile}
}

// load reads the files.
func (c *certificate) load() (*tls.Certificate, error) {
	fail := func(err error, hint string) (*tls.Certificate, error) {
		return nil, &Error{"read the certificate " + c.cert + " and its key " + c.key, err, hint}
	}
	info, err := os.Stat(c.key)
	if err == nil && info.Mode().Perm()&0o006 != 0 {
		return fail(errExposed, "chmod o= "+c.key)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fail(err, "console.cert_file is a certificate in PEM, console.key_file its key without a passphrase, and livenessd's user must be able to read both")
	}
	return &pair, nil
}

// get is tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil && time.Since(c.looked) < certificateEach {
		return c.now, nil
	}
	c.looked = time.Now()
	var stamps [2]fs.FileInfo
	var err error
	for i, path := range []string{c.cert, c.key} {
		var e error
		stamps[i], e = os.Stat(path)
		err = errors.Join(err, e)
	}
	if c.now != nil && (err != nil || same(stamps[0], c.stamps[0]) && same(stamps[1], c.stamps[1])) {
		return c.now, nil
	}
	pair, err := c.load()
	if err != nil {
		if c.now != nil {
			return c.now, nil
		}
		return nil, err
	}
	c.now, c.stamps = pair, stamps
	return c.now, nil
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
