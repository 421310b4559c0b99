// Package lab runs the daemon in a virtual machine with real camera drivers and a real broker: see README.md.
package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera"
)

// cannot is the exit code of bin/lab where this machine can't run the lab.
const cannot = 99

const cameraByID = "/dev/v4l/by-id/usb-Lab_Lab_UVC_camera_LAB0001-video-index0"

func TestLab(t *testing.T) {
	if os.Getenv("LIVENESSD_LAB") == "" {
		t.Skip("the lab takes minutes: run it by `make lab`, or LIVENESSD_LAB=1 go test ./cross/lab/ after `make build`")
	}
	l := prepared(t)
	t.Run("cameras", l.cameras)
	t.Run("formats", l.formats)
	t.Run("settings", l.settings)
	t.Run("MJPEG", func(t *testing.T) { l.verdicts(t, "MJPG", 15) })
	t.Run("YUYV", func(t *testing.T) { l.verdicts(t, "YUYV", 5) })
	t.Run("broker", l.broker)
	t.Run("faults", l.faults)
	t.Run("recovery", func(t *testing.T) { l.recovery(t, "flagged", "qbuf", "streamon") })
	t.Run("sources", l.sources)
	t.Run("sessions", l.sessions)
	t.Run("cues", l.cues)
	t.Run("service", l.service)
	t.Run("doctor", l.doctor)
}

// prepared makes the share of all scripts.
func prepared(t *testing.T) lab {
	t.Helper()
	share := t.TempDir()
	binary, library := built(t)
	ready(t)
	copyFile(t, binary, filepath.Join(share, "livenessd"))
	copyFile(t, library, filepath.Join(share, "libtensorflowlite_c.so"))
	for _, name := range []string{"lib.sh", "lib-service.sh"} {
		copyFile(t, "tests/"+name, filepath.Join(share, name))
	}
	scenes(t, filepath.Join(share, "scenes"))
	return lab{share: share}
}

// built finds what is tested. Nothing is skipped for its absence: a test of what isn't there must not pass.
func built(t *testing.T) (binary, library string) {
	t.Helper()
	binary = os.Getenv("LIVENESSD_BIN")
	if binary == "" {
		binary = "../../build/livenessd"
	}
	library = os.Getenv("LIVENESSD_TFLITE")
	if library == "" {
		library = filepath.Join(filepath.Dir(binary), "libtensorflowlite_c.so")
	}
	for _, path := range []string{binary, library} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v: run make build first", err)
		}
	}
	return binary, library
}

// ready builds the lab if it isn't yet.
func ready(t *testing.T) {
	t.Helper()
	for _, verb := range []string{"check", "build"} {
		out, err := exec.CommandContext(t.Context(), "bin/lab", verb).CombinedOutput()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == cannot {
			t.Skipf("this machine can't %s the lab:\n%s", map[string]string{"check": "run", "build": "build"}[verb], out)
		}
		if err != nil {
			t.Fatalf("lab %s: %v\n%s", verb, err, out)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// scenes writes what the cameras play: for each label of the demo's clip the middle of its longest segment, as numbered JPEGs
// and as raw YUYV, and an index of LABEL FIRST LAST.
func scenes(t *testing.T, dir string) {
	t.Helper()
	const length = 30 // frames; at 614 kB each they have to fit into the machine's memory
	clip, err := os.ReadFile("../../daemon/demo/clip.mjpeg")
	if err != nil {
		t.Fatal(err)
	}
	truth, err := os.ReadFile("../../daemon/demo/clip.json")
	if err != nil {
		t.Fatal(err)
	}
	type segment struct {
		First, Last int
		Label       string
	}
	var segments struct{ Segments []segment }
	if err := json.Unmarshal(truth, &segments); err != nil {
		t.Fatal(err)
	}
	longest := map[string]segment{}
	for _, s := range segments.Segments {
		if was, ok := longest[s.Label]; !ok || s.Last-s.First > was.Last-was.First {
			longest[s.Label] = s
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	raw, err := os.Create(filepath.Join(dir, "frames.yuyv"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var index bytes.Buffer
	pictures, n := camera.SplitMJPEG(clip), 0
	for _, label := range []string{"none", "live", "replay"} {
		s, ok := longest[label]
		if !ok || s.First < 0 || s.Last >= len(pictures) || s.First > s.Last {
			t.Fatalf("the demo's clip of %d frames has no segment %q: %+v", len(pictures), label, segments)
		}
		first := (s.First + s.Last + 1 - min(length, s.Last-s.First+1)) / 2
		frames := pictures[first:min(first+length, s.Last+1)]
		fmt.Fprintln(&index, label, n, n+len(frames)-1)
		for _, p := range frames {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.jpg", n)), p, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Write(yuyv(t, p)); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "index"), index.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// yuyv gives a JPEG as a camera would send it raw: 4:2:2 packed, samples from 16.
func yuyv(t *testing.T, picture []byte) []byte {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := m.(*image.YCbCr)
	if !ok || s.Rect != image.Rect(0, 0, 640, 480) {
		t.Fatalf("a %T of %v, not a colour picture of 640×480", m, m.Bounds())
	}
	out := make([]byte, 0, 2*s.Rect.Dx()*s.Rect.Dy())
	for y := range s.Rect.Dy() {
		for x := range s.Rect.Dx() {
			chroma := s.Cb
			if x%2 == 1 {
				chroma = s.Cr
			}
			out = append(out, byte(16+int(s.Y[s.YOffset(x, y)])*219/255), byte(128+(int(chroma[s.COffset(x, y)])-128)*224/255))
		}
	}
	return out
}

// lab runs scripts with a share.
type lab struct {
	share string
	disk  string // that stays from run to run; "": each run begins with the same machine
}

// outcome is what a script brought out.
type outcome struct {
	dir      string
	messages []message
	results  map[string]string
	log      string // the daemon's
}

// message is a message as mosquitto_sub tells it, with the last mark before it.
type message struct {
	phase string

	Mark    string `json:"mark"`
	Topic   string `json:"topic"`
	QoS     int    `json:"qos"`
	Retain  int    `json:"retain"`
	Payload string `json:"payload"`
}

// run fails the test unless the script ends with 0.
func (l lab) run(t *testing.T, limit time.Duration, script string, args ...string) outcome {
	t.Helper()
	keep := filepath.Join(t.TempDir(), "run")
	line := []string{"run", "--timeout", strconv.Itoa(int(limit.Seconds())), "--share", l.share, "--keep", keep, "tests/" + script + ".sh", "--"}
	if l.disk != "" {
		line = slices.Insert(line, 1, "--disk", l.disk)
	}
	cmd := exec.CommandContext(t.Context(), "bin/lab", append(line, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends the machine
	cmd.WaitDelay = 10 * time.Second
	start := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("%s %v, %v:\n%s", script, args, time.Since(start).Round(time.Second), out)
	o := outcome{dir: filepath.Join(keep, "host", "out"), results: map[string]string{}}
	if err != nil {
		serial, _ := os.ReadFile(filepath.Join(keep, "serial.log"))
		t.Fatalf("%s: %v; the machine's console:\n%s", script, err, serial)
	}
	o.log = o.read(t, "daemon.log")
	if strings.Contains(o.log, "panic") || strings.Contains(o.log, "goroutine ") {
		t.Errorf("the daemon panicked:\n%s", o.log)
	}
	phase := ""
	for s := bufio.NewScanner(strings.NewReader(o.read(t, "messages"))); s.Scan(); {
		m := message{}
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		if m.Mark != "" {
			phase = m.Mark
			continue
		}
		m.phase = phase
		o.messages = append(o.messages, m)
	}
	if _, err := os.Stat(filepath.Join(o.dir, "results")); err == nil {
		for line := range strings.Lines(o.read(t, "results")) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			o.results[name] = value
		}
	}
	return o
}

func (o *outcome) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// document is what the tests look at in the messages of all topics.
type document struct {
	Schema     int     `json:"schema"`
	Device     string  `json:"device"`
	Camera     string  `json:"camera"`
	Boot       string  `json:"boot"`
	Seq        uint64  `json:"seq"`
	Verdict    string  `json:"verdict"`
	Code       *string `json:"code"`
	CodeNumber *int    `json:"code_number"`
	Action     string  `json:"action"`
	Frames     int     `json:"frames"`
	Face       *struct{ X, Y, Width, Height int }
	State      string  `json:"state"`
	Format     string  `json:"format"`
	Width      int     `json:"width"`
	Height     int     `json:"height"`
	FPS        float64 `json:"fps"`
	Hint       string  `json:"hint"`
}

// on gives the documents on a topic below the device's, in a phase ("" is any).
func (o *outcome) on(t *testing.T, topic, phase string) []document {
	t.Helper()
	var out []document
	for _, m := range o.messages {
		if m.Topic != "livenessd/lab/"+topic || phase != "" && m.phase != phase {
			continue
		}
		var d document
		if err := json.Unmarshal([]byte(m.Payload), &d); err != nil {
			t.Fatalf("%s: %q: %v", m.Topic, m.Payload, err)
		}
		if m.QoS != 1 {
			t.Errorf("%s came with QoS %d", m.Topic, m.QoS)
		}
		out = append(out, d)
	}
	return out
}

// words gives one member of each document.
func words(ds []document, of func(document) string) (out []string) {
	for _, d := range ds {
		out = append(out, of(d))
	}
	return out
}

func states(ds []document) []string {
	return words(ds, func(d document) string { return d.State })
}

// said checks every verdict of a phase, and that there is one.
func said(t *testing.T, o *outcome, phase, verdict string) {
	t.Helper()
	ds := o.on(t, "camera/front/verdict", phase)
	if len(ds) == 0 {
		t.Errorf("%s: no verdict", phase)
	}
	for _, d := range ds {
		if d.Camera != "front" || d.Device != "lab" || d.Schema != 1 || d.Boot == "" || d.Seq == 0 {
			t.Errorf("%s: %+v isn't of this camera", phase, d)
		}
		if verdict == "live" && d.Verdict == "spoof" || verdict == "spoof" && d.Verdict == "live" {
			t.Errorf("%s: the verdict is %s, want %s", phase, d.Verdict, verdict)
		}
		switch d.Verdict {
		case "live":
			if d.Code != nil || d.CodeNumber != nil || d.Action != "allow" || d.Frames < 5 || d.Face == nil {
				t.Errorf("%s: live with %+v", phase, d)
			}
		case "spoof":
			if d.Code == nil || *d.Code != "PAD_ATTACK" || d.CodeNumber == nil || *d.CodeNumber != 5 || d.Action != "deny" {
				t.Errorf("%s: spoof with %+v", phase, d)
			}
		}
	}
	if got := words(ds, func(d document) string { return d.Verdict }); !slices.Contains(got, verdict) {
		t.Errorf("%s: verdicts %v, want %s", phase, got, verdict)
	}
}

// sameRun checks that verdicts are of one start of the daemon, in order.
func sameRun(t *testing.T, ds []document) {
	t.Helper()
	for i, d := range ds {
		if d.Boot != ds[0].Boot || i > 0 && d.Seq <= ds[i-1].Seq {
			t.Errorf("verdict %d has boot %s and seq %d after %+v", i, d.Boot, d.Seq, ds[:i])
		}
	}
}

// availability checks what came on it, in order.
func availability(t *testing.T, o *outcome, want ...string) {
	t.Helper()
	var got []string
	for _, m := range o.messages {
		if m.Topic == "livenessd/lab/availability" {
			got = append(got, m.Payload)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("availability %v, want %v", got, want)
	}
}

func (l lab) cameras(t *testing.T) {
	o := l.run(t, 2*time.Minute, "cameras")
	var list []camera.Info
	if err := json.Unmarshal([]byte(o.read(t, "cameras.json")), &list); err != nil {
		t.Fatal(err)
	}
	byDriver := map[string][]camera.Info{}
	for _, i := range list {
		byDriver[i.Driver] = append(byDriver[i.Driver], i)
	}
	for _, c := range []struct {
		driver, byID string
		format       string
	}{
		{"uvcvideo", cameraByID, "MJPG"}, // has two nodes; one is metadata
		{"vivid", "", "YUYV"},
		{"v4l2 loopback", "", "YUYV"}, // one of two is fed
	} {
		is := byDriver[c.driver]
		if len(is) != 1 {
			t.Errorf("%s is listed %d times: %+v", c.driver, len(is), list)
			continue
		}
		offers := func(f camera.FormatInfo) bool { return f.FourCC == c.format }
		if !is[0].Usable || is[0].ByID != c.byID || !slices.ContainsFunc(is[0].Formats, offers) {
			t.Errorf("%s: %+v", c.driver, is[0])
		}
	}
	if len(list) != 3 {
		t.Errorf("%d cameras are listed, not 3: %+v", len(list), list)
	}
	var refused []camera.Info
	if err := json.Unmarshal([]byte(o.read(t, "refused.json")), &refused); err != nil {
		t.Fatal(err)
	}
	usb := slices.IndexFunc(refused, func(i camera.Info) bool { return i.ByID == cameraByID })
	if usb < 0 || refused[usb].Usable || !strings.Contains(refused[usb].Reason, "group video") || refused[usb].Card == "" {
		t.Errorf("a user outside of group video sees %+v", refused)
	}
}

func (l lab) verdicts(t *testing.T, format string, fps float64) {
	o := l.run(t, 15*time.Minute, "verdicts", format, strconv.FormatFloat(fps, 'g', -1, 64))
	said(t, &o, "start", "live")
	said(t, &o, "replay", "spoof")
	said(t, &o, "plugged", "live")
	// The daemon that is started again, to be killed, is another run: it may still see a face, and die between two messages.
	first := func(topic string) (ds []document) {
		for _, phase := range []string{"start", "unplugged", "plugged", "replay", "term"} {
			ds = append(ds, o.on(t, topic, phase)...)
		}
		return ds
	}
	// A slow machine may lose sight of a face and judge it again; each of its verdicts must be told as an attack.
	var want []uint64
	for _, d := range first("camera/front/verdict") {
		if d.Code != nil && *d.Code == "PAD_ATTACK" {
			want = append(want, d.Seq)
		}
	}
	var attacks []uint64
	for _, d := range first("camera/front/attack") {
		attacks = append(attacks, d.Seq)
		if d.Verdict != "spoof" || d.Camera != "front" {
			t.Errorf("on the topic for attacks: %+v", d)
		}
	}
	if len(attacks) == 0 || !slices.Equal(attacks, want) {
		t.Errorf("the attacks have seq %v, the verdicts with PAD_ATTACK %v", attacks, want)
	}
	for _, d := range o.on(t, "camera/front/state", "") {
		if d.State == "streaming" && (d.Format != format || d.Width != 640 || d.Height != 480 || d.FPS != fps) {
			t.Errorf("streaming with %+v", d)
		}
		if d.State != "streaming" && d.State != "recovering" {
			t.Errorf("state %+v", d)
		}
	}
	for _, d := range o.on(t, "camera/front/state", "unplugged") {
		if d.State != "recovering" || d.Hint == "" {
			t.Errorf("unplugged, and the state is %+v", d)
		}
	}
	if got := states(o.on(t, "camera/front/state", "plugged")); !slices.Contains(got, "streaming") {
		t.Errorf("states after the camera came back: %v", got)
	}
	sameRun(t, first("camera/front/verdict"))
	if code := o.results["term_exit"]; code != "0" {
		t.Errorf("SIGTERM ends it with exit code %q", code)
	}
	t.Logf("SIGTERM ends it within %s s, under emulation", o.results["term_seconds"])
	availability(t, &o, "online", "offline", "online", "offline")
}

func (l lab) broker(t *testing.T) {
	o := l.run(t, 10*time.Minute, "broker")
	said(t, &o, "late", "live")
	said(t, &o, "replay", "spoof")
	for _, phase := range []string{"late", "back"} {
		if got := states(o.on(t, "camera/front/state", phase)); len(got) == 0 || got[0] != "streaming" {
			t.Errorf("%s: states %v", phase, got)
		}
		info := o.on(t, "info", phase)
		if len(info) == 0 || info[0].Device != "lab" {
			t.Errorf("%s: info %+v", phase, info)
		}
	}
}

func (l lab) faults(t *testing.T) {
	o := l.run(t, 15*time.Minute, "faults")
	for _, fault := range []string{"freeze", "error", "short", "empty", "stall", "proto", "busy"} {
		if got := states(o.on(t, "camera/front/state", fault)); !slices.Contains(got, "recovering") {
			t.Errorf("%s: states %v", fault, got)
		}
		if got := states(o.on(t, "camera/front/state", "after-"+fault)); len(got) == 0 || got[len(got)-1] != "streaming" {
			t.Errorf("after %s: states %v", fault, got)
		}
	}
	if ds := o.on(t, "camera/front/verdict", ""); len(ds) > 0 {
		t.Errorf("verdicts of an empty room: %+v", ds)
	}
	if code := o.results["exit"]; code != "0" {
		t.Errorf("exit code %q", code)
	}
	// What was wrong stands in the log, counted.
	var last struct{ Counters map[string]uint64 }
	for line := range strings.Lines(o.log) {
		if strings.Contains(line, `"counters"`) {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	if c := last.Counters; c["truncated"] == 0 || c["reopened"] < 7 || c["captured"] == 0 {
		t.Errorf("counters %v", c)
	}
}

func (l lab) sources(t *testing.T) {
	o := l.run(t, 10*time.Minute, "sources")
	for _, c := range []struct{ camera, phase, state string }{
		{"vivid", "taken", "failed"}, {"loopback", "taken", "failed"}, {"vivid", "start", "streaming"}, {"loopback", "fed", "streaming"},
		{"vivid", "inject_fatal_streaming_error", "recovering"}, {"vivid", "inject_vidioc_qbuf_error", "recovering"},
		{"vivid", "inject_vidioc_streamon_error", "recovering"}, {"vivid", "unbound", "recovering"}, {"vivid", "bound", "streaming"},
	} {
		ds := o.on(t, "camera/"+c.camera+"/state", c.phase)
		i := slices.IndexFunc(ds, func(d document) bool { return d.State == c.state })
		if i < 0 || c.state == "streaming" && ds[i].Format != "YUYV" || c.state != "streaming" && ds[i].Hint == "" {
			t.Errorf("%s, %s: %+v", c.camera, c.phase, ds)
		}
	}
	if ds := o.on(t, "camera/vivid/state", "taken"); !slices.ContainsFunc(ds, func(d document) bool { return strings.Contains(d.Hint, "v4l2-ctl") }) {
		t.Errorf("the hint doesn't name who has vivid: %+v", ds)
	}
	for _, m := range o.messages {
		if strings.HasSuffix(m.Topic, "/verdict") {
			t.Errorf("nobody was there, and the verdict is %s", m.Payload)
		}
	}
	if code := o.results["exit"]; code != "0" {
		t.Errorf("exit code %q", code)
	}
}

// sessions checks what each session was told: the script waited for it.
func (l lab) sessions(t *testing.T) {
	o := l.run(t, 25*time.Minute, "sessions")
	type answer struct {
		ID           string  `json:"id"`
		Verdict      string  `json:"verdict"`
		Code         *string `json:"code"`
		Action       string  `json:"action"`
		Liveness     string  `json:"liveness"`
		RetryAfterMS int64   `json:"retry_after_ms"`
		Hint         string  `json:"hint"`
		Session      any     `json:"session"`
	}
	answers, hints := map[string]answer{}, 0
	for _, m := range o.messages {
		var a answer
		if strings.HasPrefix(m.Topic, "livenessd/lab/camera/") && strings.HasSuffix(m.Topic, "/verdict") {
			if err := json.Unmarshal([]byte(m.Payload), &a); err != nil || a.Session == nil {
				t.Errorf("%s: a verdict that nobody asked for: %s, %v", m.phase, m.Payload, err)
			}
			continue
		}
		if !strings.HasPrefix(m.Topic, "livenessd/lab/session/") {
			continue
		}
		if err := json.Unmarshal([]byte(m.Payload), &a); err != nil || m.QoS != 1 || m.Retain != 0 {
			t.Fatalf("%+v: %v", m, err)
		}
		if a.Verdict == "" {
			if a.Hint == "" || a.Code == nil {
				t.Errorf("neither a hint nor a verdict: %s", m.Payload)
			}
			hints++
			continue
		}
		s, _ := a.Session.(map[string]any)
		nonce, _ := s["nonce"].(string)
		if was, twice := answers[nonce]; twice && was.ID != a.ID {
			t.Errorf("%s has two answers: %+v and %+v", nonce, was, a)
		}
		if m.Topic != "livenessd/lab/session/"+fmt.Sprint(s["id"]) {
			t.Errorf("%s is on %s", nonce, m.Topic)
		}
		answers[nonce] = a
	}
	for _, want := range []struct{ nonce, verdict, code, action, liveness string }{
		{"n-s1", "undecided", "SESSION_EXPIRED", "deny", ""}, {"n-s2", "live", "", "allow", ""},
		{"n-b1", "spoof", "PAD_ATTACK", "deny", ""}, {"n-b2", "spoof", "PAD_ATTACK", "deny", ""},
		{"n-k1", "undecided", "SESSION_EXPIRED", "deny", ""}, {"n-b5", "spoof", "PAD_ATTACK", "deny", ""},
		{"n-o1", "undecided", "", "allow", "off"}, {"n-o2", "spoof", "PAD_ATTACK", "deny", ""}, {"n-t1", "undecided", "SESSION_EXPIRED", "deny", ""},
	} {
		a, code := answers[want.nonce], ""
		if a.Code != nil {
			code = *a.Code
		}
		if a.Verdict != want.verdict || code != want.code || a.Action != want.action || a.Liveness != want.liveness {
			t.Errorf("%s: %+v with code %q", want.nonce, a, code)
		}
		if began := want.nonce == "n-b2"; began != (a.RetryAfterMS > 0) {
			t.Errorf("%s: %d ms left", want.nonce, a.RetryAfterMS)
		}
	}
	if len(answers) != 9 || hints == 0 {
		t.Errorf("%d answers and %d hints", len(answers), hints)
	}
	if code := o.results["exit"]; code != "0" {
		t.Errorf("exit code %q", code)
	}
}

func (l lab) cues(t *testing.T) {
	o := l.run(t, 15*time.Minute, "cues")
	said(t, &o, "unseen", "spoof")
	said(t, &o, "seen", "live")
	var codes []string
	for _, d := range o.on(t, "camera/front/verdict", "loop") {
		if d.Code != nil {
			codes = append(codes, d.Verdict+" "+*d.Code)
		}
	}
	if !slices.Contains(codes, "undecided CAMERA_SUSPECT") {
		t.Errorf("verdicts about a loop that aren't live: %q", codes)
	}
	if ds := o.on(t, "camera/beside/verdict", ""); len(ds) > 0 {
		t.Errorf("an infrared camera gave verdicts: %+v", ds)
	}
	if got := states(o.on(t, "camera/beside/state", "unseen")); !slices.Contains(got, "streaming") {
		t.Errorf("states of the infrared camera: %v", got)
	}
}
