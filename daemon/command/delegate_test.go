package command

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/blame"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/systemd"
	"github.com/livenessd/livenessd/tflite/fake"
)

// station is a daemon in a process of its own, which is started again and again with the same state, and what it publishes.
type station struct {
	t        *testing.T
	file     string
	received <-chan mqtt.Received
	cmd      *exec.Cmd
	log      *buffer
}

func newStation(t *testing.T, inference string) *station {
	folder, b, received := listening(t, "live-1.jpg")
	file := write(t, "livenessd.yaml", "device: door-7\ncameras: {front: {path: \"replay:"+folder+"\", fps: 30}}\nstate: "+t.TempDir()+"\n"+
		"decision: {live_at: 1e-3, spoof_at: 1e-4}\nmqtt: {url: \""+b.URL()+"\"}\ninference: "+inference+"\n")
	return &station{t: t, file: file, received: received}
}

func (s *station) start() {
	s.t.Helper()
	s.cmd, s.log = exec.Command(os.Args[0]), &buffer{}
	s.cmd.Env = append(os.Environ(), childConfig+"="+s.file)
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	process, log := s.cmd.Process, s.log
	s.t.Cleanup(func() {
		_ = process.Kill() // unless it has ended
		if s.t.Failed() {
			s.t.Logf("process %d said\n%s", process.Pid, log)
		}
	})
}

// info waits for an info document that is as wanted and was published just now.
func (s *station) info(what string, is func(mqtt.Info) bool) mqtt.Info {
	s.t.Helper()
	var i mqtt.Info
	await(s.t, s.received, what, func(r mqtt.Received) bool {
		if r.Topic != "livenessd/door-7/info" || r.Retained {
			return false
		}
		if err := json.Unmarshal(r.Payload, &i); err != nil {
			s.t.Fatal(err)
		}
		return is(i)
	})
	return i
}

// end waits for the process to end, and gives its exit code.
func (s *station) end() int {
	s.t.Helper()
	timeout := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait() // says what the code says
	if !timeout.Stop() {
		s.t.Fatalf("it doesn't end:\n%s", s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *station) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.end() // by what the test binary does with the signal
}

// used waits until the daemon says which delegate it uses, and gives what became of the first one.
func (s *station) used(delegate string) mqtt.DelegateInfo {
	s.t.Helper()
	i := s.info("info with delegate "+delegate, func(i mqtt.Info) bool { return i.Delegate == delegate })
	if len(i.Delegates) == 0 {
		s.t.Fatalf("%+v", i)
	}
	return i.Delegates[0]
}

// What a delegate does while it is used is published, ends the process, and is remembered: a call that doesn't return, and an accelerator that
// is gone.
func TestAStuckDelegateEndsTheProcessAndTheNextOneGoesWithoutIt(t *testing.T) {
	needRuntime(t)
	external := "external:" + fake.Build(t)
	for what, says := range map[string]string{"hang": "didn't return within 1s", "fail": "could not run the model"} {
		t.Run(what, func(t *testing.T) {
			trouble := filepath.Join(t.TempDir(), "trouble")
			s := newStation(t, "{deadline: 1s, delegate: [{name: \""+external+"\", options: {do: "+what+", when: "+trouble+"}}, xnnpack]}")
			s.start()
			if d := s.used(external); d.State != mqtt.DelegateUsed || d.MedianMS <= 0 {
				t.Errorf("%+v", d)
			}
			await(t, s.received, "a verdict", func(r mqtt.Received) bool {
				v, err := mqtt.ParseVerdict(r.Payload)
				return err == nil && strings.HasSuffix(r.Topic, "/verdict") && v.Delegate == external && v.Verdict == mqtt.Live
			})
			if err := os.WriteFile(trouble, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			var d mqtt.DelegateInfo
			failed := false
			await(t, s.received, "why nobody is judged", func(r mqtt.Received) bool { // in whatever order
				switch strings.TrimPrefix(r.Topic, "livenessd/door-7/") {
				case "camera/front/state":
					var c mqtt.CameraState
					if err := json.Unmarshal(r.Payload, &c); err != nil {
						t.Fatal(err)
					}
					failed = c.State == "failed" && c.Code == mqtt.CodeProcessingErr && strings.Contains(c.Error, says) && c.Hint != ""
				case "info":
					var i mqtt.Info
					if err := json.Unmarshal(r.Payload, &i); err != nil {
						t.Fatal(err)
					}
					d = i.Delegates[0]
				}
				return failed && d.State == mqtt.DelegateRefused
			})
			if d.State != mqtt.DelegateRefused || !strings.Contains(d.Error, says) || d.Hint == "" || time.Time(d.RetryAt).IsZero() {
				t.Errorf("%+v", d)
			}
			await(t, s.received, "goodbye", func(r mqtt.Received) bool {
				if v, err := mqtt.ParseVerdict(r.Payload); err == nil && v.Verdict == mqtt.Live {
					t.Errorf("somebody is let in: %s", r.Payload)
				}
				return r.Topic == "livenessd/door-7/availability" && string(r.Payload) == mqtt.Offline
			})
			if code := s.end(); code != ExitTryAgain || !strings.Contains(s.log.String(), "nobody starts livenessd again here") {
				t.Errorf("exit code %d:\n%s", code, s.log)
			}
			for range 2 { // it would hang in the trial as well
				s.start()
				d := s.used("xnnpack")
				if d.State != mqtt.DelegateResting || !strings.Contains(d.Error, says) || !time.Time(d.RetryAt).After(time.Now()) {
					t.Errorf("%+v", d)
				}
				await(t, s.received, "that somebody is judged again", func(r mqtt.Received) bool {
					v, err := mqtt.ParseVerdict(r.Payload)
					return err == nil && strings.HasSuffix(r.Topic, "/verdict") && v.Delegate == "xnnpack"
				})
				s.stop()
			}
		})
	}
}

// A crash that the trial doesn't see takes the process down twice, and no more.
func TestADelegateThatCrashesLaterIsBlamedTheSecondTime(t *testing.T) {
	needRuntime(t)
	external := "external:" + fake.Build(t)
	s := newStation(t, "{delegate: [{name: \""+external+"\", options: {do: crash, after: 60}}, xnnpack]}")
	for range 2 {
		s.start()
		s.used(external)
		if code := s.end(); code == ExitOK || !strings.Contains(s.log.String(), "SIGSEGV") {
			t.Fatalf("exit code %d:\n%s", code, s.log)
		}
	}
	s.start()
	if d := s.used("xnnpack"); d.State != mqtt.DelegateResting || !strings.Contains(d.Error, "ended 2 times within 1h0m0s") {
		t.Errorf("%+v", d)
	}
	s.stop()
}

// A crash that the trial sees takes nothing down.
func TestADelegateThatCrashesInItsTrialIsRefused(t *testing.T) {
	needRuntime(t)
	external := "external:" + fake.Build(t)
	s := newStation(t, "{delegate: [{name: \""+external+"\", options: {do: crash, after: 5}}, xnnpack]}")
	s.start()
	if d := s.used("xnnpack"); d.State != mqtt.DelegateRefused || !strings.Contains(d.Error, "crashed the process that tried it") || d.Hint == "" {
		t.Errorf("%+v", d)
	}
	s.stop()
	r := call(t, "bench", "--frames", "1", "--json", "--config", s.file)
	all := objects[benchEnd](t, r.out)
	if r.code != ExitOK || len(all) == 0 {
		t.Fatalf("exit code %d: %s", r.code, r.errors)
	}
	if d := all[len(all)-1]; d.Delegate != "xnnpack" || len(d.Delegates) != 2 || d.Delegates[0].State != mqtt.DelegateRefused {
		t.Errorf("%+v", d)
	}
	mine := bundle(t, filepath.Join(t.TempDir(), "mine"), "mine", nil)
	r = call(t, "models", "probe", mine, "--json", "--config", s.file)
	tried := objects[probeOutput](t, r.out)
	if r.code != ExitOK || len(tried) != 1 || len(tried[0].Delegates) != 1 || !strings.Contains(tried[0].Delegates[0].Error, "crashed") || tried[0].Delegate != "xnnpack" {
		t.Errorf("exit code %d: %+v, %s", r.code, tried, r.errors)
	}
	if r = call(t, "models", "probe", mine, "--config", s.file); !strings.Contains(r.out, "delegate "+external+": refused: ") {
		t.Errorf("%s", r.out)
	}
}

// A command that is inside a library for good ends all the same.
func TestAStuckDelegateEndsACommand(t *testing.T) {
	needRuntime(t)
	cfg := withConfig(t, "inference: {deadline: 1s, delegate: [{name: \"external:"+fake.Build(t)+"\", options: {do: hang, after: 60}}]}\n")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "score", filepath.Join("..", "demo", "clip.mjpeg"), cfg)
	cmd.Env = append(os.Environ(), commandLine+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != ExitTryAgain || !strings.Contains(string(out), "didn't return within 1s") || !strings.Contains(string(out), "→ the accelerator") {
		t.Errorf("%v, exit code %d:\n%s", err, code, out)
	}
}

// An accelerator that is plugged in later is used without anybody's help.
func TestADelegateIsTriedAgainWhileTheDaemonRuns(t *testing.T) {
	needRuntime(t)
	newManager(t)
	so := fake.Build(t)
	notify, err := systemd.NewNotifier(os.Getenv, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// As if ten minutes had passed since it was refused.
	book, err := blame.Open("", "boot", func() time.Time { return time.Now().Add(-time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.State = t.TempDir()
	later := filepath.Join(t.TempDir(), "later.so")
	cfg.Inference.Delegate = config.Preference{{Name: config.External + later}, {Name: config.XNNPACK}}
	pulse := daemon.NewPulse(time.Now, "", os.Getpid())
	began := make(chan string, 10)
	var log buffer
	s := &server{app: &app{Process: Process{Stderr: &log}}, notify: notify, pulse: pulse, hangup: make(chan os.Signal), book: book,
		watch: func(ctx context.Context, o daemon.Options) error {
			began <- o.Engine.Delegate()
			o.Ready(o.Engine)
			<-ctx.Done()
			return nil
		}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	first, err := s.prepare(ctx, cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.loop(ctx, first, func() {}) }()
	if d := <-began; d != config.XNNPACK {
		t.Errorf("%s at first", d)
	}
	if err := os.Rename(so, later); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-began:
		if d != config.External+later {
			t.Errorf("%s later", d)
		}
	case <-time.After(patience):
		t.Fatalf("it isn't tried again:\n%s", &log)
	}
	if n := strings.Count(log.String(), "delegate can't be used"); n != 1 {
		t.Errorf("the refusal is logged %d times:\n%s", n, &log)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWhoIsNotStartedAgainIsTold(t *testing.T) {
	stuck := errors.Join(errors.New("x"), daemon.ErrAgain)
	if err := unattended(stuck, true); daemon.Hint(err) != "" || exitCode(err) != ExitTryAgain {
		t.Errorf("%v, hint %q", err, daemon.Hint(err))
	}
	if err := unattended(stuck, false); !strings.Contains(daemon.Hint(err), "start it again") || exitCode(err) != ExitTryAgain {
		t.Errorf("%v, hint %q", err, daemon.Hint(err))
	}
	if err := unattended(errors.New("y"), false); daemon.Hint(err) != "" || unattended(nil, false) != nil {
		t.Errorf("%v", err)
	}
}
