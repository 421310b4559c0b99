package command

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	cjpeg "github.com/livenessd/livenessd/camera/jpeg"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/cue"
	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/demo"
	"github.com/livenessd/livenessd/daemon/look"
)

func (a *app) bench() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench [CLIP…]",
		Short: "Measure what a frame costs, stage by stage",
		Long: "Plays each CLIP (concatenated JPEGs; without one the clip of the demo) at 640×480 and 1280×720, as MJPEG and as YUYV,\n" +
			"through the stages of run: decode, detect, crop, judge, cues (those that the configuration has on). Prints medians and 99th percentiles in milliseconds, processor\n" +
			"time and allocations per frame, and at the end the resident memory. Clips are scaled to each size before the clock runs.\n" +
			"Every frame's main face is judged; a frame without one counts for decode and detect alone.",
	}
	n := c.Flags().Int("frames", 300, "frames to measure for each size and format")
	a.jsonFlag(c, "print a JSON object for each clip, size and format, and one at the end")
	c.RunE = func(c *cobra.Command, clips []string) error {
		if *n < 1 || *n > 1_000_000 {
			return fail(ExitUsage, fmt.Errorf("--frames %d: 1 to 1000000", *n))
		}
		cfg, err := a.load()
		if err != nil {
			return err
		}
		e, err := a.openEngine(c.Context(), cfg)
		if err != nil {
			return err
		}
		find, judge, closeNets, err := e.Nets()
		if err != nil {
			return err
		}
		defer closeNets()
		b := bencher{examiner: daemon.Examiner{Finder: find, Judge: judge, Looker: look.New(), Now: time.Now}, options: daemon.DecisionOptions(cfg, e), frames: *n,
			watch: func() *cue.Watch { return daemon.NewWatch(cfg, config.Camera{}, nil) }}
		if len(clips) == 0 {
			clips = []string{""}
		}
		for _, path := range clips {
			name, data := "demo", demo.Clip
			if path != "" {
				name = filepath.Base(path)
				if data, err = readFile(path); err != nil {
					return err
				}
			}
			pictures := camera.SplitMJPEG(data)
			if len(pictures) == 0 {
				return fmt.Errorf("bench: %s: no JPEG picture in it", path)
			}
			for _, size := range []image.Point{{X: 1280, Y: 720}, {X: 640, Y: 480}} {
				for _, format := range []string{"MJPG", "YUYV"} {
					r, err := b.measure(name, pictures, size, format)
					if err != nil {
						return err
					}
					if err := a.printBench(r); err != nil {
						return err
					}
				}
			}
		}
		end := benchEnd{RSS: daemon.ResidentBytes(), Delegate: e.Delegate(), Runtime: e.Runtime.Version(), Delegates: e.Delegates()}
		if a.json {
			return a.printJSON(end)
		}
		if err := a.printTried(end.Delegates); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Stdout, "resident memory %.1f MB, delegate %s, TensorFlow Lite %s\n", float64(end.RSS)/1e6, end.Delegate, end.Runtime)
		return err
	}
	return c
}

// benchResult is one clip in one size and format.
type benchResult struct {
	Clip        string             `json:"clip"`
	Width       int                `json:"width"`
	Height      int                `json:"height"`
	Format      string             `json:"format"`
	Frames      int                `json:"frames"`
	Judged      int                `json:"judged"` // frames with a face that was judged
	Stages      map[string]stageMS `json:"stages"`
	CPU         float64            `json:"cpu_ms_per_frame"`
	Allocations float64            `json:"allocs_per_frame"`
}

type stageMS struct {
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"`
}

type benchEnd struct {
	RSS      int64  `json:"rss_bytes"`
	Delegate string `json:"delegate"`
	Runtime  string `json:"runtime"`
	// Delegates is what became of those that the configuration prefers.
	Delegates []daemon.Tried `json:"delegates"`
}

var stageNames = []string{"decode", "detect", "crop", "judge", "cues", "total"}

type bencher struct {
	examiner daemon.Examiner
	options  decision.Options
	watch    func() *cue.Watch
	frames   int
}

// material is a clip's frames as a camera of that size and format would deliver them.
func material(pictures [][]byte, size image.Point, format string) ([][]byte, error) {
	const enough = 48 // a camera's worth of different pictures; more would only measure the cache
	if len(pictures) > enough {
		step := len(pictures) / enough
		var some [][]byte
		for i := 0; i < len(pictures) && len(some) < enough; i += step {
			some = append(some, pictures[i])
		}
		pictures = some
	}
	out := make([][]byte, 0, len(pictures))
	for i, p := range pictures {
		m, err := camera.DecodeStill(p)
		if err != nil {
			return nil, fmt.Errorf("bench: picture %d: %w", i, err)
		}
		if format == "MJPG" {
			var buf bytes.Buffer
			if err := jpeg.Encode(&buf, scaled{&m, size}, &jpeg.Options{Quality: 85}); err != nil {
				return nil, fmt.Errorf("bench: picture %d: %w", i, err)
			}
			out = append(out, buf.Bytes())
			continue
		}
		out = append(out, packYUYV(&m, size))
	}
	return out, nil
}

func (b *bencher) measure(name string, pictures [][]byte, size image.Point, format string) (benchResult, error) {
	raw, err := material(pictures, size, format)
	if err != nil {
		return benchResult{}, err
	}
	d, err := decision.New(b.options)
	if err != nil {
		return benchResult{}, err
	}
	dec, err := cjpeg.New(cjpeg.Options{})
	if err != nil {
		return benchResult{}, err
	}
	defer dec.Close()
	var planes []byte
	view := func(p []byte) (m frame.Image, err error) {
		if format == "MJPG" {
			m, planes, err = dec.Decode(planes, p)
			return m, err
		}
		return frame.YUYV(p, size.X, size.Y, 2*size.X), nil
	}
	times := map[string][]float64{}
	watch, began := b.watch(), time.Now()
	one := func(i int, keep bool) (bool, error) {
		t0 := time.Now()
		m, err := view(raw[i%len(raw)])
		if err != nil {
			return false, err
		}
		t1 := time.Now()
		f, err := b.examiner.Examine(&m, d)
		if err != nil {
			return false, err
		}
		t2 := time.Now()
		watch.Frame(began.Add(time.Duration(i)*time.Second/15), &m, f.Box())
		if keep {
			t3 := time.Now()
			add := func(stage string, t time.Duration) { times[stage] = append(times[stage], t.Seconds()*1e3) }
			add("decode", t1.Sub(t0))
			add("detect", f.Times.Detect)
			if f.Judged {
				add("crop", f.Times.Crop)
				add("judge", f.Times.Judge)
			}
			add("cues", t3.Sub(t2))
			add("total", t3.Sub(t0))
		}
		return f.Judged, nil
	}
	for i := range min(10, b.frames) { // warm up: buffers, caches
		if _, err := one(i, false); err != nil {
			return benchResult{}, err
		}
	}
	for _, s := range stageNames {
		times[s] = make([]float64, 0, b.frames)
	}
	r := benchResult{Clip: name, Width: size.X, Height: size.Y, Format: format, Frames: b.frames, Stages: map[string]stageMS{}}
	runtime.GC()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	cpu := processorTime()
	for i := range b.frames {
		judged, err := one(i, true)
		if err != nil {
			return benchResult{}, err
		}
		if judged {
			r.Judged++
		}
	}
	r.CPU = round3((processorTime() - cpu).Seconds() * 1e3 / float64(b.frames))
	runtime.ReadMemStats(&m1)
	r.Allocations = round3(float64(m1.Mallocs-m0.Mallocs) / float64(b.frames))
	for _, s := range stageNames {
		r.Stages[s] = stageMS{quantile(times[s], 0.5), quantile(times[s], 0.99)}
	}
	return r, nil
}

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return round3(v[min(len(v)-1, int(math.Ceil(q*float64(len(v))))-1+btoi(q == 0))])
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func round3(v float64) float64 { return math.Round(v*1e3) / 1e3 }

func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (a *app) printBench(r benchResult) error {
	if a.json {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.Stdout, "%s %d×%d %s, %d frames, %d judged:", r.Clip, r.Width, r.Height, r.Format, r.Frames, r.Judged)
	for _, s := range stageNames {
		fmt.Fprintf(a.Stdout, "  %s %.2f (p99 %.2f)", s, r.Stages[s].Median, r.Stages[s].P99)
	}
	_, err := fmt.Fprintf(a.Stdout, " ms; %.2f ms of processor and %.1f allocations a frame\n", r.CPU, r.Allocations)
	return err
}
