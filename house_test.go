// Package livenessd_test holds the house together: which package may import which, as ARCHITECTURE.md draws it.
package livenessd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/livenessd/livenessd/"

// arrows is what each package of this module may import of the others. Tests may import more of the module, but nothing of daemon.
var arrows = map[string][]string{
	"camera":             {"camera/frame", "camera/jpeg"},
	"camera/frame":       {},
	"camera/jpeg":        {"camera/frame"},
	"tflite":             {},
	"tflite/fake":        {},
	"models":             {"tflite", "camera/frame"},
	"models/graph":       {},
	"models/graph/write": {"models/graph"},
	"models/silentface":  {"models", "models/graph", "tflite"},
	"mqtt":               {"mqtt/sign"},
	"mqtt/asyncapi":      {},
	"mqtt/broker":        {},
	"mqtt/sign":          {},
	"mqtt/fleet":         {"mqtt"},
	"daemon/blame":       {},
	"daemon/config":      {},
	"daemon/console":     {"camera", "daemon", "daemon/config", "daemon/decision", "daemon/pad", "daemon/web", "models", "mqtt"},
	"daemon/cue":         {"camera/frame", "daemon/decision"},
	"daemon/decision":    {},
	"daemon/demo":        {},
	"daemon/expose":      {},
	"daemon/look":        {"camera/frame", "daemon/decision"},
	"daemon/journal":     {"daemon/store", "mqtt"},
	"daemon/metrics":     {"camera", "daemon", "daemon/config", "daemon/decision", "daemon/web", "mqtt"},
	"daemon/web":         {},
	"daemon/pad":         {},
	"daemon/policy":      {"daemon/store"},
	"daemon/session":     {},
	"daemon/store":       {},
	"daemon/track":       {"camera/frame"},
	"daemon": {"camera", "camera/frame", "camera/jpeg", "daemon/blame", "daemon/config", "daemon/cue", "daemon/decision", "daemon/expose", "daemon/journal", "daemon/look",
		"daemon/policy", "daemon/session", "daemon/store", "daemon/track", "models", "mqtt", "mqtt/sign", "tflite"},
	"daemon/doctor":    {"camera", "camera/frame", "daemon", "daemon/config", "models", "mqtt", "tflite"},
	"daemon/livenessd": {"daemon/command"},
	"cross/packages":   {"daemon/command", "daemon/config", "systemd"},
	"daemon/command": {"camera", "camera/frame", "camera/jpeg", "daemon", "daemon/blame", "daemon/config", "daemon/console", "daemon/cue", "daemon/decision",
		"daemon/demo", "daemon/doctor", "daemon/look", "daemon/metrics", "daemon/pad", "models", "models/silentface", "mqtt", "mqtt/broker", "mqtt/sign",
		"systemd", "tflite"},
	"systemd": {},
}

// keepers is which package alone may import a library, or C. Its tests may, too.
var keepers = map[string][]string{
	"github.com/blackjack/webcam":           {"camera"},
	"github.com/mattn/go-tflite":            {"tflite"},
	"github.com/eclipse/paho.mqtt.golang":   {"mqtt"},
	"github.com/mochi-mqtt/server":          {"mqtt/broker"},
	"github.com/go-jose/go-jose":            {"mqtt/sign"},
	"github.com/goccy/go-yaml":              {"daemon/config", "models", "mqtt/asyncapi"},
	"github.com/santhosh-tekuri/jsonschema": {"cross/packages", "mqtt/asyncapi"},
	"github.com/spf13/cobra":                {"cross/packages", "daemon/command"},
	"github.com/google/flatbuffers":         {"models/graph"},
	"github.com/google/uuid":                {"daemon", "mqtt"},
	"github.com/chromedp":                   {"daemon/console/browser"},
	"github.com/nlpodyssey/gopickle":        {"models/silentface"},
	"github.com/prometheus/client_golang":   {"daemon/metrics"},
	"github.com/prometheus/client_model":    {"daemon/metrics"},
	"github.com/schollz/progressbar":        {"daemon/command"},
	"github.com/kardianos/service":          {"systemd"},
	"github.com/mdp/qrterminal":             {"daemon/command"},
	"go.etcd.io/bbolt":                      {"daemon/store"},
	"golang.org/x/sys":                      {"camera", "daemon", "daemon/doctor", "systemd"},
	"golang.org/x/term":                     {"daemon/command"},
	"gonum.org/v1/gonum":                    {"daemon/pad"},
	"gonum.org/v1/plot":                     {"daemon/pad"},
	"C":                                     {"tflite", "camera/jpeg"},
}

// source is one Go file of this module, whatever its build tags.
type source struct {
	folder, name string
	file         *ast.File
	test         bool
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			// What the Go tool doesn't look into, and what is built.
			if p != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") || p == "build" {
				return fs.SkipDir
			}
			if _, err := fs.Stat(os.DirFS(p), "go.mod"); p != "." && err == nil {
				return fs.SkipDir // another module
			}
			return nil
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(p), nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{path.Dir(p), p, f, strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func imports(t *testing.T, f *ast.File) []string {
	t.Helper()
	var out []string
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestArrowsBetweenPackages(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if s.folder == "." {
			continue
		}
		allowed, known := arrows[s.folder]
		if !known && !s.test {
			t.Errorf("%s: package %s isn't drawn: put it into ARCHITECTURE.md and into this test", s.name, s.folder)
			continue
		}
		seen[s.folder] = seen[s.folder] || !s.test
		for _, p := range imports(t, s.file) {
			ours, is := strings.CutPrefix(p, module)
			if !is || ours == s.folder || slices.Contains(allowed, ours) {
				continue
			}
			inDaemon := s.folder == "daemon" || strings.HasPrefix(s.folder, "daemon/")
			toDaemon := ours == "daemon" || strings.HasPrefix(ours, "daemon/")
			if !s.test || toDaemon && !inDaemon {
				t.Errorf("%s: %s may not import %s", s.name, s.folder, ours)
			}
		}
	}
	for p := range arrows {
		if !seen[p] {
			t.Errorf("package %s is drawn, but it isn't there", p)
		}
	}
}

func TestEachLibraryHasItsKeeper(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		for _, p := range imports(t, s.file) {
			if first, _, _ := strings.Cut(p, "/"); p != "C" && !strings.Contains(first, ".") || strings.HasPrefix(p, module) {
				continue // the standard library and this module
			}
			known := false
			for library, keepers := range keepers {
				if p != library && !strings.HasPrefix(p, library+"/") {
					continue
				}
				known = true
				seen[library] = true
				if !slices.Contains(keepers, s.folder) {
					t.Errorf("%s: %s is for %s alone", s.name, library, strings.Join(keepers, " and "))
				}
			}
			if !known {
				t.Errorf("%s: nobody is named as the keeper of %s", s.name, p)
			}
		}
	}
	for library := range keepers {
		if !seen[library] {
			t.Errorf("nobody imports %s", library)
		}
	}
}

func TestEachPackageSaysWhatItIs(t *testing.T) {
	docs := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		has := false
		if d := s.file.Doc; d != nil {
			text := d.Text()
			has = strings.HasPrefix(text, "Package "+s.file.Name.Name+" ") || s.file.Name.Name == "main" && strings.HasPrefix(text, "Command ")
		}
		docs[s.folder] = docs[s.folder] || has
	}
	for _, folder := range slices.Sorted(maps.Keys(docs)) {
		if !docs[folder] {
			t.Errorf("%s has no package comment", folder)
		}
	}
}

func TestTheDrawingNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for p := range arrows {
		if !strings.Contains(string(text), "| `"+p+"` |") {
			t.Errorf("ARCHITECTURE.md has no row for %s", p)
		}
	}
}

func TestLimitationsAreThoseOfTheShippedModels(t *testing.T) {
	text, err := os.ReadFile("LIMITATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"face", "liveness"} {
		card, err := os.ReadFile("models/shipped/" + model + "/README.md")
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(card), "\n")
		if name := strings.TrimPrefix(first, "# "); !strings.Contains(string(text), name) {
			t.Errorf("LIMITATIONS.md doesn't speak of %s: measure again and write down what passes now", name)
		}
	}
}
