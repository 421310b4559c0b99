package mqtt

import (
	"encoding/json"
	"errors"
	"time"
)

const (
	defaultQueueBytes = 8 << 20
	defaultQueueAge   = 7 * 24 * time.Hour
	// defaultBacklogRate is how many late verdicts are published a second, so that thousand kiosks that come back leave their
	// broker time for what is new.
	defaultBacklogRate = 50

	// tryAgain is how often a journal is tried that can't be written, and stalled how long a write may take until verdicts go out without
	// it: nobody may act on them for longer.
	tryAgain = 5 * time.Second
	stalled  = 3 * time.Second
	// farewellToDisk is how long Close waits for the last write.
	farewellToDisk = 5 * time.Second
	// ageing is how often what is too old is looked for.
	ageing = time.Minute
	// maxSpare is how many records that nobody needs any more wait to be removed with the next one that is written.
	maxSpare = 64
)

// Record is what a Journal keeps.
type Record struct {
	N       uint64 // its number; they ascend
	Gap     bool   // the document is a gap, not a verdict
	Payload []byte
}

// Journal is what keeps verdicts over a restart. A client calls one of its methods at a time, and only Close after Close.
type Journal interface {
	// Load opens it, also again after Write failed, and returns all that it keeps in the order of the numbers. lost tells that there was
	// something that can't be read any more, and is told once.
	Load() (kept []Record, lost bool, err error)
	// Write adds and replaces records, and removes others. It returns nil when all of that is on the disk; otherwise none of it is.
	Write(put []Record, remove []uint64) error
	Close() error
}

// JournalInfo is whether verdicts that wait survive a power cut.
type JournalInfo struct {
	State string `json:"state"` // JournalDisk or JournalMemory
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Since Time   `json:"since"`
}

// Where verdicts wait.
const (
	JournalDisk   = "disk"
	JournalMemory = "memory"
)

var errStalled = errors.New("the disk takes too long")

// journal is what a client knows of its Journal. The client's mu guards it.
type journal struct {
	dirty chan struct{} // something is there to be written
	stop  chan struct{}
	done  chan struct{}

	loaded bool     // it is known what is in it
	next   uint64   // number of the next record
	spare  []uint64 // numbers of records that nobody needs any more
	err    error    // why it can't be written; nil if it can
	since  time.Time
	fresh  bool // the broker wasn't told of the newest change of what info says
}

// durable tells whether nothing may be published before it is on the disk. c.mu is held.
func (c *Client) durable() bool { return c.o.Journal != nil && c.journal.err == nil }

// Journal tells whether verdicts that wait survive a power cut; nil for a client that has no journal.
func (c *Client) Journal() *JournalInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.journalInfo()
}

func (c *Client) journalInfo() *JournalInfo {
	if c.o.Journal == nil {
		return nil
	}
	i := &JournalInfo{State: JournalDisk, Since: Time(c.journal.since)}
	if err := c.journal.err; err != nil {
		i.State, i.Error, i.Hint = JournalMemory, err.Error(), hint(err)
	}
	return i
}

// spare notes that nobody needs a record any more. c.mu is held.
func (c *Client) spare(n uint64, kept bool) {
	if n == 0 || !kept {
		return // it was never written; or it is being written, and whoever does that sees that it is gone
	}
	if c.journal.spare = append(c.journal.spare, n); len(c.journal.spare) >= maxSpare {
		c.stain()
	}
}

// stain wakes whoever writes.
func (c *Client) stain() {
	if c.o.Journal == nil {
		return
	}
	select {
	case c.journal.dirty <- struct{}{}:
	default: // it was woken already
	}
}

// record writes the journal until it is told to stop, and then what is left.
func (c *Client) record() {
	defer close(c.journal.done)
	again := time.NewTicker(c.o.again)
	defer again.Stop()
	old := time.NewTicker(ageing)
	defer old.Stop()
	for {
		select {
		case <-c.journal.dirty:
			c.mu.Lock()
			failing := c.journal.err != nil
			c.mu.Unlock()
			if failing {
				continue // its time comes
			}
		case <-again.C:
			c.mu.Lock()
			failing := c.journal.err != nil
			c.mu.Unlock()
			if !failing {
				continue
			}
		case <-old.C:
			c.expire()
		case <-c.journal.stop:
			c.write(true)
			if err := c.o.Journal.Close(); err != nil {
				c.o.Log.Warn("the journal can't be closed", "error", err, "hint", hint(err))
			}
			return
		}
		c.write(false)
	}
}

// expire drops what waits for too long.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Now()
	for _, i := range c.queue.all() {
		if !i.flying && i.age+now.Sub(i.queued) > c.o.QueueAge {
			c.queue.done(i)
			c.lose(i, GapAge)
		}
	}
}

// write brings the journal up to what waits. all: also what could wait for the next time.
func (c *Client) write(all bool) {
	c.mu.Lock()
	again := !c.journal.loaded || c.journal.err != nil
	c.mu.Unlock()
	if again && !c.load() {
		return
	}
	c.mu.Lock()
	var items []*item
	var gaps []*notice
	for _, i := range c.queue.all() {
		if !i.kept {
			items = append(items, i)
		}
	}
	for _, g := range c.gaps {
		if g.kept != g.version {
			gaps = append(gaps, g)
		}
	}
	remove := c.journal.spare
	if len(items)+len(gaps) == 0 && !again && (len(remove) == 0 || !all && len(remove) < maxSpare) {
		c.mu.Unlock()
		return
	}
	c.journal.spare = nil
	var put []Record
	versions := make([]int, len(gaps))
	for _, i := range items {
		if i.n == 0 {
			i.n = c.number()
		}
		put = append(put, Record{N: i.n, Payload: i.document})
	}
	for at, g := range gaps {
		if g.n == 0 {
			g.n = c.number()
		}
		payload, err := json.Marshal(g.gap)
		if err != nil {
			continue // it has nothing that can't be written
		}
		versions[at] = g.version
		put = append(put, Record{N: g.n, Gap: true, Payload: payload})
	}
	c.mu.Unlock()

	slow := time.AfterFunc(c.o.stalled, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ail(&Error{Op: "write the journal", Err: errStalled, Kind: KindOther, hint: "the disk or memory card may be failing: replace it"})
	})
	err := c.o.Journal.Write(put, remove)
	slow.Stop()

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.journal.spare = append(remove, c.journal.spare...)
		c.ail(err)
		return
	}
	for _, i := range items {
		i.kept = true
		c.progress(i, Journaled)
		if i.gone {
			c.spare(i.n, true)
		}
	}
	for at, g := range gaps {
		g.kept = versions[at]
		if g.gone {
			c.spare(g.n, true)
		}
	}
	c.heal()
	c.rouse()
}

func (c *Client) number() uint64 {
	c.journal.next++
	return c.journal.next
}

// ail notes that the journal can't be written: from now on verdicts go out from memory. c.mu is held.
func (c *Client) ail(err error) {
	j := &c.journal
	if j.err == nil || j.err.Error() != err.Error() {
		c.o.Log.Error("verdicts that wait for the broker are in memory alone: a power cut would lose them", "error", err, "hint", hint(err),
			"waiting", c.queue.len())
		j.fresh = true
	}
	if j.err == nil {
		j.since = c.o.Now()
	}
	j.err = err
	c.rouse()
}

// heal notes that it can be written. c.mu is held.
func (c *Client) heal() {
	if c.journal.err == nil {
		return
	}
	c.o.Log.Info("the journal can be written again", "waiting", c.queue.len())
	c.journal.err, c.journal.since, c.journal.fresh = nil, c.o.Now(), true
}

// load opens the journal. What an earlier run left in it is the backlog; what this run wrote is written again, as nobody knows what a
// failing disk did with it.
func (c *Client) load() bool {
	records, lost, err := c.o.Journal.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.ail(err)
		return false
	}
	j := &c.journal
	known := map[uint64]bool{}
	for _, i := range c.queue.all() {
		known[i.n] = true
		i.kept = false
	}
	for _, g := range c.gaps {
		known[g.n] = true
		g.kept = 0
	}
	if lost && !j.loaded { // otherwise all of it is in memory, too
		c.unknown()
		c.o.Log.Error("the journal was damaged: verdicts of earlier runs that waited for the broker are lost",
			"hint", "the damaged file is set aside in the state folder; check the disk")
	}
	j.spare = nil
	var fresh, backlog []*item
	for _, r := range records {
		j.next = max(j.next, r.N)
		switch {
		case known[r.N]:
		case j.loaded:
			j.spare = append(j.spare, r.N)
		default:
			switch i := c.recall(r); {
			case i == nil:
			case i.old:
				backlog = append(backlog, i)
			default: // it was restarted quickly
				fresh = append(fresh, i)
			}
		}
	}
	j.loaded = true
	c.queue.backlog = append(backlog, c.queue.backlog...)
	c.queue.fresh = append(fresh, c.queue.fresh...)
	for _, i := range append(fresh, backlog...) {
		c.queue.size += i.size
	}
	if n := len(fresh) + len(backlog); n > 0 {
		c.o.Log.Info("verdicts of earlier runs wait for the broker", "waiting", n)
	}
	for _, l := range c.queue.trim() {
		c.lose(l.item, l.why)
	}
	return true
}

// recall makes of a record what it was, nil for what isn't a verdict to be published. c.mu is held.
func (c *Client) recall(r Record) *item {
	if r.Gap {
		g, err := ParseGap(r.Payload)
		if err == nil && g.Device == c.o.Device {
			c.gaps = append(c.gaps, &notice{gap: g, version: 1, kept: 1, n: r.N})
			return nil
		}
		c.unknown()
		c.journal.spare = append(c.journal.spare, r.N)
		return nil
	}
	v, err := ParseVerdict(r.Payload)
	if err == nil && v.Device != c.o.Device {
		err = errors.New("it is of device " + v.Device)
	}
	if err != nil {
		c.o.Log.Warn("a verdict of an earlier run can't be published any more", "error", err)
		c.journal.spare = append(c.journal.spare, r.N)
		if CheckName("boot", v.Boot) == nil && v.Seq > 0 {
			c.missing(&v, GapRefused)
		} else {
			c.unknown()
		}
		return nil
	}
	now := c.o.Now()
	decided, expires := v.DecidedAt.UTC(), v.ExpiresAt.UTC()
	i := &item{verdict: v, document: r.Payload, size: int64(len(r.Payload)), queued: now, n: r.N, kept: true}
	// If the clock is before its decision, nobody knows how late it is.
	i.old = now.Round(0).After(expires) || now.Round(0).Before(decided)
	if v.ClockSynced {
		i.age = max(0, now.Round(0).Sub(decided))
	}
	if twin := c.queue.find(r.Payload); twin != nil {
		// It was published anew already, as answers of sessions are.
		twin.n = r.N
		return nil
	}
	return i
}

// lose notes that a verdict that waited won't come. c.mu is held.
func (c *Client) lose(i *item, why GapReason) {
	i.gone = true
	if c.full == 0 {
		c.o.Log.Warn("verdicts that wait are dropped, the oldest first and spoofs last", "why", why, "waiting", c.queue.len(),
			"dropping", i.verdict.Verdict, "hint", "the broker has been away for long: see the connection")
	}
	c.full++
	c.drop(i.verdict.Verdict)
	c.missing(&i.verdict, why)
	c.spare(i.n, i.kept)
	c.stain()
}

// left tells whether something is left to be published, or to be written, while the client closes: what is on the disk has time. c.mu
// is held.
func (c *Client) left() bool {
	if len(c.queue.fresh) > 0 {
		return true
	}
	if c.durable() {
		return false
	}
	return len(c.queue.backlog)+len(c.gaps) > 0
}

// volatile is the verdicts that the next run will not know of. c.mu is held.
func (c *Client) volatile() int {
	n := 0
	for _, list := range [][]*item{c.queue.backlog, c.queue.fresh} {
		for _, i := range list {
			if !i.kept {
				n++
			}
		}
	}
	return n
}
