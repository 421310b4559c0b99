package lab

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The technician's page on the USB camera, through a forwarded port: what daemon/console/browser does at any device.
func TestPage(t *testing.T) {
	if os.Getenv("LIVENESSD_LAB") != "page" {
		t.Skip("run it by `make labpage`")
	}
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skipf("without Debian's chromium: %v", err)
	}
	l := prepared(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(free.Addr().(*net.TCPAddr).Port)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	keep := filepath.Join(t.TempDir(), "run")
	machine := exec.CommandContext(ctx, "bin/lab", "run", "--timeout", "600", "--share", l.share, "--keep", keep, "--fwd", port+":8470", "tests/page.sh")
	machine.Cancel = func() error { return machine.Process.Signal(os.Interrupt) } // so that it ends the machine
	machine.WaitDelay = 20 * time.Second
	ended := make(chan []byte, 1)
	go func() {
		out, _ := machine.CombinedOutput() // it is interrupted when the page was seen
		ended <- out
	}()
	look := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-timeout", "9m", "-run", "^TestTheDeviceThatIsNamed$", "../../daemon/console/browser")
	look.Env = append(os.Environ(), "LIVENESSD_PAGE=http://127.0.0.1:"+port, "LIVENESSD_PAGE_TOKEN=token-of-the-lab-alone")
	out, err := look.CombinedOutput()
	t.Logf("%s", out)
	cancel()
	said := <-ended
	if err != nil {
		t.Errorf("%v; the machine says:\n%s", err, said)
	}
}
