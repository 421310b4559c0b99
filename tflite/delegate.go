package tflite

import (
	"fmt"
	"path/filepath"
	"strings"
)

// What can run a model. External is the beginning of a name, and the absolute path of a plug-in its rest.
const (
	XNNPACK  = "xnnpack"   // the library's fast kernels for processors, with int8 and uint8
	CPU      = "cpu"       // the library's built-in kernels: slow, and without parts that a library may lack
	EdgeTPU  = "edgetpu"   // a Coral accelerator, through the plug-in libedgetpu; for models that were compiled for it
	NNAPI    = "nnapi"     // Android's way to accelerators, where there is a libneuralnetworks.so
	External = "external:" // any plug-in that exports tflite_plugin_create_delegate and tflite_plugin_destroy_delegate
)

// EdgeTPULibrary is the plug-in behind EdgeTPU, as the system's loader finds it.
const EdgeTPULibrary = "libedgetpu.so.1"

// Setting is something that a plug-in is told when its delegate is made.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Bounds of what a plug-in is told. maxSaid is how much of what it says is kept, in bytes.
const (
	MaxSettings = 32
	maxSetting  = 4096
)

// Accelerator tells whether a delegate is more than the library's own kernels: its code comes from elsewhere, and may do anything.
func Accelerator(delegate string) bool {
	return delegate == EdgeTPU || delegate == NNAPI || strings.HasPrefix(delegate, External)
}

// Plugin is the path of the plug-in behind a delegate, "" where there is none.
func Plugin(delegate, library string) string {
	if path, is := strings.CutPrefix(delegate, External); is {
		return path
	}
	if delegate != EdgeTPU {
		return ""
	}
	if library != "" {
		return library
	}
	return EdgeTPULibrary
}

// checkDelegate tells what is wrong with the choice of a delegate.
func (o *Options) checkDelegate() error {
	switch {
	case o.Delegate == "":
		o.Delegate = XNNPACK
	case o.Delegate == "none": // as it was called before
		o.Delegate = CPU
	}
	path, external := strings.CutPrefix(o.Delegate, External)
	switch {
	case external && !filepath.IsAbs(path):
		return fmt.Errorf("delegate %q: the path of a plug-in is absolute", o.Delegate)
	case external, o.Delegate == XNNPACK, o.Delegate == CPU, o.Delegate == EdgeTPU, o.Delegate == NNAPI:
	default:
		return fmt.Errorf("delegate %q: %s, %s, %s, %s or %sPATH", o.Delegate, XNNPACK, CPU, EdgeTPU, NNAPI, External)
	}
	if o.Library != "" && o.Delegate != EdgeTPU {
		return fmt.Errorf("delegate %s: a library is named for %s alone", o.Delegate, EdgeTPU)
	}
	if len(o.Settings) > 0 && Plugin(o.Delegate, "") == "" {
		return fmt.Errorf("delegate %s takes no options", o.Delegate)
	}
	if len(o.Settings) > MaxSettings {
		return fmt.Errorf("delegate %s: %d options: at most %d", o.Delegate, len(o.Settings), MaxSettings)
	}
	for _, s := range o.Settings {
		if s.Key == "" || len(s.Key)+len(s.Value) > maxSetting || strings.ContainsRune(s.Key+s.Value, 0) {
			return fmt.Errorf("delegate %s: option %.60q: a name, and at most %d bytes with its value", o.Delegate, s.Key, maxSetting)
		}
	}
	return nil
}

// DelegateError is why a delegate can't be had, or doesn't take a model.
type DelegateError struct {
	Delegate string
	Why      string
	hint     string
}

func (e *DelegateError) Error() string { return "delegate " + e.Delegate + ": " + e.Why }

// Hint is what a technician should do.
func (e *DelegateError) Hint() string { return e.hint }
