package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPackage takes the Debian package through its life on a machine of its own, whose disk stays when its power is cut.
func TestPackage(t *testing.T) {
	if os.Getenv("LIVENESSD_PACKAGE") == "" {
		t.Skip("it takes minutes: run it by `make installed`, which builds the package")
	}
	deb := os.Getenv("LIVENESSD_PACKAGE")
	ready(t)
	share := t.TempDir()
	for _, name := range []string{"lib.sh", "lib-package.sh"} {
		copyFile(t, "tests/"+name, filepath.Join(share, name))
	}
	scenes(t, filepath.Join(share, "scenes"))
	copyFile(t, deb, filepath.Join(share, "old.deb"))
	older, newer := renewed(t, deb, filepath.Join(share, "new.deb"))
	l := lab{share: share, disk: filepath.Join(t.TempDir(), "disk.ext4")}

	o := l.run(t, 20*time.Minute, "package-install")
	said(t, &o, "configured", "live")
	for name, want := range map[string]string{
		"enabled": "enabled", "user": "livenessd", "etc": "root:livenessd 750", "alias": "/dev/video0", "verify": "0",
	} {
		if got := o.results[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if said := o.read(t, "verify"); strings.Contains(said, "livenessd") {
		t.Errorf("systemd-analyze verify says %s", said)
	}
	for _, group := range []string{"video", "render", "plugdev"} {
		if !slices.Contains(strings.Fields(o.results["groups"]), group) {
			t.Errorf("the user isn't in %s: %s", group, o.results["groups"])
		}
	}

	o = l.run(t, 40*time.Minute, "package-life")
	said(t, &o, "boot", "live")
	for name, want := range map[string]string{
		"upgraded": newer, "downgraded": older, "disabled": "disabled/inactive", "running": "0", "kept": "3",
	} {
		if got := o.results[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if left := o.read(t, "left"); left != "" {
		t.Errorf("purge leaves or takes:\n%s", left)
	}
	// Everything that the log says was decided, up to the downgraded version, was delivered, whoever was running then.
	decided := strings.Count(o.read(t, "told"), `"msg":"verdict"`)
	seqs := map[string][]uint64{}
	var boots []string
	for _, phase := range []string{"boot", "upgrade", "downgrade"} {
		for _, d := range o.on(t, "camera/front/verdict", phase) {
			if seqs[d.Boot] == nil {
				boots = append(boots, d.Boot)
			}
			if !slices.Contains(seqs[d.Boot], d.Seq) {
				seqs[d.Boot] = append(seqs[d.Boot], d.Seq)
			}
		}
	}
	delivered := 0
	for _, boot := range boots {
		slices.Sort(seqs[boot])
		delivered += len(seqs[boot])
		for i, seq := range seqs[boot] {
			if seq != uint64(i+1) {
				t.Errorf("boot %s: numbers %v have a hole", boot, seqs[boot])
				break
			}
		}
	}
	if len(boots) != 3 || delivered != decided {
		t.Errorf("%d verdicts were decided and %d delivered, in %d runs, of which there were 3: %v", decided, delivered, len(boots), seqs)
	}
	for _, m := range o.messages {
		if m.Topic == "livenessd/lab/gap" {
			t.Errorf("a gap: %s", m.Payload)
		}
	}
	t.Logf("%d verdicts over upgrade and downgrade, all delivered: %v", delivered, seqs)
}

// renewed makes a package that is later and otherwise the same, and gives both versions.
func renewed(t *testing.T, deb, to string) (older, newer string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "unpacked")
	for _, line := range [][]string{
		{"dpkg-deb", "-R", deb, dir},
		{"sed", "-i", "s/^Version: .*/&+later/", filepath.Join(dir, "DEBIAN", "control")},
		{"dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", dir, to},
	} {
		if out, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", line, err, out)
		}
	}
	version := func(file string) string {
		out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-f", file, "Version").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	return version(deb), version(to)
}
