// Reads the data, gives every section its content, and keeps theme and printing right.

const page = JSON.parse(document.getElementById("data").textContent);

// Numbers come as JSON numbers, null for missing and "inf" or "-inf".
function decode(numbers) {
  return numbers.map((value) => (value === null ? NaN : value === "inf" ? Infinity : value === "-inf" ? -Infinity : value));
}

// [[reason, [index, ...]], ...] -> Map of index to reason.
function decode_missing(groups) {
  const map = new Map();
  for (const [reason, indices] of groups) for (const index of indices) map.set(index, reason);
  return map;
}

const kDecoders = {
  line(section) {
    if (section.x) section.x = decode(section.x);
    for (const series of section.series) {
      series.y = decode(series.y);
      if (series.x) series.x = decode(series.x);
    }
  },
  heat(section) {
    for (const layer of section.layers) {
      layer.values = decode(layer.values);
      layer.missing = decode_missing(layer.missing);
    }
  },
  bars(section) {
    section.values = decode(section.values);
    section.missing = decode_missing(section.missing);
  },
  linked_bars(section) {
    kDecoders.bars(section);
  },
  linked_curves(section) {
    if (section.x) section.x = decode(section.x);
    section.values = section.values.map(decode);
  },
  facts() {},
  table(section) {
    for (const column of section.columns) {
      if (column.numbers) column.numbers = decode(column.numbers);
      column.missing = decode_missing(column.missing);
    }
  },
};

const kMounts = {
  line: mount_line_chart,
  heat: (host, section, number) => new HeatMap(host, section, number),
  bars: mount_bars,
  linked_bars: mount_linked_bars,
  linked_curves: mount_linked_curves,
  facts: mount_facts,
  table: (host, section) => new DataTable(host, section),
};

// "light", "dark", or null for the system's.
function show_theme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  for (const redraw of redraws) redraw();
}

function start_theme() {
  const button = document.getElementById("theme");
  let theme = null;
  const follow = () => {
    show_theme(theme);
    button.textContent = dark() ? "Light theme" : "Dark theme";
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = dark() ? "light" : "dark";
    follow();
  });
  wants_dark.addEventListener("change", follow);
  addEventListener("beforeprint", () => show_theme("light"));
  addEventListener("afterprint", follow);
  follow();
}

function address_record() {
  let key = "";
  try {
    key = decodeURIComponent(location.hash.slice(1));
  } catch (error) {
    return -1;  // not an address of ours
  }
  return key ? page.records.findIndex((record) => record[0] === key) : -1;
}

function start() {
  start_theme();
  for (const section of page.sections) kDecoders[section.kind](section);
  page.sections.forEach((section, i) => {
    const host = document.getElementById("figure-" + section.at);
    host.replaceChildren();
    kMounts[section.kind](host, section, i);
  });
  const named = address_record();
  selection.set(named >= 0 ? named : page.selected);
  addEventListener("hashchange", () => selection.set(address_record()));
}

start();
