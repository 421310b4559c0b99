// Command packages lays out what a Debian package of livenessd holds, for one architecture, and writes what nfpm makes the package of.
//
// It promises that the same binary, library, commit and time give the same bytes; that the package depends on what the ELF files in it ask for, and
// on nothing that was guessed; and that everything which was linked in is named, in copyright with its licence and in the bill of materials. A module
// without a licence that is known here is an error. It doesn't build the binary (cross/compile) and doesn't write the .deb (nfpm, in a module of its own).
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	var o options
	var epoch string
	var name bool
	flag.StringVar(&o.arch, "arch", "", "architecture by Debian's name")
	flag.StringVar(&o.binary, "binary", "", "livenessd, built for it")
	flag.StringVar(&o.library, "library", "", "TensorFlow Lite's C library for it; empty where there is none")
	flag.StringVar(&o.describe, "version", "", "what git describe calls the commit")
	flag.StringVar(&epoch, "epoch", os.Getenv("SOURCE_DATE_EPOCH"), "the commit's time in seconds, which all files get")
	flag.StringVar(&o.root, "root", ".", "the repository")
	flag.StringVar(&o.out, "out", "", "folder to write to; what is in it goes")
	flag.BoolVar(&name, "name", false, "only print Debian's version of -version")
	flag.Parse()
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || flag.NArg() > 0 || !name && (o.arch == "" || o.binary == "" || o.out == "") {
		fmt.Fprintln(os.Stderr, "packages: -arch, -binary, -version, -epoch and -out are needed; see cross/packages")
		os.Exit(64)
	}
	o.at = time.Unix(seconds, 0).UTC()
	if name {
		version, err := debianVersion(o.describe, o.at)
		if err != nil {
			fmt.Fprintf(os.Stderr, "packages: %v\n", err)
			os.Exit(1)
		}
		fmt.Println(version)
		return
	}
	if err := lay(o); err != nil {
		fmt.Fprintf(os.Stderr, "packages: %v\n", err)
		os.Exit(1)
	}
}
