package daemon

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/mqtt"
)

// asking is a camera in front of which sessions are asked for.
type asking struct {
	*world
	lobby *lobby
	p     *pipeline
	at    map[int]func() // what a host does before a step
	n     int
}

func (a *asking) Next(ctx context.Context) (*frame.Frame, error) {
	if do := a.at[a.n]; do != nil {
		do()
	}
	a.n++
	a.lobby.now, a.lobby.up = time.Now(), time.Duration(a.n)*100*time.Millisecond
	a.lobby.desk.look()
	return a.world.Next(ctx)
}

// A camera that streams, while no session is let in, says so.
func TestADeskThatRefusesAllIsAState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobby(t)
		l.now = time.Now()
		l.fail = errBroken
		l.kill()
		w := &world{steps: times(30, empty)}
		p := w.start(t, io.Discard)
		a := &asking{world: w, lobby: l, p: p, at: map[int]func(){10: func() {
			l.fail = nil
			l.desk.tried = time.Time{}
		}}}
		p.camera, p.desk = a, l.desk
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := p.run(ctx); err != nil {
			t.Error(err)
		}
		if len(w.states) != 2 || !strings.Contains(w.states[0].Error, "out of order") || w.states[1].Error != "" || w.states[1].State != "streaming" {
			t.Errorf("%+v", w.states)
		}
	})
}

// An answer that comes too late for its session isn't lost: whenever a host cancels, somebody is told of the attack, once.
func TestAnAttackIsToldWhenItsSessionIsCancelled(t *testing.T) {
	ways := map[bool]int{}
	for n := range 20 {
		synctest.Test(t, func(t *testing.T) {
			w := &world{steps: times(40, attacked)}
			l := newLobby(t)
			l.now = time.Now()
			p := w.start(t, io.Discard)
			id := ""
			a := &asking{world: w, lobby: l, p: p, at: map[int]func(){0: func() { id = l.session("t1", "door", "") }}}
			a.at[n+1] = func() { l.ask(mqtt.VerbCancel, `{"transaction":"t2","session":%q}`, id) }
			p.camera, p.desk = a, l.desk
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := p.run(ctx); err != nil {
				t.Error(err)
			}
			host := slices.Contains(l.said, "verdict spoof PAD_ATTACK deny n-t1")
			all := slices.Contains(w.said, "verdict spoof PAD_ATTACK deny")
			if host == all {
				t.Errorf("cancelled before frame %d: the host heard %q, without a session %q", n+1, l.said, w.said)
			}
			ways[host]++
		})
	}
	if ways[true] == 0 || ways[false] == 0 {
		t.Errorf("never in time, or always: %v", ways)
	}
}

func TestSessionsAtACamera(t *testing.T) {
	door := func(a *asking) string { return a.lobby.session("t1", "door", "") }
	for _, tt := range []struct {
		name      string
		onRequest bool
		steps     []step
		host      map[int]func(*asking)
		want      []string // said by the desk, without what is retained
		verdicts  []string // said by the pipeline itself: where all are judged, a presentation's answer that no session was told
		judged    int      // frames, −1 for whatever
	}{
		{"a live person who comes", false, script(times(5, empty), times(40, living)), map[int]func(*asking){0: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "hint NO_FACES_DETECTED stand in front of the camera", "verdict live allow n-t1"}, []string{"state streaming"}, -1},
		{"a live person who is there, and was judged already", false, times(60, living), map[int]func(*asking){20: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict live allow n-t1"}, []string{"state streaming", "verdict live allow"}, -1},
		{"an attack", false, times(40, attacked), map[int]func(*asking){0: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict spoof PAD_ATTACK deny n-t1"}, []string{"state streaming"}, -1},
		{"an attack that was one before", false, times(60, attacked), map[int]func(*asking){20: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict spoof PAD_ATTACK deny n-t1"}, []string{"state streaming", "verdict spoof PAD_ATTACK deny"}, -1},
		{"nobody", false, times(100, empty), map[int]func(*asking){0: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "hint NO_FACES_DETECTED stand in front of the camera", "verdict undecided NO_FACES_DETECTED deny n-t1"}, []string{"state streaming"}, 0},
		{"frames that stop", false, script(times(3, empty), times(100, silence)), map[int]func(*asking){3: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict undecided CAMERA_LOST deny n-t1"}, []string{"state streaming"}, 0},
		{"a camera that is pulled out", false, script(times(3, unclear), times(1, status(camera.StateRecovering, "CAMERA_LOST")), times(5, silence)),
			map[int]func(*asking){0: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict undecided CAMERA_LOST deny n-t1"}, []string{"state streaming", "state recovering CAMERA_LOST"}, 3},
		{"a camera that may not be used", false, script(times(3, status(camera.StateFailed, "PERMISSION_REFUSED")), times(3, silence)),
			map[int]func(*asking){3: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict undecided PERMISSION_REFUSED deny n-t1"}, []string{"state streaming", "state failed PERMISSION_REFUSED"}, 0},
		{"a replay that ends", false, script(times(3, unclear), times(1, step{err: io.EOF})), map[int]func(*asking){0: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict undecided CAMERA_LOST deny n-t1"}, []string{"state streaming"}, 3},
		{"nets that break", false, times(60, step{findErr: errBroken}), map[int]func(*asking){0: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict undecided PROCESSING_ERR deny n-t1"}, []string{"state streaming", "state failed PROCESSING_ERR"}, 0},
		{"cancelled, and the next", false, times(40, living), map[int]func(*asking){
			0: func(a *asking) {
				id := door(a)
				a.lobby.session("t2", "door", "")
				a.lobby.ask(mqtt.VerbCancel, `{"transaction":"t3","session":%q}`, id)
			}},
			[]string{"session t1 ok", "session t2 ok", "verdict undecided SESSION_EXPIRED deny n-t1", "cancel t3 ok", "verdict live allow n-t2"}, []string{"state streaming"}, -1},
		{"one after the other", false, times(80, living), map[int]func(*asking){0: func(a *asking) { door(a); a.lobby.session("t2", "door", "") }},
			[]string{"session t1 ok", "session t2 ok", "verdict live allow n-t1", "verdict live allow n-t2"}, []string{"state streaming"}, -1},
		{"on request: nothing is judged without", true, times(60, living), nil, nil, []string{"state streaming"}, 0},
		{"on request: only while it runs", true, times(60, living), map[int]func(*asking){20: func(a *asking) { door(a) }},
			[]string{"session t1 ok", "verdict live allow n-t1"}, []string{"state streaming"}, -1},
		{"on request: nets that recover", true, script(times(30, step{findErr: errBroken}), times(30, living)),
			map[int]func(*asking){0: func(a *asking) { door(a) }, 40: func(a *asking) { a.lobby.session("t2", "door", "") }},
			[]string{"session t1 ok", "verdict undecided PROCESSING_ERR deny n-t1", "session t2 ok", "verdict live allow n-t2"},
			[]string{"state streaming", "state failed PROCESSING_ERR", "state streaming"}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{steps: tt.steps}
				l := newLobby(t)
				l.now = time.Now()
				p := w.start(t, io.Discard)
				a := &asking{world: w, lobby: l, p: p, at: map[int]func(){}}
				for n, do := range tt.host {
					a.at[n] = func() { do(a) }
				}
				p.camera, p.desk, p.onRequest = a, l.desk, tt.onRequest
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := p.run(ctx); err != nil {
					t.Error(err)
				}
				if !slices.Equal(l.said, tt.want) {
					t.Errorf("the host heard\n%s\nwant\n%s", strings.Join(l.said, "\n"), strings.Join(tt.want, "\n"))
				}
				if !slices.Equal(w.said, tt.verdicts) {
					t.Errorf("without a session\n%s\nwant\n%s", strings.Join(w.said, "\n"), strings.Join(tt.verdicts, "\n"))
				}
				if tt.judged >= 0 && w.judged != tt.judged {
					t.Errorf("%d frames were judged, not %d", w.judged, tt.judged)
				}
				if tt.onRequest && w.judged >= len(tt.steps) {
					t.Errorf("all frames were judged")
				}
				for i, v := range l.verdicts {
					if v.Verdict == mqtt.Live && (v.Session == nil || v.Frames < 5) {
						t.Errorf("verdict %d: %+v", i, v)
					}
				}
			})
		})
	}
}
