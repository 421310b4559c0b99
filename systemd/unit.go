package systemd

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

//go:embed livenessd.service.tmpl
var unitTemplate string

// The places of a service.
const (
	DefaultName   = "livenessd"
	DefaultConfig = "/etc/livenessd/livenessd.yaml"
	// credentialsFolder lies beside the configuration file.
	credentialsFolder = "credentials"
)

// UnitOptions say what a unit is for.
type UnitOptions struct {
	Name    string   // of the unit, without .service, and of its state and runtime directories; "" is DefaultName
	Program string   // absolute path
	Config  string   // of the configuration file, which is named on the command line; "" is DefaultConfig
	User    string   // that it runs as; "" is DefaultName
	Groups  []string // further ones, which must exist on the machine; nil is video
	Made    string   // who made the unit, for a comment in its first line
}

func (o *UnitOptions) complete() {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.User == "" {
		o.User = DefaultName
	}
	if o.Config == "" {
		o.Config = DefaultConfig
		if o.Name != DefaultName {
			o.Config = "/etc/" + o.Name + "/livenessd.yaml"
		}
	}
	if len(o.Groups) == 0 {
		o.Groups = []string{"video"}
	}
	if o.Made == "" {
		o.Made = "livenessd's unit, which `livenessd install` and the packages have in common."
	}
}

// ConfigPath is the configuration file of the service.
func (o UnitOptions) ConfigPath() string {
	o.complete()
	return o.Config
}

var (
	nameForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)
	pathForm = regexp.MustCompile(`^(/[A-Za-z0-9._+:@-]+)+$`)
)

// check refuses what would have to be quoted in a unit: systemd, kardianos/service and the shell have three ways of doing that.
func (o *UnitOptions) check() error {
	for what, name := range map[string]string{"name": o.Name, "user": o.User} {
		if !nameForm.MatchString(name) {
			return &Error{"check the options", fmt.Errorf("%s %.60q %w", what, name, ErrOption), "use lower-case letters, digits, - and _, at most 31 of them, a letter first"}
		}
	}
	for what, path := range map[string]string{"program": o.Program, "configuration": o.Config} {
		if !pathForm.MatchString(path) || filepath.Clean(path) != path {
			return &Error{"check the options", fmt.Errorf("%s %.200q %w", what, path, ErrOption), "use an absolute path of letters, digits and any of . _ + : @ -"}
		}
	}
	if bad := slices.IndexFunc(o.Groups, func(g string) bool { return !nameForm.MatchString(g) }); bad >= 0 {
		return &Error{"check the options", fmt.Errorf("group %.60q %w", o.Groups[bad], ErrOption), "name groups as /etc/group does"}
	}
	if strings.ContainsAny(o.Made, "\r\n\\{") {
		return &Error{"check the options", fmt.Errorf("comment %.60q %w", o.Made, ErrOption), "leave it in one line"}
	}
	return nil
}

// Unit is the text of the unit: the one source for `livenessd install` and for packages.
func Unit(o UnitOptions) (string, error) {
	o.complete()
	if err := o.check(); err != nil {
		return "", err
	}
	t, err := template.New("unit").Option("missingkey=error").Parse(unitTemplate)
	if err != nil {
		return "", fmt.Errorf("systemd: parse the unit's template: %w", err)
	}
	description := "livenessd: tells living faces from prints and screens at the camera"
	if o.Name != DefaultName {
		description += " (" + o.Name + ")"
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]string{
		"Made": o.Made, "Description": description, "Command": o.Program + " run --config " + o.Config, "User": o.User,
		"Groups": strings.Join(o.Groups, " "), "Directory": o.Name, "Credentials": filepath.Join(filepath.Dir(o.Config), credentialsFolder),
	})
	if err != nil {
		return "", fmt.Errorf("systemd: render the unit: %w", err)
	}
	return b.String(), nil
}

// Error says what went wrong with the service.
type Error struct {
	Op   string // "copy the program"
	Err  error
	hint string
}

func (e *Error) Error() string { return "systemd: " + e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what a technician should do, "" where nobody knows.
func (e *Error) Hint() string { return e.hint }
