// Package web is what livenessd's servers have in common: tokens and certificates in files, and a bound on connections.
//
// It promises that a secret which everybody can read or change is refused; that a certificate is read again when its files change, and that while
// they can't be used the one before counts, and that is told; and that whoever opens connections and says nothing keeps nobody else out. It answers
// no requests.
package web

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
)

const (
	minToken = 16
	maxToken = 1 << 10
	// shared are the rights of everybody that a secret's file mustn't have.
	shared = 0o006
)

// Problem is what is wrong with a file, which whoever names it says.
type Problem struct {
	Err  error
	hint string
}

func (p *Problem) Error() string { return p.Err.Error() }
func (p *Problem) Unwrap() error { return p.Err }

// Hint is what a technician should do.
func (p *Problem) Hint() string { return p.hint }

// Token reads a token from a file: its content without blanks and line ends around it. Its errors are of type *Problem.
func Token(path string) (_ []byte, err error) {
	fail := func(err error, hint string) ([]byte, error) {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err // the path is in what the caller says
		}
		return nil, &Problem{err, hint}
	}
	// A pipe without a writer would block here for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail(err, "put a token there that livenessd's user, and nobody else, can read: openssl rand -hex 32")
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return fail(err, "")
	}
	const only = "name a file that holds a token and nothing else: openssl rand -hex 32"
	if !info.Mode().IsRegular() {
		return fail(errors.New("it isn't a regular file"), only)
	}
	if info.Mode().Perm()&shared != 0 {
		return fail(errors.New("everybody can read or change the token"), "chmod o= "+path+"; if others use this machine, write another token into it")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	token := []byte(strings.TrimSpace(string(b)))
	switch {
	case err != nil:
		return fail(err, "")
	case len(b) > maxToken:
		return fail(fmt.Errorf("the token is longer than %d bytes", maxToken), only)
	case len(token) < minToken:
		return fail(fmt.Errorf("the token is shorter than %d characters, so that it could be guessed", minToken), only)
	}
	return token, nil
}

// Certificate is what TLS shows, read again when its files change. While they can't be used it is the one before.
type Certificate struct {
	cert, key string
	wrong     func(error)

	mu     sync.Mutex
	good   *tls.Certificate
	stamps [2]fs.FileInfo
}

// NewCertificate names the files: PEM, and a key without a passphrase. wrong hears at each handshake that they can't be used while an older
// certificate is, with nil that they can be.
func NewCertificate(cert, key string, wrong func(error)) *Certificate {
	return &Certificate{cert: cert, key: key, wrong: wrong}
}

// Load reads the files now. Its errors are of type *Problem.
func (c *Certificate) Load() (*tls.Certificate, error) {
	if info, err := os.Stat(c.key); err == nil && info.Mode().Perm()&shared != 0 { // what else may be wrong is found when it is read
		return nil, &Problem{errors.New("everybody can read or change the key"), "chmod o= " + c.key}
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, &Problem{err, "name a certificate in PEM and its key without a passphrase, which livenessd's user can read"}
	}
	return &pair, nil
}

// Get is for tls.Config's GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stamps [2]fs.FileInfo
	for i, path := range []string{c.cert, c.key} {
		stamps[i], _ = os.Stat(path) // one that can't be seen can't be read either, which is told below
	}
	if c.good != nil && same(stamps[0], c.stamps[0]) && same(stamps[1], c.stamps[1]) {
		c.wrong(nil)
		return c.good, nil
	}
	pair, err := c.Load()
	if err != nil && c.good == nil {
		return nil, err
	}
	c.wrong(err)
	if err == nil {
		c.good, c.stamps = pair, stamps
	}
	return c.good, nil
}

func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
