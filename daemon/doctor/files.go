package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
)

// files is whether the service's user can read the files that the configuration names, and nobody else the secret ones.
type files struct{ p *Patient }

var _ Check = files{}

// named is a file that the configuration names.
type named struct {
	key, path string
	secret    bool
}

// deviceKey is the key in the configuration for what verdicts are signed with.
const deviceKey = "signing.key_file"

// Named files end in _file, in the configuration's own words; so a key that is new is looked at, too.
func namedFiles(c config.Config) []named {
	var out []named
	section := ""
	for line := range strings.Lines(string(c.YAML())) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if line[0] != ' ' {
			section = key
		}
		if value = strings.Trim(strings.TrimSpace(value), `"`); strings.HasSuffix(key, "_file") && value != "" && value != "null" {
			public := key == "ca_file" || key == "cert_file"
			out = append(out, named{section + "." + key, value, !public})
		}
	}
	if path, must := daemon.KeyFile(c); !must { // it counts where it is, whoever names it
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			out = append(out, named{deviceKey, path, true})
		}
	}
	for _, k := range c.Models.TrustedKeys {
		if strings.ContainsRune(k, '/') && !strings.HasSuffix(k, "=") {
			out = append(out, named{"models.trusted_keys", k, false})
		}
	}
	return out
}

func (c files) Look(context.Context) []Finding {
	var out []Finding
	all := namedFiles(c.p.Config)
	path := c.p.ConfigPath
	if path == "" {
		path = config.DefaultPath
	}
	if _, err := os.Stat(path); err == nil {
		all = append([]named{{"configuration", path, false}}, all...)
	}
	for _, n := range all {
		out = append(out, c.file(n).of(n.key))
	}
	if len(out) == 0 {
		return []Finding{ok("the configuration names none")}
	}
	return out
}

func (c files) file(n named) Finding {
	h := c.p.Host
	if strings.HasPrefix(n.path, "/run/credentials/") {
		return skipped("%s: only the service sees its credentials", n.path)
	}
	err := h.reach(c.p.Account, n.path, mayRead)
	var d *denied
	switch {
	case errors.As(err, &d):
		return failure(Permission, d.hint(), "%s", err)
	case errors.Is(err, fs.ErrNotExist):
		return failure(Configuration, "correct the path, or put the file there", "%s: there is no such file", n.path)
	case errors.Is(err, fs.ErrPermission):
		return skipped("%s can't be looked at by this user: run `sudo livenessd doctor`", n.path)
	case err != nil:
		return failure(Other, daemon.Hint(err), "%s", err)
	}
	o, err := h.Owner(n.path)
	if err != nil {
		return failure(Other, "", "%s", err)
	}
	switch {
	case !o.Mode.IsRegular():
		return failure(Configuration, "name a file", "%s is not a regular file", n.path)
	case n.secret && o.Mode.Perm()&0o004 != 0:
		return failure(Permission, "chmod o= "+n.path, "%s has mode %04o: everybody can read this secret, and livenessd refuses it", n.path, o.Mode.Perm())
	case o.Mode.Perm()&0o002 != 0:
		return failure(Permission, "chmod o-w "+n.path, "%s has mode %04o: everybody can change it", n.path, o.Mode.Perm())
	}
	if n.key == deviceKey {
		// What can't be read here was found to be readable for the service.
		if err := daemon.CheckKey(c.p.Config); err != nil && !errors.Is(err, fs.ErrPermission) {
			return failure(Configuration, daemon.Hint(err), "%s", err)
		}
	}
	return ok("%s: user %s can read it", n.path, c.p.Account.Name)
}
