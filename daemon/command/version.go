package command

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/tflite"
)

func (a *app) version() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of livenessd and of the TensorFlow Lite library that it finds",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			out := versionOutput{Version: a.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			if rt, err := tflite.Load(tflite.LoadOptions{Path: cfg.Models.Runtime}); err != nil {
				out.RuntimeError = err.Error()
			} else {
				out.Runtime, out.Library = rt.Version(), rt.Path()
			}
			if a.json {
				return a.printJSON(out)
			}
			fmt.Fprintf(a.Stdout, "livenessd %s (%s, %s/%s)\n", out.Version, out.Go, out.OS, out.Arch)
			if out.RuntimeError != "" {
				fmt.Fprintf(a.Stdout, "TensorFlow Lite: %s\n", out.RuntimeError)
				return nil
			}
			fmt.Fprintf(a.Stdout, "TensorFlow Lite %s (%s)\n", out.Runtime, out.Library)
			return nil
		},
	}
	a.jsonFlag(c, "print one JSON object")
	return c
}

type versionOutput struct {
	Version      string `json:"version"`
	Go           string `json:"go"`
	OS           string `json:"os"`
	Arch         string `json:"arch"`
	Runtime      string `json:"runtime,omitempty"` // version of TensorFlow Lite
	Library      string `json:"library,omitempty"` // its path
	RuntimeError string `json:"runtime_error,omitempty"`
}
