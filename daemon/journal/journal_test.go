package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon/store"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/broker"
)

const (
	device   = "door-7"
	patience = 30 * time.Second
)

// verdictOf is an answer of a session with short names.
func verdictOf(boot string, seq uint64) mqtt.Verdict {
	score, now := 0.931, time.Now()
	v := mqtt.Verdict{Schema: 1, ID: fmt.Sprintf("01978c3a-5b6c-7d8e-9f01-%012x", seq), Device: device, Camera: "front-" + strconv.Itoa(int(seq%2)), Boot: boot, Seq: seq,
		Verdict: mqtt.Live, Score: &score, LiveAt: 0.8, SpoofAt: 0.35, Action: mqtt.Allow, Frames: 9,
		Face:       &mqtt.Face{X: 412, Y: 180, Width: 236, Height: 301},
		Session:    &mqtt.Session{ID: fmt.Sprintf("01978d00-5b6c-7d8e-9f01-%012x", seq), Application: "staff-door", Purpose: mqtt.Authentication, Subject: "u1", Nonce: "n-123"},
		CapturedAt: mqtt.Time(now.Add(-412 * time.Millisecond)), DecidedAt: mqtt.Time(now), LatencyMS: 412, ExpiresAt: mqtt.Time(now.Add(5 * time.Second)),
		ClockSynced: true, Model: mqtt.ModelRef{Name: "livenessd-liveness", Version: "1", SHA256: strings.Repeat("0123456789abcdef", 4)}, Delegate: "xnnpack"}
	if seq%3 == 0 {
		score = 0.031
		v.Verdict, v.Action = mqtt.Spoof, mqtt.Deny
		v.SetCode(mqtt.CodePADAttack)
	}
	return v
}

func record(t testing.TB, n uint64) mqtt.Record { return named(t, n, "u1") }

// named is a record whose session has a subject and a nonce of its own.
func named(t testing.TB, n uint64, name string) mqtt.Record {
	t.Helper()
	v := verdictOf("boot-1", n)
	v.Session.Subject, v.Session.Nonce = name, name
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return mqtt.Record{N: n, Payload: b}
}

func open(t testing.TB, path string) *Journal {
	t.Helper()
	j := New(path, slog.New(slog.DiscardHandler))
	if kept, lost, err := j.Load(); err != nil || lost || len(kept) != 0 {
		t.Fatalf("%d records, lost: %v, %v", len(kept), lost, err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func write(t testing.TB, j *Journal, put []mqtt.Record, remove ...uint64) {
	t.Helper()
	if err := j.Write(put, remove); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenIsReadInOrder(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), File))
	var want []mqtt.Record
	for n := uint64(1); n <= 300; n++ {
		r := record(t, n)
		r.Gap = n%7 == 0
		want = append(want, r)
	}
	write(t, j, want[:200])
	write(t, j, want[200:])
	write(t, j, []mqtt.Record{{N: 5, Payload: []byte("another")}, {N: 7, Gap: true, Payload: []byte("gap")}}, 1, 2, 300, 301)
	want[4] = mqtt.Record{N: 5, Payload: []byte("another")}
	want[6] = mqtt.Record{N: 7, Gap: true, Payload: []byte("gap")}
	want = want[2:299]
	for range 2 { // Load opens anew
		kept, lost, err := j.Load()
		if err != nil || lost || len(kept) != len(want) {
			t.Fatalf("%d records, lost: %v, %v", len(kept), lost, err)
		}
		for i, k := range kept {
			if w := want[i]; k.N != w.N || k.Gap != w.Gap || !bytes.Equal(k.Payload, w.Payload) {
				t.Fatalf("record %d: %d, gap %v, %s", i, k.N, k.Gap, k.Payload)
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Write(want[:1], nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// written is how many bytes this process has given to the system to be written. What it says of block devices (write_bytes) counts all of a
// file's cached pages that lie together when one of them changes.
func written(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("nobody counts here what is written: ", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "wchar: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no wchar")
	return 0
}

// TestBytesPerVerdict is what memory cards are worn out by: each verdict is written alone, and removed when the broker has it.
func TestBytesPerVerdict(t *testing.T) {
	const n = 256
	for name, run := range map[string]func(j *Journal, first uint64, record func(testing.TB, uint64) mqtt.Record){
		"the broker is there": func(j *Journal, first uint64, record func(testing.TB, uint64) mqtt.Record) {
			for i := range uint64(n) {
				write(t, j, []mqtt.Record{record(t, first+i)}, first+i-1)
			}
		},
		"it is away, and the journal full": func(j *Journal, first uint64, record func(testing.TB, uint64) mqtt.Record) {
			boot, gap := "01978c3a-0000-7000-8000-000000000001", mqtt.Record{N: first + n, Gap: true}
			for i := range uint64(n) { // the oldest goes for each, a spoof here and there not
				g := mqtt.Gap{Schema: 1, Device: device, Boot: &boot, Exact: true, Verdicts: i + 1, Reason: mqtt.GapCount}
				for at := uint64(1); at <= i; at += 40 {
					g.Ranges = append(g.Ranges, mqtt.SeqRange{First: at, Last: min(at+38, i)})
				}
				b, err := json.Marshal(g)
				if err != nil {
					t.Fatal(err)
				}
				gap.Payload = b
				write(t, j, []mqtt.Record{record(t, first+i), gap}, i+1)
			}
		},
		"it was away": func(j *Journal, first uint64, record func(testing.TB, uint64) mqtt.Record) {
			for i := range uint64(n) {
				write(t, j, []mqtt.Record{record(t, first+i)})
			}
			for i := uint64(0); i < n; i += together {
				var remove []uint64
				for k := range uint64(together) {
					remove = append(remove, first+i+k)
				}
				write(t, j, nil, remove...)
			}
		},
	} {
		for names, limit := range map[string]int64{"u1": 16 << 10, strings.Repeat("x", 256): 24 << 10} { // the longest that a host may send
			for _, waiting := range []uint64{0, 5000} {
				record := func(t testing.TB, i uint64) mqtt.Record { return named(t, i, names) }
				j := open(t, filepath.Join(t.TempDir(), File))
				var put []mqtt.Record
				for i := range waiting {
					put = append(put, record(t, i+1))
				}
				write(t, j, put)
				before := written(t)
				run(j, waiting+1, record)
				each := (written(t) - before) / n
				t.Logf("%s, %d wait, names of %d: %d bytes", name, waiting, len(names), each)
				if each == 0 || each >= limit {
					t.Errorf("%s, %d wait, names of %d: %d bytes, not below %d", name, waiting, len(names), each, limit)
				}
			}
		}
	}
}

// client delivers what a journal in path keeps.
func client(t *testing.T, path, url string) *mqtt.Client {
	t.Helper()
	c, err := mqtt.New(mqtt.Options{URL: url, Device: device, Journal: New(path, slog.New(slog.DiscardHandler)), BacklogRate: 1e6,
		Pause: func(ctx context.Context, _ time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, c) })
	return c
}

// finish closes a client without waiting for its broker.
func finish(t *testing.T, c *mqtt.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Close(ctx) // says what is lost
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func startBroker(t *testing.T) string {
	t.Helper()
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b.URL()
}

func listen(t *testing.T, url string) <-chan mqtt.Received {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	in, err := mqtt.Subscribe(ctx, mqtt.SubscribeOptions{URL: url, Device: device})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range in { // until it is closed
		}
	})
	return in
}

func take(t *testing.T, in <-chan mqtt.Received) mqtt.Received {
	t.Helper()
	select {
	case m := <-in:
		return m
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("not reached")
}

// damage changes a file in one of the ways in which disks do.
func damage(data []byte, random *rand.Rand) []byte {
	data = bytes.Clone(data)
	page := os.Getpagesize()
	switch random.IntN(5) {
	case 0:
		return data[:random.IntN(len(data))]
	case 1: // a page that was never written
		at := random.IntN(len(data) / page)
		clear(data[at*page : (at+1)*page])
	case 2: // a page that was written elsewhere
		from, to := random.IntN(len(data)/page), random.IntN(len(data)/page)
		copy(data[to*page:(to+1)*page], bytes.Clone(data[from*page:(from+1)*page]))
	case 3: // in a page's header or first elements, where it hurts most
		at := random.IntN(len(data)/page)*page + random.IntN(80)
		data[at] ^= 1 << random.IntN(8)
	default:
		for range 1 + random.IntN(8) {
			data[random.IntN(len(data))] ^= 1 << random.IntN(8)
		}
	}
	return data
}

// Whatever is damaged: what is published was written, and what is missing is announced.
func TestDamagedJournals(t *testing.T) {
	variants := 500
	if testing.Short() {
		variants = 50
	}
	dir := t.TempDir()
	path := filepath.Join(dir, File)
	j := open(t, path)
	const removed, last = 10, 40
	want := map[uint64][]byte{}
	for n := uint64(1); n <= last; n++ {
		r := record(t, n)
		want[n] = r.Payload
		var gone []uint64
		if n == 30 {
			for i := range uint64(removed) {
				gone = append(gone, i+1)
			}
		}
		write(t, j, []mqtt.Record{r}, gone...)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	url := startBroker(t)
	in := listen(t, url)
	random := rand.New(rand.NewPCG(5, 500))
	whole, announced := 0, 0
	for variant := range variants {
		data := good
		if variant > 0 { // the first is whole, to see that it is read at all
			data = damage(good, random)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := client(t, path, url)
		eventually(t, "all", func() bool { s := c.Status(); return s.Connected && s.Queued+s.Gaps == 0 })
		if i := c.Journal(); i.State != mqtt.JournalDisk {
			t.Errorf("variant %d: %+v", variant, i)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, gap := map[uint64]bool{}, false
		for done := false; !done; {
			m := take(t, in)
			switch {
			case m.Topic == "livenessd/door-7/availability":
				done = string(m.Payload) == mqtt.Offline && !m.Retained
			case m.Topic == "livenessd/door-7/gap":
				g, err := mqtt.ParseGap(m.Payload)
				gap = gap || err == nil && g.Reason == mqtt.GapDamaged
			case strings.HasSuffix(m.Topic, "/verdict"):
				v, err := mqtt.ParseVerdict(m.Payload)
				if err != nil {
					t.Fatalf("variant %d: %v", variant, err)
				}
				if b := bytes.Replace(m.Payload, []byte(`"replayed":true`), []byte(`"replayed":false`), 1); !bytes.Equal(b, want[v.Seq]) {
					t.Fatalf("variant %d: %s was never written", variant, m.Payload)
				}
				got[v.Seq] = true
			}
		}
		missing := 0
		for n := uint64(removed + 1); n <= last; n++ {
			if !got[n] {
				missing++
			}
		}
		switch {
		case missing > 0 && !gap:
			t.Errorf("variant %d: %d are missing, and nothing is announced", variant, missing)
		case gap:
			announced++
		default:
			whole++
		}
	}
	t.Logf("%d variants: %d gave all that was in them, %d announced a gap", variants, whole, announced)
	if whole == 0 || announced < variants/3 {
		t.Errorf("of %d variants %d were whole and %d announced", variants, whole, announced)
	}
}

// A file that is damaged while it is open costs nothing: all of it is in memory as well.
func TestDamageWhileItIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	c := client(t, path, "mqtt://127.0.0.1:9")
	const n = 100
	for seq := range uint64(n - 1) {
		c.PublishVerdict(verdictOf("boot-1", seq+1))
	}
	eventually(t, "the disk", func() bool { return c.Status().Volatile == 0 })
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	c.PublishVerdict(verdictOf("boot-1", n))
	eventually(t, "the damage", func() bool { return c.Journal().State == mqtt.JournalMemory })
	eventually(t, "the new file", func() bool { return c.Journal().State == mqtt.JournalDisk })
	finish(t, c)
	if s := c.Status(); s.Gaps != 0 || s.Volatile != 0 {
		t.Errorf("%+v", s)
	}
	j := New(path, slog.New(slog.DiscardHandler))
	kept, lost, err := j.Load()
	if err != nil || lost || len(kept) != n {
		t.Errorf("%d are kept, lost: %v, %v", len(kept), lost, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// mount makes a small file system, where that is permitted.
func mount(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	dir := t.TempDir()
	if runtime.GOOS != "linux" {
		t.Skip("no tmpfs here")
	}
	if err := syscall.Mount("none", dir, "tmpfs", flags, options); err != nil {
		t.Skip("no file system can be mounted, so that none is tried that is full or read-only: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDiskMakesNobodyWaitAndIsUsedAgain(t *testing.T) {
	dir := mount(t, 0, "size=512k")
	path := filepath.Join(dir, File)
	url := startBroker(t)
	in := listen(t, url)
	c := client(t, path, url)
	t.Cleanup(func() { finish(t, c) }) // before the file system goes
	eventually(t, "the connection", func() bool { return c.Status().Connected })
	if i := c.Journal(); i.State != mqtt.JournalDisk {
		t.Fatalf("%+v", i)
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for block := 4096; ; {
		if _, err := f.Write(make([]byte, block)); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	const n = 200 // more than fit into what the file has already
	for seq := range uint64(n) {
		c.PublishVerdict(verdictOf("boot-1", seq+1))
	}
	got := map[uint64]bool{}
	for len(got) < n {
		if m := take(t, in); strings.HasSuffix(m.Topic, "/verdict") {
			v, err := mqtt.ParseVerdict(m.Payload)
			if err != nil {
				t.Fatal(err)
			}
			got[v.Seq] = true
		}
	}
	if i := c.Journal(); i.State != mqtt.JournalMemory || !strings.Contains(i.Hint, "full") {
		t.Errorf("%+v", i)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk", func() bool { return c.Journal().State == mqtt.JournalDisk })
	if s := c.Status(); s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

func TestReadOnlyDiskMakesNobodyWaitAndIsUsedAgain(t *testing.T) {
	dir := mount(t, syscall.MS_RDONLY, "size=8m")
	url := startBroker(t)
	in := listen(t, url)
	c := client(t, filepath.Join(dir, File), url)
	t.Cleanup(func() { finish(t, c) })
	if i := c.Journal(); i.State != mqtt.JournalMemory || i.Hint == "" {
		t.Errorf("%+v", i)
	}
	c.PublishVerdict(verdictOf("boot-1", 1))
	for !strings.HasSuffix(take(t, in).Topic, "/verdict") {
	}
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk", func() bool { return c.Journal().State == mqtt.JournalDisk })
}
