package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
)

func aFrame() *frame.Frame {
	return &frame.Frame{Image: frame.Grey(bytes.Repeat([]byte{99}, 32*24), 32, 24, 32)}
}

// record makes clips as a session does.
func record(t *testing.T, folder string, species ...string) (names []string) {
	t.Helper()
	r, err := openRecorder(folder, func() time.Time { return time.Unix(1_800_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range species {
		c, err := r.begin(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.add(aFrame()), c.add(aFrame()), c.end(true)); err != nil {
			t.Fatal(err)
		}
		names = append(names, c.name)
	}
	if err := r.close(false); err != nil {
		t.Fatal(err)
	}
	return names
}

// files lists everything below a folder but the folders.
func files(t *testing.T, folder string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, strings.TrimPrefix(p, folder+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestForgetDeletesOnlyItsOwn(t *testing.T) {
	folder := tree(t, map[string]string{"live/mine.jpg": "x", "spoof/print/mine.mjpeg": "y", "notes.txt": "z", "live/calibrate-20270115T080000-009.mjpeg": "not listed"})
	before := files(t, folder)
	first := record(t, folder, "", "print", "mask")
	second := record(t, folder, "", "") // another day
	all := files(t, folder)
	for _, name := range slices.Concat(first, second) {
		if !slices.Contains(all, name) {
			t.Fatalf("no %s in %q", name, all)
		}
		if st, err := os.Stat(filepath.Join(folder, name)); err != nil || st.Mode() != 0o600 {
			t.Errorf("%v, %v", st, err)
		}
		if n := len(camera.SplitMJPEG([]byte(text(t, filepath.Join(folder, name))))); n != 2 {
			t.Errorf("%s has %d pictures", name, n)
		}
	}
	if st, err := os.Stat(filepath.Join(folder, "spoof", "mask")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	r := call(t, "calibrate", "--forget", folder)
	if got := files(t, folder); r.code != ExitOK || !slices.Equal(got, before) || !strings.Contains(r.out, "5 recorded clip") {
		t.Errorf("exit code %d, %s%s: %q", r.code, r.out, r.errors, got)
	}
	if _, err := os.Stat(filepath.Join(folder, "spoof", "mask")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}
	if r := call(t, "calibrate", "--forget", folder); r.code != ExitOther || !strings.Contains(r.errors, "recorded nothing there") || !strings.Contains(r.errors, "→") {
		t.Errorf("a second time: exit code %d: %s", r.code, r.errors)
	}
}

func TestForgetTakesAFolderThatItMadeAway(t *testing.T) {
	for _, other := range []string{"", "live/theirs.jpg"} {
		folder := filepath.Join(t.TempDir(), "rec")
		record(t, folder, "", "print")
		if other != "" {
			if err := os.WriteFile(filepath.Join(folder, other), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := call(t, "calibrate", "--forget", folder)
		_, err := os.Lstat(folder)
		if r.code != ExitOK || errors.Is(err, fs.ErrNotExist) != (other == "") || strings.Contains(r.out, "left alone") != (other != "") {
			t.Errorf("%q: exit code %d, %v: %s%s", other, r.code, err, r.out, r.errors)
		}
		if other != "" && !slices.Equal(files(t, folder), []string{other}) {
			t.Errorf("left are %q", files(t, folder))
		}
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	elsewhere := tree(t, map[string]string{"live/a.txt": "theirs"})
	link := func(t *testing.T, to, name string) string {
		t.Helper()
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Run("as the folder", func(t *testing.T) {
		l := link(t, elsewhere, filepath.Join(t.TempDir(), "rec"))
		if _, err := openRecorder(l, time.Now); err == nil {
			t.Error("recorded through it")
		}
		if r := call(t, "calibrate", "--forget", l); r.code != ExitOther {
			t.Errorf("exit code %d: %s", r.code, r.out)
		}
	})
	t.Run("as a folder in it", func(t *testing.T) {
		folder := t.TempDir()
		link(t, filepath.Join(elsewhere, "live"), filepath.Join(folder, "live"))
		r, err := openRecorder(folder, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close(true)
		if _, err := r.begin(""); err == nil {
			t.Error("recorded through it")
		}
	})
	t.Run("put there later", func(t *testing.T) {
		folder := t.TempDir()
		name := record(t, folder, "")[0]
		theirs := filepath.Join(elsewhere, name)
		if err := errors.Join(os.Rename(filepath.Join(folder, "live"), filepath.Join(folder, "was")),
			os.WriteFile(theirs, []byte("theirs"), 0o600)); err != nil {
			t.Fatal(err)
		}
		link(t, filepath.Join(elsewhere, "live"), filepath.Join(folder, "live"))
		r := call(t, "calibrate", "--forget", folder)
		if r.code != ExitOther || text(t, theirs) != "theirs" {
			t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
		}
		if _, err := os.Lstat(filepath.Join(folder, markerName)); err != nil {
			t.Errorf("the list is gone: %v", err)
		}
	})
	t.Run("as the list", func(t *testing.T) {
		folder := t.TempDir()
		link(t, filepath.Join(elsewhere, "live", "a.txt"), filepath.Join(folder, markerName))
		if r := call(t, "calibrate", "--forget", folder); r.code != ExitOther {
			t.Errorf("exit code %d: %s", r.code, r.out)
		}
		if _, err := openRecorder(folder, time.Now); err == nil {
			t.Error("recorded with it")
		}
	})
}

func TestAListThatNamesOthersIsRefused(t *testing.T) {
	const clip = "live/calibrate-20270115T080000-001.mjpeg"
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"its own":          {`{"schema":1,"folder_made":false,"folders":["live","spoof/print"],"files":["` + clip + `"]}`, true},
		"nothing":          {`{"schema":1}`, true},
		"another's file":   {`{"schema":1,"files":["live/mine.jpg"]}`, false},
		"outside":          {`{"schema":1,"files":["../` + clip + `"]}`, false},
		"absolute":         {`{"schema":1,"files":["/etc/passwd"]}`, false},
		"on the way out":   {`{"schema":1,"files":["spoof/../` + clip + `"]}`, false},
		"the folder":       {`{"schema":1,"folders":["."]}`, false},
		"the folder above": {`{"schema":1,"folders":[".."]}`, false},
		"a later schema":   {`{"schema":2}`, false},
		"an unknown key":   {`{"schema":1,"x":1}`, false},
		"two lists":        {`{"schema":1} {"schema":1}`, false},
		"no list":          {``, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseMarker([]byte(tt.text)); (err == nil) != tt.ok {
				t.Errorf("%v", err)
			}
		})
	}
	folder := tree(t, map[string]string{"live/mine.jpg": "x", markerName: `{"schema":1,"files":["live/mine.jpg"]}`})
	if r := call(t, "calibrate", "--forget", folder); r.code != ExitOther || text(t, filepath.Join(folder, "live/mine.jpg")) != "x" {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
}

func FuzzListsNameNothingOutside(f *testing.F) {
	f.Add([]byte(`{"schema":1,"folder_made":true,"folders":["live"],"files":["live/calibrate-20270115T080000-001.mjpeg"]}`))
	f.Add([]byte(`{"schema":1,"files":["../../x"]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMarker(data)
		if err != nil {
			return
		}
		for _, name := range m.Files {
			if !filepath.IsLocal(name) || filepath.Clean(name) != name || !strings.HasPrefix(filepath.Base(name), "calibrate-") {
				t.Errorf("%q", name)
			}
		}
		for _, name := range m.Folders {
			if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." {
				t.Errorf("%q", name)
			}
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseMarker(again); err != nil {
			t.Errorf("what it took it doesn't take again: %v", err)
		}
	})
}

func TestFramesOfEveryKindAreKeptAsTheyLook(t *testing.T) {
	yuyv := bytes.Repeat([]byte{180, 110, 180, 150}, 32*24/2)
	nv12 := append(bytes.Repeat([]byte{180}, 32*24), bytes.Repeat([]byte{110, 150}, 32*24/4)...)
	full := image.NewYCbCr(image.Rect(0, 0, 33, 25), image.YCbCrSubsampleRatio420)
	for i := range full.Y {
		full.Y[i] = 200
	}
	for i := range full.Cb {
		full.Cb[i], full.Cr[i] = 100, 140
	}
	for name, m := range map[string]frame.Image{
		"YUYV": frame.YUYV(yuyv, 32, 24, 64), "NV12": frame.NV12(nv12, 32, 24, 32), "decoded JPEG": frame.FromImage(full), "grey": aFrame().Image,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := openRecorder(t.TempDir(), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer r.close(false)
			c, err := r.begin("")
			if err == nil {
				err = errors.Join(c.add(&frame.Frame{Image: m}), c.end(true))
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := camera.DecodeStill([]byte(text(t, filepath.Join(r.store.folder, c.name))))
			if err != nil || got.Width != m.Width || got.Height != m.Height {
				t.Fatalf("%d×%d, %v", got.Width, got.Height, err)
			}
			r1, g1, b1 := m.RGB(7, 9)
			r2, g2, b2 := got.RGB(7, 9)
			for _, d := range []int{int(r1) - int(r2), int(g1) - int(g2), int(b1) - int(b2)} {
				if d < -4 || d > 4 {
					t.Errorf("%d,%d,%d became %d,%d,%d", r1, g1, b1, r2, g2, b2)
					break
				}
			}
		})
	}
}

func TestTheCamerasOwnJPEGIsKeptByteForByte(t *testing.T) {
	r, err := openRecorder(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(false)
	c, err := r.begin("")
	if err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	if err := jpeg.Encode(&sent, image.NewGray(image.Rect(0, 0, 32, 24)), &jpeg.Options{Quality: 40}); err != nil {
		t.Fatal(err)
	}
	f := aFrame()
	f.JPEG = append(bytes.Clone(sent.Bytes()), 0, 0, 0) // drivers pad
	if err := errors.Join(c.add(f), c.add(f), c.end(true)); err != nil {
		t.Fatal(err)
	}
	if got := text(t, filepath.Join(r.store.folder, c.name)); got != strings.Repeat(sent.String(), 2) {
		t.Errorf("%d bytes were kept of twice %d", len(got), sent.Len())
	}
}

func TestAClipThatHoldsNothingIsNotKept(t *testing.T) {
	folder := t.TempDir()
	r, err := openRecorder(folder, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.begin("")
	if err == nil {
		err = errors.Join(c.end(true), r.close(false))
	}
	if got := files(t, folder); err != nil || !slices.Equal(got, []string{markerName}) {
		t.Errorf("%q, %v", got, err)
	}
	if err := c.add(&frame.Frame{}); err == nil || daemon.Hint(err) != "" {
		t.Errorf("an empty frame was kept: %v", err)
	}
}
