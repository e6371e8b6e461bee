// A grid of coloured cells: a legend, marks beyond a threshold, hatched cells for missing values, and one cell under
// the cursor that arrow keys move and Enter selects.

const kGutter = 6;

class HeatMap {
  constructor(host, section, number) {
    this.host = host;
    this.map = section;
    this.id = "heat" + number;
    this.layer = 0;
    this.cursor = -1;
    this.build();
    this.update = keep_drawn(host, (width) => this.draw(width));
    selection.listeners.push((record) => this.choose_record(record));
  }

  build() {
    const { map, host } = this;
    const controls = element("div", { class: "controls" });
    if (map.layers.length > 1) {
      controls.append(switcher("values shown", map.layers.map((layer) => layer.name), 0, (i) => {
        this.layer = i;
        this.update();
        this.read_out(this.cursor);
      }));
    }
    this.scroll = element("div", { class: "scroll" });
    this.names = shape("svg", { class: "heat-names", "aria-hidden": "true" });
    this.grid = shape("svg", { class: "heat-grid", tabindex: 0, role: "grid",
      "aria-label": map.title + ". Arrow keys move, Enter selects.",
      "aria-rowcount": map.rows.length, "aria-colcount": map.columns.length });
    this.scroll.append(this.names, this.grid);
    this.read = element("div", { class: "read", "aria-live": "polite" });
    this.legend = element("div", { class: "heat-legend" });
    if (map.layers.length > 1) host.append(controls);
    host.append(this.scroll, this.read, this.legend);
    this.tip = new Tip(host);
    this.grid.addEventListener("pointermove", (event) => this.hover(event));
    this.grid.addEventListener("pointerleave", () => this.tip.hide());
    this.grid.addEventListener("click", (event) => {
      const cell = this.cell_under(event);
      if (cell >= 0) this.select(cell);
    });
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.grid.addEventListener("focus", () => this.move(this.cursor >= 0 ? this.cursor : this.first()));
    this.grid.addEventListener("blur", () => this.outline());
  }

  values() {
    return this.map.layers[this.layer].values;
  }
  reason(cell) {
    return this.map.layers[this.layer].missing.get(cell);
  }
  present(cell) {
    return cell >= 0 && (Number.isFinite(this.values()[cell]) || this.reason(cell) !== undefined);
  }
  beyond(value) {
    const { threshold, side } = this.map;
    return threshold !== null && Number.isFinite(value) && (side === "below" ? value < threshold : value > threshold);
  }
  first() {
    const all = this.map.rows.length * this.map.columns.length;
    for (let cell = 0; cell < all; ++cell) if (this.present(cell)) return cell;
    return -1;
  }
  title(cell) {
    const { map } = this;
    const record = map.records ? map.records[cell] : -1;
    if (record >= 0) return page.records[record][1];
    const [row, column] = [Math.floor(cell / map.columns.length), cell % map.columns.length];
    return map.row_label + " " + map.rows[row] + ", " + map.column_label + " " + map.columns[column];
  }
  describe(cell) {
    const value = this.values()[cell];
    if (!Number.isFinite(value)) return "not known: " + this.reason(cell);
    return significant(value, this.map.digits) + (this.beyond(value) && this.map.threshold_label ? " \u00b7 " + this.map.threshold_label : "");
  }

  // Extremes far beyond the rest are drawn at the end of the ramp, and the legend says so: one cell must not flatten
  // the colours of all.
  span(sorted) {
    const { map } = this;
    let low = sorted[0];
    let high = sorted[sorted.length - 1];
    const middle = map.palette === "diverging" ? map.centre : sorted[Math.floor(sorted.length / 2)];
    if (sorted.length > 20) {
      const low_quantile = sorted[Math.floor(sorted.length * 0.01)];
      const high_quantile = sorted[Math.ceil(sorted.length * 0.99) - 1];
      if (high - middle > 2 * (high_quantile - middle) && high_quantile > middle) high = high_quantile;
      if (middle - low > 2 * (middle - low_quantile) && low_quantile < middle) low = low_quantile;
    }
    if (map.palette === "diverging") return [Math.min(low, middle), Math.max(high, middle)];
    return [low, high];
  }

  draw(width) {
    const { map, grid, names } = this;
    const [rows, columns] = [map.rows.length, map.columns.length];
    const values = this.values();
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
    const [low, high] = sorted.length ? this.span(sorted) : [0, 1];
    const colour = palette(map.palette, low, high, map.centre);
    const name_width = Math.min(width * 0.28, highest(map.rows.map((name) => measure(name, 11.5)), 8));
    const left = Math.ceil(name_width + 10 + (map.row_label ? 16 : 0));
    // Cells of seven pixels still show a pattern; below that the map scrolls, with cells that a finger can meet.
    const fitting = Math.floor((width - left - kGutter) / columns);
    const across = fitting >= 7 ? Math.min(64, fitting) : 10;
    const down = Math.max(8, Math.min(across < 18 ? across : Math.max(18, Math.min(across, 30)), Math.floor(680 / rows)));
    const gap = Math.min(across, down) >= 11 ? 1 : 0.5;
    const top = 2;
    this.size = { across, down, top };
    const bottom = top + rows * down;
    const height = bottom + 20 + (map.column_label ? 18 : 0);
    names.setAttribute("width", left);
    names.setAttribute("height", height);
    grid.setAttribute("width", columns * across + kGutter);
    grid.setAttribute("height", height);
    names.replaceChildren();
    grid.replaceChildren(this.hatch());
    this.draw_names(left, top, bottom, name_width);

    const largest = highest(sorted.map(Math.abs), 1e-300);
    const decimals = Math.min(4, map.digits - 1 - Math.floor(Math.log10(largest)));
    const write = (value) => (decimals >= 0 ? value.toFixed(decimals) : significant(value, 2));
    const written = across >= 40 && down >= 18 && sorted.every((value) => measure(write(value)) <= across - 6);
    for (let row = 0; row < rows; ++row) {
      const line = shape("g", { role: "row" });
      for (let column = 0; column < columns; ++column) {
        const cell = row * columns + column;
        if (!this.present(cell)) continue;
        const value = values[cell];
        const known = Number.isFinite(value);
        const paint = known ? colour(value) : null;
        const [x, y] = [column * across, top + row * down];
        const [w, h] = [across - gap, down - gap];
        line.append(shape("rect", { x, y, width: w, height: h, rx: Math.min(across, down) >= 16 ? 2 : 0,
          fill: known ? paint.css : `url(#${this.id}-hatch)`, role: "gridcell", id: this.id + "-" + cell,
          "aria-label": this.title(cell) + ": " + this.describe(cell) }));
        if (this.beyond(value)) {
          const side = written ? 6 : Math.max(3.5, Math.min(w, h) * 0.5);
          line.append(shape("path", { d: `M${x + w} ${y}v${side}l${-side} ${-side}z`, fill: ink_on(paint), "pointer-events": "none" }));
        }
        if (written && known) {
          const text = shape("text", { class: "heat-cell-text", x: x + w / 2, y: y + h / 2 + 4, "text-anchor": "middle" },
            write(value));
          text.style.fill = ink_on(paint);
          line.append(text);
        }
      }
      grid.append(line);
    }
    this.marks = shape("g", { "pointer-events": "none" });
    grid.append(this.marks);
    this.draw_legend(low, high, colour, sorted);
    this.outline();
  }

  // Names are left out evenly where they would touch.
  draw_names(left, top, bottom, name_width) {
    const { map, names, grid } = this;
    const { across, down } = this.size;
    const small = (text) => {
      text.style.fontSize = "11.5px";
      return text;
    };
    this.row_names = new Map();
    const row_step = label_step(map.rows.length, bottom - top, 14);
    map.rows.forEach((name, row) => {
      if (row % row_step) return;
      const y = top + (row + 0.5) * down + 4;
      names.append(small(shape("text", { x: left - 7, y, "text-anchor": "end" }, fit_text(name, name_width, 11.5))));
    });
    if (map.row_label) {
      const middle = (top + bottom) / 2;
      names.append(shape("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(11 ${middle}) rotate(-90)` },
        fit_text(map.row_label, bottom - top)));
    }
    const widest = Math.min(90, highest(map.columns.map((name) => measure(name, 11.5))));
    const column_step = label_step(map.columns.length, map.columns.length * across, widest + 8);
    let taken = -Infinity;
    map.columns.forEach((name, column) => {
      if (column % column_step) return;
      const shown = fit_text(name, Math.max(column_step * across - 4, 14), 11.5);
      const half = measure(shown, 11.5) / 2;
      // The first and the last stay inside the drawing, and whoever they would then touch is left out.
      const x = Math.max(half, Math.min(map.columns.length * across + kGutter - half, (column + 0.5) * across));
      if (x - half < taken) return;
      taken = x + half + 4;
      grid.append(small(shape("text", { x, y: bottom + 15, "text-anchor": "middle" }, shown)));
    });
    if (map.column_label) {
      const room = Math.min(map.columns.length * across, this.host.clientWidth - left);
      grid.append(shape("text", { x: room / 2, y: bottom + 33, "text-anchor": "middle" }, fit_text(map.column_label, room)));
    }
  }

  hatch() {
    const pattern = shape("pattern", { id: this.id + "-hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      shape("rect", { width: 5, height: 5, fill: "var(--raised)" }), shape("rect", { width: 1.6, height: 5, fill: "var(--strong-line)" }));
    return shape("defs", {}, pattern);
  }

  draw_legend(low, high, colour, sorted) {
    const { map } = this;
    const items = [];
    const layer = map.layers.length > 1 ? map.layers[this.layer].name : "";
    const label = map.value_label + (map.value_label && layer ? " \u00b7 " : "") + layer;
    if (sorted.length) {
      const width = Math.min(240, this.host.clientWidth - 40);
      const pad = 14;
      const bar = shape("svg", { width: width + 2 * pad, height: label ? 46 : 28, role: "img",
        "aria-label": "colours from " + significant(low) + " to " + significant(high) });
      const scale = new Scale(low, high > low ? high : low + 1, false, pad, pad + width);
      const y = label ? 18 : 0;
      if (label) bar.append(shape("text", { x: pad, y: 11 }, fit_text(label, width)));
      const steps = 52;
      for (let i = 0; i < steps; ++i) {
        const x = Math.round(pad + (i * width) / steps);
        const next = Math.round(pad + ((i + 1) * width) / steps);
        bar.append(shape("rect", { x, y, width: next - x, height: 10, fill: colour(scale.value((x + next) / 2)).css, "shape-rendering": "crispEdges" }));
      }
      for (const tick of high > low ? scale.ticks(5) : [{ value: low, label: significant(low) }]) {
        const x = scale.place(tick.value);
        bar.append(shape("line", { class: "base-line", x1: x, x2: x, y1: y + 10, y2: y + 13 }));
        bar.append(shape("text", { x, y: y + 25, "text-anchor": "middle" }, tick.label));
      }
      const cut = [];
      if (sorted[0] < low) cut.push("down to " + significant(sorted[0]));
      if (sorted[sorted.length - 1] > high) cut.push("up to " + significant(sorted[sorted.length - 1]));
      items.push(element("span", {}, bar, ...(cut.length ? ["ends hold values " + cut.join(" and ")] : [])));
    }
    if (map.threshold !== null) {
      const count = sorted.filter((value) => this.beyond(value)).length;
      const sample = shape("svg", { width: 16, height: 16, "aria-hidden": "true" },
        shape("rect", { width: 15, height: 15, y: 0.5, rx: 2, fill: "var(--raised)", stroke: "var(--strong-line)" }),
        shape("path", { d: "M15 0.5v8l-8 -8z", fill: "var(--text)" }));
      items.push(element("span", {}, sample, (map.threshold_label || map.side + " " + significant(map.threshold)) + ": " + count));
    }
    const missing = [...map.layers[this.layer].missing.keys()].filter((cell) => !Number.isFinite(this.values()[cell])).length;
    if (missing) {
      const sample = shape("svg", { width: 16, height: 16, "aria-hidden": "true" },
        shape("rect", { width: 15, height: 15, y: 0.5, rx: 2, fill: `url(#${this.id}-hatch)`, stroke: "var(--strong-line)" }));
      items.push(element("span", {}, sample, "not known: " + missing));
    }
    this.legend.replaceChildren(...items);
  }

  cell_under(event) {
    const box = this.grid.getBoundingClientRect();
    const { across, down, top } = this.size;
    const column = Math.floor((event.clientX - box.left) / across);
    const row = Math.floor((event.clientY - box.top - top) / down);
    if (column < 0 || row < 0 || column >= this.map.columns.length || row >= this.map.rows.length) return -1;
    const cell = row * this.map.columns.length + column;
    return this.present(cell) ? cell : -1;
  }

  hover(event) {
    const cell = this.cell_under(event);
    if (cell < 0) return this.tip.hide();
    const box = this.host.getBoundingClientRect();
    this.tip.show(event.clientX - box.left, event.clientY - box.top,
      element("div", { class: "head" }, this.title(cell)), element("div", {}, this.describe(cell)));
  }

  read_out(cell) {
    if (cell < 0) return;
    this.read.replaceChildren(element("b", {}, this.title(cell)), ": " + this.describe(cell));
  }

  move(cell) {
    if (cell < 0) return;
    this.cursor = cell;
    this.grid.setAttribute("aria-activedescendant", this.id + "-" + cell);
    this.read_out(cell);
    this.outline();
    const { across } = this.size;
    const x = (cell % this.map.columns.length) * across;
    const room = this.scroll.clientWidth - this.names.clientWidth;
    if (x < this.scroll.scrollLeft || x + across > this.scroll.scrollLeft + room) this.scroll.scrollLeft = x - room / 2;
  }

  key(event) {
    const columns = this.map.columns.length;
    const all = columns * this.map.rows.length;
    const row = Math.floor(this.cursor / columns);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: 10 * columns, PageUp: -10 * columns };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (this.cursor >= 0) this.select(this.cursor);
      return;
    }
    let goal = this.cursor;
    if (event.key in steps) {
      const step = steps[event.key];
      const along = Math.abs(step) === 1;
      for (goal += step; goal >= 0 && goal < all && (!along || Math.floor(goal / columns) === row); goal += step) {
        if (this.present(goal)) break;
      }
      if (goal < 0 || goal >= all || (along && Math.floor(goal / columns) !== row)) goal = this.cursor;
    } else if (event.key === "Home" || event.key === "End") {
      const ends = event.key === "Home" ? [row * columns, 1] : [(row + 1) * columns - 1, -1];
      for (goal = ends[0]; Math.floor(goal / columns) === row && !this.present(goal); goal += ends[1]);
    } else {
      return;
    }
    event.preventDefault();
    this.move(goal);
  }

  select(cell) {
    this.move(cell);
    const record = this.map.records ? this.map.records[cell] : -1;
    if (record >= 0) selection.set(record);
    else this.chosen = cell;
    this.outline();
  }

  choose_record(record) {
    if (!this.map.records) return;
    const cell = this.map.records.indexOf(record);
    this.chosen = cell;
    if (cell >= 0) {
      this.cursor = cell;
      if (this.size) this.move(cell);
    }
    this.outline();
  }

  outline() {
    if (!this.marks) return;
    const { across, down, top } = this.size;
    const place = (cell) => ({ x: (cell % this.map.columns.length) * across, y: top + Math.floor(cell / this.map.columns.length) * down,
      width: across, height: down, rx: 2 });
    this.marks.replaceChildren();
    const chosen = this.chosen ?? -1;
    if (chosen >= 0) this.marks.append(shape("rect", { class: "chosen-halo", ...place(chosen) }), shape("rect", { class: "chosen", ...place(chosen) }));
    const focused = document.activeElement === this.grid;
    if (focused && this.cursor >= 0) this.marks.append(shape("rect", { class: "chosen-halo", ...place(this.cursor) }), shape("rect", { class: "cursor", ...place(this.cursor) }));
  }
}
