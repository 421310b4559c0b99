package silentface

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/tflite"
)

// made is a pair of small nets with a file each, as upstream has them, in a folder.
func made(t *testing.T) (folder string, all []source) {
	t.Helper()
	folder = t.TempDir()
	for i, s := range []source{
		{name: "small-a", file: "a.pth", title: "A", scale: 2.7},
		{name: "small-b", file: "b.pth", title: "B", scale: 4},
	} {
		w := small(uint64(i + 1))
		data := write(w)
		if err := os.WriteFile(filepath.Join(folder, s.file), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s.sha256 = hexDigest(data)
		for n := range 4 {
			p := drawn(n)
			s.answers = append(s.answers, answer{n, reference(w, &p)})
		}
		all = append(all, s)
	}
	return folder, all
}

func hexDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// read gives all files below a folder, by path.
func read(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		all[strings.TrimPrefix(p, folder)] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func TestInstallsFourBundlesOnce(t *testing.T) {
	rt := library(t)
	from, all := made(t)
	o := Options{From: from, Directory: filepath.Join(t.TempDir(), "models"), Runtime: rt}
	done, err := install(context.Background(), o, all)
	if err != nil {
		t.Fatal(err)
	}
	first := read(t, o.Directory)
	names := []string{"small-a", "small-a-int8", "small-b", "small-b-int8"}
	if len(done) != len(names) || len(first) != 5*len(names) {
		t.Fatalf("%d models, %d files", len(done), len(first))
	}
	for i, name := range names {
		d := done[i]
		m, err := models.LoadFolder(filepath.Join(o.Directory, name))
		if err != nil {
			t.Error(err)
			continue
		}
		int8 := strings.HasSuffix(name, "int8")
		if d.Unchanged || d.Model.Name != name || d.Folder != filepath.Join(o.Directory, name) || m.Name != name ||
			m.Licence != "Apache-2.0" || m.Input.Order != "BGR" || (m.Input.Type == "int8") != int8 ||
			m.Crop.Scale != all[i/2].scale || m.Output.Live != live {
			t.Errorf("%s: %+v", name, m.Manifest)
		}
		if !strings.Contains(m.Card, all[i/2].sha256) {
			t.Errorf("%s: its card doesn't name the original:\n%s", name, m.Card)
		}
		for file, says := range map[string]string{"LICENSE": "Copyright 2020 Minivision", "NOTICE": "Changed by livenessd"} {
			if !strings.Contains(first["/"+name+"/"+file], says) {
				t.Errorf("%s: %s lacks %q", name, file, says)
			}
		}
		if report, err := models.Probe(rt, m, models.Options{}); err != nil {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
	again, err := install(context.Background(), o, all)
	if err != nil || len(again) != 4 {
		t.Fatalf("a second time: %d, %v", len(again), err)
	}
	for _, m := range again {
		if !m.Unchanged {
			t.Errorf("%s changed the second time", m.Folder)
		}
	}
	second := read(t, o.Directory)
	for p, text := range first {
		if second[p] != text {
			t.Errorf("%s isn't what it was", p)
		}
	}
	if len(second) != len(first) {
		t.Errorf("%d files, and then %d", len(first), len(second))
	}
}

func TestANetThatAnswersOtherwiseIsNotInstalled(t *testing.T) {
	rt := library(t)
	from, all := made(t)
	all[1].answers[3].want[live] += 0.001 // of the last net, so that nothing of the first may be left either
	o := Options{From: from, Directory: t.TempDir(), Runtime: rt}
	done, err := install(context.Background(), o, all)
	if err == nil || !strings.Contains(err.Error(), "known answers") || !strings.Contains(err.Error(), "b.pth") || len(done) != 0 {
		t.Errorf("%v, %v", done, err)
	}
	if left := read(t, o.Directory); len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestAnInt8NetThatIsFarOffIsFound(t *testing.T) {
	rt := library(t)
	w := small(1)
	net, err := build("test", w)
	if err != nil {
		t.Fatal(err)
	}
	pictures := []picture{drawn(0), drawn(1), drawn(2)}
	f, err := convert(context.Background(), rt, "", net, pictures)
	if err != nil {
		t.Fatal(err)
	}
	var right, wrong []answer
	for n := range pictures {
		a := answer{n, reference(w, &pictures[n])}
		right = append(right, a)
		a.want[0], a.want[1], a.want[2] = a.want[1], a.want[2], a.want[0]
		wrong = append(wrong, a)
	}
	if err := check(rt, "", f.int8, true, right, int8Bounds); err != nil {
		t.Errorf("right answers: %v", err)
	}
	if err := check(rt, "", f.int8, true, wrong, int8Bounds); err == nil {
		t.Error("answers of other classes are taken")
	}
	right[1].want[2] = math.NaN()
	if err := check(rt, "", f.int8, true, right, int8Bounds); err == nil {
		t.Error("an answer that is no number is taken")
	}
}

func TestInstallsWithoutADelegate(t *testing.T) {
	rt := library(t)
	from, all := made(t)
	o := Options{From: from, Directory: t.TempDir(), Runtime: rt, Delegate: tflite.CPU}
	if done, err := install(context.Background(), o, all); err != nil || len(done) != 4 {
		t.Errorf("%v, %v", done, err)
	}
	o.Delegate = "gpu"
	if done, err := install(context.Background(), o, all); err == nil || len(done) != 0 {
		t.Errorf("with a delegate that isn't there: %v, %v", done, err)
	}
}

func TestAModelOfThatNameIsKept(t *testing.T) {
	rt := library(t)
	from, all := made(t)
	o := Options{From: from, Directory: t.TempDir(), Runtime: rt}
	taken := filepath.Join(o.Directory, "small-a-int8")
	if err := os.Mkdir(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	done, err := install(context.Background(), o, all)
	var hint interface{ Hint() string }
	if err == nil || len(done) != 1 || !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "--force") {
		t.Fatalf("%v, %v; want the first net, and a hint", done, err)
	}
	o.Force = true
	if done, err = install(context.Background(), o, all); err != nil || len(done) != 4 {
		t.Errorf("by force: %v, %v", done, err)
	}
}

func TestDownloads(t *testing.T) {
	rt := library(t)
	from, all := made(t)
	var asked []string
	files := http.FileServer(http.Dir(from))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.StripPrefix("/some/where", files).ServeHTTP(w, r)
	}))
	defer server.Close()
	done, err := install(context.Background(), Options{Upstream: server.URL + "/some/where", Directory: t.TempDir(), Runtime: rt}, all)
	if err != nil || len(done) != 4 {
		t.Errorf("%v, %v", done, err)
	}
	if strings.Join(asked, " ") != "/some/where/a.pth /some/where/b.pth" {
		t.Errorf("asked for %q", asked)
	}
}

func TestDownloadsThatFailLeaveNothingAndSayWhatToDo(t *testing.T) {
	rt := library(t)
	blocked := make(chan struct{})
	tests := []struct {
		name, says string
		serve      http.HandlerFunc
		client     *http.Client
	}{
		{"not there", "404", http.NotFound, nil},
		{"a page instead", "isn't upstream's", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<html>please log in</html>")
		}, nil},
		{"too large", "more than 4194304 bytes", func(w http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 1<<16); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, nil},
		{"cut off", "unexpected eof", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "half")
		}, nil},
		{"silence", "deadline", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-blocked:
			case <-r.Context().Done():
			}
		}, &http.Client{Timeout: 50 * time.Millisecond}},
		{"in circles", "redirects", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, nil},
	}
	for _, tt := range tests {
		server := httptest.NewServer(tt.serve)
		o := Options{Upstream: server.URL, Directory: filepath.Join(t.TempDir(), "models"), Runtime: rt, Client: tt.client}
		done, err := Install(context.Background(), o)
		var e *Error
		if len(done) != 0 || !errors.As(err, &e) || !strings.Contains(strings.ToLower(err.Error()), tt.says) ||
			!strings.HasPrefix(err.Error(), "silentface: ") {
			t.Errorf("%s: %v, %v; want %q", tt.name, done, err, tt.says)
		} else if hint := e.Hint(); !strings.Contains(hint, upstream) {
			t.Errorf("%s: hint %q", tt.name, hint)
		}
		if left := read(t, o.Directory); len(left) != 0 {
			t.Errorf("%s: %d files are left", tt.name, len(left))
		}
		server.Close()
	}
	close(blocked)
	o := Options{Upstream: "https://127.0.0.1:1/", Directory: t.TempDir(), Runtime: rt}
	var e *Error
	if _, err := Install(context.Background(), o); !errors.As(err, &e) || !strings.Contains(e.Hint(), "--from") {
		t.Errorf("without a network: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Install(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFilesThatAreNotUpstreamsAreRefused(t *testing.T) {
	rt := library(t)
	tests := []struct {
		name, says, hint string
		prepare          func(path string) error
	}{
		{"absent", "no such file", "put 2.7_80x80_MiniFASNetV2.pth there", func(string) error { return nil }},
		{"another's", "isn't upstream's", "fetch it again", func(p string) error { return os.WriteFile(p, []byte(header), 0o600) }},
		{"empty", "isn't upstream's", "fetch it again", func(p string) error { return os.WriteFile(p, nil, 0o600) }},
		{"huge", "more than 4194304 bytes", "", func(p string) error { return os.WriteFile(p, make([]byte, maxOriginal+1), 0o600) }},
		{"a folder", "no plain file", "", func(p string) error { return os.Mkdir(p, 0o700) }},
	}
	for _, tt := range tests {
		o := Options{From: t.TempDir(), Directory: filepath.Join(t.TempDir(), "models"), Runtime: rt}
		if err := tt.prepare(filepath.Join(o.From, sources()[0].file)); err != nil {
			t.Fatal(err)
		}
		_, err := Install(context.Background(), o)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(e.Hint(), tt.hint) {
			t.Errorf("%s: %v, hint %q; want %q", tt.name, err, e.Hint(), tt.says)
		}
		if left := read(t, o.Directory); len(left) != 0 {
			t.Errorf("%s: %d files are left", tt.name, len(left))
		}
	}
	for name, o := range map[string]Options{"no runtime": {Directory: "x"}, "no directory": {Runtime: rt}} {
		var e *Error
		if _, err := Install(context.Background(), o); !errors.As(err, &e) || e.Hint() == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shared is where the project's reference data are, on machines that have them. It isn't part of the project.
const shared = "../../../shared"

// TestUpstreamsNets converts the real weights, where they are.
func TestUpstreamsNets(t *testing.T) {
	rt := library(t)
	folder := filepath.FromSlash(shared + "/models/silent-face")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("upstream's weights aren't part of the project, and aren't here: %v", err)
	}
	o := Options{From: folder, Directory: t.TempDir(), Runtime: rt}
	done, err := Install(context.Background(), o)
	if err != nil || len(done) != 4 {
		t.Fatalf("%v, %v", done, err)
	}
	t.Run("as an earlier conversion", func(t *testing.T) {
		for i, name := range []string{"minifasnet_v2_float32.tflite", "minifasnet_v1se_float32.tflite"} {
			data, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Skipf("no earlier conversion: %v", err)
			}
			compare(t, rt, data, done[2*i].Model.Data)
		}
	})
	t.Run("int8 as float", func(t *testing.T) { agree(t, rt, done) })
	t.Run("on whole frames", func(t *testing.T) { judgeFrames(t, rt, done) })
}

// compare lets two float nets look at drawn pictures. The first gives probabilities, the second logits.
func compare(t *testing.T, rt *tflite.Runtime, earlier, now []byte) {
	t.Helper()
	a, err := open(rt, earlier, tflite.CPU, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := open(rt, now, tflite.XNNPACK, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for n := range 40 {
		p := drawn(500 + n)
		var want [classes]float32
		if err := errors.Join(a.run(&p), a.OutputFloat32(0, want[:])); err != nil {
			t.Fatal(err)
		}
		got, err := b.softmax(&p)
		if err != nil {
			t.Fatal(err)
		}
		for c := range got {
			if !(math.Abs(got[c]-float64(want[c])) <= 1e-5) {
				t.Errorf("picture %d: %v, and %v earlier", n, got, want)
			}
		}
	}
}

// agree shows faces to the float nets and the int8 ones. The cards' figures are from all of the pictures; the test takes some.
func agree(t *testing.T, rt *tflite.Runtime, done []models.Installed) {
	var files []string
	for _, pattern := range []string{"/data/train/caltech-faces/*.jpg", "/data/dev/*/*/*.jpg"} {
		more, err := filepath.Glob(filepath.FromSlash(shared + pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	if len(files) == 0 {
		t.Skip("pictures of faces aren't part of the project, and aren't here")
	}
	var nets []*models.Liveness
	for _, d := range done {
		l, err := models.NewLiveness(rt, d.Model, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		nets = append(nets, l)
	}
	var seen int
	var same [2]int
	for i := 0; i < len(files); i += 4 {
		data, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		src, _, err := image.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", files[i], err)
		}
		m := frame.FromImage(src)
		// Most of these pictures are hardly more than the face. A box somewhat smaller serves to compare two nets.
		w, h := float64(m.Width), float64(m.Height)
		var p [4]float64
		for n, l := range nets {
			if err := l.Crop(&m, models.Box{X: 0.25 * w, Y: 0.25 * h, W: 0.5 * w, H: 0.5 * h}); err != nil {
				t.Fatal(err)
			}
			j, err := l.Judge()
			if err != nil {
				t.Fatal(err)
			}
			p[n] = j.Live
		}
		seen++
		for net := range same {
			if (p[2*net] > 0.5) == (p[2*net+1] > 0.5) {
				same[net]++
			}
		}
	}
	for net, n := range same {
		t.Logf("%s: the same side of P = .5 as the float net for %d of %d", done[2*net+1].Model.Name, n, seen)
		if float64(n) < 0.94*float64(seen) {
			t.Errorf("%s agrees with the float net on %d of %d pictures only", done[2*net+1].Model.Name, n, seen)
		}
	}
}

// upright turns a picture clockwise, as these pictures' Exif data ask for. Their chroma has half the resolution.
func upright(m *image.YCbCr) *image.YCbCr {
	w, h := m.Rect.Dy(), m.Rect.Dx()
	out := image.NewYCbCr(image.Rect(0, 0, w, h), m.SubsampleRatio)
	for y := range h {
		for x := range w {
			from, to := m.YOffset(y, w-1-x), out.YOffset(x, y)
			out.Y[to] = m.Y[from]
			from, to = m.COffset(y, w-1-x), out.COffset(x, y)
			out.Cb[to], out.Cr[to] = m.Cb[from], m.Cr[from]
		}
	}
	return out
}

func judgeFrames(t *testing.T, rt *tflite.Runtime, done []models.Installed) {
	frames := filepath.FromSlash(shared + "/data/dev/fullframe")
	if _, err := os.Stat(frames); err != nil {
		t.Skipf("upstream's sample pictures aren't part of the project, and aren't here: %v", err)
	}
	tests := []struct {
		file string
		box  models.Box // as the detector that comes with the nets gives it
		live bool
	}{
		{"live/minivision_image_T1.jpg", models.Box{X: 106.2, Y: 147.9, W: 207.0, H: 213.9}, true},
		{"spoof/minivision_image_F1.jpg", models.Box{X: 178.6, Y: 136.7, W: 223.1, H: 225.1}, false},
		{"spoof/minivision_image_F2.jpg", models.Box{X: 120.8, Y: 252.8, W: 252.1, H: 256.4}, false},
	}
	for _, tt := range tests {
		data, err := os.ReadFile(filepath.Join(frames, filepath.FromSlash(tt.file)))
		if err != nil {
			t.Fatal(err)
		}
		src, _, err := image.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		m := frame.FromImage(upright(src.(*image.YCbCr)))
		p := map[string]float64{}
		for _, d := range done {
			l, err := models.NewLiveness(rt, d.Model, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Crop(&m, tt.box); err != nil {
				t.Fatal(err)
			}
			j, err := l.Judge()
			if err != nil {
				t.Fatal(err)
			}
			p[d.Model.Name] = j.Live
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Logf("%s: %v", tt.file, p)
		if v := p["minifasnet-v2"]; tt.live && !(v >= 0.97) || !tt.live && !(v <= 0.05) {
			t.Errorf("%s: P(live) of V2 is %.4f", tt.file, v)
		}
		// V1SE is undecided about the attacks, where 8 bits move it most.
		for name, allowed := range map[string]float64{"minifasnet-v2": 0.05, "minifasnet-v1se": 0.2} {
			if !(math.Abs(p[name]-p[name+"-int8"]) <= allowed) {
				t.Errorf("%s: P(live) of %s is %.4f, and %.4f in int8", tt.file, name, p[name], p[name+"-int8"])
			}
		}
		// As upstream does: the mean of both.
		for _, suffix := range []string{"", "-int8"} {
			if mean := (p["minifasnet-v2"+suffix] + p["minifasnet-v1se"+suffix]) / 2; tt.live != (mean > 0.5) {
				t.Errorf("%s: P(live) of both%s is %.4f", tt.file, suffix, mean)
			}
		}
	}
}
