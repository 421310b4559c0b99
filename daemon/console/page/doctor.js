// The doctor's findings, and the archive for whoever helps.
import { el, fill, badge } from "./dom.js";
import { day } from "./texts.js";
import { ask, download } from "./api.js";
import { panelBody } from "./show.js";
import { attempt, result, allowed } from "./change.js";

const body = panelBody("doctor");
const outcome = result();
const denied = el("p", { class: "quiet", t: "denied" });
const run = el("button", { type: "button", class: "main", id: "doctor-run", t: "doctor.run", on: { click: () => busy("doctor.looking", async () => show(await ask("POST", "api/doctor"))) } });
const bundle = el("button", { type: "button", id: "doctor-bundle", t: "doctor.bundle", on: { click: () => busy("doctor.bundling", async () => {
  await download("api/bundle");
  show((await ask("GET", "api/doctor")).report);
}) } });
const at = el("p", { class: "quiet" });
const findings = el("ul", { class: "findings" });
body.append(el("div", { class: "card" }, el("p", { class: "quiet", t: "doctor.how" }), denied, el("div", { class: "buttons" }, run, bundle), outcome), at, findings);

async function busy(key, f) {
  run.disabled = bundle.disabled = true;
  await attempt(outcome, async () => {
    outcome.replaceChildren(el("p", {}, badge("wait", key)));
    await f();
    outcome.replaceChildren(el("p", {}, badge("ok", "doctor.done")));
  });
  run.disabled = bundle.disabled = !allowed();
}

const worst = { failure: 0, warning: 1, skipped: 2, ok: 3 };

function show(report) {
  if (!report) return;
  fill(at, report.at, () => [el("span", { t: "doctor.at", args: { at: day(report.at) } })]);
  const all = report.findings.map((f, i) => [f, i]).sort((a, b) => worst[a[0].level] - worst[b[0].level] || a[1] - b[1]).map(([f]) => f);
  fill(findings, all, () => all.map((f) => el("li", { class: "card finding" }, badge(f.level, `level.${f.level}`),
    el("div", {}, el("h3", { v: f.subject ? `${f.check}: ${f.subject}` : f.check, lang: "en" }), el("p", { v: f.seen, lang: "en" }), f.do ? el("p", { lang: "en" }, el("b", { v: `→ ${f.do}` })) : null))));
}

/** begin is called for who has logged in. */
export function begin() {
  denied.hidden = allowed();
  run.disabled = bundle.disabled = !allowed();
  attempt(outcome, async () => show((await ask("GET", "api/doctor")).report));
}
