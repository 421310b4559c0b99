package metrics

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/mqtt"
)

// well is a daemon that judges faces at two cameras.
func well() (daemon.Health, daemon.Figures) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := daemon.Health{Phase: daemon.PhaseReady, Since: at, Version: "1.2.3", Started: at, Device: "door-7", Cameras: []daemon.CameraHealth{
		{Name: "back", State: "streaming", Mode: "MJPG 640×480 at 15/s", Worked: true}, {Name: "front", State: "streaming", Mode: "YUYV 640×480 at 15/s", Worked: true}},
		Broker: &daemon.BrokerHealth{Connected: true}}
	f := daemon.Figures{About: mqtt.Info{Runtime: "2.9.0", Delegate: "xnnpack", Delegates: []mqtt.DelegateInfo{
		{Delegate: "edgetpu usb:0", State: mqtt.DelegateResting, Error: "it hung"}, {Delegate: "xnnpack", State: mqtt.DelegateUsed, MedianMS: 1.6}}, Models: []mqtt.ModelInfo{
		{Task: "face-detection", Name: "faces", Version: "0.2.0", SHA256: "aa"}, {Task: "liveness", Name: "alive", Version: "0.1.0", SHA256: "bb"}}}}
	return h, f
}

func TestReadyMeansThatWhoeverIsThereWouldBeJudged(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(h *daemon.Health, f *daemon.Figures)
		runs   bool
		ready  bool
		says   string // NAME: SEEN → DO of the first that isn't well
	}{
		{"all is well", func(*daemon.Health, *daemon.Figures) {}, true, true, ""},
		{"a reload that is on its way", func(h *daemon.Health, _ *daemon.Figures) { h.Phase = daemon.PhaseReloading }, true, true, ""},
		{"no broker", func(h *daemon.Health, _ *daemon.Figures) { h.Broker = &daemon.BrokerHealth{Error: "cable"} }, true, true, ""},
		{"the models are being loaded", func(h *daemon.Health, _ *daemon.Figures) {
			*h = daemon.Health{Phase: daemon.PhaseStarting, Doing: "loading the models"}
		}, false, false, "models: loading the models → "},
		{"it changes to another configuration", func(h *daemon.Health, _ *daemon.Figures) {
			h.Phase, h.Doing = daemon.PhaseReloading, "changing to the new configuration"
		},
			false, false, "models: changing to the new configuration → "},
		{"it stops", func(h *daemon.Health, _ *daemon.Figures) { h.Phase, h.Doing = daemon.PhaseStopping, "" }, true, false, "models: stopping → "},
		{"it has failed", func(h *daemon.Health, _ *daemon.Figures) {
			h.Phase, h.Trouble = daemon.PhaseFailed, &daemon.Trouble{Error: "self-test: no", Hint: "another library"}
		}, false, false, "models: self-test: no → another library"},
		{"a driver hangs", func(h *daemon.Health, _ *daemon.Figures) { h.Stuck = []string{"the driver of camera front"} }, true, false,
			"process: doesn't get on: the driver of camera front → the watchdog restarts livenessd if that lasts; see its log"},
		{"one of two cameras is away", func(h *daemon.Health, _ *daemon.Figures) {
			h.Cameras[1] = daemon.CameraHealth{Name: "front", State: "recovering", Error: "no such device", Hint: "plug it in", Worked: true}
		}, true, false, "camera front: recovering: no such device → plug it in"},
		{"the nets can't look at frames", func(h *daemon.Health, _ *daemon.Figures) {
			h.Cameras[0] = daemon.CameraHealth{Name: "back", State: "failed", Error: "find faces: no", Hint: "restart", Worked: true}
		}, true, false, "camera back: failed: find faces: no → restart"},
		{"frames come, and none was looked at", func(h *daemon.Health, _ *daemon.Figures) { h.Cameras[0].Worked = false }, true, false, "camera back: no frame was examined yet → "},
		{"a camera is being opened", func(h *daemon.Health, _ *daemon.Figures) {
			h.Cameras[0] = daemon.CameraHealth{Name: "back", State: "starting"}
		}, true, false,
			"camera back: starting → "},
		{"no camera is open yet", func(h *daemon.Health, _ *daemon.Figures) { h.Cameras = nil }, true, false, "cameras: none is open yet → "},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, f := well()
			test.change(&h, &f)
			r := Ready(h, f, test.runs)
			says := ""
			for _, c := range r.Checks {
				if !c.OK {
					says = c.Name + ": " + c.Seen + " → " + c.Do
					break
				}
			}
			if r.Ready != test.ready || says != test.says {
				t.Errorf("%+v; %q", r, says)
			}
		})
	}
}

// shows makes metrics of a daemon that is as the functions say.
func shows(t *testing.T, health func() daemon.Health, figures func() (daemon.Figures, bool)) *Metrics {
	t.Helper()
	m, err := New(Options{Version: "1.2.3", Health: health, Figures: figures})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestHealthAnswersInStatusAndWords(t *testing.T) {
	h, f := well()
	m := shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true }).Handler()
	if w := get(m, "/healthz"); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w := get(m, "/readyz")
	var r Readiness
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusOK || !r.Ready || len(r.Checks) != 5 || r.Checks[1].Seen != "faces 0.2.0, alive 0.1.0 on xnnpack" {
		t.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
	h.Stuck = []string{"the pipeline of camera front", "the desk"}
	if w := get(m, "/healthz"); w.Code != http.StatusServiceUnavailable || w.Body.String() != "stuck: the pipeline of camera front, the desk\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := get(m, "/readyz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"ready": false`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
