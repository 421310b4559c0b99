package command

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
)

func (a *app) cameras() *cobra.Command {
	c := &cobra.Command{
		Use:   "cameras",
		Short: "List the cameras with their formats, sizes, rates and controls",
		Long: "Lists the capture devices of this machine, each once, with the path to write into the configuration (by-id where there\n" +
			"is one, so that it stays the same camera after a reboot or in another socket), its identity, which keeps another camera from\n" +
			"taking its place, and the driver's controls with what may be\n" +
			"given for each in controls, its default and its value now.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			list, err := camera.List()
			if err != nil {
				if errors.Is(err, fs.ErrPermission) {
					return fail(ExitPermission, err)
				}
				return err
			}
			if a.json {
				if list == nil {
					list = []camera.Info{}
				}
				return a.printJSON(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(a.Stderr, "no cameras: no capture device in /dev (plugged in? dmesg tells whether the kernel saw it)")
				return nil
			}
			for _, i := range list {
				a.printCamera(i)
			}
			return nil
		},
	}
	a.jsonFlag(c, "print a JSON array")
	return c
}

func (a *app) printCamera(i camera.Info) {
	path := i.ByID
	if path == "" {
		path = i.Path
	}
	fmt.Fprintf(a.Stdout, "%s\n  %s, driver %s, %s\n", path, i.Card, i.Driver, i.Path)
	if len(i.Identity) > 0 {
		fmt.Fprintf(a.Stdout, "  identity: %s\n", config.IdentityYAML(i.Identity))
	}
	if i.Virtual != "" {
		fmt.Fprintf(a.Stdout, "  virtual, so that it takes allow_virtual: true: %s\n", i.Virtual)
	}
	if !i.Usable {
		fmt.Fprintf(a.Stdout, "  not usable: %s\n", i.Reason)
	}
	for _, f := range i.Formats {
		var sizes []string
		for _, s := range f.Sizes {
			text := fmt.Sprintf("%dx%d", s.Width, s.Height)
			if n := len(s.FPS); n > 0 {
				text += fmt.Sprintf("@%g", s.FPS[0])
			}
			sizes = append(sizes, text)
		}
		fmt.Fprintf(a.Stdout, "  %s  %s\n", f.FourCC, strings.Join(sizes, " "))
	}
	for _, c := range i.Controls {
		if c.Type == camera.ControlButton {
			fmt.Fprintf(a.Stdout, "  control %s: %s\n", c.Name, c.Allowed())
			continue
		}
		text := fmt.Sprintf("  control %s: %s; default %s; now %s", c.Name, c.Allowed(), c.Usual(), c.Now())
		if c.Inactive {
			text += "; does nothing, as another one governs it"
		}
		if c.ReadOnly {
			text += "; can only be read"
		}
		fmt.Fprintln(a.Stdout, text)
	}
}
