// Package session is whose turn it is at each camera: requests that are let in, wait, run, and end.
//
// One session runs at a camera at a time, a few more wait in the order in which they came, and the next is refused. The package promises
// that a session that was let in leaves exactly once (Close), that no name leads to an application, purpose or camera that isn't there, and
// that all it keeps is bounded. It keeps no clock, writes nothing and judges nobody: time is what its caller says, and what
// follows on a session's end is its caller's to do. It isn't safe for concurrent use.
package session

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Code is why a request is refused, by the words of the documents.
type Code string

// The codes that this package gives.
const (
	ProcessingErr   Code = "PROCESSING_ERR"
	Unauthorized    Code = "UNAUTHORIZED"
	TooManyRequests Code = "TOO_MANY_REQUESTS"
)

// The purposes of a session.
const (
	Authentication = "authentication"
	Enrollment     = "enrollment"
)

// Bounds of a session's time.
const (
	Shortest = 500 * time.Millisecond
	Longest  = 10 * time.Minute
)

// pause is the least time between two hints of a session.
const pause = time.Second

// Options of a Desk.
type Options struct {
	Cameras      []string // at which somebody can be judged
	Applications []string
	Waiting      int           // sessions that may wait at a camera; 0 is 4
	Timeout      time.Duration // of a session that names none
}

// Request asks for a session.
type Request struct {
	Application, Purpose, Camera, Subject, Nonce string
	Timeout                                      time.Duration // 0 is that of Options
}

// Session is a request that was let in.
type Session struct {
	ID          string    `json:"id"`
	Application string    `json:"application"`
	Purpose     string    `json:"purpose"`
	Camera      string    `json:"camera"`
	Subject     string    `json:"subject,omitempty"`
	Nonce       string    `json:"nonce,omitempty"`
	Deadline    time.Time `json:"deadline"`

	hint   Code      // the newest that was told
	hinted time.Time // when
}

// Refusal is why a request isn't let in.
type Refusal struct {
	Code    Code
	Message string
}

// Desk is the sessions of all cameras.
type Desk struct {
	o     Options
	lines map[string][]*Session // by camera: the first runs
}

// New makes a desk.
func New(o Options) *Desk {
	if o.Waiting == 0 {
		o.Waiting = 4
	}
	return &Desk{o: o, lines: map[string][]*Session{}}
}

// Check tells at which camera a request would be let in, or why not. It changes nothing.
func (d *Desk) Check(r Request) (camera string, no *Refusal) {
	refuse := func(c Code, format string, args ...any) (string, *Refusal) {
		return "", &Refusal{c, fmt.Sprintf(format, args...)}
	}
	camera = r.Camera
	if camera == "" && len(d.o.Cameras) == 1 {
		camera = d.o.Cameras[0]
	}
	switch {
	case !slices.Contains(d.o.Applications, r.Application):
		return refuse(Unauthorized, "no application %q", r.Application)
	case r.Purpose != Authentication && r.Purpose != Enrollment:
		return refuse(Unauthorized, "no purpose %q: it is authentication or enrollment", r.Purpose)
	case camera == "":
		return refuse(Unauthorized, "which camera? There are %s", strings.Join(d.o.Cameras, ", "))
	case !slices.Contains(d.o.Cameras, camera):
		return refuse(Unauthorized, "no camera %q", camera)
	case r.Timeout != 0 && (r.Timeout < Shortest || r.Timeout > Longest):
		return refuse(ProcessingErr, "a timeout of %v: allowed is %v to %v", r.Timeout, Shortest, Longest)
	case len(d.lines[camera]) > d.o.Waiting:
		return refuse(TooManyRequests, "%d sessions run or wait at camera %s already", len(d.lines[camera]), camera)
	}
	return camera, nil
}

// New is the session of a request that Check lets in, not in the line yet.
func (d *Desk) New(now time.Time, id, camera string, r Request) Session {
	if r.Timeout == 0 {
		r.Timeout = d.o.Timeout
	}
	return Session{ID: id, Application: r.Application, Purpose: r.Purpose, Camera: camera, Subject: r.Subject, Nonce: r.Nonce,
		Deadline: now.Add(r.Timeout)}
}

// Open puts a session at the end of its camera's line.
func (d *Desk) Open(s Session) { d.lines[s.Camera] = append(d.lines[s.Camera], &s) }

// Running is the session whose turn it is at a camera.
func (d *Desk) Running(camera string) (Session, bool) {
	if line := d.lines[camera]; len(line) > 0 {
		return *line[0], true
	}
	return Session{}, false
}

// Close takes a session out of its line, once.
func (d *Desk) Close(id string) (Session, bool) {
	for camera, line := range d.lines {
		if i := slices.IndexFunc(line, func(s *Session) bool { return s.ID == id }); i >= 0 {
			s := *line[i]
			if d.lines[camera] = slices.Delete(line, i, i+1); len(line) == 1 {
				delete(d.lines, camera)
			}
			return s, true
		}
	}
	return Session{}, false
}

// At lists the sessions at a camera, the one that runs first; "" is every camera.
func (d *Desk) At(camera string) (all []Session) {
	for c, line := range d.lines {
		for _, s := range line {
			if camera == "" || c == camera {
				all = append(all, *s)
			}
		}
	}
	return all
}

// Due lists the sessions whose time is over: those that wait at once, and those that run after a grace, in which whoever judges may say
// so himself, and why.
func (d *Desk) Due(now time.Time, grace time.Duration) (all []Session) {
	for _, line := range d.lines {
		for i, s := range line {
			end := s.Deadline
			if i == 0 {
				end = end.Add(grace)
			}
			if !now.Before(end) {
				all = append(all, *s)
			}
		}
	}
	return all
}

// Hint tells whether a hint of a session is worth telling: it is another one than before, and not too soon after it. "" is none, and
// makes the same hint worth telling again later.
func (d *Desk) Hint(now time.Time, id string, c Code) bool {
	for _, line := range d.lines {
		for _, s := range line {
			if s.ID != id || s.hint == c || now.Sub(s.hinted) < pause && !s.hinted.IsZero() {
				continue
			}
			s.hint = c
			if c == "" {
				return false
			}
			s.hinted = now
			return true
		}
	}
	return false
}
