// Package store is a file in which the daemon keeps what must survive a restart or a power cut: one has bans, open sessions and switches,
// another the verdicts that wait for the broker.
//
// It is bbolt behind guards. What Update was given is on the disk when it returns nil, all of it, and none of it when it returns an error
// or the process dies in the middle. The file's structure and a checksum of each value are checked before it is used; a damaged
// file is set aside, and a new one begun, which callers are told (SetAside) until one has noted it: what was in it is lost. Damage that
// shows later is an error (ErrDamaged), never a crash. A second process doesn't get the file (ErrLocked).
//
// It doesn't promise that a full disk, or one that lies about what it wrote, keeps anything; and somebody who may write the file
// may write into it what he likes. Where a transaction's write fails and a page can't be read in the same moment, the process dies: bbolt
// then walks through the file on a goroutine that nothing guards.
package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// What keeps a file from being used.
var (
	ErrDamaged = errors.New("the file is damaged")
	ErrLocked  = errors.New("another process has the file")
	ErrClosed  = errors.New("the file is closed")
)

// Error is what went wrong with the file.
type Error struct {
	Op   string // "open /var/lib/livenessd/state.db"
	Err  error
	hint string
}

func (e *Error) Error() string { return "store: " + e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what a technician should do, "" where nobody knows.
func (e *Error) Hint() string { return e.hint }

// patience is how long another process may hold the file: one that is just ending.
const patience = 2 * time.Second

// Store is an open file. Its methods are safe for concurrent use.
type Store struct {
	path  string
	aside string
	torn  bool
	mu    sync.Mutex // one at a time: what panics leaves bbolt's locks behind, on which nobody else may wait
	db    *bbolt.DB  // nil once it is closed
	bad   error      // why it can't be used any more
}

// Open opens the file, or makes it and its folder. It must be closed.
func Open(path string) (*Store, error) {
	s := &Store{path: path}
	if err := s.open(); err != nil {
		return nil, s.explain("open", errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *Store) explain(op string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, ErrLocked):
		hint = "is livenessd running already? Stop it, or give this one another folder with the key state"
	case errors.Is(err, fs.ErrPermission):
		hint = "the user that livenessd runs as must be able to write to " + filepath.Dir(s.path)
	case errors.Is(err, syscall.EROFS):
		hint = "name a folder that can be written to with the key state"
	case full(err):
		hint = "the disk is full: make room on it"
	case errors.Is(err, ErrDamaged):
		hint = "restart livenessd, which sets the damaged file aside; check the disk"
	}
	return &Error{Op: op + " " + s.path, Err: err, hint: hint}
}

// full tells whether there is no room for the file. bbolt doesn't wrap all errors of the system's.
func full(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, e) || strings.HasSuffix(err.Error(), ": "+e.Error()) {
			return true
		}
	}
	return false
}

func (s *Store) open() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	torn, err := examine(s.path)
	if err == nil {
		s.torn = torn
		s.db, err = open(s.path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(s.path, ""); err != nil {
			return err
		}
	case errors.Is(err, ErrDamaged):
		aside := s.path + ".damaged"
		if err := keep(s.path, aside); err != nil {
			return err
		}
		if err := create(s.path, aside); err != nil { // which takes the damaged one's place
			return err
		}
	case err != nil:
		return err
	}
	if s.db == nil {
		if s.db, err = open(s.path); err != nil {
			return err
		}
	}
	return s.View(func(tx *Tx) error {
		v, err := tx.Get(ownBucket, asideKey)
		s.aside = string(v)
		return err
	})
}

// What the store itself keeps: where the damaged file lies whose place this one took, until somebody has noted it.
const (
	ownBucket = "store"
	asideKey  = "aside"
)

// keep leaves a damaged file for whoever wants to look at it. One is kept: more would fill the disk.
func keep(path, aside string) error {
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(path, aside) == nil {
		return nil
	}
	data, err := os.ReadFile(path) // a file system without links
	if err != nil {
		return err
	}
	return os.WriteFile(aside, data, 0o600)
}

// SetAside is where the damaged file lies whose place this one took, "" if there was none or if it was noted.
func (s *Store) SetAside() string { return s.aside }

// Torn tells that the newest Update before Open may be lost: one of the two pages that take turns to say what is in the file was damaged, and the
// other one's word was taken. A power cut in the middle of an Update can leave that, too.
func (s *Store) Torn() bool { return s.torn }

// Noted says that whatever has to follow on a damaged file was done.
func (s *Store) Noted() error {
	if err := s.Update(func(tx *Tx) error { return tx.Delete(ownBucket, asideKey) }); err != nil {
		return err
	}
	s.aside = ""
	return nil
}

// create makes an empty file that is whole from the first moment it is there, and that says whose place it took.
func create(path, aside string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := open(fresh)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if aside == "" {
			return nil
		}
		return (&Tx{tx}).Put(ownBucket, asideKey, []byte(aside))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func open(path string) (db *bbolt.DB, err error) {
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:        patience,
			NoFreelistSync: true, // a page less for each Update; the file is small, and walked through at Open anyway
		})
		if errors.Is(err, berrors.ErrTimeout) {
			err = ErrLocked
		}
		return err
	})
	return db, err
}

// guard makes an error of what bbolt does on a damaged file: it panics, or reads where the mapped file ends.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

// Close waits for what runs. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	if s.bad != nil {
		return nil // its locks may be held for ever; the process's end closes it
	}
	if err := guard(db.Close); err != nil {
		return s.explain("close", err)
	}
	return nil
}

// View reads.
func (s *Store) View(f func(*Tx) error) error {
	return s.use("read", func(db *bbolt.DB) error { return db.View(func(tx *bbolt.Tx) error { return f(&Tx{tx}) }) })
}

// Update writes what f does, unless f returns an error.
func (s *Store) Update(f func(*Tx) error) error {
	return s.use("write", func(db *bbolt.DB) error { return update(db, f) })
}

// update isn't bbolt's own, which rolls back whatever happens. As no list of free pages is written, that walks through the file on another goroutine,
// where nothing guards against what is damaged: the process would die. So a damaged file's transaction is left as it is: the file
// is of no more use.
func update(db *bbolt.DB, f func(*Tx) error) error {
	tx, err := db.Begin(true)
	if err != nil {
		return err
	}
	err = f(&Tx{tx})
	switch {
	case err == nil:
		return tx.Commit()
	case errors.Is(err, ErrDamaged):
		return err
	}
	return errors.Join(err, tx.Rollback())
}

func (s *Store) use(op string, f func(*bbolt.DB) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.db == nil:
		return s.explain(op, ErrClosed)
	case s.bad != nil:
		return s.explain(op, s.bad)
	}
	err := guard(func() error { return f(s.db) })
	if errors.Is(err, ErrDamaged) {
		s.bad = err
	}
	if err != nil {
		return s.explain(op, err)
	}
	return nil
}

// Tx is what one View or Update sees: keys and values in named buckets. Values belong to the caller.
type Tx struct{ tx *bbolt.Tx }

// Get returns a key's value, nil where there is none.
func (t *Tx) Get(bucket, key string) ([]byte, error) {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil, nil
	}
	v := b.Get([]byte(key))
	if v == nil {
		return nil, nil
	}
	return unseal([]byte(bucket), []byte(key), v)
}

// Put sets a key's value.
func (t *Tx) Put(bucket, key string, value []byte) error {
	b, err := t.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	b.FillPercent = 1 // keys ascend where there are many
	return b.Put([]byte(key), seal([]byte(bucket), []byte(key), value))
}

// Delete removes a key, if it is there.
func (t *Tx) Delete(bucket, key string) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Delete([]byte(key))
}

// Each calls f with all keys of a bucket, in their order. f mustn't change the bucket.
func (t *Tx) Each(bucket string, f func(key string, value []byte) error) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error {
		value, err := unseal([]byte(bucket), k, v)
		if err != nil {
			return err
		}
		return f(string(k), value)
	})
}

// sum is over where a value stands, too: one that turns up elsewhere is no value.
func sum(bucket, key, value []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	c := crc32.Checksum(bucket, t)
	c = crc32.Update(c, t, []byte{0})
	c = crc32.Update(c, t, key)
	c = crc32.Update(c, t, []byte{0})
	return crc32.Update(c, t, value)
}

func seal(bucket, key, value []byte) []byte {
	sealed := make([]byte, 0, len(value)+4)
	return binary.LittleEndian.AppendUint32(append(sealed, value...), sum(bucket, key, value))
}

// unseal gives a copy.
func unseal(bucket, key, sealed []byte) ([]byte, error) {
	n := len(sealed) - 4
	if n < 0 || binary.LittleEndian.Uint32(sealed[n:]) != sum(bucket, key, sealed[:n]) {
		return nil, fmt.Errorf("%w: value of %.40q in %s", ErrDamaged, key, bucket)
	}
	return append([]byte{}, sealed[:n]...), nil
}
