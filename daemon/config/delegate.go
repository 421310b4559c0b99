package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Bounds of a preference, and of what a plug-in is told.
const (
	maxDelegates = 8
	maxOptions   = 31 // and the device
	maxOption    = 1024
)

var deviceSyntax = regexp.MustCompile(`^(usb|pci)(:[0-9]{1,3})?$`)

func preference(key string, p *Preference) field {
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			values := []ast.Node{n}
			if list, is := n.(*ast.SequenceNode); is {
				values = list.Values
			}
			var out Preference
			for _, v := range values {
				d, ok := r.delegate(name, v)
				if !ok {
					return
				}
				if slices.ContainsFunc(out, func(o Delegate) bool { return o.String() == d.String() }) {
					r.bad(where(v), "each at most once", "%s has %s twice", name, d.Name)
					return
				}
				out = append(out, d)
			}
			switch {
			case len(out) == 0:
				r.bad(where(n), "leave it out for the usual", "%s is empty", name)
				return
			case len(out) > maxDelegates:
				r.bad(where(n), "", "%s has %d delegates; allowed are %d", name, len(out), maxDelegates)
				return
			}
			*p = out
		},
		write: func(w *writer) {
			var all []string
			for _, d := range *p {
				all = append(all, d.String())
			}
			w.line(key, "["+strings.Join(all, ", ")+"]")
		},
	}
}

// delegate reads one of a preference: a name, or keys.
func (r *reader) delegate(name string, n ast.Node) (d Delegate, ok bool) {
	before, at := len(r.problems), n
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		// To the parser external:/PATH between brackets is a key and its value.
		path := ""
		r.mapping(n, name+".", append(d.fields(), text("external", &path)))
		switch {
		case len(r.problems) > before:
			return d, false
		case path != "" && d.Name != "":
			r.bad(where(n), "leave one of them out", "%s has both a name and external", name)
			return d, false
		case path != "":
			d.Name = External + path
		}
	default:
		var hint string
		if d.Name, hint, ok = textOf(n); !ok {
			r.wrong(n, name, allowedDelegates, hint)
			return d, false
		}
	}
	if d.Name == "none" { // as it was called before
		d.Name = CPU
	}
	path, external := strings.CutPrefix(d.Name, External)
	switch {
	case external && !filepath.IsAbs(path):
		r.bad(where(at), "write "+External+"/usr/lib/NAME.so", "%s is %q; the path of a plug-in is absolute", name, shorten(d.Name))
	case !external && !slices.Contains([]string{XNNPACK, CPU, EdgeTPU, NNAPI}, d.Name):
		r.bad(where(at), "", "%s is %q; allowed is %s", name, shorten(d.Name), allowedDelegates)
	case (d.Device != "" || d.Library != "") && d.Name != EdgeTPU:
		r.bad(where(at), "say it with options, if the plug-in has one for it", "%s: device and library are for %s, not for %s", name, EdgeTPU, shorten(d.Name))
	case (len(d.Options) > 0 || d.Compiled != "") && !external && d.Name != EdgeTPU:
		r.bad(where(at), "", "%s: %s takes no options", name, d.Name)
	case d.Library != "" && !filepath.IsAbs(d.Library):
		r.bad(where(at), "", "%s: library is %q; the path of a plug-in is absolute", name, shorten(d.Library))
	}
	return d, len(r.problems) == before
}

const allowedDelegates = "xnnpack, cpu, edgetpu, nnapi or external:/PATH, or a list of them with the best liked first; or {name: …, options: {…}} in place of one"

func (d *Delegate) fields() []field {
	return []field{
		text("name", &d.Name),
		textWith("device", &d.Device, "usb or pci, or with a number, such as usb:0", deviceSyntax.MatchString),
		text("library", &d.Library),
		textWith("compiled", &d.Compiled, "a name of letters, digits, '.', '_' and '-', as manifests have below compiled", validName),
		settings("options", &d.Options),
	}
}

// settings is a mapping of names and values that somebody else understands: they are handed on as they are written.
func settings(key string, p *[]Option) field {
	return field{
		key: key, target: p,
		read: func(r *reader, name string, n ast.Node) {
			var out []Option
			r.entries(n, name, func(key string, at position, value ast.Node) {
				var v string
				switch value := value.(type) {
				case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
					v = value.GetToken().Value
				default:
					s, hint, ok := textOf(value)
					if !ok {
						r.wrong(value, name+"."+key, "a text, a number, true or false", hint)
						return
					}
					v = s
				}
				if key == "" || len(key)+len(v) > maxOption {
					r.bad(at, "", "%s: an option has a name, and at most %d bytes with its value", name, maxOption)
					return
				}
				out = append(out, Option{key, v})
			})
			if len(out) > maxOptions {
				r.bad(where(n), "", "%s has %d options; allowed are %d", name, len(out), maxOptions)
			}
			*p = out
		},
		write: func(w *writer) { w.line(key, formatOptions(*p)) },
	}
}

func formatOptions(all []Option) string {
	var out []string
	for _, o := range all {
		out = append(out, quote(o.Key)+": "+quote(o.Value))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// String is the delegate as the configuration has it, in one line.
func (d Delegate) String() string {
	if d.Device == "" && d.Library == "" && d.Compiled == "" && len(d.Options) == 0 {
		if strings.HasPrefix(d.Name, External) {
			return quote(d.Name)
		}
		return d.Name
	}
	out := "{name: " + quote(d.Name)
	if d.Device != "" {
		out += ", device: " + quote(d.Device)
	}
	if d.Library != "" {
		out += ", library: " + quote(d.Library)
	}
	if d.Compiled != "" {
		out += ", compiled: " + quote(d.Compiled)
	}
	if len(d.Options) > 0 {
		out += fmt.Sprintf(", options: %s", formatOptions(d.Options))
	}
	return out + "}"
}
