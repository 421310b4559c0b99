// The panels beside the picture: the newest verdicts, cameras, and how the device is.
import { byID, el, put, fill, badge, icon, facts } from "./dom.js";
import { say, has, number, clock, day, ago, t } from "./texts.js";

const maxShown = 25; // verdicts on the page; the daemon remembers more
const verdicts = new Map(); // by number

// ---- tabs

const tabs = byID("tabs");
const panels = byID("panels");

function panel(id, key) {
  const first = tabs.children.length === 0;
  const tab = el("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, "aria-selected": String(first), tabindex: first ? "0" : "-1", t: key,
    on: { click: () => select(tab), keydown: (e) => move(e) } });
  tabs.append(tab);
  const body = el("div");
  panels.append(el("section", { role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, tabindex: "0", hidden: !first }, el("h2", { class: "unseen", t: key }), body));
  return body;
}

for (const [id, key] of [["verdicts", "verdicts"], ["camera", "cameras"], ["test", "test"], ["device", "device"], ["doctor", "doctor"], ["config", "config"]]) panel(id, key);

/** panelBody is what a panel holds. */
export const panelBody = (id) => byID(`panel-${id}`).lastElementChild;

/** facts2 is a list of names and values that don't change. */
export const facts2 = (...pairs) => el("dl", { class: "facts" }, ...pairs.map(([k, v]) => el("div", {}, el("dt", { v: k }), el("dd", { v }))));

function select(tab) {
  for (const other of tabs.children) {
    const is = other === tab;
    other.setAttribute("aria-selected", String(is));
    other.tabIndex = is ? 0 : -1;
    byID(other.getAttribute("aria-controls")).hidden = !is;
  }
}

function move(e) {
  const all = [...tabs.children];
  const to = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
  let i = all.indexOf(e.currentTarget);
  if (to) i = (i + to + all.length) % all.length;
  else if (e.key === "Home") i = 0;
  else if (e.key === "End") i = all.length - 1;
  else return;
  e.preventDefault();
  all[i].focus();
  select(all[i]);
}

// ---- verdicts

const verdictsBody = panelBody("verdicts");
const none = el("p", { class: "quiet", t: "verdicts.none" });
const list = el("ol", { class: "verdicts" });
verdictsBody.append(none, list);

/** presentation shows a verdict, and tells whether it is new to this page. */
export function presentation(p) {
  if (verdicts.has(p.number)) return false;
  verdicts.set(p.number, p);
  none.hidden = true;
  list.prepend(row(p));
  while (list.children.length > maxShown) list.lastElementChild.remove();
  return true;
}

/** complete shows how a verdict went on: to the disk, and to the broker. */
export function complete(p) {
  const was = verdicts.get(p.number);
  if (!was || JSON.stringify(was.timeline) === JSON.stringify(p.timeline)) return;
  verdicts.set(p.number, p);
  const old = list.querySelector(`[data-number="${p.number}"] .line`);
  const now = line(p);
  if (old && now) old.replaceWith(now);
}

/** forget empties the list: another daemon counts anew. */
export function forget() {
  verdicts.clear();
  list.replaceChildren();
  none.hidden = false;
}

/** again writes what has numbers and times in it in the language of now. */
export function again() {
  list.replaceChildren(...[...verdicts.values()].slice(-maxShown).reverse().map(row));
}

function row(p) {
  const v = p.verdict;
  const why = v.code ? el("p", {}, el("span", has(`code.${v.code}`) ? { t: `code.${v.code}` } : { v: v.code }),
    ...(has(`do.${v.code}`) ? [el("span", { v: ": " }), el("span", { t: `do.${v.code}` })] : []), " ", el("code", { class: "quiet", v: v.code })) : null;
  return el("li", { class: "card verdict", "data-number": p.number },
    el("div", { class: "row" },
      el("h3", {}, badge(v.verdict, `verdict.${v.verdict}`)),
      el("span", { class: "action", t: `action.${v.action}` }),
      el("span", { class: "quiet end" }, el("time", { datetime: v.decided_at, v: clock(v.decided_at) }), el("span", { v: ` · ${v.camera}` }))),
    why,
    score(v),
    line(p),
    el("details", { "data-key": v.id }, el("summary", { t: "details" }), details(p)));
}

/** score is the scale from an attack to a living person, with the two thresholds on it. */
function score(v) {
  if (v.score === null) return el("p", { class: "quiet", t: "score.none" });
  const at = (x, name) => {
    const mark = el("i", { class: name });
    mark.style.left = `${Math.max(0, Math.min(1, x)) * 100}%`;
    return mark;
  };
  return el("div", { class: "scored" },
    el("span", { t: "score", args: { n: number(v.score, 3) } }),
    el("span", { class: "scale", "aria-hidden": "true" }, at(v.spoof_at, "spoof"), at(v.live_at, "live"), at(v.score, `here ${v.verdict}`)),
    el("span", { class: "quiet", t: "score.bounds", args: { spoof: number(v.spoof_at, 2), live: number(v.live_at, 2) } }));
}

/** steps are the moments of a verdict that are known, in order. */
const steps = ["captured", "dequeued", "taken", "decoded", "detected", "judged", "decided", "journaled", "published", "acknowledged"];

function line(p) {
  const v = p.verdict;
  const at = new Map();
  const first = v.captured_at ?? p.timeline?.first;
  if (first) at.set("first", new Date(first));
  for (const s of steps) if (p.timeline?.[s]) at.set(s, new Date(p.timeline[s]));
  if (!at.has("decided")) at.set("decided", new Date(v.decided_at));
  const all = [...at].sort((a, b) => a[1] - b[1]);
  const zero = all[0][1];
  if (all.length < 2) return null;
  return el("ol", { class: "line", label: "line" }, ...all.filter(([s]) => ["first", "decided", "journaled", "published", "acknowledged"].includes(s)).map(([s, when]) =>
    el("li", {}, el("span", { t: `line.${s}` }), " ", el("b", { v: when - zero === 0 ? clock(when) : `+${number(when - zero)} ms` }))));
}

function details(p) {
  const v = p.verdict;
  const f = facts("verdict.frames", "verdict.latency", "verdict.expires", "verdict.replayed", "verdict.face", "verdict.session", "verdict.model", "verdict.delegate", "verdict.seq", "verdict.id");
  f.set("verdict.frames", number(v.frames));
  f.set("verdict.latency", `${number(v.latency_ms)} ms`);
  f.set("verdict.expires", clock(v.expires_at));
  say(f.of["verdict.replayed"], v.replayed ? "yes" : "no");
  f.set("verdict.face", v.face ? `${v.face.width}×${v.face.height} · ${v.face.x}, ${v.face.y}` : "");
  if (v.session) f.set("verdict.session", `${v.session.application} · ${v.session.purpose} · ${v.session.id}`);
  else say(f.of["verdict.session"], "none");
  f.set("verdict.model", `${v.model.name} ${v.model.version}`);
  f.set("verdict.delegate", v.delegate);
  f.set("verdict.seq", `${v.boot.slice(0, 8)}… · ${v.seq}`);
  f.set("verdict.id", v.id);
  return f.dl;
}

// ---- cameras

const camerasBody = panelBody("camera");
const cardsBox = el("div");
camerasBody.append(cardsBox);
const cards = new Map();

function cameraCard(name) {
  const title = el("h3", { v: name });
  const status = el("p", { class: "row" });
  const trouble = el("div");
  const f = facts("camera.device", "camera.mode", "camera.rate", "camera.health", "camera.captured", "camera.dropped", "camera.lost", "camera.bad", "camera.reopened", "camera.exposure", "camera.verdicts");
  const history = el("ol", { class: "history" });
  const card = el("article", { class: "card" }, el("div", { class: "row" }, title, status), trouble, f.dl, el("details", { "data-key": "history" }, el("summary", { t: "camera.history" }), history));
  return { card, status, trouble, f, history };
}

/** kinds is how bad each state of a camera is. */
const kinds = { streaming: "ok", recovering: "warning", failed: "failure" };

export function cameras(state) {
  for (const name of [...cards.keys()]) {
    if (state.cameras.some((c) => c.name === name)) continue;
    cards.get(name).card.remove();
    cards.delete(name);
  }
  for (const c of state.cameras) {
    if (!cards.has(c.name)) {
      cards.set(c.name, cameraCard(c.name));
      cardsBox.append(cards.get(c.name).card);
    }
    const { status, trouble, f, history } = cards.get(c.name);
    fill(status, [c.state, c.role, c.trial], () => [badge(kinds[c.state] ?? "warning", `camera.${c.state}`), c.role === "ir" ? el("span", { class: "quiet", t: "camera.infrared" }) : null,
      c.trial ? badge("warning", "camera.trial") : null].filter(Boolean));
    fill(trouble, [c.error, c.hint, c.code], () => c.error || c.hint ? [problem(c.error ?? c.code, c.hint)] : []);
    f.set("camera.device", c.device && c.path && c.path !== c.device ? `${c.device} (${c.path})` : c.device || c.path);
    f.set("camera.mode", c.format ? `${c.format} ${c.width}×${c.height}${c.fps ? ` · ${number(c.fps, c.fps % 1 ? 1 : 0)} fps` : ""}` : "");
    f.set("camera.rate", c.fps_measured ? `${number(c.fps_measured, 1)} fps` : "");
    f.set("camera.captured", number(c.counters.captured));
    f.set("camera.dropped", number(c.counters.dropped));
    const bad = Object.entries(c.counters.bad).filter(([, n]) => n > 0);
    f.set("camera.bad", bad.length ? bad.map(([k, n]) => `${t(`bad.${k}`)}: ${number(n)}`).join(", ") : number(0));
    f.set("camera.lost", number(c.counters.lost));
    const h = c.health;
    fill(f.of["camera.health"], [h?.state, h?.alarms, h?.hint], () => !h ? [] : [badge(h.state === "healthy" ? "ok" : h.state === "failed" ? "failure" : "warning", `health.${h.state}`),
      ...(h.alarms?.length ? [el("p", { v: h.alarms.join(", "), lang: "en" })] : []), ...(h.hint ? [el("p", { lang: "en" }, el("b", { v: `→ ${h.hint}` }))] : [])]);
    delete f.of["camera.health"].dataset.v;
    f.set("camera.reopened", number(c.counters.reopened));
    exposure(f, c);
    f.set("camera.verdicts", ["live", "spoof", "undecided"].map((k) => `${t(`verdict.${k}`)} ${number(c.verdicts[k])}`).join(" · "));
    fill(history, c.history, () => [...c.history].reverse().map((h) => el("li", {}, el("time", { datetime: h.since, v: day(h.since) }), " ", badge(kinds[h.state] ?? "warning", `camera.${h.state}`),
      h.error ? el("span", { class: "quiet", v: h.error, lang: "en" }) : null)));
  }
}

/** exposure is what a camera says of its own, and how bright its faces are. */
const bright = new Map();

export function seen(s) {
  if (s.look) bright.set(s.camera, s.look.luma);
}

function exposure(f, c) {
  const luma = bright.get(c.name);
  const at = (control) => `${number(control.value)} (${number(control.min)}–${number(control.max)})`;
  const l = c.light;
  f.set("camera.exposure", [
    l?.exposure_time ? t("light.time", { ms: number(l.exposure_time.value / 10, 1) }) : "",
    l?.gain ? t("light.gain", { n: at(l.gain) }) : "", l?.brightness ? t("light.brightness", { n: at(l.brightness) }) : "",
    luma === undefined ? t("camera.noface") : t("camera.luma", { n: number(luma) }),
  ].filter(Boolean).join(" · "));
}

/** problem is an error in words with what to do about it. */
export function problem(error, hint) {
  return el("div", { class: "problem" }, icon("warning"), el("div", {}, el("p", { v: error, lang: "en" }), hint ? el("p", { lang: "en" }, el("b", { v: `→ ${hint}` })) : null));
}

// ---- device

const deviceBody = panelBody("device");
const modelsBox = el("div");
const broker = facts("broker.url", "broker.state", "broker.backlog", "broker.published", "broker.lost", "broker.acknowledged", "broker.connections");
const brokerTrouble = el("div");
const system = facts("system.version", "system.phase", "system.started", "system.clock", "system.temperature", "system.memory", "system.watchdog", "system.config", "system.viewers", "system.runtime");
const troubleBox = el("div");
deviceBody.append(
  el("section", { class: "card" }, el("h3", { t: "models" }), modelsBox),
  el("section", { class: "card" }, el("h3", { t: "broker" }), brokerTrouble, broker.dl),
  el("section", { class: "card" }, el("h3", { t: "system" }), troubleBox, system.dl));

export function device(s) {
  fill(modelsBox, [s.models, s.runtime], () => s.models.length === 0 ? [el("p", { class: "quiet", t: "between" })] : s.models.map((m) => modelCard(m, s.runtime)));
  const b = s.broker;
  fill(brokerTrouble, [b?.error, b?.hint], () => b?.error ? [problem(b.error, b.hint)] : []);
  broker.set("broker.url", b?.urls.join(", "));
  fill(broker.of["broker.state"], [b === null, b?.connected], () => [b === null ? el("span", { t: "between" }) : badge(b.connected ? "ok" : "failure", b.connected ? "broker.connected" : "broker.away")]);
  delete broker.of["broker.state"].dataset.v;
  broker.set("broker.backlog", b ? t("broker.waiting", { n: number(b.queued), v: number(b.volatile) }) : "");
  broker.set("broker.published", number(b?.published));
  broker.set("broker.lost", b ? t("broker.gaps", { n: number(b.dropped), gaps: number(b.gaps) }) : "");
  if (b && !b.acknowledged) say(broker.of["broker.acknowledged"], "never");
  else broker.set("broker.acknowledged", b ? `${clock(b.acknowledged)} (${ago(b.acknowledged, s.now)})` : "");
  broker.set("broker.connections", number(b?.connections));

  fill(troubleBox, [s.trouble, s.refused], () => [
    s.refused ? el("div", {}, el("p", { t: "system.refused" }), problem(s.refused.error, s.refused.hint)) : null,
    s.trouble && s.trouble.error !== s.refused?.error ? el("div", {}, el("p", { t: "system.trouble", args: { at: day(s.trouble.at) } }), problem(s.trouble.error, s.trouble.hint)) : null,
  ].filter(Boolean));
  system.set("system.version", s.version);
  system.set("system.phase", `${t(`phase.${s.phase}`)}${s.doing ? ` · ${s.doing}` : ""}`);
  system.set("system.started", `${day(s.started)} (${ago(s.started, s.now)})`);
  fill(system.of["system.clock"], s.system.clock_synced, () => [badge(s.system.clock_synced ? "ok" : "warning", s.system.clock_synced ? "clock.synced" : "clock.unsynced")]);
  delete system.of["system.clock"].dataset.v;
  const heat = s.system.temperatures;
  if (heat.length) system.set("system.temperature", heat.map((h) => `${h.sensor} ${number(h.celsius, 1)} °C`).join(", "));
  else say(system.of["system.temperature"], "system.notold");
  system.set("system.memory", `${number(s.system.resident_bytes / 1e6, 1)} MB`);
  if (s.system.watchdog_ms) say(system.of["system.watchdog"], s.stuck.length ? "watchdog.stuck" : "watchdog.fed", { s: number(s.system.watchdog_ms / 1000), parts: s.stuck.join(", ") });
  else say(system.of["system.watchdog"], s.stuck.length ? "watchdog.nonestuck" : "watchdog.none", { parts: s.stuck.join(", ") });
  system.set("system.config", s.config || t("system.noconfig"));
  system.set("system.viewers", t("system.viewing", { n: number(s.viewers.now), of: number(s.viewers.limit) }));
  system.set("system.runtime", s.runtime ? `TensorFlow Lite ${s.runtime.version} · ${s.runtime.path}` : "");
}

function modelCard(m, runtime) {
  const f = facts("model.version", "model.digest", "model.licence", "model.from", "model.delegate");
  f.set("model.version", m.version);
  f.set("model.digest", m.sha256);
  f.of["model.digest"].classList.add("digest");
  f.set("model.licence", m.licence);
  f.set("model.from", m.from);
  fill(f.of["model.delegate"], [runtime], () => [el("p", { v: runtime?.delegate ?? "" }), ...(runtime?.tried ?? []).map((d) => el("p", { class: "quiet" },
    el("span", { v: `${d.delegate}: ` }), el("span", has(`delegate.${d.state}`) ? { t: `delegate.${d.state}` } : { v: d.state }), d.median_ms ? el("span", { v: ` (${number(d.median_ms, 2)} ms)` }) : null,
    d.error ? el("span", { v: ` – ${d.error}`, lang: "en" }) : null, d.hint ? el("b", { v: ` → ${d.hint}`, lang: "en" }) : null))]);
  delete f.of["model.delegate"].dataset.v;
  return el("article", {}, el("h4", { v: m.name }), el("p", { class: "quiet", t: has(`task.${m.task}`) ? `task.${m.task}` : "task.other" }),
    m.description ? el("p", { v: m.description, lang: "en" }) : null, f.dl);
}
