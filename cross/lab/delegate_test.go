package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/tflite/fake"
)

// TestDelegate is an accelerator that hangs under the service.
func TestDelegate(t *testing.T) {
	if os.Getenv("LIVENESSD_LAB") != "all" {
		t.Skip("a stuck delegate takes minutes: run it by `make field`, or LIVENESSD_LAB=all go test ./cross/lab/ after `make build`")
	}
	so := fake.Build(t)
	l := prepared(t)
	copyFile(t, so, filepath.Join(l.share, "libfake.so"))
	o := l.run(t, 20*time.Minute, "delegate")
	// systemd's own restart, and none after `systemctl restart`.
	for name, want := range map[string]string{"restarts": "1", "again": "0"} {
		if got := o.results[name]; got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	log := o.read(t, "service.log")
	for _, want := range []string{"the delegate is stuck", "status=75", "a delegate rests that went wrong before"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log doesn't say %q", want)
		}
	}
	meanwhile := o.read(t, "meanwhile")
	for _, want := range []string{"libfake.so resting: ", "the daemon doesn't use delegate external:", "it is tried again at "} {
		if !strings.Contains(meanwhile, want) {
			t.Errorf("meanwhile nobody says %q:\n%s", want, meanwhile)
		}
	}
	t.Logf("under emulation, with a deadline of 5 s: said after %s s, another process after %s s, faces judged again after %s s",
		o.results["said"], o.results["process"], o.results["judged"])
}
