package browser_test

import (
	"context"
	"os"
	"testing"

	"github.com/livenessd/livenessd/daemon/command"
)

// TestMain is livenessd's command line where the daemon starts itself again, as it does for the doctor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "doctor" {
		os.Exit(command.Main(context.Background(), command.Process{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Version: "1.2.3-test"}))
	}
	os.Exit(m.Run())
}
