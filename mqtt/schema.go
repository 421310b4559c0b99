package mqtt

import (
	"embed"
	"io/fs"
)

//go:embed schema/*.json
var schemas embed.FS

// Schemas holds the JSON Schemas of the documents: verdict.json, camera-state.json and info.json.
func Schemas() fs.FS {
	s, err := fs.Sub(schemas, "schema")
	if err != nil {
		panic(err) // the name is valid, so that it can't be
	}
	return s
}
