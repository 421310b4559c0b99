//go:build cgo && linux

package tflite

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// library loads the runtime, or skips the test.
func library(t testing.TB) *Runtime {
	t.Helper()
	rt, err := Load(LoadOptions{})
	if err != nil {
		t.Skipf("%v; make test sets %s", err, LibraryVariable)
	}
	return rt
}

func model(t testing.TB, name string) ([]byte, string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data, digest(data)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func open(t testing.TB, name string, o Options) *Interpreter {
	t.Helper()
	rt := library(t)
	data, sum := model(t, name)
	o.SHA256 = sum
	ip, err := rt.New(data, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ip.Close() })
	return ip
}

func TestRunsInt8(t *testing.T) {
	one, minus := 1.0, -128
	for _, d := range []string{XNNPACK, CPU} {
		ip := open(t, "int8.tflite", Options{Delegate: d,
			Inputs:  []TensorSpec{{Int8, []int{1, 2, 2, 3}, &one, &minus}},
			Outputs: []TensorSpec{{Int8, []int{1, 2, 2, 2}, nil, nil}}})
		in, err := ip.InputInt8(0)
		if err != nil {
			t.Fatal(err)
		}
		for i, pixel := range []int{100, 110, 120, 90, 100, 110, 100, 100, 100, 105, 95, 100} {
			in[i] = int8(pixel - 128)
		}
		if err := ip.Invoke(); err != nil {
			t.Fatal(err)
		}
		out := make([]float32, 8)
		if err := ip.OutputFloat32(0, out); err != nil {
			t.Fatal(err)
		}
		if want := []float32{30, -20, 0, -20, 0, 0, 0, 5}; !slices.Equal(out, want) {
			t.Errorf("%s: %v, want %v", d, out, want)
		}
		if ip.Delegate() != d {
			t.Errorf("delegate %q, want %q", ip.Delegate(), d)
		}
	}
}

func TestRunsFloat32(t *testing.T) {
	ip := open(t, "float32.tflite", Options{Inputs: []TensorSpec{{Type: Float32}, {Type: Float32}}})
	for i := range 2 {
		in, err := ip.InputFloat32(i)
		if err != nil {
			t.Fatal(err)
		}
		copy(in, []float32{1, 2, 3, float32(i)})
	}
	if err := ip.Invoke(); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, 4)
	if err := ip.OutputFloat32(0, out); err != nil {
		t.Fatal(err)
	}
	if want := []float32{2, 4, 6, 1}; !slices.Equal(out, want) {
		t.Errorf("%v, want %v", out, want)
	}
}

// TestThreadsShareMemory: nets that many threads open are not in as many arenas, which glibc maps as 64 MiB each, of which a part is used.
func TestThreadsShareMemory(t *testing.T) {
	arenas := func() (n int) {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		const size = 64 << 20
		var used uint64 // where the last mapping ended, if it began as an arena does
		for line := range strings.Lines(string(maps)) {
			var from, to uint64
			var rights string
			if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if rights == "---p" && from == used && to%size == 0 {
				n++
			}
			used = 0
			if rights == "rw-p" && from%size == 0 && to < from+size {
				used = to
			}
		}
		return n
	}
	data, sum := model(t, "int8.tflite")
	rt := library(t)
	const threads = 16
	var wg, all sync.WaitGroup
	all.Add(threads)
	for range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ip, err := rt.New(data, Options{SHA256: sum, Delegate: XNNPACK, Inputs: []TensorSpec{{Type: Int8}}})
			all.Done()
			if err != nil {
				t.Error(err)
				return
			}
			all.Wait() // so that there are as many threads
			if err := ip.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := arenas(); n > 1 { // Go's own memory may look like one
		t.Errorf("%d threads have %d arenas of their own", threads, n)
	}
}

func TestRefusesWhatDoesNotFit(t *testing.T) {
	rt := library(t)
	good, sum := model(t, "int8.tflite")
	in := []TensorSpec{{Type: Int8}}
	tests := []struct {
		name string
		data []byte
		o    Options
		err  string
	}{
		{"another digest", good, Options{SHA256: strings.Repeat("0", 64), Inputs: in}, "its SHA-256 is " + sum},
		{"no digest", good, Options{Inputs: in}, "SHA-256"},
		{"a byte more", append(slices.Clone(good), 0), Options{SHA256: sum, Inputs: in}, "SHA-256"},
		{"empty", nil, Options{SHA256: digest(nil), Inputs: in}, "not a TensorFlow Lite file"},
		{"text", bytes.Repeat([]byte("text"), 100), Options{SHA256: digest(bytes.Repeat([]byte("text"), 100)), Inputs: in}, "not a TensorFlow Lite file"},
		{"truncated", good[:len(good)/2], Options{SHA256: digest(good[:len(good)/2]), Inputs: in}, "the library refuses the file"},
		{"too many inputs asked for", good, Options{SHA256: sum, Inputs: []TensorSpec{{}, {}}}, "it has 1 inputs, need 2"},
		{"another output", good, Options{SHA256: sum, Inputs: in, Outputs: []TensorSpec{{Type: Float32}}}, "output 0 (numbers) is int8, need float32"},
		{"unknown delegate", good, Options{SHA256: sum, Inputs: in, Delegate: "gpu"}, `delegate "gpu"`},
		{"too many threads", good, Options{SHA256: sum, Inputs: in, Threads: 1000}, "1000 threads"},
	}
	for _, tt := range tests {
		ip, err := rt.New(tt.data, tt.o)
		if err == nil || ip != nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.err)
		}
	}
	for name, part := range map[string]string{"int32.tflite": "float32, int8 and uint8 can be used", "unscaled.tflite": "without a quantisation"} {
		data, sum := model(t, name)
		if ip, err := rt.New(data, Options{SHA256: sum, Inputs: in, Delegate: CPU}); err == nil || ip != nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want an error with %q", name, err, part)
		}
	}
}

func TestTensorsThatAreNotThere(t *testing.T) {
	ip := open(t, "int8.tflite", Options{Inputs: []TensorSpec{{}}})
	for _, i := range []int{-1, 1, 1 << 30} {
		if _, err := ip.InputInt8(i); err == nil {
			t.Errorf("input %d is given", i)
		}
		if err := ip.OutputFloat32(i, make([]float32, 8)); err == nil {
			t.Errorf("output %d is read", i)
		}
	}
	if _, err := ip.InputFloat32(0); err == nil {
		t.Error("an int8 input is given as float32")
	}
	if _, err := ip.InputUInt8(0); err == nil {
		t.Error("an int8 input is given as uint8")
	}
	for _, n := range []int{0, 7, 9} {
		if err := ip.OutputFloat32(0, make([]float32, n)); err == nil {
			t.Errorf("8 elements are read into %d", n)
		}
	}
}

func TestCloseIsOnceAndForAll(t *testing.T) {
	ip := open(t, "int8.tflite", Options{Inputs: []TensorSpec{{}}})
	for range 3 {
		if err := ip.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := ip.InputInt8(0)
	for what, err := range map[string]error{"input": err, "invoke": ip.Invoke(), "output": ip.OutputFloat32(0, make([]float32, 8))} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
}

func TestInterpretersOfOneModelRunSideBySide(t *testing.T) {
	rt := library(t)
	data, sum := model(t, "int8.tflite")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			ip, err := rt.New(data, Options{SHA256: sum, Inputs: []TensorSpec{{}}})
			if err != nil {
				t.Error(err)
				return
			}
			defer ip.Close()
			out := make([]float32, 8)
			for range 50 {
				in, _ := ip.InputInt8(0)
				for i := range in {
					in[i] = int8(100 + g - 128)
				}
				if err := errors.Join(ip.Invoke(), ip.OutputFloat32(0, out)); err != nil || out[0] != float32(3*g) {
					t.Errorf("goroutine %d: %v, %v", g, out, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestDamagedModels truncates at many places: the library's verifier must refuse each, and no crash may come of it.
func TestDamagedModels(t *testing.T) {
	rt := library(t)
	data, _ := model(t, "int8.tflite")
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		part := data[:r.IntN(len(data))]
		if ip, err := rt.New(part, Options{SHA256: digest(part), Inputs: []TensorSpec{{}}}); err == nil {
			t.Errorf("%d of %d bytes make a model", len(part), len(data))
			ip.Close()
		}
	}
}

// TestLoadFailures runs in child processes: a process has one library.
func TestLoadFailures(t *testing.T) {
	if path := os.Getenv("TFLITE_TEST_LOAD"); path != "" {
		if _, err := Load(LoadOptions{Path: path}); err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Exit(0)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "foreign.so")
	if err := os.WriteFile(foreign, foreignELF(t, exe), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, says string }{
		{"absent", "/nonexistent/lib.so", "/nonexistent/lib.so (cannot open shared object file"},
		{"not a library", text, "(file too short)"},
		{"another library", "libc.so.6", "it has no function TfLite"},
		{"another processor", foreign, "it is for "},
	}
	for _, tt := range tests {
		cmd := exec.Command(exe, "-test.run", "^TestLoadFailures$")
		cmd.Env = append(os.Environ(), "TFLITE_TEST_LOAD="+tt.path)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.says) {
			t.Errorf("%s: %v, %q; want %q", tt.name, err, out, tt.says)
		}
	}
}

// foreignELF is the head of this program, said to be for a processor that it isn't for.
func foreignELF(t *testing.T, exe string) []byte {
	t.Helper()
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	const machine, s390 = 18, 22
	data[machine], data[machine+1] = s390, 0
	return data
}

func BenchmarkInvoke(b *testing.B) {
	ip := open(b, "int8.tflite", Options{Inputs: []TensorSpec{{}}})
	out := make([]float32, 8)
	b.ReportAllocs()
	for b.Loop() {
		if err := errors.Join(ip.Invoke(), ip.OutputFloat32(0, out)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestStepsAreCounted(t *testing.T) {
	in := []TensorSpec{{Type: Int8}}
	alone := open(t, "int8.tflite", Options{Delegate: CPU, Count: true, Inputs: in}).Steps()
	if alone < 1 {
		t.Errorf("%d steps without a delegate", alone)
	}
	if n := open(t, "int8.tflite", Options{Delegate: XNNPACK, Count: true, Inputs: in}).Steps(); n < 1 || n > alone {
		t.Errorf("%d steps with XNNPACK, %d without", n, alone)
	}
	ip := open(t, "int8.tflite", Options{Delegate: XNNPACK, Inputs: in})
	if n := ip.Steps(); n != -1 {
		t.Errorf("%d steps, though nobody asked to count", n)
	}
}
