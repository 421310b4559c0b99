package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	defaultQueue   = 1000
	defaultTimeout = 10 * time.Second
	defaultReload  = 15 * time.Second

	// firstPause and longestPause bound the ceiling below which the pause before the next connection is drawn.
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
	// settled is how long a connection must hold before the next pause is a short one again. Two clients with one client id
	// throw each other out at once.
	settled = 10 * time.Second

	// inFlight bounds what is published but not acknowledged. It is enough for a slow link, and little to send again.
	inFlight = 16
	// maxPacket bounds what the broker may send to a device: its own availability and requests. What is longer than a request may be
	// is refused with a reason; what is longer than this ends the connection.
	maxPacket = 256 << 10
	// maxNotes bounds responses, hints and telemetry that wait, and noteLife how long they do: who asked has given up by then.
	maxNotes = 256
	noteLife = 30 * time.Second
	// assertPause keeps somebody who publishes offline over and over from making us answer as often.
	assertPause = time.Second
)

// Options of a Client.
type Options struct {
	URL    string   // mqtt://HOST[:PORT] or mqtts://HOST[:PORT]
	Others []string // further ones, which are tried in turn
	Prefix string   // of all topics; "" is DefaultPrefix
	Device string   // a level of all topics, and in the client id

	Username     string
	PasswordFile string // read at each connection; refused while everybody may read it
	CAFile       string // PEM; "" trusts the system's authorities
	CertFile     string // with KeyFile: the client's certificate
	KeyFile      string // refused while everybody may read it
	// Reload is how often the three are looked at. When they have changed, twice alike, and can be used, the client says offline and
	// connects with them. 0 is 15 s.
	Reload time.Duration

	Journal    Journal       // keeps verdicts over restarts; nil: they wait in memory alone. The client closes it
	QueueLimit int           // verdicts that may wait; 0 is 1000
	QueueBytes int64         // how long their documents may be together; 0 is 8 MiB
	QueueAge   time.Duration // how long one may wait in the journal; 0 is a week
	// BacklogRate is how many late verdicts are published a second; 0 is 50.
	BacklogRate float64
	Info        func() Info // asked at each connection; nil publishes none
	// Requests is where requests and switches go, in the order in which they come; nil listens to none. Nobody waits: what comes while
	// it is full is counted and lost. It isn't closed.
	Requests chan<- Asked
	// SubscribeQoS0 asks for QoS 0 where the client subscribes, by default it is 1. As the session is a clean one, both lose what is on its
	// way when the connection ends, and nothing else; but some brokers keep a replicated queue for each subscription with QoS 1.
	SubscribeQoS0 bool
	// Signer signs verdicts as they are published, nil signs none. A verdict that can't be signed isn't published.
	Signer Signer
	// HomeAssistant is told what the device is, where it listens to the same broker; nil neither announces nor removes anything.
	HomeAssistant *HomeAssistant
	// Progress is told when a verdict comes to a stage, which it may do again over another connection; nil is told nothing. Who is told
	// mustn't wait, call the client, or change or keep the verdict.
	Progress func(v *Verdict, s Stage, at time.Time)
	// Delivered is told of each verdict that the broker acknowledged; nil is told nothing. It may call the client's methods but Close.
	Delivered func(Verdict)
	Log       *slog.Logger

	Timeout time.Duration                        // for a connection and for each acknowledgement; 0 is 10 s
	Now     func() time.Time                     // nil is time.Now; certificates are held against it, too
	Synced  func() bool                          // whether the clock follows a reference; nil: nobody knows
	Pause   func(context.Context, time.Duration) // waits between connections, less if the context ends; nil does

	again, stalled, homePause time.Duration // for tests; 0 is tryAgain, stalled and homePause
}

// Stage is how far a verdict has come.
type Stage int

// The stages, in their order. Without a journal nothing is Journaled, and while it can't be written that may come last.
const (
	Journaled    Stage = iota + 1 // it is on the disk
	Published                     // it was handed to the connection, in all its forms
	Acknowledged                  // the broker has them
)

// Signer makes a JWS whose payload is the very bytes that it is given.
type Signer interface {
	Sign(payload []byte) ([]byte, error)
}

// Check tells what New would refuse.
func (o Options) Check() error {
	_, err := o.prepare()
	return err
}

// prepare fills in what was left out, and makes what the options describe.
func (o *Options) prepare() (c *Client, err error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.QueueLimit == 0 {
		o.QueueLimit = defaultQueue
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = defaultQueueBytes
	}
	if o.QueueAge == 0 {
		o.QueueAge = defaultQueueAge
	}
	if o.BacklogRate == 0 {
		o.BacklogRate = defaultBacklogRate
	}
	if o.Reload == 0 {
		o.Reload = defaultReload
	}
	if o.again == 0 {
		o.again = tryAgain
	}
	if o.stalled == 0 {
		o.stalled = stalled
	}
	if o.homePause == 0 {
		o.homePause = homePause
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	if o.QueueLimit < 1 || o.Timeout < 0 || o.Reload < 0 {
		return nil, &Error{Op: fmt.Sprintf("queue for %d verdicts, time-out %v, a look at files each %v", o.QueueLimit, o.Timeout, o.Reload),
			Err: errors.New("at least 1, and not negative"), Kind: KindOptions, hint: "leave them out for 1000 verdicts, 10s and 15s"}
	}
	if o.QueueBytes < 1 || o.QueueAge < 0 || !(o.BacklogRate > 0) {
		return nil, &Error{Op: fmt.Sprintf("%d bytes of verdicts, for %v, %v of them a second", o.QueueBytes, o.QueueAge, o.BacklogRate),
			Err: errors.New("more than nothing"), Kind: KindOptions, hint: "leave them out for 8 MiB, a week and 50"}
	}
	c = &Client{o: *o, wake: make(chan struct{}, 1), done: make(chan struct{}), states: map[string]*state{}, said: map[endpoint]string{},
		queue:   queue{count: o.QueueLimit, bytes: o.QueueBytes},
		journal: journal{dirty: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), since: o.Now()}}
	c.closing, c.beginClosing = context.WithCancel(context.Background())
	if c.topics, err = NewTopics(o.Prefix, o.Device); err != nil {
		return nil, err
	}
	cred := credentials{username: o.Username, passwordFile: o.PasswordFile, caFile: o.CAFile, certFile: o.CertFile, keyFile: o.KeyFile}
	for _, url := range append([]string{o.URL}, o.Others...) {
		e, err := parseURL(url)
		if err != nil {
			return nil, err
		}
		if err := cred.check(e); err != nil {
			return nil, err
		}
		c.endpoints = append(c.endpoints, e)
	}
	if err := c.announce(); err != nil {
		return nil, err
	}
	// The id is always the same, so that a broker that still holds the last connection ends it, and its will, first.
	c.link = linkOptions{endpoint: c.endpoints[0], keeper: &keeper{credentials: cred, log: o.Log, now: o.Now}, clientID: "livenessd-" + o.Device,
		will: c.topics.Availability(), timeout: o.Timeout, limit: maxPacket, light: o.SubscribeQoS0, ordered: true, now: o.Now, synced: o.Synced}
	return c, nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// backoff draws the pause before another attempt from all of 0…ceiling, so that a thousand kiosks don't come back to a
// broker at once. random is in [0, 1).
func backoff(attempt int, random float64) time.Duration {
	ceiling := longestPause
	if attempt < 7 { // beyond, it is longestPause anyway
		ceiling = min(ceiling, firstPause<<attempt)
	}
	return time.Duration(random * float64(ceiling))
}

// Client publishes for one device. Its methods are safe for concurrent use, and none but Close waits for anything.
type Client struct {
	o         Options
	topics    Topics
	endpoints []endpoint
	link      linkOptions // to the endpoint whose turn it is; of run alone

	wake         chan struct{} // something is there to be published
	closing      context.Context
	beginClosing context.CancelFunc
	cancel       context.CancelFunc
	done         chan struct{} // closed when run has returned

	mu      sync.Mutex
	journal journal
	gaps    []*notice // the oldest first
	queue   queue
	states  map[string]*state // by topic
	notes   []*note
	status  Status
	full    uint64              // how many were dropped since there was last room
	refuse  string              // the last refusal that was logged
	said    map[endpoint]string // why there was no connection, as it was logged last

	home home

	deaf, mute, aloof sync.Once // the log hears it once that availability, requests, or Home Assistant's birth, can't be read
}

// state is the newest of what is retained.
type state struct {
	payload   []byte
	published bool   // over the present connection
	done      func() // called when the broker acknowledged it; nil if nobody asks
}

// note is a response, a hint or telemetry: worth little when it is late.
type note struct {
	topic   string
	qos     byte
	payload []byte
	queued  time.Time
	flying  bool // as an item's
}

// Status is what a client has done so far.
type Status struct {
	Connected    bool   // and all that is retained was published
	Connections  uint64 // how often it was connected
	Queued       int    // verdicts that the broker hasn't acknowledged
	Bytes        int64  // of their documents
	Published    uint64 // verdicts that it has
	Volatile     int    // of those queued: a power cut would lose them
	Gaps         int    // that the broker hasn't acknowledged
	Dropped      uint64 // verdicts that a bound of the queue took, or that were handed over after Close
	DroppedSpoof uint64 // of these, those that said spoof
	Lost         Losses // verdicts that won't come, of this run or an earlier one
	Refused      uint64 // documents that contradicted themselves
	Unheard      uint64 // requests that came faster than they were taken
	Unanswered   uint64 // responses, hints and telemetry that were dropped, or came too late
	Err          error  // why it isn't connected; it may have a Hint

	Acknowledged time.Time // when the broker last acknowledged a verdict; zero where it never did
}

// Losses counts lost verdicts by the GapReason. How many a damaged file held nobody knows: each counts as one.
type Losses struct{ Count, Bytes, Age, Refused, Damaged uint64 }

func (l *Losses) add(why GapReason) {
	switch why {
	case GapCount:
		l.Count++
	case GapBytes:
		l.Bytes++
	case GapAge:
		l.Age++
	case GapRefused:
		l.Refused++
	case GapDamaged:
		l.Damaged++
	}
}

// New checks the options, reads the journal and starts to connect. The client must be closed.
func New(o Options) (*Client, error) {
	c, err := o.prepare()
	if err != nil {
		return nil, err
	}
	c.exposed()
	if o.Journal != nil {
		c.load()
		go c.record()
		c.stain()
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go c.run(ctx)
	return c, nil
}

// exposed warns, once, of brokers to which everything goes in the clear.
func (c *Client) exposed() {
	var plain []string
	for _, e := range c.endpoints {
		if !e.tls && !e.loopback() {
			plain = append(plain, e.String())
		}
	}
	if len(plain) == 0 {
		return
	}
	what := "everything crosses the network in the clear: whoever is on it can read, change and forge verdicts and requests"
	if c.o.PasswordFile != "" {
		what += ", and read the password"
	}
	c.o.Log.Warn(what, "broker", strings.Join(plain, " "), "hint", "let the broker speak TLS, and write mqtts:// in the url")
}

// Status tells how the client is doing.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Queued, s.Bytes, s.Volatile, s.Gaps = c.queue.len(), c.queue.size, c.volatile(), len(c.gaps)
	return s
}

// PublishVerdict queues a verdict. One that doesn't pass Check, or is of another device, is refused; one that is queued already, as it was
// read from the journal, isn't queued again.
func (c *Client) PublishVerdict(v Verdict) {
	err := v.Check()
	if err == nil && v.Device != c.o.Device {
		err = fmt.Errorf("mqtt: verdict of device %.40q in the client of %s", v.Device, c.o.Device)
	}
	v = v.clone()
	document, jsonErr := json.Marshal(v) // Check leaves only a time that can't be written
	if err = errors.Join(err, jsonErr); err != nil {
		c.refused(err)
		if v.Device == c.o.Device && v.Seq > 0 && CheckName("boot", v.Boot) == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.missing(&v, GapRefused)
			c.stain()
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		c.drop(v.Verdict)
		return
	}
	if c.queue.find(document) != nil {
		return
	}
	i := &item{verdict: v, document: document, size: int64(len(document)), queued: c.o.Now()}
	i.late(i.queued)
	for _, l := range c.queue.push(i) {
		c.lose(l.item, l.why)
	}
	c.stain()
	c.rouse()
}

func (c *Client) drop(k VerdictKind) {
	c.status.Dropped++
	if k == Spoof {
		c.status.DroppedSpoof++
	}
}

// SetCameraState publishes, retained, what a camera does, now and on each new connection.
func (c *Client) SetCameraState(camera string, s CameraState) {
	c.keep(c.topics.CameraState(camera), s, errors.Join(CheckName("camera", camera), s.Check()))
}

// SetSwitches publishes, retained, an application's switches, now and on each new connection.
func (c *Client) SetSwitches(application string, s Switches) {
	c.keep(c.topics.Switches(application), s, CheckName("application", application))
}

// keep publishes what is retained.
func (c *Client) keep(topic string, document any, err error) {
	payload, jsonErr := json.Marshal(document)
	if err = errors.Join(err, jsonErr); err != nil {
		c.refused(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states[topic] = &state{payload: payload}
	c.rouse()
}

// PublishResponse answers a request. A response that can't be delivered within half a minute is dropped.
func (c *Client) PublishResponse(v Verb, r Response) {
	c.note(c.topics.Response(v), 1, r, errors.Join(CheckName("verb", string(v)), r.Check()))
}

// PublishHint says what keeps a session's verdict. It is dropped like a response.
func (c *Client) PublishHint(h Hint) { c.note(c.topics.Session(h.Session), 1, h, h.Check()) }

// note queues what is worth little when it is late. The oldest goes where there is no room.
func (c *Client) note(topic string, qos byte, document any, err error) {
	payload, jsonErr := json.Marshal(document)
	if err = errors.Join(err, jsonErr); err != nil {
		c.refused(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		c.status.Unanswered++
		return
	}
	if len(c.notes) == maxNotes {
		c.notes = slices.Delete(c.notes, 0, 1)
		c.status.Unanswered++
	}
	c.notes = append(c.notes, &note{topic: topic, qos: qos, payload: payload, queued: c.o.Now()})
	c.rouse()
}

// nextNote returns the next note to be published, nil if there is none.
func (c *Client) nextNote() *note {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Now()
	c.notes = slices.DeleteFunc(c.notes, func(n *note) bool {
		late := !n.flying && now.Sub(n.queued) > noteLife
		if late {
			c.status.Unanswered++
		}
		return late
	})
	for _, n := range c.notes {
		if !n.flying {
			n.flying = true
			return n
		}
	}
	return nil
}

func (c *Client) noted(n *note) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = slices.DeleteFunc(c.notes, func(o *note) bool { return o == n })
}

// refused counts what wasn't published because it contradicts itself: a fault of ours. Each kind is logged once.
func (c *Client) refused(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Refused++
	if text := err.Error(); text != c.refuse {
		c.refuse = text
		c.o.Log.Error("refused to publish", "error", err)
	}
}

// Announce publishes what Info says anew.
func (c *Client) Announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.journal.fresh = true
	c.rouse()
}

func (c *Client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default: // it was woken already
	}
}

// Close writes what is queued to the journal and delivers what somebody may still act on, and without a journal all of it, as long as ctx
// lasts, says offline and disconnects. Its error tells how many verdicts are lost. If ctx ends first, the connection is cut, and the
// broker publishes the will.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	again := c.closing.Err() != nil
	c.beginClosing() // under the lock, so that nothing is queued after it
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.cancel()
		<-c.done
	}
	c.cancel()
	if c.o.Journal != nil {
		if !again {
			close(c.journal.stop)
		}
		t := time.NewTimer(farewellToDisk)
		defer t.Stop()
		select {
		case <-c.journal.done: // the disk is worth waiting for
		case <-t.C:
			c.o.Log.Error("the disk takes too long: what wasn't written is lost")
		}
	}
	if n := c.Status().Volatile; n > 0 {
		return &Error{Op: "close", Err: fmt.Errorf("%d verdicts were not delivered", n), Kind: KindOf(c.Status().Err), hint: hint(c.Status().Err)}
	}
	return nil
}

// run keeps a connection until the client is closed.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	for attempt, failures := 0, 0; ; {
		if c.finished() {
			return
		}
		began, closing := time.Now(), c.closing.Err() != nil
		connected, err := c.serve(ctx)
		if err == nil || ctx.Err() != nil {
			c.mu.Lock()
			c.status.Connected = false
			c.mu.Unlock()
			return
		}
		if errors.Is(err, errRenew) {
			c.mu.Lock()
			c.land()
			c.mu.Unlock()
			continue
		}
		if connected {
			failures = 0
			if time.Since(began) > settled {
				attempt = 0
			}
		}
		failures++
		c.lost(err, connected, failures)
		if closing {
			attempt = 0 // there is little time
		}
		at := (slices.Index(c.endpoints, c.link.endpoint) + 1) % len(c.endpoints)
		c.link.endpoint = c.endpoints[at]
		if at != 0 && !connected {
			continue // the others are tried before anybody rests
		}
		c.rest(ctx, backoff(attempt, rand.Float64()), closing)
		attempt++
	}
}

// finished tells whether nothing is left to do: a queue is still worth a try while closing, a state isn't.
func (c *Client) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing.Err() != nil && !c.left()
}

// rest waits before the next attempt. A Close since the last one began, or in the middle of the wait, makes the next come at once.
func (c *Client) rest(ctx context.Context, d time.Duration, closing bool) {
	if !closing {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.closing, cancel)()
	}
	c.o.Pause(ctx, d)
}

// land takes back what the connection that is over hasn't delivered.
func (c *Client) land() {
	c.status.Connected = false
	for _, s := range c.states {
		s.published = false
	}
	c.queue.land()
	for _, n := range c.gaps {
		n.flying = false
	}
	for _, n := range c.notes {
		n.flying = false
	}
}

// lost notes why there is no connection. The log hears it when it is news.
func (c *Client) lost(err error, connected bool, failures int) {
	c.mu.Lock()
	news := connected || c.said[c.link.endpoint] != err.Error()
	c.said[c.link.endpoint] = err.Error()
	c.status.Err = err
	c.land()
	queued := c.queue.len()
	c.mu.Unlock()
	if !news {
		return
	}
	what := "no connection to the broker"
	if connected {
		what = "lost the connection to the broker"
	}
	args := []any{"error", err, "kind", KindOf(err), "queued", queued, "attempts", failures}
	if h := hint(err); h != "" {
		args = append(args, "hint", h)
	}
	c.o.Log.Warn(what, args...)
}

// serve makes one connection and works on it until it is lost, or until all is delivered and the client is closing: then
// the error is nil. connected tells whether it came to work at all.
func (c *Client) serve(ctx context.Context) (connected bool, err error) {
	l, err := connect(ctx, c.link)
	if err != nil {
		return false, err
	}
	defer l.end()
	// Nothing waits for a connection any longer than it is there.
	defer context.AfterFunc(ctx, func() { _ = l.wire.Close() })()
	s := &session{c: c, link: l, ctx: ctx, credit: 1, counted: time.Now(), offline: make(chan struct{}, 1), online: make(chan struct{}, 1),
		born: make(chan struct{}, 1)}
	if err := s.birth(); err != nil {
		return false, l.explain("announce the device at", err)
	}
	c.mu.Lock()
	c.status.Connected, c.status.Err = true, nil
	c.status.Connections++
	clear(c.said)
	queued := c.queue.len()
	c.mu.Unlock()
	c.o.Log.Info("connected to the broker", "broker", c.link.endpoint.String(), "queued", queued)
	began := time.Now()
	err = s.work()
	if errors.Is(err, errRenew) {
		return true, err
	}
	if err != nil {
		e := l.explain("stay connected to", err)
		if errors.Is(err, errClosed) && time.Since(began) < settled {
			e.hint = "see the broker's log: another client may have the id " + c.link.clientID +
				" (is there a second device of this name?), or an access list may forbid to publish below " + c.topics.root
		}
		return true, e
	}
	return true, nil
}

// session is the work on one connection. One goroutine does it.
type session struct {
	c       *Client
	link    *link
	ctx     context.Context
	offline chan struct{}    // somebody said offline for us
	online  chan struct{}    // we heard ourselves
	born    chan struct{}    // Home Assistant started
	welcome <-chan time.Time // when it is told what we are; nil if it needn't
	silence <-chan time.Time // until when we should have
	held    <-chan time.Time // when we may contradict again; nil if at once
	waiting []flight
	credit  float64          // how many late verdicts may go now
	counted time.Time        // when that was so
	late    <-chan time.Time // when the next may; nil if none waits
	look    <-chan time.Time // when to look at the certificate files; nil if there are none
	newer   *material        // what they held at the last look, if that isn't what the connection was made with
	renew   bool             // it is to be made anew with them

	contradicted bool // the log has heard of it
}

// flight is a message that the broker hasn't acknowledged yet.
type flight struct {
	token    paho.Token
	deadline time.Time
	done     func() // nil if nobody asks
}

// birth says that the device is there and what it is, and listens to what others say of it: the will of an older
// connection may come later than the new one's online, and would stay for ever.
func (s *session) birth() error {
	t := s.c.topics
	if err := s.say(t.Availability(), []byte(Online)); err != nil {
		return err
	}
	if s.c.o.Info != nil {
		info, err := s.c.info()
		if err != nil {
			return err
		}
		if err := s.say(t.Info(), info); err != nil {
			return err
		}
	}
	err := s.link.subscribe(s.ctx, t.Availability(), func(_ paho.Client, m paho.Message) {
		to := s.online
		if string(m.Payload()) == Offline {
			to = s.offline
		}
		select {
		case to <- struct{}{}:
		default:
		}
	})
	switch {
	case errors.Is(err, errDenied):
		s.deaf()
	case err != nil:
		return err
	default:
		s.silence = time.After(s.link.timeout)
	}
	if err := s.greet(); err != nil {
		return err
	}
	if s.c.o.Requests == nil {
		return nil
	}
	for _, filter := range []string{t.Request("+"), t.SetSwitches("+")} {
		err := s.link.subscribe(s.ctx, filter, s.asked)
		if errors.Is(err, errDenied) {
			s.c.mute.Do(func() {
				s.c.o.Log.Warn("the broker doesn't let the device hear requests", "topic", filter, "user", s.c.o.Username,
					"hint", "let the broker's access list allow this user to read below "+t.root+"/")
			})
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// info is what the device is now.
func (c *Client) info() ([]byte, error) {
	i := c.o.Info()
	if i.Models == nil {
		i.Models = []ModelInfo{}
	}
	if i.Cameras == nil {
		i.Cameras = []string{} // an empty list in JSON; nil would be null
	}
	c.mu.Lock()
	i.Journal = c.journalInfo()
	c.journal.fresh = false
	c.mu.Unlock()
	return json.Marshal(i)
}

// asked hands on what a host asks. It runs on the goroutine that reads, and must not wait.
func (s *session) asked(_ paho.Client, m paho.Message) {
	a, ok := s.c.topics.asked(m.Topic())
	if !ok {
		return
	}
	a.Payload, a.Retained = m.Payload(), m.Retained()
	select {
	case s.c.o.Requests <- a:
	default:
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		if s.c.status.Unheard++; s.c.status.Unheard == 1 {
			s.c.o.Log.Warn("requests come faster than they can be looked at: some are lost", "topic", m.Topic())
		}
	}
}

// deaf notes that the device doesn't hear itself. MQTT 3.1.1 has no way to refuse a message: what an access list forbids to publish is
// acknowledged and thrown away, and this is the only sign of it.
func (s *session) deaf() {
	s.c.deaf.Do(func() {
		s.c.o.Log.Warn("the broker doesn't let the device hear its own availability: a stale offline could stay, and if the device may not "+
			"publish either, all verdicts are thrown away", "topic", s.c.topics.Availability(), "user", s.c.o.Username,
			"hint", "let the broker's access list allow this user to publish below "+s.c.topics.root+"/, and to read this topic")
	})
}

// say publishes, retained, and waits for the acknowledgement.
func (s *session) say(topic string, payload []byte) error {
	t, err := s.link.publish(topic, 1, payload, true)
	if err != nil {
		return err
	}
	return s.link.await(s.ctx, t)
}

// work publishes whatever comes until the connection is lost or the client is closed and has nothing left.
func (s *session) work() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	if s.link.tls && s.link.caFile+s.link.certFile != "" {
		t := time.NewTicker(s.c.o.Reload)
		defer t.Stop()
		s.look = t.C
	}
	for {
		s.renew = s.renew && s.c.closing.Err() == nil
		for len(s.waiting) < s.window() && !s.renew {
			more, err := s.one()
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		var head <-chan struct{}
		var overdue <-chan time.Time
		closing := s.c.closing.Done()
		if len(s.waiting) > 0 {
			head = s.waiting[0].token.Done()
			timer.Reset(time.Until(s.waiting[0].deadline))
			overdue = timer.C
			closing = nil // it is looked at when all is acknowledged
		} else if s.c.closing.Err() != nil {
			if s.c.finished() {
				return s.goodbye()
			}
			closing = nil // what is left is being written to the disk
		} else if s.renew {
			s.c.o.Log.Info("connecting anew with the changed certificate files")
			if err := s.goodbye(); err != nil {
				return err
			}
			return errRenew
		}
		offline := s.offline
		if s.held != nil {
			offline = nil
		}
		select {
		case <-head:
			f := s.waiting[0]
			if err := s.link.result(f.token); err != nil {
				return err
			}
			s.waiting = slices.Delete(s.waiting, 0, 1)
			if f.done != nil {
				f.done()
			}
		case <-offline:
			if err := s.contradict(); err != nil {
				return err
			}
		case <-s.held:
			s.held = nil
		case <-s.born:
			if s.welcome == nil {
				s.welcome = s.soon()
			}
		case <-s.welcome:
			s.welcome = nil
			s.c.announceAgain()
		case <-s.online:
			s.silence = nil
		case <-s.silence:
			s.deaf()
		case <-s.look:
			s.reload()
		case <-s.c.wake:
		case <-s.late:
		case <-closing:
		case <-overdue:
			return errSilent
		case <-s.link.wire.closed:
			return s.link.wire.cause()
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// errRenew ends a connection for the sake of another with new certificate files.
var errRenew = errors.New("new certificate files")

// reload looks at the certificate files. Whoever takes an authority away no longer trusts what it vouched for, so that the connection
// doesn't outlive the change. That they are the same at two looks says that nobody is still writing.
func (s *session) reload() {
	if s.c.closing.Err() != nil {
		return
	}
	m, err := s.c.link.keeper.current()
	switch {
	case err != nil || m.digest == s.link.files.digest:
		s.newer = nil
	case s.newer == nil || s.newer.digest != m.digest:
		s.newer = m
	default:
		s.renew = true
	}
}

// window is how many messages may fly. It leaves room in a small queue, where what flies isn't dropped.
func (s *session) window() int { return max(1, min(inFlight, s.c.o.QueueLimit/2)) }

// one publishes the next state or verdict, if there is one.
func (s *session) one() (bool, error) {
	if topic, st := s.c.nextState(); st != nil {
		return true, s.fly(topic, 1, st.payload, true, st.done)
	}
	if s.c.o.Info != nil && s.c.changed() {
		info, err := s.c.info()
		if err != nil {
			return false, err
		}
		return true, s.fly(s.c.topics.Info(), 1, info, true, nil)
	}
	if n := s.c.nextNote(); n != nil { // before verdicts, as a session's response and hints were said before its verdict
		return true, s.fly(n.topic, n.qos, n.payload, false, func() { s.c.noted(n) })
	}
	if n, payload := s.c.nextGap(); n != nil {
		return true, s.fly(s.c.topics.Gap(), 1, payload, false, func() { s.c.told(n) })
	}
	i, payload := s.c.nextVerdict(s.mayBeLate)
	if i == nil {
		return false, nil
	}
	t, v := s.c.topics, i.verdict
	// Who verifies signatures has it before the copies that are to be compared with it.
	if s.c.o.Signer != nil {
		signed, err := s.c.o.Signer.Sign(payload)
		if err != nil {
			return false, err
		}
		if err := s.fly(t.Signed(), 1, signed, false, nil); err != nil {
			return false, err
		}
	}
	topics := []string{t.Verdict(v.Camera)}
	if v.Code != nil && *v.Code == CodePADAttack {
		topics = append(topics, t.Attack(v.Camera))
	}
	if v.Session != nil {
		topics = append(topics, t.Session(v.Session.ID))
	}
	for n, topic := range topics {
		var done func()
		if n == len(topics)-1 {
			// Flights end in order, so that all are acknowledged when the last is.
			done = func() { s.c.delivered(i) }
		}
		if err := s.fly(topic, 1, payload, false, done); err != nil {
			return false, err
		}
	}
	s.c.progress(i, Published)
	return true, nil
}

// mayBeLate tells whether a late verdict may go now, and takes it for gone. What nobody will keep goes at once while the client closes.
func (s *session) mayBeLate() bool {
	s.late = nil
	if s.c.closing.Err() != nil {
		return true
	}
	now, rate := time.Now(), s.c.o.BacklogRate
	s.credit, s.counted = min(max(1, rate/10), s.credit+rate*now.Sub(s.counted).Seconds()), now
	if s.credit < 1 {
		s.late = time.After(time.Duration((1 - s.credit) / rate * float64(time.Second)))
		return false
	}
	s.credit--
	return true
}

func (s *session) fly(topic string, qos byte, payload []byte, retained bool, done func()) error {
	t, err := s.link.publish(topic, qos, payload, retained)
	if err != nil {
		return err
	}
	s.waiting = append(s.waiting, flight{token: t, deadline: time.Now().Add(s.link.timeout), done: done})
	return nil
}

// contradict says online because somebody said offline.
func (s *session) contradict() error {
	level := slog.LevelWarn
	if s.contradicted {
		level = slog.LevelDebug
	}
	s.contradicted = true
	s.c.o.Log.Log(s.ctx, level, "the device was called offline while it is connected; it says online again",
		"topic", s.c.topics.Availability(), "hint", "if this repeats itself, another program publishes the availability of this device")
	s.held = time.After(assertPause)
	return s.fly(s.c.topics.Availability(), 1, []byte(Online), true, nil)
}

// goodbye ends the session cleanly. Whether the broker heard it doesn't matter: if not, it publishes the will.
func (s *session) goodbye() error {
	if err := s.say(s.c.topics.Availability(), []byte(Offline)); err != nil {
		s.c.o.Log.Warn("could not say offline; the broker does it by the will", "error", err)
		return nil
	}
	s.link.disconnect()
	return nil
}

// nextState returns a state that this connection hasn't carried yet, in the order of the topics.
func (c *Client) nextState() (topic string, next *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, s := range c.states {
		if !s.published && (next == nil || at < topic) {
			topic, next = at, s
		}
	}
	if next != nil {
		next.published = true
	}
	return topic, next
}

// changed tells whether the journal's state is another than the broker was told.
func (c *Client) changed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.journal.fresh
}

// nextVerdict returns the next verdict to be published, as it is to be published now: those that are late after the others, and only if
// one may be late.
func (c *Client) nextVerdict(late func() bool) (*item, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue.sort(c.o.Now())
	durable := c.durable()
	may := func(i *item) bool { return i.kept || !durable }
	i := next(c.queue.fresh, may)
	if i == nil && durable && c.closing.Err() != nil {
		return nil, nil // the next run goes on
	}
	if i == nil && slices.ContainsFunc(c.queue.backlog, func(i *item) bool { return !i.flying && may(i) }) && late() {
		i = next(c.queue.backlog, may)
	}
	if i == nil {
		return nil, nil
	}
	if !i.old && !i.verdict.Replayed {
		return i, i.document
	}
	v := i.verdict
	v.Replayed = true
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, nil // it could be written before
	}
	return i, payload
}

func (c *Client) progress(i *item, s Stage) {
	if c.o.Progress != nil {
		c.o.Progress(&i.verdict, s, time.Now())
	}
}

func (c *Client) delivered(i *item) {
	c.progress(i, Acknowledged)
	if c.o.Delivered != nil {
		defer func() { c.o.Delivered(i.verdict.clone()) }() // without the lock
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i.gone {
		return // it was dropped meanwhile
	}
	c.queue.done(i)
	c.spare(i.n, i.kept)
	c.status.Published++
	c.status.Acknowledged = c.o.Now()
	if c.full > 0 && c.queue.len() <= c.queue.count/2 && c.queue.size <= c.queue.bytes/2 {
		c.o.Log.Info("there is room for verdicts again", "dropped", c.full)
		c.full = 0
	}
}
