// Colour ramps, made in OKLab so that equal steps look equal (Ottosson, "A perceptual color space for image
// processing", 2020). Lightness runs one way in each ramp or half-ramp, so they read without hue too.

function to_linear_rgb([lightness, chroma, hue]) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function encode(linear) {
  const x = Math.max(0, Math.min(1, linear));
  return Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
}

// Stops are [lightness, chroma, hue in degrees], evenly spaced; `share` in [0, 1].
function ramp(stops, share) {
  const place = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(place));
  const t = place - i;
  const mixed = stops[i].map((value, k) => value + t * (stops[i + 1][k] - value));
  const linear = to_linear_rgb(mixed);
  return { css: "rgb(" + linear.map(encode).join(" ") + ")", lightness: mixed[0] };
}

// Indigo, blue, green, yellow: as viridis runs, from dark to light.
const kSequential = [[0.27, 0.11, 300], [0.43, 0.105, 262], [0.57, 0.09, 215], [0.7, 0.115, 168], [0.82, 0.145, 128],
  [0.92, 0.15, 105]];
// Each half runs from the neutral middle outwards: orange below, blue above. The middle is the theme's paper.
const kDiverging = {
  light: { below: [[0.965, 0.012, 75], [0.84, 0.09, 65], [0.68, 0.145, 50], [0.48, 0.14, 38]],
           above: [[0.965, 0.008, 240], [0.83, 0.06, 240], [0.64, 0.105, 248], [0.42, 0.12, 258]] },
  dark: { below: [[0.29, 0.012, 60], [0.46, 0.09, 48], [0.64, 0.14, 52], [0.83, 0.13, 72]],
          above: [[0.29, 0.012, 250], [0.43, 0.08, 255], [0.6, 0.11, 245], [0.83, 0.085, 225]] },
};

// value -> {css, lightness}, for values in [low, high].
function palette(kind, low, high, centre) {
  if (kind === "sequential") return (value) => ramp(kSequential, high > low ? (value - low) / (high - low) : 0.5);
  const halves = dark() ? kDiverging.dark : kDiverging.light;
  return (value) => value < centre
    ? ramp(halves.below, low < centre ? (centre - value) / (centre - low) : 1)
    : ramp(halves.above, high > centre ? (value - centre) / (high - centre) : 0);
}

function ink_on(colour) {
  return colour.lightness > 0.62 ? "#14181c" : "#ffffff";
}

const kSeriesColours = 7;
function series_colour(index) {
  return "var(--s" + (index % kSeriesColours) + ")";
}
