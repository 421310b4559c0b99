//go:build !linux

package models

// limitProcess does nothing where there is no camera either.
func limitProcess(seconds, memory uint64) error { return nil }
