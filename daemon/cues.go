package daemon

import (
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/models"
)

// NewWatch makes what doubts a camera of the configuration. pair is where its infrared camera leaves what it sees; nil for none.
func NewWatch(c config.Config, cam config.Camera, pair *cue.Pair) *cue.Watch {
	on := c.Decision.Cues
	o := cue.Options{
		// A replay is there to be played again and again.
		Repeat: on.Repeat != config.Off && !cam.Replay(),
		Flat:   on.Flat != config.Off,
		Map:    cam.PairMap, Window: c.Decision.Window,
	}
	if on.Infrared != config.Off {
		o.Pair, o.Required = pair, on.Infrared == config.Required
	}
	return cue.New(o)
}

// newPairs makes a pair for each infrared camera, by its name.
func newPairs(c config.Config) map[string]*cue.Pair {
	out := map[string]*cue.Pair{}
	for name, cam := range c.Cameras {
		if cam.Role == config.IR {
			out[name] = new(cue.Pair)
		}
	}
	return out
}

// Box is the place of the face that counts, nil if there is none.
func (f *Finding) Box() *cue.Box {
	if f.Main < 0 || f.Main >= len(f.Faces) {
		return nil
	}
	b := cueBox(f.Faces[f.Main].Box)
	return &b
}

func cueBox(b models.Box) cue.Box { return cue.Box{X: b.X, Y: b.Y, W: b.W, H: b.H} }

// see leaves what an infrared camera's frame shows to the camera that it stands beside.
func (p *pipeline) see(f *frame.Frame) {
	began := p.now()
	faces, err := p.examiner.Finder.Detect(&f.Image)
	p.examined(err)
	detect := p.now().Sub(began)
	if err != nil {
		return // nobody looked: that is no evidence that nobody is there
	}
	boxes := make([]cue.Box, len(faces))
	for i, face := range faces {
		boxes[i] = cueBox(face.Box)
	}
	p.sees.See(f.Captured, &f.Image, boxes)
	found := Finding{Faces: faces, Main: -1, Times: Times{Detect: detect}}
	decided := p.now()
	p.meter.frame(&found, decided.Sub(began))
	p.newest = found.examined(p.name, f, began, decided)
	p.newest.Result = ResultWatched
	p.lines.examined(&p.newest)
	p.show(f, &found, decided.Sub(began))
}
