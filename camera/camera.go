// Package camera takes pictures: from V4L2 devices, and from folders and clips played as if they were one.
//
// A Camera hands out the newest frame as planes, decoded only when somebody asks for it; what nobody asked for
// in time is counted and gone. It promises to survive its device: a camera that is absent, taken, refused, frozen
// or pulled out is a state with a hint for a technician, and the device is opened again when it can be, at once
// where the kernel or udev says that it is back. One that isn't helped by that is reset, where that is permitted, and
// one that sends, but not as it should, is alarmed: Health. Frames that are marked as faulty by the driver, empty,
// short, cut off, wrongly sized or garbage are counted by reason and never handed out. A driver that doesn't return
// holds up nobody but its own camera. Frames are handed out as the camera sent them, if wanted as a view that is turned,
// mirrored and of a region alone; RGB, and luma of more than 8 bits where its upper ones aren't bytes, are converted
// once. The package doesn't scale, and it doesn't drive multi-planar devices.
package camera

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/camera/jpeg"
)

// What a Camera is doing.
const (
	StateStreaming  = "streaming"  // frames come
	StateRecovering = "recovering" // not yet or no longer there; it is being looked for
	StateFailed     = "failed"     // there, but it can't be used until somebody acts; tried again all the same
)

// Codes of the verdicts that a camera's trouble leads to.
const (
	CodePermission = "PERMISSION_REFUSED"
	CodeLost       = "CAMERA_LOST"
	CodeSuspect    = "CAMERA_SUSPECT"
)

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("camera: closed")

// Options of a Camera.
type Options struct {
	Name          string  // for frames and logs; "" is the path
	Path          string  // any name of a device, "" for the first usable one, "replay:FOLDER" or "replay:CLIP"
	Format        string  // FourCC that must be used, "" for the best
	Width, Height int     // wanted size; 0 is 640×480
	FPS           float64 // wanted rate, or the rate of a replay; 0 is 15
	Loop          bool    // a replay starts again at its end
	// How pictures are handed out, without a copy: turned clockwise by 0, 90, 180 or 270 degrees, then with left and right
	// exchanged, and of that a part. Format, Width and Height are of what the camera sends.
	Rotate int
	Mirror bool
	Region Region
	// Controls are set whenever the device is opened, by name: a number, true, false, or an item of a menu by its text. One that
	// can't be set is told in the status of a camera that streams all the same.
	Controls map[string]string
	// Identity is who the device must be: see CheckIdentity. All must hold; none is anybody.
	Identity []string
	// AllowVirtual takes devices that aren't cameras: pictures of anybody's choice come from them.
	AllowVirtual bool
	// Light keeps the controls of exposure at hand: see Camera.Light.
	Light bool
	Log   *slog.Logger

	timing timing // tests shorten it
}

// timing is how patient a camera is.
type timing struct {
	slice      time.Duration // longest wait between looks at the context
	backoff    time.Duration // first pause before another try
	backoffMax time.Duration
	presence   time.Duration // between looks for an absent device
	settle     time.Duration // for udev, between a device's appearance and its permissions
	stall      time.Duration // shortest silence that counts as a stall
	first      time.Duration // silence that the first frame after opening may take
	leave      time.Duration // that Close waits for a driver
}

var usualTiming = timing{
	slice:      100 * time.Millisecond,
	backoff:    250 * time.Millisecond,
	backoffMax: 5 * time.Second,
	presence:   250 * time.Millisecond,
	settle:     200 * time.Millisecond,
	stall:      2 * time.Second,
	first:      5 * time.Second,
	leave:      time.Second,
}

// Check tells what Open would refuse.
func (o Options) Check() error { return o.check() }

func (o *Options) check() error {
	if o.Width == 0 && o.Height == 0 {
		o.Width, o.Height = 640, 480
	}
	if o.FPS == 0 {
		o.FPS = 15
	}
	if o.Width < 1 || o.Width > frame.MaxSide || o.Height < 1 || o.Height > frame.MaxSide {
		return fmt.Errorf("size %d×%d: each side from 1 to %d", o.Width, o.Height, frame.MaxSide)
	}
	if math.IsNaN(o.FPS) || o.FPS < 0.01 || o.FPS > 1000 {
		return fmt.Errorf("%v frames a second: from 0.01 to 1000", o.FPS)
	}
	if o.Format != "" {
		f := formatByName(o.Format)
		if f == "" {
			return fmt.Errorf("format %q: one of %s", o.Format, strings.Join(formats, ", "))
		}
		o.Format = f
	}
	if o.Rotate != 0 && o.Rotate != 90 && o.Rotate != 180 && o.Rotate != 270 {
		return fmt.Errorf("rotate %d: 0, 90, 180 or 270", o.Rotate)
	}
	if err := o.Region.check(); err != nil {
		return err
	}
	for _, pin := range o.Identity {
		if err := CheckIdentity(pin); err != nil {
			return err
		}
	}
	if o.Path == replayPrefix {
		return errors.New(`path "replay:" names no folder or clip`)
	}
	if o.Name == "" {
		o.Name = o.Path
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.timing == (timing{}) {
		o.timing = usualTiming
	}
	return nil
}

// Status is what is known of a camera.
type Status struct {
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Device   string    `json:"device,omitempty"`
	Format   string    `json:"format,omitempty"`
	Width    int       `json:"width,omitempty"` // of what the camera sends, before it is turned
	Height   int       `json:"height,omitempty"`
	FPS      float64   `json:"fps,omitempty"`          // as agreed with the driver; 0 is unknown
	Measured float64   `json:"fps_measured,omitempty"` // lately
	Err      string    `json:"error,omitempty"`        // why it isn't streaming, or not as it was told to
	Hint     string    `json:"hint,omitempty"`         // what a technician should do
	Code     string    `json:"code,omitempty"`         // what it means for verdicts
	Counters Counters  `json:"counters"`
	Health   Health    `json:"health"`
	// Moved is when the goroutine that drives the camera last came round: it does so several times a second, whatever the camera does,
	// unless a call into the driver doesn't return.
	Moved time.Time `json:"-"`
}

// Counters of a camera since Open.
type Counters struct {
	Captured uint64 `json:"captured"` // frames that the source brought, good or bad
	Dropped  uint64 `json:"dropped"`  // whole frames that a newer one replaced before anybody asked
	Lost     uint64 `json:"lost"`     // frames that the driver's numbering skips: it had them, or should have had, and we didn't
	Reopened uint64 `json:"reopened"` // how often the device was opened again
	Bad      Bad    `json:"bad"`
}

// LogValue leaves out the reasons that never were.
func (c Counters) LogValue() slog.Value {
	a := []slog.Attr{slog.Uint64("captured", c.Captured), slog.Uint64("dropped", c.Dropped), slog.Uint64("reopened", c.Reopened)}
	for _, b := range []struct {
		name string
		n    uint64
	}{
		{"lost", c.Lost}, {"faulty", c.Bad.Faulty}, {"empty", c.Bad.Empty}, {"short", c.Bad.Short}, {"truncated", c.Bad.Truncated}, {"corrupt", c.Bad.Corrupt},
		{"wrong_size", c.Bad.WrongSize}, {"too_large", c.Bad.TooLarge}, {"unsupported", c.Bad.Unsupported},
	} {
		if b.n > 0 {
			a = append(a, slog.Uint64(b.name, b.n))
		}
	}
	return slog.GroupValue(a...)
}

// Bad counts frames that couldn't be used, by reason.
type Bad struct {
	Faulty      uint64 `json:"faulty"` // the driver itself says so
	Empty       uint64 `json:"empty"`
	Short       uint64 `json:"short"`      // fewer bytes than the size needs
	Truncated   uint64 `json:"truncated"`  // a JPEG without its end
	Corrupt     uint64 `json:"corrupt"`    // can't be decoded
	WrongSize   uint64 `json:"wrong_size"` // not the size that was agreed with the driver
	TooLarge    uint64 `json:"too_large"`
	Unsupported uint64 `json:"unsupported"`
}

// Total of all reasons.
func (b Bad) Total() uint64 {
	return b.Faulty + b.Empty + b.Short + b.Truncated + b.Corrupt + b.WrongSize + b.TooLarge + b.Unsupported
}

func (b *Bad) count(err error) {
	switch {
	case errors.Is(err, errFaulty):
		b.Faulty++
	case errors.Is(err, errEmpty):
		b.Empty++
	case errors.Is(err, errShort):
		b.Short++
	case errors.Is(err, jpeg.ErrTruncated):
		b.Truncated++
	case errors.Is(err, errWrongSize):
		b.WrongSize++
	case errors.Is(err, errTooLarge), errors.Is(err, jpeg.ErrTooLarge):
		b.TooLarge++
	case errors.Is(err, errFormat), errors.Is(err, jpeg.ErrUnsupported):
		b.Unsupported++
	default:
		b.Corrupt++
	}
}

// Camera is one source of frames. Next is for one goroutine at a time; everything else may be called from any.
type Camera struct {
	o       Options
	driver  driver
	cancel  context.CancelFunc
	done    chan struct{} // closed when the capture goroutine is gone
	arrived chan struct{} // a slot of one: look into the slot
	changes chan Status
	closing sync.Once

	next    sync.Mutex // held while a frame is waited for and decoded
	decoder *jpeg.Decoder
	taken   raw // what the frame handed out last may lie in
	pixels  []byte
	room    room
	out     frame.Frame
	sent    image.Point // the size of what out is made of

	mu     sync.Mutex
	slot   raw
	full   bool // slot holds a frame that nobody took
	ended  bool
	closed bool
	status Status
	rate   rate
	spoilt spoilt
	dimmer dimmer
	health health
	newest time.Time // when the newest frame was captured
}

// raw is a frame as its source sent it.
type raw struct {
	data     []byte
	layout   layout
	sequence uint64
	captured time.Time
	dequeued time.Time
	lost     uint32 // frames that the driver's numbering skips before this one
	faulty   bool   // the driver says that something is wrong with it
}

// Open checks the options and starts to capture. That the device is absent or refused isn't an error here but
// a state, which may change at any time.
func Open(o Options) (*Camera, error) {
	if err := o.check(); err != nil {
		return nil, fault("open", o.Path, err, nil)
	}
	if path, ok := strings.CutPrefix(o.Path, replayPrefix); ok {
		return start(o, &replay{path: path, fps: o.FPS, loop: o.Loop})
	}
	return start(o, newDevice(o))
}

func start(o Options, d driver) (*Camera, error) {
	dec, err := jpeg.New(jpeg.Options{})
	if err != nil {
		return nil, fault("open", o.Path, err, nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	now := time.Now()
	c := &Camera{
		o: o, driver: d, cancel: cancel, decoder: dec,
		done: make(chan struct{}), arrived: make(chan struct{}, 1), changes: make(chan Status, 1), health: newHealth(now),
		status: Status{State: StateRecovering, Since: now, Device: o.Path, Moved: now},
	}
	c.status.Health = c.health.Health
	go c.run(ctx)
	return c, nil
}

// Next waits for the newest frame that wasn't handed out yet. The frame is valid until the next call. It returns
// io.EOF when a replay has ended and its last frame was taken, ErrClosed after Close, and the context's error.
func (c *Camera) Next(ctx context.Context) (*frame.Frame, error) {
	c.next.Lock()
	defer c.next.Unlock()
	for {
		if err := c.take(ctx); err != nil {
			return nil, err
		}
		taken := time.Now()
		err := c.decode()
		c.out.Taken, c.out.Decoded = taken, time.Now()
		c.mu.Lock()
		if err != nil {
			c.status.Counters.Bad.count(err)
			c.spoilt.count(time.Now())
			c.health.undecodable(time.Now())
		} else {
			c.spoilt = spoilt{}
			if c.taken.layout.width == 0 { // only the pictures of a replay know
				c.status.Format, c.status.Width, c.status.Height = c.out.Format, c.sent.X, c.sent.Y
			}
		}
		c.mu.Unlock()
		if err == nil {
			return &c.out, nil
		}
	}
}

// Pass waits as Next does and lets the frame go, undecoded: for who wants to know only that frames come. It ends the frame that Next gave.
func (c *Camera) Pass(ctx context.Context) error {
	c.next.Lock()
	defer c.next.Unlock()
	return c.take(ctx)
}

// take waits for the newest frame and puts it into c.taken. c.next is held.
func (c *Camera) take(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("camera: wait for frame: %w", err)
		}
		c.mu.Lock()
		full, ended, closed := c.full, c.ended, c.closed
		if full && !closed {
			c.slot, c.taken = c.taken, c.slot
			c.full = false
		}
		c.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case full:
			return nil
		case ended:
			return io.EOF
		}
		select {
		case <-ctx.Done():
		case <-c.arrived: // or it is closed while its driver doesn't return
		case <-c.done: // then it is ended or closed
		}
	}
}

// decode makes c.out of c.taken.
func (c *Camera) decode() error {
	r := &c.taken
	m, format, err := frame.Image{}, r.layout.format, error(nil)
	if format == "" {
		format = sniff(r.data)
	}
	switch format {
	case formatMJPG:
		if r.layout.width > 0 {
			w, h, err := jpeg.Size(r.data)
			if err != nil {
				return err
			}
			if w != r.layout.width || h != r.layout.height {
				return fmt.Errorf("%w: %d×%d", errWrongSize, w, h)
			}
		}
		m, c.pixels, err = c.decoder.Decode(c.pixels, r.data)
	case formatPNG:
		m, err = DecodeStill(r.data)
	default:
		m, err = r.layout.view(r.data, &c.room)
	}
	if err != nil {
		return err
	}
	seen, offset, err := c.o.see(m)
	if err != nil {
		return err
	}
	c.sent = image.Pt(m.Width, m.Height)
	c.out = frame.Frame{Image: seen, Offset: offset, Camera: c.o.Name, Sequence: r.sequence, Captured: r.captured, Dequeued: r.dequeued, Format: format}
	if format == formatMJPG && !c.o.turns() {
		c.out.JPEG = r.data
	}
	return nil
}

// Status tells how the camera is doing.
func (c *Camera) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Changes brings the status after its State, Code, Err, or its Health's State or Alarms changed. Who comes late gets the latest alone. The
// channel is closed by Close.
func (c *Camera) Changes() <-chan Status { return c.changes }

// Close stops capturing, waits until the device is closed and makes Next return ErrClosed. The last frame stays
// valid. A second call does nothing.
//
// A driver that doesn't return is waited for a second, and then left behind with an error: it mustn't keep anything else from
// ending. If it returns after all, the device is closed then.
func (c *Camera) Close() (err error) {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.cancel()
		t := time.NewTimer(c.o.timing.leave)
		defer t.Stop()
		select {
		case <-c.done:
		case <-t.C:
			err = fault("close", c.o.Path, errStuck, nil)
			c.o.Log.Error("camera left behind", "camera", c.o.Name, "error", err, "hint", hintOf(err))
			select {
			case c.arrived <- struct{}{}: // Next may wait
			default:
			}
		}
		c.next.Lock() // Next may be decoding
		defer c.next.Unlock()
		c.decoder.Close()
	})
	return err
}
