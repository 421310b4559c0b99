package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/livenessd/livenessd/mqtt"
)

func TestSecretsAreTakenOut(t *testing.T) {
	s := &Secrets{}
	s.add("hunter2\n")
	for _, tt := range []struct{ name, text, want string }{
		{"what a secret file says", "login with hunter2 failed", "login with [redacted] failed"},
		{"a password in a log", `level=INFO password=tops3cret user=u`, `level=INFO password=[redacted] user=u`},
		{"in JSON", `{"password":"a b c","x":1}`, `{"password":"[redacted]","x":1}`},
		{"with quotation marks in it", `{"password":"a'b\"c","subject":"x \"y\" z"}`, `{"password":"[redacted]","subject":"[redacted]"}`},
		{"in a line that is cut off", "password=\"abc\\\nnext", "password=\"[redacted]\"\nnext"},
		{"in YAML", "api_key: abc", "api_key: [redacted]"},
		{"a bearer", "Authorization: Bearer abc.def", "Authorization: [redacted]"},
		{"in a URL", "mqtt://u:secret@host:1883", "mqtt://[redacted]@host:1883"},
		{"a key", "x\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\ny", "x\n[redacted]\ny"},
		{"a key that is cut off", "-----BEGIN EC PRIVATE KEY-----\nMIIE", "[redacted]"},
		{"a signed verdict", "jws eyJhbGciOiJFZERTQSJ9.eyJhIjoxfQ.c2ln.", "jws [redacted]."},
		{"a person", `subject=u1 nonce=n-1 "subject":"Jane Doe"`, `subject=[redacted] nonce=[redacted] "subject":"[redacted]"`},
		{"a picture in text", strings.Repeat("QUJD", 50) + "==", "[redacted]"},
		{"bytes", "a\nb\x00\xff\nc", "a\n[redacted: not text]\nc"},
		{"colours", "\x1b[31mb", "[31mb"},
		{"what is none", "password_file: /etc/livenessd/password", "password_file: /etc/livenessd/password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.Redact(tt.text); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("password=", "hunter2")
	f.Add("eyJ", "a.b")
	f.Fuzz(func(t *testing.T, text, secret string) {
		s := &Secrets{}
		s.add(secret)
		got := s.Redact(text + secret)
		for _, k := range s.known {
			if strings.Contains(got, k) && !strings.Contains(redacted, k) {
				t.Errorf("%q is in %q", k, got)
			}
		}
	})
}

func FuzzRedactQuoted(f *testing.F) {
	f.Add("hunter2")
	f.Add(`a"b'c\d`)
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) {
			return
		}
		b, err := json.Marshal(map[string]string{"password": value, "x": "y"})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := (&Secrets{}).Redact(string(b)), `{"password":"[redacted]","x":"y"}`; got != want && !strings.Contains(got, "not text") {
			t.Errorf("%s becomes %s", b, got)
		}
	})
}

// Secrets and pictures are planted wherever a bundle looks, and beside it, and its bytes are searched.
func TestABundleHasNoSecretAndNoPicture(t *testing.T) {
	picture, err := os.ReadFile("../../models/golden/live-1.jpg")
	if err != nil {
		t.Fatal(err)
	}
	key := "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
	m := aMachine(t, map[string]string{
		"etc/password": "correct horse battery\n", "etc/key.pem": "-----BEGIN PRIVATE KEY-----\n" + key + "\n-----END PRIVATE KEY-----\n", "etc/cert.pem": "x",
		"state/last.jpg": string(picture), "proc/version": "Linux version 6.1.0\n", "etc/os-release": "ID=debian\n",
		"proc/77/comm":              "livenessd",
		"run/livenessd/status.json": `{"pid":77,"trouble":{"error":"login with correct horse battery failed"},"token":"planted-token-1"}`,
	})
	m.says["systemctl show"] = active
	m.says["systemctl cat"] = "[Service]\nEnvironment=PASSWORD=planted-unit\nExecStart=/usr/bin/livenessd run\n"
	m.says["journalctl --no-pager --quiet --output=short-iso"] = "ready\nmqtt: user door password=planted-journal\nmqtt://door:planted-url@broker\n" +
		"Authorization: Bearer planted.bearer\ncorrect horse battery\n" + key + "\n" + base64.StdEncoding.EncodeToString(picture) + "\n" + string(picture) + "\nsubject=planted-person\n"
	m.says["journalctl --no-pager --quiet --dmesg"] = "usb 1-2: new high-speed USB device\nsecret=planted-kernel usb\n"
	m.says["journalctl --no-pager --quiet --output=cat"] = "livenessd: broke with correct horse battery\n"
	p := m.patient(t, "# planted-comment\nstate: ROOT/state\nmqtt: {url: 'mqtts://broker', username: door, password_file: ROOT/etc/password, cert_file: ROOT/etc/cert.pem, key_file: ROOT/etc/key.pem}\n")
	if p.Problem != nil {
		t.Fatal(p.Problem)
	}
	p.Subscribe = func(context.Context, mqtt.SubscribeOptions) (<-chan mqtt.Received, error) {
		c := make(chan mqtt.Received, 8)
		defer close(c)
		c <- mqtt.Received{Topic: "livenessd/lab/availability", Payload: []byte("online"), Retained: true}
		c <- mqtt.Received{Topic: "livenessd/lab/info", Payload: []byte(`{"version":"1.2.3","token":"planted-at-the-broker"}`), Retained: true}
		c <- mqtt.Received{Topic: "livenessd/lab/camera/front/verdict", Payload: []byte(`{"verdict":"planted-verdict"}`)}
		return c, nil
	}
	r := Report{Version: "1.2.3", At: m.Now(), Findings: []Finding{failure(Other, "look at correct horse battery", "login with correct horse battery failed")}}
	var archive bytes.Buffer
	if err := p.Bundle(t.Context(), &archive, r); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(archive.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	forbidden := []string{"correct horse", key, "planted", string(picture[:32]), string(picture[len(picture)/2 : len(picture)/2+16]), "\xff\xd8\xff",
		base64.StdEncoding.EncodeToString(picture)[100:160], "JFIF"}
	for _, f := range forbidden {
		if bytes.Contains(plain, []byte(f)) || bytes.Contains(archive.Bytes(), []byte(f)) {
			t.Errorf("%q is in the bundle", f)
		}
	}
	var names []string
	files := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(h.Name, "livenessd-doctor/")
		names, files[name] = append(names, name), string(b)
	}
	want := []string{"doctor.txt", "doctor.json", "versions.txt", "configuration.yaml", "cameras.json", "documents.json", "status.json", "unit.txt", "journal.txt", "kernel.txt"}
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	// What helps is there.
	for name, want := range map[string]string{"doctor.txt": "login with [redacted] failed", "versions.txt": "livenessd 1.2.3", "configuration.yaml": "username: door",
		"unit.txt": "ExecStart=/usr/bin/livenessd run", "journal.txt": "ready", "kernel.txt": "new high-speed USB device", "documents.json": `"livenessd/lab/availability": "online"`} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, files[name])
		}
	}
}

func TestABundleIsItsOwnersAlone(t *testing.T) {
	m := aMachine(t, nil)
	p := m.patient(t, "{}")
	p.Subscribe = func(context.Context, mqtt.SubscribeOptions) (<-chan mqtt.Received, error) {
		return nil, errors.New("away")
	}
	path := m.root + "/bundle.tar.gz"
	if err := p.WriteBundle(t.Context(), path, Report{At: m.Now()}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := p.WriteBundle(t.Context(), m.root+"/none/x", Report{}); err == nil {
		t.Error("a folder that isn't there is no error")
	}
}
