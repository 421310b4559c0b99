package main

import (
	"fmt"
	"regexp"
	"time"
)

// described is what `git describe --tags --always --dirty` says: a tag with perhaps a distance to it, or a commit alone.
var described = regexp.MustCompile(`^(?:v?(\d+(?:\.\d+)+)(?:-((?:alpha|beta|rc)[0-9.]*))?(?:-(\d+)-(g[0-9a-f]+))?|([0-9a-f]{7,40}))(-dirty)?$`)

// debianVersion makes a Debian version of what git calls the commit, such that later ones are higher: 1.2.3~rc1, 1.2.3, 1.2.3+5.gabc1234; before
// the first tag 0.0~git and the commit's time.
func debianVersion(describe string, committed time.Time) (string, error) {
	m := described.FindStringSubmatch(describe)
	if m == nil {
		return "", fmt.Errorf("no version is to be made of %q: tags are v1.2.3 or v1.2.3-rc1", describe)
	}
	tag, candidate, distance, commit, alone, dirty := m[1], m[2], m[3], m[4], m[5], m[6]
	v := tag
	switch {
	case alone != "":
		v = "0.0~git" + committed.UTC().Format("20060102150405") + "." + alone
	case candidate != "":
		v += "~" + candidate
	}
	if distance != "" {
		v += "+" + distance + "." + commit
	}
	if dirty != "" {
		v += "+dirty"
	}
	return v, nil
}
