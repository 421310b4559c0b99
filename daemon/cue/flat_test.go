package cue

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/livenessd/livenessd/daemon/decision"
)

// act plays six seconds of a stage that changes; where is the watch's answer to it.
func act(seed uint64, noise float64, s stage, change func(i int, s *stage)) *player {
	f := newFilm(noise, seed)
	p := play(Options{Flat: true})
	for i := range 6 * 15 {
		change(i, &s)
		p.show(shoot(f, &s))
	}
	return p
}

// wave is somebody's hand.
func wave(seed uint64) func(int, *stage) {
	r := rand.New(rand.NewPCG(seed, 3))
	ax, ay, fx, fy := 5+6*r.Float64(), 3*r.Float64(), 0.35+0.5*r.Float64(), 0.3+0.4*r.Float64()
	return func(i int, s *stage) {
		t := float64(i) / 15
		s.x, s.y = ax*math.Sin(2*math.Pi*fx*t), ay*math.Sin(2*math.Pi*fy*t)
	}
}

func TestFlatThingsAndHeads(t *testing.T) {
	tests := []struct {
		name   string
		stage  func(*stage)
		change func(uint64) func(int, *stage)
		held   bool
	}{
		{"a sheet that is moved", func(s *stage) { s.held = true }, wave, true},
		{"a sheet that is held still", func(s *stage) { s.held = true }, func(uint64) func(int, *stage) { return func(int, *stage) {} }, false},
		{"a sheet as small as its face", func(s *stage) { s.held, s.border = true, 1.3 }, wave, false},
		{"a head that moves", func(*stage) {}, wave, false},
		{"a head with much hair", func(s *stage) { s.hair = 1.65 }, wave, false},
		{"a head before a bare wall", func(s *stage) { s.room.span = 0 }, wave, false},
		{"a head that turns", func(*stage) {}, func(seed uint64) func(int, *stage) {
			return func(i int, s *stage) { s.tilt = 5 * math.Sin(float64(i)/8); s.x = s.tilt }
		}, false},
		{"a sheet before a bare wall", func(s *stage) { s.held, s.room.span = true, 0 }, wave, false},
		{"a camera that shakes", func(*stage) {}, func(seed uint64) func(int, *stage) {
			return func(i int, s *stage) { s.shake = 4 * math.Sin(float64(i)/4) }
		}, false},
		{"a camera that shakes before a sheet", func(s *stage) { s.held = true }, func(seed uint64) func(int, *stage) {
			return func(i int, s *stage) { s.shake = 4 * math.Sin(float64(i)/4) }
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(2) {
				s := newStage(100 * seed)
				tt.stage(&s)
				p := act(seed, 1.5, s, tt.change(seed))
				at, told := p.at[Flat]
				if told != tt.held {
					t.Errorf("seed %d: told %v, after %v", seed, told, at)
				}
				if told && p.told[0] != (decision.Doubt{Cue: Flat, Verdict: decision.Spoof, Code: decision.PADAttack}) {
					t.Errorf("%+v", p.told)
				}
			}
		})
	}
}
