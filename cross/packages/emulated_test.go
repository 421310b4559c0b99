package main

import (
	"bytes"
	"errors"
	"fmt"
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

func TestEmulatedArm64JudgesAsAmd64(t *testing.T) {
	emulated(t)
	dir := t.TempDir()
	whole, err := filepath.Abs("../../daemon/demo/clip.mjpeg")
	if err != nil {
		t.Fatal(err)
	}
	// Pictures one by one, with XNNPACK, and a clip through the decision.
	args := append([]string{"score", "--json", whole}, clip(t, dir, 6)...)
	answers := map[string][]string{}
	for _, arch := range []string{"amd64", "arm64"} {
		out, complaints, code := run(t, arch, dir, args...)
		if code != 0 || !strings.Contains(complaints, "XNNPACK delegate") {
			t.Fatalf("%s: exit code %d\n%s", arch, code, complaints)
		}
		answers[arch] = strings.Split(strings.TrimSpace(out), "\n")
	}
	if len(answers["amd64"]) != len(answers["arm64"]) || len(answers["amd64"]) < 50 {
		t.Fatalf("%d answers on amd64, %d on arm64", len(answers["amd64"]), len(answers["arm64"]))
	}
	for i, one := range answers["amd64"] {
		if other := answers["arm64"][i]; one != other {
			t.Errorf("amd64: %s\narm64: %s", one, other)
		}
	}
	t.Logf("%d answers, the same bytes", len(answers["amd64"]))
}

// onArm are the packages whose tests make sense on a processor that is emulated: those that compute. Those that need a network, a
// device or the clock are the same everywhere.
var onArm = []string{"./camera/frame", "./camera/jpeg", "./tflite", "./models", "./daemon/cue", "./daemon/decision", "./daemon/look", "./daemon/pad", "./daemon/store"}

// notThere are tests that start themselves again as another process, which the kernel can't do with a program for another processor.
const notThere = "^(TestLoadFailures|TestNNAPIThatTakesNothingIsSeen|TestATrial.*|" +
	"TestAModelFromElsewhereIsComparedWithTheBuiltInKernels|TestTheFileForAnAcceleratorIsUsedForItAlone|TestAFullDisk|TestKilledAtAnyMoment|TestAProbe.*|TestProbe.*|TestCorrupted.*)$"

func TestEmulatedArm64PassesItsTests(t *testing.T) {
	emulated(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sysroot := filepath.Join(root, "build", "sysroot", "arm64", "usr")
	args := []string{"test", "-count=1", "-timeout", "60m", "-skip", notThere, "-exec", filepath.Join(root, "cross", "emulate") + " arm64"}
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat(args, onArm)...)
	cmd.Dir = root
	// LIVENESSD_BIN is this machine's program, which arm64's tests can't start.
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=1", "CC=aarch64-linux-gnu-gcc", "LIVENESSD_BIN=",
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
