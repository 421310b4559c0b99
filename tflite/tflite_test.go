package tflite

import (
	"errors"
	"strings"
	"testing"
)

func TestTensorsThatDifferAreNamed(t *testing.T) {
	one, two, minus := 1.0, 2.0, -128
	have := []Tensor{{Name: "x", Type: Int8, Shape: []int{1, 80, 80, 3}, Scale: 1, ZeroPoint: -128}}
	tests := []struct {
		name string
		want []TensorSpec
		err  string // "" for a match
	}{
		{"all as wanted", []TensorSpec{{Int8, []int{1, 80, 80, 3}, &one, &minus}}, ""},
		{"anything", []TensorSpec{{}}, ""},
		{"too many", nil, "it has 1 inputs, need 0"},
		{"too few", []TensorSpec{{}, {}}, "it has 1 inputs, need 2"},
		{"another type", []TensorSpec{{Type: Float32}}, "input 0 (x) is int8, need float32"},
		{"another shape", []TensorSpec{{Shape: []int{1, 80, 3, 80}}}, "has shape [1 80 80 3], need [1 80 3 80]"},
		{"another scale", []TensorSpec{{Scale: &two}}, "scale 1, need 2"},
		{"another zero point", []TensorSpec{{ZeroPoint: new(int)}}, "zero point -128, need 0"},
	}
	for _, tt := range tests {
		err := matches("input", have, tt.want)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

func TestWhereTheLibraryIsLookedFor(t *testing.T) {
	t.Setenv(LibraryVariable, "/somewhere/lib.so")
	if got := (LoadOptions{Path: "/named.so"}).candidates(); len(got) != 1 || got[0] != "/named.so" {
		t.Errorf("a named path gives %v, want that alone", got)
	}
	if got := (LoadOptions{}).candidates(); len(got) != 1 || got[0] != "/somewhere/lib.so" {
		t.Errorf("%s gives %v, want that alone", LibraryVariable, got)
	}
	t.Setenv(LibraryVariable, "")
	got := (LoadOptions{}).candidates()
	if len(got) != 6 || !strings.HasSuffix(got[0], "/"+Library) || !strings.HasSuffix(got[2], "/lib/livenessd/"+Library) ||
		got[3] != "/usr/local/lib/livenessd/"+Library || got[4] != "/usr/lib/livenessd/"+Library || got[5] != Library {
		t.Errorf("nothing named gives %v, want beside the binary, its lib, the lib/livenessd beside its folder, those below /usr/local and /usr, and the system's", got)
	}
}

func TestLoadErrorNamesWhatWasTriedAndWhatToDo(t *testing.T) {
	err := error(&LoadError{Tried: []Attempt{{"/a.so", "no such file"}, {"/b.so", "it has no function TfLiteVersion"}}})
	for _, part := range []string{"/a.so (no such file)", "/b.so (it has no function TfLiteVersion)"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q doesn't say %q", err, part)
		}
	}
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "models.runtime") {
		t.Errorf("no hint that names models.runtime")
	}
}
