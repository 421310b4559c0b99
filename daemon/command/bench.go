package command

import (
	"bytes"
	"context"
	"errors"
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
		Long: "Plays each CLIP (concatenated JPEGs; without one the clip of the demo) at 640×480 and 1280×720, as MJPEG and as YUYV, frame after frame\n" +
			"through the stages of run: copy (out of the driver's memory), decode, detect (or follow), crop, judge, cues (those that the configuration\n" +
			"has on), decide. Prints medians and 99th percentiles in milliseconds, processor time and allocations per frame, and at the end the\n" +
			"resident memory. A clip's frames are scaled, and those of another format made, before the clock runs.\n" +
			"As in run, the detector looks at some frames alone: detect is of all frames, and the processor's time of judged frames has its share of that.\n" +
			"--empty plays only what comes before the first frame with a face, and says what share of a processor an empty room costs.\n" +
			"--beside has other liveness models judge the same frames in turn, each with its own crop.",
	}
	var o benchOptions
	c.Flags().IntVar(&o.frames, "frames", 300, "frames to measure for each size and format")
	c.Flags().Float64Var(&o.fps, "fps", 15, "frames per second of the clip")
	c.Flags().BoolVar(&o.empty, "empty", false, "play the empty room alone")
	c.Flags().StringSliceVar(&o.beside, "beside", nil, "liveness models that judge the same frames, for comparison")
	a.jsonFlag(c, "print a JSON object for each clip, size and format, and one at the end")
	c.RunE = func(c *cobra.Command, clips []string) error {
		if o.frames < 1 || o.frames > 1_000_000 {
			return fail(ExitUsage, fmt.Errorf("--frames %d: 1 to 1000000", o.frames))
		}
		if !(o.fps > 0 && o.fps <= 1000) {
			return fail(ExitUsage, fmt.Errorf("--fps %v: frames per second, above 0", o.fps))
		}
		return a.runBench(c.Context(), clips, o)
	}
	return c
}

type benchOptions struct {
	frames int
	fps    float64
	empty  bool
	beside []string
}

func (a *app) runBench(ctx context.Context, clips []string, o benchOptions) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	e, err := a.openEngine(ctx, cfg)
	if err != nil {
		return err
	}
	find, judge, closeNets, err := e.Nets()
	if err != nil {
		return err
	}
	defer closeNets()
	b := bencher{benchOptions: o, examiner: daemon.Examiner{Finder: find, Judge: judge, Looker: look.New(), Now: time.Now}, options: daemon.DecisionOptions(cfg, e),
		watch: func() *cue.Watch { return daemon.NewWatch(cfg, config.Camera{}, nil) }}
	if len(o.beside) > 0 {
		cfg.Models.Liveness = nil
		for _, name := range o.beside {
			cfg.Models.Liveness = append(cfg.Models.Liveness, config.Member{Name: name, Weight: 1})
		}
		cfg.Decision.LiveAt, cfg.Decision.SpoofAt = 0.5, 0.4 // nobody decides by them
		other, err := a.openEngine(ctx, cfg)
		if err != nil {
			return err
		}
		_, rival, closeRival, err := other.Nets()
		if err != nil {
			return err
		}
		defer closeRival()
		b.rival, b.rivalName = rival, other.Liveness.Name+" "+other.Liveness.Version
	}
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
		if o.empty {
			if pictures, err = b.nobody(pictures); err != nil {
				return fmt.Errorf("bench: %s: %w", name, err)
			}
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

// benchResult is one clip in one size and format. Times are in milliseconds.
type benchResult struct {
	Clip        string             `json:"clip"`
	Width       int                `json:"width"`
	Height      int                `json:"height"`
	Format      string             `json:"format"`
	Frames      int                `json:"frames"`
	Looked      int                `json:"looked"` // frames that the detector looked at
	Judged      int                `json:"judged"` // frames with a face that was judged
	Stages      map[string]stageMS `json:"stages"`
	CPU         float64            `json:"cpu_ms_per_frame"`
	JudgedCPU   *float64           `json:"cpu_ms_per_judged_frame,omitempty"`
	Decode      float64            `json:"decode_cpu_ms_per_frame"` // copy and decode, of cpu_ms_per_frame
	Core        float64            `json:"core_percent"`            // what of one processor that is at so many frames a second
	FPS         float64            `json:"fps"`
	Allocations float64            `json:"allocs_per_frame"`
	Beside      *besideResult      `json:"beside,omitempty"`
}

// besideResult is what other nets took for the same faces in the same frames.
type besideResult struct {
	Models string  `json:"models"`
	Frames int     `json:"frames"`
	CPU    float64 `json:"cpu_ms_per_frame"` // crop and judge, without finding the face
	Crop   stageMS `json:"crop"`
	Judge  stageMS `json:"judge"`
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

var stageNames = []string{"copy", "decode", "detect", "crop", "judge", "cues", "total"}

type bencher struct {
	benchOptions
	examiner  daemon.Examiner
	options   decision.Options
	watch     func() *cue.Watch
	rival     daemon.Judge // nil for none
	rivalName string
}

var errNobody = errors.New("its first picture has a face: there is no empty room in it")

// nobody is a clip's pictures before the first with a face.
func (b *bencher) nobody(pictures [][]byte) ([][]byte, error) {
	for i, p := range pictures {
		m, err := camera.DecodeStill(p)
		if err != nil {
			return nil, fmt.Errorf("picture %d: %w", i, err)
		}
		faces, err := b.examiner.Finder.Detect(&m)
		if err != nil {
			return nil, err
		}
		if len(faces) == 0 {
			continue
		}
		// People are seen by others than this detector before it finds them.
		if i -= 3; i < 2 {
			return nil, errNobody
		}
		return pictures[:i], nil
	}
	return pictures, nil
}

// batch is how many frames are made at a time, so that many need no more memory than a few.
const batch = 16

// raw makes a picture what a camera of that size and format would deliver.
func raw(picture []byte, size image.Point, format string) ([]byte, error) {
	m, err := camera.DecodeStill(picture)
	if err != nil {
		return nil, err
	}
	if format != "MJPG" {
		return packYUYV(&m, size), nil
	}
	if m.Bounds().Max == size {
		return picture, nil
	}
	var buf bytes.Buffer
	err = jpeg.Encode(&buf, resized(&m, size), &jpeg.Options{Quality: 85})
	return buf.Bytes(), err
}

// order is that of a clip's pictures: there and back again, so that nobody jumps.
func order(i, n int) int {
	if n == 1 {
		return 0
	}
	if i %= 2*n - 2; i >= n {
		i = 2*n - 2 - i
	}
	return i
}

// times is how long the stages of frames took, in milliseconds.
type stageTimes map[string][]float64

func (t stageTimes) add(stage string, d time.Duration) { t[stage] = append(t[stage], d.Seconds()*1e3) }

func (b *bencher) measure(name string, pictures [][]byte, size image.Point, format string) (benchResult, error) {
	d, err := decision.New(b.options)
	if err != nil {
		return benchResult{}, err
	}
	dec, err := cjpeg.New(cjpeg.Options{})
	if err != nil {
		return benchResult{}, err
	}
	defer dec.Close()
	var taken, planes []byte
	var m frame.Image
	view := func() (err error) {
		if format == "MJPG" {
			m, planes, err = dec.Decode(planes, taken)
			return err
		}
		m = frame.YUYV(taken, size.X, size.Y, 2*size.X)
		return nil
	}
	const warm = 10 // buffers, caches
	times, beside := stageTimes{}, stageTimes{}
	for _, s := range stageNames {
		times[s] = make([]float64, 0, warm+b.frames)
	}
	var all, judged, decoding, rival time.Duration // of the processor
	watch, began := b.watch(), time.Now()
	b.examiner.Forget()
	r := benchResult{Clip: name, Width: size.X, Height: size.Y, Format: format, Frames: b.frames, FPS: b.fps, Stages: map[string]stageMS{}}
	one := func(i int, data []byte) error {
		at := began.Add(time.Duration(float64(i) / b.fps * float64(time.Second)))
		c0, t0 := processorTime(), time.Now()
		taken = append(taken[:0], data...)
		t1 := time.Now()
		if err := view(); err != nil {
			return err
		}
		c1, t2 := processorTime(), time.Now()
		f, err := b.examiner.Follow(at, &m, d)
		if err != nil {
			return err
		}
		t3 := time.Now()
		o := f.Observation(at, &m)
		watch.Frame(at, &m, f.Box()) // whose doubts count for nothing: the clip is there to be played again
		t4 := time.Now()
		d.Observe(o)
		t5, c2 := time.Now(), processorTime()
		if i < warm {
			return nil
		}
		times.add("copy", t1.Sub(t0))
		times.add("decode", t2.Sub(t1))
		times.add("detect", f.Times.Detect)
		times.add("cues", t4.Sub(t3))
		times.add("total", t5.Sub(t0))
		all += c2 - c0
		decoding += c1 - c0
		if f.Looked {
			r.Looked++
		}
		if !f.Judged {
			return nil
		}
		times.add("crop", f.Times.Crop)
		times.add("judge", f.Times.Judge)
		r.Judged++
		judged += c2 - c0
		if b.rival == nil {
			return nil
		}
		c3, t6 := processorTime(), time.Now()
		if err := b.rival.Crop(&m, f.Faces[f.Main].Box); err != nil {
			return err
		}
		t7 := time.Now()
		if _, err := b.rival.Judge(); err != nil {
			return err
		}
		beside.add("crop", t7.Sub(t6))
		beside.add("judge", time.Since(t7))
		rival += processorTime() - c3
		return nil
	}
	var allocations uint64
	made := make([][]byte, 0, batch)
	few := make(map[int][]byte, batch) // the frames of a clip that has no more
	for i, n := 0, warm+b.frames; i < n; {
		made = made[:0]
		end := min(i+batch, n)
		if i < warm {
			end = warm
		}
		for j := i; j < end; j++ {
			p := order(j, len(pictures))
			data := few[p]
			if data == nil {
				var err error
				if data, err = raw(pictures[p], size, format); err != nil {
					return benchResult{}, fmt.Errorf("bench: picture %d: %w", p, err)
				}
			}
			if len(pictures) <= batch {
				few[p] = data
			}
			made = append(made, data)
		}
		runtime.GC()
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		first := i
		for _, data := range made {
			if err := one(i, data); err != nil {
				return benchResult{}, err
			}
			i++
		}
		runtime.ReadMemStats(&m1)
		if first >= warm {
			allocations += m1.Mallocs - m0.Mallocs
		}
	}
	ms := func(t time.Duration, n int) float64 { return round3(t.Seconds() * 1e3 / float64(n)) }
	r.CPU, r.Decode = ms(all, b.frames), ms(decoding, b.frames)
	r.Core = round3(all.Seconds() / float64(b.frames) * b.fps * 100)
	if r.Judged > 0 {
		j := ms(judged, r.Judged)
		r.JudgedCPU = &j
	}
	r.Allocations = round3(float64(allocations) / float64(b.frames))
	spread := func(v []float64) stageMS { return stageMS{quantile(v, 0.5), quantile(v, 0.99)} }
	for _, s := range stageNames {
		r.Stages[s] = spread(times[s])
	}
	if b.rival != nil && r.Judged > 0 {
		r.Beside = &besideResult{b.rivalName, r.Judged, ms(rival, r.Judged), spread(beside["crop"]), spread(beside["judge"])}
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
	fmt.Fprintf(a.Stdout, "%s %d×%d %s, %d frames, %d looked at, %d judged:", r.Clip, r.Width, r.Height, r.Format, r.Frames, r.Looked, r.Judged)
	for _, s := range stageNames {
		fmt.Fprintf(a.Stdout, "  %s %.2f (p99 %.2f)", s, r.Stages[s].Median, r.Stages[s].P99)
	}
	fmt.Fprintf(a.Stdout, " ms; %.2f ms of processor", r.CPU)
	if r.JudgedCPU != nil {
		fmt.Fprintf(a.Stdout, " (%.2f a judged frame, %.2f to copy and decode one)", *r.JudgedCPU, r.Decode)
	}
	_, err := fmt.Fprintf(a.Stdout, " and %.1f allocations a frame; %.1f %% of a processor at %g frames a second\n", r.Allocations, r.Core, r.FPS)
	if b := r.Beside; b != nil && err == nil {
		_, err = fmt.Fprintf(a.Stdout, "  beside it %s, %d frames: crop %.2f, judge %.2f (p99 %.2f) ms; %.2f ms of processor a frame\n", b.Models, b.Frames,
			b.Crop.Median, b.Judge.Median, b.Judge.P99, b.CPU)
	}
	return err
}
