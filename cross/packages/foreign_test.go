package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asInstalled is what a package did and said on a bare Debian of its processor.
type asInstalled struct {
	results map[string]string // by what was done: exit codes, and answers that are one line
	out     string            // the folder with all that was said
}

func (a asInstalled) said(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.out, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// installed runs testdata/foreign.sh with the package of an architecture.
func installed(t *testing.T, arch string) asInstalled {
	t.Helper()
	if os.Getenv("LIVENESSD_FOREIGN") == "" {
		t.Skip("run it by `make foreign`, which builds the packages, as root")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	debs, err := filepath.Glob(filepath.Join(root, "build", "packages", "livenessd_*_"+arch+".deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("packages for %s: %q, %v", arch, debs, err)
	}
	share := t.TempDir()
	put := func(from, to string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(share, to), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("testdata/foreign.sh", "foreign.sh")
	put("../../models/golden/live-1.jpg", "live.jpg")
	put("../../daemon/demo/clip.mjpeg", "clip.mjpeg")
	config := "device: foreign\nstate: /root/state\nlog: {format: json}\ncameras: {front: {path: 'replay:/host/clip.mjpeg', fps: 5}}\n"
	if err := os.WriteFile(filepath.Join(share, "run.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	a := asInstalled{map[string]string{}, filepath.Join(share, "out")}
	if err := os.Mkdir(a.out, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "cross", "foreign"), arch, debs[0], share, "foreign.sh")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(a.said(t, "results")) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		a.results[name] = value
	}
	for name, want := range map[string]string{"installed": "0", "again": "0", "removed": "0", "purged": "0", "left": "0", "check": "0", "version": "0", "unit": "0",
		"etc": "root:livenessd 750", "kept": "/etc/livenessd/livenessd.yaml", "install": "69", "status": "69"} {
		if got := a.results[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if groups := a.results["user"]; !strings.Contains(groups, "livenessd") || !strings.Contains(groups, "video") {
		t.Errorf("the user's groups are %q", groups)
	}
	if left := a.said(t, "left"); left != "" {
		t.Errorf("after a purge there is left, or missing:\n%s", left)
	}
	for name, wants := range map[string][]string{
		"check":   {"live_at"},
		"install": {"systemd doesn't run here"},
		"status":  {"systemd doesn't run here"},
		"unit":    {"ExecStart=/usr/bin/livenessd run --config /etc/livenessd/livenessd.yaml"},
		"doctor":  {"ok       configuration: /etc/livenessd/livenessd.yaml", "ok       service user: livenessd, in groups "},
	} {
		for _, want := range wants {
			if said := a.said(t, name); !strings.Contains(said, want) {
				t.Errorf("%s doesn't say %q:\n%s", name, want, said)
			}
		}
	}
	t.Logf("doctor: exit code %s\n%s", a.results["doctor"], a.said(t, "doctor"))
	return a
}

func TestForeignArm64IsInstalledAndWorks(t *testing.T) {
	a := installed(t, "arm64")
	if got := a.results["enabled"]; got != "/lib/systemd/system/livenessd.service" && got != "/usr/lib/systemd/system/livenessd.service" {
		t.Errorf("it is enabled by %q", got)
	}
	for _, name := range []string{"score", "run"} {
		if got := a.results[name]; got != "0" {
			t.Errorf("%s ends with %q:\n%s", name, got, a.said(t, name))
		}
	}
	if said := a.said(t, "version"); !strings.Contains(said, "linux/arm64)") || !strings.Contains(said, "/usr/lib/livenessd/libtensorflowlite_c.so") {
		t.Error(said)
	}
	if said := a.said(t, "run"); !strings.Contains(said, "ready: all cameras and models work") {
		t.Error(said)
	}
	for _, want := range []string{"ok       library: ", "ok       models self-test: "} {
		if said := a.said(t, "doctor"); !strings.Contains(said, want) {
			t.Errorf("doctor doesn't say %q", want)
		}
	}
}

func TestForeignArmhfSaysWhatIsMissing(t *testing.T) {
	a := installed(t, "armhf")
	if got := a.results["enabled"]; got != "" {
		t.Errorf("it is enabled by %q, and can't run", got)
	}
	for _, name := range []string{"score", "run"} {
		if said := a.said(t, name); a.results[name] != "69" || !strings.Contains(said, "install the TensorFlow Lite C library") {
			t.Errorf("%s ends with %q:\n%s", name, a.results[name], said)
		}
	}
	for _, name := range []string{"installed", "again"} {
		said := a.said(t, name)
		for _, want := range []string{"this package has no TensorFlow Lite library", "/usr/local/lib/livenessd/libtensorflowlite_c.so", "systemctl enable --now livenessd"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s doesn't say %q:\n%s", name, want, said)
			}
		}
	}
	if said := a.said(t, "version"); !strings.Contains(said, "TensorFlow Lite: tflite: no usable TensorFlow Lite library") {
		t.Error(said)
	}
	if said := a.said(t, "doctor"); a.results["doctor"] != "69" || !strings.Contains(said, "failure  library: ") || !strings.Contains(said, "→ put libtensorflowlite_c.so beside the livenessd binary or into /usr/local/lib/livenessd") {
		t.Errorf("doctor ends with %s:\n%s", a.results["doctor"], said)
	}
}
