package mqtt

import (
	"slices"
	"time"
)

// maxSpans bounds what is known of the numbers of one run.
const maxSpans = 512

// span is numbers of a run that haven't come.
type span struct {
	first, last uint64
	awaited     bool      // false: it is known, or was told, that they may never come
	since       time.Time // when they were first missed
	away        bool      // they may have come while the subscriber wasn't connected
}

// numbers is which numbers of a run have come: those up to top that are in no span.
type numbers struct {
	top   uint64
	floor uint64 // up to here nobody knows any more
	spans []span // ascending, apart
}

// at finds the span of a number, -1 if it is in none.
func (n *numbers) at(seq uint64) int {
	i, found := slices.BinarySearchFunc(n.spans, seq, func(s span, seq uint64) int {
		switch {
		case s.last < seq:
			return -1
		case s.first > seq:
			return 1
		}
		return 0
	})
	if !found {
		return -1
	}
	return i
}

// came tells whether a number has come, and with sure whether that is known.
func (n *numbers) came(seq uint64) (came, sure bool) {
	came = seq <= n.top && n.at(seq) < 0
	return came, !came || seq > n.floor
}

// mark notes that a number came. Those before it that are new are missed like rest says.
func (n *numbers) mark(seq uint64, rest span) (given []span) {
	if seq > n.top {
		n.reach(seq-1, rest)
		n.top = seq
		return n.trim()
	}
	i := n.at(seq)
	if i < 0 {
		return nil
	}
	s := n.spans[i]
	var parts []span
	if s.first < seq {
		p := s
		p.last = seq - 1
		parts = append(parts, p)
	}
	if s.last > seq {
		p := s
		p.first = seq + 1
		parts = append(parts, p)
	}
	n.spans = slices.Replace(n.spans, i, i+1, parts...)
	return n.trim()
}

// reach moves top up, past numbers that haven't come.
func (n *numbers) reach(to uint64, rest span) {
	if to <= n.top {
		return
	}
	rest.first, rest.last = n.top+1, to
	n.spans = append(n.spans, rest)
	n.top = to
}

// give notes that a range needn't be waited for. Numbers before it that are new are missed like rest says.
func (n *numbers) give(r SeqRange, rest span) (given []span) {
	if r.First == 0 || r.Last < r.First {
		return nil
	}
	n.reach(r.First-1, rest)
	n.reach(r.Last, span{})
	var out []span
	add := func(s span) {
		if last := len(out) - 1; last >= 0 && !s.awaited && !out[last].awaited && out[last].last+1 == s.first {
			out[last].last = s.last
			return
		}
		out = append(out, s)
	}
	for _, s := range n.spans {
		if !s.awaited || s.last < r.First || s.first > r.Last {
			add(s)
			continue
		}
		if s.first < r.First {
			p := s
			p.last = r.First - 1
			add(p)
		}
		p := s
		p.first, p.last, p.awaited = max(s.first, r.First), min(s.last, r.Last), false
		add(p)
		if s.last > r.Last {
			p := s
			p.first = r.Last + 1
			add(p)
		}
	}
	n.spans = out
	return n.trim()
}

// overdue takes the spans that were missed long enough.
func (n *numbers) overdue(is func(span) bool) (given []span) {
	for i := range n.spans {
		if s := &n.spans[i]; s.awaited && is(*s) {
			given = append(given, *s)
			s.awaited = false
		}
	}
	return given
}

// trim forgets what there is no room for, and returns what was still awaited of it.
func (n *numbers) trim() (given []span) {
	for len(n.spans) > maxSpans {
		if s := n.spans[0]; s.awaited {
			given = append(given, s)
		}
		n.floor = n.spans[0].last
		n.spans = slices.Delete(n.spans, 0, 1)
	}
	return given
}
