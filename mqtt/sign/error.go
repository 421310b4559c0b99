package sign

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Error is a key that can't be had, or a signature that doesn't hold. Its text holds no secret.
type Error struct {
	Op   string // "read the device key /var/lib/livenessd/device.key"
	Err  error
	hint string
}

func (e *Error) Error() string { return "sign: " + e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what a technician should do, "" where nobody knows.
func (e *Error) Hint() string { return e.hint }

// What is wrong with a JWS.
var (
	ErrForm      = errors.New("not a JWS as livenessd writes it")
	ErrKey       = errors.New("signed by a key that isn't known here")
	ErrSignature = errors.New("the signature doesn't hold: it was altered, or signed by another key than it says")
)

// ErrExists tells that there is a key already.
var ErrExists = errors.New("there is a key already")

// explain makes an Error of what happened to a file. The path is in op.
func explain(op string, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	hint := ""
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "make one with livenessd keys generate, or correct the path"
	case errors.Is(err, fs.ErrPermission):
		hint = "run it as the user whose key it is: livenessd's, or root"
	case errors.Is(err, syscall.EROFS):
		hint = "name a file that can be written to with signing.key_file, or a folder with state"
	case errors.Is(err, syscall.ENOSPC):
		hint = "the disk is full: make room on it"
	}
	return &Error{op, err, hint}
}
