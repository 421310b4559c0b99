//go:build !cgo || !linux

package tflite

import (
	"strings"
	"testing"
)

func TestABuildWithoutTheLibrarySaysSo(t *testing.T) {
	rt, err := Load(LoadOptions{})
	if rt != nil || err == nil || !strings.Contains(err.Error(), "without cgo") {
		t.Errorf("%v, %v; want an error that says why", rt, err)
	}
	var ip Interpreter
	if err := ip.Invoke(); err == nil {
		t.Error("an interpreter that isn't there runs")
	}
}
