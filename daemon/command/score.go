package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/look"
	"github.com/livenessd/livenessd/models"
	"github.com/livenessd/livenessd/mqtt"
)

// maxStill bounds a file that score reads, in bytes.
const maxStill = 256 << 20

func (a *app) score() *cobra.Command {
	var face string
	c := &cobra.Command{
		Use:   "score FILE…",
		Short: "Judge pictures or clips as run would judge camera frames",
		Long: "For each FILE one line, or one JSON object with --json: file, face box or null, score (P(live), 0…1), verdict and code.\n" +
			"A picture (JPEG, PNG), turned as its Exif data say, is judged as a single frame at the thresholds that are in effect. A clip\n" +
			"(concatenated JPEGs, .mjpeg or .mjpg) is played through the decision at its --fps, and gives one line for each verdict.\n" +
			"Exit code 1 if a file could not be read; the others are still judged.",
		Args: usageArgs(cobra.MinimumNArgs(1)),
	}
	fps := c.Flags().Float64("fps", 15, "frames per second of a clip")
	c.Flags().StringVar(&face, "face", "", "X,Y,W,H: the face's box in pixels of the upright picture; skips detection")
	a.jsonFlag(c, "print one JSON object for each file")
	c.RunE = func(c *cobra.Command, files []string) error {
		box, err := parseBox(face)
		if err != nil {
			return fail(ExitUsage, err)
		}
		if !(*fps > 0 && *fps <= 1000) {
			return fail(ExitUsage, fmt.Errorf("--fps %v: frames per second, above 0", *fps))
		}
		s, err := a.scorer(c.Context())
		if err != nil {
			return err
		}
		defer s.close()
		s.fps = *fps
		if box != nil {
			s.face = func(*frame.Image) models.Box { return *box }
		}
		bad := 0
		for _, file := range files {
			for _, r := range s.file(file) {
				if r.Error != "" {
					bad++
				}
				if err := a.printScore(r); err != nil {
					return err
				}
			}
		}
		if bad > 0 {
			return fail(ExitOther, fmt.Errorf("%d of %d files could not be judged", bad, len(files)))
		}
		return nil
	}
	return c
}

// scored is what score says of a file.
type scored struct {
	File     string           `json:"file"`
	Face     *mqtt.Face       `json:"face"`
	Score    *float64         `json:"score"` // P(live), null where no face was judged
	Verdict  decision.Verdict `json:"verdict"`
	Code     *decision.Code   `json:"code"` // null for live
	LiveAt   float64          `json:"live_at"`
	SpoofAt  float64          `json:"spoof_at"`
	Attack   string           `json:"attack,omitempty"`
	Frames   int              `json:"frames"`               // judged
	Position *float64         `json:"position_s,omitempty"` // in a clip: seconds from its beginning to the verdict
	Error    string           `json:"error,omitempty"`
	Hint     string           `json:"hint,omitempty"`

	unread bool // the file could not be read, or holds no picture: nothing was presented
}

// scorer judges files. It is what score and evaluate have in common.
type scorer struct {
	engine   *daemon.Engine
	examiner daemon.Examiner
	options  decision.Options
	fps      float64                             // of clips
	face     func(*frame.Image) models.Box       // where the face is; nil asks the detector
	judged   func(*frame.Image, *daemon.Finding) // sees each frame whose face was judged; nil for nobody
	watch    func() *cue.Watch                   // for a clip
	close    func() error
}

func (a *app) scorer(ctx context.Context) (*scorer, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	e, err := a.openEngine(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d, l, closeNets, err := e.Nets()
	if err != nil {
		return nil, err
	}
	return &scorer{engine: e, examiner: daemon.Examiner{Finder: d, Judge: l, Looker: look.New(), Now: time.Now}, options: daemon.DecisionOptions(cfg, e),
		watch: func() *cue.Watch { return daemon.NewWatch(cfg, config.Camera{Path: "replay:"}, nil) }, close: closeNets}, nil
}

func (s *scorer) file(path string) []scored {
	data, err := readFile(path)
	if err == nil && isClip(path) {
		return s.clip(path, camera.SplitMJPEG(data))
	}
	var m frame.Image
	if err == nil {
		m, err = decode(data)
	}
	if err != nil {
		return []scored{s.unread(path, err)}
	}
	return []scored{s.still(path, &m)}
}

// decode gives a picture the right way up.
func decode(data []byte) (frame.Image, error) {
	m, err := camera.DecodeStill(data)
	if err != nil {
		return m, err
	}
	return upright(m, orientation(data)), nil
}

func (s *scorer) unread(path string, err error) scored {
	r := s.failed(path, err)
	r.unread = true
	return r
}

// examine looks at one frame.
func (s *scorer) examine(m *frame.Image, d *decision.Decider) (daemon.Finding, error) {
	return s.look(m, func() (daemon.Finding, error) { return s.examiner.Examine(m, d) })
}

// follow looks at the next frame of a clip.
func (s *scorer) follow(t time.Time, m *frame.Image, d *decision.Decider) (daemon.Finding, error) {
	return s.look(m, func() (daemon.Finding, error) { return s.examiner.Follow(t, m, d) })
}

func (s *scorer) look(m *frame.Image, examine func() (daemon.Finding, error)) (f daemon.Finding, err error) {
	if s.face != nil {
		f, err = s.examiner.ExamineBox(m, s.face(m))
	} else {
		f, err = examine()
	}
	if err == nil && f.Judged && s.judged != nil {
		s.judged(m, &f)
	}
	return f, err
}

func (s *scorer) failed(path string, err error) scored {
	code := decision.ProcessingErr
	return scored{File: path, Verdict: decision.Undecided, Code: &code, LiveAt: s.options.LiveAt, SpoofAt: s.options.SpoofAt,
		Error: err.Error(), Hint: daemon.Hint(err)}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	if st.Size() > maxStill {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d bytes; at most %d", st.Size(), maxStill)}
	}
	return os.ReadFile(path)
}

// isClip goes by the name, since a single JPEG is a clip of one frame as well.
func isClip(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".mjpeg", ".mjpg":
		return true
	}
	return false
}

// still judges one picture as one frame: no evidence over time, so the thresholds alone decide.
func (s *scorer) still(path string, m *frame.Image) scored {
	d, err := decision.New(s.options)
	if err != nil {
		return s.failed(path, err)
	}
	f, err := s.examine(m, d)
	if err != nil {
		return s.failed(path, err)
	}
	r := scored{File: path, Verdict: decision.Undecided, LiveAt: s.options.LiveAt, SpoofAt: s.options.SpoofAt}
	if f.Main >= 0 && f.Main < len(f.Faces) {
		b := f.Faces[f.Main].Box
		r.Face = faceOf(b.X, b.Y, b.W, b.H)
	}
	code := f.Code
	if f.Main < 0 && code == "" {
		code = decision.NoFacesDetected
	}
	if f.Judged {
		p := decision.Digits(f.Judgement.Live)
		r.Score, r.Frames = &p, 1
		switch {
		case p >= s.options.LiveAt:
			r.Verdict, code = decision.Live, ""
		case p <= s.options.SpoofAt:
			r.Verdict, code, r.Attack = decision.Spoof, decision.PADAttack, f.Judgement.Attack
		default:
			code = decision.Timeout // what run would say after waiting for more
		}
	}
	if code != "" {
		r.Code = &code
	}
	return r
}

// clip plays frames through the decision on the clip's own clock.
func (s *scorer) clip(path string, frames [][]byte) []scored {
	d, err := decision.New(s.options)
	if err != nil {
		return []scored{s.failed(path, err)}
	}
	if len(frames) == 0 {
		return []scored{s.unread(path, errors.New("no JPEG picture in the clip"))}
	}
	watch := s.watch()
	s.examiner.Forget()
	var out []scored
	start := time.Unix(0, 0)
	add := func(v *decision.Decision, i int) {
		if v == nil {
			return
		}
		at := float64(i) / s.fps
		r := scored{File: path, Verdict: v.Verdict, LiveAt: s.options.LiveAt, SpoofAt: s.options.SpoofAt, Attack: v.Attack, Frames: v.Frames, Position: &at}
		if v.Face != nil {
			r.Face = faceOf(v.Face.X, v.Face.Y, v.Face.W, v.Face.H)
		}
		if v.Frames > 0 {
			p := v.Score
			r.Score = &p
		}
		if v.Code != "" {
			code := v.Code
			r.Code = &code
		}
		out = append(out, r)
	}
	bad := 0
	for i, jpg := range frames {
		now := start.Add(time.Duration(float64(i) / s.fps * float64(time.Second)))
		m, err := camera.DecodeStill(jpg)
		if err != nil {
			bad++ // as run does: a bad frame is counted and skipped
			continue
		}
		f, err := s.follow(now, &m, d)
		if err != nil {
			return append(out, s.failed(path, err))
		}
		o := f.Observation(now, &m)
		o.Doubts = watch.Frame(now, &m, f.Box())
		add(d.Observe(o), i)
	}
	if bad == len(frames) {
		return append(out, s.unread(path, fmt.Errorf("none of the clip's %d frames can be decoded", bad)))
	}
	end := start.Add(time.Duration(float64(len(frames)) / s.fps * float64(time.Second)))
	add(d.Idle(end.Add(s.options.Gone)), len(frames))
	if len(out) == 0 {
		code := decision.NoFacesDetected
		out = append(out, scored{File: path, Verdict: decision.Undecided, Code: &code, LiveAt: s.options.LiveAt, SpoofAt: s.options.SpoofAt})
	}
	return out
}

func faceOf(x, y, w, h float64) *mqtt.Face {
	r := func(v float64) int { return int(math.Round(v)) }
	return &mqtt.Face{X: r(x), Y: r(y), Width: r(w), Height: r(h)}
}

func parseBox(s string) (*models.Box, error) {
	if s == "" {
		return nil, nil
	}
	var v [4]float64
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return nil, fmt.Errorf("--face %q: X,Y,W,H in pixels", s)
	}
	for i, p := range parts {
		n, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || math.IsNaN(n) || math.Abs(n) > frame.MaxSide {
			return nil, fmt.Errorf("--face %q: %q is no number of pixels", s, p)
		}
		v[i] = n
	}
	if v[2] < 1 || v[3] < 1 {
		return nil, fmt.Errorf("--face %q: width and height are at least one pixel", s)
	}
	return &models.Box{X: v[0], Y: v[1], W: v[2], H: v[3]}, nil
}

func (a *app) printScore(r scored) error {
	if a.json {
		return a.printJSON(r)
	}
	if r.Error != "" {
		_, err := fmt.Fprintf(a.Stdout, "%s: error: %s\n", r.File, r.Error)
		return err
	}
	line := r.File + ": "
	if r.Position != nil {
		line += fmt.Sprintf("at %.1f s: ", *r.Position)
	}
	line += string(r.Verdict)
	if r.Code != nil {
		line += " " + string(*r.Code)
	}
	if r.Score != nil {
		line += fmt.Sprintf(", score %.3f of %d frame(s)", *r.Score, r.Frames)
	}
	if r.Face != nil {
		line += fmt.Sprintf(", face %d,%d %d×%d", r.Face.X, r.Face.Y, r.Face.Width, r.Face.Height)
	}
	_, err := fmt.Fprintln(a.Stdout, line)
	return err
}
