//go:build !race

package models

// addresses of a probe's child: as many as usual.
const addresses = 0
