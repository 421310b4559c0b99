package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
)

func (a *app) models() *cobra.Command {
	c := &cobra.Command{Use: "models", Short: "List, install, check and try models", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	list := &cobra.Command{
		Use:   "list",
		Short: "List the models inside the program and in models.directory",
		Long: "Lists the models inside the program and those in models.directory. A star marks what the configuration uses. With --json,\n" +
			"each has its card: the data, the figures and the limits that its makers state.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			rows, err := modelRows(cfg)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(rows)
			}
			for _, r := range rows {
				mark := " "
				if r.Used {
					mark = "*"
				}
				if r.Error != "" {
					fmt.Fprintf(a.Stdout, "%s %s: %s\n", mark, r.From, r.Error)
					continue
				}
				fmt.Fprintf(a.Stdout, "%s %-15s %s %s, %d kB, %s, sha256 %s…%s (%s)\n", mark, r.Task, r.Name, r.Version, (r.Bytes+999)/1000, r.Licence, r.SHA256[:12], signedBy(r.Signer), r.From)
			}
			return nil
		},
	}
	a.jsonFlag(list, "print a JSON array")
	c.AddCommand(list, a.modelsInstall(), a.modelsVerify(), a.modelsProbe(), a.modelsSign(), a.modelsProbeChild())
	return c
}

func signedBy(fingerprint string) string {
	if fingerprint == "" {
		return ""
	}
	return ", signed by " + fingerprint
}

// modelRow is a model as `models list --json` prints it.
type modelRow struct {
	Task    models.Task `json:"task,omitempty"`
	Name    string      `json:"name,omitempty"`
	Version string      `json:"version,omitempty"`
	Licence string      `json:"licence,omitempty"`
	SHA256  string      `json:"sha256,omitempty"`
	Bytes   int         `json:"bytes,omitempty"`
	From    string      `json:"from"`
	Used    bool        `json:"used"`                // by this configuration
	Signer  string      `json:"signed_by,omitempty"` // fingerprint of the key, where models.trusted_keys has any
	Card    string      `json:"card,omitempty"`      // Markdown: data, figures, limits
	Error   string      `json:"error,omitempty"`
}

func modelRows(cfg config.Config) ([]modelRow, error) {
	trust, err := daemon.Trust(cfg)
	if err != nil {
		return nil, err
	}
	chosen := map[models.Task][]string{models.FaceDetection: {cfg.Models.Detector}}
	for _, m := range cfg.Models.Liveness {
		chosen[models.LivenessTask] = append(chosen[models.LivenessTask], m.Name)
	}
	if len(cfg.Models.Liveness) == 0 {
		chosen[models.LivenessTask] = []string{""}
	}
	rows := []modelRow{}
	for _, t := range []models.Task{models.FaceDetection, models.LivenessTask} {
		m, err := models.Shipped(t)
		used := slices.Contains(chosen[t], "") || slices.Contains(chosen[t], config.ShippedModel)
		rows = append(rows, newRow(m, err, "built in", used))
	}
	folders, err := installed(cfg)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		m, err := trust.LoadFolder(folder)
		used := slices.ContainsFunc(slices.Concat(chosen[models.FaceDetection], chosen[models.LivenessTask]), func(name string) bool {
			return name != "" && name != config.ShippedModel && filepath.Clean(daemon.ModelFolder(cfg, name)) == folder
		})
		rows = append(rows, newRow(m, err, folder, used))
	}
	return rows, nil
}

// installed lists the folders in models.directory. Those whose names begin with a dot are being installed.
func installed(cfg config.Config) ([]string, error) {
	entries, err := os.ReadDir(cfg.Models.Directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("models: list %s: %w", cfg.Models.Directory, err)
	}
	var folders []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			folders = append(folders, filepath.Join(cfg.Models.Directory, e.Name()))
		}
	}
	return folders, nil
}

func newRow(m *models.Model, err error, from string, used bool) modelRow {
	if err != nil {
		return modelRow{From: from, Used: used, Error: err.Error()}
	}
	return modelRow{Task: m.Task, Name: m.Name, Version: m.Version, Licence: m.Licence, SHA256: m.SHA256, Bytes: len(m.Data), From: from, Used: used,
		Signer: m.Signer, Card: m.Card}
}
