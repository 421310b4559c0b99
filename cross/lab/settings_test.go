package lab

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
)

// formats compares pictures inside, by a test of package camera that is built for it.
func (l lab) formats(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", filepath.Join(l.share, "camera.test"), "../../camera")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0") // so that it needs no library there
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	o := l.run(t, 3*time.Minute, "formats")
	log := o.read(t, "formats.log")
	for _, f := range camera.Formats() {
		if f != "MJPG" && !strings.Contains(log, "--- PASS: TestVivid/"+f+" ") {
			t.Errorf("%s isn't what v4l2-ctl captured", f)
		}
	}
}

// settings looks at what the configuration says of a camera.
func (l lab) settings(t *testing.T) {
	o := l.run(t, 6*time.Minute, "settings")
	var list []camera.Info
	if err := json.Unmarshal([]byte(o.read(t, "cameras.json")), &list); err != nil {
		t.Fatal(err)
	}
	usb := slices.IndexFunc(list, func(i camera.Info) bool { return i.ByID == cameraByID })
	if usb < 0 {
		t.Fatalf("%+v", list)
	}
	i := list[usb]
	if len(i.Identity) != 1 || !strings.HasSuffix(i.Identity[0], ":LAB0001") || !strings.Contains(i.Virtual, "usbip") {
		t.Errorf("identity %q, virtual: %q", i.Identity, i.Virtual)
	}
	want := camera.Control{Name: "brightness", Type: camera.ControlInteger, Max: 255, Step: 1, Default: 128, Value: 128}
	if c := i.Controls; len(c) != 1 || c[0].Name != want.Name || c[0].Allowed() != want.Allowed() || c[0].Usual() != want.Usual() || c[0].Now() != want.Now() {
		t.Errorf("controls %+v, want %+v", c, want)
	}
	for _, c := range []struct{ phase, state string }{
		{"controls", "streaming"}, {"replugged", "streaming"}, {"wrong", "streaming"}, {"stranger", "failed"}, {"virtual", "failed"},
	} {
		ds := o.on(t, "camera/front/state", c.phase)
		k := slices.IndexFunc(ds, func(d document) bool { return d.State == c.state })
		if k < 0 || (c.phase == "wrong" || c.state == "failed") && ds[k].Hint == "" {
			t.Errorf("%s: %+v", c.phase, ds)
		}
	}
	if code := o.results["exit"]; code != "0" {
		t.Errorf("exit code %q", code)
	}
}
