package policy

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon/store"
)

// childFile names the file that a process of its own counts attacks in, to be killed.
const childFile = "LIVENESSD_TEST_CHILD_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child counts attacks of one subject after the other for ever, three each, and says what it was told.
func child(path string) error {
	s, err := store.Open(path)
	if err != nil {
		return err
	}
	if s.SetAside() != "" {
		return errors.New("a killed process damaged the file")
	}
	first, _ := strconv.Atoi(os.Getenv(childFile + "_FIRST"))
	now := Moment{Boot: "b", Up: time.Hour}
	p, err := New(s, now)
	if err != nil {
		return err
	}
	for n := first; ; n++ {
		w := Whom{"door", fmt.Sprint("u", n), ""}
		for i := range 3 {
			fmt.Println("begin", n, i+1)
			left, err := p.Attack(now, w, thrice)
			if err != nil {
				return err
			}
			fmt.Println("told", n, i+1, left > 0)
		}
	}
}

var thrice = Rule{Ban: true, After: 3, Within: 10 * time.Minute, For: 15 * time.Minute}

// world is a machine with a disk and clocks.
type world struct {
	t    *testing.T
	path string
	s    *store.Store
	p    *Policy
	now  Moment
	fail error // of the disk
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, path: filepath.Join(t.TempDir(), "state.db"), now: Moment{"boot-1", time.Hour, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	w.start()
	t.Cleanup(func() { _ = w.s.Close() })
	return w
}

func (w *world) View(f func(*store.Tx) error) error { return w.s.View(f) }

func (w *world) Update(f func(*store.Tx) error) error {
	if w.fail != nil {
		return w.fail
	}
	return w.s.Update(f)
}

func (w *world) start() {
	w.t.Helper()
	var err error
	if w.s, err = store.Open(w.path); err != nil {
		w.t.Fatal(err)
	}
	if w.p, err = New(w, w.now); err != nil {
		w.t.Fatal(err)
	}
}

// restart is one of the daemon.
func (w *world) restart() {
	w.t.Helper()
	if err := w.s.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// reboot is one of the machine, off for a time by a wall clock that may be wrong afterwards.
func (w *world) reboot(wall time.Duration) {
	w.now = Moment{w.now.Boot + "'", 10 * time.Second, w.now.Wall.Add(wall)}
	w.restart()
}

func (w *world) wait(d time.Duration) {
	w.now.Up += d
	w.now.Wall = w.now.Wall.Add(d)
}

// run lets time pass as the daemon does.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for ; d > 0; d -= 10 * time.Second {
		w.wait(min(d, 10*time.Second))
		if err := w.p.Tick(w.now); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) attack(who Whom) time.Duration {
	w.t.Helper()
	left, err := w.p.Attack(w.now, who, thrice)
	if err != nil {
		w.t.Fatal(err)
	}
	return left
}

func (w *world) ban(who Whom) {
	w.t.Helper()
	for range thrice.After {
		w.attack(who)
	}
	w.left(who, thrice.For)
}

func (w *world) left(who Whom, want time.Duration) {
	w.t.Helper()
	if got, err := w.p.Left(w.now, who, thrice); err != nil || got != want {
		w.t.Errorf("%+v: %v left, %v; want %v", who, got, err, want)
	}
}

var (
	somebody = Whom{"door", "u1", "front"}
	another  = Whom{"door", "u2", "front"}
	camera   = Whom{"door", "", "front"}
)

func TestBans(t *testing.T) {
	for name, play := range map[string]func(t *testing.T, w *world){
		"the third attack bans": func(t *testing.T, w *world) {
			for n := range 3 {
				left := w.attack(somebody)
				if want := map[bool]time.Duration{true: thrice.For}[n == 2]; left != want {
					t.Errorf("after %d: %v", n+1, left)
				}
			}
			w.left(another, 0)
			w.left(camera, 0)
			w.left(Whom{"gate", "u1", "front"}, 0)
			w.wait(5 * time.Minute)
			w.left(somebody, 10*time.Minute)
			w.wait(10 * time.Minute)
			w.left(somebody, 0)
		},
		"a subject at another camera is the same": func(t *testing.T, w *world) {
			w.ban(somebody)
			w.left(Whom{"door", "u1", "back"}, thrice.For)
		},
		"attacks without a subject are the camera's": func(t *testing.T, w *world) {
			w.ban(camera)
			w.left(Whom{"door", "", "back"}, 0)
			w.left(somebody, 0)
		},
		"attacks that lie apart don't add up": func(t *testing.T, w *world) {
			for range 5 {
				if left := w.attack(somebody); left != 0 {
					t.Errorf("%v left", left)
				}
				w.wait(6 * time.Minute)
			}
		},
		"a ban isn't prolonged, and afterwards counting begins anew": func(t *testing.T, w *world) {
			w.ban(somebody)
			w.wait(time.Minute)
			if left := w.attack(somebody); left != 14*time.Minute {
				t.Errorf("%v left", left)
			}
			w.wait(14 * time.Minute)
			if left := w.attack(somebody); left != 0 {
				t.Errorf("%v left", left)
			}
		},
		"a rule without bans": func(t *testing.T, w *world) {
			w.fail = errors.New("the disk is gone")
			for range 5 {
				if left, err := w.p.Attack(w.now, somebody, Rule{}); left != 0 || err != nil {
					t.Errorf("%v, %v", left, err)
				}
			}
		},
		"a rule that was shortened": func(t *testing.T, w *world) {
			w.ban(somebody)
			short := thrice
			short.For = time.Minute
			if left, err := w.p.Left(w.now, somebody, short); left != time.Minute || err != nil {
				t.Errorf("%v, %v", left, err)
			}
		},
		"restarts of the daemon": func(t *testing.T, w *world) {
			w.attack(somebody)
			w.restart()
			w.attack(somebody)
			w.restart()
			if left := w.attack(somebody); left != thrice.For {
				t.Errorf("%v left", left)
			}
			w.wait(5 * time.Minute) // in which it doesn't run
			w.restart()
			w.left(somebody, 10*time.Minute)
		},
		"a wall clock that jumps": func(t *testing.T, w *world) {
			w.ban(somebody)
			for _, jump := range []time.Duration{10000 * time.Hour, -20000 * time.Hour} {
				w.now.Wall = w.now.Wall.Add(jump)
				w.left(somebody, thrice.For)
				w.restart()
				w.left(somebody, thrice.For)
			}
			w.wait(thrice.For)
			w.left(somebody, 0)
		},
		"a clock of the kernel that goes back is no time": func(t *testing.T, w *world) {
			w.ban(somebody)
			w.wait(5 * time.Minute)
			w.left(somebody, 10*time.Minute)
			w.now.Up = 0
			w.left(somebody, 10*time.Minute)
			w.restart()
			w.left(somebody, thrice.For) // what wasn't written down is lost to whom it would help
		},
		"restarts of the machine": func(t *testing.T, w *world) {
			w.ban(somebody)
			for range 4 {
				w.run(3 * time.Minute)
				w.reboot(100 * time.Hour) // the wall clock says so, but nobody believes it
			}
			w.left(somebody, 3*time.Minute)
			w.run(3 * time.Minute)
			w.left(somebody, 0)
		},
		"restarts of the machine that come all the time don't ban for ever": func(t *testing.T, w *world) {
			w.ban(somebody)
			n := 0
			for ; n < 100; n++ {
				if left, err := w.p.Left(w.now, somebody, thrice); err != nil || left == 0 {
					break
				}
				w.run(90 * time.Second)
				w.reboot(-time.Hour)
			}
			if n < 10 || n > 15 {
				t.Errorf("the ban of 15 minutes took %d runs of one and a half", n)
			}
		},
		"unlocking": func(t *testing.T, w *world) {
			for _, who := range []Whom{somebody, another, camera, {"gate", "u1", ""}} {
				w.ban(who)
			}
			w.attack(Whom{"door", "u3", ""})
			for _, tt := range []struct {
				who  Whom
				want int
			}{{Whom{"door", "u1", ""}, 1}, {Whom{"door", "u1", ""}, 0}, {Whom{"", "nobody", ""}, 0}, {Whom{"", "", "front"}, 1}, {Whom{"", "u1", ""}, 1},
				{Whom{"gate", "", ""}, 0}, {Whom{}, 1}} {
				if n, err := w.p.Unlock(w.now, tt.who); n != tt.want || err != nil {
					t.Errorf("%+v: %d lifted, %v", tt.who, n, err)
				}
			}
			for _, who := range []Whom{somebody, another, camera} {
				w.left(who, 0)
			}
			w.attack(Whom{"door", "u3", ""})
			w.attack(Whom{"door", "u3", ""}) // two since it was lifted
			w.left(Whom{"door", "u3", ""}, 0)
			w.restart()
			w.left(somebody, 0)
		},
		"what was lost with the file counts as banned for a ban's time": func(t *testing.T, w *world) {
			if err := w.p.Forgotten(w.now); err != nil {
				t.Fatal(err)
			}
			w.left(somebody, thrice.For)
			w.restart()
			w.left(camera, thrice.For)
			w.run(5 * time.Minute)
			w.left(camera, 10*time.Minute)
			if left, err := w.p.Left(w.now, somebody, Rule{}); left != 0 || err != nil {
				t.Errorf("without bans: %v, %v", left, err)
			}
			if _, err := w.p.Unlock(w.now, Whom{Subject: "u1"}); err != nil {
				t.Fatal(err)
			}
			w.left(somebody, 10*time.Minute) // nobody knows what to lift
			if _, err := w.p.Unlock(w.now, Whom{}); err != nil {
				t.Fatal(err)
			}
			w.left(somebody, 0)
		},
		"a disk that can't be written to lets nobody in, and forgets nothing": func(t *testing.T, w *world) {
			w.attack(somebody)
			w.attack(somebody)
			w.fail = errors.New("no space")
			if left, err := w.p.Attack(w.now, somebody, thrice); !errors.Is(err, w.fail) {
				t.Errorf("%v, %v", left, err)
			}
			for _, who := range []Whom{somebody, another} {
				if left, err := w.p.Left(w.now, who, thrice); !errors.Is(err, w.fail) {
					t.Errorf("%v, %v", left, err)
				}
			}
			if err := w.p.Tick(w.now); !errors.Is(err, w.fail) {
				t.Error(err)
			}
			w.wait(time.Minute)
			w.fail = nil
			if err := w.p.Tick(w.now); err != nil {
				t.Error(err)
			}
			w.left(somebody, 14*time.Minute) // from the attack on
			w.left(another, 0)
		},
		"a disk that can't be read": func(t *testing.T, w *world) {
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			if left, err := w.p.Left(w.now, somebody, thrice); !errors.Is(err, store.ErrClosed) {
				t.Errorf("%v, %v", left, err)
			}
			if _, err := New(w, w.now); !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, newWorld(t)) })
	}
}

func TestCountsAreBoundedAndBansStay(t *testing.T) {
	w := newWorld(t)
	once := Rule{Ban: true, After: 1, Within: time.Minute, For: time.Hour}
	if _, err := w.p.Attack(w.now, somebody, once); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Update(func(tx *store.Tx) error {
		var err error
		for i := range maxRecords + 100 {
			err = errors.Join(err, write(tx, Whom{Application: "door", Subject: fmt.Sprint("x", i)}.key(), record{Attacks: []int64{1}, Keep: 1 << 50}))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.attack(another)
	n := 0
	if err := w.s.View(func(tx *store.Tx) error { return each(tx, func(string, record) error { n++; return nil }) }); err != nil || n != maxRecords {
		t.Errorf("%d records, %v", n, err)
	}
	if left, err := w.p.Left(w.now, somebody, once); left != time.Hour || err != nil {
		t.Errorf("%v, %v", left, err)
	}
}

// Whoever is killed at any moment has banned all whom it said so of, and nobody who had fewer attacks.
func TestKilledAtAnyMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	random := rand.New(rand.NewPCG(5, 6))
	first, bans := 0, 0
	for round := range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childFile+"="+path, childFile+"_FIRST="+strconv.Itoa(first))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(20+random.IntN(150))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		begun, told := map[int]int{}, map[int]int{}
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // the last line may be cut
			}
			var n, i int
			word, rest, _ := strings.Cut(line, " ")
			if _, err := fmt.Sscan(rest, &n, &i); err != nil {
				t.Fatal(line)
			}
			switch word {
			case "begin":
				begun[n] = i
			case "told":
				told[n] = i
				if banned := strings.Contains(line, "true"); banned != (i == 3) {
					t.Errorf("%q", line)
				}
			}
		}
		_ = cmd.Wait() // says that it was killed
		if code := cmd.ProcessState.ExitCode(); code != -1 {
			t.Fatalf("round %d: it ended by itself with %d", round, code)
		}
		s, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		now := Moment{Boot: "b", Up: time.Hour}
		p, err := New(s, now)
		if err != nil || s.SetAside() != "" {
			t.Fatalf("%v, set aside %q", err, s.SetAside())
		}
		for n := range begun {
			left, err := p.Left(now, Whom{"door", fmt.Sprint("u", n), ""}, thrice)
			if err != nil {
				t.Fatal(err)
			}
			if told[n] == 3 && left == 0 {
				t.Fatalf("round %d: the ban of u%d is forgotten", round, n)
			}
			if begun[n] < 3 && left > 0 {
				t.Fatalf("round %d: u%d is banned after %d attacks", round, n, begun[n])
			}
			if left > 0 {
				bans++
			}
			first = max(first, n+1)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if bans == 0 {
		t.Error("nobody was ever banned")
	}
}
