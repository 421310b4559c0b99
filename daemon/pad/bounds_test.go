package pad

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestThePlotOfBoundsNamesWhatItShows(t *testing.T) {
	nan := math.NaN()
	b := Bounds{Name: "mean over 2 s", Fixed: Trial{APCER: 0.02, BPCER: 0.1, Median: 0.3, Late: nan},
		Trials: []Trial{{0.001, 0.001, 0.2, 1.5, 4}, {0.01, 0.02, 0.1, 0.7, 2}, {0.1, 0.05, 0.05, nan, nan}}}
	var svg bytes.Buffer
	if err := b.Write(&svg, SVG); err != nil {
		t.Fatal(err)
	}
	text := texts(t, svg.Bytes())
	for _, s := range []string{"APCER", "BPCER", "APCER, mean over 2 s", "median", "95th percentile", "seconds", "0.1", "10"} {
		if !strings.Contains(text, s) {
			t.Errorf("no %q in %q", s, text)
		}
	}
	if strings.Contains(text, "95th percentile, mean over 2 s") || strings.Contains(svg.String(), "NaN") {
		t.Error("what there is none of is drawn")
	}
	var png bytes.Buffer
	if err := b.Write(&png, PNG); err != nil || !bytes.HasPrefix(png.Bytes(), []byte("\x89PNG")) {
		t.Errorf("png: %v", err)
	}
	if err := b.Write(&png, "gif"); err == nil {
		t.Error("a format that there is none of is written")
	}
	if err := (Bounds{Trials: b.Trials[:1]}).Write(&png, SVG); err == nil {
		t.Error("one trial is drawn")
	}
}
