package doctor

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// temperature is whether the processor is hot, or was slowed down or starved of power.
type temperature struct{ h Host }

var _ Check = temperature{}

// hot is where a processor that names no limit of its own gets too warm for years of work, in thousandths of a degree.
const hot = 80_000

func (c temperature) Look(context.Context) []Finding {
	var out []Finding
	zones, _ := filepath.Glob(filepath.Join(c.h.Sys, "class/thermal/thermal_zone[0-9]*"))
	warmest, limit, name, known := int64(0), int64(0), "", false
	for _, z := range zones {
		t, there := number(z, "temp")
		if !there {
			continue
		}
		l := trip(z)
		if !known || t-l > warmest-limit {
			warmest, limit, name, known = t, l, text(z, "type"), true
		}
	}
	const cool = "give it air, a heat sink or shade; a hot machine slows down, and its frames come late"
	switch {
	case !known:
		out = append(out, skipped("this machine tells no temperature"))
	case warmest >= limit:
		out = append(out, warning(cool, "%s has %.0f °C; it slows down from %.0f °C", name, float64(warmest)/1000, float64(limit)/1000))
	default:
		out = append(out, ok("%s has %.0f °C of %.0f", name, float64(warmest)/1000, float64(limit)/1000))
	}
	out = append(out, c.throttled()...)
	return out
}

// trip is the lowest temperature at which the kernel slows the machine down.
func trip(zone string) int64 {
	lowest := int64(hot)
	types, _ := filepath.Glob(filepath.Join(zone, "trip_point_*_type"))
	found := false
	for _, t := range types {
		if kind := text(t); kind != "passive" && kind != "hot" && kind != "critical" {
			continue
		}
		if v, there := number(strings.TrimSuffix(t, "_type") + "_temp"); there && v > 0 && (!found || v < lowest) {
			lowest, found = v, true
		}
	}
	return lowest
}

// Bits of Raspberry's get_throttled; 16 higher the same since the machine was started.
var raspberry = []struct {
	bit      uint
	what, do string
}{
	{0, "too little voltage", "use a stronger power supply and a short, thick cable"},
	{1, "its frequency capped", "give it air or a heat sink, and check the power supply"},
	{2, "throttled", "give it air or a heat sink, and check the power supply"},
	{3, "slowed down by heat", "give it air or a heat sink"},
}

func (c temperature) throttled() []Finding {
	var out []Finding
	// Hexadecimal digits without 0x.
	if v, err := strconv.ParseUint(strings.TrimPrefix(text(c.h.Sys, "devices/platform/soc/soc:firmware/get_throttled"), "0x"), 16, 32); err == nil {
		for _, b := range raspberry {
			switch {
			case v>>b.bit&1 != 0:
				out = append(out, warning(b.do, "the Raspberry has %s now", b.what))
			case v>>(b.bit+16)&1 != 0:
				out = append(out, warning(b.do, "the Raspberry had %s since it was started", b.what))
			}
		}
	}
	counts, _ := filepath.Glob(filepath.Join(c.h.Sys, "devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count"))
	most := int64(0)
	for _, f := range counts {
		n, _ := number(f)
		most = max(most, n)
	}
	if most > 0 {
		out = append(out, warning("give it air, a heat sink or shade", "the processor was slowed down by heat %d times since the machine was started", most))
	}
	policies, _ := filepath.Glob(filepath.Join(c.h.Sys, "devices/system/cpu/cpufreq/policy[0-9]*"))
	slices.Sort(policies)
	for _, p := range policies {
		is, _ := number(p, "scaling_max_freq")
		can, _ := number(p, "cpuinfo_max_freq")
		if is > 0 && can > 0 && is < can*9/10 {
			out = append(out, warning("see who limits it (scaling_max_freq, a power profile, or heat)", "%s may run at %d of %d MHz only", filepath.Base(p), is/1000, can/1000))
		}
	}
	return out
}
