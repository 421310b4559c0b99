package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/camera"
)

// emulated skips unless it is asked for: it needs what `make amd64 arm64 armhf` builds, and takes minutes.
func emulated(t *testing.T) {
	t.Helper()
	if os.Getenv("LIVENESSD_EMULATED") == "" {
		t.Skip("run it by `make emulated`, which builds what it runs")
	}
}

// run runs a program of build/ARCH, under qemu, and gives what it wrote and its exit code.
func run(t *testing.T, arch, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	line := append([]string{filepath.Join(root, "build", arch, "livenessd")}, args...)
	if arch != debian(t) {
		line = append([]string{filepath.Join(root, "cross", "emulate"), arch}, line...)
	}
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	var out, complaints bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaints
	cmd.Env = append(os.Environ(), "LIVENESSD_TFLITE=") // the one beside it
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// clip writes every nth picture of the demo's clip, and gives their names.
func clip(t *testing.T, dir string, nth int) []string {
	t.Helper()
	data, err := os.ReadFile("../../daemon/demo/clip.mjpeg")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, p := range camera.SplitMJPEG(data) {
		if i%nth != 0 {
			continue
		}
		name := fmt.Sprintf("%04d.jpg", i)
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if len(names) < 5 {
		t.Fatalf("the clip has only %d pictures", len(names))
	}
	return names
}

// maxStep is how far the scores of one picture may be apart on two processors: two steps of the quantised output of the shipped liveness net.
// XNNPACK has kernels of its own for each processor, which round the last bit of an int8 differently now and then.
const maxStep = 0.05

func TestEmulatedArm64JudgesAsAmd64(t *testing.T) {
	emulated(t)
	dir := t.TempDir()
	args := append([]string{"score", "--json"}, clip(t, dir, 6)...)
	type score struct {
		File    string
		Face    *struct{ X, Y, Width, Height int }
		Score   *float64
		Verdict string
		Code    *string
	}
	answers := map[string][]string{}
	for _, arch := range []string{"amd64", "arm64"} {
		out, complaints, code := run(t, arch, dir, args...)
		if code != 0 {
			t.Fatalf("%s: exit code %d\n%s", arch, code, complaints)
		}
		answers[arch] = strings.Split(strings.TrimSpace(out), "\n")
	}
	if len(answers["amd64"]) != len(answers["arm64"]) || len(answers["amd64"]) < 10 {
		t.Fatalf("%d answers on amd64, %d on arm64", len(answers["amd64"]), len(answers["arm64"]))
	}
	same, largest := 0, 0.0
	for i, one := range answers["amd64"] {
		other := answers["arm64"][i]
		if one == other {
			same++
			continue
		}
		var a, b score
		if err := errors.Join(json.Unmarshal([]byte(one), &a), json.Unmarshal([]byte(other), &b)); err != nil {
			t.Fatal(err)
		}
		code := func(s score) string {
			if s.Code == nil {
				return ""
			}
			return *s.Code
		}
		if a.File != b.File || (a.Face == nil) != (b.Face == nil) || a.Face != nil && *a.Face != *b.Face || a.Verdict != b.Verdict || code(a) != code(b) ||
			(a.Score == nil) != (b.Score == nil) {
			t.Errorf("amd64: %s\narm64: %s", one, other)
			continue
		}
		largest = max(largest, math.Abs(*a.Score-*b.Score))
	}
	t.Logf("%d of %d answers are the same bytes; the others' scores are at most %.4g apart, and all else in them is the same", same, len(answers["amd64"]), largest)
	if largest > maxStep {
		t.Errorf("scores are %g apart, more than %g", largest, maxStep)
	}
}

// onArm are the packages whose tests make sense on a processor that is emulated: those that compute. Those that need a network, a
// device or the clock are the same everywhere.
var onArm = []string{"./camera/frame", "./camera/jpeg", "./tflite", "./models", "./daemon/cue", "./daemon/decision", "./daemon/look", "./daemon/pad", "./daemon/store"}

func TestEmulatedArm64PassesItsTests(t *testing.T) {
	emulated(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sysroot := filepath.Join(root, "build", "sysroot", "arm64", "usr")
	args := []string{"test", "-count=1", "-timeout", "60m", "-exec", filepath.Join(root, "cross", "emulate") + " arm64"}
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat(args, onArm)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=1", "CC=aarch64-linux-gnu-gcc",
		"CGO_CFLAGS="+os.Getenv("CGO_CFLAGS")+" -I"+sysroot+"/include", "CGO_LDFLAGS=-L"+sysroot+"/lib/aarch64-linux-gnu",
		"LIVENESSD_TFLITE="+filepath.Join(root, "build", "tflite", "linux_arm64", "libtensorflowlite_c.so"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func TestEmulatedArmhfSaysWhatIsMissing(t *testing.T) {
	emulated(t)
	dir := t.TempDir()
	picture := clip(t, dir, 60)[1]
	out, _, code := run(t, "armhf", dir, "version")
	if code != 0 || !strings.Contains(out, "linux/arm)") || !strings.Contains(out, "TensorFlow Lite: tflite: no usable TensorFlow Lite library; tried ") {
		t.Errorf("version ends with %d and says %s", code, out)
	}
	for _, args := range [][]string{{"score", picture}, {"run"}, {"bench"}} {
		out, complaints, code := run(t, "armhf", dir, args...)
		if code != 69 || out != "" || !strings.Contains(complaints, "/usr/local/lib/livenessd/libtensorflowlite_c.so") ||
			!strings.Contains(complaints, "install the TensorFlow Lite C library") || strings.Contains(complaints, "goroutine ") {
			t.Errorf("%v ends with %d and says %s%s", args, code, out, complaints)
		}
	}
	// What needs no net works.
	if out, complaints, code := run(t, "armhf", dir, "check"); code != 0 || !strings.Contains(out, "live_at") {
		t.Errorf("check ends with %d and says %s%s", code, out, complaints)
	}
}
