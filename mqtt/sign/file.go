package sign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// PublicSuffix is what the name of the file with the public keys has behind that of the private one.
const PublicSuffix = ".public"

const maxPrivate = 4 << 10

// Load reads a private key: PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it, too. A file that others can read, or that the
// group can change, is refused.
func Load(path string) (*Key, error) {
	k, err := load(path)
	if err != nil {
		return nil, explain("read the device key "+path, err)
	}
	return k, nil
}

func load(path string) (*Key, error) {
	fail := func(err error, hint string) (*Key, error) {
		return nil, &Error{"read the device key " + path, err, hint}
	}
	data, info, err := readFile(path, maxPrivate)
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o027 != 0:
		return fail(fmt.Errorf("its mode is %04o: others can read it, or change it", info.Mode().Perm()),
			"chmod 600 "+path+"; if others use this machine, somebody may have it: livenessd keys rotate")
	}
	const remake = "livenessd keys generate makes one; openssl genpkey -algorithm ed25519, too"
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return fail(errors.New("not one PRIVATE KEY in PEM"), remake)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fail(err, remake)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return fail(fmt.Errorf("a key of type %T; need Ed25519", key), remake)
	}
	return NewKey(private)
}

// readFile reads a small file. A pipe without a writer doesn't block it.
func readFile(path string, limit int64) (_ []byte, info fs.FileInfo, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return data, info, err
}

// Published are the public keys that belong to a private one: its own first, and then those that were replaced, the newest first.
func Published(path string, k *Key) ([]Public, error) {
	listed, err := readPublic(path)
	own := k.Public()
	var old []Public
	for _, p := range listed {
		switch {
		case p.ID == own.ID:
			own.Since = p.Since
		case !p.Until.IsZero(): // a rotation that was interrupted leaves one that never signed
			old = append(old, p)
		}
	}
	return append([]Public{own}, old...), err
}

// readPublic reads the file with the public keys, of which there may be none.
func readPublic(path string) ([]Public, error) {
	path += PublicSuffix
	data, _, err := readFile(path, maxText)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var keys []Public
	if err == nil {
		keys, err = ParsePublic(data)
	}
	if err != nil {
		return nil, &Error{"read the public keys " + path, plain(err),
			"move the file away: what the keys in it signed can't be verified with what is published, then"}
	}
	return keys, nil
}

// plain is an error without what was being done.
func plain(err error) error {
	var known *Error
	var path *fs.PathError
	switch {
	case errors.As(err, &known):
		return known.Err
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// Generate makes a key and its file, and the folder if there is none. One that is there already is an error, ErrExists.
func Generate(path string, now time.Time) (Public, error) {
	op := "make the device key " + path
	if _, err := os.Lstat(path); err == nil {
		return Public{}, &Error{op, ErrExists, "livenessd keys show prints it; livenessd keys rotate replaces it"}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return Public{}, explain(op, err)
	}
	_, made, err := replace(path, nil, nil, now)
	if errors.Is(err, fs.ErrExist) { // somebody else was faster
		err = &Error{op, ErrExists, "livenessd keys show prints it; livenessd keys rotate replaces it"}
	}
	if err != nil {
		return Public{}, explain(op, err)
	}
	return made, nil
}

// Rotate replaces a key by another, or by one that it makes if that is nil. What it signed can still be verified with its public half, which is
// kept. A livenessd that runs takes the new one by itself.
func Rotate(path string, next *Key, now time.Time) (old, made Public, err error) {
	k, err := Load(path)
	if err != nil {
		return old, made, err
	}
	if next != nil && next.Public().ID == k.Public().ID {
		return old, made, &Error{"replace the device key " + path, errors.New("the new key is the one in use"), "name another one"}
	}
	if old, made, err = replace(path, k, next, now); err != nil {
		return Public{}, Public{}, explain("replace the device key "+path, err)
	}
	return old, made, nil
}

// replace writes a new key. The public keys are written first: if it ends between the two, the old key signs on, and nothing is lost.
func replace(path string, was, k *Key, now time.Time) (old, made Public, err error) {
	listed, err := readPublic(path)
	if err != nil {
		return old, made, err
	}
	now = now.UTC().Truncate(time.Millisecond)
	if k == nil {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return old, made, err
		}
		if k, err = NewKey(private); err != nil {
			return old, made, err
		}
	}
	made = k.Public()
	made.Since = now
	if was != nil {
		old = was.Public()
		if at := slices.IndexFunc(listed, func(p Public) bool { return p.ID == old.ID }); at >= 0 {
			old.Since = listed[at].Since
		}
		old.Until = now
	}
	keep := []Public{made}
	if was != nil {
		keep = append(keep, old)
	}
	for _, p := range listed {
		switch {
		case p.ID == made.ID, was != nil && p.ID == old.ID:
		case !p.Until.IsZero():
			keep = append(keep, p)
		case was == nil: // its private half is gone
			p.Until = now
			keep = append(keep, p)
		}
	}
	keep = keep[:min(len(keep), maxKeys)]
	set, err := json.MarshalIndent(map[string]any{"keys": keep}, "", " ")
	if err != nil {
		return old, made, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return old, made, err
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := write(path+PublicSuffix, append(set, '\n'), 0o644, path, os.Rename); err != nil {
		return old, made, err
	}
	if was == nil {
		move := func(from, to string) error { return errors.Join(os.Link(from, to), os.Remove(from)) } // which doesn't replace anything
		return old, made, write(path, secret, 0o600, path, move)
	}
	info, err := os.Stat(path)
	if err != nil {
		return old, made, err
	}
	return old, made, write(path, secret, info.Mode().Perm()&0o640, path, os.Rename) // who could read the old one can read it
}

// write puts a file into its place as a whole, and makes it belong to whom another belongs, or else to whom the folder does.
func write(path string, data []byte, mode fs.FileMode, like string, move func(from, to string) error) error {
	dir := filepath.Dir(path)
	as, err := os.Stat(like)
	if err != nil {
		if as, err = os.Stat(dir); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(dir, ".device-key-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, giveTo(f, as), f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = move(f.Name(), path)
	}
	if err != nil {
		if gone := os.Remove(f.Name()); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// File is the key in a file, in use. When the file is replaced the new key is used from then on; while what lies there can't be used the
// old one is, and the log says so once.
type File struct {
	path string
	log  *slog.Logger

	mu        sync.Mutex
	key       *Key
	published []Public
	seen      fs.FileInfo // of the file that was read last
	said      string      // the newest trouble that was logged
	changed   func()
}

// Open reads the key.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log}
	info, err := os.Stat(path)
	if err != nil {
		return nil, explain("read the device key "+path, err)
	}
	f.seen = info
	if f.key, err = Load(path); err != nil {
		return nil, err
	}
	f.list()
	return f, nil
}

// list reads the public keys. Without those that were replaced the key is as good. f.mu is held, or f is nobody else's yet.
func (f *File) list() {
	published, err := Published(f.path, f.key)
	if err != nil {
		f.complain(err)
	}
	f.published = published
}

func (f *File) complain(err error) {
	if text := err.Error(); text != f.said {
		f.said = text
		hint := ""
		if e := (*Error)(nil); errors.As(err, &e) {
			hint = e.Hint()
		}
		f.log.Warn("not all of the device's keys can be used", "error", err, "hint", hint)
	}
}

// Changed names what is called, on the goroutine that calls Sign, when another key is used than before.
func (f *File) Changed(call func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = call
}

// Sign is Key's, with the newest key.
func (f *File) Sign(payload []byte) ([]byte, error) {
	f.mu.Lock()
	was := f.key.Public().ID
	f.look()
	k, changed := f.key, f.changed
	f.mu.Unlock()
	if k.Public().ID != was && changed != nil {
		changed()
	}
	return k.Sign(payload)
}

// look takes a key that was put in the place of the one in use. f.mu is held.
func (f *File) look() {
	info, err := os.Stat(f.path)
	if err != nil {
		f.complain(explain("read the device key "+f.path, err))
		return
	}
	if os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return
	}
	k, err := Load(f.path)
	if err != nil {
		f.complain(err)
		return // it is looked at again: it may be half written
	}
	f.seen, f.said = info, ""
	if k.Public().ID != f.key.Public().ID {
		f.log.Info("the device has another key", "key", k.Public().ID, "before", f.key.Public().ID)
	}
	f.key = k
	f.list()
}

// Public are the key in use, first, and those that were replaced.
func (f *File) Public() []Public {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.published)
}
