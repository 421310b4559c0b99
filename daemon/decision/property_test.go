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
	kind   string // frame, idle, interrupt, ask or release
	at     time.Time
	o      Observation
	demand Demand
	person int  // who is the main face of the frame, 0 for nobody
	clean  bool // one face, of good size, place and look, with an answer that is a number, and nobody doubts
	crowd  bool // a second person stands beside
}

const bystander = 99

func (e event) String() string {
	s := fmt.Sprintf("%7.3f %s", e.at.Sub(epoch).Seconds(), e.kind)
	switch e.kind {
	case "frame":
		s += fmt.Sprintf(" person %d, %d face(s), clean %v, crowd %v, odds %.2f, worth %.2f, code %q, doubts %v",
			e.person, len(e.o.Faces), e.clean, e.crowd, e.o.LogOdds, e.o.Evidence, e.o.Code, e.o.Doubts)
	case "ask":
		s += fmt.Sprintf(" %+v", e.demand)
	}
	return s
}

// script makes events at random. Each person has an appearance of its own, and a place far from the others' but for one more who
// comes to the same: so who is who is known here without any tracking.
type script struct {
	*rand.Rand
	now    time.Time
	person int
	odds   float64 // about what the net says now
	at     Face    // where the person is
	rate   time.Duration
	looks  map[int]Signature
}

const people, places = 12, 6

func spot(person int) int { return (person-1)%places + 1 }

func place(person int) Face {
	p := spot(person) - 1
	return Face{X: 20 + 220*float64(p%3), Y: 20 + 200*float64(p/3), W: 150, H: 180, Score: 0.9}
}

func newScript(seed uint64) *script {
	s := &script{Rand: rand.New(rand.NewPCG(seed, 2)), now: epoch, person: 1, at: place(1), rate: tick, looks: map[int]Signature{}}
	if s.IntN(8) == 0 {
		s.rate = time.Duration(1+s.IntN(12)) * tick
	}
	for p := range people {
		s.looks[p+1] = direction(s.Rand)
	}
	return s
}

// direction is an appearance at random: two of them are about as unlike as can be.
func direction(r *rand.Rand) (g Signature) {
	var sum float64
	for i := range g {
		g[i] = float32(r.NormFloat64())
		sum += square(g[i])
	}
	for i := range g {
		g[i] /= float32(math.Sqrt(sum))
	}
	return g
}

func square(v float32) float64 { return float64(v) * float64(v) }

// near is the same appearance but for a little noise.
func (s *script) near(g Signature) Signature {
	noise := direction(s.Rand)
	var sum float64
	for i := range g {
		g[i] += 0.2 * noise[i]
		sum += square(g[i])
	}
	for i := range g {
		g[i] /= float32(math.Sqrt(sum))
	}
	return g
}

func (s *script) next() event {
	switch {
	case s.IntN(40) == 0: // somebody else, or nobody
		s.person = s.IntN(people + 1)
		s.at = place(max(1, s.person))
	case s.person > 0 && s.IntN(50) == 0: // a photo, held in front
		s.person = (s.person+places-1)%people + 1
	case s.IntN(15) == 0: // a little nearer or farther off, always at the same place
		f := place(max(1, s.person))
		s.at = moved(f, 4*s.Float64()-2, 4*s.Float64()-2, 0.9+0.2*s.Float64())
	}
	if s.IntN(25) == 0 {
		s.odds = 16*s.Float64() - 8
	}
	step := s.rate
	switch s.IntN(10) {
	case 0:
		step /= 2
	case 1:
		step *= 3
	}
	if s.IntN(60) == 0 {
		step = 10 * s.rate
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
	case 4:
		return event{kind: "ask", at: s.now, demand: Demand{LiveAt: []float64{0, 0.7, 0.95}[s.IntN(3)], MinFrames: []int{0, 5, 12}[s.IntN(3)],
			AcceptError: []float64{0, 0.001, 0.1}[s.IntN(3)], MinTime: []time.Duration{0, time.Second}[s.IntN(2)],
			Timeout: time.Duration(2+s.IntN(5)) * time.Second}}
	case 5:
		if s.IntN(4) == 0 {
			return event{kind: "release", at: s.now}
		}
	}
	return s.frame()
}

func (s *script) frame() event {
	e := event{kind: "frame", at: s.now, person: s.person, o: Observation{Time: s.now, Width: width, Height: height}}
	if s.person == 0 || s.IntN(12) == 0 {
		e.person = 0
		switch s.IntN(10) {
		case 0:
			e.o.Code = ProcessingErr
		case 1: // somebody in the background is seen alone
			e.person = bystander
			e.o.Faces = []Face{{X: 300, Y: 5, W: 40, H: 48, Score: 0.7}}
			e.o.Judged, e.o.LogOdds, e.o.Evidence = true, 9, 4
			e.o.Code = ProcessingErr // whom nobody would judge; a live verdict about a bystander would be earned otherwise
		}
		return e
	}
	e.o.Faces = []Face{s.at}
	e.o.Judged, e.o.LogOdds = true, s.odds+4*s.Float64()-2
	e.o.Look = Look{Known: true, Luma: 120, Sharp: 0.5, Signature: s.near(s.looks[s.person])}
	e.clean = true
	e.o.Followed = s.IntN(3) == 0
	switch s.IntN(44) {
	case 0: // not judged
		e.o.Judged, e.clean = false, false
		e.o.Code = []Code{"", ProcessingErr, FaceTooSmall}[s.IntN(3)]
	case 1:
		e.o.LogOdds, e.clean = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[s.IntN(3)], false
	case 2:
		e.o.Code, e.clean = ManyFaces, false // the caller says so, whatever the boxes
		e.crowd = true
	case 3:
		other := place(s.person%places + 1)
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
	case 6:
		switch s.IntN(4) {
		case 0:
			e.o.Look.Luma = 5
		case 1:
			e.o.Look.Bright = 0.9
		case 2:
			e.o.Look.Sharp = 0.1
		case 3:
			e.o.Look.Posed, e.o.Look.Yaw = true, 70
		}
		e.clean = false
	case 7:
		e.o.Doubts = []Doubt{{Cue: "x", Verdict: []Verdict{Spoof, Undecided, Live, ""}[s.IntN(4)], Code: CameraSuspect, Attack: "replay"}}
		e.clean = e.o.Doubts[0].Verdict == Spoof
	case 8:
		e.o.Evidence, e.clean = math.NaN(), false
		return e
	}
	e.o.Evidence = min(max(0.8*e.o.LogOdds, -4), 4)
	return e
}

// oracle is who knows the script: it needs no tracking, and it adds up everything anew.
type oracle struct {
	o            Options
	clean        []event // frames that count, of this person since the last break
	person       int
	shown        bool // it was seen alone, so that somebody knows what it looks like
	intruders    int  // frames in a row that showed another at the same place
	seen, newest time.Time
	steps        []time.Duration
	spoofed      bool
	doubted      bool
	took         bool // it took another's place
	end          event

	asked *event // an ask without an answer
}

func (w *oracle) leave() {
	w.clean, w.person, w.spoofed, w.doubted, w.shown, w.took, w.intruders = nil, 0, false, false, false, false, 0
}

func (w *oracle) step() time.Duration {
	if len(w.steps) == 0 {
		return 0
	}
	last := slices.Clone(w.steps[max(0, len(w.steps)-4):])
	return min(slices.Min(last), 2*time.Second)
}

// see is what happened before the decider says anything about it.
func (w *oracle) see(e event) {
	w.end = e
	gone := max(w.o.Gone, w.step()*5/2)
	if w.person != 0 && (e.kind == "interrupt" || (e.kind == "frame" || e.kind == "idle") && e.at.Sub(w.seen) > gone) {
		if e.kind != "frame" || e.at.After(w.newest) {
			w.leave()
		}
	}
	if e.kind != "frame" || e.at.Equal(w.newest) {
		return
	}
	if !w.newest.IsZero() && e.at.Before(w.newest) {
		w.newest, w.steps = e.at, nil
		w.leave()
		return
	}
	if !w.newest.IsZero() {
		w.steps = append(w.steps, e.at.Sub(w.newest))
	}
	w.newest = e.at
	if e.person == 0 || e.person == bystander && w.person != 0 && w.person != bystander {
		return
	}
	if w.person != 0 && e.person != w.person {
		same := w.person != bystander && e.person != bystander && spot(e.person) == spot(w.person)
		if !e.crowd && w.shown {
			w.intruders++
		}
		if same && w.shown && w.intruders < 2 {
			w.seen = e.at
			w.take(e, false)
			return
		}
		if !same || w.shown {
			took := same && (w.took || len(w.clean) > 0)
			w.leave()
			w.took = took
		}
	} else if !e.crowd {
		w.intruders = 0
	}
	w.person, w.seen, w.shown = e.person, e.at, w.shown || !e.crowd && e.person != bystander
	w.take(e, e.clean)
}

// take is what a frame of the presentation does to the evidence.
func (w *oracle) take(e event, clean bool) {
	if e.crowd {
		w.clean = nil
	}
	for _, d := range e.o.Doubts {
		if d.Verdict == Spoof {
			w.doubted = true
		} else {
			w.clean = nil
		}
	}
	if clean {
		w.clean = append(w.clean, e)
	}
}

// earned tells whether live may be said after the newest event, on frames after a time and for a demand.
func (w *oracle) earned(d Demand, after time.Time) error {
	o := w.o
	def(&d.LiveAt, o.LiveAt)
	def(&d.AcceptError, o.AcceptError)
	def(&d.RefuseError, o.RefuseError)
	def(&d.MinFrames, o.MinFrames)
	def(&d.MinTime, o.MinTime)
	window := max(o.Window, d.MinTime*3/2, time.Duration(d.MinFrames)*w.step()*5/4)
	var clean []event
	for _, e := range w.clean {
		if w.end.at.Sub(e.at) <= window && e.at.After(after) {
			clean = append(clean, e)
		}
	}
	n := float64(len(clean))
	if n == 0 {
		return errors.New("it has no clean frame")
	}
	bound := max(6, math.Log(d.LiveAt/(1-d.LiveAt))+1)
	var odds, worth float64
	independent := 1.0
	for i, e := range clean {
		odds += min(max(e.o.LogOdds, -bound), bound) / n
		worth += e.o.Evidence / n
		if i > 0 {
			rho := math.Exp(-e.at.Sub(clean[i-1].at).Seconds() / o.Correlation.Seconds())
			independent += (1 - rho) / (1 + rho)
		}
	}
	p := 1 / (1 + math.Exp(-odds))
	need := math.Log(1-d.RefuseError) - math.Log(d.AcceptError)
	if w.took {
		need *= 2
	}
	span := clean[len(clean)-1].at.Sub(clean[0].at)
	switch {
	case !w.end.clean:
		return errors.New("the last event is no clean frame")
	case w.spoofed:
		return errors.New("the presentation was spoof before")
	case w.doubted:
		return errors.New("somebody doubted it")
	case len(clean) < d.MinFrames:
		return fmt.Errorf("it has %d clean frames", len(clean))
	case span < d.MinTime-min(w.step()/8, d.MinTime/20):
		return fmt.Errorf("they span %v", span)
	case !(p >= d.LiveAt-1e-9):
		return fmt.Errorf("P(live) is %v over %d frames", p, len(clean))
	case !(worth*independent >= need-1e-9):
		return fmt.Errorf("the evidence is %v of %v", worth*independent, need)
	}
	return nil
}

func TestNoOrderOfEventsGivesALiveThatIsNotEarned(t *testing.T) {
	runs, length := 1000, 400
	if testing.Short() {
		runs = 300
	}
	count := map[string]int{}
	for seed := range runs {
		s := newScript(uint64(seed))
		d := newDecider(t, rules())
		w := &oracle{o: rules()}
		var events []event
		for range length {
			e := s.next()
			events = append(events, e)
			bad := func(format string, args ...any) {
				t.Helper()
				t.Fatalf("seed %d: %s\n%s", seed, fmt.Sprintf(format, args...), tail(events))
			}
			w.see(e)
			var got *Decision
			switch e.kind {
			case "frame":
				got = d.Observe(e.o)
			case "idle":
				got = d.Idle(e.at)
			case "interrupt":
				got = d.Interrupt(e.at, e.o.Code)
			case "ask":
				if err := d.Ask(e.at, e.demand); (err == nil) == (w.asked != nil) {
					bad("asked while %v is open: %v", w.asked, err)
				} else if err == nil {
					w.asked = &e
				}
			case "release":
				d.Release()
				w.asked = nil
			}
			if p := d.Progress(); !(p >= -1 && p <= 1) {
				bad("progress %v", p)
			}
			if got == nil {
				continue
			}
			demand, after := Demand{}, time.Time{}
			if got.Asked != (w.asked != nil) {
				bad("%+v while somebody asked: %v", got, w.asked != nil)
			}
			kind := string(got.Verdict)
			if got.Asked {
				demand, after = w.asked.demand, w.asked.at
				w.asked = nil
				kind = "asked " + kind
			}
			count[kind]++
			switch got.Verdict {
			case Live:
				if err := w.earned(demand, after); err != nil {
					bad("live, but %v", err)
				}
				if e.o.Followed {
					bad("live of a frame in which nobody looked for others")
				}
				if got.Frames < 5 || got.Score < got.LiveAt || got.Code != "" || got.Attack != "" {
					bad("live with %+v", got)
				}
			case Spoof:
				w.spoofed = true
				if got.Frames < 5 || got.Score > got.SpoofAt || got.Code != PADAttack {
					bad("spoof with %+v", got)
				}
			case Undecided:
				if got.Code == "" || got.Code == PADAttack {
					bad("undecided with %+v", got)
				}
			default:
				bad("%+v", got)
			}
			if (got.Face == nil || got.First.IsZero()) && !(got.Asked && got.Verdict == Undecided) || math.IsNaN(got.Score) || got.Score < 0 || got.Score > 1 {
				bad("%+v", got)
			}
		}
	}
	// The property is worth nothing if the scripts never get there.
	for _, kind := range []string{"live", "spoof", "undecided", "asked live", "asked spoof", "asked undecided"} {
		if count[kind] < runs/20 {
			t.Errorf("only %d times %s in %d runs", count[kind], kind, runs)
		}
	}
	t.Logf("%v in %d runs", count, runs)
}

func tail(events []event) string {
	var b strings.Builder
	for _, e := range events[max(0, len(events)-60):] {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// FuzzObserve: whatever frames come, answers keep their rules.
func FuzzObserve(f *testing.F) {
	f.Add(uint64(1), uint16(300), 3.0, 3.0, 120.0, 0.5)
	f.Add(uint64(7), uint16(900), -3.0, -3.0, 0.0, 0.0)
	f.Add(uint64(3), uint16(400), math.Inf(1), math.NaN(), math.MaxFloat64, -1.0)
	f.Add(uint64(4), uint16(50), -math.MaxFloat64, math.MaxFloat64, math.NaN(), math.Inf(1))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, odds, worth, luma, sharp float64) {
		r := rand.New(rand.NewPCG(seed, 9))
		wild := func() float64 {
			return []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 0, -1, 1, 1e-300, odds, worth, luma, sharp}[r.IntN(13)]
		}
		d := newDecider(t, rules())
		now := epoch
		for range n % 1000 {
			now = now.Add(time.Duration(r.Int64N(int64(300 * time.Millisecond))))
			o := Observation{Time: now, Width: width, Height: height, Faces: []Face{here}, Judged: true, LogOdds: odds, Evidence: worth,
				Look: Look{Known: true, Luma: luma, Sharp: sharp}}
			for range r.IntN(3) {
				switch r.IntN(8) {
				case 0:
					o.Faces = append(o.Faces, Face{wild(), wild(), wild(), wild(), wild()})
				case 1:
					o.Faces = nil
				case 2:
					o.LogOdds, o.Evidence = wild(), wild()
				case 3:
					o.Look = Look{true, wild(), wild(), wild(), wild(), true, wild(), wild(), Signature{float32(wild()), float32(wild())}}
				case 4:
					o.Width, o.Height = r.IntN(3)-1, r.IntN(3)-1
				case 5:
					o.Doubts = []Doubt{{Verdict: Verdict(fmt.Sprint(r.IntN(3))), Attack: "x"}, {Verdict: Spoof}}
				case 6:
					o.Time = o.Time.Add(time.Duration(r.Int64N(int64(time.Hour))) - time.Hour/2)
				case 7:
					_ = d.Ask(now, Demand{LiveAt: wild(), AcceptError: wild(), MinFrames: r.IntN(20), Timeout: time.Duration(r.Int64N(int64(time.Second)))})
				}
			}
			said := d.Observe(o)
			if p := d.Progress(); !(p >= -1 && p <= 1) {
				t.Fatalf("progress %v", p)
			}
			if said == nil {
				continue
			}
			sound := said.Score >= 0 && said.Score <= 1
			switch said.Verdict {
			case Live:
				sound = sound && said.Code == "" && said.Frames >= 5 && said.Score >= said.LiveAt && said.Face != nil
			case Spoof:
				sound = sound && said.Code == PADAttack && said.Frames >= 5 && said.Score <= said.SpoofAt && said.Face != nil
			case Undecided:
				sound = sound && said.Code != "" && said.Code != PADAttack
			default:
				sound = false
			}
			if !sound {
				t.Fatalf("%+v", said)
			}
		}
	})
}
