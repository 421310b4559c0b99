package config

import (
	"regexp"
	"slices"
	"strings"
)

// YAML is the configuration in effect, as a file that gives the same again.
func (c Config) YAML() []byte {
	w := &writer{}
	w.fields(c.fields())
	return []byte(w.b.String())
}

type writer struct {
	b      strings.Builder
	indent string
}

func (w *writer) line(key, value string) { w.b.WriteString(w.indent + key + ": " + value + "\n") }

func (w *writer) section(key string, content func()) {
	w.b.WriteString(w.indent + key + ":\n")
	outer := w.indent
	w.indent += "  "
	content()
	w.indent = outer
}

func (w *writer) fields(fields []field) {
	for _, f := range fields {
		if f.write != nil {
			f.write(w)
		}
	}
}

var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._-]*(:[A-Za-z0-9/._-]+)*$`)

// quote writes a text so that YAML takes it for nothing else.
func quote(s string) string {
	if plain.MatchString(s) && !slices.Contains([]string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
