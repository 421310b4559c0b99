package config

import (
	"net/netip"

	"github.com/goccy/go-yaml/ast"
)

// Exposed tells whether others than this machine can reach the figures.
func (m Metrics) Exposed() bool {
	at, err := netip.ParseAddrPort(m.Listen)
	return m.Listen != "" && (err != nil || !at.Addr().Unmap().IsLoopback())
}

// checkMetrics sees to it that what listens beyond this machine asks for a token, and lets nobody on the way read it unless that is wanted.
func (c *Config) checkMetrics(r *reader) {
	m := &c.Metrics
	if m.CertFile != "" && m.KeyFile == "" {
		r.bad(r.at[&m.CertFile], "give metrics.key_file as well", "metrics.cert_file is of no use without its key")
	}
	if m.KeyFile != "" && m.CertFile == "" {
		r.bad(r.at[&m.KeyFile], "give metrics.cert_file as well", "metrics.key_file is of no use without its certificate")
	}
	if at, err := netip.ParseAddrPort(m.Listen); err == nil && overlap(at, c.Console.Listen) {
		r.bad(r.at[&m.Listen], "choose another port, or leave metrics.listen out: the console has the figures, too", "metrics.listen is %s, which console.listen has", m.Listen)
	}
	if !m.Exposed() {
		return
	}
	if m.TokenFile == "" {
		r.bad(r.at[&m.Listen], "name a file that holds a token, or listen at 127.0.0.1",
			"metrics.listen is %s, which others can reach, and without metrics.token_file they would see when somebody was at the door", m.Listen)
	}
	if m.CertFile == "" && !m.Insecure {
		r.bad(r.at[&m.Listen], "give metrics.cert_file and metrics.key_file; or insecure: true, where nobody else is on that network",
			"metrics.listen is %s, which others can reach, and without TLS they would see the token and the figures", m.Listen)
	}
}

// overlap tells whether two can't listen beside one another.
func overlap(at netip.AddrPort, listen string) bool {
	other, err := netip.ParseAddrPort(listen)
	a, b := at.Addr().Unmap(), other.Addr().Unmap()
	return err == nil && at.Port() == other.Port() && (a == b || a.IsUnspecified() || b.IsUnspecified())
}

// off is the value of what listens nowhere.
const off = "off"

// listener is a field of an address and a port, or off.
func listener(key string, p *string) field {
	return scalar(key, p, "ADDRESS:PORT, such as 127.0.0.1:8471 or [::]:8471, or off", func(n ast.Node) (string, string, bool) {
		s, hint, ok := textOf(n)
		if !ok || s == off {
			return "", hint, ok
		}
		at, err := netip.ParseAddrPort(s)
		return at.String(), "", err == nil && at.Port() > 0
	}, func(s string) string {
		if s == "" {
			return off
		}
		return quote(s)
	})
}
