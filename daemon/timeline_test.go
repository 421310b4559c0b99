package daemon

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
)

// unhurried is a world in which everything takes its time: a frame 7 ms from the driver to the pipeline, and 5 to decode.
type unhurried struct {
	*world
	lines *Timelines
}

func (u *unhurried) Next(ctx context.Context) (*frame.Frame, error) {
	f, err := u.world.Next(ctx)
	if err == nil {
		time.Sleep(7 * time.Millisecond)
		f.Taken = time.Now()
		time.Sleep(5 * time.Millisecond)
		f.Decoded = time.Now()
	}
	return f, err
}

func (u *unhurried) Detect(m *frame.Image) ([]models.Face, error) {
	time.Sleep(3 * time.Millisecond)
	return u.world.Detect(m)
}

func (u *unhurried) Crop(m *frame.Image, b models.Box) error {
	time.Sleep(2 * time.Millisecond)
	return (&judge{u.world}).Crop(m, b)
}

func (u *unhurried) Judge() (models.Judgement, error) {
	time.Sleep(time.Millisecond)
	return (&judge{u.world}).Judge()
}

func (u *unhurried) PublishVerdict(v mqtt.Verdict) {
	u.lines.decided(&v)
	u.world.PublishVerdict(v)
}

// heard is a recorder that writes down what it is told.
type heard struct {
	frames []Examined
	said   []string
	last   Timeline
}

var _ Recorder = (*heard)(nil)

func (h *heard) Examined(x *Examined) { h.frames = append(h.frames, *x) }
func (h *heard) Decided(t Timeline)   { h.note("decided", t) }
func (h *heard) Acknowledged(t Timeline) {
	h.note("acknowledged", t)
}

func (h *heard) note(what string, t Timeline) {
	h.said = append(h.said, fmt.Sprintf("%s %s %d %s %s", what, t.Camera, t.Seq, t.Verdict, t.Code))
	h.last = t
}

func TestFramesAndVerdictsHaveATimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told heard
		lines := NewTimelines()
		lines.runs("boot-1", []string{"front"}, &told)
		broken := living
		broken.judgeErr = errBroken
		u := &unhurried{world: &world{steps: script(times(2, empty), times(5, living), times(1, step{faces: []models.Face{somebody, another}}), times(1, broken))}, lines: lines}
		p := u.start(t, io.Discard)
		p.camera, p.publish, p.lines = u, u, lines
		p.examiner.Finder, p.examiner.Judge = u, u
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := p.run(ctx); err != nil {
			t.Fatal(err)
		}
		var results []string
		for _, x := range told.frames {
			results = append(results, string(x.Result)+string(x.Code))
		}
		want := []string{"empty", "empty", "judged", "judged", "judged", "judged", "judged", "refusedMANY_FACES", "failedPROCESSING_ERR"}
		if !slices.Equal(results, want) {
			t.Fatalf("the frames are %q, want %q", results, want)
		}
		if kept := lines.Frames("front"); !reflect.DeepEqual(kept, told.frames) {
			t.Errorf("%d frames are kept, %d were told of", len(kept), len(told.frames))
		}
		x := told.frames[6]
		const ms = time.Millisecond
		for _, s := range []struct {
			name string
			at   time.Time
			want time.Duration
		}{
			{"dequeued", x.Dequeued, 0}, {"taken", x.Taken, 7 * ms}, {"decoded", x.Decoded, 12 * ms}, {"detected", x.Detected, 15 * ms},
			{"judged", x.Judged, 18 * ms}, {"decided", x.Decided, 18 * ms},
		} {
			if got := s.at.Sub(x.Captured); got != s.want {
				t.Errorf("%s %v after it was captured, want %v", s.name, got, s.want)
			}
		}
		stages := map[string]time.Duration{}
		x.Stages(func(stage string, took time.Duration) { stages[stage] = took })
		if want := map[string]time.Duration{StageDecode: 5 * ms, StageDetect: 3 * ms, StageCrop: 2 * ms, StageJudge: ms, StageTotal: 11 * ms}; !reflect.DeepEqual(stages, want) {
			t.Errorf("the stages are %v, want %v", stages, want)
		}
		stages = map[string]time.Duration{}
		told.frames[0].Stages(func(stage string, took time.Duration) { stages[stage] = took })
		if want := map[string]time.Duration{StageDecode: 5 * ms, StageDetect: 3 * ms, StageTotal: 8 * ms}; !reflect.DeepEqual(stages, want) {
			t.Errorf("the stages of an empty frame are %v, want %v", stages, want)
		}

		verdicts := lines.Verdicts("front")
		if len(verdicts) == 0 {
			t.Fatal("no verdict has a timeline")
		}
		v := verdicts[0]
		if v.Verdict != mqtt.Live || v.Seq != 1 || v.Points != x.Points || !v.First.Equal(told.frames[2].Captured) || !v.Journaled.IsZero() {
			t.Errorf("the verdict's is %+v, its frame's %+v", v, x)
		}
	})
}

func TestWhatBecomesOfAVerdictIsNoted(t *testing.T) {
	var told heard
	lines := NewTimelines()
	lines.runs("boot-1", []string{"front", "back"}, &told)
	start := time.Unix(100, 0)
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
	verdict := func(camera, boot string, seq uint64) *mqtt.Verdict {
		v := &mqtt.Verdict{ID: fmt.Sprint(camera, seq), Camera: camera, Boot: boot, Seq: seq, Verdict: mqtt.Spoof, DecidedAt: mqtt.Time(at(5))}
		v.SetCode(mqtt.CodePADAttack)
		return v
	}
	seen := Points{Captured: at(1), Decided: at(4)}
	lines.deciding("front", "front1", &seen)
	lines.deciding("nowhere", "nowhere1", &seen)
	for _, v := range []*mqtt.Verdict{verdict("front", "boot-1", 1), verdict("front", "boot-1", 2), verdict("back", "boot-1", 3), verdict("front", "boot-0", 1), verdict("nowhere", "boot-1", 4)} {
		lines.decided(v)
		for i, s := range []mqtt.Stage{mqtt.Journaled, mqtt.Published, mqtt.Acknowledged} {
			lines.progress(v, s, at(6+i))
		}
	}
	want := []string{"decided front 1 spoof PAD_ATTACK", "acknowledged front 1 spoof PAD_ATTACK", "decided front 2 spoof PAD_ATTACK",
		"acknowledged front 2 spoof PAD_ATTACK", "decided back 3 spoof PAD_ATTACK", "acknowledged back 3 spoof PAD_ATTACK"}
	if !slices.Equal(told.said, want) {
		t.Errorf("told %q", told.said)
	}
	first := Timeline{Camera: "front", Boot: "boot-1", Seq: 1, Verdict: mqtt.Spoof, Code: mqtt.CodePADAttack, Points: Points{Captured: at(1), Decided: at(5)},
		Journaled: at(6), Published: at(7), Acknowledged: at(8)}
	second := first
	second.Seq, second.Points = 2, Points{Decided: at(5)} // no frame was the last straw
	if got := lines.Verdicts("front"); !reflect.DeepEqual(got, []Timeline{first, second}) {
		t.Errorf("kept %+v", got)
	}
	lines.progress(verdict("front", "boot-1", 99), mqtt.Acknowledged, at(9)) // nobody knows it any more
	if len(told.said) != len(want) || !slices.Equal(lines.Cameras(), []string{"back", "front"}) {
		t.Errorf("told %q of cameras %q", told.said, lines.Cameras())
	}
	lines.runs("boot-2", []string{"front"}, nil)
	if lines.Verdicts("front") != nil && len(lines.Verdicts("front")) > 0 || lines.Verdicts("back") != nil {
		t.Error("a new run still has the old one's verdicts")
	}
}

func TestTimelinesAreBoundedAndAllocateNothing(t *testing.T) {
	lines := NewTimelines()
	lines.runs("boot-1", []string{"front"}, nil)
	x := Examined{Camera: "front"}
	if n := testing.AllocsPerRun(2*keptFrames, func() {
		x.Sequence++
		lines.examined(&x)
	}); n != 0 {
		t.Errorf("a frame allocates %v times", n)
	}
	frames := lines.Frames("front")
	if len(frames) != keptFrames || frames[0].Sequence != x.Sequence-keptFrames+1 || frames[keptFrames-1].Sequence != x.Sequence {
		t.Errorf("%d frames from %d to %d", len(frames), frames[0].Sequence, frames[len(frames)-1].Sequence)
	}
	for seq := range uint64(3 * keptVerdicts) {
		lines.decided(&mqtt.Verdict{Camera: "front", Boot: "boot-1", Seq: seq + 1})
	}
	if got := lines.Verdicts("front"); len(got) != keptVerdicts || got[0].Seq != 2*keptVerdicts+1 {
		t.Errorf("%d verdicts from %d on", len(got), got[0].Seq)
	}
	var none *Timelines
	none.examined(&x)
	none.decided(&mqtt.Verdict{})
	none.deciding("front", "", &Points{})
	none.progress(&mqtt.Verdict{}, mqtt.Published, time.Time{})
	if none.Frames("front") != nil || none.Verdicts("front") != nil || none.Cameras() != nil {
		t.Error("nobody remembers something")
	}
}

func TestWhatCameOfAFrame(t *testing.T) {
	for _, test := range []struct {
		found Finding
		want  Result
	}{
		{Finding{Main: -1}, ResultEmpty},
		{Finding{Main: 0, Judged: true}, ResultJudged},
		{Finding{Main: 0}, ResultSpared},
		{Finding{Main: 0, Code: decision.TooDark}, ResultRefused},
		{Finding{Main: -1, Code: decision.ManyFaces}, ResultRefused},
		{Finding{Main: -1, Code: decision.ProcessingErr}, ResultFailed},
		{Finding{Main: 0, Code: decision.ProcessingErr}, ResultFailed},
	} {
		if x := test.found.examined("front", &frame.Frame{}, time.Now(), time.Now()); x.Result != test.want {
			t.Errorf("%+v: %s, want %s", test.found, x.Result, test.want)
		}
	}
}
