package daemon

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/cue"
)

// steady is a camera that gives one picture again and again, fifteen times a second on a clock of its own.
type steady struct {
	out    frame.Frame
	passed int
}

func (s *steady) Next(context.Context) (*frame.Frame, error) {
	s.out.Sequence++
	s.out.Captured = s.out.Captured.Add(fifteen)
	s.out.Dequeued, s.out.Taken, s.out.Decoded = s.out.Captured, s.out.Captured, s.out.Captured
	return &s.out, nil
}

func (s *steady) Pass(context.Context) error {
	s.passed++
	return nil
}

func (s *steady) Status() camera.Status { return camera.Status{State: camera.StateStreaming} }
func (s *steady) Close() error          { return nil }

func TestAPipelineAllocatesNothingForAFrame(t *testing.T) {
	for name, people := range map[string][]person{"an empty room": nil, "somebody who stays": {{100, 60, 90, 1}}} {
		t.Run(name, func(t *testing.T) {
			h := &hall{people: people}
			faces, _ := h.Detect(nil)
			w := &world{}
			p := w.start(t, io.Discard)
			s := &steady{out: frame.Frame{Image: h.draw(), Captured: time.Now()}}
			p.camera, p.watch = s, cue.New(cue.Options{Flat: true})
			p.examiner = Examiner{Finder: same(faces), Judge: h, Looker: &sharp{}, Now: time.Now}
			p.pulse, p.lines = NewPulse(time.Now, "v", 1), NewTimelines()
			p.moves = p.pulse.join("this", 0, nil)
			p.lines.runs("boot-1", []string{"front"}, nil)
			waits := newWaiting(t.Context())
			defer waits.stop()
			one := func() {
				p.reportState()
				p.attend()
				f, err := p.next(waits.wait(idle))
				if err != nil {
					t.Fatal(err)
				}
				p.meter.got(p.now())
				p.frame(f)
			}
			for range 400 { // until everything is as long as it gets, and the verdict is out
				one()
			}
			if n := testing.AllocsPerRun(300, one); n != 0 {
				t.Errorf("a frame allocates %v times", n)
			}
			if people != nil && len(w.verdicts) != 1 {
				t.Errorf("said %q", w.said)
			}
		})
	}
}

func TestWhatNobodyWantsToKnowIsNotDecoded(t *testing.T) {
	h := &hall{}
	s := &steady{out: frame.Frame{Image: h.draw(), Captured: time.Now()}}
	p := (&world{}).start(t, io.Discard)
	p.camera, p.onRequest = s, true
	for i, want := range []bool{true, false, false} { // the first proves that frames can be had
		f, err := p.next(t.Context())
		if err != nil || (f != nil) != want {
			t.Fatalf("frame %d: decoded %v, %v", i, f != nil, err)
		}
		p.gotOn()
	}
	p.failing = errBroken // only a frame can tell that they can be examined again
	if f, err := p.next(t.Context()); f == nil || err != nil || s.passed != 2 {
		t.Errorf("while frames can't be examined: %v, %v; %d passed", f, err, s.passed)
	}
}
