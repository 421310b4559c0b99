package console

import (
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/mqtt"
)

// The documents of the interface, as docs/console-api.md describes them. Times are RFC 3339, durations milliseconds, boxes pixels of the frame.

type sessionDocument struct {
	Role    Role      `json:"role"`
	Expires time.Time `json:"expires"`
}

// stateDocument is how everything is.
type stateDocument struct {
	Now          time.Time        `json:"now"`
	Version      string           `json:"version"`
	Device       string           `json:"device"`
	Phase        string           `json:"phase"` // starting, ready, reloading, stopping
	Since        time.Time        `json:"since"`
	Started      time.Time        `json:"started"`
	Boot         string           `json:"boot"`
	Doing        string           `json:"doing,omitempty"`
	Stuck        []string         `json:"stuck"`
	Config       string           `json:"config"` // the file, "" for none
	Trouble      *daemon.Trouble  `json:"trouble"`
	Refused      *daemon.Trouble  `json:"refused"` // why the newest configuration isn't in effect
	Cameras      []cameraDocument `json:"cameras"`
	Models       []modelDocument  `json:"models"`
	Runtime      *runtimeDocument `json:"runtime"`
	Broker       *brokerDocument  `json:"broker"`
	System       systemDocument   `json:"system"`
	Viewers      viewersDocument  `json:"viewers"`
	Mode         string           `json:"mode"`     // continuous or on_request
	Sessions     bool             `json:"sessions"` // they can be asked for
	Applications []string         `json:"applications"`
}

type cameraDocument struct {
	Name     string             `json:"name"`
	Role     string             `json:"role"`
	Path     string             `json:"path"`  // as configured
	Trial    bool               `json:"trial"` // it is used another way than the configuration says
	State    string             `json:"state"`
	Since    time.Time          `json:"since"`
	Device   string             `json:"device,omitempty"`
	Format   string             `json:"format,omitempty"`
	Width    int                `json:"width,omitempty"`
	Height   int                `json:"height,omitempty"`
	FPS      float64            `json:"fps,omitempty"`          // as agreed with the driver
	Measured float64            `json:"fps_measured,omitempty"` // lately
	Error    string             `json:"error,omitempty"`
	Hint     string             `json:"hint,omitempty"`
	Code     string             `json:"code,omitempty"`
	Health   *mqtt.CameraHealth `json:"health"`
	Light    *lightDocument     `json:"light"` // null where the driver has no controls for it
	Counters camera.Counters    `json:"counters"`
	Verdicts mqtt.VerdictCounts `json:"verdicts"`
	History  []mqtt.CameraState `json:"history"` // the oldest first
}

// lightDocument is what the driver's controls of light are at; each null where there is none.
type lightDocument struct {
	Time       *camera.Control `json:"exposure_time"` // in units of 100 µs
	Gain       *camera.Control `json:"gain"`
	Brightness *camera.Control `json:"brightness"`
}

func light(l camera.Light) *lightDocument {
	if l.Opened == 0 {
		return nil
	}
	one := func(c camera.Control) *camera.Control {
		if c.Type == "" {
			return nil
		}
		return &c
	}
	return &lightDocument{one(l.Time), one(l.Gain), one(l.Brightness)}
}

type modelDocument struct {
	Task        string  `json:"task"`
	Name        string  `json:"name"`
	Version     string  `json:"version"`
	SHA256      string  `json:"sha256"`
	Licence     string  `json:"licence"`
	Description string  `json:"description,omitempty"`
	From        string  `json:"from"`
	Weight      float64 `json:"weight,omitempty"` // beside the others of its task
}

type runtimeDocument struct {
	Version  string `json:"version"`
	Path     string `json:"path"`
	Delegate string `json:"delegate"`
	// Tried is what became of each delegate of the preference, and so why it is this one.
	Tried []daemon.Tried `json:"tried"`
}

type brokerDocument struct {
	URLs         []string   `json:"urls"`
	Connected    bool       `json:"connected"`
	Connections  uint64     `json:"connections"`
	Queued       int        `json:"queued"`
	Published    uint64     `json:"published"`
	Volatile     int        `json:"volatile"`
	Gaps         int        `json:"gaps"`
	Dropped      uint64     `json:"dropped"`
	Acknowledged *time.Time `json:"acknowledged"` // when the broker last said that it has a verdict
	Error        string     `json:"error,omitempty"`
	Hint         string     `json:"hint,omitempty"`
}

type systemDocument struct {
	ClockSynced  bool               `json:"clock_synced"`
	Temperatures []mqtt.Temperature `json:"temperatures"`
	Resident     int64              `json:"resident_bytes"`
	WatchdogMS   int64              `json:"watchdog_ms"` // 0: there is none
}

type viewersDocument struct {
	Now   int `json:"now"`
	Limit int `json:"limit"`
}

// sightDocument is what was thought of one frame.
type sightDocument struct {
	Camera   string            `json:"camera"`
	Sequence uint64            `json:"sequence"`
	Captured time.Time         `json:"captured"`
	Width    int               `json:"width"`
	Height   int               `json:"height"`
	Offset   pointDocument     `json:"offset"` // of a region in all that the camera sees
	Faces    []faceDocument    `json:"faces"`
	Main     *int              `json:"main"` // index in faces, null for none
	Code     string            `json:"code,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Score    *float64          `json:"score"` // by this frame alone
	Look     *lookDocument     `json:"look"`
	Standing *standingDocument `json:"evidence"` // null for infrared cameras
	TimesMS  timesDocument     `json:"times_ms"`
}

type pointDocument struct {
	X int `json:"x"`
	Y int `json:"y"`
}

type faceDocument struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
	Score  float64 `json:"score"`
}

type lookDocument struct {
	Luma   float64  `json:"luma"`
	Dark   float64  `json:"dark"`
	Bright float64  `json:"bright"`
	Sharp  float64  `json:"sharp"`
	Yaw    *float64 `json:"yaw"`
	Roll   *float64 `json:"roll"`
}

type standingDocument struct {
	Track     uint64     `json:"track"` // 0: nobody is there
	Began     *time.Time `json:"began"`
	Said      string     `json:"said,omitempty"`
	Frames    int        `json:"frames"`
	MinFrames int        `json:"min_frames"`
	SpanMS    int64      `json:"span_ms"`
	MinTimeMS int64      `json:"min_time_ms"`
	Score     *float64   `json:"score"`
	LiveAt    float64    `json:"live_at"`
	SpoofAt   float64    `json:"spoof_at"`
	Sum       float64    `json:"sum"`
	Live      float64    `json:"live_bound"`
	Spoof     float64    `json:"spoof_bound"`
	Asked     bool       `json:"asked"`
}

type timesDocument struct {
	Detect float64 `json:"detect"`
	Crop   float64 `json:"crop"`
	Judge  float64 `json:"judge"`
	Total  float64 `json:"total"`
}

// presentationDocument is a verdict that was published: the document as it went to the broker, but for subject and nonce.
type presentationDocument struct {
	Number  uint64       `json:"number"`
	Verdict mqtt.Verdict `json:"verdict"`
	// Timeline is how it came about; null where that isn't remembered.
	Timeline *daemon.Timeline `json:"timeline"`
	Hint     string           `json:"hint,omitempty"`
}

func sight(s *daemon.Sight) sightDocument {
	d := sightDocument{Camera: s.Camera, Sequence: s.Sequence, Captured: s.Captured.UTC(), Width: s.Width, Height: s.Height, Offset: pointDocument{s.Offset.X, s.Offset.Y}, Faces: []faceDocument{},
		Code: string(s.Code), Hint: s.Hint, TimesMS: timesDocument{ms(s.Times.Detect), ms(s.Times.Crop), ms(s.Times.Judge), ms(s.Total)}}
	for _, f := range s.Faces {
		d.Faces = append(d.Faces, faceDocument{f.X, f.Y, f.W, f.H, f.Score})
	}
	if s.Main >= 0 && s.Main < len(s.Faces) {
		d.Main = &s.Main
	}
	if s.Judged {
		d.Score = &s.Score
	}
	if l := s.Look; l.Known || l.Posed {
		d.Look = &lookDocument{Luma: l.Luma, Dark: l.Dark, Bright: l.Bright, Sharp: l.Sharp}
		if l.Posed {
			d.Look.Yaw, d.Look.Roll = &l.Yaw, &l.Roll
		}
	}
	if !s.Infrared {
		d.Standing = standing(s.Standing)
	}
	return d
}

func standing(s decision.Standing) *standingDocument {
	d := &standingDocument{Track: s.Presentation, Said: string(s.Said), Frames: s.Frames, MinFrames: s.MinFrames, SpanMS: s.Span.Milliseconds(),
		MinTimeMS: s.MinTime.Milliseconds(), LiveAt: s.LiveAt, SpoofAt: s.SpoofAt, Sum: s.Sum, Live: s.LiveBound, Spoof: s.SpoofBound, Asked: s.Asked}
	if s.Presentation != 0 {
		began := s.Began.UTC()
		d.Began = &began
	}
	if s.Frames > 0 {
		d.Score = &s.Score
	}
	return d
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
