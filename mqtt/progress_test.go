package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// stages writes down what a client says of its verdicts.
type stages struct {
	mu   sync.Mutex
	said []string
	last time.Time
	back bool // a moment was before the one that was told of last
}

func (s *stages) note(v *Verdict, st Stage, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf("%d %s", v.Seq, map[Stage]string{Journaled: "journaled", Published: "published", Acknowledged: "acknowledged"}[st]))
	s.back = s.back || at.Before(s.last)
	s.last = at
}

func (s *stages) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

func TestStagesOfAVerdictAreTold(t *testing.T) {
	for _, tt := range []struct {
		name    string
		journal Journal
		verdict func() Verdict
		want    []string
	}{
		{"with a journal", &shelf{}, func() Verdict { return numbered(1) }, []string{"1 journaled", "1 published", "1 acknowledged"}},
		{"without one", nil, func() Verdict { return numbered(2) }, []string{"2 published", "2 acknowledged"}},
		{"with one that can't be written", &shelf{write: errors.New("no space left")}, func() Verdict { return numbered(3) }, []string{"3 published", "3 acknowledged"}},
		{"on several topics it is one verdict", &shelf{}, func() Verdict {
			v := spoofVerdict()
			v.Seq, v.ExpiresAt = 4, Time(time.Now().Add(time.Hour))
			return v
		}, []string{"4 journaled", "4 published", "4 acknowledged"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t)
			var s stages
			c := start(t, Options{URL: b.URL(), Journal: tt.journal, Progress: s.note})
			eventually(t, "the connection", func() bool { return c.Status().Connected })
			c.PublishVerdict(tt.verdict())
			eventually(t, "the last stage", func() bool { return len(s.all()) >= len(tt.want) })
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := s.all(); !slices.Equal(got, tt.want) || s.back {
				t.Errorf("told %q, want %q; back in time: %v", got, tt.want, s.back)
			}
		})
	}
}
