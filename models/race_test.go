//go:build race

package models

// addresses of a probe's child: the race detector takes more than a probe may have.
const addresses = 1 << 50
