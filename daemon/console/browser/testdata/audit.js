// Looks at a page as it is now, and tells what keeps somebody from reading or using it. It is an expression: a list of problems.
(() => {
  const problems = [];
  const bad = (e, what) => problems.push(`<${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}${e.className && e.className.baseVal === undefined ? "." + e.className : ""}> ${JSON.stringify((e.innerText ?? "").slice(0, 40))}: ${what}`);
  const seen = (e) => e.checkVisibility({ opacityProperty: false, visibilityProperty: true });
  const unseen = (e) => e.closest(".unseen, .skip, noscript, option") !== null;

  // Contrast, with all that lies below composited.
  const parse = (c) => {
    const canvas = parse.pen ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = c;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const back = (e) => {
    const layers = [];
    for (let n = e; n; n = n.parentElement) layers.push(parse(getComputedStyle(n).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), parse(getComputedStyle(document.documentElement).backgroundColor));
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  let texts = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement;
    if (!n.data.trim() || !seen(e) || unseen(e)) continue;
    texts++;
    const style = getComputedStyle(e);
    const below = back(e);
    const c = ratio(over(parse(style.color), below), below);
    if (c < 4.5 && !e.closest(":disabled")) bad(e, `contrast ${c.toFixed(2)}`);
    if (parseFloat(style.fontSize) < 12) bad(e, `letters of ${style.fontSize}`);
    // Each text is from the table, or a value.
    if (/\p{L}/u.test(n.data) && e.dataset.t === undefined && e.dataset.v === undefined && n.data.trim() !== "livenessd") bad(e, "a text that isn't in the table");
  }
  if (texts < 5) problems.push(`only ${texts} texts were looked at`);

  // Borders of what can be used, and whether it is large enough for a finger.
  for (const e of document.querySelectorAll("button, select, input, textarea, a[href], summary")) {
    if (!seen(e) || unseen(e)) continue;
    const box = e.getBoundingClientRect();
    if (box.height < 24 || box.width < 24) bad(e, `is ${box.width.toFixed(0)}×${box.height.toFixed(0)}`);
    else if (e.matches("button, select, summary, input:not([type=checkbox], [type=radio], [type=range])") && box.height < 43.5) bad(e, `is only ${box.height.toFixed(0)} high`);
    if (box.left < -1 || box.right > document.documentElement.clientWidth + 1) bad(e, "reaches out of the window");
  }
  for (const e of document.querySelectorAll("select, input:not([type=checkbox], [type=radio], [type=range]), textarea")) {
    if (!seen(e) || e.disabled) continue;
    const c = ratio(parse(getComputedStyle(e).borderTopColor), back(e.parentElement));
    if (c < 3) bad(e, `border of contrast ${c.toFixed(2)}`);
  }
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) problems.push(`is ${document.documentElement.scrollWidth} wide in a window of ${document.documentElement.clientWidth}`);

  // Structure.
  const one = (selector) => {
    const n = [...document.querySelectorAll(selector)].filter(seen).length;
    if (n !== 1) problems.push(`${n} of ${selector}`);
  };
  one("h1");
  one("main");
  one("body > header");
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!seen(h)) continue;
    const n = Number(h.tagName[1]);
    if (n > level + 1) bad(h, `a heading of level ${n} after one of level ${level}`);
    if (!h.textContent.trim()) bad(h, "an empty heading");
    level = n;
  }
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) {
    if (ids.has(e.id)) bad(e, "an id twice");
    ids.add(e.id);
  }
  for (const e of document.querySelectorAll("[aria-labelledby], [aria-controls], [aria-describedby]")) {
    for (const name of ["aria-labelledby", "aria-controls", "aria-describedby"]) {
      for (const id of (e.getAttribute(name) ?? "").split(/\s+/).filter(Boolean)) if (!ids.has(id)) bad(e, `${name} names ${id}, which isn't there`);
    }
  }
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) bad(e, "a tabindex above 0");
  for (const e of document.querySelectorAll("[data-t]")) if (e.textContent === e.dataset.t && e.dataset.t.includes(".")) bad(e, "a text without an entry in the table");
  for (const e of document.querySelectorAll("dl > *")) if (!e.matches("div, dt, dd")) bad(e, "not a part of a list of facts");
  for (const e of document.querySelectorAll("ol > *, ul > *")) if (!e.matches("li")) bad(e, "not an entry of a list");
  if (!document.documentElement.lang) problems.push("the page doesn't say its language");
  if (!document.title.trim()) problems.push("the page has no title");
  return problems;
})()
