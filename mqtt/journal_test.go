package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// shelf is a journal that does what a test tells it to.
type shelf struct {
	mu     sync.Mutex
	kept   map[uint64]Record
	lost   bool
	load   error
	write  error
	closed bool
	wait   chan struct{} // Write waits for it, unless it is nil
}

func (s *shelf) Load() (kept []Record, lost bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(s.kept)) {
		kept = append(kept, s.kept[n])
	}
	return kept, s.lost, s.load
}

func (s *shelf) Write(put []Record, remove []uint64) error {
	s.mu.Lock()
	wait := s.wait
	s.mu.Unlock()
	if wait != nil {
		<-wait
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.write != nil {
		return s.write
	}
	if s.kept == nil {
		s.kept = map[uint64]Record{}
	}
	for _, n := range remove {
		delete(s.kept, n)
	}
	for _, r := range put {
		s.kept[r.N] = r
	}
	s.lost = false
	return nil
}

func (s *shelf) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *shelf) fail(load, write error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load, s.write = load, write
}

// holds is the numbers of the verdicts that it keeps, and how many gaps.
func (s *shelf) holds(t *testing.T) (seqs []uint64, gaps int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(s.kept)) {
		if r := s.kept[n]; r.Gap {
			gaps++
		} else if v, err := ParseVerdict(r.Payload); err != nil {
			t.Error(err)
		} else {
			seqs = append(seqs, v.Seq)
		}
	}
	return seqs, gaps
}

// keep puts a verdict of an earlier run there.
func (s *shelf) keep(t *testing.T, n uint64, v Verdict) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write([]Record{{N: n, Payload: b}}, nil); err != nil {
		t.Fatal(err)
	}
}

// earlier is a verdict of an earlier run, on which nobody may act any more.
func earlier(seq uint64) Verdict {
	v := liveVerdict()
	v.Seq, v.Boot = seq, "01978c3a-0000-7000-8000-000000000000"
	return v
}

// nobody is a broker that is away.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "mqtt://" + l.Addr().String()
}

func TestNothingIsPublishedBeforeItIsOnTheDisk(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	s := &shelf{wait: make(chan struct{})}
	c := start(t, Options{URL: b.URL(), Journal: s})
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	c.PublishVerdict(numbered(1))
	c.SetCameraState("front", CameraState{Schema: 1, State: "streaming"})
	for m := (Received{}); !strings.HasSuffix(m.Topic, "/state"); { // which was handed over later
		if m = take(t, "the state", in); strings.HasSuffix(m.Topic, "/verdict") {
			t.Fatal("the verdict came first")
		}
	}
	close(s.wait)
	until(t, in, "livenessd/door-7/camera/front/verdict")
	eventually(t, "the acknowledgement", func() bool { return c.Status().Published == 1 })
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, gaps := s.holds(t); len(left) != 0 || gaps != 0 || !s.closed {
		t.Errorf("left are %v and %d gaps, closed: %v", left, gaps, s.closed)
	}
}

func TestStoppedWithoutABrokerNothingIsLost(t *testing.T) {
	s := &shelf{}
	c := start(t, Options{URL: nobody(t), Journal: s, Pause: newGate().pause})
	for seq := range uint64(20) {
		c.PublishVerdict(numbered(seq + 1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("%v, though all is on the disk", err)
	}
	if err := c.Close(ctx); err != nil {
		t.Errorf("again: %v", err)
	}
	if left, _ := s.holds(t); len(left) != 20 {
		t.Errorf("left are %v", left)
	}
}

func TestEarlierRunsComeAfterWhatIsFresh(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	s := &shelf{}
	for n := range uint64(3) {
		s.keep(t, n+1, earlier(n+7))
	}
	g := newGate()
	c := start(t, Options{URL: nobody(t), Others: []string{b.URL()}, Journal: s, Pause: g.pause})
	expect := func(seq uint64, replayed bool) {
		t.Helper()
		v, err := ParseVerdict(until(t, in, "livenessd/door-7/camera/front/verdict").Payload)
		if err != nil || v.Seq != seq || v.Replayed != replayed {
			t.Errorf("%d came, replayed: %v, %v; want %d", v.Seq, v.Replayed, err, seq)
		}
	}
	for seq := range uint64(3) {
		expect(seq+7, true)
	}
	eventually(t, "the acknowledgement", func() bool { return c.Status().Published == 3 })
	c.PublishVerdict(numbered(1))
	expect(1, false)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, _ := s.holds(t); len(left) != 0 {
		t.Errorf("left are %v", left)
	}

	// With both there when the connection comes, the fresh one is first.
	q := queue{count: 9, bytes: 1 << 20}
	now := time.Now()
	for seq := range uint64(2) {
		q.push(&item{verdict: earlier(seq + 1), old: true})
		q.push(&item{verdict: numbered(seq + 1), queued: now})
	}
	q.sort(now)
	for _, want := range []struct {
		list []*item
		seq  uint64
	}{{q.fresh, 1}, {q.fresh, 2}, {q.backlog, 1}, {q.backlog, 2}} {
		if i := next(want.list, func(*item) bool { return true }); i == nil || i.verdict.Seq != want.seq {
			t.Errorf("%+v", i)
		}
	}
}

func TestAnswerThatIsPublishedAnewIsQueuedOnce(t *testing.T) {
	s := &shelf{}
	s.keep(t, 1, earlier(1))
	c := start(t, Options{URL: nobody(t), Journal: s, Pause: newGate().pause})
	c.PublishVerdict(earlier(1)) // as the desk does with answers
	c.PublishVerdict(earlier(2))
	if n := c.Status().Queued; n != 2 {
		t.Errorf("%d are queued", n)
	}
	// It may be published before the journal can be read.
	s = &shelf{load: errors.New("not yet")}
	c = start(t, Options{URL: nobody(t), Journal: s, Pause: newGate().pause, again: 5 * time.Millisecond})
	c.PublishVerdict(earlier(1))
	s.keep(t, 1, earlier(1))
	s.keep(t, 2, earlier(2))
	s.fail(nil, nil)
	eventually(t, "the journal", func() bool { return c.Status().Volatile == 0 })
	if n := c.Status().Queued; n != 2 {
		t.Errorf("%d are queued", n)
	}
}

func TestDiskThatFailsMakesNobodyWait(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	s := &shelf{}
	c := start(t, Options{URL: b.URL(), Journal: s, again: 5 * time.Millisecond,
		Info: func() Info { return Info{Schema: 1, Device: "door-7"} }})
	journal := func() JournalInfo {
		t.Helper()
		var i Info
		if err := json.Unmarshal(until(t, in, "livenessd/door-7/info").Payload, &i); err != nil || i.Journal == nil {
			t.Fatalf("%+v, %v", i, err)
		}
		return *i.Journal
	}
	if j := journal(); j.State != JournalDisk {
		t.Errorf("%+v", j)
	}
	s.fail(nil, &Error{Op: "write", Err: errors.New("no space left on device"), hint: "make room"})
	c.PublishVerdict(numbered(1))
	for range 2 {
		switch m := take(t, "the news and the verdict", in); m.Topic {
		case "livenessd/door-7/info":
			if !strings.Contains(string(m.Payload), `"journal":{"state":"memory","error":"mqtt: write: no space left on device","hint":"make room"`) {
				t.Errorf("%s", m.Payload)
			}
		case "livenessd/door-7/camera/front/verdict":
		default:
			t.Errorf("%s %s", m.Topic, m.Payload)
		}
	}
	if j := c.Journal(); j.State != JournalMemory {
		t.Errorf("%+v", j)
	}
	s.fail(nil, nil)
	if j := journal(); j.State != JournalDisk || j.Error != "" {
		t.Errorf("%+v", j)
	}
}

func TestWhatWaitsIsWrittenWhenTheDiskIsBack(t *testing.T) {
	s := &shelf{load: errors.New("read-only")}
	s.keep(t, 5, earlier(1))
	c := start(t, Options{URL: nobody(t), Journal: s, Pause: newGate().pause, again: 5 * time.Millisecond})
	c.PublishVerdict(numbered(1))
	if st := c.Status(); st.Volatile != 1 || c.Journal().State != JournalMemory {
		t.Errorf("%+v", st)
	}
	s.fail(nil, nil)
	eventually(t, "the disk", func() bool { return c.Status().Volatile == 0 && c.Journal().State == JournalDisk })
	if st := c.Status(); st.Queued != 2 {
		t.Errorf("%+v", st)
	}
	if left, _ := s.holds(t); !slices.Equal(left, []uint64{1, 1}) {
		t.Errorf("%v", left)
	}
	// After a failure in the middle all is written again: nobody knows what the disk did with it.
	s.fail(nil, errors.New("i/o error"))
	c.PublishVerdict(numbered(2))
	eventually(t, "the failure", func() bool { return c.Journal().State == JournalMemory })
	s.mu.Lock()
	clear(s.kept)
	s.mu.Unlock()
	s.fail(nil, nil)
	eventually(t, "the disk", func() bool { return c.Journal().State == JournalDisk })
	if left, _ := s.holds(t); !slices.Equal(left, []uint64{1, 1, 2}) {
		t.Errorf("%v", left)
	}
}

func TestDiskThatHangsMakesNobodyWait(t *testing.T) {
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	s := &shelf{wait: make(chan struct{})}
	c := start(t, Options{URL: b.URL(), Journal: s, again: 5 * time.Millisecond, stalled: 5 * time.Millisecond})
	c.PublishVerdict(numbered(1))
	until(t, in, "livenessd/door-7/camera/front/verdict")
	if j := c.Journal(); j.State != JournalMemory || j.Hint == "" {
		t.Errorf("%+v", j)
	}
	close(s.wait)
	eventually(t, "the disk", func() bool { return c.Journal().State == JournalDisk })
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := s.holds(t); len(left) != 0 {
		t.Errorf("%v is left, which was delivered before it was written", left)
	}
}

func TestWhatGoesIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		reason  GapReason
		lost    []SeqRange
		spoofs  uint64
	}{
		"more than may wait":  {Options{QueueLimit: 3}, GapCount, []SeqRange{{1, 1}, {3, 5}, {7, 7}}, 0},
		"longer than may be":  {Options{QueueBytes: 1500}, GapBytes, []SeqRange{{1, 1}, {3, 5}, {7, 8}}, 0},
		"spoofs when all are": {Options{QueueLimit: 1}, GapCount, []SeqRange{{1, 5}, {7, 8}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{}
			o := test.options
			o.URL, o.Journal, o.Pause = nobody(t), s, newGate().pause
			c := start(t, o)
			for seq := uint64(1); seq <= 8; seq++ {
				v := numbered(seq)
				if seq%4 == 2 {
					v = spoofVerdict()
					v.Session, v.Seq = nil, seq
					v.DecidedAt, v.ExpiresAt = Time(time.Now()), Time(time.Now().Add(time.Hour))
				}
				c.PublishVerdict(v)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.Close(ctx); err != nil {
				t.Fatal(err)
			}
			left, gaps := s.holds(t)
			if gaps != 1 {
				t.Fatalf("%d gaps are kept, and %v", gaps, left)
			}
			// The next run tells it, and forgets it then.
			b := startBroker(t)
			in := listenFirst(t, b.URL())
			c = start(t, Options{URL: b.URL(), Journal: s})
			m := until(t, in, "livenessd/door-7/gap")
			g, err := ParseGap(m.Payload)
			if err != nil || m.Retained {
				t.Fatalf("%s, retained: %v, %v", m.Payload, m.Retained, err)
			}
			all := uint64(0)
			for _, r := range g.Ranges {
				all += r.Last - r.First + 1
			}
			if !slices.Equal(g.Ranges, test.lost) || g.Reason != test.reason || g.Spoofs != test.spoofs || g.Verdicts != all || !g.Exact ||
				*g.Boot != liveVerdict().Boot {
				t.Errorf("%s", m.Payload)
			}
			for range left {
				until(t, in, "livenessd/door-7/camera/front/verdict")
			}
			eventually(t, "all acknowledgements", func() bool { return c.Status().Queued+c.Status().Gaps == 0 })
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left, gaps := s.holds(t); len(left)+gaps != 0 {
				t.Errorf("left are %v and %d gaps", left, gaps)
			}
		})
	}
}

func TestWhatIsTooOldGoes(t *testing.T) {
	s := &shelf{}
	s.keep(t, 1, earlier(1))
	unsynced := earlier(2)
	unsynced.ClockSynced = false // nobody knows how old it is
	s.keep(t, 2, unsynced)
	now := &clock{t: decidedAt().Add(30 * time.Hour)}
	c := start(t, Options{URL: nobody(t), Journal: s, Pause: newGate().pause, QueueAge: 31 * time.Hour, Now: now.now})
	c.expire()
	if n := c.Status().Queued; n != 2 {
		t.Errorf("%d are left", n)
	}
	now.move(2 * time.Hour)
	c.expire()
	if n := c.Status().Queued; n != 1 || len(c.gaps) != 1 || c.gaps[0].gap.Reason != GapAge {
		t.Errorf("%d are left", n)
	}
	now.move(30 * time.Hour)
	c.expire()
	if n := c.Status().Queued; n != 0 || !slices.Equal(c.gaps[0].gap.Ranges, []SeqRange{{1, 2}}) {
		t.Errorf("%d are left", n)
	}
}

func TestWhatCannotBeReadIsTold(t *testing.T) {
	other := earlier(3)
	other.Device = "door-8"
	b := startBroker(t)
	in := listenFirst(t, b.URL())
	s := &shelf{lost: true, kept: map[uint64]Record{1: {N: 1, Payload: []byte(`{"schema":1}`)}, 2: {N: 2, Gap: true, Payload: []byte(`{}`)}}}
	b3, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	s.kept[3] = Record{N: 3, Payload: b3}
	c := start(t, Options{URL: b.URL(), Journal: s})
	var got []string
	for range 2 {
		g, err := ParseGap(until(t, in, "livenessd/door-7/gap").Payload)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %v %v", g.Reason, g.Boot == nil, g.Ranges))
	}
	if !slices.Equal(got, []string{"damaged true []", "refused false [{3 3}]"}) {
		t.Errorf("%q", got)
	}
	eventually(t, "the acknowledgements", func() bool { return c.Status().Gaps == 0 })
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.kept) != 0 {
		t.Errorf("%v is left", s.kept)
	}
}

func TestGapsStayBounded(t *testing.T) {
	c, err := (&Options{URL: "mqtt://localhost", Device: "door-7"}).prepare()
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq < 4*maxGaps*maxRanges; seq += 2 { // no two beside each other
		v := numbered(seq)
		c.missing(&v, GapCount)
	}
	for boot := range 3 * maxGaps {
		v := numbered(1)
		v.Boot = fmt.Sprint("boot-", boot)
		c.missing(&v, GapCount)
	}
	if len(c.gaps) > maxGaps {
		t.Errorf("%d gaps", len(c.gaps))
	}
	told, exact := uint64(0), 0
	for _, n := range c.gaps {
		if err := n.gap.Check(); err != nil || len(n.gap.Ranges) > maxRanges {
			t.Errorf("%d ranges, %v", len(n.gap.Ranges), err)
		}
		told += n.gap.Verdicts
		if n.gap.Exact {
			exact++
		}
	}
	if told != 2*maxGaps*maxRanges+3*maxGaps || exact == maxGaps {
		t.Errorf("%d verdicts in %d gaps, of which %d are exact", told, len(c.gaps), exact)
	}
}

func TestRangesAreKeptTogether(t *testing.T) {
	for name, test := range map[string]struct {
		add  []uint64
		want []SeqRange
	}{
		"ascending":    {[]uint64{1, 2, 3}, []SeqRange{{1, 3}}},
		"descending":   {[]uint64{3, 2, 1}, []SeqRange{{1, 3}}},
		"closed":       {[]uint64{1, 3, 2}, []SeqRange{{1, 3}}},
		"apart":        {[]uint64{5, 1, 9}, []SeqRange{{1, 1}, {5, 5}, {9, 9}}},
		"twice":        {[]uint64{5, 5, 6, 5}, []SeqRange{{5, 6}}},
		"between":      {[]uint64{1, 2, 9, 8, 5}, []SeqRange{{1, 2}, {5, 5}, {8, 9}}},
		"all together": {[]uint64{1, 3, 5, 7, 2, 6, 4}, []SeqRange{{1, 7}}},
	} {
		var g Gap
		for _, n := range test.add {
			g.add(n)
		}
		if !slices.Equal(g.Ranges, test.want) {
			t.Errorf("%s: %v", name, g.Ranges)
		}
	}
}

func TestWrongGapsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Gap){
		"another schema":       func(g *Gap) { g.Schema = 2 },
		"no device":            func(g *Gap) { g.Device = "" },
		"a boot that is none":  func(g *Gap) { g.Boot = ptr("a/b") },
		"numbers of no boot":   func(g *Gap) { g.Boot, g.Exact = nil, false },
		"the wrong way":        func(g *Gap) { g.Ranges = []SeqRange{{3, 2}} },
		"from nothing":         func(g *Gap) { g.Ranges = []SeqRange{{0, 2}} },
		"over each other":      func(g *Gap) { g.Ranges = []SeqRange{{1, 4}, {4, 5}} },
		"more spoofs than all": func(g *Gap) { g.Spoofs = 9 },
		"no reason":            func(g *Gap) { g.Reason = "" },
	} {
		g := Gap{1, "door-7", ptr("b"), []SeqRange{{1, 3}, {5, 5}}, true, 4, 0, GapCount, Time{}, Time{}}
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
		change(&g)
		b, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseGap(b); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}

func FuzzParseGap(f *testing.F) {
	for _, s := range []string{`{"schema":1,"device":"d","boot":"b","ranges":[{"first":1,"last":3}],"exact":true,"verdicts":3,"spoofs":0,"reason":"count","since":null,"at":null}`,
		`{"schema":1,"device":"d","boot":null,"ranges":[],"exact":false,"verdicts":0,"spoofs":0,"reason":"damaged","since":null,"at":null}`, `null`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGap(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseGap(again); err != nil {
			t.Fatalf("%s becomes %s: %v", b, again, err)
		}
	})
}

func TestBacklogIsHeldBack(t *testing.T) {
	c, err := (&Options{URL: "mqtt://localhost", Device: "door-7", BacklogRate: 1e-6}).prepare()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{c: c, credit: 1, counted: time.Now()}
	if !s.mayBeLate() || s.mayBeLate() || s.late == nil {
		t.Error("the second went as well, or nobody will look again")
	}
	s.counted = s.counted.Add(-1e6 * time.Second)
	if !s.mayBeLate() || s.late != nil {
		t.Error("its time came, and it didn't go")
	}
	c.beginClosing()
	if !s.mayBeLate() {
		t.Error("what will be lost otherwise waits")
	}
}

func TestBrokersAreTriedInTurn(t *testing.T) {
	var mu sync.Mutex
	var visits []string
	serve := func(name string) *fake {
		return newFake(t, func(_ int, c net.Conn) {
			mu.Lock()
			visits = append(visits, name)
			mu.Unlock()
			if greet(c, 0) != nil && name == "second" {
				converse(c, 1, func(*packets.PublishPacket) (bool, bool) { return true, true })
			} // the first closes at once
		})
	}
	first, second := serve("first"), serve("second")
	g := newGate()
	c := start(t, Options{URL: nobody(t), Others: []string{first.url(), second.url()}, Pause: g.pause})
	eventually(t, "the second", func() bool { return c.Status().Connected })
	mu.Lock()
	if !slices.Equal(visits, []string{"first", "second"}) || len(g.waits) != 0 {
		t.Errorf("visited %v, and rested %d times", visits, len(g.waits))
	}
	mu.Unlock()
	second.stop() // it was the last: the first is next, after a rest
	take(t, "a rest", g.waits)
	close(g.open)
	eventually(t, "the first again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(visits) > 2 && visits[2] == "first"
	})
}
