package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const replayPrefix = "replay:"

// maxClip bounds a clip, which is held in memory while it plays.
const maxClip = 512 << 20

// OpenClip plays an MJPEG clip, as SplitMJPEG finds its pictures, as a camera.
func OpenClip(o Options, clip []byte) (*Camera, error) { return OpenPictures(o, SplitMJPEG(clip)) }

// OpenPictures plays JPEG and PNG pictures as a camera, at the rate of the options. They mustn't change meanwhile.
func OpenPictures(o Options, pictures [][]byte) (*Camera, error) {
	if o.Path == "" {
		o.Path = replayPrefix + "memory"
	}
	if err := o.check(); err != nil {
		return nil, fault("open", o.Path, err, nil)
	}
	if len(pictures) == 0 {
		return nil, fault("open", o.Path, errNoPictures, nil)
	}
	return start(o, &replay{path: strings.TrimPrefix(o.Path, replayPrefix), pictures: memory(pictures), fps: o.FPS, loop: o.Loop})
}

// replay is the driver that plays pictures.
type replay struct {
	path     string
	pictures pictures // nil until path was read
	fps      float64
	loop     bool
}

var _ driver = (*replay)(nil)

// pictures are files or bytes.
type pictures interface {
	count() int
	read(i int, dst []byte) ([]byte, error)
}

func (r *replay) present() bool {
	if r.pictures != nil {
		return true
	}
	_, err := os.Stat(r.path)
	return err == nil
}

func (r *replay) news() <-chan bool { return nil }
func (r *replay) reset() error      { return errors.ErrUnsupported }
func (r *replay) close()            {}

func (r *replay) open(context.Context) (stream, error) {
	p := r.pictures
	if p == nil {
		var err error
		if p, err = load(r.path); err != nil {
			return nil, fault("open", replayPrefix+r.path, err, nil)
		}
	}
	l := layout{device: replayPrefix + r.path, fps: r.fps}
	return &player{lay: l, pictures: p, loop: r.loop, period: time.Duration(float64(time.Second) / r.fps)}, nil
}

func load(path string) (pictures, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, bare(err)
	}
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, errors.New("neither a folder nor a file")
		}
		if info.Size() > maxClip {
			return nil, fmt.Errorf("clip of %d bytes, more than %d", info.Size(), maxClip)
		}
		clip, err := os.ReadFile(path)
		if err != nil {
			return nil, bare(err)
		}
		if sniff(clip) == formatPNG {
			return memory{clip}, nil
		}
		m := memory(SplitMJPEG(clip))
		if len(m) == 0 {
			return nil, errNoPictures
		}
		return m, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, bare(err)
	}
	var f files
	for _, e := range entries { // ReadDir sorts by name
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if !e.IsDir() && slices.Contains([]string{".jpg", ".jpeg", ".png"}, ext) {
			f = append(f, filepath.Join(path, e.Name()))
		}
	}
	if len(f) == 0 {
		return nil, errNoPictures
	}
	return f, nil
}

// bare takes the path off an error that gets one anyway.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

type memory [][]byte

func (m memory) count() int                             { return len(m) }
func (m memory) read(i int, dst []byte) ([]byte, error) { return append(dst[:0], m[i]...), nil }

type files []string

func (f files) count() int { return len(f) }

func (f files) read(i int, dst []byte) ([]byte, error) {
	file, err := os.Open(f[i])
	if err != nil {
		return dst[:0], err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFrame {
		return dst[:0], err
	}
	n := int(info.Size())
	dst = slices.Grow(dst[:0], n)[:n]
	n, err = io.ReadFull(file, dst)
	return dst[:n], err
}

// player is a replay that runs.
type player struct {
	lay      layout
	pictures pictures
	loop     bool
	period   time.Duration
	at       int
	due      time.Time // when the next picture is; zero before the first
	timer    *time.Timer
}

var _ stream = (*player)(nil)

func (p *player) layout() layout { return p.lay }
func (p *player) close() error {
	if p.timer != nil {
		p.timer.Stop()
	}
	return nil
}

// sleep waits, with one timer for all pictures.
func (p *player) sleep(ctx context.Context, d time.Duration) {
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	select {
	case <-ctx.Done():
	case <-p.timer.C:
	}
}

func (p *player) read(ctx context.Context, into *raw, wait time.Duration) (err error) {
	if p.at == p.pictures.count() {
		if !p.loop {
			return io.EOF
		}
		p.at = 0
	}
	now := time.Now()
	if p.due.IsZero() {
		p.due = now
	}
	if left := p.due.Sub(now); left > 0 {
		p.sleep(ctx, min(left, wait))
		if left > wait || ctx.Err() != nil {
			return errNoFrame
		}
	}
	// A picture later than a whole period moves all that follow, as a slow camera would.
	if p.due = p.due.Add(p.period); time.Now().After(p.due) {
		p.due = time.Now()
	}
	into.captured = time.Now()
	if into.data, err = p.pictures.read(p.at, into.data); err != nil {
		into.data = into.data[:0] // a file that can't be read is an empty frame
	}
	p.at++
	into.dequeued = into.captured
	return nil
}
