package pad

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// texts reads an SVG, which must be well-formed, and gives what is written in it.
func texts(t *testing.T, svg []byte) string {
	t.Helper()
	var all []string
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return strings.Join(all, "\n")
		}
		if err != nil {
			t.Fatalf("no XML: %v", err)
		}
		if c, ok := token.(xml.CharData); ok {
			all = append(all, string(c))
		}
	}
}

func drawn(t *testing.T, p Plot, f Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAPlotNamesWhatItShows(t *testing.T) {
	species, err := NewSample([]float64{0.9, 0.8, 1, 0}, map[string][]float64{"print": {0, 0.2}, "screen": {0.3, 0.9}})
	if err != nil {
		t.Fatal(err)
	}
	alone := sample(t, []float64{0.5}, nil)
	for _, tt := range []struct {
		name         string
		plot         Plot
		shown, never []string
	}{
		{"one set, a curve for each species", Plot{Sets: []Set{{"door", species}}, LiveAt: 0.5, SpoofAt: 0.2},
			[]string{"APCER", "BPCER", "door", "print", "screen", "bona fide (4)", "attacks (4)", "0.1", "95"}, nil},
		{"several sets, a curve for each", Plot{Sets: []Set{{"door", species}, {"gate", species}}, LiveAt: 0.5}, []string{"door", "gate"}, []string{"print", "screen"}},
		{"a set with one side", Plot{Sets: []Set{{"door", alone}}, LiveAt: 0.5}, []string{"door", "bona fide (1)"}, []string{"attacks ("}},
		{"a threshold that accepts nothing", Plot{Sets: []Set{{"door", species}}, LiveAt: 1.5}, []string{"door"}, nil},
		{"a name of markup", Plot{Sets: []Set{{"</text><script>&", species}}, LiveAt: 0.5}, []string{"</text><script>&"}, nil},
		{"a name that no XML may hold", Plot{Sets: []Set{{"a\x00b\xffc\nd", species}}, LiveAt: 0.5}, []string{"a�b�c�d"}, []string{"\x00"}},
		{"an endless name", Plot{Sets: []Set{{strings.Repeat("ä", 500), species}}, LiveAt: 0.5}, []string{strings.Repeat("ä", 39) + "…"}, []string{strings.Repeat("ä", 41)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svg := drawn(t, tt.plot, SVG)
			text := texts(t, svg)
			for _, s := range tt.shown {
				if !strings.Contains(text, s) {
					t.Errorf("no %q in %q", s, text)
				}
			}
			for _, s := range tt.never {
				if strings.Contains(text, s) {
					t.Errorf("%q in %q", s, text)
				}
			}
			if !bytes.Equal(svg, drawn(t, tt.plot, SVG)) {
				t.Error("drawn again it is another")
			}
		})
	}
}

func TestAPictureGrowsWithItsSets(t *testing.T) {
	s := sample(t, []float64{0.9}, []float64{0.1})
	height := func(n int) float64 {
		p := Plot{LiveAt: 0.5, SpoofAt: 0.2}
		for i := range n {
			p.Sets = append(p.Sets, Set{fmt.Sprint(i), s})
		}
		var svg struct {
			Height string `xml:"height,attr"`
		}
		if err := xml.Unmarshal(drawn(t, p, SVG), &svg); err != nil {
			t.Fatal(err)
		}
		v, err := strconv.ParseFloat(strings.TrimSuffix(svg.Height, "pt"), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if one, many := height(1), height(MostSets); one < 200 || many < 2*one {
		t.Errorf("%v and %v points", one, many)
	}
}

func TestAPNGIsOne(t *testing.T) {
	m, err := png.Decode(bytes.NewReader(drawn(t, Plot{Sets: []Set{{"door", sample(t, []float64{0.9}, []float64{0.1})}}, LiveAt: 0.5}, PNG)))
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, _ := m.At(0, 0).RGBA()
	corner, axis := r&g&b == 0xffff, false
	for x := range m.Bounds().Dx() {
		r, g, b, _ := m.At(x, m.Bounds().Dy()/2).RGBA()
		axis = axis || r+g+b < 3*0x4000
	}
	if !corner || !axis {
		t.Errorf("white corner: %v, dark on the middle line: %v", corner, axis)
	}
}

func TestACurveOfManyPointsIsThinned(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var bonaFide, attacks []float64
	for range 20_000 {
		bonaFide = append(bonaFide, 0.4+0.6*r.Float64())
		attacks = append(attacks, 0.6*r.Float64())
	}
	s := sample(t, bonaFide, attacks)
	curve := thin(s)
	if n := len(curve); n < 100 || n > 4000 {
		t.Errorf("%d points", n)
	}
	if first, last := curve[0], curve[len(curve)-1]; first.X != most || first.Y != least || last.X != least || last.Y != most {
		t.Errorf("from %v to %v", first, last)
	}
}

func TestWhatCannotBeDrawnIsAnError(t *testing.T) {
	s := Set{"a", sample(t, []float64{0.9}, []float64{0.1})}
	broken := errors.New("full")
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"no sets", Plot{}.Write(io.Discard, SVG)},
		{"too many sets", Plot{Sets: make([]Set, MostSets+1)}.Write(io.Discard, SVG)},
		{"another format", Plot{Sets: []Set{s}}.Write(io.Discard, "pdf")},
	} {
		if tt.err == nil {
			t.Error(tt.name)
		}
	}
	for _, f := range []Format{SVG, PNG} {
		if err := (Plot{Sets: []Set{s}}).Write(failing{broken}, f); !errors.Is(err, broken) {
			t.Errorf("%s on a full disk: %v", f, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestTheFormatIsTheNames(t *testing.T) {
	for name, want := range map[string]Format{"a.svg": SVG, "a.PNG": PNG, "x/y.b.svg": SVG, "svg": "", "a.jpg": "", "": "", "a.svg.gz": ""} {
		if got, err := FormatOf(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

func TestEveryScoreIsInABin(t *testing.T) {
	n := count([]float64{0, 0.0399, 0.04, 0.5, 0.999, 1, 1.5, -0.5})
	var sum float64
	for _, v := range n {
		sum += v
	}
	if !near(sum, 1, 1e-9) || n[0] != 3.0/8 || n[1] != 1.0/8 || n[12] != 1.0/8 || n[bins-1] != 3.0/8 {
		t.Errorf("%v", n)
	}
}
