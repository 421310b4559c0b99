package console

import (
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// texts is the page's table: by key and language.
func texts(t *testing.T) map[string]map[string]string {
	t.Helper()
	data, err := page.ReadFile("page/texts.json")
	if err != nil {
		t.Fatal(err)
	}
	var table map[string]map[string]string
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	return table
}

// sources are the page's files of a kind, by name.
func sources(t *testing.T, kind string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(page, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != kind {
			return err
		}
		data, err := page.ReadFile(name)
		all[name] = string(data)
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d files of kind %s: %v", len(all), kind, err)
	}
	return all
}

func TestEachTextIsThereInEachLanguage(t *testing.T) {
	put := regexp.MustCompile(`\{\w+\}`)
	for key, of := range texts(t) {
		if got := slices.Sorted(maps.Keys(of)); !slices.Equal(got, []string{"de", "en"}) {
			t.Errorf("%s is there in %v", key, got)
		}
		holes := func(text string) []string {
			all := put.FindAllString(text, -1)
			slices.Sort(all)
			return all
		}
		if en, de := holes(of["en"]), holes(of["de"]); !slices.Equal(en, de) {
			t.Errorf("%s puts in %v in English and %v in German", key, en, de)
		}
		for language, text := range of {
			if strings.TrimSpace(text) != text || text == "" {
				t.Errorf("%s in %s is %q", key, language, text)
			}
		}
	}
}

// A key is written as a whole, or as a section and a word of the daemon's: `verdict.${v}`.
func TestEachTextOfThePageHasAKey(t *testing.T) {
	table := texts(t)
	used := map[string]bool{}
	use := func(file, key string) {
		used[key] = true
		if table[key] == nil {
			t.Errorf("%s: no text %q", file, key)
		}
	}
	attribute := regexp.MustCompile(`data-(?:t|label)="([^"]*)"`)
	words := regexp.MustCompile(`>([^<>]*\pL[^<>]*)<`)
	for name, text := range sources(t, ".html") {
		for _, m := range attribute.FindAllStringSubmatch(text, -1) {
			use(name, m[1])
		}
		for _, m := range words.FindAllStringSubmatch(text, -1) {
			// The name is one in all languages, and without scripts there is no table.
			if got := strings.TrimSpace(m[1]); got != "livenessd" && !strings.HasPrefix(got, "This page needs JavaScript. / Diese") {
				t.Errorf("%s: the text %q isn't in the table", name, got)
			}
		}
	}
	// What an element is given (t:, label:), what is said (t(…), say(e, …), label(e, …), announce(…)), and lists of keys for badges and facts.
	call := regexp.MustCompile(`(?:\bt: |\blabel: |\bt\(|\bsay\([^"(),]+, |\blabel\([^"(),]+, |\bannounce\()([^;\n]*)`)
	literal := regexp.MustCompile("[\"`]([a-z][a-zA-Z]*(?:\\.(?:[\\w-]+|\\$\\{[^}]*\\}))*)[\"`]")
	for name, text := range sources(t, ".js") {
		for _, m := range call.FindAllStringSubmatch(text, -1) {
			first := m[1]
			if !strings.HasPrefix(first, `"`) && !strings.HasPrefix(first, "`") {
				continue // chosen elsewhere; below
			}
			if key := literal.FindStringSubmatch(first); key != nil && !strings.Contains(key[1], "${") && strings.HasPrefix(first[1:], key[1]) {
				use(name, key[1])
			}
		}
		for _, m := range literal.FindAllStringSubmatch(text, -1) {
			section, word, dotted := strings.Cut(m[1], ".")
			if !dotted {
				if table[m[1]] != nil {
					used[m[1]] = true
				}
				continue
			}
			known := slices.ContainsFunc(slices.Collect(maps.Keys(table)), func(k string) bool { return strings.HasPrefix(k, section+".") })
			switch {
			case !known:
			case strings.Contains(word, "${"):
				begin, _, _ := strings.Cut(m[1], "${")
				for k := range table {
					if strings.HasPrefix(k, begin) {
						used[k] = true
					}
				}
			default:
				use(name, m[1])
			}
		}
	}
	for key := range table {
		if !used[key] {
			t.Errorf("nothing says %q", key)
		}
	}
}
