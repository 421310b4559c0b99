package main

import (
	"fmt"
	"strings"
)

const homepage = "https://github.com/livenessd/livenessd"

// common are the licences that every Debian has.
var common = []string{"Apache-2.0", "MPL-2.0"}

// copyrightFile tells who made what is inside the package, in Debian's machine-readable form (DEP-5). The package is made of built files, so what
// a paragraph is about stands in it as a file of the package, a colon and the part of it.
func copyrightFile(parts []component) string {
	var b strings.Builder
	fmt.Fprintf(&b, `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: livenessd
Upstream-Contact: %s
Source: %s
Comment: This package is made of built files. Where one of them holds the
 work of several authors, each has a paragraph of its own, whose Files is the
 file, a colon and the name of the work: the Go module, or the library.

Files: *
Copyright: the livenessd authors
License: Apache-2.0
`, maintainer, homepage)
	asked := map[string]bool{"Apache-2.0": true}
	for _, c := range parts {
		name := c.Name
		if c.Version != "" {
			name += "@" + c.Version
		}
		fmt.Fprintf(&b, "\nFiles: %s:%s\n", strings.TrimPrefix(c.Inside, "/"), strings.ReplaceAll(name, " ", "-"))
		for i, h := range c.Holders {
			if i == 0 {
				fmt.Fprintf(&b, "Copyright: %s\n", h)
			} else {
				fmt.Fprintf(&b, "           %s\n", h)
			}
		}
		fmt.Fprintf(&b, "License: %s\n", debianLicence(c.Licence))
		for _, l := range common {
			if strings.Contains(c.Licence, l) {
				asked[l] = true
			}
		}
		if c.Text != "" {
			b.WriteString(indented(c.Text))
		}
		fmt.Fprintf(&b, "Comment: %s\n", c.Homepage)
	}
	for _, l := range common {
		if asked[l] {
			fmt.Fprintf(&b, "\nLicense: %s\n On Debian systems the text of this licence is in\n /usr/share/common-licenses/%s\n", l, l)
		}
	}
	return b.String()
}

// debianLicence writes an SPDX expression as Debian does.
func debianLicence(spdx string) string {
	return strings.NewReplacer(" AND ", " and ", " OR ", " or ", "LicenseRef-", "", "MIT", "Expat").Replace(spdx)
}

// indented makes a text a continued field: a space before each line, and a dot where it would be empty.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(strings.ReplaceAll(line, "\f", ""), " \t\n")
		if strings.TrimSpace(line) == "" {
			line = "."
		}
		b.WriteString(" " + line + "\n")
	}
	return b.String()
}
