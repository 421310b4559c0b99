package silentface

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReadsWhatPyTorchWrote: the files of testdata were written by PyTorch 1.13 in its two formats. One array is transposed, one
// is a part of a larger one, and one is a counter.
func TestReadsWhatPyTorchWrote(t *testing.T) {
	want := weights{
		"plain.weight":  {[]int{3, 4}, []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		"turned.weight": {[]int{3, 2}, []float32{0, 3, 1, 4, 2, 5}},
		"part.weight":   {[]int{4}, []float32{5, 6, 7, 8}},
	}
	for _, name := range []string{"legacy.pth", "zip.pth"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readWeights(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for key, w := range want {
			if g := got[key]; !slices.Equal(g.shape, w.shape) || !slices.Equal(g.data, w.data) {
				t.Errorf("%s: %s is %v, want %v", name, key, g, w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v", name, slices.Collect(maps.Keys(got)))
		}
	}
}

func TestFilesThatAreNoWeightsAreErrors(t *testing.T) {
	legacy, err := os.ReadFile(filepath.Join("testdata", "legacy.pth"))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "pickle", Size: 0, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	touched := filepath.Join(t.TempDir(), "touched")
	tests := []struct {
		name, says string
		data       []byte
	}{
		{"empty", "not the weights", nil},
		{"something else", "not the weights", []byte("GIF89a, and so on")},
		{"truncated in the names", "not the weights", legacy[:300]},
		{"an empty zip", "not the weights", []byte(zipMagic)},
		{"an old tar", "not the weights", archive.Bytes()},
		{"a list", "not the weights", pth(header, "](e.", "].")},
		{"a command", "os.system", pth(header, "cos\nsystem\n(X"+prefixed("touch "+touched)+"tR.", "].")},
		{"code", "builtins.eval", pth(header, "cbuiltins\neval\n(X"+prefixed("1")+"tR.", "].")},
		{"numbers as names", "a name is a", pth(header, "ccollections\nOrderedDict\n)R(K\x01K\x02u.", "].")},
		{"no arrays", "net is a", pth(header, "ccollections\nOrderedDict\n)R(X"+prefixed("net")+"K\x02u.", "].")},
	}
	for _, tt := range tests {
		if got, err := readWeights(tt.data); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, %v; want %q", tt.name, got, err, tt.says)
		}
	}
	if _, err := os.Stat(touched); err == nil {
		t.Error("a pickle ran a command")
	}
}

// header is what stands before the names in PyTorch's legacy format: a number, a version, and facts of the machine.
const header = legacyMagic + "\x80\x02M\xe9\x03." + "\x80\x02}."

func prefixed(s string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func pth(header, dict, keys string) []byte {
	return []byte(header + "\x80\x02" + dict + "\x80\x02" + keys)
}

// write makes a .pth in the legacy format of weights.
func write(w weights) []byte {
	var dict, keys, numbers strings.Builder
	integer := func(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	dict.WriteString("ccollections\nOrderedDict\n)R(")
	keys.WriteString("](")
	for _, name := range slices.Sorted(maps.Keys(w)) {
		a := w[name]
		sizes, strides := "(", "("
		stride := len(a.data)
		for _, n := range a.shape {
			stride /= n
			sizes += integer(n)
			strides += integer(stride)
		}
		dict.WriteString("X" + prefixed("module."+name) + "ctorch._utils\n_rebuild_tensor_v2\n((X" + prefixed("storage") +
			"ctorch\nFloatStorage\nX" + prefixed(name) + "X" + prefixed("cpu") + integer(len(a.data)) + "NtQK\x00" + sizes + "t" + strides +
			"t\x89ccollections\nOrderedDict\n)RtR")
		keys.WriteString("X" + prefixed(name))
		numbers.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(a.data))))
		for _, x := range a.data {
			numbers.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
		}
	}
	return append(pth(header, dict.String()+"u.", keys.String()+"e."), numbers.String()...)
}

// FuzzArray: whatever sizes and strides a file names, an array is copied whole or refused.
func FuzzArray(f *testing.F) {
	f.Add(24, 0, 2, 3, 3, 1)
	f.Add(24, 5, 4, 1, 1, 0)
	f.Add(6, 0, 3, 2, 1, 3)
	f.Add(6, 1, 3, 2, 1, 3)
	f.Add(0, 0, 0, 0, 0, 0)
	f.Add(10, -1, 1, 1, 1, 1)
	f.Add(10, 0, math.MaxInt, 2, math.MaxInt, 1)
	f.Add(10, math.MaxInt, 2, 2, 1<<22, 1<<22)
	f.Add(10, 0, 1<<22, 1<<22, 0, 0)
	f.Fuzz(func(t *testing.T, n, offset, rows, columns, down, right int) {
		from := make([]float32, max(0, min(n, 1000)))
		for i := range from {
			from[i] = float32(i)
		}
		if rows > 2000 && columns > 2000 {
			rows %= 1 << 30 // as large as they come, but not twice in one array that may be made
		}
		a, err := arrayOf(from, offset, []int{rows, columns}, []int{down, right})
		if err != nil {
			return
		}
		if len(a.data) != rows*columns {
			t.Fatalf("%d×%d has %d numbers", rows, columns, len(a.data))
		}
		for i, x := range a.data {
			if want := offset + i/columns*down + i%columns*right; int(x) != want {
				t.Fatalf("number %d is %v, want %d", i, x, want)
			}
		}
	})
}
