package command

import (
	"bytes"
	"encoding/json"
	"image"
	"image/draw"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

// stand is a shipped picture and where its face is.
type stand struct {
	picture image.Image
	face    image.Rectangle
}

func standIn(t *testing.T, name string) stand {
	t.Helper()
	m, err := jpeg.Decode(strings.NewReader(golden(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(picture(name)), "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Pictures []struct {
			File string
			Face *models.Box
		}
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, p := range all.Pictures {
		if p.File == name && p.Face != nil {
			return stand{m, image.Rect(int(p.Face.X), int(p.Face.Y), int(p.Face.X+p.Face.W), int(p.Face.Y+p.Face.H))}
		}
	}
	t.Fatalf("no face in %s", name)
	return stand{}
}

// held is the first picture with the second's face and what is around it held before the first's.
func held(person, photo stand) image.Image {
	const around = 0.6 // of a face, on each side
	grow := func(r image.Rectangle) image.Rectangle {
		return image.Rect(r.Min.X-int(around*float64(r.Dx())), r.Min.Y-int(around*float64(r.Dy())), r.Max.X+int(around*float64(r.Dx())), r.Max.Y+int(around*float64(r.Dy())))
	}
	to, from := grow(person.face), grow(photo.face)
	out := image.NewRGBA(person.picture.Bounds())
	draw.Draw(out, out.Bounds(), person.picture, image.Point{}, draw.Src)
	for y := max(to.Min.Y, 0); y < min(to.Max.Y, out.Bounds().Max.Y); y++ {
		for x := max(to.Min.X, 0); x < min(to.Max.X, out.Bounds().Max.X); x++ {
			at := image.Pt(from.Min.X+(x-to.Min.X)*from.Dx()/to.Dx(), from.Min.Y+(y-to.Min.Y)*from.Dy()/to.Dy())
			if at.In(photo.picture.Bounds()) {
				out.Set(x, y, photo.picture.At(at.X, at.Y))
			}
		}
	}
	return out
}

func encoded(t *testing.T, m image.Image) string {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAFaceThatIsReplacedByAPhotoMidwayDoesNotEndLive(t *testing.T) {
	needRuntime(t)
	config := withConfig(t, "decision: {accept_error: 0.05}\n") // five frames of these pictures are enough then
	people := []string{"live-1.jpg", "live-2.jpg"}
	for _, person := range people {
		who := standIn(t, person)
		alone := encoded(t, who.picture)
		for _, photo := range []string{"print-1.jpg", "replay-1.jpg"} {
			attack := encoded(t, held(who, standIn(t, photo)))
			for _, before := range []int{3, 20} {
				name := person + " and " + photo
				clip := write(t, "replaced.mjpeg", strings.Repeat(alone, before)+strings.Repeat(attack, 60))
				r := call(t, "score", "--json", "--fps", "10", config, clip)
				rows := objects[scored](t, r.out)
				if r.code != ExitOK || len(rows) == 0 {
					t.Fatalf("%s: exit code %d: %s%s", name, r.code, r.out, r.errors)
				}
				if last := rows[len(rows)-1]; last.Verdict == decision.Live {
					t.Errorf("%s after %d frames: it ends live:\n%s", name, before, r.out)
				}
				lived := false
				for _, row := range rows {
					if row.Verdict != decision.Live {
						continue
					}
					lived = true
					if *row.Position*10 >= float64(before) {
						t.Errorf("%s after %d frames: live of the photo:\n%s", name, before, r.out)
					}
				}
				if before == 20 && !lived {
					t.Errorf("%s: the person isn't live to begin with:\n%s", name, r.out)
				}
			}
		}
	}
}
