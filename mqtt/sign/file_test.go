package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state", "device.key")
	if _, err := Generate(path, noon); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "device.key")
	p, err := Generate(path, noon)
	if err != nil || !p.Since.Equal(noon) || !p.Until.IsZero() {
		t.Fatalf("%+v, %v", p, err)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, path + PublicSuffix: 0o644, filepath.Dir(path): os.ModeDir | 0o700} {
		if st, err := os.Stat(name); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(path, noon); !errors.Is(err, ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was replaced, %v", err)
	}
	k, err := Load(path)
	if err != nil || k.Public().ID != p.ID {
		t.Fatalf("%v", err)
	}
	all, err := Published(path, k)
	if err != nil || len(all) != 1 || all[0].ID != p.ID || !all[0].Since.Equal(noon) {
		t.Errorf("%+v, %v", all, err)
	}
	left(t, path, 2)
}

// left counts what lies beside a key: no half-written files.
func left(t *testing.T, path string, want int) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != want {
		t.Errorf("%v lie there, %v", files, err)
	}
}

func TestOfSeveralAtOnceOneMakesTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.key")
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			_, err := Generate(path, noon)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d keys were made", won)
	}
	left(t, path, 2)
}

func TestWhatAnOldKeySignedStaysVerifiable(t *testing.T) {
	path := made(t)
	var ids []string
	var jws [][]byte
	for n := range 4 {
		k, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		ids, jws = append(ids, k.Public().ID), append(jws, signed(t, k, "{}"))
		old, made, err := Rotate(path, nil, noon.Add(time.Duration(n+1)*time.Hour))
		if err != nil || old.ID != k.Public().ID || made.ID == old.ID {
			t.Fatalf("%+v, %+v, %v", old, made, err)
		}
	}
	k, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Published(path, k)
	if err != nil || len(all) != 5 || all[0].ID != k.Public().ID || !all[0].Until.IsZero() || !all[0].Since.Equal(noon.Add(4*time.Hour)) {
		t.Fatalf("%+v, %v", all, err)
	}
	for n, id := range ids {
		p := all[len(all)-1-n] // the newest first
		if p.ID != id || !p.Since.Equal(noon.Add(time.Duration(n)*time.Hour)) || !p.Until.Equal(noon.Add(time.Duration(n+1)*time.Hour)) {
			t.Errorf("%d: %+v", n, p)
		}
		if _, by, err := Verify(jws[n], all); err != nil || by.ID != id {
			t.Errorf("%d: %v", n, err)
		}
	}
	left(t, path, 2)
}

// An interrupted rotation has written the public keys, and not the private one.
func TestAnInterruptedRotationLosesNothing(t *testing.T) {
	path := made(t)
	private, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, never, err := Rotate(path, nil, noon.Add(time.Hour))
	if err == nil {
		err = os.WriteFile(path, private, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Published(path, k)
	if err != nil || len(all) != 1 || all[0].ID != old.ID || !all[0].Until.IsZero() || !all[0].Since.Equal(noon) {
		t.Fatalf("%+v, %v", all, err)
	}
	if _, _, err := Rotate(path, nil, noon.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if k, err = Load(path); err != nil {
		t.Fatal(err)
	}
	all, err = Published(path, k)
	if err != nil || len(all) != 2 || all[1].ID != old.ID || !all[1].Until.Equal(noon.Add(2*time.Hour)) || all[0].ID == never.ID {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestANewKeyWhereTheOldOneWasLostKeepsItsPublicHalf(t *testing.T) {
	path := made(t)
	k, err := Load(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(path, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	now, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Published(path, now)
	if err != nil || len(all) != 2 || all[1].ID != k.Public().ID || !all[1].Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestAKeyThatWasMadeElsewhereTakesThePlace(t *testing.T) {
	path := made(t)
	next, err := Load(made(t))
	if err != nil {
		t.Fatal(err)
	}
	old, now, err := Rotate(path, next, noon.Add(time.Hour))
	if err != nil || now.ID != next.Public().ID || !now.Since.Equal(noon.Add(time.Hour)) {
		t.Fatalf("%+v, %+v, %v", old, now, err)
	}
	k, err := Load(path)
	if err != nil || k.Public().ID != now.ID {
		t.Fatalf("%v, %v", k, err)
	}
	if all, err := Published(path, k); err != nil || len(all) != 2 || all[1].ID != old.ID {
		t.Errorf("%+v, %v", all, err)
	}
	if _, _, err := Rotate(path, k, noon.Add(2*time.Hour)); err == nil {
		t.Error("a key takes its own place")
	}
}

func TestKeysThatCannotBeUsedSaySo(t *testing.T) {
	good, err := os.ReadFile(made(t))
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		mode os.FileMode
		want string
	}{
		"others can read it":    {good, 0o604, "others can read it"},
		"the group can change":  {good, 0o660, "change it"},
		"no PEM":                {[]byte("x"), 0o600, "not one PRIVATE KEY"},
		"two keys":              {append(bytes.Clone(good), good...), 0o600, "not one PRIVATE KEY"},
		"a public key":          {[]byte(pemOf(t, rfcKey(t).Public())), 0o600, "not one PRIVATE KEY"},
		"a key of another kind": {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600, "need Ed25519"},
		"a damaged key":         {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[:20]}), 0o600, "asn1"},
		"too much":              {bytes.Repeat([]byte("x"), maxPrivate+1), 0o600, "more than"},
	} {
		path := filepath.Join(t.TempDir(), "device.key")
		if err := os.WriteFile(path, test.data, test.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := Rotate(path, nil, noon); err == nil {
			t.Errorf("%s: it is replaced", name)
		}
		if _, err := Open(path, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: it is used", name)
		}
	}
	for name, path := range map[string]string{"absent": filepath.Join(t.TempDir(), "x"), "a folder": t.TempDir()} {
		var e *Error
		if _, err := Load(path); !errors.As(err, &e) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAGroupMayReadTheKeyAndStillMayAfterARotation(t *testing.T) {
	path := made(t)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Rotate(path, nil, noon); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o640 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestDamagedPublicKeysAreNotOverwritten(t *testing.T) {
	path := made(t)
	if err := os.WriteFile(path+PublicSuffix, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := Rotate(path, nil, noon)
	if err == nil || !strings.Contains(err.Error(), path+PublicSuffix) {
		t.Errorf("%v", err)
	}
	k, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Published(path, k)
	if err == nil || len(all) != 1 || all[0].ID != k.Public().ID {
		t.Errorf("%v, %v", all, err)
	}
	var log bytes.Buffer
	f, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || !strings.Contains(log.String(), "hint") {
		t.Fatalf("%v\n%s", err, &log)
	}
	if _, _, err := Verify(signedBy(t, f), f.Public()); err != nil {
		t.Error(err)
	}
}

func signedBy(t *testing.T, f *File) []byte {
	t.Helper()
	jws, err := f.Sign([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func TestAKeyThatIsReplacedIsUsedAtOnce(t *testing.T) {
	path := made(t)
	var log bytes.Buffer
	f, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	f.Changed(func() { changes++ })
	before := f.Public()
	first := signedBy(t, f)
	_, now, err := Rotate(path, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	second := signedBy(t, f)
	if _, by, err := Verify(second, f.Public()); err != nil || by.ID != now.ID {
		t.Errorf("%s, %v", by.ID, err)
	}
	if _, _, err := Verify(first, f.Public()); err != nil {
		t.Error(err)
	}
	if _, _, err := Verify(second, before); !errors.Is(err, ErrKey) {
		t.Errorf("%v", err)
	}
	// What can't be used changes nothing, and is said once.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, by, err := Verify(signedBy(t, f), f.Public()); err != nil || by.ID != now.ID {
			t.Errorf("%s, %v", by.ID, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	signedBy(t, f)
	signedBy(t, f)
	if n := strings.Count(log.String(), "level=WARN"); n != 2 || changes != 1 {
		t.Errorf("%d warnings, %d changes:\n%s", n, changes, &log)
	}
}

func FuzzKeyFile(f *testing.F) {
	der, err := x509.MarshalPKCS8PrivateKey(rfcKey(f).private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	path := filepath.Join(f.TempDir(), "device.key")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := Load(path)
		if (err == nil) != (k != nil) {
			t.Fatal(err)
		}
		if k != nil {
			if _, _, err := Verify(signed(t, k, "{}"), []Public{k.Public()}); err != nil {
				t.Error(err)
			}
		}
	})
}
