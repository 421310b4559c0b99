package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
)

func (a *app) check() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and print what is in effect",
		Long: "Reads the configuration as run does, and the models and the key that it names, and prints every problem with file, line and what\n" +
			"was meant (exit code 78), or the effective configuration.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := config.Load(a.configPath)
			if err == nil {
				_, _, err = daemon.LoadModels(cfg)
			}
			if err == nil {
				err = daemon.CheckKey(cfg)
			}
			var problems config.Problems
			if a.json {
				out := checkOutput{OK: err == nil, Problems: []config.Problem{}}
				switch {
				case errors.As(err, &problems):
					out.Problems = problems
				case err != nil:
					out.Problems = []config.Problem{{File: a.configPath, Message: err.Error(), Hint: daemon.Hint(err)}}
				default:
					out.Effective = string(cfg.YAML())
				}
				if jerr := a.printJSON(out); jerr != nil {
					return jerr
				}
			}
			if err != nil {
				return failConfig(err)
			}
			if !a.json {
				_, err = fmt.Fprint(a.Stdout, string(cfg.YAML()))
			}
			return err
		},
	}
	a.jsonFlag(c, "print one JSON object: ok, problems, effective")
	return c
}

type checkOutput struct {
	OK        bool             `json:"ok"`
	Problems  []config.Problem `json:"problems"`
	Effective string           `json:"effective,omitempty"` // YAML
}
