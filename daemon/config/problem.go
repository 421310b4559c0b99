package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`   // from 1; 0 is the file as a whole
	Column  int    `json:"column,omitempty"` // from 1, in characters
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to write instead
}

func (p Problem) Error() string {
	at := p.File
	if p.Line > 0 {
		at += ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
	}
	return at + ": " + p.Message
}

// Problems is all that is wrong with a configuration file, in the order of its lines.
type Problems []Problem

// Error has a line for each problem, and one below it for its hint.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
		if p.Hint != "" {
			b.WriteString("\n  → " + p.Hint)
		}
	}
	return b.String()
}

// fileError is a file that couldn't be read at all.
type fileError struct {
	err  error
	hint string
}

func (e *fileError) Error() string { return fmt.Sprintf("config: %v", e.err) }
func (e *fileError) Unwrap() error { return e.err }
func (e *fileError) Hint() string  { return e.hint }
