package mqtt

import (
	"embed"
	"io/fs"
)

//go:embed schema/*.json
var schemas embed.FS

// Schemas holds the JSON Schemas of the documents: of those that are published (verdict.json, camera-state.json, info.json,
// gap.json, response.json, hint.json, switches.json) and of those that hosts send (request-*.json, with that of ping for info, and
// switches-set.json).
func Schemas() fs.FS {
	s, err := fs.Sub(schemas, "schema")
	if err != nil {
		panic(err) // the name is valid, so that it can't be
	}
	return s
}
