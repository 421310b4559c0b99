package cue

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

// gray is a picture of one brightness.
func gray(w, h int, level byte) *frame.Image {
	m := frame.Grey(slices.Repeat([]byte{level}, w*h), w, h, w)
	return &m
}

// door is a camera with an infrared one beside it, which gives pictures of half the size.
type door struct {
	p     *Pair
	w     *Watch
	now   time.Time
	last  []decision.Doubt
	first map[decision.Code]time.Duration
}

const doorW, doorH = 64, 48

var (
	doorFace = Box{20, 10, 16, 20}
	irFace   = Box{10, 5, 8, 10} // the same, seen by the other
)

func newDoor(required bool) *door {
	p := new(Pair)
	return &door{p: p, w: New(Options{Pair: p, Required: required}), now: epoch, first: map[decision.Code]time.Duration{}}
}

func (d *door) see(level byte, faces ...Box) { d.p.See(d.now, gray(doorW/2, doorH/2, level), faces) }

func (d *door) show(face *Box) {
	d.last = d.w.Frame(d.now, gray(doorW, doorH, 100), face)
	for _, o := range d.last {
		if _, known := d.first[o.Code]; !known {
			d.first[o.Code] = d.now.Sub(epoch)
		}
	}
}

func (d *door) code() decision.Code {
	if len(d.last) == 0 {
		return ""
	}
	return d.last[0].Code
}

func TestTheInfraredCameraBesideIt(t *testing.T) {
	const tick = 100 * time.Millisecond
	elsewhere := Box{1, 1, 4, 5}
	tests := []struct {
		name                string
		ir                  func(d *door, i int) // what the infrared camera sees at tick i
		required, otherwise decision.Code        // what the doubt is after three seconds, with required and without
	}{
		{"it sees the face", func(d *door, i int) { d.see(100, irFace) }, "", ""},
		{"it sees nobody", func(d *door, i int) { d.see(100) }, decision.PADAttack, decision.PADAttack},
		{"it sees somebody elsewhere", func(d *door, i int) { d.see(100, elsewhere) }, decision.PADAttack, decision.PADAttack},
		{"it sees the face and another", func(d *door, i int) { d.see(100, elsewhere, irFace) }, "", ""},
		{"a face many times as large", func(d *door, i int) { d.see(100, Box{-20, -20, 70, 70}) }, decision.PADAttack, decision.PADAttack},
		{"its net misses the face now and then", func(d *door, i int) {
			if i%3 == 0 {
				d.see(100)
			} else {
				d.see(100, irFace)
			}
		}, "", ""},
		{"it sees the face now and then", func(d *door, i int) {
			if i%8 == 0 {
				d.see(100, irFace)
			} else {
				d.see(100)
			}
		}, decision.Timeout, ""},
		{"it has no light", func(d *door, i int) { d.see(10) }, decision.TooDark, ""},
		{"it flashes at every other frame", func(d *door, i int) {
			if i%2 == 0 {
				d.see(100, irFace)
			} else {
				d.see(45)
			}
		}, "", ""},
		{"it flashes at every other frame, and sees nobody", func(d *door, i int) {
			if i%2 == 0 {
				d.see(100)
			} else {
				d.see(45)
			}
		}, decision.PADAttack, decision.PADAttack},
		{"it isn't there", func(*door, int) {}, decision.CameraLost, ""},
		{"it goes away after it saw the face", func(d *door, i int) {
			if i < 5 {
				d.see(100, irFace)
			}
		}, decision.CameraLost, ""},
		{"it goes away after it saw nobody", func(d *door, i int) {
			if i < 5 {
				d.see(100)
			}
		}, decision.CameraLost, ""},
		{"the boxes of its net are no numbers", func(d *door, i int) { d.see(100, Box{math.NaN(), 1, 5, 5}, Box{1, 1, math.Inf(1), 4}) }, decision.PADAttack, decision.PADAttack},
	}
	for _, tt := range tests {
		for _, required := range []bool{true, false} {
			want := tt.otherwise
			if required {
				want = tt.required
			}
			t.Run(tt.name+map[bool]string{true: ", required"}[required], func(t *testing.T) {
				d := newDoor(required)
				for i := range 30 {
					d.now = d.now.Add(tick)
					tt.ir(d, i)
					d.show(&doorFace)
					// Before it can have looked, nobody is live by it, unless it needn't look and can't.
					if blind := want == "" && tt.required != ""; i < fewestSeen-1 && len(d.last) == 0 && !blind {
						t.Errorf("no doubt at frame %d", i)
					}
				}
				if got := d.code(); got != want {
					t.Errorf("the doubt is %q, want %q; first %v", got, want, d.first)
				}
				if spoof := slices.ContainsFunc(d.last, func(o decision.Doubt) bool { return o.Verdict == decision.Spoof }); spoof != (want == decision.PADAttack) {
					t.Errorf("%+v", d.last)
				}
			})
		}
	}
}

func TestAFaceThatTakesAnothersPlaceBringsNoInfraredAlong(t *testing.T) {
	d := newDoor(true)
	step := func(face *Box, faces ...Box) {
		d.now = d.now.Add(100 * time.Millisecond)
		d.see(100, faces...)
		d.show(face)
	}
	for range 20 {
		step(&doorFace, irFace)
	}
	if d.code() != "" {
		t.Fatal(d.last)
	}
	other := Box{44, 10, 16, 20}
	step(&other, irFace)
	if d.code() == "" {
		t.Error("a face in another place is seen in infrared before anybody looked")
	}
	for range 5 {
		step(nil)
	}
	for range 4 {
		step(nil)
	}
	if len(d.last) != 0 {
		t.Errorf("a doubt about nobody: %+v", d.last)
	}
	// In the same place, there is at most the window between them.
	for range 20 {
		step(&doorFace, irFace)
	}
	until := d.now.Add(2 * time.Second)
	for d.code() == "" && !d.now.After(until) {
		step(&doorFace)
	}
	if d.code() == "" {
		t.Errorf("for %v nobody was seen", 2*time.Second)
	}
}

// An infrared camera's net may answer later than the other's.
func TestInfraredThatIsLateIsWaitedFor(t *testing.T) {
	d := newDoor(true)
	var times []time.Time
	for i := range 30 {
		d.now = d.now.Add(100 * time.Millisecond)
		times = append(times, d.now)
		if i >= 5 {
			d.p.See(times[i-5], gray(doorW/2, doorH/2, 100), []Box{irFace})
		}
		d.show(&doorFace)
		if d.code() == decision.PADAttack {
			t.Fatal("what came late is taken for absent")
		}
	}
	if d.code() != "" {
		t.Errorf("%+v", d.last)
	}
}

func TestAPairIsForTwoGoroutines(t *testing.T) {
	p := new(Pair)
	w := New(Options{Pair: p, Required: true})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 500 {
			p.See(epoch.Add(time.Duration(i)*10*time.Millisecond), gray(32, 24, 100), []Box{irFace})
		}
	})
	for i := range 500 {
		w.Frame(epoch.Add(time.Duration(i)*10*time.Millisecond), gray(64, 48, 100), &doorFace)
	}
	wg.Wait()
	if got := len(p.Faces(epoch.Add(4 * time.Second))); got != 0 {
		t.Errorf("%d faces of a time that is forgotten", got)
	}
	if got := p.Faces(epoch.Add(4990 * time.Millisecond)); len(got) != 1 {
		t.Errorf("faces %v", got)
	}
}

func TestAMapIsLearntFromFaces(t *testing.T) {
	truth := Affine{0.8, 0, 0.15, 0, 0.9, -0.05}
	at := func(x, y, size float64) Match {
		b := Box{x, y, size, 1.3 * size}
		return Match{b, truth.Box(b)}
	}
	var wide, narrow []Match
	for i := range 30 {
		f := float64(i)
		wide = append(wide, at(0.1+0.02*f, 0.2+0.3*math.Abs(math.Sin(f)), 0.2))
		narrow = append(narrow, at(0.4+0.001*f, 0.3, 0.2))
	}
	spoilt := slices.Clone(wide)
	spoilt[3].To.X += 0.6
	spoilt[17].To.Y -= 0.5
	for _, tt := range []struct {
		name    string
		matches []Match
		near    float64
	}{{"faces all over the picture", wide, 1e-9}, {"faces in one place", narrow, 1e-9}, {"some of them somebody else", spoilt, 1e-6}} {
		m, off, err := Fit(tt.matches)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for i := range m {
			if math.Abs(m[i]-truth[i]) > tt.near {
				t.Errorf("%s: %v, want %v", tt.name, m, truth)
				break
			}
		}
		if off > 1e-6 {
			t.Errorf("%s: off by %v", tt.name, off)
		}
	}
	if _, _, err := Fit(wide[:fewestMatches-1]); err == nil {
		t.Error("a map of too few faces")
	}
	mirrored := slices.Clone(wide)
	for i := range mirrored {
		mirrored[i].To.X = -mirrored[i].From.X
	}
	if m, _, err := Fit(mirrored); err == nil {
		t.Errorf("a mirror is no map of two cameras: %v", m)
	}
	if _, _, err := Fit(make([]Match, 20)); err == nil {
		t.Error("a map of faces of no size")
	}
}

func TestMapsThatNoTwoCamerasHave(t *testing.T) {
	for _, tt := range []struct {
		m  Affine
		ok bool
	}{
		{Identity(), true}, {Affine{0.5, 0, 0.2, 0, 0.5, 0.2}, true}, {Affine{}, false}, {Affine{1, 1, 0, 1, 1, 0}, false},
		{Affine{math.NaN(), 0, 0, 0, 1, 0}, false}, {Affine{1, 0, math.Inf(1), 0, 1, 0}, false}, {Affine{-1, 0, 1, 0, 1, 0}, false}, {Affine{100, 0, 0, 0, 1, 0}, false},
	} {
		if err := tt.m.Check(); (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.m, err)
		}
	}
}
