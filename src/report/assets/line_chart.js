// Lines, steps and points over one x axis: legend, read-out by pointer and arrow keys, logarithmic switch.

const kDashes = [null, "7 4", "2 3", "9 3 2 3", "4 2", "12 4", "1 4"];
const kMarkers = ["circle", "square", "triangle", "diamond", "cross", "ring"];

function marker(kind, x, y, size, colour) {
  const common = { fill: colour, stroke: "var(--surface)", "stroke-width": 1, "pointer-events": "none" };
  const r = size;
  switch (kMarkers[kind % kMarkers.length]) {
    case "square": return shape("rect", { ...common, x: x - r, y: y - r, width: 2 * r, height: 2 * r });
    case "triangle": return shape("path", { ...common, d: `M${x} ${y - r * 1.2}L${x + r * 1.2} ${y + r}H${x - r * 1.2}Z` });
    case "diamond": return shape("path", { ...common, d: `M${x} ${y - r * 1.35}L${x + r * 1.35} ${y}L${x} ${y + r * 1.35}L${x - r * 1.35} ${y}Z` });
    case "cross": return shape("path", { ...common, fill: "none", stroke: colour, "stroke-width": 2,
      d: `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}` });
    case "ring": return shape("circle", { ...common, cx: x, cy: y, r, fill: "var(--surface)", stroke: colour, "stroke-width": 2 });
    default: return shape("circle", { ...common, cx: x, cy: y, r });
  }
}

function series_sample(series, index) {
  const colour = series_colour(index);
  const sample = shape("svg", { width: 32, height: 12, viewBox: "0 0 32 12", "aria-hidden": "true" });
  if (series.drawing !== "points") {
    sample.append(shape("line", { x1: 0, y1: 6, x2: 32, y2: 6, stroke: colour, "stroke-width": 2,
      "stroke-dasharray": kDashes[index % kDashes.length] }));
  }
  if (series.drawing !== "step") sample.append(marker(index, 16, 6, 3.5, colour));
  return sample;
}

// Reference lines, with labels that do not lie on one another.
function draw_marks(marks, scale, left, right, top, put) {
  const placed = [];
  for (const mark of [...marks].sort((a, b) => a.value - b.value)) {
    if (!scale.shows(mark.value)) continue;
    const inside = mark.value <= scale.high * (1 + 1e-9) && mark.value >= scale.low;
    if (!inside && mark.value < scale.low) continue;
    const y = inside ? scale.place(mark.value) : top;
    if (inside) put(shape("line", { class: "mark-line", x1: left, x2: right, y1: y, y2: y }));
    const text = inside ? mark.label : "\u2191 " + mark.label + " (" + significant(mark.value) + ")";
    const shown = fit_text(text, (right - left) * 0.8);
    let at = Math.max(top + 10, y - 5);
    let x = right - 4;
    for (const other of placed) {
      if (Math.abs(other.at - at) < 13 && other.x - other.width < x && x - measure(shown) < other.x) x = other.x - other.width - 14;
    }
    if (x - measure(shown) < left) continue;
    placed.push({ at, x, width: measure(shown) });
    put(shape("text", { class: "halo ink", x, y: at, "text-anchor": "end" }, shown));
  }
}

class LineChart {
  constructor(host, spec) {
    this.host = host;
    this.spec = spec;
    this.x_log = spec.x_scale === "logarithmic";
    this.y_log = spec.y_scale === "logarithmic";
    this.hidden = new Set();
    this.at = -1;
    this.set_series(spec.series);
    this.build();
    this.update = keep_drawn(host, (width) => this.draw(width));
  }

  set_series(series) {
    this.series = series.map((one, index) => ({
      ...one, index, x: one.x || this.spec.x || one.y.map((_, i) => i),
    }));
  }

  build() {
    const { spec, host } = this;
    const controls = element("div", { class: "controls" });
    const legend = element("div", { class: "legend", role: "group", "aria-label": "series" });
    if (this.series.length > 1) {
      for (const series of this.series) {
        const button = element("button", { type: "button", "aria-pressed": "true", click: () => {
          if (!this.hidden.delete(series.index)) this.hidden.add(series.index);
          button.setAttribute("aria-pressed", String(!this.hidden.has(series.index)));
          this.update();
        } }, series_sample(series, series.index), series.name);
        legend.append(button);
      }
    }
    const switches = element("div", { class: "switches" });
    if (this.series.some((series) => series.y.some((y) => y > 0))) {
      switches.append(switcher("vertical scale", ["linear", "log"], this.y_log ? 1 : 0, (i) => {
        this.y_log = i === 1;
        this.update();
      }));
    }
    controls.append(legend, switches);
    this.canvas = shape("svg", { class: "plot", tabindex: 0, role: "application",
      "aria-label": spec.title + ". Chart: arrow keys read its values out." });
    this.read = element("div", { class: "hidden", "aria-live": "polite" });
    this.hint = element("div", { class: "read" });
    host.append(controls, this.canvas, this.hint, this.read);
    this.tip = new Tip(host);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.leave());
    this.canvas.addEventListener("blur", () => this.leave());
    this.canvas.addEventListener("click", () => this.choose());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  label_x(value) {
    const { categories } = this.spec;
    if (categories.length) return categories[value] ?? "";
    return Number.isInteger(value) ? String(value) : significant(value, 4);
  }

  draw(width) {
    const { spec, canvas } = this;
    const height = width < 480 ? 250 : 310;
    canvas.replaceChildren();
    canvas.setAttribute("width", width);
    canvas.setAttribute("height", height);
    const put = (node) => canvas.append(node);
    const shown = this.series.filter((series) => !this.hidden.has(series.index));
    const ys = shown.flatMap((series) => series.y).concat(spec.y_also || []);
    const count = Math.max(2, Math.floor((height - 80) / 44));
    let log = this.y_log;
    let range = range_of(ys, log, count);
    if (!range && log) range = range_of(ys, (log = false), count);
    if (!range) {
      this.points = [];
      this.hint.textContent = "No values to draw.";
      return;
    }
    // A reference line near the data belongs into the picture; one far off is named at the edge.
    for (const mark of spec.marks) {
      const near = log ? mark.value > 0 && mark.value < range[1] * 100 && mark.value > range[0] / 100
        : mark.value <= range[1] * 2 && mark.value >= range[0] - (range[1] - range[0]) * 0.5;
      if (near) range = range_of([range[0], range[1], mark.value], log, count) || range;
    }
    const ticks = new Scale(range[0], range[1], log, 0, 1).ticks(count);
    const left = Math.min(width * 0.3, Math.max(...ticks.map((tick) => measure(tick.label))) + 12);
    const top = spec.y_label ? 28 : 10;
    const bottom = height - (spec.x_label ? 46 : 28);
    const right = width - 14;
    const y_scale = new Scale(range[0], range[1], log, bottom, top);
    const x_scale = this.x_axis(shown, left, right);
    if (spec.y_label) put(shape("text", { x: 0, y: 12 }, fit_text(spec.y_label, width)));
    for (const tick of ticks) {
      const y = y_scale.place(tick.value);
      put(shape("line", { class: "grid-line", x1: left, x2: right, y1: y, y2: y }));
      put(shape("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, tick.label));
    }
    this.draw_x(x_scale, left, right, bottom, height, put);
    draw_marks(spec.marks, y_scale, left, right, top, put);

    this.points = [];
    let lost = 0;
    for (const series of shown) {
      const places = series.y.map((y, i) => {
        const seen = y_scale.shows(y) && x_scale.shows(series.x[i]);
        if (!seen && Number.isFinite(y)) ++lost;
        return seen ? [x_scale.place(series.x[i]), y_scale.place(y)] : null;
      });
      places.forEach((place, i) => {
        if (place) this.points.push({ series, i, x: place[0], y: place[1], value: series.x[i] });
      });
      this.draw_series(series, places, x_scale, put);
    }
    this.places = [...new Map(this.points.map((point) => [point.value, point.x])).entries()].sort((a, b) => a[0] - b[0]);
    this.hint.hidden = lost === 0;
    this.hint.textContent = lost ? lost + (lost === 1 ? " value" : " values") + " at or below zero cannot be shown on a logarithmic axis." : "";
    this.cross = shape("g", { "pointer-events": "none" });
    put(this.cross);
    this.frame = { left, right, top, bottom };
    this.mark_chosen(selection.record);
  }

  x_axis(shown, left, right) {
    const { categories } = this.spec;
    if (categories.length) return new Scale(-0.5, categories.length - 0.5, false, left, right);
    const xs = (shown.length ? shown : this.series).flatMap((series) => series.x).filter((x) => Number.isFinite(x) && (!this.x_log || x > 0));
    let low = lowest(xs);
    let high = highest(xs);
    const log = this.x_log && high > low;
    if (!(high > low)) [low, high] = [low - 1, low + 1];
    if (shown.some((series) => series.drawing === "points") && !log) [low, high] = range_of([low, high], false, 8);
    return new Scale(low, high, log, left + 6, right - 6);
  }

  draw_x(scale, left, right, bottom, height, put) {
    const { spec } = this;
    put(shape("line", { class: "base-line", x1: left, x2: right, y1: bottom, y2: bottom }));
    const { categories } = spec;
    if (categories.length) {
      const room = (right - left) / categories.length;
      const longest = Math.min(110, highest(categories.map((name) => measure(name))));
      const step = label_step(categories.length, right - left, longest + 10);
      for (let i = 0; i < categories.length; i += step) {
        put(shape("text", { x: scale.place(i), y: bottom + 17, "text-anchor": "middle" },
          fit_text(categories[i], Math.max(room * step - 6, 20))));
      }
    } else {
      for (const tick of scale.ticks(Math.max(2, Math.floor((right - left) / 76)))) {
        const x = scale.place(tick.value);
        put(shape("line", { class: "base-line", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
        put(shape("text", { x, y: bottom + 18, "text-anchor": "middle" }, tick.label));
      }
    }
    if (spec.x_label) {
      put(shape("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, fit_text(spec.x_label, right - left)));
    }
  }

  draw_series(series, places, x_scale, put) {
    const colour = series_colour(series.index);
    const dashes = kDashes[series.index % kDashes.length];
    if (series.drawing !== "points") {
      const half = series.drawing === "step" && this.spec.categories.length ? x_scale.place(0.5) - x_scale.place(0) : 0;
      let path = "";
      let open = false;
      places.forEach((place, i) => {
        if (!place) {
          open = false;
          return;
        }
        const [x, y] = [place[0].toFixed(1), place[1].toFixed(1)];
        if (series.drawing === "step" && half) {
          path += (open ? "L" : "M") + (place[0] - half).toFixed(1) + " " + y + "H" + (place[0] + half).toFixed(1);
        } else if (series.drawing === "step") {
          path += open ? "H" + x + "V" + y : "M" + x + " " + y;
        } else {
          path += (open ? "L" : "M") + x + " " + y;
          const alone = !places[i - 1] && !places[i + 1];
          if (alone) path += "h0.01";
        }
        open = true;
      });
      put(shape("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dashes,
        "stroke-linejoin": "round", "stroke-linecap": "round" }));
    }
    if (series.drawing === "step") return;
    const cloud = series.drawing === "points";
    const crowd = cloud && places.length > 300;
    const group = shape("g", { opacity: crowd ? 0.75 : 1 });
    // On a line markers tell series apart, so some are enough where all would touch.
    let last = -Infinity;
    for (const place of places) {
      if (!place || (!cloud && place[0] - last < 13)) continue;
      group.append(marker(series.index, place[0], place[1], crowd ? 2.4 : 3.2, colour));
      last = place[0];
    }
    put(group);
  }

  mark_chosen(record) {
    if (!this.points) return;
    if (this.chosen) this.chosen.remove();
    const point = this.points.find((one) => record >= 0 && one.series.records && one.series.records[one.i] === record);
    this.chosen = point && shape("circle", { class: "chosen", cx: point.x, cy: point.y, r: 7, "pointer-events": "none" });
    if (this.chosen) this.canvas.append(this.chosen);
  }

  // All points at one x, or in a cloud of points the nearest alone.
  cloud() {
    return this.points.every((point) => point.series.drawing === "points");
  }

  point(event) {
    if (!this.points.length) return;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (this.cloud()) {
      let best = null;
      let nearest = 40 ** 2;
      for (const point of this.points) {
        const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
        if (distance < nearest) [best, nearest] = [point, distance];
      }
      if (best) this.show([best], best.x, best.y); else this.leave();
      return;
    }
    let best = 0;
    this.places.forEach((place, i) => {
      if (Math.abs(place[1] - x) < Math.abs(this.places[best][1] - x)) best = i;
    });
    this.at = best;
    this.show_at(best, y);
  }

  show_at(index, y) {
    const [value, x] = this.places[index];
    const points = this.points.filter((point) => point.value === value);
    this.show(points, x, y ?? lowest(points.map((point) => point.y)));
  }

  show(points, x, y) {
    this.shown = points;
    const { top, bottom } = this.frame;
    this.cross.replaceChildren();
    if (!this.cloud()) this.cross.append(shape("line", { class: "cross", x1: x, x2: x, y1: top, y2: bottom }));
    for (const point of points) this.cross.append(marker(point.series.index, point.x, point.y, 5, series_colour(point.series.index)));
    const { spec } = this;
    const title = this.title_of(points[0]);
    const rows = points.map((point) => element("tr", {},
      element("td", {}, series_sample(point.series, point.series.index)),
      element("td", {}, point.series.name),
      element("td", {}, significant(point.series.y[point.i], 4))));
    const down = this.canvas.getBoundingClientRect().top - this.host.getBoundingClientRect().top;
    this.tip.show(x, y + down,
      element("div", { class: "head" }, title), element("table", {}, ...rows));
    this.text = title + ": " + points.map((point) => point.series.name + " " + significant(point.series.y[point.i], 4)).join(", ")
      + (spec.y_label ? " (" + spec.y_label + ")" : "");
  }

  title_of(point) {
    const { spec } = this;
    const record = point.series.records ? point.series.records[point.i] : -1;
    const at = (spec.x_label ? spec.x_label + " " : "") + this.label_x(point.value);
    return record >= 0 ? page.records[record][1] + " \u00b7 " + at : at;
  }

  leave() {
    if (this.cross) this.cross.replaceChildren();
    this.tip.hide();
    this.shown = null;
  }

  choose() {
    for (const point of this.shown || []) {
      const record = point.series.records ? point.series.records[point.i] : -1;
      if (record >= 0) {
        selection.set(record);
        return;
      }
    }
  }

  key(event) {
    const last = this.cloud() ? this.points.length - 1 : this.places.length - 1;
    const moves = { ArrowRight: this.at + 1, ArrowLeft: this.at - 1, Home: 0, End: last, PageDown: this.at + 10, PageUp: this.at - 10 };
    if (event.key === "Escape") return this.leave();
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.choose();
    }
    if (!(event.key in moves) || last < 0) return;
    event.preventDefault();
    this.at = Math.max(0, Math.min(last, moves[event.key]));
    if (this.cloud()) {
      const point = [...this.points].sort((a, b) => a.x - b.x)[this.at];
      this.show([point], point.x, point.y);
    } else {
      this.show_at(this.at);
    }
    this.read.textContent = this.text;
  }
}

function mount_line_chart(host, section) {
  const chart = new LineChart(host, section);
  if (section.series.some((series) => series.records)) selection.listeners.push((record) => chart.mark_chosen(record));
}

// Curves of the selected record. The axis also spans what most records need, so that stepping from one to the next
// keeps the picture still, and one odd record does not flatten all others.
function mount_linked_curves(host, section) {
  const all = section.values.flat().filter((value) => Number.isFinite(value) && (value > 0 || section.y_scale === "linear"));
  all.sort((a, b) => a - b);
  const also = all.length ? [all[Math.floor(all.length * 0.02)], all[Math.min(all.length - 1, Math.floor(all.length * 0.999))]] : [];
  const series_for = (record) => section.names.map((name, i) => ({
    name, drawing: "line", y: (record >= 0 && section.values[record * section.names.length + i]) || [],
  }));
  name_record(host);
  const x = section.x || Array.from({ length: highest(section.values.map((curve) => curve.length), 1) }, (_, i) => i + 1);
  const chart = new LineChart(host, { ...section, x, categories: [], marks: [], y_also: also, series: series_for(selection.record) });
  selection.listeners.push((record) => {
    chart.leave();
    chart.set_series(series_for(record));
    chart.update();
  });
}
