package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"
)

// component is something that is inside the package: a Go module, or what somebody else's library was made of.
type component struct {
	Name, Version string
	Sum           string // of a module, as go.sum has it
	Licence       string // an SPDX expression
	Holders       []string
	Text          string // of the licence; "" where Debian has it in /usr/share/common-licenses
	Inside        string // the file of the package that it is in
	Homepage      string
}

// grants are the words that each licence is known by.
var grants = []struct {
	spdx  string
	words []string
}{
	{"Apache-2.0", []string{"apache license", "version 2.0, january 2004"}},
	{"Apache-2.0", []string{"licensed under the apache license, version 2.0"}},
	{"MIT", []string{"permission is hereby granted, free of charge", "the above copyright notice and this permission notice shall be included"}},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "neither the name"}},
	{"BSD-2-Clause", []string{"redistribution and use in source and binary forms"}},
	{"EPL-2.0", []string{"eclipse public license - v 2.0"}},
	{"CC-BY-4.0", []string{"creative commons attribution 4.0 international public license"}},
	{"OFL-1.1", []string{"sil open font license", "version 1.1"}},
	{"FTL", []string{"the freetype project license"}},
	{"Zlib", []string{"altered source versions must be plainly marked", "may not be removed or altered from any source distribution"}},
	{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose"}},
	{"MPL-2.0", []string{"mozilla public license version 2.0"}},
	{"BSL-1.0", []string{"boost software license - version 1.0"}},
}

// choices are the modules whose root doesn't say it all, or leaves a choice: which of their files count, and as what together.
var choices = map[string]struct {
	files []string
	spdx  string
}{
	// One of two licences, by their own words; the other one is the GPL.
	"github.com/golang/freetype": {[]string{"LICENSE", "licenses/ftl.txt"}, "FTL"},
	// Files by their own words under the one or the other, and fonts inside.
	"gopkg.in/yaml.v3":                    {[]string{"LICENSE", "NOTICE"}, "MIT AND Apache-2.0"},
	"codeberg.org/go-fonts/liberation":    {[]string{"LICENSE", "LICENSE-SIL"}, "BSD-3-Clause AND OFL-1.1"},
	"github.com/ajstarks/svgo":            {[]string{"LICENSE"}, "CC-BY-4.0"}, // the other file is a link to it
	"github.com/eclipse/paho.mqtt.golang": {[]string{"LICENSE", "NOTICE.md"}, "EPL-2.0 OR BSD-3-Clause"},
}

var (
	isLicence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright|unlicense)([.-].*)?$`)
	isFolder  = regexp.MustCompile(`(?i)^(third_party_)?licen[cs]es$`)
	holder    = regexp.MustCompile(`(?im)^[\s*/#]*copyright\s+(?:\(c\)\s*|©\s*|\(c\)\s*)?<?[0-9][^\n]*|^[\s*]*©\s*[0-9][^\n]*`)
	spaces    = regexp.MustCompile(`\s+`)
)

// recognise tells which licence a text is.
func recognise(text string) (string, bool) {
	plain := strings.ToLower(spaces.ReplaceAllString(text, " "))
	for _, g := range grants {
		if !slices.ContainsFunc(g.words, func(w string) bool { return !strings.Contains(plain, w) }) {
			return g.spdx, true
		}
	}
	return "", false
}

// modules gives the modules that were linked into a program, and the standard library, with what their authors ask.
func modules(info *debug.BuildInfo) ([]component, error) {
	var out []component
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		dir, err := moduleFolder(m.Path, m.Version)
		if err != nil {
			return nil, err
		}
		c, err := licensed(m.Path, dir)
		if err != nil {
			return nil, err
		}
		c.Version, c.Sum, c.Homepage = m.Version, m.Sum, "https://pkg.go.dev/"+m.Path+"@"+m.Version
		out = append(out, c)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	std, err := licensed("stdlib", strings.TrimSpace(string(root)))
	if err != nil {
		return nil, err
	}
	std.Version, std.Homepage = strings.TrimPrefix(info.GoVersion, "go"), "https://go.dev/"
	out = append(out, std)
	for i := range out {
		out[i].Inside = binaryPath
	}
	slices.SortFunc(out, func(a, b component) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// moduleFolder is where the module's files lie: in the cache, where the build that linked it had them from.
func moduleFolder(path, version string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", path+"@"+version)
	cmd.Stderr = os.Stderr
	data, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w", path, version, err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(data, &m); err != nil || m.Dir == "" {
		return "", fmt.Errorf("go mod download %s@%s says no folder: %s", path, version, data)
	}
	return m.Dir, nil
}

// licensed reads the licence files of a module. That it knows each of them is the promise: an unknown one is an error.
func licensed(name, dir string) (component, error) {
	c := component{Name: name}
	choice, chosen := choices[name]
	files := choice.files
	if !chosen {
		var err error
		if files, err = licenceFiles(dir); err != nil {
			return c, err
		}
	}
	if len(files) == 0 {
		return c, fmt.Errorf("%s: no licence in %s: nobody may pass it on", name, dir)
	}
	var found []string
	var texts []string
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
		text := strings.ReplaceAll(utf8Of(data), "\r\n", "\n")
		for _, line := range holder.FindAllString(text, -1) {
			line = strings.Trim(spaces.ReplaceAllString(line, " "), " */#<>.")
			if !slices.Contains(c.Holders, line) {
				c.Holders = append(c.Holders, line)
			}
		}
		spdx, ok := recognise(text)
		base := strings.ToUpper(filepath.Base(f))
		if !ok && !chosen && !strings.HasPrefix(base, "NOTICE") && !strings.HasPrefix(base, "PATENTS") && !strings.HasPrefix(base, "COPYRIGHT") && filepath.Dir(f) == "." {
			return c, fmt.Errorf("%s: %s is no licence that is known here: see to it in cross/packages/licence.go", name, filepath.Join(dir, f))
		}
		if ok && !slices.Contains(found, spdx) && filepath.Dir(f) == "." {
			found = append(found, spdx)
		}
		if ok && spdx == "Apache-2.0" && len(text) > 8<<10 {
			continue // Debian has it
		}
		if len(files) > 1 {
			text = f + ":\n\n" + text
		}
		texts = append(texts, strings.Trim(text, "\n"))
	}
	c.Licence = choice.spdx
	if !chosen {
		if len(found) != 1 {
			return c, fmt.Errorf("%s: its files say %q, and not what holds for the whole: see to it in cross/packages/licence.go", name, found)
		}
		c.Licence = found[0]
	}
	if len(c.Holders) == 0 {
		c.Holders = []string{"the authors of " + name}
	}
	c.Text = strings.Join(texts, "\n\n")
	return c, nil
}

// utf8Of takes what isn't UTF-8 for Latin-1, which old files are.
func utf8Of(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	runes := make([]rune, len(data))
	for i, b := range data {
		runes[i] = rune(b)
	}
	return string(runes)
}

func licenceFiles(dir string) ([]string, error) {
	var out []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch {
		case e.Type().IsRegular() && isLicence.MatchString(e.Name()):
			out = append(out, e.Name())
		case e.IsDir() && isFolder.MatchString(e.Name()):
			inner, err := os.ReadDir(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			for _, f := range inner {
				if f.Type().IsRegular() {
					out = append(out, filepath.Join(e.Name(), f.Name()))
				}
			}
		}
	}
	return out, nil
}
