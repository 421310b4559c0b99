package metrics

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/web"
)

const (
	// maxConnections is how many there may be at a time; again is how long is waited until a port that can't be had is tried once more; and heading is
	// how long whoever asks may take to say what.
	maxConnections = 64
	again          = 10 * time.Second
	heading        = 5 * time.Second
)

// Server shows a handler where the configuration says. A port that can't be had is trouble that is said and tried again, and keeps nobody from
// judging faces.
type Server struct {
	handler http.Handler
	wrong   func(error)

	again, heading time.Duration // tests shorten them

	mu     sync.Mutex
	config config.Metrics
	end    func() // of what is served now; nil for nothing
	closed bool
}

// NewServer begins with serving nothing. wrong hears of trouble, once until it changes.
func NewServer(h http.Handler, wrong func(error)) *Server {
	return &Server{handler: h, wrong: wrong, again: again, heading: heading}
}

// Use serves as c says from now on. It doesn't wait until that works. A nil Server serves nothing.
func (s *Server) Use(c config.Metrics, log *slog.Logger) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.end != nil && c == s.config {
		return
	}
	s.stop()
	if s.config = c; c.Listen == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(ctx, c, log)
	}()
	s.end = func() {
		cancel()
		<-done
	}
}

func (s *Server) stop() {
	if s.end != nil {
		s.end()
		s.end = nil
	}
}

// Close ends it.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.stop()
}

// trouble says what is wrong, once until it changes.
type trouble struct {
	mu    sync.Mutex
	said  string
	log   *slog.Logger
	wrong func(error)
}

func (t *trouble) say(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.said = ""
		return
	}
	if text := err.Error(); text != t.said {
		t.said = text
		var e *Error
		hint := ""
		if errors.As(err, &e) {
			hint = e.hint
		}
		t.log.Warn("figures and health can't be shown", "error", err, "hint", hint)
		t.wrong(err)
	}
}

// serve listens until ctx ends.
func (s *Server) serve(ctx context.Context, c config.Metrics, log *slog.Logger) {
	ill, secret := &trouble{log: log, wrong: s.wrong}, &trouble{log: log, wrong: s.wrong}
	token := func() ([]byte, error) {
		t, err := readToken(c.TokenFile)
		secret.say(err)
		return t, err
	}
	if c.TokenFile != "" {
		_, _ = token() // said now rather than when somebody asks
	}
	h := guard(c, token, s.handler)
	for {
		err := s.listen(ctx, c, h, log, ill)
		if ctx.Err() != nil {
			return
		}
		ill.say(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.again):
		}
	}
}

// listen serves over one listener, until ctx ends or it fails.
func (s *Server) listen(ctx context.Context, c config.Metrics, h http.Handler, log *slog.Logger, ill *trouble) error {
	var files *web.Certificate
	if c.CertFile != "" {
		files = web.NewCertificate(c.CertFile, c.KeyFile, func(err error) { ill.say(uncertified(c, err)) })
		if _, err := files.Load(); err != nil {
			return uncertified(c, err)
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return &Error{"listen at " + c.Listen, reason(err), listenHint(err)}
	}
	ill.say(nil)
	log.Info("figures and health are shown", "listen", c.Listen, "tls", files != nil, "token", c.TokenFile != "")
	in := web.NewDoor(l, web.DoorOptions{Most: maxConnections})
	if l = in; files != nil {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetCertificate: files.Get})
	}
	return serve(ctx, l, in, h, s.heading, time.Minute, log)
}

// serve answers over a listener, until ctx ends or it fails. Who is slow is cut off.
func serve(ctx context.Context, l net.Listener, in *web.Door, h http.Handler, heading, writing time.Duration, log *slog.Logger) error {
	srv := &http.Server{Handler: h, ConnState: in.State, ReadHeaderTimeout: heading, ReadTimeout: 2 * heading, WriteTimeout: writing, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // Serve returns why
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return &Error{"serve at " + l.Addr().String(), err, ""}
	}
	return nil
}

// uncertified is that a certificate can't be used, nil for none.
func uncertified(c config.Metrics, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{"cert_file " + c.CertFile + " and key_file " + c.KeyFile, err, ""}
	var p *web.Problem
	if errors.As(err, &p) {
		e.Err, e.hint = p.Err, p.Hint()
	}
	return e
}

// reason is what the system said, without what the operation says.
func reason(err error) error {
	var e *net.OpError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func listenHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program has this port: `sudo livenessd doctor metrics` says which; choose another, it is tried again meanwhile"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address, or not yet: it is tried again; 0.0.0.0 is all of them"
	case errors.Is(err, fs.ErrPermission):
		return "ports below 1024 are root's: choose one above"
	}
	return ""
}
