package mqtt

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestBrokerURLs(t *testing.T) {
	for in, want := range map[string]string{
		"mqtt://localhost":             "mqtt://localhost:1883",
		"mqtt://localhost/":            "mqtt://localhost:1883",
		"tcp://broker.example:1884":    "mqtt://broker.example:1884",
		"mqtts://broker.example":       "mqtts://broker.example:8883",
		"ssl://192.0.2.1:8884":         "mqtts://192.0.2.1:8884",
		"tls://broker.example":         "mqtts://broker.example:8883",
		"MQTT://localhost":             "mqtt://localhost:1883",
		"mqtt://[2001:db8::1]":         "mqtt://[2001:db8::1]:1883",
		"mqtt://[2001:db8::1]:65535":   "mqtt://[2001:db8::1]:65535",
		"":                             "",
		"localhost":                    "",
		"localhost:1883":               "",
		"//localhost":                  "",
		"mqtt://":                      "",
		"mqtt://:1883":                 "",
		"mqtt:localhost":               "",
		"http://localhost":             "",
		"ws://localhost":               "",
		"mqtt://localhost:0":           "",
		"mqtt://localhost:65536":       "",
		"mqtt://localhost:x":           "",
		"mqtt://localhost/topic":       "",
		"mqtt://localhost?x":           "",
		"mqtt://localhost#x":           "",
		"mqtt://lo calhost":            "",
		"mqtt://me:hunter2@localhost":  "",
		"mqtt://me:hunt#er2@localhost": "",
		"mqtt://me:hunt er2@localhost": "",
	} {
		e, err := parseURL(in)
		got := ""
		if err == nil {
			got = e.String()
		}
		if got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
		if err != nil && hint(err) == "" {
			t.Errorf("%q: no hint with %v", in, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunt") {
			t.Errorf("%q: the error tells the password: %v", in, err)
		}
	}
}

func FuzzBrokerURL(f *testing.F) {
	for _, s := range []string{"mqtt://localhost", "mqtts://[::1]:8883/", "tcp://a:b@c", "mqtt://%31/", "mqtt://[fe80::1%25eth0]:1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseURL(s)
		if err != nil {
			return
		}
		if again, err := parseURL(e.String()); err != nil || again != e {
			t.Fatalf("%q: %v, but its own text gives %v, %v", s, e, again, err)
		}
	})
}

func TestOptionsThatContradictEachOtherAreRefused(t *testing.T) {
	good := func() Options { return Options{URL: "mqtt://localhost", Device: "door-7"} }
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(o *Options){
		"no url":                   func(o *Options) { o.URL = "" },
		"no device":                func(o *Options) { o.Device = "" },
		"a device with a slash":    func(o *Options) { o.Device = "a/b" },
		"a prefix with a wildcard": func(o *Options) { o.Prefix = "a/+" },
		"a password without name":  func(o *Options) { o.PasswordFile = "x" },
		"a certificate alone":      func(o *Options) { o.URL, o.CertFile = "mqtts://localhost", "x" },
		"a key alone":              func(o *Options) { o.URL, o.KeyFile = "mqtts://localhost", "x" },
		"authorities without TLS":  func(o *Options) { o.CAFile = "x" },
		"a queue for less than 0":  func(o *Options) { o.QueueLimit = -1 },
		"a negative time-out":      func(o *Options) { o.Timeout = -1 },
		"a look before now":        func(o *Options) { o.Reload = -1 },
	} {
		o := good()
		change(&o)
		err := o.Check()
		if err == nil || hint(err) == "" || KindOf(err) != KindOptions {
			t.Errorf("%s: %v, %s, hint %q", name, err, KindOf(err), hint(err))
		}
		c, err2 := New(o)
		if err2 == nil {
			t.Errorf("%s: New took it", name)
			_ = c.Close(t.Context())
		}
	}
}

func TestWhatGoesInTheClearIsSaidOnce(t *testing.T) {
	for url, want := range map[string]bool{"mqtt://192.0.2.1": true, "mqtt://broker.example": true, "mqtts://192.0.2.1": false,
		"mqtt://localhost": false, "mqtt://127.0.0.2": false, "mqtt://[::1]": false} {
		for _, password := range []string{"", filepath.Join(t.TempDir(), "none")} {
			var log bytes.Buffer
			o := Options{URL: url, Others: []string{url}, Device: "door-7", PasswordFile: password, Log: slog.New(slog.NewTextHandler(&log, nil))}
			if password != "" {
				o.Username = "me"
			}
			c, err := o.prepare()
			if err != nil {
				t.Fatal(err)
			}
			c.exposed() // as New does, which would connect to whoever is there
			if got := strings.Count(log.String(), "in the clear"); got != 1 && want || got != 0 && !want {
				t.Errorf("%s: said %d times, want it: %v:\n%s", url, got, want, log.String())
			}
			if got := strings.Contains(log.String(), "read the password"); got != (want && password != "") {
				t.Errorf("%s: %v of the password:\n%s", url, got, log.String())
			}
		}
	}
	// And New does, once whatever becomes of the connection. The file isn't there, so that nobody is connected to.
	log := &journalOf{}
	p := newInsistent(5)
	start(t, Options{URL: "mqtt://192.0.2.1", Username: "me", PasswordFile: filepath.Join(t.TempDir(), "none"), Pause: p.pause, Log: log.logger()})
	take(t, "some attempts", p.done)
	if n := log.count("in the clear"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.b.String())
	}
}

func TestPasswordFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path, want string
		ok         bool
	}{
		"with a newline":           {write("a", "hunter2\n", 0o600), "hunter2", true},
		"without one":              {write("b", "hunter2", 0o400), "hunter2", true},
		"with spaces":              {write("c", " hunter 2 \n", 0o600), " hunter 2 ", true},
		"with two newlines":        {write("d", "hunter2\n\n", 0o600), "hunter2\n", true},
		"with Windows' newline":    {write("e", "hunter2\r\n", 0o600), "hunter2", true},
		"readable by the group":    {write("f", "hunter2", 0o640), "hunter2", true},
		"readable by everybody":    {write("g", "hunter2", 0o644), "", false},
		"readable by others alone": {write("h", "hunter2", 0o604), "", false},
		"writable by everybody":    {write("j", "hunter2", 0o602), "", false},
		"missing":                  {filepath.Join(dir, "none"), "", false},
		"a folder":                 {dir, "", false},
		"a pipe nobody writes to":  {pipe, "", false},
		"a big file":               {write("i", strings.Repeat("x", 5000), 0o600), "", false},
		"none":                     {"", "", true},
	} {
		got, err := credentials{passwordFile: test.path}.password()
		if (err == nil) != test.ok || got != test.want {
			t.Errorf("%s: %q, %v; want %q, fine: %v", name, got, err, test.want, test.ok)
		}
		if err != nil && (hint(err) == "" || strings.Contains(err.Error(), "hunter")) {
			t.Errorf("%s: %v, hint %q", name, err, hint(err))
		}
	}
}
