package doctor

import (
	"bufio"
	"context"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// port is whether livenessd can listen where the configuration says, or does.
type port struct {
	p      *Patient
	key    string
	listen string
	says   string // what the log says where it can't
}

var _ Check = port{}

// ports are the checks of where it listens.
func (p *Patient) ports() []Named {
	return []Named{
		{"metrics", 20 * time.Second, port{p, "metrics.listen", p.Config.Metrics.Listen, "figures and health can't be shown"}},
		{"console", 20 * time.Second, port{p, "console.listen", p.Config.Console.Listen, "the console can't be reached"}},
	}
}

func (c port) Look(context.Context) []Finding {
	at, err := netip.ParseAddrPort(c.listen)
	if err != nil {
		return []Finding{ok("%s is off", c.key)}
	}
	elsewhere := "choose another port in " + c.key
	if at.Port() < 1024 && c.p.Account.UID != 0 {
		return []Finding{failure(Permission, elsewhere, "port %d is root's alone, as are all below 1024", at.Port())}
	}
	runs := c.p.Daemon.PID
	inodes := c.p.Host.listening(at)
	if len(inodes) == 0 {
		if runs == 0 {
			return []Finding{ok("%s is free", at)}
		}
		return []Finding{warning("`sudo systemctl reload livenessd` where the configuration is newer; else see its log for \""+c.says+"\"",
			"livenessd runs (process %d), but nothing listens at %s", runs, at)}
	}
	var who []holder
	for _, inode := range inodes {
		for _, h := range c.p.Host.openers("socket:[" + inode + "]") {
			if !slices.Contains(who, h) {
				who = append(who, h)
			}
		}
	}
	switch {
	case slices.ContainsFunc(who, func(h holder) bool { return h.pid == runs || h.name == "livenessd" }):
		return []Finding{ok("livenessd listens at %s", at)}
	case len(who) > 0:
		return []Finding{failure(Configuration, elsewhere+", or stop "+who[0].name, "%s is taken by %s", at, who[0])}
	case runs != 0:
		return []Finding{skipped("something listens at %s; only root sees whether that is livenessd: run `sudo livenessd doctor`", at)}
	}
	return []Finding{failure(Configuration, elsewhere+"; `sudo livenessd doctor` says who has it", "%s is taken", at)}
}

// listening gives the inodes of the TCP sockets that listen where at is, or at all addresses.
func (h Host) listening(at netip.AddrPort) (inodes []string) {
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(h.Proc, "net", name))
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			has, inode, ok := listener(s.Text())
			if !ok || has.Port() != at.Port() {
				continue
			}
			if has.Addr() == at.Addr().Unmap() || has.Addr().IsUnspecified() || at.Addr().IsUnspecified() {
				inodes = append(inodes, inode)
			}
		}
		f.Close()
	}
	return inodes
}

// listener reads a line of /proc/net/tcp or tcp6: where a socket listens, and its inode.
func listener(line string) (at netip.AddrPort, inode string, ok bool) {
	const listens = "0A" // TCP_LISTEN
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != listens {
		return at, "", false
	}
	address, port, _ := strings.Cut(f[1], ":")
	b, err := hex.DecodeString(address)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return at, "", false
	}
	for w := range slices.Chunk(b, 4) { // words in the machine's order of bytes, which is the little end first on all that livenessd is built for
		slices.Reverse(w)
	}
	a, is := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), f[9], is
}
