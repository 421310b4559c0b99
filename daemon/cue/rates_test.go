package cue

import (
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
)

// TestRates counts how often the cue for flat things is right and wrong on stages drawn at random. docs/cues.md has its figures for
// LIVENESSD_CUE_RATES=500; without, it draws two of each.
func TestRates(t *testing.T) {
	n := 2
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

// TestClips counts doubts about pictures that somebody has: LIVENESSD_CUE_CLIPS is a folder of evaluate's layout, or of several such
// folders. The pictures of each label are played in the order of the numbers in their names, the middle of each as the face.
func TestClips(t *testing.T) {
	root := os.Getenv("LIVENESSD_CUE_CLIPS")
	if root == "" {
		t.Skip("LIVENESSD_CUE_CLIPS names no folder")
	}
	clips := map[[2]string][]string{} // by folder and by what stands before the last number
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			key := [2]string{filepath.Dir(path), d.Name()[:strings.LastIndexAny(strings.TrimSuffix(d.Name(), filepath.Ext(path)), "_.")+1]}
			clips[key] = append(clips[key], path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`(\d+)\.[a-z]+$`)
	last := func(path string) int {
		if m := number.FindStringSubmatch(path); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
		return 0
	}
	type count struct{ pictures, repeat, flat, told, clips int }
	sets := map[string]*count{}
	for _, key := range slices.SortedFunc(maps.Keys(clips), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		list := clips[key]
		slices.SortFunc(list, func(a, b string) int { return last(a) - last(b) })
		set, err := filepath.Rel(root, key[0])
		if err != nil {
			t.Fatal(err)
		}
		c := sets[set]
		if c == nil {
			c = new(count)
			sets[set] = c
		}
		p := play(Options{Repeat: true, Flat: true})
		for _, path := range list {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			src, _, err := image.Decode(f)
			f.Close()
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			m := frame.FromImage(src)
			w, h := float64(m.Width), float64(m.Height)
			for _, d := range p.show(shot{m, &Box{0.25 * w, 0.3 * h, 0.5 * w, 0.5 * h}}) {
				if d.Cue == Flat {
					c.flat++
				} else {
					c.repeat++
				}
			}
			c.pictures++
		}
		c.clips++
		c.told += min(1, len(p.told))
	}
	for _, set := range slices.Sorted(maps.Keys(sets)) {
		c := sets[set]
		t.Logf("%s: %d pictures in %d sequences; %d pictures with a doubt of repeat, %d of flat; %d sequences with a doubt",
			set, c.pictures, c.clips, c.repeat, c.flat, c.told)
	}
}
