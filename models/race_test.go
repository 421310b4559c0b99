//go:build race

package models

const (
	// addresses of a probe's child: the race detector takes more than a probe may have.
	addresses = 1 << 50
	// corruptions that are tried unless the flag says otherwise: a child takes a second to start here.
	corruptions = 24
)
