package decision

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// alike is an appearance that has nothing to do with that of another seed.
func alike(seed uint64) Signature { return direction(rand.New(rand.NewPCG(seed, 5))) }

// well is a frame of somebody with an appearance, seen well.
func well(seed uint64, odds float64) Observation {
	o := judged(here, odds)
	o.Look = Look{Known: true, Luma: 120, Sharp: 0.5, Signature: alike(seed)}
	return o
}

func looking(change func(*Look)) Observation {
	o := well(1, 3)
	change(&o.Look)
	return o
}

func doubting(odds float64, d Doubt) Observation {
	o := judged(here, odds)
	o.Doubts = []Doubt{d}
	return o
}

// every plays n frames that come so far apart.
func every(step time.Duration, n int, o Observation) func(*stage) {
	return func(s *stage) {
		for range n {
			s.now = s.now.Add(step - tick)
			s.frame(o)
		}
	}
}

func asks(d Demand) func(*stage) {
	return func(s *stage) {
		if err := s.d.Ask(s.now, d); err != nil {
			panic(err)
		}
	}
}

// followed is a frame in which the detector didn't look.
func followed(o Observation) Observation {
	o.Followed = true
	return o
}

func release() func(*stage) { return func(s *stage) { s.d.Release() } }

func TestWhoIsWho(t *testing.T) {
	far := Face{X: 20, Y: 20, W: 60, H: 76}
	background := Observation{Faces: []Face{far}, Judged: true, LogOdds: 6, Evidence: 4}
	both := Observation{Faces: []Face{far, here}, Judged: true, LogOdds: 3, Evidence: 3}
	runStages(t, []stageTest{
		{"a photo that is held before a living face gets nothing of its evidence", []func(*stage){frames(4, well(1, 6)), frames(4, well(2, 6))}, ""},
		{"and is judged by its own", []func(*stage){frames(4, well(1, 6)), frames(30, well(2, -3))}, "spoof PAD_ATTACK 5@1.0"},
		{"a living face after a photo, too, which takes twice the evidence", []func(*stage){frames(4, well(1, -6)), frames(30, well(2, 3))}, "live 14@1.9"},
		{"even one that the net likes", []func(*stage){frames(4, well(1, 3)), frames(60, well(2, 1.4))}, "live 35@4.0"},
		{"which without anybody before it would do sooner", []func(*stage){frames(60, well(2, 1.4))}, "live 15@1.5"},
		{"after live, evidence that turns takes that back", []func(*stage){frames(10, judged(here, 2)), frames(40, judged(here, -0.3))}, "live 9@0.9\nundecided TIMEOUT 41@4.6"},
		{"who was live is another presentation when a photo comes", []func(*stage){frames(10, well(1, 3)), frames(10, well(2, -3))}, "live 5@0.5\nundecided FACE_CHANGED 10@1.2\nspoof PAD_ATTACK 5@1.6"},
		{"somebody who stayed is told that another came", []func(*stage){frames(15, well(1, 0.2)), frames(3, well(2, 0.2))}, "undecided FACE_CHANGED 15@1.7"},
		{"one frame that looks like another is only left out", []func(*stage){frames(3, well(1, 3)), frames(1, well(2, -6)), frames(2, well(1, 3))}, "live 5@0.6"},
		{"a photo in every other frame gets nowhere", []func(*stage){func(s *stage) {
			for range 8 {
				s.frame(well(1, -3))
				s.frame(well(2, 6))
			}
		}}, "spoof PAD_ATTACK 5@0.9"},
		{"after somebody else, who can't be seen may still be that one", []func(*stage){frames(4, well(1, 3)), frames(1, well(2, 3)), frames(3, judged(here, 3))}, ""},

		{"somebody behind is seen alone for a frame", []func(*stage){frames(3, judged(here, 3)), frames(1, background), frames(2, judged(here, 3))}, "live 5@0.6"},
		{"somebody behind all the time", []func(*stage){func(s *stage) {
			for range 3 {
				s.frame(both)
				s.frame(background)
				s.frame(both)
			}
		}}, "live 5@0.7"},
		{"and when the main face has left, it's somebody else's turn", []func(*stage){frames(12, judged(here, 0.2)), frames(30, background)},
			"undecided NO_FACES_DETECTED 12@2.0\nlive 5@2.4"},

		{"four frames a second", []func(*stage){every(250*time.Millisecond, 20, judged(here, 3))}, "live 5@1.2"},
		{"one frame a second", []func(*stage){every(time.Second, 20, judged(here, 3))}, "live 5@6.0"},
		{"one frame in two seconds", []func(*stage){every(2*time.Second, 6, judged(here, 3))}, "live 5@12.0"},
		{"one in three takes longer than there is", []func(*stage){every(3*time.Second, 5, judged(here, 3))}, "undecided TIMEOUT 4@15.0"},
		{"one in six is no presentation", []func(*stage){every(6*time.Second, 9, judged(here, 3))}, ""},
		{"a second's pause of a fast camera is a pause", []func(*stage){frames(4, judged(here, 6)), every(time.Second, 1, judged(here, 6)), frames(3, judged(here, 6))}, ""},
	})
}

func TestLiveIsSaidOnlyWhereSomebodyLooked(t *testing.T) {
	runStages(t, []stageTest{
		{"of a face that was merely followed nothing is", []func(*stage){frames(30, followed(well(1, 3)))}, ""},
		{"but it is evidence", []func(*stage){frames(4, followed(well(1, 3))), frames(1, well(1, 3))}, "live 5@0.5"},
		{"of the first frame that was looked at", []func(*stage){frames(12, followed(well(1, 3))), frames(1, well(1, 3))}, "live 13@1.3"},
		{"who asks hears it then, too", []func(*stage){asks(Demand{}), frames(12, followed(well(1, 3))), frames(1, well(1, 3))}, "asked live 13@1.3"},
		{"an attack is one at once", []func(*stage){frames(5, followed(well(1, -3)))}, "spoof PAD_ATTACK 5@0.5"},
		{"live is taken back at once", []func(*stage){frames(10, judged(here, 2)), frames(40, followed(judged(here, -0.3)))}, "live 9@0.9\nundecided TIMEOUT 41@4.6"},
		{"time runs out as ever", []func(*stage){frames(100, followed(well(1, 3)))}, "undecided TIMEOUT 41@8.1"},
	})
}

func TestMinTimeIsCountedToAPartOfAnInterval(t *testing.T) {
	runStages(t, []stageTest{
		{"six intervals of fifteen frames a second", []func(*stage){every(time.Second/15, 20, judged(here, 4))}, "live 7@0.5"},
		{"twelve of thirty", []func(*stage){every(time.Second/30, 20, judged(here, 4))}, "live 13@0.4"},
		{"a twentieth less isn't enough", []func(*stage){every(94*time.Millisecond, 20, judged(here, 4))}, "live 6@0.6"},
		{"nor an eighth of an interval less", []func(*stage){every(19*time.Millisecond, 40, judged(here, 5))}, "live 22@0.4"},
	})
}

func TestWhenLiveIsNear(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []func(*stage)
		want  bool
	}{
		{"nobody", nil, false},
		{"too few frames", []func(*stage){frames(3, judged(here, 3))}, false},
		{"one is missing", []func(*stage){frames(4, judged(here, 3))}, true},
		{"all are there, but nobody looked", []func(*stage){frames(12, followed(judged(here, 3)))}, true},
		{"too little evidence", []func(*stage){frames(4, judged(here, 1))}, false},
		{"too low a score", []func(*stage){frames(30, Observation{Faces: []Face{here}, Judged: true, LogOdds: 0.5, Evidence: 3})}, false},
		{"evidence for the other side", []func(*stage){frames(4, judged(here, -3))}, false},
		{"live was said", []func(*stage){frames(9, judged(here, 3))}, false},
		{"live was said, and somebody asks", []func(*stage){frames(9, judged(here, 3)), asks(Demand{}), frames(4, judged(here, 3))}, true},
		{"who asks wants more", []func(*stage){asks(Demand{MinFrames: 12}), frames(9, judged(here, 3))}, false},
		{"an attack", []func(*stage){frames(9, judged(here, -3)), frames(9, judged(here, 6))}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			for _, f := range tt.steps {
				f(s)
			}
			if got := s.d.Near(s.now.Add(tick)); got != tt.want {
				t.Errorf("near: %v", got)
			}
			if present := s.d.Present(); present != (tt.steps != nil) {
				t.Errorf("present: %v", present)
			}
		})
	}
}

func TestFramesThatAreWorthJudging(t *testing.T) {
	for _, tt := range []struct {
		name   string
		demand Demand
		want   time.Duration
	}{
		{"by the rules", Demand{}, 60 * time.Millisecond},
		{"who asks for more in more time", Demand{MinFrames: 12, MinTime: 1100 * time.Millisecond}, 60 * time.Millisecond},
		{"for more in the same time", Demand{MinFrames: 41}, 6 * time.Millisecond},
		{"for as many in more time", Demand{MinTime: 4 * time.Second}, 60 * time.Millisecond},
	} {
		d := newDecider(t, rules())
		if tt.demand != (Demand{}) {
			if err := d.Ask(epoch, tt.demand); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.Spacing(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWhatCannotBeSeenWellIsNoEvidence(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		name   string
		change func(*Look)
		code   Code
	}{
		{"well", func(*Look) {}, ""},
		{"nobody looked", func(l *Look) { *l = Look{Luma: 1} }, ""},
		{"as dark as may be", func(l *Look) { l.Luma = 35 }, ""},
		{"darker", func(l *Look) { l.Luma = 34.9 }, TooDark},
		{"half of it black", func(l *Look) { l.Dark = 0.56 }, TooDark},
		{"as bright as may be", func(l *Look) { l.Luma = 235 }, ""},
		{"brighter", func(l *Look) { l.Luma = 235.1 }, TooBright},
		{"half of it white", func(l *Look) { l.Bright = 0.56 }, TooBright},
		{"blurred", func(l *Look) { l.Sharp = 0.249 }, Blurred},
		{"turned as far as may be", func(l *Look) { l.Posed, l.Yaw, l.Roll = true, -35, 30 }, ""},
		{"turned away", func(l *Look) { l.Posed, l.Yaw = true, -35.1 }, FaceTurned},
		{"leaning", func(l *Look) { l.Posed, l.Roll = true, 31 }, FaceTurned},
		{"turned, and nobody looked", func(l *Look) { *l = Look{Posed: true, Roll: 90} }, FaceTurned},
		{"turned, but nobody knows", func(l *Look) { l.Yaw = 90 }, ""},
		{"a pose that is no number", func(l *Look) { l.Posed, l.Yaw = true, nan }, FaceTurned},
		{"a brightness that is none", func(l *Look) { l.Luma = nan }, ProcessingErr},
		{"a sharpness that is none", func(l *Look) { l.Sharp = math.Inf(1) }, ProcessingErr},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := looking(tt.change)
			if got := newDecider(t, rules()).Gate(&o.Look); got != tt.code {
				t.Errorf("%q, not %q", got, tt.code)
			}
			s := newStage(t)
			frames(100, o)(s)
			want := "live 5@0.5"
			if tt.code != "" {
				want = "undecided " + string(tt.code) + " 0@8.1"
			}
			if got := s.String(); got != want || s.d.Hint() != tt.code {
				t.Errorf("got %s, hint %q; want %s", got, s.d.Hint(), want)
			}
		})
	}
}

func TestFramesThatFailAGateHelpNobody(t *testing.T) {
	dark := looking(func(l *Look) { l.Luma = 10 })
	attack := dark
	attack.LogOdds, attack.Evidence = -9, -4
	given := dark
	given.Given = true
	runStages(t, []stageTest{
		{"not who is alive", []func(*stage){frames(4, well(1, 3)), frames(20, dark), frames(1, well(1, 3))}, "live 5@2.5"},
		{"not who isn't", []func(*stage){frames(4, well(1, 3)), frames(20, attack), frames(1, well(1, 3))}, "live 5@2.5"},
		{"the last one names the reason", []func(*stage){frames(40, looking(func(l *Look) { l.Sharp = 0 })), frames(60, dark)}, "undecided TOO_DARK 0@8.1"},
		{"but not if there was evidence", []func(*stage){frames(60, well(1, 0.2)), frames(40, dark)}, "undecided TIMEOUT 20@8.1"},
		{"a box that somebody gave has no gates", []func(*stage){frames(10, given)}, "live 5@0.5"},
		{"a face at the edge that has lost its shape", []func(*stage){frames(100, judged(Face{X: 0, Y: 100, W: 70, H: 200}, 3))}, "undecided FACE_CUT_OFF 0@8.1"},
		{"one at the edge that has all of it", []func(*stage){frames(10, judged(Face{X: 0, Y: 100, W: 160, H: 200}, 3))}, "live 5@0.5"},
		{"one without a forehead", []func(*stage){frames(100, judged(Face{X: 200, Y: 0, W: 180, H: 140}, 3))}, "undecided FACE_CUT_OFF 0@8.1"},
	})
}

func TestDoubts(t *testing.T) {
	fake := Doubt{Cue: "infrared", Verdict: Spoof, Attack: "print"}
	frozen := Doubt{Cue: "repeat", Verdict: Undecided, Code: CameraSuspect}
	runStages(t, []stageTest{
		{"one makes an attack of who looks alive", []func(*stage){frames(4, judged(here, 3)), frames(1, doubting(3, fake))}, "spoof PAD_ATTACK 5@0.5"},
		{"even in one frame, and before there is enough", []func(*stage){frames(1, doubting(3, fake)), frames(9, judged(here, 3))}, "spoof PAD_ATTACK 5@0.5"},
		{"but not of who was never judged", []func(*stage){frames(100, Observation{Faces: []Face{here}, Code: ProcessingErr, Doubts: []Doubt{fake}})}, "undecided PROCESSING_ERR 0@8.1"},
		{"after live it takes that back", []func(*stage){frames(9, judged(here, 3)), frames(1, doubting(3, fake)), frames(50, judged(here, 3))}, "live 5@0.5\nspoof PAD_ATTACK 10@1.0"},
		{"it isn't the next one's", []func(*stage){frames(5, doubting(3, fake)), frames(8, Observation{}), frames(5, judged(here, 3))}, "spoof PAD_ATTACK 5@0.5\nlive 5@1.8"},
		{"another one takes the evidence away", []func(*stage){frames(4, judged(here, 6)), frames(1, doubting(6, frozen)), frames(4, judged(here, 6))}, ""},
		{"as long as it lasts", []func(*stage){frames(100, doubting(6, frozen))}, "undecided CAMERA_SUSPECT 0@8.1"},
		{"and takes live back", []func(*stage){frames(9, judged(here, 3)), frames(5, doubting(6, frozen)), frames(5, judged(here, 3))},
			"live 5@0.5\nundecided CAMERA_SUSPECT 0@1.0\nlive 5@1.9"},
		{"none says live", []func(*stage){frames(100, doubting(0.1, Doubt{Verdict: Live}))}, "undecided PROCESSING_ERR 0@8.1"},
		{"about nobody it is nothing", []func(*stage){frames(20, Observation{Doubts: []Doubt{fake, frozen}}), frames(5, judged(here, 3))}, "live 5@2.5"},
	})
	s := newStage(t)
	frames(5, doubting(3, fake))(s)
	if got := s.said[0]; got.Attack != "print" || got.Score != 0.35 {
		t.Errorf("%+v", got)
	}
}

func TestWhoAsksIsAnswered(t *testing.T) {
	nobody := Observation{}
	strict := Demand{MinFrames: 12, MinTime: time.Second, LiveAt: 0.9}
	runStages(t, []stageTest{
		{"about who stands there, on frames from then on", []func(*stage){frames(10, judged(here, 3)), asks(Demand{}), frames(10, judged(here, 3))}, "live 5@0.5\nasked live 5@1.5"},
		{"about who comes", []func(*stage){frames(10, nobody), asks(Demand{}), frames(10, nobody), frames(9, judged(here, 3))}, "asked live 5@2.5"},
		{"about an attack", []func(*stage){asks(Demand{}), frames(10, judged(here, -3))}, "asked spoof PAD_ATTACK 5@0.5"},
		{"and hears of it when that changes", []func(*stage){asks(Demand{}), frames(5, judged(here, 3)), frames(60, judged(here, -3))}, "asked live 5@0.5\nundecided TIMEOUT 11@1.1\nspoof PAD_ATTACK 15@1.5"},
		{"with as many frames as it wants", []func(*stage){asks(strict), frames(30, judged(here, 3))}, "asked live 12@1.2"},
		{"with thresholds of its own", []func(*stage){asks(Demand{LiveAt: 0.99, Timeout: 2 * time.Second}), frames(30, judged(here, 3))}, "asked undecided TIMEOUT 20@2.0\nlive 21@2.1"},
		{"with error rates of its own", []func(*stage){asks(Demand{AcceptError: 1e-4}), frames(20, judged(here, 3))}, "asked live 14@1.4"},
		{"after its time", []func(*stage){asks(Demand{Timeout: time.Second}), frames(30, judged(here, 0.1))}, "asked undecided TIMEOUT 10@1.0"},
		{"by the clock alone", []func(*stage){frames(1, nobody), asks(Demand{Timeout: time.Second}), frames(2, nobody), ticks(20)}, "asked undecided NO_FACES_DETECTED 0@1.1"},
		{"that no frame came", []func(*stage){frames(5, judged(here, 3)), asks(Demand{Timeout: time.Second}), ticks(20)}, "live 5@0.5\nasked undecided CAMERA_LOST 0@1.5"},
		{"what was missing", []func(*stage){asks(Demand{Timeout: time.Second}), frames(12, seen(here, there))}, "asked undecided MANY_FACES 0@1.0"},
		{"that the camera is gone", []func(*stage){asks(Demand{}), frames(4, judged(here, 3)), interrupt(CameraLost), frames(2, judged(here, 3))}, "asked undecided CAMERA_LOST 4@0.4"},
		{"that the clock went back", []func(*stage){asks(Demand{}), frames(4, judged(here, 3)), back(time.Second), frames(2, judged(here, 3))}, "asked undecided PROCESSING_ERR 4@-0.5"},
		{"not by the evidence of who left", []func(*stage){asks(Demand{Timeout: 3 * time.Second}), frames(4, judged(here, 6)), frames(9, nobody), frames(4, judged(here, 6)), frames(15, nobody)},
			"asked undecided NO_FACES_DETECTED 0@3.0"},
		{"nor of who was replaced", []func(*stage){asks(Demand{}), frames(4, well(1, 6)), frames(20, well(2, -3))}, "asked spoof PAD_ATTACK 5@1.0"},
		{"never live about an attack", []func(*stage){frames(5, judged(here, -3)), asks(Demand{Timeout: 6 * time.Second}), frames(70, judged(here, 6))}, "spoof PAD_ATTACK 5@0.5\nasked undecided TIMEOUT 41@6.5"},
		{"but about the next", []func(*stage){frames(5, judged(here, -3)), asks(Demand{}), frames(8, nobody), frames(5, judged(here, 3))}, "spoof PAD_ATTACK 5@0.5\nasked live 5@1.8"},
		{"twice, in a row", []func(*stage){asks(Demand{}), frames(5, judged(here, 3)), asks(Demand{}), frames(5, judged(here, 3))}, "asked live 5@0.5\nasked live 5@1.0"},
		{"not any more", []func(*stage){asks(Demand{}), frames(4, judged(here, 3)), release(), frames(4, judged(here, 3))}, "live 5@0.5"},
		{"who thinks better of it before anybody comes", []func(*stage){release(), asks(Demand{Timeout: time.Second}), release(), ticks(20)}, ""},
		{"and by a doubt", []func(*stage){asks(Demand{}), frames(6, doubting(6, Doubt{Verdict: Spoof}))}, "asked spoof PAD_ATTACK 5@0.5"},
	})
}

func TestAnAnswerThatNobodyWasToldIsSaidAgain(t *testing.T) {
	unheard := func(s *stage) { s.deaf = true }
	runStages(t, []stageTest{
		{"live", []func(*stage){unheard, asks(Demand{}), frames(10, judged(here, 3))}, "asked live 5@0.5\nlive 6@0.6"},
		{"an attack", []func(*stage){unheard, asks(Demand{}), frames(10, judged(here, -3))}, "asked spoof PAD_ATTACK 5@0.5\nspoof PAD_ATTACK 6@0.6"},
	})
	d := newDecider(t, rules())
	d.Heard(Live) // of nobody
	s := newStage(t)
	frames(5, judged(here, -3))(s)
	s.d.Heard(Live)
	frames(20, judged(here, 6))(s)
	if len(s.said) != 1 || s.said[0].Verdict != Spoof {
		t.Errorf("after spoof: %+v", s.said)
	}
}

func TestAnAnswerSaysWhatWasAskedFor(t *testing.T) {
	s := newStage(t)
	asks(Demand{LiveAt: 0.9, SpoofAt: 0.1})(s)
	frames(5, judged(here, 3))(s)
	if got := s.said[0]; !got.Asked || got.LiveAt != 0.9 || got.SpoofAt != 0.1 {
		t.Errorf("%+v", got)
	}
}

func TestQuestionsThatMakeNoSense(t *testing.T) {
	for name, d := range map[string]Demand{
		"too few frames":                 {MinFrames: 4},
		"more than are kept":             {MinFrames: 257},
		"thresholds the wrong way round": {LiveAt: 0.3, SpoofAt: 0.4},
		"a threshold below the others":   {LiveAt: 0.2},
		"no number":                      {AcceptError: math.NaN()},
		"an error in every other case":   {RefuseError: 0.5},
		"longer than it waits":           {MinTime: 9 * time.Second},
		"before it began":                {Timeout: -1},
	} {
		if err := newDecider(t, rules()).Ask(epoch, d); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	d := newDecider(t, rules())
	if err := errors.Join(d.Ask(epoch, Demand{}), d.Ask(epoch, Demand{})); !errors.Is(err, ErrAsked) {
		t.Errorf("two at once: %v", err)
	}
}

func TestHintAndProgress(t *testing.T) {
	s := newStage(t)
	expect := func(hint Code, least, most float64) {
		t.Helper()
		if p := s.d.Progress(); s.d.Hint() != hint || !(p >= least && p <= most) {
			t.Errorf("hint %q, progress %v; want %q and %v to %v", s.d.Hint(), p, hint, least, most)
		}
	}
	expect("", 0, 0)
	s.frame(Observation{})
	expect(NoFacesDetected, 0, 0)
	s.frame(judged(moved(here, 0, 0, 0.1), 3))
	expect(FaceTooSmall, 0, 0)
	s.frame(judged(here, 2))
	expect("", 0.4, 0.5)
	frames(9, judged(here, 2))(s)
	expect("", 1, 1)
	asks(Demand{})(s)
	expect("", 0, 0)
	frames(3, judged(here, -1))(s)
	expect("", -0.6, -0.3)
	s.frame(seen(here, there))
	expect(ManyFaces, 0, 0)
	release()(s)
	frames(60, judged(here, -3))(s)
	asks(Demand{})(s)
	s.frame(judged(here, 1))
	expect(PADAttack, 0.1, 0.4) // it was said to be one: nothing will come of it
}

func TestASignatureIsComparedToTheNewest(t *testing.T) {
	a, b := alike(1), alike(2)
	same := a
	if d := a.distance(&same); math.Abs(d) > 1e-6 {
		t.Errorf("%v from itself", d)
	}
	if d := a.distance(&b); d < 0.5 {
		t.Errorf("%v from another", d)
	}
	// From one appearance to another in small steps: that is how people turn their heads, and nobody notices.
	s := newStage(t)
	for i := range 12 {
		o := well(1, 3)
		w := float32(i) / 11
		var sum float64
		for k := range o.Look.Signature {
			o.Look.Signature[k] = (1-w)*a[k] + w*b[k]
			sum += square(o.Look.Signature[k])
		}
		for k := range o.Look.Signature {
			o.Look.Signature[k] /= float32(math.Sqrt(sum))
		}
		s.frame(o)
	}
	if got := s.String(); got != "live 5@0.5" {
		t.Error(got)
	}
}

func TestStandingIsWhereTheEvidenceStands(t *testing.T) {
	s := newStage(t)
	if got := s.d.Standing(); got.Presentation != 0 || got.Frames != 0 || !(got.LiveBound > 0 && got.SpoofBound < 0) || got.LiveAt != 0.8 || got.SpoofAt != 0.35 {
		t.Errorf("before anybody came: %+v", got)
	}
	frames(3, judged(here, 2))(s)
	got := s.d.Standing()
	if got.Presentation != 1 || got.Frames != 3 || got.Span != 2*tick || got.Sum <= 0 || got.Score < 0.8 || got.Said != "" || got.Asked || got.Began != epoch.Add(tick) {
		t.Errorf("after three frames: %+v", got)
	}
	if p := s.d.Progress(); p != got.Sum/got.LiveBound {
		t.Errorf("progress is %v, and the standing %+v", p, got)
	}
	frames(20, judged(here, 2))(s)
	if got = s.d.Standing(); got.Said != Live || got.Sum < got.LiveBound {
		t.Errorf("after live: %+v", got)
	}
	if err := s.d.Ask(s.now, Demand{LiveAt: 0.9, MinFrames: 9}); err != nil {
		t.Fatal(err)
	}
	s.frame(Observation{Faces: []Face{here}, Code: TooDark})
	if got = s.d.Standing(); !got.Asked || got.LiveAt != 0.9 || got.MinFrames != 9 || got.Frames != 0 || got.Lack != TooDark {
		t.Errorf("for who asked: %+v", got)
	}
	ticks(20)(s)
	frames(1, judged(there, -2))(s)
	if got = s.d.Standing(); got.Presentation != 2 || got.Frames != 1 || got.Sum >= 0 {
		t.Errorf("of the next one: %+v", got)
	}
}
