// Package console is the technician's page: an HTTP server that shows live what the cameras see and what livenessd thinks of it, and lets
// whoever has the token change it.
//
// It promises that nothing but the page's own files, which hold no data, is given to anybody who isn't logged in; that a request is answered
// only if its Host is a name or an address of this machine (against DNS rebinding), and acted on only if it comes from this page or brings a
// token itself (against forged requests); that tokens are compared in constant time, that guessing locks an address out, and that a link
// logs in once and for five minutes; that who has the viewing token can change nothing; and that all it keeps is bounded: connections,
// sessions, viewers, bodies, time. Pictures are for viewers alone, live: they aren't written, kept, logged or sent anywhere else. A
// viewer that is slow sees fewer of them, and no camera waits for it.
//
// It doesn't hide from whoever is root here, or may read the token's file, and without TLS not from whoever listens on the network, which is why
// it is for this machine alone then unless the configuration says insecure. It decides nothing about people. docs/console-api.md has each
// request and answer; the page in the folder page is made of those alone.
package console

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/web"
)

const (
	// headerTime is how long a request's head may take, bodyTime the whole of it, and writeTime an answer or a piece of one.
	headerTime = 5 * time.Second
	bodyTime   = 15 * time.Second
	writeTime  = 10 * time.Second
	idleTime   = time.Minute
	maxHeader  = 16 << 10
	// maxConns bounds the connections, and maxConnsEach those of one address.
	maxConns     = 96
	maxConnsEach = 48
	// sendBuffer bounds what the kernel keeps for a viewer that is slow: pictures that are late are of no use.
	sendBuffer = 128 << 10
	// listenAgain is how long after a listener couldn't be had it is tried again.
	listenAgain = 15 * time.Second
)

// Options is what a console needs of the daemon.
type Options struct {
	Version string
	View    *daemon.View
	Pulse   *daemon.Pulse
	Log     *slog.Logger
	Now     func() time.Time // time.Now
	// Watchdog is how often systemd must hear that livenessd is alive; 0: it needn't.
	Watchdog time.Duration
	// Timelines are those of presentations; nil for none.
	Timelines *daemon.Timelines
	// ConfigPath is the configuration's file; "" is the usual one.
	ConfigPath string
	// Reload lets the daemon read its configuration again; nil: it can't.
	Reload func()
	// Doctor gives the report of `livenessd doctor --json`, and writes a bundle where a path is given; nil: there is none.
	Doctor func(ctx context.Context, bundle string) ([]byte, error)
	// List and Adjust are package camera's, for tests to replace.
	List   func() ([]camera.Info, error)
	Adjust func(device string, controls map[string]string) error
	// Mounts are further handlers by their pattern, such as "GET /metrics", behind the same checks of Host and Origin.
	Mounts []Mount
}

// Mount is a handler of somebody else.
type Mount struct {
	Pattern string
	Open    bool // nobody needs to be logged in
	Handler http.Handler
}

// Server is the console. It outlives the daemon's runs, as a View does.
type Server struct {
	o        Options
	log      atomic.Pointer[slog.Logger]
	handler  http.Handler
	access   atomic.Pointer[access]
	sessions *sessions
	lock     *lockout
	links    *links
	seats    *seats
	changed  chan struct{} // a slot of one: look at access again
	handling sync.WaitGroup
	bound    atomic.Pointer[net.TCPAddr] // where it listens; nil for nowhere

	trying      sync.Mutex // of what is below
	trials      map[string]bool
	calibration calibration
	writing     sync.Mutex // one writes the configuration at a time
	doctoring   sync.Mutex // of both below
	examining   bool
	examined    json.RawMessage
}

// access is what a configuration says of the console.
type access struct {
	config.Console
	whole  config.Config
	tokens tokens
	err    error // why there is none
}

// New makes a console that nobody reaches before Run and Apply.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.List == nil {
		o.List = camera.List
	}
	if o.Adjust == nil {
		o.Adjust = camera.Adjust
	}
	s := &Server{o: o, sessions: newSessions(o.Now), lock: newLockout(o.Now), links: newLinks(o.Now), seats: newSeats(), changed: make(chan struct{}, 1)}
	s.access.Store(&access{})
	s.log.Store(o.Log)
	routes, err := s.routes()
	if err != nil {
		return nil, err
	}
	s.handler = s.guard(routes)
	return s, nil
}

// Apply is called with each configuration that takes effect. What can't be had of it is logged, and leaves the console closed: that is no
// reason to stop judging faces. log is the new one; nil: the one before. A nil Server takes them.
func (s *Server) Apply(c config.Config, log *slog.Logger) {
	if s == nil {
		return
	}
	if log != nil {
		s.log.Store(log)
	}
	a := &access{Console: c.Console, whole: c}
	if a.Listen != "" {
		a.tokens, a.err = openTokens(c)
	}
	was := s.access.Swap(a)
	if a.err != nil {
		s.log.Load().Error("the console stays closed", "error", a.err, "hint", daemon.Hint(a.err))
		a.Listen = ""
	}
	s.sessions.keep(a.tokens)
	s.trying.Lock()
	s.trials = map[string]bool{} // another run begins
	s.trying.Unlock()
	if was.Listen != a.Listen || was.CertFile != a.CertFile || was.KeyFile != a.KeyFile {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// Check tells what Apply would complain about, without making anything.
func Check(c config.Config) error {
	if c.Console.Listen == "" {
		return nil
	}
	if _, err := readTokens(c); err != nil {
		return err
	}
	if c.Console.TLS() {
		if _, err := (&Server{}).certificate(c.Console).Load(); err != nil {
			return uncertified(c.Console, err)
		}
	}
	return nil
}

// Run serves until ctx ends, and returns when all requests have.
func (s *Server) Run(ctx context.Context) {
	defer s.handling.Wait()
	var said string
	for ctx.Err() == nil {
		select {
		case <-s.changed: // what is looked at now is the newest
		default:
		}
		a := s.access.Load()
		if a.Listen == "" {
			s.await(ctx, 0)
			continue
		}
		err := s.serve(ctx, a)
		if err == nil {
			said = ""
			continue
		}
		if text := err.Error(); text != said {
			said = text
			s.log.Load().Warn("the console can't be reached", "error", err, "hint", daemon.Hint(err))
		}
		s.await(ctx, listenAgain)
	}
}

// certificate is what TLS shows by a configuration.
func (s *Server) certificate(c config.Console) *web.Certificate {
	said := ""
	return web.NewCertificate(c.CertFile, c.KeyFile, func(err error) {
		if err == nil {
			said = ""
			return
		}
		if err = uncertified(c, err); err.Error() != said {
			said = err.Error()
			s.log.Load().Warn("the console goes on with the certificate that it had", "error", err, "hint", daemon.Hint(err))
		}
	})
}

// uncertified is that a certificate can't be used.
func uncertified(c config.Console, err error) error {
	e := &Error{"read the certificate " + c.CertFile + " and its key " + c.KeyFile, err, ""}
	var p *web.Problem
	if errors.As(err, &p) {
		e.Err, e.hint = p.Err, p.Hint()
	}
	return e
}

// await waits for another configuration, ctx's end or a time; 0 is for ever.
func (s *Server) await(ctx context.Context, limit time.Duration) {
	var over <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-s.changed:
	case <-over:
	}
}

// serve listens until the configuration changes or ctx ends.
func (s *Server) serve(ctx context.Context, a *access) error {
	var secure *tls.Config
	if a.TLS() {
		c := s.certificate(a.Console)
		if _, err := c.Load(); err != nil {
			return uncertified(a.Console, err)
		}
		secure = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.Get, NextProtos: []string{"http/1.1"}}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.Listen)
	if err != nil {
		return &Error{"listen on " + a.Listen, err, "another program, or another livenessd, has that port: name another one with console.listen"}
	}
	door := web.NewDoor(l, web.DoorOptions{Most: maxConns, Each: maxConnsEach, Buffer: sendBuffer})
	if at, is := l.Addr().(*net.TCPAddr); is {
		s.bound.Store(at)
	}
	defer s.bound.Store(nil)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: headerTime, ReadTimeout: bodyTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.log.Load().Handler(), slog.LevelDebug), ConnState: door.State, TLSConfig: secure,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true) // each stream is a connection, and bounded as one
	ended := make(chan error, 1)
	go func() {
		if secure != nil {
			ended <- server.ServeTLS(door, "", "")
			return
		}
		ended <- server.Serve(door)
	}()
	s.log.Load().Info("the console is there", "listen", l.Addr().String(), "tls", secure != nil)
	if a.Exposed() && secure == nil {
		s.log.Load().Warn("others can reach the console without TLS: whoever is on that network can see its pictures and tokens", "listen", l.Addr().String(),
			"hint", "give console.cert_file and console.key_file")
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
	case <-s.changed:
	}
	cancel()
	err = errors.Join(err, server.Close())
	s.handling.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Address is where the console listens; nil for nowhere.
func (s *Server) Address() *net.TCPAddr { return s.bound.Load() }

// Error says what went wrong with the console.
type Error struct {
	Op   string // "listen on 127.0.0.1:8470"
	Err  error
	hint string
}

func (e *Error) Error() string { return fmt.Sprintf("console: %s: %v", e.Op, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what a technician should do, "" where nobody knows.
func (e *Error) Hint() string { return e.hint }
