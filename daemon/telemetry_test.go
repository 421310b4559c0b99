package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/mqtt"
)

// machine is a folder of sensors: by zone, its type and what it says.
func machine(t *testing.T, zones map[string][2]string) string {
	t.Helper()
	folder := t.TempDir()
	for zone, says := range zones {
		if err := os.MkdirAll(filepath.Join(folder, zone), 0o700); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"type", "temp"} {
			if says[i] == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(folder, zone, name), []byte(says[i]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return folder
}

func TestTemperaturesAreThoseOfSensorsThatSaySomething(t *testing.T) {
	for name, tt := range map[string]struct {
		zones map[string][2]string
		want  []mqtt.Temperature
	}{
		"none":                  {nil, nil},
		"one":                   {map[string][2]string{"thermal_zone0": {"cpu-thermal\n", "51234\n"}}, []mqtt.Temperature{{Sensor: "cpu-thermal", Celsius: 51.234}}},
		"frost":                 {map[string][2]string{"thermal_zone0": {"outside", "-11500"}}, []mqtt.Temperature{{Sensor: "outside", Celsius: -11.5}}},
		"two of a name":         {map[string][2]string{"thermal_zone0": {"acpitz", "1000"}, "thermal_zone1": {"acpitz", "2000"}}, []mqtt.Temperature{{Sensor: "acpitz", Celsius: 1}, {Sensor: "acpitz thermal_zone1", Celsius: 2}}},
		"ten after nine":        {map[string][2]string{"thermal_zone10": {"b", "2000"}, "thermal_zone9": {"a", "1000"}}, []mqtt.Temperature{{Sensor: "a", Celsius: 1}, {Sensor: "b", Celsius: 2}}},
		"no type":               {map[string][2]string{"thermal_zone3": {"", "1000"}}, []mqtt.Temperature{{Sensor: "thermal_zone3", Celsius: 1}}},
		"switched off":          {map[string][2]string{"thermal_zone0": {"wifi", ""}, "thermal_zone1": {"cpu", "1000"}}, []mqtt.Temperature{{Sensor: "cpu", Celsius: 1}}},
		"no number":             {map[string][2]string{"thermal_zone0": {"cpu", "hot"}}, nil},
		"colder than can be":    {map[string][2]string{"thermal_zone0": {"cpu", "-274000"}}, nil},
		"a cooler is no sensor": {map[string][2]string{"cooling_device0": {"fan", "1000"}}, nil},
	} {
		if got := temperatures(machine(t, tt.zones)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	if got := temperatures(filepath.Join(t.TempDir(), "none")); got != nil {
		t.Errorf("a machine without sensors has %v", got)
	}
	many := map[string][2]string{}
	for i := range 2 * maxSensors {
		many[fmt.Sprint("thermal_zone", i)] = [2]string{fmt.Sprint("s", i), "1000"}
	}
	if got := temperatures(machine(t, many)); len(got) != maxSensors {
		t.Errorf("%d temperatures", len(got))
	}
}

func TestLatenciesAreOfTheNewestFramesSinceTheLastTime(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	var m meter
	if _, _, l := m.read(); l != nil {
		t.Errorf("before the first frame: %v", l)
	}
	for i := range 101 {
		m.frame(&Finding{Judged: i < 10, Times: Times{Detect: ms(i), Judge: ms(5)}}, ms(2*i))
	}
	examined, judged, l := m.read()
	want := map[string]mqtt.Spread{"detect": {Frames: 101, Median: 50, P99: 99, Longest: 100}, "total": {Frames: 101, Median: 100, P99: 198, Longest: 200},
		"judge": {Frames: 10, Median: 5, P99: 5, Longest: 5}}
	if examined != 101 || judged != 10 || !reflect.DeepEqual(l, want) {
		t.Errorf("%d, %d, %v", examined, judged, l)
	}
	for i := range 2*maxTimes + 1 {
		m.frame(&Finding{Times: Times{Detect: ms(1), Crop: ms(3)}}, ms(min(i, maxTimes+1)))
	}
	examined, judged, l = m.read()
	if s := l["total"]; examined != 102+2*maxTimes || judged != 10 || s.Frames != maxTimes || s.Median != maxTimes+1 || l["crop"].Median != 3 {
		t.Errorf("%d, %d, %v", examined, judged, l)
	}
}

func TestTelemetryHasWhatWasMeasuredAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{steps: script(times(8, living), times(3, empty)), state: camera.Status{State: camera.StateStreaming, Measured: 15.0149,
			Counters: camera.Counters{Captured: 20, Dropped: 7, Reopened: 1, Bad: camera.Bad{Short: 2}}}}
		p := w.start(t, io.Discard)
		dark := &pipeline{name: "dark", camera: &world{state: camera.Status{State: camera.StateFailed, Measured: 3}}}
		var said []mqtt.Telemetry
		counts := &tally{boot: "boot-1"}
		m := &telemeter{id: p.id, pipelines: []*pipeline{p, dark}, verdicts: counts.verdicts, publish: func(x mqtt.Telemetry) { said = append(said, x) },
			sensors: machine(t, map[string][2]string{"thermal_zone0": {"cpu", "40000"}}), now: time.Now, began: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 71*time.Second)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.run(ctx)
		}()
		running, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		if err := p.run(running); err != nil {
			t.Fatal(err)
		}
		for _, v := range w.verdicts {
			counts.count(v)
		}
		<-ended
		if len(said) != 2 {
			t.Fatalf("%d times in 71 s", len(said))
		}
		for i, x := range said {
			if err := x.Check(); err != nil {
				t.Error(err)
			}
			front := x.Cameras["front"]
			if x.Device != "door-7" || x.Boot != "boot-1" || x.UptimeS != []int64{10, 70}[i] || x.ResidentBytes < 1 ||
				!slices.Equal(x.Temperatures, []mqtt.Temperature{{Sensor: "cpu", Celsius: 40}}) ||
				front.Captured != 20 || front.Dropped != 7 || front.Bad != 2 || front.Reopened != 1 || front.Examined != 11 || front.Judged != 8 ||
				front.Verdicts != (mqtt.VerdictCounts{Live: 1}) || front.FPS == nil || *front.FPS != 15.01 {
				t.Errorf("%+v", x)
			}
			if (front.LatencyMS == nil) != (i == 1) {
				t.Errorf("%d: latencies %v", i, front.LatencyMS)
			}
			if d := x.Cameras["dark"]; d.FPS != nil || d.LatencyMS != nil || d.Examined != 0 {
				t.Errorf("a camera that fails: %+v", d)
			}
		}
	})
}
