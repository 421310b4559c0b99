package metrics

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/livenessd/livenessd/daemon"
)

// known is all families that a daemon shows which is as busy as can be, by name.
func known(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	h, f := busy()
	m := shows(t, func() daemon.Health { return h }, func() (daemon.Figures, bool) { return f, true })
	happens(m)
	all, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range all {
		out[f.GetName()] = f
	}
	return out
}

// labels are those of a family.
func labels(f *dto.MetricFamily) (names []string) {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !slices.Contains(names, l.GetName()) {
				names = append(names, l.GetName())
			}
		}
	}
	return names
}

// The page for operators has each metric, and no other.
func TestTheDocumentHasEachMetric(t *testing.T) {
	const path, head = "../../docs/metrics.md", "| name | kind, labels | what |\n|---|---|---|\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), head)
	if !found {
		t.Fatalf("%s has no table", path)
	}
	have, after, whole := strings.Cut(rest, "\n\n")
	if !whole || !strings.HasPrefix(after, "Beside them") {
		t.Fatalf("%s goes on otherwise after its table", path)
	}
	var want []string
	for name, f := range known(t) {
		if !strings.HasPrefix(name, namespace) {
			continue
		}
		kind := strings.ToLower(f.GetType().String())
		if l := labels(f); len(l) > 0 {
			kind += "; " + strings.Join(l, ", ")
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", name, kind, f.GetHelp()))
	}
	slices.Sort(want)
	table := strings.Join(want, "\n")
	if *update {
		if err := os.WriteFile(path, []byte(before+head+table+"\n\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		have = table
	}
	if have != table {
		t.Errorf("%s has\n%s\nwant\n%s\ngo test ./daemon/metrics -update writes it", path, have, table)
	}
}
