package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/livenessd/livenessd/daemon/config"
)

// writeThresholds puts the suggested thresholds into the configuration, after the technician agreed.
func (a *app) writeThresholds(ctx context.Context, r *calibration, yes bool, in *answers) error {
	if r.Suggestion == nil {
		return fail(ExitOther, errors.New("calibrate: no thresholds are suggested, so none were written"))
	}
	path := a.configPath
	if path == "" {
		path = config.DefaultPath
	}
	e, err := planEdit(path, r.Suggestion.liveText, r.Suggestion.spoof)
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	if bytes.Equal(e.before, e.after) {
		fmt.Fprintf(a.Stderr, "%s has these thresholds already\n", path)
		return nil
	}
	fmt.Fprintf(a.Stderr, "\n%s\n%s", path, difference(e.before, e.after))
	if !yes {
		fmt.Fprint(a.Stderr, "Write this? [y/N] ")
		agreed, err := in.confirmed(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if !agreed || ctx.Err() != nil {
			fmt.Fprintln(a.Stderr, "nothing was written to it")
			return nil
		}
	}
	if err := e.commit(r.Suggestion.LiveAt, r.Suggestion.SpoofAt); err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	fmt.Fprintf(a.Stderr, "written; livenessd goes by it when it is started again\n")
	return nil
}

// edit is a change of a configuration file that hasn't happened yet.
type edit struct {
	path          string // of the file itself, not of a link to it
	before, after []byte
	info          fs.FileInfo // nil: there is no file yet
}

func planEdit(path, liveAt, spoofAt string) (*edit, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("write %s: it is a link that leads nowhere", path)
		}
		e := &edit{path: path}
		e.after, err = editThresholds(nil, liveAt, spoofAt)
		return e, err
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	e := &edit{path: real}
	if e.info, err = os.Stat(real); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	// Renaming would get past it, and root past all of it.
	if e.info.Mode().Perm()&0o222 == 0 {
		return nil, &hinted{&fs.PathError{Op: "write", Path: path, Err: errReadOnly}, "let its owner write it (chmod u+w), if that is meant"}
	}
	if e.before, err = readConfig(real); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if e.after, err = editThresholds(e.before, liveAt, spoofAt); err != nil {
		return nil, &hinted{fmt.Errorf("write %s: %w", path, err),
			fmt.Sprintf("write it yourself: decision: {live_at: %s, spoof_at: %s}", liveAt, spoofAt)}
	}
	return e, nil
}

// errReadOnly is a file that nobody may write.
var errReadOnly = fmt.Errorf("the file is read-only: %w", fs.ErrPermission)

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, config.MaxFile+1))
	if err == nil && len(data) > config.MaxFile {
		err = fmt.Errorf("more than %d bytes", config.MaxFile)
	}
	return data, err
}

// commit replaces the file in one step, if the new one means what it shall.
func (e *edit) commit(liveAt, spoofAt float64) (err error) {
	want := config.Default()
	if e.info != nil {
		now, err := readConfig(e.path)
		if err == nil && !bytes.Equal(now, e.before) {
			err = errors.New("somebody else changed it meanwhile")
		}
		if err == nil {
			want, err = config.Load(e.path)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", e.path, err)
		}
	}
	want.Decision.LiveAt, want.Decision.SpoofAt = liveAt, spoofAt
	f, err := os.CreateTemp(filepath.Dir(e.path), ".livenessd-*.yaml")
	if err != nil {
		err = fmt.Errorf("write %s: %w", e.path, err)
		if errors.Is(err, fs.ErrPermission) {
			return &hinted{err, "run it as the user to whom the folder belongs, for /etc as root"}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return &hinted{err, "make the folder " + filepath.Dir(e.path)}
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", e.path, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(e.after)
	if err == nil {
		err = e.dress(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	got, err := config.Load(f.Name())
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want) {
		return errors.New("the edited file would mean something else; it was left as it is")
	}
	if e.info == nil {
		// A file that appeared meanwhile isn't replaced.
		if err := os.Link(f.Name(), e.path); err != nil {
			return err
		}
		return errors.Join(os.Remove(f.Name()), syncFolder(e.path))
	}
	if err := os.Rename(f.Name(), e.path); err != nil {
		return err
	}
	return syncFolder(e.path)
}

// dress gives the new file the old one's mode and owner.
func (e *edit) dress(f *os.File) error {
	if e.info == nil {
		return f.Chmod(0o644)
	}
	if err := giveTo(f, e.info); err != nil {
		return err
	}
	return f.Chmod(e.info.Mode().Perm())
}

func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var (
	sectionLine = regexp.MustCompile(`^(?:decision|"decision"|'decision')[ \t]*:(?:[ \t]+(.*))?$`)
	flowBody    = regexp.MustCompile(`^(.*?)\{([^{}#]*)\}([ \t]*(?:#.*)?)$`)
	nothing     = regexp.MustCompile(`^(?:null|~)?[ \t]*(#.*)?$`)
)

// entryLine finds a key on a line of its own: what stands before the value, the value, and what follows.
func entryLine(key string) *regexp.Regexp {
	return regexp.MustCompile(`^([ ]+(?:` + key + `|"` + key + `"|'` + key + `')[ \t]*:)[ \t]*([^#]*?)([ \t]*(?:[ \t]#.*)?)$`)
}

func flowEntry(key string) *regexp.Regexp {
	return regexp.MustCompile(`(^|,)([ \t]*(?:` + key + `|"` + key + `"|'` + key + `')[ \t]*:[ \t]*)[^,]*?([ \t]*(?:,|$))`)
}

// editThresholds sets decision.live_at and decision.spoof_at in a configuration's text and leaves every other byte as it is. It knows
// the ways in which people write these keys, and says so where it meets another; that the result means what it shall is for its
// caller to see.
func editThresholds(data []byte, liveAt, spoofAt string) ([]byte, error) {
	text := string(data)
	eol := "\n"
	if i := strings.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		eol = "\r\n"
	}
	const bom = "\ufeff"
	body, marked := strings.CutPrefix(text, bom)
	lines := strings.SplitAfter(body, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	set := []struct{ key, value string }{{"live_at", liveAt}, {"spoof_at", spoofAt}}
	section := -1
	for i, line := range lines {
		if sectionLine.MatchString(strings.TrimRight(line, "\r\n")) {
			section = i
			break
		}
	}
	join := func() []byte {
		out := strings.Join(lines, "")
		if marked {
			out = bom + out
		}
		return []byte(out)
	}
	if section < 0 {
		if n := len(lines); n > 0 {
			lines[n-1] = ended(lines[n-1], eol)
			lines = append(lines, eol)
		}
		lines = append(lines, "decision:"+eol)
		for _, s := range set {
			lines = append(lines, "  "+s.key+": "+s.value+eol)
		}
		return join(), nil
	}
	head, end := cut(lines[section])
	value := sectionLine.FindStringSubmatch(head)[1]
	if flow := flowBody.FindStringSubmatch(head); flow != nil && strings.HasPrefix(value, "{") {
		inner := flow[2]
		var missing []string
		for _, s := range set {
			re := flowEntry(s.key)
			if re.MatchString(inner) {
				inner = re.ReplaceAllString(inner, "${1}${2}"+s.value+"${3}")
			} else {
				missing = append(missing, s.key+": "+s.value)
			}
		}
		if rest := strings.TrimSpace(inner); rest != "" && len(missing) > 0 {
			inner = strings.Join(missing, ", ") + ", " + strings.TrimLeft(inner, " \t")
		} else if len(missing) > 0 {
			inner = strings.Join(missing, ", ")
		}
		lines[section] = flow[1] + "{" + inner + "}" + flow[3] + end
		return join(), nil
	}
	if !nothing.MatchString(value) {
		return nil, errors.New("the section decision is written in a way that can't be edited here")
	}
	if strings.HasPrefix(value, "null") || strings.HasPrefix(value, "~") {
		head = strings.TrimRight(head[:len(head)-len(value)]+strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(value, "null"), "~"), " \t"), " \t")
	}
	lines[section] = ended(head+end, eol)
	indent, known, missing := "  ", false, set
	for i := section + 1; i < len(lines); i++ {
		line, end := cut(lines[i])
		content := strings.TrimLeft(line, " ")
		if content == "" || strings.HasPrefix(content, "#") {
			continue
		}
		depth := line[:len(line)-len(content)]
		if depth == "" {
			break
		}
		if !known {
			indent, known = depth, true
		}
		if depth != indent {
			continue
		}
		for _, s := range set {
			if m := entryLine(s.key).FindStringSubmatch(line); m != nil {
				lines[i] = m[1] + " " + s.value + m[3] + end
				missing = without(missing, s.key)
			}
		}
	}
	var added []string
	for _, s := range missing {
		added = append(added, indent+s.key+": "+s.value+eol)
	}
	lines = append(lines[:section+1:section+1], append(added, lines[section+1:]...)...)
	return join(), nil
}

func without(set []struct{ key, value string }, key string) (rest []struct{ key, value string }) {
	for _, s := range set {
		if s.key != key {
			rest = append(rest, s)
		}
	}
	return rest
}

// cut takes the end off a line.
func cut(line string) (text, end string) {
	text = strings.TrimRight(line, "\r\n")
	return text, line[len(text):]
}

// ended gives a line the end that it lacks.
func ended(line, eol string) string {
	if strings.HasSuffix(line, "\n") {
		return line
	}
	return line + eol
}

// difference shows what an edit takes away and adds.
func difference(before, after []byte) string {
	a, b := strings.SplitAfter(string(before), "\n"), strings.SplitAfter(string(after), "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out strings.Builder
	for _, side := range []struct {
		sign  string
		lines []string
	}{{"-", a}, {"+", b}} {
		for _, line := range side.lines {
			if text, _ := cut(line); line != "" {
				out.WriteString(strings.TrimRight("  "+side.sign+" "+text, " ") + "\n")
			}
		}
	}
	return out.String()
}
