package graph

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/tflite"
)

// describedNet is the description in testdata, and as many numbers as it needs.
func describedNet(t testing.TB) (text string, numbers []byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/net.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []float32
	for _, f := range []Filter{filter(1, 3, 3, 4), filter(2, 3, 0, 4)} {
		all = append(append(all, f.Weights...), f.Bias...)
	}
	return string(data), float32s(append(all, 0.3, -0.4, 0, 1))
}

func TestADescribedNetIsTheNetThatOneBuilds(t *testing.T) {
	text, numbers := describedNet(t)
	net, ranges, err := Read(strings.NewReader(text), bytes.NewReader(numbers))
	if err != nil {
		t.Fatal(err)
	}
	n := New("each operator once", 12, 16, 3)
	first := n.Name(n.Conv(n.Input(), filter(1, 3, 3, 4).same().strided(2).relu6()), "first")
	edged := n.Name(n.Pad(first, Edges{Top: 1, Left: 1}), "edged")
	each := n.Name(n.Depthwise(edged, filter(2, 3, 0, 4).strided(2)), "each")
	bent := n.Name(n.PReLU(n.Name(n.Double(each), "larger"), []float32{0.3, -0.4, 0, 1}), "bent")
	sum := n.Name(n.Add(first, bent, ReLU), "sum")
	mean := n.Name(n.Mean(sum), "mean")
	gated := n.Name(n.Gate(sum, n.Name(n.Logistic(mean), "gate")), "gated")
	n.Output(gated)
	n.Output(mean)
	got, err := net.Float32()
	want, err2 := n.Float32()
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Errorf("float32: %v, %v, the same: %v", err, err2, bytes.Equal(got, want))
	}
	if steps := net.steps(ranges); steps[first] != affineOf(0, 6) || steps[edged] != affineOf(0, 6) || steps[each] != affineOf(-3.5, 4) ||
		steps[each+1] != affineOf(-3.5, 4) {
		t.Errorf("steps %+v", steps)
	}
	for _, k := range kindNames {
		if !strings.Contains(text, `"kind": "`+k+`"`) {
			t.Errorf("the description has no %s", k)
		}
	}
	data, err := net.Int8(ranges)
	if err != nil {
		t.Fatal(err)
	}
	library(t)
	if got := answers(t, data, tflite.XNNPACK, picture(net, 3)); len(got) != 2 || len(got[1]) != 4 {
		t.Errorf("%d outputs", len(got))
	}
}

func TestDescriptionsThatAreNotUnderstoodAreErrors(t *testing.T) {
	text, numbers := describedNet(t)
	for _, tt := range []struct{ name, old, new, says string }{
		{"nothing", text, "", "EOF"},
		{"no JSON", text, "net", "invalid character"},
		{"something after it", text, text + "{}", "follows"},
		{"another format", `"livenessd-net"`, `"onnx"`, `"onnx"`},
		{"another version", `"version": 1`, `"version": 2`, "version 2"},
		{"a field that there isn't", `"stride": 2, "range"`, `"stride": 2, "dilation": 2, "range"`, "dilation"},
		{"an operator that there isn't", `"kind": "mean"`, `"kind": "median"`, `"median"`},
		{"an activation that there isn't", `"relu6"`, `"gelu"`, `"gelu"`},
		{"an activation where none can be", `"edges": [1, 0, 1, 0]`, `"edges": [1, 0, 1, 0], "activation": "relu"`, "doesn't belong to pad"},
		{"a window where none can be", `"kind": "prelu",`, `"kind": "prelu", "window": [3, 3],`, "doesn't belong to prelu"},
		{"no window", `"window": [3, 3], "stride": 2, "range"`, `"stride": 2, "range"`, "a field is missing"},
		{"no edges", `, "edges": [1, 0, 1, 0]`, ``, "a field is missing"},
		{"a range where it follows", `"inputs": ["each"]`, `"inputs": ["each"], "range": [0, 1]`, "doesn't belong to double"},
		{"a range that is missing", `"activation": "relu", "range": [0, 7.25]`, `"activation": "relu"`, "sum has no range"},
		{"a range the wrong way round", `[-3.5, 4]`, `[4, -3.5]`, "range [4 -3.5] of each"},
		{"a range beyond float32", `[-3.5, 4]`, `[-1e39, 4]`, "range"},
		{"one input too many", `["mean"]}`, `["mean", "sum"]}`, "2 inputs"},
		{"a value of nowhere", `["edged"]`, `["blunt"]`, `no value "blunt"`},
		{"a value from later on", `"inputs": ["first"], "edges"`, `"inputs": ["each"], "edges"`, `no value "each"`},
		{"a name that is taken", `"name": "bent"`, `"name": "each"`, "taken"},
		{"no name", `"name": "bent"`, `"name": ""`, "empty"},
		{"an output of nowhere", `["gated", "mean"]`, `["gate", "means"]`, `"means"`},
		{"no output", `["gated", "mean"]`, `[]`, "without an output"},
		{"more numbers than there are", `"outputs": 4`, `"outputs": 400`, "needs 10800 numbers"},
		{"no channels", `"outputs": 4`, `"outputs": -4`, "-4 outputs"},
		{"a huge window", `"window": [3, 3], "stride": 2, "same"`, `"window": [65536, 65536], "stride": 2, "same"`, "window 65536"},
		{"a gate that is none", `["sum", "gate"]`, `["sum", "mean"]`, "doesn't come from Logistic"},
		{"too many operators", `"operators": [`, `"operators": [` + strings.Repeat("{},", maxOperators), "at most 256"},
	} {
		if strings.Count(text, tt.old) != 1 {
			t.Fatalf("%s: %q isn't there once", tt.name, tt.old)
		}
		changed := strings.Replace(text, tt.old, tt.new, 1)
		_, _, err := Read(strings.NewReader(changed), bytes.NewReader(numbers))
		if err == nil || !strings.HasPrefix(err.Error(), "graph: ") || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.says)
		}
	}
	for name, bad := range map[string][]byte{"none": {}, "a byte missing": numbers[:len(numbers)-1], "four missing": numbers[:len(numbers)-4],
		"one too many": slices.Concat(numbers, numbers[:4]),
		"no number":    slices.Concat(float32s([]float32{float32(math.NaN())}), numbers[4:])} {
		if _, _, err := Read(strings.NewReader(text), bytes.NewReader(bad)); err == nil {
			t.Errorf("numbers: %s is taken", name)
		}
	}
}

func TestADescriptionWithoutRangesIsFloat(t *testing.T) {
	text, numbers := describedNet(t)
	var d map[string]any
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	for _, o := range d["operators"].([]any) {
		delete(o.(map[string]any), "range")
	}
	plain, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	net, ranges, err := Read(bytes.NewReader(plain), bytes.NewReader(numbers))
	if err != nil || ranges != nil {
		t.Fatalf("%v, %v", ranges, err)
	}
	if data, err := net.Float32(); err != nil || len(data) == 0 {
		t.Error(err)
	}
}

// Whatever is described, it is an error or a net, and the net a file or an error.
func FuzzRead(f *testing.F) {
	text, numbers := describedNet(f)
	f.Add([]byte(text), numbers)
	f.Add([]byte(strings.ReplaceAll(text, "3", "0")), numbers)
	f.Add([]byte(`{"format":"livenessd-net","version":1,"input":{"name":"x","height":1,"width":1,"channels":1},"outputs":["x"]}`), []byte{})
	f.Fuzz(func(t *testing.T, text, numbers []byte) {
		net, ranges, err := Read(bytes.NewReader(text), bytes.NewReader(numbers))
		if err != nil {
			return
		}
		if _, err := net.Float32(); err != nil {
			t.Error(err)
		}
		if ranges != nil {
			if data, err := net.Int8(ranges); (err == nil) == (len(data) == 0) {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		}
	})
}
