package cue

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

// people is n pictures of somebody who moves a little, as people do, through a sensor.
func people(n int, seed uint64, noise float64) []shot {
	f, s, d := newFilm(noise, seed), newStage(seed), newDrift(seed, 0.7)
	out := make([]shot, n)
	for i := range out {
		s.x, s.y = d.step()
		out[i] = shoot(f, &s)
	}
	return out
}

func TestPicturesThatComeAgain(t *testing.T) {
	second := 15
	one := people(3*second, 1, 1.5)
	still := func(n int, noise float64) []shot {
		f, s := newFilm(noise, 3), newStage(3)
		out := make([]shot, n)
		for i := range out {
			out[i] = shoot(f, &s)
		}
		return out
	}
	loop := func(clip []shot, n int) (out []shot) {
		for i := range n {
			out = append(out, clip[i%len(clip)])
		}
		return out
	}
	recoded := func(clip []shot, noise float64) (out []shot) {
		f := newFilm(0, 9)
		for _, s := range clip {
			out = append(out, shot{f.again(&s.m, noise), s.face})
		}
		return out
	}
	repeated := func(clip []shot, times int) (out []shot) {
		for _, s := range clip {
			for range times {
				out = append(out, s)
			}
		}
		return out
	}
	black := func(n int) (out []shot) {
		for range n {
			out = append(out, shot{m: frame.Grey(make([]byte, camW*camH), camW, camH, camW)})
		}
		return out
	}
	everySecond := func(clip []shot) (out []shot) {
		for i := 0; i < len(clip); i += 2 {
			out = append(out, clip[i])
		}
		return out
	}
	without := func(clip []shot) (out []shot) {
		for _, s := range clip {
			out = append(out, shot{m: s.m})
		}
		return out
	}
	tests := []struct {
		name  string
		shots []shot
		from  float64 // seconds: not before
		until float64 // but then; 0 for never
	}{
		{"somebody moves, seen by a sensor", people(20*second, 2, 1), 0, 0},
		{"a room that stands still, seen by a sensor", still(20*second, 0.7), 0, 0},
		{"one picture, over and over", repeated(one[:1], 3*second), 0.9, 1.2},
		{"a stage without noise, and nobody moves", still(3*second, 0), 0.9, 1.2},
		{"a driver that gives each picture ten times", repeated(people(2*second, 4, 1), 10), 0, 0},
		{"a camera that stalls for most of a second", append(repeated(one[:1], 13), people(5*second, 5, 1)...), 0, 0},
		{"a loop of three seconds", loop(one, 8*second), 3, 3.7},
		{"the same without a face", without(loop(one, 8*second)), 3, 3.7},
		{"a loop of two pictures", loop(one[:2], 3*second), 0, 0.8},
		{"a loop of which each round gives other pictures", everySecond(loop(one, 16*second)), 3, 4},
		{"a loop that was encoded again", recoded(loop(one, 10*second), 1.5), 5.9, 7},
		{"a loop that was encoded again, without a face", without(recoded(loop(one, 10*second), 1.5)), 0, 0},
		{"a lens in the dark", black(20 * second), 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := play(Options{Repeat: true})
			for _, s := range tt.shots {
				p.show(s)
			}
			at, told := p.at[Repeat]
			switch {
			case tt.until == 0 && told:
				t.Errorf("suspect after %v", at)
			case tt.until > 0 && (!told || at.Seconds() < tt.from || at.Seconds() > tt.until):
				t.Errorf("suspect %v, after %v; want it from %v s to %v s", told, at, tt.from, tt.until)
			case told && p.told[0] != decision.Doubt{Cue: Repeat, Verdict: decision.Undecided, Code: decision.CameraSuspect}:
				t.Errorf("%+v", p.told)
			}
		})
	}
}

// Somebody may rock, and a screen behind somebody who sits still may play the same again and again.
func TestRhythmsOfPeopleAreNoLoops(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 5))
		f, s := newFilm(1, seed), newStage(seed)
		p := play(Options{Repeat: true})
		phase, speed, size := 0.0, 2*math.Pi/1.6, 6.0
		for range 20 * 15 {
			phase += speed * (1 + 0.1*r.NormFloat64()) / 15
			size += 0.1*r.NormFloat64() + 0.02*(6-size)
			s.x = size * math.Sin(phase)
			p.show(shoot(f, &s))
		}
		if at, told := p.at[Repeat]; told {
			t.Errorf("seed %d: somebody who rocks is a loop after %v", seed, at)
		}
	}
	f, s := newFilm(1, 77), newStage(77)
	p := play(Options{Repeat: true})
	for i := range 20 * 15 {
		s.screen = 1 + float64(i%30)*2
		p.show(shoot(f, &s))
	}
	if at, told := p.at[Repeat]; told {
		t.Errorf("a screen in the background is a loop after %v", at)
	}
}

func TestACameraThatRepeatedItselfStaysSuspectForAWhile(t *testing.T) {
	p := play(Options{Repeat: true})
	clip := people(30, 1, 1)
	for range 4 {
		for _, s := range clip {
			p.show(s)
		}
	}
	if p.n == 0 {
		t.Fatal("a loop isn't suspect")
	}
	ended := p.now
	var last time.Time
	for _, s := range people(15*15, 6, 1) {
		if len(p.show(s)) > 0 {
			last = p.now
		}
	}
	if d := last.Sub(ended); d < staying-time.Second || d > staying {
		t.Errorf("it is suspect for %v after the loop's end", d)
	}
}

func TestAPauseIsNoFrozenPicture(t *testing.T) {
	p := play(Options{Repeat: true})
	s := people(1, 1, 1)[0]
	p.rate = 1500 * time.Millisecond // somebody waits for each frame, and the driver's buffers are old
	for range 10 {
		p.show(s)
	}
	if p.n > 0 {
		t.Errorf("suspect after %v", p.at[Repeat])
	}
}

func TestTheMemoryOfPicturesIsBoundedAndLong(t *testing.T) {
	var m memory
	r := rand.New(rand.NewPCG(1, 1))
	const back = 6000
	hashes := make([]uint64, 40_000)
	forgotten := 0
	for i := range hashes {
		hashes[i] = r.Uint64()
		if m.seen(hashes[i], uint32(i+1)) {
			t.Fatal("a new one is known")
		}
		if i >= back && i%97 == 0 {
			found := false
			for _, e := range m[hashes[i-back]>>52] {
				found = found || e.hash == hashes[i-back]
			}
			if !found {
				forgotten++
			}
		}
	}
	if forgotten > 70 { // of 350: sets of four fill unevenly
		t.Errorf("%d of 350 were forgotten after %d others", forgotten, back)
	}
}
