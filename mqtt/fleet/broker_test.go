package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// deny is an access list that lets nobody publish verdicts.
func deny(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(path, []byte("topic readwrite livenessd/#\ntopic deny livenessd/site-1/+/camera/+/verdict\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
