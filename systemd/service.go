package systemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// State is what systemd knows of a service.
type State struct {
	Loaded   bool      `json:"installed"`
	Stale    bool      `json:"-"`      // the unit was changed since systemd read it
	Active   string    `json:"active"` // active, activating, reloading, deactivating, inactive or failed
	Sub      string    `json:"sub"`
	Since    time.Time `json:"since,omitzero"`
	Started  time.Time `json:"started,omitzero"` // the process that runs, or ran last
	PID      int       `json:"pid,omitempty"`
	Restarts int       `json:"restarts"`
	Result   string    `json:"result,omitempty"` // of the last run, such as success, exit-code, watchdog
	Exit     int       `json:"exit_code"`        // of the last run that ended
	Status   string    `json:"status,omitempty"` // what the service says
	Enabled  string    `json:"enabled,omitempty"`
	File     string    `json:"unit,omitempty"`
}

// Ready tells whether the service does its work.
func (s *State) Ready() bool { return s.Active == "active" || s.Active == "reloading" }

// Starting tells whether it runs, and is on the way to being ready, which without a camera takes as long as there is none.
func (s *State) Starting() bool { return s.Active == "activating" && !s.Failed() }

// Failed tells whether it has ended and wasn't asked to, or does so again and again.
func (s *State) Failed() bool { return s.Active == "failed" || s.Sub == "auto-restart" }

// State asks systemd. It needs no root.
func (in *Installer) State(ctx context.Context, name string) (State, error) {
	out, err := in.Run(ctx, "systemctl", "show", name+".service", "--timestamp=us+utc", "--property="+
		"LoadState,NeedDaemonReload,ActiveState,SubState,StateChangeTimestamp,ExecMainStartTimestamp,MainPID,NRestarts,Result,ExecMainStatus,StatusText,UnitFileState,FragmentPath")
	if err != nil {
		return State{}, &Error{"ask systemd", err, ""}
	}
	return parseState(out), nil
}

// parseState reads what systemctl show prints. What it doesn't know stays empty.
func parseState(out string) State {
	var s State
	number := func(v string) int {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	for line := range strings.Lines(out) {
		key, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch key {
		case "LoadState":
			s.Loaded = v != "not-found" && v != ""
		case "NeedDaemonReload":
			s.Stale = v == "yes"
		case "ActiveState":
			s.Active = v
		case "SubState":
			s.Sub = v
		case "StateChangeTimestamp":
			s.Since = moment(v)
		case "ExecMainStartTimestamp":
			s.Started = moment(v)
		case "MainPID":
			s.PID = number(v)
		case "NRestarts":
			s.Restarts = number(v)
		case "Result":
			s.Result = v
		case "ExecMainStatus":
			s.Exit = number(v)
		case "StatusText":
			s.Status = v
		case "UnitFileState":
			s.Enabled = v
		case "FragmentPath":
			s.File = v
		}
	}
	return s
}

// moment reads a time as --timestamp=us+utc gives it; what isn't one is the zero time.
func moment(v string) time.Time {
	t, err := time.Parse("Mon 2006-01-02 15:04:05.999999 MST", v)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// Start starts or restarts the service and waits until it is ready, has failed, or the time is over: which of these, the state tells.
// Say hears what the service says meanwhile.
func (in *Installer) Start(ctx context.Context, name string, again bool, wait time.Duration) (State, error) {
	verb := "start"
	if again {
		verb = "restart"
	}
	in.again = true
	if !in.ran {
		in.back(func(context.Context) error { return in.Units.Stop(name) })
	}
	// Not to wait for systemd: without a camera its job lasts as long as there is none.
	if err := in.step(verb+" "+name, func() error {
		_, _ = in.Run(ctx, "systemctl", "reset-failed", name+".service") // it may not have failed
		_, err := in.Run(ctx, "systemctl", "--no-block", verb, name+".service")
		return err
	}); err != nil {
		return State{}, err
	}
	said := ""
	for end := time.Now().Add(wait); ; {
		s, err := in.State(ctx, name)
		if err != nil {
			return s, err
		}
		if s.Status != said && !s.Ready() {
			said = s.Status
			in.say("%s: %s", s.Active, said)
		}
		if s.Ready() || s.Failed() || time.Now().After(end) {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Stop stops the service.
func (in *Installer) Stop(ctx context.Context, name string) error {
	return in.step("stop "+name, func() error { return in.Units.Stop(name) })
}

// Uninstall stops the service and takes away what Install brought: with purge its configuration, its state and its user, too. What isn't there
// isn't missed.
func (in *Installer) Uninstall(ctx context.Context, name string, purge bool) error {
	if err := in.Check(); err != nil {
		return err
	}
	o := UnitOptions{Name: name}
	o.complete()
	o.Program = placedProgram
	if err := o.check(); err != nil {
		return err
	}
	file := filepath.Join(unitFolder, name+".service")
	text, err := os.ReadFile(in.path(file))
	switch {
	case err == nil:
		o.learn(string(text))
	case !errors.Is(err, fs.ErrNotExist):
		return &Error{"read " + file, err, ""}
	}
	there := err == nil
	for _, folder := range packaged {
		if p := filepath.Join(folder, name+".service"); !there && in.exists(p) {
			return &Error{"look for a package", fmt.Errorf("%s belongs to a package", p), "remove that: apt-get remove livenessd"}
		}
	}
	if s, err := in.State(ctx, name); err == nil && s.Loaded && s.Active != "inactive" {
		if err := in.Stop(ctx, name); err != nil {
			return err
		}
		in.say("stopped %s", name)
	}
	if there {
		if err := in.step("uninstall "+file, func() error {
			// Half of it may have been done before, at which kardianos/service fails.
			first := in.Units.Uninstall(name)
			if _, err := in.Run(ctx, "systemctl", "daemon-reload"); err != nil {
				return errors.Join(first, err)
			}
			if err := in.remove(file); err != nil {
				return errors.Join(first, err)
			}
			return nil
		}); err != nil {
			return err
		}
		in.say("removed %s", file)
	}
	// The link that enables, where a unit was removed by hand.
	if err := in.remove(filepath.Join(unitFolder, "multi-user.target.wants", name+".service")); err != nil {
		return &Error{"disable " + name, err, ""}
	}
	_, _ = in.Run(ctx, "systemctl", "reset-failed", name+".service") // it may not have failed
	if err := in.uncopy(); err != nil {
		return err
	}
	if purge {
		return in.purge(ctx, &o)
	}
	if there {
		in.say("kept %s and %s: uninstall --purge removes them, too", o.Config, filepath.Join(stateRoot, name))
	}
	return nil
}

// learn reads from a unit what it was made for.
func (o *UnitOptions) learn(text string) {
	for line := range strings.Lines(text) {
		key, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "User":
			if nameForm.MatchString(v) {
				o.User = v
			}
		case "ExecStart":
			if _, c, ok := strings.Cut(v, " --config "); ok && pathForm.MatchString(c) {
				o.Config = c
			}
		}
	}
}

// others are the units that mention something.
func (in *Installer) others(what string) bool {
	files, _ := filepath.Glob(in.path(unitFolder) + "/*.service")
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), what) {
			return true
		}
	}
	return false
}

// uncopy removes what Install copied, unless another service runs it.
func (in *Installer) uncopy() error {
	list := filepath.Join(placedFolder, record)
	text, err := os.ReadFile(in.path(list))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &Error{"read " + list, err, ""}
	}
	if in.others("=" + placedProgram + " ") {
		in.say("kept %s: another service runs it", placedProgram)
		return nil
	}
	for path := range strings.Lines(string(text)) {
		path = strings.TrimSpace(path)
		if path != placedProgram && filepath.Dir(path) != placedFolder { // it is a file that anybody with an editor may have changed
			continue
		}
		if err := in.step("remove "+path, func() error {
			for _, p := range []string{path, hiddenBeside(path, "before"), hiddenBeside(path, "new")} {
				if err := in.remove(p); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		in.say("removed %s", path)
	}
	return in.step("remove "+list, func() error {
		if err := errors.Join(in.remove(list), in.remove(hiddenBeside(list, "new"))); err != nil {
			return err
		}
		_ = os.Remove(in.path(placedFolder)) // there may be other things in it
		return nil
	})
}

func hiddenBeside(path, what string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+what)
}

func (in *Installer) purge(ctx context.Context, o *UnitOptions) error {
	folders := []string{filepath.Join(stateRoot, o.Name), filepath.Join(runRoot, o.Name)}
	if etc := filepath.Join("/etc", o.Name); filepath.Dir(o.Config) == etc {
		folders = append(folders, etc)
	} else if in.exists(o.Config) {
		in.say("kept %s: it isn't in %s", o.Config, etc)
	}
	for _, f := range folders {
		if !in.exists(f) {
			continue
		}
		if err := in.step("remove "+f, func() error { return os.RemoveAll(in.path(f)) }); err != nil {
			return err
		}
		in.say("removed %s", f)
	}
	if o.User != DefaultName || in.others("\nUser="+o.User+"\n") {
		return nil
	}
	if _, err := in.Run(ctx, "getent", "passwd", o.User); err == nil {
		if err := in.step("remove user "+o.User, func() error {
			_, err := in.Run(ctx, "userdel", o.User)
			return err
		}); err != nil {
			return err
		}
		in.say("removed user %s", o.User)
	}
	if _, err := in.Run(ctx, "getent", "group", o.User); err == nil { // userdel leaves it where others are in it, or it wasn't made with the user
		if err := in.step("remove group "+o.User, func() error {
			_, err := in.Run(ctx, "groupdel", o.User)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// Said reads what the service said of itself last, as JSON, from its runtime directory.
func (in *Installer) Said(name string, into any) error {
	o := UnitOptions{Name: name, Program: placedProgram}
	o.complete()
	if err := o.check(); err != nil {
		return err
	}
	// It is the service's, and may be whatever that was made to put there: a pipe, too, which nobody ever writes to.
	const limit = 1 << 20
	f, err := os.OpenFile(in.path(filepath.Join(runRoot, o.Name, "status.json")), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &Error{"read what the service said", err, ""}
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return &Error{"read what the service said", errors.New("not a regular file"), ""}
	}
	if err := json.NewDecoder(io.LimitReader(f, limit)).Decode(into); err != nil {
		return &Error{"read what the service said", err, ""}
	}
	return nil
}
