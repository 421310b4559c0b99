package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	network "net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/console"
)

// freeAddress is one that nobody listens on just now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := network.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestTheLinkOfTheCommandLogsInAtTheDaemon(t *testing.T) {
	needRuntime(t)
	folder, state, at := t.TempDir(), t.TempDir(), freeAddress(t)
	still, err := os.ReadFile(picture("live-1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "1.jpg"), still, 0o600); err != nil {
		t.Fatal(err)
	}
	file := write(t, "livenessd.yaml", "device: door-7\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\nstate: "+state+"\nmqtt: {url: \"mqtt://127.0.0.1:1\"}\nconsole: {listen: "+at+"}\n")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log buffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file}, Stdout: io.Discard, Stderr: &log, Version: "1.2.3-test"})
	}()
	defer func() {
		stop()
		if c := <-code; c != ExitOK {
			t.Errorf("exit code %d:\n%s", c, &log)
		}
	}()
	var out, said bytes.Buffer
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out.Reset()
		said.Reset()
		if c := Main(ctx, Process{Args: []string{"console", "--config", file, "--json"}, Stdout: &out, Stderr: &said}); c == ExitOK {
			break
		} else if time.Now().After(end) {
			t.Fatalf("exit code %d: %s\n%s", c, &said, &log)
		}
	}
	var link consoleLink
	if err := json.Unmarshal(out.Bytes(), &link); err != nil || link.Role != console.Admin || !link.Expires.After(time.Now()) {
		t.Fatalf("%v: %s", err, &out)
	}
	u, err := url.Parse(link.URL)
	if err != nil || u.Host != at || u.Scheme != "http" {
		t.Fatalf("%v: %s", err, link.URL)
	}
	body, err := json.Marshal(map[string]string{"link": strings.TrimPrefix(u.Fragment, "link=")})
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + at
	login, err := http.NewRequestWithContext(ctx, "POST", base+"/api/session", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	login.Header.Set("Content-Type", "application/json")
	login.Header.Set("Origin", base)
	a, err := http.DefaultClient.Do(login)
	if err != nil || a.StatusCode != http.StatusOK || len(a.Cookies()) != 1 {
		t.Fatalf("%v: %+v", err, a)
	}
	a.Body.Close()
	// The page knows of the daemon behind it.
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		r, err := http.NewRequestWithContext(ctx, "GET", base+"/api/state", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(a.Cookies()[0])
		s, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(s.Body)
		s.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"phase":"ready"`) && strings.Contains(string(text), `"state":"streaming"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the state is %s\n%s", text, &log)
		}
	}
	token, err := os.ReadFile(filepath.Join(state, console.TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), strings.TrimSpace(string(token))) || strings.Contains(log.String(), u.Fragment) {
		t.Errorf("the log has a secret:\n%s", &log)
	}
}

func TestConsoleSaysWhyThereIsNoLink(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, console.TokenFile), []byte("a-token-of-the-tests-alone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config string
		code   int
		says   string
	}{
		"it is off":                  {"console: {listen: off}", ExitConfig, "console: it is off"},
		"nobody answers":             {"state: " + state + "\nconsole: {listen: " + freeAddress(t) + "}", ExitUnavailable, "console: nobody answers"},
		"there is no token":          {"state: " + t.TempDir(), ExitConfig, "no such file"},
		"the token file isn't there": {"console: {token_file: /none/such}", ExitConfig, "read the token /none/such: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, said bytes.Buffer
			if c := Main(t.Context(), Process{Args: []string{"console", "--config", write(t, "c.yaml", tt.config+"\n")}, Stdout: &out, Stderr: &said}); c != tt.code {
				t.Errorf("exit code %d: %s", c, &said)
			}
			if !strings.Contains(said.String(), tt.says) || !strings.Contains(said.String(), "→") || out.Len() > 0 {
				t.Errorf("%s%s", &out, &said)
			}
		})
	}
}

func TestAConsoleLinkIsShownToPhones(t *testing.T) {
	l, err := network.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := write(t, "c.yaml", "state: "+t.TempDir()+"\nconsole: {listen: "+l.Addr().String()+", token_file: "+write(t, "token", "a-token-of-the-tests-alone\n")+"}\n")
	var out, said bytes.Buffer
	if c := Main(t.Context(), Process{Args: []string{"console", "--config", file, "--qr", "--view"}, Stdout: &out, Stderr: &said}); c != ExitOK {
		t.Fatalf("exit code %d: %s", c, &said)
	}
	if !strings.HasPrefix(out.String(), "http://"+l.Addr().String()+"/#link=") || strings.Count(out.String(), "█") < 100 {
		t.Errorf("got\n%s", &out)
	}
	if !strings.Contains(said.String(), "may look.") || !strings.Contains(said.String(), "ssh -L") {
		t.Errorf("said %s", &said)
	}
}

func TestAChangeOfThePageIsWrittenAfterAQuestion(t *testing.T) {
	state := t.TempDir()
	text := "device: door-8\nstate: " + state + "\n"
	file := write(t, "livenessd.yaml", "device: door-7\nstate: "+state+"\n")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(before)
	b, err := json.Marshal(console.Proposal{At: time.Now(), Digest: hex.EncodeToString(sum[:]), Text: text})
	if err != nil {
		t.Fatal(err)
	}
	proposal := filepath.Join(state, console.ProposalFile)
	if err := os.WriteFile(proposal, b, 0o600); err != nil {
		t.Fatal(err)
	}
	apply := func(answer string, args ...string) (int, string) {
		var said bytes.Buffer
		root := (&app{Process: Process{Stdout: io.Discard, Stderr: &said}}).root()
		root.SetArgs(append([]string{"console", "--apply", "--config", file}, args...))
		root.SetIn(strings.NewReader(answer))
		err := root.ExecuteContext(t.Context())
		if err != nil {
			return exitCode(err), said.String() + err.Error()
		}
		return ExitOK, said.String()
	}
	now := func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if code, said := apply("n\n"); code != ExitOK || !strings.Contains(said, "- device: door-7\n+ device: door-8\n") || now() != string(before) {
		t.Errorf("no: %d %s", code, said)
	}
	if code, said := apply("y\n"); code != ExitOK || !strings.Contains(said, "livenessd restart") || now() != text {
		t.Errorf("yes: %d %s", code, said)
	}
	if code, said := apply("", "--yes"); code == ExitOK || !strings.Contains(said, "no such file") {
		t.Errorf("again: %d %s", code, said)
	}
	if code, said := apply("", "--qr"); code != ExitUsage {
		t.Errorf("with --qr: %d %s", code, said)
	}
}

func TestTheAddressesOfTheConsoleAreThoseOfBrowsers(t *testing.T) {
	for _, tt := range []struct {
		listen string
		hosts  []string
		want   string // the first
	}{
		{"127.0.0.1:8470", []string{"door-7"}, "127.0.0.1"},
		{"[::1]:8470", nil, "::1"},
		{"192.0.2.7:8470", nil, "192.0.2.7"},
		{"192.0.2.7:8470", []string{"door-7"}, "door-7"},
		{"0.0.0.0:8470", []string{"door-7", "door-7.example.org"}, "door-7"},
	} {
		got := consoleHosts(config.Console{Listen: tt.listen, Hosts: tt.hosts}, netip.MustParseAddrPort(tt.listen))
		if len(got) == 0 || got[0] != tt.want {
			t.Errorf("%s with %v: %v", tt.listen, tt.hosts, got)
		}
	}
	if got := consoleHosts(config.Console{}, netip.MustParseAddrPort("0.0.0.0:8470")); len(got) == 0 || got[0] == "0.0.0.0" || got[0] == "127.0.0.1" {
		t.Errorf("everywhere: %v", got)
	}
}
