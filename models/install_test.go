package models

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entry is an entry of a tar.
type entry struct {
	name string
	data string
	kind byte // 0: a file
}

func archive(t testing.TB, zipped bool, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	var out io.Writer = &b
	z := gzip.NewWriter(&b)
	if zipped {
		out = z
	}
	w := tar.NewWriter(out)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o4777, Size: int64(len(e.data))}
		if e.kind != 0 {
			h.Typeflag, h.Size, h.Linkname, h.Mode = e.kind, 0, "/etc/passwd", 0o777
		}
		if e.kind == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: e.kind, PAXRecords: map[string]string{"comment": "x"}}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, e.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if zipped {
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestArchivesOfABundle(t *testing.T) {
	many := []entry{{"m/manifest.yaml", "x", 0}}
	for i := range maxFiles {
		many = append(many, entry{fmt.Sprintf("m/f%d", i), "", 0})
	}
	var folders []entry
	for range 5 * maxFiles {
		folders = append(folders, entry{"m/", "", tar.TypeDir})
	}
	for _, tt := range []struct {
		name    string
		entries []entry
		want    string // names, or a part of the error behind !
	}{
		{"a folder", []entry{{"m/", "", tar.TypeDir}, {"m/manifest.yaml", "x", 0}, {"m/net.tflite", "y", 0}}, "manifest.yaml net.tflite"},
		{"a folder, below a dot", []entry{{"./m/", "", tar.TypeDir}, {"./m/manifest.yaml", "x", 0}}, "manifest.yaml"},
		{"no folder", []entry{{"manifest.yaml", "x", 0}, {"./LICENSE", "y", 0}}, "manifest.yaml LICENSE"},
		{"with a commit", []entry{{kind: tar.TypeXGlobalHeader}, {"m/manifest.yaml", "x", 0}}, "manifest.yaml"},
		{"with what file managers leave", []entry{{"._m", "x", 0}, {"m/.DS_Store", "x", 0}, {"m/manifest.yaml", "x", 0}}, "manifest.yaml"},
		{"nothing", nil, "!no manifest.yaml"},
		{"no manifest", []entry{{"m/net.tflite", "x", 0}}, "!no manifest.yaml"},
		{"up", []entry{{"m/manifest.yaml", "x", 0}, {"../evil", "x", 0}}, "!leads out"},
		{"up and down again", []entry{{"m/../../m/manifest.yaml", "x", 0}}, "!leads out"},
		{"up and down inside", []entry{{"m/../m/manifest.yaml", "x", 0}}, "!leads out"},
		{"absolute", []entry{{"/etc/manifest.yaml", "x", 0}}, "!leads out"},
		{"backslashes", []entry{{`m\manifest.yaml`, "x", 0}}, "!leads out"},
		{"a symbolic link", []entry{{"m/manifest.yaml", "", tar.TypeSymlink}}, "!no plain file"},
		{"a hard link", []entry{{"m/net.tflite", "", tar.TypeLink}}, "!no plain file"},
		{"a hidden link", []entry{{"m/.x", "", tar.TypeSymlink}}, "!no plain file"},
		{"a device", []entry{{"m/net.tflite", "", tar.TypeChar}}, "!no plain file"},
		{"a pipe", []entry{{"m/net.tflite", "", tar.TypeFifo}}, "!no plain file"},
		{"a folder inside", []entry{{"m/manifest.yaml", "x", 0}, {"m/sub/", "", tar.TypeDir}}, "!no folders"},
		{"a file in a folder inside", []entry{{"m/sub/manifest.yaml", "x", 0}}, "!no folders"},
		{"two folders", []entry{{"m/manifest.yaml", "x", 0}, {"n/net.tflite", "x", 0}}, "!more than one folder"},
		{"a file twice", []entry{{"m/manifest.yaml", "x", 0}, {"m/manifest.yaml", "y", 0}}, "!twice"},
		{"a strange name", []entry{{"m/manifest.yaml", "x", 0}, {"m/a b", "x", 0}}, `!name "a b"`},
		{"too many files", many, "!more than 32 files"},
		{"too many entries", folders, "!more than 128 entries"},
	} {
		for _, zipped := range []bool{false, true} {
			files, err := readArchive(bytes.NewReader(archive(t, zipped, tt.entries...)))
			if says, bad := strings.CutPrefix(tt.want, "!"); bad {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("%s (zipped %v): got %v, which doesn't say %q", tt.name, zipped, err, says)
				}
				continue
			}
			var names []string
			for _, f := range files {
				names = append(names, f.name)
			}
			if got := strings.Join(names, " "); err != nil || got != tt.want {
				t.Errorf("%s (zipped %v): %s, %v; want %s", tt.name, zipped, got, err, tt.want)
			}
		}
	}
}

func TestArchivesAreBounded(t *testing.T) {
	// A bomb: a thousand times larger than what is read of it.
	header := func(size int64) []byte {
		var b bytes.Buffer
		if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "m/net.tflite", Typeflag: tar.TypeReg, Size: size}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for i := range maxArchive>>20 + 2 {
		if i == 0 {
			if _, err := z.Write(header(10 << 30)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if bomb.Len() > 1<<20 {
		t.Fatalf("the bomb has %d bytes", bomb.Len())
	}
	if _, err := readArchive(&bomb); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a bomb: %v", err)
	}
	good := archive(t, true, entry{"m/manifest.yaml", strings.Repeat("x", 1000), 0})
	for _, n := range []int{0, 1, 2, 10, len(good) / 2, len(good) - 1} {
		if files, err := readArchive(bytes.NewReader(good[:n])); err == nil {
			t.Errorf("%d of %d bytes give %d files", n, len(good), len(files))
		}
	}
}

// FuzzReadArchive: what is unpacked has plain names, one manifest, and a bounded size.
func FuzzReadArchive(f *testing.F) {
	f.Add(archive(f, false, entry{"m/", "", tar.TypeDir}, entry{"m/manifest.yaml", "x", 0}, entry{"m/net.tflite", "y", 0}))
	f.Add(archive(f, true, entry{"./manifest.yaml", "x", 0}))
	f.Add(archive(f, false, entry{"../manifest.yaml", "x", 0}, entry{"m/x", "", tar.TypeSymlink}))
	f.Add(archive(f, false, entry{kind: tar.TypeXGlobalHeader}, entry{strings.Repeat("long/", 60) + "x", "x", 0}))
	f.Add([]byte{0x1f, 0x8b})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := readArchive(bytes.NewReader(data))
		if err != nil {
			return
		}
		manifest, size := 0, 0
		for _, f := range files {
			if !plainName.MatchString(f.name) {
				t.Errorf("name %q", f.name)
			}
			if f.name == ManifestFile {
				manifest++
			}
			size += len(f.data)
		}
		if manifest != 1 || len(files) > maxFiles || size > maxBundle {
			t.Errorf("%d manifests, %d files, %d bytes", manifest, len(files), size)
		}
	})
}

// passes is a probe that everything passes.
func passes(context.Context, string) error { return nil }

func read1(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// onlyIn checks that a folder holds these names and nothing that an installation left behind.
func onlyIn(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("in %s: %v, want %v", folder, got, names)
	}
}

func TestInstalling(t *testing.T) {
	source := bundleIn(t, t.TempDir())
	file(t, filepath.Join(source, "LICENSE"), []byte("do what you like"))
	file(t, filepath.Join(source, ".git"), []byte("x"))
	directory := filepath.Join(t.TempDir(), "state", "models")
	place := filepath.Join(directory, "some-net")
	probed := 0
	o := InstallOptions{Source: source, Directory: directory, Probe: func(_ context.Context, folder string) error {
		probed++
		_, err := LoadFolder(folder) // all is there, and nothing is in its place yet
		if _, gone := os.Stat(place); gone == nil {
			return errors.New("it is installed before it was tried")
		}
		return err
	}}
	i, err := Install(t.Context(), o)
	if err != nil || i.Unchanged || i.Folder != place || i.Model.Name != "some-net" || probed != 1 {
		t.Fatalf("%+v, %v, probed %d times", i, err, probed)
	}
	onlyIn(t, directory, "some-net")
	onlyIn(t, place, "LICENSE", ManifestFile, "net.tflite")
	for _, p := range []string{place, filepath.Join(place, "net.tflite")} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s can't be read by others: %v, %v", p, st.Mode(), err)
		}
	}
	if i, err = Install(t.Context(), o); err != nil || !i.Unchanged {
		t.Errorf("again: %+v, %v", i, err)
	}

	// The same from an archive.
	var entries []entry
	for _, name := range []string{ManifestFile, "net.tflite", "LICENSE"} {
		entries = append(entries, entry{"any-folder/" + name, read1(t, filepath.Join(source, name)), 0})
	}
	o.Source = file(t, filepath.Join(t.TempDir(), "bundle"), archive(t, true, entries...))
	if i, err = Install(t.Context(), o); err != nil || !i.Unchanged {
		t.Errorf("from an archive: %+v, %v", i, err)
	}

	// A newer one of the same name.
	newer := strings.Replace(read1(t, filepath.Join(source, ManifestFile)), "version: 1.2.3", "version: 1.2.4", 1)
	file(t, filepath.Join(source, ManifestFile), []byte(newer))
	o.Source, o.Probe = source, passes
	if _, err := Install(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("another one of that name: %v", err)
	}
	o.Force = true
	if i, err = Install(t.Context(), o); err != nil || i.Unchanged || i.Model.Version != "1.2.4" {
		t.Errorf("by force: %+v, %v", i, err)
	}
	if m, err := LoadFolder(place); err != nil || m.Version != "1.2.4" {
		t.Errorf("in its place: %+v, %v", m, err)
	}
	onlyIn(t, directory, "some-net")

	// A damaged one in its place is mended, by force.
	file(t, filepath.Join(place, "net.tflite"), []byte("damaged"))
	if i, err = Install(t.Context(), o); err != nil || i.Unchanged {
		t.Errorf("over a damaged one: %+v, %v", i, err)
	}
	if _, err := LoadFolder(place); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotInstalled(t *testing.T) {
	alter := func(from, to string) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			path := filepath.Join(folder, ManifestFile)
			file(t, path, []byte(strings.Replace(read1(t, path), from, to, 1)))
		}
	}
	broken := errors.New("it crashed")
	for _, tt := range []struct {
		name   string
		change func(*testing.T, string)
		probe  func(context.Context, string) error
		trust  bool
		says   string
	}{
		{"a damaged one", func(t *testing.T, f string) { file(t, filepath.Join(f, "net.tflite"), []byte("x")) }, passes, false, "MODEL_REFUSED"},
		{"one whose manifest makes no sense", alter("live: 1", "live: 7"), passes, false, "class 7 of 3"},
		{"one without a manifest", func(t *testing.T, f string) { _ = os.Remove(filepath.Join(f, ManifestFile)) }, passes, false, "no manifest.yaml"},
		{"one with a folder inside", func(t *testing.T, f string) { file(t, filepath.Join(f, "sub", "x"), nil) }, passes, false, "no plain file"},
		{"one with a link inside", func(t *testing.T, f string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(f, "link")); err != nil {
				t.Fatal(err)
			}
		}, passes, false, "no plain file"},
		{"one that takes the shipped model's name", alter("name: some-net", "name: shipped"), passes, false, `name "shipped"`},
		{"an unsigned one", func(*testing.T, string) {}, passes, true, "MODEL_REFUSED"},
		{"one that fails its probe", func(*testing.T, string) {}, func(_ context.Context, folder string) error { return fmt.Errorf("%s: %w", folder, broken) }, false, "it crashed"},
		{"nothing", func(t *testing.T, f string) { _ = os.RemoveAll(f) }, passes, false, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source, directory := bundleIn(t, filepath.Join(t.TempDir(), "b")), t.TempDir()
			tt.change(t, source)
			o := InstallOptions{Source: source, Directory: directory, Probe: tt.probe}
			if tt.trust {
				var err error
				if o.Trust, err = NewTrust([]string{base64.StdEncoding.EncodeToString(publicOf(signer(1)))}); err != nil {
					t.Fatal(err)
				}
			}
			i, err := Install(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%+v, %v; want an error that says %q", i, err, tt.says)
			}
			if err != nil && (strings.Contains(err.Error(), ".installing") || !strings.Contains(err.Error(), source)) {
				t.Errorf("the error doesn't speak of %s: %v", source, err)
			}
			onlyIn(t, directory)
		})
	}
	t.Run("when it is called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		directory := t.TempDir()
		_, err := Install(ctx, InstallOptions{Source: bundleIn(t, t.TempDir()), Directory: directory, Probe: func(context.Context, string) error {
			cancel()
			return nil
		}})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		onlyIn(t, directory)
	})
}
