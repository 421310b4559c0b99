// Command write makes a .tflite file of a net that another program described: what models/train exports with.
//
//	write -format int8|float32 NET.json NUMBERS OUT.tflite
//	write -kinds
//
// graph.Read says what a description is; -kinds tells the operators that it can have. The same description gives the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/livenessd/livenessd/models/graph"
)

const (
	exitOther = 1
	exitUsage = 64
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("write", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "write -format int8|float32 NET.json NUMBERS OUT.tflite: makes a .tflite file of a described net")
		flags.PrintDefaults()
	}
	format := flags.String("format", "int8", "numbers of the net: int8, which needs ranges, or float32")
	kinds := flags.Bool("kinds", false, "tell the operators that a description can have")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	if *kinds && flags.NArg() == 0 {
		fmt.Fprintln(stdout, strings.Join(graph.Kinds(), "\n"))
		return 0
	}
	if flags.NArg() != 3 || *kinds || *format != "int8" && *format != "float32" {
		flags.Usage()
		return exitUsage
	}
	if err := write(*format, flags.Arg(0), flags.Arg(1), flags.Arg(2)); err != nil {
		fmt.Fprintln(stderr, "write:", err)
		return exitOther
	}
	return 0
}

func write(format, description, numbers, out string) error {
	text, err := os.Open(description)
	if err != nil {
		return err
	}
	defer text.Close()
	data, err := os.Open(numbers)
	if err != nil {
		return err
	}
	defer data.Close()
	net, ranges, err := graph.Read(text, data)
	if err != nil {
		return fmt.Errorf("%s: %w", description, err)
	}
	var file []byte
	switch {
	case format == "float32":
		file, err = net.Float32()
	case ranges == nil:
		err = errors.New("int8 needs a range for each operator")
	default:
		file, err = net.Int8(ranges)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", description, err)
	}
	return replace(out, file)
}

// replace leaves the whole file or the old one.
func replace(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".writing-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
