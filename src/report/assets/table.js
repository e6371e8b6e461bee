// A table that sorts, filters and pages; its rows select records. And the facts of the selected record.

const kRowsShown = 50;

function cell_text(column, row) {
  if (column.texts) return column.texts[row];
  column.write ??= writer_of(column.numbers, column.digits, column.above);
  return column.write(column.numbers[row]);
}

function cell_content(column, row) {
  const content = [];
  const tone = column.tones ? kTones[column.tones[row]] : "plain";
  if (tone in kToneWords) content.push(icon(tone), element("span", { class: "hidden" }, kToneWords[tone] + " "));
  content.push(element("span", { class: tone }, cell_text(column, row)));
  const reason = column.missing.get(row);
  if (reason !== undefined && !column.texts && !Number.isFinite(column.numbers[row])) {
    content.push(element("small", { class: "why" }, " " + reason));
  }
  return content;
}

class DataTable {
  constructor(host, section) {
    this.host = host;
    this.table = section;
    this.rows = section.columns.length ? (section.columns[0].texts || section.columns[0].numbers).length : 0;
    this.sorted = section.sorted;
    this.first = 0;
    this.order = Array.from({ length: this.rows }, (_, i) => i);
    this.search = this.order.map((row) => section.columns.map((column) => cell_text(column, row)).join("\u0001").toLowerCase());
    this.build();
    this.arrange();
    if (section.records) selection.listeners.push((record) => this.reveal(record));
  }

  build() {
    const { table, host } = this;
    this.count = element("span", { class: "count", role: "status" });
    this.filter = element("input", { type: "search", placeholder: "Filter rows", "aria-label": "filter the rows of " + table.title,
      autocomplete: "off", spellcheck: "false", input: () => {
        this.first = 0;
        this.arrange();
      } });
    const bar = element("div", { class: "table-bar" });
    if (this.rows > 8) bar.append(this.filter, this.count);
    this.heads = table.columns.map((column, i) => {
      const arrow = element("span", { class: "arrow", "aria-hidden": "true" });
      const button = element("button", { type: "button", title: column.about || undefined, click: () => this.sort(i) }, column.title, arrow);
      const head = element("th", { scope: "col", class: column.texts ? undefined : "number" }, button);
      return { head, arrow };
    });
    this.body = element("tbody", { keydown: (event) => this.key(event), click: (event) => this.click(event) });
    const wrap = element("div", { class: "table-wrap" }, element("table", { class: "data" },
      element("caption", { class: "hidden" }, table.title),
      element("thead", {}, element("tr", {}, ...this.heads.map((one) => one.head))), this.body));
    this.back = element("button", { type: "button", click: () => this.turn(-1) }, "\u2039 Previous");
    this.next = element("button", { type: "button", click: () => this.turn(1) }, "Next \u203a");
    this.place = element("span");
    this.pager = element("div", { class: "pager" }, this.place, this.back, this.next);
    host.append(bar, wrap, this.pager);
    const explained = table.columns.filter((column) => column.about);
    if (explained.length) {
      host.append(element("details", {}, element("summary", {}, "What the columns mean"), element("dl", {},
        ...explained.flatMap((column) => [element("dt", {}, column.title), element("dd", {}, column.about)]))));
    }
  }

  sort(column) {
    const again = this.sorted && this.sorted.column === column;
    this.sorted = { column, descending: again && !this.sorted.descending };
    this.first = 0;
    this.arrange();
  }

  arrange() {
    const { table } = this;
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.order = Array.from({ length: this.rows }, (_, i) => i).filter((row) => words.every((word) => this.search[row].includes(word)));
    if (this.sorted) {
      const column = table.columns[this.sorted.column];
      const sign = this.sorted.descending ? -1 : 1;
      const collator = new Intl.Collator("en", { numeric: true });
      this.order.sort((a, b) => {
        if (column.texts) return sign * collator.compare(column.texts[a], column.texts[b]) || a - b;
        const [x, y] = [column.numbers[a], column.numbers[b]];
        // What is missing comes last in both directions.
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
        return x === y ? a - b : sign * (x < y ? -1 : 1);
      });
    }
    this.heads.forEach(({ head, arrow }, i) => {
      const here = this.sorted && this.sorted.column === i;
      if (here) head.setAttribute("aria-sort", this.sorted.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      arrow.textContent = here ? (this.sorted.descending ? "\u2193" : "\u2191") : "";
    });
    this.count.textContent = words.length ? this.order.length.toLocaleString("en") + " of " + this.rows.toLocaleString("en") + " rows"
      : this.rows.toLocaleString("en") + " rows";
    this.fill();
  }

  fill() {
    const { table } = this;
    const shown = this.order.slice(this.first, this.first + kRowsShown);
    this.body.replaceChildren(...shown.map((row, i) => {
      const record = table.records ? table.records[row] : -1;
      const chosen = record >= 0 && record === selection.record;
      return element("tr", { "data-record": record >= 0 ? record : undefined, "data-row": row, tabindex: record >= 0 ? (i === 0 ? 0 : -1) : undefined,
        "aria-selected": record >= 0 ? String(chosen) : undefined },
        ...table.columns.map((column) => element("td", { class: column.texts ? undefined : "number" },
          element("div", {}, ...cell_content(column, row)))));
    }));
    if (!shown.length) {
      this.body.append(element("tr", {}, element("td", { colspan: table.columns.length, class: "why" }, "No row holds all of these words.")));
    }
    const last = this.first + shown.length;
    this.pager.hidden = this.order.length <= kRowsShown;
    this.place.textContent = (this.first + 1).toLocaleString("en") + " " + kDash + " " + last.toLocaleString("en") + " of " + this.order.length.toLocaleString("en");
    this.back.disabled = this.first === 0;
    this.next.disabled = last >= this.order.length;
  }

  turn(way) {
    this.first = Math.max(0, this.first + way * kRowsShown);
    this.fill();
  }

  click(event) {
    const row = event.target.closest("tr[data-record]");
    if (row && !String(getSelection())) selection.set(Number(row.dataset.record));
  }

  key(event) {
    const row = event.target.closest("tr[data-record]");
    if (!row) return;
    const goals = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: this.body.firstElementChild, End: this.body.lastElementChild };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      selection.set(Number(row.dataset.record));
    } else if (event.key in goals && goals[event.key]) {
      event.preventDefault();
      row.tabIndex = -1;
      goals[event.key].tabIndex = 0;
      goals[event.key].focus();
    }
  }

  // Marks the record's row, turning to its page when another part of the page has chosen it.
  reveal(record) {
    const at = this.order.findIndex((row) => this.table.records[row] === record);
    const inside = this.body.contains(document.activeElement);
    if (at >= 0 && (at < this.first || at >= this.first + kRowsShown)) {
      this.first = Math.floor(at / kRowsShown) * kRowsShown;
      this.fill();
    }
    for (const row of this.body.children) {
      if (row.dataset.record === undefined) continue;
      const chosen = Number(row.dataset.record) === record;
      row.setAttribute("aria-selected", String(chosen));
      if (!inside) row.tabIndex = chosen ? 0 : -1;
    }
    if (!inside && !this.body.querySelector('tr[tabindex="0"]') && this.body.firstElementChild) this.body.firstElementChild.tabIndex = 0;
  }
}

// The selected record: its title, a way to others, and its row of the first table that has records.
function mount_facts(host, section) {
  const table = page.sections.find((one) => one.kind === "table" && one.records);
  const name = element("div", { class: "name", "aria-live": "polite" });
  const step = (way) => selection.set((selection.record + way + page.records.length) % page.records.length);
  const chooser = element("div", { class: "chooser" }, name);
  // Beyond a few thousand entries a list to choose from is slow and of no use.
  const list = page.records.length <= 3000 && element("select", { "aria-label": "choose " + section.title,
    change: () => selection.set(Number(list.value)) }, ...page.records.map(([, title], i) => element("option", { value: i }, title)));
  chooser.append(element("div", { class: "ways" },
    element("button", { type: "button", "aria-label": "previous", click: () => step(-1) }, "\u2039"), ...(list ? [list] : []),
    element("button", { type: "button", "aria-label": "next", click: () => step(1) }, "\u203a")));
  const facts = element("dl", { class: "facts" });
  host.append(chooser, facts);
  const show = (record) => {
    name.textContent = record >= 0 ? page.records[record][1] : "Nothing selected";
    if (list) list.value = String(record);
    const row = table && record >= 0 ? table.records.indexOf(record) : -1;
    facts.replaceChildren(...(row < 0 ? [] : table.columns.map((column) => element("div", {},
      element("dt", {}, column.title), element("dd", {}, ...cell_content(column, row))))));
  };
  selection.listeners.push(show);
  show(selection.record);
}
