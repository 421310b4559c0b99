package blame

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }

func newClock() *clock { return &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func open(t *testing.T, folder, boot string, c *clock) *Book {
	t.Helper()
	b, err := Open(folder, boot, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func blamed(t *testing.T, b *Book, key string) time.Time {
	t.Helper()
	until, err := b.Blame(key, "edgetpu", "it hung")
	if err != nil {
		t.Fatal(err)
	}
	return until
}

func TestTheRestGrowsAndOutlivesTheProcess(t *testing.T) {
	folder, c := t.TempDir(), newClock()
	if _, rests := open(t, folder, "a", c).Rests("k"); rests {
		t.Fatal("what nobody blamed rests")
	}
	want := 10 * time.Minute
	for i := range 10 {
		until := blamed(t, open(t, folder, "a", c), "k")
		if d := until.Sub(c.t); d != want {
			t.Errorf("time %d: it rests for %v, want %v", i+1, d, want)
		}
		e, rests := open(t, folder, "b", c).Rests("k") // another process, another boot
		if !rests || e.Why != "it hung" || e.Delegate != "edgetpu" || e.Times != i+1 || !e.Until.Equal(until) {
			t.Errorf("time %d: %+v, %v", i+1, e, rests)
		}
		if _, other := open(t, folder, "a", c).Rests("k2"); other {
			t.Error("another library rests as well")
		}
		c.pass(want)
		if _, rests := open(t, folder, "a", c).Rests("k"); rests {
			t.Errorf("time %d: it rests for longer", i+1)
		}
		want = min(2*want, 24*time.Hour)
	}
	c.pass(forget)
	if d := blamed(t, open(t, folder, "a", c), "k").Sub(c.t); d != 10*time.Minute {
		t.Errorf("after a week without trouble it rests for %v", d)
	}
}

func TestAClockThatIsSetBackLetsNobodyRestForEver(t *testing.T) {
	folder, c := t.TempDir(), newClock()
	blamed(t, open(t, folder, "a", c), "k")
	c.pass(-365 * 24 * time.Hour)
	b := open(t, folder, "a", c)
	if e, rests := b.Rests("k"); !rests || !e.Until.Equal(c.t.Add(10*time.Minute)) {
		t.Errorf("%+v, %v", e, rests)
	}
	c.pass(10 * time.Minute)
	if e, rests := b.Rests("k"); rests {
		t.Errorf("it still rests: %+v", e)
	}
}

func TestAProcessThatEndsWithoutAWordIsHeldAgainstItTheSecondTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps string // u uses, d done, c another process looks, r after a reboot, l later than within, o uses another
		blame bool
	}{
		{"once", "uc", false},
		{"twice", "ucuc", true},
		{"cleanly", "ududuc", false},
		{"once, and cleanly between", "ucuduc", true},
		{"with the machine", "ururur", false},
		{"now and then", "ulculculc", false},
		{"of two different ones", "ucoc", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder, c, boot := t.TempDir(), newClock(), "a"
			var got *Entry
			for _, s := range tt.steps {
				c.pass(time.Second)
				var err error
				switch b := open(t, folder, boot, c); s {
				case 'u':
					err = b.Using("k", "external:/x.so", 7)
				case 'o':
					err = b.Using("other", "edgetpu", 7)
				case 'd':
					err = b.Done()
				case 'l':
					c.pass(within)
				case 'r':
					boot += "a"
					b = open(t, folder, boot, c)
					fallthrough
				case 'c':
					var e *Entry
					if e, err = b.Settle(); e != nil {
						got = e
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if (got != nil) != tt.blame {
				t.Errorf("blamed: %+v", got)
			}
			if _, rests := open(t, folder, boot, c).Rests("k"); rests != tt.blame {
				t.Errorf("rests: %v", rests)
			}
		})
	}
}

func TestAHarmlessRefusalIsForThisProcess(t *testing.T) {
	folder, c := t.TempDir(), newClock()
	b := open(t, folder, "a", c)
	first, again := b.Refused("k", "edgetpu", "not plugged in")
	second, same := b.Refused("k", "edgetpu", "not plugged in")
	if again || !same || first.Sub(c.t) != 10*time.Minute || second.Sub(c.t) != 20*time.Minute {
		t.Errorf("%v %v, %v %v", first, again, second, same)
	}
	if _, other := b.Refused("k", "edgetpu", "busy"); other {
		t.Error("another reason is told again")
	}
	if _, rests := b.Rests("k"); rests {
		t.Error("it rests")
	}
	if _, err := os.Stat(filepath.Join(folder, File)); err == nil {
		t.Error("it is on the disk")
	}
}

func TestTheFileStaysSmall(t *testing.T) {
	folder, c := t.TempDir(), newClock()
	b := open(t, folder, "a", c)
	for i := range 3 * maxEntries {
		if _, err := b.Blame(strings.Repeat("k", i+1), strings.Repeat("d", 5000), strings.Repeat("w", 5000)); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, folder, "a", c)
	if all := again.All(); len(all) != maxEntries || len(all[0].Why) != maxText || !strings.HasSuffix(all[maxEntries-1].Key, "k") {
		t.Errorf("%d entries", len(all))
	}
}

func TestADamagedFileIsAnEmptyOne(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "{", "another schema": `{"schema":2}`, "a list": "[]",
		"an entry without a key": `{"schema":1,"entries":[{"delegate":"x","times":1}]}`, "no times": `{"schema":1,"entries":[{"key":"x"}]}`,
		"no end": `{"schema":1,"entries":[{"key":"x","times":1,"why":"` + strings.Repeat("x", maxFile) + `"}]}`,
	} {
		folder, c := t.TempDir(), newClock()
		if err := os.WriteFile(filepath.Join(folder, File), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Open(folder, "a", c.now)
		if err == nil || b == nil || len(b.All()) != 0 {
			t.Errorf("%s: %v, %v", name, b, err)
			continue
		}
		blamed(t, b, "k")
		if _, rests := open(t, folder, "a", c).Rests("k"); !rests {
			t.Errorf("%s: nothing can be written over it", name)
		}
	}
}

func TestWhatCannotBeWrittenCountsForThisProcess(t *testing.T) {
	folder, c := filepath.Join(t.TempDir(), "file"), newClock()
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := Open(filepath.Join(folder, "state"), "a", c.now)
	if _, err := b.Blame("k", "edgetpu", "it hung"); err == nil || !strings.Contains(err.Error(), "blame: write ") {
		t.Errorf("%v", err)
	}
	if _, rests := b.Rests("k"); !rests {
		t.Error("it is forgotten")
	}
}

func TestNoBookRemembersNothing(t *testing.T) {
	var b *Book
	if _, err := b.Blame("k", "d", "w"); err != nil {
		t.Error(err)
	}
	_, rests := b.Rests("k")
	_, again := b.Refused("k", "d", "w")
	e, err := b.Settle()
	if rests || again || e != nil || err != nil || b.Using("k", "d", 1) != nil || b.Done() != nil || b.All() != nil {
		t.Error("it remembers something")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":1,"entries":[{"key":"k","delegate":"d","why":"w","times":2,"at":"2026-01-02T03:04:05Z","until":"2026-01-02T03:14:05Z"}],` +
		`"use":{"key":"k","delegate":"d","boot":"b","process":7,"ends":["2026-01-02T03:04:05Z"]}}`))
	f.Add([]byte(`{"schema":1,"use":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			return
		}
		clock := newClock()
		b := &Book{now: clock.now, content: c, soft: map[string]Entry{}}
		for _, e := range c.Entries {
			if got, _ := b.Rests(e.Key); got.Until.After(clock.t.Add(longest)) {
				t.Fatalf("%+v rests for more than a day", got)
			}
		}
		if _, err := b.Settle(); err != nil {
			t.Fatal(err)
		}
		if until, err := b.Blame("k", "d", "w"); err != nil || until.Sub(clock.t) > longest {
			t.Fatalf("%v, %v", until, err)
		}
	})
}
