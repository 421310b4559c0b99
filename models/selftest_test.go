package models

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/livenessd/livenessd/tflite"
)

var update = flag.Bool("update", false, "write golden/golden.json from what the shipped models answer")

// nets opens the shipped models, or skips the test.
func nets(t testing.TB, delegate string) (*Detector, *Liveness) {
	t.Helper()
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Skipf("%v; make test sets %s", err, tflite.LibraryVariable)
	}
	dm, err := Shipped(FaceDetection)
	if err != nil {
		t.Fatal(err)
	}
	lm, err := Shipped(LivenessTask)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDetector(rt, dm, Options{Delegate: delegate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	l, err := NewLiveness(rt, lm, Options{Delegate: delegate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return d, l
}

func TestGoldenAnswers(t *testing.T) {
	d, l := nets(t, tflite.XNNPACK)
	if *update {
		record(t, d, l)
	}
	if err := SelfTest(d, l); err != nil {
		t.Error(err)
	}
	g, err := readGolden()
	if err != nil {
		t.Fatal(err)
	}
	if !*update && (g.Detector != d.model.SHA256 || g.Liveness != l.model.SHA256) {
		t.Error("the golden answers are another model's; go test ./models -run Golden -update records them")
	}
}

// record writes the answers to the pictures that lie in golden/.
func record(t *testing.T, d *Detector, l *Liveness) {
	g := golden{Detector: d.model.SHA256, Liveness: l.model.SHA256}
	for _, pattern := range []string{"golden/*.jpg", "golden/*.png"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			p := goldenPicture{File: filepath.Base(file)}
			m, err := p.image()
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.answers(d, l, m)
			if err != nil {
				t.Fatal(err)
			}
			p = got
			if p.Face != nil { // again, now that the place is known
				if got, err = p.answers(d, l, m); err != nil {
					t.Fatal(err)
				}
				face := *got.Face
				got.Face = &face
			}
			g.Pictures = append(g.Pictures, got)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(g); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("golden/golden.json", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Log("recorded; the test binary has the old answers inside, so run it again")
}

// The built-in kernels round otherwise than XNNPACK: the tolerances must bear that, and nothing else.
func TestGoldenAnswersOnTheBuiltInKernels(t *testing.T) {
	if *update {
		t.Skip("the answers are being recorded")
	}
	if err := SelfTest(nets(t, tflite.CPU)); err != nil {
		t.Error(err)
	}
}

func TestSelfTestSeesWhatMoved(t *testing.T) {
	odds, other := 2.0, 2.7
	p := goldenPicture{File: "f", Face: &Box{100, 100, 80, 100}, Score: 0.9, LogOdds: &odds}
	nan := math.NaN()
	tests := []struct {
		name       string
		got        goldenPicture
		face, live bool // may pass
	}{
		{"the same", p, true, true},
		{"a box nearby", goldenPicture{Face: &Box{102, 99, 80, 101}, Score: 0.88, LogOdds: &odds}, true, true},
		{"a box elsewhere", goldenPicture{Face: &Box{110, 100, 80, 100}, Score: 0.9, LogOdds: &odds}, false, true},
		{"no face", goldenPicture{LogOdds: &odds}, false, true},
		{"another score", goldenPicture{Face: p.Face, Score: 0.7, LogOdds: &odds}, false, true},
		{"other odds", goldenPicture{Face: p.Face, Score: 0.9, LogOdds: &other}, true, false},
		{"no number", goldenPicture{Face: &Box{nan, 100, 80, 100}, Score: 0.9, LogOdds: &nan}, false, false},
	}
	for _, tt := range tests {
		if err := p.compareFace(tt.got); (err == nil) != tt.face {
			t.Errorf("%s: face %v", tt.name, err)
		}
		if err := p.compareOdds(tt.got); (err == nil) != tt.live {
			t.Errorf("%s: odds %v", tt.name, err)
		}
	}
	empty := goldenPicture{File: "e"}
	if empty.compareFace(goldenPicture{}) != nil || empty.compareFace(goldenPicture{Face: p.Face}) == nil {
		t.Error("a picture without a face must stay one")
	}
}

func BenchmarkDetect(b *testing.B) {
	d, _ := nets(b, tflite.XNNPACK)
	for _, name := range []string{"YUYV", "I420"} {
		m := pictures(1280, 720)[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Detect(&m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	_, l := nets(b, tflite.XNNPACK)
	m := pictures(1280, 720)["YUYV"]
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Crop(&m, Box{500, 200, 200, 260}); err != nil {
			b.Fatal(err)
		}
		if _, err := l.Judge(); err != nil {
			b.Fatal(err)
		}
	}
}
