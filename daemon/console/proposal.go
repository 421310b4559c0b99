package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
)

// ProposalFile lies in the folder that the configuration calls state: a configuration that was confirmed on the page of a daemon that may not
// write it, and waits for somebody who may.
const ProposalFile = "console-proposal.json"

// Proposal is such a configuration.
type Proposal struct {
	At     time.Time `json:"at"`
	Digest string    `json:"digest"` // of what it would replace
	Text   string    `json:"text"`
}

var errChanged = errors.New("somebody else changed it since")

// ReadProposal reads what waits in a state folder. Whoever reads it as root reads what livenessd's user wrote: a plain file, no link.
func ReadProposal(state string) (p Proposal, err error) {
	path := filepath.Join(state, ProposalFile)
	fail := func(err error, hint string) (Proposal, error) {
		return Proposal{}, &Error{"read the proposal " + path, err, hint}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(err, "confirm a change on the page first; the folder is the one that state names")
	}
	if err != nil {
		return fail(err, "")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(f, maxSettings))
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return fail(err, "remove it, and confirm the change on the page again")
	}
	return p, nil
}

// Difference checks the proposal against the configuration's file, and shows what it changes there.
func (p Proposal) Difference(path string) (string, error) {
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", &Error{"read the configuration " + path, err, ""}
	}
	if digest(before) != p.Digest {
		return "", &Error{"take the proposal", errChanged, "look at the difference on the page again, and confirm it there"}
	}
	if _, err := config.Parse(path, []byte(p.Text)); err != nil {
		return "", err
	}
	return config.Difference(before, []byte(p.Text)), nil
}

// Write replaces the configuration's file with the proposal, and removes that.
func (p Proposal) Write(path, state string) error {
	if _, err := p.Difference(path); err != nil {
		return err
	}
	before, err := os.ReadFile(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = replace(path, before, []byte(p.Text))
	}
	if err != nil {
		return &Error{"write the configuration " + path, err, "run it as root"}
	}
	if err := os.Remove(filepath.Join(state, ProposalFile)); err != nil {
		return fmt.Errorf("console: remove the proposal: %w", err)
	}
	return nil
}

// propose leaves a configuration for somebody who may write it.
func (p Proposal) propose(state string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(state, "."+ProposalFile+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(state, ProposalFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
