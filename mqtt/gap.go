package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// GapReason says why verdicts were lost.
type GapReason string

// The reasons for a gap.
const (
	GapCount   GapReason = "count"   // more waited than may
	GapBytes   GapReason = "bytes"   // they were longer than may be
	GapAge     GapReason = "age"     // they waited for longer than they may
	GapRefused GapReason = "refused" // they contradicted themselves, or weren't this device's
	GapDamaged GapReason = "damaged" // what was on the disk can't be read any more
)

// Gap says which verdicts will not come.
type Gap struct {
	Schema   int        `json:"schema"`
	Device   string     `json:"device"`
	Boot     *string    `json:"boot"`   // nil: of runs before, nobody knows which
	Ranges   []SeqRange `json:"ranges"` // of seq, ascending; none where nobody knows
	Exact    bool       `json:"exact"`  // all in the ranges are lost, and no others; false: some in the ranges may have come
	Verdicts uint64     `json:"verdicts"`
	Spoofs   uint64     `json:"spoofs"` // of these
	Reason   GapReason  `json:"reason"`
	Since    Time       `json:"since"` // when the first was lost
	At       Time       `json:"at"`    // when the last was
}

// SeqRange is from one number to another, both included.
type SeqRange struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Check tells what in a gap contradicts itself.
func (g Gap) Check() error {
	if g.Schema != schemaVersion {
		return fmt.Errorf("mqtt: check a gap: schema %d, not %d", g.Schema, schemaVersion)
	}
	err := CheckName("device", g.Device)
	if g.Boot != nil {
		err = errors.Join(err, CheckName("boot", *g.Boot))
	} else if g.Exact || len(g.Ranges) > 0 {
		err = errors.Join(err, errors.New("numbers of no known boot"))
	}
	last := uint64(0)
	for _, r := range g.Ranges {
		if r.First <= last || r.Last < r.First {
			err = errors.Join(err, fmt.Errorf("the range %d to %d behind %d", r.First, r.Last, last))
			break
		}
		last = r.Last
	}
	if g.Spoofs > g.Verdicts || g.Reason == "" {
		err = errors.Join(err, fmt.Errorf("%d spoofs of %d verdicts, reason %.40q", g.Spoofs, g.Verdicts, g.Reason))
	}
	if err != nil {
		return fmt.Errorf("mqtt: check a gap: %w", err)
	}
	return nil
}

// ParseGap reads a gap's document. Members and reasons of later versions are accepted.
func ParseGap(b []byte) (g Gap, err error) {
	fail := func(err error) (Gap, error) { return Gap{}, fmt.Errorf("mqtt: parse a gap: %w", err) }
	if len(b) > maxDocument {
		return fail(fmt.Errorf("%d bytes, more than %d", len(b), maxDocument))
	}
	if err := checkMembers(b); err != nil {
		return fail(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		return fail(err)
	}
	if err := g.Check(); err != nil {
		return fail(err)
	}
	return g, nil
}

const (
	// maxRanges bounds a gap, and maxGaps how many wait to be told. Beyond, gaps are told less exactly.
	maxRanges = 64
	maxGaps   = 64
)

// notice is a gap that waits for the broker's acknowledgement.
type notice struct {
	gap     Gap
	version int // counts its changes
	flying  bool

	n    uint64 // its number in the journal; 0 for none yet
	kept int    // the version that is on the disk; 0 for none
	gone bool
}

// has tells whether a number is in it.
func (g *Gap) has(seq uint64) bool {
	return slices.ContainsFunc(g.Ranges, func(r SeqRange) bool { return r.First <= seq && seq <= r.Last })
}

// add puts a number into the ranges.
func (g *Gap) add(seq uint64) {
	at, _ := slices.BinarySearchFunc(g.Ranges, seq, func(r SeqRange, s uint64) int {
		switch {
		case r.Last < s:
			return -1
		case r.First > s:
			return 1
		}
		return 0
	})
	switch {
	case g.has(seq):
		return
	case at > 0 && g.Ranges[at-1].Last == seq-1:
		g.Ranges[at-1].Last = seq
	case at < len(g.Ranges) && g.Ranges[at].First == seq+1:
		g.Ranges[at].First = seq
	default:
		g.Ranges = slices.Insert(g.Ranges, at, SeqRange{seq, seq})
		return
	}
	for i := len(g.Ranges) - 1; i > 0; i-- {
		if g.Ranges[i-1].Last+1 == g.Ranges[i].First {
			g.Ranges[i-1].Last = g.Ranges[i].Last
			g.Ranges = slices.Delete(g.Ranges, i, i+1)
		}
	}
}

// widen makes one range of all.
func (g *Gap) widen() {
	if len(g.Ranges) > 1 {
		g.Ranges = []SeqRange{{g.Ranges[0].First, g.Ranges[len(g.Ranges)-1].Last}}
		g.Exact = false
	}
}

// missing notes that a verdict will not come. Numbers of one run and reason go into one gap until it is on its way. c.mu is held.
func (c *Client) missing(v *Verdict, why GapReason) {
	now := Time(c.o.Now())
	same := func(n *notice) bool {
		return !n.flying && n.gap.Boot != nil && *n.gap.Boot == v.Boot && n.gap.Reason == why
	}
	room := func(n *notice) bool { return same(n) && len(n.gap.Ranges) < maxRanges }
	at := slices.IndexFunc(c.gaps, room)
	if at < 0 && len(c.gaps) >= maxGaps {
		if at = slices.IndexFunc(c.gaps, same); at >= 0 {
			c.gaps[at].gap.widen()
		}
	}
	if at < 0 && len(c.gaps) >= maxGaps {
		// So many runs, none of which could tell: it is told that there was something.
		if at = slices.IndexFunc(c.gaps, func(n *notice) bool { return !n.flying }); at >= 0 {
			g := &c.gaps[at].gap
			g.Boot, g.Ranges, g.Exact = nil, []SeqRange{}, false
		}
	}
	if at < 0 {
		c.gaps = append(c.gaps, &notice{gap: Gap{Schema: schemaVersion, Device: c.o.Device, Boot: &v.Boot, Exact: true, Reason: why, Since: now}})
		at = len(c.gaps) - 1
	}
	n := c.gaps[at]
	n.version++
	n.gap.At = now
	if n.gap.Boot != nil {
		if n.gap.Exact && n.gap.has(v.Seq) {
			return
		}
		n.gap.add(v.Seq)
	}
	c.status.Lost.add(why)
	n.gap.Verdicts++
	if v.Verdict == Spoof {
		n.gap.Spoofs++
	}
}

// unknown notes that nobody knows what was lost. c.mu is held.
func (c *Client) unknown() {
	c.status.Lost.add(GapDamaged)
	now := Time(c.o.Now())
	for _, n := range c.gaps {
		if n.gap.Boot == nil && n.gap.Reason == GapDamaged && !n.flying {
			n.gap.At, n.version = now, n.version+1
			return
		}
	}
	c.gaps = append(c.gaps, &notice{version: 1, gap: Gap{Schema: schemaVersion, Device: c.o.Device, Ranges: []SeqRange{}, Reason: GapDamaged,
		Since: now, At: now}})
}

// nextGap returns the next gap to be published, nil if there is none.
func (c *Client) nextGap() (*notice, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.gaps {
		if n.flying || c.durable() && n.kept != n.version {
			continue
		}
		payload, err := json.Marshal(n.gap)
		if err != nil {
			continue // it has nothing that can't be written
		}
		n.flying = true
		return n, payload
	}
	return nil, nil
}

// told forgets a gap that the broker has.
func (c *Client) told(n *notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaps = slices.DeleteFunc(c.gaps, func(o *notice) bool { return o == n })
	n.gone = true
	c.spare(n.n, n.kept > 0)
}
