package mqtt

import (
	"embed"
	"io/fs"
)

//go:embed schema/*.json schema/asyncapi.yaml
var schemas embed.FS

// Schemas holds the JSON Schemas of the documents: of those that are published (verdict.json, camera-state.json, info.json,
// gap.json, telemetry.json, response.json, hint.json, switches.json) and of those that hosts send (request-*.json, with that of ping for info,
// and switches-set.json). Beside them lies asyncapi.yaml, which describes all topics by AsyncAPI 3.0.
func Schemas() fs.FS {
	s, err := fs.Sub(schemas, "schema")
	if err != nil {
		panic(err) // the name is valid, so that it can't be
	}
	return s
}
