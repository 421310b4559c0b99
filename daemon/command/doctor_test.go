package command

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/daemon/doctor"
)

// well is a configuration with which nothing of this machine is needed but the library, a camera's clip and a broker.
func well(t *testing.T, more string) string {
	t.Helper()
	return withConfig(t, "state: "+t.TempDir()+"\ncameras: {front: {path: 'replay:../demo/clip.mjpeg'}}\n"+more)
}

func TestDoctorExitsByTheFailureToMendFirst(t *testing.T) {
	needRuntime(t)
	secret := write(t, "password", "hunter2")
	if err := os.Chmod(secret, 0o644); err != nil {
		t.Fatal(err)
	}
	nobody := "mqtt: {url: 'mqtt://127.0.0.1:1'}\n"
	for _, tt := range []struct {
		name, config string
		code         int
		check, says  string
	}{
		{"no broker", nobody, ExitUnavailable, "broker", "127.0.0.1:1"},
		{"no library", nobody + "models: {runtime: /nonexistent/library.so}\n", ExitUnavailable, "library", "/nonexistent/library.so"},
		{"no model", nobody + "models: {liveness: /nonexistent/model}\n", ExitConfig, "models", "/nonexistent/model"},
		{"an unknown key", "ulr: x\n", ExitConfig, "configuration", `unknown key "ulr"`},
		{"a secret that everybody can read", "mqtt: {url: 'mqtt://127.0.0.1:1', username: u, password_file: " + secret + "}\n", ExitPermission, "files", "everybody can read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := call(t, "doctor", "--json", well(t, tt.config))
			reports := objects[doctor.Report](t, r.out)
			if r.code != tt.code || len(reports) != 1 || !strings.HasPrefix(r.errors, "livenessd: doctor: ") {
				t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
			}
			found := func(f doctor.Finding) bool {
				return f.Check == tt.check && f.Level == doctor.Failure && strings.Contains(f.Seen, tt.says) && (f.Do != "" || tt.check == "configuration")
			}
			if rep := reports[0]; rep.Worst != doctor.Failure || rep.Version != "1.2.3-test" || !slices.ContainsFunc(rep.Findings, found) {
				t.Errorf("%+v", rep)
			}
		})
	}
}

func TestDoctorWritesABundle(t *testing.T) {
	needRuntime(t)
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	r := call(t, "doctor", "--bundle", path, well(t, ""))
	if st, err := os.Stat(path); err != nil || st.Size() == 0 || st.Mode().Perm() != 0o600 {
		t.Errorf("%v: %s", err, r.errors)
	}
	for _, line := range []string{"ok       configuration: ", "ok       models self-test: ", "ok       camera front: MJPG 640×480"} {
		if !strings.Contains(r.out, line) {
			t.Errorf("no line %q in\n%s", line, r.out)
		}
	}
	if !strings.Contains(r.errors, "wrote "+path) {
		t.Error(r.errors)
	}
	r = call(t, "doctor", "--bundle", filepath.Join(path, "none"), well(t, ""))
	if r.code == ExitOK || !strings.Contains(r.errors, "doctor: write the bundle: ") {
		t.Errorf("exit code %d: %s", r.code, r.errors)
	}
}
