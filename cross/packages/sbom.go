package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// What of CycloneDX 1.5 is written.
type (
	bom struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     bomMetadata  `json:"metadata"`
		Components   []bomPart    `json:"components"`
		Dependencies []bomDepends `json:"dependencies"`
	}
	bomMetadata struct {
		Timestamp string  `json:"timestamp"`
		Component bomPart `json:"component"`
	}
	bomPart struct {
		Type       string        `json:"type"`
		Ref        string        `json:"bom-ref"`
		Name       string        `json:"name"`
		Version    string        `json:"version,omitempty"`
		Hashes     []bomHash     `json:"hashes,omitempty"`
		Licences   []bomLicence  `json:"licenses,omitempty"`
		PURL       string        `json:"purl,omitempty"`
		References []bomLink     `json:"externalReferences,omitempty"`
		Properties []bomProperty `json:"properties,omitempty"`
	}
	bomHash     struct{ Alg, Content string }
	bomProperty struct{ Name, Value string }
	bomLink     struct{ Type, URL string }
	bomDepends  struct {
		Ref string   `json:"ref"`
		On  []string `json:"dependsOn,omitempty"`
	}
	// bomLicence is one SPDX identifier, a name that SPDX doesn't have, or an expression.
	bomLicence struct{ spdx string }
)

func (h bomHash) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"alg": h.Alg, "content": h.Content})
}

func (p bomProperty) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"name": p.Name, "value": p.Value})
}

func (l bomLink) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"type": l.Type, "url": l.URL})
}

func (l bomLicence) MarshalJSON() ([]byte, error) {
	if strings.Contains(l.spdx, " ") {
		return json.Marshal(map[string]string{"expression": l.spdx})
	}
	if name, ours := strings.CutPrefix(l.spdx, "LicenseRef-"); ours {
		return json.Marshal(map[string]map[string]string{"license": {"name": name}})
	}
	return json.Marshal(map[string]map[string]string{"license": {"id": l.spdx}})
}

// built is what a bill of materials is about.
type built struct {
	version string // Debian's
	arch    string
	at      time.Time
	binary  []byte
	library []byte // nil: none
	parts   []component
	needs   []string // Debian packages, with versions
}

// billOfMaterials is what is inside the package and what it needs of the system, as CycloneDX 1.5 has it. The same files give the same bytes.
func billOfMaterials(b built) ([]byte, error) {
	sum := sha256.Sum256(b.binary)
	main := bomPart{
		Type: "application", Ref: "livenessd", Name: "livenessd", Version: b.version,
		Hashes: []bomHash{{"SHA-256", hex.EncodeToString(sum[:])}}, Licences: []bomLicence{{"Apache-2.0"}},
		PURL:       fmt.Sprintf("pkg:deb/livenessd/livenessd@%s?arch=%s", url.QueryEscape(b.version), b.arch),
		References: []bomLink{{"vcs", homepage}},
		Properties: []bomProperty{{"livenessd:file", binaryPath}},
	}
	// What is inside what: the program's modules, and what the library was made of.
	inside := map[string][]string{}
	var parts []bomPart
	for _, c := range b.parts {
		p := bomPart{Type: "library", Ref: c.Name, Name: c.Name, Version: c.Version, Licences: []bomLicence{{c.Licence}},
			References: []bomLink{{"website", c.Homepage}}}
		switch {
		case c.Inside == binaryPath:
			p.PURL = golangPURL(c.Name, c.Version)
			p.Ref = p.PURL
			if c.Sum != "" {
				p.Properties = []bomProperty{{"livenessd:go.sum", c.Sum}}
			}
			inside[main.Ref] = append(inside[main.Ref], p.Ref)
		case c.Name == libraryName:
			s := sha256.Sum256(b.library)
			p.Hashes = []bomHash{{"SHA-256", hex.EncodeToString(s[:])}}
			p.PURL, p.Ref = libraryRef, libraryRef
			p.Properties = []bomProperty{{"livenessd:file", libraryPath}}
			inside[main.Ref] = append(inside[main.Ref], p.Ref)
		default:
			p.Ref = libraryRef + "/" + c.Name
			p.Properties = []bomProperty{{"livenessd:inside", libraryPath}}
			inside[libraryRef] = append(inside[libraryRef], p.Ref)
		}
		parts = append(parts, p)
	}
	for _, n := range b.needs {
		name, rest, _ := strings.Cut(n, " ")
		p := bomPart{Type: "library", Ref: "pkg:deb/debian/" + name + "?arch=" + b.arch, Name: name,
			Properties: []bomProperty{{"livenessd:depends", strings.TrimSpace(name + " " + rest)}}}
		p.PURL = p.Ref
		inside[main.Ref] = append(inside[main.Ref], p.Ref)
		parts = append(parts, p)
	}
	out := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.5.schema.json", Format: "CycloneDX", Spec: "1.5", Version: 1,
		Metadata:   bomMetadata{b.at.UTC().Format(time.RFC3339), main},
		Components: parts, Dependencies: []bomDepends{{main.Ref, inside[main.Ref]}},
	}
	for _, p := range parts {
		out.Dependencies = append(out.Dependencies, bomDepends{p.Ref, inside[p.Ref]})
	}
	// A serial number that the same files always have: RFC 9562's version 8, which is for one's own.
	id := sha256.Sum256(append([]byte(b.version+" "+b.arch+" "), sum[:]...))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	out.Serial = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
	text, err := json.MarshalIndent(out, "", "  ")
	return append(text, '\n'), err
}

func golangPURL(module, version string) string {
	return "pkg:golang/" + strings.ReplaceAll(module, "~", "%7E") + "@" + strings.ReplaceAll(version, "+", "%2B")
}
