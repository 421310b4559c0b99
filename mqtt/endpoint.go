package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// endpoint is where a broker is. paho would swallow a bad URL and find out at the first connection.
type endpoint struct {
	host string
	port string
	tls  bool
}

// String is the endpoint as a URL.
func (e endpoint) String() string {
	if e.tls {
		return "mqtts://" + e.address()
	}
	return "mqtt://" + e.address()
}

func (e endpoint) address() string { return net.JoinHostPort(e.host, e.port) }

// loopback tells whether nobody on the network can listen. A name counts only if it is localhost.
func (e endpoint) loopback() bool {
	ip := net.ParseIP(e.host)
	return e.host == "localhost" || ip != nil && ip.IsLoopback()
}

// parseURL reads a broker's URL. Its errors don't repeat a URL in which there may be a password.
func parseURL(s string) (endpoint, error) {
	fail := func(err error) (endpoint, error) {
		shown := fmt.Sprintf("%.*q", maxPrefix, s)
		if strings.Contains(s, "@") {
			shown = "(not shown, as it may hold a password)"
		}
		return endpoint{}, &Error{Op: "broker url " + shown, Err: err, hint: "write mqtt://HOST, mqtt://HOST:PORT, or mqtts://HOST for TLS"}
	}
	u, err := url.Parse(s)
	switch {
	case s == "":
		return fail(errors.New("empty"))
	case err != nil:
		return fail(errors.New("not a URL"))
	case u.User != nil:
		return endpoint{}, &Error{Op: "broker url", Err: errors.New("has a user name in it"),
			hint: "put the name into username, and the password into a file named in password_file"}
	}
	e := endpoint{host: u.Hostname(), port: u.Port()}
	switch u.Scheme {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		e.tls = true
	case "ws", "wss":
		return fail(errors.New("MQTT over websockets is not supported"))
	default:
		return fail(errors.New("neither mqtt:// nor mqtts://"))
	}
	switch {
	case e.host == "" || strings.ContainsAny(e.host, " \t\r\n%"):
		return fail(errors.New("no host"))
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "", u.Opaque != "":
		return fail(errors.New("more than a host and a port"))
	}
	if e.port == "" {
		e.port = "1883"
		if e.tls {
			e.port = "8883"
		}
	}
	if n, err := strconv.ParseUint(e.port, 10, 16); err != nil || n == 0 {
		return fail(errors.New("no such port"))
	}
	return e, nil
}

// credentials are read at each connection, so that whoever changes a file need not restart anything.
type credentials struct {
	username     string
	passwordFile string
	caFile       string
	certFile     string
	keyFile      string
}

func (c credentials) check(e endpoint) error {
	switch {
	case c.passwordFile != "" && c.username == "":
		return &Error{Op: "credentials", Err: errors.New("password_file without username"),
			hint: "set username too: MQTT 3.1.1 has no password without a name"}
	case (c.certFile == "") != (c.keyFile == ""):
		return &Error{Op: "credentials", Err: errors.New("only one of cert_file and key_file"), hint: "set both, or none"}
	case !e.tls && (c.caFile != "" || c.certFile != ""):
		return &Error{Op: "credentials", Err: errors.New("ca_file or cert_file with a url without TLS"),
			hint: "write mqtts:// in the url, or leave the files out"}
	}
	return nil
}

// password reads the password: the file's content without a newline at its end.
func (c credentials) password() (string, error) {
	if c.passwordFile == "" {
		return "", nil
	}
	b, err := readSecret(c.passwordFile)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// readSecret reads a small file that isn't everybody's to read.
func readSecret(path string) (_ []byte, err error) {
	const limit = 4 << 10
	fail := func(err error, hint string) ([]byte, error) {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err // the path is in the operation
		}
		if hint == "" {
			hint = hintFor(endpoint{}, err)
		}
		return nil, &Error{Op: "password_file " + path, Err: err, hint: hint}
	}
	// A pipe without a writer would block here for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail(err, "")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fail(err, "")
	case !info.Mode().IsRegular():
		return fail(errIrregular, "name a file that holds the password and nothing else")
	case info.Mode().Perm()&0o004 != 0:
		return fail(errPublic, "chmod o= "+path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return fail(err, "")
	case len(b) > limit:
		return fail(errTooBig, "name a file that holds the password and nothing else")
	}
	return b, nil
}

func (c credentials) tls(e endpoint) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: e.host}
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile)
		if err != nil {
			return nil, &Error{Op: "ca_file", Err: err, hint: hintFor(e, err)}
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &Error{Op: "ca_file " + c.caFile, Err: errors.New("no certificate in it"), hint: "name a file with PEM certificates"}
		}
	}
	if c.certFile != "" {
		cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
		if err != nil {
			return nil, &Error{Op: "cert_file and key_file", Err: err, hint: "name a PEM certificate and the key that belongs to it"}
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// dial opens a connection, and gives up as soon as ctx ends.
func dial(ctx context.Context, e endpoint, c credentials) (net.Conn, error) {
	if !e.tls {
		return new(net.Dialer).DialContext(ctx, "tcp", e.address())
	}
	t, err := c.tls(e)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: t}).DialContext(ctx, "tcp", e.address())
}
