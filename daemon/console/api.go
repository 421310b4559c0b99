package console

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/models"
)

// still is how long the daemon's parts may stand still before the page says so.
const still = 15 * time.Second

//go:embed page
var page embed.FS

// routes is what is answered.
func (s *Server) routes() (http.Handler, error) {
	m := http.NewServeMux()
	if err := files(m); err != nil {
		return nil, err
	}
	m.HandleFunc("POST /api/session", s.login)
	m.Handle("GET /api/session", s.as(Viewer, s.me))
	m.Handle("DELETE /api/session", s.as(Viewer, s.logout))
	m.Handle("GET /api/state", s.as(Viewer, s.state))
	m.Handle("GET /api/presentations", s.as(Viewer, s.presentations))
	m.Handle("GET /api/events", s.as(Viewer, s.events))
	m.Handle("GET /api/cameras/{camera}/pictures", s.as(Viewer, s.pictures))
	m.Handle("GET /api/config", s.as(Admin, s.settings))
	m.Handle("POST /api/config/preview", s.as(Admin, s.preview))
	m.Handle("POST /api/config", s.as(Admin, s.change))
	m.Handle("GET /api/cameras/{camera}/device", s.as(Admin, s.device))
	m.Handle("POST /api/cameras/{camera}/controls", s.as(Admin, s.controls))
	m.Handle("POST /api/cameras/{camera}/trial", s.as(Admin, s.try))
	m.Handle("DELETE /api/cameras/{camera}/trial", s.as(Admin, s.untry))
	m.Handle("POST /api/sessions", s.as(Admin, s.ask))
	m.Handle("DELETE /api/sessions/{session}", s.as(Admin, s.cancel))
	m.Handle("GET /api/doctor", s.as(Viewer, s.report))
	m.Handle("POST /api/doctor", s.as(Admin, s.examine(false)))
	m.Handle("POST /api/bundle", s.as(Admin, s.examine(true)))
	m.Handle("GET /api/calibration", s.as(Admin, s.walk))
	m.Handle("POST /api/calibration", s.as(Admin, s.beginWalk))
	m.Handle("DELETE /api/calibration", s.as(Admin, s.endWalk))
	m.Handle("POST /api/calibration/presentations", s.as(Admin, s.present))
	m.Handle("DELETE /api/calibration/presentations/last", s.as(Admin, s.unpresent))
	for _, e := range s.o.Mounts {
		if e.Open {
			m.Handle(e.Pattern, e.Handler)
			continue
		}
		m.Handle(e.Pattern, s.as(Viewer, func(w http.ResponseWriter, r *http.Request, _ caller) { e.Handler.ServeHTTP(w, r) }))
	}
	return m, nil
}

// files are the page's own, each by its name: no path is ever looked up.
func files(m *http.ServeMux) error {
	return fs.WalkDir(page, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := page.ReadFile(name)
		if err != nil {
			return fmt.Errorf("console: read the page: %w", err)
		}
		at := strings.TrimPrefix(name, "page")
		kind := map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
			".svg": "image/svg+xml", ".json": "application/json", ".webmanifest": "application/manifest+json", ".png": "image/png", ".woff2": "font/woff2"}[path.Ext(name)]
		if kind == "" {
			kind = mime.TypeByExtension(path.Ext(name))
		}
		give := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data) // who has gone doesn't hear it
		}
		if at == "/index.html" {
			m.HandleFunc("GET /{$}", give)
		}
		m.HandleFunc("GET "+at, give)
		return nil
	})
}

// me tells who is logged in.
func (s *Server) me(w http.ResponseWriter, _ *http.Request, c caller) {
	s.write(w, sessionDocument{Role: c.role, Expires: c.expires})
}

func (s *Server) state(w http.ResponseWriter, _ *http.Request, _ caller) { s.write(w, s.now()) }

// now is how everything is.
func (s *Server) now() stateDocument {
	a, h, o := s.access.Load(), s.o.Pulse.Health(still), s.o.View.Overview()
	d := stateDocument{Now: s.o.Now().UTC(), Version: s.o.Version, Device: h.Device, Phase: h.Phase, Since: h.Since.UTC(), Started: h.Started.UTC(), Boot: o.Boot,
		Doing: h.Doing, Stuck: emptied(h.Stuck), Config: h.Config, Trouble: h.Trouble, Refused: h.Refused, Cameras: []cameraDocument{}, Models: []modelDocument{},
		System:  systemDocument{o.ClockSynced, emptied(o.Temperatures), o.Resident, s.o.Watchdog.Milliseconds()},
		Viewers: viewersDocument{s.seats.taken(), a.Viewers}, Mode: a.whole.Decision.Mode, Sessions: o.Sessions,
		Applications: emptied(slices.Sorted(maps.Keys(a.whole.Applications)))}
	for _, c := range o.Cameras {
		v := c.Status
		d.Cameras = append(d.Cameras, cameraDocument{Name: c.Name, Role: c.Role, Path: a.whole.Cameras[c.Name].Path, Trial: s.tried(c.Name), State: v.State, Since: v.Since.UTC(), Device: v.Device,
			Format: v.Format, Width: v.Width, Height: v.Height, FPS: v.FPS, Measured: v.Measured, Error: v.Err, Hint: v.Hint, Code: v.Code, Health: c.Health, Light: light(c.Light), Counters: v.Counters,
			Verdicts: c.Verdicts, History: emptied(c.History)})
	}
	if e := o.Engine; e != nil {
		d.Models = append(d.Models, model(e.Detector, 0))
		for _, m := range e.Liveness.Members {
			d.Models = append(d.Models, model(m.Model, m.Weight))
		}
		d.Runtime = &runtimeDocument{Version: e.Runtime.Version(), Path: e.Runtime.Path(), Delegate: e.Delegate(), Tried: emptied(e.Delegates())}
	}
	if o.Runs {
		b := o.Broker
		d.Broker = &brokerDocument{URLs: a.whole.MQTT.URLs, Connected: b.Connected, Connections: b.Connections, Queued: b.Queued, Published: b.Published,
			Volatile: b.Volatile, Gaps: b.Gaps, Dropped: b.Dropped}
		if !o.Acknowledged.IsZero() {
			at := o.Acknowledged.UTC()
			d.Broker.Acknowledged = &at
		}
		if !b.Connected && b.Err != nil {
			d.Broker.Error, d.Broker.Hint = b.Err.Error(), daemon.Hint(b.Err)
		}
	}
	return d
}

func model(m *models.Model, weight float64) modelDocument {
	return modelDocument{Task: string(m.Task), Name: m.Name, Version: m.Version, SHA256: m.SHA256, Licence: m.Licence, Description: m.Description, From: m.From, Weight: weight}
}

// emptied makes an empty list of none, so that it isn't null.
func emptied[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// presentations tells the newest verdicts: those after a number, where one is given.
func (s *Server) presentations(w http.ResponseWriter, r *http.Request, _ caller) {
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	if err != nil && r.URL.Query().Get("after") != "" {
		refuse(w, http.StatusBadRequest, "after is no number", "")
		return
	}
	out := struct {
		Presentations []presentationDocument `json:"presentations"` // the oldest first
	}{[]presentationDocument{}}
	for _, p := range s.o.View.Presentations(after) {
		out.Presentations = append(out.Presentations, s.presentation(p))
	}
	s.write(w, out)
}

func (s *Server) presentation(p daemon.Presentation) presentationDocument {
	d := presentationDocument{Number: p.Number, Verdict: p.Verdict, Hint: p.Hint}
	for _, t := range s.o.Timelines.Verdicts(p.Verdict.Camera) {
		if t.Boot == p.Verdict.Boot && t.Seq == p.Verdict.Seq {
			d.Timeline = &t
		}
	}
	return d
}
