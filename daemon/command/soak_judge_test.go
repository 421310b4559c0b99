package command

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// holding is something that a process holds, of which it must not hold ever more.
type holding struct {
	name  string
	exact bool    // the same at each rest
	most  float64 // by how much it may grow in a day, with 95 % confidence; 0: nobody judges that
}

// holdings are what a soak looks at, in the order of a rest's figures.
var holdings = [...]holding{
	{"file descriptors", true, 1},
	{"goroutines", true, 1},
	{"child processes", true, 1},
	{"threads", false, 4},
	{"mappings", false, 24},
	{"resident memory, KiB", false, 8192},
	{"of which not of files, KiB", false, 8192},
	{"memory that Go manages, KiB", false, 0},
	{"live heap of Go, KiB", false, 0},
	{"files in the state folder, KiB", false, 8192},
}

// The figures that have a meaning of their own.
const (
	descriptors = iota
	goroutines
	children
	threads
	mappings
	resident
	anonymous
	managed
	heap
	state
)

// figures are one for each holding.
type figures [len(holdings)]float64

// rest is what was held when nothing was going on.
type rest struct {
	hour float64 // of the simulated time
	figures
}

// trend is a straight line through figures, by least squares.
type trend struct {
	slope  float64 // per hour
	spread float64 // half of the slope's 95 % interval, if what the line leaves at a rest depends on the rest before alone
}

func trendOf(all []rest, i int) trend {
	n := float64(len(all))
	if n < 4 {
		return trend{math.NaN(), math.NaN()}
	}
	var x, y, xx, xy float64
	for _, r := range all {
		x, y = x+r.hour/n, y+r.figures[i]/n
	}
	for _, r := range all {
		xx, xy = xx+(r.hour-x)*(r.hour-x), xy+(r.hour-x)*(r.figures[i]-y)
	}
	t := trend{slope: xy / xx}
	var left, with, before float64
	for j, r := range all {
		d := r.figures[i] - y - t.slope*(r.hour-x)
		left += d * d
		if j > 0 {
			with += d * before
		}
		before = d
	}
	// Memory that a pool took stays for some rests: neighbours are alike, and n of them tell less than n. That likeness, of which a
	// short series shows too little, makes the interval wider as for an autoregression of first order.
	alike := 0.0
	if left > 0 {
		alike = with / left
	}
	alike = min(max(0, alike+(1+4*alike)/n), 0.9)
	wider := (1 + alike) / (1 - alike)
	// Student's t for 97.5 %, from the normal distribution's by its expansion.
	const z = 1.959964
	free := max(n/wider-2, 2)
	student := z + (z*z*z+z)/(4*free) + (5*z*z*z*z*z+16*z*z*z+3*z)/(96*free*free)
	t.spread = student * math.Sqrt(wider*left/(n-2)/xx)
	return t
}

// judge tells what grew. The first half is the time for caches and pools to fill; only whole is judged by its trend.
func judge(all []rest, whole bool) (faults []string) {
	for i, h := range holdings {
		first, last := all[0].figures[i], all[len(all)-1].figures[i]
		if h.exact {
			for _, r := range all {
				if r.figures[i] > first {
					faults = append(faults, fmt.Sprintf("%s: %.0f at hour %.1f and %.0f at the first rest, where they must be the same", h.name, r.figures[i], r.hour, first))
					break
				}
			}
		}
		if !whole || h.most == 0 {
			continue
		}
		if t := trendOf(all[len(all)/2:], i); !(24*(t.slope+t.spread) <= h.most) { // neither a growth nor one that can't be told
			faults = append(faults, fmt.Sprintf("%s: %.0f at first, %.0f at last, growing by %.1f ± %.1f a day in the second half, where %.0f is the most allowed",
				h.name, first, last, 24*t.slope, 24*t.spread, h.most))
		}
	}
	return faults
}

// table is the figures for people.
func table(all []rest) string {
	var b strings.Builder
	b.WriteString("| at rest | first | least | most | last | a day, by the second half |\n|---|---|---|---|---|---|\n")
	for i, h := range holdings {
		least, most := math.Inf(1), math.Inf(-1)
		for _, r := range all {
			least, most = min(least, r.figures[i]), max(most, r.figures[i])
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f | %.0f |", h.name, all[0].figures[i], least, most, all[len(all)-1].figures[i])
		if t := trendOf(all[len(all)/2:], i); t.spread >= 0 {
			fmt.Fprintf(&b, " %+.1f ± %.1f |", 24*t.slope, 24*t.spread)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestGrowthIsTold(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(most float64) float64 { return most * (2*random.Float64() - 1) }
	for name, test := range map[string]struct {
		of   int
		at   func(hour float64) float64
		want bool // a fault
	}{
		"nothing changes":                         {resident, func(float64) float64 { return 90_000 }, false},
		"it goes up and down":                     {resident, func(float64) float64 { return 90_000 + noise(300) }, false},
		"it fills in the first half":              {resident, func(h float64) float64 { return 90_000 + 1000*min(h, 10) + noise(300) }, false},
		"it shrinks":                              {resident, func(h float64) float64 { return 90_000 - 300*h }, false},
		"thirteen kilobytes for each lost camera": {resident, func(h float64) float64 { return 90_000 + 600*h + noise(300) }, true},
		"too noisy to be sure":                    {resident, func(float64) float64 { return 90_000 + noise(20_000) }, true},
		"a descriptor for each lost camera":       {descriptors, func(h float64) float64 { return 20 + math.Floor(44*h) }, true},
		"one descriptor for good":                 {descriptors, func(h float64) float64 { return 20 + math.Floor(h/20) }, true},
		"one goroutine, early":                    {goroutines, func(h float64) float64 { return 40 + min(1, math.Floor(h)) }, true},
		"fewer goroutines":                        {goroutines, func(h float64) float64 { return 40 - min(1, math.Floor(h)) }, false},
		"a child that nobody waited for":          {children, func(h float64) float64 { return min(1, math.Floor(h/12)) }, true},
		"threads that came in the first half":     {threads, func(h float64) float64 { return 12 + min(6, math.Floor(h)) }, false},
		"a mapping for each reload":               {mappings, func(h float64) float64 { return 300 + math.Floor(6*h) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var all []rest
			for i := range 49 {
				r := rest{hour: float64(i) / 2}
				r.figures[test.of] = test.at(r.hour)
				all = append(all, r)
			}
			faults := judge(all, true)
			if test.want != (len(faults) > 0) {
				t.Errorf("faults: %q\n%s", faults, table(all))
			}
			for _, f := range faults {
				if !strings.HasPrefix(f, holdings[test.of].name+":") {
					t.Errorf("it is %s that grew, not %s", holdings[test.of].name, f)
				}
			}
		})
	}
}

func TestTrendHasItsInterval(t *testing.T) {
	// Of noise around a known slope the interval holds it 95 times of 100, and not below 90 where neighbours are alike.
	for _, test := range []struct {
		rests       int
		alike       float64
		least, most float64
	}{
		{8, 0, 0.94, 1}, {20, 0, 0.94, 0.995}, {20, 0.4, 0.9, 0.99}, {40, 0.6, 0.9, 0.99}, {80, 0.8, 0.9, 0.99},
	} {
		random := rand.New(rand.NewPCG(3, 4))
		const rounds, slope = 2000, 7.0
		held := 0
		for range rounds {
			var all []rest
			noise := random.NormFloat64() / math.Sqrt(1-test.alike*test.alike)
			for i := range test.rests {
				r := rest{hour: float64(i)}
				r.figures[resident] = slope*r.hour + 50*noise
				all = append(all, r)
				noise = test.alike*noise + random.NormFloat64()
			}
			if g := trendOf(all, resident); math.Abs(g.slope-slope) <= g.spread {
				held++
			}
		}
		if share := float64(held) / rounds; share < test.least || share > test.most {
			t.Errorf("%d rests, alike by %.1f: the interval held the slope in %.1f %% of the rounds", test.rests, test.alike, 100*share)
		}
	}
}
