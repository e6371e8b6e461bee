// Numbers as text, and numbers as places on an axis.

// The ends of a list of any length (the arguments of a call are limited), and a start value.
function lowest(values, least = Infinity) {
  return values.reduce((a, b) => Math.min(a, b), least);
}
function highest(values, most = -Infinity) {
  return values.reduce((a, b) => Math.max(a, b), most);
}

// As the terminal shows them: `digits` significant, a compact exponent below 1e-4 and from 1e6.
function significant(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return kDash;
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : "-\u221e";
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 6) return mantissa + "e" + power;
  return value.toFixed(Math.max(0, digits - 1 - power));
}

// The same, never below the value: for bounds.
function significant_above(value, digits) {
  const text = significant(value, digits);
  if (!Number.isFinite(value) || Number(text) >= value) return text;
  const [mantissa, exponent] = text.split("e");
  const decimals = (mantissa.split(".")[1] || "").length;
  return significant(Number(text) + 10 ** (Number(exponent || 0) - decimals), digits);
}

// How the numbers of one column or chart are written: counts stay whole.
function writer_of(values, digits = 3, above = false) {
  const write = above ? significant_above : significant;
  const whole = values.every((value) => !Number.isFinite(value) || (Number.isInteger(value) && Math.abs(value) < 1e15));
  return (value) => (whole && Number.isFinite(value) ? String(value) : write(value, digits));
}

function superscript(power) {
  const signs = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
  return (power < 0 ? "\u207b" : "") + Array.from(String(Math.abs(power)), (digit) => signs[Number(digit)]).join("");
}

function power_label(value, plain) {
  const power = Math.floor(Math.log10(value) + 1e-9);
  const front = Math.round(value / 10 ** power);
  if (plain || (front === 1 && power === 0)) return String(Number(value.toPrecision(3)));
  return (front === 1 ? "" : front + "\u00b7") + "10" + superscript(power);
}

// 1, 2 or 5 times a power of ten, so that about `most` steps cover the range.
function nice_step(range, most) {
  const raw = range / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const front = raw / power;
  return (front < Math.SQRT2 ? 1 : front < Math.sqrt(10) ? 2 : front < Math.sqrt(50) ? 5 : 10) * power;
}

function linear_label(value, step) {
  if (value === 0) return "0";
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  if (decimals > 4 || Math.abs(value) >= 1e6) {
    const digits = Math.floor(Math.log10(Math.abs(value)) + 1e-9) - Math.floor(Math.log10(step) + 1e-9);
    const [mantissa, exponent] = value.toExponential(Math.max(0, Math.min(15, digits))).split("e");
    return mantissa + "e" + Number(exponent);
  }
  return value.toFixed(decimals);
}

function linear_ticks(low, high, most) {
  const step = nice_step(high - low, most);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) {
    ticks.push({ value: i * step, label: linear_label(i * step, step) });
  }
  return ticks;
}

function log_ticks(low, high, most) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const decades = last - first + 1;
  const fronts = decades >= Math.min(3, most) ? [1] : decades * 3 <= most + 2 ? [1, 2, 5] : [1, 3];
  const every = Math.max(1, Math.ceil(decades / most));
  // One way of writing for the whole axis.
  const plain = low >= 0.9e-3 && high < 1.1e4;
  const ticks = [];
  for (let power = first - 1; power <= last; ++power) {
    if (fronts.length === 1 && (power - first) % every !== 0) continue;
    for (const front of fronts) {
      const value = front * 10 ** power;
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) ticks.push({ value, label: power_label(value, plain) });
    }
  }
  return ticks.length >= 2 ? ticks : linear_ticks(low, high, most);
}

// An axis over [low, high] in pixels [from, to].
class Scale {
  constructor(low, high, log, from, to) {
    this.log = log;
    this.low = low;
    this.high = high;
    this.from = from;
    this.to = to;
  }
  place(value) {
    const share = this.log
      ? Math.log(value / this.low) / Math.log(this.high / this.low)
      : (value - this.low) / (this.high - this.low);
    return this.from + share * (this.to - this.from);
  }
  value(pixel) {
    const share = (pixel - this.from) / (this.to - this.from);
    return this.log ? this.low * (this.high / this.low) ** share : this.low + share * (this.high - this.low);
  }
  shows(value) {
    return Number.isFinite(value) && (!this.log || value > 0);
  }
  ticks(most) {
    return this.log ? log_ticks(this.low, this.high, most) : linear_ticks(this.low, this.high, most);
  }
}

// The range of an axis for `values`: ends on ticks, never of no width. On a logarithmic axis only what is above zero
// counts; null when nothing is left.
function range_of(values, log, most = 6, zero = false) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value) || (log && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return null;
  if (log) {
    if (high / low < 1.001) return [low / 2, high * 2];
    const decades = Math.log10(high / low);
    const grain = decades > 1.5 ? [1] : [1, 2, 5];
    const below = Math.max(...fronts_near(low, grain).filter((v) => v <= low * (1 + 1e-9)));
    const above = Math.min(...fronts_near(high, grain).filter((v) => v >= high * (1 - 1e-9)));
    // A whole decade of nothing is too much room: half a decade will do then.
    return [low / below > 5 ? below * 3 : below, above / high > 5 ? above / 3 : above];
  }
  if (zero || (low > 0 && low < high * 0.35)) low = Math.min(0, low);
  if (zero) high = Math.max(0, high);
  if (high - low < 1e-12 * Math.max(Math.abs(low), Math.abs(high), 1e-300)) {
    const pad = Math.abs(low) > 0 ? Math.abs(low) * 0.5 : 1;
    low -= zero && low === 0 ? 0 : pad;
    high += pad;
  }
  const step = nice_step(high - low, most);
  return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
}

function fronts_near(value, fronts) {
  const power = Math.floor(Math.log10(value));
  const near = [];
  for (let p = power - 1; p <= power + 1; ++p) for (const front of fronts) near.push(front * 10 ** p);
  return near;
}

// Every how-many-th of `count` labels can be shown without touching: 1, 2, 5, 10, 20, ...
function label_step(count, room, needed) {
  const least = Math.max(1, (needed * count) / Math.max(1, room));
  for (let power = 1; ; power *= 10) {
    for (const front of [1, 2, 5]) if (front * power >= least) return front * power;
  }
}
