package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxFile bounds a configuration file's size in bytes.
const MaxFile = 64 << 10

// maxDepth bounds brackets within brackets: the YAML parser takes minutes for some thousands.
const maxDepth = 50

// maxProblems is how many problems anybody wants to read at once.
const maxProblems = 25

// Load reads the configuration in a file. An empty path is DefaultPath where that exists, and the defaults where not.
// What is wrong inside the file comes back as Problems; a file that can't be read as an error that wraps the system's.
func Load(path string) (Config, error) { return load(path, DefaultPath, thisMachine()) }

func load(path, usual string, m machine) (Config, error) {
	explicit := path != ""
	if !explicit {
		path = usual
	}
	data, err := readFile(path)
	switch {
	case !explicit && errors.Is(err, fs.ErrNotExist):
		return m.config(), nil
	case errors.Is(err, fs.ErrPermission):
		return Config{}, &fileError{err, "the user that livenessd runs as must be able to read " + path}
	case errors.Is(err, fs.ErrNotExist):
		return Config{}, &fileError{err, "correct the path, or leave --config out to run on the defaults"}
	case err != nil:
		return Config{}, &fileError{err, ""}
	}
	return parse(path, data, m)
}

func readFile(path string) ([]byte, error) {
	// A pipe or a device could block for ever, so the kind of file is looked at before it is opened.
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		kind := "not a regular file"
		if st.IsDir() {
			kind = "a folder, not a file"
		}
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New(kind)}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFile {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d bytes; is this the right file?", MaxFile)}
	}
	return data, nil
}

// parse reads a file's content. file names it in problems.
func parse(file string, data []byte, m machine) (Config, error) {
	c := m.base()
	r := &reader{file: file, at: map[any]position{}}
	if body := r.document(data); !null(body) {
		r.mapping(body, "", c.fields())
	}
	c.complete(m)
	c.check(r)
	if len(r.problems) > 0 {
		return Config{}, r.sorted()
	}
	return c, nil
}

type position struct{ line, column int }

// reader walks a file's syntax tree and collects what is wrong.
type reader struct {
	file     string
	problems Problems
	at       map[any]position // where a value stands, by the pointer to where it goes
}

func (r *reader) bad(at position, hint, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.file, at.line, at.column, fmt.Sprintf(format, args...), hint})
}

func (r *reader) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	if more := len(r.problems) - maxProblems; more > 0 {
		return append(r.problems[:maxProblems:maxProblems], Problem{File: r.file, Message: fmt.Sprintf("and %d more", more)})
	}
	return r.problems
}

// document gives the body of the one document, nil where there is none or where the file is no YAML.
func (r *reader) document(data []byte) ast.Node {
	text, ok := r.text(data)
	if !ok {
		return nil
	}
	// Duplicate keys are found later, together with everything else.
	f, err := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err, text)
		return nil
	}
	var body ast.Node
	for _, d := range f.Docs {
		switch {
		case d == nil || d.Body == nil:
		case body != nil:
			r.bad(where(d.Body), "keep one, and remove the line ---", "a second document begins here")
			return nil
		default:
			body = d.Body
		}
	}
	return body
}

// text is the content as the parser can take it.
func (r *reader) text(data []byte) (string, bool) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	line, column, depth := 1, 0, 0
	comment, fresh := false, true // fresh: nothing but blanks on this line yet
	for rest := data; len(rest) > 0; {
		c, n := utf8.DecodeRune(rest)
		column++
		switch {
		case c == utf8.RuneError && n == 1:
			r.bad(position{line, column}, "save the file as UTF-8", "byte 0x%02x is not UTF-8", rest[0])
			return "", false
		case c < ' ' && c != '\n' && c != '\r' && c != '\t', c == 0x7f:
			r.bad(position{line, column}, "remove it", "control character 0x%02x", c)
			return "", false
		case c == '\n':
			line, column, comment, fresh = line+1, 0, false, true
		case comment, c == ' ', c == '\t', c == '\r':
		case c == '#' && fresh:
			comment = true
		case c == '[', c == '{':
			fresh = false
			if depth++; depth > maxDepth {
				r.bad(position{line, column}, "", "brackets within brackets, more than %d deep", maxDepth)
				return "", false
			}
		case c == ']', c == '}':
			depth, fresh = max(0, depth-1), false
		default:
			fresh = false
		}
		rest = rest[n:]
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n"), true
}

// syntax reports what the parser says.
func (r *reader) syntax(err error, text string) {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil || e.GetToken().Position == nil {
		r.bad(position{}, "", "not YAML: %v", err)
		return
	}
	at := position{e.GetToken().Position.Line, e.GetToken().Position.Column}
	hint := ""
	if lines := strings.Split(text, "\n"); at.line >= 1 && at.line <= len(lines) {
		if l := lines[at.line-1]; strings.HasPrefix(strings.TrimLeft(l, " "), "\t") {
			hint = "indent with spaces, not with tabs"
		}
	}
	r.bad(at, hint, "not YAML: %s", e.GetMessage())
}

// where is the place of a node's first character.
func where(n ast.Node) position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return where(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return where(n.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return position{t.Position.Line, t.Position.Column}
	}
	return position{}
}

// mapping reads the keys of a section. prefix is the section's name with a dot.
func (r *reader) mapping(n ast.Node, prefix string, fields []field) {
	r.entries(n, strings.TrimSuffix(prefix, "."), func(key string, at position, value ast.Node) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			r.bad(at, suggest(key, prefix, fields), "unknown key %q", prefix+key)
			return
		}
		f := fields[i]
		switch {
		case f.refusal != "":
			r.bad(at, f.hint, "%s", prefix+key+" "+f.refusal)
		case null(value):
			if f.target != nil {
				r.at[f.target] = at
			}
		default:
			if f.target != nil {
				r.at[f.target] = where(value)
			}
			f.read(r, prefix+key, value)
		}
	})
}

func null(n ast.Node) bool {
	_, is := n.(*ast.NullNode)
	return n == nil || is
}

// entries calls f for each key of a mapping, once.
func (r *reader) entries(n ast.Node, name string, f func(key string, at position, value ast.Node)) {
	if name == "" {
		name = "the configuration"
	}
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.wrong(n, name, "keys with values, one a line below it", "")
		return
	}
	seen := map[string]position{}
	for _, v := range values {
		at := where(v.Key)
		key, ok := keyText(v.Key)
		if !ok {
			r.bad(at, "", "%s: a key must be a plain name", name)
			continue
		}
		if before, twice := seen[key]; twice {
			r.bad(at, "keep one of the two", "key %q is already in line %d", key, before.line)
			continue
		}
		seen[key] = at
		f(key, at, v.Value)
	}
}

// keyText takes numbers as they are written: a camera may be called 1.
func keyText(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode:
		return k.Token.Value, true
	case *ast.FloatNode:
		return k.Token.Value, true
	case *ast.BoolNode:
		return k.Token.Value, true
	case *ast.NullNode:
		return k.Token.Value, true
	}
	return "", false
}

// wrong reports a value that isn't what the key takes.
func (r *reader) wrong(n ast.Node, name, allowed, hint string) {
	found := ""
	switch n := n.(type) {
	case *ast.AliasNode, *ast.AnchorNode:
		found, hint = "an anchor or an alias", "write the value itself"
	case *ast.TagNode:
		found, hint = "a tag", "write the value itself"
	case *ast.MappingNode, *ast.MappingValueNode:
		found = "a section of keys"
	case *ast.SequenceNode:
		found = "a list"
	case *ast.StringNode:
		found = fmt.Sprintf("%q", shorten(n.Value))
		if strings.Contains(n.Value, "@") { // what stands before it may be a password
			found = "a text with an @"
		}
	case *ast.LiteralNode:
		found = "a block of text"
	default:
		found = shorten(n.GetToken().Value)
	}
	r.bad(where(n), hint, "%s is %s; allowed is %s", name, found, allowed)
}

func shorten(s string) string {
	if len(s) <= 60 {
		return s
	}
	end := 60
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
