// A camera's mode, controls and region, tried at once and written only when somebody wants to keep them.
import { byID, el, fill, put } from "./dom.js";
import { t, number } from "./texts.js";
import { ask } from "./api.js";
import { panelBody } from "./show.js";
import { attempt, result, propose, problems, outcome, settings, allowed } from "./change.js";

const least = 0.05; // of a side, for a region
let camera = null;
let shown = null; // what the state says of it
let base = {}; // its keys in effect
let device = null; // what it has; null for replays
let pending = new Map(); // changes that are tried, by key: "size", "region.x"
let tried = false;

const denied = el("p", { class: "quiet", t: "denied" });
const title = el("h3", {});
const modeBox = el("div", { class: "form" });
const controlsBox = el("div", { class: "form controls" });
const regionBox = el("div", { class: "form" });
const outcomeBox = result();
const keep = el("button", { type: "button", class: "main", id: "keep", t: "setup.keep", on: { click: (e) => attempt(outcomeBox, keepIt, e.currentTarget) } });
const back = el("button", { type: "button", id: "back", t: "setup.back", on: { click: (e) => attempt(outcomeBox, goBack, e.currentTarget) } });
const list = el("ul", { class: "pending" });
const admin = el("div", {},
  el("section", { class: "card", "aria-labelledby": "setup-mode" }, el("h3", { id: "setup-mode", t: "setup.mode" }), modeBox),
  el("section", { class: "card", "aria-labelledby": "setup-region" }, el("h3", { id: "setup-region", t: "region" }), regionBox),
  el("section", { class: "card", "aria-labelledby": "setup-controls" }, el("h3", { id: "setup-controls", t: "setup.controls" }), controlsBox),
  el("section", { class: "card", "aria-labelledby": "setup-changes" }, el("h3", { id: "setup-changes", t: "setup.changes" }), list, outcomeBox, el("div", { class: "buttons" }, keep, back)));
panelBody("camera").append(el("h3", { class: "apart", t: "setup" }), denied, admin);

/** of shows the settings of a camera. */
export async function of(about, force = false) {
  const name = about?.name ?? null;
  denied.hidden = allowed();
  admin.hidden = !allowed();
  if (!allowed() || name === null) return;
  if (name === camera && !force) {
    shown = about;
    changes();
    return;
  }
  shown = about;
  camera = name;
  pending = new Map();
  tried = false;
  drawing(false);
  await attempt(outcomeBox, async () => {
    base = await settings(name);
    device = null;
    if (about.path.startsWith("replay:")) return; // it has none
    try {
      device = await ask("GET", `api/cameras/${encodeURIComponent(name)}/device`);
    } catch (e) {
      if (e.status !== 404) throw e;
    }
  });
  render();
}

export function begin() {
  camera = null;
  keep.disabled = back.disabled = true;
  base = {};
  device = null;
}

function render() {
  modeForm();
  controlForm();
  regionForm();
  changes();
}

const unquote = (v) => v === undefined || v === "null" ? "" : v.replace(/^"(.*)"$/, "$1");
const value = (key) => pending.has(key) ? pending.get(key) : unquote(base[key]);

function choice(id, key, options, now, change) {
  const s = el("select", { id }, ...options.map(([v, text]) => el("option", { value: v, ...(typeof text === "object" ? text : { v: text }) })));
  s.value = String(now);
  if (s.selectedIndex < 0 && options.length) s.selectedIndex = 0;
  s.addEventListener("change", () => change(s.value));
  return el("div", { class: "field" }, el("label", { for: id, t: key }), s);
}

/** set notes a change and tries all of them. */
async function set(of) {
  for (const [k, v] of Object.entries(of)) {
    const was = unquote(base[k]);
    if (String(v ?? "") === was) pending.delete(k);
    else pending.set(k, v);
  }
  await attempt(outcomeBox, attemptAll);
  render();
}

const listed = (prefix = []) => [...pending].map(([k, v]) => ({ path: [...prefix, ...k.split(".")], value: v === "" ? null : v }));

async function attemptAll() {
  tried = true;
  await ask("POST", `api/cameras/${encodeURIComponent(camera)}/trial`, { changes: listed() });
}

async function goBack() {
  await ask("DELETE", `api/cameras/${encodeURIComponent(camera)}/trial`);
  await of(shown, true);
}

async function keepIt() {
  const name = camera;
  const found = await propose({ changes: listed(["cameras", name]) }, (w) => {
    pending = new Map();
    changes();
    outcome(outcomeBox, w);
    if (w.written) setTimeout(() => of(shown, true), 3000);
  });
  if (found.length) problems(outcomeBox, found);
}

function changes() {
  fill(list, [...pending], () => pending.size === 0 ? [el("li", { class: "quiet", t: "setup.none" })] : [...pending].map(([k, v]) => el("li", {}, el("code", { v: `${k}: ${v === "" ? "null" : v}` }))));
  keep.disabled = pending.size === 0;
  back.disabled = pending.size === 0 && !tried && !shown?.trial; // somebody may have left it tried
}

// ---- mode

function modeForm() {
  const fields = [];
  if (device) {
    const format = value("format");
    fields.push(choice("mode-format", "setup.format", [["", { t: "setup.any" }], ...device.formats.map((f) => [f.fourcc, `${f.fourcc} – ${f.description}`])], format, (v) => set({ format: v })));
    const sizes = new Map();
    for (const f of device.formats) if (!format || f.fourcc === format) for (const s of f.sizes ?? []) sizes.set(`${s.width}x${s.height}`, [...(sizes.get(`${s.width}x${s.height}`) ?? []), ...(s.fps ?? [])]);
    const size = value("size");
    if (size && !sizes.has(size)) sizes.set(size, []);
    const area = (s) => s.split("x").reduce((a, b) => a * Number(b), 1);
    fields.push(choice("mode-size", "setup.size", [...sizes.keys()].sort((a, b) => area(a) - area(b)).map((s) => [s, s.replace("x", "×")]), size, (v) => set({ size: v })));
    const rates = new Set([...(sizes.get(size) ?? []).map(String), String(value("fps"))]);
    fields.push(choice("mode-fps", "setup.fps", [...rates].map(Number).sort((a, b) => a - b).map((n) => [String(n), number(n, n % 1 ? 1 : 0)]), value("fps"), (v) => set({ fps: Number(v) })));
  } else {
    fields.push(el("p", { class: "quiet", t: "setup.nodevice" }));
  }
  fields.push(choice("mode-rotate", "setup.rotate", [0, 90, 180, 270].map((n) => [String(n), `${n}°`]), value("rotate") || 0, (v) => set({ rotate: Number(v) })));
  const mirror = el("input", { type: "checkbox", id: "mode-mirror" });
  mirror.checked = String(value("mirror")) === "true";
  mirror.addEventListener("change", () => set({ mirror: mirror.checked }));
  fields.push(el("div", { class: "field" }, el("label", { for: "mode-mirror" }, mirror, el("span", { t: "setup.mirror" }))));
  fill(modeBox, [device, [...pending], base], () => fields);
}

// ---- controls

function controlForm() {
  fill(controlsBox, [device?.controls, [...pending].filter(([k]) => k.startsWith("controls."))], () => {
    const usable = (device?.controls ?? []).filter((c) => c.type !== "button");
    if (usable.length === 0) return [el("p", { class: "quiet", t: device ? "setup.nocontrols" : "setup.nodevice" })];
    return [el("p", { class: "quiet", t: "setup.controlshow" }), ...usable.map(control)];
  });
}

function control(c) {
  const id = `control-${c.name}`;
  const off = c.inactive || c.read_only;
  const name = el("label", { for: id }, el("span", { v: c.name.replaceAll("_", " "), lang: "en" }));
  const why = off ? el("span", { class: "quiet", t: c.read_only ? "setup.readonly" : "setup.inactive" }) : null;
  let input;
  const send = (v) => adjust(c.name, String(v));
  if (c.items?.length) {
    input = el("select", { id, disabled: off }, ...c.items.map((i) => el("option", { value: i.text, v: i.text, lang: "en" })));
    input.value = c.items.find((i) => i.value === c.value)?.text ?? "";
    input.addEventListener("change", () => send(input.value));
  } else if (c.type === "boolean") {
    input = el("input", { id, type: "checkbox", disabled: off });
    input.checked = c.value !== 0;
    input.addEventListener("change", () => send(input.checked ? 1 : 0));
  } else {
    input = el("input", { id, type: "range", min: c.min, max: c.max, step: c.step || 1, disabled: off });
    input.value = c.value;
    const shown = el("output", { for: id, v: number(c.value) });
    input.addEventListener("input", () => put(shown, number(Number(input.value))));
    input.addEventListener("change", () => send(input.value));
    return el("div", { class: "field" }, el("div", { class: "row" }, name, shown, why), input);
  }
  return el("div", { class: "field" }, name, input, why);
}

async function adjust(name, v) {
  await attempt(outcomeBox, async () => {
    device = await ask("POST", `api/cameras/${encodeURIComponent(camera)}/controls`, { controls: { [name]: v } });
    const c = device.controls.find((d) => d.name === name);
    pending.set(`controls.${name}`, c?.items?.length || c?.type === "boolean" ? v : Number(v));
  });
  render();
}

// ---- region

const sides = ["x", "y", "width", "height"];
const overlay = el("div", { id: "region", role: "application", tabindex: "0", label: "region.overlay", hidden: true });
const rectangle = el("div", { class: "rectangle" });
overlay.append(rectangle);
byID("stage").append(overlay);
let region = null; // while it is drawn: shares of the whole picture

function regionForm() {
  const whole = sides.every((s) => value(`region.${s}`) === "");
  fill(regionBox, [region === null, region, whole, sides.map((s) => value(`region.${s}`))], () => region === null ? [
    el("p", whole ? { t: "region.whole" } : { t: "region.is", args: Object.fromEntries(sides.map((s) => [s, number(Number(value(`region.${s}`)) * 100)])) }),
    el("div", { class: "buttons" },
      el("button", { type: "button", id: "region-draw", t: "region.draw", on: { click: draw } }),
      whole ? null : el("button", { type: "button", id: "region-clear", t: "region.clear", on: { click: () => setRegion(null) } })),
  ] : [
    el("p", { t: "region.how" }),
    el("div", { class: "four" }, ...sides.map((s) => {
      const input = el("input", { type: "number", id: `region-${s}`, min: s === "x" || s === "y" ? 0 : least * 100, max: 100, step: 1 });
      input.value = Math.round(region[s] * 100);
      input.addEventListener("change", () => { region = fit({ ...region, [s]: Number(input.value) / 100 }); place(); regionForm(); });
      return el("div", { class: "field" }, el("label", { for: `region-${s}`, t: `region.${s}` }), input);
    })),
    el("div", { class: "buttons" },
      el("button", { type: "button", class: "main", id: "region-try", t: "region.try", on: { click: () => { const r = region; drawing(false); setRegion(r); } } }),
      el("button", { type: "button", t: "change.cancel", on: { click: () => { drawing(false); set({}); } } })),
  ]);
}

/** fit keeps a region inside the picture, and large enough. */
function fit(r) {
  const clamp = (v, low, high) => Math.min(high, Math.max(low, Number.isFinite(v) ? v : low));
  const round = (v) => Math.round(v * 100) / 100;
  const width = clamp(round(r.width), least, 1);
  const height = clamp(round(r.height), least, 1);
  return { x: clamp(round(r.x), 0, round(1 - width)), y: clamp(round(r.y), 0, round(1 - height)), width, height };
}

/** draw shows the whole picture, on which the region is drawn. */
async function draw() {
  const now = Object.fromEntries(sides.map((s) => [s, Number(value(`region.${s}`))]));
  const start = sides.some((s) => value(`region.${s}`) !== "") ? now : { x: 0.2, y: 0.1, width: 0.6, height: 0.8 };
  const ok = await attempt(outcomeBox, async () => {
    tried = true;
    const others = listed().filter((c) => c.path[0] !== "region");
    await ask("POST", `api/cameras/${encodeURIComponent(camera)}/trial`, { changes: [...others, { path: ["region"], value: null }] });
    return true;
  });
  if (!ok) return;
  region = fit(start);
  drawing(true);
  regionForm();
  overlay.focus();
}

function drawing(is) {
  overlay.hidden = !is;
  if (!is) region = null;
  else place();
}

function place() {
  for (const [s, p] of [["x", "left"], ["y", "top"], ["width", "width"], ["height", "height"]]) rectangle.style[p] = `${region[s] * 100}%`;
}

async function setRegion(r) {
  if (r === null) {
    for (const s of sides) pending.delete(`region.${s}`);
    if (sides.some((s) => base[`region.${s}`] !== undefined)) pending.set("region", "");
    await set({});
    return;
  }
  pending.delete("region");
  await set(Object.fromEntries(sides.map((s) => [`region.${s}`, r[s]])));
}

let drag = null;
overlay.addEventListener("pointerdown", (e) => {
  const at = where(e);
  const inside = at.x > region.x && at.x < region.x + region.width && at.y > region.y && at.y < region.y + region.height && e.target === rectangle;
  drag = inside ? { move: at, from: region } : { corner: at };
  overlay.setPointerCapture(e.pointerId);
  e.preventDefault();
  overlay.focus();
});
overlay.addEventListener("pointermove", (e) => {
  if (!drag) return;
  const at = where(e);
  if (drag.move) region = fit({ ...drag.from, x: drag.from.x + at.x - drag.move.x, y: drag.from.y + at.y - drag.move.y });
  else region = fit({ x: Math.min(at.x, drag.corner.x), y: Math.min(at.y, drag.corner.y), width: Math.abs(at.x - drag.corner.x), height: Math.abs(at.y - drag.corner.y) });
  place();
});
overlay.addEventListener("pointerup", () => { drag = null; regionForm(); });
overlay.addEventListener("pointercancel", () => { drag = null; regionForm(); });
overlay.addEventListener("keydown", (e) => {
  const step = { ArrowLeft: [-0.01, 0], ArrowRight: [0.01, 0], ArrowUp: [0, -0.01], ArrowDown: [0, 0.01] }[e.key];
  if (!step) return;
  e.preventDefault();
  region = fit(e.shiftKey ? { ...region, width: region.width + step[0], height: region.height + step[1] } : { ...region, x: region.x + step[0], y: region.y + step[1] });
  place();
  regionForm();
});

function where(e) {
  const box = overlay.getBoundingClientRect();
  return { x: Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)), y: Math.min(1, Math.max(0, (e.clientY - box.top) / box.height)) };
}
