package decision

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The camera of these tests gives 640×480 at ten frames a second.
const (
	width, height = 640, 480
	tick          = 100 * time.Millisecond
)

var (
	epoch = time.Unix(1_700_000_000, 0)
	here  = Face{X: 200, Y: 100, W: 160, H: 200, Score: 0.9}
	there = Face{X: 420, Y: 100, W: 150, H: 190, Score: 0.9}
)

func rules() Options {
	o := Defaults()
	o.LiveAt, o.SpoofAt = 0.8, 0.35
	return o
}

func newDecider(t testing.TB, o Options) *Decider {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// stage plays frames to a decider and writes down what it says.
type stage struct {
	d    *Decider
	now  time.Time
	said []Decision
	at   []time.Duration // when, since epoch
	deaf bool            // nobody is told what was asked
}

func newStage(t testing.TB) *stage { return &stage{d: newDecider(t, rules()), now: epoch} }

func (s *stage) note(d *Decision) {
	if d != nil {
		s.said = append(s.said, *d)
		s.at = append(s.at, s.now.Sub(epoch))
		if d.Asked && !s.deaf {
			s.d.Heard(d.Verdict)
		}
	}
}

func (s *stage) frame(o Observation) {
	s.now = s.now.Add(tick)
	o.Time = s.now
	if o.Width == 0 {
		o.Width, o.Height = width, height
	}
	s.note(s.d.Observe(o))
}

// frames plays n frames that are alike.
func frames(n int, o Observation) func(*stage) {
	return func(s *stage) {
		for range n {
			s.frame(o)
		}
	}
}

// judged is a frame whose answer is worth its log-odds, within what a net's calibration allows.
func judged(f Face, odds float64) Observation {
	return Observation{Faces: []Face{f}, Judged: true, LogOdds: odds, Evidence: min(max(odds, -4), 4)}
}

func seen(f ...Face) Observation { return Observation{Faces: f} }

// ticks lets time pass without a frame, as the pipeline does.
func ticks(n int) func(*stage) {
	return func(s *stage) {
		for range n {
			s.now = s.now.Add(tick)
			s.note(s.d.Idle(s.now))
		}
	}
}

func interrupt(c Code) func(*stage) {
	return func(s *stage) { s.note(s.d.Interrupt(s.now, c)) }
}

// back sets the clock.
func back(by time.Duration) func(*stage) {
	return func(s *stage) { s.now = s.now.Add(-by) }
}

func moved(f Face, dx, dy, grow float64) Face {
	return Face{X: f.X + dx - f.W*(grow-1)/2, Y: f.Y + dy - f.H*(grow-1)/2, W: f.W * grow, H: f.H * grow, Score: f.Score}
}

func TestPresentations(t *testing.T) {
	nobody := Observation{}
	small := Face{X: 300, Y: 200, W: 25, H: 30}
	nan := math.NaN()
	runStages(t, []stageTest{
		{"five live frames are live", []func(*stage){frames(5, judged(here, 3))}, "live 5@0.5"},
		{"four are not enough", []func(*stage){frames(4, judged(here, 6))}, ""},
		{"one presentation gives one verdict", []func(*stage){frames(300, judged(here, 3))}, "live 5@0.5"},
		{"five attacked frames are spoof", []func(*stage){frames(50, judged(here, -3))}, "spoof PAD_ATTACK 5@0.5"},
		{"between the thresholds it is undecided after the time-out", []func(*stage){frames(200, judged(here, 0.5))}, "undecided TIMEOUT 41@8.1"},
		{"undecided, and then live", []func(*stage){frames(85, judged(here, 0.5)), frames(30, judged(here, 3))}, "undecided TIMEOUT 41@8.1\nlive 41@10.0"},
		{"undecided, and then spoof", []func(*stage){frames(85, judged(here, 0.5)), frames(30, judged(here, -3))}, "undecided TIMEOUT 41@8.1\nspoof PAD_ATTACK 41@9.9"},
		{"live, and then spoof", []func(*stage){frames(5, judged(here, 3)), frames(40, judged(here, -3))}, "live 5@0.5\nundecided TIMEOUT 11@1.1\nspoof PAD_ATTACK 15@1.5"},
		{"spoof is never live again", []func(*stage){frames(5, judged(here, -3)), frames(500, judged(here, 6))}, "spoof PAD_ATTACK 5@0.5"},
		{"live, spoof, and nothing more", []func(*stage){frames(5, judged(here, 3)), frames(40, judged(here, -3)), frames(40, judged(here, 6)), frames(40, judged(here, -6))},
			"live 5@0.5\nundecided TIMEOUT 11@1.1\nspoof PAD_ATTACK 15@1.5"},
		{"a new presentation after the face was away", []func(*stage){frames(5, judged(here, -3)), frames(8, nobody), frames(5, judged(here, 3))},
			"spoof PAD_ATTACK 5@0.5\nlive 5@1.8"},
		{"a face that is missed for a moment is the same", []func(*stage){frames(3, judged(here, 3)), frames(6, nobody), frames(2, judged(here, 3))}, "live 5@1.1"},
		{"and is spoof as before", []func(*stage){frames(5, judged(here, -3)), frames(6, nobody), frames(100, judged(here, 3))}, "spoof PAD_ATTACK 5@0.5"},
		{"a face that is away for long brings nothing along", []func(*stage){frames(4, judged(here, 6)), frames(8, nobody), frames(4, judged(here, 6))}, ""},
		{"nor one whose frames didn't come", []func(*stage){frames(4, judged(here, 6)), ticks(8), frames(4, judged(here, 6))}, ""},
		{"even if nobody looked at the clock meanwhile", []func(*stage){frames(4, judged(here, 6)), back(-time.Second), frames(4, judged(here, 6))}, ""},

		{"somebody who passes by is nobody", []func(*stage){frames(9, seen(here)), frames(20, nobody)}, ""},
		{"somebody who leaves early", []func(*stage){frames(12, judged(here, 0.5)), frames(20, nobody)}, "undecided NO_FACES_DETECTED 12@2.0"},
		{"somebody who leaves, and no frame comes", []func(*stage){frames(12, judged(here, 0.5)), frames(1, nobody), ticks(20)}, "undecided NO_FACES_DETECTED 12@2.0"},
		{"frames that stay away are no empty room", []func(*stage){frames(12, judged(here, 0.5)), ticks(20)}, "undecided CAMERA_LOST 12@2.0"},
		{"an answered one leaves in silence", []func(*stage){frames(12, judged(here, 3)), frames(20, nobody)}, "live 5@0.5"},
		{"an empty room says nothing", []func(*stage){frames(500, nobody), ticks(50)}, ""},

		{"a face that moves stays itself", []func(*stage){frames(1, judged(here, 3)), frames(1, judged(moved(here, 40, 0, 1), 3)), frames(1, judged(moved(here, 80, 10, 1), 3)),
			frames(1, judged(moved(here, 80, 10, 1.3), 3)), frames(1, judged(moved(here, 100, 10, 1.6), 3))}, "live 5@0.5"},
		{"a face elsewhere is another", []func(*stage){frames(4, judged(here, 6)), frames(4, judged(there, 6))}, ""},
		{"a gate long ago isn't why it timed out", []func(*stage){frames(1, Observation{Faces: []Face{here}, Code: ProcessingErr}), frames(90, judged(here, 0.5))}, "undecided TIMEOUT 41@8.1"},
		{"a smaller face is another", []func(*stage){frames(4, judged(here, 6)), frames(4, judged(moved(here, 0, 0, 1/1.75), 6))}, ""},
		{"a face of another size is another", []func(*stage){frames(4, judged(here, 6)), frames(4, judged(moved(here, 0, 0, 1.75), 6))}, ""},
		{"an attack doesn't live off the face before it", []func(*stage){frames(4, judged(here, 6)), frames(6, judged(there, -3))}, "spoof PAD_ATTACK 5@0.9"},
		{"nor a person suffer from it", []func(*stage){frames(20, judged(here, -3)), frames(6, judged(there, 3))}, "spoof PAD_ATTACK 5@0.5\nlive 5@2.5"},
		{"a face that took over mid-way", []func(*stage){frames(12, judged(here, 0.5)), frames(5, judged(there, 3))}, "undecided FACE_CHANGED 12@1.3\nlive 5@1.7"},
		{"faces that come and go by turns", []func(*stage){frames(1, judged(here, 6)), frames(1, judged(there, 6)), frames(1, judged(here, 6)), frames(1, judged(there, 6)),
			frames(1, judged(here, 6)), frames(1, judged(there, 6)), frames(1, judged(here, 6)), frames(1, judged(there, 6)), frames(1, judged(here, 6))}, ""},

		{"two faces are undecided", []func(*stage){frames(100, seen(here, there))}, "undecided MANY_FACES 0@8.1"},
		{"even if somebody judged one of them", []func(*stage){frames(100, Observation{Faces: []Face{here, there}, Judged: true, LogOdds: 6, Evidence: 4})}, "undecided MANY_FACES 0@8.1"},
		{"two faces of which now one is larger, now the other", []func(*stage){func(s *stage) {
			for i := range 100 {
				s.frame(seen(moved(here, 0, 0, 0.85+0.3*float64(i%2)), there))
			}
		}}, "undecided MANY_FACES 0@8.1"},
		{"a second face empties the evidence", []func(*stage){frames(4, judged(here, 6)), frames(1, seen(here, there)), frames(4, judged(here, 6))}, ""},
		{"and the rest is judged anew", []func(*stage){frames(4, judged(here, 6)), frames(1, seen(here, there)), frames(5, judged(here, 3))}, "live 5@1.0"},
		{"somebody far behind is no crowd", []func(*stage){frames(5, Observation{Faces: []Face{small, here}, Judged: true, LogOdds: 3, Evidence: 3})}, "live 5@0.5"},
		{"a face too small", []func(*stage){frames(100, seen(small))}, "undecided FACE_TOO_SMALL 0@8.1"},
		{"a face too small that somebody judged", []func(*stage){frames(100, judged(small, 6))}, "undecided FACE_TOO_SMALL 0@8.1"},
		{"a face half outside", []func(*stage){frames(100, judged(moved(here, -300, 0, 1), 6))}, "undecided FACE_CUT_OFF 0@8.1"},
		{"a face that comes closer", []func(*stage){frames(20, seen(small)), frames(2, seen(moved(small, 0, 0, 1.5))), frames(5, judged(moved(small, 0, 0, 2.2), 3))}, "live 5@2.7"},
		{"evidence and gates by turns", []func(*stage){func(s *stage) {
			for range 5 {
				s.frame(judged(here, 3))
				s.frame(Observation{Faces: []Face{here}, Code: ProcessingErr})
			}
		}}, "live 5@0.9"},

		{"a net that fails", []func(*stage){frames(100, Observation{Faces: []Face{here}, Code: ProcessingErr})}, "undecided PROCESSING_ERR 0@8.1"},
		{"a code and a judgement at once", []func(*stage){frames(100, Observation{Faces: []Face{here}, Code: ProcessingErr, Judged: true, LogOdds: 6, Evidence: 4})}, "undecided PROCESSING_ERR 0@8.1"},
		{"a detector that fails is no empty room", []func(*stage){frames(12, judged(here, 0.5)), frames(20, Observation{Code: ProcessingErr})}, "undecided PROCESSING_ERR 12@2.0"},
		{"no answer and no reason", []func(*stage){frames(100, seen(here))}, "undecided TIMEOUT 0@8.1"},
		{"answers that are no numbers", []func(*stage){frames(100, judged(here, nan))}, "undecided PROCESSING_ERR 0@8.1"},
		{"infinite answers", []func(*stage){frames(50, judged(here, math.Inf(1))), frames(50, judged(here, math.Inf(-1)))}, "undecided PROCESSING_ERR 0@8.1"},
		{"numbers among them count alone", []func(*stage){frames(4, judged(here, 6)), frames(3, judged(here, math.Inf(1))), frames(1, judged(here, 3))}, "live 5@0.8"},
		{"boxes that are no numbers", []func(*stage){frames(12, judged(here, 0.5)), frames(100, judged(Face{X: nan, Y: 1, W: 200, H: 200}, 6))}, "undecided PROCESSING_ERR 12@2.0"},
		{"boxes turned inside out", []func(*stage){frames(100, judged(Face{X: 300, Y: 300, W: -200, H: -200}, 6))}, ""},
		{"one such box among good ones", []func(*stage){frames(100, Observation{Faces: []Face{here, {W: -1, H: 5}}, Judged: true, LogOdds: 6, Evidence: 4})}, ""},
		{"a frame of no size", []func(*stage){frames(100, Observation{Width: -1, Height: -1, Faces: []Face{here}, Judged: true, LogOdds: 6, Evidence: 4})}, ""},

		{"the camera is lost", []func(*stage){frames(12, judged(here, 0.5)), interrupt(CameraLost)}, "undecided CAMERA_LOST 12@1.2"},
		{"the camera is lost before anybody stayed", []func(*stage){frames(4, judged(here, 6)), interrupt(CameraLost), frames(4, judged(here, 6))}, ""},
		{"the camera is lost after the verdict", []func(*stage){frames(12, judged(here, 3)), interrupt(CameraLost)}, "live 5@0.5"},
		{"the camera is lost with nobody there", []func(*stage){frames(5, nobody), interrupt(CameraLost), interrupt(PermissionRefused)}, ""},
		{"an interruption without a reason", []func(*stage){frames(12, judged(here, 0.5)), interrupt("")}, "undecided PROCESSING_ERR 12@1.2"},

		{"the clock goes back", []func(*stage){frames(4, judged(here, 6)), back(time.Second), frames(5, judged(here, 6))}, ""},
		{"the clock goes back, and on", []func(*stage){frames(12, judged(here, 0.5)), back(time.Second), frames(6, judged(here, 3))}, "undecided PROCESSING_ERR 12@0.3\nlive 5@0.8"},
		{"a frame twice is one", []func(*stage){frames(4, judged(here, 6)), back(tick), frames(1, judged(here, 6)), back(tick), frames(1, judged(here, 6))}, ""},
		{"and breaks nothing", []func(*stage){frames(4, judged(here, 3)), back(tick), frames(2, judged(here, 3))}, "live 5@0.5"},
	})
}

// stageTest is a script and what is said in it.
type stageTest struct {
	name string
	play []func(*stage)
	want string // asked? VERDICT CODE FRAMES@SECONDS, in order
}

func runStages(t *testing.T, tests []stageTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			for _, play := range tt.play {
				play(s)
			}
			if got := s.String(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func (s *stage) String() string {
	var lines []string
	for i, d := range s.said {
		words := []string{string(d.Verdict)}
		if d.Asked {
			words = []string{"asked", string(d.Verdict)}
		}
		if d.Code != "" {
			words = append(words, string(d.Code))
		}
		words = append(words, formatFrames(d.Frames, s.at[i]))
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}

func formatFrames(n int, at time.Duration) string {
	return fmt.Sprintf("%d@%.1f", n, at.Seconds())
}

func TestADecisionSaysWhatItRestsOn(t *testing.T) {
	s := newStage(t)
	frames(3, seen(here))(s) // not judged: not part of it
	o := judged(here, -1)
	for i, kind := range []string{"", "replay", "", "print", ""} {
		o.Attack, o.LogOdds, o.Evidence, o.Faces = kind, -float64(i), -float64(i), []Face{moved(here, float64(i), 0, 1)}
		s.frame(o)
	}
	if len(s.said) != 1 {
		t.Fatal(s)
	}
	face := moved(here, 4, 0, 1)
	want := Decision{Verdict: Spoof, Code: PADAttack, Score: 0.119202922, Attack: "replay", Frames: 5, Face: &face, First: epoch.Add(4 * tick),
		LiveAt: 0.8, SpoofAt: 0.35}
	if got := s.said[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%+v)\nwant %+v", got, got.Face, want)
	}
}

func TestWithoutEvidenceFirstIsWhenTheFaceAppeared(t *testing.T) {
	s := newStage(t)
	frames(81, seen(here, there))(s)
	if len(s.said) != 1 || !s.said[0].First.Equal(epoch.Add(tick)) || s.said[0].Score != 0 || s.said[0].Attack != "" {
		t.Errorf("%+v", s.said)
	}
}

func TestOneFrameDoesNotOutweighTheOthers(t *testing.T) {
	for _, odds := range []float64{10, 1e3, 1e300} {
		s := newStage(t)
		frames(4, judged(here, -1))(s)
		s.frame(judged(here, odds))
		if len(s.said) != 0 { // (−4 + 6) ÷ 5 is between the thresholds
			t.Errorf("log-odds of %g: %s", odds, s)
		}
	}
}

func TestThresholdsBeyondTheBoundCanBeReached(t *testing.T) {
	o := rules()
	o.LiveAt, o.SpoofAt = 0.9999, 0.0001
	for _, tt := range []struct {
		odds float64
		want Verdict
	}{{20, Live}, {-20, Spoof}} {
		d := newDecider(t, o)
		var said *Decision
		for i := range 5 {
			ob := judged(here, tt.odds)
			ob.Time, ob.Width, ob.Height = epoch.Add(time.Duration(i)*tick), width, height
			said = d.Observe(ob)
		}
		if said == nil || said.Verdict != tt.want {
			t.Errorf("log-odds of %v: %+v", tt.odds, said)
		}
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	d := newDecider(t, rules())
	for i := range 100_000 {
		o := judged(here, 0.5)
		o.Time, o.Width, o.Height = epoch.Add(time.Duration(i)*time.Microsecond), width, height
		d.Observe(o)
	}
	if n := len(d.p.evidence); n != mostFrames {
		t.Errorf("%d frames are kept", n)
	}
}

func TestTheMainFace(t *testing.T) {
	big := Face{X: 100, Y: 50, W: 300, H: 380}
	for _, tt := range []struct {
		name  string
		w, h  int
		faces []Face
		index int
		code  Code
	}{
		{"none", width, height, nil, -1, ""},
		{"one", width, height, []Face{here}, 0, ""},
		{"the largest, wherever it stands in the list", width, height, []Face{moved(there, 0, 0, 0.5), big, moved(there, 0, 0, 0.4)}, 1, ""},
		{"two alike", width, height, []Face{here, there}, 0, ManyFaces},
		{"a second one at the ratio", width, height, []Face{{X: 0, Y: 0, W: 60, H: 60}, {X: 200, Y: 0, W: 100, H: 100}}, 1, ManyFaces},
		{"a second one below it", width, height, []Face{{X: 0, Y: 0, W: 59, H: 59}, {X: 200, Y: 0, W: 100, H: 100}}, 1, ""},
		{"as small as may be", width, height, []Face{{X: 10, Y: 10, W: 30, H: 38.4}}, 0, ""},
		{"smaller", width, height, []Face{{X: 10, Y: 10, W: 30, H: 38.3}}, 0, FaceTooSmall},
		{"two, both too small", width, height, []Face{{X: 10, Y: 10, W: 30, H: 30}, {X: 90, Y: 10, W: 30, H: 30}}, 0, FaceTooSmall},
		{"reaching out a little", width, height, []Face{moved(here, -220, 0, 1)}, 0, ""},
		{"reaching out", width, height, []Face{moved(here, -260, 0, 1)}, 0, FaceCutOff},
		{"outside", width, height, []Face{moved(here, 2000, 0, 1)}, 0, FaceCutOff},
		{"as large as the frame and somewhat larger", width, height, []Face{{X: 80, Y: -40, W: 480, H: 560}}, 0, ""},
		{"no width", width, height, []Face{{X: 1, Y: 1, W: 0, H: 100}}, -1, ProcessingErr},
		{"not a number", width, height, []Face{here, {X: math.NaN(), Y: 1, W: 10, H: 10}}, -1, ProcessingErr},
		{"infinite", width, height, []Face{{X: 1, Y: math.Inf(-1), W: 10, H: math.Inf(1)}}, -1, ProcessingErr},
		{"far beyond any picture", width, height, []Face{{X: 1e300, Y: 1, W: 1e300, H: 1e300}}, -1, ProcessingErr},
		{"less than a pixel", width, height, []Face{{X: 1, Y: 1, W: 0.9, H: 100}}, -1, ProcessingErr},
		{"a frame of no height", width, 0, []Face{here}, -1, ProcessingErr},
		{"no face in a frame of no height", width, 0, nil, -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if i, c := newDecider(t, rules()).Main(tt.w, tt.h, tt.faces); i != tt.index || c != tt.code {
				t.Errorf("%d %q, not %d %q", i, c, tt.index, tt.code)
			}
		})
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no thresholds":                   func(o *Options) { o.LiveAt, o.SpoofAt = 0, 0 },
		"thresholds the wrong way round":  func(o *Options) { o.LiveAt, o.SpoofAt = 0.3, 0.4 },
		"equal thresholds":                func(o *Options) { o.SpoofAt = o.LiveAt },
		"live at one":                     func(o *Options) { o.LiveAt = 1 },
		"thresholds that are no numbers":  func(o *Options) { o.LiveAt = math.NaN() },
		"too few frames":                  func(o *Options) { o.MinFrames = 4 },
		"more frames than are kept":       func(o *Options) { o.MinFrames = mostFrames + 1 },
		"a window before now":             func(o *Options) { o.Window = -1 },
		"a time-out before the beginning": func(o *Options) { o.Timeout = -1 },
		"faces higher than the frame":     func(o *Options) { o.MinFace = 1.1 },
		"a ratio that is no number":       func(o *Options) { o.Crowd = math.NaN() },
		"no growth allowed":               func(o *Options) { o.Growth = 1 },
		"any growth allowed":              func(o *Options) { o.Growth = math.Inf(1) },
	} {
		t.Run(name, func(t *testing.T) {
			o := rules()
			change(&o)
			if d, err := New(o); err == nil {
				t.Errorf("they are taken: %+v", d.o)
			}
		})
	}
}

func TestZeroOptionsAreTheDefaults(t *testing.T) {
	d := newDecider(t, Options{LiveAt: 0.8, SpoofAt: 0.35})
	if d.o != rules() {
		t.Errorf("%+v", d.o)
	}
}
