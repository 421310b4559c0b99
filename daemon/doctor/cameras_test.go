package doctor

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

// film is a camera whose frames are all alike and come as often as a test says, without taking any time.
type film struct {
	fps    float64
	luma   byte
	status camera.Status
	n      int
	closed bool
}

var _ daemon.Camera = (*film)(nil)

func (f *film) Next(ctx context.Context) (*frame.Frame, error) {
	if f.status.State != camera.StateStreaming {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.n++
	pix := make([]byte, 64*48)
	for i := range pix {
		pix[i] = f.luma
	}
	m := frame.Grey(pix, 64, 48, 64)
	m.Full = true
	return &frame.Frame{Image: m, Captured: time.Unix(0, 0).Add(time.Duration(float64(f.n) / f.fps * float64(time.Second))), JPEG: make([]byte, 40_000)}, nil
}

func (f *film) Status() camera.Status { return f.status }
func (f *film) Close() error          { f.closed = true; return nil }

// The machine's cameras: a USB camera with its metadata node, and a virtual one.
func cameraFiles() map[string]string {
	return map[string]string{
		"dev/v4l/by-id/usb-Cam-index0":               "->../../video0",
		"sys/class/video4linux/video0":               "->../../devices/usb1/1-2/1-2:1.0/video0",
		"sys/class/video4linux/video1":               "->../../devices/usb1/1-2/1-2:1.0/video1",
		"sys/devices/usb1/1-2/speed":                 "480\n",
		"sys/devices/usb1/1-2/idVendor":              "046d\n",
		"sys/devices/usb1/1-2/1-2:1.0/":              "",
		"sys/devices/usb1/1-2/1-2:1.0/x":             "",
		"proc/55/comm":                               "cheese\n",
		"proc/77/comm":                               "livenessd\n",
		"sys/devices/usb1/1-2/1-2:1.0/video0/device": "->..",
		"sys/devices/usb1/1-2/1-2:1.0/video1/device": "->..",
	}
}

func TestCameras(t *testing.T) {
	streaming := camera.Status{State: camera.StateStreaming, Format: "MJPG", Width: 640, Height: 480, FPS: 15}
	failed := func(err, hint, code string) camera.Status {
		return camera.Status{State: camera.StateFailed, Err: err, Hint: hint, Code: code}
	}
	const byID = "cameras: {front: {path: ROOT/dev/v4l/by-id/usb-Cam-index0}}"
	var all strings.Builder
	for _, tt := range []struct {
		name  string
		yaml  string
		film  film
		files map[string]string
		none  bool // no camera is plugged in
		owner Ownership
	}{
		{name: "as it should be", yaml: byID, film: film{fps: 15, luma: 120, status: streaming}},
		{name: "whichever there is", yaml: "{}", film: film{fps: 15, luma: 120, status: streaming}},
		{name: "none", yaml: "{}", none: true},
		{name: "another one is plugged in", yaml: "cameras: {front: {path: ROOT/dev/v4l/by-id/usb-Other-index0}}"},
		{name: "by a number", yaml: "cameras: {front: {path: ROOT/dev/video0}}", film: film{fps: 15, luma: 120, status: streaming}},
		{name: "the metadata node", yaml: "cameras: {front: {path: ROOT/dev/video1}}"},
		{name: "not for the service's user", yaml: byID, film: film{fps: 15, luma: 120, status: streaming}, owner: Ownership{Mode: fs.ModeDevice | 0o660, GID: 105}},
		{name: "taken", yaml: byID, film: film{status: failed("camera: open /dev/video0: start MJPG 640×480: device or resource busy", "stop it", camera.CodeLost)},
			files: map[string]string{"proc/55/fd/3": "->ROOT/dev/video0"}},
		{name: "no bandwidth", yaml: byID, film: film{status: failed("camera: open /dev/video0: start YUYV 640×480: no space left on device",
			"the USB bus has no bandwidth left for this camera: choose format MJPG", camera.CodeLost)}},
		{name: "no such format", yaml: byID, film: film{status: failed("camera: open /dev/video0: no pixel format GREY; there are: MJPG", "choose", camera.CodeLost)}},
		{name: "black", yaml: byID, film: film{fps: 15, luma: 2, status: streaming}},
		{name: "dark", yaml: byID, film: film{fps: 15, luma: 20, status: streaming}},
		{name: "white", yaml: byID, film: film{fps: 15, luma: 254, status: streaming}},
		{name: "slow", yaml: byID, film: film{fps: 6, luma: 120, status: streaming}},
		{name: "too slow for verdicts", yaml: byID, film: film{fps: 1, luma: 120, status: streaming}},
		{name: "of another size and rate", yaml: "cameras: {front: {path: ROOT/dev/v4l/by-id/usb-Cam-index0, size: 1920x1080, fps: 30}}",
			film: film{fps: 15, luma: 120, status: streaming}},
		{name: "raw over USB", yaml: byID, film: film{fps: 30, luma: 120, status: camera.Status{State: camera.StateStreaming, Format: "YUYV", Width: 1280, Height: 720, FPS: 30}}},
		{name: "damaged frames", yaml: byID, film: film{fps: 15, luma: 120, status: camera.Status{State: camera.StateStreaming, Format: "MJPG", Width: 640, Height: 480, FPS: 15,
			Counters: camera.Counters{Captured: 40, Bad: camera.Bad{Truncated: 9}}}}},
		{name: "at a slow socket", yaml: byID, film: film{fps: 15, luma: 120, status: streaming}, files: map[string]string{"sys/devices/usb1/1-2/speed": "12\n"}},
		{name: "the daemon has it", yaml: byID, files: map[string]string{"proc/77/fd/9": "->ROOT/dev/video0",
			"run/livenessd/status.json": `{"pid":77,"cameras":[{"name":"front","state":"streaming","mode":"MJPG 640×480 at 15/s","since":"2026-03-04T05:00:00Z"}],"broker":{"connected":true}}`}},
		{name: "the daemon has it, and trouble", yaml: byID, files: map[string]string{"proc/77/fd/9": "->ROOT/dev/video0",
			"run/livenessd/status.json": `{"pid":77,"cameras":[{"name":"front","state":"recovering","error":"camera: read: no frame for 2s","hint":"check its cable"}]}`}},
		{name: "a daemon that says nothing has it", yaml: byID, files: map[string]string{"proc/77/fd/9": "->ROOT/dev/video0"}},
		{name: "another daemon has it", yaml: byID, files: map[string]string{"proc/55/comm": "livenessd", "proc/55/fd/9": "->ROOT/dev/video0"}},
		{name: "the daemon hangs in the driver", yaml: byID, files: map[string]string{"proc/77/fd/9": "->ROOT/dev/video0",
			"run/livenessd/status.json": `{"pid":77,"stuck":["the driver of camera front"],"cameras":[{"name":"front","state":"streaming"}]}`}},
		{name: "a daemon that hangs in the driver and couldn't be ended has it", yaml: byID, files: map[string]string{"proc/55/comm": "livenessd", "proc/55/task/56/fd/9": "->ROOT/dev/video0"}},
		{name: "a daemon that is gone left its words", yaml: byID, film: film{fps: 15, luma: 120, status: streaming},
			files: map[string]string{"run/livenessd/status.json": `{"pid":99,"cameras":[{"name":"front","state":"streaming"}]}`}},
		{name: "a picture in a folder", yaml: "cameras: {front: {path: 'replay:/pictures'}}", film: film{fps: 15, luma: 120, status: streaming}},
	} {
		m := aMachine(t, cameraFiles())
		m.says["systemctl show"] = active
		for path, content := range tt.files {
			m.put(t, path, strings.ReplaceAll(content, "ROOT", m.root))
		}
		m.put(t, "dev/video0", "")
		m.put(t, "dev/video1", "")
		for _, node := range []string{"/dev/video0", "/dev/video1"} {
			m.owners[node] = Ownership{Mode: fs.ModeDevice | 0o660, GID: 44}
			if tt.owner.Mode != 0 {
				m.owners[node] = tt.owner
			}
		}
		p := m.patient(t, tt.yaml)
		p.List = func() ([]camera.Info, error) {
			if tt.none {
				return nil, nil
			}
			return []camera.Info{
				{Path: m.root + "/dev/video9", Card: "vivid", Driver: "vivid", Usable: true, Virtual: "its driver is vivid"},
				{Path: m.root + "/dev/video0", ByID: m.root + "/dev/v4l/by-id/usb-Cam-index0", Card: "Cam", Driver: "uvcvideo", Usable: true,
					Formats: []camera.FormatInfo{{FourCC: "MJPG", Sizes: []camera.SizeInfo{{Width: 640, Height: 480}, {Width: 1280, Height: 720}}}}},
			}, nil
		}
		p.Open = func(string, config.Camera) (daemon.Camera, error) { return &tt.film, nil }
		p.device = func(fs.FileMode) bool { return true } // the files here are no devices
		all.WriteString("# " + tt.name + "\n" + m.look(t, "camera", cameras{p}))
		if tt.film.n > 0 && !tt.film.closed {
			t.Errorf("%s: the camera stays open", tt.name)
		}
	}
	golden(t, "cameras.golden", all.String())
}

func TestACameraThatIsNoDevice(t *testing.T) {
	m := aMachine(t, map[string]string{"dev/video0": ""})
	fs := cameras{m.patient(t, "cameras: {front: {path: ROOT/dev/video0}}")}.Look(t.Context())
	if len(fs) != 1 || fs[0].Level != Failure || !strings.Contains(fs[0].Seen, "is no device") {
		t.Errorf("%v", fs)
	}
}

// A camera that is played from a clip goes through the real source.
func TestARealSourceIsWatched(t *testing.T) {
	m := aMachine(t, nil)
	fs := cameras{m.patient(t, "cameras: {front: {path: 'replay:../demo/clip.mjpeg'}}")}.Look(t.Context())
	if Worst(fs) == Failure || len(fs) < 2 || !strings.Contains(fs[0].Seen, "MJPG 640×480") || !strings.Contains(fs[1].Seen, "brightness") {
		t.Errorf("%v", fs)
	}
}

func TestTheBrokersSteps(t *testing.T) {
	m := aMachine(t, map[string]string{"proc/77/comm": "livenessd", "run/livenessd/status.json": `{"pid":77,"broker":{"connected":false,"queued":3,"error":"mqtt: no way","hint":"cable"}}`})
	steps := []mqtt.Step{{Broker: "mqtt://a:1883", Name: mqtt.StepName, Outcome: mqtt.Passed, Seen: "192.0.2.1"},
		{Broker: "mqtt://a:1883", Name: mqtt.StepTCP, Outcome: mqtt.Failed, Kind: mqtt.KindRefused, Seen: "connection refused", Hint: "start the broker"},
		{Broker: "mqtt://a:1883", Name: mqtt.StepTLS, Outcome: mqtt.Warned, Seen: "no TLS", Hint: "write mqtts://"},
		{Broker: "mqtt://a:1883", Name: mqtt.StepLogin, Outcome: mqtt.Skipped}}
	var all strings.Builder
	for _, yaml := range []string{"mqtt: {url: mqtt://a}", "mqtt: {url: [mqtt://a, mqtt://b]}"} {
		p := m.patient(t, yaml)
		p.Probe = func(context.Context, mqtt.Options) ([]mqtt.Step, error) { return steps, nil }
		all.WriteString("# " + yaml + "\n" + m.look(t, "broker", broker{p}))
	}
	p := m.patient(t, "{}")
	p.Probe = func(context.Context, mqtt.Options) ([]mqtt.Step, error) { return nil, errors.New("mqtt: options: no") }
	all.WriteString("# refused\n" + m.look(t, "broker", broker{p}))
	golden(t, "broker.golden", all.String())
}

func TestWhatAFailureAtABrokerIsCausedBy(t *testing.T) {
	m := aMachine(t, nil)
	for kind, want := range map[mqtt.Kind]Cause{mqtt.KindLogin: Permission, mqtt.KindAuthority: Configuration, mqtt.KindRefused: Absent, mqtt.KindExpired: Absent} {
		p := m.patient(t, "{}")
		p.Probe = func(context.Context, mqtt.Options) ([]mqtt.Step, error) {
			return []mqtt.Step{{Name: "x", Outcome: mqtt.Failed, Kind: kind}}, nil
		}
		if got := (broker{p}).Look(t.Context()); got[0].Cause != want {
			t.Errorf("%s: %q, want %q", kind, got[0].Cause, want)
		}
	}
}

// The password that systemd hands to the service is found where systemd takes it from.
func TestThePasswordIsTheServicesCredential(t *testing.T) {
	for credential, want := range map[string]string{"mqtt-password:/etc/somewhere": "/etc/somewhere", "livenessd:ROOT/etc/credentials": "ROOT/etc/credentials/mqtt-password",
		"other:/etc/somewhere": ""} {
		m := aMachine(t, map[string]string{"etc/credentials/mqtt-password": "hunter2"})
		m.says["systemctl show"] = active + "LoadCredential=" + strings.ReplaceAll(credential, "ROOT", m.root) + "\n"
		p := m.patient(t, "mqtt: {username: door}")
		asked := false
		p.Probe = func(_ context.Context, o mqtt.Options) ([]mqtt.Step, error) {
			if asked = true; o.PasswordFile != strings.ReplaceAll(want, "ROOT", m.root) || o.Username != "door" {
				t.Errorf("%s: %+v", credential, o)
			}
			return nil, nil
		}
		if (broker{p}).Look(t.Context()); !asked {
			t.Error("nobody asked")
		}
		if got := p.secrets().Redact("it is hunter2"); strings.Contains(got, "hunter2") != (want != "ROOT/etc/credentials/mqtt-password") {
			t.Errorf("%s: %s", credential, got)
		}
	}
}
