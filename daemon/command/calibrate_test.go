package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
	"github.com/livenessd/livenessd/models"
)

// answered runs a command line with what somebody types.
func answered(t *testing.T, ctx context.Context, in io.Reader, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{Process: Process{Stdout: &out, Stderr: &errs, Version: "1.2.3-test"}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(&out)
	root.SetErr(&errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return result{ExitOK, out.String(), errs.String()}
	}
	return result{exitCode(err), out.String(), errs.String() + err.Error() + "\n" + daemon.Hint(err) + "\n"}
}

func typed(lines ...string) io.Reader { return strings.NewReader(strings.Join(lines, "\n") + "\n") }

// replayed is a configuration whose camera plays a shipped picture.
func replayed(t *testing.T, picture, rest string) string {
	t.Helper()
	pictures := tree(t, map[string]string{"1.jpg": golden(t, picture)})
	return write(t, "livenessd.yaml", "cameras: {front: {path: \"replay:"+pictures+"\", fps: 30}}\n"+rest)
}

func TestWrongCommandLinesOfCalibrateExitWith64(t *testing.T) {
	for _, args := range []string{
		"extra", "--seconds 1", "--seconds NaN", "--seconds 61", "--fps 20", "--from x --fps 0", "--apcer 0", "--apcer 101%", "--bpcer NaN", "--certainty 100%",
		"--certainty x", "--yes", "--from x --record y", "--from x --camera front", "--forget x --write", "--forget x --from y", "--record=", "--forget=", "--from=",
	} {
		t.Run(args, func(t *testing.T) {
			r := call(t, append([]string{"calibrate"}, strings.Fields(args)...)...)
			if r.code != ExitUsage || r.out != "" {
				t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
			}
		})
	}
}

func TestMorePresentationsUntilCertain(t *testing.T) {
	for _, tt := range []struct {
		name             string
		errors, of       int
		limit, certainty float64
		want             int
	}{
		{"no error, one percent", 0, 0, 0.01, 0.95, 368},
		{"some of them were shown", 0, 300, 0.01, 0.95, 68},
		{"enough was shown", 0, 368, 0.01, 0.95, 0},
		{"more than enough", 0, 5000, 0.01, 0.95, 0},
		{"five percent", 0, 0, 0.05, 0.95, 72},
		{"more certain", 0, 0, 0.05, 0.99, 104},
		{"a limit that nothing reaches", 0, 0, 0.9999, 0.5, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := pad.MoreNeeded(tt.errors, tt.of, tt.limit, tt.certainty); got != tt.want {
				t.Errorf("%d, not %d", got, tt.want)
			}
		})
	}
}

func TestMorePresentationsAgreeWithTheIntervals(t *testing.T) {
	for _, limit := range []float64{0.005, 0.01, 0.05, 0.3} {
		for _, errors := range []int{0, 1, 2, 7, 40} {
			for _, of := range []int{errors, errors + 10, 200} {
				n := of + pad.MoreNeeded(errors, of, limit, 0.95)
				if _, high := pad.ClopperPearson(errors, n); high > limit*(1+1e-9) {
					t.Errorf("%d of %d: upper bound %v is above %v", errors, n, high, limit)
				}
				if n == of {
					continue
				}
				if _, high := pad.ClopperPearson(errors, n-1); high <= limit {
					t.Errorf("%d of %d: one fewer would have done for %v", errors, n, limit)
				}
			}
		}
	}
}

func TestSharesOnTheCommandLine(t *testing.T) {
	for text, want := range map[string]float64{"1%": 0.01, " 5 % ": 0.05, "0.05": 0.05, "99.99%": 0.9999, "0.0001": 0.0001,
		"": 0, "%": 0, "1": 0, "0": 0, "-1%": 0, "NaN": 0, "Inf": 0, "100%": 0, "1e-9": 0, "x": 0} {
		got, err := parseShare(text)
		if (err != nil) != (want == 0) || math.Abs(got-want) > 1e-12 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// spread is n scores from a to b.
func spread(a, b float64, n int) []float64 {
	var all []float64
	for i := range n {
		all = append(all, a+(b-a)*float64(i)/float64(max(n-1, 1)))
	}
	return all
}

func shown(t *testing.T, people []float64, attacks map[string][]float64) *measured {
	t.Helper()
	var all []presentedAt
	for _, v := range people {
		all = append(all, presentedAt{score: v})
	}
	for species, scores := range attacks {
		for _, v := range scores {
			all = append(all, presentedAt{species: species, score: v})
		}
	}
	m, err := measuredAt("here", all)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestThresholdsAreSuggestedFromErrorRates(t *testing.T) {
	target := pad.Target{APCER: 0.1, BPCER: 0.05, Certainty: 0.95}
	for _, tt := range []struct {
		name    string
		people  []float64
		attacks map[string][]float64
		met     bool
		refused string // a part of why there is none
	}{
		{"well apart", spread(0.7, 0.99, 40), map[string][]float64{"print": spread(0.01, 0.3, 10), "replay": spread(0.01, 0.4, 12)}, true, ""},
		{"far apart", spread(0.999, 1, 40), map[string][]float64{"print": spread(0, 0.001, 10)}, true, ""},
		{"an odd attack that may pass", spread(0.7, 0.99, 40), map[string][]float64{"print": append(spread(0.01, 0.3, 9), 0.95)}, true, ""},
		{"overlapping", spread(0.2, 0.99, 40), map[string][]float64{"print": spread(0.01, 0.6, 10)}, false, ""},
		{"the worst species counts", spread(0.6, 0.99, 40), map[string][]float64{"print": spread(0.01, 0.1, 10), "mask": spread(0.5, 0.8, 10)}, false, ""},
		{"nobody scores less than many people", slices.Concat(slices.Repeat([]float64{0.3}, 20), slices.Repeat([]float64{0.99}, 20)),
			map[string][]float64{"print": spread(0.6, 0.7, 10)}, false, ""},
		{"the same scores", slices.Repeat([]float64{0.5}, 40), map[string][]float64{"print": slices.Repeat([]float64{0.5}, 10)}, false, "no threshold"},
		{"attacks that look more alive", spread(0.2, 0.5, 40), map[string][]float64{"print": spread(0.8, 0.9, 10)}, false, "no threshold"},
		{"attacks at the very top", spread(0.9, 1, 40), map[string][]float64{"print": slices.Repeat([]float64{1}, 10)}, false, "no threshold"},
		{"few people", spread(0.7, 0.99, 19), map[string][]float64{"print": spread(0.01, 0.3, 10)}, false, "living people: 19 with an answer; a BPCER of 5 % takes at least 20"},
		{"few attacks", spread(0.7, 0.99, 20), map[string][]float64{"print": spread(0.01, 0.3, 10), "mask": {0.1}}, false,
			"attack mask: 1 with an answer; an APCER of 10 % takes at least 10"},
		{"no attack", spread(0.7, 0.99, 20), nil, false, "no attack was shown; an APCER of 10 % takes at least 10"},
		{"nothing", nil, nil, false, "living people: 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := shown(t, tt.people, tt.attacks)
			s, why := suggest(m, target)
			if tt.refused != "" {
				if s != nil || !strings.Contains(strings.Join(why, "\n"), tt.refused) {
					t.Errorf("%+v, %q", s, why)
				}
				return
			}
			if s == nil {
				t.Fatalf("refused: %q", why)
			}
			if !(0 < s.SpoofAt && s.SpoofAt < s.LiveAt && s.LiveAt < 1) {
				t.Errorf("live_at %v, spoof_at %v", s.LiveAt, s.SpoofAt)
			}
			if s.Met != tt.met || (*s.BPCER.Share <= target.BPCER) != tt.met || *s.Refused.Share > target.BPCER || s.BPCER.Errors == s.BPCER.Of {
				t.Errorf("%+v", s)
			}
			for _, a := range s.Species { // security, in any case
				if *a.APCER.Share > target.APCER {
					t.Errorf("%s: %+v at %v", a.Species, a.APCER, s.LiveAt)
				}
			}
			if len(s.Species) != len(tt.attacks) || plainNumber(s.LiveAt) != s.liveText || strings.ContainsAny(s.liveText+s.spoof, "eE") {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTheCameraIsTheOneThatIsMeant(t *testing.T) {
	for _, tt := range []struct{ name, cameras, want, err string }{
		{"", "front", "front", ""}, {"front", "front", "front", ""}, {"back", "back front", "back", ""},
		{"", "back front", "", "back, front"}, {"side", "back front", "", "back, front"}, {"", "", "", "no camera"},
	} {
		c := configOf(strings.Fields(tt.cameras)...)
		got, err := chooseCamera(c, tt.name)
		if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q of %q: %q, %v", tt.name, tt.cameras, got, err)
		}
	}
}

// staged is a camera that shows what it is told on a clock of its own.
type staged struct {
	now    time.Time
	step   time.Duration
	frames int // before it falls silent
	err    error
	status camera.Status
	image  frame.Image
	done   func() // when it has fallen silent
}

func (s *staged) Next(context.Context) (*frame.Frame, error) {
	s.now = s.now.Add(s.step)
	if s.frames == 0 {
		if s.done != nil {
			s.done()
		}
		return nil, s.err
	}
	s.frames--
	return &frame.Frame{Image: s.image, Captured: s.now}, nil
}
func (s *staged) Status() camera.Status { return s.status }
func (s *staged) Close() error          { return nil }

// fixed finds one face, and says the same of it always.
type fixed struct {
	height, odds float64
	err          error
}

func (f fixed) Detect(*frame.Image) ([]models.Face, error) {
	if f.height == 0 {
		return nil, f.err
	}
	return []models.Face{{Box: models.Box{X: 4, Y: 4, W: f.height, H: f.height}, Score: 1}}, f.err
}
func (f fixed) Crop(*frame.Image, models.Box) error { return nil }
func (f fixed) Judge() (models.Judgement, error) {
	return models.Judgement{Live: 1 / (1 + math.Exp(-f.odds)), LogOdds: f.odds, Evidence: f.odds}, nil
}

func gauge(cam *staged, f fixed, lines io.Reader) (*calibrator, *bytes.Buffer) {
	var out bytes.Buffer
	pix := bytes.Repeat([]byte{128}, 64*48)
	cam.image = frame.Grey(pix, 64, 48, 64)
	o := decision.Defaults()
	o.LiveAt, o.SpoofAt, o.Timeout = 0.8, 0.3, 4*time.Second
	now := func() time.Time { return cam.now }
	return &calibrator{name: "front", camera: cam, expose: func(time.Time, *daemon.Finding) {}, length: 5 * time.Second, now: now, in: newAnswers(lines), out: &out,
		scorer: &scorer{examiner: daemon.Examiner{Finder: f, Judge: f, Now: now}, options: o}}, &out
}

const frameTime = 100 * time.Millisecond

func TestAPresentationIsJudgedAsRunWould(t *testing.T) {
	odds := func(p float64) float64 { return math.Log(p / (1 - p)) }
	for _, tt := range []struct {
		name   string
		face   fixed
		frames int
		score  float64
		why    decision.Code
		lost   bool
	}{
		{"alive", fixed{20, odds(0.9), nil}, 100, 0.9, "", false},
		{"an attack", fixed{20, odds(0.1), nil}, 100, 0.1, "", false},
		{"between the thresholds", fixed{20, odds(0.5), nil}, 100, 0.5, "", false},
		{"nobody", fixed{}, 100, 0, decision.NoFacesDetected, false},
		{"too far away", fixed{2, odds(0.9), nil}, 100, 0, decision.FaceTooSmall, false},
		{"cut off", fixed{200, odds(0.9), nil}, 100, 0, decision.FaceCutOff, false},
		{"too short to say", fixed{20, odds(0.9), nil}, 3, 0, decision.NoFacesDetected, false},
		{"a net that fails", fixed{20, 0, errors.New("broken")}, 100, 0, decision.ProcessingErr, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cam := &staged{now: time.Unix(1000, 0), step: frameTime, frames: tt.frames, err: context.DeadlineExceeded,
				status: camera.Status{State: camera.StateStreaming}}
			d, _ := gauge(cam, tt.face, nil)
			p, err := d.present(t.Context(), "print")
			if err != nil {
				t.Fatal(err)
			}
			if p.species != "print" || p.why != tt.why || math.Abs(p.score-tt.score) > 1e-9 {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestACameraThatStopsIsNoPresentation(t *testing.T) {
	for _, err := range []error{context.DeadlineExceeded, io.EOF, camera.ErrClosed} {
		cam := &staged{now: time.Unix(1000, 0), step: frameTime, frames: 10, err: err,
			status: camera.Status{State: camera.StateRecovering, Err: "pulled out", Hint: "plug it in"}}
		d, out := gauge(cam, fixed{20, 3, nil}, typed("live", "done"))
		all, err := d.session(t.Context())
		if err != nil || len(all) != 0 || !strings.Contains(out.String(), "doesn't count") || !strings.Contains(out.String(), "→ plug it in") {
			t.Errorf("%v, %v: %s", all, err, out)
		}
	}
}

func TestASessionFollowsItsTechnician(t *testing.T) {
	cam := &staged{now: time.Unix(1000, 0), step: frameTime, frames: 1000, status: camera.Status{State: camera.StateStreaming}}
	d, out := gauge(cam, fixed{20, 3, nil}, typed("undo", "LIVE", "", "print", "", "undo", "../x", "a b", "mask-2"))
	all, err := d.session(t.Context())
	var got []string
	for _, p := range all {
		got = append(got, p.species)
	}
	if want := []string{"", "", "print", "mask-2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, want := range []string{"nothing to take back", "taken back", "a species is named with", "mask-2: live, score 0.95"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

func TestAnAbsentCameraExitsWith69(t *testing.T) {
	needRuntime(t)
	cfg := write(t, "livenessd.yaml", "cameras: {front: {path: /dev/absent-camera}, back: {path: \"replay:"+t.TempDir()+"/none\"}}\n")
	for _, name := range []string{"front", "back"} {
		r := answered(t, t.Context(), typed("live"), "calibrate", "--config", cfg, "--camera", name)
		if r.code != ExitUnavailable || !strings.Contains(r.errors, "camera "+name) || r.out != "" {
			t.Errorf("%s: exit code %d: %s%s", name, r.code, r.out, r.errors)
		}
	}
	if r := answered(t, t.Context(), typed("live"), "calibrate", "--config", cfg); r.code != ExitUsage || !strings.Contains(r.errors, "back, front") {
		t.Errorf("exit code %d: %s", r.code, r.errors)
	}
}

func TestARefusedCameraIsAPermission(t *testing.T) {
	cam := &staged{err: context.DeadlineExceeded, status: camera.Status{State: camera.StateFailed, Err: "no", Hint: "join video", Code: camera.CodePermission}}
	d, _ := gauge(cam, fixed{}, nil)
	if err := d.awaitCamera(t.Context()); exitCode(err) != ExitPermission || daemon.Hint(err) != "join video" {
		t.Errorf("%v", err)
	}
}

func TestCalibrateAtTheDoor(t *testing.T) {
	needRuntime(t)
	cfg := replayed(t, "live-1.jpg", "decision: {live_at: 1e-3, spoof_at: 1e-4}\n")
	before := text(t, cfg)
	rec := filepath.Join(t.TempDir(), "rec")
	r := answered(t, t.Context(), typed("y", "live", "print", "", "undo", "done"), "calibrate", "--json", "--config", cfg, "--seconds", "2", "--record", rec)
	all := objects[calibration](t, r.out)
	if r.code != ExitOK || len(all) != 1 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	c := all[0]
	f := c.Evaluation.Folders[0]
	if c.Camera != "front" || c.Recorded != rec || f.BonaFide.Live != 1 || len(f.Attacks) != 1 || f.Attacks[0].Live != 1 || f.Attacks[0].Species != "print" ||
		c.Evaluation.Threshold.From != "configuration" || c.Suggestion != nil || len(c.Refused) != 2 || len(c.Needed) != 2 || c.Needed[0].More == 0 {
		t.Errorf("%s", r.out)
	}
	for _, want := range []string{"until somebody runs", "Has everybody agreed?", "taken back", "recorded in " + rec} {
		if !strings.Contains(r.errors, want) {
			t.Errorf("no %q in %s", want, r.errors)
		}
	}
	if text(t, cfg) != before {
		t.Error("the configuration was touched")
	}
	for folder, n := range map[string]int{"live": 1, "spoof/print": 1} {
		clips, err := os.ReadDir(filepath.Join(rec, folder))
		if err != nil || len(clips) != n {
			t.Fatalf("%s: %v, %v", folder, clips, err)
		}
		st, err := clips[0].Info()
		if err != nil || st.Mode() != 0o600 || len(camera.SplitMJPEG([]byte(text(t, filepath.Join(rec, folder, clips[0].Name()))))) < 5 {
			t.Errorf("%v of %v, %v", st.Mode(), clips[0], err)
		}
	}
	if st, err := os.Stat(rec); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}

	// What was recorded is a folder for evaluate and for --from.
	e, _ := evaluated(t, ExitOK, "--config", cfg, rec)
	if got := e.Folders[0]; got.BonaFide.Live != 1 || got.Attacks[0].Live != 1 {
		t.Errorf("%+v", got)
	}
	r = answered(t, t.Context(), typed(), "calibrate", "--config", cfg, "--from", rec)
	if r.code != ExitOK || !strings.Contains(r.out, "no thresholds are suggested") || !strings.Contains(r.out, "368 more") && !strings.Contains(r.out, "more  (") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	if r := call(t, "calibrate", "--forget", rec); r.code != ExitOK || !strings.Contains(r.out, "2 recorded clip") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	if _, err := os.Lstat(rec); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestNobodyIsRecordedWithoutConsent(t *testing.T) {
	needRuntime(t)
	rec := filepath.Join(t.TempDir(), "rec")
	for _, said := range []string{"n", "", "live"} {
		r := answered(t, t.Context(), typed(said, "live"), "calibrate", "--config", replayed(t, "live-1.jpg", ""), "--record", rec)
		if _, err := os.Lstat(rec); r.code != ExitOther || !errors.Is(err, os.ErrNotExist) || !strings.Contains(r.errors, "without consent") {
			t.Errorf("%q: exit code %d, %v: %s", said, r.code, err, r.errors)
		}
	}
}

func TestBreakingOffKeepsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cam := &staged{now: time.Unix(1000, 0), step: frameTime, frames: 70, err: context.DeadlineExceeded, status: camera.Status{State: camera.StateStreaming}, done: cancel}
	rec := filepath.Join(t.TempDir(), "rec")
	d, _ := gauge(cam, fixed{20, 3, nil}, typed("live", "print"))
	var err error
	if d.recorder, err = openRecorder(rec, d.now); err != nil {
		t.Fatal(err)
	}
	if _, err := d.session(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the session went on: %v", err)
	}
	if len(d.recorder.made) != 1 {
		t.Errorf("%q: the clip that was begun is still there, or the finished one isn't", d.recorder.made)
	}
	if err := errors.Join(d.recorder.close(true), d.recorder.close(true)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(rec); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was kept: %v", err)
	}
}

func TestBreakingOffIsNoFailure(t *testing.T) {
	needRuntime(t)
	cfg := replayed(t, "live-1.jpg", "")
	before := text(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	in, w := io.Pipe()
	defer w.Close()
	go func() {
		// The first line is taken when the question is asked; the second isn't typed any more.
		_, err := io.WriteString(w, "undo\n")
		if err != nil {
			slog.Error("nobody reads", "error", err)
		}
		cancel()
	}()
	r := answered(t, ctx, in, "calibrate", "--config", cfg, "--write", "--yes")
	if r.code != ExitOK || r.out != "" || !strings.Contains(r.errors, "stopped; nothing was written") || text(t, cfg) != before {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
}

// many is a folder with enough presentations for generous error rates.
func many(t *testing.T) string {
	t.Helper()
	return tree(t, map[string]string{
		"live/1.jpg": golden(t, "live-1.jpg"), "live/2.jpg": golden(t, "live-2.jpg"),
		"spoof/print/1.jpg": golden(t, "print-1.jpg"), "spoof/print/2.jpg": golden(t, "print-1.jpg"),
	})
}

func TestThresholdsAreWrittenAfterAYes(t *testing.T) {
	needRuntime(t)
	dir := many(t)
	args := []string{"--from", dir, "--apcer", "50%", "--bpcer", "50%"}
	dry := objects[calibration](t, call(t, append([]string{"calibrate", "--json", withConfig(t, "")}, args...)...).out)
	if len(dry) != 1 || dry[0].Suggestion == nil {
		t.Skipf("the shipped net doesn't tell the golden pictures apart: %+v", dry)
	}
	want := dry[0].Suggestion
	for _, tt := range []struct {
		name, flags, typed string
		written            bool
	}{
		{"only with --write", "", "y", false},
		{"yes", "--write", "y", true},
		{"no", "--write", "n", false},
		{"no answer", "--write", "", false},
		{"without a question", "--write --yes", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const before = "# ours\ndevice: door-7 # the back door\n"
			cfg := write(t, "livenessd.yaml", before)
			all := append([]string{"calibrate", "--config", cfg}, args...)
			r := answered(t, t.Context(), strings.NewReader(tt.typed), append(all, strings.Fields(tt.flags)...)...)
			after := before
			if tt.written {
				after += "\ndecision:\n  live_at: " + plainNumber(want.LiveAt) + "\n  spoof_at: " + plainNumber(want.SpoofAt) + "\n"
			}
			if got := text(t, cfg); r.code != ExitOK || got != after {
				t.Errorf("exit code %d, %s%s\n%s", r.code, r.out, r.errors, got)
			}
			if tt.flags != "" && !strings.Contains(r.errors, "  + decision:\n  +   live_at: ") {
				t.Errorf("no difference shown: %s", r.errors)
			}
			if tt.flags == "" && !strings.Contains(r.out, "suggested: live_at ") {
				t.Errorf("nothing suggested: %s", r.out)
			}
		})
	}
	t.Run("nothing to suggest", func(t *testing.T) {
		cfg := write(t, "livenessd.yaml", "")
		if r := call(t, "calibrate", "--config", cfg, "--from", dir, "--write", "--yes"); r.code != ExitOther || text(t, cfg) != "" {
			t.Errorf("exit code %d: %s", r.code, r.errors)
		}
	})
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheDocsShowWhatCalibratePrints(t *testing.T) {
	needRuntime(t)
	docs := text(t, filepath.Join("..", "..", "docs", "calibrate.md"))
	for flag := range strings.Lines(call(t, "calibrate", "--help").out) {
		name, _, _ := strings.Cut(strings.TrimSpace(flag), " ")
		if strings.HasPrefix(name, "--") && name != "--config" && !strings.Contains(docs, name) {
			t.Errorf("docs/calibrate.md doesn't mention %s", name)
		}
	}
	config := withConfig(t, "")
	// In a folder of its own, so that the names are those of the example.
	t.Chdir(tree(t, map[string]string{"door/live/1.jpg": golden(t, "live-1.jpg"), "door/live/2.jpg": golden(t, "live-2.jpg"),
		"door/spoof/print/1.jpg": golden(t, "print-1.jpg"), "door/spoof/print/2.jpg": golden(t, "replay-1.jpg")}))
	r := call(t, "calibrate", "--from", "door", "--apcer", "50%", "--bpcer", "50%", config)
	// Figures are the model's, which changes: what stands between them is held.
	figures := regexp.MustCompile(`[0-9a-f]{12}…|[0-9]+(\.[0-9]+)*|delegate \w+| +`)
	mask := func(s string) string { return strings.TrimSpace(figures.ReplaceAllString(s, "")) }
	_, block, _ := strings.Cut(docs, "\n```\n")
	block, _, found := strings.Cut(block, "\n```\n")
	if want, got := mask(block), mask(r.out); r.code != ExitOK || !found || want != got {
		t.Errorf("exit code %d; docs/calibrate.md has\n%s\nwhere calibrate prints\n%s", r.code, block, r.out)
	}
	for _, n := range []struct {
		limit float64
		more  string
	}{{0.01, "368 presentations"}, {0.05, "for 5 % it is 72"}} {
		if !strings.Contains(docs, n.more) || !strings.Contains(n.more, strconv.Itoa(pad.MoreNeeded(0, 0, n.limit, 0.95))) {
			t.Errorf("docs/calibrate.md doesn't say %q", n.more)
		}
	}
}

func TestCalibrateFailsAsTheOthersDo(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		code         int
	}{
		{"a bad configuration", "mqtt:\n  ulr: x\n", ExitConfig},
		{"a missing runtime", "models: {runtime: /nonexistent/library.so}\n", ExitUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := call(t, "calibrate", withConfig(t, tt.config)); r.code != tt.code || r.out != "" || !strings.Contains(r.errors, "→") {
				t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
			}
		})
	}
}
