package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Change sets one key. Path has its name and those of the sections around it; Value is text, a number, true or false, a list of texts, or nil for
// the default.
type Change struct {
	Path  []string
	Value any
}

var (
	errWay    = errors.New("it is written in a way that can't be edited here")
	errValue  = errors.New("a value of no kind that is known")
	errMeans  = errors.New("the edited file would mean something else")
	errTooBig = errors.New("more than a configuration may have")
)

// Parse reads a configuration's text as Load would read it from a file of that name.
func Parse(file string, data []byte) (Config, error) {
	if len(data) > MaxFile {
		return Config{}, &fileError{fmt.Errorf("%s: %w: %d bytes", file, errTooBig, len(data)), ""}
	}
	return parse(file, data, thisMachine())
}

// Edit sets keys in a configuration's text and leaves its other lines, with their comments, as they are. It knows block style, in which a key has a
// line; where it meets another, or where the result wouldn't mean just this, that is an error and nothing is given. What is wrong with the
// values comes as Problems.
func Edit(file string, data []byte, changes []Change) ([]byte, error) {
	return edit(file, data, changes, thisMachine())
}

func edit(file string, data []byte, changes []Change, m machine) ([]byte, error) {
	before, err := parse(file, data, m)
	if err != nil {
		return nil, err
	}
	out, plainly := splitLines(string(data)), splitLines(string(before.YAML()))
	for _, c := range changes {
		value, err := yamlValue(c.Value)
		if err == nil && len(c.Path) == 0 {
			err = errValue
		}
		for _, text := range []*[]string{&out, &plainly} {
			if err == nil {
				*text, err = set(*text, 0, len(*text), "", c.Path, value)
			}
		}
		if err != nil {
			return nil, &fileError{fmt.Errorf("set %s: %w", strings.Join(c.Path, "."), err), "write it yourself, by hand"}
		}
	}
	after := []byte(strings.Join(out, ""))
	if len(after) > MaxFile {
		return nil, &fileError{fmt.Errorf("%s: %w: %d bytes", file, errTooBig, len(after)), ""}
	}
	got, err := parse(file, after, m)
	if err != nil {
		return nil, err
	}
	// The text with each key on a line of its own, where there is no doubt what is meant, must come to the same.
	want, err := parse(file, []byte(strings.Join(plainly, "")), m)
	if err != nil || !reflect.DeepEqual(got, want) {
		return nil, &fileError{fmt.Errorf("%s: %w", file, errMeans), "write it yourself, by hand"}
	}
	return after, nil
}

// splitLines gives lines with their ends, the last one with one as well.
func splitLines(text string) []string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	lines := strings.SplitAfter(text, "\n")
	return lines[:len(lines)-1]
}

func yamlValue(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return fmt.Sprint(v), nil
	case float64:
		return formatNumber(v), nil
	case int:
		return fmt.Sprint(v), nil
	case string:
		if strings.ContainsAny(v, "\n\r") {
			return "", errValue
		}
		return quote(v), nil
	case []string:
		var all []string
		for _, s := range v {
			all = append(all, quote(s))
		}
		return "[" + strings.Join(all, ", ") + "]", nil
	}
	return "", errValue
}

var (
	keyLine = regexp.MustCompile(`^( *)("[^"]*"|'[^']*'|[^\s"'#\[\]{}&*!|>%@-][^\s:#]*|-[^\s:#]+) *:(?:[ \t]+(.*))?$`)
	empty   = regexp.MustCompile(`^(?:null|~)?[ \t]*(#.*)?$`)
	// scalarValue is a value on its key's line: quoted, in brackets, or plain, and what follows.
	scalarValue = regexp.MustCompile(`^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|\[[^\[\]{}]*\]|\{[^\[\]{}]*\}|[^\s#&*!|>%@\[\]{}"'][^#]*?)?([ \t]*(?:[ \t]#.*)?)$`)
)

// set sets a key in the lines from low to high, whose keys stand at an indentation that their first has, or else at this one.
func set(lines []string, low, high int, indent string, path []string, value string) ([]string, error) {
	at, end, last, known := -1, high, low, false
	for i := low; i < high; i++ {
		text := strings.TrimRight(lines[i], "\r\n")
		bare := strings.TrimLeft(text, " ")
		if bare == "" || bare[0] == '#' || low == 0 && (bare == "---" || strings.HasPrefix(text, "\ufeff") && strings.TrimLeft(text[3:], " ") == "") {
			continue
		}
		depth := text[:len(text)-len(bare)]
		if !known {
			indent, known = depth, true
		}
		if len(depth) > len(indent) || depth == indent && (bare == "-" || strings.HasPrefix(bare, "- ")) {
			last = i + 1
			continue
		}
		if at >= 0 {
			end = i
			break
		}
		m := keyLine.FindStringSubmatch(text)
		if m == nil || len(depth) < len(indent) {
			return nil, errWay
		}
		last = i + 1
		if unquoted(m[2]) == path[0] {
			at = i
		}
	}
	eol := "\n"
	if len(lines) > 0 && strings.HasSuffix(lines[0], "\r\n") {
		eol = "\r\n"
	}
	if at < 0 {
		var added []string
		if indent == "" && last > 0 {
			added = append(added, eol)
		}
		for i, key := range path {
			line := indent + strings.Repeat("  ", i) + quote(key) + ":"
			if i == len(path)-1 {
				line += " " + value
			}
			added = append(added, line+eol)
		}
		return slices.Insert(slices.Clone(lines), last, added...), nil
	}
	text := strings.TrimRight(lines[at], "\r\n")
	m := keyLine.FindStringSubmatch(text)
	head := m[1] + m[2] + ":"
	lines = slices.Clone(lines)
	if len(path) > 1 {
		note := empty.FindStringSubmatch(m[3])
		if note == nil {
			return nil, errWay
		}
		lines[at] = strings.TrimRight(head+" "+note[1], " ") + eol
		return set(lines, at+1, contentEnd(lines, at+1, end), indent+"  ", path[1:], value)
	}
	v := scalarValue.FindStringSubmatch(m[3])
	if v == nil {
		return nil, errWay
	}
	lines[at] = head + " " + value + strings.TrimRight(v[2], " \t") + eol
	return slices.Delete(lines, at+1, contentEnd(lines, at+1, end)), nil
}

// contentEnd is behind the last line from low to high that is neither blank nor a comment: those belong to what follows.
func contentEnd(lines []string, low, high int) int {
	for ; high > low; high-- {
		if t := strings.TrimSpace(lines[high-1]); t != "" && t[0] != '#' {
			break
		}
	}
	return high
}

func unquoted(key string) string {
	if len(key) >= 2 && (key[0] == '"' || key[0] == '\'') {
		return key[1 : len(key)-1]
	}
	return key
}

// maxTable bounds what Difference compares: 16 MiB of it.
const maxTable = 4 << 20

// Difference shows what an edit takes away and adds, line by line with those around it, each behind "- ", "+ " or two blanks, and "…" where
// lines were left out. It is empty for no difference.
func Difference(before, after []byte) string {
	const around = 2
	if bytes.Equal(before, after) {
		return ""
	}
	a, b := splitLines(string(before)), splitLines(string(after))
	type line struct {
		sign byte
		text string
	}
	var all []line
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		all = append(all, line{' ', a[start]})
		start++
	}
	tail := 0
	for tail < len(a)-start && tail < len(b)-start && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y := a[start:len(a)-tail], b[start:len(b)-tail]
	// The longest common part of what is left, as a table of lengths. Of two large files that have next to nothing in common all lines go and all come.
	if len(x)*len(y) > maxTable {
		for _, t := range x {
			all = append(all, line{'-', t})
		}
		for _, t := range y {
			all = append(all, line{'+', t})
		}
		x, y = nil, nil
	}
	table := make([][]int32, len(x)+1)
	for i := range table {
		table[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			all = append(all, line{' ', x[i]})
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && table[i+1][j] >= table[i][j+1]:
			all = append(all, line{'-', x[i]})
			i++
		default:
			all = append(all, line{'+', y[j]})
			j++
		}
	}
	for _, t := range a[len(a)-tail:] {
		all = append(all, line{' ', t})
	}
	near := make([]bool, len(all))
	for i, l := range all {
		if l.sign != ' ' {
			for j := max(0, i-around); j < min(len(all), i+around+1); j++ {
				near[j] = true
			}
		}
	}
	var out strings.Builder
	left := false
	for i, l := range all {
		if !near[i] {
			left = true
			continue
		}
		if left {
			out.WriteString("…\n")
			left = false
		}
		out.WriteString(strings.TrimRight(string(l.sign)+" "+strings.TrimRight(l.text, "\r\n"), " ") + "\n")
	}
	return out.String()
}
