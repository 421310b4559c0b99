package models

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // golden pictures
	_ "image/png"
	"math"
	"path"

	"github.com/livenessd/livenessd/camera/frame"
)

//go:embed golden
var goldenFiles embed.FS

// golden is what the shipped models answered to the golden pictures when they were made.
type golden struct {
	Detector string          `json:"detector_sha256"`
	Liveness string          `json:"liveness_sha256"`
	Pictures []goldenPicture `json:"pictures"`
}

type goldenPicture struct {
	File    string   `json:"file"`
	Face    *Box     `json:"face"` // nil: there is none
	Score   float64  `json:"score,omitempty"`
	LogOdds *float64 `json:"log_odds,omitempty"` // of the face being live
}

// How far answers may move from one processor, or one kind of kernels, to another: they are rounded differently.
const (
	tolerableShift   = 0.06 // of a box's edge, in widths of the box
	tolerableScore   = 0.08 // of P(face)
	tolerableLogOdds = 0.6
)

// SelfTest lets the nets look at golden pictures and tells how their answers moved from those that were recorded when the
// models were made: a damaged library or processor answers otherwise, and often with great confidence. A model that isn't
// shipped has no recorded answers; it is run all the same, and its answers must be numbers.
func SelfTest(d *Detector, liveness ...*Liveness) error {
	g, err := readGolden()
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range g.Pictures {
		m, err := p.image()
		if err != nil {
			return err
		}
		for _, l := range liveness {
			got, err := p.answers(d, l, m)
			if err != nil {
				return fmt.Errorf("models: self-test on %s: %w", p.File, err)
			}
			if d.model.SHA256 == g.Detector && l == liveness[0] {
				errs = append(errs, p.compareFace(got))
			}
			if l.model.SHA256 == g.Liveness {
				errs = append(errs, p.compareOdds(got))
			}
		}
	}
	return errors.Join(errs...)
}

func readGolden() (golden, error) {
	var g golden
	data, err := goldenFiles.ReadFile("golden/golden.json")
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err == nil && len(g.Pictures) == 0 {
		err = errors.New("no pictures")
	}
	if err != nil {
		return g, fmt.Errorf("models: read the golden answers: %w", err)
	}
	return g, nil
}

func (p *goldenPicture) image() (*frame.Image, error) {
	data, err := goldenFiles.ReadFile(path.Join("golden", p.File))
	if err != nil {
		return nil, fmt.Errorf("models: read golden picture: %w", err)
	}
	src, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("models: decode golden picture %s: %w", p.File, err)
	}
	m := frame.FromImage(src)
	return &m, nil
}

// answers looks at the picture. The liveness net judges the recorded box, so that it doesn't depend on the detector.
func (p *goldenPicture) answers(d *Detector, l *Liveness, m *frame.Image) (goldenPicture, error) {
	got := goldenPicture{File: p.File}
	faces, err := d.Detect(m)
	if err != nil {
		return got, err
	}
	if len(faces) > 0 {
		got.Face, got.Score = &faces[0].Box, faces[0].Score
	}
	judged := p.Face
	if judged == nil { // nothing to judge: any place shows that the net runs
		judged = &Box{0, 0, float64(m.Width) / 2, float64(m.Height) / 2}
	}
	if err := l.Crop(m, *judged); err != nil {
		return got, err
	}
	j, err := l.Judge()
	if err != nil {
		return got, err
	}
	if p.Face != nil {
		got.LogOdds = &j.LogOdds
	}
	return got, nil
}

func (p *goldenPicture) compareFace(got goldenPicture) error {
	switch {
	case (p.Face == nil) != (got.Face == nil):
		return fmt.Errorf("models: self-test on %s: face %v with P %.2f, recorded %v with P %.2f", p.File, got.Face, got.Score, p.Face, p.Score)
	case p.Face == nil:
		return nil
	}
	a, b := *p.Face, *got.Face
	shift := math.Max(math.Max(math.Abs(a.X-b.X), math.Abs(a.Y-b.Y)), math.Max(math.Abs(a.X+a.W-b.X-b.W), math.Abs(a.Y+a.H-b.Y-b.H))) / a.W
	// Not ≤: a number that isn't one must fail.
	if !(shift <= tolerableShift) || !(math.Abs(p.Score-got.Score) <= tolerableScore) {
		return fmt.Errorf("models: self-test on %s: face %v with P %.3f, recorded %v with P %.3f", p.File, b, got.Score, a, p.Score)
	}
	return nil
}

func (p *goldenPicture) compareOdds(got goldenPicture) error {
	if p.LogOdds == nil {
		return nil
	}
	if !(math.Abs(*p.LogOdds-*got.LogOdds) <= tolerableLogOdds) {
		return fmt.Errorf("models: self-test on %s: log-odds of life %.3f, recorded %.3f", p.File, *got.LogOdds, *p.LogOdds)
	}
	return nil
}
