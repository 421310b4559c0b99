package config

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Exposed tells whether others than this machine can reach the console.
func (c Console) Exposed() bool {
	at, err := netip.ParseAddrPort(c.Listen)
	return c.Listen != "" && (err != nil || !at.Addr().Unmap().IsLoopback())
}

// TLS tells whether the console speaks it.
func (c Console) TLS() bool { return c.CertFile != "" }

// checkConsole looks at what the console's keys say together.
func (c *Config) checkConsole(r *reader) {
	o := &c.Console
	if o.CertFile != "" && o.KeyFile == "" {
		r.bad(r.at[&o.CertFile], "give console.key_file as well", "console.cert_file is of no use without its key")
	}
	if o.KeyFile != "" && o.CertFile == "" {
		r.bad(r.at[&o.KeyFile], "give console.cert_file as well", "console.key_file is of no use without its certificate")
	}
	if o.Exposed() && o.CertFile == "" && !o.Insecure {
		r.bad(r.at[&o.Listen], "give console.cert_file and console.key_file; or insecure: true, where nobody else is on that network",
			"console.listen is %s, which others can reach, and without TLS they would see its pictures and tokens", o.Listen)
	}
}

// maxHosts bounds the names of the console.
const maxHosts = 16

// hostForm is a host's name as a browser writes it, or an address.
var hostForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// hosts is a field of one host's name or several.
func hosts(key string, p *[]string) field {
	const allowed, none = "the name of a host, or a list of them", "leave it out for localhost and this machine's addresses alone"
	all := texts(key, p, allowed, none)
	all.read = func(r *reader, name string, n ast.Node) {
		var out []string
		before := len(r.problems)
		texts(key, &out, allowed, none).read(r, name, n)
		if len(r.problems) > before {
			return
		}
		for i, s := range out {
			out[i] = strings.ToLower(s)
			if _, err := netip.ParseAddr(s); err != nil && !hostForm.MatchString(out[i]) {
				r.bad(where(n), "without http:// and without a port", "%s: %q is no name of a host", name, shorten(s))
				return
			}
		}
		if len(out) > maxHosts {
			r.bad(where(n), "", "%s has %d names; allowed are %d", name, len(out), maxHosts)
			return
		}
		*p = out
	}
	return all
}
