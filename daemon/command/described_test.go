package command

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	sockets "net" // net is a liveness net here
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/asyncapi"
)

// host is a client of a broker that only publishes.
type host struct {
	t *testing.T
	c sockets.Conn
}

func newHost(t *testing.T, address string) *host {
	t.Helper()
	c, err := sockets.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	h := &host{t, c}
	h.send(0x10, []byte("\x00\x04MQTT\x04\x02\x00\x00\x00\x04host"))
	ack := make([]byte, 4)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(ack); err != nil || ack[3] != 0 {
		t.Fatalf("%x, %v", ack, err)
	}
	return h
}

func (h *host) publish(topic, text string) {
	h.t.Helper()
	h.send(0x30, append(append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...), text...))
}

func (h *host) send(kind byte, body []byte) {
	h.t.Helper()
	p := []byte{kind}
	for n := len(body); ; n >>= 7 {
		if n < 128 {
			p = append(p, byte(n))
			break
		}
		p = append(p, byte(n&127|128))
	}
	if _, err := h.c.Write(append(p, body...)); err != nil {
		h.t.Fatal(err)
	}
}

// witness hears all that is said at a broker, and holds each message to the description.
type witness struct {
	t        *testing.T
	d        *asyncapi.Description
	received chan mqtt.Received
	heard    []mqtt.Received // of which nobody asked yet
	seen     map[string]int  // messages by channel
}

func newWitness(t *testing.T, address string) *witness {
	t.Helper()
	d, err := asyncapi.Read(mqtt.Schemas())
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{t: t, d: d, received: make(chan mqtt.Received), seen: map[string]int{}}
	for _, prefix := range []string{"livenessd", "homeassistant"} {
		in, err := mqtt.Subscribe(t.Context(), mqtt.SubscribeOptions{URL: "mqtt://" + address, Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for m := range in {
				select {
				case w.received <- m:
				case <-t.Context().Done():
				}
			}
		}()
	}
	return w
}

// on waits for a message on a topic that has a part, or finds one that came before and nobody asked for. The topic is below
// livenessd/door-7 unless it is Home Assistant's.
func (w *witness) on(topic, part string) []byte {
	w.t.Helper()
	if !strings.HasPrefix(topic, "homeassistant/") {
		topic = "livenessd/door-7/" + topic
	}
	is := func(m mqtt.Received) bool { return m.Topic == topic && strings.Contains(string(m.Payload), part) }
	if i := slices.IndexFunc(w.heard, is); i >= 0 {
		m := w.heard[i]
		w.heard = slices.Delete(w.heard, i, i+1)
		return m.Payload
	}
	return await(w.t, w.received, topic+" with "+part, func(m mqtt.Received) bool {
		w.hold(m)
		if !is(m) {
			w.heard = append(w.heard, m)
			return false
		}
		return true
	}).Payload
}

func (w *witness) hold(m mqtt.Received) {
	w.t.Helper()
	c := w.d.Find("livenessd", m.Topic)
	if c == nil {
		w.t.Errorf("%s is no channel of the description: %s", m.Topic, m.Payload)
		return
	}
	w.seen[c.Name]++
	if err := c.Check(m.Payload); err != nil {
		w.t.Errorf("%s: %s: %v", m.Topic, m.Payload, err)
	}
	if m.Retained && !c.Retain {
		w.t.Errorf("%s was retained: %s", m.Topic, m.Payload)
	}
}

// site is a configuration with a living person, an attack, the dark and a camera that isn't there.
type site struct {
	t     *testing.T
	state string
	films map[string]string // folders, by camera
}

func newSite(t *testing.T) *site {
	t.Helper()
	d := &site{t, t.TempDir(), map[string]string{}}
	var dark bytes.Buffer
	if err := jpeg.Encode(&dark, image.NewGray(image.Rect(0, 0, 320, 240)), nil); err != nil {
		t.Fatal(err)
	}
	for name, still := range map[string]string{"front": "live-1.jpg", "side": "replay-1.jpg", "dark": ""} {
		data := dark.Bytes()
		if still != "" {
			var err error
			if data, err = os.ReadFile(picture(still)); err != nil {
				t.Fatal(err)
			}
		}
		d.films[name] = t.TempDir()
		if err := os.WriteFile(filepath.Join(d.films[name], "1.jpg"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *site) config(mqtt string, cameras ...string) string {
	var b strings.Builder
	b.WriteString("device: door-7\nstate: " + d.state + "\ndecision: {live_at: 0.5, spoof_at: 0.45, timeout: 2s}\n" +
		"applications: {staff-door: {on_attack: ban, after: 1}}\nmqtt: {" + mqtt + "}\ncameras:\n")
	for _, name := range cameras {
		path := "replay:" + d.films[name]
		if d.films[name] == "" {
			path = filepath.Join(d.state, "no-such-device")
		}
		fmt.Fprintf(&b, "  %s: {path: %q, fps: 20}\n", name, path)
	}
	return write(d.t, "livenessd.yaml", b.String())
}

// run runs until it is told to stop.
func (d *site) run(config string) (log *buffer, stop func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	log = new(buffer)
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Process{Args: []string{"run", "--config", config}, Stdout: new(buffer), Stderr: log, Version: "1.2.3-test"})
	}()
	return log, func() {
		d.t.Helper()
		cancel()
		select {
		case c := <-code:
			if c != ExitOK {
				d.t.Errorf("exit code %d:\n%s", c, log)
			}
		case <-time.After(patience):
			d.t.Fatal("it doesn't stop")
		}
	}
}

// TestAllThatRunSaysIsInTheDescription goes through what a daemon can say at a real broker: each message is on a channel of the AsyncAPI
// description and is what its schema says, and there is no channel of which nothing was seen.
func TestAllThatRunSaysIsInTheDescription(t *testing.T) {
	needRuntime(t)
	address, _ := mosquitto(t)
	d := newSite(t)
	all := []string{"front", "side", "dark", "broken"}

	// What doesn't fit into the journal while no broker can be reached becomes a gap.
	away := d.config(`url: "mqtt://127.0.0.1:9", journal: {count: 1}`, all...)
	if r := call(t, "keys", "generate", "--config", away); r.code != ExitOK {
		t.Fatal(r.errors)
	}
	log, stop := d.run(away)
	for end := time.Now().Add(patience); !strings.Contains(log.String(), "verdict=live") || !strings.Contains(log.String(), "verdict=spoof"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no live and spoof:\n%s", log)
		}
	}
	stop()

	w, h := newWitness(t, address), newHost(t, address)
	ask := func(topic, text string) { h.publish("livenessd/door-7/"+topic, text) }
	session := func(transaction, camera, rest string) string {
		t.Helper()
		ask("request/session", fmt.Sprintf(`{"transaction":%q,"application":"staff-door","purpose":"authentication","camera":%q%s}`, transaction, camera, rest))
		var r mqtt.Response
		if b := w.on("response/session", `"transaction":"`+transaction+`"`); json.Unmarshal(b, &r) != nil || r.Session == "" {
			t.Fatalf("%s", b)
		}
		return r.Session
	}
	here := `url: "mqtt://` + address + `"`
	_, stop = d.run(d.config(here+`, home_assistant: true`, all...))
	w.on("gap", `"reason":"count"`)
	w.on("camera/front/state", `"streaming"`)
	w.on("camera/broken/state", `"recovering"`)
	w.on("camera/front/verdict", `"live"`)
	w.on("camera/side/attack", `"replayed":false`)
	ask("request/ping", `{"transaction":"p1"}`)
	w.on("response/ping", `"ok"`)
	ask("request/info", `{"transaction":"i1"}`)
	w.on("response/info", `"runtime"`)
	w.on("session/"+session("t1", "front", `,"subject":"u1","nonce":"n-1"`), `"live"`)
	w.on("session/"+session("t2", "side", `,"subject":"u2"`), `"spoof"`)
	ask("request/session", `{"transaction":"t3","application":"staff-door","purpose":"authentication","camera":"side","subject":"u2"}`)
	w.on("response/session", `"LOCKED_OUT"`)
	ask("request/unlock", `{"transaction":"t4","all":true}`)
	w.on("response/unlock", `"lifted"`)
	id := session("t5", "dark", `,"timeout":"30s"`)
	w.on("session/"+id, `"hint"`)
	ask("request/cancel", `{"transaction":"t6","session":"`+id+`"}`)
	w.on("response/cancel", `"ok"`)
	w.on("session/"+id, `"SESSION_EXPIRED"`)
	ask("application/staff-door/liveness/set", `{"authentication":false}`)
	w.on("application/staff-door/liveness/state", `"authentication":false`)
	w.on("session/"+session("t7", "front", ""), `"liveness":"off"`)
	ask("request/session", `{"transaction":"t8","application":"nobody","purpose":"authentication"}`)
	w.on("response/session", `"UNAUTHORIZED"`)
	const home = "homeassistant/device/livenessd_2fdoor-7/config"
	h.publish("homeassistant/status", "online")
	w.on("homeassistant/status", "online")
	w.on(home, `"broken_state"`)
	var m mqtt.Telemetry
	if b := w.on("telemetry", `"uptime_s"`); json.Unmarshal(b, &m) != nil || m.Cameras["front"].Examined == 0 || m.Cameras["front"].Verdicts.Live == 0 ||
		m.Cameras["front"].LatencyMS["total"].Frames == 0 || m.Cameras["side"].Verdicts.Spoof == 0 || m.Cameras["broken"].Captured != 0 || m.Delivery.Published == 0 {
		t.Errorf("%s", b)
	}
	// Whoever comes late gets what is retained, and nothing else.
	late := newWitness(t, address)
	var retained []string
	for _, c := range late.d.Channels() {
		if c.Retain {
			retained = append(retained, c.Name)
		}
	}
	for slices.ContainsFunc(retained, func(name string) bool { return late.seen[name] == 0 }) {
		await(t, late.received, fmt.Sprintf("all of %v, of which there are %v", retained, late.seen), func(m mqtt.Received) bool {
			late.hold(m)
			return true
		})
	}
	stop()
	w.on("availability", mqtt.Offline)
	for _, c := range w.d.Channels() {
		if w.seen[c.Name] == 0 {
			t.Errorf("nothing was seen of channel %s: let the daemon say it here", c.Name)
		}
	}

	// A camera that is gone is removed from Home Assistant, and the device when it isn't to be shown.
	_, stop = d.run(d.config(here+`, home_assistant: true`, "front"))
	w.on(home, `"broken_state":{"platform":"sensor"}`)
	stop()
	_, stop = d.run(d.config(here, "front"))
	for len(w.on(home, "")) > 0 { // the last of them removes the device
	}
	stop()
}
