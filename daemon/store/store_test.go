package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childFile names the file that a process of its own writes to, to be killed.
const childFile = "LIVENESSD_TEST_CHILD_FILE"

// limitedFile names a file that a process of its own writes to, on a disk that is soon full.
const limitedFile = "LIVENESSD_TEST_LIMITED_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(limitedFile); path != "" {
		if err := limited(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(childFile); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child writes pairs that belong together for ever, and says which are on the disk.
func child(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	if s.SetAside() != "" {
		return errors.New("a killed process damaged the file")
	}
	n := 0
	if err := s.View(func(tx *Tx) error {
		v, err := tx.Get("a", "n")
		n, _ = strconv.Atoi(string(v))
		return err
	}); err != nil {
		return err
	}
	for {
		n++
		value := []byte(strconv.Itoa(n))
		if err := s.Update(func(tx *Tx) error {
			return errors.Join(tx.Put("a", "n", value), tx.Put("b", "n", value), tx.Put("long", fmt.Sprintf("%08d", n%500), bytes.Repeat(value, 50)))
		}); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// limited writes until there is no room, and then again with more of it.
func limited(path string) error {
	signal.Ignore(syscall.SIGXFSZ) // so that it is an error
	s, err := Open(path)
	if err != nil {
		return err
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 200 << 10, Max: was.Max}); err != nil {
		return err
	}
	written := 0
	write := func() error {
		return s.Update(func(tx *Tx) error { return tx.Put("a", fmt.Sprintf("%04d", written), make([]byte, 3000)) })
	}
	for ; written < 1000; written++ {
		if err = write(); err != nil {
			break
		}
	}
	var e *Error
	if written == 0 || written == 1000 || !errors.As(err, &e) || !strings.Contains(e.Hint(), "make room") || errors.Is(err, ErrDamaged) {
		return fmt.Errorf("after %d: %w", written, err)
	}
	if err := write(); err == nil {
		return errors.New("there is room again")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	fmt.Println(written + 1)
	return s.Close()
}

// A disk that is full is an error, loses nothing, and can have room again.
func TestAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), limitedFile+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, path)
	n := 0
	if err := s.View(func(tx *Tx) error { return tx.Each("a", func(string, []byte) error { n++; return nil }) }); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(out)); s.SetAside() != "" || fmt.Sprint(n) != want {
		t.Errorf("%d values, not %s; set aside: %q", n, want, s.SetAside())
	}
}

func mustOpen(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *Store, bucket, key string) string {
	t.Helper()
	var v []byte
	if err := s.View(func(tx *Tx) (err error) {
		v, err = tx.Get(bucket, key)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return string(v)
}

func put(t *testing.T, s *Store, bucket, key, value string) {
	t.Helper()
	if err := s.Update(func(tx *Tx) error { return tx.Put(bucket, key, []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenIsThereAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "state.db")
	s := mustOpen(t, path)
	put(t, s, "a", "k", "v")
	put(t, s, "a", "empty", "")
	put(t, s, "a", "b", "first")
	if err := s.Update(func(tx *Tx) error {
		return errors.Join(tx.Put("a", "k", []byte("another")), errors.New("no"))
	}); err == nil {
		t.Error("an error is no error")
	}
	if err := s.Update(func(tx *Tx) error {
		return errors.Join(tx.Delete("a", "b"), tx.Delete("a", "b"), tx.Delete("nonesuch", "b"))
	}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if err := s.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	again := mustOpen(t, path)
	if again.SetAside() != "" || get(t, again, "a", "k") != "v" || get(t, again, "nonesuch", "k") != "" {
		t.Errorf("set aside: %q, value %q", again.SetAside(), get(t, again, "a", "k"))
	}
	var keys []string
	if err := again.View(func(tx *Tx) error {
		return errors.Join(tx.Each("nonesuch", nil), tx.Each("a", func(k string, v []byte) error {
			keys = append(keys, k+"="+string(v))
			return nil
		}))
	}); err != nil || strings.Join(keys, " ") != "empty= k=v" {
		t.Errorf("%v, %v", keys, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken.db")
	mustOpen(t, taken)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		is         error
		hint       bool
	}{
		{"another has it", taken, ErrLocked, true},
		{"a file where the folder should be", filepath.Join(file, "state.db"), syscall.ENOTDIR, false},
		{"a folder", dir, nil, false},
		{"a folder that can't be written to", filepath.Join(closed, "state.db"), fs.ErrPermission, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.is == fs.ErrPermission && os.Geteuid() == 0 {
				t.Skip("root may write everywhere")
			}
			s, err := Open(tt.path)
			if err == nil {
				t.Fatal(s.Close())
			}
			var e *Error
			if tt.is != nil && !errors.Is(err, tt.is) || !errors.As(err, &e) || (e.Hint() != "") != tt.hint {
				t.Errorf("%v, hint %q", err, e.Hint())
			}
		})
	}
}

// filled is a file of many pages: buckets within a page and beyond it, and pages that are free.
func filled(t *testing.T, dir string) []byte {
	t.Helper()
	path := filepath.Join(dir, "filled.db")
	s := mustOpen(t, path)
	for round := range 3 {
		if err := s.Update(func(tx *Tx) error {
			err := tx.Put("small", "k", []byte(strconv.Itoa(round)))
			for i := range 400 {
				err = errors.Join(err, tx.Put("large", fmt.Sprintf("%04d", i), bytes.Repeat([]byte{byte(round)}, 40)))
			}
			return errors.Join(err, tx.Put("long", "k", bytes.Repeat([]byte{1}, 20_000)))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(data); err != nil {
		t.Fatalf("a good file: %v", err)
	}
	return data
}

func TestDamagedFilesAreSetAside(t *testing.T) {
	dir := t.TempDir()
	good := filled(t, dir)
	page := os.Getpagesize()
	for name, data := range map[string][]byte{
		"empty":           {},
		"another format":  []byte("hello, world"),
		"cut off":         good[:len(good)/2],
		"cut in its head": good[:100],
		"overwritten":     append(append([]byte{}, good[:2*page]...), make([]byte, len(good)-2*page)...),
		"all ones":        bytes.Repeat([]byte{0xff}, len(good)),
		"a changed value": bytes.Replace(good, bytes.Repeat([]byte{1}, 20_000), append(bytes.Repeat([]byte{1}, 19_999), 2), -1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, path)
			if s.SetAside() == "" || get(t, s, "small", "k") != "" {
				t.Fatalf("set aside: %q, and %q in it", s.SetAside(), get(t, s, "small", "k"))
			}
			if kept, err := os.ReadFile(s.SetAside()); err != nil || !bytes.Equal(kept, data) {
				t.Errorf("%d bytes are kept of %d, %v", len(kept), len(data), err)
			}
			put(t, s, "small", "k", "new")
			// Whoever is interrupted before he did what has to follow is told again.
			for range 2 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s = mustOpen(t, path); s.SetAside() == "" || get(t, s, "small", "k") != "new" {
					t.Errorf("set aside: %q", s.SetAside())
				}
			}
			if err := errors.Join(s.Noted(), s.Close()); err != nil {
				t.Fatal(err)
			}
			if s = mustOpen(t, path); s.SetAside() != "" || get(t, s, "small", "k") != "new" {
				t.Errorf("noted, and set aside: %q", s.SetAside())
			}
		})
	}
}

// Whatever is damaged, nothing crashes, and what is still read is what was written.
func TestDamageAnywhere(t *testing.T) {
	dir := t.TempDir()
	good := filled(t, dir)
	random := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(dir, "state.db")
	aside := 0
	const rounds = 400
	for round := range rounds {
		data := bytes.Clone(good)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(data))
			if random.IntN(2) == 0 { // in a page's header or first elements, where it hurts most
				at = at/os.Getpagesize()*os.Getpagesize() + random.IntN(64)
				at = min(at, len(data)-1)
			}
			data[at] ^= byte(1 + random.IntN(255))
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if s.SetAside() != "" {
			aside++
		} else if v := get(t, s, "small", "k"); v != "2" && v != "1" { // one whole meta page is as good as the other, a transaction older
			t.Fatalf("round %d: %q", round, v)
		}
		put(t, s, "small", "k", "3")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if aside < rounds/10 || aside == rounds {
		t.Errorf("%d of %d were set aside", aside, rounds)
	}
}

func TestDamageWhileItIsOpenIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	if err := s.Update(func(tx *Tx) error {
		var err error
		for i := range 2000 {
			err = errors.Join(err, tx.Put("large", fmt.Sprintf("%04d", i), make([]byte, 100)))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	each := func(tx *Tx) error { return tx.Each("large", func(string, []byte) error { return nil }) }
	if err := s.View(each); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if err := s.Update(each); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// A process that is killed at any moment leaves all of a transaction or nothing of it, and all that it said was written.
func TestKilledAtAnyMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	random := rand.New(rand.NewPCG(3, 4))
	said := 0
	for round := range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childFile+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(random.IntN(120))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				break // the last line may be cut
			}
			said = n
		}
		_ = cmd.Wait() // says that it was killed
		if code := cmd.ProcessState.ExitCode(); code != -1 {
			t.Fatalf("round %d: it ended by itself with %d", round, code)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		a, b := get(t, s, "a", "n"), get(t, s, "b", "n")
		n, _ := strconv.Atoi(a)
		if s.SetAside() != "" || a != b || n < said || n > said+1 {
			t.Fatalf("round %d: set aside %q, %q and %q, while %d was said", round, s.SetAside(), a, b, said)
		}
		said = n // the next one goes on from there, whether this was said or not
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if said == 0 {
		t.Error("nothing was ever written")
	}
}

func FuzzCheck(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(filepath.Join(dir, "state.db"))
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(s.Update(func(tx *Tx) error { return tx.Put("a", "k", []byte("v")) }), s.Close()); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = check(data) // it ends, and doesn't panic
	})
}

// The newer of the two meta pages is damaged: the file is as it was a transaction before, which somebody must be told.
func TestTornMetaPageIsTold(t *testing.T) {
	good := filled(t, t.TempDir())
	page := os.Getpagesize()
	for at, want := range map[int]bool{page/2 + 1000: false, pageHeader + 20: true, page + pageHeader + 20: true} {
		data := bytes.Clone(good)
		data[at] ^= 1
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, path)
		if s.Torn() != want || s.SetAside() != "" {
			t.Errorf("byte %d: torn is %v, set aside %q", at, s.Torn(), s.SetAside())
		}
		for range 2 { // each writes one of the two
			if err := s.Update(func(tx *Tx) error { return tx.Put("small", "k", []byte("3")) }); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s = mustOpen(t, path); s.Torn() {
			t.Errorf("byte %d: it still is", at)
		}
	}
}

// A file that is damaged while it is open is an error at most. A disk that can't be read any more shows like one that was cut off.
func TestDamageWhileItIsWrittenIsAnError(t *testing.T) {
	good := filled(t, t.TempDir())
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	page, failed := os.Getpagesize(), 0
	for round := range 200 {
		path := filepath.Join(dir, strconv.Itoa(round))
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, path)
		if round%2 == 0 {
			if err := os.Truncate(path, int64(random.IntN(len(good)/page)*page)); err != nil {
				t.Fatal(err)
			}
		} else {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			garbage := make([]byte, page)
			for i := range garbage {
				garbage[i] = byte(random.Uint32())
			}
			_, err = f.WriteAt(garbage, int64((2+random.IntN(len(good)/page-2))*page))
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 6 {
			err := s.Update(func(tx *Tx) error {
				key := fmt.Sprintf("%04d", random.IntN(400))
				_, err := tx.Get("large", key)
				if err == nil {
					err = errors.Join(tx.Put("large", key, []byte{byte(n)}), tx.Delete("small", "k"))
				}
				if n == 3 {
					err = errors.Join(err, errors.New("never mind"))
				}
				return err
			})
			if n != 3 && err != nil {
				if failed++; !errors.Is(err, ErrDamaged) {
					t.Errorf("round %d: %v", round, err)
				}
				break
			}
		}
		_ = s.Close() // may say that it is damaged
	}
	if failed < 50 {
		t.Errorf("only %d files failed", failed)
	}
}
