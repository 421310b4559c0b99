package main

import (
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/livenessd/livenessd/systemd"
)

// Where things lie on the machine.
const (
	binaryPath  = "/usr/bin/livenessd"
	libraryPath = "/usr/lib/livenessd/libtensorflowlite_c.so"
	docPath     = "/usr/share/doc/livenessd"
)

const maintainer = "The livenessd authors <livenessd@users.noreply.github.com>"

//go:embed files
var files embed.FS

// options say what a package is made of.
type options struct {
	arch            string // Debian's name
	binary, library string // files; library "": none
	describe        string // what git calls the commit
	at              time.Time
	root, out       string
}

// item is a file or a folder of the package.
type item struct {
	path   string
	data   []byte
	mode   fs.FileMode
	config bool // an administrator may have changed it: dpkg asks before it is replaced
	folder bool
}

// lay writes the package's files below o.out/files and o.out/nfpm.json, what nfpm makes the package of.
func lay(o options) error {
	version, err := debianVersion(o.describe, o.at)
	if err != nil {
		return err
	}
	items, needs, err := contents(o, version)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(o.out); err != nil {
		return err
	}
	for _, i := range items {
		to := filepath.Join(o.out, "files", i.path)
		if i.folder {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, i.data, i.mode); err != nil {
			return err
		}
	}
	for _, name := range scripts {
		data, err := files.ReadFile("files/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.out, name), data, 0o755); err != nil {
			return err
		}
	}
	recipe, err := json.MarshalIndent(nfpm(o, version, items, needs), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.out, "nfpm.json"), append(recipe, '\n'), 0o644)
}

// contents are the package's files and what it depends on.
func contents(o options, version string) ([]item, []string, error) {
	binary, err := os.ReadFile(o.binary)
	if err != nil {
		return nil, nil, err
	}
	program, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.binary, err)
	}
	if want := machines[o.arch]; program.Machine != want {
		return nil, nil, fmt.Errorf("%s is for %v, not for %s", o.binary, program.Machine, o.arch)
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.binary, err)
	}
	parts, err := modules(info)
	if err != nil {
		return nil, nil, err
	}
	items := []item{{path: binaryPath, data: binary, mode: 0o755}}
	all := []*elf.File{program}
	var library []byte
	if o.library != "" {
		if library, err = os.ReadFile(o.library); err != nil {
			return nil, nil, err
		}
		l, err := elf.NewFile(bytes.NewReader(library))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", o.library, err)
		}
		if l.Machine != program.Machine {
			return nil, nil, fmt.Errorf("%s is for %v, not for %s", o.library, l.Machine, o.arch)
		}
		all = append(all, l)
		items = append(items, item{path: libraryPath, data: library, mode: 0o644})
		inside, err := tensorflow()
		if err != nil {
			return nil, nil, err
		}
		parts = append(parts, inside...)
	}
	needs, err := depends(all...)
	if err != nil {
		return nil, nil, err
	}
	bill, err := billOfMaterials(built{version, o.arch, o.at, binary, library, parts, needs})
	if err != nil {
		return nil, nil, err
	}
	unit, err := systemd.Unit(systemd.UnitOptions{
		Program: binaryPath, Groups: []string{"video", "render", "plugdev"},
		Made: "The unit of Debian's package livenessd. To change something: systemctl edit livenessd",
	})
	if err != nil {
		return nil, nil, err
	}
	for _, f := range []struct{ path, data string }{
		{"/usr/lib/systemd/system/livenessd.service", unit},
		{docPath + "/copyright", copyrightFile(parts)},
		{docPath + "/changelog.gz", gzipped(changelog(version, o.describe, o.at))},
		{docPath + "/livenessd.cdx.json", string(bill)},
	} {
		items = append(items, item{path: f.path, data: []byte(f.data), mode: 0o644})
	}
	for _, f := range []struct {
		file, path string
		config     bool
	}{
		{"livenessd.yaml", "/etc/livenessd/livenessd.yaml", true},
		{"livenessd.rules", "/usr/lib/udev/rules.d/70-livenessd.rules", false},
		{"sysusers.conf", "/usr/lib/sysusers.d/livenessd.conf", false},
		{"overrides", "/usr/share/lintian/overrides/livenessd", false},
	} {
		data, err := files.ReadFile("files/" + f.file)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, item{path: f.path, data: data, mode: 0o644, config: f.config})
	}
	// The unit loads every file in it as a credential; only root and systemd may look.
	items = append(items, item{path: "/etc/livenessd/credentials", mode: 0o700, folder: true})
	written, err := manual(o, version)
	if err != nil {
		return nil, nil, err
	}
	items = append(items, written...)
	docs, err := documents(o.root)
	if err != nil {
		return nil, nil, err
	}
	items = append(items, docs...)
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.path, b.path) })
	return items, needs, nil
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "armhf": elf.EM_ARM}

// documents are those of the repository that somebody at the machine reads, in the folders that their links name.
func documents(root string) ([]item, error) {
	names, err := filepath.Glob(filepath.Join(root, "docs", "*"))
	if err != nil {
		return nil, err
	}
	names = append(names, filepath.Join(root, "README.md"))
	var out []item
	for _, name := range names {
		ext := filepath.Ext(name)
		if ext != ".md" && ext != ".svg" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return nil, err
		}
		out = append(out, item{path: path.Join(docPath, filepath.ToSlash(rel)), data: data, mode: 0o644})
	}
	if len(out) < 2 {
		return nil, errors.New("the repository's docs are missing: -root names it")
	}
	example, err := os.ReadFile(filepath.Join(root, "daemon", "config", "example.yaml"))
	if err != nil {
		return nil, err
	}
	return append(out, item{path: docPath + "/examples/livenessd.yaml", data: example, mode: 0o644}), nil
}

// changelog is Debian's, with one entry: the commits tell the rest.
func changelog(version, describe string, at time.Time) string {
	return fmt.Sprintf("livenessd (%s) stable; urgency=medium\n\n  * livenessd %s; the changes are at\n    %s/commits\n\n -- %s  %s\n",
		version, describe, homepage, maintainer, at.UTC().Format(time.RFC1123Z))
}

// gzipped packs a text as Debian wants its documents: as small as it gets, without a name and a time.
func gzipped(text string) string {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything, and the level is one
	}
	return b.String()
}
