package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
)

// cameras is whether each camera of the configuration is there, may be opened, and gives the pictures that are asked of it. All of them
// are run at the same time, as the daemon does: only then does the USB bus show what it can bear.
type cameras struct{ p *Patient }

var _ Check = cameras{}

const (
	watched = 2 * time.Second  // how long frames are counted
	patient = 12 * time.Second // how long the first one may take
)

func (c cameras) Look(ctx context.Context) []Finding {
	if out := c.hanging(); out != nil {
		return out
	}
	list, err := c.p.List()
	if err != nil {
		list = nil // each camera says for itself why it can't be had
	}
	names := slices.Sorted(maps.Keys(c.p.Config.Cameras))
	found := make([][]Finding, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			for _, f := range c.one(ctx, name, c.p.Config.Cameras[name], list) {
				found[i] = append(found[i], f.of(name))
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

// hanging is which cameras' drivers don't come back to whoever asked them. Who asks as well, if only for a list, may not come back either, and
// couldn't even be ended.
func (c cameras) hanging() []Finding {
	const do = "unplug the camera and plug it in again, or restart this machine; the service goes on by itself then"
	var out []Finding
	for _, part := range c.p.Daemon.Stuck {
		if name, is := strings.CutPrefix(part, daemon.DriverOf); is {
			out = append(out, failure(Internal, do, "the camera's driver doesn't come back to livenessd (process %d)", c.p.Daemon.PID).of(name))
		}
	}
	nodes, _ := filepath.Glob(filepath.Join(c.p.Host.Dev, "video*"))
	for _, node := range nodes {
		for _, h := range c.p.Host.holders(node) {
			if h.hangs {
				out = append(out, failure(Internal, do, "its driver doesn't come back to %s, which has ended otherwise", h).of(node))
			}
		}
	}
	if out != nil {
		out = append(out, skipped("no camera is asked anything: who asks one whose driver hangs may not come back either"))
	}
	return out
}

func (c cameras) one(ctx context.Context, name string, cfg config.Camera, list []camera.Info) []Finding {
	if cfg.Replay() {
		return c.watch(ctx, name, cfg, nil, "")
	}
	var out []Finding
	info, path := pick(cfg.Path, list)
	if path == "" {
		return []Finding{failure(Absent, nothing(list), "no usable camera found")}
	}
	switch {
	case cfg.Path == "":
		out = append(out, ok("no path is configured, and %s is taken: %s", path, card(info)))
	case info != nil:
		out = append(out, ok("%s: %s", path, card(info)))
	}
	f, usable := c.node(path, list)
	out = append(out, f...)
	if !usable {
		return out
	}
	if info != nil && info.ByID != "" && cfg.Path != "" && !strings.HasPrefix(cfg.Path, filepath.Join(c.p.Host.Dev, "v4l")) {
		out = append(out, warning("write path: "+info.ByID, "%s can be another camera after a restart", cfg.Path))
	}
	holders := c.p.Host.holders(path)
	ours := func(h holder) bool {
		return h.pid == c.p.Service.PID || h.pid == c.p.Daemon.PID || h.name == "livenessd"
	}
	if i := slices.IndexFunc(holders, ours); i >= 0 {
		out = append(out, using(c.p.Daemon, name, path, holders[i]))
	} else {
		var who []string
		for _, h := range holders {
			who = append(who, h.String())
		}
		out = append(out, c.watch(ctx, name, cfg, info, strings.Join(who, ", "))...)
	}
	return out
}

// pick finds what a configured path means: one by any name, or for "" the first usable one, virtual ones after all others.
func pick(path string, list []camera.Info) (*camera.Info, string) {
	if path != "" {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, path
		}
		for i := range list {
			if list[i].Path == real {
				return &list[i], path
			}
		}
		return nil, path
	}
	var best *camera.Info
	for i := range list {
		if list[i].Usable && (best == nil || virtual(best) && !virtual(&list[i])) {
			best = &list[i]
		}
	}
	if best == nil {
		return nil, ""
	}
	return best, name(*best)
}

func virtual(i *camera.Info) bool { return i.Virtual != "" }

// name is the best name of a camera.
func name(i camera.Info) string {
	if i.ByID != "" {
		return i.ByID
	}
	return i.Path
}

func card(i *camera.Info) string {
	if i == nil {
		return "unknown"
	}
	var formats []string
	for _, f := range i.Formats {
		formats = append(formats, strings.TrimSpace(f.FourCC))
	}
	const few = 6 // vivid has 83
	if n := len(formats); n > few {
		formats = append(formats[:few], fmt.Sprintf("and %d more", n-few))
	}
	return i.Card + ", driver " + i.Driver + ", formats " + strings.Join(formats, " ")
}

// nothing says what to do where a camera isn't there.
func nothing(list []camera.Info) string {
	if len(list) == 0 {
		return "plug a camera in; `dmesg` tells whether the kernel saw it. There is no camera on this machine now"
	}
	var names []string
	for _, i := range list {
		n := name(i)
		if !i.Usable {
			n += " (not usable: " + i.Reason + ")"
		}
		names = append(names, n)
	}
	return "plug the camera in, or correct the path. There are: " + strings.Join(names, ", ")
}

// node looks at a device without opening it. usable tells whether opening it makes sense.
func (c cameras) node(path string, list []camera.Info) (out []Finding, usable bool) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{failure(Absent, nothing(list), "%s: there is no such device", path)}, false
	case err != nil:
		return []Finding{failure(Other, "", "%s", err)}, false
	case !c.p.device(st.Mode()):
		return []Finding{failure(Configuration, nothing(list), "%s is no device", path)}, false
	}
	var d *denied
	switch err := c.p.Host.reach(c.p.Account, path, mayRead|mayWrite); {
	case errors.As(err, &d):
		out = append(out, failure(Permission, d.hint(), "%s", err))
	case err == nil:
		out = append(out, ok("%s: user %s may open it", path, c.p.Account.Name))
	default:
		out = append(out, skipped("%s: who may open it isn't known: %s", path, err))
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return out, true
	}
	// A node beside a camera's own, which has its metadata.
	device := c.p.Host.folder(real)
	if device == "" || slices.ContainsFunc(list, func(i camera.Info) bool { return i.Path == real }) {
		return out, true
	}
	for _, i := range list {
		if c.p.Host.folder(i.Path) == device {
			return append(out, failure(Configuration, "write path: "+name(i), "%s isn't the node of this camera that gives pictures", path)), false
		}
	}
	return out, true
}

// folder is the folder in /sys of the device that a node belongs to.
func (h Host) folder(node string) string {
	d, err := filepath.EvalSymlinks(filepath.Join(h.Sys, "class/video4linux", filepath.Base(node), "device"))
	if err != nil {
		return ""
	}
	return d
}

// seen is what was seen of a camera while it was watched.
type seen struct {
	frames, bytes int
	luma          float64 // mean, 0…255
	dark, bright  float64 // share of samples that are as dark, or as bright, as can be
	first, last   time.Time
	bad           uint64
}

// watch runs the camera for a while.
func (c cameras) watch(ctx context.Context, name string, cfg config.Camera, info *camera.Info, holders string) []Finding {
	cam, err := c.p.Open(name, cfg)
	if err != nil {
		return []Finding{failure(Configuration, hintOr(err, ""), "%s", err)}
	}
	defer cam.Close()
	s, err := watch(ctx, cam)
	st := cam.Status()
	if err != nil {
		if st.Err == "" {
			return []Finding{failure(Absent, "check the camera's cable, its hub and the hub's power, or plug it in anew", "no frame within %v", patient)}
		}
		do := st.Hint
		if strings.Contains(st.Err, "busy") && holders != "" {
			do = "stop " + holders + ", which uses the camera"
		}
		return []Finding{failure(cameraCause(st), do, "%s", st.Err)}
	}
	var out []Finding
	if st.State == camera.StateStreaming && st.Err != "" { // it streams, and not as it was told to
		out = append(out, warning(st.Hint, "%s", st.Err))
	}
	out = append(out, rate(cfg, st, s, c.p.Config.Decision, info)...)
	out = append(out, exposure(s))
	if s.bad > 0 {
		out = append(out, warning("check the camera's cable, its hub and the hub's power", "%d of %d frames were damaged: %s", s.bad, st.Counters.Captured, st.Counters.LogValue()))
	}
	if info != nil {
		if f, is := c.p.Host.usb(info.Path, st, s); is {
			out = append(out, f)
		}
	}
	return out
}

func cameraCause(st camera.Status) Cause {
	switch {
	case st.Code == camera.CodePermission:
		return Permission
	case st.Code == camera.CodeSuspect, strings.Contains(st.Err, "not a capture device"), strings.Contains(st.Err, "no pixel format"):
		return Configuration
	}
	return Absent
}

// watch counts frames for two seconds from the first on.
func watch(ctx context.Context, cam daemon.Camera) (seen, error) {
	s := seen{}
	wait, cancel := context.WithTimeout(ctx, patient)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	// Trouble that won't go away by itself ends the wait.
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-wait.Done():
				return
			case <-tick.C:
				if cam.Status().State == camera.StateFailed {
					cancel()
				}
			}
		}
	})
	var dark, bright, luma, n float64
	for {
		f, err := cam.Next(wait)
		if err != nil {
			if s.frames == 0 {
				return s, err
			}
			break
		}
		now := f.Captured
		if s.frames == 0 {
			s.first = now
			c := cam.Status().Counters
			s.bad = c.Bad.Total()
		}
		s.last = now
		s.frames++
		s.bytes += len(f.JPEG)
		d, b, l := samples(f)
		dark, bright, luma, n = dark+d, bright+b, luma+l, n+1
		if now.Sub(s.first) >= watched {
			break
		}
	}
	s.dark, s.bright, s.luma = dark/n, bright/n, luma/n
	s.bad = cam.Status().Counters.Bad.Total()
	return s, nil
}

func rate(cfg config.Camera, st camera.Status, s seen, d config.Decision, info *camera.Info) []Finding {
	var out []Finding
	is := 0.0
	if span := s.last.Sub(s.first).Seconds(); span > 0 && s.frames > 1 {
		is = float64(s.frames-1) / span
	}
	what := fmt.Sprintf("%s %d×%d, %.1f frames a second", strings.TrimSpace(st.Format), st.Width, st.Height, is)
	promised := st.FPS
	if promised == 0 {
		promised = cfg.FPS
	}
	need := float64(d.MinFrames) / d.Window.Seconds()
	const slow = "more light, as many cameras slow down in the dark (v4l2-ctl -d DEVICE -c exposure_dynamic_framerate=0 forbids it); or format MJPG, a smaller size, another USB socket"
	switch {
	case is < need:
		out = append(out, failure(Other, slow, "%s; a verdict takes %d frames in %v", what, d.MinFrames, d.Window))
	case is < 0.75*promised:
		out = append(out, warning(slow, "%s, where the driver promises %g", what, promised))
	default:
		out = append(out, ok("%s", what))
	}
	if st.FPS > 0 && st.FPS < cfg.FPS*0.99 && is >= need {
		out = append(out, warning("choose another size or format, or a lower fps: `livenessd cameras` lists them", "the configuration wants %g frames a second, the camera has %g at this size",
			cfg.FPS, st.FPS))
	}
	if !cfg.Replay() && (st.Width != cfg.Size.Width || st.Height != cfg.Size.Height) {
		out = append(out, warning("choose one of: "+sizes(info, st.Format), "the configuration wants %d×%d, and the camera gives %d×%d", cfg.Size.Width, cfg.Size.Height, st.Width, st.Height))
	}
	return out
}

func sizes(info *camera.Info, format string) string {
	if info == nil {
		return "what `livenessd cameras` lists"
	}
	var out []string
	for _, f := range info.Formats {
		if f.FourCC != format {
			continue
		}
		for _, s := range f.Sizes {
			out = append(out, fmt.Sprintf("%dx%d", s.Width, s.Height))
		}
	}
	if len(out) == 0 {
		return "what `livenessd cameras` lists"
	}
	return strings.Join(out, ", ")
}

func exposure(s seen) Finding {
	what := fmt.Sprintf("brightness %.0f of 255, %.0f %% of the picture black, %.0f %% white", s.luma, 100*s.dark, 100*s.bright)
	switch {
	case s.dark > 0.95:
		return warning("take the cap or the shutter off the camera, and give it light; check its exposure (v4l2-ctl -d DEVICE --list-ctrls)", "the picture is black: %s", what)
	case s.luma < 35:
		return warning("more light on the faces", "the picture is dark: %s", what)
	case s.bright > 0.5:
		return warning("turn the camera away from the window or the lamp, and check its exposure (v4l2-ctl -d DEVICE --list-ctrls)", "the picture is too bright: %s", what)
	}
	return ok("%s", what)
}

// The USB speeds as /sys has them, in Mbit/s, and how many bytes a second a camera's pictures can have of each.
var usbSpeeds = []struct {
	mbit  float64
	name  string
	bytes float64
}{{1.5, "low speed", 0}, {12, "full speed", 1.023e6}, {480, "high speed", 24.576e6}, {5000, "SuperSpeed", 393e6}, {10000, "SuperSpeed+", 800e6}, {20000, "SuperSpeed+", 1.6e9}}

// usb compares what the format needs with what the socket gives.
func (h Host) usb(node string, st camera.Status, s seen) (Finding, bool) {
	speed := 0.0
	for d := h.folder(node); d != "" && d != "/" && d != "."; d = filepath.Dir(d) {
		if t := text(d, "speed"); t != "" && text(d, "idVendor") != "" {
			if _, err := fmt.Sscan(t, &speed); err != nil {
				return Finding{}, false
			}
			break
		}
	}
	if speed == 0 {
		return Finding{}, false
	}
	fps := st.FPS
	if fps == 0 {
		fps = float64(s.frames) / watched.Seconds()
	}
	per := float64(st.Width*st.Height) * map[string]float64{"YUYV": 2, "UYVY": 2, "YVYU": 2, "NV12": 1.5, "NV21": 1.5, "YU12": 1.5, "YV12": 1.5,
		"RGB3": 3, "BGR3": 3, "GREY": 1, "Y16": 2, "Y10": 2}[st.Format]
	if st.Format == "MJPG" && s.frames > 0 {
		per = float64(s.bytes) / float64(s.frames)
	}
	for _, u := range usbSpeeds {
		if math.Abs(speed-u.mbit) > u.mbit/100 {
			continue
		}
		needs := per * fps
		what := fmt.Sprintf("USB at %s (%g Mbit/s): %s at %g frames a second takes %.1f of %.1f MB/s", u.name, speed, st.Format, fps, needs/1e6, u.bytes/1e6)
		switch {
		case u.mbit < 480:
			return warning("plug it into another socket, without a hub and with another cable", "%s", what), true
		case needs > u.bytes:
			return warning("choose format MJPG, a smaller size or a lower rate, or a USB 3 socket", "%s", what), true
		}
		return ok("%s", what), true
	}
	return Finding{}, false
}
