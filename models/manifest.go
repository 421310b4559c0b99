package models

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Task is what a model is for.
type Task string

// The tasks that livenessd knows.
const (
	FaceDetection Task = "face-detection"
	LivenessTask  Task = "liveness"
)

// Manifest describes a model beside its file: all that is needed to feed it and to read its answer.
type Manifest struct {
	Schema      int      `yaml:"schema"` // 1
	Task        Task     `yaml:"task"`
	Name        string   `yaml:"name"`
	Version     string   `yaml:"version"`
	Licence     string   `yaml:"licence"` // SPDX identifier
	Description string   `yaml:"description,omitempty"`
	TrainedOn   []Source `yaml:"trained_on"`
	File        string   `yaml:"file"`   // name of the .tflite in the same folder
	SHA256      string   `yaml:"sha256"` // of that file, 64 hexadecimal digits
	// Compiled are files of the same net for accelerators that need their own, by what they are compiled for: edgetpu, or a name that the
	// configuration has, too.
	Compiled   map[string]File `yaml:"compiled,omitempty"`
	Input      Input           `yaml:"input"`
	Crop       *Crop           `yaml:"crop,omitempty"`     // liveness
	Output     *Output         `yaml:"output,omitempty"`   // liveness
	Detector   *Heads          `yaml:"detector,omitempty"` // face detection
	Thresholds Thresholds      `yaml:"thresholds"`
	// Calibration, for liveness, says what an answer is worth as evidence. Absent: an answer is worth its log-odds, within ±4.
	Calibration *Calibration `yaml:"calibration,omitempty"`
}

// File is a file beside the manifest that it vouches for.
type File struct {
	File   string `yaml:"file"`
	SHA256 string `yaml:"sha256"`
}

// Source is a data set that a model was trained on.
type Source struct {
	Name        string `yaml:"name"`
	Licence     string `yaml:"licence"`
	Attribution string `yaml:"attribution,omitempty"`
}

// Input is the geometry and the number format of the picture that a model takes, NHWC with N = 1.
type Input struct {
	Width  int    `yaml:"width"`  // pixels
	Height int    `yaml:"height"` // pixels
	Order  string `yaml:"order"`  // of the channels: RGB or BGR
	Type   string `yaml:"type"`   // int8, uint8 or float32
	// Scale and ZeroPoint are the quantisation of an int8 or uint8 input: real = Scale × (stored − ZeroPoint), where real
	// is the pixel, 0…255. Only Scale 1 is taken; pixel − 128 is then stored for int8 (ZeroPoint −128).
	Scale     float64 `yaml:"scale,omitempty"`
	ZeroPoint int     `yaml:"zero_point,omitempty"`
	// Mean and Std normalise a float32 input: (pixel − Mean) / Std, in the order of the channels. Absent: the raw pixel.
	Mean []float64 `yaml:"mean,omitempty"`
	Std  []float64 `yaml:"std,omitempty"`
}

// Crop is the rule that makes a liveness net's picture from a frame and a face box. Whatever the part of the frame is, it is
// resized to the input bilinearly without anti-aliasing.
type Crop struct {
	// Rule minifasnet: the box is scaled by Scale about its centre, the scale clamped so that the result fits the picture
	// (s = min((H−1)/h, (W−1)/w, Scale)), shifted inside rather than padded, its aspect kept, and squashed to the input, as
	// upstream's Silent-Face-Anti-Spoofing does. It is for nets that were trained with it, to the pixel.
	//
	// Rule box: the box, grown to the input's aspect if Aspect says so, is scaled by Scale about its centre; Outside says
	// what becomes of what then lies outside the picture.
	Rule  string  `yaml:"rule"`
	Scale float64 `yaml:"scale"`
	// Aspect, for rule box. squash (the usual): the box's aspect is kept, and squashed to the input's. keep: the box is
	// grown on its shorter side to the input's aspect, so that faces aren't distorted; a square for a square input.
	Aspect string `yaml:"aspect,omitempty"`
	// Outside, for rule box. shift (the usual): the scale is clamped so that the part fits the picture, and the part is
	// moved inside. black and edge: the part stays where it is, and what lies outside is black, or repeats the edge.
	Outside string `yaml:"outside,omitempty"`
}

// Output is the meaning of a liveness net's answer.
type Output struct {
	Kind    string         `yaml:"kind"`              // logits or softmax
	Classes int            `yaml:"classes"`           // 2 or more
	Live    int            `yaml:"live"`              // index of the bona fide class
	Attacks map[int]string `yaml:"attacks,omitempty"` // names of the others, where the net tells kinds apart
}

// Heads describes the outputs of a face detector: for each stride, a map of H/stride × W/stride cells of one face logit,
// four box distances and, if Points, five points. See Detector for how they are read.
type Heads struct {
	Strides []int   `yaml:"strides"`
	Points  bool    `yaml:"points"`
	Overlap float64 `yaml:"overlap"` // IoU from which the weaker of two boxes is the same face
}

// Thresholds are the operating points that the model's makers recommend; the configuration can override those of liveness.
type Thresholds struct {
	FaceAt  float64 `yaml:"face_at,omitempty"`  // P(face) from which a box counts
	LiveAt  float64 `yaml:"live_at,omitempty"`  // P(live) from which a presentation is live
	SpoofAt float64 `yaml:"spoof_at,omitempty"` // P(live) up to which it is an attack
}

// Calibration turns the log-odds of one answer into evidence: log(p(answer | bona fide) / p(answer | attack)). It is
// Slope × log-odds + Offset, not below Least and not above Most: what one picture can prove has an end, however sure a net is.
type Calibration struct {
	Slope  float64 `yaml:"slope"`
	Offset float64 `yaml:"offset"`
	Least  float64 `yaml:"least"`
	Most   float64 `yaml:"most"`
}

// plainCalibration is that of a net about which nobody measured more: it means what it says, but is wrong at least once in 55.
func plainCalibration() Calibration { return Calibration{Slope: 1, Least: -4, Most: 4} }

// evidence of an answer. m is a manifest of a liveness net.
func (m *Manifest) evidence(odds float64) float64 {
	c := plainCalibration()
	if m.Calibration != nil {
		c = *m.Calibration
	}
	return min(max(c.Slope*odds+c.Offset, c.Least), c.Most)
}

// MaxManifest bounds a manifest's size in bytes.
const MaxManifest = 64 << 10

var (
	hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// ParseManifest reads a manifest strictly: an unknown key, a missing one and a value that makes no sense are errors.
// file names the source in the errors.
func ParseManifest(file string, data []byte) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, fmt.Errorf("models: %s: %d bytes; a manifest has at most %d", file, len(data), MaxManifest)
	}
	var m Manifest
	if err := yaml.UnmarshalWithOptions(data, &m, yaml.Strict(), yaml.DisallowUnknownField()); err != nil {
		return nil, fmt.Errorf("models: %s: %s", file, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("models: %s: %w", file, err)
	}
	return &m, nil
}

func (m *Manifest) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if m.Schema != 1 {
		bad("schema is %d; this version reads 1", m.Schema)
	}
	if !plainName.MatchString(m.Name) {
		bad("name %q: letters, digits, '.', '_' and '-', at most 64", m.Name)
	}
	if m.Version == "" || len(m.Version) > 64 {
		bad("version is missing or too long")
	}
	if m.Licence == "" {
		bad("licence is missing")
	}
	errs = append(errs, File{m.File, m.SHA256}.check()...)
	if len(m.Compiled) > maxCompiled {
		bad("compiled: %d files; at most %d", len(m.Compiled), maxCompiled)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Compiled)) {
		if !plainName.MatchString(name) {
			bad("compiled %q: letters, digits, '.', '_' and '-', at most 64", name)
		}
		for _, err := range m.Compiled[name].check() {
			bad("compiled: %s: %w", name, err)
		}
	}
	errs = append(errs, m.Input.check()...)
	switch m.Task {
	case FaceDetection:
		errs = append(errs, m.checkDetector()...)
	case LivenessTask:
		errs = append(errs, m.checkLiveness()...)
	default:
		bad("task %q: %s or %s", m.Task, FaceDetection, LivenessTask)
	}
	return errors.Join(errs...)
}

// maxCompiled bounds how many accelerators a model has files for.
const maxCompiled = 8

func (f File) check() (errs []error) {
	if !plainName.MatchString(f.File) || path.Ext(f.File) != ".tflite" {
		errs = append(errs, fmt.Errorf("file %q: a plain name that ends in .tflite, in the folder of the manifest", f.File))
	}
	if !hexDigest.MatchString(f.SHA256) {
		errs = append(errs, fmt.Errorf("sha256 %q: 64 lower-case hexadecimal digits", f.SHA256))
	}
	return errs
}

func (in *Input) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("input: "+format, args...)) }
	if in.Width < 16 || in.Width > 1024 || in.Height < 16 || in.Height > 1024 {
		bad("%d×%d: each side is 16 to 1024", in.Width, in.Height)
	}
	if in.Order != "RGB" && in.Order != "BGR" {
		bad("order %q: RGB or BGR", in.Order)
	}
	switch in.Type {
	case "int8", "uint8":
		want := -128
		if in.Type == "uint8" {
			want = 0
		}
		if in.Scale != 1 || in.ZeroPoint != want {
			bad("%s with scale %v and zero_point %d; only scale 1 and zero_point %d (the raw pixel) are supported", in.Type, in.Scale, in.ZeroPoint, want)
		}
		if in.Mean != nil || in.Std != nil {
			bad("mean and std are for float32")
		}
	case "float32":
		if in.Scale != 0 || in.ZeroPoint != 0 {
			bad("scale and zero_point are for int8 and uint8; use mean and std")
		}
		for _, v := range [][]float64{in.Mean, in.Std} {
			if v != nil && len(v) != 3 {
				bad("mean and std have three numbers each")
			}
		}
		for _, v := range in.Std {
			if !(math.Abs(v) > 1e-6) {
				bad("std of %v", v)
			}
		}
	default:
		bad("type %q: int8, uint8 or float32", in.Type)
	}
	return errs
}

func (m *Manifest) checkLiveness() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if m.Crop == nil {
		bad("crop is missing")
	} else {
		errs = append(errs, m.Crop.check()...)
	}
	if o := m.Output; o == nil {
		bad("output is missing")
	} else {
		if o.Kind != "logits" && o.Kind != "softmax" {
			bad("output: kind %q: logits or softmax", o.Kind)
		}
		if o.Classes < 2 || o.Classes > 64 || o.Live < 0 || o.Live >= o.Classes {
			bad("output: class %d of %d is live", o.Live, o.Classes)
		}
		for i, name := range o.Attacks {
			if i < 0 || i >= o.Classes || i == o.Live || !plainName.MatchString(name) {
				bad("output: attack %d: %q", i, name)
			}
		}
	}
	if m.Detector != nil {
		bad("detector is for task %s", FaceDetection)
	}
	if c := m.Calibration; c != nil {
		// The bounds are those of what fits into a float whatever the net says; they are far out of what makes sense.
		if !(c.Slope > 0 && c.Slope <= 100) || !(math.Abs(c.Offset) <= 100) {
			bad("calibration: slope %v and offset %v: the slope is above 0 and at most 100, the offset from −100 to 100", c.Slope, c.Offset)
		}
		if !(c.Least >= -20 && c.Least < 0 && c.Most > 0 && c.Most <= 20) {
			bad("calibration: from %v to %v: least is below 0 and most above, within ±20", c.Least, c.Most)
		}
	}
	if t := m.Thresholds; !(t.SpoofAt > 0 && t.SpoofAt < t.LiveAt && t.LiveAt < 1) {
		bad("thresholds: 0 < spoof_at < live_at < 1 must hold, not %v and %v", t.SpoofAt, t.LiveAt)
	}
	return errs
}

func (c *Crop) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("crop: "+format, args...)) }
	lowest := 1.0
	switch c.Rule {
	case "minifasnet":
		if c.Aspect != "" || c.Outside != "" {
			bad("aspect and outside are for rule box; minifasnet squashes and shifts")
		}
	case "box":
		lowest = 0.25
		if c.Aspect != "" && c.Aspect != "squash" && c.Aspect != "keep" {
			bad("aspect %q: squash or keep", c.Aspect)
		}
		if c.Outside != "" && c.Outside != "shift" && c.Outside != "black" && c.Outside != "edge" {
			bad("outside %q: shift, black or edge", c.Outside)
		}
	default:
		bad("rule %q: minifasnet or box", c.Rule)
	}
	if !(c.Scale >= lowest && c.Scale <= 8) {
		bad("scale %v: %v to 8", c.Scale, lowest)
	}
	return errs
}

func (m *Manifest) checkDetector() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	d := m.Detector
	if d == nil {
		bad("detector is missing")
		return errs
	}
	if len(d.Strides) < 1 || len(d.Strides) > 5 {
		bad("detector: one to five strides")
	}
	for _, s := range d.Strides {
		if s < 2 || s > 128 || m.Input.Width%s != 0 || m.Input.Height%s != 0 {
			bad("detector: stride %d doesn't divide %d×%d", s, m.Input.Width, m.Input.Height)
		}
	}
	if !(d.Overlap > 0 && d.Overlap < 1) {
		bad("detector: overlap %v: between 0 and 1", d.Overlap)
	}
	if m.Crop != nil || m.Output != nil || m.Calibration != nil {
		bad("crop, output and calibration are for task %s", LivenessTask)
	}
	if t := m.Thresholds; !(t.FaceAt > 0 && t.FaceAt < 1) {
		bad("thresholds: face_at %v: between 0 and 1", t.FaceAt)
	}
	return errs
}
