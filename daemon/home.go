package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
)

// homeFile lies in the folder that the configuration calls state. It says what Home Assistant was told, which is retained at the broker and
// would stay there when names, cameras or the configuration change.
const homeFile = "home-assistant.json"

// maxHomeFile bounds what is read of it.
const maxHomeFile = 1 << 20

// home remembers what Home Assistant is told.
type home struct {
	path string
	now  []mqtt.Announced // what is there when all is done; empty for nothing
	done chan struct{}
	log  *slog.Logger
}

// newHome gives what the client shall tell Home Assistant, and what remembers that; nil where there is nothing to tell and nothing to forget.
// From here on it is on the disk that something may lie at the broker.
func newHome(o Options, sensors string) (*mqtt.HomeAssistant, *home, error) {
	if o.Stateless {
		return nil, nil, nil
	}
	h := &home{path: filepath.Join(o.Config.State, homeFile), done: make(chan struct{}), log: o.Log}
	past, err := readHome(h.path)
	if err != nil {
		o.Log.Warn("what Home Assistant was told is forgotten", "error", err,
			"hint", "what it still shows of cameras or names that are no more can be deleted there")
	}
	if !o.Config.MQTT.HomeAssistant && len(past) == 0 {
		return nil, nil, nil
	}
	tell := &mqtt.HomeAssistant{Off: !o.Config.MQTT.HomeAssistant, Version: o.Version, Actionable: actionable, Forget: past,
		Temperature: len(temperatures(sensors)) > 0, Told: func() { close(h.done) }}
	for _, name := range slices.Sorted(maps.Keys(o.Config.Cameras)) {
		tell.Cameras = append(tell.Cameras, mqtt.HomeCamera{Name: name, Verdicts: o.Config.Cameras[name].Role != config.IR})
	}
	a, err := tell.Announces(o.Config.MQTT.Prefix, o.Config.Device)
	if err != nil {
		return nil, nil, err
	}
	if a != nil {
		h.now = []mqtt.Announced{*a}
	}
	h.write(append(slices.Clone(past), h.now...))
	return tell, h, nil
}

// run writes down what is there as soon as the broker has it.
func (h *home) run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-h.done:
		h.write(h.now)
	}
}

func (h *home) write(list []mqtt.Announced) {
	if err := writeHome(h.path, list); err != nil {
		h.log.Warn("what Home Assistant is told can't be remembered", "error", err,
			"hint", "what changes later may have to be deleted there by hand; see whether the folder that state names can be written to")
	}
}

func readHome(path string) ([]mqtt.Announced, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxHomeFile {
		err = fmt.Errorf("%d bytes, more than %d", info.Size(), maxHomeFile)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	var list []mqtt.Announced
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("daemon: read %s: %w", path, err)
	}
	return list, nil
}

// writeHome writes the file whole or not at all, and removes it where there is nothing to be remembered.
func writeHome(path string, list []mqtt.Announced) error {
	fail := func(err error) error { return fmt.Errorf("daemon: write %s: %w", path, err) }
	if len(list) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return fail(err)
	}
	if was, err := os.ReadFile(path); err == nil && string(was) == string(b) {
		return nil // a start that changes nothing writes nothing
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+homeFile+".*")
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fail(errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
