package mqtt

import (
	"strings"
	"testing"
)

func TestTopicsAreThoseOfTheContract(t *testing.T) {
	topics, err := NewTopics("site/hall", "door-7")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		topics.Availability():       "site/hall/door-7/availability",
		topics.Info():               "site/hall/door-7/info",
		topics.CameraState("front"): "site/hall/door-7/camera/front/state",
		topics.Verdict("front"):     "site/hall/door-7/camera/front/verdict",
		topics.Attack("front"):      "site/hall/door-7/camera/front/attack",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNamesThatAreNoLevelOfATopicAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		value        string
		name, prefix bool // whether it is fine as one
	}{
		"letters":            {"front", true, true},
		"other letters":      {"Tür 7", true, true},
		"two levels":         {"a/b", false, true},
		"empty":              {"", false, false},
		"plus":               {"a+b", false, false},
		"number sign":        {"#", false, false},
		"NUL":                {"a\x00b", false, false},
		"newline":            {"a\nb", false, false},
		"C1 control":         {"a\u0085b", false, false},
		"not UTF-8":          {"a\xffb", false, false},
		"slash at the end":   {"a/", false, false},
		"slash at the start": {"/a", false, false},
		"empty level":        {"a//b", false, false},
		"the broker's own":   {"$SYS", true, false},
		"long":               {strings.Repeat("a", 129), false, true},
		"too long":           {strings.Repeat("a", 257), false, false},
	} {
		for what, err := range map[string]error{"name": CheckName("camera", test.value), "prefix": CheckPrefix(test.value)} {
			want := test.name
			if what == "prefix" {
				want = test.prefix
			}
			if (err == nil) != want {
				t.Errorf("%s as a %s: %v; want fine: %v", name, what, err, want)
			}
			if err != nil && hint(err) == "" {
				t.Errorf("%s as a %s: no hint with %v", name, what, err)
			}
		}
	}
}
