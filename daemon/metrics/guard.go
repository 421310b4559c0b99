package metrics

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/web"
)

// Error is trouble with what is served, and what a technician should do.
type Error struct {
	Op   string
	Err  error
	hint string
}

func (e *Error) Error() string { return "metrics: " + e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what a technician should do.
func (e *Error) Hint() string { return e.hint }

// readToken reads what whoever asks must have. It is read at each request, so that it can be changed without a restart.
func readToken(path string) ([]byte, error) {
	token, err := web.Token(path)
	var p *web.Problem
	if errors.As(err, &p) {
		return nil, &Error{"token_file " + path, p.Err, p.Hint()}
	}
	return token, err
}

// guard lets through who may ask: with a token file whoever has the token, and without one whoever asks this machine by an address or as localhost: a page
// in a browser here could else have a name of its own stand for this machine, and read the figures (DNS rebinding). Whether it is alive and
// ready everybody may know, in a word.
func guard(c config.Metrics, token func() ([]byte, error), h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Cache-Control", "no-store")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			head.Set("Allow", "GET, HEAD")
			plain(w, http.StatusMethodNotAllowed, "only GET")
			return
		}
		if c.TokenFile == "" {
			if !own(r.Host) {
				plain(w, http.StatusMisdirectedRequest, "ask by address, or as localhost; by another name only with a token: metrics.token_file")
				return
			}
			h.ServeHTTP(w, r)
			return
		}
		want, err := token()
		if err == nil && has(r, want) {
			h.ServeHTTP(w, r)
			return
		}
		switch {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
			h.ServeHTTP(w, briefly(r))
		case err != nil:
			plain(w, http.StatusServiceUnavailable, "the token file can't be used: see livenessd's log")
		default:
			head.Set("WWW-Authenticate", `Bearer realm="livenessd"`)
			plain(w, http.StatusUnauthorized, "send the token that metrics.token_file holds: Authorization: Bearer TOKEN")
		}
	})
}

// has tells whether a request has the token, in a time that tells nothing of it.
func has(r *http.Request, want []byte) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256(want)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// own tells whether a request names this machine as no name of somebody else's could.
func own(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}
