package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/tflite"
)

// TestMain is a probe's child where it is called as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		os.Exit(child(os.Args[2]))
	}
	os.Exit(m.Run())
}

func child(behaviour string) int {
	switch behaviour {
	case "serve":
		if err := ServeProbe(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	case "crash":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		time.Sleep(time.Minute) // the signal comes first
	case "panic":
		panic("no good")
	case "hang":
		time.Sleep(time.Hour)
	case "mute":
	case "babble":
		for range 1000 {
			fmt.Println(strings.Repeat("x", 1000))
		}
	}
	return 0
}

func testProber(t testing.TB, behaviour string) *Prober {
	t.Helper()
	return &Prober{Command: []string{os.Args[0], "child", behaviour}, Limit: 30 * time.Second, Memory: addresses}
}

func needRuntime(t testing.TB) {
	t.Helper()
	if _, err := tflite.Load(tflite.LoadOptions{}); err != nil {
		t.Skipf("%v; make test sets %s", err, tflite.LibraryVariable)
	}
}

// shippedIn writes a shipped model's bundle into a folder, with another file and manifest where they are given.
func shippedIn(t testing.TB, folder string, task Task, change func(manifest, data []byte) ([]byte, []byte)) string {
	t.Helper()
	m, err := Shipped(task)
	if err != nil {
		t.Fatal(err)
	}
	manifest, data := bytes.Clone(m.manifest), bytes.Clone(m.Data)
	if change != nil {
		manifest, data = change(manifest, data)
	}
	file(t, filepath.Join(folder, ManifestFile), manifest)
	file(t, filepath.Join(folder, m.File), data)
	return folder
}

func TestAProbeTellsHowAModelFails(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	good := shippedIn(t, filepath.Join(dir, "good"), LivenessTask, nil)
	finder := shippedIn(t, filepath.Join(dir, "finder"), FaceDetection, nil)
	damaged := shippedIn(t, filepath.Join(dir, "damaged"), LivenessTask, func(m, d []byte) ([]byte, []byte) { d[1000] ^= 1; return m, d })
	short := shippedIn(t, filepath.Join(dir, "short"), LivenessTask, func(m, d []byte) ([]byte, []byte) { return renewed(m, d[:len(d)/2]) })
	other := shippedIn(t, filepath.Join(dir, "other"), LivenessTask, func(m, d []byte) ([]byte, []byte) {
		return bytes.Replace(m, []byte("width: 80"), []byte("width: 96"), 1), d
	})
	trust, err := NewTrust([]string{base64.StdEncoding.EncodeToString(publicOf(signer(1)))})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, behaviour, folder string
		change                  func(*Prober)
		stage                   Stage
		says                    string
	}{
		{"a liveness net that is whole", "serve", good, nil, "", ""},
		{"a detector that is whole", "serve", finder, nil, "", ""},
		{"the second delegate", "serve", good, func(p *Prober) { p.Options = []Options{{Delegate: "abacus"}, {Delegate: tflite.CPU}} }, "", ""},
		{"a damaged file", "serve", damaged, nil, StageBundle, "MODEL_REFUSED"},
		{"no bundle", "serve", dir, nil, StageBundle, "no such file"},
		{"an unsigned one", "serve", good, func(p *Prober) { p.Trust = trust }, StageBundle, "MODEL_REFUSED"},
		{"half a file, with its digest", "serve", short, nil, StageNet, "refuses the file"},
		{"another input than the manifest says", "serve", other, nil, StageNet, "has shape"},
		{"no delegate", "serve", good, func(p *Prober) { p.Options = []Options{{Delegate: "abacus"}} }, StageNet, "abacus"},
		{"no runtime", "serve", good, func(p *Prober) { p.Runtime = "/nonexistent/library.so" }, StageRuntime, "/nonexistent/library.so"},
		{"a crash", "crash", good, nil, StageCrash, "crashed the process"},
		{"a panic", "panic", good, nil, StageCrash, "panic: no good"},
		{"a hang", "hang", good, func(p *Prober) { p.Limit = 200 * time.Millisecond }, StageHang, "stopped after 200ms"},
		{"no answer", "mute", good, nil, StageCrash, "no answer"},
		{"nonsense for an answer", "babble", good, nil, StageCrash, "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testProber(t, tt.behaviour)
			if tt.change != nil {
				tt.change(p)
			}
			r, err := p.Probe(t.Context(), tt.folder)
			if tt.stage == "" {
				if err != nil || r.Runs < 10 || r.Name == "" || r.Delegate == "" || len(r.SHA256) != 64 {
					t.Errorf("%+v, %v", r, err)
				}
				return
			}
			var e *ProbeError
			if !errors.As(err, &e) || e.Stage != tt.stage || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.folder) {
				t.Errorf("%v; want stage %s, the folder, and %q", err, tt.stage, tt.says)
			}
			if hang := tt.stage == StageHang || tt.stage == StageCrash; hang && (e.Hint() == "" || !strings.Contains(err.Error(), "MODEL_REFUSED")) {
				t.Errorf("without a hint or a code: %v", err)
			}
		})
	}
	t.Run("when it is called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var e *ProbeError
		if _, err := testProber(t, "hang").Probe(ctx, good); !errors.Is(err, context.Canceled) || errors.As(err, &e) {
			t.Error(err)
		}
	})
	t.Run("without a program", func(t *testing.T) {
		var e *ProbeError
		if _, err := (&Prober{Command: []string{filepath.Join(dir, "absent")}}).Probe(t.Context(), good); err == nil || errors.As(err, &e) {
			t.Error(err)
		}
		if _, err := (&Prober{}).Probe(t.Context(), good); err == nil {
			t.Error("no command, and no error")
		}
	})
}

func TestAChildRefusesWhatIsNoRequest(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"folder":7}`} {
		if err := ServeProbe(strings.NewReader(text), io.Discard); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

var digestLine = regexp.MustCompile(`(?m)^sha256: .*$`)

// renewed is a manifest that vouches for other data.
func renewed(manifest, data []byte) ([]byte, []byte) {
	return digestLine.ReplaceAll(manifest, fmt.Appendf(nil, "sha256: %x", sha256.Sum256(data))), data
}

var corrupt = flag.Int("corrupt", corruptions, "how many corrupted models TestCorruptedModels tries")

// Whatever somebody or something did to a model's file or manifest, it is refused, or runs, or ends a child.
//
// A quarter has a file that isn't the one in the manifest; half of them a manifest that vouches for the corrupted file, as
// if it had been made so; a quarter a corrupted manifest. Each is made from its number alone. The full run is
// go test ./models -run TestCorruptedModels -corrupt 10000 -timeout 0 -v
func TestCorruptedModels(t *testing.T) {
	needRuntime(t)
	n := *corrupt
	if testing.Short() {
		n = min(n, 40)
	}
	p := testProber(t, "serve")
	tallyCorrupted(t, n, func(i int) string { return tryCorrupted(t, p, i) })
}

// tallyCorrupted counts what becomes of so many corrupted models.
func tallyCorrupted(t *testing.T, n int, try func(int) string) {
	t.Helper()
	var mu sync.Mutex
	tally := map[string]int{}
	var wg sync.WaitGroup
	work := make(chan int)
	for range 2 {
		wg.Go(func() {
			for i := range work {
				what := try(i)
				mu.Lock()
				tally[what]++
				mu.Unlock()
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	total := 0
	for _, what := range slices.Sorted(maps.Keys(tally)) {
		t.Logf("%6d %s", tally[what], what)
		total += tally[what]
	}
	if total != n {
		t.Errorf("%d of %d were tried", total, n)
	}
}

// corruptedIn makes the model of a number in a folder, and tells for what it is and what was done to it.
func corruptedIn(t *testing.T, dir string, number int) (task Task, kind string) {
	r := rand.New(rand.NewPCG(2026, uint64(number)))
	task = []Task{LivenessTask, FaceDetection}[number/4%2]
	kind = []string{"file", "file, vouched for", "file, vouched for", "manifest"}[number%4]
	shippedIn(t, dir, task, func(manifest, data []byte) ([]byte, []byte) {
		switch kind {
		case "file":
			return manifest, corrupted(r, data)
		case "manifest":
			return corruptedText(r, manifest), data
		}
		return renewed(manifest, corrupted(r, data))
	})
	return task, kind
}

// tryCorrupted makes the model of a number, probes it, and tells what became of it.
func tryCorrupted(t *testing.T, p *Prober, number int) string {
	dir, err := os.MkdirTemp("", "corrupted-*")
	if err != nil {
		t.Error(err)
		return "not tried"
	}
	defer os.RemoveAll(dir)
	_, kind := corruptedIn(t, dir, number)
	report, err := p.Probe(t.Context(), dir)
	var e *ProbeError
	switch {
	case err == nil && kind == "file":
		t.Errorf("number %d: a corrupted file ran: %+v", number, report)
	case err == nil:
		return kind + ": ran"
	case !errors.As(err, &e) || e.Stage == StageRuntime:
		t.Errorf("number %d: %v", number, err)
	case kind == "file" && (e.Stage != StageBundle || !strings.Contains(e.Error(), "MODEL_REFUSED")):
		t.Errorf("number %d: refused for another reason than its digest: %v", number, err)
	case e.Stage == StageBundle && strings.Contains(e.Error(), "has SHA-256"):
		return kind + ": refused by digest"
	case e.Stage == StageBundle:
		return kind + ": refused with its manifest"
	case e.Stage == StageCrash || e.Stage == StageHang:
		t.Logf("number %d: %v", number, err)
	case strings.Contains(e.Error(), "the library refuses the file"), strings.Contains(e.Error(), "not a TensorFlow Lite file"):
		return kind + ": refused by the library's verifier"
	case strings.Contains(e.Error(), "open model"), strings.Contains(e.Error(), "its manifest says"):
		return kind + ": refused by the library, or for tensors that aren't the manifest's"
	default:
		return kind + ": refused for its answers"
	}
	if e != nil {
		return kind + ": " + string(e.Stage) + " of the child"
	}
	return "failed"
}

// corrupted damages a file: bits, bytes, numbers, pieces that are lost, doubled or swapped.
func corrupted(r *rand.Rand, data []byte) []byte {
	before := bytes.Clone(data)
	for {
		for range 1 + r.IntN(4) {
			// Half of all places are where the structure is, at both ends; the weights are between.
			at := r.IntN(len(data))
			if r.IntN(2) == 0 {
				at = r.IntN(min(len(data), 20_000))
				if r.IntN(2) == 0 {
					at = len(data) - 1 - at
				}
			}
			switch r.IntN(8) {
			case 0, 1:
				data[at] ^= 1 << r.IntN(8)
			case 2:
				data[at] = byte(r.UintN(256))
			case 3, 4:
				if word := at &^ 3; word+4 <= len(data) {
					values := []uint32{0, 1, 4, 0x7fffffff, 0x80000000, 0xffffffff, r.Uint32(), r.Uint32N(256)}
					binary.LittleEndian.PutUint32(data[word:], values[r.IntN(len(values))])
				}
			case 5:
				clear(data[at:min(len(data), at+1+r.IntN(512))])
			case 6:
				from := r.IntN(len(data))
				copy(data[at:min(len(data), at+1+r.IntN(512))], data[from:])
			case 7:
				if r.IntN(4) == 0 {
					data = data[:1+at]
				}
			}
		}
		if !bytes.Equal(before, data) {
			return data
		}
	}
}

var number = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?`)

// corruptedText damages a manifest: bytes, numbers, lines.
func corruptedText(r *rand.Rand, text []byte) []byte {
	before := bytes.Clone(text)
	for {
		for range 1 + r.IntN(2) {
			lines := bytes.SplitAfter(text, []byte("\n"))
			l := r.IntN(len(lines))
			switch r.IntN(5) {
			case 0:
				text[r.IntN(len(text))] = byte(r.UintN(256))
			case 1:
				text[r.IntN(len(text))] ^= 1 << r.IntN(8)
			case 2:
				all := number.FindAllIndex(text, -1)
				values := []string{"0", "-1", "1", "2", "3", "7.5", "1e9", "99999999999999999999", ".nan", "-.inf", "80", "~", "[1]"}
				at := all[r.IntN(len(all))]
				text = slices.Concat(text[:at[0]], []byte(values[r.IntN(len(values))]), text[at[1]:])
			case 3:
				text = bytes.Join(slices.Delete(lines, l, l+1), nil)
			case 4:
				text = bytes.Join(slices.Insert(lines, l, lines[r.IntN(len(lines))]), nil)
			}
			if len(text) < 20 {
				break
			}
		}
		if !bytes.Equal(before, text) {
			return text
		}
	}
}
