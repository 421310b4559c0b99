// The picture with what was thought of it, and the evidence as it fills.
import { byID, el, fill, badge, icon } from "./dom.js";
import { t, has, number, say, label } from "./texts.js";
import { pictures, Failure } from "./api.js";

const canvas = byID("canvas");
const stage = byID("stage");
const pen = canvas.getContext("2d");
const waitBefore = 1500; // milliseconds before a stream that ended is asked for again
const stale = 2500; // milliseconds without a frame after which the last one isn't shown as if it were now

let camera = null;
let stop = null;
let last = 0;
let sight = null;
let why = null; // {state, error, hint} of the camera, for when there is no picture
let times = [];
const followers = [];

/** onSight is told what was thought of each frame that is shown. */
export const onSight = (f) => followers.push(f);
export const newest = () => sight;

/** watch shows a camera, null for none. */
export function watch(name) {
  if (name === camera) return;
  stop?.abort();
  camera = name;
  sight = null;
  times = [];
  last = 0;
  why = null;
  blank(true);
  if (name !== null) {
    stop = new AbortController();
    follow(name, stop.signal);
  }
}

/** watching is the camera that is shown. */
export const watching = () => camera;

async function follow(name, signal) {
  while (!signal.aborted) {
    try {
      for await (const p of pictures(name, signal)) {
        if (signal.aborted) return;
        await show(p);
      }
    } catch (e) {
      if (e instanceof Failure && e.status === 503) say(byID("hint"), "picture.full");
      else if (!(e instanceof Failure)) console.warn("picture:", e.message);
    }
    await new Promise((done) => setTimeout(done, waitBefore));
  }
}

async function show({ jpeg, sight: s }) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(jpeg);
  } catch {
    return; // damaged on its way through the camera: the next one comes
  }
  if (s.camera !== camera) return;
  sight = s;
  last = performance.now();
  times = [...times.slice(-20), last];
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    document.documentElement.style.setProperty("--ratio", bitmap.width / bitmap.height);
  }
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  boxes(s);
  blank(false);
  words(s);
  evidence(s.evidence, s);
  for (const f of followers) f(s);
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** boxes draws the faces, in the picture's own pixels, with lines and letters as thick as they are elsewhere on the page. */
function boxes(s) {
  const k = canvas.width / s.width;
  const unit = canvas.width / (canvas.clientWidth || canvas.width);
  s.faces.forEach((f, i) => {
    const main = i === s.main;
    const said = main ? s.evidence?.said : "";
    const [x, y, w, h] = [f.x * k, f.y * k, f.width * k, f.height * k];
    pen.lineWidth = (main ? 3 : 2) * unit;
    pen.setLineDash(main ? [] : [6 * unit, 5 * unit]);
    pen.strokeStyle = "#000a";
    pen.strokeRect(x - unit, y - unit, w + 2 * unit, h + 2 * unit);
    pen.strokeStyle = said ? colour(`--on-picture-${said}`) : main ? "#ffffff" : "#c8d0d8";
    pen.strokeRect(x, y, w, h);
    if (!main) return;
    const text = [s.evidence?.track ? t("track.short", { n: s.evidence.track }) : "", said ? t(`verdict.${said}`) : "", s.code ? t(`code.${s.code}`) : s.score === null ? "" : number(s.score, 2)]
      .filter(Boolean).join(" · ");
    tag(text, x, y, h, unit);
  });
}

function tag(text, x, y, h, unit) {
  const size = 14 * unit;
  pen.setLineDash([]);
  pen.font = `600 ${size}px system-ui, sans-serif`;
  const width = pen.measureText(text).width + size;
  const height = size * 1.6;
  const left = Math.max(0, Math.min(x, canvas.width - width));
  const top = y - height - 3 * unit >= 0 ? y - height - 3 * unit : Math.min(y + h + 3 * unit, canvas.height - height);
  pen.fillStyle = "#000c";
  pen.fillRect(left, top, width, height);
  pen.fillStyle = "#fff";
  pen.textBaseline = "middle";
  pen.fillText(text, left + size / 2, top + height / 2);
}

/** words says beside the picture what to do, or why there is none. */
function words(s) {
  const hint = byID("hint");
  label(canvas, s.faces.length === 0 ? "picture.nobody" : s.faces.length === 1 ? "picture.one" : "picture.many", { camera: s.camera, n: s.faces.length });
  const gate = s.code || (s.faces.length === 0 ? "NO_FACES_DETECTED" : "");
  fill(hint, [gate], () => gate
    ? [icon("warning"), el("span", {}, el("strong", { t: has(`do.${gate}`) ? `do.${gate}` : `code.${gate}` }), " ", el("code", { class: "quiet", v: gate }))]
    : [icon("ok"), el("span", { t: "gate.passed" })]);
  hint.dataset.kind = gate ? "warning" : "ok";
  const rate = byID("rate");
  const span = times.at(-1) - times[0];
  say(rate, "picture.rate", { shown: number(span > 0 ? (times.length - 1) * 1000 / span : 0, 1), ms: number(s.times_ms.total, 1) });
}

/** state says how the camera is, for when no frame comes. */
export function state(c) {
  why = c;
  if (performance.now() - last > stale) blank(true);
}

function blank(is) {
  const note = byID("nopicture");
  stage.classList.toggle("stale", is);
  note.hidden = !is;
  if (!is) return;
  sight = null;
  label(canvas, "picture.none");
  fill(note, [why?.state, why?.error, why?.hint], () => [
    el("strong", { t: why && why.state !== "streaming" ? `camera.${why.state}` : "picture.waiting" }),
    ...(why?.error && why.state !== "streaming" ? [el("span", { v: why.error, lang: "en" })] : []),
    ...(why?.hint && why.state !== "streaming" ? [el("span", { v: `→ ${why.hint}`, lang: "en" })] : []),
  ]);
  fill(byID("hint"), "", () => []);
  byID("hint").dataset.kind = "";
  byID("rate").textContent = "";
  evidence(null);
}

const meter = gauge();
const needs = el("ul", { class: "needs" });
const look = el("ul", { class: "looks" });
byID("evidence-body").append(meter.box, needs, look);

function gauge() {
  const left = el("span", { class: "fill spoof" });
  const right = el("span", { class: "fill live" });
  const bar = el("div", { class: "gauge", role: "meter", label: "evidence.sum" }, left, right, el("span", { class: "middle" }));
  const words = el("p", { class: "standing" });
  const ends = el("p", { class: "ends" });
  return { box: el("div", {}, words, bar, ends), bar, left, right, words, ends };
}

/** evidence shows where the presentation stands. */
function evidence(e, s) {
  const someone = e && e.track > 0;
  const sum = someone ? e.sum : 0;
  const toLive = e ? Math.max(0, Math.min(1, sum / e.live_bound)) : 0;
  const toSpoof = e ? Math.max(0, Math.min(1, sum / e.spoof_bound)) : 0;
  meter.right.style.width = `${toLive * 50}%`;
  meter.left.style.width = `${toSpoof * 50}%`;
  meter.bar.setAttribute("aria-valuemin", e ? e.spoof_bound.toFixed(2) : -1);
  meter.bar.setAttribute("aria-valuemax", e ? e.live_bound.toFixed(2) : 1);
  meter.bar.setAttribute("aria-valuenow", e ? Math.min(e.live_bound, Math.max(e.spoof_bound, sum)).toFixed(2) : 0);
  meter.bar.setAttribute("aria-valuetext", e ? t("evidence.text", { sum: number(sum, 2), live: number(e.live_bound, 2), spoof: number(e.spoof_bound, 2) }) : t("evidence.unknown"));
  fill(meter.words, [someone, e === null, e?.said, someone && e.track, e?.asked], () => !someone ? [badge("wait", e ? "evidence.nobody" : "evidence.unknown")] : [
    e.said ? badge(e.said, `verdict.${e.said}`) : badge("wait", "evidence.fills"),
    el("span", { class: "quiet", t: e.asked ? "track.asked" : "track", args: { n: e.track } }),
  ]);
  fill(meter.ends, [e?.live_bound, e?.spoof_bound], () => [
    el("span", { t: "evidence.spoof", args: { at: e ? number(e.spoof_bound, 2) : "–" } }), el("span", { t: "evidence.live", args: { at: e ? number(e.live_bound, 2) : "–" } }),
  ]);
  const has = (is) => icon(is ? "ok" : "wait");
  const need = e ? [e.frames, e.min_frames, e.span_ms, e.min_time_ms, e.score, e.live_at, e.spoof_at] : null;
  fill(needs, [need], () => !e ? [] : [
    el("li", {}, has(e.frames >= e.min_frames), el("span", { t: "need.frames", args: { n: number(e.frames), of: number(e.min_frames) } })),
    el("li", {}, has(e.span_ms >= e.min_time_ms), el("span", { t: "need.time", args: { n: number(e.span_ms), of: number(e.min_time_ms) } })),
    el("li", {}, has(e.score !== null && (e.score >= e.live_at || e.score <= e.spoof_at)),
      el("span", { t: "need.score", args: { n: number(e.score, 2), live: number(e.live_at, 2), spoof: number(e.spoof_at, 2) } })),
  ]);
  const l = s?.look;
  fill(look, [l], () => !l ? [] : [
    ["look.luma", number(l.luma)], ["look.dark", number(l.dark * 100) + " %"], ["look.bright", number(l.bright * 100) + " %"], ["look.sharp", number(l.sharp, 2)],
    ...(l.yaw === null ? [] : [["look.yaw", number(l.yaw) + "°"], ["look.roll", number(l.roll) + "°"]]),
  ].map(([k, v]) => el("li", {}, el("span", { t: k }), " ", el("b", { v }))));
}
