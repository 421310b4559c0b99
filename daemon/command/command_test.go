package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/tflite"
)

// result is what a command line did.
type result struct {
	code        int
	out, errors string
}

// call runs a command line to its end.
func call(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := Main(t.Context(), Process{Args: args, Stdout: &out, Stderr: &errs, Version: "1.2.3-test"})
	return result{code, out.String(), errs.String()}
}

// write makes a file.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withConfig is the --config flag for a file with that text.
func withConfig(t *testing.T, text string) string {
	return "--config=" + write(t, "livenessd.yaml", text)
}

// needRuntime skips a test where the TensorFlow Lite library can't be had.
func needRuntime(t *testing.T) {
	t.Helper()
	if _, err := tflite.Load(tflite.LoadOptions{}); err != nil {
		t.Skipf("without the TensorFlow Lite library: %v", err)
	}
}

// objects reads the JSON objects on standard output.
func objects[T any](t *testing.T, out string) []T {
	t.Helper()
	var all []T
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		all = append(all, v)
	}
	return all
}

func TestWrongCommandLinesExitWith64(t *testing.T) {
	for _, args := range []string{
		"nonsense", "--nonsense", "run extra", "demo extra", "check extra", "cameras extra", "version extra", "models nonsense", "models list extra",
		"score", "score --face 1,2,3 x.jpg", "score --face a,b,c,d x.jpg", "score --face 1,2,0,5 x.jpg", "score --face NaN,1,1,1 x.jpg", "score --fps 0 x.jpg",
		"score --fps NaN x.jpg", "score --fps", "bench --frames 0", "bench --frames many", "run --json", "check --config", "doctor nonsense", "doctor --bundle",
	} {
		t.Run(args, func(t *testing.T) {
			r := call(t, strings.Fields(args)...)
			if r.code != ExitUsage {
				t.Errorf("exit code %d: %s", r.code, r.errors)
			}
			if !strings.HasPrefix(r.errors, "livenessd: ") || r.out != "" {
				t.Errorf("standard error %q, standard output %q", r.errors, r.out)
			}
		})
	}
}

func TestHelpGoesToStandardOutput(t *testing.T) {
	for _, args := range []string{"", "--help", "help", "run --help", "demo -h", "check --help", "cameras --help", "score --help", "bench --help", "models", "models list --help", "doctor --help",
		"version --help"} {
		t.Run(args, func(t *testing.T) {
			r := call(t, strings.Fields(args)...)
			if r.code != ExitOK || !strings.Contains(r.out, "Usage:") || r.errors != "" {
				t.Errorf("exit code %d, standard output %q, standard error %q", r.code, r.out, r.errors)
			}
		})
	}
}

func TestABadConfigurationExitsWith78(t *testing.T) {
	picture := write(t, "x.jpg", "")
	for _, args := range []string{"run", "demo", "check", "score " + picture, "bench", "models list", "version"} {
		t.Run(args, func(t *testing.T) {
			bad := write(t, "bad.yaml", "mqtt:\n  ulr: x\n")
			r := call(t, append(strings.Fields(args), "--config", bad)...)
			want := "livenessd: " + bad + `:2:3: unknown key "mqtt.ulr"` + "\n  → did you mean \"mqtt.url\"?\n"
			if r.code != ExitConfig || r.errors != want || r.out != "" {
				t.Errorf("exit code %d, standard output %q, standard error\n%s\nwant\n%s", r.code, r.out, r.errors, want)
			}
			absent := filepath.Join(t.TempDir(), "absent.yaml")
			r = call(t, append(strings.Fields(args), "--config", absent)...)
			if r.code != ExitConfig || !strings.Contains(r.errors, absent) || !strings.Contains(r.errors, "→") {
				t.Errorf("absent: exit code %d: %s", r.code, r.errors)
			}
		})
	}
}

func TestAMissingRuntimeExitsWith69(t *testing.T) {
	picture := write(t, "x.jpg", "")
	for _, args := range []string{"run", "demo --clip", "score " + picture, "bench"} {
		t.Run(args, func(t *testing.T) {
			r := call(t, append(strings.Fields(args), withConfig(t, "models: {runtime: /nonexistent/library.so}\n"))...)
			if r.code != ExitUnavailable || !strings.Contains(r.errors, "→") || r.out != "" {
				t.Errorf("exit code %d, standard output %q, standard error %q", r.code, r.out, r.errors)
			}
		})
	}
	t.Run("version", func(t *testing.T) { // that is what it is asked about
		r := call(t, "version", "--json", withConfig(t, "models: {runtime: /nonexistent/library.so}\n"))
		v := objects[versionOutput](t, r.out)
		if r.code != ExitOK || len(v) != 1 || v[0].RuntimeError == "" || v[0].Runtime != "" || v[0].Version != "1.2.3-test" {
			t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
		}
	})
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"any other", errors.New("x"), ExitOther},
		{"a command's own", fail(ExitTryAgain, errors.New("x")), ExitTryAgain},
		{"wrapped", fmt.Errorf("y: %w", fail(ExitPermission, errors.New("x"))), ExitPermission},
		{"problems of a configuration", config.Problems{{Message: "x"}}, ExitConfig},
		{"what the configuration asks for", fmt.Errorf("x: %w", daemon.ErrConfig), ExitConfig},
		{"an absent part", fmt.Errorf("x: %w", daemon.ErrUnavailable), ExitUnavailable},
		{"an internal error", fmt.Errorf("x: %w", daemon.ErrInternal), ExitInternal},
		{"a configuration with mistakes", failConfig(config.Problems{{Message: "x"}}), ExitConfig},
		{"a configuration that may not be read", failConfig(&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}), ExitPermission},
		{"a model that may not be read", errors.Join(daemon.ErrConfig, fs.ErrPermission), ExitPermission},
		{"permission", fmt.Errorf("x: %w", fs.ErrPermission), ExitPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("%d, not %d", got, tt.want)
			}
		})
	}
	if fail(ExitOther, nil) != nil || failConfig(nil) != nil {
		t.Error("no error fails")
	}
}

func TestCheckPrintsWhatIsInEffect(t *testing.T) {
	text := "device: door-7\ncameras: {front: {path: /dev/video0, fps: 30}}\nstate: " + t.TempDir() + "\n"
	r := call(t, "check", withConfig(t, text))
	if r.code != ExitOK || r.errors != "" {
		t.Fatalf("exit code %d: %s", r.code, r.errors)
	}
	for _, want := range []string{"device: door-7\n", "    fps: 30\n", "  url: mqtt://localhost:1883\n"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	again := call(t, "check", withConfig(t, r.out))
	if again.code != ExitOK || again.out != r.out {
		t.Errorf("what it prints gives, exit code %d:\n%s%s", again.code, again.out, again.errors)
	}
	j := objects[checkOutput](t, call(t, "check", "--json", withConfig(t, text)).out)
	if len(j) != 1 || !j[0].OK || j[0].Problems == nil || len(j[0].Problems) != 0 || j[0].Effective != r.out {
		t.Errorf("as JSON %+v", j)
	}
}

func TestCheckListsEveryProblem(t *testing.T) {
	file := write(t, "bad.yaml", "camras: 1\nlog: {level: loud}\nconsole: 1\n")
	r := call(t, "check", "--json", "--config", file)
	j := objects[checkOutput](t, r.out)
	if r.code != ExitConfig || len(j) != 1 || j[0].OK || j[0].Effective != "" || len(j[0].Problems) != 3 {
		t.Fatalf("exit code %d: %s", r.code, r.out)
	}
	for i, p := range j[0].Problems {
		if p.File != file || p.Line != i+1 || p.Column == 0 || p.Message == "" {
			t.Errorf("problem %d: %+v", i, p)
		}
	}
	if j[0].Problems[0].Hint != `did you mean "cameras"?` {
		t.Errorf("hint %q", j[0].Problems[0].Hint)
	}
}

func TestCheckLooksAtTheModelsToo(t *testing.T) {
	dir := t.TempDir()
	text := "models: {directory: " + dir + ", liveness: nonesuch}\n"
	r := call(t, "check", withConfig(t, text))
	if r.code != ExitConfig || !strings.Contains(r.errors, filepath.Join(dir, "nonesuch")) || !strings.Contains(r.errors, "→") || r.out != "" {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	r = call(t, "check", "--json", withConfig(t, text))
	if j := objects[checkOutput](t, r.out); r.code != ExitConfig || len(j) != 1 || j[0].OK || len(j[0].Problems) != 1 || j[0].Problems[0].Hint == "" {
		t.Errorf("exit code %d: %s", r.code, r.out)
	}
}

func TestModelsAreListed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := call(t, "models", "list", "--json", withConfig(t, "models: {directory: "+dir+"}\n"))
	var rows []modelRow
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil || r.code != ExitOK {
		t.Fatalf("exit code %d, %v: %s%s", r.code, err, r.out, r.errors)
	}
	if len(rows) != 3 {
		t.Fatalf("%d rows: %s", len(rows), r.out)
	}
	for _, row := range rows[:2] {
		if !row.Used || row.Error != "" || len(row.SHA256) != 64 || row.Bytes == 0 || row.Licence == "" || row.Version == "" {
			t.Errorf("shipped: %+v", row)
		}
	}
	if rows[2].Used || rows[2].Error == "" || rows[2].From != filepath.Join(dir, "empty") {
		t.Errorf("a folder without a model: %+v", rows[2])
	}
	r = call(t, "models", "list", withConfig(t, "models: {directory: "+dir+"}\n"))
	if r.code != ExitOK || strings.Count(r.out, "\n* ")+strings.Count("\n"+r.out[:1], "\n*") != 2 {
		t.Errorf("as text, exit code %d:\n%s", r.code, r.out)
	}
	r = call(t, "models", "list", withConfig(t, "models: {directory: "+filepath.Join(dir, "absent")+"}\n"))
	if r.code != ExitOK || strings.Count(r.out, "\n") != 2 {
		t.Errorf("without a directory, exit code %d: %s%s", r.code, r.out, r.errors)
	}
}

func TestCamerasAreAlwaysAnArray(t *testing.T) {
	r := call(t, "cameras", "--json")
	var list []map[string]any
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || list == nil || r.code != ExitOK {
		t.Errorf("exit code %d, %v: %s%s", r.code, err, r.out, r.errors)
	}
}

func TestVersion(t *testing.T) {
	needRuntime(t)
	r := call(t, "version", withConfig(t, ""))
	if r.code != ExitOK || !strings.HasPrefix(r.out, "livenessd 1.2.3-test (go") || !strings.Contains(r.out, "\nTensorFlow Lite 2.") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
}

func TestACommandEndsWithItsContext(t *testing.T) {
	needRuntime(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := Main(ctx, Process{Args: []string{"run", withConfig(t, "mqtt: {url: \"mqtt://127.0.0.1:9\"}\ncameras: {front: {path: /nonexistent}}\nstate: "+t.TempDir()+"\n")}, Stdout: &out, Stderr: &errs})
	if code != ExitOK || out.Len() > 0 {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}
