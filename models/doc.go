// Package models is what a model is and what the two kinds of models answer.
//
// A model is a folder with a manifest and a .tflite file. The package reads the manifest strictly, hands the file to the
// runtime only after its SHA-256 was checked over the very bytes, and refuses a file whose tensors aren't what the manifest
// says. Detector finds faces in a frame; Liveness judges one face. Two models ship inside the binary (Shipped). The
// package promises nothing about how good a model is: that is what a model's card and `livenessd evaluate` are for. It
// doesn't decide: an answer is evidence of one frame.
package models
