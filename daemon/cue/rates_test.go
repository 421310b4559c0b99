package cue

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestRates counts how often the cue for flat things is right and wrong on stages drawn at random. docs/cues.md has its figures for
// LIVENESSD_CUE_RATES=500; without, it draws a few.
func TestRates(t *testing.T) {
	n := 4
	if v := os.Getenv("LIVENESSD_CUE_RATES"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name         string
		stage        func(*stage)
		least, share float64 // what part of them is told: at least, at most
	}{
		{"sheets", func(s *stage) { s.held = true }, 0.7, 1},
		{"heads", func(*stage) {}, 0, 0.01},
		{"heads with much hair", func(s *stage) { s.hair = 1.65 }, 0, 0.01},
		{"heads with hats and hoods", func(s *stage) { s.hair = 2.4 }, 0, 1},
	} {
		told := 0
		for seed := range uint64(n) {
			s := newStage(7919 * (seed + 1))
			tt.stage(&s)
			move := wave(seed + 1000)
			d := newDrift(seed, 0.3)
			p := act(seed, 1+float64(seed%4), s, func(i int, s *stage) {
				move(i, s)
				dx, dy := d.step()
				s.x, s.y = s.x+dx, s.y+dy
			})
			if _, is := p.at[Flat]; is {
				told++
			}
		}
		line := fmt.Sprintf("%s: %d of %d are told to be flat", tt.name, told, n)
		t.Log(line)
		if rate := float64(told) / float64(n); rate < tt.least || rate > tt.share {
			t.Error(line)
		}
	}
}
