package camera

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Error says what is wrong with a camera.
type Error struct {
	Op, Path string
	Err      error
	Code     string // CodePermission, CodeLost or CodeSuspect
	hint     string
	failed   bool // waiting won't help, somebody has to act
	mild     bool // it streams all the same
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("camera: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("camera: %s %s: %v", e.Op, e.Path, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Hint tells what a technician should do.
func (e *Error) Hint() string { return e.hint }

var (
	errStall       = errors.New("no frame")
	errUnusable    = errors.New("no frame that can be decoded")
	errStuck       = errors.New("the driver doesn't return")
	errEnded       = errors.New("the replay has ended")
	errNoCamera    = errors.New("no usable camera found")
	errNotCapture  = errors.New("not a capture device")
	errMultiPlanar = errors.New("multi-planar device, which is not supported")
	errNoFormat    = errors.New("no pixel format")
	errNoPictures  = errors.New("no pictures in it")
)

// fault explains what went wrong when a camera was opened or read. holders tells who else has a device open.
func fault(op, path string, err error, holders func(path string) string) *Error {
	e := &Error{Op: op, Path: path, Err: err, Code: CodeLost, failed: true}
	errno, _ := errnoOf(err)
	switch {
	case errno == syscall.EACCES, errno == syscall.EPERM:
		e.Code = CodePermission
		e.hint = "let the user that runs this open the camera: add it to group video (usermod -aG video USER, then log in again), " +
			"or set SupplementaryGroups=video and DeviceAllow=char-81 rw in the service's unit"
	case errno == syscall.ENOENT, errno == syscall.ENODEV, errno == syscall.ENXIO, errno == syscall.ESHUTDOWN, errors.Is(err, errNoCamera):
		e.failed = false
		e.hint = "plug the camera in, or correct the path; it is used as soon as it is there"
	case errno == syscall.EBUSY:
		e.hint = "another program uses the camera: stop it"
		if holders != nil {
			if who := holders(path); who != "" {
				e.hint = "the camera is used by " + who + ": stop that; if it can't be stopped, it hangs in the camera's driver: plug the camera in anew, or restart this machine"
			}
		}
	case errno == syscall.ENOSPC:
		e.hint = "the USB bus has no bandwidth left for this camera: choose format MJPG, a smaller size or a lower rate, " +
			"or plug the cameras into different USB controllers"
	case errno == syscall.EIO, errno == syscall.EPROTO, errno == syscall.EPIPE, errno == syscall.ETIMEDOUT, errno == syscall.EILSEQ:
		e.failed = false
		e.hint = "the camera doesn't answer properly: check its cable, its hub and the hub's power, or plug it in anew"
	case errors.Is(err, errVirtual):
		e.Code = CodeSuspect
		e.hint = "plug in a camera and name that with path; for a test, allow_virtual: true at this camera in the configuration takes it all the same"
	case errors.Is(err, errStranger):
		e.Code = CodeSuspect
		e.hint = "find out who exchanged the camera; plug the right one into its place, or, if this is to be it, write its identity into the configuration: `livenessd cameras` lists it"
	case errors.Is(err, errNotCapture):
		e.hint = "choose another node of this camera: see the list of cameras"
	case errors.Is(err, errMultiPlanar):
		e.hint = "use a camera whose driver has the single-planar interface, such as any USB camera"
	case errors.Is(err, errNoFormat):
		e.hint = "use a camera that sends one of " + strings.Join(formats, ", ") + "; a loopback device has formats once something feeds it"
	case errors.Is(err, errStuck):
		e.hint = "the camera's driver hangs, and the device stays open until it returns or livenessd ends: unplug the camera; if that repeats, try another socket or camera"
	case errors.Is(err, errNoPictures):
		e.hint = "put .jpg, .jpeg or .png files into the folder, or name an MJPEG clip"
	case op == "read":
		e.failed = false
		e.hint = "the camera's driver failed and the camera is being opened again; if that repeats, try another socket or camera"
	case errno == syscall.EINVAL:
		e.hint = "the camera's driver refuses this format, size or rate: choose others from the list of cameras"
	default:
		e.failed = false
	}
	return e
}

// hintOf is what a technician should do about an error.
func hintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.hint
	}
	return ""
}

// isMild tells whether a camera with this error streams all the same.
func isMild(err error) bool {
	e, is := err.(*Error)
	return is && e.mild
}

// troubleOf tells what kind of trouble an error is.
func troubleOf(err error) trouble {
	var e *Error
	if errors.As(err, &e) && e.failed {
		return refused
	}
	switch errno, _ := errnoOf(err); {
	case errno == syscall.ENOENT, errno == syscall.ENODEV, errno == syscall.ENXIO, errno == syscall.ESHUTDOWN, errors.Is(err, errNoCamera):
		return absent
	}
	return broken
}

// errnoOf finds the system's error also where only its text is left: webcam's StartStreaming keeps nothing else.
func errnoOf(err error) (syscall.Errno, bool) {
	var errno syscall.Errno
	if err == nil || errors.As(err, &errno) {
		return errno, err != nil
	}
	for _, n := range []syscall.Errno{syscall.ENOSPC, syscall.EBUSY, syscall.ENODEV, syscall.EIO, syscall.EPROTO, syscall.EPIPE,
		syscall.ETIMEDOUT, syscall.EILSEQ, syscall.EINVAL, syscall.ENOMEM, syscall.EACCES, syscall.EPERM, syscall.ENXIO, syscall.ENOENT} {
		if strings.HasSuffix(err.Error(), ": "+n.Error()) {
			return n, true
		}
	}
	return 0, false
}
