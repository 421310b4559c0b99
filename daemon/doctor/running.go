package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
)

// StatusFile is the file in the runtime directory in which a daemon that runs says how it is doing.
const StatusFile = "status.json"

// daemon reads what a daemon says of itself. What one left behind that is no more counts for nothing; its PID is 0 where there is none.
func (h Host) daemon(s Service) daemon.Health {
	none := daemon.Health{PID: s.PID}
	var r daemon.Health
	if err := json.Unmarshal([]byte(text(h.Runtime, StatusFile)), &r); err != nil || r.PID == 0 {
		return none
	}
	if _, err := os.Stat(filepath.Join(h.Proc, strconv.Itoa(r.PID))); errors.Is(err, os.ErrNotExist) {
		return none
	}
	return r
}

// moves is whether a daemon that runs gets on, and with which configuration.
func moves(h daemon.Health) []Finding {
	var out []Finding
	if len(h.Stuck) > 0 {
		out = append(out, failure(Internal, "the watchdog restarts it; if that repeats, see `dmesg` for the driver of what is named, and update or replace it",
			"the daemon hangs: %s", strings.Join(h.Stuck, ", ")).of("running daemon"))
	}
	if h.Refused != nil {
		out = append(out, warning(h.Refused.Hint, "the newest configuration isn't in effect: %s", h.Refused.Error).of("running daemon"))
	}
	return out
}

// using is what the daemon says of a camera that it has, and that nobody else can look at meanwhile.
func using(h daemon.Health, name, path string, who holder) Finding {
	if who.name == "livenessd" && h.PID != 0 && who.pid != h.PID {
		return failure(Absent, fmt.Sprintf("stop process %d; if it can't be stopped, it hangs in the camera's driver: plug the camera in anew, or restart this machine", who.pid),
			"used by another livenessd (process %d) than the service's (process %d)", who.pid, h.PID)
	}
	i := slices.IndexFunc(h.Cameras, func(c daemon.CameraHealth) bool { return c.Name == name })
	if i < 0 {
		return ok("%s is used by %s, as it should be; pictures and rate aren't looked at meanwhile", path, who)
	}
	c := h.Cameras[i]
	switch {
	case c.State == camera.StateStreaming:
		return ok("used by %s: streaming %s since %s", who, c.Mode, c.Since.UTC().Format(time.DateTime))
	case c.Error == "":
		return ok("used by %s: %s", who, c.State)
	}
	return failure(Absent, c.Hint, "used by %s: %s: %s", who, c.State, c.Error)
}
