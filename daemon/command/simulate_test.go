package command

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

func TestASimulationTriesEachBoundOnTheSamePresentations(t *testing.T) {
	needRuntime(t)
	dir := tree(t, door(t))
	config := withConfig(t, "")
	plot := filepath.Join(t.TempDir(), "bounds.svg")
	args := []string{"evaluate", "--simulate", "--presentations", "50", "--json", config, "--plot", plot, dir}
	r := call(t, args...)
	all := objects[simulation](t, r.out)
	if r.code != ExitOK || len(all) != 1 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	s := all[0]
	if len(s.Trials) != 7 || s.Trials[0].Rule != "window" || s.Trials[0].AcceptError != nil || s.Presentations != 50 || len(s.Folders) != 1 || !(s.LiveAt > s.SpoofAt) {
		t.Errorf("%+v", s)
	}
	last := 0.0
	for i, tr := range s.Trials {
		if len(tr.Each) != 1 || tr.Each[0].Attacks != tr.Attacks {
			t.Errorf("%d: the mean of one folder isn't that folder: %+v", i, tr)
		}
		for _, v := range []shares{tr.Attacks, tr.BonaFide} {
			if sum := v.Live + v.Spoof + v.Undecided; math.Abs(sum-1) > 1e-9 {
				t.Errorf("%d: shares add up to %v: %+v", i, sum, v)
			}
		}
		// The pictures' living people look alive and its attacks don't.
		if tr.Attacks.Live != 0 || tr.Attacks.Spoof != 1 || tr.BonaFide.Spoof != 0 || tr.SpoofMedian == nil {
			t.Errorf("%d: %+v", i, tr)
		}
		if i == 0 {
			continue
		}
		// Who accepts more errors is answered sooner, and no sooner than the least time.
		if *tr.AcceptError <= last || tr.BonaFide.Live < s.Trials[max(1, i-1)].BonaFide.Live || *tr.SpoofMedian < 0.4 {
			t.Errorf("%d: %+v", i, tr)
		}
		last = *tr.AcceptError
	}
	svg, err := os.ReadFile(plot)
	if err != nil || !strings.Contains(string(svg), "APCER as asked for") {
		t.Errorf("the plot: %v, %d bytes", err, len(svg))
	}
	if again := call(t, args...); again.out != r.out {
		t.Error("done again it is another")
	}
	text := call(t, "evaluate", "--simulate", "--presentations", "5", config, dir)
	if text.code != ExitOK || !strings.Contains(text.out, "mean over 2 s") || !strings.Contains(text.out, "accept_error 0.01 %") {
		t.Errorf("exit code %d:\n%s", text.code, text.out)
	}
}

func TestSimulateIsAskedSensibly(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"with baselines":             {"--simulate", "--baselines", dir},
		"with a threshold":           {"--simulate", "--threshold-from", dir, dir},
		"of nothing":                 {"--simulate", "--presentations", "0", dir},
		"of more than anybody needs": {"--simulate", "--presentations", "1000001", dir},
	} {
		if r := call(t, append([]string{"evaluate"}, args...)...); r.code != ExitUsage {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.errors)
		}
	}
}

func TestFramesOfOneClipBelongTogether(t *testing.T) {
	same := func(a, b presented) bool { return clipOf(a) == clipOf(b) }
	if !same(presented{"live/0001_00_01_7.jpg", ""}, presented{"live/0001_00_01_123.jpg", ""}) || !same(presented{"live/7.png", ""}, presented{"live/12.png", ""}) {
		t.Error("two frames of a clip are two clips")
	}
	for _, p := range [][2]presented{
		{{"live/0001_00_01_7.jpg", ""}, {"live/0001_00_02_7.jpg", ""}},
		{{"live/7.png", ""}, {"spoof/7.png", "spoof"}},
		{{"live/a/7.png", ""}, {"live/b/7.png", ""}},
		{{"live/a1.mjpeg", ""}, {"live/a2.mjpeg", ""}},
	} {
		if same(p[0], p[1]) {
			t.Errorf("%v are one clip", p)
		}
	}
}

// What is played is as alike from frame to frame as the decision takes frames to be.
func TestPlayedFramesAreCorrelated(t *testing.T) {
	clip := take{{LogOdds: -1}, {LogOdds: 1}}
	shown := play(rand.New(rand.NewPCG(1, 1)), clip, 50_000, 100*time.Millisecond, 300*time.Millisecond)
	for lag, want := range map[int]float64{1: math.Exp(-1. / 3), 3: math.Exp(-1), 30: 0} {
		var sum float64
		for i := lag; i < len(shown); i++ {
			sum += shown[i].LogOdds * shown[i-lag].LogOdds
		}
		if got := sum / float64(len(shown)-lag); math.Abs(got-want) > 0.03 {
			t.Errorf("%d frames apart: correlation %.3f, not %.3f", lag, got, want)
		}
	}
}

func TestWaysOfDeciding(t *testing.T) {
	o := decision.Defaults()
	o.LiveAt, o.SpoofAt = 0.8, 0.3
	constant := func(odds float64) []models.Judgement {
		out := make([]models.Judgement, 80)
		for i := range out {
			out[i] = models.Judgement{LogOdds: odds, Evidence: min(max(odds, -4), 4)}
		}
		return out
	}
	for _, tt := range []struct {
		odds               float64
		window, sequential decision.Verdict
		at, later          time.Duration
	}{
		{3, decision.Live, decision.Live, 400 * time.Millisecond, 400 * time.Millisecond},
		{1.5, decision.Live, decision.Live, 400 * time.Millisecond, 1300 * time.Millisecond},
		{-3, decision.Spoof, decision.Spoof, 400 * time.Millisecond, 400 * time.Millisecond},
		{0, decision.Undecided, decision.Undecided, 8 * time.Second, 8 * time.Second},
	} {
		v, at, err := byWindow(o)(constant(tt.odds), 100*time.Millisecond)
		if v != tt.window || at != tt.at || err != nil {
			t.Errorf("%v by the window: %s after %v, %v", tt.odds, v, at, err)
		}
		v, at, err = sequentially(o)(constant(tt.odds), 100*time.Millisecond)
		if v != tt.sequential || at != tt.later || err != nil {
			t.Errorf("%v by the test: %s after %v, %v", tt.odds, v, at, err)
		}
	}
}
