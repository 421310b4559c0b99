package metrics

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
)

const (
	// maxConnections is how many there may be at a time; again is how long is waited until a port that can't be had is tried once more; and heading is
	// how long whoever asks may take to say what. pace is between two connections while there are as many as may be.
	maxConnections = 64
	pace           = 10 * time.Millisecond
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
	var files *pair
	if c.CertFile != "" {
		files = &pair{cert: c.CertFile, key: c.KeyFile, ill: ill}
		if _, err := files.current(); err != nil {
			return err
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return &Error{"listen at " + c.Listen, reason(err), listenHint(err)}
	}
	ill.say(nil)
	log.Info("figures and health are shown", "listen", c.Listen, "tls", files != nil, "token", c.TokenFile != "")
	in := few(l, maxConnections)
	if l = in; files != nil {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return files.current() }})
	}
	return serve(ctx, l, in, h, s.heading, time.Minute, log)
}

// serve answers over a listener, until ctx ends or it fails. Who is slow is cut off.
func serve(ctx context.Context, l net.Listener, in *crowd, h http.Handler, heading, writing time.Duration, log *slog.Logger) error {
	srv := &http.Server{Handler: h, ConnState: in.state, ReadHeaderTimeout: heading, ReadTimeout: 2 * heading, WriteTimeout: writing, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // Serve returns why
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return &Error{"serve at " + l.Addr().String(), err, ""}
	}
	return nil
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

// crowd lets so many connections be open at a time. For one more the oldest goes that hasn't asked anything yet, or else the oldest: who only holds
// connections keeps nobody out. While it is full few come in a second, so that each has time to ask, and the machine for its work.
type crowd struct {
	net.Listener
	most  int
	ended chan struct{}
	end   sync.Once

	mu   sync.Mutex
	open []*guest // the oldest first
}

// guest is a connection of a crowd.
type guest struct {
	net.Conn
	crowd *crowd
	asked bool // it was given an answer; the crowd's mu guards it
}

func few(l net.Listener, most int) *crowd {
	return &crowd{Listener: l, most: most, ended: make(chan struct{})}
}

func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn, crowd: c}
	c.mu.Lock()
	full := len(c.open) >= c.most
	c.mu.Unlock()
	if full {
		select {
		case <-time.After(pace):
		case <-c.ended:
		}
	}
	c.mu.Lock()
	var out *guest
	if len(c.open) >= c.most {
		at := max(0, slices.IndexFunc(c.open, func(g *guest) bool { return !g.asked }))
		out = c.open[at]
	}
	c.open = append(c.open, g)
	c.mu.Unlock()
	if out != nil {
		_ = out.Close() // its server hears of it
	}
	return g, nil
}

func (c *crowd) Close() error {
	c.end.Do(func() { close(c.ended) })
	return c.Listener.Close()
}

// state is told what becomes of connections.
func (c *crowd) state(conn net.Conn, s http.ConnState) {
	if t, is := conn.(*tls.Conn); is {
		conn = t.NetConn()
	}
	if g, is := conn.(*guest); is && s == http.StateIdle {
		c.mu.Lock()
		g.asked = true
		c.mu.Unlock()
	}
}

func (g *guest) Close() error {
	c := g.crowd
	c.mu.Lock()
	c.open = slices.DeleteFunc(c.open, func(o *guest) bool { return o == g })
	c.mu.Unlock()
	return g.Conn.Close()
}

// pair is a certificate and its key, read again when the files change.
type pair struct {
	cert, key string
	ill       *trouble

	mu    sync.Mutex
	stamp [2]stamp
	good  *tls.Certificate
}

// stamp tells one content of a file from another, mostly.
type stamp struct {
	changed time.Time
	size    int64
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// current is what the files hold. If they can't be used, what they held before counts, where there is a before.
func (p *pair) current() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := [2]stamp{stampOf(p.cert), stampOf(p.key)}
	if p.good != nil && now == p.stamp {
		return p.good, nil
	}
	err := private(p.key)
	var c tls.Certificate
	if err == nil {
		if c, err = tls.LoadX509KeyPair(p.cert, p.key); err != nil {
			err = &Error{"cert_file " + p.cert + " and key_file " + p.key, err, "name a certificate in PEM and its key without a passphrase, which livenessd's user can read"}
		}
	}
	if err != nil && p.good == nil {
		return nil, err
	}
	p.stamp = now
	if err != nil {
		p.ill.say(err)
		return p.good, nil
	}
	p.ill.say(nil)
	p.good = &c
	return p.good, nil
}

// private refuses a key that everybody can read.
func private(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o006 != 0 {
		return &Error{"key_file " + path, errors.New("everybody can read or change the key"), "chmod o= " + path}
	}
	return nil // what else may be wrong is found when it is read
}
