package mqtt

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
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
		return endpoint{}, &Error{Op: "broker url " + shown, Err: err, Kind: KindOptions,
			hint: "write mqtt://HOST, mqtt://HOST:PORT, or mqtts://HOST for TLS"}
	}
	u, err := url.Parse(s)
	switch {
	case s == "":
		return fail(errors.New("empty"))
	case err != nil:
		return fail(errors.New("not a URL"))
	case u.User != nil:
		return endpoint{}, &Error{Op: "broker url", Err: errors.New("has a user name in it"), Kind: KindOptions,
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
