package daemon

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/mqtt"
)

// driving is how long a camera's goroutine may be inside its driver. To open a USB camera takes some control transfers, each of which the
// kernel gives up after 5 s: a camera that doesn't answer is being handled, one whose driver never returns isn't.
const driving = 45 * time.Second

// DriverOf begins the name of the part that is inside a camera's driver; the camera's name follows.
const DriverOf = "the driver of camera "

// Pulse knows whether a daemon gets on, part by part, and how it is doing: what a watchdog may be told, and what a person. It outlives a
// run, so that there is one for all runs of a process. A nil Pulse takes everything and knows nothing.
type Pulse struct {
	now   func() time.Time
	start time.Time
	news  chan struct{} // something is worth a look before its time

	mu      sync.Mutex
	parts   map[*part]struct{}
	health  Health
	broker  func() mqtt.Status // of the run that is on; nil for none
	figures *func() Figures    // the same
	tried   func() []Tried     // of the engine that was used last; nil for none
}

// part is something that must move: it says so itself, or can be asked.
type part struct {
	name  string
	limit time.Duration // how long it may stand still; 0 is as long as anything may
	asked func() time.Time
	moved atomic.Int64 // nanoseconds since the pulse's start
	pulse *Pulse
}

// Health is how a daemon is doing.
type Health struct {
	Phase   string    `json:"phase"` // one of the Phases
	Since   time.Time `json:"since"` // when the phase began
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Config  string    `json:"config,omitempty"` // the file
	Device  string    `json:"device,omitempty"`
	// Doing is what it is busy with, "" where that is judging faces.
	Doing   string         `json:"doing,omitempty"`
	Stuck   []string       `json:"stuck,omitempty"` // parts that don't move
	Cameras []CameraHealth `json:"cameras,omitempty"`
	Broker  *BrokerHealth  `json:"broker,omitempty"`
	// Delegates is what became of those that the configuration prefers.
	Delegates []Tried      `json:"delegates,omitempty"`
	Verdict   *LastVerdict `json:"verdict,omitempty"`
	Trouble   *Trouble     `json:"trouble,omitempty"` // the newest, over or not
	Refused   *Trouble     `json:"refused,omitempty"` // why the newest configuration isn't in effect
}

// The phases of a daemon.
const (
	PhaseStarting  = "starting" // until all cameras and models have worked
	PhaseReady     = "ready"
	PhaseReloading = "reloading"
	PhaseStopping  = "stopping"
	PhaseFailed    = "failed" // it has ended, and Trouble says why
)

// CameraHealth is how one camera is doing.
type CameraHealth struct {
	Name   string    `json:"name"`
	State  string    `json:"state"`
	Since  time.Time `json:"since"`
	Device string    `json:"device,omitempty"`
	Mode   string    `json:"mode,omitempty"` // format, size and rate
	Error  string    `json:"error,omitempty"`
	Hint   string    `json:"hint,omitempty"`
	Health string    `json:"health,omitempty"` // as in the camera's state on MQTT
	Alarms []string  `json:"alarms,omitempty"` // what is wrong with frames that come
	Advice string    `json:"advice,omitempty"` // what to do about them
	Worked bool      `json:"worked"`           // a frame of it was examined
}

// Ails says of a camera's health what its state doesn't.
func (c *CameraHealth) Ails() string {
	switch {
	case len(c.Alarms) > 0:
		return ", alarmed: " + strings.Join(c.Alarms, ", ")
	case c.Health == camera.HealthEscalated:
		return ", escalated"
	}
	return ""
}

// BrokerHealth is how the connection to the broker is doing.
type BrokerHealth struct {
	Connected bool   `json:"connected"`
	Queued    int    `json:"queued"` // verdicts that wait
	Error     string `json:"error,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

// LastVerdict is the newest verdict, without anything about whom it is about.
type LastVerdict struct {
	Camera  string    `json:"camera"`
	Verdict string    `json:"verdict"`
	Code    string    `json:"code,omitempty"`
	At      time.Time `json:"at"`
}

// Trouble is something that went wrong, and what a technician should do.
type Trouble struct {
	Error string    `json:"error"`
	Hint  string    `json:"hint,omitempty"`
	At    time.Time `json:"at"`
}

// NewPulse begins in PhaseStarting. now is time.Now.
func NewPulse(now func() time.Time, version string, pid int) *Pulse {
	start := now()
	return &Pulse{now: now, start: start, news: make(chan struct{}, 1), parts: map[*part]struct{}{},
		health: Health{Phase: PhaseStarting, Since: start, Started: start, Version: version, PID: pid}}
}

// Busy is for what takes its time between runs: until done is called it counts as a part that may stand still for limit.
func (p *Pulse) Busy(what string, limit time.Duration) (done func()) {
	if p == nil {
		return func() {}
	}
	l := p.join(what, limit, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.health.Doing
	p.health.Doing = what
	return func() {
		l.leave()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.health.Doing == what {
			p.health.Doing = was
		}
	}
}

// Phase notes what the daemon is in, and gives what it was in before.
func (p *Pulse) Phase(phase string) (was string) {
	if p == nil {
		return phase
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	was = p.health.Phase
	if was == PhaseStopping && phase != PhaseFailed { // a reload that was on its way is settled afterwards
		return was
	}
	if was != phase {
		p.health.Phase, p.health.Since = phase, p.now()
	}
	return was
}

// Reloaded notes why the newest configuration isn't in effect; nil: it is.
func (p *Pulse) Reloaded(err error) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.Refused = nil
	if err != nil {
		p.trouble(err.Error(), Hint(err))
		p.health.Refused = p.health.Trouble
	}
}

// Wrong notes trouble that isn't a camera's or the broker's.
func (p *Pulse) Wrong(err error) {
	if p == nil || err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble(err.Error(), Hint(err))
}

func (p *Pulse) trouble(text, hint string) {
	p.health.Trouble = &Trouble{Error: text, Hint: hint, At: p.now()}
}

// Configured notes what a run was started with.
func (p *Pulse) Configured(file, device string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.Config, p.health.Device = file, device
}

// join adds a part. It counts as having moved just now.
func (p *Pulse) join(name string, limit time.Duration, asked func() time.Time) *part {
	if p == nil {
		return nil
	}
	l := &part{name: name, limit: limit, asked: asked, pulse: p}
	l.stir()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts[l] = struct{}{}
	return l
}

// stir says that the part moves.
func (l *part) stir() {
	if l != nil {
		l.moved.Store(int64(l.pulse.now().Sub(l.pulse.start)))
	}
}

// leave takes the part out: it has nothing to do any more.
func (l *part) leave() {
	if l == nil {
		return
	}
	l.pulse.mu.Lock()
	defer l.pulse.mu.Unlock()
	delete(l.pulse.parts, l)
}

// stuck names the parts that have stood still for longer than they may, which is limit where they have none of their own. That nothing
// at all is there to move is no good sign either.
func (p *Pulse) stuck(limit time.Duration) []string {
	p.mu.Lock()
	parts := make([]*part, 0, len(p.parts))
	for l := range p.parts {
		parts = append(parts, l)
	}
	p.mu.Unlock()
	if len(parts) == 0 {
		return []string{"everything"}
	}
	var out []string
	now := p.now()
	for _, l := range parts {
		moved := p.start.Add(time.Duration(l.moved.Load()))
		if l.asked != nil { // without the lock: a camera whose own is never freed is stuck, and so is who asks
			moved = l.asked()
		}
		may := limit
		if l.limit > 0 {
			may = l.limit
		}
		if now.Sub(moved) > may {
			out = append(out, l.name)
		}
	}
	slices.Sort(out)
	return out
}

// runs begins a run with these cameras. It goes on until end, which may be called twice.
func (p *Pulse) runs(cameras []string, broker func() mqtt.Status) (end func()) {
	if p == nil {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broker = broker
	p.health.Cameras = nil
	for _, name := range cameras {
		p.health.Cameras = append(p.health.Cameras, CameraHealth{Name: name, State: "starting", Since: p.now()})
	}
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.broker = nil
	})
}

// engine notes who knows what became of the delegates.
func (p *Pulse) engine(tried func() []Tried) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried = tried
}

// camera notes what a camera does.
func (p *Pulse) camera(name string, s mqtt.CameraState) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.at(name)
	if c == nil {
		return
	}
	c.State, c.Since, c.Device, c.Error, c.Hint, c.Mode = s.State, s.Since.UTC(), s.Device, s.Error, s.Hint, ""
	if s.Format != "" {
		c.Mode = fmt.Sprintf("%s %d×%d", s.Format, s.Width, s.Height)
		if s.FPS > 0 {
			c.Mode += fmt.Sprintf(" at %g/s", s.FPS)
		}
	}
	c.Health, c.Alarms, c.Advice = "", nil, ""
	if h := s.Health; h != nil {
		c.Health, c.Alarms, c.Advice = h.State, h.Alarms, h.Hint
	}
	if s.Error != "" {
		p.trouble("camera "+name+": "+s.Error, s.Hint)
	}
}

// works notes that frames of a camera can be examined.
func (p *Pulse) works(name string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.at(name); c != nil {
		c.Worked = true
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *Pulse) at(name string) *CameraHealth {
	for i := range p.health.Cameras {
		if c := &p.health.Cameras[i]; c.Name == name {
			return c
		}
	}
	return nil
}

// judged notes a verdict.
func (p *Pulse) judged(v mqtt.Verdict) {
	if p == nil {
		return
	}
	last := &LastVerdict{Camera: v.Camera, Verdict: string(v.Verdict), At: v.DecidedAt.UTC()}
	if v.Code != nil {
		last.Code = string(*v.Code)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.Verdict = last
}

// Health is a copy. limit is how long parts may stand still.
func (p *Pulse) Health(limit time.Duration) Health {
	stuck := p.stuck(limit)
	p.mu.Lock()
	ask, tried := p.broker, p.tried
	p.mu.Unlock()
	var delegates []Tried
	if tried != nil {
		delegates = tried()
	}
	var b *BrokerHealth
	if ask != nil { // without the lock, as above
		s := ask()
		b = &BrokerHealth{Connected: s.Connected, Queued: s.Queued}
		if !s.Connected && s.Err != nil {
			b.Error, b.Hint = s.Err.Error(), Hint(s.Err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.health.Broker; b != nil && b.Error != "" && (was == nil || was.Error != b.Error) {
		p.trouble(b.Error, b.Hint)
	}
	p.health.Broker, p.health.Delegates = b, delegates
	p.health.Stuck = stuck
	h := p.health
	h.Cameras = slices.Clone(h.Cameras)
	return h
}

// Works tells whether every camera has worked, and with it the models.
func (h *Health) Works() bool {
	return len(h.Cameras) > 0 && !slices.ContainsFunc(h.Cameras, func(c CameraHealth) bool { return !c.Worked })
}

// Line says it in one.
func (h *Health) Line() string {
	var say []string
	switch {
	case len(h.Stuck) > 0:
		say = append(say, "doesn't get on: "+strings.Join(h.Stuck, ", "))
	case h.Doing != "":
		say = append(say, h.Doing)
	}
	for _, c := range h.Cameras {
		line := "camera " + c.Name + " " + c.State
		if c.State == "streaming" && c.Mode != "" {
			line += " " + c.Mode
		}
		line += c.Ails()
		if c.Error != "" {
			line += ": " + c.Error
			if c.Hint != "" {
				line += " (" + c.Hint + ")"
			}
		}
		say = append(say, line)
	}
	if d := h.Delegates; len(d) > 0 && d[0].State != mqtt.DelegateUsed {
		say = append(say, "without delegate "+d[0].Delegate+": "+d[0].Error)
	}
	if b := h.Broker; b != nil {
		switch {
		case b.Connected:
			say = append(say, "broker connected")
		case b.Error != "":
			say = append(say, "broker away: "+b.Error)
		default:
			say = append(say, "broker not connected yet")
		}
	}
	if r := h.Refused; r != nil {
		say = append(say, "the old configuration stays: "+r.Error)
	}
	if v := h.Verdict; v != nil {
		line := "last verdict " + v.Verdict
		if v.Code != "" {
			line += " " + v.Code
		}
		say = append(say, line+" at "+v.At.Local().Format("15:04:05"))
	}
	if len(say) == 0 {
		return h.Phase
	}
	return strings.Join(say, "; ")
}
