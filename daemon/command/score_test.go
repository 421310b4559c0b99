package command

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/models"
)

func plainJPEG(t *testing.T, w, h int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// enlarged is a PNG that claims another size.
func enlarged(data []byte, w, h uint32) []byte {
	data = bytes.Clone(data)
	header := data[12:29] // "IHDR" and what belongs to it
	binary.BigEndian.PutUint32(header[4:], w)
	binary.BigEndian.PutUint32(header[8:], h)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(header))
	return data
}

func picture(name string) string { return filepath.Join("..", "..", "models", "golden", name) }

func TestScoreAnswersForEveryKindOfFile(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	live, err := os.ReadFile(picture("live-1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	var tiny bytes.Buffer
	if err := png.Encode(&tiny, image.NewRGBA(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		err        string // a part of the error; "" for a judgement or its absence
		code       decision.Code
	}{
		{"a text file", file("notes.txt", []byte("this is no picture\n")), "neither JPEG nor PNG", decision.ProcessingErr},
		{"an empty file", file("empty.jpg", nil), "empty", decision.ProcessingErr},
		{"a truncated JPEG", file("cut.jpg", live[:len(live)/2]), "truncated", decision.ProcessingErr},
		{"a JPEG of which the head is left", file("head.jpg", live[:20]), "", decision.ProcessingErr},
		{"one pixel, JPEG", file("1.jpg", plainJPEG(t, 1, 1)), "", decision.NoFacesDetected},
		{"one pixel, PNG", file("1.png", tiny.Bytes()), "", decision.NoFacesDetected},
		{"20 megapixels", file("20.jpg", plainJPEG(t, 5184, 3888)), "", decision.NoFacesDetected},
		{"400 megapixels", file("400.png", enlarged(tiny.Bytes(), 20_000, 20_000)), "too large", decision.ProcessingErr},
		{"a folder", dir, "not a regular file", decision.ProcessingErr},
		{"nothing", filepath.Join(dir, "absent.jpg"), "no such file", decision.ProcessingErr},
		{"a clip without a picture", file("none.mjpeg", []byte("not a picture in it")), "no JPEG picture", decision.ProcessingErr},
		{"a clip of broken pictures", file("broken.mjpeg", bytes.Repeat(live[:len(live)/2], 3)), "", decision.ProcessingErr},
		{"a clip with nobody", file("nobody.mjpeg", bytes.Repeat(plainJPEG(t, 64, 48), 20)), "", decision.NoFacesDetected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := call(t, "score", "--json", withConfig(t, ""), tt.path)
			rows := objects[scored](t, r.out)
			if len(rows) != 1 {
				t.Fatalf("%d objects, exit code %d: %s%s", len(rows), r.code, r.out, r.errors)
			}
			got := rows[0]
			if got.File != tt.path || got.Verdict != decision.Undecided || got.Code == nil || *got.Code != tt.code || got.Face != nil || got.Score != nil {
				t.Errorf("got %s", r.out)
			}
			failed := tt.code == decision.ProcessingErr
			if (got.Error != "") != failed || !strings.Contains(got.Error, tt.err) || (r.code == ExitOther) != failed || !failed && r.code != ExitOK {
				t.Errorf("exit code %d, error %q", r.code, got.Error)
			}
		})
	}
}

func TestScoreJudgesTheOthersWhenOneIsBad(t *testing.T) {
	needRuntime(t)
	r := call(t, "score", "--json", withConfig(t, ""), picture("live-1.jpg"), "absent.jpg", picture("empty-1.jpg"))
	rows := objects[scored](t, r.out)
	if r.code != ExitOther || len(rows) != 3 || rows[0].Face == nil || rows[1].Error == "" || rows[2].Code == nil || *rows[2].Code != decision.NoFacesDetected {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	if !strings.Contains(r.errors, "1 of 3 files") {
		t.Errorf("standard error %q", r.errors)
	}
}

func TestScoreFollowsTheThresholds(t *testing.T) {
	needRuntime(t)
	score := func(config string, args ...string) scored {
		t.Helper()
		r := call(t, append([]string{"score", "--json", withConfig(t, config), picture("live-1.jpg")}, args...)...)
		rows := objects[scored](t, r.out)
		if r.code != ExitOK || len(rows) != 1 || rows[0].Face == nil || rows[0].Score == nil || rows[0].Frames != 1 {
			t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
		}
		return rows[0]
	}
	p := *score("").Score
	if p <= 0.002 || p >= 0.998 {
		t.Skipf("the picture's score of %v leaves no room for thresholds on both sides", p)
	}
	number := func(v float64) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name          string
		spoof, liveAt float64
		want          decision.Verdict
		code          decision.Code
	}{
		{"above both", p / 4, p / 2, decision.Live, ""},
		{"at live_at", p / 4, p, decision.Live, ""},
		{"between them", p / 2, (p + 1) / 2, decision.Undecided, decision.Timeout},
		{"at spoof_at", p, (p + 1) / 2, decision.Spoof, decision.PADAttack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := score("decision: {live_at: " + number(tt.liveAt) + ", spoof_at: " + number(tt.spoof) + "}\n")
			var code decision.Code
			if got.Code != nil {
				code = *got.Code
			}
			if got.Verdict != tt.want || code != tt.code || got.LiveAt != tt.liveAt || got.SpoofAt != tt.spoof {
				t.Errorf("%+v, code %q", got, code)
			}
		})
	}
	box := score("", "--face", "10,20,100,120")
	if box.Face.X != 10 || box.Face.Y != 20 || box.Face.Width != 100 || box.Face.Height != 120 {
		t.Errorf("the box that was given came back as %+v", box.Face)
	}
}

func TestScorePrintsALineForEachFile(t *testing.T) {
	needRuntime(t)
	r := call(t, "score", withConfig(t, ""), picture("live-1.jpg"), picture("empty-1.jpg"))
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if r.code != ExitOK || len(lines) != 2 || !strings.HasPrefix(lines[0], picture("live-1.jpg")+": ") || !strings.Contains(lines[0], "face ") ||
		lines[1] != picture("empty-1.jpg")+": undecided NO_FACES_DETECTED" {
		t.Errorf("exit code %d:\n%s%s", r.code, r.out, r.errors)
	}
}

func TestAClipGoesThroughTheDecision(t *testing.T) {
	needRuntime(t)
	still, err := os.ReadFile(picture("live-1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	clip := write(t, "still.mjpeg", strings.Repeat(string(still), 30))
	// The picture is worth 1.9: five frames of it are enough where one attack in twenty may be accepted.
	r := call(t, "score", "--json", "--fps", "10", withConfig(t, "decision: {live_at: 1e-3, spoof_at: 1e-4, accept_error: 0.05}\n"), clip)
	rows := objects[scored](t, r.out)
	if r.code != ExitOK || len(rows) != 1 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
	if got := rows[0]; got.Verdict != decision.Live || got.Frames != 5 || got.Position == nil || *got.Position != 0.4 || got.Code != nil {
		t.Errorf("got %s", r.out)
	}
}

func TestABoxThatIsGivenServesClipsToo(t *testing.T) {
	needRuntime(t)
	still, err := os.ReadFile(picture("replay-1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	clip := write(t, "still.mjpeg", strings.Repeat(string(still), 10))
	r := call(t, "score", "--json", "--face", "100,100,80,90", withConfig(t, "decision: {live_at: 0.9999, spoof_at: 0.9998, refuse_error: 0.3}\n"), clip)
	rows := objects[scored](t, r.out)
	if len(rows) != 1 || rows[0].Verdict != decision.Spoof || rows[0].Face == nil || rows[0].Face.X != 100 || rows[0].Face.Height != 90 {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.errors)
	}
}

func TestBoxesOnTheCommandLine(t *testing.T) {
	for text, want := range map[string]*models.Box{
		"1,2,3,4":          {X: 1, Y: 2, W: 3, H: 4},
		" -1.5, 2 ,3,4e1 ": {X: -1.5, Y: 2, W: 3, H: 40},
		"1,2,3":            nil, "1,2,3,4,5": nil, "1,2,0,4": nil, "1,2,3,-4": nil, "a,2,3,4": nil, "NaN,2,3,4": nil, "1,2,NaN,4": nil, "1,Inf,3,4": nil,
		"1,2,1e9,4": nil,
	} {
		got, err := parseBox(text)
		if (err != nil) != (want == nil) || want != nil && *got != *want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := parseBox(""); got != nil || err != nil {
		t.Errorf("no box: %v, %v", got, err)
	}
}
