package doctor

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
)

// took is how long the disk took, which is never the same.
var took = regexp.MustCompile(`after [0-9.]+[^ ,;\n]*s\b`)

var update = flag.Bool("update", false, "write the golden files anew")

// machine is a Host made of files, with owners and commands that a test names.
type machine struct {
	Host
	root   string
	owners map[string]Ownership // by the path below root; root:root 0755 for others
	says   map[string]string    // by the command's first words
	fails  map[string]error
	spaces Space
}

// aMachine is one on which all is well: files are given as path and content, a content that begins with -> is a link.
func aMachine(t *testing.T, files map[string]string) *machine {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{root: root, owners: map[string]Ownership{}, says: map[string]string{}, fails: map[string]error{},
		spaces: Space{Size: 8 << 30, Free: 4 << 30, Nodes: 1000, FreeNodes: 900, Major: 179, Minor: 2}}
	m.Host = Host{Dev: root + "/dev", Sys: root + "/sys", Proc: root + "/proc", Etc: root + "/etc", Runtime: root + "/run/livenessd",
		Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
			line := strings.Join(append([]string{name}, args...), " ")
			for start, err := range m.fails {
				if strings.HasPrefix(line, start) {
					return nil, err
				}
			}
			for start, out := range m.says {
				if strings.HasPrefix(line, start) {
					return []byte(out), nil
				}
			}
			return nil, exec.ErrNotFound
		},
		Owner: func(path string) (Ownership, error) {
			info, err := os.Stat(path)
			if err != nil {
				return Ownership{}, err
			}
			o, named := m.owners[strings.TrimPrefix(path, root)]
			if !named {
				o.Mode = 0o755
			}
			o.Mode |= info.Mode().Type()
			return o, nil
		},
		Space:  func(string) (Space, error) { return m.spaces, nil },
		Synced: func() bool { return true },
		Now:    func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) },
	}
	for _, d := range []string{"dev", "sys", "proc", "etc", "run/livenessd", "state"} {
		m.put(t, d+"/", "")
	}
	m.put(t, "etc/passwd", "root:x:0:0::/root:/bin/sh\nlivenessd:x:993:991::/nonexistent:/usr/sbin/nologin\n")
	m.put(t, "etc/group", "root:x:0:\nvideo:x:44:livenessd\nrender:x:105:\nlivenessd:x:991:\n")
	for path, content := range files {
		m.put(t, path, content)
	}
	return m
}

func (m *machine) put(t *testing.T, path, content string) {
	t.Helper()
	full := filepath.Join(m.root, path)
	err := os.MkdirAll(filepath.Dir(full), 0o755)
	if err == nil && strings.HasSuffix(path, "/") {
		err = os.MkdirAll(full, 0o755)
	} else if target, is := strings.CutPrefix(content, "->"); err == nil && is {
		err = os.Symlink(target, full)
	} else if err == nil {
		err = os.WriteFile(full, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// patient is somebody on that machine, with a configuration.
func (m *machine) patient(t *testing.T, yaml string) *Patient {
	t.Helper()
	m.put(t, "etc/livenessd.yaml", strings.ReplaceAll(yaml, "ROOT", m.root))
	return Admit(t.Context(), Options{Host: m.Host, ConfigPath: m.root + "/etc/livenessd.yaml", Version: "1.2.3", Unit: "livenessd.service", User: "livenessd",
		List: func() ([]camera.Info, error) { return nil, nil }})
}

const active = "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nUnitFileState=enabled\nStateChangeTimestamp=Wed 2026-03-04 05:00:00 UTC\n" +
	"ExecMainStatus=0\nNRestarts=0\nMainPID=77\nUser=livenessd\nSupplementaryGroups=video\nStateDirectory=livenessd\n"

// told joins what people would read, with the machine's folder left out.
func (m *machine) told(fs []Finding) string {
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(strings.ReplaceAll(f.String(), m.root, "") + "\n")
	}
	return b.String()
}

// look runs one check.
func (m *machine) look(t *testing.T, name string, c Check) string {
	t.Helper()
	return m.told(Examine(t.Context(), []Named{{name, time.Minute, c}}, func(Finding) {}))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it anew):\n%s\nwant\n%s", path, got, want)
	}
}

// A check that hangs is left behind, and the others go on.
func TestAHangingCheckDoesNotEndTheExamination(t *testing.T) {
	free := make(chan struct{})
	defer close(free)
	hangs := checkFunc(func(context.Context) []Finding { <-free; return nil })
	works := checkFunc(func(context.Context) []Finding { return []Finding{ok("fine")} })
	var heard []string
	got := Examine(t.Context(), []Named{{"stuck", 20 * time.Millisecond, hangs}, {"next", time.Minute, works}}, func(f Finding) { heard = append(heard, f.Check) })
	if len(got) != 2 || got[0].Level != Failure || got[0].Check != "stuck" || got[1].Level != OK || got[1].Check != "next" || strings.Join(heard, " ") != "stuck next" {
		t.Errorf("%+v, heard %v", got, heard)
	}
}

type checkFunc func(context.Context) []Finding

func (f checkFunc) Look(ctx context.Context) []Finding { return f(ctx) }

func TestTheWorstCountsAndWhatIsToBeMendedFirst(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fs     []Finding
		worst  Level
		cause  Cause
		failed bool
	}{
		{"nothing", nil, OK, Other, false},
		{"skipped alone", []Finding{skipped("x")}, OK, Other, false},
		{"a warning", []Finding{ok("x"), warning("", "x"), ok("x")}, Warning, Other, false},
		{"an absent camera", []Finding{warning("", "x"), failure(Absent, "", "x")}, Failure, Absent, true},
		{"configuration before all else", []Finding{failure(Absent, "", "x"), failure(Permission, "", "x"), failure(Configuration, "", "x")}, Failure, Configuration, true},
		{"another failure", []Finding{failure(Other, "", "x")}, Failure, Other, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cause, failed := FirstCause(tt.fs)
			if w := Worst(tt.fs); w != tt.worst || cause != tt.cause || failed != tt.failed {
				t.Errorf("%s, %q, %v", w, cause, failed)
			}
		})
	}
}

// Without a configuration, what depends on it isn't looked at, and the rest is.
func TestABadConfigurationIsToldWithItsLine(t *testing.T) {
	m := aMachine(t, nil)
	m.says["systemctl show"] = active
	p := m.patient(t, "mqtt:\n  ulr: x\ndevise: y\n")
	golden(t, "configuration.golden", m.told(Examine(t.Context(), p.Checks(), func(Finding) {})))
}

func TestFilesOfTheConfiguration(t *testing.T) {
	m := aMachine(t, map[string]string{"etc/secret": "hunter2", "etc/open": "hunter2", "etc/closed": "x", "etc/deep/ca.pem": "x", "etc/loose.pem": "x", "state/device.key": "x"})
	m.says["systemctl show"] = active
	m.owners["/etc/secret"] = Ownership{Mode: 0o640, GID: 991}
	m.owners["/etc/open"] = Ownership{Mode: 0o644}
	m.owners["/etc/closed"] = Ownership{Mode: 0o600}
	m.owners["/etc/deep"] = Ownership{Mode: 0o700}
	m.owners["/etc/loose.pem"] = Ownership{Mode: 0o646}
	m.owners["/state/device.key"] = Ownership{Mode: 0o640, GID: 991}
	var all strings.Builder
	for _, yaml := range []string{
		"{}", "mqtt: {username: u, password_file: ROOT/etc/secret}", "mqtt: {username: u, password_file: ROOT/etc/open}",
		"mqtt: {username: u, password_file: ROOT/etc/closed}", "mqtt: {url: mqtts://x, ca_file: ROOT/etc/deep/ca.pem}",
		"mqtt: {url: mqtts://x, ca_file: ROOT/etc/loose.pem}", "mqtt: {username: u, password_file: ROOT/etc/none}",
		"mqtt: {username: u, password_file: ROOT/etc}", "mqtt: {username: u, password_file: /run/credentials/livenessd.service/mqtt}",
		"signing: {key_file: ROOT/etc/none}", "signing: {key_file: ROOT/etc/secret}", "state: ROOT/state",
	} {
		all.WriteString("# " + yaml + "\n" + m.look(t, "files", files{m.patient(t, yaml)}))
	}
	golden(t, "files.golden", all.String())
}

func TestTheService(t *testing.T) {
	starting := strings.NewReplacer("=active", "=activating", "=running", "=start").Replace(active) + "StatusText=camera front recovering: no such device\n"
	journal := "livenessd: tflite: no usable TensorFlow Lite library; tried /x (no such file)\n  → put it there\nsystemd: Main process exited\n"
	var all strings.Builder
	for _, tt := range []struct{ name, show string }{
		{"active", active},
		{"restarted", strings.Replace(active, "NRestarts=0", "NRestarts=4", 1)},
		{"failed", strings.NewReplacer("=active", "=failed", "=running", "=failed", "=success", "=exit-code", "ExecMainStatus=0", "ExecMainStatus=78").Replace(active)},
		{"killed by the watchdog", strings.NewReplacer("=active", "=activating", "=running", "=auto-restart", "=success", "=watchdog", "NRestarts=0", "NRestarts=9").Replace(active)},
		{"starting", starting},
		{"starting, and silent", strings.NewReplacer("StatusText=camera front recovering: no such device", "StatusText=").Replace(starting)},
		{"starting for the third time", strings.NewReplacer("NRestarts=0", "NRestarts=2").Replace(starting)},
		{"reloading", strings.NewReplacer("=active", "=reloading", "=running", "=reload").Replace(active)},
		{"ending", strings.NewReplacer("=active", "=deactivating", "=running", "=stop-sigterm").Replace(active)},
		{"stopped", strings.NewReplacer("=active", "=inactive", "=running", "=dead").Replace(active)},
		{"not started at boot", strings.Replace(active, "=enabled", "=disabled", 1)},
		{"not installed", "LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nNRestarts=0\nMainPID=0\nUser=\nExecMainStatus=0\n"},
		{"of a user that is gone", strings.Replace(active, "User=livenessd", "User=gone", 1)},
		{"", ""},
	} {
		m := aMachine(t, nil)
		m.says["journalctl"] = journal
		if tt.show != "" {
			m.says["systemctl show"] = tt.show
		}
		all.WriteString("# " + tt.name + "\n" + m.look(t, "service", serves{m.patient(t, "{}")}))
	}
	running := aMachine(t, map[string]string{"proc/77/comm": "livenessd", "run/livenessd/status.json": `{"pid":77,"stuck":["camera front"],` +
		`"refused":{"error":"x.yaml:1:1: unknown key \"y\"","hint":"remove it"}}`})
	running.says["systemctl show"] = active
	all.WriteString("# stuck\n" + running.look(t, "service", serves{running.patient(t, "{}")}))
	m := aMachine(t, nil)
	m.fails["systemctl"] = errors.New("systemctl: exit status 1")
	all.WriteString("# no answer\n" + m.look(t, "service", serves{m.patient(t, "{}")}))
	bare := aMachine(t, map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n"})
	all.WriteString("# neither systemd nor the user\n" + bare.look(t, "service", serves{bare.patient(t, "{}")}))
	golden(t, "service.golden", all.String())
}

func TestTheNewestErrorOfAJournal(t *testing.T) {
	for _, tt := range []struct{ name, journal, want string }{
		{"none", "started\n", ""},
		{"what ended it, with its hint", "livenessd: a: b\n  → do c\nStopped\n", "livenessd: a: b → do c"},
		{"the newest", "livenessd: a\ntime=1 level=ERROR msg=b\n", "time=1 level=ERROR msg=b"},
		{"of a log in JSON", `{"level":"ERROR","msg":"b"}` + "\n", `{"level":"ERROR","msg":"b"}`},
		{"an arrow that belongs to nothing", "→ x\nlivenessd: a\nx\n→ y\n", "livenessd: a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lastError(tt.journal); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	if got := lastError("livenessd: " + strings.Repeat("ü", 5000)); len(got) > 700 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestTheClock(t *testing.T) {
	for _, tt := range []struct {
		name   string
		year   int
		synced bool
		keeper string
		level  Level
		says   string
	}{
		{"right", 2026, true, "", OK, "synchronised"},
		{"of nobody", 2026, false, "", Warning, "nothing synchronises"},
		{"waiting", 2026, false, "chronyd", Warning, "chronyd runs"},
		{"of a name that is cut off", 2026, false, "systemd-timesyn", Warning, "systemd-timesyncd runs"},
		{"of a machine where another part of systemd runs", 2026, false, "systemd", Warning, "nothing synchronises"},
		{"at its beginning", 1970, false, "chronyd", Failure, "1970-01-01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := aMachine(t, nil)
			if tt.keeper != "" {
				m.put(t, "proc/12/comm", tt.keeper+"\n")
			}
			m.Synced = func() bool { return tt.synced }
			m.Now = func() time.Time { return time.Date(tt.year, 1, 1, 0, 0, 0, 0, time.UTC) }
			f := clock{m.Host}.Look(t.Context())[0]
			if f.Level != tt.level || !strings.Contains(f.Seen, tt.says) || (f.Do == "") != (tt.level == OK) {
				t.Errorf("%v", f)
			}
		})
	}
}

func TestTemperature(t *testing.T) {
	var all strings.Builder
	for _, tt := range []struct {
		name  string
		files map[string]string
	}{
		{"nothing known", nil},
		{"cool, by the kernel's limit", map[string]string{"thermal/thermal_zone0/temp": "45000", "thermal/thermal_zone0/type": "cpu-thermal",
			"thermal/thermal_zone0/trip_point_0_type": "passive", "thermal/thermal_zone0/trip_point_0_temp": "85000",
			"thermal/thermal_zone0/trip_point_1_type": "critical", "thermal/thermal_zone0/trip_point_1_temp": "110000"}},
		{"hot, of two", map[string]string{"thermal/thermal_zone0/temp": "45000", "thermal/thermal_zone0/type": "gpu",
			"thermal/thermal_zone1/temp": "86100", "thermal/thermal_zone1/type": "cpu"}},
		{"a sensor that can't be read", map[string]string{"thermal/thermal_zone0/temp": "", "thermal/thermal_zone0/type": "gpu"}},
		{"a Raspberry with little voltage", map[string]string{"../devices/platform/soc/soc:firmware/get_throttled": "50001"}},
		{"a processor that was slowed down", map[string]string{"../devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "0",
			"../devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "12"}},
		{"a frequency that is capped", map[string]string{"../devices/system/cpu/cpufreq/policy0/scaling_max_freq": "600000",
			"../devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1800000"}},
	} {
		m := aMachine(t, nil)
		for path, content := range tt.files {
			m.put(t, "sys/class/"+path, content+"\n")
		}
		all.WriteString("# " + tt.name + "\n" + m.look(t, "temperature", temperature{m.Host}))
	}
	golden(t, "temperature.golden", all.String())
}

func TestTheDisk(t *testing.T) {
	mmc := map[string]string{"sys/dev/block/179:2": "->../../devices/mmcblk0/mmcblk0p2", "sys/devices/mmcblk0/mmcblk0p2/partition": "2"}
	with := func(life, end string) map[string]string {
		return map[string]string{"sys/devices/mmcblk0/device/life_time": life, "sys/devices/mmcblk0/device/pre_eol_info": end}
	}
	var all strings.Builder
	for _, tt := range []struct {
		name  string
		yaml  string
		files map[string]string
		space func(*Space)
		owner Ownership
	}{
		{"eMMC, young", "", with("0x01 0x02", "0x01"), nil, Ownership{UID: 993, Mode: 0o750}},
		{"eMMC, old", "", with("0x09 0x02", "0x01"), nil, Ownership{UID: 993, Mode: 0o750}},
		{"eMMC, at its end", "", with("0x0b 0x0b", "0x03"), nil, Ownership{UID: 993, Mode: 0o750}},
		{"a memory card", "", map[string]string{"sys/devices/mmcblk0/device/type": "SD"}, nil, Ownership{UID: 993, Mode: 0o750}},
		{"of a daemon that writes", "", map[string]string{"run/livenessd/status.json": `{"pid":77,"started":"2026-03-03T05:06:07Z"}`,
			"proc/77/io": "rchar: 1\nwrite_bytes: 20971520\ncancelled_write_bytes: 0"}, nil, Ownership{UID: 993, Mode: 0o750}},
		{"nearly full", "", nil, func(s *Space) { s.Free = 40 << 20 }, Ownership{UID: 993, Mode: 0o750}},
		{"full", "", nil, func(s *Space) { s.Free = 5 << 10 }, Ownership{UID: 993, Mode: 0o750}},
		{"no inodes", "", nil, func(s *Space) { s.FreeNodes = 3 }, Ownership{UID: 993, Mode: 0o750}},
		{"read-only", "", nil, func(s *Space) { s.ReadOnly = true }, Ownership{UID: 993, Mode: 0o750}},
		{"in memory", "", nil, func(s *Space) { s.Memory = true }, Ownership{UID: 993, Mode: 0o750}},
		{"somebody else's", "", nil, nil, Ownership{Mode: 0o755}},
		{"damaged once", "", map[string]string{"state/journal.db.damaged": ""}, nil, Ownership{UID: 993, Mode: 0o750}},
		{"not there", "state: ROOT/none/below", nil, nil, Ownership{}},
	} {
		m := aMachine(t, mmc)
		m.says["systemctl show"] = strings.Replace(active, "StateDirectory=livenessd\n", "", 1)
		for path, content := range tt.files {
			m.put(t, path, content+"\n")
		}
		if _, err := os.Stat(m.root + "/state/journal.db.damaged"); err == nil {
			if err := os.Chtimes(m.root+"/state/journal.db.damaged", time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if tt.space != nil {
			tt.space(&m.spaces)
		}
		m.owners["/state"] = tt.owner
		if tt.yaml == "" {
			tt.yaml = "state: ROOT/state"
		}
		said := m.look(t, "disk", disk{m.patient(t, tt.yaml)})
		all.WriteString("# " + tt.name + "\n" + took.ReplaceAllString(said, "after TIME"))
		if left, _ := filepath.Glob(m.root + "/state/.doctor-*"); len(left) > 0 {
			t.Errorf("%s: left behind: %v", tt.name, left)
		}
	}
	golden(t, "disk.golden", all.String())
}

func TestAnUnreadableStateIsNoCrash(t *testing.T) {
	m := aMachine(t, nil)
	m.Space = func(string) (Space, error) { return Space{}, fs.ErrPermission }
	p := m.patient(t, "state: ROOT/state")
	fs := disk{p}.Look(t.Context())
	if Worst(fs) != Failure {
		t.Errorf("%v", fs)
	}
}

func TestTheConfigurationsStateIsTheServices(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	m := aMachine(t, nil)
	m.says["systemctl show"] = active
	if got := m.patient(t, "{}").Config; got.State != "/var/lib/livenessd" || got.Models.Directory != "/var/lib/livenessd/models" {
		t.Errorf("%s, %s", got.State, got.Models.Directory)
	}
	if got := m.patient(t, "state: /somewhere").Config.State; got != "/somewhere" {
		t.Error(got)
	}
	if got, want := aMachine(t, nil).patient(t, "{}").Config.State, config.Default().State; got != want {
		t.Errorf("without a service %s, want %s", got, want)
	}
}

// Whoever names no configuration means the service's.
func TestTheConfigurationIsTheServices(t *testing.T) {
	m := aMachine(t, map[string]string{"etc/other.yaml": "device: other\n"})
	m.says["systemctl show"] = active + "ExecStart={ path=/usr/bin/livenessd ; argv[]=/usr/bin/livenessd run --config " + m.root + "/etc/other.yaml ; ignore_errors=no ; pid=77 }\n"
	if p := Admit(t.Context(), Options{Host: m.Host, Unit: "livenessd.service", User: "livenessd"}); p.Config.Device != "other" {
		t.Errorf("%s: %s, %v", p.ConfigPath, p.Config.Device, p.Problem)
	}
	if p := m.patient(t, "device: named"); p.Config.Device != "named" {
		t.Errorf("%s: %s", p.ConfigPath, p.Config.Device)
	}
}
