package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
	"time"
)

// bbolt's format. It has checksums of its two meta pages alone, and follows what stands in the other pages wherever it leads: a
// branch that leads back to itself would never end, and one that leads out of the file is a fault. So all of it is looked at first.
const (
	magic       = 0xED0CDAED
	version     = 2
	pageHeader  = 16
	metaSize    = 64
	elementSize = 16
	bucketSize  = 16

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketLeaf   = 0x01

	noFreelist = ^uint64(0)
	deepest    = 32
	largest    = 1 << 30 // bytes that are looked at; the daemon's are far fewer
)

// examine tells whether a file is whole: nil, ErrDamaged, or why it can't be read. torn tells that only one of its meta pages is.
func examine(path string) (torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// Nobody may write to it meanwhile.
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return false, err
		}
		if time.Now().After(end) {
			return false, ErrLocked
		}
	}
	st, err := f.Stat()
	switch {
	case err != nil:
		return false, err
	case !st.Mode().IsRegular():
		return false, errors.New("not a regular file")
	case st.Size() > largest:
		return false, fmt.Errorf("%d bytes, more than %d", st.Size(), largest)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return false, err
	}
	if err := check(data); err != nil {
		return false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	m, err := newest(data)
	return m.alone, err
}

// walker goes through a file's pages.
type walker struct {
	data     []byte
	pageSize uint64
	pages    uint64 // in use; what lies beyond doesn't count
	used     map[uint64]bool
}

type meta struct {
	pageSize, root, freelist, pages, tx uint64
	alone                               bool // the other one is damaged
}

func check(data []byte) error {
	m, err := newest(data)
	if err != nil {
		return err
	}
	w := &walker{data: data, pageSize: m.pageSize, pages: m.pages, used: map[uint64]bool{0: true, 1: true}}
	if m.pages < 3 || m.pages > uint64(len(data))/m.pageSize {
		return fmt.Errorf("%d pages in %d bytes", m.pages, len(data))
	}
	if err := w.tree(m.root, nil, 0, nil, nil); err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return nil
	}
	return w.free(m.freelist)
}

// newest finds the meta page that bbolt takes: the one of the later transaction, if it is whole.
func newest(data []byte) (meta, error) {
	var best meta
	whole := 0
	pageSize := uint64(os.Getpagesize())
	for _, at := range []uint64{0, pageSize} {
		if uint64(len(data)) < at+pageHeader+metaSize {
			break
		}
		b := data[at+pageHeader:]
		h := fnv.New64a()
		_, _ = h.Write(b[:metaSize-8]) // it never fails
		if u32(b) != magic || u32(b[4:]) != version || u64(b[metaSize-8:]) != h.Sum64() {
			continue
		}
		m := meta{pageSize: uint64(u32(b[8:])), root: u64(b[16:]), freelist: u64(b[32:]), pages: u64(b[40:]), tx: u64(b[48:])}
		whole++
		if m.pageSize == pageSize && (best.pageSize == 0 || m.tx > best.tx) {
			best = m
		}
	}
	if best.pageSize == 0 {
		return best, errors.New("no meta page is whole")
	}
	best.alone = whole < 2
	return best, nil
}

func u16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// page gives a page with all that overflows it, and takes it out of those that nobody uses yet.
func (w *walker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, fmt.Errorf("page %d of %d", id, w.pages)
	}
	head := w.data[id*w.pageSize:]
	n := uint64(u32(head[12:])) + 1
	if u64(head) != id || n > w.pages-id {
		return nil, fmt.Errorf("page %d says that it is %d and has %d", id, u64(head), n)
	}
	for i := id; i < id+n; i++ {
		if w.used[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		w.used[i] = true
	}
	return head[:n*w.pageSize], nil
}

// tree walks a bucket's pages. name is the bucket's, nil for that of buckets; keys are from low on and below high, where these aren't nil.
func (w *walker) tree(id uint64, name []byte, depth int, low, high []byte) error {
	p, err := w.page(id)
	if err != nil {
		return err
	}
	return w.node(p, fmt.Sprintf("page %d", id), name, depth, low, high)
}

func (w *walker) node(p []byte, where string, name []byte, depth int, low, high []byte) error {
	if depth > deepest {
		return fmt.Errorf("%s: more than %d levels deep", where, deepest)
	}
	kind, n := u16(p[8:]), int(u16(p[10:]))
	if kind != branchPage && kind != leafPage || pageHeader+n*elementSize > len(p) || kind == branchPage && n == 0 {
		return fmt.Errorf("%s: kind %#x with %d elements", where, kind, n)
	}
	var before []byte
	for i := range n {
		at := uint64(pageHeader + i*elementSize)
		e := p[at:]
		pos, ksize, vsize := u32(e), u32(e[4:]), uint32(0)
		if kind == leafPage {
			pos, ksize, vsize = u32(e[4:]), u32(e[8:]), u32(e[12:])
		}
		from := at + uint64(pos)
		if from+uint64(ksize)+uint64(vsize) > uint64(len(p)) || from < uint64(pageHeader+n*elementSize) {
			return fmt.Errorf("%s: element %d lies outside", where, i)
		}
		key := p[from : from+uint64(ksize)]
		value := p[from+uint64(ksize) : from+uint64(ksize)+uint64(vsize)]
		if i > 0 && bytes.Compare(before, key) >= 0 || low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return fmt.Errorf("%s: element %d is out of order", where, i)
		}
		before = key
		var err error
		switch {
		case kind == branchPage:
			err = w.tree(u64(e[8:]), name, depth+1, key, after(p, i, n, high))
		case u32(e) == bucketLeaf && name == nil:
			err = w.bucket(key, value, where, depth)
		case u32(e) == 0 && name != nil:
			_, err = unseal(name, key, value)
		default:
			err = fmt.Errorf("%s: element %d of kind %d", where, i, u32(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// after is the key of the branch that follows, or else what ends all of them.
func after(p []byte, i, n int, high []byte) []byte {
	if i+1 == n {
		return high
	}
	at := uint64(pageHeader + (i+1)*elementSize)
	from, size := at+uint64(u32(p[at:])), uint64(u32(p[at+4:]))
	if from+size > uint64(len(p)) {
		return high // it is told when its turn comes
	}
	return p[from : from+size]
}

func (w *walker) bucket(name, value []byte, where string, depth int) error {
	if len(value) < bucketSize {
		return fmt.Errorf("%s: a bucket of %d bytes", where, len(value))
	}
	if root := u64(value); root != 0 {
		return w.tree(root, name, depth+1, nil, nil)
	}
	inline := value[bucketSize:]
	if len(inline) < pageHeader || u16(inline[8:]) != leafPage {
		return fmt.Errorf("%s: a bucket of %d bytes", where, len(inline))
	}
	return w.node(inline, where, name, depth+1, nil, nil)
}

// free checks the list of pages that are free: one that is used as well would be written over.
func (w *walker) free(id uint64) error {
	p, err := w.page(id)
	if err != nil {
		return err
	}
	n, ids := uint64(u16(p[10:])), p[pageHeader:]
	if n == 0xffff && len(ids) >= 8 {
		n, ids = u64(ids), ids[8:]
	}
	if u16(p[8:]) != freelistPage || n > uint64(len(ids))/8 {
		return fmt.Errorf("page %d: kind %#x with %d free pages", id, u16(p[8:]), n)
	}
	last := uint64(1)
	for i := range n {
		free := u64(ids[i*8:])
		if free <= last || free >= w.pages || w.used[free] {
			return fmt.Errorf("page %d: page %d can't be free", id, free)
		}
		last = free
	}
	return nil
}
