package console

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
)

const (
	// shortest and longest are the bounds of a presentation of a calibration.
	shortest = 2 * time.Second
	longest  = time.Minute
	// maxPresented bounds the presentations of a calibration.
	maxPresented = 2000
)

// speciesForm is what an attack may be called, as in `livenessd calibrate`.
var speciesForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// live is what a living person is called beside species.
const live = "live"

var (
	errBegun   = errors.New("no calibration was begun")
	errPresent = errors.New("something is being looked at already")
	errMany    = errors.New("as many presentations as are remembered")
)

// calibration is a walk through presentations of which the technician says what they are. One is on at a time, in memory alone, and no picture is
// kept.
type calibration struct {
	mu      sync.Mutex
	camera  string // "" for none
	target  pad.Target
	shown   []presented
	looking bool
	turn    int // counts the walks, so that what was looked at for an earlier one doesn't count
}

// presented is what came of one presentation.
type presented struct {
	Species string   `json:"species"`       // live, or that of an attack
	Score   *float64 `json:"score"`         // null: there was no answer
	Why     string   `json:"why,omitempty"` // there was none
	Said    string   `json:"said,omitempty"`
}

// calibrationDocument is where a calibration stands. Rates have intervals of 95 %.
type calibrationDocument struct {
	Camera     string          `json:"camera"`
	Looking    bool            `json:"looking"`
	Target     pad.Target      `json:"target"`
	Shown      []presented     `json:"presentations"`
	LiveAt     float64         `json:"live_at"` // in effect
	SpoofAt    float64         `json:"spoof_at"`
	Now        []speciesResult `json:"now"`        // at those
	Suggestion *pad.Suggestion `json:"suggestion"` // null: see refused
	Refused    []string        `json:"refused"`
}

// speciesResult is how often the thresholds in effect were wrong.
type speciesResult struct {
	Species string   `json:"species"`
	Rate    pad.Rate `json:"rate"`   // BPCER of living people, APCER of attacks
	Silent  int      `json:"silent"` // without an answer
	More    int      `json:"more"`   // how many more without an error it takes to be certain of the target
}

func (c *calibration) begin(camera string, t pad.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.camera, c.target, c.shown, c.turn = camera, t, nil, c.turn+1
}

// document works out where it stands. o is the rules in effect.
func (c *calibration) document(o decision.Options) calibrationDocument {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := calibrationDocument{Camera: c.camera, Looking: c.looking, Target: c.target, Shown: emptied(slices.Clone(c.shown)), LiveAt: o.LiveAt, SpoofAt: o.SpoofAt,
		Now: []speciesResult{}, Refused: []string{}}
	if c.camera == "" {
		return d
	}
	var people []float64
	attacks := map[string][]float64{}
	silent := map[string]int{}
	order := []string{live}
	for _, p := range c.shown {
		if !slices.Contains(order, p.Species) {
			order = append(order, p.Species)
		}
		switch {
		case p.Species == live && p.Score != nil:
			people = append(people, *p.Score)
		case p.Species != live:
			if attacks[p.Species] = append(attacks[p.Species], scores(p)...); attacks[p.Species] == nil {
				attacks[p.Species] = []float64{}
			}
		}
		if p.Score == nil {
			silent[p.Species]++
		}
	}
	sample, err := pad.NewSample(people, attacks)
	if err != nil {
		d.Refused = append(d.Refused, err.Error())
		return d
	}
	for _, species := range order {
		rate, limit := sample.BPCER(o.LiveAt), c.target.BPCER
		if species != live {
			rate, limit = sample.APCER(species, o.LiveAt), c.target.APCER
		}
		d.Now = append(d.Now, speciesResult{species, rate, silent[species], pad.MoreNeeded(rate.Errors, rate.Of, limit, c.target.Certainty)})
	}
	var why []string
	d.Suggestion, why = pad.Suggest(people, attacks, c.target)
	d.Refused = emptied(why)
	return d
}

func scores(p presented) []float64 {
	if p.Score == nil {
		return nil
	}
	return []float64{*p.Score}
}

// start takes the camera for a presentation, unless it has one.
func (c *calibration) start() (camera string, turn int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.camera == "":
		return "", 0, errBegun
	case c.looking:
		return "", 0, errPresent
	case len(c.shown) >= maxPresented:
		return "", 0, errMany
	}
	c.looking = true
	return c.camera, c.turn, nil
}

// end adds what came of it, nil for nothing.
func (c *calibration) end(turn int, p *presented) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looking = false
	if p != nil && turn == c.turn {
		c.shown = append(c.shown, *p)
	}
}

func (c *calibration) undo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.shown); n > 0 {
		c.shown = c.shown[:n-1]
	}
}

// walk answers with where the calibration stands.
func (s *Server) walk(w http.ResponseWriter, _ *http.Request, _ caller) {
	o, err := s.o.View.Rules()
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	s.write(w, s.calibration.document(o))
}

// beginWalk begins a calibration, and forgets the one before.
func (s *Server) beginWalk(w http.ResponseWriter, r *http.Request, c caller) {
	in := struct {
		Camera    string  `json:"camera"`
		APCER     float64 `json:"apcer"`
		BPCER     float64 `json:"bpcer"`
		Certainty float64 `json:"certainty"`
	}{APCER: 0.01, BPCER: 0.05, Certainty: 0.95}
	if !read(w, r, &in, 4<<10) {
		return
	}
	if !s.o.View.HasCamera(in.Camera) {
		refuse(w, http.StatusNotFound, "no such camera", "")
		return
	}
	for _, v := range []float64{in.APCER, in.BPCER, in.Certainty} {
		if !(v >= 1e-4 && v <= 0.9999) {
			refuse(w, http.StatusBadRequest, "apcer, bpcer and certainty are from 0.0001 to 0.9999", "")
			return
		}
	}
	s.calibration.begin(in.Camera, pad.Target{APCER: in.APCER, BPCER: in.BPCER, Certainty: in.Certainty})
	s.walk(w, r, c)
}

// endWalk forgets the calibration.
func (s *Server) endWalk(w http.ResponseWriter, _ *http.Request, _ caller) {
	s.calibration.begin("", pad.Target{})
	w.WriteHeader(http.StatusNoContent)
}

// unpresent takes the last presentation back.
func (s *Server) unpresent(w http.ResponseWriter, r *http.Request, c caller) {
	s.calibration.undo()
	s.walk(w, r, c)
}

// present looks at one presentation, and answers when it has.
func (s *Server) present(w http.ResponseWriter, r *http.Request, c caller) {
	in := struct {
		Species string  `json:"species"`
		Seconds float64 `json:"seconds"`
	}{Seconds: 5}
	if !read(w, r, &in, 4<<10) {
		return
	}
	length := time.Duration(in.Seconds * float64(time.Second))
	if !speciesForm.MatchString(in.Species) || !(length >= shortest && length <= longest) {
		refuse(w, http.StatusBadRequest, "a species is live, or named with letters a to z, digits, - and _; a presentation has 2 to 60 seconds", "")
		return
	}
	name, turn, err := s.calibration.start()
	if err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	patient(w, length)
	p, err := s.look(r.Context(), name, in.Species, length)
	s.calibration.end(turn, p)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	s.walk(w, r, c)
}

// look judges what the camera sees for a time as it would be judged.
func (s *Server) look(ctx context.Context, name, species string, length time.Duration) (*presented, error) {
	o, err := s.o.View.Rules()
	if err != nil {
		return nil, err
	}
	// A door that waits longer than a presentation lasts would have no answer about whoever is between the thresholds.
	o.Timeout = min(o.Timeout, length-time.Second)
	trial, err := decision.NewTrial(o)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	end := begin.Add(length)
	stop, err := s.o.View.Tap(name, func(o decision.Observation) {
		if !o.Time.Before(begin) && o.Time.Before(end) { // what was captured before shows what was there before
			trial.Observe(o)
		}
	})
	if err != nil {
		return nil, err
	}
	t := time.NewTimer(length)
	defer t.Stop()
	select {
	case <-ctx.Done():
		stop()
		return nil, ctx.Err()
	case <-t.C:
	}
	stop() // from here on nobody else has the trial
	p := &presented{Species: species}
	score, why := trial.End(end)
	if why != "" {
		p.Why = string(why)
		return p, nil
	}
	p.Score, p.Said = &score, string(decision.Undecided)
	switch {
	case score >= o.LiveAt:
		p.Said = string(decision.Live)
	case score <= o.SpoofAt:
		p.Said = string(decision.Spoof)
	}
	return p, nil
}
