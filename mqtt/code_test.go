package mqtt

import "testing"

// TestCodesHaveTheNumbersOfTheContract holds the numbers in a second place: hosts keep tables of them.
func TestCodesHaveTheNumbersOfTheContract(t *testing.T) {
	want := map[Code]int{
		"PERMISSION_REFUSED": 1, "NO_FACES_DETECTED": 2, "MANY_FACES": 4, "PAD_ATTACK": 5, "PROCESSING_ERR": 9, "UNAUTHORIZED": 10,
		"SESSION_EXPIRED": 13, "TIMEOUT": 14, "TOO_MANY_REQUESTS": 15,
		"FACE_TOO_SMALL": 100, "TOO_DARK": 101, "TOO_BRIGHT": 102, "BLURRED": 103, "FACE_CUT_OFF": 104, "FACE_CHANGED": 105,
		"CAMERA_LOST": 106, "CAMERA_SUSPECT": 107, "MODEL_REFUSED": 108, "LOCKED_OUT": 109, "FACE_TURNED": 110,
	}
	codes := Codes()
	if len(codes) != len(want) {
		t.Errorf("%d codes, want %d", len(codes), len(want))
	}
	last := 0
	for _, c := range codes {
		n := c.Number()
		if n != want[c] || n <= last {
			t.Errorf("%s has number %d after %d, want %d", c, n, last, want[c])
		}
		last = n
	}
	for _, c := range []Code{"", "pad_attack", "NONE"} {
		if n := c.Number(); n != 0 {
			t.Errorf("%q has number %d, want none", c, n)
		}
	}
}
