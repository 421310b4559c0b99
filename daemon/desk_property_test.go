package daemon

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// Whatever happens in whatever order, each session that was let in has one answer and no other, and a door opens only for one that a
// pipeline said is live while it was its turn, or for which liveness is off.
func TestEachSessionHasOneAnswer(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			l := newLobby(t)
			open := map[string]string{} // id of session: its application
			live := map[string]bool{}   // ids for which a pipeline said live
			answers := map[string]mqtt.Verdict{}
			off := map[string]bool{"canteen": true}
			wasOff := map[string]bool{}
			unkept := map[string]bool{} // ids answered while the disk was gone
			attacks, broken := 0, false
			collect := func() {
				for _, v := range l.verdicts {
					id := v.Session.ID
					// The one exception: a denial that the disk didn't take isn't known after a restart.
					if was, twice := answers[id]; twice && was.ID != v.ID && !(unkept[id] && was.Action == mqtt.Deny && *v.Code == mqtt.CodeSessionExpired) {
						t.Fatalf("%s has two answers:\n%+v\n%+v", id, was, v)
					}
					answers[id], unkept[id] = v, broken
					if open[id] == "" {
						t.Fatalf("an answer for nobody: %+v", v)
					}
					if v.Action == mqtt.Allow && !live[id] && !wasOff[id] {
						t.Fatalf("the door opens for %+v", v)
					}
					if r.IntN(3) == 0 {
						l.desk.delivered(v)
					}
				}
				l.verdicts = nil
			}
			for n := range 250 {
				switch r.IntN(14) {
				case 0, 1, 2, 3:
					app := []string{"door", "bank", "canteen"}[r.IntN(3)]
					if id := l.session(fmt.Sprint("t", n), app, fmt.Sprintf(`,"subject":"u%d","timeout":"%ds"`, r.IntN(3), 1+r.IntN(9))); id != "" {
						open[id], wasOff[id] = app, off[app]
					}
				case 4, 5, 6:
					if at := l.desk.turn("front"); at != nil {
						kind := []mqtt.VerdictKind{mqtt.Live, mqtt.Spoof, mqtt.Undecided}[r.IntN(3)]
						live[at.id] = kind == mqtt.Live && !broken
						if kind == mqtt.Spoof {
							attacks++
						}
						l.desk.decided(at.id, l.judged(kind))
					}
				case 7:
					for id := range open {
						l.desk.decided(id, l.judged(mqtt.Spoof)) // perhaps somebody's whose turn it isn't, or isn't any more
						l.ask(mqtt.VerbCancel, `{"transaction":"c%d","session":%q}`, n, id)
						break
					}
				case 8:
					l.desk.camera("front", []mqtt.Code{"", mqtt.CodeCameraLost, mqtt.CodePermissionRefused}[r.IntN(3)])
				case 9:
					l.desk.camera("front", "")
				case 10:
					l.kill()
					broken = false
				case 11:
					if r.IntN(4) == 0 { // the disk goes, until the next start
						if err := l.desk.store.Close(); err != nil {
							t.Fatal(err)
						}
						broken = true
					}
				case 12:
					off["door"] = r.IntN(2) == 0
					l.desk.hear(mqtt.Asked{Application: "door", Payload: fmt.Appendf(nil, `{"authentication":%v}`, !off["door"])})
					off["door"] = !l.desk.switches["door"].Authentication
				default:
					l.wait(time.Duration(r.IntN(4000)) * time.Millisecond)
				}
				collect()
				if broken && r.IntN(3) == 0 {
					l.kill()
					broken = false
					collect()
				}
			}
			l.kill() // as the last run's end, which nobody prepared
			collect()
			for id := range open {
				if _, has := answers[id]; !has {
					t.Errorf("%s has no answer", id)
				}
			}
			if len(open) < 20 || attacks == 0 {
				t.Errorf("only %d sessions and %d attacks", len(open), attacks)
			}
		})
	}
}
