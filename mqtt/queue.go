package mqtt

import (
	"bytes"
	"slices"
	"time"
)

// queue holds verdicts until the broker acknowledged them: those that somebody may still act on, and the backlog of those that are late. Each
// is in the order in which they were decided. It isn't safe for concurrent use.
type queue struct {
	count int   // how many there may be
	bytes int64 // how long their documents may be together

	fresh, backlog []*item
	size           int64
}

// item is a queued verdict.
type item struct {
	verdict  Verdict
	document []byte // as it was decided
	size     int64  // of the document
	queued   time.Time
	age      time.Duration // how old it was then
	flying   bool          // published over the present connection and not acknowledged yet
	old      bool          // its time is over

	n    uint64 // its number in the journal; 0 for none yet
	kept bool   // it is on the disk
	gone bool   // it was acknowledged, or dropped
}

// late tells whether the verdict's time is over. The wall clock may have been set since it was decided, in either direction,
// so that the time on the queue counts too. Once late, it stays so.
func (i *item) late(now time.Time) bool {
	if !i.old {
		decided, expires := i.verdict.DecidedAt.UTC(), i.verdict.ExpiresAt.UTC()
		i.old = now.Round(0).After(expires.Round(0)) || now.Sub(i.queued) > expires.Sub(decided)
	}
	return i.old
}

func (q *queue) len() int { return len(q.fresh) + len(q.backlog) }

// find returns the item of the very same verdict, nil if it isn't there.
func (q *queue) find(document []byte) *item {
	for _, list := range [][]*item{q.fresh, q.backlog} {
		for _, i := range list {
			if i.size == int64(len(document)) && bytes.Equal(i.document, document) {
				return i
			}
		}
	}
	return nil
}

// loss is an item that had to go, and the bound that was hit.
type loss struct {
	item *item
	why  GapReason
}

// push puts a verdict to its place, and returns what has to go for it, which may be the new one.
func (q *queue) push(i *item) []loss {
	list := &q.fresh
	if i.old {
		list = &q.backlog
	}
	place(list, i)
	q.size += i.size
	return q.trim()
}

// trim removes what there is no room for: the oldest that aren't spoofs first, and then the oldest of all. What is flying stays if
// anything else can go: it is probably with the broker already.
func (q *queue) trim() (lost []loss) {
	for q.len() > 0 && (q.len() > q.count || q.size > q.bytes) {
		why := GapCount
		if q.len() <= q.count {
			why = GapBytes
		}
		out := q.least()
		q.done(out)
		lost = append(lost, loss{out, why})
	}
	return lost
}

// place appends an item, but not behind those of its camera that were decided after it.
func place(list *[]*item, i *item) {
	at := len(*list)
	for n, o := range slices.Backward(*list) {
		if o.flying || o.verdict.Boot != i.verdict.Boot || o.verdict.Camera == i.verdict.Camera && o.verdict.Seq <= i.verdict.Seq {
			break
		}
		if o.verdict.Camera == i.verdict.Camera {
			at = n
		}
	}
	*list = slices.Insert(*list, at, i)
}

// least is the item that can be spared best.
func (q *queue) least() *item {
	for _, may := range []func(*item) bool{
		func(i *item) bool { return !i.flying && i.verdict.Verdict != Spoof },
		func(i *item) bool { return !i.flying },
		func(*item) bool { return true },
	} {
		for _, list := range [][]*item{q.backlog, q.fresh} {
			if at := slices.IndexFunc(list, may); at >= 0 {
				return list[at]
			}
		}
	}
	return nil
}

// sort moves what became late to the backlog.
func (q *queue) sort(now time.Time) {
	q.fresh = slices.DeleteFunc(q.fresh, func(i *item) bool {
		if i.flying || !i.late(now) {
			return false
		}
		place(&q.backlog, i)
		return true
	})
}

// next returns the oldest item that isn't flying and may fly, and lets it.
func next(list []*item, may func(*item) bool) *item {
	for _, i := range list {
		if !i.flying && may(i) {
			i.flying = true
			return i
		}
	}
	return nil
}

// done removes an item.
func (q *queue) done(i *item) {
	for _, list := range []*[]*item{&q.fresh, &q.backlog} {
		if at := slices.Index(*list, i); at >= 0 {
			*list = slices.Delete(*list, at, at+1)
			q.size -= i.size
			i.gone = true
		}
	}
}

// land makes all that was flying wait again: the connection is gone.
func (q *queue) land() {
	for _, list := range [][]*item{q.fresh, q.backlog} {
		for _, i := range list {
			i.flying = false
		}
	}
}

// all is the items, the backlog first.
func (q *queue) all() []*item { return slices.Concat(q.backlog, q.fresh) }
