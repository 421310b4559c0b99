package mqtt

import "slices"

// Code is the reason of a verdict that isn't live, or of a camera's trouble. No face, many faces, a broken camera and an
// attack are different answers and never stand for one another.
type Code string

// The codes that FACEIO has, under its names and numbers, so that its hosts can keep their tables.
const (
	CodePermissionRefused Code = "PERMISSION_REFUSED"
	CodeNoFacesDetected   Code = "NO_FACES_DETECTED"
	CodeManyFaces         Code = "MANY_FACES"
	CodePADAttack         Code = "PAD_ATTACK"
	CodeProcessingErr     Code = "PROCESSING_ERR"
	CodeUnauthorized      Code = "UNAUTHORIZED"
	CodeSessionExpired    Code = "SESSION_EXPIRED"
	CodeTimeout           Code = "TIMEOUT"
	CodeTooManyRequests   Code = "TOO_MANY_REQUESTS"
)

// Codes of our own, from 100.
const (
	CodeFaceTooSmall  Code = "FACE_TOO_SMALL"
	CodeTooDark       Code = "TOO_DARK"
	CodeTooBright     Code = "TOO_BRIGHT"
	CodeBlurred       Code = "BLURRED"
	CodeFaceCutOff    Code = "FACE_CUT_OFF"
	CodeFaceChanged   Code = "FACE_CHANGED"
	CodeCameraLost    Code = "CAMERA_LOST"
	CodeCameraSuspect Code = "CAMERA_SUSPECT"
	CodeModelRefused  Code = "MODEL_REFUSED"
	CodeLockedOut     Code = "LOCKED_OUT"
	CodeFaceTurned    Code = "FACE_TURNED"
)

// Codes returns all codes in the order of their numbers.
func Codes() []Code {
	return slices.Concat(faceio(), ours())
}

func faceio() []Code {
	return []Code{CodePermissionRefused, CodeNoFacesDetected, CodeManyFaces, CodePADAttack, CodeProcessingErr, CodeUnauthorized,
		CodeSessionExpired, CodeTimeout, CodeTooManyRequests}
}

// ours grows at its end only: the place in it is the number.
func ours() []Code {
	return []Code{CodeFaceTooSmall, CodeTooDark, CodeTooBright, CodeBlurred, CodeFaceCutOff, CodeFaceChanged, CodeCameraLost,
		CodeCameraSuspect, CodeModelRefused, CodeLockedOut, CodeFaceTurned}
}

// Number returns the number of a code, 0 if there is no such code.
func (c Code) Number() int {
	if i := slices.Index(faceio(), c); i >= 0 {
		return []int{1, 2, 4, 5, 9, 10, 13, 14, 15}[i]
	}
	if i := slices.Index(ours(), c); i >= 0 {
		return 100 + i
	}
	return 0
}
