package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/livenessd/livenessd/daemon"
)

const (
	// maxStreams bounds what one viewer may have open: events, and a camera each.
	maxStreams = 8
	// stateEach is how often the state is looked at, and beatEach how often a stream says something even if nothing happens.
	stateEach = time.Second
	beatEach  = 10 * time.Second
)

// seats are for viewers: whoever has a stream open.
type seats struct {
	mu sync.Mutex
	by map[string]int
}

func newSeats() *seats { return &seats{by: map[string]int{}} }

var (
	errFull    = errors.New("as many as may look are looking")
	errStreams = errors.New("too many streams of one viewer")
)

// take gives a seat to a viewer, or another stream to one who has a seat.
func (s *seats) take(key string, limit int) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.by[key]; {
	case n >= maxStreams:
		return nil, errStreams
	case n == 0 && len(s.by) >= limit:
		return nil, errFull
	}
	s.by[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.by[key]--; s.by[key] <= 0 {
			delete(s.by, key)
		}
	}, nil
}

// taken is how many there are.
func (s *seats) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.by)
}

// stream is an answer that goes on until its reader leaves, its session ends, or the console does.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// open begins one. It has answered itself where it gives false.
func (s *Server) open(w http.ResponseWriter, r *http.Request, c caller) (_ *stream, _ context.Context, end func(), ok bool) {
	leave, err := s.seats.take(c.key, s.access.Load().Viewers)
	if err != nil {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, err.Error(), "close the page elsewhere, or let more look with console.viewers")
		return nil, nil, nil, false
	}
	life := sessionLife
	if !c.expires.IsZero() {
		life = c.expires.Sub(s.o.Now())
	}
	ctx, cancel := context.WithTimeout(r.Context(), life)
	done := s.sessions.stream(c.cookie)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // the request was read; what comes now is the reader's leaving
	return &stream{w, rc}, ctx, func() { cancel(); done(); leave() }, true
}

// send writes a piece and waits until it is on its way: no longer than an answer may take.
func (t *stream) send(b ...[]byte) error {
	if err := t.rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	for _, p := range b {
		if _, err := t.w.Write(p); err != nil {
			return err
		}
	}
	return t.rc.Flush()
}

// event is one of an event stream.
func (t *stream) event(kind string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.send([]byte("event: "+kind+"\ndata: "), b, []byte("\n\n"))
}

// pictures is a camera's pictures with what was thought of each, as multipart/x-mixed-replace.
func (s *Server) pictures(w http.ResponseWriter, r *http.Request, c caller) {
	name := r.PathValue("camera")
	if !s.o.View.HasCamera(name) {
		refuse(w, http.StatusNotFound, "no such camera", "")
		return
	}
	t, ctx, end, ok := s.open(w, r, c)
	if !ok {
		return
	}
	defer end()
	const boundary = "livenessd-frame"
	w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary="+boundary)
	if t.send() != nil {
		return
	}
	watcher := s.o.View.Watch(name, true)
	defer watcher.Close()
	for s.still(c) {
		wait, cancel := context.WithTimeout(ctx, beatEach)
		shown, err := watcher.Next(wait)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			continue // no frames; who looks is asked for again, and whether they may
		}
		picture, err := shown.JPEG()
		if err != nil {
			s.log.Load().Debug("a frame can't be shown", "error", err)
			continue
		}
		about, err := json.Marshal(sight(&shown.Sight))
		if err != nil {
			return
		}
		head := fmt.Sprintf("--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\nLivenessd-Sight: %s\r\n\r\n", boundary, len(picture), about)
		if t.send([]byte(head), picture, []byte("\r\n")) != nil {
			return
		}
	}
}

// still tells whether who opened a stream may go on with it.
func (s *Server) still(c caller) bool {
	if c.cookie == "" {
		return s.access.Load().tokens.has(c.role)
	}
	role, _ := s.sessions.find(c.cookie)
	return role == c.role
}

// events is what happens: the state when it changes, presentations, and what is thought of each frame that is shown.
func (s *Server) events(w http.ResponseWriter, r *http.Request, c caller) {
	t, ctx, end, ok := s.open(w, r, c)
	if !ok {
		return
	}
	defer end()
	w.Header().Set("Content-Type", "text/event-stream")
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sights := make(chan *daemon.Shown)
	watched := map[string]bool{}
	tick := time.NewTicker(stateEach)
	defer tick.Stop()
	var last uint64
	var said, beat time.Time
	for first := true; ; first = false {
		if !s.still(c) {
			return
		}
		news := s.o.View.News()
		now := time.Now()
		if first || now.Sub(said) >= stateEach {
			state := s.now()
			if t.event("state", state) != nil {
				return
			}
			said, beat = now, now
			for _, cam := range state.Cameras {
				if watched[cam.Name] {
					continue
				}
				watched[cam.Name] = true
				watching.Go(func() { s.follow(ctx, cam.Name, sights) })
			}
		}
		for _, p := range s.o.View.Presentations(last) {
			if t.event("presentation", s.presentation(p)) != nil {
				return
			}
			last = p.Number
		}
		if now.Sub(beat) >= beatEach && t.send([]byte(": still here\n\n")) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-tick.C:
		case shown := <-sights:
			if t.event("sight", sight(&shown.Sight)) != nil {
				return
			}
		}
	}
}

// follow hands on what is thought of a camera's frames. While nobody takes one, the next ones pass by.
func (s *Server) follow(ctx context.Context, name string, sights chan<- *daemon.Shown) {
	w := s.o.View.Watch(name, false)
	defer w.Close()
	for {
		shown, err := w.Next(ctx)
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case sights <- shown:
		}
	}
}
