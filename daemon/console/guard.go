package console

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/web"
)

// policy is the page's Content-Security-Policy: its own files, its own requests, and pictures that its script has made of what it got.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// guard stands before all requests.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handling.Add(1)
		defer s.handling.Done()
		h := w.Header()
		for k, v := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy": "camera=(), microphone=(), geolocation=()",
		} {
			h.Set(k, v)
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // a connection without one is closed by the server
		a := s.access.Load()
		switch {
		case !hostAllowed(a, r):
			refuse(w, http.StatusMisdirectedRequest, "this host isn't known here", "give its name to console.hosts, or use localhost or an address of the machine")
			return
		case !originAllowed(r):
			refuse(w, http.StatusForbidden, "the request comes from another page", "")
			return
		case !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete}, r.Method):
			h.Set("Allow", "GET, HEAD, POST, DELETE")
			refuse(w, http.StatusMethodNotAllowed, "no such method", "")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostAllowed tells whether a request is meant for this machine: a page elsewhere whose name was made to lead here (DNS rebinding) has that
// page's name. An address is no name, and allowed if it is the machine's own or, through a forwarded port, the browser's.
func hostAllowed(a *access, r *http.Request) bool {
	host := hostname(r.Host)
	if host == "localhost" || slices.Contains(a.Hosts, host) {
		return true
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if at.Unmap().IsLoopback() {
		return true
	}
	local, is := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return is && web.Remote(local.String()) == web.Whose(at)
}

// hostname is the name or address in a Host header, in lower case.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// originAllowed tells whether no other page is behind a request. Browsers say the origin of all that changes something; who brings a token
// of its own is no browser that was led here.
func originAllowed(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin":
	case "none": // the address was typed, or a link of another program was followed
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	default:
		// Another page may lead to this one, but nothing of it may be embedded or asked for there.
		return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" && !strings.HasPrefix(r.URL.Path, "/api/")
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return r.Method == http.MethodGet || r.Method == http.MethodHead || bearer(r) != ""
	}
	u, err := url.Parse(origins[0])
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return len(origins) == 1 && err == nil && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}

// bearer is the token that a request brings, "" for none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// cookieName has the port that the browser sees, so that two devices behind forwarded ports don't take each other's.
func cookieName(r *http.Request) string {
	name := "livenessd"
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			name += "-" + port
		}
	}
	if r.TLS != nil {
		return "__Host-" + name
	}
	return name
}

// caller is who makes a request.
type caller struct {
	role    Role
	cookie  string // "" for who brings a token
	expires time.Time
	key     string // of its seat
}

// who finds out who makes a request. It has answered itself where it gives false.
func (s *Server) who(w http.ResponseWriter, r *http.Request) (caller, bool) {
	if token := bearer(r); token != "" {
		role, ok := s.guess(w, r, func(t tokens) (Role, error) {
			if role := t.role(token); role != "" {
				return role, nil
			}
			return "", errToken
		})
		return caller{role: role, key: "token " + string(role)}, ok
	}
	if c, err := r.Cookie(cookieName(r)); err == nil {
		if role, until := s.sessions.find(c.Value); role != "" {
			return caller{role: role, cookie: c.Value, expires: until, key: "session " + c.Value}, true
		}
	}
	refuse(w, http.StatusUnauthorized, "nobody is logged in", "`livenessd console` prints a link that logs in")
	return caller{}, false
}

var errToken = errors.New("the token is wrong")

// guess asks try with care: who is wrong too often isn't heard for a while.
func (s *Server) guess(w http.ResponseWriter, r *http.Request, try func(tokens) (Role, error)) (Role, bool) {
	from := web.Remote(r.RemoteAddr)
	if left := s.lock.left(from); left > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(left/time.Second)+1))
		refuse(w, http.StatusTooManyRequests, "too many wrong tokens: try again later", "`livenessd console` prints a link that logs in all the same")
		return "", false
	}
	role, err := try(s.access.Load().tokens)
	if err != nil {
		if s.lock.wrong(from) {
			s.log.Load().Warn("somebody guesses the console's tokens and is locked out for a while", "address", from)
		}
		refuse(w, http.StatusUnauthorized, err.Error(), "`livenessd console` prints a link that logs in")
		return "", false
	}
	s.lock.right(from)
	return role, true
}

// handler is one for who is logged in.
type handler func(w http.ResponseWriter, r *http.Request, c caller)

// as lets in who has a role.
func (s *Server) as(need Role, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := s.who(w, r)
		if !ok {
			return
		}
		if need == Admin && c.role != Admin {
			refuse(w, http.StatusForbidden, "who logged in for looking can't change anything", "log in with the other token, or with a link of `livenessd console`")
			return
		}
		h(w, r, c)
	})
}

// login begins a session: with a token, or with a link.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
		Link  string `json:"link"`
	}
	if !read(w, r, &in, 2<<10) {
		return
	}
	t := s.access.Load().tokens
	var role Role
	if in.Link != "" { // nobody guesses one, and whoever is locked out beside somebody who guesses needs a way in
		var err error
		if role, err = s.links.take(t.admin, in.Link); err != nil {
			refuse(w, http.StatusUnauthorized, err.Error(), "run `livenessd console` again")
			return
		}
	} else {
		var ok bool
		if role, ok = s.guess(w, r, func(t tokens) (Role, error) {
			if role := t.role(in.Token); role != "" {
				return role, nil
			}
			return "", errToken
		}); !ok {
			return
		}
	}
	by := t.of[Admin]
	if in.Link == "" {
		by = sha256.Sum256([]byte(in.Token))
	}
	if c, err := r.Cookie(cookieName(r)); err == nil { // who logs in twice has one session
		s.sessions.end(c.Value)
	}
	cookie := s.sessions.begin(role, by)
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	s.log.Load().Info("somebody logged in at the console", "role", role, "address", web.Remote(r.RemoteAddr))
	_, until := s.sessions.find(cookie)
	s.write(w, sessionDocument{Role: role, Expires: until})
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request, c caller) {
	s.sessions.end(c.cookie)
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	w.WriteHeader(http.StatusNoContent)
}

// refusal is what an error's answer says.
type refusal struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

func refuse(w http.ResponseWriter, status int, what, hint string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal{what, hint}) // who has gone doesn't hear it
}

// fail answers with an error and its hint.
func fail(w http.ResponseWriter, status int, err error) {
	refuse(w, status, err.Error(), daemon.Hint(err))
}

// read reads a request's document strictly. It has answered itself where it gives false.
func read(w http.ResponseWriter, r *http.Request, to any, limit int64) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "not application/json", "")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one document")
			var long *http.MaxBytesError
			if errors.As(more, &long) {
				err = long
			}
		}
	}
	var long *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &long):
		refuse(w, http.StatusRequestEntityTooLarge, "too long: "+strconv.FormatInt(limit, 10)+" bytes are allowed", "")
	default:
		refuse(w, http.StatusBadRequest, "the document can't be read: "+err.Error(), "")
	}
	return false
}

// write answers with a document.
func (s *Server) write(w http.ResponseWriter, v any) { s.writeAs(w, http.StatusOK, v) }

func (s *Server) writeAs(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		s.log.Load().Debug("an answer of the console wasn't heard", "error", err)
	}
}
