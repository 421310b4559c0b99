package daemon

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/look"
	"github.com/livenessd/livenessd/models"
)

// hall is a room of 320×240 with people in it, whom the detector finds where they are, and who are all alive.
type hall struct {
	people []person
	broken error
	looks  int // of the detector
	judged int
}

type person struct {
	x, y, size float64
	texture    float64
}

var (
	_ Finder = (*hall)(nil)
	_ Judge  = (*hall)(nil)
)

func (s *hall) draw() frame.Image {
	const w, h = 320, 240
	pix := make([]byte, w*h)
	for y := range h {
		for x := range w {
			pix[y*w+x] = byte(60 + x/8 + y/4)
		}
	}
	for _, p := range s.people {
		for y := max(0, int(p.y)); y < min(h, int(p.y+p.size)); y++ {
			for x := max(0, int(p.x)); x < min(w, int(p.x+p.size)); x++ {
				a, b := (float64(x)+0.5-p.x)/p.size, (float64(y)+0.5-p.y)/p.size
				pix[y*w+x] = byte(130 + 25*(math.Sin(a*(7+p.texture))+math.Cos(b*(9+2*p.texture))+math.Sin((a+p.texture)*(b+1)*11)))
			}
		}
	}
	return frame.Grey(pix, w, h, w)
}

// sharp takes the drawn faces, which are soft, for sharp ones.
type sharp struct{ look.Measurer }

func (s *sharp) Measure(m *frame.Image, x, y, w, h float64) decision.Look {
	l := s.Measurer.Measure(m, x, y, w, h)
	l.Sharp = 0.5
	return l
}

func (s *hall) Detect(*frame.Image) (faces []models.Face, err error) {
	s.looks++
	for _, p := range s.people {
		faces = append(faces, models.Face{Box: models.Box{X: p.x, Y: p.y, W: p.size, H: p.size}, Score: 0.9, Marked: true,
			Points: [5]models.Point{{X: p.x + 0.3*p.size, Y: p.y + 0.4*p.size}, {X: p.x + 0.7*p.size, Y: p.y + 0.4*p.size}, {X: p.x + 0.5*p.size, Y: p.y + 0.6*p.size}}})
	}
	return faces, s.broken
}

func (s *hall) Crop(*frame.Image, models.Box) error { return nil }

func (s *hall) Judge() (models.Judgement, error) {
	s.judged++
	return models.Judgement{Live: 0.95, LogOdds: 3, Evidence: 3}, nil
}

// play shows n frames, so far apart, and gives what was found and decided in each. change moves people before a frame is shown.
func (s *hall) play(t *testing.T, n int, step time.Duration, change func(i int)) (found []Finding, said []*decision.Decision) {
	t.Helper()
	d, err := decision.New(decision.Options{LiveAt: 0.8, SpoofAt: 0.35})
	if err != nil {
		t.Fatal(err)
	}
	e := Examiner{Finder: s, Judge: s, Looker: &sharp{}, Now: time.Now}
	for i := range n {
		if change != nil {
			change(i)
		}
		m := s.draw()
		at := time.Unix(1000, 0).Add(time.Duration(i) * step)
		f, err := e.Follow(at, &m, d)
		if !errors.Is(err, s.broken) {
			t.Fatal(err)
		}
		f.Faces = append([]models.Face(nil), f.Faces...)
		found, said = append(found, f), append(said, d.Observe(f.Observation(at, &m)))
	}
	return found, said
}

// looked tells in which frames the detector looked.
func looked(found []Finding) string {
	out := make([]byte, len(found))
	for i, f := range found {
		out[i] = '.'
		if f.Looked {
			out[i] = 'L'
		}
	}
	return string(out)
}

func judgedIn(found []Finding) string {
	out := make([]byte, len(found))
	for i, f := range found {
		out[i] = '.'
		if f.Judged {
			out[i] = 'J'
		}
	}
	return string(out)
}

const fifteen = time.Second / 15

func TestTheDetectorLooksWhereItIsNeeded(t *testing.T) {
	ann, bob := person{100, 60, 90, 1}, person{215, 70, 80, 3}
	for _, tt := range []struct {
		name   string
		people []person
		n      int
		step   time.Duration
		change func(s *hall, i int)
		looks  string
		judged string // "" isn't looked at
	}{
		{"an empty room, now and then", nil, 20, fifteen, nil, "L.......L.......L...", "...................."},
		{"an empty room, once a second", nil, 4, time.Second, nil, "LLLL", "...."},
		{"who comes, at once, and again before live is said", nil, 14, fifteen, func(s *hall, i int) {
			if i == 3 {
				s.people = []person{ann}
			}
		}, "L..L..L..L..L.", "...JJJJJJJJJJJ"},
		{"who stays, each third frame", []person{ann}, 16, fifteen, nil, "L..L..L..L..L..L", "JJJJJJJJJJJJJJJJ"},
		{"who walks, too", []person{ann}, 13, fifteen, func(s *hall, i int) { s.people[0].x += 3 }, "L..L..L..L..L", "JJJJJJJJJJJJJ"},
		{"who jumps, at once", []person{ann}, 8, fifteen, func(s *hall, i int) {
			if i == 4 {
				s.people[0].x += 40
			}
		}, "L..LL.L.", "JJJJJJJJ"},
		{"who is replaced, at once and until it is clear who that is", []person{ann}, 10, fifteen, func(s *hall, i int) {
			if i == 4 {
				s.people[0].texture = 4
			}
		}, "L..LLL..L.", "JJJJJJJJJJ"},
		{"who leaves, at once and until that is sure", []person{ann}, 20, fifteen, func(s *hall, i int) {
			if i == 4 {
				s.people = nil
			}
		}, "L..LLLLLLLLLLLLLL...", "JJJJ................"},
		{"two people, always", []person{ann, bob}, 8, fifteen, nil, "LLLLLLLL", "........"},
		{"who comes beside somebody, when it is time", []person{ann}, 9, fifteen, func(s *hall, i int) {
			if i == 4 {
				s.people = []person{ann, bob}
			}
		}, "L..L..LLL", "JJJJJJ..."},
		{"thirty frames a second are judged by halves", []person{ann}, 16, time.Second / 30, nil, "L.....L.....L...", "J.J.J.J.J.J.J.J."},
		{"sixty by quarters", []person{ann}, 16, time.Second / 60, nil, "", "J...J...J...J..."},
		{"five a second are all judged, and each other looked at", []person{ann}, 10, time.Second / 5, nil, "", "JJJJJJJJJJ"},
		{"one a second is always looked at", []person{ann}, 6, time.Second, nil, "LLLLLL", "JJJJJJ"},
		{"a detector that fails, until it doesn't", nil, 8, fifteen, func(s *hall, i int) {
			s.broken = nil
			if i < 5 {
				s.broken = errBroken
			}
		}, "LLLLLL..", "........"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &hall{people: append([]person(nil), tt.people...)}
			found, _ := s.play(t, tt.n, tt.step, func(i int) {
				if tt.change != nil {
					tt.change(s, i)
				}
			})
			if got := looked(found); tt.looks != "" && got != tt.looks {
				t.Errorf("looked  %s\nwant    %s", got, tt.looks)
			}
			if got := judgedIn(found); got != tt.judged {
				t.Errorf("judged  %s\nwant    %s", got, tt.judged)
			}
		})
	}
}

func TestAFollowedFaceIsWhereItIsWithItsPoints(t *testing.T) {
	s := &hall{people: []person{{60, 60, 90, 1}}}
	found, _ := s.play(t, 30, fifteen, func(i int) { s.people[0].x, s.people[0].y = 60+4*float64(i), 60+float64(i) })
	for i, f := range found {
		if f.Main != 0 || len(f.Faces) != 1 {
			t.Fatalf("frame %d: %+v", i, f)
		}
		b := f.Faces[0]
		x, y := 60+4*float64(i), 60+float64(i)
		if math.Abs(b.X-x) > 1.5 || math.Abs(b.Y-y) > 1.5 || b.W != 90 || b.H != 90 {
			t.Errorf("frame %d, looked: %v: the face is at %+v, not %v, %v", i, f.Looked, b.Box, x, y)
		}
		if nose := b.Points[models.NoseTip]; math.Abs(nose.X-b.X-45) > 0.01 || math.Abs(nose.Y-b.Y-54) > 0.01 {
			t.Errorf("frame %d: the nose is at %+v of %+v", i, nose, b.Box)
		}
	}
}

// Whatever the rate and whenever somebody comes beside who is being judged: live is said of nobody who isn't alone in that very frame.
func TestLiveIsSaidOfWhoIsAlone(t *testing.T) {
	ann, bob := person{100, 60, 90, 1}, person{215, 70, 80, 3}
	for _, step := range []time.Duration{fifteen, time.Second / 30, time.Second / 10, time.Second / 4} {
		lives := 0
		for comes := range 24 {
			s := &hall{people: []person{ann}}
			found, said := s.play(t, comes+5, step, func(i int) {
				if i == comes {
					s.people = []person{ann, bob}
				}
			})
			for i, v := range said {
				if v == nil || v.Verdict != decision.Live {
					continue
				}
				lives++
				if i >= comes || !found[i].Looked {
					t.Errorf("frames %v apart, the second person from %d on: live is said in frame %d, looked at: %v", step, comes, i, found[i].Looked)
				}
			}
		}
		if lives == 0 {
			t.Errorf("frames %v apart: nobody is ever live", step)
		}
	}
}

func TestSparingCostsNoVerdictItsTime(t *testing.T) {
	for _, step := range []time.Duration{fifteen, time.Second / 30, time.Second / 10, time.Second / 5, time.Second} {
		s := &hall{}
		_, said := s.play(t, 30, step, func(i int) {
			if i == 4 {
				s.people = []person{{100, 60, 90, 1}}
			}
		})
		at := -1
		for i, v := range said {
			if v != nil && at < 0 {
				at = i
			}
		}
		// Five frames, and 400 ms between the first and the last.
		want := 4 + max(4, int(math.Ceil((400*time.Millisecond-time.Microsecond).Seconds()/step.Seconds()-1e-3)))
		if at != want || said[at].Verdict != decision.Live {
			t.Errorf("frames %v apart: the verdict comes in frame %d, want %d", step, at, want)
		}
	}
}

// Frames that come back in time, as another clip's do, begin anew.
func TestWhoGoesBackInTimeBeginsAnew(t *testing.T) {
	d, err := decision.New(decision.Options{LiveAt: 0.8, SpoofAt: 0.35})
	if err != nil {
		t.Fatal(err)
	}
	s := &hall{}
	m := s.draw()
	e := Examiner{Finder: s, Judge: s, Now: time.Now}
	for i, at := range []int{1000, 1001, 900, 901, 902} {
		if i == 4 {
			e.Forget()
		}
		before := s.looks
		f, err := e.Follow(time.UnixMilli(int64(at)), &m, d)
		if err != nil {
			t.Fatal(err)
		}
		d.Observe(f.Observation(time.UnixMilli(int64(at)), &m))
		if want := i == 0 || i == 2 || i == 4; s.looks-before == 1 != want {
			t.Errorf("frame at %d ms: looked %v, want %v", at, !want, want)
		}
	}
}

func TestFollowingAllocatesNothing(t *testing.T) {
	d, err := decision.New(decision.Options{LiveAt: 0.8, SpoofAt: 0.35})
	if err != nil {
		t.Fatal(err)
	}
	s := &hall{people: []person{{100, 60, 90, 1}}}
	faces, _ := s.Detect(nil)
	m := s.draw()
	e := Examiner{Finder: same(faces), Judge: s, Looker: &sharp{}, Now: time.Now}
	at := time.Unix(1000, 0)
	one := func() {
		at = at.Add(fifteen)
		f, err := e.Follow(at, &m, d)
		if err != nil {
			t.Fatal(err)
		}
		d.Observe(f.Observation(at, &m))
	}
	for range 400 { // until the evidence is as much as is kept
		one()
	}
	if n := testing.AllocsPerRun(300, one); n != 0 {
		t.Errorf("a frame allocates %v times", n)
	}
}

// same finds the same faces in each frame.
type same []models.Face

func (s same) Detect(*frame.Image) ([]models.Face, error) { return s, nil }
