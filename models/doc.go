// Package models is what a model is and what the two kinds of models answer.
//
// A model is a folder with a manifest and a .tflite file: a bundle (BUNDLE.md). The package reads the manifest strictly, checks
// who signed it where that is asked for (Trust), hands the file to the runtime only after its SHA-256 was checked over the very
// bytes, and refuses a file whose tensors aren't what the manifest says. Detector finds faces in a frame, whose boxes and points
// may reach beyond its edge; Liveness judges one face; an Ensemble is several liveness nets that judge together, and gives no
// answer where one of them gives none. Two models ship inside the binary (Shipped). Install puts a bundle into its place,
// complete or not at all, after a Prober tried it in a child process: a damaged file can crash or hang the library, and then
// ends that child alone. A bundle that was put there by other means wasn't tried.
//
// The package promises nothing about how good a model is: that is what a model's card and `livenessd evaluate` are for. It
// doesn't decide: an answer is evidence of one frame.
package models
