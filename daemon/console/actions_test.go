package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
)

func TestWhoMayLookCannotChangeAnything(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.browser()
	if code := b.login(`{"token":"` + viewToken + `"}`); code != http.StatusOK {
		t.Fatal(code)
	}
	for _, r := range [][2]string{
		{"GET", "/api/config"}, {"POST", "/api/config"}, {"POST", "/api/config/preview"}, {"GET", "/api/cameras/front/device"}, {"POST", "/api/cameras/front/controls"},
		{"POST", "/api/cameras/front/trial"}, {"DELETE", "/api/cameras/front/trial"}, {"POST", "/api/sessions"}, {"DELETE", "/api/sessions/x"}, {"POST", "/api/doctor"},
		{"POST", "/api/bundle"}, {"GET", "/api/calibration"}, {"POST", "/api/calibration"}, {"DELETE", "/api/calibration"}, {"POST", "/api/calibration/presentations"},
		{"DELETE", "/api/calibration/presentations/last"},
	} {
		if code, text := b.status(r[0], r[1], "{}"); code != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", r[0], r[1], code, text)
		}
		if code, _ := f.browser().status(r[0], r[1], "{}"); code != http.StatusUnauthorized {
			t.Errorf("%s %s without a login: %d", r[0], r[1], code)
		}
	}
}

// ask makes a request and reads what comes into a document.
func ask[T any](b *browser, method, path, body string, want int) (d T) {
	b.f.t.Helper()
	code, text := b.status(method, path, body)
	if code != want {
		b.f.t.Fatalf("%s %s: %d, not %d: %s", method, path, code, want, text)
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			b.f.t.Fatalf("%v: %s", err, text)
		}
	}
	return d
}

func TestAConfigurationIsShownBeforeItIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "livenessd.yaml")
	const before = "device: door-7 # mine\ndecision:\n  live_at: 0.6\n"
	if err := os.WriteFile(file, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	var reloads atomic.Int32
	f := start(t, settings(t), func(o *Options) { o.ConfigPath, o.Reload = file, func() { reloads.Add(1) } })
	b := f.admin()
	now := ask[settingsDocument](b, "GET", "/api/config", "", 200)
	if now.Path != file || now.Text != before || !now.Writable || !strings.Contains(now.Effective, "live_at") {
		t.Errorf("%+v", now)
	}
	const change = `{"changes":[{"path":["decision","live_at"],"value":0.7},{"path":["console","hosts"],"value":["door-7"]}]}`
	p := ask[proposalDocument](b, "POST", "/api/config/preview", change, 200)
	const want = "  device: door-7 # mine\n  decision:\n-   live_at: 0.6\n+   live_at: 0.7\n+\n+ console:\n+   hosts: [door-7]\n"
	if p.Difference != want || p.Digest != now.Digest || len(p.Problems) > 0 {
		t.Errorf("%s", p.Difference)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != before || reloads.Load() != 0 {
		t.Fatalf("to look at it writes it: %s, %v", data, err)
	}
	bad := ask[proposalDocument](b, "POST", "/api/config/preview", `{"changes":[{"path":["decision","live_at"],"value":7}]}`, 200)
	if len(bad.Problems) != 1 || bad.Problems[0].Line != 3 || bad.Text != "" {
		t.Errorf("%+v", bad)
	}
	if text := ask[proposalDocument](b, "POST", "/api/config/preview", `{"text":"camras: {}\n"}`, 200); len(text.Problems) != 1 {
		t.Errorf("%+v", text)
	}
	for name, body := range map[string]string{
		"both":             `{"text":"","changes":[]}`,
		"neither":          `{}`,
		"a list of things": `{"changes":[{"path":["device"],"value":[1]}]}`,
		"no path":          `{"changes":[{"path":[],"value":"a"}]}`,
	} {
		if code, text := b.status("POST", "/api/config/preview", body); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	write := func(text, digest string) string {
		body, err := json.Marshal(map[string]string{"text": text, "digest": digest})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for name, body := range map[string]string{"what nobody saw": change, "without a digest": write(p.Text, ""), "what is wrong": write("camras: {}\n", p.Digest)} {
		if code, text := b.status("POST", "/api/config", body); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	if code, text := b.status("POST", "/api/config", write(p.Text, digest([]byte("another")))); code != http.StatusConflict {
		t.Errorf("over somebody else's: %d %s", code, text)
	}
	if reloads.Load() != 0 {
		t.Error("what wasn't written is read")
	}
	ask[struct{}](b, "POST", "/api/config", write(p.Text, p.Digest), 200)
	data, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if err != nil || string(data) != p.Text || info.Mode().Perm() != 0o640 || reloads.Load() != 1 {
		t.Errorf("%s, mode %v, %d reloads, %v", data, info.Mode(), reloads.Load(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

func TestAConfigurationThatCannotBeWrittenIsSaidBefore(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "livenessd.yaml")
	f := start(t, settings(t), func(o *Options) { o.ConfigPath = filepath.Join(folder, "absent", "livenessd.yaml") })
	d := ask[settingsDocument](f.admin(), "GET", "/api/config", "", 200)
	if d.Writable || d.Why == "" || !strings.Contains(d.Do, "sudo livenessd console --apply --config "+folder) {
		t.Errorf("%+v", d)
	}
	// It waits for somebody who may.
	body := `{"text":"device: a\n","digest":"` + digest(nil) + `"}`
	if d := ask[changeDocument](f.admin(), "POST", "/api/config", body, http.StatusAccepted); d.Written || d.Why == "" || !strings.Contains(d.Do, "--apply") {
		t.Errorf("%+v", d)
	}
	p, err := ReadProposal(f.cfg.State)
	if err != nil || p.Text != "device: a\n" {
		t.Fatalf("%+v, %v", p, err)
	}
	if info, err := os.Stat(filepath.Join(f.cfg.State, ProposalFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	other := filepath.Join(folder, "other.yaml")
	if err := os.WriteFile(other, []byte("device: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(other, f.cfg.State); !errors.Is(err, errChanged) {
		t.Errorf("over another file: %v", err)
	}
	if err := p.Write(filepath.Join(folder, "new.yaml"), f.cfg.State); err != nil {
		t.Error(err)
	}
	if _, err := ReadProposal(f.cfg.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it still waits: %v", err)
	}
	// What livenessd's user lays there leads root nowhere.
	if err := os.Symlink(other, filepath.Join(f.cfg.State, ProposalFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadProposal(f.cfg.State); err == nil {
		t.Error("a link is followed")
	}
	f.cfg.State = filepath.Join(folder, "absent")
	f.server.Apply(f.cfg, nil)
	if code, text := f.admin().status("POST", "/api/config", body); code != http.StatusConflict || !strings.Contains(text, "livenessd restart") {
		t.Errorf("%d %s", code, text)
	}
	// One that isn't there yet is made.
	g := start(t, settings(t), func(o *Options) { o.ConfigPath = file })
	ask[struct{}](g.admin(), "POST", "/api/config", body, 200)
	if data, err := os.ReadFile(file); err != nil || string(data) != "device: a\n" {
		t.Errorf("%s, %v", data, err)
	}
}

func TestTheDoctorLooksOneAtATime(t *testing.T) {
	looking, done := make(chan struct{}), make(chan struct{})
	f := start(t, settings(t), func(o *Options) {
		o.Doctor = func(ctx context.Context, bundle string) ([]byte, error) {
			if bundle != "" {
				return []byte(`{}`), os.WriteFile(bundle, []byte("archive"), 0o600)
			}
			select {
			case <-looking:
				return nil, errors.New("it is ill itself")
			default:
			}
			close(looking)
			<-done
			return []byte(`{"worst":"ok"}`), nil
		}
	})
	type report struct {
		Running bool
		Report  *struct{ Worst string }
	}
	b := f.admin()
	if r := ask[report](b, "GET", "/api/doctor", "", 200); r.Running || r.Report != nil {
		t.Errorf("%+v", r)
	}
	answer := make(chan string, 1)
	go func() {
		_, text := f.admin().status("POST", "/api/doctor", "")
		answer <- text
	}()
	<-looking
	if code, _ := b.status("POST", "/api/doctor", ""); code != http.StatusConflict {
		t.Errorf("a second one: %d", code)
	}
	if r := ask[report](b, "GET", "/api/doctor", "", 200); !r.Running {
		t.Errorf("%+v", r)
	}
	close(done)
	if text := <-answer; text != `{"worst":"ok"}` {
		t.Errorf("got %s", text)
	}
	if r := ask[report](b, "GET", "/api/doctor", "", 200); r.Running || r.Report == nil || r.Report.Worst != "ok" {
		t.Errorf("%+v", r)
	}
	a := b.request("POST", "/api/bundle", "")
	defer a.Body.Close()
	if a.StatusCode != 200 || !strings.Contains(a.Header.Get("Content-Disposition"), `attachment; filename="livenessd-door-7-`) || a.ContentLength != 7 {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if code, text := b.status("POST", "/api/doctor", ""); code != http.StatusServiceUnavailable || !strings.Contains(text, "it is ill itself") {
		t.Errorf("%d %s", code, text)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "livenessd-bundle-*")); len(left) > 0 {
		t.Logf("there are %v, of this test or others", left)
	}
}

func TestControlsAreSetAtTheCamerasDevice(t *testing.T) {
	f := start(t, settings(t), nil)
	b := f.admin()
	if code, _ := b.status("GET", "/api/cameras/front/device", ""); code != http.StatusNotFound {
		t.Errorf("without a camera: %d", code)
	}
	f.run() // a replay has no device
	if code, text := b.status("POST", "/api/cameras/front/controls", `{"controls":{"brightness":"1"}}`); code != http.StatusNotFound {
		t.Errorf("of a replay: %d %s", code, text)
	}
}

func TestControlsOfADeviceAreListedAndSet(t *testing.T) {
	node := filepath.Join(t.TempDir(), "video0")
	if err := os.WriteFile(node, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var set map[string]string
	f := start(t, settings(t), func(o *Options) {
		o.List = func() ([]camera.Info, error) {
			return []camera.Info{{Path: node, Card: "A camera", Controls: []camera.Control{{Name: "brightness", Type: camera.ControlInteger, Max: 9}}}}, nil
		}
		o.Adjust = func(device string, controls map[string]string) error {
			if device != node || controls["brightness"] == "99" {
				return errors.New("a value that it doesn't take")
			}
			set = controls
			return nil
		}
	})
	f.device = node
	f.run()
	b := f.admin()
	if i := ask[camera.Info](b, "GET", "/api/cameras/front/device", "", 200); i.Card != "A camera" || len(i.Controls) != 1 {
		t.Errorf("%+v", i)
	}
	if i := ask[camera.Info](b, "POST", "/api/cameras/front/controls", `{"controls":{"brightness":"3"}}`, 200); i.Path != node || set["brightness"] != "3" {
		t.Errorf("%+v, %v", i, set)
	}
	for name, body := range map[string]string{"none": `{"controls":{}}`, "a value that it doesn't take": `{"controls":{"brightness":"99"}}`, "numbers": `{"controls":{"brightness":3}}`} {
		if code, text := b.status("POST", "/api/cameras/front/controls", body); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
}

func TestAnotherModeIsTriedAndTakenBack(t *testing.T) {
	f := start(t, settings(t), nil)
	f.run()
	cfg := f.cfg
	cfg.Cameras = f.cameras
	f.server.Apply(cfg, nil)
	b := f.admin()
	w := f.view.Watch("front", false)
	defer w.Close()
	size := func() (int, int) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		shown, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return shown.Width, shown.Height
	}
	if w, h := size(); w != 640 || h != 480 {
		t.Fatalf("%d×%d", w, h)
	}
	ask[struct{}](b, "POST", "/api/cameras/front/trial", `{"changes":[{"path":["rotate"],"value":90},{"path":["region","y"],"value":0.5}]}`, 204)
	f.await("turned half of a picture", func() bool { w, h := size(); return w == 480 && h == 320 })
	if d := ask[stateDocument](b, "GET", "/api/state", "", 200); !d.Cameras[0].Trial {
		t.Error("the state doesn't tell of the trial")
	}
	ask[struct{}](b, "DELETE", "/api/cameras/front/trial", "", 204)
	if d := ask[stateDocument](b, "GET", "/api/state", "", 200); d.Cameras[0].Trial {
		t.Error("the trial that is over is still told")
	}
	f.await("whole picture", func() bool { w, h := size(); return w == 640 && h == 480 })
	for name, tt := range map[string]struct {
		path, body string
		want       int
	}{
		"another device":   {"front", `{"changes":[{"path":["path"],"value":"/dev/video9"}]}`, 400},
		"a virtual one":    {"front", `{"changes":[{"path":["allow_virtual"],"value":true}]}`, 400},
		"what can't be":    {"front", `{"changes":[{"path":["rotate"],"value":45}]}`, 400},
		"nobody's camera":  {"back", `{"changes":[]}`, 404},
		"an unknown thing": {"front", `{"changes":[{"path":["colour"],"value":"red"}]}`, 400},
	} {
		if code, text := b.status("POST", "/api/cameras/"+tt.path+"/trial", tt.body); code != tt.want {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
}

func TestATestSessionHasItsVerdict(t *testing.T) {
	f := start(t, settings(t), nil)
	if code, _ := f.admin().status("POST", "/api/sessions", `{"application":"default","purpose":"authentication"}`); code != http.StatusBadRequest {
		t.Errorf("while nothing runs: %d", code)
	}
	f.run()
	b := f.admin()
	s := ask[struct{ Session string }](b, "POST", "/api/sessions", `{"application":"default","purpose":"authentication","timeout":"20s"}`, 200)
	if s.Session == "" {
		t.Fatal("no session")
	}
	f.await("verdict of the session", func() bool {
		for _, p := range f.view.Presentations(0) {
			if v := p.Verdict.Session; v != nil && v.ID == s.Session {
				return true
			}
		}
		return false
	})
	if code, text := b.status("POST", "/api/sessions", `{"application":"nobody","purpose":"authentication"}`); code != http.StatusConflict || !strings.Contains(text, "UNAUTHORIZED") {
		t.Errorf("of nobody: %d %s", code, text)
	}
	if code, _ := b.status("DELETE", "/api/sessions/"+s.Session, ""); code != http.StatusConflict {
		t.Errorf("one that is over: %d", code)
	}
	open := ask[struct{ Session string }](b, "POST", "/api/sessions", `{"application":"default","purpose":"enrollment","timeout":"60s"}`, 200)
	// Whoever stands there may have been judged meanwhile.
	if code, text := b.status("DELETE", "/api/sessions/"+open.Session, ""); code != http.StatusOK && !strings.Contains(text, "SESSION_EXPIRED") {
		t.Errorf("%d %s", code, text)
	}
}

func TestACalibrationIsAWalk(t *testing.T) {
	f := start(t, settings(t), nil)
	f.run()
	b := f.admin()
	if code, _ := b.status("POST", "/api/calibration/presentations", `{"species":"live","seconds":2}`); code != http.StatusConflict {
		t.Errorf("before it began: %d", code)
	}
	d := ask[calibrationDocument](b, "POST", "/api/calibration", `{"camera":"front","bpcer":0.5,"apcer":0.5}`, 200)
	if d.Camera != "front" || len(d.Shown) != 0 || d.Suggestion != nil || d.LiveAt <= 0 {
		t.Errorf("%+v", d)
	}
	d = ask[calibrationDocument](b, "POST", "/api/calibration/presentations", `{"species":"live","seconds":2}`, 200)
	if len(d.Shown) != 1 || d.Shown[0].Species != live || (d.Shown[0].Score == nil) == (d.Shown[0].Why == "") {
		t.Errorf("%+v", d.Shown)
	}
	if code, _ := b.status("POST", "/api/calibration/presentations", `{"species":"../x"}`); code != http.StatusBadRequest {
		t.Errorf("a species with a path: %d", code)
	}
	if d = ask[calibrationDocument](b, "DELETE", "/api/calibration/presentations/last", "", 200); len(d.Shown) != 0 {
		t.Errorf("%+v", d.Shown)
	}
	ask[struct{}](b, "DELETE", "/api/calibration", "", 204)
	if d = ask[calibrationDocument](b, "GET", "/api/calibration", "", 200); d.Camera != "" {
		t.Errorf("%+v", d)
	}
}

func TestACalibrationEndsInThresholds(t *testing.T) {
	var c calibration
	c.begin("front", pad.Target{APCER: 0.1, BPCER: 0.1, Certainty: 0.95})
	add := func(species string, score float64) {
		_, turn, err := c.start()
		if err != nil {
			t.Fatal(err)
		}
		c.end(turn, &presented{Species: species, Score: &score})
	}
	for i := range 10 {
		add(live, 0.8+float64(i)/100)
		add("print", 0.1+float64(i)/100)
	}
	_, turn, err := c.start()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.start(); !errors.Is(err, errPresent) {
		t.Errorf("two at once: %v", err)
	}
	c.end(turn, &presented{Species: "replay", Why: "TOO_DARK"})
	d := c.document(decision.Options{LiveAt: 0.85, SpoofAt: 0.3})
	if d.Suggestion != nil || len(d.Refused) != 1 || !strings.Contains(d.Refused[0], "attack replay: 0 with an answer") {
		t.Errorf("a species that nobody has seen: %+v", d)
	}
	c.undo()
	d = c.document(decision.Options{LiveAt: 0.85, SpoofAt: 0.3})
	s := d.Suggestion
	if s == nil || !s.Met || s.LiveAt <= 0.19 || s.LiveAt > 0.8 || s.BPCER.Of != 10 || s.BPCER.High < 0.2 {
		t.Fatalf("%+v", d)
	}
	if len(d.Now) != 2 || d.Now[0].Rate.Errors != 5 || d.Now[1].Species != "print" || d.Now[1].Rate.Errors != 0 || d.Now[1].More <= 0 {
		t.Errorf("%+v", d.Now)
	}
	// What is looked at while another walk begins is no part of that.
	_, turn, err = c.start()
	if err != nil {
		t.Fatal(err)
	}
	c.begin("back", pad.Target{APCER: 0.1, BPCER: 0.1, Certainty: 0.95})
	c.end(turn, &presented{Species: live})
	if d = c.document(decision.Options{LiveAt: 0.85}); len(d.Shown) != 0 || d.Looking {
		t.Errorf("%+v", d)
	}
}
