// Package silentface installs MiniFASNet, the liveness nets of Silent-Face-Anti-Spoofing, which aren't part of this program:
// it takes upstream's two weight files from a folder or from upstream's repository, makes .tflite files of them, and puts
// four bundles into the folder of installed models.
//
// It promises that nothing but the two published files, byte for byte, is read; that nothing is installed unless the
// converted nets answer recorded pictures as upstream's own code does, the float ones to 1e-4 and the int8 ones within stated
// bounds; and that a bundle appears whole or not at all. It promises nothing about how good upstream's nets are at a door,
// and the thresholds in the manifests are a cautious guess: measure them there. It signs nothing.
package silentface
