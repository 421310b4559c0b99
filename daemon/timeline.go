package daemon

import (
	"slices"
	"sync"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/mqtt"
)

// How many of the newest examined frames and of the newest verdicts of a camera are remembered.
const (
	keptFrames   = 256
	keptVerdicts = 64
)

// Recorder is told what becomes of frames and verdicts, as it happens. Several goroutines call it, and wait until it returns: it must do so
// at once.
type Recorder interface {
	// Examined is told of each frame that a pipeline looked at. What it points to is valid until the call returns.
	Examined(*Examined)
	// Decided is told of each verdict that this run hands over to the broker's client.
	Decided(Timeline)
	// Acknowledged is told of it once more, when the broker has it on all its topics.
	Acknowledged(Timeline)
}

// Points are the moments at which a frame came to each point of its way. What it didn't come to is zero.
type Points struct {
	Captured time.Time `json:"captured,omitzero"` // the driver had it
	Dequeued time.Time `json:"dequeued,omitzero"` // it left the driver
	Taken    time.Time `json:"taken,omitzero"`    // the pipeline took it; what nobody takes is dropped
	Decoded  time.Time `json:"decoded,omitzero"`  // it is planes
	Detected time.Time `json:"detected,omitzero"` // it is known where faces are
	Judged   time.Time `json:"judged,omitzero"`   // the liveness net has answered
	Decided  time.Time `json:"decided,omitzero"`  // what follows is known
}

// Result is what came of a frame.
type Result string

// The results.
const (
	ResultJudged  Result = "judged"  // the liveness net answered
	ResultSpared  Result = "spared"  // somebody is there, and the frame is too close to one that was judged to say anything new
	ResultEmpty   Result = "empty"   // nobody is there
	ResultRefused Result = "refused" // somebody is, but a gate holds the frame back: Code says which
	ResultFailed  Result = "failed"  // the nets can't look at it
	ResultWatched Result = "watched" // of an infrared camera, which judges nobody
)

// The stages of a frame: what a pipeline spends time on.
const (
	StageDecode = "decode"
	StageDetect = "detect"
	StageCrop   = "crop" // with the look at whether the face can be seen
	StageJudge  = "judge"
	StageCues   = "cues"
	StageTotal  = "total" // from Taken to Decided
)

// Examined is what became of one frame.
type Examined struct {
	Camera   string        `json:"camera"`
	Sequence uint64        `json:"sequence"`
	Result   Result        `json:"result"`
	Code     decision.Code `json:"code,omitempty"` // why it is no evidence, where somebody or something was there
	Points
	Times
}

// Stages calls f with each stage that the frame went through, and how long that took.
func (x *Examined) Stages(f func(stage string, took time.Duration)) {
	say := func(stage string, took time.Duration, did bool) {
		if did {
			f(stage, max(0, took))
		}
	}
	say(StageDecode, x.Decoded.Sub(x.Taken), !x.Taken.IsZero() && !x.Decoded.IsZero())
	say(StageDetect, x.Detect, x.Detect > 0)
	say(StageCrop, x.Crop, x.Crop > 0)
	say(StageJudge, x.Judge, x.Result == ResultJudged)
	say(StageCues, x.Cues, x.Cues > 0)
	say(StageTotal, x.Decided.Sub(x.Taken), !x.Taken.IsZero())
}

// Timeline is how a verdict came about: the points of the frame on which it was decided, those of the verdict after it, and when the first
// frame of its evidence was captured. A verdict of which no frame was the last straw, such as a time-out, has no points before Decided.
type Timeline struct {
	Camera  string           `json:"camera"`
	Boot    string           `json:"boot"`
	Seq     uint64           `json:"seq"`
	Verdict mqtt.VerdictKind `json:"verdict"`
	Code    mqtt.Code        `json:"code,omitempty"`
	First   time.Time        `json:"first,omitzero"` // when the first frame that counts was captured
	Points
	Journaled    time.Time `json:"journaled,omitzero"`    // it is on the disk; never, where nothing is kept there
	Published    time.Time `json:"published,omitzero"`    // all its forms are on their way to the broker
	Acknowledged time.Time `json:"acknowledged,omitzero"` // the broker has them
}

// Timelines remembers the newest frames and verdicts of each camera. It outlives a run, as a Pulse does. A nil Timelines takes everything
// and knows nothing.
type Timelines struct {
	mu      sync.Mutex
	cameras map[string]*lines
	boot    string
	tell    Recorder // of the run that is on; nil for nobody
}

// lines is what is remembered of one camera.
type lines struct {
	frames   ring[Examined]
	verdicts ring[Timeline]
	last     string // id of the verdict that is being decided on a frame
	points   Points // of that frame
}

// NewTimelines begins without any.
func NewTimelines() *Timelines { return &Timelines{} }

// Cameras names those of the run that is on, in order.
func (t *Timelines) Cameras() (names []string) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.cameras {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Frames are a camera's newest frames, the oldest first.
func (t *Timelines) Frames(camera string) []Examined {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.cameras[camera]; l != nil {
		return l.frames.list()
	}
	return nil
}

// Verdicts are a camera's newest verdicts, the oldest first.
func (t *Timelines) Verdicts(camera string) []Timeline {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.cameras[camera]; l != nil {
		return l.verdicts.list()
	}
	return nil
}

// runs begins a run with these cameras, without what earlier ones left.
func (t *Timelines) runs(boot string, cameras []string, tell Recorder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.boot, t.tell, t.cameras = boot, tell, make(map[string]*lines, len(cameras))
	for _, name := range cameras {
		t.cameras[name] = &lines{frames: newRing[Examined](keptFrames), verdicts: newRing[Timeline](keptVerdicts)}
	}
}

// examined remembers a frame.
func (t *Timelines) examined(x *Examined) {
	if t == nil {
		return
	}
	t.mu.Lock()
	if l := t.cameras[x.Camera]; l != nil {
		l.frames.add(x)
	}
	tell := t.tell
	t.mu.Unlock()
	if tell != nil {
		tell.Examined(x)
	}
}

// deciding says that the verdict of that id is about to be handed over, and on which frame it was decided.
func (t *Timelines) deciding(camera, id string, p *Points) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.cameras[camera]; l != nil {
		l.last, l.points = id, *p
	}
}

// decided begins the timeline of a verdict that is handed over. Those of earlier runs have none.
func (t *Timelines) decided(v *mqtt.Verdict) {
	if t == nil {
		return
	}
	t.mu.Lock()
	l := t.cameras[v.Camera]
	if l == nil || v.Boot != t.boot {
		t.mu.Unlock()
		return
	}
	line := Timeline{Camera: v.Camera, Boot: v.Boot, Seq: v.Seq, Verdict: v.Verdict, First: time.Time(v.CapturedAt)}
	if v.Code != nil {
		line.Code = *v.Code
	}
	if l.last == v.ID {
		line.Points = l.points
	}
	line.Decided = time.Time(v.DecidedAt)
	l.verdicts.add(&line)
	tell := t.tell
	t.mu.Unlock()
	if tell != nil {
		tell.Decided(line)
	}
}

// progress is the client's word on what becomes of verdicts. It calls nobody but the recorder.
func (t *Timelines) progress(v *mqtt.Verdict, s mqtt.Stage, at time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	l := t.cameras[v.Camera]
	if l == nil || v.Boot != t.boot {
		t.mu.Unlock()
		return
	}
	var line Timeline
	l.verdicts.change(func(k *Timeline) bool {
		if k.Seq != v.Seq {
			return false
		}
		switch s {
		case mqtt.Journaled:
			k.Journaled = at
		case mqtt.Published:
			k.Published = at
		case mqtt.Acknowledged:
			k.Acknowledged = at
		}
		line = *k
		return true
	})
	tell := t.tell
	t.mu.Unlock()
	if tell != nil && s == mqtt.Acknowledged && line.Seq != 0 {
		tell.Acknowledged(line)
	}
}

// points are those that a frame has when the pipeline gets it.
func points(f *frame.Frame) Points {
	return Points{Captured: f.Captured, Dequeued: f.Dequeued, Taken: f.Taken, Decoded: f.Decoded}
}

// ring is the newest of something. It allocates when it is made, and never after.
type ring[T any] struct {
	all []T
	n   int // how many there ever were
}

func newRing[T any](size int) ring[T] { return ring[T]{all: make([]T, size)} }

func (r *ring[T]) add(v *T) {
	r.all[r.n%len(r.all)] = *v
	r.n++
}

// list is a copy, the oldest first.
func (r *ring[T]) list() []T {
	have := min(r.n, len(r.all))
	out := make([]T, 0, have)
	for i := r.n - have; i < r.n; i++ {
		out = append(out, r.all[i%len(r.all)])
	}
	return out
}

// change offers each to f, the newest first, until it takes one.
func (r *ring[T]) change(f func(*T) bool) {
	for i := r.n - 1; i >= max(0, r.n-len(r.all)); i-- {
		if f(&r.all[i%len(r.all)]) {
			return
		}
	}
}
