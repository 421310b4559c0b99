package models

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// signer is a key pair, always the same.
func signer(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicOf(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func privatePEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func file(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bundleIn writes a bundle whose file is no model, but has the right digest.
func bundleIn(t testing.TB, folder string) string {
	t.Helper()
	data := []byte("the file")
	file(t, filepath.Join(folder, "net.tflite"), data)
	file(t, filepath.Join(folder, ManifestFile), []byte(strings.Replace(livenessManifest,
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", fmt.Sprintf("%x", sha256.Sum256(data)), 1)))
	return folder
}

func TestSignedBundles(t *testing.T) {
	mine, other := signer(1), signer(2)
	trusted := base64.StdEncoding.EncodeToString(publicOf(mine))
	manifestOf := func(t *testing.T, folder string) []byte {
		data, err := os.ReadFile(filepath.Join(folder, ManifestFile))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	sign := func(key ed25519.PrivateKey) func(*testing.T, string) {
		return func(t *testing.T, folder string) {
			signature := base64.StdEncoding.EncodeToString(ed25519.Sign(key, manifestOf(t, folder)))
			file(t, filepath.Join(folder, SignatureFile), []byte(signature+"\n"))
		}
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, folder string)
		says   string // "" is taken
	}{
		{"signed", sign(mine), ""},
		{"signed, in bytes", func(t *testing.T, folder string) {
			file(t, filepath.Join(folder, SignatureFile), ed25519.Sign(mine, manifestOf(t, folder)))
		}, ""},
		{"not signed", func(*testing.T, string) {}, "is not signed"},
		{"signed by somebody else", sign(other), "is not signed by any of models.trusted_keys"},
		{"its manifest altered", func(t *testing.T, folder string) {
			sign(mine)(t, folder)
			file(t, filepath.Join(folder, ManifestFile), bytes.Replace(manifestOf(t, folder), []byte("live: 1"), []byte("live: 0"), 1))
		}, "altered after it was signed"},
		{"a space added to its manifest", func(t *testing.T, folder string) {
			sign(mine)(t, folder)
			file(t, filepath.Join(folder, ManifestFile), append(manifestOf(t, folder), ' '))
		}, "altered after it was signed"},
		{"its file altered", func(t *testing.T, folder string) {
			sign(mine)(t, folder)
			file(t, filepath.Join(folder, "net.tflite"), []byte("the fi1e"))
		}, "has SHA-256"},
		{"an empty signature", func(t *testing.T, folder string) { file(t, filepath.Join(folder, SignatureFile), nil) }, "is no signature"},
		{"a signature of another length", func(t *testing.T, folder string) {
			file(t, filepath.Join(folder, SignatureFile), []byte("YWJj\n"))
		}, "is no signature"},
		{"a signature of noughts", func(t *testing.T, folder string) {
			file(t, filepath.Join(folder, SignatureFile), make([]byte, ed25519.SignatureSize))
		}, "is not signed by any"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := bundleIn(t, t.TempDir())
			tt.change(t, folder)
			trust, err := NewTrust([]string{base64.StdEncoding.EncodeToString(publicOf(signer(9))), trusted})
			if err != nil {
				t.Fatal(err)
			}
			m, err := trust.LoadFolder(folder)
			if tt.says == "" {
				if err != nil || m.Signer != Fingerprint(publicOf(mine)) {
					t.Errorf("%+v, %v", m, err)
				}
				return
			}
			var refused *Refusal
			if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "models: MODEL_REFUSED: "+folder) || !strings.Contains(err.Error(), tt.says) || refused.Hint() == "" {
				t.Errorf("got %v, which doesn't say %q", err, tt.says)
			}
		})
	}
	t.Run("without keys nobody is asked", func(t *testing.T) {
		trust, err := NewTrust(nil)
		if err != nil || trust != nil || trust.Keys() != nil {
			t.Fatalf("%v, %v", trust, err)
		}
		if m, err := trust.LoadFolder(bundleIn(t, t.TempDir())); err != nil || m.Signer != "" {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

func TestKeysThatAreTrusted(t *testing.T) {
	dir := t.TempDir()
	a, b := publicOf(signer(1)), publicOf(signer(2))
	text := base64.StdEncoding.EncodeToString(a)
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		name string
		key  any    // a text, or a file's content
		want int    // keys
		says string // of the error
	}{
		{"in base64", text, 1, ""},
		{"a file in PEM", publicPEM(t, a), 1, ""},
		{"a file with two", append(publicPEM(t, a), publicPEM(t, b)...), 2, ""},
		{"a file in base64", []byte(text + "\n"), 1, ""},
		{"an absent file", filepath.Join(dir, "absent.pem"), 0, "no such file"},
		{"a folder", dir, 0, "not a regular file"},
		{"base64 with loose bits", text[:42] + "/=", 0, "not 32 bytes in base64"},
		{"an empty file", []byte{}, 0, "no public key in PEM"},
		{"a private key", privatePEM(t, signer(1)), 0, `holds a "PRIVATE KEY"`},
		{"a key of another kind", publicPEM(t, &elliptic.PublicKey), 0, "need Ed25519"},
		{"PEM of nonsense", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), 0, "trusted key"},
		{"something after the key", append(publicPEM(t, a), "more"...), 0, "no public key in PEM"},
		{"a huge file", make([]byte, maxKey+1), 0, "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, is := tt.key.(string)
			if !is {
				key = file(t, filepath.Join(dir, fmt.Sprint("key", i)), tt.key.([]byte))
			}
			trust, err := NewTrust([]string{key})
			if tt.says == "" {
				if err != nil || len(trust.Keys()) != tt.want || trust.Keys()[0] != text {
					t.Errorf("%v, %v", trust.Keys(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, which doesn't say %q", err, tt.says)
			}
		})
	}
}

func TestSigning(t *testing.T) {
	dir := t.TempDir()
	key := file(t, filepath.Join(dir, "key.pem"), privatePEM(t, signer(1)))
	folder := bundleIn(t, filepath.Join(dir, "m"))
	public, err := Sign(folder, key)
	if err != nil || !public.Equal(publicOf(signer(1))) {
		t.Fatal(public, err)
	}
	trust, err := NewTrust([]string{base64.StdEncoding.EncodeToString(public)})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := trust.LoadFolder(folder); err != nil || m.Signer != Fingerprint(public) {
		t.Errorf("%+v, %v", m, err)
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	open := file(t, filepath.Join(dir, "open.pem"), privatePEM(t, signer(1)))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	damaged := bundleIn(t, filepath.Join(dir, "damaged"))
	file(t, filepath.Join(damaged, "net.tflite"), []byte("other"))
	for _, tt := range []struct{ name, folder, key, says string }{
		{"an absent key", folder, filepath.Join(dir, "absent"), "no such file"},
		{"a key that all can read", folder, open, "everybody may read"},
		{"a public key", folder, file(t, filepath.Join(dir, "public.pem"), publicPEM(t, publicOf(signer(1)))), "no PRIVATE KEY"},
		{"a damaged bundle", damaged, key, "MODEL_REFUSED"},
		{"no bundle", dir, key, "no such file"},
	} {
		if _, err := Sign(tt.folder, tt.key); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, which doesn't say %q", tt.name, err, tt.says)
		}
	}
	if _, err := os.Stat(filepath.Join(damaged, SignatureFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a damaged bundle has a signature: %v", err)
	}
}

// A named pipe in place of a file would block whoever opens it.
func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	for _, name := range []string{ManifestFile, "net.tflite", CardFile} {
		folder := bundleIn(t, t.TempDir())
		if err := os.Remove(filepath.Join(folder, name)); err != nil && name != CardFile {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(folder, name), 0o600); err != nil {
			t.Skipf("no named pipes here: %v", err)
		}
		if _, err := LoadFolder(folder); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzKeys: a key's file gives keys of the right size, or an error.
func FuzzKeys(f *testing.F) {
	f.Add(publicPEM(f, publicOf(signer(1))))
	f.Add([]byte(base64.StdEncoding.EncodeToString(publicOf(signer(1)))))
	f.Add(privatePEM(f, signer(1)))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseKeys(data)
		if err == nil && len(keys) == 0 {
			t.Fatal("neither keys nor an error")
		}
		for _, k := range keys {
			if err == nil && len(k) != ed25519.PublicKeySize {
				t.Fatalf("a key of %d bytes", len(k))
			}
		}
	})
}

// FuzzSignature: whatever lies in the signature's place, an unsigned manifest isn't taken.
func FuzzSignature(f *testing.F) {
	f.Add([]byte(base64.StdEncoding.EncodeToString(ed25519.Sign(signer(2), []byte(livenessManifest)))))
	f.Add(ed25519.Sign(signer(2), []byte(livenessManifest)))
	f.Add([]byte{})
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, ok := decodeSignature(data); ok && (len(s) != ed25519.SignatureSize || ed25519.Verify(publicOf(signer(1)), []byte(livenessManifest), s)) {
			t.Fatalf("%x is taken", s)
		}
	})
}
