package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
)

const (
	markerName = ".livenessd-calibrate.json"
	maxMarker  = 16 << 20 // bytes; some hundred thousand clips
	// clipQuality loses little of what a net looks at.
	clipQuality = 95
)

// marker lists what calibrate made in a folder, so that no more than that is deleted again. What isn't yet there is listed before it
// is made: a process that is killed leaves nothing behind that nobody knows of.
type marker struct {
	Schema     int      `json:"schema"`
	FolderMade bool     `json:"folder_made"` // the folder itself
	Folders    []string `json:"folders"`     // in the order in which they were made
	Files      []string `json:"files"`
}

var (
	clipName   = `calibrate-[0-9]{8}T[0-9]{6}-[0-9]{3,}\.mjpeg`
	clipPath   = regexp.MustCompile(`^(live|spoof/[a-z0-9][a-z0-9_-]{0,31})/` + clipName + `$`)
	folderPath = regexp.MustCompile(`^(live|spoof|spoof/[a-z0-9][a-z0-9_-]{0,31})$`)
)

// parseMarker takes nothing for calibrate's own that calibrate wouldn't have made.
func parseMarker(data []byte) (marker, error) {
	var m marker
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return marker{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return marker{}, errors.New("more than one object")
	}
	if m.Schema != 1 {
		return marker{}, fmt.Errorf("schema %d; known is 1", m.Schema)
	}
	for _, f := range m.Files {
		if !clipPath.MatchString(f) {
			return marker{}, fmt.Errorf("%q is no clip of calibrate's", f)
		}
	}
	for _, f := range m.Folders {
		if !folderPath.MatchString(f) {
			return marker{}, fmt.Errorf("%q is no folder of calibrate's", f)
		}
	}
	return m, nil
}

// store is a folder with a marker. Nothing outside the folder is reached through it, and no link in it is followed.
type store struct {
	folder string
	root   *os.Root
	marker marker
}

func openStore(folder string) (*store, error) {
	st, err := os.Lstat(folder)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: folder, Err: errors.New("not a folder; links aren't followed")}
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return &store{folder: folder, root: root}, nil
}

// load reads the marker. Without one the error is fs.ErrNotExist.
func (s *store) load() error {
	data, err := s.readMarker()
	if err == nil {
		s.marker, err = parseMarker(data)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", markerName, err)
	}
	return nil
}

func (s *store) readMarker() ([]byte, error) {
	st, err := s.root.Lstat(markerName)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxMarker {
		return nil, errors.New("not calibrate's: a link, a folder or too large")
	}
	return s.root.ReadFile(markerName)
}

// save replaces the marker.
func (s *store) save() error {
	data, err := json.MarshalIndent(s.marker, "", " ")
	if err != nil {
		return err
	}
	const fresh = markerName + ".new"
	if err := s.root.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return s.root.Rename(fresh, markerName)
}

// real tells whether a path is reached without a link.
func (s *store) real(p string) error {
	for at := path.Dir(p); at != "."; at = path.Dir(at) {
		st, err := s.root.Lstat(at)
		if err != nil {
			return err
		}
		if !st.IsDir() {
			return &fs.PathError{Op: "open", Path: path.Join(s.folder, at), Err: errors.New("not a folder; links aren't followed")}
		}
	}
	return nil
}

// remove deletes a clip, if it is one.
func (s *store) remove(name string) error {
	err := s.real(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := s.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return &fs.PathError{Op: "remove", Path: path.Join(s.folder, name), Err: errors.New("not the clip that was recorded")}
	}
	return s.root.Remove(name)
}

// clear deletes folders that calibrate made and that are empty, and at the end the marker. It tells whether something is left.
func (s *store) clear() (left bool, err error) {
	for _, name := range slices.Backward(s.marker.Folders) {
		st, err := s.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !st.IsDir() || s.root.Remove(name) != nil {
			left = true // something of somebody else's is in it
		}
	}
	if err := s.root.Remove(markerName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return left, err
	}
	if s.marker.FolderMade {
		left = os.Remove(s.folder) != nil || left
	}
	return left, nil
}

// forget deletes what calibrate recorded in a folder.
func (a *app) forget(folder string) error {
	fault := func(err error) error { return fmt.Errorf("calibrate: forget %s: %w", folder, err) }
	s, err := openStore(folder)
	if err != nil {
		return fault(err)
	}
	defer s.root.Close()
	if err := s.load(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &hinted{fault(errors.New("calibrate has recorded nothing there")), "name the folder that --record was given"}
		}
		return fault(err)
	}
	var errs []error
	for _, name := range s.marker.Files {
		errs = append(errs, s.remove(name))
	}
	if err := errors.Join(errs...); err != nil {
		return fault(err) // the list stays, so that it can be tried again
	}
	left, err := s.clear()
	if err != nil {
		return fault(err)
	}
	text := fmt.Sprintf("deleted %d recorded clip(s) from %s", len(s.marker.Files), folder)
	if left {
		text += "; what else is there was left alone"
	}
	_, err = fmt.Fprintln(a.Stdout, text)
	return err
}

// recorder keeps clips of presentations.
type recorder struct {
	store *store
	now   func() time.Time
	count int
	made  []string // clips of this session
	fresh bool     // there was no marker before

	clips, frames int // that were kept
}

func openRecorder(folder string, now func() time.Time) (*recorder, error) {
	fault := func(err error) error { return fmt.Errorf("calibrate: record in %s: %w", folder, err) }
	made := false
	switch err := os.Mkdir(folder, 0o700); {
	case err == nil:
		made = true
	case !errors.Is(err, fs.ErrExist):
		return nil, fault(err)
	}
	s, err := openStore(folder)
	if err != nil {
		return nil, fault(err)
	}
	r := &recorder{store: s, now: now}
	err = s.load()
	if errors.Is(err, fs.ErrNotExist) {
		r.fresh = true
		s.marker = marker{Schema: 1, FolderMade: made, Folders: []string{}, Files: []string{}}
		err = s.save()
	}
	if err != nil {
		return nil, errors.Join(fault(err), s.root.Close())
	}
	return r, nil
}

// clip is a presentation that is being recorded.
type clip struct {
	r      *recorder
	name   string
	file   *os.File
	w      *bufio.Writer
	frames int
}

// begin makes the file of one presentation.
func (r *recorder) begin(species string) (_ *clip, err error) {
	folder := "live"
	if species != "" {
		folder = "spoof/" + species
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("calibrate: record in %s: %w", r.store.folder, err)
		}
	}()
	if err := r.folders(folder); err != nil {
		return nil, err
	}
	for {
		r.count++
		name := fmt.Sprintf("%s/calibrate-%s-%03d.mjpeg", folder, r.now().UTC().Format("20060102T150405"), r.count)
		if _, err := r.store.root.Lstat(name); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		r.store.marker.Files = append(r.store.marker.Files, name)
		r.made = append(r.made, name)
		if err := r.store.save(); err != nil {
			return nil, err
		}
		f, err := r.store.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			r.disown(name) // somebody else's after all
			return nil, errors.Join(err, r.store.save())
		}
		return &clip{r: r, name: name, file: f, w: bufio.NewWriterSize(f, 1<<18)}, nil
	}
}

// folders makes a folder and the one above it, and lists those that weren't there.
func (r *recorder) folders(p string) error {
	var parents []string
	for at := p; at != "."; at = path.Dir(at) {
		parents = append(parents, at)
	}
	for _, at := range slices.Backward(parents) {
		st, err := r.store.root.Lstat(at)
		if err == nil && !st.IsDir() {
			return &fs.PathError{Op: "open", Path: path.Join(r.store.folder, at), Err: errors.New("not a folder; links aren't followed")}
		}
		if err == nil {
			continue
		}
		r.store.marker.Folders = append(r.store.marker.Folders, at)
		if err := r.store.save(); err != nil {
			return err
		}
		if err := r.store.root.Mkdir(at, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorder) disown(name string) {
	is := func(s string) bool { return s == name }
	r.store.marker.Files = slices.DeleteFunc(r.store.marker.Files, is)
	r.made = slices.DeleteFunc(r.made, is)
}

// remove deletes a clip of this session.
func (r *recorder) remove(name string) error {
	err := r.store.remove(name)
	if err == nil {
		r.disown(name)
		err = r.store.save()
	}
	if err != nil {
		return fmt.Errorf("calibrate: delete %s: %w", name, err)
	}
	return nil
}

// close ends the session. With discard its clips are deleted, and all that is then of no use.
func (r *recorder) close(discard bool) error {
	if r == nil || r.store == nil {
		return nil
	}
	var errs []error
	if discard {
		for _, name := range slices.Clone(r.made) {
			errs = append(errs, r.remove(name))
		}
		if r.fresh && errors.Join(errs...) == nil {
			_, err := r.store.clear()
			errs = append(errs, err)
		}
	}
	errs = append(errs, r.store.root.Close())
	r.store = nil
	return errors.Join(errs...)
}

// add keeps a frame: the camera's own JPEG where it sent one, since a net looks at what compression does to a picture.
func (c *clip) add(f *frame.Frame) error {
	var err error
	if end := bytes.LastIndex(f.JPEG, []byte{0xff, 0xd9}); end >= 0 {
		_, err = c.w.Write(f.JPEG[:end+2])
	} else {
		var m image.Image
		if m, err = toImage(&f.Image); err == nil {
			err = jpeg.Encode(c.w, m, &jpeg.Options{Quality: clipQuality})
		}
	}
	if err != nil {
		return fmt.Errorf("calibrate: record %s: %w", c.name, err)
	}
	c.frames++
	return nil
}

// end closes the file, and deletes it if it shall not be kept or holds nothing.
func (c *clip) end(keep bool) error {
	err := errors.Join(c.w.Flush(), c.file.Close())
	if !keep || c.frames == 0 {
		return errors.Join(err, c.r.remove(c.name))
	}
	if err != nil {
		return fmt.Errorf("calibrate: record %s: %w", c.name, err)
	}
	c.r.clips++
	c.r.frames += c.frames
	return nil
}

// fps is how fast the clips play, each of so many seconds.
func (r *recorder) fps(seconds float64) float64 {
	return float64(r.frames) / (float64(max(r.clips, 1)) * seconds)
}

// toImage gives a frame as image/jpeg takes it: 0…255, a copy.
func toImage(m *frame.Image) (image.Image, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	luma, chroma := samples(m.Full, 16, 219), samples(m.Full, 128, 224)
	if m.Gray() {
		out := image.NewGray(m.Bounds())
		copyPlane(out.Pix, out.Stride, m.Y, m.Width, m.Height, &luma)
		return out, nil
	}
	ratio, known := map[[2]uint8]image.YCbCrSubsampleRatio{
		{0, 0}: image.YCbCrSubsampleRatio444, {1, 0}: image.YCbCrSubsampleRatio422, {1, 1}: image.YCbCrSubsampleRatio420,
		{0, 1}: image.YCbCrSubsampleRatio440, {2, 0}: image.YCbCrSubsampleRatio411, {2, 1}: image.YCbCrSubsampleRatio410,
	}[[2]uint8{m.ShiftX, m.ShiftY}]
	if !known {
		return nil, fmt.Errorf("chroma subsampling by 2^%d×2^%d", m.ShiftX, m.ShiftY)
	}
	out := image.NewYCbCr(m.Bounds(), ratio)
	w, h := (m.Width+1<<m.ShiftX-1)>>m.ShiftX, (m.Height+1<<m.ShiftY-1)>>m.ShiftY
	copyPlane(out.Y, out.YStride, m.Y, m.Width, m.Height, &luma)
	copyPlane(out.Cb, out.CStride, m.U, w, h, &chroma)
	copyPlane(out.Cr, out.CStride, m.V, w, h, &chroma)
	return out, nil
}

// samples brings a video's range of samples to that of JPEG.
func samples(full bool, zero, span int) (table [256]byte) {
	for v := range table {
		table[v] = byte(v)
		if !full {
			// Luma begins at zero; chroma lies around it.
			base := 0
			if zero == 128 {
				base = 128
			}
			scaled := ((v-zero)*255*2 + span) / (2 * span)
			if v < zero {
				scaled = -(((zero-v)*255*2 + span) / (2 * span))
			}
			table[v] = byte(min(max(base+scaled, 0), 255))
		}
	}
	return table
}

func copyPlane(dst []byte, stride int, p frame.Plane, w, h int, table *[256]byte) {
	for y := range h {
		row := dst[y*stride : y*stride+w]
		at := p.Origin + y*p.Stride
		for x := range row {
			row[x] = table[p.Pix[at]]
			at += p.Step
		}
	}
}
