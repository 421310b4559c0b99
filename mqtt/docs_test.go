package mqtt

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEachKindIsInTheDocs reads the table of docs/security.md.
func TestEachKindIsInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []Kind
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ").FindAllStringSubmatch(string(text), -1) {
		got = append(got, Kind(m[1]))
	}
	want := Kinds()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the table has %v, and there are %v", got, want)
	}
}

// TestTheExamplesInTheDocsAreWhatTheirSchemasSay reads docs/sessions.md and docs/reliability.md: what is published by its schema, what is asked with the parsers.
func TestTheExamplesInTheDocsAreWhatTheirSchemasSay(t *testing.T) {
	text, err := os.ReadFile("../docs/sessions.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, more...)
	blocks := regexp.MustCompile("(?s)```json ([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 6 {
		t.Errorf("only %d documents", len(blocks))
	}
	d := described(t)
	for _, b := range blocks {
		if err := d.CheckAs(b[1]+".json", []byte(b[2])); err != nil {
			t.Errorf("%s: %v", b[2], err)
		}
		if _, err := ParseVerdict([]byte(b[2])); b[1] == "verdict" && err != nil {
			t.Error(err)
		}
	}
	topics, err := NewTopics(DefaultPrefix, "door-7")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^    mosquitto_pub -q 1 -t (\S+) -m '(.*)'$`).FindAllStringSubmatch(string(text), -1)
	if len(lines) != strings.Count(string(text), "mosquitto_pub") || len(lines) < 8 {
		t.Errorf("%d lines with mosquitto_pub can be read", len(lines))
	}
	for _, l := range lines {
		a, ok := topics.asked(l[1])
		schema := "request-" + string(a.Verb) + ".json"
		switch a.Verb {
		case "":
			schema = "switches-set.json"
		case VerbInfo:
			schema = "request-ping.json"
		}
		parse, known := parsers()[schema]
		if !ok || !known {
			t.Errorf("nobody hears %s", l[1])
			continue
		}
		if _, err := parse([]byte(l[2])); err != nil {
			t.Errorf("%s: %v", l[0], err)
		}
	}
}
