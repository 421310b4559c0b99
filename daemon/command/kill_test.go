package command

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// TestKilledAtAnyMoment kills a daemon that judges attacks, over and over: no ban that was told is forgotten, nobody is banned for fewer attacks,
// and each session has one answer.
func TestKilledAtAnyMoment(t *testing.T) {
	needRuntime(t)
	folder, b, received := listening(t, "replay-1.jpg")
	// With thresholds this high nobody is live: this test is about what is kept, not about the nets.
	file := write(t, "livenessd.yaml", "device: door-7\ncameras: {front: {path: \"replay:"+folder+"\", fps: 30}}\nstate: "+t.TempDir()+"\n"+
		"decision: {mode: on_request, live_at: 0.999, spoof_at: 0.99}\napplications: {bank: {on_attack: ban, after: 2, within: 60m, for: 60m}}\n"+
		"mqtt: {url: \""+b.URL()+"\"}\n")
	var (
		asked   = map[string]int{}  // by subject: requests, heard or not
		banned  = map[string]bool{} // of whom a ban was told
		open    = map[string]bool{} // sessions that were let in
		answers = map[string]string{}
		locked  = map[string]bool{} // transactions that were refused for a ban
	)
	// listen takes messages until one is what is looked for, or for a time.
	listen := func(limit time.Duration, is func(mqtt.Received) bool) bool {
		timeout := time.After(limit)
		for {
			select {
			case <-timeout:
				return false
			case m := <-received:
				name := strings.TrimPrefix(m.Topic, "livenessd/door-7/")
				if name == "response/session" {
					var r mqtt.Response
					if err := json.Unmarshal(m.Payload, &r); err != nil {
						t.Fatal(err)
					}
					if r.Status == mqtt.StatusOK {
						open[r.Session] = true
					}
					locked[r.Transaction] = r.Code == mqtt.CodeLockedOut
				}
				if v, err := mqtt.ParseVerdict(m.Payload); err == nil && strings.HasPrefix(name, "session/") {
					if was, twice := answers[v.Session.ID]; twice && was != v.ID {
						t.Errorf("session %s has two answers", v.Session.ID)
					}
					answers[v.Session.ID] = v.ID
					banned[v.Session.Subject] = banned[v.Session.Subject] || v.RetryAfterMS > 0
					if v.Action != mqtt.Deny {
						t.Errorf("%s", m.Payload)
					}
				}
				if is(m) {
					return true
				}
			}
		}
	}
	never := func(mqtt.Received) bool { return false }
	n := 0
	ask := func(subject string) string {
		n++
		asked[subject]++
		transaction := fmt.Sprint("t", n)
		if err := b.Publish("livenessd/door-7/request/session",
			fmt.Appendf(nil, `{"transaction":%q,"application":"bank","purpose":"authentication","subject":%q}`, transaction, subject), false); err != nil {
			t.Fatal(err)
		}
		return transaction
	}
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childConfig+"="+file)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if !listen(patience, func(m mqtt.Received) bool {
			return strings.HasSuffix(m.Topic, "/state") && strings.Contains(string(m.Payload), `"streaming"`) && !m.Retained
		}) {
			t.Fatal("its camera doesn't stream")
		}
		return cmd
	}
	random := rand.New(rand.NewPCG(7, 8))
	for round := range 6 {
		cmd := start()
		end := time.Now().Add(time.Duration(300+random.IntN(2500)) * time.Millisecond)
		for i := 0; time.Now().Before(end); i++ {
			subject := fmt.Sprint("u", round, "-", i/2)
			transaction := ask(subject)
			listen(time.Until(end), func(m mqtt.Received) bool {
				return strings.Contains(m.Topic, "/session/") && strings.Contains(string(m.Payload), `"verdict"`) || locked[transaction]
			})
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says that it was killed
		if code := cmd.ProcessState.ExitCode(); code != -1 {
			t.Fatalf("round %d: it ended by itself with %d", round, code)
		}
		listen(100*time.Millisecond, never)
	}
	cmd := start()
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	bans := 0
	for subject, before := range asked {
		transaction := ask(subject)
		if !listen(patience, func(m mqtt.Received) bool {
			return strings.HasSuffix(m.Topic, "/response/session") && strings.Contains(string(m.Payload), `"transaction":"`+transaction+`"`)
		}) {
			t.Fatal("no response")
		}
		switch {
		case banned[subject] && !locked[transaction]:
			t.Errorf("the ban of %s is forgotten", subject)
		case before < 2 && locked[transaction]:
			t.Errorf("%s is banned after %d attacks", subject, before)
		}
		if banned[subject] {
			bans++
		}
		for id := range open { // one at a time
			if answers[id] == "" && !listen(patience, func(mqtt.Received) bool { return answers[id] != "" }) {
				t.Fatalf("session %s has no answer", id)
			}
		}
	}
	if bans == 0 || len(asked) < 4 {
		t.Errorf("%d bans of %d people", bans, len(asked))
	}
}
