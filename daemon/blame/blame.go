// Package blame remembers which delegates went wrong, in a file that outlives the process, so that the next start goes without them.
//
// A delegate that hung, crashed or failed rests: ten minutes the first time, twice as long each further time, at most a day; a week without
// trouble forgets. What is blamed is a delegate with its options, its library and the models (the caller's key), so that another version of a library
// isn't blamed for the last one. A process that ends without a word while it uses a delegate leaves a note behind: the second time within
// an hour the delegate is blamed for it. The package promises that a file which is absent, damaged or of a later version is an empty one, that
// what it says is on the disk when a method returns nil, and that it stays small. It knows nothing of delegates, and doesn't decide what follows.
package blame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// File is the name of the file in the state folder.
const File = "delegates.json"

const (
	rest    = 10 * time.Minute   // after the first time
	longest = 24 * time.Hour     // however often
	forget  = 7 * 24 * time.Hour // without trouble
	// ends is how many processes may end without a word within a time.
	ends   = 2
	within = time.Hour

	maxEntries = 16
	maxFile    = 64 << 10
	maxText    = 1024
)

// Entry is a delegate that went wrong.
type Entry struct {
	Key      string    `json:"key"` // what is blamed
	Delegate string    `json:"delegate"`
	Why      string    `json:"why"`
	Times    int       `json:"times"`
	At       time.Time `json:"at"`    // the last time
	Until    time.Time `json:"until"` // it rests
}

// use is a process that uses a delegate, or ended while it did.
type use struct {
	Key      string      `json:"key"`
	Delegate string      `json:"delegate"`
	Boot     string      `json:"boot"`           // of the machine
	Process  int         `json:"process"`        // 0: none uses it now
	Ends     []time.Time `json:"ends,omitempty"` // without a word
}

type content struct {
	Schema  int     `json:"schema"`
	Entries []Entry `json:"entries"`
	Use     *use    `json:"use,omitempty"`
}

// Book is what is remembered. Its methods are safe for concurrent use; a nil Book remembers nothing.
type Book struct {
	path string // "": in memory alone
	now  func() time.Time
	boot string

	mu sync.Mutex
	content
	soft map[string]Entry // why some were refused that did no harm: for this process alone
}

// Open reads the book in a folder; "" keeps it in memory. boot tells one start of the machine from another: a process that ended with
// the machine is nobody's fault. The error, if any, says why the file counts as empty; the book is usable all the same.
func Open(folder, boot string, now func() time.Time) (*Book, error) {
	b := &Book{now: now, boot: boot, content: content{Schema: 1}, soft: map[string]Entry{}}
	if folder == "" {
		return b, nil
	}
	b.path = filepath.Join(folder, File)
	data, err := readFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	var c content
	if err == nil {
		c, err = parse(data)
	}
	if err != nil {
		return b, fmt.Errorf("blame: read %s: %w", b.path, err)
	}
	b.content = c
	return b, nil
}

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil, errors.New("no regular file, or one that is too large")
	}
	return os.ReadFile(path)
}

// parse reads the file's content.
func parse(data []byte) (content, error) {
	var c content
	d := json.NewDecoder(io.LimitReader(bytes.NewReader(data), maxFile))
	if err := d.Decode(&c); err != nil {
		return content{}, err
	}
	if c.Schema != 1 {
		return content{}, fmt.Errorf("schema %d; this version reads 1", c.Schema)
	}
	if len(c.Entries) > maxEntries || c.Use != nil && len(c.Use.Ends) > ends {
		return content{}, errors.New("more entries than there can be")
	}
	for _, e := range c.Entries {
		if e.Key == "" || e.Times < 1 || len(e.Key)+len(e.Delegate)+len(e.Why) > 3*maxText {
			return content{}, fmt.Errorf("entry of %.40q: %d times", e.Delegate, e.Times)
		}
	}
	return c, nil
}

// Rests tells whether a delegate that is blamed still rests, and since when and why.
func (b *Book) Rests(key string) (Entry, bool) {
	if b == nil {
		return Entry{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.find(key)
	if i < 0 {
		return Entry{}, false
	}
	e, now := b.Entries[i], b.now()
	// A clock that was set back must not make it rest for ever.
	if most := now.Add(pause(e.Times)); e.Until.After(most) {
		e.Until = most
		b.Entries[i].Until = most // on the disk with whatever comes next
	}
	return e, now.Before(e.Until)
}

func (b *Book) find(key string) int {
	return slices.IndexFunc(b.Entries, func(e Entry) bool { return e.Key == key })
}

// pause is how long a delegate rests after so many times.
func pause(times int) time.Duration {
	d := rest
	for ; times > 1 && d < longest; times-- {
		d *= 2
	}
	return min(d, longest)
}

// Blame writes down that a delegate went wrong, and gives until when it rests. That counts for this process also where the error says that
// it couldn't be written.
func (b *Book) Blame(key, delegate, why string) (until time.Time, err error) {
	if b == nil {
		return time.Time{}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.blame(key, delegate, why)
	return e.Until, b.write()
}

func (b *Book) blame(key, delegate, why string) Entry {
	now := b.now()
	e := Entry{Key: key, Delegate: cut(delegate), Why: cut(why), Times: 1, At: now}
	if i := b.find(key); i >= 0 {
		if was := b.Entries[i]; now.Sub(was.At) < forget {
			e.Times = was.Times + 1
		}
		b.Entries = slices.Delete(b.Entries, i, i+1)
	}
	e.Until = now.Add(pause(e.Times))
	b.Entries = append(b.Entries, e)
	if more := len(b.Entries) - maxEntries; more > 0 {
		b.Entries = slices.Delete(b.Entries, 0, more)
	}
	return e
}

func cut(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return s
}

// Refused notes, for this process, that a delegate can't be had, and gives when it is worth another try. again tells whether it was refused for the
// same reason the last time.
func (b *Book) Refused(key, delegate, why string) (until time.Time, again bool) {
	if b == nil {
		return time.Time{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.soft[key]
	e := Entry{Key: key, Delegate: delegate, Why: why, Times: was.Times + 1, At: b.now()}
	e.Until = e.At.Add(pause(e.Times))
	if len(b.soft) >= maxEntries && was.Times == 0 {
		clear(b.soft)
	}
	b.soft[key] = e
	return e.Until, was.Why == why
}

// Using notes that this process uses a delegate from now on, until Done.
func (b *Book) Using(key, delegate string, process int) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u := &use{Key: key, Delegate: cut(delegate), Boot: b.boot, Process: process}
	if b.Use != nil && b.Use.Key == key {
		u.Ends = b.Use.Ends
	}
	b.Use = u
	return b.write()
}

// Done notes that the process ends, or uses another delegate, of its own will.
func (b *Book) Done() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Use == nil || b.Use.Process == 0 {
		return nil
	}
	if b.Use.Process = 0; len(b.Use.Ends) == 0 {
		b.Use = nil
	}
	return b.write()
}

// Settle looks for a process that ended without a word while it used a delegate, which is blamed if that happens again and again. Only who may call
// Using may call it, before.
func (b *Book) Settle() (blamed *Entry, err error) {
	if b == nil {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.Use
	if u == nil || u.Process == 0 {
		return nil, nil
	}
	u.Process = 0
	if u.Boot != b.boot { // the power went, or somebody restarted the machine
		b.Use = nil
		return nil, b.write()
	}
	now := b.now()
	u.Ends = append(slices.DeleteFunc(u.Ends, func(t time.Time) bool { return now.Sub(t) > within || t.After(now) }), now)
	if len(u.Ends) >= ends {
		e := b.blame(u.Key, u.Delegate, fmt.Sprintf("livenessd ended %d times within %v while it was used, without a word", len(u.Ends), within))
		blamed, b.Use = &e, nil
	}
	return blamed, b.write()
}

// All are those that were blamed and aren't forgotten, the newest last.
func (b *Book) All() []Entry {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.Entries = slices.DeleteFunc(b.Entries, func(e Entry) bool { return now.Sub(e.At) >= forget })
	return slices.Clone(b.Entries)
}

// write puts the file in the old one's place, whole or not at all.
func (b *Book) write() (err error) {
	if b.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(b.content, "", "  ")
	if err != nil {
		return fmt.Errorf("blame: write %s: %w", b.path, err)
	}
	folder := filepath.Dir(b.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("blame: write %s: %w", b.path, err)
	}
	f, err := os.CreateTemp(folder, "."+File+".*")
	if err != nil {
		return fmt.Errorf("blame: write %s: %w", b.path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("blame: write %s: %w", b.path, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), b.path); err != nil {
		return err
	}
	d, openErr := os.Open(folder)
	if openErr != nil {
		return nil // it is there; whether it survives a power cut isn't known
	}
	_ = d.Sync() // not all file systems can
	return d.Close()
}
