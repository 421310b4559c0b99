package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program names the built livenessd, for tests of what only the whole program does.
const program = "LIVENESSD_BIN"

var scored = flag.Int("scored", 40, "how many corrupted models TestScoreWithCorruptedModels tries")

// What TestCorruptedModels says of a probe holds for whoever names such a model in the configuration: livenessd score refuses
// it in words, or judges, and neither crashes nor hangs, because it tries the model in a child process first. The models are the same.
// The full run is go test ./models -run TestScoreWithCorruptedModels -scored 10000 -timeout 0 -v
func TestScoreWithCorruptedModels(t *testing.T) {
	needRuntime(t)
	if os.Getenv(program) == "" {
		t.Skipf("%s names no livenessd; make test does", program)
	}
	n := *scored
	if testing.Short() {
		n = min(n, 8)
	}
	tallyCorrupted(t, n, func(i int) string { return scoreCorrupted(t, i) })
}

func scoreCorrupted(t *testing.T, number int) string {
	dir, err := os.MkdirTemp("", "corrupted-*")
	if err != nil {
		t.Error(err)
		return "not tried"
	}
	defer os.RemoveAll(dir)
	bundle, config := filepath.Join(dir, "bundle"), filepath.Join(dir, "livenessd.yaml")
	task, kind := corruptedIn(t, bundle, number)
	key := map[Task]string{FaceDetection: "detector", LivenessTask: "liveness"}[task]
	file(t, config, []byte("models:\n  "+key+": "+bundle+"\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Getenv(program), "score", "--json", "--config", config, filepath.Join("golden", "live-1.jpg"))
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Errorf("number %d: %v, %v", number, err, ctx.Err())
		return "failed"
	}
	var answer struct {
		Verdict string
		Error   string
	}
	// Exit codes as in the README: what isn't among these is a crash.
	switch code := c.ProcessState.ExitCode(); {
	case code == 0 || code == 1:
		if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil || answer.Verdict == "" || (answer.Error == "") != (code == 0) {
			t.Errorf("number %d: code %d, but: %s (%v) %s", number, code, &stdout, err, &stderr)
			return "failed"
		}
		if kind == "file" {
			t.Errorf("number %d: a corrupted file was scored with: %s", number, &stdout)
		}
		if answer.Error != "" {
			return kind + ": no answer: " + answer.Verdict
		}
		return kind + ": scored: " + answer.Verdict
	case (code == 70 || code == 78) && stdout.Len() == 0 && bytes.HasPrefix(stderr.Bytes(), []byte("livenessd: ")) ||
		(code == 70 || code == 78) && bytes.Contains(stderr.Bytes(), []byte("\nlivenessd: ")):
		if bytes.Contains(stderr.Bytes(), []byte("the process that tried it")) {
			return kind + ": refused: the child crashed or hung"
		}
		return kind + ": refused"
	default:
		t.Errorf("number %d: code %d (%v): %s", number, code, err, tail(stderr.Bytes()))
		return "failed"
	}
}

// tail is the end of what a program complained.
func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }
