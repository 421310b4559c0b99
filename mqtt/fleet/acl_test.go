package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed acl
var acl string

// guarded is a mosquitto with the access list and these users, whose passwords are in the file that it returns.
func guarded(t *testing.T, more string, users ...string) (b *broker, secret string) {
	t.Helper()
	tool, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Skip("no mosquitto_passwd here, so that no access list is tried: apt-get install mosquitto")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var lines strings.Builder
	for _, u := range users {
		fmt.Fprintf(&lines, "%s:secret\n", u)
	}
	passwords := write("users", lines.String())
	if out, err := exec.Command(tool, "-U", passwords).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return mosquittoFor(t, "allow_anonymous false", "password_file "+passwords, "use_username_as_clientid true", "acl_file "+write("acl", acl+more)),
		write("password", "secret\n")
}

// heard collects topics. Each user has one connection at a time.
type heard struct {
	mu     sync.Mutex
	topics []string
}

func (h *heard) take(m message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.topics = append(h.topics, m.topic)
}

func (h *heard) has(topic string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.topics, topic)
}

func listenAs(t *testing.T, b *broker, user, secret string, filters ...string) *heard {
	t.Helper()
	h := &heard{}
	c := newCollector(collection{urls: b.urls, id: "ignored", clean: true, access: access{username: user, passwordFile: secret}, filters: filters, take: h.take})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	select {
	case <-c.granted:
	case <-time.After(patience):
		_, err := c.last()
		t.Fatalf("%s can't listen: %v", user, err)
	}
	return h
}

// sayAs publishes one message after the other, and returns when the broker has acknowledged all.
func sayAs(t *testing.T, b *broker, user, secret string, topics ...string) {
	t.Helper()
	sayWith(t, b, "ignored", user, secret, topics...)
}

func sayWith(t *testing.T, b *broker, id, user, secret string, topics ...string) {
	t.Helper()
	conn, err := access{}.dial(t.Context(), b.urls[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	password, err := access{passwordFile: secret}.password()
	if err != nil {
		t.Fatal(err)
	}
	all := encodeConnect(id, user, password, true, 60)
	for n, topic := range topics {
		all = append(all, encode(kindPublish, 1<<1, append(append(appendText(nil, topic), 0, byte(n+1)), `{}`...))...)
	}
	if _, err := conn.Write(all); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for range len(topics) + 1 { // CONNACK first
		p, err := readPacket(r)
		if err != nil || p.kind == kindConnack && p.body[1] != 0 {
			t.Fatalf("%s: %v, %v", user, err, p)
		}
	}
	_, _ = conn.Write(encode(kindDisconnect, 0, nil))
}

func comes(t *testing.T, h *heard, topic string) {
	t.Helper()
	for end := time.Now().Add(patience); !h.has(topic); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s doesn't come", topic)
		}
	}
}

func TestAccessListLetsNobodySpeakForAnother(t *testing.T) {
	b, secret := guarded(t, "", "door-1", "door-2", "collector-1", "collector-2", "host-1")
	all := listenAs(t, b, "collector-1", secret, "livenessd/#")
	for _, c := range []struct {
		user, topic string
		may         bool
	}{
		{"door-1", "livenessd/door-1/camera/front/verdict", true},
		{"door-1", "livenessd/door-1/camera/front/attack", true},
		{"door-1", "livenessd/door-1/camera/front/state", true},
		{"door-1", "livenessd/door-1/availability", true},
		{"door-1", "livenessd/door-1/info", true},
		{"door-1", "livenessd/door-1/telemetry", true},
		{"door-1", "livenessd/door-1/verdict/jws", true},
		{"door-1", "livenessd/door-1/session/s-1", true},
		{"door-1", "livenessd/door-1/response/session", true},
		{"door-1", "livenessd/door-1/application/a/liveness/state", true},
		{"door-1", "livenessd/door-1/probe", true},
		{"door-1", "livenessd/door-1/request/unlock", false},
		{"door-1", "livenessd/door-1/application/a/liveness/set", false},
		{"door-1", "livenessd/door-2/camera/front/verdict", false},
		{"door-1", "livenessd/door-2/verdict/jws", false},
		{"door-1", "livenessd/door-2/availability", false},
		{"door-1", "livenessd/door-2/session/s-1", false},
		{"door-1", "livenessd/door-2/response/session", false},
		{"door-1", "livenessd/door-2/request/unlock", false},
		{"door-1", "livenessd/collector-1/availability", false},
		{"collector-2", "livenessd/door-1/request/session", false},
		{"collector-2", "livenessd/door-1/request/unlock", false},
		{"collector-2", "livenessd/door-1/application/a/liveness/set", false},
		{"collector-2", "livenessd/door-1/camera/front/verdict", false},
		{"collector-2", "livenessd/door-1/availability", false},
		{"host-1", "livenessd/door-1/request/session", true},
		{"host-1", "livenessd/door-1/application/b/liveness/set", true},
		{"host-1", "livenessd/door-2/request/session", false},
		{"host-1", "livenessd/door-1/camera/front/verdict", false},
		{"host-1", "livenessd/door-1/response/session", false},
	} {
		// What is forbidden is acknowledged, too: that it didn't come can be told when what was said after it has come.
		all.mu.Lock()
		all.topics = nil
		all.mu.Unlock()
		after := "livenessd/" + c.user + "/gap"
		sayAs(t, b, c.user, secret, c.topic, after)
		comes(t, all, after)
		if came := all.has(c.topic); came != c.may {
			t.Errorf("%s on %s: came: %v", c.user, c.topic, came)
		}
	}
}

func TestAccessListLetsNobodyHearAnother(t *testing.T) {
	b, secret := guarded(t, "", "door-1", "door-2", "collector-1", "host-1")
	one := listenAs(t, b, "door-1", secret, "livenessd/#", "livenessd/+/session/+", "livenessd/door-2/session/s-2")
	all := listenAs(t, b, "collector-1", secret, "livenessd/#")
	secrets := []string{"livenessd/door-2/session/s-2", "livenessd/door-2/camera/front/verdict", "livenessd/door-2/response/session", "livenessd/door-2/availability"}
	sayAs(t, b, "door-2", secret, secrets...)
	for _, topic := range secrets {
		comes(t, all, topic)
	}
	sayAs(t, b, "host-1", secret, "livenessd/door-1/request/session")
	comes(t, one, "livenessd/door-1/request/session")
	for _, topic := range secrets {
		if one.has(topic) {
			t.Errorf("door-1 hears %s", topic)
		}
	}
}

// Without use_username_as_clientid a device could take another's connection over with nothing but its client id.
func TestNobodyTakesAnothersConnectionOver(t *testing.T) {
	b, secret := guarded(t, "", "door-1", "door-2", "collector-1", "host-1")
	one := &heard{}
	c := newCollector(collection{urls: b.urls, id: "livenessd-door-1", clean: true, access: access{username: "door-1", passwordFile: secret},
		filters: []string{"livenessd/door-1/request/+"}, take: one.take})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.run(ctx) })
	defer wg.Wait()
	defer cancel()
	select {
	case <-c.granted:
	case <-time.After(patience):
		t.Fatal("no connection")
	}
	all := listenAs(t, b, "collector-1", secret, "livenessd/#")
	sayWith(t, b, "livenessd-door-1", "door-2", secret, "livenessd/door-2/gap")
	comes(t, all, "livenessd/door-2/gap")
	sayAs(t, b, "host-1", secret, "livenessd/door-1/request/ping")
	comes(t, one, "livenessd/door-1/request/ping") // over whichever connection
	if n, _ := c.last(); n != 1 {
		t.Errorf("door-1 was connected %d times", n)
	}
}

// Nothing that a device needs is forbidden: a fleet whose devices have users of their own.
func TestAccessListLetsDevicesWork(t *testing.T) {
	o := small(faultStop)
	users := []string{"collector-1"}
	for n := range o.devices {
		users = append(users, deviceName(n))
	}
	b, secret := guarded(t, "", users...)
	o.prefix, o.collectors, o.unordered = "livenessd", 1, true
	o.access = access{username: "{device}", passwordFile: secret}
	o.centre = access{username: "collector-1", passwordFile: secret}
	f, err := simulate(t.Context(), o, b)
	if err != nil || !f.ok() || f.Verdicts.Decided == 0 {
		t.Errorf("%v: %+v", err, f)
	}
}
