package doctor

import "context"

// clock is whether the time is right: verdicts carry it, and certificates are checked by it.
type clock struct{ h Host }

var _ Check = clock{}

// built is a year before which no livenessd was made.
const built = 2024

func (c clock) Look(context.Context) []Finding {
	now := c.h.Now()
	keeper := c.h.running("systemd-timesyncd", "chronyd", "ntpd", "ntpd-rs", "openntpd")
	const enable = "systemctl enable --now systemd-timesyncd, or another service that sets the clock from the network"
	switch {
	case now.Year() < built:
		return []Finding{failure(Other, enable+"; a machine without a clock of its own starts in the past until then",
			"it is %s here: certificates can't be checked, and verdicts have wrong times", now.UTC().Format("2006-01-02 15:04 MST"))}
	case c.h.Synced():
		return []Finding{ok("%s, synchronised", now.UTC().Format("2006-01-02 15:04 MST"))}
	case keeper != "":
		return []Finding{warning("check that it reaches its servers (`timedatectl timesync-status` or `chronyc sources`): UDP port 123 must be open",
			"%s runs, but the clock isn't synchronised; verdicts say \"clock_synced\":false", keeper)}
	}
	return []Finding{warning(enable, "nothing synchronises the clock; verdicts say \"clock_synced\":false")}
}
