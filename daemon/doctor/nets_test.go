package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

// An accelerator that a daemon uses isn't touched; what the daemon says of it is told.
func TestAnAcceleratorIsLeftToTheDaemonThatRuns(t *testing.T) {
	tpu, processor := config.Delegate{Name: config.EdgeTPU}, config.Delegate{Name: config.XNNPACK}
	until := time.Date(2026, 1, 2, 3, 14, 5, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		prefer  config.Preference
		running []daemon.Tried
		tried   config.Preference // nil: nothing is
		levels  []Level
		says    string
	}{
		{"no daemon runs", config.Preference{tpu, processor}, nil, config.Preference{tpu, processor}, []Level{Failure}, "not today"},
		{"one uses it", config.Preference{tpu, processor}, []daemon.Tried{{Delegate: "edgetpu", State: mqtt.DelegateUsed, Median: 0.7}, {Delegate: "xnnpack", State: mqtt.DelegateUntried}},
			config.Preference{processor}, []Level{OK, Failure}, "the daemon uses delegate edgetpu, 0.70 ms a picture"},
		{"one does without", config.Preference{tpu, processor}, []daemon.Tried{{Delegate: "edgetpu", State: mqtt.DelegateResting, Error: "it hung", Hint: "look", Until: until},
			{Delegate: "xnnpack", State: mqtt.DelegateUsed}}, config.Preference{processor}, []Level{Warning, OK, Failure},
			"the daemon doesn't use delegate edgetpu (resting): it hung; it is tried again at 2026-01-02 03:14:05 UTC"},
		{"there is nothing else", config.Preference{tpu}, []daemon.Tried{{Delegate: "edgetpu", State: mqtt.DelegateUsed}}, nil, []Level{OK, Skipped}, "the daemon uses delegate edgetpu"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tried config.Preference
			p := &Patient{Daemon: daemon.Health{Delegates: tt.running}, Options: Options{Engine: func(_ context.Context, c config.Config) (*daemon.Engine, error) {
				tried = c.Inference.Delegate
				return nil, errors.New("not today")
			}}}
			c := config.Default()
			c.Inference.Delegate = tt.prefer
			var levels []Level
			var texts []string
			for _, f := range (nets{p}).selfTest(t.Context(), c) {
				levels, texts = append(levels, f.Level), append(texts, f.Seen)
				if f.Level == Warning && f.Do != "look" {
					t.Errorf("what to do is %q", f.Do)
				}
			}
			same := func(a, b config.Delegate) bool { return a.String() == b.String() }
			if !slices.EqualFunc(tried, tt.tried, same) || !slices.Equal(levels, tt.levels) || !strings.Contains(strings.Join(texts, "\n"), tt.says) {
				t.Errorf("tried %v; %v: %s", tried, levels, strings.Join(texts, "\n"))
			}
			if len(c.Inference.Delegate) != len(tt.prefer) {
				t.Error("the configuration was changed")
			}
		})
	}
}
