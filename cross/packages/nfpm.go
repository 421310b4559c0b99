package main

import (
	"path/filepath"
	"time"
)

// scripts are what dpkg runs.
var scripts = []string{"postinst", "prerm", "postrm"}

// recipe is what of nfpm's configuration is used. It is written as JSON, which is YAML.
type recipe struct {
	Name        string            `json:"name"`
	Arch        string            `json:"arch"`
	Platform    string            `json:"platform"`
	Version     string            `json:"version"`
	Schema      string            `json:"version_schema"`
	Section     string            `json:"section"`
	Priority    string            `json:"priority"`
	Maintainer  string            `json:"maintainer"`
	Homepage    string            `json:"homepage"`
	Description string            `json:"description"`
	Depends     []string          `json:"depends"`
	Recommends  []string          `json:"recommends"`
	Suggests    []string          `json:"suggests"`
	MTime       string            `json:"mtime"`
	Contents    []recipeItem      `json:"contents"`
	Scripts     map[string]string `json:"scripts"`
	Deb         recipeDeb         `json:"deb"`
}

type recipeItem struct {
	From string         `json:"src,omitempty"`
	To   string         `json:"dst"`
	Type string         `json:"type,omitempty"`
	Info recipeFileInfo `json:"file_info"`
}

type recipeFileInfo struct {
	Mode  uint32 `json:"mode"`
	MTime string `json:"mtime"`
}

type recipeDeb struct {
	Compression string `json:"compression"`
}

const description = `tells living faces from prints and screens at the camera
livenessd watches V4L2 cameras, decides on the machine itself with small
neural networks whether the face in front of one is a living person or a
presentation attack (a print, a screen), and publishes verdicts over MQTT.
No picture leaves the machine.
.
It runs as a systemd service with a user of its own.`

// nfpm makes the recipe.
func nfpm(o options, version string, items []item, needs []string) recipe {
	at := o.at.UTC().Format(time.RFC3339)
	abs := func(p string) string {
		full, err := filepath.Abs(filepath.Join(o.out, p))
		if err != nil {
			return filepath.Join(o.out, p) // nfpm then looks from where it runs
		}
		return full
	}
	r := recipe{
		Name: "livenessd", Arch: o.arch, Platform: "linux", Version: version, Schema: "none", Section: "video", Priority: "optional",
		Maintainer: maintainer, Homepage: homepage, Description: description, MTime: at,
		// systemd makes the user, too.
		Depends:    append(needs[:len(needs):len(needs)], "systemd"),
		Recommends: []string{"ca-certificates", "udev"},
		Suggests:   []string{"mosquitto", "v4l-utils"},
		Scripts:    map[string]string{"postinstall": abs("postinst"), "preremove": abs("prerm"), "postremove": abs("postrm")},
		Deb:        recipeDeb{"xz"},
	}
	if o.arch == "armhf" {
		r.Arch = "arm7" // nfpm's name for it
	}
	if o.library == "" {
		r.Description += "\n.\nTensorFlow Lite, without which no face is judged, isn't inside for this\narchitecture; the package says at installation how to add it."
	}
	for _, i := range items {
		e := recipeItem{To: i.path, Info: recipeFileInfo{uint32(i.mode), at}}
		switch {
		case i.folder:
			e.Type = "dir"
		case i.config:
			e.Type = "config"
			fallthrough
		default:
			e.From = abs(filepath.Join("files", i.path))
		}
		r.Contents = append(r.Contents, e)
	}
	return r
}
