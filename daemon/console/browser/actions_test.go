package browser_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	chromium "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// file is what is in the daemon's configuration.
func (d *device) file() string {
	d.t.Helper()
	b, err := os.ReadFile(d.config)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// choose picks an entry of a list, as a person does.
func (b *browser) choose(selector, value string) {
	b.t.Helper()
	b.run(script(`(() => { const s = document.querySelector(` + quote(selector) + `); s.value = ` + quote(value) + `; s.dispatchEvent(new Event("change", { bubbles: true })); })()`))
}

// confirm waits for the question whether to write, which must say something.
func (b *browser) confirm(says ...string) {
	b.t.Helper()
	b.await("the question", `document.querySelector("dialog").open`)
	asked := b.text("dialog")
	for _, s := range says {
		if !strings.Contains(asked, s) {
			b.t.Errorf("the question is %q, without %q", asked, s)
		}
	}
}

// drag presses the pointer at a place and leaves it by so much.
func (b *browser) drag(x, y, dx, dy float64) {
	b.t.Helper()
	mouse := func(kind input.DispatchMouseEventType, x, y float64) chromedp.Action[chromedp.Void] {
		return call(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1})
	}
	b.run(mouse("mousePressed", x, y), mouse("mouseMoved", x+dx/2, y+dy/2), mouse("mouseMoved", x+dx, y+dy), mouse("mouseReleased", x+dx, y+dy))
}

func TestACameraIsSetUp(t *testing.T) {
	program := need(t)
	d := start(t)
	b := browse(t, d, program)
	b.resize(windows[2])
	b.enter()
	before := d.file()
	b.click("#tab-camera")
	b.await("the settings", `document.querySelector("#mode-rotate")`)

	// Turned by a quarter, the picture is higher than wide at once, and nothing is written.
	const tall = `document.querySelector("#canvas").height > document.querySelector("#canvas").width`
	b.choose("#mode-rotate", "90")
	b.await("the turned picture", tall)
	if d.file() != before {
		t.Error("a trial was written")
	}
	if got := b.text(".pending"); !strings.Contains(got, "rotate: 90") {
		t.Errorf("what is tried is %q", got)
	}
	b.accessible("a trial")
	// Whoever comes later sees that it is tried, and can undo it.
	b.run(chromedp.Reload())
	b.run(script(`document.querySelector("#tab-camera").click()`))
	b.await("what was left", `document.querySelector("#panel-camera article").innerText.includes("Tried another way") && !document.querySelector("#back").disabled`)
	b.click("#back")
	b.await("the picture as before", "!("+tall+")")

	// A region, drawn with the pointer and moved with keys.
	b.click("#region-draw")
	b.await("the region", `!document.querySelector("#region").hidden`)
	box := js[[]float64](b, `(() => { document.querySelector("#region").scrollIntoView({block: "center"}); const r = document.querySelector("#region").getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()`)
	at := func(x, y float64) (float64, float64) { return box[0] + x*box[2], box[1] + y*box[3] }
	x, y := at(0.05, 0.05)
	b.drag(x, y, 0.5*box[2], 0.75*box[3])
	b.await("what was drawn", `document.querySelector("#region-width").value === "50" && document.querySelector("#region-height").value === "75" && document.querySelector("#region-x").value === "5"`)
	b.run(chromedp.Focus(chromedp.CSS("#region")))
	b.key(kb.ArrowRight)
	b.await("the moved region", `document.querySelector("#region-x").value === "6"`)
	b.run(chromedp.KeyEvent(kb.ArrowDown, chromedp.KeyModifiers(chromedp.ModifierShift)))
	b.await("the larger region", `document.querySelector("#region-height").value === "76"`)
	b.accessible("a region that is drawn")
	b.shoot("region-laptop-light")
	b.click("#region-try")
	b.await("the part", `document.querySelector("#canvas").width < 340 && document.querySelector("#nopicture").hidden`)
	if d.file() != before {
		t.Error("a trial was written")
	}

	// Kept: shown as what it becomes, and written only after a yes.
	b.click("#keep")
	b.confirm("+     region:", "+       width: 0.5", "livenessd.yaml")
	b.accessible("the question")
	b.shoot("confirm-laptop-light")
	b.run(script(`[...document.querySelectorAll("dialog button")].at(-1).click()`))
	b.await("no question", `!document.querySelector("dialog").open`)
	if d.file() != before {
		t.Error("what nobody confirmed was written")
	}
	b.click("#keep")
	b.confirm()
	b.click("dialog .main")
	b.await("a word that it is written", `document.querySelector("#panel-camera .result").innerText.includes("Written")`)
	now := d.file()
	for _, want := range []string{"# the front door\n", "region:", "width: 0.5", "height: 0.76"} {
		if !strings.Contains(now, want) {
			t.Errorf("the configuration is\n%s\nwithout %q", now, want)
		}
	}
	b.await("the camera with it", `document.querySelector("#nopicture").hidden && document.querySelector("#phase").innerText.includes("Ready") && document.querySelector("#canvas").width < 340`)
	b.quiet()
}

func TestTheConfigurationIsEdited(t *testing.T) {
	program := need(t)
	d := start(t)
	b := browse(t, d, program)
	b.resize(windows[0])
	b.enter()
	b.click("#tab-config")
	b.await("the file", `document.querySelector("#config-text").value.includes("the front door")`)
	edit := func(from, to string) {
		b.run(script(`(() => { const t = document.querySelector("#config-text"); t.value = t.value.replace(` + quote(from) + `, ` + quote(to) + `); })()`))
		b.click("#panel-config .main")
	}
	before := d.file()
	edit("device: door-7", "device: door-7\nlog: {level: loud}")
	b.await("the problem with its place", `document.querySelector("#panel-config .card").innerText.includes("log.level is \"loud\"")`)
	b.accessible("a problem of the configuration")
	if d.file() != before {
		t.Error("what is wrong was written")
	}
	edit("level: loud", "level: warn")
	b.confirm("+ log: {level: warn}")
	b.shoot("confirm-phone-light")
	b.accessible("the question on a phone")
	b.click("dialog .main")
	b.await("a word that it is written", `document.querySelector("#panel-config .card").innerText.includes("Written")`)
	if !strings.Contains(d.file(), "log: {level: warn}") {
		t.Errorf("the configuration is\n%s", d.file())
	}
	b.quiet()
}

func TestATestSessionIsAsked(t *testing.T) {
	program := need(t)
	b := browse(t, start(t), program)
	b.resize(windows[0])
	b.enter()
	b.click("#tab-test")
	b.choose("#session-application", "staff-door")
	b.choose("#session-purpose", "enrollment")
	b.click("#session-start")
	b.await("the session", `document.querySelector("#panel-test .result").innerText.includes("It runs") || document.querySelector("#panel-test .result .badge.live, #panel-test .result .badge.spoof")`)
	b.await("its verdict", `document.querySelector("#panel-test .result .badge.live, #panel-test .result .badge.spoof, #panel-test .result .badge.undecided")`)
	b.run(script(`document.querySelector("#tab-verdicts").click()`))
	b.await("the verdict among the others", `[...document.querySelectorAll(".verdict")].some((v) => v.textContent.includes("staff-door · enrollment"))`)
	b.accessible("a session's verdict")
	// Another one is taken back.
	b.run(script(`document.querySelector("#tab-test").click()`))
	b.click("#session-start")
	b.await("another session", `!document.querySelector("#session-cancel").disabled`)
	b.click("#session-cancel")
	b.await("its end", `document.querySelector("#session-cancel").disabled`)
	b.quiet()
}

func TestCalibrationIsAWalk(t *testing.T) {
	program := need(t)
	d := start(t)
	b := browse(t, d, program)
	b.resize(windows[0])
	b.enter()
	b.click("#tab-test")
	b.await("the walk", `document.querySelector("#walk-begin")`)
	// Aims that so few presentations can meet; a door has stricter ones.
	b.run(script(`document.querySelector("#walk-apcer").value = 50; document.querySelector("#walk-bpcer").value = 50`))
	b.click("#walk-begin")
	b.await("the first step", `document.querySelector("#walk-look") && document.querySelector("#panel-test").innerText.includes("look at the camera")`)
	look := func(label, seen string) {
		t.Helper()
		// The clip goes on by itself: what is shown is said when it is there.
		for end := time.Now().Add(patience); ; {
			b.await(seen+" in the picture", `document.querySelector("#evidence .badge.`+seen+`") && !document.querySelector("#walk-look").disabled`)
			was := js[int](b, `Number([...document.querySelectorAll(".steps li")].find((l) => l.ariaCurrent === "step").lastChild.innerText)`)
			b.run(script(`document.querySelector("#walk-look").click()`))
			b.await("the look", `!document.querySelector("#walk-look").disabled && !document.querySelector("#panel-test").innerText.includes("Looking for")`)
			if js[int](b, `Number([...document.querySelectorAll(".steps li")].find((l) => l.ariaCurrent === "step").lastChild.innerText)`) > was {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("no %s is judged: %s", label, b.text("#panel-test"))
			}
		}
	}
	look("living person", "live")
	b.accessible("after a living person")
	b.click("#walk-next")
	b.await("the second step", `document.querySelector("#panel-test").innerText.includes("photograph of a face on paper")`)
	look("photograph", "spoof")
	got := b.text("#panel-test")
	for _, want := range []string{"Living people", "Photographs", "wrong, between", "More without an error"} {
		if !strings.Contains(got, want) {
			t.Errorf("the walk says %q, without %q", got, want)
		}
	}
	for range 2 {
		if js[bool](b, `document.querySelector("#walk-keep") !== null`) {
			break
		}
		look("photograph", "spoof")
		b.click("#walk-next")
		b.click("#walk-next")
		look("living person", "live")
		b.click("#walk-next")
	}
	b.await("a suggestion", `document.querySelector("#walk-keep")`)
	b.shoot("calibrate-phone-light")
	b.accessible("a suggestion")
	b.click("#walk-keep")
	b.confirm("+   live_at:", "+   spoof_at:")
	b.click("dialog .main")
	b.await("a word that it is written", `document.querySelector("#panel-test").innerText.includes("Written")`)
	if got := d.file(); !strings.Contains(got, "live_at: ") {
		t.Errorf("the configuration is\n%s", got)
	}
	b.quiet()
}

func TestTheDoctorIsAsked(t *testing.T) {
	program := need(t)
	b := browse(t, start(t), program)
	b.resize(windows[0])
	b.enter()
	folder := t.TempDir()
	b.run(call(chromium.SetDownloadBehavior, chromium.SetDownloadBehaviorParams{Behavior: chromium.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder}))
	b.click("#tab-doctor")
	b.click("#doctor-run")
	b.await("findings", `document.querySelectorAll(".finding").length > 5`)
	if got := b.text("#panel-doctor"); !strings.Contains(got, "→") || !strings.Contains(got, "Good") || !strings.Contains(got, "broker") {
		t.Errorf("the doctor says %q", got)
	}
	b.accessible("findings")
	b.shoot("doctor-phone-light")
	b.await("a rest", `!document.querySelector("#doctor-bundle").disabled`)
	b.click("#doctor-bundle")
	var archive string
	for end := time.Now().Add(patience); archive == ""; time.Sleep(50 * time.Millisecond) {
		all, err := filepath.Glob(filepath.Join(folder, "livenessd-door-7-*.tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(all, func(name string) bool { return strings.HasSuffix(name, ".tar.gz") }); i >= 0 {
			archive = all[i]
		} else if time.Now().After(end) {
			t.Fatalf("no archive comes; the page says %s", b.text("#panel-doctor"))
		}
	}
	if data, err := os.ReadFile(archive); err != nil || len(data) < 1000 || data[0] != 0x1f || data[1] != 0x8b {
		t.Errorf("the archive has %d bytes: %v", len(data), err)
	}
	b.quiet()
}

func TestWhoMayLookChangesNothing(t *testing.T) {
	program := need(t)
	d := start(t)
	b := browse(t, d, program)
	b.resize(windows[0])
	b.enter("--view")
	for _, tab := range []string{"camera", "test", "doctor", "config"} {
		b.run(script(`document.querySelector("#tab-` + tab + `").click()`))
		if got := b.text("#panel-" + tab); !strings.Contains(got, "can’t change anything") {
			t.Errorf("%s doesn't say why nothing can be changed: %q", tab, got)
		}
		if n := js[int](b, `[...document.querySelectorAll("#panel-`+tab+` :is(button, input, select, textarea)")].filter((e) => e.checkVisibility() && !e.disabled).length`); n > 0 {
			t.Errorf("%s has %d things to change", tab, n)
		}
		b.accessible("looking at " + tab)
	}
	b.quiet()
}
