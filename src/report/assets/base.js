// What every part of the page uses: elements, the selected record, and when to draw.

const kSvg = "http://www.w3.org/2000/svg";
const kDash = "\u2013";

// Text only ever enters the document as text nodes and as values of fixed attributes.
function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function element(name, attributes = {}, ...children) {
  return furnish(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return furnish(document.createElementNS(kSvg, name), attributes, children);
}

function icon(tone) {
  return shape("svg", { class: "icon " + tone, viewBox: "0 0 16 16", "aria-hidden": "true" },
    shape("use", { href: "#icon-" + tone }));
}

const kTones = ["plain", "good", "warn", "bad", "dim", "strong"];
const kToneWords = { good: "ok", warn: "warning", bad: "problem" };

// The width of a label in CSS pixels.
const measure = (() => {
  const context = document.createElement("canvas").getContext("2d");
  const widths = new Map();
  return (text, size = 12) => {
    const key = size + " " + text;
    if (!widths.has(key)) {
      context.font = size + "px system-ui, sans-serif";
      widths.set(key, context.measureText(text).width);
    }
    return widths.get(key);
  };
})();

// `text` cut to `width` pixels, its middle taken out: names differ at both ends.
function fit_text(text, width, size = 12) {
  if (measure(text, size) <= width) return text;
  const letters = Array.from(text);
  for (let keep = letters.length - 1; keep > 1; --keep) {
    const tail = Math.floor(keep / 2);
    const cut = letters.slice(0, keep - tail).join("") + "\u2026" + letters.slice(letters.length - tail).join("");
    if (measure(cut, size) <= width) return cut;
  }
  return "\u2026";
}

const wants_dark = matchMedia("(prefers-color-scheme: dark)");

function dark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : wants_dark.matches;
}

// The record that linked parts show. Listeners hear of a change once each.
const selection = {
  record: -1,
  listeners: [],
  set(record) {
    if (record === this.record || record < 0 || record >= page.records.length) return;
    this.record = record;
    for (const listener of this.listeners) listener(record);
    try {
      history.replaceState(null, "", "#" + encodeURIComponent(page.records[record][0]));
    } catch (error) {
      // An address that may not change (a preview, a frame) costs the link only.
    }
  },
};

// A line that says which record a linked part shows, where no other part of the page does.
function name_record(host) {
  if (page.sections.some((section) => section.kind === "facts")) return;
  const line = element("div", { class: "which" });
  const show = (record) => {
    line.textContent = record >= 0 ? page.records[record][1] : "Nothing selected";
  };
  show(selection.record);
  selection.listeners.push(show);
  host.append(line);
}

// Calls draw(width) now, and whenever the room for it or the theme changes.
const redraws = [];
function keep_drawn(host, draw) {
  let width = -1;
  const update = (force) => {
    const now = Math.floor(host.clientWidth);
    if (now <= 0 || (now === width && !force)) return;
    width = now;
    draw(now);
  };
  redraws.push(() => update(true));
  new ResizeObserver(() => update(false)).observe(host);
  update(true);
  return () => update(true);
}

// Buttons of which one is pressed.
function switcher(label, names, chosen, choose) {
  const buttons = names.map((name, i) => element("button", { type: "button", "aria-pressed": String(i === chosen),
    click: () => {
      buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
      choose(i);
    } }, name));
  return element("div", { class: "switch", role: "group", "aria-label": label }, ...buttons);
}

// A box beside the pointer, kept inside its figure.
class Tip {
  constructor(host) {
    this.host = host;
    this.box = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    host.append(this.box);
  }
  show(x, y, ...content) {
    this.box.replaceChildren(...content);
    this.box.hidden = false;
    const width = this.box.offsetWidth;
    const height = this.box.offsetHeight;
    const room = this.host.clientWidth;
    const left = x + 16 + width <= room ? x + 16 : x - 16 - width;
    this.box.style.left = Math.max(0, Math.min(left, room - width)) + "px";
    this.box.style.top = Math.max(0, y - height - 8 < 0 ? y + 14 : y - height - 8) + "px";
  }
  hide() {
    this.box.hidden = true;
  }
}
