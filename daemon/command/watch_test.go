package command

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	sockets "net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/broker"
	"github.com/livenessd/livenessd/mqtt/sign"
)

// mosquitto starts a real broker, and gives its address and what ends it.
func mosquitto(t *testing.T) (address string, stop func()) {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/mosquitto") // which is not in everybody's PATH
	}
	if err != nil {
		t.Skip("no mosquitto here, so that nothing is tried with it: apt-get install mosquitto")
	}
	l, err := sockets.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*sockets.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	conf := write(t, "conf", fmt.Sprintf("listener %d 127.0.0.1\nuser %s\nallow_anonymous true\nlog_dest none\n", port, me.Username))
	cmd := exec.Command(program, "-c", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says that it was killed
	}
	t.Cleanup(stop)
	address = fmt.Sprintf("127.0.0.1:%d", port)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, err := sockets.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address, stop
		}
		if time.Now().After(end) {
			t.Fatal("mosquitto doesn't listen")
		}
	}
}

// publish is a program that says what it likes, with MQTT 3.1.1 at QoS 1.
func publish(t *testing.T, address, topic string, payload []byte) {
	t.Helper()
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	packet := func(kind byte, body []byte) []byte {
		out := []byte{kind}
		for n := len(body); ; {
			b := byte(n & 0x7f)
			if n >>= 7; n > 0 {
				out = append(out, b|0x80)
				continue
			}
			return append(append(out, b), body...)
		}
	}
	c, err := sockets.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	out := packet(0x10, append(append(text("MQTT"), 4, 2, 0, 60), text("somebody")...))
	out = append(out, packet(0x32, append(append(text(topic), 0, 1), payload...))...)
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 8) // CONNACK and PUBACK
	for n := 0; n < len(answer); {
		m, err := c.Read(answer[n:])
		if n += m; err != nil {
			t.Fatal(err)
		}
	}
	_, _ = c.Write([]byte{0xe0, 0})
}

// watching runs livenessd watch until its end, which it gives.
type watching struct {
	t       *testing.T
	out     buffer
	errs    buffer
	stop    context.CancelFunc
	code    chan int
	skipped int // how much of the output was looked at
}

func startWatch(t *testing.T, args ...string) *watching {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &watching{t: t, stop: stop, code: make(chan int, 1)}
	t.Cleanup(stop)
	go func() {
		w.code <- Main(ctx, Process{Args: append([]string{"watch"}, args...), Stdout: &w.out, Stderr: &w.errs})
	}()
	return w
}

// line waits for the next line that has all of these words in it.
func (w *watching) line(words ...string) string {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		rest := w.out.String()[w.skipped:]
		for {
			line, after, whole := strings.Cut(rest, "\n")
			if !whole {
				break
			}
			w.skipped += len(line) + 1
			rest = after
			has := true
			for _, word := range words {
				has = has && strings.Contains(line, word)
			}
			if has {
				return line
			}
		}
		if time.Now().After(end) {
			w.t.Fatalf("no line with %q in\n%s%s", words, &w.out, &w.errs)
		}
	}
}

func (w *watching) ends() {
	w.t.Helper()
	w.stop()
	select {
	case c := <-w.code:
		if c != ExitOK || w.errs.String() != "" {
			w.t.Errorf("exit code %d: %s", c, &w.errs)
		}
	case <-time.After(patience):
		w.t.Fatal("it doesn't end")
	}
}

// answerTo is a verdict for a session.
func answerTo(seq uint64, nonce string) mqtt.Verdict {
	score, now := 0.9, time.Now()
	v := mqtt.Verdict{Schema: 1, ID: "01978c3a-5b6c-7d8e-9f01-23456789abcd", Device: "door-7", Camera: "front", Boot: "01978c3a-0000-7000-8000-000000000001",
		Seq: seq, Verdict: mqtt.Live, Score: &score, LiveAt: 0.8, SpoofAt: 0.3, Action: mqtt.Allow, Frames: 9, Face: &mqtt.Face{X: 1, Y: 2, Width: 30, Height: 40},
		CapturedAt: mqtt.Time(now), DecidedAt: mqtt.Time(now), ExpiresAt: mqtt.Time(now.Add(time.Hour)), ClockSynced: true,
		Model: mqtt.ModelRef{Name: "m", Version: "1", SHA256: strings.Repeat("0123456789abcdef", 4)}, Delegate: "xnnpack"}
	if nonce != "" {
		v.Session = &mqtt.Session{ID: fmt.Sprint("s", seq), Application: "staff-door", Purpose: mqtt.Authentication, Nonce: nonce}
	}
	return v
}

// device is a client that signs as run does.
func device(t *testing.T, url, keyFile string) *mqtt.Client {
	t.Helper()
	o := mqtt.Options{URL: url, Device: "door-7"}
	if keyFile != "" {
		f, err := sign.Open(keyFile, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		o.Signer = f
		o.Info = func() mqtt.Info {
			return mqtt.Info{Schema: 1, Device: "door-7", Version: "v1", Cameras: []string{"front"}, Keys: mqtt.KeysInfo(f.Public())}
		}
	}
	c, err := mqtt.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// TestWatchRefusesWhatIsForged is a device with a key, a real broker, and somebody who may publish there what he likes.
func TestWatchRefusesWhatIsForged(t *testing.T) {
	address, _ := mosquitto(t)
	state, thief := t.TempDir(), t.TempDir()
	for _, dir := range []string{state, thief} {
		if r := call(t, "keys", "generate", withConfig(t, "device: door-7\nstate: "+dir+"\n")); r.code != ExitOK {
			t.Fatal(r.errors)
		}
	}
	shown := call(t, "keys", "show", "--json", withConfig(t, "device: door-7\nstate: "+state+"\n")).out
	key := objects[keysOutput](t, shown)[0]
	file := write(t, "door-7.json", shown)
	flag := withConfig(t, "mqtt: {url: \"mqtt://"+address+"\"}\n")

	// What was said once, to somebody else.
	spy, err := mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: "mqtt://" + address})
	if err != nil {
		t.Fatal(err)
	}
	const topic = "livenessd/door-7/verdict/jws"
	c := device(t, "mqtt://"+address, filepath.Join(state, "device.key"))
	c.PublishVerdict(answerTo(1, "n-1"))
	old := await(t, spy, "a signed verdict", func(m mqtt.Received) bool { return m.Topic == topic }).Payload

	w := startWatch(t, "--verify", file, "--nonce", "n-2", "--nonce", "n-3", flag)
	w.line("connected")
	w.line("door-7", "online")
	w.line("livenessd v1", "key "+key.ID)
	publish(t, address, "livenessd/door-8/camera/front/verdict", []byte("x")) // of which nobody has a key
	publish(t, address, topic, old)
	w.line("REFUSED", "nonce", `"n-1"`, "it says LIVE")
	c.PublishVerdict(answerTo(2, "n-2"))
	w.line("door-7", "front", "LIVE", "score 0.900", "nonce n-2", "→ allow", "signed "+key.ID[:8])
	good := await(t, spy, "another one", func(m mqtt.Received) bool { return m.Topic == topic && !bytes.Equal(m.Payload, old) }).Payload
	altered := bytes.Clone(good)
	altered[len(altered)/2] ^= 2
	publish(t, address, topic, altered)
	w.line("REFUSED", "signature", "altered")
	thiefs, err := sign.Load(filepath.Join(thief, "device.key"))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := json.Marshal(answerTo(3, "n-3"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := thiefs.Sign(forged)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, address, topic, jws)
	w.line("REFUSED", "key", thiefs.Public().ID)
	publish(t, address, "livenessd/door-7/camera/front/verdict", forged)
	w.line("REFUSED", "unsigned", "it says LIVE")
	changed := answerTo(2, "n-2")
	changed.Face = &mqtt.Face{X: 5, Y: 5, Width: 5, Height: 5}
	if forged, err = json.Marshal(changed); err != nil {
		t.Fatal(err)
	}
	publish(t, address, "livenessd/door-7/camera/front/verdict", forged)
	w.line("REFUSED", "altered")
	c.PublishVerdict(answerTo(3, "n-3"))
	w.line("LIVE", "nonce n-3", "→ allow")
	w.ends()
	if n := strings.Count(w.out.String(), "→ allow"); n != 2 || strings.Contains(w.out.String(), "door-8") {
		t.Errorf("%d verdicts were let through:\n%s", n, &w.out)
	}
}

func TestWatchSaysThatItReconnects(t *testing.T) {
	address, stop := mosquitto(t)
	w := startWatch(t, "--url", "mqtt://"+address, withConfig(t, ""))
	w.line("broker", "connected")
	stop()
	w.line("broker", "no connection; it is tried again", "closed the connection")
	w.line("broker", "no connection; it is tried again", "refused", "→ start the broker")
	w.ends()
}

func TestWatchAsJSON(t *testing.T) {
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w := startWatch(t, "--json", "--device", "door-7,door-9", "--url", b.URL(), withConfig(t, ""))
	next := func(event string) seen {
		t.Helper()
		var e seen
		if err := json.Unmarshal([]byte(w.line(`"event":"`+event+`"`)), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := next("connection"); e.Connected == nil || !*e.Connected {
		t.Errorf("%+v", e)
	}
	say := func(topic string, payload string) {
		t.Helper()
		if err := b.Publish("livenessd/"+topic, []byte(payload), false); err != nil {
			t.Fatal(err)
		}
	}
	say("door-8/availability", "online") // which nobody asked for
	c := device(t, b.URL(), "")
	if e := next("availability"); e.Device != "door-7" || e.Availability != mqtt.Online {
		t.Errorf("%+v", e)
	}
	c.SetCameraState("front", mqtt.CameraState{Schema: 1, State: "failed", Code: mqtt.CodePermissionRefused, Hint: "add the user to group video"})
	if e := next("state"); e.Camera != "front" || e.State == nil || e.State.State != "failed" {
		t.Errorf("%+v", e)
	}
	c.PublishVerdict(answerTo(1, ""))
	if e := next("verdict"); e.Act != mqtt.Allow || e.Verdict == nil || e.Verdict.Check() != nil || e.Late != "" || e.Device != "door-7" {
		t.Errorf("%+v", e)
	}
	late := answerTo(2, "")
	late.DecidedAt, late.ExpiresAt = mqtt.Time(time.Now().Add(-time.Hour)), mqtt.Time(time.Now().Add(-time.Hour))
	c.PublishVerdict(late)
	if e := next("verdict"); e.Act != mqtt.Deny || e.Late != mqtt.LateReplayed || e.Verdict.Action != mqtt.Allow {
		t.Errorf("%+v", e)
	}
	say("door-7/gap", `{"schema":1,"device":"door-7","boot":"b","ranges":[{"first":1,"last":3}],"exact":true,"verdicts":3,"spoofs":1,"reason":"count"}`)
	if e := next("gap"); e.Gap == nil || e.Gap.Spoofs != 1 || e.Boot != "b" || len(e.Ranges) != 1 {
		t.Errorf("%+v", e)
	}
	say("door-9/camera/front/verdict", "\x1b[2J")
	if e := next("refused"); e.Reason != mqtt.RefusedMalformed || e.Topic != "livenessd/door-9/camera/front/verdict" || e.Error == "" {
		t.Errorf("%+v", e)
	}
	w.ends()
	if strings.Contains(w.out.String(), "door-8") {
		t.Errorf("it shows what nobody asked for:\n%s", &w.out)
	}
}

func TestWatchLinesAreForPeople(t *testing.T) {
	v := &view{app: &app{}, keys: map[string][]sign.Public{"door-7": nil}}
	id := strings.Repeat("k", 43)
	boot := "b"
	spoof := answerTo(1, "n-1")
	spoof.Verdict, spoof.Action, spoof.Attack = mqtt.Spoof, mqtt.Deny, "replay"
	spoof.SetCode(mqtt.CodePADAttack)
	for want, e := range map[string]mqtt.Event{
		"SPOOF      PAD_ATTACK (replay)  score 0.900 of 9 frames  face 30×40 at 1,2  session s1 of staff-door, nonce n-1  → deny  signed kkkkkkkk": {Verdict: &mqtt.Accepted{Verdict: spoof, Act: mqtt.Deny, Key: id}},
		"LIVE       score 0.900 of 9 frames  face 30×40 at 1,2  → allow, but older than one that came before":                                      {Verdict: &mqtt.Accepted{Verdict: answerTo(1, ""), Act: mqtt.Deny, Older: true}},
		"LIVE       score 0.900 of 9 frames  face 30×40 at 1,2  → allow, but not the answer that is expected":                                      {Verdict: &mqtt.Accepted{Verdict: answerTo(1, ""), Act: mqtt.Deny}},
		"GAP  1–3, 5: the device gave up 4 verdicts, 1 of them spoofs (count)":                                                                     {Gap: &mqtt.Missing{Boot: boot, Ranges: []mqtt.SeqRange{{First: 1, Last: 3}, {First: 5, Last: 5}}, Announced: &mqtt.Gap{Verdicts: 4, Spoofs: 1, Reason: mqtt.GapCount}}},
		"GAP  nobody knows which: the device gave up 0 verdicts, 0 of them spoofs (damaged)":                                                       {Gap: &mqtt.Missing{Announced: &mqtt.Gap{Reason: mqtt.GapDamaged}}},
		"MISSING  7: the device says nothing of it":                                                                                                {Gap: &mqtt.Missing{Boot: boot, Ranges: []mqtt.SeqRange{{First: 7, Last: 7}}}},
		"MISSING  7: they may have come while there was no connection":                                                                             {Gap: &mqtt.Missing{Boot: boot, Away: true, Ranges: []mqtt.SeqRange{{First: 7, Last: 7}}}},
		"streaming  640×480 MJPG at 15 fps":                                                                                                        {State: &mqtt.CameraState{State: "streaming", Width: 640, Height: 480, Format: "MJPG", FPS: 15}},
		"failed  PERMISSION_REFUSED  denied → add the user to group video":                                                                         {State: &mqtt.CameraState{State: "failed", Code: mqtt.CodePermissionRefused, Error: "denied", Hint: "add the user to group video"}},
		"livenessd v1, cameras front, key " + id + ", which is none of those to verify with":                                                       {Device: "door-7", Info: &mqtt.Info{Version: "v1", Cameras: []string{"front"}, Keys: []mqtt.KeyInfo{{Kid: id}}}},
		"livenessd v1, cameras front, without a key":                                                                                               {Device: "door-7", Info: &mqtt.Info{Version: "v1", Cameras: []string{"front"}}},
		"hint for session s1: come closer":                                                                                                         {Hint: &mqtt.Hint{Session: "s1", Hint: "come closer"}},
		"offline":                                                                                                                                  {Availability: mqtt.Offline},
	} {
		if got := v.line(e); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	if s := visible("a\x1b[2J\n\u202eb é"); s != "a\ufffd[2J\ufffd\ufffdb é" {
		t.Errorf("%q", s)
	}
}

func TestWatchSaysWhatIsWrong(t *testing.T) {
	state := t.TempDir()
	flag := withConfig(t, "device: door-7\nstate: "+state+"\nmqtt: {url: \"mqtt://127.0.0.1:9\"}\n")
	made := call(t, "keys", "generate", "--json", flag)
	key := objects[keysOutput](t, made.out)[0]
	named, private := write(t, "k.json", made.out), filepath.Join(state, "device.key")
	for _, tt := range []struct {
		name, want string
		args       []string
		code       int
	}{
		{"nobody there", "connection refused", nil, ExitUnavailable},
		{"a key and nobody there", "connection refused", []string{"--verify", named}, ExitUnavailable},
		{"a key with a name", "connection refused", []string{"--verify", "door-7=" + key.PublicKey}, ExitUnavailable},
		{"a key and its device", "connection refused", []string{"--verify", key.PublicKey, "--device", "door-7"}, ExitUnavailable},
		{"a file and its device", "connection refused", []string{"--verify", "door-7=" + named}, ExitUnavailable},
		{"nobody's key", "whose key is it", []string{"--verify", key.PublicKey}, ExitUsage},
		{"another's key", "the key is of door-7", []string{"--verify", "door-8=" + named}, ExitUsage},
		{"an id", "nothing can be verified with an id", []string{"--verify", "door-7=" + key.ID}, ExitUsage},
		{"a private key", "it is a private key", []string{"--verify", "door-7=" + private}, ExitUsage},
		{"no file", "no such file", []string{"--verify", "door-7=/nonexistent"}, ExitUsage},
		{"a folder", "not a regular file", []string{"--verify", "door-7=" + state}, ExitUsage},
		{"a bad url", "neither mqtt:// nor mqtts://", []string{"--url", "http://x"}, ExitUsage},
		{"a bad device", "has a /", []string{"--device", "a/b"}, ExitUsage},
	} {
		r := call(t, append([]string{"watch", flag}, tt.args...)...)
		if r.code != tt.code || !strings.Contains(r.errors, tt.want) || r.out != "" {
			t.Errorf("%s: exit code %d: %s%s", tt.name, r.code, r.out, r.errors)
		}
	}
	if _, err := os.Stat(private); err != nil {
		t.Error(err)
	}
	b, err := broker.Start(broker.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if r := call(t, "watch", "--nonce", "", "--url", b.URL(), withConfig(t, "")); r.code != ExitUsage || !strings.Contains(r.errors, "empty nonce") {
		t.Errorf("an empty nonce: exit code %d: %s", r.code, r.errors)
	}
}
