package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/livenessd/livenessd/daemon/command"
)

// manual is what is written about the command line: a page for each command, one for the configuration, completions for three shells.
func manual(o options, version string) ([]item, error) {
	root := command.Tree(command.Process{Stdout: io.Discard, Stderr: io.Discard, Version: version})
	root.DisableAutoGenTag = true
	var out []item
	add := func(path, text string) { out = append(out, item{path: path, data: []byte(text), mode: 0o644}) }
	err := walk(root, func(c *cobra.Command) error {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-")
		var page bytes.Buffer
		at := o.at
		header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Date: &at, Source: "livenessd " + version, Manual: "livenessd"}
		if err := doc.GenMan(c, header, &page); err != nil {
			return fmt.Errorf("man page of %s: %w", name, err)
		}
		text := page.String()
		if c == root {
			text += rootPage
		}
		add("/usr/share/man/man1/"+name+".1.gz", gzipped(text))
		return nil
	})
	if err != nil {
		return nil, err
	}
	example, err := os.ReadFile(filepath.Join(o.root, "daemon", "config", "example.yaml"))
	if err != nil {
		return nil, err
	}
	add("/usr/share/man/man5/livenessd.yaml.5.gz", gzipped(configurationPage(string(example), version, o)))
	for _, s := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{"/usr/share/bash-completion/completions/livenessd", func(w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
		{"/usr/share/zsh/vendor-completions/_livenessd", root.GenZshCompletion},
		{"/usr/share/fish/vendor_completions.d/livenessd.fish", func(w io.Writer) error { return root.GenFishCompletion(w, true) }},
	} {
		var b bytes.Buffer
		if err := s.write(&b); err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
		add(s.path, b.String())
	}
	return out, nil
}

// walk visits a command and those below it that are shown.
func walk(c *cobra.Command, visit func(*cobra.Command) error) error {
	if err := visit(c); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		if err := walk(sub, visit); err != nil {
			return err
		}
	}
	return nil
}

const rootPage = `.SH FILES
.TP
\fI/etc/livenessd/livenessd.yaml\fP
the configuration, see \fBlivenessd.yaml(5)\fP
.TP
\fI/etc/livenessd/credentials/\fP
secrets; mqtt-password in it is the broker's password
.TP
\fI/var/lib/livenessd/\fP
what must survive a restart, and models
.TP
\fI/dev/livenessd/\fP
cameras by names that stay
.TP
\fI/usr/share/doc/livenessd/\fP
the documentation, the licences and the bill of materials
.SH EXIT STATUS
0; 1 other; 64 usage; 69 a needed device or service is absent; 70 internal; 75 try again; 77 permission; 78 configuration
`

// configurationPage is the example as a man page.
func configurationPage(example, version string, o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH \"LIVENESSD.YAML\" \"5\" \"%s\" \"livenessd %s\" \"livenessd\"\n", o.at.Format("Jan 2006"), version)
	b.WriteString(".SH NAME\nlivenessd.yaml \\- configuration of livenessd\n.SH DESCRIPTION\nAll keys with their defaults. Every key may be left out.\n.PP\n.nf\n")
	for line := range strings.Lines(example) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\n"), `\`, `\e`)
		line = strings.ReplaceAll(line, "-", `\-`)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(line + "\n")
	}
	b.WriteString(".fi\n.SH SEE ALSO\n\\fBlivenessd(1)\\fP, \\fBlivenessd-check(1)\\fP\n")
	return b.String()
}
