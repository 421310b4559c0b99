package daemon

import "errors"

// What kept the daemon from starting, or from going on, for the exit code.
var (
	ErrConfig      = errors.New("the configuration asks for what can't be had")
	ErrUnavailable = errors.New("a needed part is absent")
	ErrInternal    = errors.New("internal error")
	ErrAgain       = errors.New("it must be started again") // as another process
)

// fault is an error of a kind, with what a technician should do.
type fault struct {
	kind error
	err  error
	hint string
}

func (f *fault) Error() string   { return f.err.Error() }
func (f *fault) Unwrap() []error { return []error{f.kind, f.err} }
func (f *fault) Hint() string    { return f.hint }

// Hint tells what a technician should do about an error, "" where nobody knows.
func Hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
