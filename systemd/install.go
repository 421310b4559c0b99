package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Where things go that aren't in a place of the system's yet.
const (
	placedProgram = "/usr/local/bin/livenessd"
	placedFolder  = "/usr/local/lib/livenessd"
	library       = "libtensorflowlite_c.so"
	// record lies in placedFolder and names what was copied, one path a line.
	record = "copied"

	unitFolder = "/etc/systemd/system"
	stateRoot  = "/var/lib"
	runRoot    = "/run"
)

// packaged is where packages put units.
var packaged = [...]string{"/usr/lib/systemd/system", "/lib/systemd/system"}

// What keeps an Installer from working.
var (
	ErrNotRoot   = errors.New("only root can do that")
	ErrNoSystemd = errors.New("systemd doesn't run here")
	ErrOption    = errors.New("can't stand in a unit")
)

// Installer makes a service of this program, and unmakes it. Each of its steps can be done again, so that a second Install repairs whatever
// a first one left that was killed; one that fails takes back what it did.
type Installer struct {
	Root  string // stands before every path; "" outside tests
	UID   int    // os.Geteuid()
	Units Units
	Run   func(ctx context.Context, name string, args ...string) (string, error)
	Say   func(string) // what was done

	around func(step string, do func() error) error // tests make steps fail
	hasty  bool                                     // tests don't wait for the disk
	ran    bool                                     // the service, before Install came
	again  bool                                     // Start was called since
	undo   []func(context.Context) error
	keep   []func() error // what is done once all went well
}

// InstallOptions are for Install.
type InstallOptions struct {
	UnitOptions        // without Program and Groups
	Program     string // the one that runs, without symbolic links
	Library     string // the TensorFlow Lite library that it found; "": the configuration names it
	Default     []byte // a configuration for whoever has none
	// Outdated is told whether what runs isn't what is installed; nil for nobody.
	Outdated *bool
}

// Check tells whether this is root and systemd.
func (in *Installer) Check() error {
	if in.UID != 0 {
		return &Error{"check the user", ErrNotRoot, "run it as root: sudo livenessd …"}
	}
	return in.Present()
}

// Present tells whether systemd runs here.
func (in *Installer) Present() error {
	// kardianos/service also looks for the program alone, which a container may have without anybody who runs it.
	if _, err := os.Stat(in.path("/run/systemd/system")); err != nil || in.Units.Platform() != "linux-systemd" {
		return &Error{"look for systemd", ErrNoSystemd, "start `livenessd run` from whatever starts services here; it needs no systemd"}
	}
	return nil
}

func (in *Installer) path(p string) string { return filepath.Join("/", in.Root, p) }

// Preview is the text of the unit that Install would install, and touches nothing.
func (in *Installer) Preview(ctx context.Context, o InstallOptions) (string, error) {
	unit := o.UnitOptions
	unit.complete()
	unit.Program, _ = o.Place()
	if groups, err := in.groups(ctx); err == nil {
		unit.Groups = groups
	}
	return Unit(unit)
}

func (in *Installer) say(format string, args ...any) {
	if in.Say != nil {
		in.Say(fmt.Sprintf(format, args...))
	}
}

// step does one thing, and says which one failed.
func (in *Installer) step(what string, do func() error) error {
	run := do
	if in.around != nil {
		run = func() error { return in.around(what, do) }
	}
	err := run()
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &Error{what, err, hintOf(err)}
}

func hintOf(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "is the file system mounted read-only?"
	case errors.Is(err, fs.ErrNotExist):
		return "a program or a folder that Debian has is missing here: install it"
	}
	return ""
}

// Place is where the program will run from, and whether it and its library are copied there: a program in somebody's home or in /tmp can't
// be seen from inside the cage, and one that isn't the system's may change under it.
func (o *InstallOptions) Place() (program string, copied bool) {
	inPlace := func(path string) bool {
		return strings.HasPrefix(path, "/usr/") || strings.HasPrefix(path, "/opt/")
	}
	if !inPlace(o.Program) || !pathForm.MatchString(o.Program) {
		return placedProgram, true
	}
	dir := filepath.Dir(o.Program)
	if o.Library == "" || !strings.Contains(o.Library, "/") || // by its name, from where the system has libraries
		slices.Contains([]string{dir, filepath.Join(dir, "lib"), filepath.Join(dir, "../lib/livenessd"), "/usr/lib/livenessd"}, filepath.Dir(o.Library)) {
		return o.Program, false
	}
	return placedProgram, true
}

// Install makes the user, folders, a default configuration and the unit, copies the program and its library if they aren't in a place of the
// system's, and enables the service. It doesn't start it.
func (in *Installer) Install(ctx context.Context, o InstallOptions) (err error) {
	o.UnitOptions.complete()
	if err := in.Check(); err != nil {
		return err
	}
	program, copied := o.Place()
	unit := o.UnitOptions
	unit.Program = program
	if err := unit.check(); err != nil {
		return err
	}
	for _, hidden := range []string{"/home/", "/root/", "/tmp/", "/var/tmp/", "/run/"} {
		if strings.HasPrefix(unit.Config, hidden) {
			return &Error{"check the options", fmt.Errorf("configuration %s %w: the service sees nothing in %s", unit.Config, ErrOption, hidden), "put it into /etc/livenessd"}
		}
	}
	for _, folder := range packaged {
		if file := filepath.Join(folder, unit.Name+".service"); in.exists(file) {
			return &Error{"look for a package", fmt.Errorf("%s is there: a package has installed the service", file),
				"systemctl enable --now " + unit.Name + "; or choose another --name"}
		}
	}
	in.undo, in.keep = nil, nil
	s, err := in.State(ctx, unit.Name)
	if err != nil {
		return err
	}
	in.ran, in.again = s.PID != 0, false
	in.back(func(ctx context.Context) error { // the last thing that is undone
		if !in.ran || !in.again {
			return nil
		}
		_, err := in.Run(ctx, "systemctl", "--no-block", "restart", unit.Name+".service")
		return err
	})
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(err, in.Rollback(context.WithoutCancel(ctx)))
	}()
	unit.Groups, err = in.groups(ctx)
	if err != nil {
		return err
	}
	text, err := Unit(unit) // before anything is touched
	if err != nil {
		return err
	}
	group, err := in.user(ctx, &unit)
	if err != nil {
		return err
	}
	if err := in.folders(ctx, &unit, group); err != nil {
		return err
	}
	if err := in.configuration(ctx, &unit, group, o.Default); err != nil {
		return err
	}
	if copied {
		if err := in.copies(&o); err != nil {
			return err
		}
	}
	if err := in.unit(ctx, &unit, text); err != nil {
		return err
	}
	if o.Outdated != nil {
		*o.Outdated, err = in.outdated(ctx, &unit)
	}
	return err
}

// outdated tells whether what runs was started before the newest of what it is made of was written, by this run or by one that was killed
// before it came to the start.
func (in *Installer) outdated(ctx context.Context, o *UnitOptions) (bool, error) {
	s, err := in.State(ctx, o.Name)
	if err != nil || s.PID == 0 {
		return false, err
	}
	for _, path := range []string{filepath.Join(unitFolder, o.Name+".service"), o.Program, filepath.Join(placedFolder, library)} {
		st, err := os.Stat(in.path(path))
		if err == nil && st.ModTime().After(s.Started) {
			return true, nil
		}
	}
	return false, nil
}

// Commit makes what Install did last: until then Rollback can undo it.
func (in *Installer) Commit() error {
	var err error
	for _, f := range in.keep {
		err = errors.Join(err, f())
	}
	in.undo, in.keep = nil, nil
	return err
}

// Rollback undoes what Install did.
func (in *Installer) Rollback(ctx context.Context) error {
	var err error
	if len(in.undo) > 0 {
		in.say("undoing what was done, so that everything is as it was")
	}
	for _, back := range slices.Backward(in.undo) {
		err = errors.Join(err, back(ctx))
	}
	in.undo, in.keep = nil, nil
	return err
}

func (in *Installer) back(f func(context.Context) error) { in.undo = append(in.undo, f) }

func (in *Installer) exists(path string) bool {
	_, err := os.Lstat(in.path(path))
	return err == nil
}

// groups are those that devices belong to, as far as this machine has them.
func (in *Installer) groups(ctx context.Context) ([]string, error) {
	var out []string
	for _, g := range []string{"video", "render", "plugdev"} {
		if _, err := in.Run(ctx, "getent", "group", g); err == nil {
			out = append(out, g)
		}
	}
	if !slices.Contains(out, "video") {
		return nil, &Error{"look for group video", errors.New("this machine has none"), "install udev, which gives cameras to that group"}
	}
	return out, nil
}

// user makes the service's user, if it is ours to make, puts it into the groups, and gives its own group.
func (in *Installer) user(ctx context.Context, o *UnitOptions) (group string, err error) {
	_, absent := in.Run(ctx, "getent", "passwd", o.User)
	switch {
	case absent != nil && o.User != DefaultName:
		return "", &Error{"look for user " + o.User, absent, "create it first, or leave --user out for a user of livenessd's own"}
	case absent != nil:
		args := []string{"--system", "--home-dir", filepath.Join(stateRoot, o.Name), "--no-create-home", "--shell", "/usr/sbin/nologin", "--comment", "livenessd"}
		_, noGroup := in.Run(ctx, "getent", "group", o.User)
		if noGroup == nil { // left by somebody
			args = append(args, "--gid", o.User)
		} else {
			args = append(args, "--user-group")
		}
		in.back(func(ctx context.Context) error {
			if _, err := in.Run(ctx, "getent", "passwd", o.User); err != nil {
				return nil
			}
			_, err := in.Run(ctx, "userdel", o.User)
			if _, gone := in.Run(ctx, "getent", "group", o.User); noGroup == nil && gone != nil {
				_, again := in.Run(ctx, "groupadd", "--system", o.User)
				err = errors.Join(err, again)
			}
			return err
		})
		if err := in.step("create user "+o.User, func() error {
			_, err := in.Run(ctx, "useradd", append(args, o.User)...)
			return err
		}); err != nil {
			return "", err
		}
		in.say("created user %s", o.User)
	}
	words := func(what string) ([]string, error) {
		out, err := in.Run(ctx, "id", what, o.User)
		if err != nil {
			return nil, &Error{"ask for the groups of " + o.User, err, ""}
		}
		return strings.Fields(out), nil
	}
	is, err := words("-nG")
	if err != nil {
		return "", err
	}
	for _, g := range o.Groups {
		if slices.Contains(is, g) {
			continue
		}
		in.back(func(ctx context.Context) error {
			// gpasswd complains about one that isn't in it, which a user that is no more isn't.
			if out, err := in.Run(ctx, "id", "-nG", o.User); err != nil || !slices.Contains(strings.Fields(out), g) {
				return nil
			}
			_, err := in.Run(ctx, "gpasswd", "--delete", o.User, g)
			return err
		})
		if err := in.step("put "+o.User+" into group "+g, func() error {
			_, err := in.Run(ctx, "usermod", "--append", "--groups", g, o.User)
			return err
		}); err != nil {
			return "", err
		}
		in.say("put %s into group %s", o.User, g)
	}
	own, err := words("-gn")
	if err != nil {
		return "", err
	}
	if len(own) != 1 {
		return "", &Error{"ask for the group of " + o.User, fmt.Errorf("%q", own), ""}
	}
	return own[0], nil
}

// folder makes one and those above it.
func (in *Installer) folder(ctx context.Context, path string, mode fs.FileMode, owner string) error {
	if in.exists(path) {
		if st, err := os.Stat(in.path(path)); err != nil || !st.IsDir() {
			return &Error{"make folder " + path, errors.New("something else has that name"), "move it away"}
		}
		return nil
	}
	var made []string // the outermost first
	for p := path; !in.exists(p); p = filepath.Dir(p) {
		made = slices.Insert(made, 0, p)
	}
	for _, p := range made {
		in.back(func(context.Context) error {
			if err := os.Remove(in.path(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
	}
	return in.step("make folder "+path, func() error {
		if err := os.MkdirAll(in.path(path), 0o755); err != nil {
			return err
		}
		return in.owned(ctx, path, mode, owner)
	})
}

// owned sets mode and owner, which MkdirAll and CreateTemp leave as the umask and root would have them.
func (in *Installer) owned(ctx context.Context, path string, mode fs.FileMode, owner string) error {
	if err := os.Chmod(in.path(path), mode); err != nil {
		return err
	}
	_, err := in.Run(ctx, "chown", "--no-dereference", owner, in.path(path))
	return err
}

func (in *Installer) folders(ctx context.Context, o *UnitOptions, group string) error {
	etc, state := filepath.Dir(o.Config), filepath.Join(stateRoot, o.Name)
	own := o.User + ":" + group
	type folder struct {
		path, owner string
		mode        fs.FileMode
	}
	all := []folder{{etc, "root:" + group, 0o750}, {filepath.Join(etc, credentialsFolder), "root:root", 0o700}}
	fresh := !in.exists(state)
	if fresh { // else systemd sees to both at the start: root does nothing inside a folder of somebody else's
		all = append(all, folder{state, "root:root", 0o750}, folder{filepath.Join(state, "models"), own, 0o750})
	}
	for _, f := range all {
		was := in.exists(f.path)
		if err := in.folder(ctx, f.path, f.mode, f.owner); err != nil {
			return err
		}
		if !was {
			in.say("made %s", f.path)
		}
	}
	if !fresh {
		return nil
	}
	return in.step("give "+state+" to "+o.User, func() error { return in.owned(ctx, state, 0o750, own) })
}

func (in *Installer) configuration(ctx context.Context, o *UnitOptions, group string, text []byte) error {
	if in.exists(o.Config) {
		in.say("kept %s", o.Config)
		return nil
	}
	in.back(func(context.Context) error { return in.remove(o.Config) })
	err := in.step("write the default configuration "+o.Config, func() error {
		return in.write(o.Config, bytes.NewReader(text), 0o640, func(temporary string) error {
			_, err := in.Run(ctx, "chown", "--no-dereference", "root:"+group, temporary)
			return err
		})
	})
	if err == nil {
		in.say("wrote the default configuration %s", o.Config)
	}
	return err
}

func (in *Installer) remove(path string) error {
	if err := os.Remove(in.path(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// write replaces a file whole or not at all. ready is called while it has its temporary name.
func (in *Installer) write(path string, from io.Reader, mode fs.FileMode, ready func(temporary string) error) (err error) {
	real := in.path(path)
	// One name for all: what a killed run left is overwritten by the next.
	name := hiddenBeside(real, "new")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	_, err = io.Copy(f, from)
	if !in.hasty {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	if ready != nil {
		if err := ready(name); err != nil {
			return err
		}
	}
	return os.Rename(name, real)
}

// copies puts the program and its library into their places.
func (in *Installer) copies(o *InstallOptions) error {
	files := [][2]string{{o.Program, placedProgram}}
	if o.Library != "" {
		files = append(files, [2]string{o.Library, filepath.Join(placedFolder, library)})
	}
	for _, folder := range []string{filepath.Dir(placedProgram), placedFolder} {
		if err := in.folder(context.Background(), folder, 0o755, "root:root"); err != nil {
			return err
		}
	}
	// First, so that whoever uninstalls knows of a copy that was killed half way.
	list := filepath.Join(placedFolder, record)
	if !in.exists(list) {
		in.back(func(context.Context) error { return in.remove(list) })
		if err := in.step("write "+list, func() error {
			return in.write(list, strings.NewReader(placedProgram+"\n"+filepath.Join(placedFolder, library)+"\n"), 0o644, nil)
		}); err != nil {
			return err
		}
	}
	for _, f := range files {
		from, to := f[0], f[1]
		if from == to {
			continue
		}
		same, err := sameContent(from, in.path(to))
		if err != nil {
			return &Error{"read " + from, err, ""}
		}
		before, had := hiddenBeside(to, "before"), in.exists(to)
		if same {
			in.keep = append(in.keep, func() error { return in.remove(before) })
			in.say("kept %s", to)
			continue
		}
		if err := in.remove(before); err != nil { // of a run that was killed
			return &Error{"remove " + before, err, ""}
		}
		in.back(func(context.Context) error {
			if !had {
				return in.remove(to)
			}
			if err := os.Rename(in.path(before), in.path(to)); err != nil && !errors.Is(err, fs.ErrNotExist) { // it wasn't kept, so nothing came after that
				return err
			}
			return in.remove(before) // two names of one file stay two when the one is renamed to the other
		})
		if had {
			if err := in.step("keep the old "+to, func() error { return os.Link(in.path(to), in.path(before)) }); err != nil {
				return err
			}
		}
		in.keep = append(in.keep, func() error { return in.remove(before) })
		if err := in.step("copy "+to, func() error {
			source, err := os.Open(from)
			if err != nil {
				return err
			}
			defer source.Close()
			return in.write(to, source, 0o755, nil)
		}); err != nil {
			return err
		}
		in.say("copied %s to %s", from, to)
	}
	return nil
}

func sameContent(a, b string) (bool, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	y, err := os.ReadFile(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return bytes.Equal(x, y), err
}

// unit writes the unit and enables it.
func (in *Installer) unit(ctx context.Context, o *UnitOptions, text string) error {
	file := filepath.Join(unitFolder, o.Name+".service")
	old, err := os.ReadFile(in.path(file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{"read " + file, err, ""}
	}
	there := err == nil
	link := filepath.Join(unitFolder, "multi-user.target.wants", o.Name+".service")
	enabled := in.exists(link)
	if there && string(old) == text {
		if out, err := in.Run(ctx, "systemctl", "is-enabled", o.Name+".service"); err == nil && strings.TrimSpace(out) == "enabled" {
			if s, err := in.State(ctx, o.Name); err == nil && s.Loaded && !s.Stale {
				in.say("kept %s", file)
				return nil
			}
		}
	}
	in.back(func(ctx context.Context) error {
		var err error
		if there {
			err = in.write(file, bytes.NewReader(old), 0o644, nil)
		} else {
			err = in.remove(file)
		}
		if !enabled {
			err = errors.Join(err, in.remove(link))
		}
		_, reload := in.Run(ctx, "systemctl", "daemon-reload")
		return errors.Join(err, reload)
	})
	// kardianos/service installs nothing over what is there.
	if there {
		if err := in.step("remove the old "+file, func() error { return in.remove(file) }); err != nil {
			return err
		}
	}
	if err := in.step("install "+file, func() error { return in.Units.Install(o.Name, o.Program, text) }); err != nil {
		return err
	}
	got, err := os.ReadFile(in.path(file))
	if err != nil || string(got) != text {
		return &Error{"install " + file, fmt.Errorf("the unit isn't what was rendered: %w", err), ""}
	}
	in.say("installed and enabled %s", file)
	return nil
}
