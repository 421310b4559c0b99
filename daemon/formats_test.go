package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/config"
)

// The configuration takes the formats that a camera takes, and no other.
func TestConfigurationAndCamerasKnowTheSameFormats(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	names := append(camera.Formats(), "mjpeg", "jpeg", "yuy2", "i420", "rgb24", "BGR24", "H264", "NV16", "Y12", "")
	for _, name := range names {
		if err := os.WriteFile(file, []byte("cameras: {a: {format: \""+name+"\"}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file)
		o := camera.Options{Format: name}
		if known := o.Check() == nil && name != ""; known != (err == nil) {
			t.Errorf("%q: a camera takes it: %v; the configuration: %v", name, known, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), strings.Join(camera.Formats(), ", ")) {
				t.Errorf("%q: %v: doesn't name those that there are", name, err)
			}
			continue
		}
		again := camera.Options{Format: c.Cameras["a"].Format}
		if again.Check() != nil {
			t.Errorf("%q became %q", name, again.Format)
		}
	}
}
