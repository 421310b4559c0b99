package sign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"
)

// rfcKey is the key of RFC 8037, appendix A.
func rfcKey(t testing.TB) *Key {
	t.Helper()
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func otherKey(t testing.TB, seed byte) *Key {
	t.Helper()
	k, err := NewKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signed(t testing.TB, k *Key, payload string) []byte {
	t.Helper()
	jws, err := k.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func TestAKeyIsNamedByItsThumbprint(t *testing.T) {
	p := rfcKey(t).Public()
	if p.ID != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" || p.X() != "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" {
		t.Errorf("%s, %s", p.ID, p.X()) // as the RFC says
	}
}

func TestWhatIsSignedIsTheBytesThatWereGiven(t *testing.T) {
	k := rfcKey(t)
	const payload = "{\"a\": 1}\n"
	jws := signed(t, k, payload)
	header, err := base64.RawURLEncoding.DecodeString(strings.Split(string(jws), ".")[0])
	if err != nil || string(header) != `{"alg":"EdDSA","kid":"`+k.Public().ID+`","typ":"livenessd-verdict+jws"}` {
		t.Errorf("header %s, %v", header, err)
	}
	got, by, err := Verify(jws, []Public{otherKey(t, 1).Public(), k.Public()})
	if err != nil || string(got) != payload || by.ID != k.Public().ID {
		t.Errorf("%q by %s, %v", got, by.ID, err)
	}
}

// Each byte in turn becomes each other one that base64url has, and some that it hasn't.
func TestNoByteCanBeAltered(t *testing.T) {
	k := rfcKey(t)
	jws := signed(t, k, `{"verdict":"spoof"}`)
	keys := []Public{k.Public()}
	for at := range jws {
		altered := bytes.Clone(jws)
		for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/\n\r \x00\xff") {
			if altered[at] = b; altered[at] == jws[at] {
				continue
			}
			if payload, _, err := Verify(altered, keys); err == nil {
				t.Fatalf("byte %d as %q: passes with %s", at, rune(b), payload)
			}
		}
		for _, more := range []string{"\n", "\r", "=", "A", " "} {
			longer := append(append(bytes.Clone(jws[:at]), more...), jws[at:]...)
			if _, _, err := Verify(longer, keys); err == nil {
				t.Fatalf("%q before byte %d passes", more, at)
			}
		}
		if _, _, err := Verify(jws[:at], keys); err == nil {
			t.Fatalf("%d bytes pass", at)
		}
	}
}

func TestVerifySaysWhatIsWrong(t *testing.T) {
	k, other := rfcKey(t), otherKey(t, 1)
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	forge := func(header string) []byte { // with the right signature for a wrong header
		text := part(header) + "." + part("{}")
		return []byte(text + "." + part(string(ed25519.Sign(k.private, []byte(text)))))
	}
	id := k.Public().ID
	parts := strings.Split(string(signed(t, other, "{}")), ".")
	posing := strings.Join([]string{strings.Split(string(signed(t, k, "{}")), ".")[0], parts[1], parts[2]}, ".")
	for name, test := range map[string]struct {
		jws  []byte
		want error
	}{
		"nothing":                  {nil, ErrForm},
		"no JWS":                   {[]byte("{}"), ErrForm},
		"a JWS in JSON":            {[]byte(`{"payload":"e30","signatures":[]}`), ErrForm},
		"without end":              {bytes.Repeat([]byte("A"), MaxJWS+1), ErrForm},
		"another key":              {signed(t, other, "{}"), ErrKey},
		"another key under its id": {[]byte(posing), ErrSignature},
		"no algorithm":             {[]byte(part(`{"alg":"none","kid":"`+id+`","typ":"livenessd-verdict+jws"}`) + "." + part("{}") + "."), ErrForm},
		"HMAC":                     {forge(`{"alg":"HS256","kid":"` + id + `","typ":"livenessd-verdict+jws"}`), ErrForm},
		"another type":             {forge(`{"alg":"EdDSA","kid":"` + id + `","typ":"JWT"}`), ErrForm},
		"no type":                  {forge(`{"alg":"EdDSA","kid":"` + id + `"}`), ErrForm},
		"no key":                   {forge(`{"alg":"EdDSA","typ":"livenessd-verdict+jws"}`), ErrKey},
		"what must be understood":  {forge(`{"alg":"EdDSA","crit":["x"],"x":1,"kid":"` + id + `","typ":"livenessd-verdict+jws"}`), ErrSignature},
	} {
		_, _, err := Verify(test.jws, []Public{k.Public()})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Verify(forge(`{"alg":"EdDSA","kid":"`+id+`","typ":"livenessd-verdict+jws"}`), []Public{k.Public()}); err != nil {
		t.Errorf("what the others differ from: %v", err)
	}
	if _, _, err := Verify(signed(t, k, "{}"), nil); !errors.Is(err, ErrKey) {
		t.Errorf("without keys: %v", err)
	}
}

func pemOf(t testing.TB, p Public) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestPublicKeysAreReadInEachForm(t *testing.T) {
	a, b := rfcKey(t).Public(), otherKey(t, 1).Public()
	b.Since, b.Until = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), time.Date(2026, 2, 2, 3, 4, 5, 0, time.UTC)
	text := func(v any) string {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if s := text(b); !strings.Contains(s, `"since":"2026-01-02T03:04:05.006Z","until":"2026-02-02T03:04:05.000Z"`) {
		t.Error(s)
	}
	bare := `{"kty":"OKP","crv":"Ed25519","x":"` + a.X() + `"}`
	for name, test := range map[string]struct {
		text string
		want []Public
	}{
		"base64":               {a.Base64() + "\n", []Public{a}},
		"a JWK":                {text(a), []Public{a}},
		"a bare JWK":           {bare, []Public{a}},
		"a JWK with its times": {text(b), []Public{b}},
		"a set":                {text(map[string]any{"keys": []Public{a, b}, "device": "door-7"}), []Public{a, b}},
		"PEM":                  {pemOf(t, a) + pemOf(t, otherKey(t, 1).Public()), []Public{a, otherKey(t, 1).Public()}},
	} {
		got, err := ParsePublic([]byte(test.text))
		if err != nil || text(got) != text(test.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	private, err := x509.MarshalPKCS8PrivateKey(rfcKey(t).private)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"nothing":             {"", "neither"},
		"an id":               {a.ID, "nothing can be verified with an id"},
		"a private JWK":       {strings.TrimSuffix(bare, "}") + `,"d":"x"}`, "private key"},
		"a private key":       {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "private key"},
		"another id":          {strings.TrimSuffix(bare, "}") + `,"kid":"` + b.ID + `"}`, "not the key's thumbprint"},
		"another curve":       {strings.Replace(bare, "Ed25519", "X25519", 1), "need OKP and Ed25519"},
		"another use of it":   {strings.TrimSuffix(bare, "}") + `,"alg":"ES256"}`, "need EdDSA"},
		"a short key":         {strings.Replace(bare, a.X(), "AAAA", 1), "3 bytes"},
		"bits that are spare": {strings.Replace(bare, a.X(), a.X()[:42]+"p", 1), "base64url"},
		"a set of nothing":    {`{"keys":[]}`, "need OKP"},
		"a certificate":       {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "CERTIFICATE"},
		"too many":            {text(map[string]any{"keys": slicesOf(a, maxKeys+1)}), "101 keys"},
		"too much":            {strings.Repeat("A", maxText+1), "more than"},
	} {
		_, err := ParsePublic([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		var e *Error
		if !errors.As(err, &e) || e.Hint() == "" {
			t.Errorf("%s: no hint in %v", name, err)
		}
	}
}

func slicesOf(p Public, n int) []Public {
	var all []Public
	for range n {
		all = append(all, p)
	}
	return all
}

func FuzzVerify(f *testing.F) {
	k := rfcKey(f)
	good := signed(f, k, `{"verdict":"live"}`)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("..."))
	f.Add([]byte("e30.e30.e30"))
	f.Fuzz(func(t *testing.T, jws []byte) {
		payload, by, err := Verify(jws, []Public{k.Public()})
		if (err == nil) != bytes.Equal(jws, good) {
			t.Errorf("%q gives %q by %s, %v", jws, payload, by.ID, err)
		}
	})
}

func FuzzParsePublic(f *testing.F) {
	p := rfcKey(f).Public()
	j, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(p.Base64()))
	f.Add(j)
	f.Add([]byte(`{"keys":[` + string(j) + `]}`))
	f.Add([]byte(pemOf(f, p)))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParsePublic(text)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if again, err := newPublic(k.Key); err != nil || again.ID != k.ID {
				t.Errorf("%s is %s, %v", k.ID, again.ID, err)
			}
		}
	})
}

// verdictSize is about how long a verdict's document is.
const verdictSize = 800

func BenchmarkSign(b *testing.B) {
	k := rfcKey(b)
	payload := bytes.Repeat([]byte("x"), verdictSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Sign(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	k := rfcKey(b)
	jws := signed(b, k, strings.Repeat("x", verdictSize))
	keys := []Public{k.Public()}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Verify(jws, keys); err != nil {
			b.Fatal(err)
		}
	}
}
