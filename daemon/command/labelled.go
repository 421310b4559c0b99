package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// labelled is a folder of presentations of which it is known what they are: bona fide ones anywhere in its folder live, attacks
// anywhere in the folder spoof/SPECIES. Attacks directly in the folder spoof are of the species "spoof".
type labelled struct {
	path    string
	files   []presented
	ignored int // files that are neither pictures nor clips
}

// presented is one presentation: a picture or a clip.
type presented struct{ path, species string } // no species: bona fide

// hinted is an error with what a user should do.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }
func (h *hinted) Hint() string  { return h.hint }

const layout = "pictures and clips (.jpg, .jpeg, .png, .mjpeg, .mjpg) lie in DIR/live/ and in DIR/spoof/SPECIES/"

// openLabelled lists a folder, in an order that depends on names alone. Names that begin with a dot are nobody's business, and
// links to folders below live and spoof/SPECIES aren't followed.
func openLabelled(path string) (*labelled, error) {
	l := &labelled{path: path}
	fault := func(err error) error { return &hinted{fmt.Errorf("read pictures: %w", err), layout} }
	st, err := os.Stat(path)
	if err != nil {
		return nil, fault(err)
	}
	if !st.IsDir() {
		return nil, fault(fmt.Errorf("%s is a file, not a folder", path))
	}
	live, spoof := filepath.Join(path, "live"), filepath.Join(path, "spoof")
	for _, p := range []string{live, spoof} {
		st, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fault(fmt.Errorf("%s has no folder %q", path, filepath.Base(p)))
		case err != nil:
			return nil, fault(err)
		case !st.IsDir():
			return nil, fault(fmt.Errorf("%s is a file, not a folder", p))
		}
	}
	if err := l.walk(live, ""); err != nil {
		return nil, fault(err)
	}
	people := len(l.files)
	entries, err := os.ReadDir(spoof)
	if err != nil {
		return nil, fault(err)
	}
	for _, e := range entries {
		p := filepath.Join(spoof, e.Name())
		species := "spoof"
		if st, err := os.Stat(p); err == nil && st.IsDir() {
			species = e.Name()
		}
		if err := l.walk(p, species); err != nil {
			return nil, fault(err)
		}
	}
	switch {
	case people == 0:
		return nil, fault(fmt.Errorf("%s: no picture and no clip", live))
	case len(l.files) == people:
		return nil, fault(fmt.Errorf("%s: no picture and no clip", spoof))
	}
	return l, nil
}

// walk adds what is at a path, a file or a folder.
func (l *labelled) walk(path, species string) error {
	if strings.HasPrefix(filepath.Base(path), ".") {
		return nil
	}
	root, err := filepath.EvalSymlinks(path)
	if err != nil {
		root = path // a link that leads nowhere is a file that can't be read
	}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := p != root && strings.HasPrefix(d.Name(), ".")
		switch {
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden:
		default:
			// The name that the user knows, and not what a link leads to.
			rest, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			name := filepath.Join(path, rest)
			if !isPicture(name) && !isClip(name) {
				l.ignored++
				return nil
			}
			l.files = append(l.files, presented{name, species})
		}
		return nil
	})
}

// isPicture goes by the name, so that notes and labels beside the pictures are no broken pictures.
func isPicture(path string) bool {
	return slices.Contains([]string{".jpg", ".jpeg", ".png"}, strings.ToLower(filepath.Ext(path)))
}

// openAll lists folders, each once.
func openAll(paths []string) ([]*labelled, error) {
	var all []*labelled
	var seen []fs.FileInfo
	for _, p := range paths {
		l, err := openLabelled(p)
		if err != nil {
			return nil, err
		}
		st, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read pictures: %w", err)
		}
		if i := slices.IndexFunc(seen, func(o fs.FileInfo) bool { return os.SameFile(o, st) }); i >= 0 {
			return nil, fail(ExitUsage, fmt.Errorf("evaluate: %s and %s are the same folder, and would be tested on itself", paths[i], p))
		}
		seen = append(seen, st)
		all = append(all, l)
	}
	return all, nil
}

// labels are short names of folders, as long as they tell them apart.
func labels(all []*labelled) []string {
	count := map[string]int{}
	var names []string
	for _, l := range all {
		name := filepath.Base(l.path)
		if full, err := filepath.Abs(l.path); err == nil {
			name = filepath.Base(full)
		}
		names = append(names, name)
		count[name]++
	}
	for i, l := range all {
		if count[names[i]] > 1 {
			names[i] = l.path
		}
	}
	return names
}
