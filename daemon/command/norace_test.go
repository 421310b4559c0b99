//go:build !race

package command

const mostMemory = 64 << 20
