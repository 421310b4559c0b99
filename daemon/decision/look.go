package decision

// Look is what a face's part of a frame is like, and whether that is good enough to judge it.
type Look struct {
	Known     bool      // somebody measured it: without, no gate but those of the box holds the frame back
	Luma      float64   // mean brightness of the face, 0…255
	Dark      float64   // share of it that is as dark as can be
	Bright    float64   // share of it that is as bright as can be
	Sharp     float64   // detail by contrast, whatever the size: see package look
	Posed     bool      // Yaw and Roll are known
	Yaw, Roll float64   // degrees: turned to a side, leaning to a shoulder; 0 is upright and frontal
	Signature Signature // appearance, to tell whether the next frame shows the same face
}

// Signature is a face's appearance: numbers of mean 0 and length 1, or all 0 where nobody knows.
type Signature [64]float32

// Doubt is a cue's objection. It can take evidence away or make a presentation an attack, and never makes anybody live.
type Doubt struct {
	Cue     string  // who objects
	Verdict Verdict // Spoof: the presentation is one; anything else: no evidence, and what was before isn't any more
	Code    Code    // why, for undecided
	Attack  string  // the kind, for spoof
}
