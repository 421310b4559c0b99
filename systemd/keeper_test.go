package systemd

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// kardianos/service takes text with {{ for a template of its own.
func TestAnUnfinishedUnitIsNotHandedOver(t *testing.T) {
	if err := (Kardianos{}).Install("livenessd-test", "/bin/true", "[Service]\nExecStart={{Path}}\n"); err == nil {
		t.Error("it was")
	}
	text, err := Unit(UnitOptions{Program: "/usr/bin/livenessd"})
	if err != nil || strings.Contains(text, "{{") {
		t.Errorf("%v in\n%s", err, text)
	}
}

func TestACommandThatFailsIsQuoted(t *testing.T) {
	out, err := Command(t.Context(), "sh", "-c", "echo said; echo complained >&2; exit 3")
	var exit *exec.ExitError
	if out != "said\n" || !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.HasSuffix(err.Error(), ": complained") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := Command(t.Context(), "sh", "-c", "echo said"); out != "said\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := Command(t.Context(), "livenessd-no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
