package session

import (
	"slices"
	"time"
)

// Limit lets so many requests through at once, and so many more with time.
type Limit struct {
	Burst float64
	Rate  float64 // a second

	spent float64
	last  time.Time
}

// Allow tells whether another may go through now.
func (l *Limit) Allow(now time.Time) bool {
	if gone := now.Sub(l.last).Seconds(); gone > 0 && !l.last.IsZero() {
		l.spent = max(0, l.spent-gone*l.Rate)
	}
	l.last = now
	if l.spent > l.Burst-1 {
		return false
	}
	l.spent++
	return true
}

// Memory is the transactions that were used, the newest of them.
type Memory struct {
	Size int

	used  map[string]uint64
	order []string
	next  uint64
}

// Has tells whether a transaction was used.
func (m *Memory) Has(transaction string) bool {
	_, has := m.used[transaction]
	return has
}

// Add remembers a transaction under the number that it returns, and forgets the oldest where there is no room: that of forgotten, if
// there is one.
func (m *Memory) Add(transaction string) (n uint64, forgotten uint64, forgot bool) {
	return m.add(m.next, transaction)
}

// Restore is Add of what was remembered before, in the order of the numbers.
func (m *Memory) Restore(n uint64, transaction string) (forgotten uint64, forgot bool) {
	_, forgotten, forgot = m.add(n, transaction)
	return forgotten, forgot
}

// Drop takes back what was added, where nothing came of it.
func (m *Memory) Drop(transaction string) {
	if i := slices.Index(m.order, transaction); i >= 0 {
		m.order = slices.Delete(m.order, i, i+1)
		delete(m.used, transaction)
	}
}

func (m *Memory) add(n uint64, transaction string) (_, forgotten uint64, forgot bool) {
	if m.used == nil {
		m.used = map[string]uint64{}
	}
	if len(m.order) >= m.Size {
		forgotten, forgot = m.used[m.order[0]], true
		delete(m.used, m.order[0])
		m.order = m.order[1:]
	}
	m.used[transaction] = n
	m.order = append(m.order, transaction)
	m.next = n + 1
	return n, forgotten, forgot
}
