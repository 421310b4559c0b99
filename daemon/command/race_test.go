//go:build race

package command

// mostMemory is how much TestWhatRunTakes lets a daemon have: the race detector takes several times what a program does.
const mostMemory = 1 << 30
