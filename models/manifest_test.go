package models

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const livenessManifest = `schema: 1
task: liveness
name: some-net
version: 1.2.3
licence: Apache-2.0
trained_on:
  - {name: a set, licence: CC0-1.0}
file: net.tflite
sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
input: {width: 80, height: 80, order: BGR, type: int8, scale: 1, zero_point: -128}
crop: {rule: minifasnet, scale: 2.7}
output: {kind: logits, classes: 3, live: 1, attacks: {0: print, 2: replay}}
thresholds: {live_at: 0.8, spoof_at: 0.3}
`

const detectorManifest = `schema: 1
task: face-detection
name: some-finder
version: "1"
licence: Apache-2.0
trained_on: []
file: net.tflite
sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
input: {width: 224, height: 160, order: RGB, type: int8, scale: 1, zero_point: -128}
detector: {strides: [8, 16, 32], points: false, overlap: 0.4}
thresholds: {face_at: 0.6}
`

func TestManifestsAreReadWhole(t *testing.T) {
	m, err := ParseManifest("m.yaml", []byte(livenessManifest))
	if err != nil {
		t.Fatal(err)
	}
	if m.Task != LivenessTask || m.Name != "some-net" || m.Input.Order != "BGR" || m.Input.ZeroPoint != -128 || m.Crop.Scale != 2.7 ||
		m.Output.Attacks[2] != "replay" || m.Thresholds.SpoofAt != 0.3 || m.TrainedOn[0].Licence != "CC0-1.0" {
		t.Errorf("read as %+v", m)
	}
	if m, err = ParseManifest("m.yaml", []byte(detectorManifest)); err != nil || len(m.Detector.Strides) != 3 || m.Thresholds.FaceAt != 0.6 {
		t.Errorf("detector: %+v, %v", m, err)
	}
}

func TestManifestsThatMakeNoSenseAreRefused(t *testing.T) {
	tests := []struct{ name, from, to, says string }{
		{"unknown key", "crop:", "corp:", "corp"},
		{"unknown key inside", "scale: 2.7", "scale: 2.7, colour: red", "colour"},
		{"later schema", "schema: 1", "schema: 2", "schema is 2; this version reads 1"},
		{"no schema", "schema: 1\n", "", "schema is 0"},
		{"unknown task", "task: liveness", "task: age", `task "age"`},
		{"path as file", "file: net.tflite", "file: ../net.tflite", "plain name"},
		{"absolute file", "file: net.tflite", "file: /etc/passwd", "plain name"},
		{"other file", "file: net.tflite", "file: net.onnx", ".tflite"},
		{"short digest", "sha256: e3b0", "sha256: ", "64 lower-case"},
		{"upper-case digest", "sha256: e3b0", "sha256: E3B0", "64 lower-case"},
		{"huge input", "width: 80", "width: 100000", "16 to 1024"},
		{"negative input", "width: 80", "width: -80", "16 to 1024"},
		{"number out of range", "width: 80", "width: 1e40", "width"},
		{"order", "order: BGR", "order: GRB", `order "GRB"`},
		{"input type", "type: int8", "type: int16", `type "int16"`},
		{"scale of the input", "scale: 1,", "scale: 0.5,", "scale 0.5"},
		{"mean of int8", "zero_point: -128}", "zero_point: -128, mean: [1, 2, 3]}", "mean and std are for float32"},
		{"crop rule", "rule: minifasnet", "rule: other", `rule "other"`},
		{"crop scale", "scale: 2.7", "scale: .nan", "scale NaN"},
		{"crop scale too small for the rule", "scale: 2.7", "scale: 0.5", "scale 0.5: 1 to 8"},
		{"crop scale too small", "rule: minifasnet, scale: 2.7", "rule: box, scale: 0.1", "scale 0.1: 0.25 to 8"},
		{"aspect of another rule", "scale: 2.7", "scale: 2.7, aspect: keep", "aspect and outside are for rule box"},
		{"outside of another rule", "scale: 2.7", "scale: 2.7, outside: black", "aspect and outside are for rule box"},
		{"aspect", "rule: minifasnet, scale: 2.7", "rule: box, scale: 2.7, aspect: round", `aspect "round": squash or keep`},
		{"outside", "rule: minifasnet, scale: 2.7", "rule: box, scale: 2.7, outside: grey", `outside "grey": shift, black or edge`},
		{"live class", "live: 1", "live: 3", "class 3 of 3"},
		{"attack is the live class", "0: print", "1: print", "attack 1"},
		{"kind of output", "kind: logits", "kind: guesses", `kind "guesses"`},
		{"thresholds crossed", "live_at: 0.8", "live_at: 0.2", "0 < spoof_at < live_at < 1"},
		{"threshold of 1", "live_at: 0.8", "live_at: 1", "0 < spoof_at < live_at < 1"},
		{"no thresholds", "thresholds: {live_at: 0.8, spoof_at: 0.3}\n", "", "0 < spoof_at < live_at < 1"},
		{"calibration the wrong way round", "thresholds:", "calibration: {slope: -1, offset: 0, least: -4, most: 4}\nthresholds:", "slope -1"},
		{"calibration without a slope", "thresholds:", "calibration: {offset: 0, least: -4, most: 4}\nthresholds:", "slope 0"},
		{"calibration without bounds", "thresholds:", "calibration: {slope: 1, offset: 0}\nthresholds:", "from 0 to 0"},
		{"calibration that proves anything", "thresholds:", "calibration: {slope: 1, offset: 0, least: -4, most: .inf}\nthresholds:", "from -4 to +Inf"},
		{"calibration of nothing", "thresholds:", "calibration: {slope: .nan, offset: 0, least: -4, most: 4}\nthresholds:", "slope NaN"},
		{"calibration with a word too many", "thresholds:", "calibration: {slope: 1, offset: 0, least: -4, most: 4, knots: 3}\nthresholds:", "knots"},
		{"no licence", "licence: Apache-2.0\n", "", "licence is missing"},
		{"not YAML", "schema: 1", "schema: [", "m.yaml"},
	}
	for _, tt := range tests {
		text := strings.Replace(livenessManifest, tt.from, tt.to, 1)
		if text == livenessManifest {
			t.Fatalf("%s changes nothing", tt.name)
		}
		m, err := ParseManifest("m.yaml", []byte(text))
		if err == nil {
			t.Errorf("%s: read as %+v", tt.name, m)
		} else if !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "models: m.yaml: ") {
			t.Errorf("%s: %v, want the file and %q", tt.name, err, tt.says)
		}
	}
	for _, tt := range []struct{ from, to, says string }{
		{"strides: [8, 16, 32]", "strides: []", "one to five strides"},
		{"strides: [8, 16, 32]", "strides: [9]", "stride 9"},
		{"strides: [8, 16, 32]", "strides: [0]", "stride 0"},
		{"overlap: 0.4", "overlap: 1", "overlap 1"},
		{"face_at: 0.6", "face_at: 0", "face_at 0"},
		{"detector:", "calibration: {slope: 1, offset: 0, least: -4, most: 4}\ndetector:", "are for task liveness"},
		{"detector:", "output: {kind: logits, classes: 2, live: 1}\ndetector:", "are for task liveness"},
	} {
		if _, err := ParseManifest("m.yaml", []byte(strings.Replace(detectorManifest, tt.from, tt.to, 1))); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("detector with %s: %v, want %q", tt.to, err, tt.says)
		}
	}
}

func TestACalibrationSaysWhatAnAnswerIsWorth(t *testing.T) {
	for _, tt := range []struct {
		calibration string
		odds, want  float64
	}{
		{"", 3, 3}, {"", -3, -3}, {"", 30, 4}, {"", -1e9, -4},
		{"calibration: {slope: 0.5, offset: -1, least: -5, most: 2}\n", 3, 0.5},
		{"calibration: {slope: 0.5, offset: -1, least: -5, most: 2}\n", 7, 2},
		{"calibration: {slope: 0.5, offset: -1, least: -5, most: 2}\n", -9, -5},
	} {
		m, err := ParseManifest("m.yaml", []byte(livenessManifest+tt.calibration))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.evidence(tt.odds); got != tt.want {
			t.Errorf("%s%v is worth %v, not %v", tt.calibration, tt.odds, got, tt.want)
		}
	}
}

func TestManifestsAreBounded(t *testing.T) {
	if _, err := ParseManifest("m.yaml", make([]byte, MaxManifest+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a manifest of %d bytes: %v", MaxManifest+1, err)
	}
	// Ten levels of ten aliases each would be 10¹⁰ strings.
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 11; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10))
	}
	if m, err := ParseManifest("m.yaml", []byte(b.String())); err == nil {
		t.Errorf("a billion laughs are read as %+v", m)
	}
}

// Each of these is a way in which nets that others trained want to be fed and read.
func TestManifestsSayHowANetIsFed(t *testing.T) {
	for _, tt := range []struct{ name, from, to string }{
		{"raw float32", "type: int8, scale: 1, zero_point: -128", "type: float32"},
		{"normalised float32", "type: int8, scale: 1, zero_point: -128", "type: float32, mean: [104, 117, 123], std: [1, 1, 1]"},
		{"uint8", "type: int8, scale: 1, zero_point: -128", "type: uint8, scale: 1, zero_point: 0"},
		{"RGB", "order: BGR", "order: RGB"},
		{"softmax", "kind: logits", "kind: softmax"},
		{"another live class", "live: 1, attacks: {0: print, 2: replay}", "live: 0, attacks: {1: print, 2: replay}"},
		{"no kinds of attack", ", attacks: {0: print, 2: replay}", ""},
		{"a wider crop", "scale: 2.7", "scale: 4"},
		{"the box itself", "rule: minifasnet, scale: 2.7", "rule: box, scale: 1"},
		{"a part of the box", "rule: minifasnet, scale: 2.7", "rule: box, scale: 0.8"},
		{"an undistorted crop, moved inside", "rule: minifasnet, scale: 2.7", "rule: box, scale: 1.3, aspect: keep, outside: shift"},
		{"padded with black", "rule: minifasnet, scale: 2.7", "rule: box, scale: 1.3, aspect: squash, outside: black"},
		{"padded with its edge", "rule: minifasnet, scale: 2.7", "rule: box, scale: 1.3, aspect: keep, outside: edge"},
		{"an input that isn't square", "width: 80", "width: 112"},
	} {
		text := strings.Replace(livenessManifest, tt.from, tt.to, 1)
		if text == livenessManifest {
			t.Fatalf("%s changes nothing", tt.name)
		}
		if _, err := ParseManifest("m.yaml", []byte(text)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// FuzzParseManifest: whatever is accepted holds what the rest of the package relies on.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(livenessManifest))
	f.Add([]byte(detectorManifest))
	f.Add([]byte("schema: 1\ntask: liveness\ninput: {width: 0x7fffffffffffffff}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("\xff\xfe: \x00"))
	f.Add([]byte("{[}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest("m.yaml", data)
		if err != nil {
			return
		}
		if _, err := m.Input.spec(); err != nil {
			t.Error(err)
		}
		switch m.Task {
		case LivenessTask:
			if m.Crop == nil || m.Output == nil || m.Output.Live >= m.Output.Classes {
				t.Errorf("accepted: %+v", m)
			}
		case FaceDetection:
			if m.Detector == nil || len(m.Detector.Strides) == 0 {
				t.Errorf("accepted: %+v", m)
			}
		default:
			t.Error(errors.New(string(m.Task)))
		}
	})
}
