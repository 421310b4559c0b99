//go:build !linux

package camera

import (
	"context"
	"errors"
)

var errPlatform = errors.New("cameras need Linux; only replays play here")

// List has nothing to list on this platform.
func List() ([]Info, error) { return nil, errPlatform }

// Adjust has nothing to set on this platform.
func Adjust(string, map[string]string) error { return errPlatform }

func newDevice(Options) driver { return nowhere{} }

type nowhere struct{}

func (nowhere) open(context.Context) (stream, error) { return nil, errPlatform }
func (nowhere) present() bool                        { return false }
func (nowhere) news() <-chan bool                    { return nil }
func (nowhere) reset() error                         { return errors.ErrUnsupported }
func (nowhere) close()                               {}
