package console

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
)

// pace is how the chain from frames to verdicts got on for a time.
type pace struct {
	captured, dropped float64       // frames a second
	median, p99       time.Duration // from a frame's being taken to what follows
}

func (p pace) String() string {
	return fmt.Sprintf("%5.2f frames a second, %4.2f dropped, median %5.2f ms, p99 %5.2f ms", p.captured, p.dropped, ms(p.median), ms(p.p99))
}

// pace measures for a time.
func (f *fixture) pace(length time.Duration) pace {
	f.t.Helper()
	counters := func() (uint64, uint64) {
		c := f.view.Overview().Cameras[0].Status.Counters
		return c.Captured, c.Dropped
	}
	begin := time.Now()
	c0, d0 := counters()
	time.Sleep(length) // what is measured is how much happens meanwhile
	c1, d1 := counters()
	var took []time.Duration
	for _, x := range f.lines.Frames("front") {
		if x.Taken.After(begin) {
			took = append(took, x.Decided.Sub(x.Taken))
		}
	}
	p := pace{captured: float64(c1-c0) / time.Since(begin).Seconds(), dropped: float64(d1-d0) / time.Since(begin).Seconds()}
	if slices.Sort(took); len(took) > 0 {
		p.median, p.p99 = took[len(took)/2], took[len(took)*99/100]
	}
	return p
}

// What the console is asked for, kindly or not, is seen in what the cameras' chain does: with LIVENESSD_MEASURE=1 long enough for figures
// (docs/console.md). How fast a shared machine is proves nothing, so that only a chain that stops fails.
func TestTheCamerasGoOnWhateverTheConsoleIsAsked(t *testing.T) {
	length := 700 * time.Millisecond
	if os.Getenv("LIVENESSD_MEASURE") != "" {
		length = 15 * time.Second
	}
	f := start(t, settings(t), nil)
	f.lines = daemon.NewTimelines()
	f.run()
	f.await("frames", func() bool { return f.view.Overview().Cameras[0].Status.Counters.Captured > 5 })
	b := f.admin()
	address := f.server.Address().String()
	viewer := func(ctx context.Context, b *browser, path string, each time.Duration) {
		r, err := http.NewRequestWithContext(ctx, "GET", f.base+path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		r.AddCookie(b.cookie)
		a, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			return // the door was full
		}
		defer a.Body.Close()
		buf := make([]byte, 4096)
		for ctx.Err() == nil {
			if _, err := a.Body.Read(buf); err != nil {
				return
			}
			if each > 0 {
				select {
				case <-ctx.Done():
				case <-time.After(each):
				}
			}
		}
	}
	again := func(ctx context.Context, f func()) {
		for ctx.Err() == nil {
			f()
		}
	}
	loads := []struct {
		name string
		n    int
		do   func(ctx context.Context, i int)
	}{
		{"nobody", 0, nil},
		{"two viewers", 2, func(ctx context.Context, _ int) { viewer(ctx, b, "/api/cameras/front/pictures", 0) }},
		{"two viewers that are slow", 2, func(ctx context.Context, _ int) { viewer(ctx, b, "/api/cameras/front/pictures", time.Second) }},
		{"200 viewers", 200, func(ctx context.Context, _ int) {
			again(ctx, func() {
				viewer(ctx, b, "/api/cameras/front/pictures", 0)
				select { // who was refused tries again, as a page would
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			})
		}},
		{"200 that say half of a request (slowloris)", 200, func(ctx context.Context, _ int) {
			again(ctx, func() {
				c, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				for {
					if _, err := io.WriteString(c, "G"); err != nil {
						return
					}
					select {
					case <-ctx.Done():
						return
					case <-time.After(200 * time.Millisecond):
					}
				}
			})
		}},
		{"20 that guess tokens, 10 times a second each", 20, func(ctx context.Context, _ int) {
			again(ctx, func() {
				r, err := http.NewRequestWithContext(ctx, "POST", f.base+"/api/session", strings.NewReader(`{"token":"one-guess-of-very-many"}`))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Origin", f.base)
				if a, err := http.DefaultClient.Do(r); err == nil {
					a.Body.Close()
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			})
		}},
		{"20 that send a megabyte, 5 times a second each", 20, func(ctx context.Context, _ int) {
			long := strings.Repeat("x", 1<<20)
			again(ctx, func() {
				r, err := http.NewRequestWithContext(ctx, "POST", f.base+"/api/session", strings.NewReader(long))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Origin", f.base)
				if a, err := http.DefaultClient.Do(r); err == nil {
					a.Body.Close()
				}
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			})
		}},
		{"nobody again", 0, nil},
	}
	for _, l := range loads {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range l.n {
			wg.Go(func() { l.do(ctx, i) })
		}
		p := f.pace(length)
		cancel()
		wg.Wait()
		t.Logf("%-46s %v", l.name, p)
		if p.captured == 0 {
			t.Errorf("%s: no frames any more", l.name)
		}
	}
}
