package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/mqtt"
)

const (
	// trialTime is how long a camera may take to be opened anew, longTime an answer that somebody works for, such as the doctor's.
	trialTime = 8 * time.Second
	longTime  = 5 * time.Minute
	// maxReport bounds the doctor's report, maxBundle the archive for whoever helps.
	maxReport = 4 << 20
	maxBundle = 64 << 20
)

// patient lets an answer take as long as it takes to work it out.
func patient(w http.ResponseWriter, limit time.Duration) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // the request was read; what comes now is the reader's leaving
	_ = rc.SetWriteDeadline(time.Now().Add(limit + writeTime))
}

// device is what a camera's device has: formats, sizes, rates and controls.
func (s *Server) device(w http.ResponseWriter, r *http.Request, _ caller) {
	info, ok := s.findDevice(w, r.PathValue("camera"))
	if ok {
		s.write(w, info)
	}
}

// findDevice finds the device that a camera uses. It has answered itself where it gives false.
func (s *Server) findDevice(w http.ResponseWriter, name string) (camera.Info, bool) {
	at := ""
	for _, c := range s.o.View.Overview().Cameras {
		if c.Name == name {
			at = c.Status.Device
		}
	}
	real, err := filepath.EvalSymlinks(at)
	if at == "" || err != nil {
		refuse(w, http.StatusNotFound, "the camera has no device just now", "see its state; replays never have one")
		return camera.Info{}, false
	}
	all, err := s.o.List()
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return camera.Info{}, false
	}
	for _, i := range all {
		if i.Path == real {
			return i, true
		}
	}
	refuse(w, http.StatusNotFound, "the camera's device can't be asked", "see its state")
	return camera.Info{}, false
}

// controls sets controls of a camera's driver, at once and without writing anything.
func (s *Server) controls(w http.ResponseWriter, r *http.Request, _ caller) {
	var in struct {
		Controls map[string]string `json:"controls"`
	}
	if !read(w, r, &in, 16<<10) {
		return
	}
	name := r.PathValue("camera")
	info, ok := s.findDevice(w, name)
	if !ok {
		return
	}
	if len(in.Controls) == 0 || len(in.Controls) > maxChanges {
		refuse(w, http.StatusBadRequest, "no controls, or too many", "")
		return
	}
	s.log.Load().Warn("a technician sets controls", "camera", name, "controls", len(in.Controls))
	if err := s.o.Adjust(info.Path, in.Controls); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if info, ok = s.findDevice(w, name); ok { // setting one can change others
		s.write(w, info)
	}
}

// ask starts a test session, as a host does over MQTT.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, _ caller) {
	var in struct {
		Application string        `json:"application"`
		Purpose     string        `json:"purpose"`
		Camera      string        `json:"camera"`
		Timeout     mqtt.Duration `json:"timeout"`
	}
	if !read(w, r, &in, 4<<10) {
		return
	}
	s.request(w, mqtt.VerbSession, mqtt.SessionRequest{Transaction: "console-" + rand.Text(), Application: in.Application, Purpose: in.Purpose, Camera: in.Camera,
		Timeout: in.Timeout})
}

// cancel ends one.
func (s *Server) cancel(w http.ResponseWriter, r *http.Request, _ caller) {
	s.request(w, mqtt.VerbCancel, mqtt.CancelRequest{Transaction: "console-" + rand.Text(), Session: r.PathValue("session")})
}

func (s *Server) request(w http.ResponseWriter, verb mqtt.Verb, document any) {
	b, err := json.Marshal(document)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	answer, err := s.o.View.Ask(verb, b)
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, &Error{"ask for a session", err, ""})
	case answer.Status != mqtt.StatusOK:
		refuse(w, http.StatusConflict, string(answer.Code)+": "+answer.Message, "")
	default:
		s.write(w, struct {
			Session string `json:"session,omitempty"`
		}{answer.Session})
	}
}

// report is the doctor's last one.
func (s *Server) report(w http.ResponseWriter, _ *http.Request, _ caller) {
	s.doctoring.Lock()
	defer s.doctoring.Unlock()
	d := struct {
		Running bool            `json:"running"`
		Report  json.RawMessage `json:"report"` // of `livenessd doctor --json`; null for none yet
	}{s.examining, s.examined}
	s.write(w, d)
}

// examine lets the doctor look at the machine, and gives its report or the archive for whoever helps.
func (s *Server) examine(bundle bool) handler {
	return func(w http.ResponseWriter, r *http.Request, _ caller) {
		if s.o.Doctor == nil {
			refuse(w, http.StatusServiceUnavailable, "there is no doctor here", "run `sudo livenessd doctor`")
			return
		}
		s.doctoring.Lock()
		busy := s.examining
		s.examining = true
		s.doctoring.Unlock()
		if busy {
			refuse(w, http.StatusConflict, "the doctor is looking already", "wait until it has done")
			return
		}
		var report []byte
		defer func() {
			s.doctoring.Lock()
			defer s.doctoring.Unlock()
			s.examining = false
			if report != nil {
				s.examined = report
			}
		}()
		patient(w, longTime)
		ctx, cancel := context.WithTimeout(r.Context(), longTime)
		defer cancel()
		path := ""
		if bundle {
			folder, err := os.MkdirTemp("", "livenessd-bundle-") // for this user's eyes alone
			if err != nil {
				fail(w, http.StatusServiceUnavailable, &Error{"make a bundle", err, ""})
				return
			}
			defer os.RemoveAll(folder)
			path = filepath.Join(folder, "bundle.tar.gz")
		}
		out, err := s.o.Doctor(ctx, path)
		switch {
		case err == nil && (len(out) > maxReport || !json.Valid(out)):
			err = errors.New("its report can't be read")
		case err == nil:
			report = out
		}
		if err != nil {
			fail(w, http.StatusServiceUnavailable, &Error{"let the doctor look", err, "run `sudo livenessd doctor`"})
			return
		}
		if !bundle {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(report) // who has gone doesn't hear it
			return
		}
		s.give(w, path)
	}
}

// give answers with an archive.
func (s *Server) give(w http.ResponseWriter, path string) {
	f, err := os.Open(path)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, &Error{"make a bundle", err, "run `sudo livenessd doctor --bundle FILE`"})
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() > maxBundle {
		err = errLarge
	}
	if err != nil {
		fail(w, http.StatusServiceUnavailable, &Error{"make a bundle", err, "run `sudo livenessd doctor --bundle FILE`"})
		return
	}
	name := "livenessd-" + s.access.Load().whole.Device + "-" + s.o.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
	h := w.Header()
	h.Set("Content-Type", "application/gzip")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`) // a device's name has no quotes
	h.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	_, _ = io.Copy(w, f)
}
