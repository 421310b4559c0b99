package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon/demo"
)

func TestBenchMeasuresEachSizeAndFormat(t *testing.T) {
	needRuntime(t)
	still, err := os.ReadFile(picture("live-1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	clip := write(t, "still.mjpeg", strings.Repeat(string(still), 2))
	r := call(t, "bench", "--json", "--frames", "3", withConfig(t, ""), clip)
	objects := objects[map[string]json.RawMessage](t, r.out)
	if r.code != ExitOK || len(objects) != 5 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	var got []string
	for _, o := range objects[:4] {
		got = append(got, fmt.Sprintf("%s %sx%s %s %s", o["clip"], o["width"], o["height"], o["format"], o["frames"]))
		var stages map[string]map[string]float64
		if err := json.Unmarshal(o["stages"], &stages); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"decode", "detect", "crop", "judge", "total"} {
			if m, p := stages[s]["median_ms"], stages[s]["p99_ms"]; !(m >= 0 && p >= m && (s == "decode" || m > 0)) { // YUYV is decoded by looking at it
				t.Errorf("%s: median %v, p99 %v in %s", s, m, p, o["stages"])
			}
		}
		for _, key := range []string{"cpu_ms_per_frame", "allocs_per_frame"} {
			if _, there := o[key]; !there {
				t.Errorf("no %s", key)
			}
		}
	}
	want := `"still.mjpeg" 1280x720 "MJPG" 3, "still.mjpeg" 1280x720 "YUYV" 3, "still.mjpeg" 640x480 "MJPG" 3, "still.mjpeg" 640x480 "YUYV" 3`
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	for _, key := range []string{"rss_bytes", "delegate", "runtime"} {
		if v := string(objects[4][key]); v == "" || v == "0" || v == `""` {
			t.Errorf("%s is %q", key, v)
		}
	}
}

func TestBenchPlaysAnEmptyRoomAndOtherModels(t *testing.T) {
	needRuntime(t)
	pictures := camera.SplitMJPEG(demo.Clip)
	truth, err := demo.ReadTruth()
	if err != nil {
		t.Fatal(err)
	}
	first := truth.Segments[1].First // somebody comes
	comes := write(t, "comes.mjpeg", string(bytes.Join(pictures[first-8:first+8], nil)))
	stays := write(t, "stays.mjpeg", string(bytes.Join(pictures[first+20:first+24], nil)))
	read := func(r result) []benchResult {
		t.Helper()
		var all []benchResult
		for _, o := range objects[benchResult](t, r.out) {
			if o.Clip != "" {
				all = append(all, o)
			}
		}
		if r.code != ExitOK || len(all) != 4 {
			t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
		}
		return all
	}
	for _, o := range read(call(t, "bench", "--json", "--empty", "--fps", "10", "--frames", "20", withConfig(t, ""), comes)) {
		if o.Judged != 0 || o.JudgedCPU != nil || o.Looked < 2 || o.Looked > 10 || o.FPS != 10 || o.CPU > 0 && math.Abs(o.Core-o.CPU) > 0.01 {
			t.Errorf("an empty room for two seconds: %+v", o)
		}
	}
	for _, o := range read(call(t, "bench", "--json", "--beside", "shipped", "--frames", "30", withConfig(t, ""), stays)) {
		// Again and again the same pictures: no cue may think of that here.
		if o.Judged != 30 || o.Looked < 8 || o.Looked > 15 || o.JudgedCPU == nil || o.Beside == nil || o.Beside.Frames != 30 || !(o.Beside.Judge.Median > 0) || o.Beside.Models == "" {
			t.Errorf("somebody who stays: %+v, beside it %+v", o, o.Beside)
		}
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--empty", stays}, ExitOther, "there is no empty room in it"},
		{[]string{"--beside", "nonesuch", stays}, ExitConfig, "nonesuch"},
		{[]string{"--fps", "0"}, ExitUsage, "--fps 0"},
		{[]string{"--frames", "0"}, ExitUsage, "--frames 0"},
	} {
		r := call(t, append([]string{"bench", withConfig(t, "")}, tt.args...)...)
		if r.code != tt.code || !strings.Contains(r.errors, tt.says) {
			t.Errorf("%q: exit code %d: %s", tt.args, r.code, r.errors)
		}
	}
}

func TestAClipIsPlayedThereAndBackAgain(t *testing.T) {
	for n, want := range map[int]string{1: "0000000", 2: "0101010", 3: "0121012", 9: "0123456"} {
		got := ""
		for i := range 7 {
			got += fmt.Sprint(order(i, n))
		}
		if got != want {
			t.Errorf("%d pictures: %s, want %s", n, got, want)
		}
	}
}

func TestQuantiles(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, tt := range []struct {
		v    []float64
		q    float64
		want float64
	}{
		{nil, 0.5, 0}, {[]float64{7}, 0.5, 7}, {[]float64{7}, 0.99, 7}, {[]float64{3, 1, 2}, 0.5, 2}, {[]float64{4, 1, 3, 2}, 0.5, 2},
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
	} {
		if got := quantile(tt.v, tt.q); got != tt.want {
			t.Errorf("quantile %v of %d values: %v, not %v", tt.q, len(tt.v), got, tt.want)
		}
	}
}
