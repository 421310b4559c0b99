// Package demo is the clip that `livenessd demo` plays where there is no camera: synthetic people, drawn by
// models/train/clip.py and seen through the same simulation of cameras, screens and paper as in training. Some live, some are
// shown on a simulated screen or print. It shows that the machinery works, not how good the models are.
package demo

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// Clip is concatenated JPEGs of 640×480.
//
//go:embed clip.mjpeg
var Clip []byte

//go:embed clip.json
var truth []byte

// Segment is a part of the clip.
type Segment struct {
	First int    `json:"first"` // frame, from 0
	Last  int    `json:"last"`  // belongs to it
	Label string `json:"label"` // live, replay, print, or none for the empty room
}

// Truth is what the clip shows.
type Truth struct {
	FPS      float64   `json:"fps"`
	Frames   int       `json:"frames"`
	Segments []Segment `json:"segments"`
}

// ReadTruth reads what the clip shows.
func ReadTruth() (Truth, error) {
	var t Truth
	if err := json.Unmarshal(truth, &t); err != nil {
		return t, fmt.Errorf("demo: %w", err)
	}
	return t, nil
}
