package mqtt

import (
	"encoding/json"
	"testing"
	"time"
)

func TestTimeIsWrittenInUTCWithMilliseconds(t *testing.T) {
	for name, test := range map[string]struct {
		in   time.Time
		want string
	}{
		"whole seconds":    {time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), `"2026-01-02T03:04:05.000Z"`},
		"nanoseconds":      {time.Date(2026, 1, 2, 3, 4, 5, 678_999_999, time.UTC), `"2026-01-02T03:04:05.678Z"`},
		"another zone":     {time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), `"2026-01-02T02:04:05.000Z"`},
		"no time":          {time.Time{}, `null`},
		"the epoch":        {time.Unix(0, 0), `"1970-01-01T00:00:00.000Z"`},
		"the last instant": {time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), `"9999-12-31T23:59:59.999Z"`},
	} {
		b, err := json.Marshal(Time(test.in))
		if err != nil || string(b) != test.want {
			t.Errorf("%s: %s, %v; want %s", name, b, err, test.want)
		}
		var back Time
		if err := json.Unmarshal([]byte(test.want), &back); err != nil || !back.UTC().Equal(test.in.Truncate(time.Millisecond)) {
			t.Errorf("%s: read back as %v, %v; want %v", name, back, err, test.in)
		}
	}
	if b, err := json.Marshal(Time(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))); err == nil {
		t.Errorf("the year 10000 was written as %s", b)
	}
}

func TestTimeIsReadStrictly(t *testing.T) {
	for name, in := range map[string]string{
		"a number":            `1767323045`,
		"a date":              `"2026-01-02"`,
		"no zone":             `"2026-01-02T03:04:05.678"`,
		"an impossible month": `"2026-13-02T03:04:05.678Z"`,
		"empty":               `""`,
		"a year out of reach": `"9999-12-31T23:59:59.999-23:00"`,
	} {
		var got Time
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s: read as %v", name, got)
		}
	}
}
