// A test session, and calibration as a walk: stand here, show a photograph, show a phone.
import { el, fill, put, badge } from "./dom.js";
import { t, has, number, say } from "./texts.js";
import { ask } from "./api.js";
import { panelBody, facts2 } from "./show.js";
import { attempt, result, propose, problems, outcome, allowed } from "./change.js";
import { watching } from "./picture.js";

const body = panelBody("test");
const denied = el("p", { class: "quiet", t: "denied" });
const admin = el("div");
body.append(denied, admin);

// ---- session

let session = null;
const application = el("select", { id: "session-application" });
const purpose = el("select", { id: "session-purpose" }, ...["authentication", "enrollment"].map((p) => el("option", { value: p, t: `purpose.${p}` })));
const sessionResult = result();
const startButton = el("button", { type: "button", class: "main", id: "session-start", t: "session.start", on: { click: (e) => attempt(sessionResult, begun, e.currentTarget) } });
const cancelButton = el("button", { type: "button", id: "session-cancel", t: "session.cancel", disabled: true, on: { click: () => attempt(sessionResult, cancelled) } });
admin.append(el("section", { class: "card", "aria-labelledby": "session-title" }, el("h3", { id: "session-title", t: "session" }), el("p", { class: "quiet", t: "session.how" }),
  el("div", { class: "form" },
    el("div", { class: "field" }, el("label", { for: "session-application", t: "session.application" }), application),
    el("div", { class: "field" }, el("label", { for: "session-purpose", t: "session.purpose" }), purpose),
    el("div", { class: "buttons" }, startButton, cancelButton), sessionResult)));

async function begun() {
  const answer = await ask("POST", "api/sessions", { application: application.value, purpose: purpose.value, camera: watching() ?? undefined, timeout: "20s" });
  session = answer.session;
  cancelButton.disabled = false;
  sessionResult.replaceChildren(el("p", {}, badge("wait", "session.runs")));
}

async function cancelled() {
  await ask("DELETE", `api/sessions/${encodeURIComponent(session)}`);
  cancelButton.disabled = true;
}

/** judged hears of each verdict: the session's own ends it. */
export function judged(v) {
  if (session === null || v.session?.id !== session) return;
  session = null;
  cancelButton.disabled = true;
  sessionResult.replaceChildren(el("p", {}, badge(v.verdict, `verdict.${v.verdict}`), " ", el("span", { t: `action.${v.action}` }),
    v.score === null ? null : el("span", { v: ` · ${number(v.score, 3)}` }), v.code ? el("span", has(`code.${v.code}`) ? { t: `code.${v.code}`, class: "quiet apart-left" } : { v: v.code }) : null));
}

// ---- calibration

let walk = null;
const steps = ["live", "print", "replay"];
let step = 0;
const walkBox = el("div", { class: "form" });
const walkResult = result();
admin.append(el("section", { class: "card", "aria-labelledby": "walk-title" }, el("h3", { id: "walk-title", t: "walk" }), el("p", { class: "quiet", t: "walk.how" }), walkBox, walkResult));

const percent = (x) => `${number(x * 100, x * 100 % 1 ? 1 : 0)} %`;
const rate = (r) => r.rate === null ? "–" : t("walk.rate", { n: percent(r.rate), low: percent(Math.round(r.low * 1000) / 1000), high: percent(Math.round(r.high * 1000) / 1000), errors: number(r.errors), of: number(r.of) });

function render() {
  fill(walkBox, [walk, step, watching()], () => !walk?.camera ? [
    el("p", { t: "walk.before" }),
    el("div", { class: "four" }, ...[["apcer", 1], ["bpcer", 5]].map(([k, v]) => {
      const input = el("input", { type: "number", id: `walk-${k}`, min: 0.1, max: 50, step: 0.1 });
      input.value = v;
      return el("div", { class: "field" }, el("label", { for: `walk-${k}`, t: `walk.${k}` }), input);
    })),
    el("div", { class: "buttons" }, el("button", { type: "button", class: "main", id: "walk-begin", t: "walk.begin", on: { click: (e) => attempt(walkResult, beginWalk, e.currentTarget) } })),
  ] : [...stage(), ...shown(), ...suggested()]);
}

async function beginWalk() {
  const of = (k) => Number(document.getElementById(`walk-${k}`).value) / 100;
  walk = await ask("POST", "api/calibration", { camera: watching(), apcer: of("apcer"), bpcer: of("bpcer"), certainty: 0.95 });
  step = 0;
  render();
}

function stage() {
  const species = steps[step];
  const count = walk.presentations.filter((p) => p.species === species && p.score !== null).length;
  return [
    el("ol", { class: "steps", label: "walk.steps" }, ...steps.map((s, i) => el("li", { "aria-current": i === step ? "step" : null }, el("span", { t: `walk.${s}` }), el("span", { v: ` ${number(walk.presentations.filter((p) => p.species === s && p.score !== null).length)}` })))),
    el("p", { class: "hint" }, el("strong", { t: `walk.do.${species}` })),
    el("div", { class: "buttons" },
      el("button", { type: "button", class: "main", id: "walk-look", t: "walk.look", on: { click: (e) => attempt(walkResult, () => look(species), e.currentTarget) } }),
      el("button", { type: "button", id: "walk-next", t: step + 1 < steps.length ? "walk.next" : "walk.first", disabled: count === 0 && step === 0, on: { click: () => { step = (step + 1) % steps.length; render(); } } }),
      el("button", { type: "button", id: "walk-undo", t: "walk.undo", disabled: walk.presentations.length === 0, on: { click: () => attempt(walkResult, async () => { walk = await ask("DELETE", "api/calibration/presentations/last"); render(); }) } }),
      el("button", { type: "button", id: "walk-end", t: "walk.end", on: { click: () => attempt(walkResult, async () => { await ask("DELETE", "api/calibration"); walk = null; render(); }) } })),
  ];
}

async function look(species) {
  const seconds = 5;
  walkResult.replaceChildren(el("p", {}, badge("wait", "walk.looking", { s: seconds })));
  walk = await ask("POST", "api/calibration/presentations", { species, seconds });
  const p = walk.presentations.at(-1);
  walkResult.replaceChildren(el("p", {}, p?.score === null || !p ? badge("warning", p && has(`code.${p.why}`) ? `code.${p.why}` : "walk.silent") : badge(p.said, "walk.said", { verdict: t(`verdict.${p.said}`), n: number(p.score, 3) })));
  render();
}

function shown() {
  return walk.now.filter((n) => n.rate.of > 0 || n.silent > 0).map((n) => {
    const f = facts2([has(`walk.${n.species}`) ? t(`walk.${n.species}`) : n.species, rate(n.rate)], [t("walk.silents"), number(n.silent)], [t("walk.more"), number(n.more)]);
    return f;
  });
}

function suggested() {
  const s = walk.suggestion;
  if (!s) return walk.refused.length === 0 ? [] : [el("h4", { t: "walk.none" }), el("ul", { class: "plain" }, ...walk.refused.map((r) => el("li", { v: r, lang: "en" })))];
  return [
    el("h4", { t: "walk.suggestion" }),
    facts2([t("walk.liveat"), number(s.live_at, 3)], [t("walk.spoofat"), number(s.spoof_at, 3)], [t("walk.bpcer"), rate(s.bpcer)], [t("walk.asspoof"), rate(s.bona_fide_as_spoof)],
      ...s.attacks.map((a) => [`${t("walk.apcer")}: ${has(`walk.${a.species}`) ? t(`walk.${a.species}`) : a.species}`, rate(a.apcer)])),
    el("p", {}, badge(s.met ? "ok" : "warning", s.met ? "walk.met" : "walk.unmet")),
    el("div", { class: "buttons" }, el("button", { type: "button", class: "main", id: "walk-keep", t: "setup.keep", on: { click: (e) => attempt(walkResult, async () => {
      const found = await propose({ changes: [{ path: ["decision", "live_at"], value: s.live_at }, { path: ["decision", "spoof_at"], value: s.spoof_at }] }, (w) => outcome(walkResult, w));
      if (found.length) problems(walkResult, found);
    }, e.currentTarget) } })),
  ];
}

/** state is how the device is. */
let known = false;
export function state(s) {
  denied.hidden = allowed();
  admin.hidden = !allowed();
  fill(application, s.applications, () => s.applications.map((a) => el("option", { value: a, v: a })));
  startButton.disabled = !s.sessions;
  if (!allowed()) return;
  if (!known && s.phase === "ready" && s.cameras.length > 0) {
    known = true;
    attempt(walkResult, async () => { walk = await ask("GET", "api/calibration"); render(); });
  }
  render();
}

export function begin() {
  known = false;
  walk = null;
  session = null;
}
