package daemon

import (
	"math"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

// nose is how far before the eyes the tip of a nose is, in distances between the eyes: what moves it to a side as a head turns.
const nose = 0.55

// pose puts into a look how far a face is turned to a side and leans to a shoulder, from where its eyes and its nose are. Without
// points, or with eyes at one place, nobody knows. It is coarse: noses differ by a third, and so does the tangent of the turn.
func pose(l *decision.Look, f models.Face) {
	if !f.Marked {
		return
	}
	right, left, tip := f.Points[models.RightEye], f.Points[models.LeftEye], f.Points[models.NoseTip]
	dx, dy := left.X-right.X, left.Y-right.Y
	between := math.Hypot(dx, dy)
	if !(between > 1e-3) {
		return
	}
	// Along the line of the eyes, from the middle between them.
	along := ((tip.X-(right.X+left.X)/2)*dx + (tip.Y-(right.Y+left.Y)/2)*dy) / between
	const degree = 180 / math.Pi
	l.Posed = true
	l.Yaw = math.Atan(along/between/nose) * degree
	l.Roll = math.Atan2(dy, dx) * degree
}
