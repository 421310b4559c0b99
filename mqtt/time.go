package mqtt

import (
	"encoding/json"
	"fmt"
	"time"
)

// layout has always three digits, so that the text of two times sorts as the times do.
const layout = "2006-01-02T15:04:05.000Z"

// Time is a time as the documents have it: RFC 3339, UTC, milliseconds. The zero Time is null.
type Time time.Time

var (
	_ json.Marshaler   = Time{}
	_ json.Unmarshaler = (*Time)(nil)
)

func (t Time) String() string   { return time.Time(t).UTC().Format(layout) }
func (t Time) IsZero() bool     { return time.Time(t).IsZero() }
func (t Time) Local() time.Time { return time.Time(t).Local() }
func (t Time) UTC() time.Time   { return time.Time(t).UTC() }

// MarshalJSON writes null for the zero Time, and refuses years that RFC 3339 can't write.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	if y := t.UTC().Year(); y < 0 || y > 9999 {
		return nil, fmt.Errorf("mqtt: write a time: the year %d has no place in RFC 3339", y)
	}
	return []byte(`"` + t.String() + `"`), nil
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("mqtt: read a time: %w", err)
	}
	u, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("mqtt: read a time: %w", err)
	}
	if y := u.UTC().Year(); y < 0 || y > 9999 { // an offset can move a time out of the years that can be written
		return fmt.Errorf("mqtt: read a time: the year %d has no place in RFC 3339", y)
	}
	*t = Time(u.UTC().Truncate(time.Millisecond))
	return nil
}
