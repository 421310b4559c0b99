package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/livenessd/livenessd/daemon"
)

const rules = "../../docs/prometheus"

// promtool runs Prometheus's own checks.
func promtool(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	program := os.Getenv("LIVENESSD_PROMTOOL")
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("promtool"); err != nil {
			t.Skip("promtool isn't there; make unit fetches it")
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestPromtoolLikesTheFigures(t *testing.T) {
	h, f := busy()
	m := shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true })
	happens(m)
	w := get(m.Handler(), "/metrics")
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if out := promtool(t, w.Body.Bytes(), "check", "metrics"); out != "" {
		t.Error(out)
	}
}

func TestPromtoolLikesTheAlerts(t *testing.T) {
	promtool(t, nil, "check", "rules", filepath.Join(rules, "alerts.yml"))
	promtool(t, nil, "check", "config", "--syntax-only", filepath.Join(rules, "prometheus.yml"))
	promtool(t, nil, "test", "rules", filepath.Join(rules, "alerts_test.yml"))
}

var alertName = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)

// A case in which it fires; that it doesn't in others is what each case says in full.
func TestEachAlertFiresInACase(t *testing.T) {
	text, cases := read(t, "alerts.yml"), read(t, "alerts_test.yml")
	names := alertName.FindAllStringSubmatch(text, -1)
	if len(names) < 15 {
		t.Errorf("%d alerts", len(names))
	}
	for _, n := range names {
		if !strings.Contains(cases, `{alertname="`+n[1]+`"}`) {
			t.Errorf("no case has %s fire", n[1])
		}
	}
	for _, n := range regexp.MustCompile(`alertname="(\w+)"`).FindAllStringSubmatch(cases, -1) {
		if !strings.Contains(text, "- alert: "+n[1]+"\n") {
			t.Errorf("there is no alert %s", n[1])
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(rules, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// expression takes what an alert asks out of a file of rules.
var expression = regexp.MustCompile(`(?m)^ +expr: (?:\|\n((?: {10}.*\n)+)|(.+))`)

func TestAlertsAskForFiguresThatAreThere(t *testing.T) {
	all, text := known(t), read(t, "alerts.yml")
	found := expression.FindAllStringSubmatch(text, -1)
	if want := len(alertName.FindAllString(text, -1)); len(found) != want {
		t.Errorf("%d expressions of %d alerts", len(found), want)
	}
	for _, e := range found {
		for _, problem := range asks(all, e[1]+e[2]) {
			t.Errorf("%s\n%s", problem, e[0])
		}
	}
}

// dashboard is what is read of Grafana's form.
type dashboard struct {
	Templating struct {
		List []struct{ Name, Definition string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr string }
	}
}

func TestTheDashboardAsksForFiguresThatAreThere(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	all := known(t)
	fill := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$job", ".*", "$instance", ".*", "$camera", ".*")
	for _, v := range d.Templating.List {
		for _, problem := range asks(all, fill.Replace(v.Definition)) {
			t.Errorf("variable %s: %s", v.Name, problem)
		}
	}
	var recorded strings.Builder
	recorded.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	ids, cells, queries := map[int]bool{}, map[[2]int]string{}, 0
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d %q: its number is taken, or something is missing", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := cells[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%q lies on %q, or outside", p.Title, other)
				}
				cells[at] = p.Title
			}
		}
		for _, q := range p.Targets {
			queries++
			expr := fill.Replace(q.Expr)
			for _, problem := range asks(all, expr) {
				t.Errorf("%q: %s\n%s", p.Title, problem, expr)
			}
			if strings.Contains(expr, "$") {
				t.Errorf("%q: a variable that isn't there\n%s", p.Title, expr)
			}
			fmt.Fprintf(&recorded, "      - record: dashboard:query:%d\n        expr: %q\n", queries, expr)
		}
	}
	if queries < 20 {
		t.Errorf("%d queries", queries)
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, []byte(recorded.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", path)
}

var (
	metric   = regexp.MustCompile(`\b((?:livenessd|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
)

// asks finds what a query asks for and isn't there: figures, labels, values of labels.
func asks(all map[string]*dto.MetricFamily, query string) (problems []string) {
	// Prometheus adds the first two to all, and histograms have the third.
	common := []string{"job", "instance", "le"}
	known := slices.Clone(common)
	found := metric.FindAllStringSubmatch(query, -1)
	if len(found) == 0 && !regexp.MustCompile(`\bup\{`).MatchString(query) && query != "" {
		problems = append(problems, "it asks for nothing")
	}
	for _, q := range found {
		name := q[1]
		family := all[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := all[strings.TrimSuffix(name, suffix)]; family == nil && base.GetType() == dto.MetricType_HISTOGRAM {
				family = base
			}
		}
		if family == nil {
			problems = append(problems, "there is no "+name)
			continue
		}
		known = append(known, labels(family)...)
		for _, m := range matcher.FindAllStringSubmatch(q[2], -1) {
			label, kind, value := m[1], m[2], m[3]
			switch {
			case slices.Contains(common, label):
			case !slices.Contains(labels(family), label):
				problems = append(problems, name+" has no label "+label)
			case kind == "=" || kind == "!=":
				if !slices.Contains(values(family, label), value) {
					problems = append(problems, fmt.Sprintf("%s of %s is never %q", label, name, value))
				}
			default:
				pattern, err := regexp.Compile("^(?:" + value + ")$")
				if err != nil || !slices.ContainsFunc(values(family, label), pattern.MatchString) {
					problems = append(problems, fmt.Sprintf("%s of %s is never like %q", label, name, value))
				}
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(query, -1) {
		for _, label := range strings.FieldsFunc(g[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			if !slices.Contains(known, label) {
				problems = append(problems, "nothing here has the label "+label)
			}
		}
	}
	return problems
}

// values are those of a label that a busy daemon has.
func values(f *dto.MetricFamily, label string) (all []string) {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				all = append(all, l.GetValue())
			}
		}
	}
	return all
}

// The test of queries finds what it is there for.
func TestFindsWhatAQueryGetsWrong(t *testing.T) {
	all := known(t)
	for query, want := range map[string]string{
		`livenessd_ready == 0`: "",
		`sum by (le) (rate(livenessd_verdict_duration_seconds_bucket{camera="front"}[5m]))`: "",
		`livenessd_radey == 0`:                                "there is no livenessd_radey",
		`livenessd_ready_bucket`:                              "there is no livenessd_ready_bucket",
		`livenessd_camera_state{stat="failed"}`:               "livenessd_camera_state has no label stat",
		`livenessd_camera_state{state="fialed"}`:              `state of livenessd_camera_state is never "fialed"`,
		`livenessd_camera_state{state=~"a|b"}`:                `state of livenessd_camera_state is never like "a|b"`,
		`sum by (cam) (livenessd_camera_state)`:               "nothing here has the label cam",
		`vector(1)`:                                           "it asks for nothing",
		`livenessd_verdicts_total{code="PAD_ATTACK",job="x"}`: "",
	} {
		if got := strings.Join(asks(all, query), "; "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
