package command

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
)

func configOf(cameras ...string) config.Config {
	c := config.Config{Cameras: map[string]config.Camera{}}
	for _, name := range cameras {
		c.Cameras[name] = config.DefaultCamera()
	}
	return c
}

// edits are files and what becomes of them with live_at 0.75 and spoof_at 0.25.
var edits = []struct{ name, before, after string }{
	{"an empty file", "", "decision:\n  live_at: 0.75\n  spoof_at: 0.25\n"},
	{"comments alone", "# ours", "# ours\n\ndecision:\n  live_at: 0.75\n  spoof_at: 0.25\n"},
	{"no section", "device: door\n", "device: door\n\ndecision:\n  live_at: 0.75\n  spoof_at: 0.25\n"},
	{"no end of the last line", "device: door", "device: door\n\ndecision:\n  live_at: 0.75\n  spoof_at: 0.25\n"},
	{"a section without content", "decision:\ndevice: door\n", "decision:\n  live_at: 0.75\n  spoof_at: 0.25\ndevice: door\n"},
	{"a null section", "decision: null # later\n", "decision: # later\n  live_at: 0.75\n  spoof_at: 0.25\n"},
	{"other keys", "decision: # ours\n    window: 1s\ndevice: door\n",
		"decision: # ours\n    live_at: 0.75\n    spoof_at: 0.25\n    window: 1s\ndevice: door\n"},
	{"both keys", "# a\ndecision:\n  # b\n  live_at: 0.9   # c\n  window: 1s\n\n  spoof_at: null # d\n# e\ndevice: door # f\n",
		"# a\ndecision:\n  # b\n  live_at: 0.75   # c\n  window: 1s\n\n  spoof_at: 0.25 # d\n# e\ndevice: door # f\n"},
	{"one key", "decision:\n  spoof_at: 0.1\n", "decision:\n  live_at: 0.75\n  spoof_at: 0.25\n"},
	{"keys without a value", "decision:\n  live_at:\n  spoof_at: # none\n", "decision:\n  live_at: 0.75\n  spoof_at: 0.25 # none\n"},
	{"quoted keys", "\"decision\":\n  'live_at': 0.9\n  \"spoof_at\": 0.1\n", "\"decision\":\n  'live_at': 0.75\n  \"spoof_at\": 0.25\n"},
	{"lines of Windows", "device: door\r\ndecision:\r\n  live_at: 0.9 # x\r\n", "device: door\r\ndecision:\r\n  spoof_at: 0.25\r\n  live_at: 0.75 # x\r\n"},
	{"a byte order mark", "\ufeffdecision:\n  live_at: 0.9\n  spoof_at: 0.1\n", "\ufeffdecision:\n  live_at: 0.75\n  spoof_at: 0.25\n"},
	{"in braces", "decision: {live_at: 0.9, window: 1s, spoof_at: 0.1} # x\n", "decision: {live_at: 0.75, window: 1s, spoof_at: 0.25} # x\n"},
	{"in braces, one key", "decision: { spoof_at: 0.1 }\n", "decision: {live_at: 0.75, spoof_at: 0.25 }\n"},
	{"in braces, nothing", "decision: {}\n", "decision: {live_at: 0.75, spoof_at: 0.25}\n"},
	{"a marked document", "---\ndevice: door\n", "---\ndevice: door\n\ndecision:\n  live_at: 0.75\n  spoof_at: 0.25\n"},
}

func TestOnlyTheThresholdsOfAFileChange(t *testing.T) {
	for _, tt := range edits {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "livenessd.yaml", tt.before)
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			want, err := config.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time there is nothing left to do
				e, err := planEdit(path, "0.75", "0.25")
				if err != nil {
					t.Fatal(err)
				}
				if err := e.commit(0.75, 0.25); err != nil {
					t.Fatal(err)
				}
				if got := text(t, path); got != tt.after {
					t.Fatalf("got\n%q, want\n%q", got, tt.after)
				}
			}
			want.Decision.LiveAt, want.Decision.SpoofAt = 0.75, 0.25
			if got, err := config.Load(path); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v", got, err)
			}
			if st, err := os.Stat(path); err != nil || st.Mode() != 0o640 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			onlyFile(t, path)
		})
	}
}

// onlyFile tells that nothing was left beside a file.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestAFileThatCannotBeEditedIsLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name, before string
		mode         fs.FileMode
		err          string
		code         int
	}{
		{"read-only", "device: door\n", 0o444, "read-only", ExitPermission},
		{"braces over several lines", "decision: {\n  live_at: 0.9 }\n", 0o600, "can't be edited", ExitOther},
		{"after the end of the document", "device: door\n...\n", 0o600, "write ", ExitOther},
		{"a mapping that is indented", "  device: door\n", 0o600, "write ", ExitConfig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "livenessd.yaml", tt.before)
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			e, err := planEdit(path, "0.75", "0.25")
			if err == nil {
				err = e.commit(0.75, 0.25)
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), path) {
				t.Fatalf("%v", err)
			}
			if got := exitCode(err); tt.code == ExitPermission && got != tt.code {
				t.Errorf("exit code %d", got)
			}
			if tt.mode == 0o444 && daemon.Hint(err) == "" {
				t.Error("no hint")
			}
			if got := text(t, path); got != tt.before {
				t.Errorf("became %q", got)
			}
			onlyFile(t, path)
		})
	}
}

func TestAFileThatIsNotThereIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "livenessd.yaml")
	e, err := planEdit(path, "0.75", "0.25")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.commit(0.75, 0.25); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil || c.Decision.LiveAt != 0.75 || c.Decision.SpoofAt != 0.25 {
		t.Errorf("%+v, %v", c.Decision, err)
	}
	onlyFile(t, path)
	// One that appears between the question and the answer is somebody else's.
	if err := e.commit(0.5, 0.25); err == nil {
		t.Error("it was replaced")
	}
	onlyFile(t, path)
	e, err = planEdit(filepath.Join(t.TempDir(), "no", "such", "folder.yaml"), "0.75", "0.25")
	if err == nil {
		err = e.commit(0.75, 0.25)
	}
	if err == nil || !strings.Contains(daemon.Hint(err), "make the folder") {
		t.Errorf("%v", err)
	}
}

func TestAFileThatChangesMeanwhileIsLeftAlone(t *testing.T) {
	path := write(t, "livenessd.yaml", "device: door\n")
	e, err := planEdit(path, "0.75", "0.25")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("device: gate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.commit(0.75, 0.25); err == nil || !strings.Contains(err.Error(), "meanwhile") || text(t, path) != "device: gate\n" {
		t.Errorf("%v, %q", err, text(t, path))
	}
}

func TestALinkToTheFileStaysOne(t *testing.T) {
	path := write(t, "livenessd.yaml", "")
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	e, err := planEdit(link, "0.75", "0.25")
	if err == nil {
		err = e.commit(0.75, 0.25)
	}
	st, lerr := os.Lstat(link)
	if err != nil || lerr != nil || st.Mode()&fs.ModeSymlink == 0 || !strings.Contains(text(t, path), "live_at: 0.75") {
		t.Errorf("%v, %v, %v", err, lerr, st)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := planEdit(link, "0.75", "0.25"); err == nil {
		t.Error("a link that leads nowhere was replaced")
	}
}

func TestTheDifferenceIsWhatChanges(t *testing.T) {
	got := difference([]byte("a: 1\ndecision:\n  live_at: 0.9\nb: 2\n"), []byte("a: 1\ndecision:\n  live_at: 0.7\n  spoof_at: 0.2\nb: 2\n"))
	if want := "  -   live_at: 0.9\n  +   live_at: 0.7\n  +   spoof_at: 0.2\n"; got != want {
		t.Errorf("%q", got)
	}
}

func FuzzEditsMeanWhatTheyShall(f *testing.F) {
	for _, tt := range edits {
		f.Add([]byte(tt.before))
	}
	f.Add([]byte("decision: {\n"))
	f.Add([]byte("decision: &a {live_at: .5}\n"))
	f.Add([]byte("device: |\n  x\ndecision :\n - live_at: 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "livenessd.yaml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		want, err := config.Load(path)
		if err != nil {
			return
		}
		e, err := planEdit(path, "0.75", "0.25")
		if err == nil {
			err = e.commit(0.75, 0.25)
		}
		if err != nil {
			if got := text(t, path); got != string(data) {
				t.Fatalf("%v, and yet %q became %q", err, data, got)
			}
			return
		}
		want.Decision.LiveAt, want.Decision.SpoofAt = 0.75, 0.25
		if got, err := config.Load(path); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q: %v", data, e.after, err)
		}
	})
}
