package camera

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// roots are the folders that tell of devices; tests have their own.
type roots struct{ dev, sys, proc string }

var systemRoots = roots{"/dev", "/sys", "/proc"}

// List describes the capture devices there are, each once. Nodes for metadata, output and transcoding aren't
// among them.
func List() ([]Info, error) {
	infos, err := systemRoots.list()
	if err != nil {
		return nil, fmt.Errorf("camera: list devices: %w", err)
	}
	return infos, nil
}

// nodes are the video nodes by number.
func (r roots) nodes() []string {
	names, _ := filepath.Glob(filepath.Join(r.dev, "video[0-9]*"))
	number := func(path string) int {
		n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "video"))
		if err != nil {
			return -1
		}
		return n
	}
	names = slices.DeleteFunc(names, func(p string) bool { return number(p) < 0 })
	slices.SortFunc(names, func(a, b string) int { return number(a) - number(b) })
	return names
}

func (r roots) list() ([]Info, error) {
	if _, err := os.Stat(r.dev); err != nil {
		return nil, err
	}
	byID, byPath := r.links("by-id"), r.links("by-path")
	infos := []Info{}
	for _, path := range r.nodes() {
		i := Info{Path: path, ByID: byID[path], ByPath: byPath[path], Formats: []FormatInfo{}}
		if r.describe(&i) {
			infos = append(infos, i)
		}
	}
	return infos, nil
}

// links maps nodes to their names under /dev/v4l.
func (r roots) links(kind string) map[string]string {
	m := map[string]string{}
	folder := filepath.Join(r.dev, "v4l", kind)
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		link := filepath.Join(folder, e.Name())
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(folder, target)
		}
		if m[target] == "" {
			m[target] = link
		}
	}
	return m
}

// describe asks the device. It is false for nodes that aren't capture devices.
func (r roots) describe(i *Info) bool {
	n, err := openNode(i.Path)
	if err != nil {
		return r.describeClosed(i, err)
	}
	defer n.close()
	caps, err := n.capabilities()
	if err != nil {
		return false
	}
	i.Card, i.Driver, i.BusInfo = cString(caps.card[:]), cString(caps.driver[:]), cString(caps.busInfo[:])
	i.who = r.identify(n, &caps)
	i.Identity, i.Virtual = i.who.pins(), i.who.virtual
	i.err = caps.capture()
	if errors.Is(i.err, errNotCapture) {
		return false
	}
	if i.err == nil {
		if i.Formats = n.formats(); i.Formats == nil {
			i.Formats = []FormatInfo{}
		}
		i.Controls = n.controls()
		i.err = supported(i.Formats)
	}
	i.settle()
	return true
}

// describeClosed tells of a device that can't be opened what the system tells.
func (r roots) describeClosed(i *Info, err error) bool {
	folder := filepath.Join(r.sys, "class", "video4linux", filepath.Base(i.Path))
	read := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(folder, name))
		return strings.TrimSpace(string(b))
	}
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT) {
		return false // it is just going
	}
	if n := read("index"); n != "" && n != "0" {
		return false // a USB camera's further nodes, mostly metadata; nobody can tell without opening
	}
	i.Card = read("name")
	i.err = err
	i.settle()
	return true
}

func (i *Info) settle() {
	if i.Usable = i.err == nil; !i.Usable {
		i.Reason = i.err.Error()
		if hint := fault("open", i.Path, i.err, nil).hint; hint != "" {
			i.Reason += ": " + hint
		}
	}
}

func supported(offers []FormatInfo) error {
	for _, f := range offers {
		if slices.Contains(formats, canonical(f.FourCC)) {
			return nil
		}
	}
	return fmt.Errorf("%w that can be used", errNoFormat)
}

// holders names the processes that have a device open, as far as this one may see them.
func (r roots) holders(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	processes, _ := filepath.Glob(filepath.Join(r.proc, "[0-9]*"))
	var who []string
	for _, process := range processes {
		fds, _ := filepath.Glob(filepath.Join(process, "fd", "*"))
		if len(fds) == 0 { // its first thread has ended, and another hangs in a driver, where nothing can end it
			fds, _ = filepath.Glob(filepath.Join(process, "task", "*", "fd", "*"))
		}
		has := func(fd string) bool {
			target, err := os.Readlink(fd)
			return err == nil && target == real
		}
		pid := filepath.Base(process)
		if pid == strconv.Itoa(os.Getpid()) || !slices.ContainsFunc(fds, has) {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(process, "comm"))
		who = append(who, fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid))
	}
	return strings.Join(who, ", ")
}
