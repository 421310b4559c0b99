package decision

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// event is something that happened to a decider, with what the script knows about it and the decider doesn't.
type event struct {
	kind   string // frame, idle or interrupt
	at     time.Time
	o      Observation
	person int  // who is the main face of the frame, 0 for nobody
	clean  bool // one face, of good size and place, with an answer that is a number
	crowd  bool // a second person stands beside
}

func (e event) String() string {
	s := fmt.Sprintf("%7.3f %s", e.at.Sub(epoch).Seconds(), e.kind)
	if e.kind == "frame" {
		s += fmt.Sprintf(" person %d, %d face(s), clean %v, odds %.2f, code %q", e.person, len(e.o.Faces), e.clean, e.o.LogOdds, e.o.Code)
	}
	return s
}

// script makes events at random. Each person has a place of its own, far from the others, so that who is who is known here
// without any tracking.
type script struct {
	*rand.Rand
	now    time.Time
	person int
	odds   float64 // about what the net says now
	at     Face    // where the person is
}

func place(person int) Face {
	return Face{X: 20 + 220*float64((person-1)%3), Y: 20 + 200*float64((person-1)/3%2), W: 150, H: 180, Score: 0.9}
}

func (s *script) next() event {
	switch {
	case s.IntN(40) == 0: // somebody else, or nobody
		s.person = s.IntN(7)
		s.at = place(max(1, s.person))
	case s.IntN(15) == 0: // a little nearer or farther off, always at the same place
		f := place(max(1, s.person))
		s.at = moved(f, 4*s.Float64()-2, 4*s.Float64()-2, 0.9+0.2*s.Float64())
	}
	if s.IntN(25) == 0 {
		s.odds = 16*s.Float64() - 8
	}
	steps := []time.Duration{tick, tick, tick, tick, tick / 2, 3 * tick, 10 * tick}
	step := steps[s.IntN(len(steps)-1)]
	if s.IntN(60) == 0 {
		step = 10 * tick
	}
	switch s.IntN(150) {
	case 0:
		step = 0
	case 1:
		step = -time.Duration(s.Int64N(int64(2 * time.Second)))
	}
	s.now = s.now.Add(step)
	switch s.IntN(60) {
	case 0:
		return event{kind: "interrupt", at: s.now, o: Observation{Code: CameraLost}}
	case 1, 2, 3:
		return event{kind: "idle", at: s.now}
	}
	return s.frame()
}

func (s *script) frame() event {
	e := event{kind: "frame", at: s.now, person: s.person, o: Observation{Time: s.now, Width: width, Height: height}}
	if s.person == 0 || s.IntN(12) == 0 {
		e.person = 0
		if s.IntN(10) == 0 {
			e.o.Code = ProcessingErr
		}
		return e
	}
	e.o.Faces = []Face{s.at}
	e.o.Judged, e.o.LogOdds = true, s.odds+4*s.Float64()-2
	e.clean = true
	switch s.IntN(40) {
	case 0: // not judged
		e.o.Judged, e.clean = false, false
		e.o.Code = []Code{"", ProcessingErr, FaceTooSmall}[s.IntN(3)]
	case 1:
		e.o.LogOdds, e.clean = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[s.IntN(3)], false
	case 2:
		e.o.Code, e.clean = ManyFaces, false // the caller says so, whatever the boxes
		e.crowd = true
	case 3:
		other := place(s.person%6 + 1)
		e.o.Faces = append(e.o.Faces, other)
		e.clean, e.crowd = false, true
		if s.IntN(2) == 0 {
			slices.Reverse(e.o.Faces)
		}
	case 4:
		e.o.Faces[0] = Face{X: s.at.X, Y: s.at.Y, W: -s.at.W, H: s.at.H}
		e.clean, e.person = false, 0
	case 5:
		e.o.LogOdds = math.Copysign(1e6, e.o.LogOdds)
	}
	return e
}

// earned tells, from what the script knows of the events, whether live may be said after the last of them.
func earned(events []event, said map[int]Verdict, o Options) error {
	var (
		clean        []event // frames that count, of this person since the last break
		person       int
		seen, newest time.Time
		spoofed      bool
	)
	leave := func() { clean, person, spoofed = nil, 0, false }
	for i, e := range events {
		if person != 0 && (e.kind == "interrupt" || e.at.Sub(seen) > o.Gone) {
			leave()
		}
		if e.kind != "frame" || e.at.Equal(newest) {
			continue
		}
		wentBack := e.at.Before(newest)
		newest = e.at
		if wentBack {
			leave()
			continue
		}
		if e.person == 0 {
			continue
		}
		if e.person != person {
			leave()
		}
		person, seen = e.person, e.at
		spoofed = spoofed || said[i] == Spoof
		if e.crowd {
			clean = nil
		}
		if e.clean {
			clean = append(clean, e)
		}
	}
	end := events[len(events)-1]
	clean = slices.DeleteFunc(clean, func(e event) bool { return end.at.Sub(e.at) > o.Window })
	var sum float64
	for _, e := range clean {
		sum += min(max(e.o.LogOdds, -usualBound), usualBound)
	}
	p := 1 / (1 + math.Exp(-sum/float64(len(clean))))
	switch {
	case !end.clean:
		return errors.New("the last event is no clean frame")
	case spoofed:
		return errors.New("the presentation was spoof before")
	case len(clean) < o.MinFrames:
		return fmt.Errorf("it has %d clean frames", len(clean))
	case !(p >= o.LiveAt-1e-9):
		return fmt.Errorf("P(live) is %v over %d frames", p, len(clean))
	}
	return nil
}

func TestNoOrderOfEventsGivesALiveThatIsNotEarned(t *testing.T) {
	runs, length := 3000, 400
	if testing.Short() {
		runs = 300
	}
	var lives, spoofs, undecided int
	for seed := range runs {
		s := &script{Rand: rand.New(rand.NewPCG(uint64(seed), 2)), now: epoch, person: 1, at: place(1)}
		d := newDecider(t, rules())
		var events []event
		said := map[int]Verdict{}
		for range length {
			e := s.next()
			events = append(events, e)
			var got *Decision
			switch e.kind {
			case "frame":
				got = d.Observe(e.o)
			case "idle":
				got = d.Idle(e.at)
			case "interrupt":
				got = d.Interrupt(e.at, e.o.Code)
			}
			if got == nil {
				continue
			}
			said[len(events)-1] = got.Verdict
			switch got.Verdict {
			case Live:
				lives++
				if err := earned(events, said, rules()); err != nil {
					t.Fatalf("seed %d: live, but %v\n%s", seed, err, tail(events))
				}
				if got.Frames < 5 || got.Score < rules().LiveAt || got.Code != "" {
					t.Fatalf("seed %d: live with %+v", seed, got)
				}
			case Spoof:
				spoofs++
				if got.Frames < 5 || got.Score > rules().SpoofAt || got.Code != PADAttack {
					t.Fatalf("seed %d: spoof with %+v", seed, got)
				}
			case Undecided:
				undecided++
				if got.Code == "" || got.Code == PADAttack {
					t.Fatalf("seed %d: undecided with %+v", seed, got)
				}
			default:
				t.Fatalf("seed %d: %+v", seed, got)
			}
			if got.Face == nil || math.IsNaN(got.Score) || got.Score < 0 || got.Score > 1 || got.First.IsZero() {
				t.Fatalf("seed %d: %+v", seed, got)
			}
		}
	}
	// The property is worth nothing if the scripts never get there.
	if lives < runs/4 || spoofs < runs/4 || undecided < runs/4 {
		t.Errorf("%d live, %d spoof and %d undecided in %d runs", lives, spoofs, undecided, runs)
	}
	t.Logf("%d live, %d spoof and %d undecided in %d runs", lives, spoofs, undecided, runs)
}

func tail(events []event) string {
	var b strings.Builder
	for _, e := range events[max(0, len(events)-60):] {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}
