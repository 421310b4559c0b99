package command

import (
	"context"
	"encoding/json"
	"io"
	sockets "net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon/metrics"
	"github.com/livenessd/livenessd/mqtt"
)

// vacant is an address of the loopback that nobody listens at.
func vacant(t *testing.T) string {
	t.Helper()
	l, err := sockets.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// fetch asks until the answer is as it should be, and gives it.
func fetch(t *testing.T, url string, enough func(code int, body string) bool) string {
	t.Helper()
	client := &http.Client{Timeout: patience}
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		code, body := 0, ""
		if res, err := client.Get(url); err == nil {
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil {
				code, body = res.StatusCode, string(b)
			}
		}
		if enough(code, body) {
			return body
		}
		if time.Now().After(until) {
			t.Fatalf("%s: %d %s", url, code, body)
		}
	}
}

func TestRunShowsFiguresAndHealth(t *testing.T) {
	needRuntime(t)
	folder, b, received := listening(t, "live-1.jpg")
	at, profiles, page := vacant(t), vacant(t), vacant(t)
	token := write(t, "token", "0123456789abcdef\n")
	if err := os.Chmod(token, 0o600); err != nil {
		t.Fatal(err)
	}
	file := write(t, "livenessd.yaml", "device: door-7\ncameras: {front: {path: \"replay:"+folder+"\", fps: 20}}\nstate: "+t.TempDir()+"\n"+
		"decision: {live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: \""+b.URL()+"\"}\nmetrics: {listen: \""+at+"\"}\n"+
		"console: {listen: \""+page+"\", token_file: \""+token+"\"}\n")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log buffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", file, "--pprof", profiles}, Stdout: &log, Stderr: &log, Version: "1.2.3-test"})
	}()
	ready := fetch(t, "http://"+at+"/readyz", func(code int, _ string) bool { return code == http.StatusOK })
	var r metrics.Readiness
	if err := json.Unmarshal([]byte(ready), &r); err != nil || !r.Ready || len(r.Checks) != 4 || !strings.HasPrefix(r.Checks[3].Seen, "streaming") {
		t.Errorf("%s, %v", ready, err)
	}
	fetch(t, "http://"+at+"/healthz", func(code int, body string) bool { return code == http.StatusOK && body == "ok\n" })
	await(t, received, "verdict", func(m mqtt.Received) bool { return m.Topic == "livenessd/door-7/camera/front/verdict" })
	scrape := fetch(t, "http://"+at+"/metrics", func(code int, body string) bool {
		return code == http.StatusOK && strings.Contains(body, "\nlivenessd_verdicts_acknowledged_total 1\n")
	})
	for _, line := range []string{
		`livenessd_build_info{goarch="`, `livenessd_device_info{device="door-7"} 1`, "livenessd_ready 1", "livenessd_broker_connected 1", `livenessd_phase{phase="ready"} 1`,
		`livenessd_camera_state{camera="front",state="streaming"} 1`, `livenessd_camera_last_frame_timestamp_seconds{camera="front"} 1.`, `livenessd_camera_frame_rate_hertz{camera="front"} 20`,
		`livenessd_model_info{name="livenessd-liveness",`, "livenessd_journal_on_disk 1", `livenessd_verdicts_total{camera="front",code="",verdict="live"} 1`, `livenessd_verdicts_total{camera="front",code="PAD_ATTACK",verdict="spoof"} 0`,
		`livenessd_examined_frames_total{camera="front",result="failed"} 0`, `livenessd_frame_stage_duration_seconds_count{camera="front",stage="judge"} `,
		`livenessd_verdict_duration_seconds_count{camera="front"} 1`, `livenessd_verdict_delivery_duration_seconds_count{step="journaled"} 1`, "livenessd_journal_verdicts 0", "livenessd_journal_max_verdicts 5000",
	} {
		if !strings.Contains(scrape, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	program := os.Getenv("LIVENESSD_PROMTOOL")
	if _, err := os.Stat(program); err == nil { // Prometheus's own opinion; make unit brings it
		check := exec.Command(program, "check", "metrics")
		check.Stdin = strings.NewReader(scrape)
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
	// The console has them, too: in a word for everybody, in full for its token.
	fetch(t, "http://"+page+"/readyz", func(code int, body string) bool { return code == http.StatusOK && body == "ready\n" })
	for auth, want := range map[string]int{"": http.StatusUnauthorized, "Bearer 0123456789abcdef": http.StatusOK} {
		r, err := http.NewRequest(http.MethodGet, "http://"+page+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", auth)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("the console's /metrics with %q: %d", auth, res.StatusCode)
		}
	}
	fetch(t, "http://"+profiles+"/debug/pprof/goroutine?debug=1", func(code int, body string) bool {
		return code == http.StatusOK && strings.Contains(body, "goroutine profile")
	})
	stop()
	select {
	case c := <-code:
		if c != ExitOK {
			t.Errorf("exit code %d:\n%s", c, &log)
		}
	case <-time.After(patience):
		t.Fatal("it doesn't stop")
	}
	for _, gone := range []string{at, profiles, page} {
		if c, err := sockets.Dial("tcp", gone); err == nil {
			c.Close()
			t.Errorf("somebody listens at %s", gone)
		}
	}
}

func TestRunRefusesToShowProfilesToOthers(t *testing.T) {
	taken, err := sockets.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		address string
		code    int
		says    string
	}{
		{"0.0.0.0:6060", ExitUsage, "profiles are for this machine alone"},
		{":6060", ExitUsage, "127.0.0.1:6060"},
		{taken.Addr().String(), ExitUnavailable, "address already in use"},
	} {
		var log buffer
		if code := Main(t.Context(), Process{Args: []string{"run", "--pprof", test.address}, Stdout: io.Discard, Stderr: &log}); code != test.code || !strings.Contains(log.String(), test.says) {
			t.Errorf("%s: exit code %d:\n%s", test.address, code, &log)
		}
	}
}
