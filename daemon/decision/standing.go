package decision

import "time"

// Standing is where the evidence about the presentation of now stands, for whoever wants to see it fill. Nothing follows from it.
type Standing struct {
	Presentation uint64        // counts the presentations of this decider, from 1; 0: nobody is there
	Began        time.Time     // of the presentation
	Said         Verdict       // what was said of it last, "" for nothing yet
	Frames       int           // judged frames that count
	MinFrames    int           // that a verdict needs
	Span         time.Duration // from the first of them to the newest
	MinTime      time.Duration // that a verdict needs
	Score        float64       // P(live) over them; 0 where there are none
	LiveAt       float64       // the thresholds on it
	SpoofAt      float64
	Sum          float64 // of the test
	LiveBound    float64 // at which it may be live, above 0
	SpoofBound   float64 // at which it may be an attack, below 0
	Asked        bool    // it is judged for who asked, by their rules
	Lack         Code    // what the newest frame lacked, "" if it was evidence
}

// Standing tells it. It changes nothing, and is for the goroutine that the decider is for.
func (d *Decider) Standing() Standing {
	r, asked := d.rule, d.ask != nil
	if asked {
		r = d.ask.rule
	}
	s := Standing{MinFrames: r.minFrames, MinTime: r.minTime, LiveAt: r.liveAt, SpoofAt: r.spoofAt, LiveBound: r.upper, SpoofBound: r.lower, Asked: asked, Lack: d.hint}
	p := d.p
	if p == nil {
		return s
	}
	after := p.began.Add(-1)
	if asked {
		after = d.ask.since
	}
	w := d.weigh(r, after)
	s.Presentation, s.Began, s.Said, s.LiveBound = d.count, p.began, p.said, d.need(r)
	s.Frames, s.Span, s.Score, s.Sum = w.frames, w.span, w.score, w.sum
	return s
}
