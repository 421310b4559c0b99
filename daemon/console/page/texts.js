// All texts of the page, in all its languages, are in texts.json: one key, a text for each language, with {names} for what is put in.
let table = {};
let language = "en";
const args = new WeakMap();
const listeners = [];

export const languages = { en: "English", de: "Deutsch" };
export const current = () => language;

/** load reads the table, and takes the language that was chosen here before, or else the browser's. */
export async function load() {
  const answer = await fetch("texts.json");
  table = await answer.json();
  let chosen = null;
  try { chosen = localStorage.getItem("language"); } catch { /* a browser that keeps nothing */ }
  language = [chosen, ...navigator.languages].map((l) => (l ?? "").slice(0, 2)).find((l) => languages[l]) ?? "en";
  translate();
}

/** t is the text of a key. One that isn't there is shown as it is, so that somebody notices. */
export function t(key, a = {}) {
  const text = table[key]?.[language];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in a ? String(a[name]) : all));
}

/** has tells whether there is a text. */
export const has = (key) => table[key] !== undefined;

/** say gives an element a text, which changes with the language. */
export function say(e, key, a) {
  if (a) args.set(e, a);
  else args.delete(e);
  e.dataset.t = key;
  delete e.dataset.v;
  e.removeAttribute("lang");
  const text = t(key, a);
  if (e.textContent !== text) e.textContent = text;
}

/** label gives it a name for those who don't see it. */
const labelArgs = new WeakMap();
export function label(e, key, a) {
  if (a) labelArgs.set(e, a);
  e.dataset.label = key;
  e.setAttribute("aria-label", t(key, a));
}

/** choose changes the language. */
export function choose(l) {
  language = languages[l] ? l : "en";
  try { localStorage.setItem("language", language); } catch { /* then not */ }
  translate();
  for (const f of listeners) f();
}

/** onLanguage is told when values have to be written anew. */
export const onLanguage = (f) => listeners.push(f);

function translate() {
  document.documentElement.lang = language;
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t, args.get(e));
  for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", t(e.dataset.label, labelArgs.get(e)));
}

// Numbers and times as people write them.
export const number = (n, digits = 0) => n === null || n === undefined ? "–" : new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n);
export const clock = (at) => at ? new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(new Date(at)) : "–";
export const day = (at) => at ? new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" }).format(new Date(at)) : "–";

/** ago is how long ago something was, by the device's own clock. */
export function ago(at, now) {
  if (!at) return "–";
  const s = Math.max(0, Math.round((new Date(now) - new Date(at)) / 1000));
  const of = (n, unit) => new Intl.RelativeTimeFormat(language, { numeric: "always", style: "short" }).format(-n, unit);
  if (s < 120) return of(s, "second");
  if (s < 7200) return of(Math.round(s / 60), "minute");
  if (s < 172800) return of(Math.round(s / 3600), "hour");
  return of(Math.round(s / 86400), "day");
}
