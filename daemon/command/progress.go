package command

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows on a terminal how far a piece of work is, and how long the rest takes.
type progress struct{ bar *progressbar.ProgressBar }

// progress begins one on standard error. Where that is no terminal it shows nothing.
func (a *app) progress(steps int, what string) *progress {
	if f, ok := a.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return newProgress(f, steps, what)
	}
	return &progress{}
}

func newProgress(w io.Writer, steps int, what string) *progress {
	return &progress{progressbar.NewOptions(steps, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))}
}

// step says that one more is done. A terminal that can't be written to is no reason to stop working.
func (p *progress) step() {
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

// end clears the line.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
