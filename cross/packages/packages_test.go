package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/livenessd/livenessd/daemon/config"
)

var committed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestVersions(t *testing.T) {
	// Each is later than the one before, as dpkg compares them.
	before := ""
	for _, tt := range []struct{ describe, want string }{
		{"0a1b2c3", "0.0~git20260102030405.0a1b2c3"},
		{"1234567-dirty", "0.0~git20260102030405.1234567+dirty"},
		{"v0.1.0-rc1", "0.1.0~rc1"},
		{"v0.1.0-rc1-3-gabcdef0", "0.1.0~rc1+3.gabcdef0"},
		{"v0.1.0", "0.1.0"},
		{"v0.1.0-dirty", "0.1.0+dirty"},
		{"0.1.1-12-gabcdef0-dirty", "0.1.1+12.gabcdef0+dirty"},
		{"v1.10", "1.10"},
	} {
		if got, err := debianVersion(tt.describe, committed); err != nil || got != tt.want {
			t.Errorf("%s gives %q, %v, want %q", tt.describe, got, err, tt.want)
		}
		if _, err := exec.LookPath("dpkg"); err == nil && before != "" && exec.Command("dpkg", "--compare-versions", before, "lt", tt.want).Run() != nil {
			t.Errorf("dpkg doesn't take %s for later than %s", tt.want, before)
		}
		before = tt.want
	}
	for _, bad := range []string{"", "unknown", "release", "v1", "1.0 2", "v1.0;rm", "1.0-5"} {
		if got, err := debianVersion(bad, committed); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}

func TestDependenciesComeFromSymbols(t *testing.T) {
	for _, tt := range []struct {
		libraries map[string]string
		want      string
	}{
		{map[string]string{"libc.so.6": "2.34", "libm.so.6": "2.29", "ld-linux-x86-64.so.2": ""}, "libc6 (>= 2.34)"},
		{map[string]string{"libc.so.6": "2.4", "libm.so.6": "2.29"}, "libc6 (>= 2.29)"},
		{map[string]string{"libstdc++.so.6": "26", "libgcc_s.so.1": "3.0"}, "libgcc-s1 (>= 3.0), libstdc++6 (>= 9)"},
		{map[string]string{"libstdc++.so.6": ""}, "libstdc++6"},
		{map[string]string{"libturbojpeg.so.0": "1.4"}, "libturbojpeg0 (>= 1:1.4.0)"},
	} {
		if got, err := providing(tt.libraries); err != nil || strings.Join(got, ", ") != tt.want {
			t.Errorf("%v gives %q, %v, want %s", tt.libraries, got, err, tt.want)
		}
	}
	for _, unknown := range []map[string]string{{"libssl.so.3": "3.0"}, {"libstdc++.so.6": "99"}, {"libturbojpeg.so.0": "9.0"}} {
		if got, err := providing(unknown); err == nil {
			t.Errorf("%v gives %q: a dependency that nobody knows was passed over", unknown, got)
		}
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"2.34", "2.4", true}, {"2.4", "2.34", false}, {"2.34", "2.34", false}, {"2", "", true}, {"", "", false}, {"1:1.4.0", "2.1", true}, {"2.2.5", "2.2", true}} {
		if later(tt.a, tt.b) != tt.want {
			t.Errorf("%q after %q isn't %v", tt.a, tt.b, tt.want)
		}
	}
}

// glibcPromise is the oldest glibc that docs/packages.md promises to run on.
const glibcPromise = "2.34"

func TestTheOldestGlibcIsThePromisedOne(t *testing.T) {
	var files []*elf.File
	for _, name := range []string{program(t), os.Getenv("LIVENESSD_TFLITE")} {
		if name == "" {
			continue
		}
		f, err := elf.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	oldest, err := oldestGlibc(files...)
	if err != nil || later(oldest, glibcPromise) {
		t.Errorf("it runs on glibc %s or later, %v; promised is %s", oldest, err, glibcPromise)
	}
	text, err := os.ReadFile("../../docs/packages.md")
	if err != nil || !strings.Contains(string(text), "glibc "+glibcPromise) {
		t.Errorf("docs/packages.md doesn't say glibc %s: %v", glibcPromise, err)
	}
}

// program is livenessd as it was built, or else this test, which holds the same C code.
func program(t *testing.T) string {
	t.Helper()
	name := os.Getenv("LIVENESSD_BIN")
	if _, err := os.Stat(name); name == "" || err != nil {
		if name, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) == 0 {
		t.Skipf("%s was built without cgo and needs no library: %v", name, err)
	}
	return name
}

func TestLicencesAreKnownByTheirWords(t *testing.T) {
	for name, want := range map[string]string{"mit": "MIT", "bsd-2": "BSD-2-Clause", "xnnpack": "BSD-3-Clause"} {
		text, err := licences.ReadFile("licences/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := recognise(string(text)); !ok || got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	own, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := recognise(string(own)); got != "Apache-2.0" {
		t.Errorf("livenessd's own licence is %q", got)
	}
	mit, _ := licences.ReadFile("licences/mit")
	for name, files := range map[string]map[string]string{
		"none":    {"README": "hello"},
		"unknown": {"LICENSE": "All rights reserved. Nobody may do anything."},
		"mixed":   {"LICENSE": string(mit), "COPYING": string(own)},
	} {
		dir := t.TempDir()
		for f, text := range files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := licensed("example.org/"+name, dir); err == nil {
			t.Errorf("%s passes as %+v", name, c)
		}
	}
}

// linked are the components of this test, which links what livenessd does and more.
func linked(t *testing.T) []component {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if !ok || len(info.Deps) == 0 {
		t.Fatal("this test doesn't know its modules")
	}
	parts, err := modules(info)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := tensorflow()
	if err != nil {
		t.Fatal(err)
	}
	return append(parts, inside...)
}

func TestCopyrightNamesEverything(t *testing.T) {
	parts := linked(t)
	text := copyrightFile(parts)
	if !utf8.ValidString(text) {
		t.Error("it isn't UTF-8")
	}
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	field := regexp.MustCompile(`^([A-Z][A-Za-z-]*): ?(.*)$`)
	seen, named, asked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, p := range paragraphs {
		fields := map[string]string{}
		for line := range strings.Lines(p) {
			m := field.FindStringSubmatch(strings.TrimRight(line, "\n"))
			if m == nil {
				if !strings.HasPrefix(line, " ") || strings.TrimSpace(line) == "" {
					t.Fatalf("paragraph %d has a line that is neither a field nor goes on: %q", i, line)
				}
				continue
			}
			if _, twice := fields[m[1]]; twice {
				t.Errorf("paragraph %d has %s twice", i, m[1])
			}
			fields[m[1]] = m[2]
		}
		switch {
		case i == 0:
			if !strings.HasSuffix(fields["Format"], "copyright-format/1.0/") {
				t.Errorf("the format is %q", fields["Format"])
			}
		case fields["Files"] != "":
			if fields["Copyright"] == "" || fields["License"] == "" {
				t.Errorf("%s: %v", fields["Files"], fields)
			}
			seen[fields["Files"]] = true
			for l := range strings.FieldsSeq(fields["License"]) {
				asked[l] = true
			}
		case fields["License"] != "":
			named[fields["License"]] = true
		default:
			t.Errorf("paragraph %d says nothing: %q", i, p)
		}
	}
	for _, c := range parts {
		name := strings.TrimPrefix(c.Inside, "/") + ":" + c.Name
		if c.Version != "" {
			name += "@" + c.Version
		}
		if !seen[name] {
			t.Errorf("%s isn't in it", name)
		}
		if c.Text == "" && !slices.Contains(common, c.Licence) {
			t.Errorf("%s is under %s, whose words aren't there", c.Name, c.Licence)
		}
	}
	for _, l := range common {
		if asked[l] && !named[l] {
			t.Errorf("where Debian has %s isn't said", l)
		}
	}
}

func TestBillOfMaterials(t *testing.T) {
	parts := linked(t)
	b := built{"1.0", "amd64", committed, []byte("program"), []byte("library"), parts, []string{"libc6 (>= 2.34)", "systemd"}}
	text, err := billOfMaterials(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := billOfMaterials(b); err != nil || !bytes.Equal(again, text) {
		t.Errorf("a second time it is another: %v", err)
	}
	b.binary = []byte("another")
	if another, _ := billOfMaterials(b); bytes.Equal(serial(t, another), serial(t, text)) {
		t.Error("two programs have one serial number")
	}

	schema, err := jsonschema.NewCompiler().Compile("testdata/cyclonedx.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("%#v", err)
	}

	var d struct {
		Metadata struct {
			Component struct {
				Ref string `json:"bom-ref"`
			}
		}
		Components []struct {
			Ref  string `json:"bom-ref"`
			Name string
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	refs, names := map[string]bool{d.Metadata.Component.Ref: true}, map[string]bool{}
	for _, c := range d.Components {
		if refs[c.Ref] {
			t.Errorf("%s is there twice", c.Ref)
		}
		refs[c.Ref], names[c.Name] = true, true
	}
	for _, c := range parts {
		if !names[c.Name] {
			t.Errorf("%s isn't in it", c.Name)
		}
	}
	needed := map[string]bool{d.Metadata.Component.Ref: true}
	for _, dep := range d.Dependencies {
		if !refs[dep.Ref] {
			t.Errorf("%s is nobody", dep.Ref)
		}
		for _, on := range dep.DependsOn {
			if !refs[on] {
				t.Errorf("%s needs %s, which is nobody", dep.Ref, on)
			}
			needed[on] = true
		}
	}
	for ref := range refs {
		if !needed[ref] {
			t.Errorf("nobody needs %s", ref)
		}
	}
}

func serial(t *testing.T, bill []byte) []byte {
	t.Helper()
	return regexp.MustCompile(`urn:uuid:[0-9a-f-]+`).Find(bill)
}

// debian is this machine's architecture as Debian calls it.
func debian(t *testing.T) string {
	t.Helper()
	name, ok := map[string]string{"amd64": "amd64", "arm64": "arm64", "arm": "armhf"}[runtime.GOARCH]
	if !ok {
		t.Skipf("there are no packages for %s", runtime.GOARCH)
	}
	return name
}

func TestThePackageIsLaidOutTwiceTheSame(t *testing.T) {
	o := options{arch: debian(t), binary: program(t), library: os.Getenv("LIVENESSD_TFLITE"), describe: "v1.2.3", at: committed, root: "../.."}
	var sums []map[string]string
	dir := t.TempDir()
	for _, name := range []string{"one", "another"} {
		o.out = filepath.Join(dir, name)
		if err := lay(o); err != nil {
			t.Fatal(err)
		}
		sum := map[string]string{}
		err := filepath.WalkDir(o.out, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			rel, _ := filepath.Rel(o.out, p)
			sum[rel] = fmt.Sprintf("%x", sha256.Sum256(bytes.ReplaceAll(data, []byte(o.out), []byte("OUT"))))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	if !maps.Equal(sums[0], sums[1]) {
		t.Errorf("two times, two results: %v and %v", sums[0], sums[1])
	}
	laid := func(p string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(o.out, "files", p))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(p, ".gz") {
			r, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		return string(data)
	}
	for p, words := range map[string]string{
		"usr/lib/systemd/system/livenessd.service":           "ExecStart=/usr/bin/livenessd run --config /etc/livenessd/livenessd.yaml\n",
		"usr/lib/sysusers.d/livenessd.conf":                  "u livenessd ",
		"usr/lib/udev/rules.d/70-livenessd.rules":            `ATTR{idVendor}=="18d1", ATTR{idProduct}=="9302"`,
		"usr/share/man/man1/livenessd.1.gz":                  ".SH EXIT STATUS",
		"usr/share/man/man1/livenessd-models-list.1.gz":      "livenessd-models-list",
		"usr/share/man/man5/livenessd.yaml.5.gz":             "live_at",
		"usr/share/bash-completion/completions/livenessd":    "livenessd",
		"usr/share/zsh/vendor-completions/_livenessd":        "#compdef livenessd",
		"usr/share/fish/vendor_completions.d/livenessd.fish": "livenessd",
		"usr/share/doc/livenessd/changelog.gz":               "livenessd (1.2.3) ",
		"usr/share/doc/livenessd/README.md":                  "# livenessd",
		"usr/share/doc/livenessd/docs/packages.md":           "dpkg",
	} {
		if !strings.Contains(laid(p), words) {
			t.Errorf("%s doesn't say %q", p, words)
		}
	}
	// What is installed as the configuration is the defaults, and what is shown as the example, too.
	for _, p := range []string{"etc/livenessd/livenessd.yaml", "usr/share/doc/livenessd/examples/livenessd.yaml"} {
		c, err := config.Load(filepath.Join(o.out, "files", p))
		if err != nil {
			t.Errorf("%s: %v", p, err)
		}
		if c.MQTT.URLs == nil || len(c.Cameras) != 1 {
			t.Errorf("%s isn't the defaults: %+v", p, c)
		}
	}
	var r recipe
	if err := json.Unmarshal([]byte(laid("../nfpm.json")), &r); err != nil {
		t.Fatal(err)
	}
	var config []string
	for _, i := range r.Contents {
		if i.Type == "config" {
			config = append(config, i.To)
		}
		if i.Info.MTime != "2026-01-02T03:04:05Z" {
			t.Errorf("%s has time %s", i.To, i.Info.MTime)
		}
	}
	if !slices.Equal(config, []string{"/etc/livenessd/livenessd.yaml"}) {
		t.Errorf("conffiles %v", config)
	}
	if r.Version != "1.2.3" || !slices.ContainsFunc(r.Depends, func(d string) bool { return strings.HasPrefix(d, "libturbojpeg0 (>=") }) {
		t.Errorf("version %s, depends %v", r.Version, r.Depends)
	}
	o.arch = map[string]string{"amd64": "arm64"}[o.arch]
	if o.arch == "" {
		o.arch = "amd64"
	}
	if err := lay(o); err == nil {
		t.Errorf("a program for another processor passes as %s", o.arch)
	}
}

func TestScriptsAreForEverySh(t *testing.T) {
	for _, name := range scripts {
		text, err := files.ReadFile("files/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "#!/bin/sh\n") || !strings.Contains(string(text), "\nset -e\n") {
			t.Errorf("%s doesn't stop at errors in sh", name)
		}
		if out, err := exec.Command("sh", "-n", "files/"+name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	out, err := exec.Command("sh", "files/postinst", "nonsense").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nonsense") {
		t.Errorf("postinst nonsense: %v, %s", err, out)
	}
}
