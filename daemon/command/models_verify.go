package command

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/models"
)

func (a *app) modelsVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [NAME…]",
		Short: "Check manifests, digests and signatures",
		Long: "For each NAME (a model in models.directory, a bundle's folder, or shipped for those inside the program), or for all that are\n" +
			"there: the manifest is read, the file's SHA-256 compared with it, and the signature checked where models.trusted_keys has\n" +
			"keys. Nothing is run: that is what `models probe` does. Exit code 1 if any is refused.",
	}
	a.jsonFlag(c, "print a JSON array")
	c.RunE = func(_ *cobra.Command, names []string) error {
		cfg, trust, err := a.loadWithKeys()
		if err != nil {
			return err
		}
		if len(names) == 0 {
			names = []string{config.ShippedModel}
			folders, err := installed(cfg)
			if err != nil {
				return err
			}
			for _, f := range folders {
				names = append(names, filepath.Base(f))
			}
		}
		rows := []verifyRow{}
		bad := 0
		for _, name := range names {
			rows = append(rows, verify(cfg, trust, name)...)
		}
		for _, r := range rows {
			if !r.OK {
				bad++
			}
			if a.json {
				continue
			}
			if r.OK {
				fmt.Fprintf(a.Stdout, "%s: ok, %s %s, sha256 %s%s\n", r.From, r.Name, r.Version, r.SHA256, signedBy(r.Signer))
				continue
			}
			fmt.Fprintf(a.Stdout, "%s: refused: %s\n", r.From, r.Error)
			if r.Hint != "" {
				fmt.Fprintf(a.Stdout, "  → %s\n", r.Hint)
			}
		}
		if a.json {
			if err := a.printJSON(rows); err != nil {
				return err
			}
		}
		if bad > 0 {
			return fail(ExitOther, fmt.Errorf("%d of %d models are refused", bad, len(rows)))
		}
		return nil
	}
	return c
}

// verifyRow is a model as `models verify --json` prints it.
type verifyRow struct {
	From    string      `json:"from"`
	OK      bool        `json:"ok"`
	Task    models.Task `json:"task,omitempty"`
	Name    string      `json:"name,omitempty"`
	Version string      `json:"version,omitempty"`
	SHA256  string      `json:"sha256,omitempty"`
	Signer  string      `json:"signed_by,omitempty"`
	Error   string      `json:"error,omitempty"`
	Hint    string      `json:"hint,omitempty"`
}

func verify(cfg config.Config, trust *models.Trust, name string) []verifyRow {
	row := func(m *models.Model, err error, from string) verifyRow {
		if err != nil {
			return verifyRow{From: from, Error: err.Error(), Hint: daemon.Hint(err)}
		}
		return verifyRow{From: m.From, OK: true, Task: m.Task, Name: m.Name, Version: m.Version, SHA256: m.SHA256, Signer: m.Signer}
	}
	if name != config.ShippedModel {
		folder := daemon.ModelFolder(cfg, name)
		m, err := trust.LoadFolder(folder)
		return []verifyRow{row(m, err, folder)}
	}
	var rows []verifyRow
	for _, t := range []models.Task{models.FaceDetection, models.LivenessTask} {
		m, err := models.Shipped(t)
		rows = append(rows, row(m, err, "built in"))
	}
	return rows
}
