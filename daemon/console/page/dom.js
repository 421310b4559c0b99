// Builds elements. Texts of the page come from the table by their key, everything else is put in as text and marked as a value: nothing that
// came from the daemon or a camera is ever read as HTML.
import { say, label, current } from "./texts.js";

export const byID = (id) => document.getElementById(id);

/** el makes an element with attributes, a text (t) or a value (v), and what it holds. */
export function el(tag, options = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(options)) {
    if (v === undefined || v === null || v === false) continue;
    if (k === "t") say(e, v, options.args);
    else if (k === "v") put(e, v);
    else if (k === "label") label(e, v, options.labelArgs);
    else if (k === "args" || k === "labelArgs") continue;
    else if (k === "on") for (const [name, f] of Object.entries(v)) e.addEventListener(name, f);
    else e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

/** put sets a value that isn't the page's own text. lang says whose language it is, where it isn't the page's. */
export function put(e, value, lang) {
  const text = value === undefined || value === null || value === "" ? "–" : String(value);
  if (e.dataset.v === undefined) e.dataset.v = "";
  delete e.dataset.t;
  if (e.textContent !== text) e.textContent = text;
  if (lang) e.lang = lang;
}

/** fill replaces what an element holds, unless it would be the same again: focus and reading stay where they are. */
const held = new WeakMap();
export function fill(e, same, build) {
  const key = JSON.stringify([same, current()]);
  if (held.get(e) === key) return;
  held.set(e, key);
  const at = document.activeElement;
  const index = at && e.contains(at) ? [...e.querySelectorAll(focusable)].indexOf(at) : -1;
  const open = new Set([...e.querySelectorAll("details[open][data-key]")].map((d) => d.dataset.key));
  e.replaceChildren(...build());
  for (const d of e.querySelectorAll("details[data-key]")) d.open = open.has(d.dataset.key);
  if (index >= 0) e.querySelectorAll(focusable)[index]?.focus();
}

const focusable = "a[href], button, summary, input, select, textarea, [tabindex]";

const shapes = {
  live: "M5 13l4.5 4.5L19 7.5",
  spoof: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  undecided: "M8.5 9.2a3.5 3.5 0 1 1 5 3.1c-1 .5-1.5 1.1-1.5 2.2M12 18.2v.1",
  ok: "M5 13l4.5 4.5L19 7.5",
  warning: "M12 6.5v7M12 17.4v.1",
  failure: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  skipped: "M7 12h10",
  wait: "M12 6.5V12l3.5 2.5",
};

/** icon is a drawing beside a word, which says the same to whoever doesn't see it. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const set = (e, a) => Object.entries(a).forEach(([k, v]) => e.setAttribute(k, v));
  set(svg, { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" });
  const ring = document.createElementNS(svg.namespaceURI, "circle");
  set(ring, { cx: 12, cy: 12, r: 10.5, class: "ring" });
  const path = document.createElementNS(svg.namespaceURI, "path");
  set(path, { d: shapes[name] ?? shapes.undecided });
  svg.append(ring, path);
  return svg;
}

/** badge is an icon with its word. */
export const badge = (kind, key, args) => el("span", { class: `badge ${kind}` }, icon(kind), el("span", { t: key, args }));

/** facts is a list of names and values, whose values can be changed. */
export function facts(...keys) {
  const dl = el("dl", { class: "facts" });
  const of = {};
  for (const k of keys) {
    const dd = el("dd", { v: "" });
    of[k] = dd;
    dl.append(el("div", {}, el("dt", { t: k }), dd));
  }
  return { dl, set: (k, v, lang) => put(of[k], v, lang), of };
}
