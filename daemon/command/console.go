package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	network "net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/console"
)

// consoleAnswers is how long the daemon may take to accept a connection.
const consoleAnswers = 3 * time.Second

// consoleLink is an address of the console, as --json prints it.
type consoleLink struct {
	URL     string       `json:"url"`
	Role    console.Role `json:"role"`
	Expires time.Time    `json:"expires"`
}

func (a *app) console() *cobra.Command {
	c := &cobra.Command{
		Use:   "console",
		Short: "Print the address of the technician's page, with a link that logs in once",
		Long: "Prints where the page of the daemon that runs here is. The link logs in once, within five minutes; who opens it may change things, with\n" +
			"--view only look. It is made with the token that the daemon has, so that only root and livenessd's user can make one.\n\n" +
			"Unless console.listen says otherwise, only browsers on this machine reach the page. From another one, without opening it to the\n" +
			"network: ssh -L 8470:127.0.0.1:8470 DEVICE, and open the link there.\n\n" +
			"As a service livenessd may not write its configuration. --apply, as root, shows the change that was confirmed on the page, asks, and writes it.",
		Args: usageArgs(cobra.NoArgs),
	}
	qr := c.Flags().Bool("qr", false, "print the link as a QR code, too, for a phone")
	view := c.Flags().Bool("view", false, "a link for looking alone")
	apply := c.Flags().Bool("apply", false, "instead of a link: write a change of the configuration that was confirmed on the page, after a question")
	yes := c.Flags().Bool("yes", false, "with --apply: don't ask")
	a.jsonFlag(c, "print one JSON object for each address: url, role, expires")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *yes && !*apply || *apply && (*qr || *view || a.json) {
			return fail(ExitUsage, errors.New("console: --yes needs --apply, and --apply stands alone beside it"))
		}
		cfg, err := a.load()
		if err != nil {
			return err
		}
		cfg.State = a.serviceState(cfg.State)
		if *apply {
			return a.applyProposal(c.Context(), cfg.State, *yes, newAnswers(c.InOrStdin()))
		}
		at, err := netip.ParseAddrPort(cfg.Console.Listen)
		if err != nil {
			return fail(ExitConfig, &advised{errors.New("console: it is off"), "give console.listen an address, such as " + config.DefaultListen})
		}
		token, err := a.consoleToken(cfg)
		if err != nil {
			return failConfig(err)
		}
		if err := consoleRuns(at); err != nil {
			return fail(ExitUnavailable, &advised{fmt.Errorf("console: nobody answers: %w", err), "see `livenessd status`, and its log for a line about the console"})
		}
		role := console.Admin
		if *view {
			role = console.Viewer
		}
		var links []consoleLink
		for _, host := range consoleHosts(cfg.Console, at) {
			now := time.Now()
			u := url.URL{Scheme: "http", Host: network.JoinHostPort(host, fmt.Sprint(at.Port())), Path: "/", Fragment: "link=" + console.NewLink(token, role, now)}
			if cfg.Console.TLS() {
				u.Scheme = "https"
			}
			links = append(links, consoleLink{u.String(), role, now.Add(console.LinkTime).UTC()})
		}
		return a.printLinks(links, *qr, at.Addr().Unmap().IsLoopback())
	}
	return c
}

// serviceState is the state folder of the service whose configuration is named, where that leaves it to the service: one of another name has its
// own.
func (a *app) serviceState(state string) string {
	name := filepath.Base(filepath.Dir(a.configPath))
	theirs := filepath.Join("/var/lib", name)
	if state != "/var/lib/livenessd" || filepath.Dir(filepath.Dir(a.configPath)) != "/etc" {
		return state
	}
	if _, err := os.Stat(theirs); err != nil {
		return state
	}
	return theirs
}

// applyProposal writes what was confirmed on the page of a daemon that may not write it.
func (a *app) applyProposal(ctx context.Context, state string, yes bool, in *answers) error {
	path := a.configPath
	if path == "" {
		path = config.DefaultPath
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	p, err := console.ReadProposal(state)
	if err != nil {
		return err
	}
	change, err := p.Difference(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stderr, "%s, as confirmed on the page at %s:\n", path, p.At.Local().Format("2006-01-02 15:04"))
	for line := range strings.Lines(change) {
		fmt.Fprintln(a.Stderr, strings.TrimRight(oneLine(line), " "))
	}
	if !yes {
		fmt.Fprint(a.Stderr, "Write this? [y/N] ")
		agreed, err := in.confirmed(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if !agreed || ctx.Err() != nil {
			fmt.Fprintln(a.Stderr, "nothing was written; it still waits")
			return nil
		}
	}
	if err := p.Write(path, state); err != nil {
		return err
	}
	fmt.Fprintln(a.Stderr, "written; next: livenessd restart")
	return nil
}

func (a *app) printLinks(links []consoleLink, qr, local bool) error {
	for _, l := range links {
		if a.json {
			if err := a.printJSON(l); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(a.Stdout, l.URL)
	}
	if a.json {
		return nil
	}
	if qr {
		qrterminal.GenerateHalfBlock(links[0].URL, qrterminal.L, a.Stdout)
	}
	what := "may change things"
	if links[0].Role == console.Viewer {
		what = "may look"
	}
	each := "The link logs in once"
	if len(links) > 1 {
		each = "Each link logs in once"
	}
	fmt.Fprintf(a.Stderr, "%s, within %v; who opens it %s.\n", each, console.LinkTime, what)
	if local {
		fmt.Fprintln(a.Stderr, "Only browsers on this machine reach it. From another: ssh -L 8470:127.0.0.1:8470 DEVICE, or console.listen in the configuration.")
	}
	return nil
}

// consoleToken is the token that the daemon has. systemd hands it credentials in a folder of the daemon's own; root finds them where they come
// from.
func (a *app) consoleToken(cfg config.Config) ([]byte, error) {
	if cfg.Console.TokenFile == "" {
		path := a.configPath
		if path == "" {
			path = config.DefaultPath
		}
		path = filepath.Join(filepath.Dir(path), "credentials", console.TokenCredential)
		token, err := console.ReadToken(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return token, err
		}
	}
	return console.LinkToken(cfg)
}

// consoleRuns tells whether somebody listens where the console should be.
func consoleRuns(at netip.AddrPort) error {
	c, err := network.DialTimeout("tcp", netip.AddrPortFrom(reachable(at.Addr()), at.Port()).String(), consoleAnswers)
	if err != nil {
		return err
	}
	return c.Close()
}

// reachable is an address of this machine that leads to who listens on one.
func reachable(a netip.Addr) netip.Addr {
	switch {
	case !a.IsUnspecified():
		return a
	case a.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// consoleHosts is by which names or addresses browsers reach the console, the best first.
func consoleHosts(c config.Console, at netip.AddrPort) []string {
	if !at.Addr().IsUnspecified() {
		if at.Addr().Unmap().IsLoopback() || len(c.Hosts) == 0 {
			return []string{at.Addr().String()}
		}
		return c.Hosts
	}
	if len(c.Hosts) > 0 {
		return c.Hosts
	}
	var out []string
	addresses, err := network.InterfaceAddrs()
	if err == nil {
		for _, a := range addresses {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().IsGlobalUnicast() && (at.Addr().Is6() || p.Addr().Is4()) {
				out = append(out, p.Addr().String())
			}
		}
	}
	if len(out) == 0 {
		return []string{"localhost"}
	}
	return out
}
