package decision

import "time"

// presentation is one face in front of the camera, from its appearance to its leaving.
type presentation struct {
	began, seen time.Time // first and newest frame that showed it
	face        Face      // where it was then
	said        Verdict   // newest verdict, "" for none yet
	gate        Code      // why a frame was no evidence, lately
	blind       Code      // why the face can't be seen since then; "" for no reason
	evidence    []evidence
}

// evidence is one judged frame.
type evidence struct {
	time   time.Time
	odds   float64
	attack string
}

func (p *presentation) add(e evidence) {
	if len(p.evidence) == mostFrames {
		p.drop(1)
	}
	p.evidence = append(p.evidence, e)
}

// forget drops evidence from before a time.
func (p *presentation) forget(before time.Time) {
	n := 0
	for n < len(p.evidence) && p.evidence[n].time.Before(before) {
		n++
	}
	p.drop(n)
}

func (p *presentation) drop(n int) {
	p.evidence = p.evidence[:copy(p.evidence, p.evidence[n:])]
}

// score is P(live) over the evidence, of which there is some.
func (p *presentation) score() float64 {
	var sum float64
	for _, e := range p.evidence {
		sum += e.odds
	}
	return sigmoid(sum / float64(len(p.evidence)))
}

func (p *presentation) say(v Verdict, c Code) *Decision {
	p.said = v
	face := p.face
	d := &Decision{Verdict: v, Code: c, Frames: len(p.evidence), Face: &face, First: p.began}
	if len(p.evidence) > 0 {
		d.Score, d.First = p.score(), p.evidence[0].time
	}
	if v == Spoof {
		d.Attack = p.attack()
	}
	return d
}

// attack is the kind that most of the frames name; of equals, the one that came first.
func (p *presentation) attack() string {
	count := map[string]int{}
	for _, e := range p.evidence {
		count[e.attack]++
	}
	best := ""
	for _, e := range p.evidence {
		if e.attack != "" && (best == "" || count[e.attack] > count[best]) {
			best = e.attack
		}
	}
	return best
}

// nearest is the face that goes on from where this one was, and otherwise the one that was given.
func (p *presentation) nearest(faces []Face, otherwise Face) Face {
	best := otherwise
	for _, f := range faces {
		if overlap(p.face, f) > overlap(p.face, best) {
			best = f
		}
	}
	return best
}
