package daemon

import (
	"context"
	"image"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/mqtt"
)

const (
	// showEach is the least time between two frames of a camera that are shown: ten a second are enough to aim and light it by.
	showEach = 90 * time.Millisecond
	// maxShown and maxHistory are how many presentations, and how many states of each camera, are remembered.
	maxShown   = 100
	maxHistory = 30
)

// View is what somebody who looks in may see: frames with what is thought of them while they are watched, the newest presentations, how
// cameras, models and broker are. It outlives a run, as a Pulse does, and keeps all in memory alone. Nobody in the chain waits for who
// looks, and while nobody does, a frame costs a look at a counter. A nil View takes everything and knows nothing.
type View struct {
	now func() time.Time

	mu      sync.Mutex
	stages  map[string]*stage // by camera; those of cameras that are no more stay, in case they come back
	run     *viewed           // nil between runs
	shown   []Presentation    // the oldest first
	numbers uint64            // of presentations
	acked   time.Time
	news    chan struct{} // closed when presentations or states changed
}

// viewed is a run, as a view sees it.
type viewed struct {
	config    config.Config
	identity  *identity
	engine    *Engine
	cameras   map[string]func() camera.Status
	lights    map[string]func() camera.Light
	broker    func() mqtt.Status
	verdicts  func(camera string) mqtt.VerdictCounts
	desk      *desk
	began     time.Time
	roles     map[string]string
	camerasOf []string // in order
}

// NewView makes one that nobody looks at yet. now is time.Now.
func NewView(now func() time.Time) *View {
	return &View{now: now, stages: map[string]*stage{}, news: make(chan struct{})}
}

// Sight is what was thought of one frame.
type Sight struct {
	Camera   string
	Sequence uint64
	Captured time.Time
	Width    int // of the frame, to which boxes refer
	Height   int
	Offset   image.Point // where it begins in all that the camera sees; not (0, 0) for a region
	Faces    []decision.Face
	Main     int           // index of the face that counts, -1 for none
	Code     decision.Code // why the frame is no evidence, "" where it is
	Hint     string        // what the person should do about that, "" for nothing
	Judged   bool
	Score    float64 // P(live) by this frame alone, where it was judged
	Look     decision.Look
	Standing decision.Standing
	Infrared bool // the camera finds faces and decides nothing
	Times    Times
	Total    time.Duration
}

// Shown is a sight with its picture.
type Shown struct {
	Sight
	picture picture
}

// Presentation is a verdict that was published, without whom it is about.
type Presentation struct {
	Number  uint64 // counts them, from 1
	Verdict mqtt.Verdict
	Hint    string // what the person should have done, "" for nothing
}

// stage is one camera, as it is watched.
type stage struct {
	watchers atomic.Int32 // of sights
	viewers  atomic.Int32 // of those, of pictures, too
	tap      atomic.Pointer[tap]
	trials   chan *trial

	mu      sync.Mutex
	newest  *Shown
	number  uint64        // of newest
	arrived chan struct{} // closed when there is a newer one
	last    time.Time     // when one was shown
	history []mqtt.CameraState
}

// stage finds or makes a camera's.
func (v *View) stage(name string) *stage {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.stages[name]
	if s == nil {
		s = &stage{arrived: make(chan struct{}), trials: make(chan *trial, 1)}
		v.stages[name] = s
	}
	return s
}

// wants tells whether a frame that was examined at a time shall be shown, and with its picture.
func (s *stage) wants(now time.Time) (sight, picture bool) {
	if s == nil || s.watchers.Load() == 0 {
		return false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := now.Sub(s.last); d >= 0 && d < showEach {
		return false, false
	}
	s.last = now
	return true, s.viewers.Load() > 0
}

func (s *stage) watched() bool { return s != nil && s.watchers.Load() > 0 }

func (s *stage) show(shown *Shown) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.viewers.Load() == 0 { // the last of them left meanwhile
		shown.picture = picture{}
	}
	s.newest, s.number = shown, s.number+1
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// dark forgets what was shown: there is no camera any more.
func (s *stage) dark() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = nil
}

// Watcher follows one camera. It is for one goroutine.
type Watcher struct {
	stage    *stage
	pictures bool
	seen     uint64
	close    sync.Once
}

// Watch follows a camera, with its pictures or without, until Close.
func (v *View) Watch(name string, pictures bool) *Watcher {
	s := v.stage(name)
	if pictures {
		s.viewers.Add(1)
	}
	s.watchers.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Watcher{stage: s, pictures: pictures, seen: s.number}
}

// Next waits for a frame that is newer than the last one it gave. Those that came meanwhile are gone.
func (w *Watcher) Next(ctx context.Context) (*Shown, error) {
	for {
		w.stage.mu.Lock()
		shown, n, arrived := w.stage.newest, w.stage.number, w.stage.arrived
		w.stage.mu.Unlock()
		if n != w.seen && shown != nil {
			if w.seen = n; !w.pictures || shown.picture.there() {
				return shown, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-arrived:
		}
	}
}

// Close ends it. A second call does nothing. The last picture is forgotten with the last who saw it.
func (w *Watcher) Close() {
	w.close.Do(func() {
		if w.pictures && w.stage.viewers.Add(-1) == 0 {
			w.stage.dark()
		}
		w.stage.watchers.Add(-1)
	})
}

// show leaves a frame to whoever watches.
func (p *pipeline) show(f *frame.Frame, found *Finding, total time.Duration) {
	sight, pictured := p.stage.wants(p.now())
	if !sight {
		return
	}
	s := &Shown{Sight: Sight{Camera: p.name, Sequence: f.Sequence, Captured: f.Captured, Width: f.Width, Height: f.Height, Offset: f.Offset, Faces: toDecision(found.Faces),
		Main: found.Main, Code: found.Code, Judged: found.Judged, Look: found.Look, Infrared: p.sees != nil, Times: found.Times, Total: total}}
	if p.sees == nil {
		s.Standing = p.decider.Standing()
		if s.Code = s.Standing.Lack; s.Code != "" {
			s.Hint = advice(s.Code)
		}
	}
	if found.Judged {
		s.Score = found.Judgement.Live
	}
	if pictured {
		s.picture = takePicture(f)
	}
	p.stage.show(s)
}

// runs begins a run. It goes on until end, which may be called twice.
func (v *View) runs(r *viewed) (end func()) {
	if v == nil {
		return func() {}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	r.began = v.now()
	v.run = r
	v.tell()
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.run == r {
			v.run = nil
			v.tell()
		}
	}
}

// tell wakes who waits for news. mu is held.
func (v *View) tell() {
	close(v.news)
	v.news = make(chan struct{})
}

// News is closed when a presentation or a camera's state has come, or a run has begun or ended.
func (v *View) News() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.news
}

// judged notes a verdict.
func (v *View) judged(d mqtt.Verdict) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if d.Session != nil { // whom it is about is for who asked
		s := *d.Session
		s.Subject, s.Nonce = "", ""
		d.Session = &s
	}
	v.numbers++
	p := Presentation{Number: v.numbers, Verdict: d}
	if d.Code != nil {
		p.Hint = advice(decision.Code(*d.Code))
	}
	v.shown = append(v.shown, p)
	v.shown = v.shown[max(0, len(v.shown)-maxShown):]
	v.tell()
}

// camera notes a camera's state.
func (v *View) camera(name string, s mqtt.CameraState) {
	st := v.stage(name)
	if st == nil {
		return
	}
	st.mu.Lock()
	st.history = append(st.history, s)
	st.history = slices.Clone(st.history[max(0, len(st.history)-maxHistory):])
	st.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tell()
}

// delivered notes that the broker has a verdict.
func (v *View) delivered() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.acked = v.now()
}

// Presentations are those after a number, the oldest first.
func (v *View) Presentations(after uint64) []Presentation {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.shown, func(p Presentation) bool { return p.Number > after })
	if i < 0 {
		return nil
	}
	return slices.Clone(v.shown[i:])
}

// CameraView is how one camera is.
type CameraView struct {
	Name     string
	Role     string
	Status   camera.Status
	Health   *mqtt.CameraHealth
	Light    camera.Light // its zero value: the driver has no such controls, or the camera isn't open
	Verdicts mqtt.VerdictCounts
	History  []mqtt.CameraState // the oldest first
}

// Overview is how a run is.
type Overview struct {
	Runs         bool // whether there is one
	Device       string
	Boot         string
	Began        time.Time
	Cameras      []CameraView
	Engine       *Engine // nil between runs
	Broker       mqtt.Status
	Acknowledged time.Time // when the broker last said that it has a verdict; zero for never
	ClockSynced  bool
	Temperatures []mqtt.Temperature
	Resident     int64 // bytes
	Sessions     bool  // whether they can be asked for
}

// Overview asks all parts. It is for a person's patience, not for each frame.
func (v *View) Overview() Overview {
	v.mu.Lock()
	r, o := v.run, Overview{Acknowledged: v.acked}
	v.mu.Unlock()
	o.Resident, o.Temperatures = ResidentBytes(), temperatures(sensors)
	if r == nil {
		return o
	}
	o.Runs, o.Device, o.Boot, o.Began, o.Engine = true, r.identity.device, r.identity.boot, r.began, r.engine
	o.Broker, o.ClockSynced, o.Sessions = r.broker(), r.identity.clockSynced(), r.desk != nil
	for _, name := range r.camerasOf {
		c := CameraView{Name: name, Role: r.roles[name], Status: r.cameras[name](), Light: r.lights[name](), Verdicts: r.verdicts(name)}
		c.Health = healthDocument(&c.Status.Health)
		st := v.stage(name)
		st.mu.Lock()
		c.History = slices.Clone(st.history)
		st.mu.Unlock()
		o.Cameras = append(o.Cameras, c)
	}
	return o
}

// HasCamera tells whether the run that is on has a camera.
func (v *View) HasCamera(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.run != nil && v.run.cameras[name] != nil
}

// seen is a run for its view.
func seen(o Options, id *identity, e *Engine, d *desk, t *telemeter, broker func() mqtt.Status) *viewed {
	r := &viewed{config: o.Config, identity: id, engine: e, desk: d, broker: broker, verdicts: t.verdicts, cameras: map[string]func() camera.Status{}, lights: map[string]func() camera.Light{}, roles: map[string]string{}}
	for _, p := range t.pipelines {
		r.camerasOf = append(r.camerasOf, p.name)
		r.lights[p.name] = func() (none camera.Light) {
			if d, can := behind(p.camera).(Dimmer); can {
				return d.Light()
			}
			return none
		}
		r.cameras[p.name], r.roles[p.name] = p.camera.Status, o.Config.Cameras[p.name].Role
	}
	return r
}
