// What the daemon is asked, as docs/console-api.md describes it.

/** Failure is an answer that isn't what was asked for: in words, with what to do about it. */
export class Failure extends Error {
  constructor(status, error, hint = "") {
    super(error);
    this.status = status;
    this.hint = hint;
  }
}

async function refused(answer) {
  let d = {};
  try { d = await answer.json(); } catch { /* no document: the status must do */ }
  return new Failure(answer.status, d.error ?? `${answer.status} ${answer.statusText}`, d.hint);
}

/** ask sends a request and gives its document, null where there is none. */
export async function ask(method, path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Failure(0, ""); // nobody answered
  }
  if (!answer.ok) throw await refused(answer);
  if (answer.status === 204) return null;
  return answer.json();
}

/** download saves what a request makes, under the name that comes with it. */
export async function download(path) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST" });
  } catch {
    throw new Failure(0, "");
  }
  if (!answer.ok) throw await refused(answer);
  const name = (answer.headers.get("Content-Disposition") ?? "").match(/filename="([^"]+)"/)?.[1] ?? "livenessd.tar.gz";
  const at = URL.createObjectURL(await answer.blob());
  const a = document.createElement("a");
  a.href = at;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(at), 60000);
  return name;
}

/** open begins a stream. quiet is after how many milliseconds without a byte it is taken for dead, 0 for never. */
async function* open(path, signal, quiet) {
  const stop = new AbortController();
  const end = () => stop.abort();
  signal.addEventListener("abort", end, { once: true });
  let timer;
  const alive = () => {
    clearTimeout(timer);
    if (quiet) timer = setTimeout(end, quiet);
  };
  try {
    alive();
    const answer = await fetch(path, { signal: stop.signal });
    if (!answer.ok) throw await refused(answer);
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      yield value;
    }
  } catch (e) {
    if (e instanceof Failure) throw e;
    if (!signal.aborted) throw new Failure(0, "");
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    stop.abort();
  }
}

/** events gives what happens, as {kind, document}. */
export async function* events(path, signal) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of open(path, signal, 5000)) {
    rest += decoder.decode(bytes, { stream: true });
    for (let at; (at = rest.indexOf("\n\n")) >= 0; rest = rest.slice(at + 2)) {
      let kind = "message";
      let data = "";
      for (const line of rest.slice(0, at).split("\n")) {
        if (line.startsWith("event: ")) kind = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (data) yield { kind, document: JSON.parse(data) };
    }
  }
}

/** pictures gives a camera's pictures, each with what was thought of it. */
export async function* pictures(camera, signal) {
  const decoder = new TextDecoder();
  let rest = new Uint8Array(0);
  let head = null;
  for await (const bytes of open(`api/cameras/${encodeURIComponent(camera)}/pictures`, signal, 0)) {
    const all = new Uint8Array(rest.length + bytes.length);
    all.set(rest);
    all.set(bytes, rest.length);
    rest = all;
    for (;;) {
      if (!head) {
        const end = find(rest, [13, 10, 13, 10]);
        if (end < 0) break;
        head = new Map(decoder.decode(rest.subarray(0, end)).split("\r\n").filter((l) => l.includes(": "))
          .map((l) => [l.slice(0, l.indexOf(":")).toLowerCase(), l.slice(l.indexOf(":") + 2)]));
        rest = rest.slice(end + 4);
      }
      const n = Number(head.get("content-length"));
      if (rest.length < n + 2) break;
      yield { jpeg: new Blob([rest.slice(0, n)], { type: "image/jpeg" }), sight: JSON.parse(head.get("livenessd-sight")) };
      rest = rest.slice(n + 2);
      head = null;
    }
  }
}

function find(bytes, what) {
  for (let i = bytes.indexOf(what[0]); i >= 0; i = bytes.indexOf(what[0], i + 1)) {
    if (what.every((b, j) => bytes[i + j] === b)) return i;
  }
  return -1;
}
