package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Error says what went wrong with the broker or with the options that lead to it. Its text holds no secret, and nothing that is
// another at each attempt, so that a repetition can be told: what the clock says is in the hint.
type Error struct {
	Op   string // "connect to mqtt://localhost:1883"
	Err  error  // what was seen
	Kind Kind
	hint string
}

func (e *Error) Error() string { return "mqtt: " + e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what a technician should do, "" where nobody knows.
func (e *Error) Hint() string { return e.hint }

// Kind is what sort of trouble an Error is. Kinds are stable: programs may tell by them what to do. docs/security.md has them in a table.
type Kind string

// The kinds. Own is what is said of this machine's certificate; the others with certificates are of the broker's.
const (
	KindOptions     Kind = "options"         // a URL that is none, or options that contradict each other
	KindFile        Kind = "file"            // a password or certificate file that can't be used
	KindExposed     Kind = "exposed-secret"  // a password or a key that everybody can read
	KindName        Kind = "name"            // the host's name has no address
	KindRefused     Kind = "refused"         // nothing listens there
	KindUnreachable Kind = "unreachable"     // there is no way to the host
	KindSilent      Kind = "no-answer"       // no answer in time
	KindClosed      Kind = "closed"          // the broker closed the connection
	KindNoTLS       Kind = "no-tls"          // TLS was spoken to a port without it
	KindTLSPort     Kind = "tls-port"        // MQTT without TLS was spoken to a port with it
	KindTLSVersion  Kind = "tls-version"     // the broker speaks nothing newer than TLS 1.1
	KindTLS         Kind = "tls"             // another failure of the handshake
	KindAuthority   Kind = "authority"       // nobody here trusts who signed the certificate
	KindHost        Kind = "wrong-host"      // the certificate is another host's
	KindExpired     Kind = "expired"         // the certificate has expired
	KindNotYetValid Kind = "not-yet-valid"   // the certificate isn't valid yet, and this machine's clock is right
	KindClock       Kind = "clock"           // a certificate isn't valid yet, and nobody set this machine's clock
	KindCertificate Kind = "certificate"     // the certificate is wrong in another way
	KindOwnMissing  Kind = "own-certificate" // the broker wants a certificate
	KindOwnRefused  Kind = "own-refused"     // the broker refuses the one that it got
	KindOwnExpired  Kind = "own-expired"     // …as it has expired
	KindLogin       Kind = "login"           // the broker refuses the user
	KindClientID    Kind = "client-id"       // the broker refuses the client id
	KindUnavailable Kind = "unavailable"     // the broker says that it can't serve
	KindProtocol    Kind = "protocol"        // the other side doesn't speak MQTT 3.1.1
	KindClear       Kind = "in-the-clear"    // nothing is encrypted; only a warning
	KindDenied      Kind = "denied"          // the broker's access list forbids
	KindOther       Kind = "other"
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{KindOptions, KindFile, KindExposed, KindName, KindRefused, KindUnreachable, KindSilent, KindClosed, KindNoTLS, KindTLSPort,
		KindTLSVersion, KindTLS, KindAuthority, KindHost, KindExpired, KindNotYetValid, KindClock, KindCertificate, KindOwnMissing,
		KindOwnRefused, KindOwnExpired, KindLogin, KindClientID, KindUnavailable, KindProtocol, KindClear, KindDenied, KindOther}
}

// KindOf is an error's kind, KindOther where it has none, and "" of nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e) && e.Kind != "":
		return e.Kind
	}
	return KindOther
}

var (
	errSilent    = errors.New("no answer in time")
	errClosed    = errors.New("the broker closed the connection")
	errDenied    = errors.New("the broker denied the subscription")
	errTLSPort   = errors.New("the answer is TLS")
	errPublic    = errors.New("everybody can read or change it")
	errIrregular = errors.New("not a regular file")
	errTooBig    = errors.New("too big")
)

// violation is what no broker of MQTT 3.1.1 sends.
type violation string

func (v violation) Error() string { return string(v) }

// seen is an error in our words. What it stands for can still be found in it.
type seen struct {
	text string
	err  error
}

func (s *seen) Error() string { return s.text }
func (s *seen) Unwrap() error { return s.err }

// attempt is what is known of a connection, for whoever has to say why it failed.
type attempt struct {
	endpoint
	credentials
	secret   string            // the password
	files    *material         // nil without TLS
	reached  bool              // there is a connection
	trusted  bool              // the TLS handshake is done
	asked    bool              // the broker asked for a certificate
	foreign  bool              // it named the authorities that it takes, and ours isn't one of them
	accepted bool              // the broker has answered CONNECT
	now      func() time.Time  // what certificates are held against
	synced   func() bool       // whether that follows a reference; nil if nobody knows
	peer     *x509.Certificate // the broker's, if it was accepted
}

// explain makes an Error of what happened on the way to a broker.
func (a *attempt) explain(op string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	k, text, hint := a.diagnose(err)
	if text != "" {
		err = &seen{text, err}
	}
	return &Error{Op: op + " " + a.endpoint.String(), Err: err, Kind: k, hint: hint}
}

// diagnose finds the kind of an error, what to say instead of its own text unless that is "", and what to do.
func (a *attempt) diagnose(err error) (k Kind, text, hint string) {
	var (
		dns    *net.DNSError
		remote *net.OpError
		record tls.RecordHeaderError
		broken violation
	)
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		switch {
		case a.username == "":
			return KindLogin, "the broker lets nobody in without a name", "set username, and password_file to a file with the password"
		case a.secret == "":
			return KindLogin, fmt.Sprintf("the broker refuses the user %.80q without a password", a.username), "set password_file to a file with the password"
		}
		return KindLogin, fmt.Sprintf("the broker refuses the user %.80q or the password", a.username),
			"check username, and what is in password_file (" + a.passwordFile + "); it is tried again, and the file read again, by itself"
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return KindProtocol, "", "the broker must speak MQTT 3.1.1"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return KindClientID, "", "the broker refuses the client id: choose another device name, or let the broker allow it"
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return KindUnavailable, "", "the broker says that it is unavailable: see its log"
	case errors.Is(err, errDenied):
		return KindDenied, "", "let the broker's access list allow this user to read the topic"
	case errors.As(err, &dns):
		// Its own text has a port in it, which is another one each time.
		if dns.IsNotFound {
			return KindName, fmt.Sprintf("no address is known for %.80q", a.host), "correct the host in the broker's url, or let the name service of this machine know it"
		}
		return KindName, fmt.Sprintf("the name service doesn't tell the address of %.80q", a.host), "check the network of this machine, and its name service (resolvectl status, /etc/resolv.conf)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused, "nothing listens there: connection refused", "start the broker, or correct host and port of its url"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		return KindUnreachable, "", "check the network of this machine (cable, address, route): there is no way to the broker"
	case errors.As(err, &record):
		return KindNoTLS, "the answer isn't TLS", "this port doesn't speak TLS: write mqtt:// for it, or name the broker's TLS port"
	case errors.As(err, &remote) && remote.Op == remoteAlert:
		return a.alerted(remote.Err)
	case errors.Is(err, errTLSPort):
		return KindTLSPort, "", "this is the broker's TLS port: write mqtts:// in the url"
	case errors.Is(err, errSilent), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		switch {
		case a.accepted:
			return KindSilent, "", "the broker takes messages and doesn't answer: see its health, and the network to it"
		case a.reached:
			return KindSilent, "", "something accepts connections there but doesn't answer as an MQTT broker: check host and port, and the broker's health"
		}
		return KindSilent, "", "nothing answers at that address: check host and port, firewalls on the way, and that the machine is on"
	case errors.As(err, &broken):
		return KindProtocol, "", "check host and port: what answers there doesn't speak MQTT 3.1.1"
	case ended(err):
		return a.ended()
	}
	if k, text, hint := a.distrusted(err); k != "" {
		return k, text, hint
	}
	if a.tls && !a.trusted && strings.Contains(err.Error(), "unsupported protocol version") { // crypto/tls has no name for it
		return KindTLSVersion, "the broker wants a TLS older than 1.2", tlsVersionHint
	}
	if a.tls && !a.trusted && strings.HasPrefix(err.Error(), "tls: ") {
		return KindTLS, "", "see the broker's log, and its settings for TLS"
	}
	return KindOther, "", fileHint(err)
}

const tlsVersionHint = "let the broker speak TLS 1.2 or 1.3: older ones aren't safe, and nobody can switch them on here"

// fileHint is what to do about a file that can't be opened.
func fileHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "correct the path, or put the file there"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that runs this read the file"
	}
	return ""
}

func ended(err error) bool {
	return errors.Is(err, errClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// ended is what a connection's end means, by what was said before it.
func (a *attempt) ended() (k Kind, text, hint string) {
	switch {
	case a.tls && !a.trusted:
		return KindNoTLS, "the connection was closed in the TLS handshake",
			"if this port doesn't speak TLS, write mqtt:// for it, or name the broker's TLS port; otherwise see the broker's log"
	case a.accepted:
		return KindClosed, "", "see the broker's log"
	case a.asked && a.own() == nil:
		return KindOwnMissing, "the broker asked for a certificate, got none, and closed the connection", ownMissingHint
	case a.asked:
		return KindClosed, "the broker asked for a certificate, got it, and closed the connection without an answer",
			"see the broker's log: it may have something against the certificate in " + a.certFile
	case a.tls:
		return KindClosed, "the broker closed the connection without an answer", "see the broker's log"
	}
	return KindClosed, "the broker closed the connection without an answer", "if this is its TLS port, write mqtts:// in the url; otherwise see the broker's log"
}

const ownMissingHint = "name a certificate that the broker trusts, and its key, in cert_file and key_file"

// own is the certificate that the broker gets if it asks, nil if there is none.
func (a *attempt) own() *x509.Certificate {
	if a.files == nil || a.files.own == nil {
		return nil
	}
	return a.files.own.Leaf
}

// Alerts of TLS that tell something.
const (
	alertHandshake       = tls.AlertError(40)
	alertBadCertificate  = tls.AlertError(42)
	alertExpired         = tls.AlertError(45)
	alertUnknownCert     = tls.AlertError(46)
	alertUnknownCA       = tls.AlertError(48)
	alertAccessDenied    = tls.AlertError(49)
	alertVersion         = tls.AlertError(70)
	alertUnrecognized    = tls.AlertError(112)
	alertWantCertificate = tls.AlertError(116)
)

// alerted is what an alert of the broker's means. With TLS 1.3 it comes after the handshake where this machine's certificate is refused.
func (a *attempt) alerted(alert error) (k Kind, text, hint string) {
	is := func(of ...tls.AlertError) bool {
		for _, o := range of {
			if alert.Error() == o.Error() { // crypto/tls has the type to itself
				return true
			}
		}
		return false
	}
	own := a.own()
	switch {
	case is(alertVersion):
		return KindTLSVersion, "the broker refuses TLS 1.2 and 1.3", tlsVersionHint
	case is(alertUnrecognized):
		return KindHost, fmt.Sprintf("the broker doesn't know itself by the name %.80q", a.host), "write the host in the url as the broker's certificate names it"
	case own == nil && (is(alertWantCertificate) || a.asked && is(alertHandshake, alertBadCertificate, alertUnknownCert, alertAccessDenied, alertUnknownCA)):
		return KindOwnMissing, "the broker wants a certificate", ownMissingHint
	case own != nil && a.asked && !is(alertHandshake):
		now := a.now()
		switch {
		case now.Before(own.NotBefore):
			k, text, hint := a.early(own, "it")
			return k, "the broker refuses this machine's certificate: " + text, hint
		case now.After(own.NotAfter):
			return KindOwnExpired, "this machine's certificate has expired: it was valid until " + utc(own.NotAfter), "put a new certificate into " + a.certFile + ", and its key into " + a.keyFile +
				"; this machine's clock says " + utc(now) + a.unsynced()
		case is(alertExpired):
			return KindOwnExpired, "the broker says that this machine's certificate has expired; it is valid until " + utc(own.NotAfter),
				"compare the clocks: this machine's says " + utc(now) + a.unsynced()
		case is(alertUnknownCA):
			return KindOwnRefused, fmt.Sprintf("the broker doesn't trust %.120q, which signed this machine's certificate", own.Issuer.String()),
				"put a certificate into " + a.certFile + " that an authority of the broker's signed, or let the broker trust this authority"
		}
		hint := "see the broker's log for what it has against the certificate in " + a.certFile
		if a.foreign {
			hint += "; it doesn't name the authority that signed it among those that it takes"
		}
		return KindOwnRefused, fmt.Sprintf("the broker refuses this machine's certificate (%v)", alert), hint
	}
	return KindTLS, fmt.Sprintf("the broker ended the TLS handshake (%v)", alert), "see the broker's log, and its settings for TLS"
}

// distrusted is what is wrong with the broker's certificate; k is "" if that isn't what failed.
func (a *attempt) distrusted(err error) (k Kind, text, hint string) {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		roots   x509.SystemRootsError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return a.dated(invalid.Cert)
	case errors.As(err, &invalid):
		return KindCertificate, "the broker's certificate can't be used: " + strings.TrimPrefix(invalid.Error(), "x509: "),
			"let an authority make it for a server (extended key usage serverAuth), and not with more intermediates than it allows"
	case errors.As(err, &name):
		return KindHost, "the broker's certificate is another host's: " + strings.TrimPrefix(name.Error(), "x509: "),
			"write the host in the url as the broker's certificate names it, or let the certificate name it (subjectAltName)"
	case errors.As(err, &roots):
		return KindFile, "this machine has no certificates of authorities", "apt-get install ca-certificates, or name a file in ca_file"
	case errors.As(err, &unknown):
		signer := "an authority"
		if unknown.Cert != nil {
			signer = fmt.Sprintf("%.120q", unknown.Cert.Issuer.String())
			// An authority that has expired isn't used, and the error tells so only in a text with the time in it.
			for _, c := range a.authorities() {
				if c.Subject.String() == unknown.Cert.Issuer.String() && (a.now().Before(c.NotBefore) || a.now().After(c.NotAfter)) {
					return a.dated(c)
				}
			}
		}
		if a.caFile == "" {
			return KindAuthority, "the broker's certificate is signed by " + signer + ", which this system doesn't trust",
				"if that is your own authority, put its certificate into a file and name that in ca_file; if not, this may not be your broker"
		}
		return KindAuthority, "the broker's certificate is signed by " + signer + ", which isn't in ca_file",
			"put the certificate of that authority into " + a.caFile + " if it is yours; if not, this may not be your broker"
	}
	return "", "", ""
}

func (a *attempt) authorities() []*x509.Certificate {
	if a.files == nil {
		return nil
	}
	return a.files.authorities
}

// dated is what is wrong with the time of a certificate, of the broker or of an authority.
func (a *attempt) dated(c *x509.Certificate) (k Kind, text, hint string) {
	whose, renew := "the broker's certificate", "renew the broker's certificate"
	switch {
	case slices.ContainsFunc(a.authorities(), c.Equal):
		whose, renew = fmt.Sprintf("the certificate of %.120q in ca_file", c.Subject.String()), "put the authority's new certificate into "+a.caFile
	case c.IsCA:
		whose, renew = fmt.Sprintf("the certificate of %.120q, which signed the broker's,", c.Subject.String()), "renew the authority's certificate at the broker"
	}
	now := a.now()
	if now.Before(c.NotBefore) {
		return a.early(c, whose)
	}
	return KindExpired, whose + " has expired: it was valid until " + utc(c.NotAfter), renew + "; this machine's clock says " + utc(now) + a.unsynced()
}

// early is a certificate from the future, which is most often a clock that nobody set: many boards have no battery for it.
func (a *attempt) early(c *x509.Certificate, whose string) (k Kind, text, hint string) {
	text = whose + " is valid only from " + utc(c.NotBefore)
	says := "this machine's clock says " + utc(a.now())
	if a.synced != nil && a.synced() {
		return KindNotYetValid, text, says + " and follows a time server: wait, or look at the clock of the machine where the certificate was made"
	}
	if a.synced != nil {
		says += " and isn't synchronised"
	}
	return KindClock, text + ", which this machine's clock hasn't reached", says + ": let a time server set it (timedatectl; systemd-timesyncd or chrony), " +
		"or set it by hand (date -s); it is tried again by itself"
}

// unsynced is what to add where the clock may be what is wrong.
func (a *attempt) unsynced() string {
	if a.synced == nil || a.synced() {
		return ""
	}
	return " and isn't synchronised, so check that too (timedatectl)"
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
