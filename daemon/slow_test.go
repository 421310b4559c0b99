package daemon

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
)

// board is a slow machine with a camera of fifteen frames a second that hands out the newest, before which somebody stands. It runs in a
// synctest bubble.
type board struct {
	hall
	detect, judge time.Duration
	began         time.Time
	last          int
	picture       frame.Image
	out           frame.Frame
}

func (b *board) Next(ctx context.Context) (*frame.Frame, error) {
	n := int(time.Since(b.began) / fifteen)
	if n == b.last { // it was given already
		time.Sleep(time.Until(b.began.Add(time.Duration(n+1) * fifteen)))
		n++
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	b.last = n
	at := b.began.Add(time.Duration(n) * fifteen)
	b.out = frame.Frame{Image: b.picture, Sequence: uint64(n), Captured: at, Dequeued: at, Taken: time.Now(), Decoded: time.Now()}
	return &b.out, nil
}

func (b *board) Status() camera.Status { return camera.Status{State: camera.StateStreaming} }
func (b *board) Close() error          { return nil }

func (b *board) Detect(m *frame.Image) ([]models.Face, error) {
	time.Sleep(b.detect)
	return b.hall.Detect(m)
}

func (b *board) Judge() (models.Judgement, error) {
	time.Sleep(b.judge)
	return b.hall.Judge()
}

func TestASlowBoardJudgesFewerFramesEvenlyAndNeverOldOnes(t *testing.T) {
	const ms = time.Millisecond
	before := 1e9
	for _, tt := range []struct {
		detect, judge time.Duration
		least         float64 // frames judged a second
		by            time.Duration
	}{
		{3 * ms, ms, 14.9, 500 * ms},
		{30 * ms, 10 * ms, 14.9, 600 * ms},
		{80 * ms, 25 * ms, 9.9, 900 * ms},
		{300 * ms, 100 * ms, 3.5, 2 * time.Second},
		{time.Second, 300 * ms, 0.7, 8 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &board{hall: hall{people: []person{{100, 60, 90, 1}}}, detect: tt.detect, judge: tt.judge, began: time.Now()}
			b.picture = b.draw()
			w := &world{}
			p := w.start(t, io.Discard)
			p.camera, p.lines = b, NewTimelines()
			p.examiner = Examiner{Finder: b, Judge: b, Looker: &sharp{}, Now: time.Now}
			var told heard
			p.lines.runs("boot-1", []string{"front"}, &told)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := p.run(ctx); err != nil {
				t.Fatal(err)
			}
			var first, last, newest time.Time
			var gap time.Duration
			judged := 0
			for _, x := range told.frames {
				if age := x.Decided.Sub(x.Captured); age > tt.detect+tt.judge+fifteen {
					t.Errorf("a frame was %v old when it was decided on", age)
				}
				if x.Result != ResultJudged {
					continue
				}
				if judged++; judged == 1 {
					first = x.Captured
				} else {
					gap = max(gap, x.Captured.Sub(newest))
				}
				newest, last = x.Captured, x.Captured
			}
			rate := float64(judged-1) / last.Sub(first).Seconds()
			if rate < tt.least || rate > before {
				t.Errorf("to find takes %v, to judge %v: %.2f frames judged a second, want %.2f at least and no more than a faster board's %.2f", tt.detect, tt.judge,
					rate, tt.least, before)
			}
			if longest := tt.detect + tt.judge + fifteen; gap > longest {
				t.Errorf("to find takes %v, to judge %v: %v without a judged frame, more than %v", tt.detect, tt.judge, gap, longest)
			}
			if len(w.verdicts) != 1 || w.verdicts[0].Verdict != mqtt.Live || time.Time(w.verdicts[0].DecidedAt).Sub(b.began) > tt.by {
				t.Errorf("to find takes %v, to judge %v: said %q, %+v", tt.detect, tt.judge, w.said, w.verdicts)
			}
			before = rate
		})
	}
}
