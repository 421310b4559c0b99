// The technician's page: who is logged in, what happens at the device, and where it is shown.
import { byID, el, put, fill, badge } from "./dom.js";
import { load, choose, current, languages, onLanguage, say, t, has, clock } from "./texts.js";
import { ask, events, Failure } from "./api.js";
import * as picture from "./picture.js";
import * as show from "./show.js";
import * as trial from "./trial.js";
import * as change from "./change.js";
import * as setup from "./setup.js";
import * as doctor from "./doctor.js";

const retry = [500, 1000, 2000, 4000, 5000]; // milliseconds before each further attempt
let stop = null; // ends the streams
let role = null;
let boot = null;
let state = null;
let away = null; // since when the device doesn't answer
let chosen = null; // the camera that was picked
let quiet = true; // what was before this page was opened isn't news
let alarmed = "";

function languageSwitch() {
  const s = byID("language");
  for (const [code, name] of Object.entries(languages)) s.append(el("option", { value: code, v: name, lang: code }));
  s.value = current();
  s.addEventListener("change", () => choose(s.value));
}

/** enter logs in with the link behind the # of the address, where there is one, or goes on as who is logged in already. */
async function enter() {
  const link = new URLSearchParams(location.hash.slice(1)).get("link");
  if (link) history.replaceState(null, "", location.pathname);
  try {
    begin(await ask(link ? "POST" : "GET", "api/session", link ? { link } : undefined));
  } catch (e) {
    if (link && e.status === 401) {
      try {
        begin(await ask("GET", "api/session")); // the link is used up, but whoever used it may be this browser
        return;
      } catch { /* then not */ }
    }
    leave(link || e.status !== 401 ? e : null);
  }
}

async function logIn(e) {
  e.preventDefault();
  const field = byID("token");
  try {
    const who = await ask("POST", "api/session", { token: field.value });
    field.value = "";
    begin(who);
  } catch (err) {
    wrong(err);
    field.focus();
    field.select();
  }
}

async function logOut() {
  try {
    await ask("DELETE", "api/session");
  } catch { /* it ends by itself */ }
  leave(null);
  byID("token").focus();
}

function wrong(err) {
  const p = byID("login-wrong");
  p.replaceChildren();
  if (err) p.append(...change.words(err));
}

function begin(who) {
  role = who.role;
  document.body.dataset.role = role;
  byID("login").hidden = true;
  byID("work").hidden = false;
  byID("logout").hidden = false;
  wrong(null);
  change.begin(role, announce);
  setup.begin();
  trial.begin();
  doctor.begin();
  stop?.abort();
  stop = new AbortController();
  follow(stop.signal);
}

/** leave shows the way in. */
function leave(err) {
  stop?.abort();
  stop = null;
  role = state = boot = away = null;
  show.forget();
  picture.watch(null);
  alarm(null);
  byID("work").hidden = true;
  byID("logout").hidden = true;
  byID("phase").hidden = true;
  byID("login").hidden = false;
  byID("device").textContent = "";
  wrong(err);
}

/** follow hears what happens, for as long as somebody is logged in. */
async function follow(signal) {
  for (let failed = 0; !signal.aborted;) {
    let why = null;
    try {
      for await (const e of events("api/events", signal)) {
        if (away) announce("connection.back");
        away = null;
        failed = 0;
        alarm(null);
        if (e.kind === "state") take(e.document);
        else if (e.kind === "presentation") presented(e.document);
        else if (e.kind === "sight") show.seen(e.document);
      }
    } catch (e) {
      why = e;
      if (!(e instanceof Failure)) throw e;
    }
    if (signal.aborted) return;
    if (why?.status === 401) {
      leave(why);
      return;
    }
    away ??= new Date();
    if (why?.status === 503) alarm(change.words(why), why.message);
    else alarm([el("strong", { t: "connection.lost", args: { at: clock(away) } }), " ", el("span", { t: "connection.again" })], "lost");
    byID("work").classList.add("stale");
    fill(byID("phase"), "away", () => [badge("failure", "phase.away")]);
    picture.watch(null);
    await new Promise((done) => setTimeout(done, retry[Math.min(failed++, retry.length - 1)]));
  }
}

function take(s) {
  byID("work").classList.remove("stale");
  if (boot !== null && s.started !== boot) show.forget();
  boot = s.started;
  state = s;
  render(s);
  look();
}

function render(s) {
  put(byID("device"), s.device);
  document.title = `${s.device} – livenessd`;
  const phase = byID("phase");
  const kind = s.stuck.length ? "failure" : s.phase === "ready" ? "ok" : "wait";
  phase.hidden = false;
  fill(phase, [kind, s.phase], () => [badge(kind, s.stuck.length ? "phase.stuck" : `phase.${s.phase}`)]);
  cameraPicker(s);
  const c = s.cameras.find((c) => c.name === picture.watching());
  picture.state(c ?? null);
  show.cameras(s);
  show.device(s);
  trial.state(s);
  setup.of(c ?? null);
}

function cameraPicker(s) {
  const names = s.cameras.map((c) => c.name);
  byID("pick").hidden = names.length < 2;
  fill(byID("camera"), names, () => names.map((n) => el("option", { value: n, v: n })));
  if (chosen && names.includes(chosen)) byID("camera").value = chosen;
}

/** look shows the camera that was picked, while somebody sees the page. */
function look() {
  const names = state?.cameras.map((c) => c.name) ?? [];
  const first = state?.cameras.find((c) => c.role !== "ir")?.name ?? names[0] ?? null;
  picture.watch(document.hidden || !stop ? null : names.includes(chosen) ? chosen : first);
}

function presented(p) {
  if (!show.presentation(p)) return;
  const v = p.verdict;
  trial.judged(v);
  setTimeout(() => further(p.number), 2000);
  if (quiet) return;
  announce("announce.verdict", { verdict: t(`verdict.${v.verdict}`), why: v.code && has(`code.${v.code}`) ? `, ${t(`code.${v.code}`)}` : "" });
}

/** further asks how a verdict went on: what came after the event. */
async function further(number) {
  if (!stop) return;
  try {
    const { presentations } = await ask("GET", `api/presentations?after=${number - 1}`);
    for (const p of presentations) show.complete(p);
  } catch { /* it is asked for again with the next one */ }
}

/** announce tells those who don't see the page. */
export function announce(key, args) {
  say(byID("said"), key, args);
}

/** alarm says what is wrong with the connection, at the top of the page. */
function alarm(children, key = "") {
  const same = children === null ? "" : `${key} ${away?.getTime()}`;
  if (same === alarmed) return;
  alarmed = same;
  byID("alert").replaceChildren(...(children ?? []));
}

await load();
languageSwitch();
picture.onSight(show.seen);
byID("login-form").addEventListener("submit", logIn);
byID("logout").addEventListener("click", logOut);
byID("camera").addEventListener("change", (e) => { chosen = e.target.value; look(); });
document.addEventListener("visibilitychange", look);
onLanguage(() => { if (state) render(state); show.again(); });
await enter();
setTimeout(() => { quiet = false; }, 3000);
