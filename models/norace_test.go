//go:build !race

package models

const (
	addresses   = 0 // of a probe's child: as many as usual
	corruptions = 200
)
