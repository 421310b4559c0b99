// Package journal keeps verdicts and gaps on the disk until the broker has them: what mqtt.Journal asks for, in a file of its own beside
// the one of bans and sessions, so that damage to either costs nothing of the other.
//
// What Write was given is on the disk when it returns nil. A file that is damaged is set aside, which Load tells; each record has a checksum.
// After a failure Load opens it anew.
//
// Memory cards wear out by what is written to them. A Write of one verdict mostly costs two or three pages of 4 KiB, because it goes
// into a bucket that fits into one page (newest); when that is full, its records move to the large one (rest), whose tree costs more. What is
// removed from that one goes together, too: after a power cut up to 64 verdicts more may come again.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/livenessd/livenessd/daemon/store"
	"github.com/livenessd/livenessd/mqtt"
)

// File lies in the folder that the configuration calls state.
const File = "journal.db"

// The buckets.
const (
	newest = "newest"
	rest   = "rest"
	gaps   = "gaps" // which are few, and written again and again while a journal is full
)

const (
	// room is how many bytes newest may have: a page, less what bbolt and the store need of it.
	room = 3400
	// together is how many records are removed from rest at a time.
	together = 64
)

// Journal is one file. It isn't safe for concurrent use.
type Journal struct {
	path    string
	log     *slog.Logger
	damaged bool // it was found out while it was open

	store *store.Store   // nil while it isn't open
	size  map[uint64]int // of the records in newest
	gaps  map[uint64]bool
	spare []uint64 // of those in rest that nobody needs any more
}

var _ mqtt.Journal = (*Journal)(nil)

// New names the file. Load opens it.
func New(path string, log *slog.Logger) *Journal { return &Journal{path: path, log: log} }

// Load opens the file, or makes it, and reads all.
func (j *Journal) Load() (kept []mqtt.Record, lost bool, err error) {
	if err := j.Close(); err != nil {
		j.log.Warn("the journal can't be closed", "error", err)
	}
	if j.damaged {
		// bbolt may hold this file's lock until the process ends.
		aside := j.path + ".damaged"
		if err := os.Rename(j.path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
		j.log.Error("the journal was damaged while it was used: it is set aside, and a new one begun", "damaged", aside, "hint", "check the disk")
		j.damaged, lost = false, true
	}
	s, err := store.Open(j.path)
	if err != nil {
		return nil, false, err
	}
	if aside := s.SetAside(); aside != "" {
		lost = true
		j.log.Error("the journal is damaged: it is set aside, and a new one begun", "damaged", aside,
			"hint", "verdicts that nobody got may be lost, which is told on gap; check the disk")
	}
	if s.Torn() {
		lost = true
		j.log.Error("the journal's last transaction may be lost", "path", j.path, "hint", "after a power cut this is no harm; otherwise check the disk")
	}
	j.size, j.gaps, j.spare = map[uint64]int{}, map[uint64]bool{}, nil
	err = s.View(func(tx *store.Tx) error {
		for _, bucket := range []string{rest, newest, gaps} {
			err := tx.Each(bucket, func(key string, value []byte) error {
				r, err := parse(key, value, bucket == gaps)
				kept = append(kept, r)
				switch bucket {
				case newest:
					j.size[r.N] = len(value)
				case gaps:
					j.gaps[r.N] = true
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, errors.Join(err, s.Close())
	}
	slices.SortFunc(kept, func(a, b mqtt.Record) int { return cmp.Compare(a.N, b.N) })
	j.store = s
	return kept, lost, nil
}

func key(n uint64) string { return fmt.Sprintf("%016x", n) }

func parse(k string, value []byte, gap bool) (r mqtt.Record, err error) {
	if _, err := fmt.Sscanf(k, "%016x", &r.N); err != nil || key(r.N) != k {
		return r, fmt.Errorf("journal: record %.40q: %w", k, store.ErrDamaged)
	}
	r.Gap, r.Payload = gap, value
	return r, nil
}

// Write adds, replaces and removes, all of it or nothing.
func (j *Journal) Write(put []mqtt.Record, remove []uint64) error {
	if j.store == nil {
		return fmt.Errorf("journal: write: %w", store.ErrClosed)
	}
	size, gap, spare := maps.Clone(j.size), maps.Clone(j.gaps), slices.Clone(j.spare)
	err := j.store.Update(func(tx *store.Tx) error {
		for _, n := range remove {
			bucket := gaps
			if _, is := size[n]; is {
				bucket = newest
			} else if !gap[n] {
				spare = append(spare, n)
				continue
			}
			delete(size, n)
			delete(gap, n)
			if err := tx.Delete(bucket, key(n)); err != nil {
				return err
			}
		}
		if len(spare) >= together {
			if err := sweep(tx, spare); err != nil {
				return err
			}
			spare = nil
		}
		for _, r := range put {
			err := error(nil)
			if r.Gap {
				gap[r.N] = true
				err = tx.Put(gaps, key(r.N), r.Payload)
			} else {
				err = place(tx, size, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		j.size, j.gaps, j.spare = size, gap, spare
	}
	if err == nil && j.store.SetAside() != "" { // the gap is written with the first records
		err = j.store.Noted()
	}
	j.damaged = errors.Is(err, store.ErrDamaged)
	return err
}

// place puts a record into newest, and moves what is there to rest if there is no room. One that is replaced stays where it is.
func place(tx *store.Tx, size map[uint64]int, r mqtt.Record) error {
	k, value := key(r.N), r.Payload
	if _, is := size[r.N]; !is {
		if old, err := tx.Get(rest, k); err != nil || old != nil {
			return errors.Join(err, tx.Put(rest, k, value))
		}
	}
	all := len(value) + entry
	for n, s := range size {
		if n != r.N {
			all += s + entry
		}
	}
	if all > room {
		for _, n := range slices.Sorted(maps.Keys(size)) {
			old, err := tx.Get(newest, key(n))
			if err == nil && n != r.N {
				err = tx.Put(rest, key(n), old)
			}
			if err = errors.Join(err, tx.Delete(newest, key(n))); err != nil {
				return err
			}
			delete(size, n)
		}
	}
	size[r.N] = len(value)
	return tx.Put(newest, k, value)
}

// entry is what a record needs beside its value: a key, a checksum, and bbolt's own.
const entry = 16 + 4 + 16

func sweep(tx *store.Tx, spare []uint64) error {
	for _, n := range spare {
		if err := tx.Delete(rest, key(n)); err != nil {
			return err
		}
	}
	return nil
}

// Close may be called twice, and before Load.
func (j *Journal) Close() error {
	if j.store == nil {
		return nil
	}
	s, spare := j.store, j.spare
	j.store, j.spare = nil, nil
	var err error
	if len(spare) > 0 {
		err = s.Update(func(tx *store.Tx) error { return sweep(tx, spare) })
	}
	return errors.Join(err, s.Close())
}
