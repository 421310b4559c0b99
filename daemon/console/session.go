package console

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// sessionIdle is how long a session lives without a request, sessionLife how long in any case.
	sessionIdle = time.Hour
	sessionLife = 12 * time.Hour
	maxSessions = 64
)

// session is a browser that logged in.
type session struct {
	role    Role
	token   [sha256.Size]byte // the digest of the one that let it in
	made    time.Time
	seen    time.Time
	streams int // while one is open it isn't idle
}

// sessions are in memory alone: after a restart everybody logs in again. They are found by the digest of their cookie.
type sessions struct {
	now func() time.Time
	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, all: map[[sha256.Size]byte]*session{}}
}

// begin gives the cookie of a new session. Where there are too many, the one that was idle for longest ends.
func (s *sessions) begin(r Role, token [sha256.Size]byte) string {
	cookie := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	for len(s.all) >= maxSessions {
		var oldest [sha256.Size]byte
		for id, v := range s.all {
			if o := s.all[oldest]; o == nil || v.seen.Before(o.seen) {
				oldest = id
			}
		}
		delete(s.all, oldest)
	}
	now := s.now()
	s.all[sha256.Sum256([]byte(cookie))] = &session{role: r, token: token, made: now, seen: now}
	return cookie
}

// sweep ends what is over. mu is held.
func (s *sessions) sweep() {
	now := s.now()
	for id, v := range s.all {
		if now.Sub(v.made) >= sessionLife || v.streams == 0 && now.Sub(v.seen) >= sessionIdle {
			delete(s.all, id)
		}
	}
}

// find gives the role of a cookie and when its session ends at the latest, "" where there is none.
func (s *sessions) find(cookie string) (Role, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	v := s.all[sha256.Sum256([]byte(cookie))]
	if v == nil {
		return "", time.Time{}
	}
	v.seen = s.now()
	return v.role, v.made.Add(sessionLife)
}

// stream counts a stream of a session, until done.
func (s *sessions) stream(cookie string) (done func()) {
	id := sha256.Sum256([]byte(cookie))
	count := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if v := s.all[id]; v != nil {
			v.streams += n
			v.seen = s.now()
		}
	}
	count(1)
	return func() { count(-1) }
}

// end ends one.
func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(cookie)))
}

// keep ends all whose token isn't one any more.
func (s *sessions) keep(t tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, v := range s.all {
		// A link for looking was made with the other token.
		if a, is := t.of[Admin]; is && v.token == a {
			continue
		}
		if l, is := t.of[Viewer]; is && v.token == l && v.role == Viewer {
			continue
		}
		delete(s.all, id)
	}
}
