package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

func TestWhatHomeAssistantWasToldIsRemembered(t *testing.T) {
	state := t.TempDir()
	file := filepath.Join(state, homeFile)
	var log bytes.Buffer
	with := func(on bool, device string, cameras map[string]config.Camera) (*mqtt.HomeAssistant, *home) {
		t.Helper()
		o := Options{Config: config.Default(), Log: slog.New(slog.NewTextHandler(&log, nil)), Version: "v1"}
		o.Config.State, o.Config.MQTT.HomeAssistant, o.Config.Device, o.Config.Cameras = state, on, device, cameras
		tell, h, err := newHome(o, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return tell, h
	}
	remembered := func() (topics []string) {
		t.Helper()
		list, err := readHome(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			topics = append(topics, strings.TrimSuffix(strings.TrimPrefix(a.Topic, "homeassistant/device/livenessd_2f"), "/config"))
		}
		return topics
	}
	two := map[string]config.Camera{"front": config.DefaultCamera(), "night": {Role: config.IR}}
	if tell, h := with(false, "a", two); tell != nil || h != nil {
		t.Error("off, and nothing to be forgotten")
	}
	// It is known before it is told, so that nothing that happens in between is forgotten.
	tell, h := with(true, "a", two)
	if !reflect.DeepEqual(tell.Cameras, []mqtt.HomeCamera{{Name: "front", Verdicts: true}, {Name: "night"}}) || tell.Off || tell.Version != "v1" ||
		tell.Actionable != actionable || tell.Temperature {
		t.Errorf("%+v", tell)
	}
	if got := remembered(); !reflect.DeepEqual(got, []string{"a"}) {
		t.Errorf("%v", got)
	}
	tell.Told()
	h.run(t.Context())
	// Under another name, what was told under the old one is to be forgotten, and isn't until the broker has it.
	tell, h = with(true, "b", map[string]config.Camera{"front": config.DefaultCamera()})
	if len(tell.Forget) != 1 || tell.Forget[0].Components["front_verdict"] != "sensor" || len(remembered()) != 2 {
		t.Errorf("%+v, %v", tell, remembered())
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	h.run(gone) // the broker was away
	if len(remembered()) != 2 {
		t.Errorf("%v", remembered())
	}
	tell, h = with(true, "b", map[string]config.Camera{"front": config.DefaultCamera()})
	tell.Told()
	h.run(t.Context())
	if got := remembered(); !reflect.DeepEqual(got, []string{"b"}) {
		t.Errorf("%v", got)
	}
	// And off again.
	tell, h = with(false, "b", nil)
	if !tell.Off || len(tell.Forget) != 1 || len(remembered()) != 1 {
		t.Errorf("%+v", tell)
	}
	tell.Told()
	h.run(t.Context())
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("the log says %s", &log)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if tell, _ := with(true, "b", nil); len(tell.Forget) != 0 || !strings.Contains(log.String(), "is forgotten") {
		t.Errorf("a damaged file: %+v, %s", tell, &log)
	}
	entries, err := os.ReadDir(state)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v lie there, %v", entries, err)
	}
}

func TestAFolderThatCannotBeWrittenIsNoReasonNotToTell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o := Options{Config: config.Default(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	o.Config.State, o.Config.MQTT.HomeAssistant = filepath.Join(file, "state"), true
	tell, _, err := newHome(o, t.TempDir())
	if err != nil || tell == nil || !strings.Contains(log.String(), "can't be remembered") {
		t.Errorf("%v, %v, %s", tell, err, &log)
	}
	o.Stateless = true
	if tell, h, err := newHome(o, t.TempDir()); tell != nil || h != nil || err != nil {
		t.Errorf("without state: %v, %v, %v", tell, h, err)
	}
}
