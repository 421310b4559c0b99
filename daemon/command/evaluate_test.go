package command

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
	"github.com/livenessd/livenessd/models"
)

// tree makes a folder of files: the keys are paths, the values their content.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		folder, only := strings.CutSuffix(name, "/")
		if !only {
			folder = filepath.Dir(name)
		}
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if only {
			continue
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// golden is the bytes of a shipped picture.
func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(picture(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// door is a folder of every kind of presentation.
func door(t *testing.T) map[string]string {
	t.Helper()
	empty := golden(t, "empty-1.jpg")
	return map[string]string{
		"live/a.jpg": golden(t, "live-1.jpg"), "live/b/c.JPG": golden(t, "live-2.jpg"), "live/nobody.jpeg": empty,
		"spoof/print/1.jpg": golden(t, "print-1.jpg"), "spoof/print/2.jpg": empty, "spoof/replay/1.jpg": golden(t, "replay-1.jpg"),
		"spoof/print/notes.txt": "not a picture",
	}
}

// gray is a picture of one brightness.
func gray(t *testing.T, w, h int, y byte) string {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = y
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// evaluated runs evaluate and reads its one object.
func evaluated(t *testing.T, want int, args ...string) (evaluation, result) {
	t.Helper()
	r := call(t, append([]string{"evaluate", "--json"}, args...)...)
	all := objects[evaluation](t, r.out)
	if r.code != want || len(all) != 1 {
		t.Fatalf("exit code %d, %d objects: %s%s", r.code, len(all), r.out, r.errors)
	}
	return all[0], r
}

const (
	acceptAll  = "decision: {live_at: 1e-6, spoof_at: 1e-7}\n"
	acceptNone = "decision: {live_at: 0.9999999, spoof_at: 0.9999998}\n"
)

func TestEvaluateCountsWhatBecameOfThePresentations(t *testing.T) {
	needRuntime(t)
	dir := tree(t, door(t))
	for _, tt := range []struct {
		name, config string
		from         string
		apcer, bpcer float64
	}{
		{"all accepted", acceptAll, "configuration", 1, 0},
		{"none accepted", acceptNone, "configuration", 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, _ := evaluated(t, ExitOK, withConfig(t, tt.config), dir)
			if e.Threshold.From != tt.from || e.FaceFrom != "detector" || e.Delegate == "" || len(e.Model.SHA256) != 64 || len(e.Folders) != 1 {
				t.Fatalf("%+v", e)
			}
			f := e.Folders[0]
			if p := f.BonaFide; p.Presentations != 3 || p.BPCER.Of != 2 || *p.BPCER.Share != tt.bpcer || p.BPNRR.Errors != 1 || p.BPNRR.Of != 3 ||
				p.Live+p.Undecided+p.Spoof != 2 || p.Silent[decision.NoFacesDetected] != 1 || len(p.Silent) != 1 {
				t.Errorf("bona fide: %+v", p)
			}
			if len(f.Attacks) != 2 || f.Attacks[0].Species != "print" || f.Attacks[1].Species != "replay" {
				t.Fatalf("attacks: %+v", f.Attacks)
			}
			for i, silent := range []int{1, 0} {
				a := f.Attacks[i]
				if a.Presentations != 1+silent || a.APCER.Of != 1 || *a.APCER.Share != tt.apcer || a.APNRR.Errors != silent || a.APNRR.Of != 1+silent || a.EER == nil {
					t.Errorf("attack %s: %+v", a.Species, a)
				}
			}
			if f.Worst != "print" || f.EER == nil || f.Ignored != 1 || len(f.Unreadable) != 0 || f.Folder != dir || f.Name != filepath.Base(dir) {
				t.Errorf("%+v", f)
			}
			if e.Mean != nil || e.Comparison != nil {
				t.Errorf("a mean of one folder: %+v, %+v", e.Mean, e.Comparison)
			}
		})
	}
	if e, _ := evaluated(t, ExitOK, withConfig(t, ""), dir); e.Threshold.From != "model" {
		t.Errorf("%+v", e.Threshold)
	}
}

func TestEvaluateSaysWhatScoreSays(t *testing.T) {
	needRuntime(t)
	config := withConfig(t, "")
	e, _ := evaluated(t, ExitOK, config, tree(t, map[string]string{"live/a.jpg": golden(t, "live-1.jpg"), "spoof/b.jpg": golden(t, "replay-1.jpg")}))
	count := map[decision.Verdict]int{}
	for _, row := range objects[scored](t, call(t, "score", "--json", config, picture("live-1.jpg"), picture("replay-1.jpg")).out) {
		count[row.Verdict]++
	}
	p, a := e.Folders[0].BonaFide, e.Folders[0].Attacks[0]
	if a.Species != "spoof" || p.Live+a.Live != count[decision.Live] || p.Spoof+a.Spoof != count[decision.Spoof] || p.Undecided+a.Undecided != count[decision.Undecided] {
		t.Errorf("%+v, %+v; score has %v", p, a, count)
	}
}

func TestAWholePictureCanBeTheFace(t *testing.T) {
	needRuntime(t)
	dir := tree(t, door(t))
	e, _ := evaluated(t, ExitOK, withConfig(t, acceptAll), "--face-from", "picture", dir)
	if f := e.Folders[0]; e.FaceFrom != "picture" || f.BonaFide.BPNRR.Errors != 0 || f.BonaFide.Live != 3 || f.Attacks[0].APNRR.Errors != 0 || f.Attacks[0].Live != 2 {
		t.Errorf("%+v", f)
	}
	r := call(t, "evaluate", withConfig(t, ""), "--face-from", "picture", dir)
	if first, _, _ := strings.Cut(r.out, "\n"); !strings.Contains(first, "the whole picture taken for the face's box") {
		t.Errorf("the output doesn't say so: %s", first)
	}
}

func TestAClipIsOnePresentation(t *testing.T) {
	needRuntime(t)
	dir := tree(t, map[string]string{
		"live/clip.mjpeg": strings.Repeat(golden(t, "live-1.jpg"), 20),
		"spoof/clip.mjpg": strings.Repeat(golden(t, "replay-1.jpg"), 20), "spoof/nobody.mjpg": strings.Repeat(golden(t, "empty-1.jpg"), 20),
		"spoof/short.mjpg": strings.Repeat(golden(t, "replay-1.jpg"), 2),
	})
	// Little is asked for, so that what is judged for two seconds gets an answer.
	config := withConfig(t, "decision: {live_at: 0.5, spoof_at: 0.49, accept_error: 0.4, refuse_error: 0.4}\n")
	e, _ := evaluated(t, ExitOK, config, "--fps", "10", "--baselines", dir)
	f := e.Folders[0]
	if f.BonaFide.Live != 1 || f.BonaFide.Presentations != 1 || f.Attacks[0].Spoof != 1 || f.Attacks[0].APNRR.Errors != 2 {
		t.Errorf("%+v", f)
	}
	e, _ = evaluated(t, ExitOK, config, "--fps", "10", "--face-from", "picture", dir)
	if f := e.Folders[0]; f.BonaFide.BPNRR.Errors != 0 || f.Attacks[0].APNRR.Errors != 1 {
		t.Errorf("the picture as the face: only two frames are too few for an answer: %+v", f)
	}
}

func TestFilesThatCannotBeReadDontCount(t *testing.T) {
	needRuntime(t)
	files := door(t)
	whole := files["live/a.jpg"]
	files["live/broken.jpg"] = whole[:len(whole)/2]
	files["spoof/replay/text.png"] = "no picture"
	files["spoof/replay/empty.mjpeg"] = ""
	dir := tree(t, files)
	if err := os.Symlink(filepath.Join(dir, "absent"), filepath.Join(dir, "spoof", "dangling.jpg")); err != nil {
		t.Fatal(err)
	}
	e, r := evaluated(t, ExitOther, withConfig(t, acceptAll), dir)
	f := e.Folders[0]
	var names []string
	for _, u := range f.Unreadable {
		rest, err := filepath.Rel(dir, u.File)
		if err != nil || u.Error == "" {
			t.Errorf("%+v, %v", u, err)
		}
		names = append(names, filepath.ToSlash(rest))
		if !strings.Contains(r.errors, u.File+": ") {
			t.Errorf("%s isn't named in %q", u.File, r.errors)
		}
	}
	if want := []string{"live/broken.jpg", "spoof/dangling.jpg", "spoof/replay/empty.mjpeg", "spoof/replay/text.png"}; !slices.Equal(names, want) {
		t.Errorf("unreadable: %v", names)
	}
	if !strings.Contains(r.errors, "4 of 10 files") {
		t.Errorf("standard error %q", r.errors)
	}
	if f.BonaFide.Presentations != 3 || f.Attacks[1].Species != "replay" || f.Attacks[1].Presentations != 1 {
		t.Errorf("%+v", f)
	}
	if s := f.Attacks[2]; s.Species != "spoof" || s.Presentations != 0 || s.APCER.Share != nil || s.EER != nil {
		t.Errorf("a species of which nothing can be read: %+v", s)
	}
}

func TestManyUnreadableFilesAreSummedUp(t *testing.T) {
	var errs bytes.Buffer
	a := &app{Process: Process{Stderr: &errs}}
	var files []unreadable
	for range 25 {
		files = append(files, unreadable{"x.jpg", "broken"})
	}
	if err := a.complain(files, 30); exitCode(err) != ExitOther || strings.Count(errs.String(), "x.jpg: broken\n") != 10 || !strings.HasSuffix(errs.String(), "and 15 more\n") {
		t.Errorf("%v\n%s", err, &errs)
	}
	if err := a.complain(nil, 30); err != nil {
		t.Error(err)
	}
}

func TestFoldersThatCannotBeEvaluated(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		below string // the folder in it that is named
		code  int
		want  string
	}{
		{"nothing", nil, "absent", ExitOther, "no such file"},
		{"a file", map[string]string{"x.jpg": ""}, "x.jpg", ExitOther, "is a file, not a folder"},
		{"an empty folder", nil, "", ExitOther, `has no folder "live"`},
		{"no attacks", map[string]string{"live/a.jpg": "x"}, "", ExitOther, `has no folder "spoof"`},
		{"no people", map[string]string{"spoof/a.jpg": "x"}, "", ExitOther, `has no folder "live"`},
		{"people as a file", map[string]string{"live": "x", "spoof/a.jpg": "x"}, "", ExitOther, "live is a file, not a folder"},
		{"an empty folder of people", map[string]string{"live/": "", "spoof/a.jpg": "x"}, "", ExitOther, "live: no picture and no clip"},
		{"an empty folder of attacks", map[string]string{"live/a.jpg": "x", "spoof/print/": ""}, "", ExitOther, "spoof: no picture and no clip"},
		{"notes alone", map[string]string{"live/a.txt": "x", "spoof/a.jpg": "x"}, "", ExitOther, "live: no picture and no clip"},
		{"hidden pictures alone", map[string]string{"live/.a.jpg": "x", "live/.b/a.jpg": "x", "spoof/a.jpg": "x"}, "", ExitOther, "live: no picture and no clip"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(tree(t, tt.files), tt.below)
			r := call(t, "evaluate", "--json", dir)
			if r.code != tt.code || !strings.Contains(r.errors, tt.want) || !strings.Contains(r.errors, dir) || !strings.Contains(r.errors, "→ pictures and clips") || r.out != "" {
				t.Errorf("exit code %d, %q, %q", r.code, r.errors, r.out)
			}
		})
	}
	good := tree(t, map[string]string{"live/a.jpg": "x", "spoof/a.jpg": "x"})
	for _, args := range [][]string{{good, good}, {good, good + "/."}, {"--threshold-from", good, good}} {
		if r := call(t, append([]string{"evaluate"}, args...)...); r.code != ExitUsage || !strings.Contains(r.errors, "are the same folder") {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.errors)
		}
	}
	if os.Geteuid() != 0 { // who may read everything
		if err := os.Chmod(filepath.Join(good, "live"), 0); err != nil {
			t.Fatal(err)
		}
		if r := call(t, "evaluate", good); r.code != ExitPermission {
			t.Errorf("a folder that may not be read: exit code %d, %q", r.code, r.errors)
		}
	}
}

func TestWrongWaysOfAskingExitWith64(t *testing.T) {
	dir := tree(t, map[string]string{"live/a.jpg": "x", "spoof/a.jpg": "x"})
	many := make([]string, pad.MostSets+1)
	for i := range many {
		many[i] = dir
	}
	for _, args := range [][]string{
		{}, {"--face-from", "nowhere", dir}, {"--fps", "0", dir}, {"--fps", "NaN", dir}, {"--plot", "x.pdf", dir}, {"--plot", "/nonexistent/x.svg", dir},
		{"--threshold-at", "eer", dir}, {"--threshold-from", dir, "--threshold-at", "acer=5%", dir}, {"--threshold-from"},
		append([]string{"--plot", filepath.Join(dir, "x.svg")}, many...),
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if r := call(t, append([]string{"evaluate"}, args...)...); r.code != ExitUsage || r.out != "" || !strings.HasPrefix(r.errors, "livenessd: ") {
				t.Errorf("exit code %d, %q, %q", r.code, r.errors, r.out)
			}
		})
	}
}

func TestEvaluateFailsAsTheOthersDo(t *testing.T) {
	dir := tree(t, map[string]string{"live/a.jpg": "x", "spoof/a.jpg": "x"})
	for _, tt := range []struct {
		name, config string
		code         int
	}{
		{"a bad configuration", "mqtt:\n  ulr: x\n", ExitConfig},
		{"no runtime", "models: {runtime: /nonexistent/library.so}\n", ExitUnavailable},
	} {
		if r := call(t, "evaluate", withConfig(t, tt.config), dir); r.code != tt.code || r.out != "" || !strings.Contains(r.errors, "→") {
			t.Errorf("%s: exit code %d, %q", tt.name, r.code, r.errors)
		}
	}
	needRuntime(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := Main(ctx, Process{Args: []string{"evaluate", withConfig(t, ""), dir}, Stdout: &out, Stderr: &errs})
	if code != ExitOther || out.Len() > 0 || !strings.Contains(errs.String(), "evaluate: stopped") {
		t.Errorf("stopped: exit code %d, %q, %q", code, &out, &errs)
	}
}

func TestFoldersAreListedByName(t *testing.T) {
	dir := tree(t, map[string]string{
		"live/b.jpg": "", "live/a/2.PNG": "", "live/a/1.jpeg": "", "live/.hidden.jpg": "", "live/.git/a.jpg": "", "live/labels.csv": "",
		"spoof/mask/z.mjpeg": "", "spoof/mask/deep/er/a.mjpg": "", "spoof/loose.jpg": "", "spoof/replay/a.gif": "", "spoof/.cache/a.jpg": "",
		"elsewhere/linked.jpg": "",
	})
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "spoof", "linked")); err != nil {
		t.Fatal(err)
	}
	l, err := openLabelled(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range l.files {
		rest, err := filepath.Rel(dir, f.path)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, filepath.ToSlash(rest)+" "+f.species)
	}
	want := []string{"live/a/1.jpeg ", "live/a/2.PNG ", "live/b.jpg ", "spoof/linked/linked.jpg linked", "spoof/loose.jpg spoof",
		"spoof/mask/deep/er/a.mjpg mask", "spoof/mask/z.mjpeg mask"}
	if !slices.Equal(got, want) || l.ignored != 2 {
		t.Errorf("%d ignored, and\n%s\nnot\n%s", l.ignored, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFoldersOfOneNameKeepTheirPaths(t *testing.T) {
	all := []*labelled{{path: "a/door"}, {path: "b/door/"}, {path: "gate"}, {path: "/"}}
	if got, want := labels(all), []string{"a/door", "b/door/", "gate", "/"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestSeveralFoldersAreWeighedAlike(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	var folders []string
	// In the folders a and b attacks are dark, in c they are bright; brightness is all there is.
	for name, attack := range map[string]byte{"a": 40, "b": 60, "c": 220} {
		for file, y := range map[string]byte{"live/1.jpg": 140, "live/2.jpg": 150, "spoof/print/1.jpg": attack, "spoof/print/2.jpg": attack} {
			p := filepath.Join(dir, name, file)
			if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(gray(t, 96, 96, y)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		folders = append(folders, filepath.Join(dir, name))
	}
	slices.Sort(folders)
	args := append([]string{withConfig(t, acceptAll), "--face-from", "picture", "--baselines"}, folders...)
	e, first := evaluated(t, ExitOK, args...)
	if _, again := evaluated(t, ExitOK, args...); first.out != again.out {
		t.Errorf("twice the same gives\n%s\n%s", first.out, again.out)
	}
	if m := e.Mean; m == nil || m.Folders != 3 || m.Without != 0 || m.APCER != 1 || m.BPCER != 0 || m.Half != 0.5 {
		t.Errorf("mean: %+v", e.Mean)
	}
	by := map[string]scorerResult{}
	for _, c := range e.Comparison {
		by[c.Scorer] = c
		if len(c.Here) != 3 || len(c.LeftOut) != 3 || c.LeftOutMean == nil || c.Here[0].Name != "a" {
			t.Fatalf("%+v", c)
		}
	}
	if got := slices.Sorted(maps.Keys(by)); !slices.Equal(got, []string{brightness, faceSize, net, sharpness}) {
		t.Fatalf("scorers %q", got)
	}
	b := by[brightness]
	if b.Flattered.Below || b.Flattered.Threshold < 139 || b.Flattered.Threshold > 141 || b.HereMean.APCER < 0.333 || b.HereMean.APCER > 0.334 || b.HereMean.BPCER != 0 {
		t.Errorf("at its best: %+v, %+v", b.Flattered, b.HereMean)
	}
	// What a and b say is wrong for c, and what c says can't outvote b for a.
	if c := b.LeftOut[2]; c.Name != "c" || c.Below || c.APCER != 1 || c.BPCER != 0 || c.Half != 0.5 {
		t.Errorf("left out: %+v", c)
	}
	if s := by[faceSize]; s.HereMean.Half != 0.5 {
		t.Errorf("all faces have one size, and yet %+v", s.HereMean)
	}
	text := call(t, append([]string{"evaluate"}, args...)...).out
	for _, want := range []string{"mean of 3 folders", "which flatters every scorer", "leave-one-out", "brightness", "from 140"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestAThresholdFromAnotherFolder(t *testing.T) {
	needRuntime(t)
	there := tree(t, map[string]string{"live/a.jpg": golden(t, "live-1.jpg"), "live/b.jpg": golden(t, "live-2.jpg"),
		"spoof/a.jpg": golden(t, "replay-1.jpg"), "spoof/b.jpg": golden(t, "print-1.jpg")})
	here := tree(t, map[string]string{"live/a.jpg": golden(t, "live-1.jpg"), "spoof/a.jpg": golden(t, "replay-1.jpg")})
	for _, tt := range []struct {
		at   string
		is   func(pad.Point) bool
		rule string
	}{
		{"bpcer=0", func(p pad.Point) bool { return p.BPCER == 0 }, "bpcer=0"},
		{"apcer=0%", func(p pad.Point) bool { return p.APCER == 0 }, "apcer=0"},
		{"EER", func(pad.Point) bool { return true }, "eer"},
	} {
		e, _ := evaluated(t, ExitOK, withConfig(t, ""), "--threshold-from", there, "--threshold-at", tt.at, here)
		h := e.Threshold
		if h.From != "folder" || h.Folder != there || h.Rule != tt.rule || h.There == nil || h.There.Threshold != h.LiveAt || !tt.is(*h.There) || h.SpoofAt > h.LiveAt {
			t.Errorf("%s: %+v", tt.at, h)
		}
		if len(e.Folders) != 1 || e.Folders[0].Folder != here || e.Mean != nil {
			t.Errorf("%s: %+v", tt.at, e.Folders)
		}
		if p := e.Folders[0].BonaFide; tt.rule == "bpcer=0" && p.BPCER.Errors != 0 {
			t.Errorf("who passed there doesn't here: %+v", p)
		}
	}
	nobody := tree(t, map[string]string{"live/a.jpg": golden(t, "empty-1.jpg"), "spoof/a.jpg": golden(t, "replay-1.jpg")})
	if r := call(t, "evaluate", withConfig(t, ""), "--threshold-from", nobody, here); r.code != ExitOther || !strings.Contains(r.errors, "find a threshold on "+nobody) || r.out != "" {
		t.Errorf("no scores there: exit code %d, %q", r.code, r.errors)
	}
}

func TestAFolderWithoutAnswersHasNoFigures(t *testing.T) {
	needRuntime(t)
	nobody := tree(t, map[string]string{"live/a.jpg": golden(t, "empty-1.jpg"), "spoof/a.jpg": golden(t, "empty-1.jpg")})
	e, r := evaluated(t, ExitOK, withConfig(t, ""), nobody, tree(t, door(t)))
	if f := e.Folders[0]; f.EER != nil || f.BonaFide.BPCER.Share != nil || f.Worst != "" || f.BonaFide.BPNRR.Errors != 1 || f.Attacks[0].APCER.Share != nil {
		t.Errorf("%+v", f)
	}
	if e.Mean == nil || e.Mean.Folders != 1 || e.Mean.Without != 1 || len(e.Comparison) != 1 || len(e.Comparison[0].Here) != 1 || e.Comparison[0].LeftOutMean != nil {
		t.Errorf("%s", r.out)
	}
	text := call(t, "evaluate", "--baselines", withConfig(t, ""), nobody).out
	if !strings.Contains(text, "BPCER unknown (of 0)") || strings.Contains(text, "NaN") || strings.Contains(text, "flatters") {
		t.Errorf("as text\n%s", text)
	}
}

func TestPlotsAreFiles(t *testing.T) {
	needRuntime(t)
	dir := tree(t, door(t))
	for name, magic := range map[string]string{"x.svg": "<?xml", "x.png": "\x89PNG"} {
		p := filepath.Join(t.TempDir(), name)
		e, _ := evaluated(t, ExitOK, withConfig(t, ""), "--plot", p, dir)
		b, err := os.ReadFile(p)
		if err != nil || !strings.HasPrefix(string(b), magic) || e.Plot != p {
			t.Errorf("%s: %v, %.20q", name, err, b)
		}
	}
	taken := filepath.Join(t.TempDir(), "x.svg")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	if r := call(t, "evaluate", withConfig(t, ""), "--plot", taken, dir); r.code != ExitOther || !strings.Contains(r.errors, taken) {
		t.Errorf("a plot that can't be written: exit code %d, %q", r.code, r.errors)
	}
}

func TestTheTextNamesEverySpecies(t *testing.T) {
	needRuntime(t)
	files := door(t)
	files["spoof/a\nb/1.jpg"] = files["spoof/print/1.jpg"]
	r := call(t, "evaluate", withConfig(t, acceptNone), tree(t, files))
	if r.code != ExitOK {
		t.Fatalf("exit code %d: %s", r.code, r.errors)
	}
	for _, want := range []string{"  bona fide ", "BPCER 100.0 % (2 of 2) [15.8, 100.0]", "33.3 % (1 of 3) [0.8, 90.6]", "  attack print ", "APCER 0.0 % (0 of 1) [0.0, 97.5]",
		"  attack replay ", `  attack "a\nb" `, "no answer, bona fide: 1 NO_FACES_DETECTED", "1 other file(s)", "worst species here: ", "as the configuration has it"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	if strings.Contains(r.errors, "judging") {
		t.Errorf("a progress bar for nobody: %q", r.errors)
	}
}

func TestThresholdRules(t *testing.T) {
	for text, want := range map[string]thresholdRule{
		"eer": {"eer", 0}, "EER": {"eer", 0}, "apcer=5%": {"apcer", 0.05}, "bpcer=0.01": {"bpcer", 0.01}, "APCER = 1 %": {}, "bpcer= 20 %": {"bpcer", 0.2}, "apcer=1": {"apcer", 1},
		"": {}, "apcer": {}, "apcer=": {}, "apcer=101%": {}, "apcer=-1%": {}, "bpcer=NaN": {}, "bpcer=Inf": {}, "acer=5%": {}, "eer=5%": {}, "apcer=5%%": {},
	} {
		if got, err := parseThresholdRule(text); got != want || (err == nil) != (want.kind != "") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestTheAnswerOfSeveralVerdicts(t *testing.T) {
	row := func(v decision.Verdict, c decision.Code, score float64) scored {
		return scored{Verdict: v, Code: &c, Score: &score, LiveAt: 0.8, SpoofAt: 0.2}
	}
	live := row(decision.Live, "", 0.9)
	live.Code = nil
	gone := decision.NoFacesDetected
	for _, tt := range []struct {
		name  string
		rows  []scored
		score float64
		why   decision.Code
	}{
		{"live", []scored{live}, 0.9, ""},
		{"spoof", []scored{row(decision.Spoof, decision.PADAttack, 0.1)}, 0.1, ""},
		{"between both", []scored{row(decision.Undecided, decision.Timeout, 0.5)}, 0.5, ""},
		{"a door that opens once is open", []scored{row(decision.Spoof, decision.PADAttack, 0.1), live, row(decision.Undecided, decision.Timeout, 0.5)}, 0.9, ""},
		{"nobody", []scored{{Verdict: decision.Undecided, Code: &gone}}, 0, decision.NoFacesDetected},
		{"somebody after nobody", []scored{{Verdict: decision.Undecided, Code: &gone}, live}, 0.9, ""},
		{"too small", []scored{row(decision.Undecided, decision.FaceTooSmall, 0.9)}, 0, decision.FaceTooSmall},
		{"who left before enough was seen", []scored{row(decision.Undecided, decision.NoFacesDetected, 0.95)}, 0, decision.NoFacesDetected},
		{"a score that contradicts its verdict", []scored{row(decision.Undecided, decision.Timeout, 0.95)}, 0, decision.Timeout},
		{"an error after live", []scored{live, {Error: "broken", Verdict: decision.Undecided}}, 0, decision.ProcessingErr},
		{"an error after spoof", []scored{row(decision.Spoof, decision.PADAttack, 0.1), {Error: "broken"}}, 0, decision.ProcessingErr},
	} {
		if score, why := answer(tt.rows); score != tt.score || why != tt.why {
			t.Errorf("%s: %v, %q", tt.name, score, why)
		}
	}
}

func TestTraitsOfAFace(t *testing.T) {
	// Two fields of 80×80 beside one another: gray 100 but for one pixel of 140, and gray 50.
	m := image.NewGray(image.Rect(0, 0, 2*sampled, sampled))
	for i := range m.Pix {
		m.Pix[i] = 100
		if i%m.Stride >= sampled {
			m.Pix[i] = 50
		}
	}
	m.SetGray(40, 30, color.Gray{140})
	f := frame.FromImage(m)
	first, second := models.Box{W: sampled, H: sampled}, models.Box{X: sampled, W: sampled, H: sampled}
	// Of its 78×78 Laplacians one is −160 and four are 40; their mean is 0.
	const variance, light = (160*160 + 4*40*40) / 78.0 / 78, 100 + 40.0/80/80
	for _, tt := range []struct {
		name                string
		boxes               []models.Box
		sharp, bright, size float64
	}{
		{"a face with an edge", []models.Box{first}, variance, light, sampled},
		{"one without", []models.Box{second}, 0, 50, sampled},
		{"partly outside", []models.Box{{X: 120, Y: -20, W: 80, H: 50}}, 0, 50, 50},
		{"outside", []models.Box{{X: 500, Y: 500, W: 10, H: 10}}, 0, 0, 10},
		{"one pixel", []models.Box{{X: 40, Y: 30, W: 1, H: 1}}, 0, 140, 1},
		{"the mean of two frames", []models.Box{first, second}, variance / 2, (light + 50) / 2, sampled},
		{"no frames", nil, 0, 0, 0},
	} {
		var got traits
		for _, b := range tt.boxes {
			got.add(&f, b)
		}
		v := got.means()
		for name, want := range map[string]float64{sharpness: tt.sharp, brightness: tt.bright, faceSize: tt.size} {
			if d := v[name] - want; d > 1e-9 || d < -1e-9 {
				t.Errorf("%s: %s is %v, not %v", tt.name, name, v[name], want)
			}
		}
	}
}

func TestSharpnessIsOfTheFaceAndNotOfItsSize(t *testing.T) {
	// Stripes as wide as an eighth of the face.
	face := func(side int) float64 {
		m := image.NewGray(image.Rect(0, 0, side, side))
		for i := range m.Pix {
			if i%side*8/side%2 == 0 {
				m.Pix[i] = 200
			}
		}
		f := frame.FromImage(m)
		var got traits
		got.add(&f, models.Box{W: float64(side), H: float64(side)})
		return got.means()[sharpness]
	}
	if a, b := face(160), face(640); a <= 0 || b < 0.8*a || b > 1.25*a {
		t.Errorf("%v of a face of 160 pixels, %v of the same of 640", a, b)
	}
}

func TestProgressIsSeenAndCleared(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, 3, "judging")
	for range 3 {
		p.step()
	}
	p.end()
	// Only the first step is sure to be drawn: the others may come too soon after it.
	if !strings.Contains(b.String(), "judging") || !strings.Contains(b.String(), "1/3") || !strings.HasSuffix(b.String(), " \r") {
		t.Errorf("%q", &b)
	}
	var none progress // where there is no terminal
	none.step()
	none.end()
}

func TestPrintableNames(t *testing.T) {
	for name, want := range map[string]string{"door-7": "door-7", "Tür": "Tür", "a\tb": `"a\tb"`, "\x1b[31m": `"\x1b[31m"`, "\xff": `"\xff"`} {
		if got := printable(name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
}

func TestTheDocsShowWhatEvaluatePrints(t *testing.T) {
	needRuntime(t)
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "evaluate.md"))
	if err != nil {
		t.Fatal(err)
	}
	docs := string(b)
	for flag := range strings.Lines(call(t, "evaluate", "--help").out) {
		name, _, _ := strings.Cut(strings.TrimSpace(flag), " ")
		if strings.HasPrefix(name, "--") && name != "--config" && !strings.Contains(docs, name) {
			t.Errorf("docs/evaluate.md doesn't mention %s", name)
		}
	}
	// In a folder of its own, so that the names are those of the example.
	t.Chdir(tree(t, map[string]string{"door/live/live-1.jpg": golden(t, "live-1.jpg"), "door/live/live-2.jpg": golden(t, "live-2.jpg"),
		"door/live/empty-1.jpg": golden(t, "empty-1.jpg"), "door/spoof/print/1.jpg": golden(t, "print-1.jpg"), "door/spoof/replay/1.jpg": golden(t, "replay-1.jpg")}))
	r := call(t, "evaluate", "--baselines", "--plot", "door.svg", withConfig(t, ""), "door")
	// Figures are the model's, which changes: what stands between them is held.
	figures := regexp.MustCompile(`[0-9a-f]{12}…|[0-9]+(\.[0-9]+)*|delegate \w+|(worst species here:) \w+|from |up to | +`)
	mask := func(s string) string { return strings.TrimSpace(figures.ReplaceAllString(s, "")) }
	_, block, _ := strings.Cut(docs, "\n```\n")
	block, _, found := strings.Cut(block, "\n```\n")
	if want, got := mask(block), mask(r.out); r.code != ExitOK || !found || want != got {
		t.Errorf("exit code %d; docs/evaluate.md has\n%s\nwhere evaluate prints\n%s", r.code, block, r.out)
	}
}

func TestAnEvaluationIsPlainJSON(t *testing.T) {
	needRuntime(t)
	_, r := evaluated(t, ExitOK, withConfig(t, ""), "--baselines", tree(t, door(t)))
	var v map[string]any
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || strings.Count(r.out, "\n") != 1 {
		t.Fatalf("%v: %s", err, r.out)
	}
	for _, key := range []string{"schema", "model", "detector", "delegate", "face_from", "threshold", "folders", "comparison"} {
		if v[key] == nil {
			t.Errorf("no %q in %s", key, r.out)
		}
	}
}
