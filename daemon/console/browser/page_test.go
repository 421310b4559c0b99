package browser_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// named fails for what can be used and has no name for a screen reader, as the browser itself works it out.
func (b *browser) named(what string) {
	b.t.Helper()
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	roles := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role := strings.Trim(string(n.Role.Value), `"`)
		roles[role]++
		if !slices.Contains([]string{"button", "textbox", "combobox", "tab", "tabpanel", "img", "image", "meter", "checkbox", "radio", "slider", "spinbutton", "link", "region", "heading",
			"DisclosureTriangle", "group", "option", "dialog", "tablist"}, role) {
			continue
		}
		if n.Name == nil || strings.Trim(string(n.Name.Value), `" `) == "" {
			if role == "group" { // a details element, whose summary has the name
				continue
			}
			b.t.Errorf("%s: a %s without a name (node %d)", what, role, n.BackendDOMNodeID)
		}
	}
	for _, role := range []string{"banner", "main", "heading"} {
		if roles[role] == 0 && (roles["dialog"] == 0 || role == "heading") { // a question hides what is behind it
			b.t.Errorf("%s: no %s among %v", what, role, roles)
		}
	}
}

// script runs what has no answer.
func script(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](text)
}

// enter opens the page with a link and waits until it shows a picture and a verdict.
func (b *browser) enter(more ...string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.d.link(more...)))
	b.await("a picture", `document.querySelector("#nopicture").hidden && document.querySelector("#hint").innerText.length > 0`)
	b.await("a verdict", `document.querySelectorAll(".verdict").length > 0`)
}

func TestThePageShowsWhatHappens(t *testing.T) {
	chromium := need(t)
	d := start(t)
	b := browse(t, d, chromium)
	b.resize(windows[2])
	b.enter()

	if at := js[string](b, "location.href"); strings.Contains(at, "link") {
		t.Errorf("the link is still in the address: %s", at)
	}
	for selector, want := range map[string]string{"#device": "door-7", "#phase": "Ready", "#rate": "pictures/s"} {
		if got := b.text(selector); !strings.Contains(got, want) {
			t.Errorf("%s is %q", selector, got)
		}
	}
	// A picture is one: many colours, and another one a little later.
	const look = `(() => { const at = document.querySelector("#canvas"); const c = new OffscreenCanvas(at.width, at.height); const pen = c.getContext("2d", { willReadFrequently: true });
		pen.drawImage(at, 0, 0); const d = pen.getImageData(0, 0, c.width, c.height).data;
		const all = new Set(); let sum = 0; for (let i = 0; i < d.length; i += 4) { all.add(d[i] << 16 | d[i+1] << 8 | d[i+2]); sum = (sum * 31 + d[i]) % 1000003; } return [all.size, sum]; })()`
	if seen := js[[]int](b, look); seen[0] < 1000 {
		t.Errorf("the picture has %d colours", seen[0])
	} else {
		b.await("another picture", `(`+look+`)[1] !== `+js[string](b, "String(("+look+")[1])"))
	}
	b.await("a living person", `document.querySelector(".verdict .badge.live")`)
	b.await("an attack", `document.querySelector(".verdict .badge.spoof")`)
	attack := js[string](b, `document.querySelector(".verdict:has(.badge.spoof)").innerText`)
	for _, want := range []string{"Attack", "deny", "PAD_ATTACK", "Score 0.", "First frame", "Decided"} {
		if !strings.Contains(attack, want) {
			t.Errorf("of an attack the page says %q, without %q", attack, want)
		}
	}
	// Evidence fills to both sides, and its meter says so to those who don't see it.
	b.await("evidence for a living person", `Number(document.querySelector(".gauge").ariaValueNow) > 0.5 && document.querySelector(".gauge .live").getBoundingClientRect().width > 5`)
	b.await("evidence for an attack", `Number(document.querySelector(".gauge").ariaValueNow) < -0.5 && document.querySelector(".gauge .spoof").getBoundingClientRect().width > 5`)
	if got := b.text(".needs"); !strings.Contains(got, "Frames") || !strings.Contains(got, "Score") {
		t.Errorf("what a verdict needs: %q", got)
	}

	b.click("#tab-camera")
	if got := b.text("#panel-camera"); !strings.Contains(got, "Streaming") || !strings.Contains(got, "640×480") || !strings.Contains(got, "fps") || !strings.Contains(got, "Dropped") {
		t.Errorf("the camera is %q", got)
	}
	b.click("#panel-camera summary")
	if got := b.text(".history"); !strings.Contains(got, "Streaming") {
		t.Errorf("its history is %q", got)
	}
	b.click("#tab-device")
	device := b.text("#panel-device")
	for _, want := range []string{"livenessd-face", "livenessd-liveness", "Apache-2.0", "SHA-256", "xnnpack", "Not connected", "connection refused", "Backlog", "Clock", "Memory", "Watchdog", "MB"} {
		if !strings.Contains(device, want) {
			t.Errorf("of the device the page says %q, without %q", device, want)
		}
	}
	b.quiet()
}

func TestThePageIsReadableInEachWindow(t *testing.T) {
	chromium := need(t)
	b := browse(t, start(t), chromium)
	b.resize(windows[0])
	b.enter()
	b.await("an attack", `document.querySelector(".verdict .badge.spoof")`)
	for _, language := range []string{"de", "en"} {
		b.run(chromedp.SetValue(chromedp.CSS("#language"), language), script(`document.querySelector("#language").dispatchEvent(new Event("change"))`))
		if got := js[string](b, "document.documentElement.lang"); got != language {
			t.Errorf("the page's language is %q", got)
		}
		for _, w := range windows {
			b.resize(w)
			for _, tab := range js[[]string](b, `[...document.querySelectorAll("[role=tab]")].map((t) => t.id)`) {
				b.run(script(`document.querySelector("#` + tab + `").click(); scrollTo(0, 0)`))
				b.accessible(language + " " + w.name + " " + tab)
				b.shoot(strings.TrimPrefix(tab, "tab-") + "-" + w.name + "-" + language)
			}
		}
	}
	b.quiet()
}

func TestThePageIsUsedByKeyboard(t *testing.T) {
	chromium := need(t)
	b := browse(t, start(t), chromium)
	b.resize(windows[2])
	b.enter()
	// From the top, tab goes through all there is in its order, and shows where it is.
	const at = `(() => { const e = document.activeElement; const s = getComputedStyle(e); return [e.id || e.tagName, s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 ? "" : "unseen"]; })()`
	var order []string
	for range 8 {
		b.tab(false)
		is := js[[]string](b, at)
		order = append(order, is[0])
		if is[0] == "BODY" { // past the end
			break
		}
		if is[1] != "" {
			t.Errorf("nobody sees that the focus is on %s", is[0])
		}
	}
	for i, want := range []string{"", "language", "logout", "tab-verdicts", "panel-verdicts"} {
		if i > 0 && order[i] != want {
			t.Errorf("the %d. stop is %s, and not %s: %v", i+1, order[i], want, order)
		}
	}
	b.run(chromedp.Focus(chromedp.CSS("#tab-verdicts")))
	b.key(kb.ArrowRight)
	if js[bool](b, `document.querySelector("#panel-camera").hidden || document.activeElement.id !== "tab-camera"`) {
		t.Error("the arrow doesn't lead to the next tab")
	}
	b.key(kb.End)
	if js[bool](b, `document.querySelectorAll("[role=tabpanel]:not([hidden])").length !== 1 || document.activeElement !== document.querySelector("[role=tab]:last-of-type")`) {
		t.Error("End doesn't lead to the last tab")
	}
	// The way past the head.
	b.run(script(`document.activeElement.blur(); scrollTo(0, 0)`), chromedp.Focus(chromedp.CSS(".skip")))
	b.key(kb.Enter)
	if got := js[string](b, "document.activeElement.id"); got != "content" {
		t.Errorf("the way past the head leads to %q", got)
	}
	b.quiet()
}

func TestThePageSaysThatTheDeviceIsGone(t *testing.T) {
	chromium := need(t)
	d := start(t)
	b := browse(t, d, chromium)
	b.resize(windows[0])
	b.enter()
	b.quiet()
	b.allow("net::ERR_")
	d.wire.cut(true)
	b.await("a word about the lost connection", `document.querySelector("#alert").innerText.includes("answered since")`)
	b.shoot("lost-phone-light")
	b.accessible("while the device is away")
	if !js[bool](b, `document.querySelector("#stage").classList.contains("stale") || document.querySelector("#work").classList.contains("stale")`) {
		t.Error("the old picture looks like a new one")
	}
	if got := b.text("#phase"); !strings.Contains(got, "answer") {
		t.Errorf("the device that is away is %q", got)
	}
	if got := b.text("#evidence"); !strings.Contains(got, "Nothing is known") {
		t.Errorf("of who isn't seen the page says %q", got)
	}
	d.wire.cut(false)
	b.await("the connection", `document.querySelector("#alert").innerText === "" && document.querySelector("#nopicture").hidden`)
	if got := b.text("#said"); !strings.Contains(got, "answers again") && !strings.Contains(got, "verdict") {
		t.Errorf("those who listen hear %q", got)
	}
	b.quiet()
}

func TestAnotherCameraIsPicked(t *testing.T) {
	chromium := need(t)
	b := browse(t, start(t, "  back:\n    path: replay:CLIP\n    fps: 5\n    rotate: 90\n"), chromium)
	b.resize(windows[0])
	b.enter()
	b.choose("#camera", "back")
	b.await("the other picture, which is turned", `document.querySelector("#canvas").height > document.querySelector("#canvas").width && document.querySelector("#canvas").ariaLabel.includes("back")`)
	b.run(script(`document.querySelector("#tab-camera").click()`))
	b.await("its settings", `document.querySelector("#mode-rotate")?.value === "90"`)
	if n := js[int](b, `document.querySelectorAll("#panel-camera article").length`); n != 2 {
		t.Errorf("%d cameras are told of", n)
	}
	if js[bool](b, `document.querySelector("#stage").clientHeight > 0.56 * innerHeight || document.querySelector("#region").parentElement.clientWidth !== document.querySelector("#canvas").clientWidth`) {
		t.Error("a tall picture leaves no room on a phone, or its frame doesn't fit it")
	}
	b.accessible("two cameras")
	b.shoot("two-phone-light")
	b.quiet()
}

func TestWhoComesThirdIsToldWhy(t *testing.T) {
	chromium := need(t)
	d := start(t)
	link := d.link()
	seats, leave := context.WithCancel(t.Context())
	defer leave()
	for _, token := range []string{adminToken, viewToken} {
		r, err := http.NewRequestWithContext(seats, http.MethodGet, d.base()+"/api/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		a, err := http.DefaultClient.Do(r)
		if err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("no seat: %v %+v", err, a)
		}
		defer a.Body.Close()
	}
	b := browse(t, d, chromium)
	b.resize(windows[0])
	b.allow("503")
	b.run(chromedp.Navigate(link))
	b.await("why there is nothing to see", `document.querySelector("#alert").innerText.includes("as many as may look are looking") && document.querySelector("#alert").innerText.includes("→")`)
	b.accessible("without a seat")
	leave()
	b.await("a seat", `document.querySelector("#alert").innerText === "" && document.querySelector("#nopicture").hidden`)
	b.quiet()
}

func TestThePictureStaysInSightOnAPhone(t *testing.T) {
	chromium := need(t)
	b := browse(t, start(t), chromium)
	b.resize(windows[0])
	b.enter()
	b.click("#tab-camera")
	b.run(script(`scrollTo(0, document.body.scrollHeight)`))
	const top = `document.querySelector("#stage").getBoundingClientRect().top`
	b.await("the picture at the top", top+" >= 0 && "+top+" < 20")
	b.shoot("setup-phone-light")
	b.accessible("the end of the settings")
	// Nor does it hide where the focus is.
	b.run(script(`scrollTo(0, document.body.scrollHeight)`), chromedp.Focus(chromedp.CSS("#mode-rotate")))
	b.await("the field that has the focus below it", `document.querySelector("#mode-rotate").getBoundingClientRect().top >= document.querySelector("#look figure").getBoundingClientRect().bottom`)
	b.quiet()
}

func TestWhoIsntLoggedInSeesNothing(t *testing.T) {
	chromium := need(t)
	d := start(t)
	d.link()
	b := browse(t, d, chromium)
	b.resize(windows[0])
	b.allow("401")
	b.run(chromedp.Navigate(d.base()))
	b.await("the way in", `!document.querySelector("#login").hidden`)
	if got := b.text("body"); strings.Contains(got, "door-7") {
		t.Errorf("nobody sees %q", got)
	}
	b.accessible("the way in")
	b.shoot("login-phone-light")
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), "a-wrong-token-altogether"+kb.Enter))
	b.await("a refusal with a hint", `document.querySelector("#login-wrong").innerText.includes("token is wrong") && document.querySelector("#login-wrong").innerText.includes("→")`)
	b.accessible("a wrong token")
	b.run(script(`document.querySelector("#token").value = ""`), chromedp.SendKeys(chromedp.CSS("#token"), viewToken+kb.Enter))
	b.await("the picture", `!document.querySelector("#work").hidden && document.querySelector("#nopicture").hidden`)
	b.click("#logout")
	b.await("the way out", `!document.querySelector("#login").hidden && document.querySelector("#work").hidden`)
	b.quiet()
}
