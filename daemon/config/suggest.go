package config

import (
	"fmt"
	"strings"
)

// suggest says what somebody may have meant by a key that isn't known.
func suggest(key, prefix string, fields []field) string {
	best, distance := "", max(1, len(key)/3)+1
	var known []string
	for _, f := range fields {
		if f.refusal != "" {
			continue
		}
		known = append(known, f.key)
		if d := edits(strings.ToLower(key), f.key, distance); d < distance {
			best, distance = f.key, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", prefix+best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// edits counts the letters that must be inserted, left out, changed or swapped to make b of a. At limit it stops counting.
func edits(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(last[j]+1, next[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
