package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
)

func (a *app) modelsInstall() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "install DIR|FILE|silent-face",
		Short: "Install a model into models.directory",
		Long: "DIR is a bundle's folder: manifest.yaml, the .tflite that it names, and what else belongs to them, such as LICENSE or\n" +
			"README.md. FILE is a tar of such a folder, gzipped or not. The bundle is checked (manifest, digest, and signature where\n" +
			"models.trusted_keys has keys), tried in a child process as `models probe` does, and only then appears, complete, under the\n" +
			"name in its manifest.\n\n" +
			"silent-face makes the nets of Silent-Face-Anti-Spoofing (Apache-2.0) on this machine: from upstream's two .pth files, which\n" +
			"are downloaded and checked, or taken from the folder that --from names. A folder of that name is ./silent-face.",
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	force := c.Flags().Bool("force", false, "replace an installed model of the same name")
	c.Flags().StringVar(&from, "from", "", "folder with upstream's files, for silent-face on a machine without a way out")
	a.jsonFlag(c, "print a JSON array of what is installed now")
	c.RunE = func(c *cobra.Command, args []string) error {
		if from != "" && args[0] != silentFace {
			return fail(ExitUsage, fmt.Errorf("--from is for %s; a bundle is named by itself", silentFace))
		}
		cfg, trust, err := a.loadWithKeys()
		if err != nil {
			return err
		}
		var rows []installRow
		if args[0] == silentFace {
			rows, err = a.installSilentFace(c.Context(), cfg, from, *force)
		} else {
			rows, err = a.installBundle(c.Context(), cfg, trust, args[0], *force)
		}
		if err != nil && len(rows) == 0 {
			return err
		}
		if a.json {
			return errors.Join(a.printJSON(rows), err)
		}
		for _, r := range rows {
			state := "installed"
			if r.Unchanged {
				state = "was there already"
			}
			fmt.Fprintf(a.Stdout, "%s %s %s: %s\n", r.Name, r.Version, state, r.Folder)
		}
		if args[0] == silentFace && trust != nil {
			fmt.Fprintf(a.Stderr, "models.trusted_keys asks for signatures, and what was made here has none: livenessd models sign --key FILE DIR\n")
		}
		return err
	}
	return c
}

// installRow is a model as `models install --json` prints it.
type installRow struct {
	Task      models.Task `json:"task"`
	Name      string      `json:"name"`
	Version   string      `json:"version"`
	SHA256    string      `json:"sha256"`
	Folder    string      `json:"folder"`
	Signer    string      `json:"signed_by,omitempty"`
	Unchanged bool        `json:"unchanged"`
}

func newInstallRow(i models.Installed) installRow {
	return installRow{i.Model.Task, i.Model.Name, i.Model.Version, i.Model.SHA256, i.Folder, i.Model.Signer, i.Unchanged}
}

func (a *app) installBundle(ctx context.Context, cfg config.Config, trust *models.Trust, source string, force bool) ([]installRow, error) {
	p, err := a.prober(cfg, trust, time.Minute)
	if err != nil {
		return nil, err
	}
	i, err := models.Install(ctx, models.InstallOptions{
		Source: source, Directory: cfg.Models.Directory, Trust: trust, Force: force,
		Probe: func(ctx context.Context, folder string) error {
			_, err := p.Probe(ctx, folder)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return []installRow{newInstallRow(i)}, nil
}
