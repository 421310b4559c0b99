package systemd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/kardianos/service"
)

// Units keeps units. It needs root.
type Units interface {
	// Platform is "linux-systemd" where systemd runs.
	Platform() string
	// Install writes a unit that isn't there, enables it and makes systemd read it. It may fail half way.
	Install(name, program, text string) error
	// Uninstall disables a unit and removes it. It may fail half way.
	Uninstall(name string) error
	// Stop returns when the service has ended.
	Stop(name string) error
}

// Kardianos is github.com/kardianos/service as Units. What it doesn't do the Installer does: Install leaves its file behind when it fails,
// and Uninstall doesn't stop; without systemd it would silently install scripts of other init systems, hence Platform.
type Kardianos struct{}

var (
	_ Units             = Kardianos{}
	_ service.Interface = nobody{}
)

// nobody is the program that kardianos/service wants and never runs here.
type nobody struct{}

func (nobody) Start(service.Service) error { return nil }
func (nobody) Stop(service.Service) error  { return nil }

// Platform is what kardianos/service found at this machine.
func (Kardianos) Platform() string { return service.Platform() }

func (Kardianos) of(name, program, text string) (service.Service, error) {
	return service.New(nobody{}, &service.Config{Name: name, Executable: program, Option: service.KeyValue{"SystemdScript": text}})
}

// Install hands the finished text over as a template without any action in it.
func (k Kardianos) Install(name, program, text string) error {
	if strings.Contains(text, "{{") {
		return errors.New("the unit isn't finished")
	}
	s, err := k.of(name, program, text)
	if err != nil {
		return err
	}
	return s.Install()
}

// Uninstall disables and removes.
func (k Kardianos) Uninstall(name string) error {
	s, err := k.of(name, "", "")
	if err != nil {
		return err
	}
	return s.Uninstall()
}

// Stop stops.
func (k Kardianos) Stop(name string) error {
	s, err := k.of(name, "", "")
	if err != nil {
		return err
	}
	return s.Stop()
}

// Command runs a program and gives what it printed; its complaints are in the error.
func Command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var said, complained strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil {
		line := name + " " + strings.Join(args, " ")
		if text := strings.TrimSpace(complained.String()); text != "" {
			return said.String(), fmt.Errorf("%s: %w: %.500s", line, err, text)
		}
		return said.String(), fmt.Errorf("%s: %w", line, err)
	}
	return said.String(), nil
}
