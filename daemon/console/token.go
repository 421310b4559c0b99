package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/web"
)

// Role is what somebody may do.
type Role string

// The roles.
const (
	Viewer Role = "view"  // look
	Admin  Role = "admin" // and change things
)

const (
	// TokenFile lies in the folder that the configuration calls state, where no other file is named.
	TokenFile = "console.token"
	// TokenCredential is the name of systemd's credential for the token.
	TokenCredential = "console-token"
	viewCredential  = "console-view-token"
)

// Errors that are told apart.
var (
	errLarge  = errors.New("it is too large")
	errNoFile = errors.New("not a regular file")
	errSame   = errors.New("the viewing token is the same as the other one")
	errLink   = errors.New("the link isn't one of this device, is older than five minutes, or was used")
)

// tokens are what logs in. Their digests are compared, so that neither content nor length shows in the time that takes.
type tokens struct {
	admin []byte            // for links
	of    map[Role][32]byte // digests; none for who can't log in
}

// role tells whose token it is, "" for nobody's.
func (t tokens) role(given string) Role {
	sum := sha256.Sum256([]byte(given))
	var found Role
	for _, r := range []Role{Viewer, Admin} {
		d, is := t.of[r]
		if subtle.ConstantTimeCompare(sum[:], d[:]) == 1 && is {
			found = r
		}
	}
	return found
}

// tokenPath is where the token of a role lies, "" for nowhere; made tells that it may be made there.
func tokenPath(c config.Config, r Role) (path string, made bool) {
	path, name := c.Console.TokenFile, TokenCredential
	if r == Viewer {
		path, name = c.Console.ViewTokenFile, viewCredential
	}
	if path != "" {
		return path, false
	}
	if path := config.CredentialFile(name); path != "" {
		return path, false
	}
	if r == Viewer {
		return "", false
	}
	return filepath.Join(c.State, TokenFile), true
}

// openTokens reads the tokens, and makes the first one where there may be one and is none.
func openTokens(c config.Config) (tokens, error) {
	if path, made := tokenPath(c, Admin); made {
		if err := makeToken(path); err != nil {
			return tokens{}, err
		}
	}
	return readTokens(c)
}

// readTokens reads them. One that isn't made yet is none.
func readTokens(c config.Config) (tokens, error) {
	t := tokens{of: map[Role][32]byte{}}
	for _, r := range []Role{Admin, Viewer} {
		path, made := tokenPath(c, r)
		if path == "" {
			continue
		}
		b, err := ReadToken(path)
		if made && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return tokens{}, err
		}
		t.of[r] = sha256.Sum256(b)
		if r == Admin {
			t.admin = b
		}
	}
	if a, is := t.of[Admin]; is && a == t.of[Viewer] {
		return tokens{}, &Error{"read the tokens", errSame, "give console.view_token_file one of its own"}
	}
	return t, nil
}

// ReadToken reads a token of a file.
func ReadToken(path string) ([]byte, error) {
	b, err := web.Token(path)
	var p *web.Problem
	if errors.As(err, &p) {
		return nil, &Error{"read the token " + path, p.Err, p.Hint()}
	}
	return b, err
}

// makeToken makes a token's file, whole or not at all, where there is none.
func makeToken(path string) (err error) {
	defer func() {
		if err != nil {
			err = &Error{"make the token " + path, err, "the folder that state names must be livenessd's user's to write; or name a file with console.token_file"}
		}
	}()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // ReadToken says what is wrong with it
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+TokenFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(rand.Text() + rand.Text() + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// A link is what logs in once: version, role, when it was made, a number of its own, and a code over all that which only who has the token
// can make. So whoever may read the token's file makes links without asking the daemon.
const (
	linkVersion = 1
	// LinkTime is how long a link logs in.
	LinkTime  = 5 * time.Minute
	nonceSize = 16
	linkBody  = 2 + 8 + nonceSize
	linkSize  = linkBody + sha256.Size
	// maxLinks bounds those that are remembered as used. Only who has the token could make more.
	maxLinks = 1024
)

func linkCode(token, body []byte) []byte {
	// Not the token itself is the key, so that a code for something else never is one for a link.
	key := sha256.Sum256(append([]byte("livenessd console link\x00"), token...))
	m := hmac.New(sha256.New, key[:])
	m.Write(body)
	return m.Sum(nil)
}

// NewLink makes a link for a role: what stands behind # in the page's address.
func NewLink(token []byte, r Role, now time.Time) string {
	b := make([]byte, linkBody, linkSize)
	b[0] = linkVersion
	if r == Admin {
		b[1] = 1
	}
	binary.BigEndian.PutUint64(b[2:], uint64(now.UnixMilli()))
	rand.Read(b[10:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, linkCode(token, b)...))
}

// links knows which were used.
type links struct {
	now   func() time.Time
	began time.Time

	mu   sync.Mutex
	used map[[nonceSize]byte]time.Time // when it was made
}

func newLinks(now func() time.Time) *links {
	return &links{now: now, began: now(), used: map[[nonceSize]byte]time.Time{}}
}

// take tells for which role a link logs in, and takes it.
func (l *links) take(token []byte, link string) (Role, error) {
	b, err := base64.RawURLEncoding.DecodeString(link)
	if err != nil || len(b) != linkSize || len(token) == 0 || !hmac.Equal(b[linkBody:], linkCode(token, b[:linkBody])) || b[0] != linkVersion || b[1] > 1 {
		return "", errLink
	}
	now := l.now()
	made := time.UnixMilli(int64(binary.BigEndian.Uint64(b[2:])))
	// Who was started after a link was made doesn't know whether it was used. The time that has passed is the clock's that nobody sets.
	started := now.Round(0).Add(-now.Sub(l.began))
	const slack = time.Second // of milliseconds, and of clocks that are being slewed
	if age := now.Round(0).Sub(made); age > LinkTime || age < -slack || made.Before(started.Add(-slack)) {
		return "", errLink
	}
	nonce := [nonceSize]byte(b[10:])
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, at := range l.used {
		if age := now.Round(0).Sub(at); age > LinkTime+slack || age < -LinkTime { // nobody can use it any more
			delete(l.used, n)
		}
	}
	if _, again := l.used[nonce]; again || len(l.used) >= maxLinks {
		return "", errLink
	}
	l.used[nonce] = made
	if b[1] == 1 {
		return Admin, nil
	}
	return Viewer, nil
}

// LinkToken reads the token that links are made with.
func LinkToken(c config.Config) ([]byte, error) {
	path, _ := tokenPath(c, Admin)
	return ReadToken(path)
}

// has tells whether anybody can log in for a role.
func (t tokens) has(r Role) bool {
	_, is := t.of[r]
	return is
}
