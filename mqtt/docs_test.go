package mqtt

import (
	"fmt"
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

// TestTheExamplesInTheDocsAreWhatTheirSchemasSay reads pages with examples: what is published by its schema, what is asked with the parsers.
func TestTheExamplesInTheDocsAreWhatTheirSchemasSay(t *testing.T) {
	var text []byte
	for _, page := range []string{"sessions", "reliability", "mqtt"} {
		b, err := os.ReadFile("../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	blocks := regexp.MustCompile("(?s)```json ([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 7 {
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

// TestTheTopicsInTheDocsAreThoseOfTheDescription reads the tables of docs/mqtt.md, which has all, and of README.md.
func TestTheTopicsInTheDocsAreThoseOfTheDescription(t *testing.T) {
	d := described(t)
	text, err := os.ReadFile("../docs/mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	yes := func(b bool) string { return map[bool]string{true: "yes", false: "no"}[b] }
	braces := strings.NewReplacer("{", "<", "}", ">")
	var want, got []string
	for _, c := range d.Channels() {
		does := "hears"
		if c.Sends {
			does = "sends"
		}
		want = append(want, fmt.Sprintf("%s, %d, %s, %s", braces.Replace(strings.TrimPrefix(c.Address, "{prefix}/{device}/")), c.QoS, yes(c.Retain), does))
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([012]) \\| (yes|no) \\| (sends|hears) \\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		got = append(got, strings.Join(m[1:5], ", "))
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(m[5], -1) {
			if _, err := os.Stat("../docs/" + link[1]); err != nil {
				t.Errorf("%s: %v", m[1], err)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docs/mqtt.md has\n%s\nand the description\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	if text, err = os.ReadFile("../README.md"); err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`→]+)` \\| ([012]), (yes|no) \\| ").FindAllStringSubmatch(string(text), -1)
	for _, m := range rows {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(w, strings.Join(m[1:], ", ")) }) {
			t.Errorf("README.md: %s isn't so", m[0])
		}
	}
	if len(rows) < 9 {
		t.Errorf("README.md has only %d topics", len(rows))
	}
}
