package command

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

// dies is set where the child of a probe must die, as it does of some damaged files.
const dies = "LIVENESSD_TEST_PROBE_DIES"

// commandLine lets the test binary be livenessd.
const commandLine = "LIVENESSD_TEST_COMMAND_LINE"

// childConfig names the configuration of a daemon that runs in a process of its own, to be killed.
const childConfig = "LIVENESSD_TEST_CHILD_CONFIG"

// TestMain is the child of a probe where it is called as one: a probe runs this program again. It is the daemon, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == soakChild {
		os.Exit(serveSoak(os.Args[2]))
	}
	if slices.Equal(os.Args[1:], []string{"models", probeChild}) {
		if os.Getenv(dies) != "" {
			panic("the library would have crashed")
		}
		os.Exit(Main(context.Background(), Process{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	if os.Getenv(commandLine) != "" {
		os.Exit(Main(context.Background(), Process{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	if path := os.Getenv(childConfig); path != "" {
		os.Exit(Main(context.Background(), Process{Args: []string{"run", "--config", path}, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(m.Run())
}

// bundle writes the shipped liveness model as somebody's bundle.
func bundle(t *testing.T, folder, name string, change func(manifest string, data []byte) (string, []byte)) string {
	t.Helper()
	m, err := models.Shipped(models.LivenessTask)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "models", "shipped", "liveness", models.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	manifest, data := strings.Replace(string(text), "name: "+m.Name, "name: "+name, 1), bytes.Clone(m.Data)
	if change != nil {
		manifest, data = change(manifest, data)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{models.ManifestFile: []byte(manifest), m.File: data, models.CardFile: []byte("# A card\n")} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// tarball packs a folder.
func tarball(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	if err := w.AddFS(os.DirFS(filepath.Dir(folder))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Close() error }{w, z, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func privateKey(t *testing.T) string {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// TestAModelThatCrashesAChildIsNotRun: whatever runs models tries those first that aren't inside the program.
func TestAModelThatCrashesAChildIsNotRun(t *testing.T) {
	needRuntime(t)
	folder := bundle(t, filepath.Join(t.TempDir(), "mine"), "mine", nil)
	config := withConfig(t, "models: {liveness: [shipped, "+folder+"]}\n")
	picture := filepath.Join("..", "..", "models", "golden", "live-1.jpg")
	if r := call(t, "score", "--json", config, picture); r.code != ExitOK {
		t.Fatalf("before it crashes: exit code %d: %s", r.code, r.errors)
	}
	t.Setenv(dies, "yes")
	for name, args := range map[string][]string{
		"run": {"run"}, "score": {"score", picture}, "bench": {"bench", "--frames", "1"}, "demo": {"demo", "--clip", "--once"},
	} {
		r := call(t, append(args, config)...)
		if r.code != ExitConfig || !strings.Contains(r.errors, "MODEL_REFUSED") || !strings.Contains(r.errors, folder) || r.out != "" {
			t.Errorf("%s: exit code %d: %s%s", name, r.code, r.out, r.errors)
		}
	}
	if r := call(t, "score", picture); r.code != ExitOK {
		t.Errorf("the models inside the program: exit code %d: %s", r.code, r.errors)
	}
}

func TestABundleIsInstalledAndJudges(t *testing.T) {
	needRuntime(t)
	dir := filepath.Join(t.TempDir(), "models")
	config := "models: {directory: " + dir + "}\n"
	source := bundle(t, filepath.Join(t.TempDir(), "b", "mine"), "mine", nil)
	for i, from := range []string{source, tarball(t, source)} {
		r := call(t, "models", "install", "--json", withConfig(t, config), from)
		rows := objects[[]installRow](t, r.out)
		if r.code != ExitOK || len(rows) != 1 || len(rows[0]) != 1 {
			t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
		}
		if got := rows[0][0]; got.Name != "mine" || got.Folder != filepath.Join(dir, "mine") || got.Unchanged != (i > 0) || len(got.SHA256) != 64 {
			t.Errorf("%+v", got)
		}
	}
	r := call(t, "models", "list", "--json", withConfig(t, "models: {directory: "+dir+", liveness: [shipped, mine]}\n"))
	rows := objects[[]modelRow](t, r.out)
	if r.code != ExitOK || len(rows) != 1 || len(rows[0]) != 3 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	for _, row := range rows[0] {
		if !row.Used || row.Error != "" {
			t.Errorf("%+v", row)
		}
	}
	if rows[0][2].Card != "# A card\n" {
		t.Errorf("card %q", rows[0][2].Card)
	}

	// The same net twice is the same net; with weights, and as probabilities, too.
	score := func(text string) float64 {
		t.Helper()
		r := call(t, "score", "--json", withConfig(t, "models: {directory: "+dir+", "+text+"}\n"), picture("live-1.jpg"))
		rows := objects[scored](t, r.out)
		if r.code != ExitOK || len(rows) != 1 || rows[0].Score == nil || rows[0].Verdict == decision.Undecided && *rows[0].Code == decision.ProcessingErr {
			t.Fatalf("%s: exit code %d: %s%s", text, r.code, r.out, r.errors)
		}
		return *rows[0].Score
	}
	alone := score("liveness: ''")
	for _, text := range []string{"liveness: mine", "liveness: [mine, shipped]", "liveness: [{name: mine, weight: 3}, shipped], combine: probabilities"} {
		if got := score(text); got < alone-1e-6 || got > alone+1e-6 {
			t.Errorf("%s: score %v, alone %v", text, got, alone)
		}
	}
}

func TestWhatIsNotInstalledStaysAway(t *testing.T) {
	needRuntime(t)
	for _, tt := range []struct {
		name   string
		source func(*testing.T) string
		config string
		code   int
		says   string
	}{
		{"a damaged file", func(t *testing.T) string {
			return bundle(t, filepath.Join(t.TempDir(), "b"), "mine", func(m string, d []byte) (string, []byte) { d[5000] ^= 4; return m, d })
		}, "", ExitOther, "MODEL_REFUSED"},
		{"a net with another number of classes", func(t *testing.T) string {
			return bundle(t, filepath.Join(t.TempDir(), "b"), "mine", func(m string, d []byte) (string, []byte) {
				return strings.Replace(m, "classes: 3", "classes: 4", 1), d
			})
		}, "", ExitOther, "its manifest says 4 classes"},
		{"an unsigned one where keys are asked for", func(t *testing.T) string { return bundle(t, filepath.Join(t.TempDir(), "b"), "mine", nil) },
			", trusted_keys: " + strings.Repeat("A", 43) + "=", ExitOther, "MODEL_REFUSED"},
		{"what is no archive", func(t *testing.T) string { return write(t, "x.tar.gz", "hello") }, "", ExitOther, "x.tar.gz"},
		{"what isn't there", func(*testing.T) string { return "/nonexistent/bundle" }, "", ExitOther, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "models")
			r := call(t, "models", "install", withConfig(t, "models: {directory: "+dir+tt.config+"}\n"), tt.source(t))
			if r.code != tt.code || !strings.Contains(r.errors, tt.says) || r.out != "" {
				t.Errorf("exit code %d, standard output %q, standard error %q", r.code, r.out, r.errors)
			}
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
	r := call(t, "models", "install", withConfig(t, ""), "--from", "/tmp", "./silent-face")
	if r.code != ExitUsage || !strings.Contains(r.errors, "--from") {
		t.Errorf("--from with a bundle: exit code %d: %s", r.code, r.errors)
	}
}

func TestSignedModelsAreVerified(t *testing.T) {
	dir := t.TempDir()
	signed := bundle(t, filepath.Join(dir, "signed"), "signed", nil)
	bundle(t, filepath.Join(dir, "unsigned"), "unsigned", nil)
	r := call(t, "models", "sign", "--json", "--key", privateKey(t), signed)
	signer := objects[map[string]string](t, r.out)
	if r.code != ExitOK || len(signer) != 1 || len(signer[0]["public_key"]) != 44 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	text := "models: {directory: " + dir + ", trusted_keys: \"" + signer[0]["public_key"] + "\""
	r = call(t, "models", "verify", "--json", withConfig(t, text+"}\n"))
	rows := objects[[]verifyRow](t, r.out)
	if r.code != ExitOther || len(rows) != 1 || len(rows[0]) != 4 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	for i, want := range []verifyRow{{OK: true}, {OK: true}, {OK: true, Signer: signer[0]["signed_by"]}, {OK: false}} {
		got := rows[0][i]
		if got.OK != want.OK || got.Signer != want.Signer || got.OK != (got.Error == "") || got.OK != (got.Hint == "") {
			t.Errorf("row %d: %+v", i, got)
		}
	}
	if !strings.Contains(rows[0][3].Error, "MODEL_REFUSED") {
		t.Errorf("unsigned: %+v", rows[0][3])
	}
	r = call(t, "models", "verify", withConfig(t, text+"}\n"), "signed", "shipped", signed)
	if r.code != ExitOK || strings.Count(r.out, ": ok, ") != 4 || strings.Count(r.out, "signed by "+signer[0]["signed_by"]) != 2 {
		t.Errorf("by name: exit code %d: %s%s", r.code, r.out, r.errors)
	}
	r = call(t, "models", "verify", withConfig(t, text+"}\n"), "absent", "unsigned")
	if r.code != ExitOther || strings.Count(r.out, ": refused: ") != 2 || !strings.Contains(r.out, "→") {
		t.Errorf("refused ones: exit code %d: %s%s", r.code, r.out, r.errors)
	}

	// What is refused there isn't run either, and what is trusted is.
	for name, want := range map[string]int{"signed": ExitOK, "unsigned": ExitConfig, "shipped": ExitOK} {
		r = call(t, "check", withConfig(t, text+", liveness: "+name+"}\n"))
		if r.code != want || (want != ExitOK) != strings.Contains(r.errors, "MODEL_REFUSED") {
			t.Errorf("check with %s: exit code %d: %s", name, r.code, r.errors)
		}
	}
	r = call(t, "check", withConfig(t, "models: {trusted_keys: /nonexistent/key.pem}\n"))
	if r.code != ExitConfig || !strings.Contains(r.errors, "/nonexistent/key.pem") || !strings.Contains(r.errors, "→") {
		t.Errorf("an absent key: exit code %d: %s", r.code, r.errors)
	}
}

func TestModelsAreProbed(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	bundle(t, filepath.Join(dir, "mine"), "mine", nil)
	config := "models: {directory: " + dir + "}\n"
	for _, name := range []string{"mine", filepath.Join(dir, "mine")} {
		r := call(t, "models", "probe", "--json", withConfig(t, config), name)
		got := objects[models.ProbeReport](t, r.out)
		if r.code != ExitOK || len(got) != 1 || got[0].Name != "mine" || got[0].Runs == 0 || got[0].Delegate != "xnnpack" {
			t.Errorf("%s: exit code %d: %s%s", name, r.code, r.out, r.errors)
		}
	}
	if r := call(t, "models", "probe", withConfig(t, config), "mine"); r.code != ExitOK || !strings.HasPrefix(r.out, "mine 0.") {
		t.Errorf("as text: exit code %d: %s%s", r.code, r.out, r.errors)
	}
	if r := call(t, "models", "probe", withConfig(t, config), "absent"); r.code != ExitOther || !strings.Contains(r.errors, filepath.Join(dir, "absent")) {
		t.Errorf("an absent one: exit code %d: %s%s", r.code, r.out, r.errors)
	}
	r := call(t, "models", "probe", withConfig(t, config), "absent", "--limit", "0s")
	if r.code != ExitUsage {
		t.Errorf("a limit of nought: exit code %d: %s", r.code, r.errors)
	}
}

func TestModelsCommandsOnTheirEdges(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
	}{
		{"models install", ExitUsage}, {"models install a b", ExitUsage}, {"models probe", ExitUsage}, {"models sign x", ExitUsage}, {"models sign --key x", ExitUsage},
		{"models install --help", ExitOK}, {"models probe --help", ExitOK}, {"models verify --help", ExitOK}, {"models sign --help", ExitOK},
		{"models verify --config /nonexistent/x.yaml", ExitConfig}, {"models install --config /nonexistent/x.yaml x", ExitConfig},
		{"models probe --config /nonexistent/x.yaml x", ExitConfig}, {"models sign --key /nonexistent/key /nonexistent", ExitOther},
	} {
		t.Run(tt.args, func(t *testing.T) {
			if r := call(t, strings.Fields(tt.args)...); r.code != tt.code || (r.code == ExitOK) != (r.errors == "") {
				t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
			}
		})
	}
	for _, args := range []string{"models probe x", "models install x"} {
		t.Run(args+" without a runtime", func(t *testing.T) {
			r := call(t, append(strings.Fields(args), withConfig(t, "models: {runtime: /nonexistent/library.so}\n"))...)
			if r.code != ExitUnavailable || !strings.Contains(r.errors, "→") {
				t.Errorf("exit code %d: %s", r.code, r.errors)
			}
		})
	}
}

func TestSilentFaceIsMadeFromUpstreamsFiles(t *testing.T) {
	needRuntime(t)
	empty, dir := t.TempDir(), filepath.Join(t.TempDir(), "models")
	r := call(t, "models", "install", "--from", empty, withConfig(t, "models: {directory: "+dir+"}\n"), "silent-face")
	if r.code != ExitOther || !strings.Contains(r.errors, empty) || !strings.Contains(r.errors, "→") || r.out != "" {
		t.Errorf("exit code %d, standard output %q, standard error %q", r.code, r.out, r.errors)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	r = call(t, "models", "install", "silent-face", withConfig(t, "models: {runtime: /nonexistent/library.so}\n"))
	if r.code != ExitUnavailable || !strings.Contains(r.errors, "→") {
		t.Errorf("without a runtime: exit code %d: %s", r.code, r.errors)
	}
}
