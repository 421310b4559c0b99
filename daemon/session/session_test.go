package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Unix(1_700_000_000, 0)

func desk() *Desk {
	return New(Options{Cameras: []string{"back", "front"}, Applications: []string{"door"}, Waiting: 2, Timeout: 8 * time.Second})
}

func request() Request {
	return Request{Application: "door", Purpose: Authentication, Camera: "front", Subject: "u1", Nonce: "n"}
}

// enter lets a request in at a time.
func enter(t *testing.T, d *Desk, now time.Time, id string, r Request) {
	t.Helper()
	camera, no := d.Check(r)
	if no != nil {
		t.Fatal(*no)
	}
	d.Open(d.New(now, id, camera, r))
}

func ids(all []Session) (out []string) {
	for _, s := range all {
		out = append(out, s.ID)
	}
	slices.Sort(out)
	return out
}

func TestWhoIsLetIn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Request)
		code   Code
		words  string
	}{
		{"a request as it should be", func(*Request) {}, "", ""},
		{"for enrollment", func(r *Request) { r.Purpose = Enrollment }, "", ""},
		{"an unknown application", func(r *Request) { r.Application = "nobody" }, Unauthorized, `no application "nobody"`},
		{"no application", func(r *Request) { r.Application = "" }, Unauthorized, `no application ""`},
		{"an unknown purpose", func(r *Request) { r.Purpose = "tea" }, Unauthorized, `no purpose "tea"`},
		{"an unknown camera", func(r *Request) { r.Camera = "side" }, Unauthorized, `no camera "side"`},
		{"no camera where there are two", func(r *Request) { r.Camera = "" }, Unauthorized, "back, front"},
		{"too short", func(r *Request) { r.Timeout = 499 * time.Millisecond }, ProcessingErr, "500ms to 10m"},
		{"too long", func(r *Request) { r.Timeout = 11 * time.Minute }, ProcessingErr, "500ms to 10m"},
		{"as short as may be", func(r *Request) { r.Timeout = Shortest }, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			tt.change(&r)
			camera, no := desk().Check(r)
			if tt.code == "" {
				if no != nil || camera != "front" {
					t.Errorf("%q, %+v", camera, no)
				}
				return
			}
			if no == nil || no.Code != tt.code || !strings.Contains(no.Message, tt.words) {
				t.Errorf("%q, %+v", camera, no)
			}
		})
	}
	one := New(Options{Cameras: []string{"front"}, Applications: []string{"door"}})
	if camera, no := one.Check(Request{Application: "door", Purpose: Authentication}); camera != "front" || no != nil {
		t.Errorf("%q, %+v", camera, no)
	}
}

func TestSessionsRunOneAfterTheOther(t *testing.T) {
	d := desk()
	for i := range 3 {
		enter(t, d, epoch, fmt.Sprint("s", i), request())
	}
	if _, no := d.Check(request()); no == nil || no.Code != TooManyRequests {
		t.Errorf("a fourth: %+v", no)
	}
	back := request()
	back.Camera = "back"
	enter(t, d, epoch, "b0", back) // the other camera has a line of its own
	for i := range 3 {
		s, ok := d.Running("front")
		if id := fmt.Sprint("s", i); !ok || s.ID != id || s.Application != "door" || s.Subject != "u1" || s.Nonce != "n" || !s.Deadline.Equal(epoch.Add(8*time.Second)) {
			t.Errorf("%+v, %v", s, ok)
		}
		if got, ok := d.Close(s.ID); !ok || got != s {
			t.Errorf("%+v, %v", got, ok)
		}
		if got, ok := d.Close(s.ID); ok {
			t.Errorf("closed twice: %+v", got)
		}
	}
	if s, ok := d.Running("front"); ok {
		t.Errorf("%+v runs", s)
	}
	if got := ids(d.At("")); !slices.Equal(got, []string{"b0"}) {
		t.Error(got)
	}
}

func TestOneThatWaitsCanEndFirst(t *testing.T) {
	d := desk()
	for i := range 3 {
		enter(t, d, epoch, fmt.Sprint("s", i), request())
	}
	if _, ok := d.Close("s1"); !ok {
		t.Error("s1 isn't there")
	}
	if got := ids(d.At("front")); !slices.Equal(got, []string{"s0", "s2"}) {
		t.Error(got)
	}
	if s, _ := d.Running("front"); s.ID != "s0" {
		t.Errorf("%+v runs", s)
	}
}

func TestTimeIsOver(t *testing.T) {
	d := desk()
	for i := range 3 {
		r := request()
		r.Timeout = time.Duration(i+1) * time.Second
		enter(t, d, epoch, fmt.Sprint("s", i), r)
	}
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{0, ""}, {1200 * time.Millisecond, ""}, {1500 * time.Millisecond, "s0"}, {2 * time.Second, "s0 s1"}, {time.Minute, "s0 s1 s2"}} {
		if got := strings.Join(ids(d.Due(epoch.Add(tt.after), 500*time.Millisecond)), " "); got != tt.want {
			t.Errorf("after %v: %s, not %s", tt.after, got, tt.want)
		}
	}
}

func TestHintsAreToldWhenTheyChangeAndNotTooOften(t *testing.T) {
	d := desk()
	enter(t, d, epoch, "s", request())
	for _, tt := range []struct {
		at   time.Duration
		hint Code
		want bool
	}{
		{0, "", false}, {100 * time.Millisecond, "A", true}, {200 * time.Millisecond, "A", false}, {300 * time.Millisecond, "B", false},
		{1099 * time.Millisecond, "B", false}, {1100 * time.Millisecond, "B", true}, {5 * time.Second, "B", false}, {6 * time.Second, "", false}, {7 * time.Second, "B", true},
	} {
		if got := d.Hint(epoch.Add(tt.at), "s", tt.hint); got != tt.want {
			t.Errorf("at %v, %q: %v", tt.at, tt.hint, got)
		}
	}
	if d.Hint(epoch.Add(time.Hour), "another", "A") {
		t.Error("a hint for nobody")
	}
}

func TestTheLimit(t *testing.T) {
	l := Limit{Burst: 3, Rate: 2}
	now := epoch
	allowed := func(n int) (out int) {
		for range n {
			if l.Allow(now) {
				out++
			}
		}
		return out
	}
	if n := allowed(10); n != 3 {
		t.Errorf("%d at once", n)
	}
	now = now.Add(time.Second)
	if n := allowed(10); n != 2 {
		t.Errorf("%d after a second", n)
	}
	now = now.Add(time.Hour)
	if n := allowed(10); n != 3 {
		t.Errorf("%d after an hour", n)
	}
	now = now.Add(-time.Hour)
	if n := allowed(10); n != 0 {
		t.Errorf("%d after the clock went back", n)
	}
}

func TestTheMemoryOfTransactions(t *testing.T) {
	m := Memory{Size: 3}
	for i, tr := range []string{"a", "b", "c"} {
		if n, _, forgot := m.Add(tr); n != uint64(i) || forgot {
			t.Errorf("%s: %d, %v", tr, n, forgot)
		}
	}
	if n, gone, forgot := m.Add("d"); n != 3 || gone != 0 || !forgot {
		t.Errorf("%d, %d, %v", n, gone, forgot)
	}
	if m.Has("a") || !m.Has("b") || !m.Has("d") {
		t.Error(m)
	}
	m.Drop("c")
	m.Drop("nonesuch")
	if _, _, forgot := m.Add("e"); m.Has("c") || !m.Has("b") || forgot {
		t.Error(m)
	}
	again := Memory{Size: 3}
	for n, tr := range map[uint64]string{7: "x"} {
		again.Restore(n, tr)
	}
	if n, _, _ := again.Add("y"); n != 8 || !again.Has("x") {
		t.Errorf("%d, %+v", n, again)
	}
}
