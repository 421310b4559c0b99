package models

import (
	"os"
	"regexp"
	"testing"
)

// The manifests in the documentation are manifests.
func TestTheDocumentedManifestsAreRead(t *testing.T) {
	text, err := os.ReadFile("BUNDLE.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) != 3 {
		t.Errorf("%d manifests", len(blocks))
	}
	for _, b := range blocks {
		if m, err := ParseManifest("BUNDLE.md", b[1]); err != nil {
			t.Errorf("%v in\n%s", err, b[1])
		} else if m.Task == LivenessTask && m.Output.Live != 1 {
			t.Errorf("%+v", m)
		}
	}
}
