package decision

import "testing"

func TestATrialHasOneAnswerOrAReason(t *testing.T) {
	small := moved(here, 0, 0, 0.1)
	many := func(n int, o Observation) (all []Observation) {
		for range n {
			all = append(all, o)
		}
		return all
	}
	dark := Observation{Faces: []Face{here}, Code: TooDark}
	for _, tt := range []struct {
		name   string
		frames []Observation
		least  float64 // of the score
		most   float64
		why    Code
	}{
		{"a living person", many(30, judged(here, 3)), 0.9, 1, ""},
		{"an attack", many(30, judged(here, -3)), 0, 0.1, ""},
		{"nobody can say", many(30, judged(here, 0.2)), 0.5, 0.6, ""},
		{"an attack, and then somebody who is let in", append(append(many(30, judged(here, -3)), many(20, Observation{})...), many(30, judged(here, 3))...), 0.9, 1, ""},
		{"nobody", many(30, Observation{}), 0, 0, NoFacesDetected},
		{"nothing", nil, 0, 0, NoFacesDetected},
		{"somebody far away", many(30, seen(small)), 0, 0, FaceTooSmall},
		{"somebody in the dark", many(30, dark), 0, 0, TooDark},
		{"somebody in the dark, but for three frames", append(many(3, judged(here, 3)), many(20, dark)...), 0, 0, TooDark},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, err := NewTrial(rules())
			if err != nil {
				t.Fatal(err)
			}
			now := epoch
			for _, o := range tt.frames {
				now = now.Add(tick)
				if o.Time, o.Width, o.Height = now, width, height; len(o.Faces) > 0 && o.Code == "" && o.Faces[0] == small {
					_, o.Code = tr.Decider().Main(width, height, o.Faces)
				}
				tr.Observe(o)
			}
			score, why := tr.End(now)
			if score < tt.least || score > tt.most || why != tt.why {
				t.Errorf("%v, %q", score, why)
			}
		})
	}
	if _, err := NewTrial(Options{}); err == nil {
		t.Error("rules without thresholds are taken")
	}
}
