package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/models/graph"
)

const (
	ranged = `{"format":"livenessd-net","version":1,"description":"","input":{"name":"x","height":2,"width":2,"channels":1},
"operators":[{"kind":"prelu","name":"y","inputs":["x"],"range":[0,255]}],"outputs":["y"]}`
	slope = "\x00\x00\x00\x3f" // 0.5
)

func TestExitCodesAndWhatIsWritten(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	net, numbers, out := file("net.json", ranged), file("numbers", slope), filepath.Join(dir, "out.tflite")
	plain := file("plain.json", strings.Replace(ranged, `,"range":[0,255]`, "", 1))
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"int8", []string{net, numbers, out}, 0, ""},
		{"float32", []string{"-format", "float32", net, numbers, out}, 0, ""},
		{"float32 without ranges", []string{"-format", "float32", plain, numbers, out}, 0, ""},
		{"int8 without ranges", []string{plain, numbers, out}, exitOther, "needs a range"},
		{"a description of nowhere", []string{filepath.Join(dir, "absent"), numbers, out}, exitOther, "absent"},
		{"numbers of nowhere", []string{net, filepath.Join(dir, "absent"), out}, exitOther, "absent"},
		{"numbers that don't fit", []string{net, net, out}, exitOther, net},
		{"nowhere to write", []string{net, numbers, filepath.Join(dir, "absent", "out")}, exitOther, "absent"},
		{"one argument", []string{net}, exitUsage, "write -format"},
		{"another format", []string{"-format", "int4", net, numbers, out}, exitUsage, "write -format"},
		{"a flag that there isn't", []string{"-quiet"}, exitUsage, "-quiet"},
		{"help", []string{"-help"}, 0, "write -format"},
	} {
		_ = os.Remove(out)
		var stdout, stderr bytes.Buffer
		if code := run(tt.args, &stdout, &stderr); code != tt.code || !strings.Contains(stderr.String(), tt.says) || stdout.Len() > 0 {
			t.Errorf("%s: code %d, %q, %q", tt.name, code, stdout.String(), stderr.String())
		}
		data, err := os.ReadFile(out)
		if wrote := err == nil && bytes.Equal(data[4:8], []byte("TFL3")); wrote != (tt.code == 0 && len(tt.args) >= 3) {
			t.Errorf("%s: a file was written: %v (%v)", tt.name, wrote, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".writing-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	var stdout bytes.Buffer
	if code := run([]string{"-kinds"}, &stdout, &stdout); code != 0 || stdout.String() != strings.Join(graph.Kinds(), "\n")+"\n" {
		t.Errorf("-kinds: %d, %q", code, stdout.String())
	}
}
