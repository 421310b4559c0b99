package doctor

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Secrets knows what must not leave the machine: what is in the configuration's secret files, word for word, and what looks like a secret.
type Secrets struct{ known []string }

const (
	redacted = "[redacted]"
	// shortest is the length from which a line of a secret file is looked for: shorter ones occur by chance.
	shortest = 4
	biggest  = 64 << 10
)

// secrets reads the configuration's secret files, and those that systemd hands to the service. A file that can't be read has no secret that could
// be given away here.
func (p *Patient) secrets() *Secrets {
	s := &Secrets{}
	for _, n := range namedFiles(p.Config) {
		if n.secret {
			s.read(n.path)
		}
	}
	for _, path := range p.Service.Credentials {
		s.read(path)
		inside, _ := filepath.Glob(filepath.Join(path, "*"))
		for _, path := range inside {
			s.read(path)
		}
	}
	// The longest first: one may be the beginning of another.
	slices.SortFunc(s.known, func(a, b string) int { return len(b) - len(a) })
	return s
}

func (s *Secrets) read(path string) {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() { // a pipe would block for ever
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if b, err := io.ReadAll(io.LimitReader(f, biggest)); err == nil {
		s.add(string(b))
	}
}

func (s *Secrets) add(content string) {
	for _, text := range append(strings.Split(content, "\n"), content) {
		text = strings.TrimSpace(text)
		if len(text) >= shortest && !strings.HasPrefix(text, "-----") && !slices.Contains(s.known, text) {
			s.known = append(s.known, text)
		}
	}
}

// What secrets and people stand behind.
const (
	secret = `(?im)\b((?:pass(?:word|wd|phrase)?|secret|token|api_?key|authorization)["']?\s*[=:]\s*)`
	person = `(?m)\b((?:subject|nonce)["']?\s*[=:]\s*)`
)

// What looks like a secret, or like a person.
var suspicious = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), redacted},
	{regexp.MustCompile(secret + `"(?:[^"\\\n]|\\.)*(?:"|\\?$)`), `$1"` + redacted + `"`},
	{regexp.MustCompile(secret + `'[^'\n]*(?:'|$)`), `$1'` + redacted + `'`},
	{regexp.MustCompile(secret + `(?:bearer |basic )?[^\s,}\]"']+`), "$1" + redacted},
	{regexp.MustCompile(`(?i)\bbearer\s+[A-Za-z0-9._~+/=-]+`), "Bearer " + redacted},
	{regexp.MustCompile(`\b([a-z][a-z0-9+.-]*://)[^\s/@"']+@`), "$1" + redacted + "@"},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`), redacted}, // a token or a signed verdict
	{regexp.MustCompile(person + `"(?:[^"\\\n]|\\.)*(?:"|\\?$)`), `$1"` + redacted + `"`},
	{regexp.MustCompile(person + `[^\s,}\]"]+`), "$1" + redacted},
	{regexp.MustCompile(`[A-Za-z0-9+/]{120,}={0,2}`), redacted}, // a picture or a key in base64
}

// Redact takes them out of a text. A line that isn't text goes as a whole: it may be a piece of a picture.
func (s *Secrets) Redact(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\x1b' }) {
			line = "[redacted: not text]\n"
		}
		b.WriteString(strings.ReplaceAll(line, "\x1b", ""))
	}
	text = b.String()
	for _, k := range s.known {
		text = strings.ReplaceAll(text, k, redacted)
	}
	for _, p := range suspicious {
		text = p.what.ReplaceAllString(text, p.by)
	}
	return text
}
