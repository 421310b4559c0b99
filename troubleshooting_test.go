package livenessd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// said is a text that the program can print about trouble, as it stands in the source, with … for what is filled in.
type said struct{ text, where string }

var (
	verb   = regexp.MustCompile(`%%|%[-+# 0]*(\[\d+\])?(\*|\d+)?(\.(\*|\d+))?[a-zA-Z]`)
	prefix = regexp.MustCompile(`^[a-z][a-z0-9-]*: `)
)

// pattern makes … of the verbs of a format.
func pattern(format string) string {
	p := verb.ReplaceAllStringFunc(format, func(v string) string {
		if v == "%%" {
			return "%"
		}
		return "…"
	})
	for strings.Contains(p, "……") {
		p = strings.ReplaceAll(p, "……", "…")
	}
	return strings.TrimSpace(p)
}

// literal is a constant text, or a sum of texts and other things.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			return s, err == nil
		}
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		a, left := literal(e.X)
		b, right := literal(e.Y)
		if !left && !right {
			return "", false
		}
		if !left {
			a = "%v"
		}
		if !right {
			b = "%v"
		}
		return a + b, true
	}
	return "", false
}

// called is the name of what is called, and of what it is called on.
func called(c *ast.CallExpr) (on, name string) {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return "", f.Name
	case *ast.SelectorExpr:
		if x, is := f.X.(*ast.Ident); is {
			return x.Name, f.Sel.Name
		}
		return "?", f.Sel.Name
	}
	return "", ""
}

// hinting adds the types of a file whose errors carry a hint.
func hinting(file *ast.File, types map[string]bool) {
	for _, d := range file.Decls {
		f, is := d.(*ast.FuncDecl)
		if !is || f.Name.Name != "Hint" || f.Recv == nil {
			continue
		}
		t := f.Recv.List[0].Type
		if p, is := t.(*ast.StarExpr); is {
			t = p.X
		}
		if id, is := t.(*ast.Ident); is {
			types[id.Name] = true
		}
	}
}

// texts finds what a file can say: see the head of docs/troubleshooting.md, which tells the rule. hints is the types that carry hints.
func texts(file *ast.File, hints map[string]bool) (out []string) {
	made := func(n ast.Node) (string, bool) {
		c, is := n.(*ast.CallExpr)
		if !is || len(c.Args) == 0 {
			return "", false
		}
		on, name := called(c)
		if on == "errors" && name == "New" || on == "fmt" && name == "Errorf" {
			return literal(c.Args[0])
		}
		return "", false
	}
	within := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if t, is := made(n); is {
				out = append(out, t)
			}
			return true
		})
	}
	for _, d := range file.Decls {
		if g, is := d.(*ast.GenDecl); is && g.Tok == token.VAR {
			within(g) // the reasons that are told apart
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl: // what an error of its own type says
			if n.Name.Name == "Error" && n.Recv != nil {
				ast.Inspect(n, func(n ast.Node) bool {
					r, is := n.(*ast.ReturnStmt)
					if !is || len(r.Results) != 1 {
						return true
					}
					e := r.Results[0]
					if c, is := e.(*ast.CallExpr); is && len(c.Args) > 0 {
						e = c.Args[0]
					}
					if t, is := literal(e); is {
						out = append(out, t)
					}
					return true
				})
			}
		case *ast.ReturnStmt: // a broker's failure: its kind, what is said of it, and a hint
			if len(n.Results) == 3 {
				if id, is := n.Results[0].(*ast.Ident); is && strings.HasPrefix(id.Name, "Kind") {
					e := n.Results[1]
					if c, is := e.(*ast.CallExpr); is && len(c.Args) > 0 {
						e = c.Args[0]
					}
					if t, is := literal(e); is {
						out = append(out, t)
					}
				}
			}
		case *ast.CompositeLit: // an error with a hint
			kind := n.Type
			if s, is := kind.(*ast.SelectorExpr); is {
				kind = s.Sel
			}
			id, is := kind.(*ast.Ident)
			if !is || !hints[id.Name] {
				return true
			}
			within(n)
			for _, e := range n.Elts {
				kv, is := e.(*ast.KeyValueExpr)
				if !is {
					continue
				}
				if key, is := kv.Key.(*ast.Ident); is && key.Name == "What" {
					if c, is := kv.Value.(*ast.CallExpr); is && len(c.Args) > 0 {
						if t, is := literal(c.Args[0]); is {
							out = append(out, t)
						}
					} else if t, is := literal(kv.Value); is {
						out = append(out, t)
					}
				}
			}
		case *ast.CallExpr:
			if t, is := made(n); is && prefix.MatchString(t) { // one that names its package is whole
				out = append(out, t)
			}
			on, name := called(n)
			switch {
			case name == "fail" || name == "failConfig" || name == "fault":
				for _, a := range n.Args {
					within(a)
				}
			case name == "bad" && len(n.Args) > 2: // a problem of the configuration
				if t, is := literal(n.Args[2]); is {
					out = append(out, t)
				}
			case (name == "Warn" || name == "Error") && on != "t" && len(n.Args) > 0: // the log
				if t, is := literal(n.Args[0]); is {
					out = append(out, t)
				}
			}
		}
		return true
	})
	return out
}

// reached is the folders of the packages that the program is made of.
func reached(t *testing.T, all []source) map[string]bool {
	t.Helper()
	imported := map[string][]string{}
	for _, s := range all {
		if s.test {
			continue
		}
		for _, p := range imports(t, s.file) {
			if ours, is := strings.CutPrefix(p, module); is {
				imported[s.folder] = append(imported[s.folder], ours)
			}
		}
	}
	seen, next := map[string]bool{}, []string{"daemon/livenessd"}
	for len(next) > 0 {
		p := next[0]
		if next = next[1:]; !seen[p] {
			seen[p] = true
			next = append(next, imported[p]...)
		}
	}
	return seen
}

// sayings are all texts of the program, each once.
func sayings(t *testing.T) []said {
	t.Helper()
	var all []said
	seen := map[string]bool{}
	everything := sources(t)
	program := reached(t, everything)
	files, hints := map[string]*ast.File{}, map[string]bool{}
	for _, s := range everything {
		if s.test || !program[s.folder] {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(s.name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[s.name] = f
		hinting(f, hints)
	}
	for _, s := range everything {
		if files[s.name] == nil {
			continue
		}
		for _, text := range texts(files[s.name], hints) {
			p := pattern(text)
			if strings.HasPrefix(text, "%w") || strings.Trim(p, "…:; ,") == "" || seen[p] { // what %w stands for has an entry itself
				continue
			}
			seen[p] = true
			all = append(all, said{p, s.name})
		}
	}
	return all
}

const troubleshooting = "docs/troubleshooting.md"

// entry is one of the document: the texts that lead to it, and whether it says what to do.
type entry struct {
	title   string
	texts   []string
	foreign bool // of the system's texts, and of libraries'
	does    bool
}

var key = regexp.MustCompile("^- `(.+)`$")

func entries(t *testing.T) []entry {
	t.Helper()
	b, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	var all []entry
	foreign := false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "## "):
			foreign = line == "## What the system says"
		case strings.HasPrefix(line, "### "):
			all = append(all, entry{title: line[4:], foreign: foreign})
		case len(all) == 0:
		case key.MatchString(line):
			e := &all[len(all)-1]
			e.texts = append(e.texts, key.FindStringSubmatch(line)[1])
		case strings.HasPrefix(line, "**Do:** "):
			all[len(all)-1].does = true
		}
	}
	return all
}

// What the program can print has an entry in the document, and what has an entry can be printed.
func TestEachErrorHasAnEntryInTroubleshooting(t *testing.T) {
	listed := map[string]string{}
	for _, e := range entries(t) {
		if len(e.texts) == 0 || !e.does {
			t.Errorf("%s: %q has no text, or doesn't say what to do", troubleshooting, e.title)
		}
		for _, text := range e.texts {
			if was, twice := listed[text]; twice {
				t.Errorf("%s: %q is in %q and in %q", troubleshooting, text, was, e.title)
			}
			listed[text] = e.title
		}
	}
	printed := map[string]bool{}
	for _, s := range sayings(t) {
		printed[s.text] = true
		if listed[s.text] == "" {
			t.Errorf("%s: no entry in %s has the line\n- `%s`\nput it into the one that fits, or write one: what it means, what to do", s.where, troubleshooting, s.text)
		}
	}
	for _, e := range entries(t) {
		for _, text := range e.texts {
			if !e.foreign && !printed[text] {
				t.Errorf("%s: %q: nothing prints %q any more", troubleshooting, e.title, text)
			}
		}
	}
	if len(printed) < 200 {
		t.Errorf("only %d texts were found in the source", len(printed))
	}
}

// The finder finds what it is there for, in source as it is written here.
func TestFindsWhatAProgramCanSay(t *testing.T) {
	const program = `package p
var errGone = errors.New("it is gone")
func f() error {
	log.Warn("something is odd", "error", err)
	r.bad(at, "hint", "%s has %d twice", name, n)
	if x { return &Error{Op: "open " + path, Err: errors.New("no such thing"), hint: "look"} }
	if y { return fail(ExitUsage, fmt.Errorf("--limit %v: too much", n)) }
	if z { return &Refusal{What: fmt.Sprintf("%s is damaged", file)} }
	return fmt.Errorf("camera: open %s: %w", path, errors.New("a detail"))
}
func (e *Error) Error() string { return "p: " + e.Op }
func (e *Error) Hint() string { return e.hint }
func (Refusal) Hint() string { return "" }
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", program, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	hints := map[string]bool{}
	hinting(f, hints)
	for _, s := range texts(f, hints) {
		got = append(got, pattern(s))
	}
	for _, want := range []string{"it is gone", "something is odd", "… has … twice", "no such thing", "--limit …: too much", "… is damaged", "camera: open …: …", "p: …"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q isn't found in %q", want, got)
		}
	}
	if slices.Contains(got, "a detail") {
		t.Error("a detail counts as a text of its own")
	}
}
