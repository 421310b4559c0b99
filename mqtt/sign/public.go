package sign

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// maxKeys bounds what is read, or kept, as a list of public keys, and maxText its bytes.
const (
	maxKeys = 100
	maxText = 64 << 10
)

// Public is what others need of a key.
type Public struct {
	ID    string // its thumbprint
	Key   ed25519.PublicKey
	Since time.Time // zero where nobody wrote it down
	Until time.Time // when it was replaced; zero while it is in use
}

// newPublic names a key.
func newPublic(key ed25519.PublicKey) (Public, error) {
	if len(key) != ed25519.PublicKeySize {
		return Public{}, fmt.Errorf("a key of %d bytes, not %d", len(key), ed25519.PublicKeySize)
	}
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return Public{}, err
	}
	return Public{ID: base64.RawURLEncoding.EncodeToString(sum), Key: key}, nil
}

// Base64 is the key's 32 bytes.
func (p Public) Base64() string { return base64.StdEncoding.EncodeToString(p.Key) }

// X is the same as JSON Web Keys have it.
func (p Public) X() string { return base64.RawURLEncoding.EncodeToString(p.Key) }

// jwk is a key as JSON Web Key (RFC 8037), with the times from and until which it signed.
type jwk struct {
	Kty   string `json:"kty"`
	Crv   string `json:"crv"`
	X     string `json:"x"`
	D     string `json:"d,omitempty"` // which a public key doesn't have
	Kid   string `json:"kid,omitempty"`
	Alg   string `json:"alg,omitempty"`
	Use   string `json:"use,omitempty"`
	Since stamp  `json:"since,omitzero"`
	Until stamp  `json:"until,omitzero"`
}

// stamp is a time as livenessd's documents have it: RFC 3339, UTC, always three digits of milliseconds.
type stamp time.Time

func (s stamp) IsZero() bool { return time.Time(s).IsZero() }

func (s stamp) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(s).UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

func (s *stamp) UnmarshalJSON(b []byte) error { return (*time.Time)(s).UnmarshalJSON(b) }

// Of JSON Web Keys.
const (
	KeyType   = "OKP"
	Curve     = "Ed25519"
	Algorithm = string(jose.EdDSA)
	Use       = "sig"
)

var (
	_ json.Marshaler   = Public{}
	_ json.Unmarshaler = (*Public)(nil)
)

// MarshalJSON writes a JSON Web Key.
func (p Public) MarshalJSON() ([]byte, error) {
	return json.Marshal(jwk{Kty: KeyType, Crv: Curve, X: p.X(), Kid: p.ID, Alg: Algorithm, Use: Use, Since: stamp(p.Since), Until: stamp(p.Until)})
}

// UnmarshalJSON reads one. A kid that isn't the key's thumbprint is an error.
func (p *Public) UnmarshalJSON(b []byte) error {
	var j jwk
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	switch {
	case j.D != "":
		return &Error{"read a public key", errors.New("it is a private key"), "keep it to yourself, and give its public half: livenessd keys show"}
	case j.Kty != KeyType || j.Crv != Curve:
		return fmt.Errorf("kty %.20q and crv %.20q; need OKP and Ed25519", j.Kty, j.Crv)
	case j.Alg != "" && j.Alg != Algorithm && j.Alg != Curve:
		return fmt.Errorf("alg %.20q; need EdDSA", j.Alg)
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(j.X)
	if err != nil {
		return errors.New("x is not in base64url")
	}
	read, err := newPublic(key)
	if err != nil {
		return err
	}
	if j.Kid != "" && j.Kid != read.ID {
		return fmt.Errorf("kid %.50q is not the key's thumbprint, which is %s", j.Kid, read.ID)
	}
	read.Since, read.Until = time.Time(j.Since).UTC(), time.Time(j.Until).UTC()
	*p = read
	return nil
}

var (
	rawKey = regexp.MustCompile(`^[A-Za-z0-9+/]{43}=$`)
	rawID  = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
)

// IsPublic tells whether a text is meant to be a public key itself, and not the name of a file.
func IsPublic(s string) bool {
	return bytes.HasPrefix(bytes.TrimSpace([]byte(s)), []byte("{")) || rawKey.MatchString(s) || rawID.MatchString(s)
}

// ParsePublic reads public keys: a JSON Web Key, a set of them or anything else with a member keys (what `livenessd keys show --json` prints, what
// a device publishes as info), PEM, or the 32 bytes in base64.
func ParsePublic(text []byte) ([]Public, error) {
	keys, err := parsePublic(bytes.TrimSpace(text))
	if err == nil && len(keys) > maxKeys {
		err = fmt.Errorf("%d keys, more than %d", len(keys), maxKeys)
	}
	var known *Error
	switch {
	case errors.As(err, &known):
		return nil, known
	case err != nil:
		return nil, &Error{"read a public key", err, "give a file or a text as livenessd keys show prints it: a JWK, or 32 bytes in base64"}
	}
	return keys, nil
}

func parsePublic(text []byte) ([]Public, error) {
	switch {
	case len(text) > maxText:
		return nil, fmt.Errorf("%d bytes, more than %d", len(text), maxText)
	case rawKey.Match(text):
		key, err := base64.StdEncoding.Strict().DecodeString(string(text))
		if err != nil {
			return nil, errors.New("not 32 bytes in base64")
		}
		p, err := newPublic(key)
		return []Public{p}, err
	case rawID.Match(text):
		return nil, errors.New("this is a key's id, or its x alone, and nothing can be verified with an id")
	case bytes.HasPrefix(text, []byte("{")):
		return parseJSON(text)
	}
	return parsePEM(text)
}

func parseJSON(text []byte) ([]Public, error) {
	var set struct {
		Keys []Public `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > 0 {
		return set.Keys, nil
	}
	var one Public
	if err := json.Unmarshal(text, &one); err != nil {
		return nil, err
	}
	return []Public{one}, nil
}

func parsePEM(text []byte) (keys []Public, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type == "PRIVATE KEY" {
			return nil, &Error{"read a public key", errors.New("it is a private key"), "keep it to yourself, and give its public half: livenessd keys show"}
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("it holds a %.40q; need a PUBLIC KEY in PEM", block.Type)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		k, ok := key.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("it holds a key of type %T; need Ed25519", key)
		}
		p, err := newPublic(k)
		if err != nil {
			return nil, err
		}
		keys = append(keys, p)
	}
	if len(keys) == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("neither a JWK, nor PEM, nor 32 bytes in base64")
	}
	return keys, nil
}
