package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// ledger knows what each device decided and what of it came. A view is somebody who must see all of it: one collector, or those that share a
// subscription. It is safe for concurrent use.
type ledger struct {
	prefix string
	views  int
	now    func() time.Time

	mu      sync.Mutex
	runs    map[boot]*entries
	online  map[string]bool // by device: what its availability said last
	tally   tally
	missing []int // of each view, how many haven't come
	delays  []delay
	seconds map[int64]int // how many came to the first view in each second
	newest  time.Time

	examples []string // of those out of order
}

// boot is one start of one device.
type boot struct{ device, name string }

// entries are what one boot decided; number n is at n-1.
type entries struct {
	at   []time.Time
	had  []uint64 // over which of the device's connections the broker acknowledged it; 0 for none
	sum  []uint64
	seen [][]uint8 // by view
	last map[track]uint64
}

// track is what must come in order: those of one camera that were on time, and those that were late, at each collector.
type track struct {
	collector int
	camera    string
	late      bool
}

// delay is how long a verdict took.
type delay struct {
	decided time.Time
	took    time.Duration
}

// tally is what the ledger counted.
type tally struct {
	Decided    int `json:"decided"`
	Messages   int `json:"messages"` // that the verdicts are on all topics
	Arrived    int `json:"arrived"`  // once in each view
	Twice      int `json:"again"`    // further ones
	Late       int `json:"late"`     // of those that arrived: replayed
	OutOfOrder int `json:"out_of_order"`
	Altered    int `json:"altered"` // another document than was decided
	Unknown    int `json:"unknown"` // that nobody decided, or that can't be read
	Retained   int `json:"retained"`
	Gaps       int `json:"gaps"`
	Wills      int `json:"offline"` // how often a device was called offline
}

func newLedger(prefix string, views int) *ledger {
	return &ledger{prefix: prefix, views: views, now: time.Now, runs: map[boot]*entries{}, online: map[string]bool{}, missing: make([]int, views),
		seconds: map[int64]int{}}
}

// fingerprint is of the document as it was decided.
func fingerprint(v mqtt.Verdict) uint64 {
	v.Replayed = false
	b, err := json.Marshal(v)
	if err != nil {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write(b) // it can't fail
	return h.Sum64()
}

// decided notes a verdict before it is published. The numbers of a boot come in their order.
func (l *ledger) decided(v mqtt.Verdict) {
	sum := fingerprint(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	r := boot{v.Device, v.Boot}
	e := l.runs[r]
	if e == nil {
		e = &entries{seen: make([][]uint8, l.views), last: map[track]uint64{}}
		l.runs[r] = e
	}
	e.at, e.had, e.sum = append(e.at, l.now()), append(e.had, 0), append(e.sum, sum)
	for n := range l.views {
		e.seen[n] = append(e.seen[n], 0)
		l.missing[n]++
	}
	l.tally.Decided++
	l.tally.Messages += messages(v)
}

// delivered notes that the broker acknowledged a verdict, and over which connection.
func (l *ledger) delivered(v mqtt.Verdict, connection uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.runs[boot{v.Device, v.Boot}]; e != nil && v.Seq <= uint64(len(e.at)) {
		e.had[v.Seq-1] = connection
	}
}

// lost is how many verdicts are missing in some view that the broker has acknowledged, and how many of these over a later connection than a
// device's last before the fault.
func (l *ledger) lost(before map[boot]uint64) (all, after int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r, e := range l.runs {
		for n, had := range e.had {
			for view := range l.views {
				if e.seen[view][n] > 0 || had == 0 {
					continue
				}
				if all++; had > before[r] {
					after++
				}
				break
			}
		}
	}
	return all, after
}

// take notes a message that a collector of a view got.
func (l *ledger) take(view, collector int, m message) {
	below, ok := strings.CutPrefix(m.topic, l.prefix+"/")
	device, what, _ := strings.Cut(below, "/")
	switch {
	case !ok:
		l.stray()
	case what == "availability":
		l.mu.Lock()
		defer l.mu.Unlock()
		l.online[device] = string(m.payload) == mqtt.Online
		if !l.online[device] && !m.retained {
			l.tally.Wills++
		}
	case what == "gap":
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tally.Gaps++
	case strings.HasSuffix(what, "/verdict"):
		now := l.now()
		v, err := mqtt.ParseVerdict(m.payload)
		if err != nil || m.topic != fmt.Sprintf("%s/%s/camera/%s/verdict", l.prefix, v.Device, v.Camera) {
			l.stray()
			return
		}
		l.verdict(view, collector, v, m.retained, m.again, now)
	default:
		l.stray()
	}
}

func (l *ledger) stray() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.Unknown++
}

func (l *ledger) verdict(view, collector int, v mqtt.Verdict, retained, again bool, now time.Time) {
	sum := fingerprint(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if retained {
		l.tally.Retained++
	}
	e := l.runs[boot{v.Device, v.Boot}]
	if e == nil || v.Seq > uint64(len(e.at)) {
		l.tally.Unknown++
		return
	}
	n := v.Seq - 1
	if e.sum[n] != sum {
		l.tally.Altered++
		return
	}
	l.newest = now
	if e.seen[view][n]++; e.seen[view][n] > 1 {
		e.seen[view][n] = 2
		l.tally.Twice++
		return
	}
	l.missing[view]--
	l.tally.Arrived++
	if v.Replayed {
		l.tally.Late++
	}
	t := track{collector, v.Camera, v.Replayed}
	if v.Seq < e.last[t] {
		if l.tally.OutOfOrder++; len(l.examples) < 10 {
			was := e.last[t] - 1
			l.examples = append(l.examples, fmt.Sprintf("%s %s at collector %d: %d (decided %s, acknowledged over connection %d, sent again %v) after %d (decided %s, %d), replayed %v",
				v.Device, v.Camera, collector, v.Seq, e.at[n].Format(time.StampMilli), e.had[n], again, was+1, e.at[was].Format(time.StampMilli), e.had[was], v.Replayed))
		}
	}
	e.last[t] = max(e.last[t], v.Seq)
	if view == 0 {
		l.delays = append(l.delays, delay{e.at[n], now.Sub(e.at[n])})
		l.seconds[now.Unix()]++
	}
}

// left is how many are missing in the view that misses most, and when the newest came.
func (l *ledger) left() (int, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := 0
	for _, n := range l.missing {
		most = max(most, n)
	}
	return most, l.newest
}

// offline is how many of the devices are called offline, or nothing.
func (l *ledger) offline(devices int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for d := range devices {
		if !l.online[deviceName(d)] {
			n++
		}
	}
	return n
}
