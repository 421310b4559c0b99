package expose

import (
	"math"
	"testing"
	"time"
)

// scene is a simulated camera before a face: what its driver has, and how bright the face comes out.
type scene struct {
	c       Controls
	light   float64 // luma of the face at the start
	perGain float64 // stops that the whole gain is
	delay   int     // frames until a setting shows
	pending []Setting
	now     Setting
	manual  bool
}

func (s *scene) luma() float64 {
	stops := 0.0
	switch {
	case !s.manual:
		return clip(s.light)
	case s.c.Time.there() || s.c.Gain.there():
		if s.c.Time.there() {
			stops += math.Log2(float64(s.now.Time) / float64(s.c.Time.Now))
		}
		if s.c.Gain.there() {
			stops += float64(s.now.Gain-s.c.Gain.Now) / s.c.Gain.span() * s.perGain
		}
		return clip(s.light * math.Exp2(stops/gamma))
	}
	return clip(s.light + float64(s.now.Brightness-s.c.Brightness.Now)/s.c.Brightness.span()*255)
}

func clip(v float64) float64 { return min(max(v, 0), 255) }

// play shows a face for so many frames at 15 a second and gives what was set.
func (s *scene) play(t *testing.T, m *Meter, from time.Time, n int, face bool) (sets []Setting, released int, end time.Time) {
	t.Helper()
	now := from
	for range n {
		now = now.Add(time.Second / 15)
		if len(s.pending) > s.delay {
			s.now, s.manual = s.pending[0], true
			s.pending = s.pending[1:]
		}
		do, want := m.Frame(now, s.luma(), face)
		switch do {
		case Set:
			last := s.last()
			for _, c := range []struct {
				r        Range
				is, prev int32
			}{{s.c.Time, want.Time, last.Time}, {s.c.Gain, want.Gain, last.Gain}, {s.c.Brightness, want.Brightness, last.Brightness}} {
				if !c.r.there() {
					if c.is != 0 {
						t.Fatalf("a control that isn't there is set: %+v", want)
					}
					continue
				}
				if c.is < c.r.Min || c.is > c.r.Max || c.r.Step > 1 && (c.is-c.r.Min)%c.r.Step != 0 {
					t.Fatalf("%d isn't in %+v", c.is, c.r)
				}
			}
			sets = append(sets, want)
			s.pending = append(s.pending, want)
		case Release:
			released++
			s.manual, s.pending = false, nil
		}
	}
	// What is still on its way arrives.
	return sets, released, now
}

func (s *scene) last() Setting {
	if len(s.pending) > 0 {
		return s.pending[len(s.pending)-1]
	}
	return s.now
}

var (
	epoch = time.Unix(1000, 0)
	usb   = Controls{Time: Range{1, 333, 1, 60}, Gain: Range{0, 255, 1, 40}}
)

func TestAFaceComesOutWellAndStays(t *testing.T) {
	for _, c := range []struct {
		name    string
		c       Controls
		light   float64
		perGain float64
		delay   int
		ends    float64 // stops that it may be off in the end
	}{
		{"dark before a window", usb, 40, 4, 2, 0.6},
		{"very dark", usb, 25, 4, 2, 0.6},
		{"lit by a lamp", usb, 220, 4, 2, 0.6},
		{"a gain that does more than it is taken for", Controls{Gain: Range{0, 63, 1, 20}}, 60, 12, 2, 0.6},
		{"a gain that does less", Controls{Gain: Range{0, 63, 1, 20}}, 80, 2, 2, 0.6},
		{"a camera that is slow", usb, 50, 4, 6, 0.6},
		{"time alone, in large steps", Controls{Time: Range{5, 325, 5, 50}}, 60, 0, 2, 0.7},
		{"nothing but brightness", Controls{Brightness: Range{-64, 64, 1, 0}}, 60, 0, 2, 0.6},
		{"a brightness of few steps", Controls{Brightness: Range{0, 15, 1, 8}}, 200, 0, 2, 0.9},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, m := &scene{c: c.c, light: c.light, perGain: c.perGain, delay: c.delay}, new(Meter)
			m.Opened(c.c)
			sets, released, end := s.play(t, m, epoch, 15*20, true)
			if len(sets) == 0 || released != 0 {
				t.Fatalf("%d settings, %d releases", len(sets), released)
			}
			if off := gamma * math.Log2(target/s.luma()); math.Abs(off) > c.ends {
				t.Errorf("luma %.0f: off by %.2f stops after %d settings; the last: %+v", s.luma(), off, len(sets), sets[len(sets)-1])
			}
			again, _, _ := s.play(t, m, end, 15*20, true)
			if len(again) > 2 {
				t.Errorf("it goes on and on: %d more settings: %v", len(again), again)
			}
		})
	}
}

func TestItIsSlowAndWaitsForTheAutomatic(t *testing.T) {
	s, m := &scene{c: usb, light: 40, perGain: 4}, new(Meter)
	m.Opened(usb)
	if sets, _, _ := s.play(t, m, epoch, 11, true); len(sets) != 0 {
		t.Errorf("set after %d frames: %v", 11, sets)
	}
	m.Opened(usb)
	s = &scene{c: usb, light: 40, perGain: 4}
	sets, _, _ := s.play(t, m, epoch, 15*4, true)
	before := float64(usb.Time.Now)
	for _, g := range sets {
		if stops := math.Abs(math.Log2(float64(g.Time) / before)); stops > step+0.02 {
			t.Errorf("from %v to %d is %.2f stops at once", before, g.Time, stops)
		}
		before = float64(g.Time)
	}
	if len(sets) > 8 {
		t.Errorf("%d settings in 4 s", len(sets))
	}
}

func TestAFaceThatIsWellIsLeftAlone(t *testing.T) {
	for _, light := range []float64{99, 118, 140} {
		s, m := &scene{c: usb, light: light, perGain: 4}, new(Meter)
		m.Opened(usb)
		if sets, _, _ := s.play(t, m, epoch, 300, true); len(sets) != 0 {
			t.Errorf("luma %v: %v", light, sets)
		}
	}
}

func TestTimeComesBeforeGainAndGainGoesFirst(t *testing.T) {
	m := new(Meter)
	m.Opened(usb)
	s := &scene{c: usb, light: 20, perGain: 4}
	sets, _, _ := s.play(t, m, epoch, 15*20, true)
	for _, g := range sets {
		if g.Gain > usb.Gain.Now && g.Time < usb.Time.Max {
			t.Fatalf("gain %d, with time at %d", g.Gain, g.Time)
		}
	}
	bright := Controls{Time: Range{1, 333, 1, 333}, Gain: Range{0, 255, 1, 200}}
	m.Opened(bright)
	s = &scene{c: bright, light: 240, perGain: 4}
	sets, _, _ = s.play(t, m, epoch, 15*20, true)
	for _, g := range sets {
		if g.Time < bright.Time.Max && g.Gain > 0 {
			t.Fatalf("time %d, with gain at %d", g.Time, g.Gain)
		}
	}
}

func TestTheAutomaticComesBackWhenTheFaceHasGone(t *testing.T) {
	s, m := &scene{c: usb, light: 40, perGain: 4}, new(Meter)
	m.Opened(usb)
	_, _, now := s.play(t, m, epoch, 15*10, true)
	if _, released, _ := s.play(t, m, now, 15, false); released != 0 {
		t.Error("given back within a second")
	}
	_, released, now := s.play(t, m, now.Add(time.Second), 15*10, false)
	if released != 1 {
		t.Errorf("given back %d times", released)
	}
	if sets, _, _ := s.play(t, m, now, 15*3, true); len(sets) == 0 {
		t.Error("the next face gets nothing")
	}
}

func TestWithoutControlsNothingIsDone(t *testing.T) {
	for name, c := range map[string]Controls{"none": {}, "of one value": {Time: Range{5, 5, 1, 5}}, "upside down": {Gain: Range{5, 1, 1, 3}}} {
		m := new(Meter)
		m.Opened(c)
		for i := range 100 {
			if do, _ := m.Frame(epoch.Add(time.Duration(i)*time.Second), 3, true); do != Nothing {
				t.Errorf("%s: %v", name, do)
			}
		}
	}
}

// FuzzMeter: whatever the numbers, what is asked for is what the controls take.
func FuzzMeter(f *testing.F) {
	f.Add(int32(1), int32(333), int32(1), int32(60), int32(0), int32(255), int32(1), int32(40), []byte{40, 40, 40, 0, 255, 7})
	f.Add(int32(math.MinInt32), int32(math.MaxInt32), int32(0), int32(0), int32(-3), int32(5), int32(100), int32(-3), []byte{0, 0, 0, 255})
	f.Fuzz(func(t *testing.T, tmin, tmax, tstep, tnow, gmin, gmax, gstep, gnow int32, lumas []byte) {
		for _, c := range []Controls{{Time: Range{tmin, tmax, tstep, tnow}, Gain: Range{gmin, gmax, gstep, gnow}}, {Brightness: Range{gmin, gmax, gstep, gnow}}} {
			m := new(Meter)
			m.Opened(c)
			now := epoch
			for _, l := range lumas {
				now = now.Add(time.Duration(l%16) * 100 * time.Millisecond)
				do, s := m.Frame(now, float64(l)*1.1, l%7 != 0)
				if do != Set {
					continue
				}
				for _, x := range []struct {
					r Range
					v int32
				}{{c.Time, s.Time}, {c.Gain, s.Gain}, {c.Brightness, s.Brightness}} {
					if x.r.there() && (x.v < x.r.Min || x.v > x.r.Max || x.r.Step > 1 && (int64(x.v)-int64(x.r.Min))%int64(x.r.Step) != 0) || !x.r.there() && x.v != 0 {
						t.Fatalf("%d for %+v", x.v, x.r)
					}
				}
			}
		}
	})
}
