// Horizontal bars, one group a name. On a logarithmic axis a length means nothing, so values are dots on stems there.

function bar_sample(index) {
  return shape("svg", { width: 14, height: 14, "aria-hidden": "true" }, marker(index, 7, 7, 5, series_colour(index)));
}

class Bars {
  // spec: {title, value_label, names, series, marks, scale, highlight_label}; get(): {values, missing, highlight}.
  constructor(host, spec, get) {
    this.host = host;
    this.spec = spec;
    this.get = get;
    this.log = spec.scale === "logarithmic";
    const controls = element("div", { class: "controls" });
    const legend = element("div", { class: "heat-legend" });
    if (spec.series.length > 1) {
      spec.series.forEach((name, i) => legend.append(element("span", {}, bar_sample(i), name)));
    }
    controls.append(legend, element("div", { class: "switches" }, switcher("scale", ["linear", "log"], this.log ? 1 : 0, (i) => {
      this.log = i === 1;
      this.update();
    })));
    this.canvas = shape("svg", { role: "img" });
    host.append(controls, this.canvas);
    this.tip = new Tip(host);
    this.update = keep_drawn(host, (width) => this.draw(width));
  }

  draw(width) {
    const { spec, canvas } = this;
    const { values, missing, highlight, span } = this.get();
    const write = writer_of(span);
    const groups = spec.names.length;
    const per = Math.max(1, spec.series.length);
    const thick = per === 1 ? 12 : 11;
    const step = per === 1 ? 28 : per * (thick + 3) + 13;
    const name_width = Math.min(width * 0.4, highest(spec.names.map((name) => measure(name)), 0) + 2);
    const left = Math.ceil(name_width + 12);
    const right = width - Math.ceil(highest(values.map((value) => measure(write(value))), 24) * 1.08) - 12;
    let log = this.log;
    const all = span.concat(log ? spec.marks.map((mark) => mark.value) : []);
    let range = range_of(all, log, 5, true);
    if (!range && log) range = range_of(all, (log = false), 5, true);
    if (!range) range = [0, 1];
    const scale = new Scale(range[0], range[1], log, left, right);
    const marks = spec.marks.filter((mark) => scale.shows(mark.value) && mark.value >= range[0] && mark.value <= range[1]);
    const labels = this.stack_labels(marks, scale, left, width);
    const top = 8 + labels.lines * 15;
    const bottom = top + groups * step;
    canvas.replaceChildren();
    canvas.setAttribute("width", width);
    canvas.setAttribute("height", bottom + (spec.value_label ? 42 : 24));
    const put = (node) => canvas.append(node);
    for (const tick of scale.ticks(Math.max(2, Math.min(10, Math.floor((right - left) / (log ? 50 : 66)))))) {
      const x = scale.place(tick.value);
      put(shape("line", { class: "grid-line", x1: x, x2: x, y1: top, y2: bottom }));
      put(shape("text", { x, y: bottom + 16, "text-anchor": "middle" }, tick.label));
    }
    if (spec.value_label) put(shape("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, fit_text(spec.value_label, width - left)));
    for (const mark of labels.placed) {
      put(shape("line", { class: "mark-line", x1: mark.at, x2: mark.at, y1: mark.y + 3, y2: bottom }));
      put(shape("text", { class: "halo ink", x: mark.x, y: mark.y, "text-anchor": "middle" }, mark.text));
    }
    const said = [];
    spec.names.forEach((name, group) => {
      const marked = group === highlight;
      const middle = top + (group + 0.5) * step;
      put(shape("text", { class: marked ? "heavy" : "ink", x: left - 10, y: middle + 4, "text-anchor": "end" }, fit_text(name, name_width),
        shape("title", {}, name)));
      for (let one = 0; one < per; ++one) {
        const index = group * per + one;
        const y = middle + (one - (per - 1) / 2) * (thick + 3);
        const text = this.draw_bar(scale, values[index], missing(index), y, thick, one, marked, put, write);
        said.push(name + (per > 1 ? ", " + spec.series[one] : "") + ": " + text);
      }
    });
    put(shape("line", { class: "base-line", x1: scale.place(log ? range[0] : 0), x2: scale.place(log ? range[0] : 0), y1: top, y2: bottom }));
    canvas.setAttribute("aria-label", spec.title + ". " + said.join("; "));
  }

  draw_bar(scale, value, reason, y, thick, series, marked, put, write) {
    const { spec } = this;
    const colour = spec.series.length > 1 ? series_colour(series) : marked ? "var(--s1)" : "var(--s0)";
    const tag = marked && spec.highlight_label ? " \u25c6 " + fit_text(spec.highlight_label, 90) : "";
    if (!scale.shows(value)) {
      const text = Number.isFinite(value) || Math.abs(value) === Infinity ? write(value) : kDash + (reason ? " " + reason : "");
      put(shape("text", { class: "halo", x: scale.from + 7, y: y + 4 }, fit_text(text, this.host.clientWidth - scale.from - 10), shape("title", {}, text)));
      return text;
    }
    const zero = scale.log ? scale.from : scale.place(0);
    const x = scale.place(value);
    if (scale.log) {
      put(shape("line", { x1: zero, x2: x, y1: y, y2: y, stroke: colour, "stroke-width": 2, opacity: 0.55 }));
      put(marker(spec.series.length > 1 ? series : marked ? 3 : 0, x, y, 5, colour));
    } else {
      put(shape("rect", { x: Math.min(zero, x), y: y - thick / 2, width: Math.max(1, Math.abs(x - zero)), height: thick, rx: 2, fill: colour }));
    }
    // Beside the end of the bar, where the value alone always has room.
    const end = Math.max(x, zero) + 9;
    const text = end + measure(write(value) + tag) * 1.08 <= this.host.clientWidth ? write(value) + tag : write(value);
    put(shape("text", { class: (marked ? "heavy" : "ink") + " halo", x: end, y: y + 4 }, text));
    return write(value) + tag;
  }

  // Labels of reference lines in as many lines above the plot as they need.
  stack_labels(marks, scale, left, width) {
    const ends = [];
    const placed = [];
    for (const mark of [...marks].sort((a, b) => a.value - b.value)) {
      const at = scale.place(mark.value);
      const text = fit_text(mark.label, width * 0.6);
      const half = measure(text) / 2;
      const x = Math.max(half, Math.min(width - half - 2, at));
      let line = ends.findIndex((end) => end + 10 <= x - half);
      if (line < 0) line = ends.length;
      ends[line] = x + half;
      placed.push({ at, x, text, line });
    }
    for (const one of placed) one.y = 12 + (ends.length - 1 - one.line) * 15;
    return { placed, lines: ends.length };
  }
}

function mount_bars(host, section) {
  new Bars(host, section, () => ({ values: section.values, missing: (i) => section.missing.get(i), highlight: -1, span: section.values }));
}

// One axis for all records, so that bars of different records compare.
function mount_linked_bars(host, section) {
  const count = section.names.length;
  const finite = section.values.filter(Number.isFinite).sort((a, b) => a - b);
  const usual = finite.filter((value) => value > 0 || section.scale === "linear");
  const ends = usual.length ? [usual[Math.floor(usual.length * 0.002)], usual[usual.length - 1]] : [];
  const spec = { ...section, series: [""] };
  name_record(host);
  const bars = new Bars(host, spec, () => {
    const record = selection.record;
    const values = record < 0 ? [] : section.values.slice(record * count, (record + 1) * count);
    return { values, missing: (i) => section.missing.get(record * count + i), span: values.concat(ends),
      highlight: record >= 0 && section.highlights ? section.highlights[record] : -1 };
  });
  selection.listeners.push(() => bars.update());
}
