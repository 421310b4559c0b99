package daemon

import (
	"math"
	"testing"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

// head is a face's points as a camera far away sees a head that is turned, and then leans, by so many degrees.
func head(yaw, roll, size float64) models.Face {
	f := models.Face{Marked: true}
	sy, cy := math.Sincos(yaw * math.Pi / 180)
	sr, cr := math.Sincos(roll * math.Pi / 180)
	for i, p := range [5][3]float64{{-0.5, 0, 0}, {0.5, 0, 0}, {0, 0.6, 0.55}, {-0.4, 1.1, 0.1}, {0.4, 1.1, 0.1}} {
		x, y := p[0]*cy+p[2]*sy, p[1]
		f.Points[i] = models.Point{X: 300 + size*(x*cr-y*sr), Y: 200 + size*(x*sr+y*cr)}
	}
	return f
}

func TestAPoseIsReadFromEyesAndNose(t *testing.T) {
	for _, tt := range []struct{ yaw, roll, size float64 }{
		{0, 0, 60}, {20, 0, 60}, {-20, 0, 20}, {45, 0, 200}, {0, 15, 60}, {0, -40, 60}, {-30, 25, 60}, {80, 0, 60}, {0, 170, 60},
	} {
		var l decision.Look
		pose(&l, head(tt.yaw, tt.roll, tt.size))
		if !l.Posed || math.Abs(l.Yaw-tt.yaw) > 1e-6 || math.Abs(l.Roll-tt.roll) > 1e-6 {
			t.Errorf("turned by %v and leaning by %v: read as %v and %v", tt.yaw, tt.roll, l.Yaw, l.Roll)
		}
	}
}

func TestAPoseThatNobodyKnows(t *testing.T) {
	unmarked := head(70, 0, 60)
	unmarked.Marked = false
	nan := head(0, 0, 60)
	nan.Points[models.LeftEye].X = math.NaN()
	for name, f := range map[string]models.Face{"no points": unmarked, "both eyes at one place": head(0, 0, 0), "no number": nan, "nothing": {}} {
		var l decision.Look
		if pose(&l, f); l != (decision.Look{}) {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
