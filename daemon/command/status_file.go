package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/doctor"
)

// statusFile writes a health into the runtime directory, whole or not at all, for status and doctor. Without a runtime directory nobody reads it.
func statusFile(directory string) func(daemon.Health) error {
	directory, _, _ = strings.Cut(directory, ":")
	if !filepath.IsAbs(directory) {
		return nil
	}
	return func(h daemon.Health) (err error) {
		b, err := json.MarshalIndent(h, "", "  ")
		if err != nil {
			return fmt.Errorf("command: write status: %w", err)
		}
		f, err := os.CreateTemp(directory, "."+doctor.StatusFile+".*")
		if err != nil {
			return fmt.Errorf("command: write status: %w", err)
		}
		defer func() {
			if err != nil {
				err = errors.Join(fmt.Errorf("command: write status: %w", err), os.Remove(f.Name()))
			}
		}()
		// It is in memory and gone after a power cut anyway, so that nothing is synced.
		_, err = f.Write(append(b, '\n'))
		if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
			return err
		}
		return os.Rename(f.Name(), filepath.Join(directory, doctor.StatusFile))
	}
}
