package systemd

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var errInjected = errors.New("injected")

// killed is what a test panics with where the program is killed.
type killed struct{}

// machine is a fake one: a root folder, users, and a systemd that knows units.
type machine struct {
	t       *testing.T
	root    string
	users   map[string][]string // groups, the own one first
	groups  map[string]bool
	loaded  map[string]string // units as systemd read them
	active  map[string]string
	starts  map[string]string // of what program and unit, when it was started last
	becomes string            // what a started unit becomes
	since   map[string]time.Time
	said    []string

	units string // where the keeper of units fails: "", write or enable
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, root: t.TempDir(), users: map[string][]string{"root": {"root"}, "doorman": {"staff"}}, becomes: "active",
		groups: map[string]bool{"root": true, "staff": true, "video": true, "plugdev": true},
		loaded: map[string]string{}, active: map[string]string{}, starts: map[string]string{}, since: map[string]time.Time{}}
	if shm, err := os.MkdirTemp("/dev/shm", "livenessd"); err == nil { // a disk takes its time for a thousand installations
		m.root = shm
		t.Cleanup(func() { _ = os.RemoveAll(shm) })
	}
	for _, d := range []string{"/run/systemd/system", "/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants", "/usr/local/bin", "/usr/local/lib", "/var/lib",
		"/home/me/build"} {
		m.make(d)
	}
	m.put("/home/me/build/livenessd", "program 1")
	m.put("/home/me/build/libtensorflowlite_c.so", "library 1")
	return m
}

func (m *machine) make(path string) {
	if err := os.MkdirAll(filepath.Join(m.root, path), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) put(path, text string) {
	m.make(filepath.Dir(path))
	if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) get(path string) string {
	b, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	return string(b)
}

// is is all of the machine that an installation touches.
func (m *machine) is() string {
	var b strings.Builder
	err := filepath.WalkDir(m.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", strings.TrimPrefix(p, m.root), st.Mode())
		if st.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %s", short(string(text)))
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, u := range slices.Sorted(maps.Keys(m.users)) {
		fmt.Fprintln(&b, "user", u, m.users[u])
	}
	fmt.Fprintln(&b, "groups", slices.Sorted(maps.Keys(m.groups)))
	for _, u := range slices.Sorted(maps.Keys(m.loaded)) {
		fmt.Fprintf(&b, "loaded %s %s\n", u, short(m.loaded[u]))
	}
	return b.String()
}

func short(text string) string {
	if len(text) < 100 {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%d bytes, sum %08x", len(text), crc32.ChecksumIEEE([]byte(text)))
}

// same tells what was and isn't any more, and the other way round.
func same(t *testing.T, what, before, after string) {
	t.Helper()
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, l := range was {
		litter := strings.Contains(l, "/.livenessd.") // of a run that was killed: nobody misses it
		if !litter && !slices.Contains(is, l) {
			t.Errorf("%s: gone: %s", what, l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			t.Errorf("%s: new: %s", what, l)
		}
	}
}

const wants = "/etc/systemd/system/multi-user.target.wants"

func (m *machine) reload() {
	clear(m.loaded)
	files, _ := filepath.Glob(filepath.Join(m.root, unitFolder, "*.service"))
	for _, f := range files {
		m.loaded[strings.TrimSuffix(filepath.Base(f), ".service")] = m.get(strings.TrimPrefix(f, m.root))
	}
}

// Run is the machine's programs.
func (m *machine) Run(_ context.Context, name string, args ...string) (string, error) {
	line := name + " " + strings.Join(args, " ")
	no := func(why string) (string, error) { return "", fmt.Errorf("%s: %s", line, why) }
	last := args[len(args)-1]
	unit := strings.TrimSuffix(last, ".service")
	switch {
	case strings.HasPrefix(line, "getent passwd "):
		if m.users[last] == nil {
			return no("exit status 2")
		}
	case strings.HasPrefix(line, "getent group "):
		if !m.groups[last] {
			return no("exit status 2")
		}
	case name == "useradd":
		own := slices.Contains(args, "--user-group")
		if m.users[last] != nil || own == m.groups[last] {
			return no("it exists")
		}
		m.users[last], m.groups[last] = []string{last}, true
	case name == "userdel":
		if m.users[last] == nil {
			return no("no such user")
		}
		delete(m.users, last)
		delete(m.groups, last)
	case name == "groupadd":
		m.groups[last] = true
	case name == "groupdel":
		if !m.groups[last] {
			return no("no such group")
		}
		delete(m.groups, last)
	case name == "usermod":
		if m.users[last] == nil || !m.groups[args[2]] {
			return no("no such user or group")
		}
		if !slices.Contains(m.users[last], args[2]) {
			m.users[last] = append(m.users[last], args[2])
		}
	case name == "gpasswd":
		i := slices.Index(m.users[args[1]], last)
		if i < 0 {
			return no("not a member")
		}
		m.users[args[1]] = slices.Delete(m.users[args[1]], i, i+1)
	case strings.HasPrefix(line, "id -nG"):
		return strings.Join(m.users[last], " "), nil
	case strings.HasPrefix(line, "id -gn"):
		return m.users[last][0] + "\n", nil
	case name == "chown":
		user, group, _ := strings.Cut(args[1], ":")
		if _, err := os.Stat(last); err != nil || m.users[user] == nil || !m.groups[group] || !strings.HasPrefix(last, m.root) {
			return no("can't")
		}
	case line == "systemctl daemon-reload":
		m.reload()
	case strings.HasPrefix(line, "systemctl is-enabled "):
		if _, err := os.Lstat(filepath.Join(m.root, wants, last)); err != nil {
			return no("disabled")
		}
		return "enabled\n", nil
	case strings.HasPrefix(line, "systemctl disable "):
		if m.get(filepath.Join(unitFolder, last)) == "" {
			return no("no such unit")
		}
		return "", os.Remove(filepath.Join(m.root, wants, last))
	case strings.HasPrefix(line, "systemctl reset-failed "):
		if m.loaded[unit] == "" {
			return no("not loaded")
		}
		if m.active[unit] == "failed" {
			m.active[unit] = "inactive"
		}
	case strings.HasPrefix(line, "systemctl --no-block "):
		if m.loaded[unit] == "" {
			return no("no such unit")
		}
		m.active[unit], m.since[unit] = m.becomes, time.Now()
		m.starts[unit] = m.get("/usr/local/bin/livenessd") + m.loaded[unit]
	case strings.HasPrefix(line, "systemctl show "):
		unit := strings.TrimSuffix(args[1], ".service")
		if m.loaded[unit] == "" {
			return "LoadState=not-found\nActiveState=inactive\n", nil
		}
		stale := "no"
		if m.loaded[unit] != m.get(filepath.Join(unitFolder, args[1])) {
			stale = "yes"
		}
		is, pid := cmpOr(m.active[unit], "inactive"), 7
		if is == "inactive" || is == "failed" {
			pid = 0
		}
		return fmt.Sprintf("LoadState=loaded\nNeedDaemonReload=%s\nActiveState=%s\nMainPID=%d\nExecMainStartTimestamp=%s\nStatusText=looking for a camera\n",
			stale, is, pid, m.since[unit].UTC().Format("Mon 2006-01-02 15:04:05.000000 MST")), nil
	default:
		m.t.Fatalf("nobody knows %s", line)
	}
	return "", nil
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Platform and the rest are Units, as kardianos/service is.
func (m *machine) Platform() string { return "linux-systemd" }

func (m *machine) Install(name, program, text string) error {
	file := filepath.Join(unitFolder, name+".service")
	if m.get(file) != "" {
		return errors.New("Init already exists: " + file)
	}
	if m.units == "write" {
		m.put(file, text[:len(text)/2])
		return errInjected
	}
	m.put(file, text)
	m.make(wants)
	if err := os.Symlink(filepath.Join(unitFolder, name+".service"), filepath.Join(m.root, wants, name+".service")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if m.units == "enable" {
		return errInjected
	}
	m.reload()
	return nil
}

func (m *machine) Uninstall(name string) error {
	if _, err := m.Run(context.Background(), "systemctl", "disable", name+".service"); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(m.root, unitFolder, name+".service")); err != nil {
		return err
	}
	m.reload()
	return nil
}

func (m *machine) Stop(name string) error {
	if m.loaded[name] == "" {
		return errors.New("not loaded")
	}
	m.active[name] = "inactive"
	return nil
}

func (m *machine) installer() *Installer {
	return &Installer{Root: m.root, Units: m, Run: m.Run, hasty: true, Say: func(s string) { m.said = append(m.said, s) }}
}

func (m *machine) options() InstallOptions {
	return InstallOptions{Program: filepath.Join(m.root, "/home/me/build/livenessd"), Library: filepath.Join(m.root, "/home/me/build/libtensorflowlite_c.so"),
		Default: []byte("# all by default\n")}
}

// everything installs, starts and commits, as the command does.
func (m *machine) everything(in *Installer, o InstallOptions) error {
	outdated := false
	o.Outdated = &outdated
	if err := in.Install(m.t.Context(), o); err != nil {
		return err
	}
	name := cmpOr(o.Name, DefaultName)
	s, err := in.State(m.t.Context(), name)
	if err == nil && (outdated || !s.Ready()) {
		s, err = in.Start(m.t.Context(), name, true, 0)
	}
	if err == nil && s.Failed() {
		err = errors.New("it failed")
	}
	if err != nil {
		return errors.Join(err, in.Rollback(m.t.Context()))
	}
	return in.Commit()
}

func TestInstallOnABareMachine(t *testing.T) {
	m := newMachine(t)
	if err := m.everything(m.installer(), m.options()); err != nil {
		t.Fatal(err)
	}
	unit := m.get("/etc/systemd/system/livenessd.service")
	if !strings.Contains(unit, "\nExecStart=/usr/local/bin/livenessd run --config /etc/livenessd/livenessd.yaml\n") ||
		!strings.Contains(unit, "\nSupplementaryGroups=video plugdev\n") || m.loaded["livenessd"] != unit || m.active["livenessd"] != "active" {
		t.Errorf("%s\nloaded: %v", unit, m.active)
	}
	if got := m.users["livenessd"]; !slices.Equal(got, []string{"livenessd", "video", "plugdev"}) {
		t.Errorf("groups %v", got)
	}
	for path, want := range map[string]string{"/usr/local/bin/livenessd": "program 1", "/usr/local/lib/livenessd/libtensorflowlite_c.so": "library 1",
		"/etc/livenessd/livenessd.yaml": "# all by default\n"} {
		if got := m.get(path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	for path, want := range map[string]fs.FileMode{"/etc/livenessd": 0o750, "/etc/livenessd/credentials": 0o700, "/etc/livenessd/livenessd.yaml": 0o640,
		"/var/lib/livenessd/models": 0o750, "/usr/local/bin/livenessd": 0o755, "/usr/local/lib/livenessd": 0o755} {
		if st, err := os.Stat(filepath.Join(m.root, path)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st, err)
		}
	}
	// Twice is as once, and nothing is started again.
	before := m.is()
	clear(m.starts)
	m.put("/etc/livenessd/livenessd.yaml", "device: mine\n")
	if err := m.everything(m.installer(), m.options()); err != nil {
		t.Fatal(err)
	}
	if m.get("/etc/livenessd/livenessd.yaml") != "device: mine\n" || len(m.starts) > 0 {
		t.Errorf("started %v", m.starts)
	}
	m.put("/etc/livenessd/livenessd.yaml", "# all by default\n")
	if err := os.Chmod(filepath.Join(m.root, "/etc/livenessd/livenessd.yaml"), 0o640); err != nil {
		t.Fatal(err)
	}
	same(t, "", before, m.is())
}

// situations are what an installation may find.
var situations = map[string]func(*machine){
	"a bare machine": func(*machine) {},
	"an earlier version that runs": func(m *machine) {
		if err := m.everything(m.installer(), m.options()); err != nil {
			m.t.Fatal(err)
		}
		m.put("/home/me/build/livenessd", "program 2")
		m.put("/home/me/build/libtensorflowlite_c.so", "library 2")
		m.put("/etc/systemd/system/livenessd.service", m.get("/etc/systemd/system/livenessd.service")+"# old\n")
		m.reload()
		m.since["livenessd"] = time.Now().Add(-time.Hour)
	},
	"half of a unit": func(m *machine) {
		m.put("/etc/systemd/system/livenessd.service", "[Unit]\nDescr")
		m.reload()
	},
	"a user without groups": func(m *machine) {
		m.users["livenessd"], m.groups["livenessd"] = []string{"livenessd"}, true
	},
	"a group without a user":   func(m *machine) { m.groups["livenessd"] = true },
	"somebody's configuration": func(m *machine) { m.put("/etc/livenessd/livenessd.yaml", "device: x\n") },
	"a copy that was killed": func(m *machine) {
		m.put("/usr/local/bin/.livenessd.new", "prog")
		m.put("/usr/local/bin/.livenessd.before", "program 0")
	},
}

// Whatever fails, and however far it had come, nothing of it stays; whatever is killed, another try repairs it.
func TestInstallAfterAnyFailure(t *testing.T) {
	ways := map[string]func(do func() error) error{
		"fails at once":        func(func() error) error { return errInjected },
		"fails when it's done": func(do func() error) error { return errors.Join(do(), errInjected) },
		"is killed before":     func(func() error) error { panic(killed{}) },
		"is killed after": func(do func() error) error {
			if err := do(); err != nil {
				return err
			}
			panic(killed{})
		},
	}
	for situation, prepare := range situations {
		for way, how := range ways {
			t.Run(situation+", a step "+way, func(t *testing.T) {
				t.Parallel()
				steps := 0
				for at := 0; ; at++ {
					m := newMachine(t)
					prepare(m)
					before := m.is()
					in := m.installer()
					n, name := 0, ""
					in.around = func(step string, do func() error) error {
						if n++; n == at+1 {
							name = step
							return how(do)
						}
						return do()
					}
					err, dead := attempt(func() error { return m.everything(in, m.options()) })
					if name == "" {
						if err != nil {
							t.Fatal(err)
						}
						break
					}
					steps++
					if !dead && (!errors.Is(err, errInjected) || !strings.Contains(err.Error(), name)) {
						t.Errorf("%s: %v", name, err)
					}
					if !dead {
						same(t, name, before, m.is())
					}
					// Another try repairs it, whatever stayed.
					if err := m.everything(m.installer(), m.options()); err != nil {
						t.Fatalf("%s, and again: %v", name, err)
					}
					m.whole(name)
				}
				if steps < 3 {
					t.Errorf("%d steps", steps)
				}
			})
		}
	}
}

func attempt(f func() error) (err error, dead bool) {
	defer func() {
		if v := recover(); v != nil {
			if _, ours := v.(killed); !ours {
				panic(v)
			}
			dead = true
		}
	}()
	return f(), false
}

// whole checks a finished installation.
func (m *machine) whole(after string) {
	m.t.Helper()
	want, err := Unit(UnitOptions{Program: placedProgram, Groups: []string{"video", "plugdev"}})
	if err != nil {
		m.t.Fatal(err)
	}
	if m.get("/etc/systemd/system/livenessd.service") != want || m.loaded["livenessd"] != want || m.active["livenessd"] != "active" {
		m.t.Errorf("%s: the unit is %q, loaded %q, %s", after, m.get("/etc/systemd/system/livenessd.service"), m.loaded["livenessd"], m.active["livenessd"])
	}
	if m.get(placedProgram) != m.get("/home/me/build/livenessd") || m.get(placedFolder+"/"+library) != m.get("/home/me/build/"+library) {
		m.t.Errorf("%s: the program is %q", after, m.get(placedProgram))
	}
	if got := m.starts["livenessd"]; got != m.get(placedProgram)+want {
		m.t.Errorf("%s: what runs is %s", after, short(got))
	}
	if !slices.Contains(m.users["livenessd"], "video") || m.get("/etc/livenessd/livenessd.yaml") == "" {
		m.t.Errorf("%s: %v", after, m.users)
	}
	if left := m.get("/usr/local/bin/.livenessd.new") + m.get("/usr/local/bin/.livenessd.before") + m.get(placedFolder+"/."+library+".before"); left != "" {
		m.t.Errorf("%s: left %q", after, left)
	}
}

// kardianos/service itself fails half way.
func TestInstallWhereTheKeeperOfUnitsFails(t *testing.T) {
	for _, where := range []string{"write", "enable"} {
		for situation, prepare := range situations {
			m := newMachine(t)
			prepare(m)
			before := m.is()
			m.units = where
			if err := m.everything(m.installer(), m.options()); !errors.Is(err, errInjected) {
				t.Errorf("%s, %s: %v", situation, where, err)
			}
			same(t, situation+", "+where, before, m.is())
			m.units = ""
			if err := m.everything(m.installer(), m.options()); err != nil {
				t.Errorf("%s, %s: %v", situation, where, err)
			}
			m.whole(situation + ", " + where)
		}
	}
}

// A new version that doesn't run leaves the old one as it was.
func TestAnUpgradeThatFailsIsUndone(t *testing.T) {
	m := newMachine(t)
	situations["an earlier version that runs"](m)
	before := m.is()
	m.becomes = "failed"
	if err := m.everything(m.installer(), m.options()); err == nil {
		t.Fatal("no error")
	}
	same(t, "", before, m.is())
}

func TestUninstall(t *testing.T) {
	for _, purge := range []bool{false, true} {
		m := newMachine(t)
		before := m.is()
		for range 2 { // what isn't there isn't missed
			if err := m.installer().Uninstall(t.Context(), "livenessd", purge); err != nil {
				t.Fatal(err)
			}
		}
		if m.is() != before {
			t.Errorf("%s", m.is())
		}
	}
	m := newMachine(t)
	before := m.is()
	if err := m.everything(m.installer(), m.options()); err != nil {
		t.Fatal(err)
	}
	m.put("/var/lib/livenessd/journal.db", "x")
	if err := m.installer().Uninstall(t.Context(), "livenessd", false); err != nil {
		t.Fatal(err)
	}
	if m.active["livenessd"] != "inactive" || m.loaded["livenessd"] != "" || m.get("/etc/livenessd/livenessd.yaml") == "" || m.get("/var/lib/livenessd/journal.db") == "" ||
		m.users["livenessd"] == nil || m.get(placedProgram) != "" {
		t.Errorf("%s", m.is())
	}
	if err := m.installer().Uninstall(t.Context(), "livenessd", true); err != nil {
		t.Fatal(err)
	}
	same(t, "purged", before, m.is())
}

// Uninstall, too, goes on after whatever it was killed at.
func TestUninstallAfterAnyFailure(t *testing.T) {
	for at := 0; ; at++ {
		m := newMachine(t)
		bare := m.is()
		if err := m.everything(m.installer(), m.options()); err != nil {
			t.Fatal(err)
		}
		in := m.installer()
		n, name := 0, ""
		in.around = func(step string, do func() error) error {
			if n++; n == at+1 {
				name = step
				panic(killed{})
			}
			return do()
		}
		if err, _ := attempt(func() error { return in.Uninstall(t.Context(), "livenessd", true) }); err != nil {
			t.Fatal(err)
		}
		if name == "" {
			if at < 5 {
				t.Errorf("%d steps", at)
			}
			return
		}
		if err := m.installer().Uninstall(t.Context(), "livenessd", true); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		same(t, name, bare, m.is())
	}
}

func TestTwoServicesShareAProgram(t *testing.T) {
	m := newMachine(t)
	other := m.options()
	other.Name, other.User = "side-door", "doorman"
	for _, o := range []InstallOptions{m.options(), other} {
		if err := m.everything(m.installer(), o); err != nil {
			t.Fatal(err)
		}
	}
	if unit := m.get("/etc/systemd/system/side-door.service"); !strings.Contains(unit, "\nUser=doorman\n") || !slices.Contains(m.users["doorman"], "video") {
		t.Errorf("%s\n%v", unit, m.users)
	}
	if err := m.installer().Uninstall(t.Context(), "livenessd", true); err != nil {
		t.Fatal(err)
	}
	if m.get(placedProgram) == "" || m.get("/etc/side-door/livenessd.yaml") == "" || m.active["side-door"] != "active" {
		t.Errorf("%s", m.is())
	}
	if err := m.installer().Uninstall(t.Context(), "side-door", true); err != nil {
		t.Fatal(err)
	}
	if m.get(placedProgram) != "" || m.get("/etc/side-door/livenessd.yaml") != "" || m.users["doorman"] == nil {
		t.Errorf("%s", m.is())
	}
}

func TestWhereAProgramStays(t *testing.T) {
	for _, c := range []struct {
		program, library, want string
		copied                 bool
	}{
		{"/home/me/build/livenessd", "/home/me/build/" + library, placedProgram, true},
		{"/tmp/livenessd", "", placedProgram, true},
		{"/opt/livenessd/livenessd", "/opt/livenessd/" + library, "/opt/livenessd/livenessd", false},
		{"/opt/livenessd/bin/livenessd", "/opt/livenessd/lib/livenessd/" + library, "/opt/livenessd/bin/livenessd", false},
		{"/opt/livenessd/livenessd", "/home/me/" + library, placedProgram, true},
		{"/usr/bin/livenessd", "/usr/lib/livenessd/" + library, "/usr/bin/livenessd", false},
		{"/usr/local/bin/livenessd", "/usr/local/lib/livenessd/" + library, "/usr/local/bin/livenessd", false},
		{"/usr/local/bin/livenessd", library, "/usr/local/bin/livenessd", false},
		{"/usr/local/bin/livenessd", "", "/usr/local/bin/livenessd", false},
		{"/opt/my programs/livenessd", "", placedProgram, true},
	} {
		o := InstallOptions{Program: c.program, Library: c.library}
		if got, copied := o.Place(); got != c.want || copied != c.copied {
			t.Errorf("%s with %s: %s, %v", c.program, c.library, got, copied)
		}
	}
}

func TestWhatIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*machine, *Installer, *InstallOptions)
		want   error
		hint   string
	}{
		"not root":            {func(_ *machine, in *Installer, _ *InstallOptions) { in.UID = 1000 }, ErrNotRoot, "sudo"},
		"no systemd":          {func(m *machine, _ *Installer, _ *InstallOptions) { _ = os.RemoveAll(m.root + "/run/systemd") }, ErrNoSystemd, "livenessd run"},
		"no such user":        {func(_ *machine, _ *Installer, o *InstallOptions) { o.User = "stranger" }, nil, "create it first"},
		"no group video":      {func(m *machine, _ *Installer, _ *InstallOptions) { delete(m.groups, "video") }, nil, "udev"},
		"a name with a slash": {func(_ *machine, _ *Installer, o *InstallOptions) { o.Name = "a/b" }, nil, "lower-case"},
		"a hidden file":       {func(_ *machine, _ *Installer, o *InstallOptions) { o.Config = "/home/me/livenessd.yaml" }, nil, "/etc/livenessd"},
		"a package's unit": {func(m *machine, _ *Installer, _ *InstallOptions) {
			m.put("/usr/lib/systemd/system/livenessd.service", "x")
		}, nil, "systemctl enable"},
		"a relative file name": {func(_ *machine, _ *Installer, o *InstallOptions) { o.Config = "door.yaml" }, nil, "absolute"},
	} {
		m := newMachine(t)
		in, o := m.installer(), m.options()
		c.change(m, in, &o)
		before := m.is()
		err := in.Install(t.Context(), o)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint(), c.hint) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if m.is() != before {
			t.Errorf("%s: something was touched", name)
		}
	}
}

func TestStartWaitsForReady(t *testing.T) {
	m := newMachine(t)
	if err := m.everything(m.installer(), m.options()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		becomes       string
		ready, failed bool
	}{{"active", true, false}, {"failed", false, true}, {"activating", false, false}} {
		m.becomes, m.said = c.becomes, nil
		s, err := m.installer().Start(t.Context(), "livenessd", false, 300*time.Millisecond)
		if err != nil || s.Ready() != c.ready || s.Failed() != c.failed {
			t.Errorf("%s: %+v, %v", c.becomes, s, err)
		}
		if said := strings.Join(m.said, "\n"); (said == c.becomes+": looking for a camera") == c.ready {
			t.Errorf("%s: %q", c.becomes, said)
		}
	}
}

func TestWhatSystemctlShows(t *testing.T) {
	got := parseState("LoadState=loaded\nNeedDaemonReload=yes\nActiveState=activating\nSubState=auto-restart\nStateChangeTimestamp=Tue 2025-11-25 00:40:34 UTC\nExecMainStartTimestamp=Tue 2025-11-25 00:40:33.5 UTC\nMainPID=77\n" +
		"NRestarts=3\nResult=watchdog\nExecMainStatus=2\nStatusText=a=b\nUnitFileState=enabled\nFragmentPath=/etc/systemd/system/livenessd.service\nSomething=else\n")
	want := State{Loaded: true, Stale: true, Active: "activating", Sub: "auto-restart", Since: time.Unix(1764031234, 0).UTC(),
		Started: time.Unix(1764031233, 5e8).UTC(), PID: 77, Restarts: 3, Result: "watchdog",
		Exit: 2, Status: "a=b", Enabled: "enabled", File: "/etc/systemd/system/livenessd.service"}
	if got != want || !got.Failed() || got.Ready() {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if s := parseState("LoadState=not-found\nMainPID=-3\nNRestarts=x\nStateChangeTimestamp=n/a\nExecMainStartTimestamp=\n"); s != (State{}) {
		t.Errorf("%+v", s)
	}
}

func FuzzParseState(f *testing.F) {
	f.Add("LoadState=loaded\nStateChangeTimestamp=Tue 2025-11-25 00:40:34 UTC\n")
	f.Add("=\n==")
	f.Fuzz(func(t *testing.T, out string) {
		if s := parseState(out); s.PID < 0 || s.Restarts < 0 {
			t.Errorf("%+v", s)
		}
	})
}

func FuzzLearn(f *testing.F) {
	f.Add("User=livenessd\nExecStart=/usr/bin/livenessd run --config /etc/livenessd/livenessd.yaml\n")
	f.Fuzz(func(t *testing.T, text string) {
		o := UnitOptions{Program: placedProgram}
		o.complete()
		o.learn(text)
		if err := o.check(); err != nil && filepath.Clean(o.Config) == o.Config {
			t.Error(err)
		}
	})
}

func TestWhatTheServiceSaidIsReadWithCare(t *testing.T) {
	m := newMachine(t)
	file := filepath.Join(m.root, "/run/livenessd/status.json")
	var got struct{ PID int }
	said := func() error { return m.installer().Said("livenessd", &got) }
	if err := said(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	m.put("/run/livenessd/status.json", `{"pid":7}`)
	if err := said(); err != nil || got.PID != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	m.put("/run/livenessd/status.json", "{"+strings.Repeat(" ", 2<<20)+`"pid":8}`)
	if err := said(); err == nil {
		t.Error("a file without end is read")
	}
	if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := said(); err == nil {
		t.Error("a pipe is read")
	}
	if err := m.installer().Said("../x", &got); !errors.Is(err, ErrOption) {
		t.Errorf("%v", err)
	}
}
