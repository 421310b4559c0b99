package browser_test

import (
	"bytes"
	"flag"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var update = flag.Bool("update", false, "replace docs/console.png")

// A device that runs elsewhere, such as the lab's with its USB camera: cross/lab has it started. LIVENESSD_PAGE is its address, LIVENESSD_PAGE_TOKEN its token.
func TestTheDeviceThatIsNamed(t *testing.T) {
	at := os.Getenv("LIVENESSD_PAGE")
	if at == "" {
		t.Skip("no device is named by LIVENESSD_PAGE: run it by `make labpage`")
	}
	program := need(t)
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
		r, err := http.Get(at)
		if err == nil {
			_ = r.Body.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	d := &device{t: t, log: &buffer{}, at: at}
	b := browse(t, d, program)
	b.resize(windows[2])
	b.allow("401") // before the token
	b.run(chromedp.Navigate(at))
	b.await("the way in", `!document.querySelector("#login").hidden`)
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), os.Getenv("LIVENESSD_PAGE_TOKEN")+kb.Enter))
	b.await("a picture", `!document.querySelector("#work").hidden && document.querySelector("#nopicture").hidden`)
	b.await("a verdict", `document.querySelector(".verdict")`)
	b.run(script(`document.querySelector("#tab-camera").click()`))
	b.await("its modes and controls", `document.querySelector("#mode-format") && document.querySelector("[id^=control-]")`)
	if got := b.text("#panel-camera"); !strings.Contains(got, "Streaming") || !strings.Contains(got, "MJPG") {
		t.Errorf("of the camera the page says %q", got)
	}
	b.shoot("usb-before")
	b.run(script(`document.querySelector("#setup-controls").scrollIntoView()`))
	b.shoot("usb-controls")
	b.accessible("a camera with controls")

	// A control acts at once, and is read back from the driver.
	id := js[string](b, `document.querySelector("[id^=control-][type=range]:not(:disabled)").id`)
	to := js[string](b, `(() => { const c = document.querySelector("#`+id+`"); const v = c.value === c.max ? c.min : c.max; c.value = v; c.dispatchEvent(new Event("change")); return v; })()`)
	b.await("the control at "+to, `document.querySelector(".pending").innerText.includes("`+strings.TrimPrefix(id, "control-")+`: `+to+`") && document.querySelector("#`+id+`").value === "`+to+`"`)
	b.quiet()

	// Another format is tried, and the pictures go on in it.
	was := js[string](b, `document.querySelector("#mode-format").value`)
	other := js[string](b, `[...document.querySelector("#mode-format").options].map((o) => o.value).find((v) => v !== "" && v !== `+quote(was)+`)`)
	b.choose("#mode-format", other)
	b.await("the camera in "+other, `[...document.querySelectorAll("#panel-camera dd")].some((d) => d.innerText.startsWith(`+quote(other)+`)) && document.querySelector("#nopicture").hidden`)
	b.shoot("usb-after")
	b.click("#back")
	b.await("the camera as before", `[...document.querySelectorAll("#panel-camera dd")].some((d) => d.innerText.startsWith(`+quote(was)+`)) && document.querySelector("#nopicture").hidden`)
	b.run(script(`document.querySelector("#tab-verdicts").click(); scrollTo(0, 0)`))
	b.resize(windows[0])
	b.await("the picture on a phone", `document.querySelector("#nopicture").hidden`)
	b.shoot("usb-phone")
	b.quiet()
}

// The README shows the page as this test saw it, with the people that were drawn for the demo.
func TestThePictureInTheREADME(t *testing.T) {
	program := need(t)
	kept := filepath.Join(root, "docs", "console.png")
	if *update {
		b := browse(t, start(t), program)
		b.resize(window{"readme", 1180, 740, false, false})
		b.enter()
		b.await("an attack", `document.querySelector(".verdict .badge.spoof")`)
		b.await("a living person", `document.querySelector("#evidence .badge.live")`)
		picture := b.shoot("readme")
		if err := os.WriteFile(kept, picture, 0o644); err != nil {
			t.Fatal(err)
		}
		b.quiet()
	}
	data, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := png.DecodeConfig(bytes.NewReader(data)); err != nil || c.Width != 1180 || len(data) > 400<<10 {
		t.Errorf("docs/console.png is %d bytes and %d wide: %v", len(data), c.Width, err)
	}
	if readme, err := os.ReadFile(filepath.Join(root, "README.md")); err != nil || !strings.Contains(string(readme), "(docs/console.png)") {
		t.Errorf("the README doesn't show it: %v", err)
	}
}
