package metrics

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/livenessd/livenessd/daemon"
)

// streaming is the state of a camera that gives frames.
const streaming = "streaming"

// Readiness is whether whoever is in front of each camera would be judged now.
type Readiness struct {
	Ready  bool     `json:"ready"`
	Phase  string   `json:"phase"`
	Checks []Aspect `json:"checks"`
}

// Aspect is a part of it.
type Aspect struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Seen string `json:"seen"`
	Do   string `json:"do,omitempty"` // for a technician
}

// Ready looks at a daemon's health, and at the figures of its run where there is one. The broker doesn't count: faces are judged without it, and
// verdicts wait.
func Ready(h daemon.Health, f daemon.Figures, runs bool) Readiness {
	r := Readiness{Phase: h.Phase}
	say := func(name string, ok bool, seen, do string) {
		r.Checks = append(r.Checks, Aspect{name, ok, seen, do})
	}
	if len(h.Stuck) > 0 {
		say("process", false, "doesn't get on: "+strings.Join(h.Stuck, ", "), "the watchdog restarts livenessd if that lasts; see its log")
	} else {
		say("process", true, "everything moves", "")
	}
	switch {
	case h.Phase == daemon.PhaseStopping || h.Phase == daemon.PhaseFailed || !runs:
		seen, do := h.Doing, ""
		if h.Phase == daemon.PhaseFailed && h.Trouble != nil {
			seen, do = h.Trouble.Error, h.Trouble.Hint
		} else if seen == "" || h.Phase == daemon.PhaseStopping {
			seen = h.Phase
		}
		say("models", false, seen, do)
		say("self-test", false, "not now", "")
	default:
		var names []string
		for _, m := range f.About.Models {
			names = append(names, m.Name+" "+m.Version)
		}
		say("models", true, strings.Join(names, ", ")+" on "+f.About.Delegate, "")
		say("self-test", true, "passed: no run begins without it", "")
	}
	for _, c := range h.Cameras {
		switch {
		case c.State == streaming && c.Worked:
			say("camera "+c.Name, true, strings.TrimSpace(c.State+" "+c.Mode), "")
		case c.State == streaming:
			say("camera "+c.Name, false, "no frame was examined yet", c.Hint)
		case c.Error != "":
			say("camera "+c.Name, false, c.State+": "+c.Error, c.Hint)
		default:
			say("camera "+c.Name, false, c.State, c.Hint)
		}
	}
	if len(h.Cameras) == 0 {
		say("cameras", false, "none is open yet", "")
	}
	r.Ready = true
	for _, c := range r.Checks {
		r.Ready = r.Ready && c.OK
	}
	return r
}

// alive tells whether everything moves that must.
func (m *Metrics) alive(w http.ResponseWriter, r *http.Request) {
	h := m.health()
	switch {
	case len(h.Stuck) == 0:
		plain(w, http.StatusOK, "ok")
	case brief(r):
		plain(w, http.StatusServiceUnavailable, "stuck")
	default:
		plain(w, http.StatusServiceUnavailable, "stuck: "+strings.Join(h.Stuck, ", "))
	}
}

// ready tells whether the daemon can judge, and why not.
func (m *Metrics) ready(w http.ResponseWriter, r *http.Request) {
	h := m.health()
	f, runs := m.figures()
	all := Ready(h, f, runs)
	status := http.StatusOK
	if !all.Ready {
		status = http.StatusServiceUnavailable
	}
	if brief(r) {
		plain(w, status, map[bool]string{true: "ready", false: "not ready"}[all.Ready])
		return
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil { // it has nothing that can't be written
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
