package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
)

func (a *app) run() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Watch the cameras and publish verdicts until stopped",
		Long: "The daemon. With no configuration at all it watches the first usable camera and publishes to a broker at localhost.\n" +
			"A camera or a broker that is away is waited for. SIGTERM and SIGINT end it cleanly, with exit code 0.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if err := a.tryModels(c.Context(), cfg); err != nil {
				return err
			}
			log := a.logger(cfg)
			return daemon.Run(c.Context(), daemon.Options{
				Config: cfg, Version: a.Version, Log: log,
				Ready: func(*daemon.Engine) {
					log.Info("ready", "version", a.Version, "device", cfg.Device, "cameras", len(cfg.Cameras), "broker", strings.Join(cfg.MQTT.URLs, " "))
				},
			})
		},
	}
}
