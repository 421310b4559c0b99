package models

import (
	"testing"

	"github.com/livenessd/livenessd/tflite"
)

// What a delegate leaves costs a copy there and back, and what an accelerator leaves runs on the processor.
func TestXNNPACKTakesTheShippedNetsAsAWhole(t *testing.T) {
	rt, err := tflite.Load(tflite.LoadOptions{})
	if err != nil {
		t.Skipf("%v; make test sets %s", err, tflite.LibraryVariable)
	}
	for _, task := range []Task{FaceDetection, LivenessTask} {
		m, err := Shipped(task)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := m.Input.spec()
		if err != nil {
			t.Fatal(err)
		}
		for delegate, whole := range map[string]bool{tflite.XNNPACK: true, tflite.CPU: false} {
			ip, err := rt.New(m.Data, tflite.Options{SHA256: m.SHA256, Delegate: delegate, Count: true, Inputs: []tflite.TensorSpec{spec}})
			if err != nil {
				t.Fatal(err)
			}
			if n := ip.Steps(); n < 1 || whole != (n == 1) {
				t.Errorf("%s: %d steps with delegate %s", m.Name, n, delegate)
			}
			ip.Close()
		}
	}
}
