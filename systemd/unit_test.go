package systemd

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden unit")

func TestTheUnit(t *testing.T) {
	got, err := Unit(UnitOptions{Program: "/usr/bin/livenessd", Groups: []string{"video", "plugdev"}})
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "livenessd.service")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the unit is\n%s\nwant\n%s\n(go test ./systemd -update writes it)", got, want)
	}
}

func TestAnotherUnit(t *testing.T) {
	got, err := Unit(UnitOptions{Name: "side-door", User: "doorman", Program: "/opt/l/livenessd"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nExecStart=/opt/l/livenessd run --config /etc/side-door/livenessd.yaml\n", "\nUser=doorman\n", "\nSupplementaryGroups=video\n",
		"\nStateDirectory=side-door side-door/models\n", "\nRuntimeDirectory=side-door\n", "\nLoadCredential=livenessd:/etc/side-door/credentials\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestUnitsThatWouldHaveToBeQuotedAreRefused(t *testing.T) {
	good := UnitOptions{Program: "/usr/bin/livenessd"}
	for name, change := range map[string]func(*UnitOptions){
		"no program":            func(o *UnitOptions) { o.Program = "" },
		"a relative program":    func(o *UnitOptions) { o.Program = "livenessd" },
		"a program with spaces": func(o *UnitOptions) { o.Program = "/opt/my programs/livenessd" },
		"a specifier":           func(o *UnitOptions) { o.Program = "/opt/%n/livenessd" },
		"a template":            func(o *UnitOptions) { o.Config = "/etc/{{Name}}" },
		"a way round":           func(o *UnitOptions) { o.Config = "/etc/../home/x" },
		"another line":          func(o *UnitOptions) { o.User = "root\nExecStartPre=/bin/sh" },
		"a long name":           func(o *UnitOptions) { o.Name = strings.Repeat("a", 32) },
		"a path as name":        func(o *UnitOptions) { o.Name = "../x" },
		"a group with a line":   func(o *UnitOptions) { o.Groups = []string{"video", "x\ny"} },
		"a comment with a line": func(o *UnitOptions) { o.Made = "a\n[Unit]" },
	} {
		o := good
		change(&o)
		if text, err := Unit(o); err == nil {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// What systemd itself says of it is in the lab, too; here it is said to whoever changes the template.
func TestSystemdThinksWellOfTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("without systemd-analyze")
	}
	text, err := Unit(UnitOptions{Program: "/bin/true"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "livenessd.service")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", file).CombinedOutput()
	if err != nil {
		t.Fatalf("security: %v\n%s", err, out)
	}
	_, last, _ := strings.Cut(string(out), "Overall exposure level for livenessd.service: ")
	exposure, _, _ := strings.Cut(last, " ")
	if level, err := strconv.ParseFloat(exposure, 64); err != nil || level > 1.5 {
		t.Errorf("the exposure is %q:\n%s", exposure, out)
	}
}
