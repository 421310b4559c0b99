package models

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// SignatureFile is the name of a manifest's signature in a model's folder: an Ed25519 signature over the very bytes of
// manifest.yaml, as 64 bytes or as those in base64. The manifest names the digest of the model's file, so both are vouched
// for. A signature says who made a bundle, not that it is the newest one: an older one with its signature is as good.
const SignatureFile = ManifestFile + ".sig"

const (
	maxKey       = 16 << 10
	maxSignature = 1 << 10
)

// Refusal is a model that must not be used: it is damaged, altered, or of nobody whom the configuration trusts.
type Refusal struct {
	What string // the file or the folder, and what is wrong with it
	hint string
	err  error
}

func (e *Refusal) Error() string { return "models: MODEL_REFUSED: " + e.What }

// Hint is what a technician should do.
func (e *Refusal) Hint() string { return e.hint }

func (e *Refusal) Unwrap() error { return e.err }

// Trust is the keys of those whose models are taken. A nil Trust takes every model that is whole.
type Trust struct{ keys []ed25519.PublicKey }

// rawKey is a public key that is written where a file could be named.
var rawKey = regexp.MustCompile(`^[A-Za-z0-9+/]{43}=$`)

// NewTrust reads keys: each is a public key of 32 bytes in base64, or names a file that holds such a line or a public key
// in PEM. No keys give a nil Trust.
func NewTrust(keys []string) (*Trust, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	t := &Trust{}
	for _, k := range keys {
		if rawKey.MatchString(k) {
			key, err := decodeKey(k)
			if err != nil {
				return nil, fmt.Errorf("models: trusted key %s: %w", k, err)
			}
			t.keys = append(t.keys, key)
			continue
		}
		data, err := readRegular(k, maxKey)
		if err != nil {
			return nil, fmt.Errorf("models: read trusted key: %w", err)
		}
		found, err := parseKeys(data)
		if err != nil {
			return nil, fmt.Errorf("models: trusted key %s: %w", k, err)
		}
		t.keys = append(t.keys, found...)
	}
	return t, nil
}

// Keys are the trusted keys in base64, as NewTrust takes them.
func (t *Trust) Keys() []string {
	if t == nil {
		return nil
	}
	var all []string
	for _, k := range t.keys {
		all = append(all, base64.StdEncoding.EncodeToString(k))
	}
	return all
}

func decodeKey(s string) (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, errors.New("not 32 bytes in base64")
	}
	return key, nil
}

// parseKeys reads a key's file: PEM, or a line of base64.
func parseKeys(data []byte) ([]ed25519.PublicKey, error) {
	if line := strings.TrimSpace(string(data)); rawKey.MatchString(line) {
		key, err := decodeKey(line)
		return []ed25519.PublicKey{key}, err
	}
	var keys []ed25519.PublicKey
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("it holds a %q; need a PUBLIC KEY in PEM", block.Type)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		k, ok := key.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("it holds a key of type %T; need Ed25519", key)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 || len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("it holds no public key in PEM, nor 32 bytes in base64")
	}
	return keys, nil
}

// LoadFolder reads the model in a folder of this machine, as the package's LoadFolder does, and checks who signed it.
func (t *Trust) LoadFolder(folder string) (*Model, error) {
	m, err := load(os.DirFS(folder), ".", folder, t)
	if err != nil {
		return nil, err
	}
	m.folder = folder
	return m, nil
}

// verify tells which key signed the manifest, "" where nobody needs to have signed it and nobody has, or nobody known.
func (t *Trust) verify(fsys fs.FS, folder, where string, manifest []byte) (string, error) {
	if t == nil {
		return "", nil
	}
	name := filepath.Join(where, SignatureFile)
	data, err := read(fsys, filepath.ToSlash(filepath.Join(folder, SignatureFile)), maxSignature)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &Refusal{where + " is not signed", "models.trusted_keys asks for a signature: sign it with `livenessd models sign`, or take it from somebody who does", err}
	}
	if err != nil {
		return "", fmt.Errorf("models: read %s: %w", name, err)
	}
	signature, ok := decodeSignature(data)
	if !ok {
		return "", &Refusal{name + " is no signature: 64 bytes, or those in base64", "get the bundle again", nil}
	}
	for _, k := range t.keys {
		if ed25519.Verify(k, manifest, signature) {
			return Fingerprint(k), nil
		}
	}
	return "", &Refusal{where + " is not signed by any of models.trusted_keys, or its manifest was altered after it was signed",
		"get the bundle again, or add its maker's key to models.trusted_keys", nil}
}

func decodeSignature(data []byte) ([]byte, bool) {
	if len(data) != ed25519.SignatureSize {
		var err error
		if data, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(data))); err != nil {
			return nil, false
		}
	}
	return data, len(data) == ed25519.SignatureSize
}

// Fingerprint names a key for people: SHA-256, the first 16 hexadecimal digits.
func Fingerprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Sign signs the manifest of the bundle in a folder with the key in a file (PKCS #8 in PEM, as `openssl genpkey -algorithm
// ed25519` writes it), after it was found to be whole, and says with which key.
func Sign(folder, keyFile string) (ed25519.PublicKey, error) {
	key, err := readPrivateKey(keyFile)
	if err != nil {
		return nil, err
	}
	m, err := LoadFolder(folder)
	if err != nil {
		return nil, err
	}
	// What was checked is signed, not what lies there by now.
	signature := ed25519.Sign(key, m.manifest)
	text := base64.StdEncoding.EncodeToString(signature) + "\n"
	if err := writeAtomically(filepath.Join(folder, SignatureFile), []byte(text)); err != nil {
		return nil, fmt.Errorf("models: write the signature: %w", err)
	}
	return key.Public().(ed25519.PublicKey), nil
}

func readPrivateKey(file string) (ed25519.PrivateKey, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("models: read the signing key: %w", err)
	}
	if st.Mode().Perm()&0o007 != 0 {
		return nil, &keyError{fmt.Errorf("models: read the signing key: everybody may read or change %s", file), "chmod 600 " + file + ", and take a new key if others use this machine"}
	}
	data, err := readRegular(file, maxKey)
	if err != nil {
		return nil, fmt.Errorf("models: read the signing key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, &keyError{fmt.Errorf("models: read the signing key: %s holds no PRIVATE KEY in PEM", file), "make one with: openssl genpkey -algorithm ed25519"}
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("models: read the signing key: %s: %w", file, err)
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, &keyError{fmt.Errorf("models: read the signing key: %s holds a key of type %T; need Ed25519", file, key), "make one with: openssl genpkey -algorithm ed25519"}
	}
	return k, nil
}

// keyError is a key that can't be used, with what to do.
type keyError struct {
	err  error
	hint string
}

func (e *keyError) Error() string { return e.err.Error() }
func (e *keyError) Unwrap() error { return e.err }
func (e *keyError) Hint() string  { return e.hint }

// writeAtomically writes a file beside its place and moves it there.
func writeAtomically(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
