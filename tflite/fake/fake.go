// Package fake is an accelerator for tests, which goes wrong as it is told: a delegate plug-in in C that tests build and let the library load.
//
// It takes operators and lets the library's own kernels run them, so that its answers are right until it is told otherwise. What options it has
// stands at the head of testdata/plugin.c. It promises nothing about real accelerators, of which it has no more than the interface.
package fake

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed testdata/plugin.c
var source []byte

// Build compiles the plug-in and gives its path, or skips the test where there is no C compiler or no header of the library's.
func Build(t testing.TB) string {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("no C compiler builds the plug-in: %v", err)
	}
	includes := strings.Fields(os.Getenv("CGO_CFLAGS"))
	if len(includes) == 0 {
		t.Skip("CGO_CFLAGS doesn't say where TensorFlow Lite's headers are; make sets it")
	}
	folder := t.TempDir()
	c, so := filepath.Join(folder, "plugin.c"), filepath.Join(folder, "libfake.so")
	if err := os.WriteFile(c, source, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(cc, append(includes, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", so, c)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return so
}
