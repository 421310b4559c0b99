package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// provider is the Debian package that brings a library, and how old it may be for a version of the library's symbols.
type provider struct {
	name   string
	prefix string                      // of the versions that count
	needs  func(string) (string, bool) // the package's version for a symbol version without the prefix; false: unknown
}

// providers are the libraries that livenessd and TensorFlow Lite may ask the system for. Another one is an error, so that no
// dependency is forgotten.
var providers = map[string]provider{
	"libc.so.6":             glibc,
	"libdl.so.2":            glibc,
	"libm.so.6":             glibc,
	"libpthread.so.0":       glibc,
	"libresolv.so.2":        glibc,
	"librt.so.1":            glibc,
	"ld-linux-x86-64.so.2":  glibc,
	"ld-linux-aarch64.so.1": glibc,
	"ld-linux-armhf.so.3":   glibc,
	"libgcc_s.so.1":         {"libgcc-s1", "GCC_", itself},
	"libstdc++.so.6":        {"libstdc++6", "GLIBCXX_3.4.", listed(gccOfGLIBCXX)},
	"libturbojpeg.so.0":     {"libturbojpeg0", "TURBOJPEG_", listed(turboOfTURBOJPEG)},
}

var glibc = provider{"libc6", "GLIBC_", itself}

// itself: the symbols' versions are the package's.
func itself(v string) (string, bool) { return v, true }

func listed(versions map[string]string) func(string) (string, bool) {
	return func(v string) (string, bool) {
		found, ok := versions[v]
		return found, ok
	}
}

// gccOfGLIBCXX is the GCC whose libstdc++ was the first with symbols GLIBCXX_3.4.x. Before the first no Debian package was called
// libstdc++6 with a version that matters.
var gccOfGLIBCXX = map[string]string{
	"9": "4.2.1", "10": "4.3", "11": "4.4", "12": "4.4.1", "13": "4.4.2", "14": "4.5", "15": "4.6", "16": "4.6.1", "17": "4.7", "18": "4.8", "19": "4.8.1",
	"20": "4.9", "21": "5.2", "22": "6", "23": "7", "24": "7.2", "25": "8", "26": "9", "27": "9.2", "28": "9.3", "29": "11", "30": "12", "31": "13", "32": "13.2",
	"33": "14",
}

// turboOfTURBOJPEG is as Debian's own list of the library's symbols has it.
var turboOfTURBOJPEG = map[string]string{
	"1.0": "1.2.90", "1.1": "1.2.90", "1.2": "1.2.90", "1.3": "1:2.0.6", "1.4": "1:1.4.0", "2.0": "1:2.0.2",
}

// needs gives, for each library that the files ask for, the newest of its symbols' versions that one of them asks for; "" where
// they carry no versions. Libraries that one of the files is come with the package.
func needs(files ...*elf.File) (map[string]string, error) {
	newest, own := map[string]string{}, map[string]bool{}
	for _, f := range files {
		names, err := f.DynString(elf.DT_SONAME)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			own[n] = true
		}
		if names, err = f.ImportedLibraries(); err != nil {
			return nil, err
		}
		for _, n := range names {
			if _, seen := newest[n]; !seen {
				newest[n] = ""
			}
		}
		versions, err := f.DynamicVersionNeeds()
		if err != nil {
			return nil, err
		}
		for _, library := range versions {
			p, known := providers[library.Name]
			for _, need := range library.Needs {
				v, counts := strings.CutPrefix(need.Dep, p.prefix)
				if known && counts && later(v, newest[library.Name]) {
					newest[library.Name] = v
				}
			}
		}
	}
	for n := range own {
		delete(newest, n)
	}
	return newest, nil
}

// depends gives the Debian packages that files need, as a control file's Depends names them.
func depends(files ...*elf.File) ([]string, error) {
	libraries, err := needs(files...)
	if err != nil {
		return nil, err
	}
	return providing(libraries)
}

// providing gives the packages that bring libraries with symbols of the given versions.
func providing(libraries map[string]string) ([]string, error) {
	packages := map[string]string{}
	for _, library := range slices.Sorted(maps.Keys(libraries)) {
		p, ok := providers[library]
		if !ok {
			return nil, fmt.Errorf("nobody knows which Debian package brings %s: name it in cross/packages/depends.go", library)
		}
		version := ""
		if v := libraries[library]; v != "" {
			if version, ok = p.needs(v); !ok {
				return nil, fmt.Errorf("nobody knows which version of %s has symbols %s%s: say so in cross/packages/depends.go", p.name, p.prefix, v)
			}
		}
		if was, ok := packages[p.name]; !ok || later(version, was) {
			packages[p.name] = version
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if v := packages[name]; v != "" {
			name += " (>= " + v + ")"
		}
		out = append(out, name)
	}
	return out, nil
}

// oldestGlibc is the oldest glibc that files run on.
func oldestGlibc(files ...*elf.File) (string, error) {
	libraries, err := needs(files...)
	if err != nil {
		return "", err
	}
	oldest := ""
	for library, v := range libraries {
		if providers[library].name == glibc.name && later(v, oldest) {
			oldest = v
		}
	}
	if oldest == "" {
		return "", errors.New("nothing in it needs a glibc")
	}
	return oldest, nil
}

// later compares versions of numbers and dots, perhaps with an epoch before a colon. "" is before all.
func later(a, b string) bool {
	if a == "" || b == "" {
		return a != ""
	}
	numbers := func(v string) (out []int) {
		epoch, rest, has := strings.Cut(v, ":")
		if !has {
			epoch, rest = "0", v
		}
		for _, part := range append([]string{epoch}, strings.Split(rest, ".")...) {
			n, err := strconv.Atoi(part)
			if err != nil {
				n = -1
			}
			out = append(out, n)
		}
		return out
	}
	return slices.Compare(numbers(a), numbers(b)) > 0
}
