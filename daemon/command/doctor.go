package command

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon/doctor"
)

func (a *app) doctor() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor [CHECK…]",
		Short: "Find out why it doesn't work here, and what to do",
		Long: "Looks at configuration, files and permissions, service, clock, temperature, disk, library, models, cameras, broker and the ports for\n" +
			"figures and the console, and says of each what it saw, and what to do where something is wrong. Permissions are worked out for the service's\n" +
			"user, whoever runs this; only root sees everything. It may run beside the daemon. With names of checks, only those are made. Without\n" +
			"--config it looks at the configuration that the unit names.\n\n" +
			"Exit code: 0 without failures, warnings or not; else that of the failure which should be mended first: 78 configuration, 77 permission,\n" +
			"69 a device or service is absent, 70 internal, 1 other.",
	}
	var (
		unit   = c.Flags().String("unit", "livenessd.service", "the service's unit")
		user   = c.Flags().String("user", "livenessd", "whose permissions are worked out where the unit isn't installed")
		bundle = c.Flags().String("bundle", "", "write an archive (tar.gz) to send to whoever helps, without secrets and pictures, to this `FILE`")
	)
	a.jsonFlag(c, "print one JSON object: version, at, worst, findings")
	c.RunE = func(c *cobra.Command, names []string) error {
		ctx, host := c.Context(), doctor.ThisHost()
		p := doctor.Admit(ctx, doctor.Options{Host: host, ConfigPath: a.configPath, Version: a.Version, Unit: *unit, User: *user,
			Try: a.tryModels, Engine: a.opener(slog.New(slog.DiscardHandler)).Open})
		r := doctor.Report{Version: a.Version, At: host.Now().UTC()}
		checks, err := chosen(p.Checks(), names)
		if err != nil {
			return err
		}
		r.Findings = doctor.Examine(ctx, checks, func(f doctor.Finding) {
			if !a.json {
				fmt.Fprintln(a.Stdout, f)
			}
		})
		if err := ctx.Err(); err != nil {
			return err
		}
		r.Worst = doctor.Worst(r.Findings)
		if a.json {
			if err := a.printJSON(r); err != nil {
				return err
			}
		}
		if *bundle != "" {
			if err := p.WriteBundle(ctx, *bundle, r); err != nil {
				return err
			}
			fmt.Fprintf(a.Stderr, "wrote %s: look into it before you send it to anybody\n", *bundle)
		}
		return ailing(r)
	}
	return c
}

// ailing is the error of a machine with failures, with the exit code of the one to mend first.
func ailing(r doctor.Report) error {
	cause, is := doctor.FirstCause(r.Findings)
	if !is {
		return nil
	}
	n := 0
	for _, f := range r.Findings {
		if f.Level == doctor.Failure {
			n++
		}
	}
	code := map[doctor.Cause]int{doctor.Configuration: ExitConfig, doctor.Permission: ExitPermission, doctor.Absent: ExitUnavailable, doctor.Internal: ExitInternal,
		doctor.Other: ExitOther}[cause]
	return fail(code, fmt.Errorf("doctor: failures: %d", n))
}

// chosen picks checks by their names; without any all are made.
func chosen(all []doctor.Named, names []string) ([]doctor.Named, error) {
	var known []string
	for _, c := range all {
		known = append(known, c.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fail(ExitUsage, fmt.Errorf("doctor: no check %.40q; there are %s", n, strings.Join(known, ", ")))
		}
	}
	return slices.DeleteFunc(all, func(c doctor.Named) bool { return len(names) > 0 && !slices.Contains(names, c.Name) }), nil
}
