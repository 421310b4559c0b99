package mqtt

import (
	"slices"
	"testing"
	"time"
)

func TestFullQueueDropsTheOldestAndSpoofsLast(t *testing.T) {
	// A letter is a verdict: l live, u undecided, s spoof; capitals are flying.
	kinds := map[byte]VerdictKind{'l': Live, 'u': Undecided, 's': Spoof}
	for name, test := range map[string]struct{ queued, pushed, lost, left string }{
		"room":                         {"ls", "l", "", "lsl"},
		"the oldest that is no spoof":  {"slu", "l", "l", "sul"},
		"undecided like live":          {"sul", "s", "u", "sls"},
		"only the new one is no spoof": {"sss", "l", "l", "sss"},
		"spoofs alone":                 {"sss", "s", "s", "sss"},
		"what flies stays":             {"Lus", "s", "u", "Lss"},
		"unless nothing else is there": {"LS", "ls", "l", "LSs"},
		"spoofs before what flies":     {"Lss", "s", "s", "Lss"},
		"all flies, so the new one":    {"LLL", "s", "s", "LLL"},
	} {
		q := queue{count: 3, bytes: 1 << 20}
		push := func(c byte) *item {
			i := &item{verdict: Verdict{Verdict: kinds[c|0x20]}}
			lost := q.push(i)
			i.flying = c&0x20 == 0
			if len(lost) == 0 {
				return nil
			}
			return lost[0].item
		}
		for i := range len(test.queued) {
			push(test.queued[i])
		}
		before := slices.Clone(q.fresh)
		lost := ""
		for i := range len(test.pushed) {
			if l := push(test.pushed[i]); l != nil {
				lost += letter(l)
				// The oldest of its kind went, not any.
				for _, b := range before {
					if b == l {
						break
					}
					if letter(b) == letter(l) {
						t.Errorf("%s: an older one was left", name)
					}
				}
			}
		}
		left := ""
		for _, i := range q.fresh {
			left += letter(i)
		}
		if lost != test.lost || left != test.left {
			t.Errorf("%s: lost %q and left %q, want %q and %q", name, lost, left, test.lost, test.left)
		}
	}
}

func letter(i *item) string {
	l := string(i.verdict.Verdict)[0]
	if i.flying {
		l &^= 0x20
	}
	return string(l)
}

func TestLateIsWhatOutlivedItsTimeOnAnyClock(t *testing.T) {
	decided := time.Now()
	i := &item{queued: decided, verdict: Verdict{DecidedAt: Time(decided), ExpiresAt: Time(decided.Add(5 * time.Second))}}
	// A clock that is set shows in the wall clock's part of a time alone. It can't be set here, so that in these cases the time on the
	// queue is moved along with it.
	for name, test := range map[string]struct {
		now    time.Time
		queued time.Time
		want   bool
	}{
		"at once":                        {decided, decided, false},
		"just in time":                   {decided.Add(5 * time.Second), decided, false},
		"a moment too late":              {decided.Add(5*time.Second + 1), decided, true},
		"the clock was set forward":      {decided.Round(0).Add(time.Hour), decided.Round(0).Add(time.Hour - time.Second), true},
		"the clock was set back by hour": {decided.Round(0).Add(-time.Hour), decided.Round(0).Add(-time.Hour - 6*time.Second), true},
	} {
		i.queued, i.old = test.queued, false
		if got := i.late(test.now); got != test.want {
			t.Errorf("%s: late is %v", name, got)
		}
	}
}
