package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sampling is how often processes and connections are looked at.
const sampling = 50 * time.Millisecond

// clockTicks is Linux's USER_HZ, which is 100 on all of its architectures that livenessd runs on.
const clockTicks = 100

// usage is what a process takes.
type usage struct {
	rss int64 // bytes
	cpu time.Duration
}

// measure reads what processes take together. One that has ended takes nothing.
func measure(pids []int) (u usage) {
	for _, pid := range pids {
		one, err := usageOf(pid)
		if err != nil {
			continue
		}
		u.rss += one.rss
		u.cpu += one.cpu
	}
	return u
}

func usageOf(pid int) (u usage, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name is in parentheses and may have spaces in it; utime, stime and rss are fields 14, 15 and 24.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const first = 3
	if len(fields) <= 24-first {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	for _, n := range []int{14, 15} {
		ticks, err := strconv.ParseInt(fields[n-first], 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * time.Second / clockTicks
	}
	pages, err := strconv.ParseInt(fields[24-first], 10, 64)
	u.rss = pages * int64(os.Getpagesize())
	return u, err
}

// loadAverage is the machine's over the last minute.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// openFiles makes room for as many connections, and for brokers that are started by us; the error tells how many there may be.
func openFiles(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	want := syscall.Rlimit{Cur: max(n, l.Cur), Max: max(n, l.Max)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
		return fmt.Errorf("%d open files are allowed, and %d needed: %w: ulimit -n as root, or fewer devices", l.Max, n, err)
	}
	return nil
}

// outages watches when devices are connected and when not.
type outages struct {
	devices []*device
	down    []time.Time // since when; zero while it is connected
	times   []uint64    // connections so far
	boots   []time.Time

	lost  int             // connections
	back  []time.Duration // how long each that came back was away
	since []reconnect
}

// reconnect is a device's return.
type reconnect struct {
	device int
	at     time.Time
}

func newOutages(devices []*device) *outages {
	return &outages{devices: devices, down: make([]time.Time, len(devices)), times: make([]uint64, len(devices)), boots: make([]time.Time, len(devices))}
}

// look notes what changed since the last look.
func (o *outages) look(now time.Time) (connected int) {
	for n, d := range o.devices {
		s := d.status()
		d.mu.Lock()
		boot := d.since
		d.mu.Unlock()
		fresh := !boot.Equal(o.boots[n])
		was := o.down[n].IsZero()
		switch {
		case was && (!s.Connected || fresh || s.Connections > o.times[n]):
			o.lost++
			o.down[n] = now
			if !s.Connected {
				break
			}
			fallthrough // it was away between two looks
		case !was && s.Connected:
			o.back = append(o.back, now.Sub(o.down[n]))
			o.since = append(o.since, reconnect{n, now})
			o.down[n] = time.Time{}
		}
		o.boots[n], o.times[n] = boot, s.Connections
		if s.Connected {
			connected++
		}
	}
	return connected
}

// watch looks until ctx ends.
func (o *outages) watch(ctx context.Context, also func()) {
	for n, d := range o.devices { // they were connected a moment ago
		o.times[n] = d.status().Connections
		d.mu.Lock()
		o.boots[n] = d.since
		d.mu.Unlock()
	}
	t := time.NewTicker(sampling)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			o.look(now)
			also()
		}
	}
}
