package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"syscall"

	"github.com/livenessd/livenessd/daemon/config"
)

// maxSettings bounds a request with a configuration in it, in which JSON may take six bytes for one.
const maxSettings = 6*config.MaxFile + 4<<10

// maxChanges bounds the keys of one request.
const maxChanges = 100

// settingsDocument is the configuration.
type settingsDocument struct {
	Path      string `json:"path"`      // the file
	Text      string `json:"text"`      // what is in it, "" where there is none
	Digest    string `json:"digest"`    // of that
	Effective string `json:"effective"` // the configuration in effect, every key
	Writable  bool   `json:"writable"`
	Why       string `json:"why,omitempty"` // it isn't
	Do        string `json:"do,omitempty"`  // what to do instead
}

// proposal is a configuration that somebody wants, as a text or as changes of what is there.
type proposal struct {
	Text    *string      `json:"text"`
	Changes []changeText `json:"changes"`
	Digest  string       `json:"digest"`
}

// changeText is a config.Change.
type changeText struct {
	Path  []string        `json:"path"`
	Value json.RawMessage `json:"value"`
}

// proposalDocument is what a proposal comes to.
type proposalDocument struct {
	Text       string           `json:"text"`
	Difference string           `json:"difference"`
	Digest     string           `json:"digest"` // of what it would replace
	Problems   []config.Problem `json:"problems"`
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// changes reads those of a request.
func changes(in []changeText, prefix ...string) ([]config.Change, error) {
	if len(in) > maxChanges {
		return nil, fmt.Errorf("%d changes; allowed are %d", len(in), maxChanges)
	}
	var out []config.Change
	for _, c := range in {
		var v any
		if err := json.Unmarshal(c.Value, &v); err != nil {
			return nil, fmt.Errorf("a value can't be read: %w", err)
		}
		if list, is := v.([]any); is {
			var texts []string
			for _, e := range list {
				s, is := e.(string)
				if !is {
					return nil, errors.New("a list of something else than texts")
				}
				texts = append(texts, s)
			}
			v = texts
		}
		out = append(out, config.Change{Path: append(append([]string{}, prefix...), c.Path...), Value: v})
	}
	return out, nil
}

// file is the configuration's, and what is in it. None is an empty one.
func (s *Server) file() (path string, data []byte, err error) {
	if path = s.o.ConfigPath; path == "" {
		path = config.DefaultPath
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil, nil
	case err != nil:
		return path, nil, err
	case !info.Mode().IsRegular() || info.Size() > config.MaxFile:
		return path, nil, errNoFile
	}
	data, err = os.ReadFile(path)
	return path, data, err
}

// settings shows the configuration.
func (s *Server) settings(w http.ResponseWriter, _ *http.Request, _ caller) {
	path, data, err := s.file()
	if err != nil {
		fail(w, http.StatusServiceUnavailable, &Error{"read the configuration " + path, err, ""})
		return
	}
	d := settingsDocument{Path: path, Text: string(data), Digest: digest(data), Effective: string(s.access.Load().whole.YAML()), Writable: true}
	if err := writable(path); err != nil {
		d.Writable, d.Why = false, err.Error()
		d.Do = "confirm the change here; then " + hand(path)
	}
	s.write(w, d)
}

// writable tells why a file can't be replaced by this process, as itself and with its owner. In the service's cage nothing below /etc can.
func writable(path string) error {
	const w = 2
	if err := syscall.Access(filepath.Dir(path), w); err != nil {
		return &fs.PathError{Op: "write to", Path: filepath.Dir(path), Err: err}
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st, is := info.Sys().(*syscall.Stat_t); is && os.Geteuid() != 0 && int(st.Uid) != os.Geteuid() {
		return &fs.PathError{Op: "replace", Path: path, Err: errors.New("it belongs to somebody else")}
	}
	if err := syscall.Access(path, w); err != nil {
		return &fs.PathError{Op: "replace", Path: path, Err: err}
	}
	return nil
}

// proposed works out what a proposal comes to.
func (s *Server) proposed(p proposal) (d proposalDocument, before []byte, err error) {
	path, before, err := s.file()
	if err != nil {
		return d, nil, &Error{"read the configuration " + path, err, ""}
	}
	d = proposalDocument{Digest: digest(before), Problems: []config.Problem{}}
	after := before
	switch {
	case p.Text != nil && p.Changes == nil:
		after = []byte(*p.Text)
		_, err = config.Parse(path, after)
	case p.Text == nil && p.Changes != nil:
		var list []config.Change
		if list, err = changes(p.Changes); err == nil {
			after, err = config.Edit(path, before, list)
		}
	default:
		err = errors.New("either text or changes must be there")
	}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		d.Problems = problems
		return d, before, nil
	case err != nil:
		return d, before, err
	}
	d.Text, d.Difference = string(after), config.Difference(before, after)
	return d, before, nil
}

// preview shows what a proposal comes to. Nothing is written.
func (s *Server) preview(w http.ResponseWriter, r *http.Request, _ caller) {
	var in proposal
	if !read(w, r, &in, maxSettings) {
		return
	}
	d, _, err := s.proposed(in)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	s.write(w, d)
}

// change writes a configuration that was seen and confirmed, and lets the daemon read it.
func (s *Server) change(w http.ResponseWriter, r *http.Request, _ caller) {
	var in proposal
	if !read(w, r, &in, maxSettings) {
		return
	}
	if in.Text == nil || in.Changes != nil || in.Digest == "" {
		refuse(w, http.StatusBadRequest, "text and digest must be there: those that /api/config/preview gave", "")
		return
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	d, before, err := s.proposed(in)
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, err)
		return
	case len(d.Problems) > 0:
		fail(w, http.StatusBadRequest, config.Problems(d.Problems))
		return
	case d.Digest != in.Digest:
		refuse(w, http.StatusConflict, "somebody else changed the configuration meanwhile", "look at the difference again")
		return
	}
	path, _, err := s.file()
	if err == nil {
		if err = writable(path); err == nil {
			err = replace(path, before, []byte(d.Text))
		} else if (Proposal{s.o.Now().UTC(), d.Digest, d.Text}).propose(s.access.Load().whole.State) == nil {
			s.log.Load().Warn("a technician's change of the configuration waits for somebody who may write it", "file", path, "hint", hand(path))
			s.writeAs(w, http.StatusAccepted, changeDocument{Why: err.Error(), Do: hand(path)})
			return
		}
	}
	if err != nil {
		refuse(w, http.StatusConflict, (&Error{"write the configuration", err, ""}).Error(), "as root, write the text into "+path+", then: livenessd restart")
		return
	}
	s.log.Load().Warn("a technician changed the configuration", "file", path)
	if s.o.Reload != nil {
		s.o.Reload()
	}
	s.write(w, changeDocument{Written: true})
}

// changeDocument is what became of a configuration that was confirmed.
type changeDocument struct {
	Written bool   `json:"written"`
	Why     string `json:"why,omitempty"` // it isn't, and waits
	Do      string `json:"do,omitempty"`  // what writes it
}

// hand is what somebody does who may write a configuration.
func hand(path string) string {
	do := "on the device: sudo livenessd console --apply"
	if path != config.DefaultPath {
		do += " --config " + path
	}
	return do
}

// replace replaces a file in one step, with the old one's mode.
func replace(path string, before, after []byte) (err error) {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		now, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if digest(now) != digest(before) {
			return errChanged
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".livenessd-*.yaml")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(after)
	if err = errors.Join(err, own(f, path), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil // it is written; whether a power cut would undo that isn't worth an error
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// own gives a new file the owner and the group of the one that it replaces.
func own(f *os.File, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st, is := info.Sys().(*syscall.Stat_t); is {
		return f.Chown(int(st.Uid), int(st.Gid))
	}
	return nil
}

// trialDocument asks for another mode of a camera, by keys of its section.
type trialDocument struct {
	Changes []changeText `json:"changes"`
}

// try lets a camera be used another way, without writing anything.
func (s *Server) try(w http.ResponseWriter, r *http.Request, _ caller) {
	var in trialDocument
	if !read(w, r, &in, 16<<10) {
		return
	}
	name, whole := r.PathValue("camera"), s.access.Load().whole
	was, known := whole.Cameras[name]
	if !known {
		refuse(w, http.StatusNotFound, "no such camera", "")
		return
	}
	list, err := changes(in.Changes, "cameras", name)
	var text []byte
	if err == nil {
		text, err = config.Edit("the configuration", whole.YAML(), list)
	}
	var c config.Config
	if err == nil {
		c, err = config.Parse("the configuration", text)
	}
	now := c.Cameras[name]
	if err == nil && !reflect.DeepEqual(now, triable(was, now)) {
		err = errors.New("only how a camera is used can be tried, not which one it is or may be: change the configuration")
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	s.attempt(w, r, name, now, true)
}

// triable is a camera that is used as now says, and else is what it was: whoever may write the configuration decides whose pictures count.
func triable(was, now config.Camera) config.Camera {
	was.Format, was.Size, was.FPS = now.Format, now.Size, now.FPS
	was.Rotate, was.Mirror, was.Region = now.Rotate, now.Mirror, now.Region
	was.Controls, was.Exposure = now.Controls, now.Exposure
	return was
}

// untry goes back to what the configuration says.
func (s *Server) untry(w http.ResponseWriter, r *http.Request, _ caller) {
	name := r.PathValue("camera")
	c, known := s.access.Load().whole.Cameras[name]
	if !known {
		refuse(w, http.StatusNotFound, "no such camera", "")
		return
	}
	s.attempt(w, r, name, c, false)
}

// tried tells whether a camera isn't used as the configuration says.
func (s *Server) tried(name string) bool {
	s.trying.Lock()
	defer s.trying.Unlock()
	return s.trials[name]
}

func (s *Server) attempt(w http.ResponseWriter, r *http.Request, name string, c config.Camera, trial bool) {
	ctx, cancel := context.WithTimeout(r.Context(), trialTime)
	defer cancel()
	if err := s.o.View.Try(ctx, name, c); err != nil {
		fail(w, http.StatusServiceUnavailable, &Error{"use camera " + name + " another way", err, "it is used as before; see its state"})
		return
	}
	s.trying.Lock()
	s.trials[name] = trial
	s.trying.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
