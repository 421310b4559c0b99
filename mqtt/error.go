package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Error says what went wrong with the broker or with the options that lead to it. Its text holds no secret.
type Error struct {
	Op   string // "connect to localhost:1883"
	Err  error
	hint string
}

func (e *Error) Error() string { return "mqtt: " + e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what a technician should do, "" where nobody knows.
func (e *Error) Hint() string { return e.hint }

var (
	errSilent    = errors.New("no answer in time")
	errClosed    = errors.New("the broker closed the connection")
	errDenied    = errors.New("the broker denied the subscription")
	errPublic    = errors.New("everybody can read it")
	errIrregular = errors.New("not a regular file")
	errTooBig    = errors.New("too big for a password")
)

// explain makes an Error of what happened on the way to a broker.
func explain(op string, e endpoint, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return &Error{Op: op + " " + e.String(), Err: err, hint: hintFor(e, err)}
}

func hintFor(e endpoint, err error) string {
	var (
		dns     *net.DNSError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return "check username and what is in password_file: the broker refuses them; it is tried again, and the file read again, by itself"
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return "the broker must speak MQTT 3.1.1"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return "the broker refuses the client id: choose another device name, or let the broker allow it"
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return "the broker says that it is unavailable: see its log"
	case errors.Is(err, errDenied):
		return "let the broker's access list allow this user to read the topic"
	case errors.As(err, &dns):
		return "check the host in the broker's url, and the name service of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "start the broker there, or correct host and port of its url"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "check the network of this machine: there is no way to the broker"
	case errors.As(err, &unknown):
		return "name the authority that signed the broker's certificate in ca_file"
	case errors.As(err, &name):
		return "write the host in the url as the broker's certificate names it"
	case errors.As(err, &invalid):
		return "renew the broker's certificate, and check the clock of this machine"
	case errors.As(err, &record):
		return "this port doesn't speak TLS: write mqtt:// for it, or name the broker's TLS port"
	case errors.As(err, &op) && op.Op == remoteAlert:
		return "the broker refused the TLS handshake: it may want cert_file and key_file, or speak nothing newer than TLS 1.1"
	case errors.Is(err, errSilent), errors.Is(err, os.ErrDeadlineExceeded):
		return "something accepts connections there but doesn't answer as an MQTT broker: check host and port, and the broker's health"
	case errors.Is(err, errClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		if e.tls {
			return "see the broker's log"
		}
		return "see the broker's log; if this is its TLS port, write mqtts://"
	case errors.Is(err, fs.ErrNotExist):
		return "correct the path, or put the file there"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that runs this read the file"
	}
	return ""
}
