package models

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ShippedName is how configurations call the model inside the program: no other can have that name.
const ShippedName = "shipped"

// Bounds of a bundle: of its files, and of an archive that holds it, in bytes after decompression.
const (
	maxFiles   = 32
	maxBundle  = MaxFile + 4<<20
	maxArchive = maxBundle + 1<<20
)

// InstallOptions is what is installed, and where.
type InstallOptions struct {
	Source    string // a bundle's folder, or a tar of one, plain or gzipped
	Directory string // of the installed models; it is made if it isn't there
	Trust     *Trust
	Force     bool // replaces an installed model of that name
	// Probe tries the model in a folder; see Prober. The bundle is installed only if it gives no error.
	Probe func(ctx context.Context, folder string) error
}

// Installed is an installed model.
type Installed struct {
	Model     *Model
	Folder    string
	Unchanged bool // it was there already
}

// Install copies a bundle into a folder of its own, under the name in its manifest, after it was found whole, signed where
// that is asked for, and to run. The folder appears complete or not at all. Where another is replaced, there is a moment in
// which neither is in its place; a daemon that runs has read its models and doesn't notice.
func Install(ctx context.Context, o InstallOptions) (_ Installed, err error) {
	files, err := readSource(o.Source)
	if err != nil {
		return Installed{}, fmt.Errorf("models: read bundle %s: %w", o.Source, err)
	}
	if err := os.MkdirAll(o.Directory, 0o755); err != nil {
		return Installed{}, fmt.Errorf("models: install: %w", err)
	}
	staging, err := os.MkdirTemp(o.Directory, ".installing-*")
	if err != nil {
		return Installed{}, fmt.Errorf("models: install: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := writeFiles(staging, files); err != nil {
		return Installed{}, fmt.Errorf("models: install: %w", err)
	}
	m, err := load(os.DirFS(staging), ".", staging, o.Trust)
	if err != nil {
		return Installed{}, named(err, staging, o.Source)
	}
	if m.Name == ShippedName {
		return Installed{}, fmt.Errorf("models: install %s: the name %q is for the model inside the program", o.Source, m.Name)
	}
	m.From = filepath.Join(o.Directory, m.Name)
	switch old, err := LoadFolder(m.From); {
	case err == nil && bytes.Equal(old.manifest, m.manifest) && sameFiles(m.From, files):
		return Installed{m, m.From, true}, nil
	case errors.Is(err, fs.ErrNotExist) && !exists(m.From):
	case !o.Force:
		return Installed{}, &thereAlready{m.From}
	}
	if err := o.Probe(ctx, staging); err != nil {
		return Installed{}, named(err, staging, o.Source)
	}
	if err := ctx.Err(); err != nil {
		return Installed{}, fmt.Errorf("models: install: %w", err)
	}
	if err := replace(staging, m.From); err != nil {
		return Installed{}, fmt.Errorf("models: install: %w", err)
	}
	return Installed{Model: m, Folder: m.From}, nil
}

// thereAlready is a model of a name that is taken.
type thereAlready struct{ folder string }

func (e *thereAlready) Error() string {
	return fmt.Sprintf("models: install: %s is there already, and isn't the same", e.folder)
}

// Hint is what a technician should do.
func (e *thereAlready) Hint() string { return "replace it with --force" }

// named makes an error speak of the source, not of where it was unpacked.
func named(err error, staging, source string) error {
	var h interface{ Hint() string }
	hint := ""
	if errors.As(err, &h) {
		hint = h.Hint()
	}
	return &relocated{err, strings.ReplaceAll(err.Error(), staging, source), hint}
}

type relocated struct {
	err        error
	text, hint string
}

func (e *relocated) Error() string { return e.text }
func (e *relocated) Unwrap() error { return e.err }
func (e *relocated) Hint() string  { return e.hint }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// sameFiles tells whether a folder holds these files as they are.
func sameFiles(folder string, files []bundleFile) bool {
	for _, f := range files {
		data, err := readRegular(filepath.Join(folder, f.name), maxBundle)
		if err != nil || !bytes.Equal(data, f.data) {
			return false
		}
	}
	return true
}

// replace moves a folder to its place. What was there comes back if that fails.
func replace(staging, folder string) error {
	if !exists(folder) {
		return errors.Join(os.Rename(staging, folder), syncFolder(filepath.Dir(folder)))
	}
	aside, err := os.MkdirTemp(filepath.Dir(folder), ".replaced-*")
	if err != nil {
		return err
	}
	old := filepath.Join(aside, "old")
	if err := os.Rename(folder, old); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	if err := os.Rename(staging, folder); err != nil {
		return errors.Join(err, os.Rename(old, folder), os.Remove(aside))
	}
	return errors.Join(syncFolder(filepath.Dir(folder)), os.RemoveAll(aside))
}

// writeFiles writes a bundle so that it survives a loss of power, and so that others can read it.
func writeFiles(folder string, files []bundleFile) error {
	for _, f := range files {
		w, err := os.OpenFile(filepath.Join(folder, f.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = w.Write(f.data)
		// The process's mask may have taken from the mode: the daemon runs as somebody else.
		if err := errors.Join(err, w.Chmod(0o644), w.Sync(), w.Close()); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(folder, 0o755), syncFolder(folder))
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// bundleFile is a file of a bundle, in memory.
type bundleFile struct {
	name string
	data []byte
}

// readSource reads a bundle's files. Names that begin with a dot are what file managers leave behind, and are passed over.
func readSource(source string) ([]bundleFile, error) {
	st, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return readFolder(source)
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("neither a folder nor a file")
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readArchive(f)
}

func readFolder(folder string) ([]bundleFile, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var b bundle
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("%s is no plain file; a bundle has nothing else", e.Name())
		}
		f, err := os.Open(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(b.add(e.Name(), f), f.Close()); err != nil {
			return nil, err
		}
	}
	return b.files, b.check()
}

// bundle gathers files within bounds.
type bundle struct {
	files []bundleFile
	size  int64
}

func (b *bundle) add(name string, r io.Reader) error {
	if !plainName.MatchString(name) {
		return fmt.Errorf("name %q: letters, digits, '.', '_' and '-', at most 64", name)
	}
	if slices.ContainsFunc(b.files, func(f bundleFile) bool { return f.name == name }) {
		return fmt.Errorf("%s is in it twice", name)
	}
	if len(b.files) == maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxBundle-b.size+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if b.size += int64(len(data)); b.size > maxBundle {
		return fmt.Errorf("more than %d bytes", maxBundle)
	}
	b.files = append(b.files, bundleFile{name, data})
	return nil
}

func (b *bundle) check() error {
	if !slices.ContainsFunc(b.files, func(f bundleFile) bool { return f.name == ManifestFile }) {
		return fmt.Errorf("there is no %s in it", ManifestFile)
	}
	return nil
}

// readArchive reads a tar of one bundle's folder, or of what is in such a folder, gzipped or not. Nothing of it touches a
// disk, entries that are neither files nor that folder are refused, and so is what is larger than a bundle can be.
func readArchive(r io.Reader) ([]bundleFile, error) {
	in := bufio.NewReader(r)
	var plain io.Reader = in
	if magic, _ := in.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		plain = z
	}
	rest := &capped{plain, maxArchive}
	t := tar.NewReader(rest)
	var b bundle
	folder, first := "", true
	for entries := 0; ; entries++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// gzip's checksum stands at its very end, beyond the end of the tar.
			if _, err := io.Copy(io.Discard, rest); err != nil {
				return nil, fmt.Errorf("unpack: %w", err)
			}
			break
		}
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if entries > 4*maxFiles {
			return nil, fmt.Errorf("more than %d entries", 4*maxFiles)
		}
		if h.Typeflag == tar.TypeXGlobalHeader { // git archive writes the commit there
			continue
		}
		in, name, err := entryName(h.Name)
		if err != nil {
			return nil, err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if in != "" {
				return nil, fmt.Errorf("entry %q: a bundle has no folders in it", h.Name)
			}
			continue // name may be the bundle's folder; files that lie elsewhere are found below
		case tar.TypeReg:
		default:
			return nil, fmt.Errorf("entry %q is no plain file; a bundle has nothing else", h.Name)
		}
		if strings.HasPrefix(name, ".") {
			continue
		}
		if !first && in != folder {
			return nil, fmt.Errorf("entry %q: files of more than one folder", h.Name)
		}
		folder, first = in, false
		if err := b.add(name, t); err != nil {
			return nil, err
		}
	}
	return b.files, b.check()
}

// entryName takes an entry's path apart into the folder, "" for none, and the name in it.
func entryName(s string) (folder, name string, err error) {
	clean := path.Clean(s)
	parts := strings.Split(strings.TrimPrefix(s, "./"), "/")
	if s == "" || path.IsAbs(s) || slices.Contains(parts, "..") || strings.ContainsAny(s, "\\\x00") {
		return "", "", fmt.Errorf("entry %q leads out of the bundle", s)
	}
	folder, name = path.Split(clean)
	if folder = strings.TrimSuffix(folder, "/"); strings.Contains(folder, "/") {
		return "", "", fmt.Errorf("entry %q: a bundle has no folders in it", s)
	}
	return folder, name, nil
}

// capped gives an error, not an end, where more than n bytes come.
type capped struct {
	r io.Reader
	n int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.n <= 0 {
		return 0, fmt.Errorf("more than %d bytes", maxArchive)
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.n)])
	c.n -= int64(n)
	return n, err
}
