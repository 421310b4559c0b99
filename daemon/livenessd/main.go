// Command livenessd judges on the device whether the face in front of a camera is a living person, and publishes verdicts
// over MQTT.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/livenessd/livenessd/daemon/command"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Main(ctx, command.Process{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Version: version})
	stop()
	os.Exit(code)
}
