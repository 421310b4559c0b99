package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The short form of what make fleet does with thousands; it needs what that builds.
func TestNoVerdictIsLostInAClusterWithAKilledNode(t *testing.T) {
	program, err := filepath.Abs("../../build/bin/nats-server")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("no build/bin/nats-server here, so that no cluster is tried: make nats")
	}
	b, err := startNATS(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	o := small(faultKill)
	// NATS sends what wasn't acknowledged again after 10 s, and in another order.
	o.devices, o.qos, o.unordered, o.speed, o.down, o.drain = 20, 0, true, 100, 3*time.Second, 3*patience
	f, err := simulate(t.Context(), o, b)
	if err != nil || !f.ok() || f.Verdicts.Decided < 20 || f.Lost == 0 {
		t.Errorf("%v: %+v", err, f)
	}
}
