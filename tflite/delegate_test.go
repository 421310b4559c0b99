//go:build cgo && linux

package tflite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/tflite/fake"
)

// told makes settings of words such as key=value.
func told(words ...string) (all []Setting) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		all = append(all, Setting{key, value})
	}
	return all
}

// answer lets the net of int8.tflite look at a picture.
func answer(ip *Interpreter) ([]float32, error) {
	in, err := ip.InputInt8(0)
	if err != nil {
		return nil, err
	}
	for i := range in {
		in[i] = int8(7*i - 20)
	}
	out := make([]float32, 8)
	return out, errors.Join(ip.Invoke(), ip.OutputFloat32(0, out))
}

func TestAPluginTakesOperatorsAndAnswersAsTheProcessor(t *testing.T) {
	external := External + fake.Build(t)
	in := []TensorSpec{{Type: Int8}}
	want, err := answer(open(t, "int8.tflite", Options{Delegate: CPU, Inputs: in}))
	if err != nil {
		t.Fatal(err)
	}
	for _, settings := range [][]Setting{nil, told("claim=1"), told("device=usb:0", "note=with = and\nmore", "do=wrong", "after=1"), told("do=slow", "ms=20")} {
		ip := open(t, "int8.tflite", Options{Delegate: external, Settings: settings, Count: true, Inputs: in})
		got, err := answer(ip)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %v, %v; want %v", settings, got, err, want)
		}
		if ip.Delegate() != external || ip.Steps() < 1 {
			t.Errorf("%v: %d steps with %s", settings, ip.Steps(), ip.Delegate())
		}
	}
}

func TestWhatAPluginAnswersIsNotHiddenFromWhoAsks(t *testing.T) {
	external := External + fake.Build(t)
	in := []TensorSpec{{Type: Int8}}
	want, err := answer(open(t, "int8.tflite", Options{Delegate: CPU, Inputs: in}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := answer(open(t, "int8.tflite", Options{Delegate: external, Settings: told("do=wrong"), Inputs: in})); err != nil || slices.Equal(got, want) {
		t.Errorf("a wrong answer is %v, %v, as the right one", got, err)
	}
	ip := open(t, "int8.tflite", Options{Delegate: external, Settings: told("do=fail", "after=2"), Inputs: in})
	for i := range 4 {
		if _, err := answer(ip); (err != nil) != (i >= 2) {
			t.Errorf("invoke %d: %v", i+1, err)
		}
	}
}

func TestADelegateThatCannotBeHadSaysWhy(t *testing.T) {
	rt := library(t)
	data, sum := model(t, "int8.tflite")
	so := fake.Build(t)
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    Options
		says string
		hint bool
	}{
		{"no such plug-in", Options{Delegate: External + "/nonexistent/lib.so"}, "can't load /nonexistent/lib.so: cannot open shared object file", true},
		{"no library", Options{Delegate: External + text}, "file too short", true},
		{"a library that is no plug-in", Options{Delegate: External + rt.Path()}, "it has no function tflite_plugin_create_delegate", true},
		{"a relative path", Options{Delegate: External + "lib.so"}, "the path of a plug-in is absolute", false},
		{"an option that it doesn't have", Options{Delegate: External + so, Settings: told("depth=3")}, "makes no delegate: no option depth", true},
		{"no device", Options{Delegate: External + so, Settings: told("do=fail", "at=create")}, "makes no delegate: no fake accelerator is plugged in", true},
		{"a refusal to take the model", Options{Delegate: External + so, Settings: told("do=fail", "at=prepare")}, "the library makes no interpreter of it", false},
		{"nothing taken", Options{Delegate: External + so, Settings: told("claim=0")}, "it takes no part of the model", true},
		{"no libedgetpu", Options{Delegate: EdgeTPU, Library: "/nonexistent/libedgetpu.so.1"}, "can't load /nonexistent/libedgetpu.so.1", true},
		{"a model that isn't compiled for it", Options{Delegate: EdgeTPU, Library: so, Settings: told("claim=0")}, "it takes no part of the model", true},
		{"NNAPI on a desktop", Options{Delegate: NNAPI}, "libneuralnetworks.so", true},
		{"options for the processor", Options{Delegate: XNNPACK, Settings: told("a=b")}, "xnnpack takes no options", false},
		{"a library for the processor", Options{Delegate: CPU, Library: so}, "for edgetpu alone", false},
		{"too many options", Options{Delegate: External + so, Settings: make([]Setting, MaxSettings+1)}, "at most 32", false},
		{"an option without a name", Options{Delegate: External + so, Settings: told("=b")}, "a name", false},
		{"an option without end", Options{Delegate: External + so, Settings: told("note=" + strings.Repeat("x", maxSetting))}, "at most 4096 bytes", false},
		{"an option with a zero in it", Options{Delegate: External + so, Settings: told("note=a\x00b")}, "option", false},
	} {
		tt.o.SHA256, tt.o.Inputs = sum, []TensorSpec{{Type: Int8}}
		ip, err := rt.New(data, tt.o)
		if err == nil {
			t.Errorf("%s: it runs", tt.name)
			ip.Close()
			continue
		}
		if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
		var h interface{ Hint() string }
		if tt.hint && (!errors.As(err, &h) || h.Hint() == "") {
			t.Errorf("%s: %v has no hint", tt.name, err)
		}
	}
}

// TestNNAPIThatTakesNothingIsSeen lets a child find a libneuralnetworks.so without drivers: TensorFlow Lite says that it uses NNAPI then, and
// runs the model on the processor.
func TestNNAPIThatTakesNothingIsSeen(t *testing.T) {
	rt := library(t)
	data, sum := model(t, "int8.tflite")
	if os.Getenv("TFLITE_TEST_NNAPI") != "" {
		_, err := rt.New(data, Options{SHA256: sum, Delegate: NNAPI, Inputs: []TensorSpec{{Type: Int8}}})
		fmt.Println(err)
		os.Exit(0)
	}
	so := fake.Build(t)
	if err := os.Rename(so, filepath.Join(filepath.Dir(so), "libneuralnetworks.so")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestNNAPIThatTakesNothingIsSeen$")
	cmd.Env = append(os.Environ(), "TFLITE_TEST_NNAPI=1", "LD_LIBRARY_PATH="+filepath.Dir(so))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "delegate nnapi: it takes no part of the model") {
		t.Errorf("%v, %s", err, out)
	}
}

func TestTheOlderNameOfTheBuiltInKernels(t *testing.T) {
	if d := open(t, "int8.tflite", Options{Delegate: "none", Inputs: []TensorSpec{{}}}).Delegate(); d != CPU {
		t.Errorf("none is %s", d)
	}
}
