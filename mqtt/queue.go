package mqtt

import (
	"slices"
	"time"
)

// queue holds verdicts until the broker acknowledged them, in the order in which they were decided. It isn't safe for
// concurrent use.
type queue struct {
	limit int
	items []*item
}

// item is a queued verdict.
type item struct {
	verdict Verdict
	queued  time.Time
	flying  bool // published over the present connection and not acknowledged yet
}

// late tells whether the verdict's time is over. The wall clock may have been set since it was decided, in either direction,
// so that the time on the queue counts too.
func (i *item) late(now time.Time) bool {
	decided, expires := i.verdict.DecidedAt.UTC(), i.verdict.ExpiresAt.UTC()
	return now.Round(0).After(expires.Round(0)) || now.Sub(i.queued) > expires.Sub(decided)
}

// push appends a verdict. If there is no room, the oldest one that isn't a spoof goes, which may be the new one, and if
// all are spoofs the oldest of them. What is flying stays if anything else can go: it is probably with the broker
// already. push returns what went, or nil.
func (q *queue) push(i *item) (lost *item) {
	q.items = append(q.items, i)
	if len(q.items) <= q.limit {
		return nil
	}
	at := slices.IndexFunc(q.items, func(i *item) bool { return !i.flying && i.verdict.Verdict != Spoof })
	if at < 0 {
		at = slices.IndexFunc(q.items, func(i *item) bool { return !i.flying })
	}
	lost = q.items[at] // the new one isn't flying
	q.items = slices.Delete(q.items, at, at+1)
	return lost
}

// next returns the oldest item that isn't flying, and lets it fly.
func (q *queue) next() *item {
	for _, i := range q.items {
		if !i.flying {
			i.flying = true
			return i
		}
	}
	return nil
}

// done removes an item that was acknowledged.
func (q *queue) done(i *item) {
	if at := slices.Index(q.items, i); at >= 0 {
		q.items = slices.Delete(q.items, at, at+1)
	}
}

// land makes all that was flying wait again: the connection is gone.
func (q *queue) land() {
	for _, i := range q.items {
		i.flying = false
	}
}
