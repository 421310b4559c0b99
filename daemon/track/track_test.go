package track

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/livenessd/livenessd/camera/frame"
)

// scene is a room with things in it, drawn into a picture with a sensor's noise.
type scene struct {
	width, height int
	light         float64 // added to all
	noise         float64 // standard deviation
	things        []thing
	seed          uint64
	packed        bool // as YUYV
}

// thing is a square with a texture of its own that moves and grows with it.
type thing struct {
	x, y, size float64
	texture    float64
	contrast   float64
}

func (s scene) draw() frame.Image {
	r := rand.New(rand.NewPCG(s.seed, 9))
	step := 1
	if s.packed {
		step = 2
	}
	pix := make([]byte, s.width*s.height*step)
	for y := range s.height {
		for x := range s.width {
			v := 90 + 20*math.Sin(float64(x)/37) + 15*math.Cos(float64(y)/23)
			for _, t := range s.things {
				u, w := (float64(x)+0.5-t.x)/t.size, (float64(y)+0.5-t.y)/t.size
				if u >= 0 && u < 1 && w >= 0 && w < 1 {
					v = 130 + t.contrast*(math.Sin(u*(7+t.texture))+math.Cos(w*(9+2*t.texture))+math.Sin((u+t.texture)*(w+1)*11))
				}
			}
			v += s.light + s.noise*r.NormFloat64()
			pix[(y*s.width+x)*step] = byte(min(max(v+0.5, 0), 255))
		}
	}
	if s.packed {
		return frame.YUYV(pix, s.width, s.height, 2*s.width)
	}
	return frame.Grey(pix, s.width, s.height, s.width)
}

func room() scene { return scene{width: 320, height: 240, noise: 2, seed: 1} }

func TestARoomIsNewOnlyIfSomethingIs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*scene)
		after  func(*scene)
		want   bool
	}{
		{"nothing", nil, nil, false},
		{"nothing, with much noise", func(s *scene) { s.noise = 10 }, func(s *scene) { s.noise = 10 }, false},
		{"nothing, as a camera packs it", func(s *scene) { s.packed = true }, func(s *scene) { s.packed = true }, false},
		{"a face as small as may be", nil, func(s *scene) { s.things = []thing{{150, 100, 20, 1, 25}} }, true},
		{"a face at the edge", nil, func(s *scene) { s.things = []thing{{300, 0, 40, 1, 25}} }, true},
		{"a large one that came nearer", func(s *scene) { s.things = []thing{{100, 60, 100, 1, 25}} }, func(s *scene) { s.things = []thing{{95, 55, 110, 1, 25}} }, true},
		{"one that left", func(s *scene) { s.things = []thing{{150, 100, 40, 1, 25}} }, nil, true},
		{"a camera that adapts a little", nil, func(s *scene) { s.light = 5 }, false},
		{"the light", nil, func(s *scene) { s.light = 40 }, true},
		{"it is dark", nil, func(s *scene) { s.light = -60 }, true},
		{"another size of picture", nil, func(s *scene) { s.width, s.height = 400, 300 }, true},
		{"another camera's way to pack it", nil, func(s *scene) { s.packed = true }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Room
			before, after := room(), room()
			after.seed = 77
			if tt.before != nil {
				tt.before(&before)
			}
			if tt.after != nil {
				tt.after(&after)
			}
			m := before.draw()
			if !r.Changed(&m) {
				t.Error("the first picture of all isn't new")
			}
			r.Remember()
			for i := range 40 { // what changes by itself is learnt
				before.seed = uint64(100 + i)
				m := before.draw()
				r.Changed(&m)
			}
			n := after.draw()
			if got := r.Changed(&n); got != tt.want {
				t.Errorf("new: %v", got)
			}
			r.Forget()
			if !r.Changed(&n) {
				t.Error("a room that nobody remembers isn't new")
			}
		})
	}
}

// What comes as slowly as it likes is seen all the same: pictures are compared with the one that was looked at.
func TestARoomNoticesWhatCreepsIn(t *testing.T) {
	var r Room
	s := room()
	m := s.draw()
	r.Changed(&m)
	r.Remember()
	for i := range 200 {
		s.seed = uint64(i + 2)
		s.things = []thing{{320 - float64(i)/4, 100, 40, 1, 25}}
		m := s.draw()
		if r.Changed(&m) {
			if i == 0 {
				t.Error("a face that isn't there yet")
			}
			return
		}
	}
	t.Error("a face crept in by a quarter of a pixel a frame, and nobody noticed")
}

func TestAFaceIsFollowed(t *testing.T) {
	face := thing{120, 70, 90, 1, 25}
	for _, tt := range []struct {
		name string
		next func(*scene, *thing)
		sure bool
	}{
		{"that stays", func(*scene, *thing) {}, true},
		{"that moves to a side", func(_ *scene, f *thing) { f.x += 15 }, true},
		{"that moves a little in both directions", func(_ *scene, f *thing) { f.x, f.y = f.x-3.5, f.y+6 }, true},
		{"while the light changes", func(s *scene, f *thing) { s.light, f.x = 30, f.x+4 }, true},
		{"while the contrast changes", func(_ *scene, f *thing) { f.contrast, f.y = 15, f.y-5 }, true},
		{"in noise", func(s *scene, f *thing) { s.noise, f.x = 8, f.x+4 }, true},
		{"that comes a little nearer", func(_ *scene, f *thing) { f.x, f.y, f.size = f.x-2, f.y-2, 94 }, true},
		{"that jumps", func(_ *scene, f *thing) { f.x += 60 }, false},
		{"that is gone", func(s *scene, _ *thing) { s.things = nil }, false},
		{"that is another one", func(_ *scene, f *thing) { f.texture = 3 }, false},
		{"that is covered by half", func(s *scene, f *thing) { s.things = append(s.things, thing{f.x, f.y + 45, 90, 6, 25}) }, false},
		{"that comes much nearer", func(_ *scene, f *thing) { f.x, f.y, f.size = f.x-25, f.y-25, 140 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, packed := range []bool{false, true} {
				var fo Follower
				s, now := room(), face
				s.packed, s.things = packed, []thing{now}
				m := s.draw()
				fo.Found(&m, Box{now.x, now.y, now.size, now.size})
				if !fo.Known() {
					t.Fatal("the face isn't known")
				}
				s.seed++
				tt.next(&s, &now)
				if s.things != nil {
					s.things[0] = now
				}
				m = s.draw()
				got, sure := fo.Follow(&m)
				if sure != tt.sure || fo.Known() != tt.sure {
					t.Fatalf("sure: %v, known %v, at %+v", sure, fo.Known(), got)
				}
				if !sure {
					continue
				}
				// A face that comes nearer has its middle where it was, and is followed without growing.
				dx, dy := got.X+got.W/2-now.x-now.size/2, got.Y+got.H/2-now.y-now.size/2
				if math.Abs(dx) > 1.5 || math.Abs(dy) > 1.5 || got.W != 90 || got.H != 90 {
					t.Errorf("at %+v, which is off by %.2f, %.2f", got, dx, dy)
				}
			}
		})
	}
}

// A face that is followed for long doesn't wander off: it is compared with what was found, not with what was followed.
func TestAFollowedFaceStaysOnIt(t *testing.T) {
	var fo Follower
	s, f := room(), thing{40, 70, 80, 1, 25}
	s.things = []thing{f}
	m := s.draw()
	fo.Found(&m, Box{f.x, f.y, f.size, f.size})
	for i := range 40 {
		f.x += 4.3
		s.things[0], s.seed = f, uint64(i+2)
		m := s.draw()
		got, sure := fo.Follow(&m)
		if !sure || math.Abs(got.X-f.x) > 1.5 || math.Abs(got.Y-f.y) > 1.5 {
			t.Fatalf("frame %d: %+v, sure %v, want %v", i, got, sure, f)
		}
	}
}

func TestWhatCannotBeFollowed(t *testing.T) {
	s := room()
	s.things = []thing{{100, 60, 100, 1, 25}}
	m := s.draw()
	plain := frame.Grey(make([]byte, 320*240), 320, 240, 320)
	nan := math.NaN()
	for _, tt := range []struct {
		name string
		m    *frame.Image
		box  Box
	}{
		{"a face that is small", &m, Box{100, 60, 12, 12}},
		{"one that the edge cuts off", &m, Box{-5, 60, 100, 100}},
		{"one that it cuts off below", &m, Box{100, 180, 100, 100}},
		{"one without a feature", &plain, Box{100, 60, 100, 100}},
		{"one that is nowhere", &m, Box{nan, 60, 100, 100}},
		{"one without a size", &m, Box{100, 60, nan, nan}},
	} {
		var fo Follower
		fo.Found(tt.m, tt.box)
		if fo.Known() {
			t.Errorf("%s is followed", tt.name)
		}
		if b, sure := fo.Follow(&m); sure {
			t.Errorf("%s is at %+v", tt.name, b)
		}
	}
}

func TestNoPictureIsReadOutside(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var room Room
	var fo Follower
	for range 400 {
		w, h := 1+r.IntN(90), 1+r.IntN(70)
		pix := make([]byte, w*h)
		for i := range pix {
			pix[i] = byte(r.Uint32())
		}
		m := frame.Grey(pix, w, h, w)
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		room.Changed(&m)
		room.Remember()
		fo.Found(&m, Box{r.Float64() * 40, r.Float64() * 40, r.Float64() * 90, r.Float64() * 90})
		fo.Follow(&m)
	}
}

func TestLookingAllocatesNothing(t *testing.T) {
	s := room()
	s.things = []thing{{100, 60, 100, 1, 25}}
	m := s.draw()
	var r Room
	var fo Follower
	if n := testing.AllocsPerRun(20, func() {
		r.Changed(&m)
		r.Remember()
		fo.Found(&m, Box{100, 60, 100, 100})
		fo.Follow(&m)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLooks(b *testing.B) {
	for _, size := range []struct{ w, h int }{{640, 480}, {1280, 720}} {
		s := scene{width: size.w, height: size.h, noise: 2, things: []thing{{200, 100, 200, 1, 25}}}
		m := s.draw()
		b.Run(fmt.Sprintf("room %d×%d", size.w, size.h), func(b *testing.B) {
			var r Room
			for b.Loop() {
				r.Changed(&m)
				r.Remember()
			}
		})
		b.Run(fmt.Sprintf("follow %d×%d", size.w, size.h), func(b *testing.B) {
			var fo Follower
			fo.Found(&m, Box{200, 100, 200, 200})
			for b.Loop() {
				if _, sure := fo.Follow(&m); !sure {
					b.Fatal("lost")
				}
			}
		})
	}
}
