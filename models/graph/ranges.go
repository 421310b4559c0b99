package graph

import (
	"fmt"
	"math"
)

// Ranges is between which numbers the channels of a net's values were seen to lie.
type Ranges struct {
	values [][]channel // by value and channel
}

// channel is what was seen of one channel.
type channel struct {
	low, high    float64
	sum, squares float64
	count        int
}

// NewRanges is for the values of a net, of which nothing was seen yet.
func NewRanges(n *Net) *Ranges {
	r := &Ranges{make([][]channel, len(n.values))}
	for i, v := range n.values {
		r.values[i] = make([]channel, v.c)
		for c := range r.values[i] {
			r.values[i][c] = channel{low: math.Inf(1), high: math.Inf(-1)}
		}
	}
	return r
}

// Observe widens the ranges of a value's channels to what it was in one run: height × width × channels.
func (r *Ranges) Observe(v Value, data []float32) error {
	if v < 0 || int(v) >= len(r.values) || len(data)%len(r.values[v]) != 0 {
		return fmt.Errorf("graph: observe value %d: %d numbers don't fit it", v, len(data))
	}
	if !finite(data) {
		return fmt.Errorf("graph: observe value %d: it is not a number", v)
	}
	channels := r.values[v]
	for i := range channels {
		c := channels[i] // in registers: this is most of the work of a calibration
		for j := i; j < len(data); j += len(channels) {
			x := float64(data[j])
			if x < c.low {
				c.low = x
			}
			if x > c.high {
				c.high = x
			}
			c.sum += x
			c.squares += x * x
		}
		c.count += len(data) / len(channels)
		channels[i] = c
	}
	return nil
}

// Clip gives ranges that end so many standard deviations of what was seen from its mean. A rare extreme isn't worth the
// precision that it costs everything else.
func (r *Ranges) Clip(deviations float64) *Ranges {
	s := &Ranges{make([][]channel, len(r.values))}
	for v, channels := range r.values {
		s.values[v] = make([]channel, len(channels))
		for i, c := range channels {
			mean := c.sum / float64(c.count)
			d := deviations * math.Sqrt(max(0, c.squares/float64(c.count)-mean*mean))
			if c.count > 0 {
				c.low, c.high = max(c.low, mean-d), min(c.high, mean+d)
			}
			s.values[v][i] = c
		}
	}
	return s
}

// divide gives the ranges of channels that are divided by numbers.
func (r *Ranges) divide(by [][]float64) *Ranges {
	s := &Ranges{make([][]channel, len(r.values))}
	for v, channels := range r.values {
		s.values[v] = make([]channel, len(channels))
		for i, c := range channels {
			d := by[v][i]
			s.values[v][i] = channel{c.low / d, c.high / d, c.sum / d, c.squares / (d * d), c.count}
		}
	}
	return s
}

// whole is the range of all channels, 0 included, which must be exact.
func (r *Ranges) whole(v Value) (low, high float64) {
	for _, c := range r.values[v] {
		low, high = min(low, c.low), max(high, c.high)
	}
	return low, high
}

// size is the largest magnitude in the channel.
func (c *channel) size() float64 { return max(math.Abs(c.low), math.Abs(c.high)) }

// check tells whether they belong to the net and every value was seen.
func (r *Ranges) check(n *Net) error {
	if len(r.values) != len(n.values) {
		return fmt.Errorf("graph: ranges of %d values for a net of %d", len(r.values), len(n.values))
	}
	for i, v := range n.values {
		if len(r.values[i]) != v.c {
			return fmt.Errorf("graph: ranges of %d channels for %s, which has %d", len(r.values[i]), v.name, v.c)
		}
		if Value(i) == n.Input() {
			continue // is always a pixel
		}
		for _, c := range r.values[i] {
			if !(c.low <= c.high) {
				return fmt.Errorf("graph: %s was never observed", v.name)
			}
		}
	}
	return nil
}
