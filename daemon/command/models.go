package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
)

func (a *app) models() *cobra.Command {
	c := &cobra.Command{Use: "models", Short: "The models that are here", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	list := &cobra.Command{
		Use:   "list",
		Short: "List the models inside the program and in models.directory",
		Args:  usageArgs(cobra.NoArgs),
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
				fmt.Fprintf(a.Stdout, "%s %-15s %s %s, %d kB, %s, sha256 %s… (%s)\n", mark, r.Task, r.Name, r.Version, (r.Bytes+999)/1000, r.Licence, r.SHA256[:12], r.From)
			}
			return nil
		},
	}
	a.jsonFlag(list, "print a JSON array")
	c.AddCommand(list)
	return c
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
	Used    bool        `json:"used"` // by this configuration
	Error   string      `json:"error,omitempty"`
}

func modelRows(cfg config.Config) ([]modelRow, error) {
	var rows []modelRow
	for _, t := range []models.Task{models.FaceDetection, models.LivenessTask} {
		m, err := models.Shipped(t)
		chosen := cfg.Models.Detector
		if t == models.LivenessTask {
			chosen = cfg.Models.Liveness
		}
		rows = append(rows, newRow(m, err, "built in", chosen == ""))
	}
	entries, err := os.ReadDir(cfg.Models.Directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("models: list %s: %w", cfg.Models.Directory, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		folder := filepath.Join(cfg.Models.Directory, e.Name())
		m, err := models.LoadFolder(folder)
		used := false
		for _, c := range []string{cfg.Models.Detector, cfg.Models.Liveness} {
			used = used || c == e.Name() || c != "" && filepath.Clean(c) == folder
		}
		rows = append(rows, newRow(m, err, folder, used))
	}
	return rows, nil
}

func newRow(m *models.Model, err error, from string, used bool) modelRow {
	if err != nil {
		return modelRow{From: from, Used: used, Error: err.Error()}
	}
	return modelRow{m.Task, m.Name, m.Version, m.Licence, m.SHA256, len(m.Data), from, used, ""}
}
