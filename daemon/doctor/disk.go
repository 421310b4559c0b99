package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/livenessd/livenessd/daemon"
)

// Space is what is known of a file system.
type Space struct {
	Size, Free       int64 // bytes; what others than root may still use
	Nodes, FreeNodes int64 // 0 nodes: it doesn't count them
	ReadOnly, Memory bool
	Major, Minor     uint32 // of the device that it lies on
}

// disk is whether what must survive can be written, and how long the disk will bear it.
type disk struct{ p *Patient }

var _ Check = disk{}

const (
	// perVerdict is what a verdict writes at most, from docs/reliability.md.
	perVerdict = 16 << 10
	// little is free space below which something else on the machine will soon fill it.
	little = 64 << 20
)

func (c disk) Look(context.Context) []Finding {
	h, dir := c.p.Host, c.p.Config.State
	var out []Finding
	at := dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		do := "it is made when the service starts; or mkdir -p " + dir + " && chown " + c.p.Account.Name + ": " + dir
		f := failure(Absent, do, "%s: there is no such folder", dir)
		if !c.p.Service.Installed || c.p.Service.StateDirectory != "" {
			f = warning(do, "%s isn't there yet", dir)
		}
		for at = filepath.Dir(dir); at != filepath.Dir(at); at = filepath.Dir(at) {
			if _, err := os.Stat(at); err == nil {
				break
			}
		}
		out = append(out, f.of("state"))
	} else {
		out = append(out, c.writable(dir)...)
	}
	s, err := h.Space(at)
	if err != nil {
		return append(out, failure(Other, daemon.Hint(err), "%s", err))
	}
	out = append(out, c.room(at, s).of("space"))
	if s.Memory {
		return append(out, warning("name a folder on a disk in state", "%s is in memory: bans and verdicts that wait are lost when the power goes", at).of("wear"))
	}
	out = append(out, h.wear(s).of("wear"))
	if f, is := c.written(); is {
		out = append(out, f.of("wear"))
	}
	return out
}

// written is how much the daemon that runs has handed to the system for writing since it was started.
func (c disk) written() (Finding, bool) {
	d := c.p.Daemon
	up := c.p.Host.Now().Sub(d.Started)
	if d.PID == 0 || d.Started.IsZero() || up < time.Minute {
		return Finding{}, false
	}
	for line := range strings.Lines(text(c.p.Host.Proc, strconv.Itoa(d.PID), "io")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.ParseInt(value, 10, 64)
		if key == "write_bytes" && err == nil {
			year := int64(float64(n) / up.Hours() * 24 * 365)
			return ok("the daemon that runs has written %s in %v; that would be %s a year", size(n), up.Round(time.Minute), size(year)), true
		}
	}
	return Finding{}, false
}

// writable tells whether the service's user may write there, and whether the disk takes it.
func (c disk) writable(dir string) []Finding {
	var out []Finding
	for _, name := range []string{"journal.db.damaged", "state.db.damaged"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			out = append(out, warning("check the disk or memory card (dmesg), then remove the file; without a cause that is found, replace the card",
				"%s was set aside as damaged at %s", filepath.Join(dir, name), info.ModTime().UTC().Format(time.DateTime)).of("state"))
		}
	}
	var d *denied
	err := c.p.Host.reach(c.p.Account, dir, mayWrite|maySearch)
	switch {
	case errors.As(err, &d):
		return append(out, failure(Permission, d.hint(), "%s", err).of("state"))
	case errors.Is(err, fs.ErrPermission):
		return append(out, skipped("%s can't be looked at by this user: run `sudo livenessd doctor`", dir).of("state"))
	case err != nil:
		return append(out, failure(Other, "", "%s", err).of("state"))
	}
	took, err := trial(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return append(out, ok("%s: user %s may write there; not tried, as this isn't root", dir, c.p.Account.Name).of("state"))
	case err != nil:
		return append(out, failure(Other, writeHint(err), "a file can't be written: %s; verdicts that wait would be in memory alone, and no session is let in", err).of("state"))
	case took > time.Second:
		return append(out, warning("the disk or memory card is very slow, as failing ones are: replace it", "%s: it took %v until 4 KiB were on the disk", dir,
			took.Round(10*time.Millisecond)).of("state"))
	}
	return append(out, ok("%s: user %s may write there, and 4 KiB were on the disk after %v", dir, c.p.Account.Name, took.Round(100*time.Microsecond)).of("state"))
}

// trial writes a page to the disk and removes it again.
func trial(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	start := time.Now()
	_, err = f.Write(make([]byte, 4<<10))
	if err == nil {
		err = f.Sync()
	}
	took = time.Since(start)
	return took, errors.Join(err, f.Close())
}

func writeHint(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "no space left"):
		return "the disk is full: make room on it (journalctl --vacuum-size=100M, old logs and packages)"
	case strings.Contains(text, "read-only"):
		return "the file system is read-only: the kernel makes it so after errors (dmesg); check and replace the card, or remount it: mount -o remount,rw MOUNTPOINT"
	case strings.Contains(text, "quota"):
		return "the user's quota is used up: raise it"
	}
	return "the disk or memory card may be failing: see dmesg, and replace it"
}

func (c disk) room(dir string, s Space) Finding {
	journal := 2 * int64(c.p.Config.MQTT.Journal.Bytes)
	const make = "make room: journalctl --vacuum-size=100M, old logs and packages"
	switch {
	case s.ReadOnly:
		return failure(Other, writeHint(errors.New("read-only")), "the file system of %s is read-only", dir)
	case s.Free < journal:
		return failure(Other, make, "%s free of %s on %s; verdicts that wait for a broker may take %s", size(s.Free), size(s.Size), dir, size(journal))
	case s.Nodes > 0 && s.FreeNodes < 100:
		return failure(Other, "remove files: the file system has room for no more of them, however small", "%d of %d inodes free on %s", s.FreeNodes, s.Nodes, dir)
	case s.Free < journal+little || s.Free < s.Size/50:
		return warning(make, "%s free of %s on %s: nearly full", size(s.Free), size(s.Size), dir)
	}
	return ok("%s free of %s on %s", size(s.Free), size(s.Size), dir)
}

func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// wear tells what eMMC and SD cards say of how much they have been written.
func (h Host) wear(s Space) Finding {
	estimate := fmt.Sprintf("a verdict writes up to %s, so 1,000 a day write %s a year", size(perVerdict), size(1000*365*perVerdict))
	folder, err := filepath.EvalSymlinks(filepath.Join(h.Sys, "dev/block", fmt.Sprintf("%d:%d", s.Major, s.Minor)))
	if err != nil {
		return ok("%s; the disk tells nothing of its wear", estimate)
	}
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		folder = filepath.Dir(folder)
	}
	device := filepath.Base(folder)
	life, end := text(folder, "device/life_time"), text(folder, "device/pre_eol_info")
	used := int64(0)
	for _, f := range strings.Fields(life) {
		var v int64
		if _, err := fmt.Sscanf(f, "0x%x", &v); err == nil {
			used = max(used, v)
		}
	}
	const replace = "replace the memory before it fails, and copy the state folder"
	switch {
	case end == "0x03" || used >= 11:
		return failure(Other, replace, "%s has reached the end of its life (life_time %s, pre_eol_info %s)", device, life, end)
	case end == "0x02" || used >= 9:
		return warning(replace, "%s is worn: up to %d %% of its life is used (life_time %s, pre_eol_info %s); %s", device, 10*used, life, end, estimate)
	case used > 0:
		return ok("%s: up to %d %% of its life is used; %s", device, 10*used, estimate)
	}
	if kind := text(folder, "device/type"); kind == "SD" {
		return ok("%s is an SD card, which tells nothing of its wear; %s", device, estimate)
	}
	return ok("%s tells nothing of its wear; %s", device, estimate)
}
