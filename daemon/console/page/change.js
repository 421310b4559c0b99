// Changes of the configuration: shown as the lines they become, and written only after somebody has said yes. And the file itself.
import { byID, el, put, fill } from "./dom.js";
import { say, t } from "./texts.js";
import { ask } from "./api.js";
import { panelBody, problem } from "./show.js";

let may = false; // who is logged in may change things
let announce = () => {};

/** words are an error as a person reads it. */
export function words(err) {
  if (err.status === 0) return [el("span", { t: "error.nobody" })];
  return [el("span", { v: err.message, lang: "en" }), ...(err.hint ? [" ", el("b", { v: `→ ${err.hint}`, lang: "en" })] : [])];
}

/** attempt does what may fail, says in a box why it did, and holds the button meanwhile. */
export async function attempt(box, f, button) {
  box.replaceChildren();
  if (button) button.disabled = true;
  try {
    return await f();
  } catch (err) {
    if (err.status === undefined) throw err; // a fault of this page
    box.replaceChildren(el("p", { class: "wrong" }, ...words(err)));
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}

export const result = () => el("div", { role: "status", class: "result" });

// ---- the question before anything is written

const difference = el("pre", { tabindex: "0", label: "change.difference", role: "group" });
const where = el("p", { class: "quiet" });
const trouble = result();
const yes = el("button", { type: "button", class: "main", t: "change.write" });
const no = el("button", { type: "button", t: "change.cancel" });
const dialog = el("dialog", { "aria-labelledby": "change-title" }, el("h2", { id: "change-title", t: "change.title" }), where, difference, trouble, el("div", { class: "buttons" }, yes, no));
document.body.append(dialog);
let file = null; // the configuration, as it was asked for last
let proposed = null;
let after = null;
no.addEventListener("click", () => dialog.close());
yes.addEventListener("click", () => attempt(trouble, write, yes));

/** propose shows what changes, or a whole text, would be in the file, and asks whether to write it. done hears what became of it. */
export async function propose(what, done) {
  const p = await ask("POST", "api/config/preview", what);
  if (p.problems.length) return p.problems;
  if (p.difference === "" || p.text === file?.text) return [];
  file = await ask("GET", "api/config");
  proposed = p;
  after = done;
  lines(difference, p.difference);
  fill(where, [file.path, file.writable, file.why, file.do], () => [el("span", { t: file.writable ? "change.to" : "change.notto", args: { path: file.path } }),
    ...(file.writable ? [] : [" ", el("b", { v: `→ ${file.do}`, lang: "en" })])]);
  trouble.replaceChildren();
  dialog.showModal();
  no.focus();
  return [];
}

async function write() {
  const w = await ask("POST", "api/config", { text: proposed.text, digest: proposed.digest });
  dialog.close();
  announce(w.written ? "change.written" : "change.waits");
  after?.(w);
  refresh();
}

/** lines shows a difference, with what goes and comes told by sign and colour. */
function lines(pre, text) {
  pre.replaceChildren(...text.replace(/\n$/, "").split("\n").map((l) => el("span", { class: l.startsWith("+") ? "plus" : l.startsWith("-") ? "minus" : "same", v: l })));
}

/** outcome is what became of a change, in words. */
export function outcome(box, w) {
  box.replaceChildren(...(w.written ? [el("p", { t: "change.written" })] : [el("p", { t: "change.waits" }), problem(w.why, w.do)]));
}

/** problems are those of a configuration, with their places. */
export function problems(box, list) {
  box.replaceChildren(...list.map((p) => problem(p.line ? `${p.line}:${p.column}: ${p.message}` : p.message, p.hint)));
}

// ---- the file

const body = panelBody("config");
const about = el("p", { class: "quiet" });
const editor = el("textarea", { id: "config-text", rows: "16", spellcheck: "false", autocomplete: "off", wrap: "off" });
const configResult = result();
const readResult = result();
const preview = el("button", { type: "button", class: "main", t: "config.preview", on: { click: (e) => attempt(configResult, look, e.currentTarget) } });
const again = el("button", { type: "button", t: "config.again", on: { click: () => refresh(true) } });
const effective = el("pre", { tabindex: "0", role: "group", label: "config.effective" });
const denied = el("p", { class: "quiet", t: "denied" });
const admin = el("div", { class: "card form" }, el("label", { for: "config-text", t: "config.file" }), about, editor, el("div", { class: "buttons" }, preview, again), readResult, configResult,
  el("details", { "data-key": "effective" }, el("summary", { t: "config.effective" }), effective));
body.append(denied, admin);

async function look() {
  const list = await propose({ text: editor.value }, (w) => outcome(configResult, w));
  if (list.length) problems(configResult, list);
  else if (!dialog.open) configResult.replaceChildren(el("p", { t: "config.same" }));
}

/** refresh reads the file again; what somebody has written here stays, unless they ask for it. */
async function refresh(force = false) {
  if (!may) return null;
  return attempt(readResult, async () => {
    const f = await ask("GET", "api/config");
    const touched = file !== null && editor.value !== file.text && editor.value !== "";
    if (!touched || force) editor.value = f.text;
    file = f;
    put(effective, f.effective);
    say(about, f.writable ? "config.at" : "config.atnot", { path: f.path });
    return f;
  });
}

/** settings are a camera's keys in effect, as livenessd writes them: "region.x" for what is in a section. */
export async function settings(camera) {
  const { effective } = await ask("GET", "api/config");
  const of = {};
  let within = 0;
  let section = "";
  for (const line of effective.split("\n")) {
    const m = line.match(/^( *)("?)([^":]+)\2:(?: (.*))?$/);
    if (!m) continue;
    const [, indent, , key, value] = m;
    const depth = indent.length / 2;
    if (depth === 0) within = key === "cameras" ? 1 : 0;
    else if (depth === 1 && within) within = key === camera ? 2 : 1;
    else if (within === 2 && depth === 2) {
      section = key;
      if (value !== undefined) of[key] = value;
    } else if (within === 2 && depth === 3) of[`${section}.${key}`] = value;
  }
  return of;
}

/** role is who is logged in; tell is how those who don't see the page hear of something. */
export function begin(role, tell) {
  may = role === "admin";
  announce = tell;
  denied.hidden = may;
  admin.hidden = !may;
  file = null;
  editor.value = "";
  if (may) refresh();
}
export const allowed = () => may;
byID("logout").addEventListener("click", () => dialog.close());
