package command

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/sign"
)

func TestKeysAreMadeShownAndReplaced(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	file := filepath.Join(state, "device.key")
	flag := withConfig(t, "device: door-7\nstate: "+state+"\n")
	one := func(args ...string) keysOutput {
		t.Helper()
		r := call(t, append(args, "--json", flag)...)
		all := objects[keysOutput](t, r.out)
		if r.code != ExitOK || len(all) != 1 || r.errors != "" {
			t.Fatalf("%v: exit code %d: %s%s", args, r.code, r.out, r.errors)
		}
		return all[0]
	}
	if r := call(t, "keys", "show", flag); r.code != ExitConfig || !strings.Contains(r.errors, file) || !strings.Contains(r.errors, "→ make one with livenessd keys generate") {
		t.Errorf("without a key, exit code %d: %s", r.code, r.errors)
	}
	if r := call(t, "keys", "rotate", flag); r.code != ExitConfig || r.out != "" {
		t.Errorf("without a key, exit code %d: %s", r.code, r.errors)
	}
	first := one("keys", "generate")
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o600 || first.File != file || first.Device != "door-7" {
		t.Errorf("%+v, %v", first, err)
	}
	if r := call(t, "keys", "generate", flag); r.code != ExitOther || !strings.Contains(r.errors, "there is a key already") || !strings.Contains(r.errors, "→") || r.out != "" {
		t.Errorf("again, exit code %d: %s%s", r.code, r.out, r.errors)
	}
	shown := one("keys", "show")
	if shown.ID != first.ID || len(shown.Keys) != 1 || shown.Keys[0].Since.IsZero() || shown.PublicKey != first.PublicKey {
		t.Errorf("%+v", shown)
	}
	second := one("keys", "rotate")
	if second.Replaced != first.ID || second.ID == first.ID || len(second.Keys) != 2 || second.Keys[1].ID != first.ID || second.Keys[1].Until.IsZero() {
		t.Errorf("%+v", second)
	}
	// One that was made beforehand.
	if err := os.MkdirAll(filepath.Join(state, "next"), 0o700); err != nil {
		t.Fatal(err)
	}
	next := call(t, "keys", "generate", "--json", withConfig(t, "state: "+filepath.Join(state, "next")+"\n"))
	third := one("keys", "rotate", "--next", filepath.Join(state, "next", "device.key"))
	if want := objects[keysOutput](t, next.out)[0].ID; third.ID != want || third.Replaced != second.ID || len(third.Keys) != 3 {
		t.Errorf("%+v, want %s", third, want)
	}
	second = third
	// What it prints is what those who verify take.
	r := call(t, "keys", "show", "--json", flag)
	if keys, err := sign.ParsePublic([]byte(r.out)); err != nil || len(keys) != 3 || keys[0].ID != second.ID {
		t.Errorf("%v, %v", keys, err)
	}
	r = call(t, "keys", "show", flag)
	private, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"key id      " + second.ID, "public key  " + second.PublicKey, `JWK         {"kty":"OKP"`, "replaced    " + first.ID} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	if secret := strings.Split(string(private), "\n")[1]; strings.Contains(r.out, secret[len(secret)-40:]) {
		t.Error("it prints the private key")
	}
}

func TestKeysThatCannotBeUsedStopTheDaemon(t *testing.T) {
	state := t.TempDir()
	file := filepath.Join(state, "device.key")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"in the usual place":          {"state: " + state + "\n", file},
		"that is named":               {"state: " + t.TempDir() + "\nsigning: {key_file: " + file + "}\n", file},
		"that is named and is absent": {"state: " + t.TempDir() + "\nsigning: {key_file: /nonexistent/key}\n", "/nonexistent/key"},
	} {
		for _, args := range []string{"check", "run"} {
			if args == "run" {
				needRuntime(t)
			}
			r := call(t, args, withConfig(t, test.text))
			if r.code != ExitConfig || !strings.Contains(r.errors, "read the device key "+test.want) || !strings.Contains(r.errors, "→") {
				t.Errorf("%s, %s: exit code %d: %s", name, args, r.code, r.errors)
			}
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	r := call(t, "keys", "show", withConfig(t, "state: "+state+"\n"))
	if r.code != ExitConfig || !strings.Contains(r.errors, "others can read it") || !strings.Contains(r.errors, "chmod 600") {
		t.Errorf("exit code %d: %s", r.code, r.errors)
	}
}

func TestACredentialIsTheKey(t *testing.T) {
	state := t.TempDir()
	made := call(t, "keys", "generate", "--json", withConfig(t, "state: "+state+"\n"))
	t.Setenv("CREDENTIALS_DIRECTORY", state)
	r := call(t, "keys", "show", "--json", withConfig(t, "state: "+t.TempDir()+"\n"))
	if r.code != ExitOK || objects[keysOutput](t, r.out)[0].ID != objects[keysOutput](t, made.out)[0].ID {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
}

func TestRunSignsItsVerdicts(t *testing.T) {
	needRuntime(t)
	folder, b, received := listening(t, "live-1.jpg")
	file := write(t, "livenessd.yaml", "device: door-7\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\nstate: "+t.TempDir()+"\n"+
		"decision: {mode: on_request, live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: \""+b.URL()+"\"}\n")
	keys := func(args ...string) keysOutput {
		t.Helper()
		r := call(t, append(args, "--json", "--config", file)...)
		if r.code != ExitOK {
			t.Fatalf("exit code %d: %s", r.code, r.errors)
		}
		return objects[keysOutput](t, r.out)[0]
	}
	first := keys("keys", "generate")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log buffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: &buffer{}, Stderr: &log})
	}()
	await(t, received, "info with the key", func(m mqtt.Received) bool {
		var i mqtt.Info
		return m.Topic == "livenessd/door-7/info" && json.Unmarshal(m.Payload, &i) == nil && len(i.Keys) == 1 && i.Keys[0].Kid == first.ID
	})
	await(t, received, "frames", func(m mqtt.Received) bool { return strings.Contains(string(m.Payload), `"streaming"`) })
	verdict := func(transaction, by string, keys []sign.Public) {
		t.Helper()
		if err := b.Publish("livenessd/door-7/request/session",
			[]byte(`{"transaction":"`+transaction+`","application":"default","purpose":"authentication","nonce":"n-`+transaction+`"}`), false); err != nil {
			t.Fatal(err)
		}
		m := await(t, received, "a signed verdict", func(m mqtt.Received) bool { return m.Topic == "livenessd/door-7/verdict/jws" })
		payload, k, err := sign.Verify(m.Payload, keys)
		if err != nil || k.ID != by {
			t.Fatalf("%v, by %s and not %s\n%s", err, k.ID, by, &log)
		}
		v, err := mqtt.ParseVerdict(payload)
		if err != nil || v.Session == nil || v.Session.Nonce != "n-"+transaction || v.Verdict != mqtt.Live {
			t.Errorf("%s, %v", payload, err)
		}
		same := await(t, received, "the same unsigned", func(m mqtt.Received) bool { return m.Topic == "livenessd/door-7/camera/front/verdict" })
		if string(same.Payload) != string(payload) {
			t.Errorf("signed\n%s\nand not\n%s", payload, same.Payload)
		}
	}
	verdict("t1", first.ID, first.Keys)
	second := keys("keys", "rotate")
	verdict("t2", second.ID, second.Keys)
	await(t, received, "info with both keys", func(m mqtt.Received) bool {
		var i mqtt.Info
		return m.Topic == "livenessd/door-7/info" && json.Unmarshal(m.Payload, &i) == nil && len(i.Keys) == 2 && i.Keys[0].Kid == second.ID && i.Keys[1].Kid == first.ID
	})
	stop()
	select {
	case c := <-code:
		if c != ExitOK || !strings.Contains(log.String(), "verdicts are signed") {
			t.Errorf("exit code %d:\n%s", c, &log)
		}
	case <-time.After(patience):
		t.Fatal("it doesn't stop")
	}
}
