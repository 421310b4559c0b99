//go:build !cgo

package jpeg

// Backend names what decodes in this build.
const Backend = "image/jpeg"

func newBackend() (backend, error) { return golang{}, nil }
